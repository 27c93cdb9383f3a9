//! Schemas of citizens in JSON, from the dataset's columns.

use poem_openapi::{
    registry::{MetaSchema, MetaSchemaRef},
    types::Type,
};
use serde_json::{Value as Json, json};

use crate::{
    api::schema,
    datasets::{Column, citizen::DATASET},
};

/// Moscow's first citizen.
pub(super) fn example() -> Json {
    json!({
        "citizen_id": 1, "town": "Москва", "street": "Льва Толстого", "building": "16к7стр5", "apartment": 7,
        "name": "Иванов Иван Иванович", "birth_date": "26.12.1986", "gender": "male", "relatives": [2],
        "channel": "radio"
    })
}

/// All fields, and those a citizen must have.
fn citizen_schema() -> MetaSchema {
    let properties =
        DATASET.schema.columns.iter().map(|column| (&*column.name, field(column, schema::not_null)));
    let needed = DATASET.schema.columns.iter().filter(|column| column.required).map(|column| &*column.name);
    MetaSchema { properties: properties.collect(), required: needed.collect(), ..MetaSchema::new("object") }
}

fn field(column: &'static Column, of: impl Fn(MetaSchema) -> MetaSchema) -> MetaSchemaRef {
    let example = example();
    MetaSchemaRef::Inline(Box::new(of(schema::of_column(column, example.get(&*column.name)))))
}

/// A citizen.
pub(super) struct CitizenItem;

schema::object!(CitizenItem, "Citizen", citizen_schema);

/// `{"citizens": […]}`
pub(in crate::api) struct NewCitizens;

schema::object!(NewCitizens, "NewCitizens", new_citizens_schema, CitizenItem);

fn new_citizens_schema() -> MetaSchema {
    let citizens =
        MetaSchema { items: Some(Box::new(CitizenItem::schema_ref())), ..MetaSchema::new("array") };
    let mut single = example();
    single["relatives"] = json!([]);
    MetaSchema {
        properties: vec![("citizens", schema::property(citizens, "The citizens, in any order"))],
        required: vec!["citizens"],
        example: Some(json!({ "citizens": [single] })),
        ..MetaSchema::new("object")
    }
}

/// The change of a citizen.
pub(in crate::api) struct PatchBody;

schema::object!(PatchBody, "CitizenPatch", patch_schema);

fn patch_schema() -> MetaSchema {
    let columns = DATASET.schema.columns.iter().filter(|column| &*column.name != "citizen_id");
    // Null clears an optional field.
    let properties = columns.map(|column| (&*column.name, field(column, std::convert::identity)));
    MetaSchema {
        min_properties: Some(1),
        properties: properties.collect(),
        example: Some(json!({ "apartment": 8, "relatives": [] })),
        ..MetaSchema::new("object")
    }
}

/// `{"data": {…}}`
pub(in crate::api) struct CitizenBody;

schema::object!(CitizenBody, "CitizenAnswer", citizen_body_schema, CitizenItem);

fn citizen_body_schema() -> MetaSchema {
    MetaSchema {
        properties: vec![("data", CitizenItem::schema_ref())],
        required: vec!["data"],
        example: Some(json!({ "data": example() })),
        ..MetaSchema::new("object")
    }
}

/// `{"data": […]}`
pub(super) struct CitizenList;

schema::object!(CitizenList, "CitizenList", list_schema, CitizenItem);

fn list_schema() -> MetaSchema {
    let citizens =
        MetaSchema { items: Some(Box::new(CitizenItem::schema_ref())), ..MetaSchema::new("array") };
    MetaSchema {
        properties: vec![("data", schema::property(citizens, "The citizens, by number"))],
        required: vec!["data"],
        example: Some(json!({ "data": [example()] })),
        ..MetaSchema::new("object")
    }
}
