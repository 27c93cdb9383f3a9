//! A page of airports as JSON, CSV and GeoJSON.

use geojson::{Feature, FeatureCollection, Geometry, feature::Id};
use poem_openapi::{
    registry::{MetaSchema, MetaSchemaRef},
    types::{ToJSON, Type},
};
use serde_json::{Value as Json, json};

use super::fields::{AirportBody, fields_to_json};
use crate::{
    api::{features, schema},
    datasets::{Column, airport::DATASET},
    db::airports::{Fields, Listed},
    ingest::export,
};

/// RFC 4180, in UTF-8.
pub(super) const CSV: &str = "text/csv";

/// RFC 7946.
pub(super) const GEO_JSON: &str = "application/geo+json";

/// `{"data": […]}`
pub(super) struct AirportPage(pub(super) Vec<Listed>);

schema::object!(AirportPage, "AirportPage", page_schema);

fn page_schema() -> MetaSchema {
    let airports =
        MetaSchema { items: Some(Box::new(AirportBody::schema_ref())), ..MetaSchema::new("array") };
    MetaSchema {
        properties: vec![("data", schema::property(airports, "The airports in their order"))],
        required: vec!["data"],
        example: Some(json!({ "data": [AirportBody::example()] })),
        ..MetaSchema::new("object")
    }
}

impl ToJSON for AirportPage {
    fn to_json(&self) -> Option<Json> {
        let airports: Vec<_> =
            self.0.iter().cloned().filter_map(|row| AirportBody::from(row).to_json()).collect();
        Some(json!({ "data": airports }))
    }
}

/// A GeoJSON feature collection.
pub(super) struct AirportFeatures(pub(super) Vec<Listed>);

schema::object!(AirportFeatures, "AirportFeatures", features_schema);

fn features_schema() -> MetaSchema {
    let inline = |schema| MetaSchemaRef::Inline(Box::new(schema));
    features::collection(vec![
        ("id", inline(MetaSchema::new_with_format("integer", "int64"))),
        ("geometry", inline(features::point())),
        ("properties", AirportBody::schema_ref()),
    ])
}

impl ToJSON for AirportFeatures {
    fn to_json(&self) -> Option<Json> {
        let features = self.0.iter().cloned().map(|row| {
            let airport = &row.airport;
            Feature {
                bbox: None,
                geometry: Some(Geometry::new_point([airport.longitude, airport.latitude])),
                id: Some(Id::Number(airport.id.into())),
                properties: AirportBody::from(row).to_json().and_then(|json| json.as_object().cloned()),
                foreign_members: None,
            }
        });
        serde_json::to_value(features.collect::<FeatureCollection>()).ok()
    }
}

/// A file that can be posted back and changes nothing then: which airport a row is, and the dataset's columns, under a header, null as the
/// empty field.
pub(super) fn csv(rows: Vec<Listed>) -> Result<Vec<u8>, export::ExportError> {
    let columns = DATASET.row_id().into_iter().chain(&DATASET.schema.columns);
    let header = columns.map(|column| column.name.to_string()).collect();
    let records = rows.iter().map(|row| {
        let values = fields_to_json(&Fields::from(&row.airport)).into_iter();
        let fields =
            DATASET.schema.columns.iter().zip(values).map(|(column, (_, value))| field(column, value));
        std::iter::once(row.airport.id.to_string()).chain(fields).collect::<Vec<String>>()
    });
    export::csv(b',', b'"', std::iter::once(header).chain(records))
}

fn field(column: &Column, value: Json) -> String {
    match value {
        Json::Null => String::new(),
        Json::String(text) => column.field(&text).into_owned(),
        number => number.to_string(),
    }
}
