//! `/imports`: how an import goes, and what may be done to it meanwhile and afterwards.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tarmac::ingest::load::Loaded;

use crate::support::{
    App,
    engine::Engine,
    files::{bad_row, row, rows, zip},
    imports::{assert_balanced, count, id, outcome},
    process::Launch,
    wait::until,
};

/// Ten chunks of two rows, the fourth with a reject.
fn ten_chunks() -> String {
    rows(1..=7) + &bad_row(8) + &rows(9..=20)
}

const TWO_ROWS: (&str, &str) = ("ingest.chunk_rows", "2");

async fn post(app: &App, import: i64, what: &str) -> crate::support::client::Answer {
    app.client.post(&format!("/imports/{import}/{what}")).send().await
}

#[tokio::test]
async fn a_running_import_counts_what_is_loaded() {
    let app = App::without_worker(&[TWO_ROWS]).await;
    let import = app.begin("", ten_chunks()).await;
    let mut engine = Engine::beside(&app).await;
    let leading = engine.lead().await;
    for _ in 0..4 {
        assert_eq!(engine.step().await, Loaded::Now);
    }
    let running = app.import(import).await;
    assert_eq!((&running["state"], &running["error"]), (&json!("running"), &Value::Null));
    assert_eq!(outcome(&running), [7, 0, 0, 0, 1]);
    assert_eq!(count(&running, "chunks"), 4);
    assert!(running["rows_per_second"].is_f64() && running["seconds_left"].is_f64(), "{running}");
    assert!(running["started_at"].is_string() && running["finished_at"].is_null(), "{running}");
    assert_eq!(app.one::<i64>("select count(*) from airports").await, 0, "nobody sees half an import");
    assert_eq!(app.faults(&running).await, ["8 latitude out_of_range"]);
    for _ in 4..10 {
        assert_eq!(engine.step().await, Loaded::Now);
    }
    leading.await.expect("no panic").expect("the import ends");
    let import = app.end_of(import).await;
    assert_eq!((&import["state"], outcome(&import)), (&json!("complete"), [19, 0, 0, 0, 1]));
    assert_eq!((count(&import, "chunks"), count(&import, "bytes")), (10, ten_chunks().len() as i64));
    assert!(import["seconds_left"].is_null() && import["finished_at"].is_string(), "{import}");
}

#[tokio::test]
async fn events_follow_an_import_to_its_end() {
    let app = App::without_worker(&[TWO_ROWS]).await;
    let import = app.begin("", ten_chunks()).await;
    let events = app.client.get(&format!("/imports/{import}/events"));
    let stream = tokio::spawn(events.send());
    app.work();
    let answer = stream.await.expect("no panic").expect(200);
    assert_eq!(answer.header("content-type"), Some("text/event-stream"));
    let text = answer.text();
    let events: Vec<Value> = text
        .lines()
        .filter_map(|line| line.strip_prefix("data:"))
        .map(|data| serde_json::from_str(data).expect("an import"))
        .collect();
    assert!(
        text.lines().filter(|line| line.starts_with("event:")).all(|line| line.ends_with("import")),
        "{text}"
    );
    assert!(events.len() >= 2, "{text}");
    events.iter().for_each(assert_balanced);
    let states: Vec<_> = events.iter().map(|event| event["state"].as_str().expect("a state")).collect();
    assert_eq!(states.iter().filter(|state| **state == "complete").count(), 1, "{states:?}");
    assert_eq!(events.last(), Some(&app.import(import).await));
}

#[tokio::test]
async fn events_of_an_ended_import_are_its_last_one() {
    let app = App::start().await;
    let import = app.upload("", row(1)).await;
    let text = app.client.get(&format!("/imports/{}/events", id(&import))).send().await.expect(200).text();
    assert_eq!(text.matches("data:").count(), 1, "{text}");
    app.client.get("/imports/77/events").send().await.expect(404);
}

#[tokio::test]
async fn a_client_that_has_seen_the_end_is_told_that_nothing_comes() {
    let app = App::start().await;
    let import = id(&app.upload("", row(1)).await);
    let path = format!("/imports/{import}/events");
    let text = app.client.get(&path).send().await.expect(200).text();
    assert!(text.starts_with("id: complete\n"), "{text}");
    let again = |last: &str| app.client.get(&path).header("Last-Event-ID", last).send();
    assert_eq!(again("complete").await.expect(204).text(), "");
    assert!(again("running").await.expect(200).text().contains("data:"));
    app.client.delete(&format!("/imports/{import}")).send().await.expect(200);
    assert!(again("complete").await.expect(200).text().starts_with("id: undone\n"), "it has changed since");
}

