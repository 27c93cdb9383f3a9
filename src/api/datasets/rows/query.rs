//! The query parameters of rows. They are named by columns, so the document of all datasets can only say how they are named; that of a
//! single dataset lists them. All of them are read by [`crate::datasets::query`].

use std::collections::HashMap;

use poem::{FromRequest, Request, RequestBody, endpoint::BoxEndpoint, http::Method};
use poem_openapi::{
    OpenApi,
    registry::{MetaApi, MetaOperationParam, MetaParamIn, MetaSchema, MetaSchemaRef, Registry},
};

/// All query parameters of a request, in their order.
#[derive(Debug, Clone)]
pub(super) struct RowParameters(pub(super) Vec<(String, String)>);

impl<'a> FromRequest<'a> for RowParameters {
    async fn from_request(request: &'a Request, _body: &mut RequestBody) -> poem::Result<Self> {
        Ok(Self(request.params().unwrap_or_default()))
    }
}

/// Documents the query parameters of a resource's `GET`, which reads them by [`RowParameters`].
pub(in crate::api) struct Filtered<T>(pub(in crate::api) T);

impl<T: OpenApi> OpenApi for Filtered<T> {
    fn meta() -> Vec<MetaApi> {
        let mut apis = T::meta();
        for path in apis.iter_mut().flat_map(|api| &mut api.paths) {
            let own = match path.path.rsplit('/').next() {
                Some("facets") => of_facets(),
                Some("statistics") => of_statistics(),
                _ => of_list(),
            };
            for operation in path.operations.iter_mut().filter(|operation| operation.method == Method::GET) {
                operation.params.extend(own.iter().map(copy).chain(filters()));
            }
        }
        apis
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn add_routes(self, table: &mut HashMap<String, HashMap<Method, BoxEndpoint<'static>>>) {
        self.0.add_routes(table);
    }
}

fn copy(parameter: &MetaOperationParam) -> MetaOperationParam {
    MetaOperationParam {
        name: parameter.name.clone(),
        schema: parameter.schema.clone(),
        in_type: parameter.in_type,
        description: parameter.description.clone(),
        required: parameter.required,
        deprecated: parameter.deprecated,
        explode: parameter.explode,
        style: parameter.style,
    }
}

fn parameter(name: &str, schema: MetaSchema, explode: bool, description: &str) -> MetaOperationParam {
    MetaOperationParam {
        name: name.to_owned(),
        schema: inline(schema),
        in_type: MetaParamIn::Query,
        description: Some(description.to_owned()),
        required: false,
        deprecated: false,
        explode,
        style: None,
    }
}

fn inline(schema: MetaSchema) -> MetaSchemaRef {
    MetaSchemaRef::Inline(Box::new(schema))
}

fn text() -> MetaSchema {
    MetaSchema::new("string")
}

fn texts(most: Option<usize>) -> MetaSchema {
    MetaSchema { items: Some(Box::new(inline(text()))), max_items: most, ..MetaSchema::new("array") }
}

fn of_list() -> Vec<MetaOperationParam> {
    let limit = MetaSchema { minimum: Some(1.0), ..MetaSchema::new_with_format("integer", "uint64") };
    let sort = "Up to 4 columns, with commas between them or one a parameter; `-` before one: descending. Null comes last either way, and `_id` ends it. With `near`, `_distance_m` is a column too, and what is sorted by unless `sort` is given.";
    vec![
        parameter("limit", limit, true, "Rows of a page."),
        parameter("cursor", text(), true, "Where to go on, from the `Link` of the page before."),
        parameter("sort", texts(None), false, sort),
        parameter(
            "fields",
            texts(None),
            false,
            "The columns to show, with commas between them or one a parameter; `_id` is always there.",
        ),
    ]
}

fn of_facets() -> Vec<MetaOperationParam> {
    let description = "Up to 4 columns, with commas between them or one a parameter.";
    vec![MetaOperationParam { required: true, ..parameter("columns", texts(None), false, description) }]
}

fn of_statistics() -> Vec<MetaOperationParam> {
    let by = "What the rows are grouped by, up to 4: a column, or behind `__` what of it: `born__year`, `quarter`, `month`, `week`, `day`, `age`, `age10`, `weight__step25`; a column over a reference, `owner.town`.";
    let measure = "What is told of each group, up to 16: `count`, or of a column `weight__avg`, `count`, `distinct`, `sum`, `min`, `max`, `p1` to `p99`. `count` unless given.";
    let tz = "The time zone in which points in time are days, by IANA's name; UTC unless given.";
    vec![
        parameter("by", texts(None), true, by),
        parameter("measure", texts(None), true, measure),
        parameter("tz", text(), true, tz),
    ]
}

/// What all of them have.
fn filters() -> Vec<MetaOperationParam> {
    let radius = MetaSchema { minimum: Some(0.0), ..MetaSchema::new_with_format("number", "double") };
    let filters =
        MetaSchema { additional_properties: Some(Box::new(inline(text()))), ..MetaSchema::new("object") };
    vec![
        parameter("q", texts(None), true, "A part of any text, in any case."),
        parameter("near", text(), true, "`longitude,latitude` in degrees, together with `radius`."),
        parameter("radius", radius, true, "Metres from `near`, on the sphere."),
        parameter(
            "bbox",
            text(),
            true,
            "`west,south,east,north` in degrees; where west is greater than east it crosses the antimeridian.",
        ),
        parameter(
            "_deleted",
            MetaSchema::new("boolean"),
            true,
            "Deleted rows too; the key needs the scope `write` for the dataset.",
        ),
        parameter(
            "filters",
            filters,
            true,
            "One parameter for each column and operator: `breed=siberian`, `weight__gte=3`, `owner.town=Split`. \
             The same parameter again means any of its values, different parameters all hold. Operators are `not`, `contains`, `starts`, \
             `gt`, `gte`, `lt`, `lte`, `has` and `null`, each where the column's type has it; `/datasets/{name}/openapi.json` lists them all.",
        ),
    ]
}
