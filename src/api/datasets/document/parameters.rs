//! Query parameters of a dataset: a filter for each column and operator, and what else names columns.

use serde_json::{Map, Value, json};

use super::{
    Described,
    values::{Class, Field, Type, fields, into_map},
};
use crate::datasets::Schema;

/// Most filters of a document. Those of the dataset's own columns come first, and are always fewer.
pub(super) const FILTERS: usize = 4_000;
/// Most names in a list of what can be grouped by or measured.
const NAMES: usize = 8_000;
/// Most keys of a `sort`.
const SORT_KEYS: usize = 4;
/// Most columns of a `by`, and of facets.
const GROUPS: usize = 4;
/// Most measures.
const MEASURES: usize = 16;

/// The columns that the service adds to each row, with what they are.
const OWN: [(&str, Type<'static>); 7] = [
    ("_id", Type::Uuid),
    ("_import", Type::Integer),
    ("_row", Type::Integer),
    ("_version", Type::Integer),
    ("_created_at", Type::DateTime),
    ("_updated_at", Type::DateTime),
    ("_deleted_at", Type::DateTime),
];

/// The operators of [`Class`], but for equality, with what they say in words. Each takes one value; [`IS_LIST`] has those that take several.
const OPERATORS: [(&str, &str); 9] = [
    ("not", "None of these; null is kept"),
    ("contains", "Contains one of these, in any case"),
    ("starts", "Starts with one of these, in any case"),
    ("gt", "Greater than this"),
    ("gte", "At least this"),
    ("lt", "Less than this"),
    ("lte", "At most this"),
    ("has", "Has one of these items"),
    ("null", "Whether it is null"),
];
const IS_LIST: [&str; 4] = ["not", "contains", "starts", "has"];

fn operators(class: Class) -> &'static [&'static str] {
    match class {
        Class::Text => &["not", "contains", "starts", "gte", "lt", "null"],
        Class::Ordered => &["not", "gt", "gte", "lt", "lte", "null"],
        Class::Choice => &["not", "null"],
        Class::List => &["has", "null"],
        Class::Json => &["null"],
        Class::Point => &[],
    }
}

/// Parameters with their names.
pub(super) type Parameters = Vec<(String, Value)>;

/// All filters of a dataset: of its columns, of the service's, and one step over its references.
pub(super) fn filters(described: &Described<'_>, referenced: &[Described<'_>]) -> Parameters {
    let mut filters = Vec::new();
    for field in fields(described) {
        add(&mut filters, field.key(), field.class(), &field.asked(), label(&field));
    }
    for (name, kind) in OWN {
        let class = if kind == Type::Uuid { Class::Choice } else { Class::Ordered };
        add(&mut filters, name, class, &kind.schema(), name);
    }
    for (reference, field) in steps(described, referenced) {
        if filters.len() + OPERATORS.len() >= FILTERS {
            break;
        }
        let name = format!("{reference}.{}", field.key());
        add(&mut filters, &name, field.class(), &field.asked(), &name);
    }
    filters
}

fn label<'a>(field: &Field<'a>) -> &'a str {
    field.column.title.as_deref().unwrap_or(&field.column.name)
}

/// The columns that a reference of one column leads to, with the key of that column.
fn steps<'a>(described: &Described<'a>, referenced: &[Described<'a>]) -> Vec<(&'a str, Field<'a>)> {
    let schema: &'a Schema = &described.dataset.schema;
    let mut steps = Vec::new();
    for key in &schema.foreign_keys {
        let target = match &key.dataset {
            None => Some(described),
            Some(name) => referenced.iter().find(|other| other.dataset.name.as_str() == name),
        };
        let (&[place], Some(target)) = (key.columns.as_slice(), target) else { continue };
        let Some(column) = schema.columns.get(place) else { continue };
        // Two references may lead from one column; the first one names.
        if steps.iter().any(|(name, _)| *name == column.key.as_str()) {
            continue;
        }
        steps.extend(fields(target).into_iter().map(|field| (column.key.as_str(), field)));
        // The rest would not be named anyway.
        if steps.len() > FILTERS {
            break;
        }
    }
    steps
}

