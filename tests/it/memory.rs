//! What one request takes of memory, whatever it brings: docs/SECURITY.md promises it.

use std::fmt::Write;

use reqwest::Method;
use serde_json::json;

use crate::support::{citizens::citizen, database::Database, process::Launch};

/// What the table promises for the longest of bodies, MB above what the idle process takes.
const PROMISED_MB: u64 = 200;
/// Bytes of a body.
const LENGTH: usize = 20 << 20;

/// An object with as many members as are so long.
fn members(length: usize) -> String {
    let mut text = String::with_capacity(length + 20);
    let mut number = 0;
    while text.len() < length {
        // Writing to a String cannot fail.
        let _ = write!(text, "\"{number:x}\":1,");
        number += 1;
    }
    format!("{{{text}\"z\":1}}")
}

/// One citizen with as many relatives as are so long, all the same.
fn relatives(length: usize) -> String {
    let citizen = citizen(1, json!({ "relatives": [1] })).to_string();
    let relatives = format!("\"relatives\":[{}1]", "1,".repeat(length / 2));
    format!("{{\"citizens\":[{}]}}", citizen.replace("\"relatives\":[1]", &relatives))
}

#[tokio::test]
async fn no_request_takes_more_memory_than_promised() {
    let database = Database::create().await;
    let archive = tempfile::tempdir().expect("a temporary directory can be made");
    let json = "application/json";
    let form = "multipart/form-data; boundary=b";
    let list =
        |item: &str| format!("{{\"citizens\":[{}{item}]}}", format!("{item},").repeat(LENGTH / item.len()));
    for (method, path, media_type, body, status) in [
        (Method::POST, "/airports", json, members(LENGTH), 413),
        (Method::POST, "/airports", json, members(1_000_000), 400),
        (Method::PATCH, "/airports/1", json, members(1_000_000), 400),
        (Method::PATCH, "/consumers/1", json, members(1_000_000), 400),
        (Method::PATCH, "/imports/1/citizens/1", json, members(1_000_000), 400),
        (
            Method::PATCH,
            "/imports/1/citizens/1",
            json,
            format!("{{\"relatives\":[{}0]}}", "0,".repeat(LENGTH / 2)),
            400,
        ),
        (Method::POST, "/imports", json, members(LENGTH), 400),
        (Method::POST, "/imports", json, list("{}"), 400),
        (Method::POST, "/imports", json, list("0"), 400),
        (Method::POST, "/imports", json, list(r#"{"citizen_id":1,"relatives":[]}"#), 400),
        (Method::POST, "/imports", json, relatives(LENGTH), 400),
        (Method::POST, "/imports", json, "[".repeat(LENGTH), 400),
        (Method::POST, "/upload", form, "x".repeat(4 * LENGTH), 400),
        (
            Method::POST,
            "/upload",
            form,
            "--b\r\nContent-Disposition: x".to_owned() + &"x".repeat(4 * LENGTH),
            400,
        ),
    ] {
        // Of its own, so that none hides in what another has freed.
        let service = Launch::new(&database.url, archive.path()).start();
        service.client.get("/health/live").send().await.expect(200);
        let before = service.peak_kib() / 1024;
        let shown = format!("{method} {path} {}", body.chars().take(40).collect::<String>());
        let request = service.client.request(method, path).header("Content-Type", media_type);
        request.body(body).send().await.expect(status);
        let taken = service.peak_kib() / 1024 - before;
        assert!(taken < PROMISED_MB, "{shown}: {taken} MB");
    }
}
