//! `OPTIONS`, `HEAD` and `Allow`, on every path of the document.

use reqwest::Method;
use serde_json::Value;
use tarmac::api::document;

use crate::support::App;

fn paths() -> impl Iterator<Item = (String, Vec<String>)> {
    let paths = document::json()["paths"].as_object().expect("the document has paths");
    paths.iter().map(|(path, operations)| {
        let methods = operations.as_object().expect("a path has operations").keys();
        (path.clone(), methods.map(|method| method.to_uppercase()).collect())
    })
}

/// Every parameter of the path is 1, and the dataset one that there is.
fn concrete(path: &str) -> String {
    let path = path.replace("/datasets/{name}", "/datasets/airports");
    path.split('/').map(|part| if part.starts_with('{') { "1" } else { part }).collect::<Vec<_>>().join("/")
}

fn sorted(allow: &str) -> Vec<String> {
    let mut methods: Vec<_> = allow.split(", ").map(str::to_owned).collect();
    methods.sort_unstable();
    methods
}

#[tokio::test]
async fn every_path_answers_options_with_exactly_its_methods() {
    let app = App::start().await;
    for (path, mut methods) in paths() {
        methods.sort_unstable();
        let answer = app.client.request(Method::OPTIONS, &concrete(&path)).send().await.expect(200);
        assert_eq!(sorted(answer.header("allow").unwrap_or_default()), methods, "{path}");
    }
}

#[tokio::test]
async fn a_method_that_a_path_does_not_have_is_405_with_allow() {
    let app = App::start().await;
    for (path, mut methods) in paths() {
        methods.sort_unstable();
        for method in ["PUT", "POST", "DELETE", "PATCH", "TRACE", "PROPFIND"] {
            if methods.iter().any(|known| known == method) {
                continue;
            }
            let method = Method::from_bytes(method.as_bytes()).expect("a method");
            let answer = app.client.request(method, &concrete(&path)).send().await.expect(405);
            assert_eq!(sorted(answer.header("allow").unwrap_or_default()), methods, "{path}");
        }
    }
}

#[tokio::test]
async fn head_is_wherever_get_is() {
    for (path, methods) in paths() {
        let has = |wanted: &str| methods.iter().any(|method| method == wanted);
        assert_eq!(has("HEAD"), has("GET"), "{path}");
    }
}

#[tokio::test]
async fn head_has_the_headers_of_get_and_no_body() {
    let app = App::start().await;
    app.airport(serde_json::json!({})).await;
    for path in ["/airports", "/airports/1", "/health/live", "/openapi.yaml", "/airports/2"] {
        let get = app.client.get(path).send().await;
        let head = app.client.request(Method::HEAD, path).send().await;
        assert_eq!(head.status, get.status, "{path}");
        assert!(head.body.is_empty(), "{path}");
        for name in ["content-type", "content-length", "etag", "link"] {
            assert_eq!(head.header(name), get.header(name), "{path}: {name}");
        }
    }
}

#[tokio::test]
async fn head_never_acts() {
    let app = App::start().await;
    app.airport(serde_json::json!({})).await;
    let fields = "name=A&country=B&latitude=1&longitude=2";
    for path in ["/delete?id=1".to_owned(), format!("/create?{fields}"), "/update?id=1&name=A".to_owned()] {
        let head = app.client.request(Method::HEAD, &path).send().await.expect(200);
        assert_eq!(head.header("cache-control"), Some("no-store"), "{path}");
    }
    for path in ["/delete?id=2", "/update?id=2"] {
        app.client.request(Method::HEAD, path).send().await.expect(404);
    }
    app.client.request(Method::HEAD, "/create?name=A").send().await.expect(400);
    let airport: Value = app.client.get("/airports/1").send().await.expect(200).json();
    assert_eq!(airport["version"], 1);
    let prepared: i64 = sqlx::query_scalar("select count(*) from pending_changes")
        .fetch_one(&app.database.pool)
        .await
        .expect("the table can be read");
    assert_eq!(prepared, 0);
}
