//! `/metrics`.

use std::{collections::BTreeSet, path::Path};

use serde_json::Value;

use crate::support::{
    App,
    app::files_below,
    client::Client,
    database::Database,
    files::{bad_row, rows},
    imports::post_csv,
    kafka::Topics,
    process::Launch,
    proxy::Proxy,
    wait::until,
};

/// The value of a line that begins so.
fn value(text: &str, line: &str) -> Option<f64> {
    let rest = text.lines().find_map(|found| found.strip_prefix(line))?;
    rest.trim().parse().ok()
}

#[tokio::test]
async fn requests_imports_journal_and_pool_are_counted() {
    let app = App::without_worker(&[]).await;
    app.client.get("/airports/7").send().await.expect(404);
    app.client.get("/airports/8").send().await.expect(404);
    app.client.get("/nowhere").send().await.expect(404);
    let row = "1,A,B,C,\\N,\\N,1,2,0,0,U,\\N,airport,S\n2,A,B,C,\\N,\\N,91,2,0,0,U,\\N,airport,S\n";
    app.client.post("/upload").header("Content-Type", "text/csv").body(row).send().await.expect(202);

    let answer = app.client.get("/metrics").send().await.expect(200);
    assert!(
        answer.header("content-type").is_some_and(|kind| kind.starts_with("application/openmetrics-text"))
    );
    let text = answer.text();
    for (line, expected) in [
        ("tarmac_requests_total{method=\"GET\",route=\"/airports/:param0\",status=\"404\"}", 2.0),
        ("tarmac_requests_total{method=\"GET\",route=\"none\",status=\"404\"}", 1.0),
        ("tarmac_request_seconds_count{method=\"POST\",route=\"/upload\"}", 1.0),
        ("tarmac_imports{dataset=\"airports\",state=\"received\"}", 1.0),
        ("tarmac_journal_chunks", 0.0),
        ("tarmac_uploads", 0.0),
        ("tarmac_database_up", 1.0),
    ] {
        assert_eq!(value(&text, line), Some(expected), "{line}\n{text}");
    }
    assert!(text.ends_with("# EOF\n"), "{text}");

    app.work();
    until("the import is counted as complete", async || {
        let text = app.client.get("/metrics").send().await.expect(200).text();
        value(&text, "tarmac_imports{dataset=\"airports\",state=\"complete\"}").map(|_| {
            let of = |name: &str| {
                value(&text, &format!("tarmac_imports_{name}{{dataset=\"airports\",state=\"complete\"}}"))
            };
            assert_eq!((of("rows_read"), of("rows_rejected")), (Some(2.0), Some(1.0)));
            assert_eq!(of("bytes"), Some(row.len() as f64));
        })
    })
    .await;
}

#[tokio::test]
async fn without_the_database_the_others_are_still_told() {
    let mut database = Database::create().await;
    let proxy = Proxy::to(&database.url).await;
    database.url = proxy.url.clone();
    let app = App::on(database, &[("database.acquire_ms", "200")]).await;
    drop(proxy);
    let text = app.client.get("/metrics").send().await.expect(200).text();
    assert_eq!(value(&text, "tarmac_database_up"), Some(0.0), "{text}");
    assert!(value(&text, "tarmac_database_connections{state=\"used\"}").is_some(), "{text}");
    assert!(!text.contains("tarmac_imports"), "{text}");
}

#[tokio::test]
async fn chunks_rows_bytes_and_the_archive_are_counted() {
    let app = App::with(&[("ingest.chunk_rows", "2")]).await;
    let file = rows(1..=4) + &bad_row(5);
    assert_eq!(app.upload("", file.clone()).await["state"], "complete");
    // The import is complete before its last chunk is acknowledged.
    let acknowledged = "tarmac_chunk_seconds_count{phase=\"acknowledge\"}";
    let text = until("all chunks are acknowledged", || async {
        let text = app.client.get("/metrics").send().await.expect(200).text();
        (value(&text, acknowledged) == Some(3.0)).then_some(text)
    })
    .await;
    for phase in ["prepare", "check", "turn", "begin", "copy", "commit"] {
        let line = format!("tarmac_chunk_seconds_count{{phase=\"{phase}\"}}");
        assert_eq!(value(&text, &line), Some(3.0), "{line}\n{text}");
    }
    let bytes = file.len() as f64;
    // The upload and its manifest.
    let kept = files_below(Path::new(&app.config.archive.url));
    let length = |file: &String| std::fs::metadata(file).expect("it is there").len();
    let written = kept.iter().map(length).sum::<u64>() as f64;
    for (line, expected) in [
        ("tarmac_chunks_total{outcome=\"loaded\"}", 3.0),
        ("tarmac_chunk_rows_total{outcome=\"accepted\"}", 4.0),
        ("tarmac_chunk_rows_total{outcome=\"rejected\"}", 1.0),
        ("tarmac_chunk_bytes_total", bytes),
        ("tarmac_archive_seconds_count{operation=\"finish\",outcome=\"done\"}", 1.0),
        ("tarmac_archive_bytes_total{direction=\"written\"}", written),
        // Once to split it, once to load it.
        ("tarmac_archive_bytes_total{direction=\"read\"}", 2.0 * bytes),
        ("tarmac_consumers{state=\"running\"}", 2.0),
        ("tarmac_database_waiting", 0.0),
        ("tarmac_database_connections_most", 8.0),
    ] {
        assert_eq!(value(&text, line), Some(expected), "{line}\n{text}");
    }
    for process in ["tarmac_process_resident_memory_bytes", "tarmac_process_open_files"] {
        assert!(value(&text, process).is_some_and(|value| value > 1.0), "{process}\n{text}");
    }
}