fn add(filters: &mut Parameters, name: &str, class: Class, schema: &Map<String, Value>, label: &str) {
    if !matches!(class, Class::List | Class::Json | Class::Point) {
        let items = json!({ "type": "array", "items": schema });
        filters.push((name.to_owned(), query(name, &format!("{label}: one of these."), items, true)));
    }
    for operator in operators(class) {
        let words = OPERATORS.iter().find(|(name, _)| name == operator).map_or("", |(_, words)| words);
        // Parts of an address are no address.
        let whole =
            if class == Class::Text && *operator != "not" { Type::Text.schema() } else { schema.clone() };
        let schema = match *operator {
            "null" => json!({ "type": "boolean" }),
            operator if IS_LIST.contains(&operator) => json!({ "type": "array", "items": whole }),
            _ => whole.into(),
        };
        let name = format!("{name}__{operator}");
        let parameter = query(&name, &format!("{label}: {}.", words.to_lowercase()), schema, true);
        filters.push((name, parameter));
    }
}

/// A query parameter. A list is repeated where it is to `explode`, else its items have commas between them.
fn query(name: &str, description: &str, schema: Value, explode: bool) -> Value {
    json!({
        "name": name,
        "in": "query",
        "description": description,
        "required": false,
        "style": "form",
        "explode": explode,
        "schema": schema,
    })
}

