//! The service on Kafka: what it stores, and what it says when the cluster is not as it must be.

use std::net::TcpListener;

use serde_json::{Value, json};

use crate::support::{
    App,
    files::{bad_row, openflights, row, rows},
    imports::{count, failure, id, outcome},
    kafka::{Topics, brokers, sasl_brokers},
    proxy::Proxy,
    wait::until,
};

/// The service on these topics, with some keys set over that.
async fn start(topics: &Topics, settings: &[(&str, &str)]) -> App {
    App::with(&[&topics.settings(), settings].concat()).await
}

/// Why the transport is not ready, once it is so.
async fn complaint(app: &App) -> String {
    until("the transport is not ready", || async {
        let report = app.client.get("/health/ready").send().await.json();
        let check = transport(&report);
        (check["status"] == "failed").then(|| check["detail"].as_str().expect("it says why").to_owned())
    })
    .await
}

fn transport(report: &Value) -> Value {
    let checks = report["checks"].as_array().expect("there are checks");
    checks.iter().find(|check| check["name"] == "transport").cloned().expect("the transport is checked")
}

#[tokio::test]
async fn an_import_through_kafka_stores_what_one_through_the_journal_stores() {
    let topics = Topics::new();
    let file = openflights();
    let left_by = async |app: &App| {
        let import = app.upload("", file.clone()).await;
        assert_eq!(import["state"], "complete", "{import}");
        let airports = "select md5(string_agg((to_jsonb(a) - 'id' - 'created_at' - 'updated_at')::text, ';' order by openflights_id)) from airports a";
        (import["counts"].clone(), app.one::<String>(airports).await)
    };
    let chunks = ("ingest.chunk_rows", "100");
    let journal = left_by(&App::with(&[chunks]).await).await;
    let app = start(&topics, &[chunks]).await;
    assert_eq!(left_by(&app).await, journal);
    assert_eq!(app.one::<i64>("select count(*) from journal").await, 0);
    assert_eq!(app.client.get("/health/ready").send().await.expect(200).json()["status"], "ok");
}

#[tokio::test]
async fn imports_through_kafka_run_beside_each_other_over_several_workers() {
    let topics = Topics::new();
    let app = start(&topics, &[("ingest.chunk_rows", "5"), ("worker.loaders", "1")]).await;
    for _ in 0..2 {
        app.work();
    }
    let uploads =
        (0..4).map(|number| app.upload("", rows(number * 100 + 1..number * 100 + 90) + &bad_row(1)));
    for import in futures_util::future::join_all(uploads).await {
        assert_eq!((&import["state"], outcome(&import)), (&json!("complete"), [89, 0, 0, 0, 1]));
    }
    assert_eq!(app.one::<i64>("select count(*) from airports").await, 4 * 89);
}

#[tokio::test]
async fn an_import_is_paused_and_resumed_and_another_cancelled() {
    let topics = Topics::new();
    let app = App::without_worker(&[&topics.settings()[..], &[("ingest.chunk_rows", "2")]].concat()).await;
    let (paused, cancelled) = (app.begin("", rows(1..=9)).await, app.begin("", rows(11..=19)).await);
    app.work();
    let post = async |import: i64, what: &str| {
        app.client.post(&format!("/imports/{import}/{what}")).send().await.expect(200);
    };
    // However far each has come.
    post(paused, "pause").await;
    post(cancelled, "cancel").await;
    assert_eq!(app.upload("", rows(21..=29)).await["state"], "complete");
    post(paused, "resume").await;
    let ended = app.end_of(paused).await;
    assert_eq!((&ended["state"], outcome(&ended)), (&json!("complete"), [9, 0, 0, 0, 0]));
    assert_eq!(app.import(cancelled).await["state"], "cancelled");
    assert_eq!(app.one::<i64>("select count(*) from airports").await, 18);
}

