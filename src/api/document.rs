//! The OpenAPI document: what poem-openapi derives from the handlers, and what it cannot say.

use std::sync::LazyLock;

use poem::endpoint::BoxEndpoint;
use poem::http::Method;
use poem_openapi::{
    ContactObject, LicenseObject, OpenApi, OpenApiService,
    registry::{MetaApi, Registry},
};
use serde_json::{Map, Value, json};

use super::{Resources, access, body, operations, operations::Completed, problem::Kind};

const DESCRIPTION: &str = "Tarmac lands CSV files in PostGIS: validated row by row, loaded exactly once, every reject explained.

* JSON in and out, UTF-8; timestamps are RFC 3339 in UTC. An unknown field or query parameter is refused.
* What is refused is answered with `application/problem+json` (RFC 9457); `GET /problems/{name}` explains each `type`.
* Lists come page by page: `limit`, `cursor`, and `Link: …; rel=\"next\"`.
* Single rows carry an `ETag`; `PUT`, `PATCH` and `DELETE` honour `If-Match`.
* {KEYS}
* Every answer carries `X-Request-Id`, the request's own when it had one.";

/// The line on keys in [`DESCRIPTION`], for a service that requires them and for one that does not.
const KEYS: [&str; 2] = [
    "Operations with a `security` need a key: `Authorization: Bearer …`. `x-scope` is the scope that the key must have; `x-scope-own` is a \
     scope that is enough for an import that was uploaded with the same key. A service that requires no keys says so in the document that \
     it serves.",
    "This service requires no keys. It refuses changes by pages of other sites with 403.",
];

/// The document of a service that requires keys, as JSON.
pub fn json() -> &'static Value {
    static DOCUMENT: LazyLock<Value> = LazyLock::new(|| {
        let mut document = serde_json::from_str(&service().spec()).unwrap_or_default();
        complete(&mut document);
        document
    });
    &DOCUMENT
}

/// The document of a service that requires keys, as YAML.
pub fn yaml() -> Result<String, serde_yaml::Error> {
    serde_yaml::to_string(json())
}

/// The document of one service, and its pages.
pub(super) struct Served {
    /// The document.
    pub(super) json: Value,
    /// Swagger UI with the document and all its assets inside.
    pub(super) swagger_ui: String,
    /// Redoc with the document and all its assets inside.
    pub(super) redoc: String,
}

/// What a service serves that requires keys, or none.
pub(super) fn served(keys_required: bool) -> &'static Served {
    static WITH_KEYS: LazyLock<Served> = LazyLock::new(|| Served::of(json().clone()));
    static WITHOUT_KEYS: LazyLock<Served> = LazyLock::new(|| Served::of(without_keys(json().clone())));
    if keys_required { &WITH_KEYS } else { &WITHOUT_KEYS }
}

impl Served {
    fn of(json: Value) -> Self {
        const FONTS: &str = "<link href=\"https://fonts.googleapis.com/css?family=Montserrat:300,400,700|Roboto:300,400,700\" \
                             rel=\"stylesheet\">";
        // "</script>" inside the document would end the script that holds it.
        let text = json.to_string().replace("</", "<\\/");
        // poem-openapi's pages hold the document as it made it.
        let page = |page: String| page.replace(&service().spec(), &text);
        let swagger_ui = with_selector(&page(service().swagger_ui_html()));
        let redoc = page(service().redoc_html()).replace(FONTS, "");
        Self { json, swagger_ui, redoc }
    }
}

