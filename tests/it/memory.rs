//! What one request, one upload or one file takes of memory, whatever is in it: docs/SECURITY.md promises it. The kernel holds the service
//! to it: one that wants more dies.

use std::fmt::Write;

use bytes::Bytes;
use futures_util::stream;
use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    citizens::citizen,
    client::{Answer, Client},
    database::Database,
    files::HEADER,
    imports::{assert_balanced, failure, id},
    process::{Launch, Process},
    wait::until,
};

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
    let (json, csv) = ("application/json", "text/csv");
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
        (Method::POST, "/schemas/infer?delimiter=,", csv, ",".repeat(64 << 20), 400),
        (
            Method::POST,
            "/schemas/infer",
            csv,
            (0..).map(|id| format!("{id},{id}x\n")).take(4_000_000).collect(),
            200,
        ),
        (Method::POST, "/schemas/infer", csv, format!("{}1\n", "1,".repeat(9_999)).repeat(3_000), 200),
    ] {
        // Of its own, so that none hides in what another has freed.
        let service = Launch::new(&database.url, archive.path()).start();
        service.client.get("/health/live").send().await.expect(200);
        let before = service.peak_kib() / 1024;
        service.limit_memory(PROMISED_MB * 1024);
        let shown = format!("{method} {path} {}", body.chars().take(40).collect::<String>());
        let request = service.client.request(method, path).header("Content-Type", media_type);
        request.body(body).send().await.expect(status);
        let taken = service.peak_kib() / 1024 - before;
        assert!(taken < PROMISED_MB, "{shown}: {taken} MB");
    }
}

/// Of half a megabyte each, so that they are a file as long as the promise is for.
const RECORDS: usize = 155;
const CITIZENS: &str = "citizen_id,town,street,building,apartment,name,birth_date,gender,relatives,channel\n";

struct World {
    service: Process,
    _database: Database,
    _archive: tempfile::TempDir,
}

impl World {
    /// A service that is idle, and killed by its next allocation beyond the bound.
    async fn bounded() -> Self {
        let database = Database::create().await;
        let archive = tempfile::tempdir().expect("a temporary directory can be made");
        let service = Launch::new(&database.url, archive.path()).start();
        service.client.get("/airports?limit=1").send().await.expect(200);
        service.limit_memory(PROMISED_MB * 1024);
        Self { service, _database: database, _archive: archive }
    }

    fn client(&self) -> &Client {
        &self.service.client
    }

    /// The service that took whatever came before takes this too.
    async fn goes_on(&self) {
        self.client().get("/airports?limit=1").send().await.expect(200);
    }

    /// The import of an upload, once it has ended.
    async fn ended(&self, accepted: Answer) -> Value {
        let import = accepted.expect(202).json();
        let path = format!("/imports/{}", id(&import));
        let import = until(&path, || async {
            let import = self.client().get(&path).send().await.expect(200).json();
            let ended = !matches!(import["state"].as_str(), Some("received" | "running"));
            ended.then_some(import)
        })
        .await;
        assert_balanced(&import);
        self.goes_on().await;
        import
    }

    async fn upload(&self, path: &str, body: impl Into<reqwest::Body>) -> Value {
        let request = self.client().post(path).header("Content-Type", "text/csv");
        self.ended(request.body(body).send().await).await
    }
}

/// So many bytes of `unit` after `head`, made while they are sent.
fn endless(head: &str, unit: &str, bytes: usize) -> reqwest::Body {
    let piece = Bytes::from(unit.repeat((1 << 16) / unit.len() + 1));
    let pieces = bytes / piece.len();
    let head = Bytes::copy_from_slice(head.as_bytes());
    let all = std::iter::once(head).chain(std::iter::repeat_n(piece, pieces));
    reqwest::Body::wrap_stream(stream::iter(all.map(Ok::<_, std::io::Error>)))
}

#[tokio::test]
async fn a_file_of_faults_takes_a_bounded_memory() {
    let world = World::bounded().await;
    // Every field breaks a rule, and the records are as short as they can be.
    let import =
        world.upload("/upload", endless(&format!("{HEADER}\n"), "x,,,,x,x,x,x,x,x,x,x,x,\n", 2 << 20)).await;
    assert_eq!(import["counts"]["accepted"], 0, "{import}");
    let rejects = format!("/imports/{}/rejects", id(&import));
    world.client().get(&format!("{rejects}?limit=10000")).send().await.expect(200);
    world.goes_on().await;
    world.client().get(&format!("{rejects}.csv")).send().await.expect(200);
    world.goes_on().await;
}

