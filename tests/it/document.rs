//! The OpenAPI document and its pages.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use tarmac::api::document;

use crate::support::App;

fn operations() -> impl Iterator<Item = (String, &'static Value)> {
    let paths = document::json()["paths"].as_object().expect("the document has paths");
    paths.iter().flat_map(|(path, operations)| {
        let operations = operations.as_object().expect("a path has operations");
        operations.iter().map(move |(method, operation)| (format!("{method} {path}"), operation))
    })
}

#[test]
fn the_document_is_the_same_every_time() {
    assert_eq!(document::yaml().expect("it can be written"), document::yaml().expect("it can be written"));
}

#[test]
fn every_operation_has_a_name_a_summary_and_described_parameters() {
    let mut names = BTreeSet::new();
    for (place, operation) in operations() {
        let name = operation["operationId"].as_str().unwrap_or_default();
        assert!(!name.is_empty() && names.insert(name), "{place}: operationId {name:?}");
        assert!(
            operation["summary"].as_str().is_some_and(|summary| !summary.is_empty()),
            "{place}: no summary"
        );
        for parameter in operation["parameters"].as_array().into_iter().flatten() {
            let described = parameter["description"].as_str().is_some_and(|text| !text.is_empty());
            assert!(described, "{place}: {} is not described", parameter["name"]);
        }
        for (status, answer) in operation["responses"].as_object().expect("there are responses") {
            assert!(answer["description"].as_str().is_some_and(|text| !text.is_empty()), "{place}: {status}");
        }
    }
}

#[test]
fn every_json_body_is_closed_and_has_an_example() {
    for (place, operation) in operations() {
        let content = operation["requestBody"]["content"].as_object().into_iter().flatten();
        for (media_type, content) in content.filter(|(media_type, _)| media_type.ends_with("json")) {
            let reference = content["schema"]["$ref"].as_str().unwrap_or_default();
            let schema =
                &document::json()["components"]["schemas"][reference.rsplit('/').next().unwrap_or_default()];
            // What a dataset's rows have, its own document says; a declaration may have members that Tarmac does not know.
            let is_open = ["NewRow", "RowFields", "RowPatch", "Declaration"]
                .iter()
                .any(|name| reference.ends_with(name));
            assert_eq!(schema["additionalProperties"] == false, !is_open, "{place}: {media_type}");
            assert!(schema["example"].is_object(), "{place}: {media_type} has no example");
        }
    }
}

#[test]
fn references_lead_somewhere() {
    fn check(value: &Value) {
        match value {
            Value::Object(members) => {
                if let Some(reference) = members.get("$ref").and_then(Value::as_str) {
                    let pointer = reference.trim_start_matches('#');
                    assert!(document::json().pointer(pointer).is_some(), "{reference}");
                }
                members.values().for_each(check);
            }
            Value::Array(items) => items.iter().for_each(check),
            _ => {}
        }
    }
    check(document::json());
}

#[tokio::test]
async fn the_service_serves_its_document() {
    let app = App::with(&[("auth.required", "true")]).await;
    let served = app.client.get("/openapi.json").send().await.expect(200).json();
    assert_eq!(&served, document::json());
    let yaml = app.client.get("/openapi.yaml").send().await.expect(200).text();
    assert_eq!(yaml, document::yaml().expect("it can be written"));
}

#[tokio::test]
async fn a_service_without_keys_asks_for_none_in_its_document() {
    let app = App::start().await;
    let served = app.client.get("/openapi.json").send().await.expect(200).json();
    assert!(served["components"].get("securitySchemes").is_none());
    for (path, operations) in served["paths"].as_object().expect("the document has paths") {
        for (method, operation) in operations.as_object().expect("a path has operations") {
            assert_eq!(operation["security"], json!([]), "{method} {path}");
            assert!(operation.get("x-scope").is_none(), "{method} {path}");
            assert!(operation["responses"].get("401").is_none(), "{method} {path}");
        }
    }
    let description = served["info"]["description"].as_str().expect("a description");
    assert!(description.contains("requires no keys"), "{description}");
    let yaml = app.client.get("/openapi.yaml").send().await.expect(200).text();
    assert_eq!(serde_yaml::from_str::<Value>(&yaml).expect("it is YAML"), served);
    let page = app.client.get("/docs").send().await.expect(200).text();
    assert!(!page.contains("securitySchemes\":{\"key"), "the page asks for no key");
}

#[test]
fn what_a_log_line_says_nothing_of_is_null() {
    let line = &document::json()["components"]["schemas"]["LogLine"];
    for field in ["request_id", "import_id", "chunk"] {
        assert_eq!(line["properties"][field]["nullable"], true, "{field}");
        assert!(line["required"].as_array().expect("a list").contains(&json!(field)), "{field}");
    }
}

#[tokio::test]
async fn the_pages_show_the_document_without_help_from_elsewhere() {
    let app = App::start().await;
    for path in ["/", "/docs", "/redoc"] {
        let answer = app.client.get(path).send().await.expect(200);
        let page = answer.text();
        assert!(page.contains("options_airports"), "{path} shows the completed document");
        for outside in ["src=\"http", "href=\"https://fonts", "<link "] {
            assert!(!page.contains(outside), "{path} loads {outside}");
        }
        let policy = answer.header("content-security-policy").unwrap_or_default();
        assert!(policy.starts_with("default-src 'none'"), "{path}: {policy}");
    }
}

#[tokio::test]
async fn every_type_of_problem_is_explained_where_it_points() {
    let app = App::start().await;
    let refused = app.client.get("/airports/1").send().await.expect(404).json();
    let place = refused["type"].as_str().expect("a type");
    let explained = app.client.get(place).send().await.expect(200).json();
    assert_eq!((&explained["title"], &explained["status"]), (&refused["title"], &refused["status"]));
    app.client.get("/problems/nothing").send().await.expect(404);
}
