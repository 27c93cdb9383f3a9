//! `/metrics`.

use crate::support::{App, database::Database, proxy::Proxy, wait::until};

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
