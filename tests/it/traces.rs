//! Spans on their way to a collector.

use opentelemetry_proto::tonic::{common::v1::any_value::Value, trace::v1::Span};

use crate::support::{
    collector::Collector, database::Database, files::rows, imports::post_csv, kafka::Topics, process::Launch,
    wait::until,
};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const PARENT: &str = "00f067aa0ba902b7";

/// The names of a span and those above it, up to the one that the client named.
fn way_up(spans: &[Span], from: &Span) -> Vec<String> {
    let mut names = vec![from.name.clone()];
    let mut parent = &from.parent_span_id;
    while hex::encode(parent) != PARENT {
        let above = spans.iter().find(|span| span.span_id == *parent);
        let above = above.unwrap_or_else(|| panic!("{names:?} hang in the air: {spans:?}"));
        names.push(above.name.clone());
        parent = &above.parent_span_id;
    }
    names
}

fn attribute(span: &Span, name: &str) -> Option<Value> {
    let attribute = span.attributes.iter().find(|attribute| attribute.key == name)?;
    attribute.value.as_ref()?.value.clone()
}

/// A process takes the upload, another leads the import and loads its two chunks; whoever uploads is in the middle of a trace.
async fn one_trace_leads_from_the_request_to_the_commit(settings: &[(&str, &str)]) {
    let collector = Collector::start().await;
    let database = Database::create().await;
    let archive = tempfile::tempdir().expect("a temporary directory can be made");
    let settings =
        [settings, &[("traces.endpoint", &collector.endpoint), ("ingest.chunk_rows", "2")]].concat();
    let launch = Launch::new(&database.url, archive.path()).with(&settings);
    let service = launch.clone().with(&[("worker.imports", "0"), ("worker.loaders", "0")]).start();
    let worker = launch.start_worker();
    let upload = post_csv(&service.client, "", rows(1..=4));
    upload.header("traceparent", &format!("00-{TRACE}-{PARENT}-01")).send().await.expect(200);
    // Another one, which its client does not want to see.
    let unseen = TRACE.replace('4', "5");
    let upload = post_csv(&service.client, "", rows(5..=6));
    upload.header("traceparent", &format!("00-{unseen}-{PARENT}-00")).send().await.expect(200);
    // Each sends what it has left.
    service.stop().await;
    worker.stop().await;

    let spans = collector.trace(TRACE);
    let named = |name: &str| spans.iter().filter(|span| span.name == name).collect::<Vec<_>>();
    for part in ["prepare", "check", "turn", "begin", "copy", "commit", "acknowledge"] {
        let parts = named(part);
        assert_eq!(parts.len(), 2, "{part}: {spans:?}");
        for span in parts {
            assert_eq!(way_up(&spans, span), [part, "chunk", "import", "request"]);
        }
    }
    for part in ["publish", "unpack", "finish"] {
        assert_eq!(way_up(&spans, named(part)[0]), [part, "import", "request"]);
    }
    let [request] = named("request")[..] else { panic!("one request: {spans:?}") };
    assert_eq!(attribute(request, "http.route"), Some(Value::StringValue("/upload".to_owned())));
    assert_eq!(attribute(request, "http.response.status_code"), Some(Value::IntValue(200)));
    assert_eq!(attribute(request, "import"), Some(Value::IntValue(1)));
    assert_eq!(collector.trace(&unseen), []);
}

#[tokio::test]
async fn one_trace_leads_from_the_request_to_the_commit_through_the_journal() {
    one_trace_leads_from_the_request_to_the_commit(&[]).await;
}

#[tokio::test]
async fn one_trace_leads_from_the_request_to_the_commit_through_kafka() {
    let topics = Topics::new();
    one_trace_leads_from_the_request_to_the_commit(&topics.settings()).await;
}

#[tokio::test]
async fn a_collector_that_is_away_keeps_nobody_from_anything() {
    let database = Database::create().await;
    let archive = tempfile::tempdir().expect("a temporary directory can be made");
    let launch = Launch::new(&database.url, archive.path());
    let service = launch.with(&[("traces.endpoint", "http://127.0.0.1:1")]).start();
    post_csv(&service.client, "", rows(1..=4)).send().await.expect(200);
    until("the log says that spans are not sent", async || {
        service.log().iter().any(|line| line.contains("opentelemetry")).then_some(())
    })
    .await;
    service.stop().await;
}
