//! The import contract of a declared dataset: the body of `OPTIONS` where its files are uploaded.

use serde_json::{Map, Value, json};

use crate::datasets::{
    Column, Dataset, FieldsMatch, FileDialect, Quote,
    codes::OF_ROWS,
    plan::{Blanks, LoadMode},
};

/// Most bytes of a cell of an example's header before it is left out: there is nothing to learn from more.
const HEADER_BYTES: usize = 8_192;

/// The contract of a dataset. `general` is the one that is the same for every dataset, with the media types, the content codings, the
/// dialect of files that say nothing, and the limits; what the dataset says comes in its place or beside it. `limits` are added to its
/// limits.
pub(crate) fn contract(dataset: &Dataset, general: Value, limits: Value) -> Value {
    let mut contract = match general {
        Value::Object(members) => members,
        _ => Map::new(),
    };
    let schema = &dataset.schema;
    let key: Vec<_> = schema
        .primary_key
        .iter()
        .filter_map(|place| schema.columns.get(*place))
        .map(|column| &column.name)
        .collect();
    let loads = LoadMode::ALL.into_iter().filter(|load| load.fits(dataset)).map(LoadMode::as_str);
    let members = [
        ("dataset", json!(dataset.name.as_str())),
        ("version", json!(dataset.version)),
        ("schema", dataset.descriptor.get("schema").cloned().unwrap_or_default()),
        ("columns", columns(dataset)),
        ("row_id", dataset.row_id().map_or(Value::Null, |column| self::column(column, &Value::Null))),
        ("fields_match", json!(fields_match(schema.fields_match))),
        (
            "load",
            json!({ "values": loads.collect::<Vec<_>>(), "default": LoadMode::default_of(dataset).as_str() }),
        ),
        (
            "blanks",
            json!({
                "values": [Blanks::Overwrite.as_str(), Blanks::Keep.as_str()],
                "default": Blanks::default().as_str(),
            }),
        ),
        ("key", json!(key)),
        ("codes", json!(OF_ROWS)),
        ("example_header", example_header(dataset).into()),
    ];
    contract.extend(members.map(|(name, value)| (name.to_owned(), value)));
    merge(&mut contract, "dialect", dialect(&dataset.dialect));
    merge(&mut contract, "limits", limits);
    contract.into()
}

/// Puts the members into those of that name.
fn merge(contract: &mut Map<String, Value>, name: &str, members: Value) {
    let Value::Object(members) = members else { return };
    match contract.get_mut(name) {
        Some(Value::Object(present)) => present.extend(members),
        _ => drop(contract.insert(name.to_owned(), members.into())),
    }
}

fn columns(dataset: &Dataset) -> Value {
    let fields = dataset.descriptor.pointer("/schema/fields").and_then(Value::as_array);
    let fields = fields.map(Vec::as_slice).unwrap_or_default();
    let columns = dataset.schema.columns.iter().enumerate();
    // A field of a declaration is at its column's place.
    columns.map(|(place, column)| self::column(column, fields.get(place).unwrap_or(&Value::Null))).collect()
}

/// A column with the field that declares it.
fn column(column: &Column, field: &Value) -> Value {
    let member = |name: &str| field.get(name).cloned();
    let rule = column.rule();
    let description = column.description.as_deref().unwrap_or_default();
    let mut sentence = format!("{} is {rule}", column.name);
    let nulls: Vec<_> = column.missing.iter().map(|missing| format!("{missing:?}")).collect();
    if !column.required && !nulls.is_empty() {
        sentence += &format!("; {} stands for null", nulls.join(" or "));
    }
    sentence.push('.');
    json!({
        "name": column.name,
        "key": column.key.as_str(),
        "title": column.title,
        "aliases": column.aliases,
        "type": member("type").unwrap_or_else(|| "string".into()),
        "format": member("format").unwrap_or_else(|| "default".into()),
        "missing_values": column.missing.iter().collect::<Vec<_>>(),
        "required": column.required,
        "unique": column.unique,
        "constraints": member("constraints").unwrap_or_else(|| json!({})),
        "codes": column.codes(),
        "rule": rule,
        "description": description,
        "sentence": sentence,
    })
}

