//! What rows are in the document of all datasets: objects with members that the dataset's own document names.

use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use serde_json::json;

use crate::api::{features, schema};

fn inline(schema: MetaSchema) -> MetaSchemaRef {
    MetaSchemaRef::Inline(Box::new(schema))
}

/// An object whose members are columns.
fn object(description: &'static str) -> MetaSchema {
    MetaSchema {
        description: Some(description),
        additional_properties: Some(Box::new(inline(MetaSchema::ANY))),
        ..MetaSchema::new("object")
    }
}

fn array_of(items: MetaSchemaRef) -> MetaSchema {
    MetaSchema { items: Some(Box::new(items)), ..MetaSchema::new("array") }
}

fn reference(name: &str) -> MetaSchemaRef {
    MetaSchemaRef::Reference(name.to_owned())
}

/// A row in an answer.
pub(super) struct RowBody;

schema::object!(RowBody, "Row", row_schema);

fn row_schema() -> MetaSchema {
    MetaSchema {
        example: Some(json!({
            "_id": "0193a2c4-5a52-7b1e-a7d4-0b1c2d3e4f50", "name": "Tom", "_import": null, "_row": null,
            "_version": 1, "_created_at": "2026-11-20T12:00:00Z", "_updated_at": "2026-11-20T12:00:00Z", "_deleted_at": null,
        })),
        ..object("A row: the dataset's columns by their keys, and the service's own, which begin with `_`")
    }
}

/// `{"data":[…]}`
pub(super) struct RowPage;

schema::object!(RowPage, "RowPage", page_schema, RowBody);

fn page_schema() -> MetaSchema {
    let rows = array_of(reference("Row"));
    let count = MetaSchema { minimum: Some(0.0), ..MetaSchema::new_with_format("integer", "int64") };
    MetaSchema {
        properties: vec![
            ("data", schema::property(rows, "The rows in their order")),
            (
                "count",
                schema::property(count, "All rows that the filters leave; with `Prefer: count=exact` only"),
            ),
        ],
        required: vec!["data"],
        ..MetaSchema::new("object")
    }
}

/// A GeoJSON feature collection.
pub(super) struct RowFeatures;

schema::object!(RowFeatures, "RowFeatures", features_schema, RowBody);

fn features_schema() -> MetaSchema {
    features::collection(vec![
        ("id", inline(MetaSchema::new_with_format("string", "uuid"))),
        ("geometry", inline(MetaSchema { nullable: true, ..features::point() })),
        ("properties", reference("Row")),
    ])
}

/// The body of a request that creates a row.
pub(super) struct NewRow;

schema::object!(NewRow, "NewRow", new_row_schema);

fn new_row_schema() -> MetaSchema {
    MetaSchema {
        example: Some(json!({ "name": "Tom" })),
        ..object(
            "A new row: the dataset's columns by their keys. The service makes the `_id` where it is not given",
        )
    }
}

/// The body of a request that replaces a row.
pub(super) struct RowFields;

schema::object!(RowFields, "RowFields", row_fields_schema);

fn row_fields_schema() -> MetaSchema {
    MetaSchema {
        example: Some(json!({ "name": "Tom" })),
        ..object("All fields of a row by their keys; one that is not there becomes null")
    }
}

/// The body of a request that changes a row.
pub(super) struct RowPatch;

schema::object!(RowPatch, "RowPatch", row_patch_schema);

fn row_patch_schema() -> MetaSchema {
    MetaSchema {
        example: Some(json!({ "born": null })),
        ..object("The fields to change, by their keys; null empties one")
    }
}

/// `{"data":{"breed":[{"value":…,"count":…}]}}`
pub(super) struct FacetsBody;

schema::object!(FacetsBody, "Facets", facets_schema);

fn facets_schema() -> MetaSchema {
    let value = MetaSchema {
        properties: vec![
            ("value", schema::property(MetaSchema::ANY, "A value of the column; null is one")),
            (
                "count",
                schema::property(MetaSchema::new_with_format("integer", "int64"), "How many rows have it"),
            ),
        ],
        required: vec!["value", "count"],
        ..MetaSchema::new("object")
    };
    let columns = MetaSchema {
        description: Some("For each column its values, the most frequent first, at most 1,000"),
        additional_properties: Some(Box::new(inline(array_of(inline(value))))),
        ..MetaSchema::new("object")
    };
    MetaSchema {
        properties: vec![("data", inline(columns))],
        required: vec!["data"],
        example: Some(
            json!({ "data": { "breed": [{ "value": "siberian", "count": 3 }, { "value": null, "count": 1 }] } }),
        ),
        ..MetaSchema::new("object")
    }
}

/// `{"data":[{"town":…,"weight__avg":…}]}`
pub(super) struct StatisticsBody;

schema::object!(StatisticsBody, "Statistics", statistics_schema);

fn statistics_schema() -> MetaSchema {
    let group = object("What was asked for, by the names it was asked by: the group, then the measures");
    MetaSchema {
        properties: vec![("data", inline(array_of(inline(group))))],
        required: vec!["data"],
        example: Some(json!({ "data": [{ "breed": "siberian", "weight__avg": 4.5 }] })),
        ..MetaSchema::new("object")
    }
}

/// A GeoJSON feature collection of groups.
pub(super) struct StatisticsFeatures;

schema::object!(StatisticsFeatures, "StatisticsFeatures", statistics_features_schema);

fn statistics_features_schema() -> MetaSchema {
    features::collection(vec![
        ("geometry", inline(MetaSchema { nullable: true, ..features::point() })),
        ("properties", inline(object("The group and its measures"))),
    ])
}