#[tokio::test]
async fn a_stopping_service_ends_the_events_of_a_paused_import_without_their_end() {
    let app = App::without_worker(&[]).await;
    let import = app.begin("", row(1)).await;
    post(&app, import, "pause").await.expect(200);
    let launch = Launch::new(&app.database.url, std::path::Path::new(&app.config.archive.url));
    let service = launch.with(&[("server.shutdown_seconds", "600")]).start();
    let mut events =
        reqwest::get(format!("{}/imports/{import}/events", service.client.base())).await.expect("an answer");
    let first = events.chunk().await.expect("it is whole").expect("the import as it is");
    let stopped = tokio::spawn(service.stop());
    let mut text = String::from_utf8_lossy(&first).into_owned();
    while let Some(piece) = events.chunk().await.expect("the stream ends as it should") {
        text += &String::from_utf8_lossy(&piece);
    }
    stopped.await.expect("the service does not wait for the import");
    assert!(text.contains("\"paused\"") && !text.contains("id:"), "{text}");
}

#[tokio::test]
async fn an_import_can_be_paused_before_it_began_and_resumed() {
    let app = App::without_worker(&[]).await;
    let import = app.begin("", row(1)).await;
    assert_eq!(post(&app, import, "pause").await.expect(200).json()["state"], "paused");
    post(&app, import, "pause").await.expect(409);
    app.work();
    // A later import passes it by.
    assert_eq!(app.upload("", row(2)).await["state"], "complete");
    assert_eq!(app.import(import).await["state"], "paused");
    assert_eq!(post(&app, import, "resume").await.expect(200).json()["state"], "running");
    let import = app.end_of(import).await;
    assert_eq!((&import["state"], outcome(&import)), (&json!("complete"), [1, 0, 0, 0, 0]));
}

#[tokio::test]
async fn a_pause_takes_effect_at_the_next_chunk_and_resuming_loads_the_rest() {
    let app = App::without_worker(&[TWO_ROWS]).await;
    let import = app.begin("", ten_chunks()).await;
    let mut engine = Engine::beside(&app).await;
    let leading = engine.lead().await;
    engine.step().await;
    engine.step().await;
    let on_its_way = engine.receive().await;
    assert_eq!(post(&app, import, "pause").await.expect(200).json()["state"], "paused");
    assert_eq!(engine.load(&on_its_way).await, Loaded::Fenced);
    assert!(leading.await.expect("no panic").is_err(), "nobody leads a paused import");
    engine.release(import).await;
    assert_eq!(count(&app.import(import).await, "chunks"), 2);

    post(&app, import, "resume").await.expect(200);
    post(&app, import, "resume").await.expect(409);
    app.work();
    let ended = app.end_of(import).await;
    assert_eq!((&ended["state"], outcome(&ended)), (&json!("complete"), [19, 0, 0, 0, 1]));
    assert_eq!(engine.load(&on_its_way).await, Loaded::Before, "a chunk that comes late is loaded already");
}

#[tokio::test]
async fn a_cancelled_import_leaves_no_rows() {
    let app = App::without_worker(&[TWO_ROWS]).await;
    let import = app.begin("", ten_chunks()).await;
    let mut engine = Engine::beside(&app).await;
    let leading = engine.lead().await;
    for _ in 0..4 {
        engine.step().await;
    }
    let on_its_way = engine.receive().await;
    let cancelled = app.ended(post(&app, import, "cancel").await.expect(200)).await;
    assert_eq!((&cancelled["state"], outcome(&cancelled)), (&json!("cancelled"), [7, 0, 0, 0, 1]));
    assert_eq!(engine.load(&on_its_way).await, Loaded::Fenced);
    assert!(leading.await.expect("no panic").is_err(), "nobody leads a cancelled import");
    assert_eq!(app.one::<i64>("select count(*) from airports").await, 0);
    assert_eq!(app.one::<i64>("select count(*) from journal").await, 0);
    assert_eq!(app.faults(&cancelled).await, ["8 latitude out_of_range"]);
    for what in ["cancel", "pause", "resume"] {
        post(&app, import, what).await.expect(409);
    }
    app.client.delete(&format!("/imports/{import}")).send().await.expect(409);
    assert_eq!(app.import(import).await["counts"], cancelled["counts"]);
}