/// Lets Swagger UI show the documents of datasets too. Where there are none that the page may see, it is as it was.
fn with_selector(page: &str) -> String {
    // The bundle has texts of its own that say `<body>`.
    const CONTENT: &str = r#"<div id="ui">"#;
    const SELECTOR: &str = r#"<label id="documents" style="display: none; padding: 1em; font-family: sans-serif">Document
<select></select></label>
<script>
    const dataset = new URLSearchParams(location.search).get("dataset");
    fetch("/datasets", { headers: { Accept: "application/json" } })
        .then((answer) => (answer.ok ? answer.json() : { data: [] }))
        .then(({ data }) => {
            const declared = data.filter(({ kind }) => kind === "declared");
            if (!declared.length && !dataset) return;
            const label = document.getElementById("documents");
            const select = label.querySelector("select");
            select.add(new Option("the whole service", ""));
            for (const { name, title } of declared) select.add(new Option(title ? `${name}: ${title}` : name, name));
            select.value = dataset ?? "";
            select.onchange = () => { location.search = select.value ? `?dataset=${encodeURIComponent(select.value)}` : ""; };
            label.style.display = "block";
        });
</script>
<div id="ui">"#;
    const DOCUMENT: &str =
        "...(dataset ? { url: `/datasets/${encodeURIComponent(dataset)}/openapi.json` } : { spec }),";
    page.replacen(CONTENT, SELECTOR, 1).replacen("spec: spec,", DOCUMENT, 1).replacen(
        "<title>Swagger UI</title>",
        "<title>Tarmac API</title>",
        1,
    )
}

/// What a service says that requires no keys: no operation asks for one, and 403 has another reason.
fn without_keys(mut document: Value) -> Value {
    let description = document["info"]["description"].as_str().unwrap_or_default().replace(KEYS[0], KEYS[1]);
    document["info"]["description"] = description.into();
    if let Some(components) = document["components"].as_object_mut() {
        components.remove("securitySchemes");
    }
    let paths = document["paths"].as_object_mut().into_iter().flat_map(|paths| paths.values_mut());
    let operations = paths.filter_map(Value::as_object_mut).flat_map(|path| path.values_mut());
    for operation in operations.filter_map(Value::as_object_mut) {
        operation.insert("security".to_owned(), json!([]));
        operation.remove("x-scope");
        operation.remove("x-scope-own");
        let Some(answers) = operation.get_mut("responses").and_then(Value::as_object_mut) else { continue };
        answers.remove("401");
        if let Some(forbidden) = answers.get_mut("403").and_then(Value::as_object_mut) {
            forbidden.insert("description".to_owned(), Kind::ForeignPage.title().into());
            forbidden.remove("headers");
        }
    }
    document
}

/// The service of `api`, with its general part.
pub(super) fn service_of<T: OpenApi>(api: T) -> OpenApiService<T, ()> {
    OpenApiService::new(api, "Tarmac", env!("CARGO_PKG_VERSION"))
        .description(DESCRIPTION.replace("{KEYS}", KEYS[0]))
        .license(LicenseObject::new("Apache-2.0").url("https://www.apache.org/licenses/LICENSE-2.0"))
        .contact(ContactObject::new().name("Tarmac"))
        .server("/")
}

fn service() -> OpenApiService<Described, ()> {
    service_of(Described)
}

/// The API as the document needs it: without anything that could answer.
struct Described;

impl OpenApi for Described {
    fn meta() -> Vec<MetaApi> {
        Completed::<Resources>::meta()
    }

    fn register(registry: &mut Registry) {
        Completed::<Resources>::register(registry);
    }

    fn add_routes(
        self,
        _table: &mut std::collections::HashMap<
            String,
            std::collections::HashMap<Method, BoxEndpoint<'static>>,
        >,
    ) {
    }
}

fn complete(document: &mut Value) {
    let paths = Completed::<Resources>::meta();
    for path in paths.iter().flat_map(|api| &api.paths) {
        if let Some(operations) = document["paths"][&path.path].as_object_mut() {
            for operation in &path.operations {
                if let Some(described) = operations.get_mut(operation.method.as_str().to_lowercase().as_str())
                {
                    let any_key = access::is_for_any_key(operation);
                    access::describe(
                        described,
                        access::scope_of(operation),
                        access::is_of_own(operation),
                        any_key,
                    );
                }
            }
            add_head(operations);
            add_options(operations, &path.path, &operations::allowed(path));
            for operation in operations.values_mut() {
                name_headers(operation);
                describe_parameters(operation);
                describe_contents(operation);
            }
        }
    }
    for (name, left_out) in WITH_NULLS {
        allow_nulls(&mut document["components"]["schemas"], name, left_out);
    }
    describe_references(document);
    refuse_unknown_fields(document);
}

