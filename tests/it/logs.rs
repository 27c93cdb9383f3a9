//! What the service logs, where it goes, and `/logs`.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
};

use serde_json::{Value, json};
use tarmac::{
    auth::keys::{self, Scope},
    db::Db,
};

use crate::support::{
    app::{airport, files_below},
    client::{Client, Request},
    database::Database,
    files::{bad_row, row, rows},
    imports::{id, post_csv},
    kafka::Topics,
    process::{Launch, Process},
    wait::until,
};

/// A service of its own, and what it needs.
struct Service {
    process: Process,
    database: Database,
    _archive: tempfile::TempDir,
}

async fn start(settings: &[(&str, &str)]) -> Service {
    let database = Database::create().await;
    let archive = tempfile::tempdir().expect("a temporary directory can be made");
    let process = Launch::new(&database.url, archive.path()).with(settings).start();
    Service { process, database, _archive: archive }
}

/// The lines that the API shows; `query` is empty or begins with `?`.
async fn lines(client: &Client, query: &str) -> Vec<Value> {
    let answer = client.get(&format!("/logs{query}")).send().await.expect(200).json();
    answer.as_array().expect("a list").clone()
}

/// The first line with this message, once there is one.
async fn line(client: &Client, query: &str, message: &str) -> Value {
    let said = async || lines(client, query).await.into_iter().find(|line| line["message"] == message);
    until(message, said).await
}

/// What is wrong with the database keeps chunks from being loaded, until it is mended; then the import fails.
async fn says_whose_every_line_is(settings: &[(&str, &str)]) -> Service {
    let settings = [settings, &[("worker.attempts", "2"), ("limits.requests_per_minute", "off")]].concat();
    let service = start(&settings).await;
    let client = &service.process.client;
    let rename = "alter table import_rejects rename column message to lost";
    sqlx::query(rename).execute(&service.database.pool).await.expect("the column can be renamed");
    let upload =
        client.post("/upload").header("Content-Type", "text/csv").header("X-Request-Id", "the-upload");
    let import = id(&upload.body(bad_row(1)).send().await.expect(202).json());

    let query = format!("?limit=10000&import_id={import}");
    for message in ["a chunk must wait", "an import fails"] {
        let line = line(client, &query, message).await;
        assert_eq!((&line["chunk"], &line["request_id"]), (&json!(0), &Value::Null), "{line}");
        assert!(line["fields"]["error"].to_string().contains("does not exist"), "{line}");
    }
    let failed = line(client, &query, "import failed").await;
    assert_eq!(failed["fields"]["code"], "internal", "{failed}");
    let answered = line(client, &query, "answered").await;
    assert_eq!(answered["request_id"], "the-upload");
    // None of them is about another one.
    for line in lines(client, &query).await {
        assert_eq!(line["import_id"], import, "{line}");
    }
    // As they were written.
    for line in service.process.log() {
        let event: Value = serde_json::from_str(&line).expect("a line is JSON");
        if event["fields"]["message"] == "a chunk must wait" {
            assert_eq!(
                (&event["span"]["import"], &event["span"]["chunk"]),
                (&import.into(), &json!(0)),
                "{line}"
            );
        }
    }
    service
}

#[tokio::test]
async fn every_line_says_which_request_import_and_chunk_it_is_about() {
    says_whose_every_line_is(&[]).await;
}

#[tokio::test]
async fn so_does_every_line_about_a_message() {
    let topics = Topics::new();
    let service = says_whose_every_line_is(&topics.settings()).await;
    let dead_lettered =
        line(&service.process.client, "?level=warn", "a message goes to the dead letters").await;
    assert_eq!(
        (&dead_lettered["import_id"], &dead_lettered["chunk"]),
        (&json!(1), &json!(0)),
        "{dead_lettered}"
    );
}

#[tokio::test]
async fn a_quiet_log_still_says_whose_its_lines_are() {
    // That it serves is said by the command.
    let service = start(&[("log.filter", "warn,tarmac::cli=info")]).await;
    let client = &service.process.client;
    sqlx::query("drop table airports cascade")
        .execute(&service.database.pool)
        .await
        .expect("it can be dropped");
    client.get("/airports/1").header("X-Request-Id", "r-500").send().await.expect(500);
    let failed = line(client, "", "failed").await;
    assert_eq!((&failed["request_id"], &failed["level"]), (&json!("r-500"), &json!("error")));
    assert!(lines(client, "?level=info").await.iter().all(|line| line["message"] != "answered"));
}

