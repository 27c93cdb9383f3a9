//! The schemas of GeoJSON (RFC 7946) that answers share.

use poem_openapi::registry::{MetaSchema, MetaSchemaRef};

use super::schema;

/// A collection of features that have, beside their type, these members, all of them every time.
pub(super) fn collection(members: Vec<(&'static str, MetaSchemaRef)>) -> MetaSchema {
    let properties: Vec<_> = std::iter::once(("type", one_of("Feature"))).chain(members).collect();
    let feature = MetaSchema {
        required: properties.iter().map(|(name, _)| *name).collect(),
        properties,
        ..MetaSchema::new("object")
    };
    let features = MetaSchema { items: Some(Box::new(inline(feature))), ..MetaSchema::new("array") };
    MetaSchema {
        properties: vec![("type", one_of("FeatureCollection")), ("features", inline(features))],
        required: vec!["type", "features"],
        ..MetaSchema::new("object")
    }
}

/// A point.
pub(super) fn point() -> MetaSchema {
    let position = MetaSchema {
        items: Some(Box::new(inline(MetaSchema::new_with_format("number", "double")))),
        min_items: Some(2),
        max_items: Some(2),
        ..MetaSchema::new("array")
    };
    MetaSchema {
        properties: vec![
            ("type", one_of("Point")),
            ("coordinates", schema::property(position, "Longitude, then latitude")),
        ],
        required: vec!["type", "coordinates"],
        ..MetaSchema::new("object")
    }
}

fn one_of(word: &str) -> MetaSchemaRef {
    inline(MetaSchema { enum_items: vec![word.into()], ..MetaSchema::new("string") })
}

fn inline(schema: MetaSchema) -> MetaSchemaRef {
    MetaSchemaRef::Inline(Box::new(schema))
}