#[tokio::test]
async fn what_cannot_be_read_goes_to_the_dead_letters_and_the_rest_goes_on() {
    let topics = Topics::new();
    topics.make(4, "4000000").await;
    topics.send(&topics.chunks(), &[], "not ours").await;
    topics.send(&topics.chunks(), &[("schema-version", "0"), ("import", "1")], "an older one").await;
    topics.send(&topics.chunks(), &[("schema-version", "1"), ("import", "x")], "a broken one").await;
    let app = start(&topics, &[]).await;
    assert_eq!(app.upload("", row(1)).await["state"], "complete");
    let mut letters: Vec<_> = topics.dead_lettered(3).await;
    letters.sort_unstable();
    let reasons: Vec<_> = letters
        .iter()
        .map(|(payload, headers)| (String::from_utf8_lossy(payload), headers["dead-letter-reason"].as_str()))
        .collect();
    assert_eq!(
        reasons,
        [
            ("a broken one".into(), "header import: \"x\" is not a number it could be"),
            ("an older one".into(), "schema version \"0\" is unknown, this is version 1"),
            ("not ours".into(), "header schema-version is missing"),
        ]
    );
    let (_, headers) = &letters[1];
    assert_eq!((headers["import"].as_str(), &headers["dead-letter-topic"]), ("1", &topics.chunks()));
    assert!(headers.contains_key("dead-letter-partition") && headers.contains_key("dead-letter-offset"));
}

#[tokio::test]
async fn a_chunk_that_can_never_be_loaded_fails_its_import_alone_and_is_kept() {
    let topics = Topics::new();
    let settings = [("ingest.chunk_rows", "2"), ("worker.attempts", "2")];
    let app = App::without_worker(&[&topics.settings()[..], &settings].concat()).await;
    let trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let upload = |file: String, trace: &str| {
        let request = app.client.post("/upload").header("Content-Type", "text/csv");
        request.header("traceparent", trace).body(file).send()
    };
    let rotten = id(&upload(rows(1..=6), trace).await.expect(202).json());
    // The ledger takes none of its chunks, and never will.
    app.run(&format!("alter table import_chunks add check (import_id <> {rotten})")).await;
    app.work();
    let ended = app.end_of(rotten).await;
    assert_eq!(failure(&ended), "internal");
    assert_eq!(app.upload("", rows(11..=16)).await["state"], "complete");
    let (payload, headers) = topics.dead_lettered(1).await.remove(0);
    assert_eq!(headers["import"], rotten.to_string());
    assert!(rows(1..=6).as_bytes().windows(payload.len()).any(|rows| rows == payload));
    assert!(headers["dead-letter-reason"].contains("could not load"), "{headers:?}");
    // The request's trace is carried on, unless it is none.
    assert_eq!(headers["traceparent"], trace);
    let untraced = id(&upload(rows(21..=22), "00-0-0-00").await.expect(202).json());
    let kept = format!("select traceparent from imports where id = {untraced}");
    assert_eq!(app.one::<Option<String>>(&kept).await, None);
}

#[tokio::test]
async fn chunks_that_the_topic_lost_are_published_again() {
    let topics = Topics::new();
    let settings = [("ingest.chunk_rows", "2"), ("worker.stalled_ms", "1000"), ("worker.loaders", "1")];
    let config = [&topics.settings()[..], &settings].concat();
    let app = App::without_worker(&config).await;
    let import = app.begin("", rows(1..=99)).await;
    // A coordinator without consumers: everything it may have in flight is published, and nothing loaded.
    let publishing = app.lead();
    until("chunks are published", || async { (topics.published().await >= 16).then_some(()) }).await;
    topics.delete(&topics.chunks()).await;
    app.work();
    let ended = app.end_of(import).await;
    assert_eq!((&ended["state"], outcome(&ended)), (&json!("complete"), [99, 0, 0, 0, 0]));
    assert_eq!(count(&ended, "chunks"), 50);
    drop(publishing);
}

