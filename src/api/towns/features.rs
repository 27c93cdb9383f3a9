//! Statistics as GeoJSON: a feature a row, at the town's place. A town without one is a feature without geometry (RFC 7946,
//! section 3.2).

use geojson::{Feature, Geometry, JsonObject};
use poem_openapi::{registry::MetaSchema, types::Type};
use serde::Serialize;

use crate::{
    api::{features, schema, stream::StreamRefusal},
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
    let point = MetaSchema { nullable: true, ..features::point() };
    let geometry = schema::property(
        point,
        "The middle of the airports of the city of that name; null when none is, or in several countries",
    );
    features::collection(vec![("geometry", geometry), ("properties", T::schema_ref())])
}