#[tokio::test]
async fn an_import_can_be_cancelled_while_received_or_paused() {
    let app = App::without_worker(&[]).await;
    for pause in [false, true] {
        let import = app.begin("?force=true", rows(1..9)).await;
        if pause {
            post(&app, import, "pause").await.expect(200);
        }
        let cancelled = app.ended(post(&app, import, "cancel").await.expect(200)).await;
        assert_eq!((&cancelled["state"], outcome(&cancelled)), (&json!("cancelled"), [0; 5]));
    }
}

#[tokio::test]
async fn cancelling_a_packed_import_removes_what_was_unpacked() {
    let app = App::without_worker(&[TWO_ROWS]).await;
    let request = app.client.post("/upload").header("Content-Type", "application/zip");
    let request = request.body(zip(&[("a.csv", ten_chunks()), ("b.csv", row(30))]));
    let import = id(&request.send().await.expect(202).json());
    let mut engine = Engine::beside(&app).await;
    let leading = engine.lead().await;
    engine.step().await;
    assert_eq!(app.archived().len(), 3, "{:?}", app.archived());
    app.ended(post(&app, import, "cancel").await.expect(200)).await;
    assert_eq!(app.archived().len(), 1, "{:?}", app.archived());
    assert!(leading.await.expect("no panic").is_err());
}

#[tokio::test]
async fn a_finished_import_can_be_neither_cancelled_nor_paused_nor_resumed() {
    let app = App::start().await;
    let import = id(&app.upload("", row(1)).await);
    for what in ["cancel", "pause", "resume"] {
        post(&app, import, what).await.expect(409);
    }
    assert_eq!(app.import(import).await["state"], "complete");
    assert_eq!(app.one::<i64>("select count(*) from airports").await, 1);
}

#[tokio::test]
async fn an_undo_removes_what_the_import_created_and_says_what_it_left() {
    let app = App::start().await;
    app.upload("", rows([1, 2])).await;
    let file = row(1) + &row(2).replace("City", "Town") + &rows([3, 4, 5]) + &bad_row(6);
    let import = app.upload("", file).await;
    assert_eq!(outcome(&import), [3, 1, 1, 0, 1]);
    let changed: i64 = app.one("select id from airports where openflights_id = 4").await;
    let patch = app.client.patch(&format!("/airports/{changed}")).json(json!({ "city": "Changed" }));
    patch.send().await.expect(200);

    let path = format!("/imports/{}", id(&import));
    let undone = app.client.delete(&path).send().await.expect(200).json();
    assert_eq!(
        [&undone["removed"], &undone["kept"], &undone["not_reverted"], &undone["import"]["state"]],
        [&json!(2), &json!(1), &json!(1), &json!("undone")]
    );
    assert_eq!(undone["import"]["counts"], import["counts"]);
    let left: String =
        app.one("select string_agg(openflights_id || city, ' ' order by id) from airports").await;
    assert_eq!(left, "1City 2Town 4Changed");
    app.client.delete(&path).send().await.expect(409);
    assert_eq!(app.rejects(&import).await.len(), 1, "its rejects stay");
}

#[tokio::test]
async fn a_row_that_a_later_import_changed_is_kept_by_the_first_ones_undo() {
    let app = App::start().await;
    let first = id(&app.upload("", rows([1, 2])).await);
    app.upload("", row(2).replace("City", "Town")).await;
    app.upload("?force=true", row(1)).await;
    let undone = app.client.delete(&format!("/imports/{first}")).send().await.expect(200).json();
    assert_eq!((&undone["removed"], &undone["kept"]), (&json!(1), &json!(1)), "unchanged is not changed");
}

#[tokio::test]
async fn an_import_that_runs_cannot_be_undone() {
    let app = App::without_worker(&[]).await;
    let import = app.begin("", row(1)).await;
    let path = format!("/imports/{import}");
    let answer = app.client.delete(&path).send().await.expect(409);
    assert!(answer.text().contains("cancel it first"), "{}", answer.text());
    let engine = Engine::beside(&app).await;
    let leading = engine.lead().await;
    app.client.delete(&path).send().await.expect(409);
    post(&app, import, "pause").await.expect(200);
    app.client.delete(&path).send().await.expect(409);
    assert!(leading.await.expect("no panic").is_err());
}