#[tokio::test]
async fn a_service_starts_without_its_broker_and_works_once_it_is_there() {
    let topics = Topics::new();
    let port = {
        let free = TcpListener::bind("127.0.0.1:0").expect("there is a free port");
        free.local_addr().expect("it is bound").port()
    };
    let app = start(&topics, &[("kafka.brokers", &format!("127.0.0.1:{port}"))]).await;
    assert_eq!(complaint(&app).await, "chunks cannot travel: no Kafka broker answers");
    let import = app.begin("", rows(1..=9)).await;
    assert_eq!(app.import(import).await["counts"]["chunks"], 0);
    let _way = Proxy::between(port, &brokers()).await;
    let ended = app.end_of(import).await;
    assert_eq!((&ended["state"], outcome(&ended)), (&json!("complete"), [9, 0, 0, 0, 0]));
    until("the service is ready", || async {
        (app.client.get("/health/ready").send().await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_asks_whether_chunks_can_travel_makes_no_topics() {
    let topics = Topics::new();
    let app = App::without_worker(&topics.settings()).await;
    until("the service has made its topics", || async {
        (app.client.get("/health/ready").send().await.status == 200).then_some(())
    })
    .await;
    topics.delete(&topics.chunks()).await;
    let said = complaint(&app).await;
    assert!(said.contains(&format!("the topic {} is not there", topics.chunks())), "{said}");
    // Asked anew, which takes until the answer before is forgotten, it is not there either.
    let forgotten = std::time::Instant::now() + std::time::Duration::from_secs(4);
    until("the service has looked again", || async {
        let report = app.client.get("/health/ready").send().await.expect(503).json();
        assert_eq!(transport(&report)["status"], "failed");
        (std::time::Instant::now() > forgotten).then_some(())
    })
    .await;
}

#[tokio::test]
async fn right_credentials_work_and_wrong_ones_are_named() {
    let topics = Topics::new();
    let brokers = sasl_brokers();
    let settings = |password| {
        [
            ("kafka.brokers", brokers.as_str()),
            ("kafka.properties.security.protocol", "sasl_plaintext"),
            ("kafka.properties.sasl.mechanism", "PLAIN"),
            ("kafka.properties.sasl.username", "tarmac"),
            ("kafka.properties.sasl.password", password),
        ]
    };
    let app = start(&topics, &settings("tarmac")).await;
    assert_eq!(app.upload("", row(1)).await["state"], "complete");
    let app = start(&topics, &settings("guess")).await;
    assert_eq!(complaint(&app).await, "chunks cannot travel: Kafka refuses the credentials");
    assert_eq!(app.import(app.begin("", row(2)).await).await["error"], Value::Null);
}

#[tokio::test]
async fn a_topic_that_is_not_as_it_must_be_is_refused_with_what_to_do() {
    let topics = Topics::new();
    topics.make(2, "1000").await;
    let app = start(&topics, &[("ingest.chunk_bytes", "2000"), ("ingest.record_bytes", "1000")]).await;
    let complaint = complaint(&app).await;
    for part in [
        format!("the topic {} has 2 partitions, kafka.partitions asks for 4", topics.chunks()),
        "max.message.bytes=1000, messages take up to 18384: raise it, or lower ingest.chunk_bytes".to_owned(),
    ] {
        assert!(complaint.contains(&part), "{complaint}");
    }
    // The upload is kept meanwhile.
    app.begin("", row(1)).await;
}

#[tokio::test]
async fn properties_that_librdkafka_does_not_take_keep_the_service_from_starting() {
    let topics = Topics::new();
    let app = App::start().await;
    let with =
        |name: &str, value: &str| app.config_with(&[&topics.settings()[..], &[(name, value)]].concat());
    for (name, value) in [
        ("kafka.producer.linger", "5"),
        ("kafka.consumer.isolation.level", "read_everything"),
        // Not in itself: the session may be silent for longer.
        ("kafka.consumer.max.poll.interval.ms", "5000"),
    ] {
        let worked = tarmac::app::work(with(name, value), tokio_util::sync::CancellationToken::new()).await;
        let error = worked.expect_err("the property is wrong");
        let mut causes = vec![error.to_string()];
        let mut source = std::error::Error::source(&error);
        while let Some(cause) = source {
            causes.push(cause.to_string());
            source = cause.source();
        }
        let property = name.splitn(3, '.').last().expect("a property");
        assert!(causes.iter().any(|cause| cause.contains(property)), "{causes:?}");
    }
}