/// What files are like unless an upload says otherwise, as far as the dataset says it.
fn dialect(dialect: &FileDialect) -> Value {
    let FileDialect { delimiter, quote, escape, comment, encoding, skip, header, null } = dialect;
    let text = |byte: u8| Value::from(char::from(byte).to_string());
    let quote = quote.map(|quote| match quote {
        Quote::None => "none".into(),
        Quote::Byte(byte) => text(byte),
    });
    let said = [
        ("delimiter", delimiter.map(text)),
        ("quote", quote),
        ("escape", escape.map(text)),
        ("comment", comment.map(text)),
        ("encoding", encoding.map(|encoding| encoding.as_str().into())),
        ("skip", skip.map(Value::from)),
        ("has_header", header.map(Value::from)),
        ("null", null.as_deref().map(Value::from)),
    ];
    said.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?))).collect::<Map<_, _>>().into()
}

fn fields_match(fields_match: FieldsMatch) -> &'static str {
    match fields_match {
        FieldsMatch::Exact => "exact",
        FieldsMatch::Equal => "equal",
        FieldsMatch::Subset => "subset",
        FieldsMatch::Superset => "superset",
        FieldsMatch::Partial => "partial",
    }
}

/// The header of a file with all columns, in the dataset's own dialect. Empty where it would be too long to show.
fn example_header(dataset: &Dataset) -> String {
    let delimiter = char::from(dataset.dialect.delimiter.unwrap_or(b','));
    let quote = match dataset.dialect.quote {
        None => Some('"'),
        Some(Quote::Byte(byte)) => Some(char::from(byte)),
        Some(Quote::None) => None,
    };
    let cell = |name: &str| match quote {
        Some(quote) if name.contains([delimiter, quote, '\r', '\n']) => {
            let doubled = name.replace(quote, &format!("{quote}{quote}"));
            format!("{quote}{doubled}{quote}")
        }
        _ => name.to_owned(),
    };
    let cells: Vec<_> = dataset.schema.columns.iter().map(|column| cell(&column.name)).collect();
    let header = cells.join(&delimiter.to_string());
    if header.len() <= HEADER_BYTES { header } else { String::new() }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::datasets::{Declared, Ident, Rule, Schema, Storage, declared::Kind};

    fn cats() -> Dataset {
        let column = |name: &'static str, kind| {
            Column::new(name, Rule::Declared(Arc::new(Declared::new(kind))), name == "name", "")
        };
        let weight = Column { name: "weight; kg".into(), ..column("weight", Kind::Number { float: false }) };
        Dataset {
            id: Some(1),
            name: Ident::new("cats").expect("a name"),
            version: 2,
            title: None,
            description: None,
            private: false,
            dialect: FileDialect { delimiter: Some(b';'), ..FileDialect::default() },
            schema: Schema {
                columns: vec![column("name", Kind::String), weight],
                primary_key: vec![0],
                ..Schema::default()
            },
            descriptor: Arc::new(json!({ "schema": { "fields": [
                { "name": "name", "type": "string", "constraints": { "required": true } },
                { "name": "weight; kg", "type": "number", "decimalChar": "," },
            ] } })),
            storage: Storage::Declared,
        }
    }

    #[test]
    fn the_contract_has_what_a_program_needs() {
        let general = json!({
            "dataset": "?",
            "media_types": ["text/csv"],
            "dialect": { "delimiter": ",", "quote": "\"" },
            "limits": { "fields": 256 },
        });
        let contract = contract(&cats(), general, json!({ "rows_per_page": 10_000 }));
        assert_eq!(contract["dataset"], "cats");
        assert_eq!(contract["version"], 2);
        assert_eq!(contract["media_types"], json!(["text/csv"]));
        assert_eq!(contract["dialect"], json!({ "delimiter": ";", "quote": "\"" }));
        assert_eq!(contract["limits"], json!({ "fields": 256, "rows_per_page": 10_000 }));
        assert_eq!(contract["load"], json!({ "values": ["upsert", "insert", "sync"], "default": "upsert" }));
        assert_eq!(contract["key"], json!(["name"]));
        assert_eq!(contract["example_header"], "name;\"weight; kg\"");
        let [name, weight] = [0, 1].map(|place| &contract["columns"][place]);
        assert_eq!(name["constraints"], json!({ "required": true }));
        assert_eq!((&weight["key"], &weight["type"]), (&json!("weight"), &json!("number")));
        assert_eq!(weight["missing_values"], json!([""]));
        assert_eq!(weight["codes"], json!(["not_a_number", "out_of_range"]));
        assert!(weight["sentence"].as_str().is_some_and(|sentence| sentence.starts_with("weight; kg is ")));
    }
}