#[tokio::test]
async fn the_source_is_what_was_uploaded_with_its_digest() {
    let app = App::start().await;
    let file = rows(1..2_000);
    let packed = zip(&[("a.csv", &file)]);
    for (media_type, bytes) in [("text/csv", file.into_bytes()), ("application/zip", packed)] {
        let import = app.upload_as(media_type, bytes.clone()).await;
        let digest = Sha256::digest(&bytes);
        assert_eq!(import["sha256"], hex::encode(digest));
        assert_eq!(import["bytes"], bytes.len());
        let path = format!("/imports/{}/source", id(&import));
        let answer = app.client.get(&path).send().await.expect(200);
        assert!(answer.body == bytes, "the bytes come back");
        let expected = format!("sha-256=:{}:", STANDARD.encode(digest));
        assert_eq!(answer.header("repr-digest"), Some(expected.as_str()));
        assert_eq!(answer.header("content-length"), Some(bytes.len().to_string().as_str()));
        let head = app.client.request(reqwest::Method::HEAD, &path).send().await.expect(200);
        assert_eq!(head.header("repr-digest"), Some(expected.as_str()));
        assert!(head.body.is_empty());
    }
}

#[tokio::test]
async fn the_source_has_the_name_of_the_upload() {
    let app = App::start().await;
    let import = app.upload("?filename=%C3%A4%20b.csv", row(1)).await;
    assert_eq!(import["filename"], "ä b.csv");
    let answer = app.client.get(&format!("/imports/{}/source", id(&import))).send().await.expect(200);
    assert_eq!(answer.header("content-disposition"), Some("attachment; filename*=UTF-8''%C3%A4%20b.csv"));
}

#[tokio::test]
async fn imports_are_listed_newest_first_page_by_page() {
    let app = App::without_worker(&[]).await;
    let mut ids = Vec::new();
    for number in 1..=5 {
        ids.push(app.begin("", row(number)).await);
    }
    ids.reverse();
    let (mut seen, mut path) = (Vec::new(), Some("/imports?limit=2&dataset=airports".to_owned()));
    while let Some(next) = path {
        let answer = app.client.get(&next).send().await.expect(200);
        let page = answer.json();
        let data = page["data"].as_array().expect("a list");
        assert!((1..=2).contains(&data.len()), "{page}");
        seen.extend(data.iter().map(id));
        path = answer.header("link").map(|link| {
            let (next, relation) = link.split_once("; ").expect("a relation");
            assert_eq!(relation, "rel=\"next\"");
            next.trim_matches(['<', '>']).to_owned()
        });
    }
    assert_eq!(seen, ids);
}

#[tokio::test]
async fn imports_are_listed_by_state_and_dataset() {
    let app = App::without_worker(&[]).await;
    let (paused, received) = (app.begin("", row(1)).await, app.begin("", row(2)).await);
    post(&app, paused, "pause").await.expect(200);
    for (query, expected) in [
        ("state=paused", vec![paused]),
        ("state=received&dataset=airports", vec![received]),
        ("state=complete", vec![]),
        ("dataset=citizens", vec![]),
        ("", vec![received, paused]),
    ] {
        let page = app.client.get(&format!("/imports?{query}")).send().await.expect(200).json();
        let found: Vec<_> = page["data"].as_array().expect("a list").iter().map(id).collect();
        assert_eq!(found, expected, "{query}");
    }
    for query in [
        "state=done",
        "limit=0",
        "limit=10001",
        "limit=x",
        "cursor=%25",
        "cursor=bnVsbA",
        "stat=paused",
        "dataset=%00",
    ] {
        app.client.get(&format!("/imports?{query}")).send().await.expect(400);
    }
}

#[tokio::test]
async fn an_unknown_import_is_404_wherever_it_is_named() {
    let app = App::start().await;
    for part in ["", "/events", "/rejects", "/rejects.csv", "/source"] {
        app.client.get(&format!("/imports/77{part}")).send().await.expect(404);
    }
    for part in ["cancel", "pause", "resume"] {
        post(&app, 77, part).await.expect(404);
    }
    app.client.delete("/imports/77").send().await.expect(404);
    app.client.get("/imports/0").send().await.expect(404);
    app.client.get("/imports/-1").send().await.expect(404);
}

#[tokio::test]
async fn a_lost_archive_is_told_and_breaks_nothing_else() {
    let app = App::without_worker(&[]).await;
    let import = app.begin("", row(1)).await;
    for object in app.archived() {
        std::fs::remove_file(object).expect("the object is there");
    }
    let answer = app.client.get(&format!("/imports/{import}/source")).send().await.expect(410);
    assert_eq!(answer.json()["detail"], format!("the upload of import {import} is missing in the archive"));
    app.work();
    let ended = app.end_of(import).await;
    assert_eq!((&ended["state"], &ended["error"]["code"]), (&json!("failed"), &json!("missing_upload")));
    until("the service goes on", || async {
        (app.upload("", row(2)).await["state"] == "complete").then_some(())
    })
    .await;
}
