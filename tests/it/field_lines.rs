//! Headers in several lines: a list is one list, and what must be single is not guessed.

use serde_json::{Value, json};

use crate::support::{
    App,
    app::airport,
    files::{gzip, row, rows},
    imports::post_csv,
    raw::exchange,
};

#[tokio::test]
async fn a_preference_in_a_second_line_is_honoured() {
    let app = App::start().await;
    let request =
        app.client.post("/airports").header("Prefer", "respond-async").header("Prefer", "return=minimal");
    let answer = request.json(airport(json!({}))).send().await.expect(201);
    assert_eq!(answer.header("preference-applied"), Some("return=minimal"));
    assert!(answer.body.is_empty());
    let request = app.client.post("/upload").header("Content-Type", "text/csv");
    let request = request.header("Prefer", "handling=strict").header("Prefer", "wait=60").body(row(1));
    let answer = request.send().await.expect(200);
    assert_eq!(answer.header("preference-applied"), Some("handling=strict, wait=60"));
}

#[tokio::test]
async fn a_version_in_a_second_line_counts() {
    let app = App::start().await;
    app.airport(json!({})).await;
    let patch = || app.client.patch("/airports/1").json(json!({ "city": "Keflavik" }));
    patch().header("If-Match", "\"8\"").header("If-Match", "\"9\"").send().await.expect(412);
    patch().header("If-Match", "\"9\"").header("If-Match", "\"1\"").send().await.expect(200);
    let get = app.client.get("/airports/1").header("If-None-Match", "\"1\"").header("If-None-Match", "\"2\"");
    get.send().await.expect(304);
}

#[tokio::test]
async fn a_version_that_is_no_ascii_is_another_version() {
    let app = App::start().await;
    app.airport(json!({})).await;
    let head =
        b"DELETE /airports/1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nIf-Match: \"\xe9\"\r\n\r\n";
    let answer = exchange(&app, head).await;
    assert!(answer.starts_with("HTTP/1.1 412 "), "{answer}");
    app.client.get("/airports/1").send().await.expect(200);
}

#[tokio::test]
async fn a_media_type_in_a_second_line_is_acceptable() {
    let app = App::start().await;
    let get = app.client.get("/airports").header("Accept", "text/html").header("Accept", "text/csv");
    assert_eq!(get.send().await.expect(200).header("content-type"), Some("text/csv"));
}

#[tokio::test]
async fn codings_in_two_lines_are_both_undone_or_refused() {
    let app = App::start().await;
    let upload = |first: &str, second: &str| {
        let request = post_csv(&app.client, "", gzip(rows(1..9)));
        request.header("Content-Encoding", first).header("Content-Encoding", second).send()
    };
    assert_eq!(upload("identity", "gzip").await.expect(200).json()["counts"]["inserted"], 8);
    upload("gzip", "gzip").await.expect(415);
    upload("gzip", "br").await.expect(415);
    let request = app.client.post("/airports").header("Content-Encoding", "identity");
    request.header("Content-Encoding", "br").json(airport(json!({}))).send().await.expect(415);
}

#[tokio::test]
async fn two_values_of_what_must_be_single_are_400() {
    let app = App::start().await;
    for (name, first, second) in [
        ("Content-Type", "application/json", "text/csv"),
        ("Idempotency-Key", "a", "b"),
        ("Origin", "http://localhost", "https://evil.example"),
    ] {
        let request = app.client.post("/airports").header(name, first).header(name, second);
        let answer = request.body(airport(json!({})).to_string()).send().await.expect(400);
        assert_eq!(answer.codes(), ["repeated_header"], "{name}");
    }
    let head = b"GET /airports HTTP/1.1\r\nHost: a\r\nHost: b\r\nConnection: close\r\n\r\n";
    let answer = exchange(&app, head).await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert_eq!(app.client.get("/airports").send().await.expect(200).json(), json!({ "data": [] }));
    let request = app.client.post("/airports").header("Idempotency-Key", "a").header("Idempotency-Key", "a");
    let created: Value = request.json(airport(json!({}))).send().await.expect(201).json();
    assert_eq!(created["id"], 1);
}