/// The parameters of a list that name columns: `sort` and `fields`; with the schemas they refer to.
pub(super) fn of_list(fields: &[Field<'_>], schemas: &mut Map<String, Value>) -> Parameters {
    let own = OWN.map(|(name, _)| name);
    let is_sorted =
        |field: &&Field<'_>| matches!(field.class(), Class::Text | Class::Ordered | Class::Choice);
    let sorted: Vec<_> = fields.iter().filter(is_sorted).map(Field::key).chain(own).collect();
    let sorted = sorted.iter().map(|key| (*key).to_owned()).chain(sorted.iter().map(|key| format!("-{key}")));
    schemas.insert("SortKey".to_owned(), names(sorted, "A column; with `-` before it: descending"));
    let shown = fields.iter().map(Field::key).chain(own).map(str::to_owned);
    schemas.insert("RowField".to_owned(), names(shown, "A column of a row"));
    let sort = "Up to 4 columns, with commas between them; `-` before one: descending. Null comes last either way, and `_id` ends it.";
    vec![
        ("sort".to_owned(), query("sort", sort, several("SortKey", Some(SORT_KEYS)), false)),
        (
            "fields".to_owned(),
            query(
                "fields",
                "The columns to show, with commas between them.",
                several("RowField", None),
                false,
            ),
        ),
    ]
}

/// The parameter of facets: `columns`.
pub(super) fn of_facets(fields: &[Field<'_>], schemas: &mut Map<String, Value>) -> Parameters {
    let keys: Vec<_> =
        fields.iter().filter(|field| has_groups(field)).map(|field| field.key().to_owned()).collect();
    if keys.is_empty() {
        return Vec::new();
    }
    schemas.insert("FacetColumn".to_owned(), names(keys, "A column whose values are counted"));
    let words = "Up to 4 columns, with commas between them.";
    let mut columns = query("columns", words, several("FacetColumn", Some(GROUPS)), false);
    columns["required"] = true.into();
    vec![("columns".to_owned(), columns)]
}

/// The parameters of statistics: `by` and `measure`.
pub(super) fn of_statistics(
    described: &Described<'_>,
    referenced: &[Described<'_>],
    fields: &[Field<'_>],
    schemas: &mut Map<String, Value>,
) -> Parameters {
    let mut parameters = Vec::new();
    let mut by: Vec<_> = fields.iter().filter(|field| has_groups(field)).flat_map(groups).collect();
    let steps = steps(described, referenced).into_iter().filter(|(_, field)| has_groups(field));
    by.extend(steps.map(|(reference, field)| format!("{reference}.{}", field.key())));
    by.truncate(NAMES);
    if !by.is_empty() {
        schemas.insert("GroupKey".to_owned(), names(by, "A column, a part of a date, or a band of numbers"));
        let words = "What the rows are grouped by, up to 4. Bands of any width can be asked for, as `__step25` and `__age5`.";
        parameters.push(("by".to_owned(), query("by", words, several("GroupKey", Some(GROUPS)), true)));
    }
    let mut measures = vec!["count".to_owned()];
    measures.extend(fields.iter().flat_map(measures_of));
    measures.truncate(NAMES);
    schemas.insert("Measure".to_owned(), names(measures, "What is computed of each group"));
    let words = "What is computed of each group, up to 16; `count` unless given. All percentiles from `__p1` to `__p99` can be asked for.";
    parameters
        .push(("measure".to_owned(), query("measure", words, several("Measure", Some(MEASURES)), true)));
    parameters
}

/// Whether rows can be told apart by its values.
pub(super) fn has_groups(field: &Field<'_>) -> bool {
    matches!(field.class(), Class::Text | Class::Ordered | Class::Choice)
}

/// What can be grouped by of a column.
fn groups(field: &Field<'_>) -> Vec<String> {
    let buckets: &[&str] = match field.kind {
        Type::Date => &["__year", "__quarter", "__month", "__week", "__day", "__age", "__age10"],
        Type::DateTime => &["__year", "__quarter", "__month", "__week", "__day"],
        Type::Integer | Type::Number { .. } => &["__step10", "__step100"],
        _ => &[],
    };
    std::iter::once("")
        .chain(buckets.iter().copied())
        .map(|bucket| format!("{}{bucket}", field.key()))
        .collect()
}

/// What can be computed of a column.
fn measures_of(field: &Field<'_>) -> Vec<String> {
    let measures: &[&str] = match (field.class(), field.kind) {
        (_, kind) if kind.is_amount() => {
            &["count", "distinct", "sum", "avg", "min", "max", "p50", "p90", "p95", "p99"]
        }
        (Class::Ordered, _) => &["count", "distinct", "min", "max"],
        (Class::Text | Class::Choice, _) => &["count", "distinct"],
        (Class::List | Class::Point | Class::Json, _) => &["count"],
    };
    measures.iter().map(|measure| format!("{}__{measure}", field.key())).collect()
}

/// The parameters of a place. Both of the first are given, or neither.
pub(super) fn of_point() -> Parameters {
    const LON: &str = r"-?(180(\.0+)?|(1[0-7]\d|\d{1,2})(\.\d+)?)";
    const LAT: &str = r"-?(90(\.0+)?|[0-8]?\d(\.\d+)?)";
    let near = json!({ "type": "string", "pattern": format!("^{LON},{LAT}$"), "example": "30.5,50.4" });
    let radius = json!({ "type": "number", "format": "double", "minimum": 0, "exclusiveMinimum": true, "example": 1000 });
    let bbox = json!({ "type": "string", "pattern": format!("^{LON},{LAT},{LON},{LAT}$"), "example": "30,50,31,51" });
    let bbox_words =
        "`west,south,east,north` in degrees; where west is greater than east it crosses the antimeridian.";
    vec![
        (
            "near".to_owned(),
            query("near", "`longitude,latitude` in degrees, together with `radius`.", near, true),
        ),
        ("radius".to_owned(), query("radius", "Metres from `near`, on the sphere.", radius, true)),
        ("bbox".to_owned(), query("bbox", bbox_words, bbox, true)),
    ]
}

fn names(names: impl IntoIterator<Item = String>, description: &str) -> Value {
    let names: Vec<_> = names.into_iter().map(Value::from).collect();
    json!({ "type": "string", "description": description, "enum": names })
}

fn several(schema: &str, most: Option<usize>) -> Value {
    let items = format!("#/components/schemas/{schema}");
    let mut several = into_map(json!({ "type": "array", "items": { "$ref": items } }));
    if let Some(most) = most {
        several.insert("maxItems".to_owned(), most.into());
    }
    several.into()
}