#[tokio::test]
async fn the_last_lines_are_shown_filtered_and_in_every_form() {
    let service = start(&[]).await;
    let client = &service.process.client;
    post_csv(client, "", row(1)).send().await.expect(200);
    post_csv(client, "", row(2)).send().await.expect(200);
    for _ in 0..60 {
        client.get("/airports").send().await.expect(200);
    }
    let last = lines(client, "").await;
    assert_eq!(last.len(), 50);
    let numbers: Vec<_> = last.iter().map(|line| line["number"].as_u64().expect("a number")).collect();
    assert!(numbers.windows(2).all(|two| two[0] + 1 == two[1]), "{numbers:?}");

    let of_second = lines(client, "?import_id=2").await;
    let messages: BTreeSet<_> = of_second.iter().filter_map(|line| line["message"].as_str()).collect();
    assert_eq!(messages, BTreeSet::from(["answered", "import complete"]));
    let complete = line(client, "?import_id=2", "import complete").await;
    assert_eq!(complete["fields"], json!({ "rows": 1, "rejected": 0 }));
    assert_eq!(lines(client, "?level=error&limit=10000").await, Vec::<Value>::new());
    assert_eq!(lines(client, "?limit=3").await.len(), 3);
    for query in ["?limit=0", "?limit=10001", "?level=loud", "?import_id=x"] {
        client.get(&format!("/logs{query}")).send().await.expect(400);
    }

    let ask = |accept: &str| client.get("/logs?import_id=2&limit=1").header("Accept", accept).send();
    let ndjson = ask("application/x-ndjson").await.expect(200).text();
    let only: Value = serde_json::from_str(ndjson.strip_suffix('\n').expect("a line")).expect("JSON");
    assert_eq!(only["import_id"], 2);
    let text = ask("text/plain").await.expect(200).text();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(text.contains(" INFO tarmac::") && text.contains(" import_id=2"), "{text}");
}

#[tokio::test]
async fn the_stream_brings_lines_as_they_are_written_and_ends_with_the_service() {
    let service = start(&[("server.shutdown_seconds", "600")]).await;
    let client = &service.process.client;
    let url = format!("{}/logs/stream", client.base());
    let mut stream = reqwest::get(format!("{url}?import_id=1")).await.expect("the service answers");
    assert_eq!(stream.headers()["content-type"], "text/event-stream");
    post_csv(client, "", row(1)).send().await.expect(200);
    let mut text = String::new();
    while !text.contains("\"import complete\"") {
        let piece = stream.chunk().await.expect("the stream goes on").expect("it has not ended");
        text += std::str::from_utf8(&piece).expect("UTF-8");
    }
    let complete = text.lines().find(|line| line.contains("\"import complete\"")).expect("it came");
    let complete: Value = serde_json::from_str(complete.strip_prefix("data: ").expect("data")).expect("JSON");
    let number = complete["number"].as_u64().expect("a number");
    assert!(text.contains(&format!("id: {number}")) && text.contains("event: line"), "{text}");

    // Who comes back gets what was missed.
    let missed = client.get("/logs/stream?seconds=0").header("Last-Event-ID", &(number - 1).to_string());
    assert!(missed.send().await.expect(200).text().contains("\"import complete\""));
    let nothing = client.get("/logs/stream?seconds=0").header("Last-Event-ID", "999999999").send().await;
    assert!(!nothing.expect(200).text().contains("\"import complete\""));

    service.process.stop().await;
    while let Some(piece) = stream.chunk().await.expect("the stream ends in order") {
        text += std::str::from_utf8(&piece).expect("UTF-8");
    }
}

/// Sends requests until something holds.
async fn chatter(client: &Client, what: &str, holds: impl Fn() -> bool) {
    until(what, async || {
        client.get("/health/live").send().await.expect(200);
        holds().then_some(())
    })
    .await;
}

