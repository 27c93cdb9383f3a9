//! The OpenAPI document of one declared dataset, made of the service's own: concrete paths, the schema of a row, and a parameter for
//! each column and operator.
//!
//! poem-openapi builds the service's document once, from types; there each operation of a dataset has `{name}` in its path. This makes of
//! it what clients can be generated from. It reads nothing but its arguments, so the answer can be kept as long as the dataset's version.

mod parameters;
mod pattern;
mod reach;
mod rows;
#[cfg(test)]
mod tests;
mod values;

use std::sync::Arc;

use serde_json::{Map, Value, json};

use self::{parameters::Parameters, values::Field};
use crate::datasets::Dataset;

/// Below it are the operations of datasets.
const DATASETS: &str = "/datasets/";
/// What imports have beside their rows, which are the built-in datasets' own.
const OF_IMPORTS: [&str; 8] =
    ["", "/cancel", "/pause", "/resume", "/events", "/rejects", "/rejects.csv", "/source"];
const GEO_JSON: &str = "application/geo+json";

/// A dataset with its descriptor.
#[derive(Debug, Clone, Copy)]
struct Described<'a> {
    dataset: &'a Dataset,
    /// Its constraints are as JSON writes values.
    descriptor: &'a Value,
}

impl<'a> Described<'a> {
    fn of(dataset: &'a Dataset) -> Self {
        Self { dataset, descriptor: &dataset.descriptor }
    }
}

/// The document of a dataset. `base` is the service's own document. `referenced` are the datasets that its foreign keys lead to and the
/// reader may see; one that is missing has no parameters.
pub(crate) fn document(base: &Value, dataset: &Dataset, referenced: &[Arc<Dataset>]) -> Value {
    let described = Described::of(dataset);
    let referenced: Vec<_> = referenced.iter().map(|other| Described::of(other)).collect();
    let referenced = referenced.as_slice();
    let fields = values::fields(&described);
    let mut maker = Maker { described, referenced, fields, schemas: Map::new(), filters: Parameters::new() };
    maker.filters = parameters::filters(&described, referenced);
    rows::add(dataset, &maker.fields, &mut maker.schemas);
    let mut paths = Map::new();
    for (path, item) in base["paths"].as_object().into_iter().flatten() {
        let Some((path, tail)) = concrete(path, dataset.name.as_str()) else { continue };
        // Rows of built-in datasets have paths of their own.
        let is_of_rows = ["/rows", "/facets", "/statistics"].iter().any(|part| tail.starts_with(part));
        if is_of_rows && dataset.built_in().is_some() {
            continue;
        }
        let mut item = item.clone();
        maker.rewrite(tail, &mut item);
        paths.insert(path, item);
    }
    let mut document = Map::new();
    document.insert("openapi".to_owned(), base.get("openapi").cloned().unwrap_or_else(|| "3.0.3".into()));
    document.insert("info".to_owned(), info(base, dataset));
    for name in ["servers", "security", "externalDocs"] {
        if let Some(member) = base.get(name) {
            document.insert(name.to_owned(), member.clone());
        }
    }
    document.insert("tags".to_owned(), tags(base, &paths));
    document.insert("paths".to_owned(), paths.into());
    let own = reach::Own { schemas: maker.schemas, parameters: maker.filters.into_iter().collect() };
    let components = reach::components(&base["components"], own, &document);
    document.insert("components".to_owned(), components);
    document.into()
}

/// The path of the dataset's document that is made of one of the service's, and what follows the dataset's name in it.
fn concrete<'a>(path: &'a str, name: &str) -> Option<(String, &'a str)> {
    if let Some(rest) = path.strip_prefix(DATASETS) {
        let (parameter, tail) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        return parameter.starts_with('{').then(|| (format!("{DATASETS}{name}{tail}"), tail));
    }
    let tail = path.strip_prefix("/imports/{")?;
    let (_, tail) = tail.split_once('}')?;
    OF_IMPORTS.contains(&tail).then(|| (path.to_owned(), ""))
}

fn info(base: &Value, dataset: &Dataset) -> Value {
    let mut info = values::into_map(base["info"].clone());
    let title = dataset.title.as_deref().unwrap_or(dataset.name.as_str());
    info.insert("title".to_owned(), title.into());
    info.insert("version".to_owned(), dataset.version.to_string().into());
    let general = info.get("description").and_then(Value::as_str).unwrap_or_default();
    let parts = [dataset.description.as_deref().unwrap_or_default(), general];
    let description = parts.into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("\n\n");
    info.insert("description".to_owned(), description.into());
    info.into()
}

/// The tags that are left.
fn tags(base: &Value, paths: &Map<String, Value>) -> Value {
    let operations = paths.values().filter_map(Value::as_object).flat_map(Map::values);
    let used: Vec<_> =
        operations.filter_map(|operation| operation.get("tags")?.as_array()).flatten().collect();
    let all = base["tags"].as_array().into_iter().flatten();
    all.filter(|tag| used.contains(&&tag["name"])).cloned().collect::<Vec<_>>().into()
}

struct Maker<'a, 'b> {
    described: Described<'a>,
    referenced: &'b [Described<'a>],
    fields: Vec<Field<'a>>,
    /// Schemas of this dataset, which come before the service's of the same names.
    schemas: Map<String, Value>,
    /// Each is described once and referred to by lists, facets and statistics.
    filters: Parameters,
}