#[tokio::test]
async fn a_file_without_line_breaks_takes_a_bounded_memory() {
    let world = World::bounded().await;
    let import = world.upload("/upload", endless("", "x", LENGTH)).await;
    assert_eq!(import["counts"]["accepted"], 0, "{import}");
    let import = world.upload("/upload?force=true", endless("id,", "x", LENGTH)).await;
    assert_eq!(import["counts"]["accepted"], 0, "{import}");
    // Nothing but quotes, and nothing but delimiters.
    world.upload("/upload", endless("1,", "\"", LENGTH)).await;
    world.upload("/upload", endless("1", ",", LENGTH)).await;
    world.upload("/upload", endless("id,name", ",\n", LENGTH / 4)).await;
}

#[tokio::test]
async fn a_header_of_half_a_megabyte_is_refused_in_a_short_message() {
    let world = World::bounded().await;
    let name = "x".repeat(500_000);
    for path in ["/upload", "/upload?header=present"] {
        let import = world.upload(path, format!("id,name,{name}\n1,a,b\n")).await;
        let message = import["error"]["message"].as_str().unwrap_or_default();
        assert_eq!(failure(&import), "unknown_column");
        assert!(message.len() < 4_096, "{} bytes", message.len());
    }
}

#[tokio::test]
async fn long_records_that_the_merge_rejects_take_a_bounded_memory() {
    let world = World::bounded().await;
    let number = "0".repeat(500_000);
    let text = "я".repeat(200);
    let record = |_| format!("{number}1,{text},{text},{text},1,{text},01.01.2000,male,,{text}\n");
    let file = CITIZENS.to_owned() + &(0..RECORDS).map(record).collect::<String>();
    let import = world.upload("/imports", file).await;
    assert_eq!(import["counts"]["rows_read"], RECORDS, "{import}");
    let rejects = format!("/imports/{}/rejects", id(&import));
    world.client().get(&format!("{rejects}?limit=10000")).send().await.expect(200);
    world.client().get(&format!("{rejects}.csv")).send().await.expect(200);
    world.goes_on().await;
}

#[tokio::test]
async fn long_records_that_break_a_rule_take_a_bounded_memory() {
    let world = World::bounded().await;
    let text = "x".repeat(500_000);
    let record = |number| format!("{number},{text},S,1,1,N,01.01.2000,male,,\n");
    let file = CITIZENS.to_owned() + &(0..RECORDS).map(record).collect::<String>();
    let import = world.upload("/imports", file).await;
    assert_eq!(import["counts"]["rejected"], RECORDS, "{import}");
    let rejects = format!("/imports/{}/rejects", id(&import));
    world.client().get(&format!("{rejects}?limit=10000")).send().await.expect(200);
    world.client().get(&format!("{rejects}.csv")).send().await.expect(200);
    world.goes_on().await;
}

#[tokio::test]
async fn a_zip_whose_directory_is_all_there_is_takes_a_bounded_memory() {
    const ENTRIES: usize = 1_000_000;
    let world = World::bounded().await;
    // One empty file stored at the beginning, listed a million times: central directory headers of APPNOTE 4.3.12.
    let mut file = b"PK\x03\x04\x14\x00\x00\x00\x00\x00\x00\x00\x00\x00".to_vec();
    file.extend_from_slice(&[0; 12]);
    file.extend_from_slice(&[1, 0, 0, 0, b'a']);
    let directory_at = file.len() as u64;
    let mut entry = b"PK\x01\x02\x14\x00\x14\x00".to_vec();
    entry.extend_from_slice(&[0; 20]);
    entry.extend_from_slice(&[1, 0]);
    entry.extend_from_slice(&[0; 16]);
    entry.push(b'a');
    file.extend(std::iter::repeat_n(&entry, ENTRIES).flatten());
    let directory_bytes = file.len() as u64 - directory_at;
    let ends_at = file.len() as u64;
    // ZIP64, since the count has no room in the classic record: 4.3.14 to 4.3.16.
    file.extend_from_slice(b"PK\x06\x06");
    file.extend_from_slice(&44_u64.to_le_bytes());
    file.extend_from_slice(&[45, 0, 45, 0]);
    file.extend_from_slice(&[0; 8]);
    for number in [ENTRIES as u64, ENTRIES as u64, directory_bytes, directory_at] {
        file.extend_from_slice(&number.to_le_bytes());
    }
    file.extend_from_slice(b"PK\x06\x07\0\0\0\0");
    file.extend_from_slice(&ends_at.to_le_bytes());
    file.extend_from_slice(&1_u32.to_le_bytes());
    file.extend_from_slice(b"PK\x05\x06\0\0\0\0\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\0\0");
    let request = world.client().post("/upload").header("Content-Type", "application/zip");
    let import = world.ended(request.body(file).send().await).await;
    assert_eq!(failure(&import), "too_many_files", "{import}");
}