fn logged_in(directory: &Path) -> Vec<Value> {
    let files = files_below(directory);
    let texts = files.iter().map(|file| std::fs::read_to_string(file).expect("a log file can be read"));
    let lines = texts.flat_map(|text| text.lines().map(str::to_owned).collect::<Vec<_>>());
    lines.map(|line| serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"))).collect()
}

#[tokio::test]
async fn log_files_rotate_by_size_and_stay_few() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let path = directory.path().join("made/when/missing");
    let text = path.to_str().expect("the path is UTF-8");
    let settings = [("log.directory", text), ("log.file_bytes", "2000"), ("log.files", "3")];
    let service = start(&settings).await;
    let client = &service.process.client;
    let all = async || {
        chatter(client, "three files are there", || files_below(&path).len() == 3).await;
        files_below(&path).into_iter().collect::<BTreeSet<_>>()
    };
    let first = all().await;
    chatter(client, "all earlier ones have gone", || {
        let now = files_below(&path).into_iter().collect::<BTreeSet<_>>();
        // That which is written to keeps its name.
        first.intersection(&now).count() <= 1
    })
    .await;
    assert!(files_below(&path).len() <= 3);
    for file in files_below(&path) {
        let bytes = std::fs::metadata(&file).map_or(0, |file| file.len());
        assert!(bytes < 4_000, "{file}: {bytes}");
    }
    service.process.stop().await;
    let lines = logged_in(&path);
    assert!(lines.iter().any(|line| line["fields"]["message"] == "answered"));
    assert_eq!(lines.iter().filter(|line| line["fields"]["message"] == "stopping").count(), 1);
}

#[tokio::test]
async fn log_files_rotate_by_age() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let text = directory.path().to_str().expect("the path is UTF-8");
    let service = start(&[("log.directory", text), ("log.file_age", "second")]).await;
    chatter(&service.process.client, "a second has passed", || files_below(directory.path()).len() > 1).await;
}

#[tokio::test]
async fn log_files_that_cannot_be_written_cost_nothing_but_lines() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let path = directory.path().join("taken");
    std::fs::write(&path, "by a file").expect("a file can be written");
    let service = start(&[("log.directory", path.to_str().expect("the path is UTF-8"))]).await;
    let client = &service.process.client;
    let failing = line(client, "?level=error", "log files cannot be written").await;
    assert!(failing["fields"]["error"].is_string(), "{failing}");
    post_csv(client, "", row(1)).send().await.expect(200);
    assert_eq!(lines(client, "?level=error").await.len(), 1, "it is said once");

    std::fs::remove_file(&path).expect("the file can be removed");
    line(client, "", "log files are written again").await;
    chatter(client, "a file is there", || files_below(directory.path()).len() == 1).await;
}

#[tokio::test]
async fn whoever_does_not_read_standard_output_stops_nothing() {
    let database = Database::create().await;
    let archive = tempfile::tempdir().expect("a temporary directory can be made");
    let mut child = Command::new(env!("CARGO_BIN_EXE_tarmac"))
        .args(["serve", "--address", "127.0.0.1:0"])
        .env("TARMAC_DATABASE_URL", &database.url)
        .env("TARMAC_ARCHIVE_URL", archive.path())
        .env("TARMAC_LOG_FORMAT", "json")
        .stdout(Stdio::piped())
        .spawn()
        .expect("the program can be started");
    let mut stdout = BufReader::new(child.stdout.take().expect("it is piped"));
    let address = loop {
        let mut line = String::new();
        assert!(stdout.read_line(&mut line).expect("it can be read") > 0, "the service ended at its start");
        let event: Value = serde_json::from_str(&line).expect("a line is JSON");
        if event["fields"]["message"] == "serving" {
            break event["fields"]["address"].as_str().expect("an address").to_owned();
        }
    };
    // A pipe holds 64 KiB; each of these is a line of more than 200 bytes.
    let client = Client::new(format!("http://{address}"));
    for _ in 0..1_000 {
        client.get("/health/live").send().await.expect(200);
    }
    post_csv(&client, "", row(1)).send().await.expect(200);
    child.kill().expect("it runs still");
    child.wait().expect("it is our child");
}

const PASSWORD: &str = "hunter2-of-the-database";

/// What a service says that does not start.
fn refuse_to_start(settings: &[(&str, &str)]) -> String {
    let environment = settings.iter().map(|(key, value)| {
        (format!("TARMAC_{}", key.replace('.', "_").to_uppercase()), (*value).to_owned())
    });
    let output = Command::new(env!("CARGO_BIN_EXE_tarmac"))
        .arg("serve")
        .env("TARMAC_LOG_FILTER", "debug")
        .envs(environment)
        .output()
        .expect("the program runs");
    assert!(!output.status.success(), "{settings:?}");
    String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned()
}

