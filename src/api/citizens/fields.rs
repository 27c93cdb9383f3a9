//! Citizens as JSON: schemas from the dataset's columns, and the answer's text.

use poem_openapi::{
    registry::{MetaSchema, MetaSchemaRef},
    types::{ToJSON, Type},
};
use serde::{Serialize, Serializer};
use serde_json::{Value as Json, json};

use crate::{
    api::schema,
    datasets::{
        citizen::{Citizen, DATASET},
        date,
    },
    db::citizens::Listed,
};

/// Moscow's first citizen.
pub(super) fn example() -> Json {
    json!({
        "citizen_id": 1, "town": "Москва", "street": "Льва Толстого", "building": "16к7стр5", "apartment": 7,
        "name": "Иванов Иван Иванович", "birth_date": "26.12.1986", "gender": "male", "relatives": [2],
        "channel": "radio"
    })
}

fn schema_without(left_out: &[&str], required: bool) -> MetaSchema {
    let example = example();
    let columns: Vec<_> = DATASET.columns.iter().filter(|column| !left_out.contains(&column.name)).collect();
    let properties = columns.iter().map(|column| {
        let schema = schema::not_null(schema::of_column(column, example.get(column.name)));
        (column.name, MetaSchemaRef::Inline(Box::new(schema)))
    });
    let needed = columns.iter().filter(|column| required && column.required).map(|column| column.name);
    MetaSchema { properties: properties.collect(), required: needed.collect(), ..MetaSchema::new("object") }
}

/// A citizen.
pub(super) struct CitizenItem;

schema::object!(CitizenItem, "Citizen", citizen_schema);

fn citizen_schema() -> MetaSchema {
    schema_without(&[], true)
}

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
    MetaSchema {
        min_properties: Some(1),
        example: Some(json!({ "apartment": 8, "relatives": [] })),
        ..schema_without(&["citizen_id"], false)
    }
}

/// `{"data": {…}}`
pub(in crate::api) struct CitizenBody(pub(super) Citizen);

schema::object!(CitizenBody, "CitizenAnswer", citizen_body_schema, CitizenItem);

fn citizen_body_schema() -> MetaSchema {
    MetaSchema {
        properties: vec![("data", CitizenItem::schema_ref())],
        required: vec!["data"],
        example: Some(json!({ "data": example() })),
        ..MetaSchema::new("object")
    }
}

impl ToJSON for CitizenBody {
    fn to_json(&self) -> Option<Json> {
        Some(json!({ "data": Text(&Listed::from(&self.0)) }))
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

/// A citizen as the contract writes it; the channel is left out where it was not given.
pub(super) struct Text<'a>(pub(super) &'a Listed<'a>);

impl Serialize for Text<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Listed {
            citizen_id,
            town,
            street,
            building,
            apartment,
            name,
            birth_date,
            gender,
            channel,
            relatives,
        } = self.0;
        let birth_date = date::format(*birth_date);
        Fields {
            citizen_id: *citizen_id,
            town,
            street,
            building,
            apartment: *apartment,
            name,
            birth_date: std::str::from_utf8(&birth_date).unwrap_or_default(),
            gender,
            relatives,
            channel: *channel,
        }
        .serialize(serializer)
    }
}

#[derive(Serialize)]
struct Fields<'a> {
    citizen_id: i64,
    town: &'a str,
    street: &'a str,
    building: &'a str,
    apartment: i64,
    name: &'a str,
    birth_date: &'a str,
    gender: &'a str,
    relatives: &'a [i64],
    #[serde(skip_serializing_if = "Option::is_none")]
    channel: Option<&'a str>,
}