/// A described reference is `allOf` of the reference and the description, for poem-openapi; generators of clients take that for
/// two types, and understand it with the description beside.
fn describe_references(value: &mut Value) {
    match value {
        Value::Object(members) => {
            if let Some(parts) = members.get_mut("allOf").and_then(Value::as_array_mut)
                && parts.len() == 2
                && parts[0].get("$ref").is_some()
                && let Some(Value::Object(description)) = parts.pop_if(|part| part.get("$ref").is_none())
            {
                members.extend(description);
            }
            members.values_mut().for_each(describe_references);
        }
        Value::Array(items) => items.iter_mut().for_each(describe_references),
        _ => {}
    }
}

/// Objects of answers whose fields are there every time, null where there is nothing to say, but for the fields named beside
/// them; other objects leave such fields out. One that is a part of another comes before it.
const WITH_NULLS: [(&str, &[&str]); 11] = [
    ("DialectContract", &[]),
    ("ImportContract", &[]),
    ("ImportCounts", &[]),
    ("ImportNote", &[]),
    ("ImportRemoval", &[]),
    ("Import", &[]),
    ("Reject", &[]),
    ("RejectFault", &[]),
    ("Demand", &["age_to"]),
    ("Consumer", &[]),
    ("LogLine", &[]),
];

fn allow_nulls(schemas: &mut Value, name: &str, left_out: &[&str]) {
    let properties = schemas[name]["properties"].as_object().into_iter().flat_map(Map::keys);
    let names: Vec<_> = properties.filter(|name| !left_out.contains(&name.as_str())).cloned().collect();
    let never: Vec<_> = schemas[name]["required"].as_array().into_iter().flatten().cloned().collect();
    for property in names.iter().filter(|property| !never.iter().any(|name| name == *property)) {
        // Beside a reference nothing else counts, so what it leads to stands here itself.
        let reference = references(&schemas[name]["properties"][property]).pop();
        if let Some(reference) = reference {
            schemas[name]["properties"][property] = schemas[&reference].clone();
        }
        schemas[name]["properties"][property]["nullable"] = true.into();
    }
    schemas[name]["required"] = names.into();
}

/// What parameters of these names are everywhere.
fn describe_parameters(operation: &mut Value) {
    let parameters = operation.get_mut("parameters").and_then(Value::as_array_mut);
    for parameter in parameters.into_iter().flatten() {
        match parameter["name"].as_str() {
            Some("limit") => parameter["schema"]["minimum"] = 1.into(),
            Some("cursor") => parameter["schema"]["pattern"] = "^[A-Za-z0-9_-]+$".into(),
            _ => {}
        }
    }
}

/// Media types whose content poem-openapi takes for something else.
fn describe_contents(operation: &mut Value) {
    let answers = operation["responses"].as_object_mut().into_iter().flat_map(|answers| answers.values_mut());
    for answer in answers {
        let Some(contents) = answer.get_mut("content").and_then(Value::as_object_mut) else { continue };
        for (media_type, content) in contents {
            match media_type.as_str() {
                "application/yaml" => content["schema"] = json!({ "type": "object" }),
                "text/event-stream" => {
                    let data = content["schema"]["items"].take();
                    content["schema"] = json!({
                        "type": "object",
                        "description": "One event. Its `data` is JSON.",
                        "properties": {
                            "event": { "type": "string" },
                            "data": { "type": "string", "x-json": data },
                        },
                    });
                }
                _ => {}
            }
        }
    }
}

/// `HEAD` is `GET` without the body.
fn add_head(operations: &mut Map<String, Value>) {
    let Some(get) = operations.get("get").filter(|_| !operations.contains_key("head")) else { return };
    let mut head = get.clone();
    head["operationId"] = format!("head_{}", get["operationId"].as_str().unwrap_or_default()).into();
    head["summary"] = "The headers of GET".into();
    if let Some(head) = head.as_object_mut() {
        head.remove("description");
    }
    for answer in head["responses"].as_object_mut().into_iter().flat_map(|answers| answers.values_mut()) {
        if let Some(answer) = answer.as_object_mut() {
            answer.remove("content");
        }
    }
    operations.insert("head".to_owned(), head);
}