/// The main job, with a key, with links and with a password; and what goes wrong on the way.
#[tokio::test]
async fn no_secret_is_in_any_line_or_in_what_a_refused_client_is_told() {
    let mut database = Database::create().await;
    // The test's server asks nobody for a password, and takes any.
    let (before, after) = database.url.split_once('@').expect("the URL names a user");
    let user = before.rsplit('/').next().expect("a user").split(':').next().expect("a user").to_owned();
    database.url = format!("postgres://{user}:{PASSWORD}@{after}");
    let archive = tempfile::tempdir().expect("a temporary directory can be made");
    let logs = tempfile::tempdir().expect("a temporary directory can be made");
    let settings = [
        ("auth.required", "true"),
        ("log.filter", "debug"),
        ("log.directory", logs.path().to_str().expect("the path is UTF-8")),
        ("kafka.properties.sasl.password", PASSWORD),
    ];
    let process = Launch::new(&database.url, archive.path()).with(&settings).start();
    let client = &process.client;
    let config = tarmac::config::Database {
        url: database.url.clone(),
        connections: 1,
        acquire_ms: 5_000,
        silent_ms: 10_000,
    };
    assert!(!format!("{config:?}").contains(PASSWORD), "{config:?}");
    let db = Db::connect(&config).await.expect("the database answers");
    let key = keys::create(&db, &mut rand::rng(), "main", &Scope::ALL, None).await.expect("a key is made").0;
    let with = |request: Request| request.header("Authorization", &format!("Bearer {key}"));
    let idempotency = "the-idempotency-key-of-the-main-job";
    let mut refusals = Vec::new();

    let upload =
        || with(post_csv(client, "", rows(1..=5) + &bad_row(6))).header("Idempotency-Key", idempotency);
    let import = id(&upload().send().await.expect(200).json());
    upload().send().await.expect(200);
    refusals.push(upload().body(row(7)).send().await.expect(422));
    with(client.get(&format!("/imports/{import}/rejects.csv"))).send().await.expect(200);
    with(client.post("/airports"))
        .header("Idempotency-Key", "x".repeat(300).as_str())
        .json(airport(json!({})))
        .send()
        .await;
    let prepared =
        with(client.get("/create?name=A&country=B&latitude=1&longitude=2")).send().await.expect(200);
    let link = prepared.json()["confirm_url"].as_str().expect("a link").to_owned();
    let token = link.rsplit('/').next().expect("a token").to_owned();
    client.get(&format!("/confirm/{token}")).send().await.expect(200);
    client.post(&format!("/confirm/{token}")).send().await.expect(200);
    refusals.push(client.post(&format!("/confirm/{token}")).send().await.expect(409));
    refusals.push(client.get(&format!("/confirm/{token}?x={token}")).send().await);
    refusals.push(client.get(&format!("/airports?key={key}")).send().await.expect(401));
    refusals.push(with(client.get(&format!("/airports?key={key}"))).send().await.expect(400));
    refusals.push(with(client.get(&format!("/{key}/{token}"))).send().await.expect(404));
    refusals.push(client.get("/airports").header("Authorization", &format!("Bearer {key}x")).send().await);
    sqlx::query("alter table airports rename to lost")
        .execute(&database.pool)
        .await
        .expect("it can be renamed");
    refusals.push(with(client.get("/airports/1")).send().await.expect(500));
    let shown = with(client.get("/logs?limit=10000")).send().await.expect(200).text();
    assert!(shown.contains("\"answered\""), "{shown}");
    let written = process.log().join("\n");
    process.stop().await;

    let wrong = |url: &str| refuse_to_start(&[("database.url", url), ("database.acquire_ms", "100")]);
    let said = [
        wrong(&format!("postgres://{user}:{PASSWORD}@127.0.0.1:1/tarmac")),
        wrong(&format!("postgres://{user}:{PASSWORD}@127.0.0.1:port/tarmac")),
        wrong(&format!("{user}:{PASSWORD}@127.0.0.1")),
        refuse_to_start(&[
            ("database.url", &database.url),
            ("archive.url", archive.path().to_str().expect("the path is UTF-8")),
            ("transport.kind", "kafka"),
            ("kafka.brokers", "127.0.0.1:1"),
            ("kafka.properties.sasl.pasword", PASSWORD),
        ]),
    ];
    assert!(said[3].contains("sasl.pasword"), "{}", said[3]);
    let files =
        files_below(logs.path()).into_iter().map(|file| std::fs::read_to_string(file).expect("a log"));
    let refused = refusals.iter().map(|answer| format!("{:?} {}", answer.headers, answer.text()));
    let texts: Vec<_> = files.chain(refused).chain(said).chain([shown, written]).collect();
    let key = key.trim_start_matches("tarmac_");
    for secret in [key, &token, idempotency, PASSWORD] {
        for text in &texts {
            assert!(!text.contains(secret), "{secret}: {text}");
        }
    }
}
