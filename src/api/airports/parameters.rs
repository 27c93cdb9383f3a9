//! An airport in query parameters, checked by the rules of a file.

use std::collections::HashMap;

use poem::{FromRequest, Request, RequestBody, endpoint::BoxEndpoint, http::Method};
use poem_openapi::{
    OpenApi,
    registry::{MetaApi, MetaOperationParam, MetaParamIn, MetaSchema, MetaSchemaRef, Registry},
};
use serde_json::{Map, Value as Json};

use super::fields::{column, example, json_name};
use crate::{
    api::{
        problem::{Invalid, Violation},
        schema,
    },
    datasets::{
        Column, Value,
        airport::{ANY_DAY, DATASET},
        date,
    },
};

/// Those of a request that are columns of the dataset.
#[derive(Debug, Clone)]
pub(in crate::api) struct ColumnParameters(Vec<(String, String)>);

impl<'a> FromRequest<'a> for ColumnParameters {
    async fn from_request(request: &'a Request, _body: &mut RequestBody) -> poem::Result<Self> {
        let given: Vec<(String, String)> = request.params().unwrap_or_default();
        Ok(Self(given.into_iter().filter(|(name, _)| column(name).is_some()).collect()))
    }
}

impl ColumnParameters {
    /// The given ones as they would stand in a JSON body.
    pub(in crate::api) fn given(&self) -> Result<Map<String, Json>, Invalid> {
        self.read(DATASET.columns.iter().filter(|column| self.value(column).is_some()))
    }

    /// All of them; one that is not given is null, and refused where it is required.
    pub(in crate::api) fn all(&self) -> Result<Map<String, Json>, Invalid> {
        self.read(DATASET.columns.iter())
    }

    fn value(&self, column: &Column) -> Option<&str> {
        self.0.iter().find(|(name, _)| name == json_name(column)).map(|(_, value)| value.as_str())
    }

    fn read(&self, columns: impl Iterator<Item = &'static Column>) -> Result<Map<String, Json>, Invalid> {
        let mut json = Map::new();
        let mut faults = Vec::new();
        for column in columns {
            let name = json_name(column);
            match column.parse(self.value(column).unwrap_or_default(), DATASET.null, ANY_DAY) {
                Ok(value) => drop(json.insert(name.to_owned(), to_json(value))),
                Err(fault) => faults.push(Violation::of_parameter(name, fault)),
            }
        }
        if faults.is_empty() { Ok(json) } else { Err(Invalid::because(faults)) }
    }
}

fn to_json(value: Value<'_>) -> Json {
    match value {
        Value::Null => Json::Null,
        Value::Text(text) => text.into(),
        Value::Integer(number) => number.into(),
        Value::Number(number) => number.into(),
        Value::Date(date) => String::from_utf8_lossy(&date::format(date)).into(),
        Value::Integers(numbers) => numbers.into(),
        other => serde_json::from_str(&other.json()).unwrap_or_default(),
    }
}

/// Documents the dataset's columns as query parameters of a resource's `GET` and `HEAD`, which read them by
/// [`ColumnParameters`]. `WHOLE`: the required columns have to be given.
pub(in crate::api) struct ColumnsAsParameters<T, const WHOLE: bool>(pub(in crate::api) T);

impl<T: OpenApi, const WHOLE: bool> OpenApi for ColumnsAsParameters<T, WHOLE> {
    fn meta() -> Vec<MetaApi> {
        let mut apis = T::meta();
        let operations = apis.iter_mut().flat_map(|api| &mut api.paths).flat_map(|path| &mut path.operations);
        for operation in
            operations.filter(|operation| [Method::GET, Method::HEAD].contains(&operation.method))
        {
            operation.params.extend(DATASET.columns.iter().map(|column| parameter(column, WHOLE)));
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

/// The documentation's pages fill in examples: right for a whole airport, harmful where each one is a change.
fn parameter(column: &Column, whole: bool) -> MetaOperationParam {
    let example = if whole { example() } else { Json::Null };
    let name = json_name(column);
    MetaOperationParam {
        name: name.to_owned(),
        schema: MetaSchemaRef::Inline(Box::new(emptiable(
            column,
            schema::not_null(schema::of_column(column, example.get(name))),
        ))),
        in_type: MetaParamIn::Query,
        description: Some(format!("{}: {}", column.description, column.rule())),
        required: whole && column.required,
        deprecated: false,
        explode: true,
        style: None,
    }
}

/// As in a file, nothing is null, where null may be.
fn emptiable(column: &Column, mut schema: MetaSchema) -> MetaSchema {
    if !column.required && schema.ty == "string" {
        schema.min_length = None;
        schema.pattern = schema.pattern.map(|pattern| format!("^$|{pattern}"));
        if !schema.enum_items.is_empty() {
            schema.enum_items.push("".into());
        }
    }
    schema
}