fn add_options(operations: &mut Map<String, Value>, path: &str, allow: &str) {
    let header = json!({
        "description": "The methods of this path",
        "required": true,
        "schema": { "type": "string", "example": allow },
    });
    if let Some(options) = operations.get_mut("options") {
        options["responses"]["200"]["headers"]["Allow"] = header;
        return;
    }
    let words: Vec<_> =
        path.split(|c: char| !c.is_ascii_alphanumeric()).filter(|word| !word.is_empty()).collect();
    let name = if words.is_empty() { "root".to_owned() } else { words.join("_") };
    let parameters: Vec<_> = operations
        .values()
        .find_map(|operation| operation["parameters"].as_array())
        .into_iter()
        .flatten()
        .filter(|parameter| parameter["in"] == "path")
        .cloned()
        .map(|mut parameter| {
            // Whatever it is, it is not looked at.
            parameter["schema"] = json!({ "type": "string" });
            parameter
        })
        .collect();
    let tags = operations.values().find_map(|operation| operation.get("tags")).cloned().unwrap_or(json!([]));
    operations.insert(
        "options".to_owned(),
        json!({
            "tags": tags,
            "summary": "The methods of this path",
            "parameters": parameters,
            "security": [],
            "responses": { "200": { "description": "In the header `Allow`", "headers": { "Allow": header } } },
            "operationId": format!("options_{name}"),
        }),
    );
}

/// poem-openapi writes header names in capitals.
fn name_headers(operation: &mut Value) {
    for answer in operation["responses"].as_object_mut().into_iter().flat_map(|answers| answers.values_mut())
    {
        let Some(headers) = answer["headers"].as_object_mut() else {
            if let Some(answer) = answer.as_object_mut() {
                answer.remove("headers");
            }
            continue;
        };
        *headers =
            std::mem::take(headers).into_iter().map(|(name, header)| (usual_case(&name), header)).collect();
    }
}

fn usual_case(header: &str) -> String {
    if header.eq_ignore_ascii_case("etag") {
        return "ETag".to_owned();
    }
    let words = header.split('-').map(|word| match word.split_at_checked(1) {
        Some((first, rest)) => first.to_ascii_uppercase() + &rest.to_ascii_lowercase(),
        None => String::new(),
    });
    words.collect::<Vec<_>>().join("-")
}

/// Marks every object that a JSON body is made of as closed.
fn refuse_unknown_fields(document: &mut Value) {
    let operations =
        document["paths"].as_object().into_iter().flat_map(Map::values).filter_map(Value::as_object);
    let contents = operations
        .flat_map(Map::values)
        .filter_map(|operation| operation["requestBody"]["content"].as_object())
        .flatten()
        .filter(|(media_type, _)| body::is_json(media_type));
    let mut names: Vec<String> = contents.flat_map(|(_, content)| references(&content["schema"])).collect();
    let mut closed: Vec<String> = Vec::new();
    while let Some(name) = names.pop() {
        if closed.contains(&name) {
            continue;
        }
        let schema = &mut document["components"]["schemas"][&name];
        if schema["type"] == "object" && schema.get("additionalProperties").is_none() {
            schema["additionalProperties"] = false.into();
        }
        names.extend(references(schema));
        closed.push(name);
    }
}

/// The names of the schemas that `schema` refers to.
fn references(schema: &Value) -> Vec<String> {
    match schema {
        Value::Object(members) => members
            .iter()
            .flat_map(|(name, value)| match value.as_str().filter(|_| name == "$ref") {
                Some(reference) => reference.rsplit('/').next().map(str::to_owned).into_iter().collect(),
                None => references(value),
            })
            .collect(),
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn header_names_are_written_as_people_know_them() {
        assert_eq!(usual_case("RETRY-AFTER"), "Retry-After");
        assert_eq!(usual_case("ETAG"), "ETag");
    }

    #[test]
    fn the_pages_hold_the_completed_document_and_load_nothing_from_elsewhere() {
        for page in
            [&served(true).swagger_ui, &served(false).swagger_ui, &served(true).redoc, &served(false).redoc]
        {
            assert!(page.contains("options_airports"));
            assert!(!page.contains("fonts.googleapis.com/css"));
        }
    }
}
