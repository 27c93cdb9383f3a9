//! Schemas of a dataset's rows: as they are answered, created, replaced and changed.

use serde_json::{Map, Value, json};

use super::values::{Field, Type, into_map, or_null};
use crate::datasets::{Dataset, Rule};

/// Puts the schemas of rows under their names.
pub(super) fn add(dataset: &Dataset, fields: &[Field<'_>], schemas: &mut Map<String, Value>) {
    let own = service_columns();
    let mut properties = own.clone();
    let mut sent = Map::new();
    let mut patch = Map::new();
    for field in fields {
        let schema = field.schema();
        let key = field.key().to_owned();
        let schema = if is_required(dataset, field) { schema } else { or_null(schema) };
        properties.insert(key.clone(), schema.clone().into());
        sent.insert(key.clone(), schema.clone().into());
        patch.insert(key, schema.into());
    }
    let required: Vec<_> = fields
        .iter()
        .filter(|field| is_required(dataset, field))
        .map(|field| Value::from(field.key()))
        .collect();
    let title = dataset.title.as_deref().unwrap_or(dataset.name.as_str());

    let all: Vec<_> = properties.keys().cloned().map(Value::from).collect();
    let row = object(&format!("A row of {title}"), properties.clone(), all);
    let mut listed = properties;
    listed.insert(
        "_distance_m".to_owned(),
        json!({ "type": "number", "format": "double", "description": "Metres from `near`; with `near` only" }),
    );
    let mut listed =
        object(&format!("A row of {title} in a list: the columns of `fields`"), listed, Vec::new());
    let mut new = sent.clone();
    let id = json!({ "type": "string", "format": "uuid", "description": "Made by the service where it is not given" });
    new.shift_insert(0, "_id".to_owned(), id);
    let mut new = closed(object(&format!("A new row of {title}"), new, required.clone()));
    let mut whole = closed(object(
        &format!("All fields of a row of {title}; one that is not there becomes null"),
        sent,
        required,
    ));
    let mut changes = object("The fields to change; null empties one", patch, Vec::new());
    changes = closed(changes);

    if let Some(example) = example(dataset, fields) {
        new.insert("example".to_owned(), example.clone().into());
        whole.insert("example".to_owned(), example.clone().into());
        let first = example.iter().next().map(|(key, value)| (key.clone(), value.clone()));
        changes.insert("example".to_owned(), first.into_iter().collect::<Map<_, _>>().into());
        let answered = service_example().into_iter().chain(example).collect::<Map<_, _>>();
        listed.insert("example".to_owned(), answered.into());
    }
    let mut row = row;
    if let Some(example) = listed.get("example") {
        row.insert("example".to_owned(), example.clone());
    }
    for (name, schema) in
        [("Row", row), ("ListedRow", listed), ("NewRow", new), ("RowFields", whole), ("RowPatch", changes)]
    {
        schemas.insert(name.to_owned(), schema.into());
    }
    schemas.insert("RowPage".to_owned(), page());
    if dataset.schema.place().is_some() {
        schemas.insert("RowFeature".to_owned(), feature("Row"));
        schemas.insert("RowFeatures".to_owned(), features());
    }
}

/// Whether null is refused: a key implies that.
fn is_required(dataset: &Dataset, field: &Field<'_>) -> bool {
    let schema = &dataset.schema;
    let mut key = schema.primary_key.iter().filter_map(|place| schema.columns.get(*place));
    let takes_null = !field.column.missing.is_empty() || !matches!(field.column.rule, Rule::Declared(_));
    field.column.required || !takes_null || key.any(|column| column.key == field.column.key)
}

fn object(description: &str, properties: Map<String, Value>, required: Vec<Value>) -> Map<String, Value> {
    let mut object = into_map(json!({ "type": "object", "description": description }));
    // An empty list of required properties is no valid one.
    if !required.is_empty() {
        object.insert("required".to_owned(), required.into());
    }
    object.insert("properties".to_owned(), properties.into());
    object
}

fn closed(mut object: Map<String, Value>) -> Map<String, Value> {
    object.insert("additionalProperties".to_owned(), false.into());
    object
}

/// The columns that the service adds to each row.
fn service_columns() -> Map<String, Value> {
    let whole = |description: &str| json!({ "type": "integer", "format": "int64", "description": description, "nullable": true });
    let time =
        |description: &str| json!({ "type": "string", "format": "date-time", "description": description });
    into_map(json!({
        "_id": { "type": "string", "format": "uuid", "description": "What the paths name" },
        "_import": whole("The import that brought the row; null: no import did"),
        "_row": whole("Number of the row in its import"),
        "_version": {
            "type": "integer", "format": "int64", "minimum": 1, "description": "1, and one more with each change",
        },
        "_created_at": time("When it was created"),
        "_updated_at": time("When it was last changed"),
        "_deleted_at": {
            "type": "string", "format": "date-time", "nullable": true, "description": "When it was deleted",
        },
    }))
}

fn service_example() -> Map<String, Value> {
    into_map(json!({
        "_id": "0193a2c4-5a52-7b1e-a7d4-0b1c2d3e4f50",
        "_import": 1,
        "_row": 1,
        "_version": 1,
        "_created_at": "2024-03-05T12:30:00Z",
        "_updated_at": "2024-03-05T12:30:00Z",
        "_deleted_at": null,
    }))
}

/// A row that keeps all rules. There is none where no value is known of a column that must have one.
fn example(dataset: &Dataset, fields: &[Field<'_>]) -> Option<Map<String, Value>> {
    let mut row = Map::new();
    for field in fields {
        match field.example() {
            Some(example) => drop(row.insert(field.key().to_owned(), example)),
            None if is_required(dataset, field) => return None,
            None => drop(row.insert(field.key().to_owned(), Value::Null)),
        }
    }
    // Half a point is none.
    Some(row)
}

fn page() -> Value {
    json!({
        "type": "object",
        "required": ["data"],
        "properties": {
            "data": {
                "type": "array",
                "description": "The rows in their order",
                "items": { "$ref": "#/components/schemas/ListedRow" },
            },
            "count": {
                "type": "integer",
                "format": "int64",
                "minimum": 0,
                "description": "All rows that the filters leave; with `Prefer: count=exact` only",
            },
        },
    })
}

fn feature(row: &str) -> Value {
    json!({
        "type": "object",
        "required": ["type", "geometry", "properties"],
        "properties": {
            "type": { "type": "string", "enum": ["Feature"] },
            "id": { "type": "string", "format": "uuid" },
            "geometry": {
                "type": "object",
                "nullable": true,
                "required": ["type", "coordinates"],
                "properties": {
                    "type": { "type": "string", "enum": ["Point"] },
                    "coordinates": Type::Point.schema(),
                },
            },
            "properties": { "$ref": format!("#/components/schemas/{row}") },
        },
    })
}

fn features() -> Value {
    json!({
        "type": "object",
        "required": ["type", "features"],
        "properties": {
            "type": { "type": "string", "enum": ["FeatureCollection"] },
            "features": { "type": "array", "items": feature("ListedRow") },
        },
    })
}

/// The answer of facets: the values of each column with their counts.
pub(super) fn facets(fields: &[Field<'_>]) -> Value {
    let of = |field: &Field<'_>| {
        let value = or_null(field.kind.schema());
        let count = json!({ "type": "integer", "format": "int64", "minimum": 1 });
        let facet = json!({
            "type": "object",
            "required": ["value", "count"],
            "properties": { "value": value, "count": count },
        });
        (field.key().to_owned(), json!({ "type": "array", "items": facet }))
    };
    let columns: Map<_, _> =
        fields.iter().filter(|field| super::parameters::has_groups(field)).map(of).collect();
    json!({
        "type": "object",
        "required": ["data"],
        "properties": {
            "data": {
                "type": "object",
                "description": "The columns of `columns=`, each with its values; the most frequent first",
                "properties": columns,
            },
        },
    })
}