#[tokio::test]
async fn a_worker_can_be_watched_and_nothing_else() {
    let database = Database::create().await;
    let archive = tempfile::tempdir().expect("a temporary directory can be made");
    let launch = Launch::new(&database.url, archive.path());
    let worker = launch.start_watched_worker();
    let service = launch.with(&[("worker.loaders", "0"), ("worker.imports", "0")]).start();
    post_csv(&service.client, "", rows(1..=3)).send().await.expect(200);
    let loaded = async |client: &Client| {
        let text = client.get("/metrics").send().await.expect(200).text();
        value(&text, "tarmac_chunks_total{outcome=\"loaded\"}").unwrap_or(0.0)
    };
    assert_eq!((loaded(&worker.client).await, loaded(&service.client).await), (1.0, 0.0));
    worker.client.get("/health/ready").send().await.expect(200);
    let log = worker.client.get("/logs").send().await.expect(200).json();
    assert!(log.to_string().contains("serving"), "{log}");
    // The document is the service's.
    for path in ["airports", "imports/1", "openapi.json"] {
        let answer = reqwest::get(format!("http://{}/{path}", worker.address)).await.expect("an answer");
        assert_eq!(answer.status(), 404, "{path}");
    }
    worker.stop().await;
}

#[tokio::test]
async fn a_chunk_that_fails_is_counted_as_often_as_it_is_tried() {
    let app = App::with(&[("worker.attempts", "2")]).await;
    app.run("alter table import_rejects rename column message to lost").await;
    let id = app.begin("", bad_row(1)).await;
    until("the import has failed", async || {
        (app.one::<String>(&format!("select state from imports where id = {id}")).await == "failed")
            .then_some(())
    })
    .await;
    until("it is counted", async || {
        let text = app.client.get("/metrics").send().await.expect(200).text();
        let of = |outcome| value(&text, &format!("tarmac_chunks_total{{outcome=\"{outcome}\"}}"));
        ((of("retried"), of("failed")) == (Some(1.0), Some(1.0))).then_some(())
    })
    .await;
}

/// The names of this service's metrics in a text.
fn names(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("tarmac_")).map(str::to_owned).collect()
}

fn read(path: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

#[tokio::test]
async fn dashboard_and_alerts_name_metrics_that_there_are() {
    let topics = Topics::new();
    let database = Database::create().await;
    let archive = tempfile::tempdir().expect("a temporary directory can be made");
    let service = Launch::new(&database.url, archive.path()).with(&topics.settings()).start();
    post_csv(&service.client, "", rows(1..=3)).send().await.expect(200);
    let there = until("consumers have said how far behind they are", async || {
        let text = service.client.get("/metrics").send().await.expect(200).text();
        text.contains("tarmac_consumer_lag_chunks{").then(|| names(&text))
    })
    .await;
    let dashboard: Value = serde_json::from_str(&read("docs/grafana/tarmac.json")).expect("it is JSON");
    let queries: Vec<_> = dashboard["panels"]
        .as_array()
        .expect("it has panels")
        .iter()
        .flat_map(|panel| panel["targets"].as_array().into_iter().flatten())
        .map(|target| target["expr"].as_str().expect("a panel asks something").to_owned())
        .collect();
    for (file, text) in [("dashboard", queries.join(" ")), ("alerts", read("docs/prometheus/alerts.yml"))] {
        let asked: BTreeSet<_> = names(&text);
        assert!(asked.len() > 5, "{file}: {asked:?}");
        let missing: Vec<_> = asked.difference(&there).collect();
        assert!(missing.is_empty(), "{file}: {missing:?}");
    }
}
