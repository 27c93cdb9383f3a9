//! Datasets in answers.

use poem_openapi::{
    Object,
    registry::MetaSchema,
    types::{Example, ToJSON},
};
use serde_json::{Value as Json, json};

use crate::{
    api::schema,
    datasets::{
        Dataset,
        change::{Change, Class, Plan},
        descriptor::Descriptor,
    },
    db::catalog::{Listed, Offender},
};

/// The datasets that the caller may see
#[derive(Debug, Object)]
#[oai(example)]
pub(super) struct DatasetList {
    /// By name, the built-in ones first.
    pub(super) data: Vec<DatasetView>,
}

impl Example for DatasetList {
    fn example() -> Self {
        Self { data: vec![DatasetView::example()] }
    }
}

/// A dataset in the list of all
#[derive(Debug, Object)]
#[oai(example)]
pub(super) struct DatasetView {
    /// What the paths name.
    name: String,
    /// For people.
    title: Option<String>,
    /// `built_in` or `declared`.
    kind: String,
    /// 1, and one more with each change.
    version: i32,
    /// About how many rows it has.
    rows_estimate: i64,
    /// Paths of this API.
    links: Links,
}

/// Paths of a dataset
#[derive(Debug, Object)]
#[oai(skip_serializing_if_is_none)]
struct Links {
    /// Itself.
    #[oai(rename = "self")]
    own: String,
    /// Where files of it are uploaded.
    imports: String,
    /// Its rows.
    rows: String,
    /// Its columns, as Table Schema has them.
    schema: String,
    /// Its OpenAPI document.
    openapi: Option<String>,
}

impl Links {
    fn of(name: &str, is_declared: bool) -> Self {
        let below = |what: &str| format!("/datasets/{name}/{what}");
        Self {
            own: format!("/datasets/{name}"),
            imports: below("imports"),
            rows: match name {
                "airports" => "/airports".to_owned(),
                "citizens" => "/imports?dataset=citizens".to_owned(),
                _ => below("rows"),
            },
            schema: below("schema"),
            openapi: is_declared.then(|| below("openapi.json")),
        }
    }
}

impl DatasetView {
    pub(super) fn built_in(dataset: &Dataset, rows_estimate: i64) -> Self {
        let name = dataset.name.as_str().to_owned();
        Self {
            links: Links::of(&name, false),
            title: dataset.title.as_deref().map(ToOwned::to_owned),
            kind: "built_in".to_owned(),
            version: dataset.version,
            rows_estimate,
            name,
        }
    }

    pub(super) fn declared(listed: Listed) -> Self {
        let Listed { id: _, name, version, title, private: _, rows_estimate } = listed;
        Self {
            links: Links::of(&name, true),
            title,
            kind: "declared".to_owned(),
            version,
            rows_estimate,
            name,
        }
    }
}

impl Example for DatasetView {
    fn example() -> Self {
        Self {
            name: "cats".to_owned(),
            title: Some("Cats".to_owned()),
            kind: "declared".to_owned(),
            version: 1,
            rows_estimate: 120,
            links: Links::of("cats", true),
        }
    }
}

/// The descriptor of a dataset as it was declared, with defaults filled in.
pub(super) struct DescriptorView(Json);

schema::object!(DescriptorView, "Descriptor", descriptor_schema);

fn descriptor_schema() -> MetaSchema {
    MetaSchema {
        description: Some(
            "A Data Resource (Frictionless) with the Table Schema of the dataset, defaults filled in, its version and links",
        ),
        example: Some(example()),
        ..MetaSchema::new("object")
    }
}

/// The document's example of a declaration.
pub(super) fn example() -> Json {
    json!({
        "title": "Cats",
        "schema": {
            "fields": [
                { "name": "name", "type": "string", "constraints": { "required": true, "maxLength": 80 } },
                { "name": "breed", "type": "string", "constraints": { "enum": ["siberian", "sphynx"] } },
                { "name": "born", "type": "date", "format": "%d.%m.%Y" },
                { "name": "weight", "type": "number" },
            ],
            "primaryKey": ["name"],
        },
    })
}

impl DescriptorView {
    pub(super) fn of(dataset: &Dataset) -> Self {
        let mut members = dataset.descriptor.as_object().cloned().unwrap_or_default();
        members.insert("version".to_owned(), dataset.version.into());
        let links = Links::of(dataset.name.as_str(), dataset.built_in().is_none());
        members.insert("links".to_owned(), links.to_json().unwrap_or_default());
        Self(members.into())
    }
}

impl ToJSON for DescriptorView {
    fn to_json(&self) -> Option<Json> {
        Some(self.0.clone())
    }
}

/// A Table Schema, or the JSON Schema of a row.
pub(super) struct SchemaView(pub(super) Json);

schema::object!(SchemaView, "TableSchema", schema_schema);

fn schema_schema() -> MetaSchema {
    MetaSchema {
        description: Some("The columns: as a Table Schema, or as a JSON Schema of a row"),
        example: Some(json!({ "fields": [{ "name": "name", "type": "string" }] })),
        ..MetaSchema::new("object")
    }
}

impl ToJSON for SchemaView {
    fn to_json(&self) -> Option<Json> {
        Some(self.0.clone())
    }
}

/// What a declaration would change.
pub(super) struct PlanView {
    plan: Plan,
    /// For each change the rows that stand against it.
    rows: Vec<Vec<String>>,
}

impl PlanView {
    /// Of `new`, which `offenders` stand against.
    pub(super) fn new(plan: Plan, new: &Descriptor, offenders: &[Offender]) -> Self {
        let of_columns = |change: &Change, offender: &Offender| {
            let keys = change.what.keys();
            let column = new.columns().iter().find(|column| *column.name == *offender.column);
            change.class == Class::Checked
                && (keys.is_empty() || column.is_some_and(|column| keys.contains(&&column.key)))
        };
        let rows = plan.changes.iter().map(|change| {
            let own = offenders.iter().filter(|offender| of_columns(change, offender));
            own.map(|offender| offender.id.clone()).collect()
        });
        Self { rows: rows.collect(), plan }
    }
}

schema::object!(PlanView, "Plan", plan_schema);

fn plan_schema() -> MetaSchema {
    MetaSchema {
        description: Some(
            "What a declaration would change. `class` is that of the gravest change: `none`, `metadata`, `instant`, `checked` or `refused`. \
             A change that stored rows stand against has their `_id`s, at most 100 together",
        ),
        example: Some(json!({
            "class": "instant",
            "changes": [{ "class": "instant", "pointer": "/schema/fields/4", "message": "the field colour is added", "rows": [] }],
        })),
        ..MetaSchema::new("object")
    }
}

impl ToJSON for PlanView {
    fn to_json(&self) -> Option<Json> {
        let changes: Vec<_> = self
            .plan
            .changes
            .iter()
            .zip(&self.rows)
            .map(|(change, rows)| {
                json!({
                    "class": change.class.as_str(), "pointer": change.pointer, "message": change.message, "rows": rows,
                })
            })
            .collect();
        Some(json!({ "class": self.plan.class.as_str(), "changes": changes }))
    }
}