impl Maker<'_, '_> {
    fn rewrite(&mut self, tail: &str, item: &mut Value) {
        let Some(operations) = item.as_object_mut() else { return };
        if let Some(parameters) = operations.get_mut("parameters").and_then(Value::as_array_mut) {
            parameters.retain(|parameter| !is_name(parameter));
        }
        for (method, operation) in operations {
            let Some(operation) = operation.as_object_mut() else { continue };
            let is_read = matches!(method.as_str(), "get" | "head");
            let mut own = match tail {
                "/rows" if is_read => parameters::of_list(&self.fields, &mut self.schemas),
                "/facets" if is_read => parameters::of_facets(&self.fields, &mut self.schemas),
                "/statistics" if is_read => {
                    let Self { described, referenced, fields, schemas, .. } = self;
                    parameters::of_statistics(described, referenced, fields, schemas)
                }
                _ => Parameters::new(),
            };
            let is_filtered = is_read && matches!(tail, "/rows" | "/facets" | "/statistics");
            let has_point = self.described.dataset.schema.place().is_some();
            if is_filtered && has_point {
                own.extend(parameters::of_point());
            }
            self.set_parameters(operation, own, is_filtered);
            if !has_point {
                leave_out(operation, GEO_JSON);
            }
            self.set_bodies(tail, method, operation);
        }
    }

    /// Takes the dataset's name away, and puts the dataset's own parameters in place of the general ones of the same names.
    fn set_parameters(&self, operation: &mut Map<String, Value>, own: Parameters, is_filtered: bool) {
        let given = operation.get_mut("parameters").map(Value::take);
        let mut parameters = match given {
            Some(Value::Array(parameters)) => parameters,
            _ => Vec::new(),
        };
        parameters.retain(|parameter| {
            let name = parameter["name"].as_str().unwrap_or_default();
            let is_replaced = parameter["in"] == "query" && own.iter().any(|(own, _)| own == name);
            let is_of_point = is_filtered && ["near", "radius", "bbox"].contains(&name);
            // They are listed one by one.
            let is_general = is_filtered && name == "filters";
            !is_name(parameter) && !is_replaced && !is_of_point && !is_general
        });
        let names: Vec<_> = parameters
            .iter()
            .filter(|parameter| parameter["in"] == "query")
            .filter_map(|parameter| parameter["name"].as_str().map(str::to_owned))
            .collect();
        parameters.extend(own.into_iter().map(|(_, parameter)| parameter));
        if is_filtered {
            let new = self.filters.iter().filter(|(name, _)| !names.contains(name));
            parameters
                .extend(new.map(|(name, _)| json!({ "$ref": format!("#/components/parameters/{name}") })));
        }
        operation.insert("parameters".to_owned(), parameters.into());
    }

    /// Puts the dataset's schemas where rows are sent and answered.
    fn set_bodies(&mut self, tail: &str, method: &str, operation: &mut Map<String, Value>) {
        let (sent, answered, features) = match (tail, method) {
            ("/rows", "get") => (None, Some("RowPage"), Some("RowFeatures")),
            ("/rows", "post") => (Some("NewRow"), Some("Row"), Some("RowFeature")),
            ("/facets", "get") => {
                let facets = rows::facets(&self.fields);
                self.schemas.insert("Facets".to_owned(), facets);
                (None, Some("Facets"), None)
            }
            (tail, method) if is_row(tail) => match method {
                "get" => (None, Some("Row"), Some("RowFeature")),
                "put" => (Some("RowFields"), Some("Row"), Some("RowFeature")),
                "patch" => (Some("RowPatch"), Some("Row"), Some("RowFeature")),
                _ => return,
            },
            (tail, "post") if tail.strip_suffix("/restore").is_some_and(is_row) => {
                (None, Some("Row"), Some("RowFeature"))
            }
            _ => return,
        };
        if let Some(body) = operation.get_mut("requestBody") {
            for media_type in ["application/json", "application/merge-patch+json"] {
                set_schema(body, media_type, sent);
            }
        }
        let answers = operation.get_mut("responses").and_then(Value::as_object_mut).into_iter().flatten();
        for (_, answer) in answers.filter(|(status, _)| status.starts_with('2')) {
            set_schema(answer, "application/json", answered);
            set_schema(answer, GEO_JSON, features);
        }
    }
}

/// Whether it is the path of one row.
fn is_row(tail: &str) -> bool {
    tail.strip_prefix("/rows/{")
        .and_then(|rest| rest.strip_suffix('}'))
        .is_some_and(|name| !name.contains('/'))
}

/// Whether it is the dataset's name, which stands in the path itself now.
fn is_name(parameter: &Value) -> bool {
    parameter["in"] == "path" && parameter["name"] == "name"
}

fn set_schema(holder: &mut Value, media_type: &str, schema: Option<&str>) {
    let (Some(schema), Some(content)) = (schema, holder.get_mut("content")) else { return };
    if let Some(content) = content.get_mut(media_type).and_then(Value::as_object_mut) {
        content.insert("schema".to_owned(), json!({ "$ref": format!("#/components/schemas/{schema}") }));
        // It would be of some other dataset.
        content.shift_remove("example");
        content.shift_remove("examples");
    }
}

/// Takes a media type out of all answers.
fn leave_out(operation: &mut Map<String, Value>, media_type: &str) {
    for (_, answer) in operation.get_mut("responses").and_then(Value::as_object_mut).into_iter().flatten() {
        if let Some(content) = answer.get_mut("content").and_then(Value::as_object_mut) {
            content.shift_remove(media_type);
        }
    }
}
