//! Statistics as GeoJSON: a feature a row, at the town's place. A town without one is a feature without geometry (RFC 7946,
//! section 3.2).

use geojson::{Feature, Geometry, JsonObject};
use poem_openapi::{
    registry::{MetaSchema, MetaSchemaRef},
    types::Type,
};
use serde::Serialize;

use crate::{
    api::{schema, stream::StreamRefusal},
    db::towns::Position,
};

/// What stands before the first feature.
pub(super) const BEGIN: &[u8] = b"{\"type\":\"FeatureCollection\",\"features\":[";

/// Writes a feature with the row's fields as its properties.
pub(super) fn write(
    row: &impl Serialize,
    position: Option<Position>,
    out: &mut Vec<u8>,
) -> Result<(), StreamRefusal> {
    let properties: JsonObject = serde_json::from_value(serde_json::to_value(row)?)?;
    let feature = Feature {
        bbox: None,
        geometry: position.map(|(longitude, latitude)| Geometry::new_point([longitude, latitude])),
        id: None,
        properties: Some(properties),
        foreign_members: None,
    };
    Ok(serde_json::to_writer(out, &feature)?)
}

/// The schema of a collection whose features have `T` as their properties.
pub(super) fn schema<T: Type>() -> MetaSchema {
    let inline = |schema| MetaSchemaRef::Inline(Box::new(schema));
    let one_of =
        |word: &str| inline(MetaSchema { enum_items: vec![word.into()], ..MetaSchema::new("string") });
    let position = MetaSchema {
        items: Some(Box::new(inline(MetaSchema::new_with_format("number", "double")))),
        min_items: Some(2),
        max_items: Some(2),
        ..MetaSchema::new("array")
    };
    let point = MetaSchema {
        properties: vec![
            ("type", one_of("Point")),
            ("coordinates", schema::property(position, "Longitude, then latitude")),
        ],
        required: vec!["type", "coordinates"],
        nullable: true,
        ..MetaSchema::new("object")
    };
    let feature = MetaSchema {
        properties: vec![
            ("type", one_of("Feature")),
            (
                "geometry",
                schema::property(
                    point,
                    "The middle of the airports of the city of that name; null when none is, or in several countries",
                ),
            ),
            ("properties", T::schema_ref()),
        ],
        required: vec!["type", "geometry", "properties"],
        ..MetaSchema::new("object")
    };
    let features = MetaSchema { items: Some(Box::new(inline(feature))), ..MetaSchema::new("array") };
    MetaSchema {
        properties: vec![("type", one_of("FeatureCollection")), ("features", inline(features))],
        required: vec!["type", "features"],
        ..MetaSchema::new("object")
    }
}
