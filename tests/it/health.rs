//! `/health`.

use std::process::{Command, ExitStatus};

use serde_json::json;

use crate::support::{App, database::Database, proxy::Proxy, wait::until};

fn status_of(report: &serde_json::Value, name: &str) -> serde_json::Value {
    let checks = report["checks"].as_array().expect("there are checks");
    checks.iter().find(|check| check["name"] == name).map(|check| check["status"].clone()).unwrap_or_default()
}

/// The report once the service says that it cannot work: what it says is some seconds old.
async fn unready(app: &App) -> serde_json::Value {
    until("the service is not ready", || async {
        let answer = app.client.get("/health/ready").send().await;
        (answer.status == 503).then(|| answer.json())
    })
    .await
}

#[tokio::test]
async fn a_service_with_all_it_needs_is_live_and_ready() {
    let app = App::start().await;
    app.client.get("/health/live").send().await.expect(200);
    let report = app.client.get("/health/ready").send().await.expect(200).json();
    assert_eq!(report["status"], "ok");
    for name in ["database", "migrations"] {
        assert_eq!(status_of(&report, name), "ok", "{name}");
    }
}

#[tokio::test]
async fn a_service_behind_its_schema_is_not_ready_and_says_what_is_pending() {
    let app = App::start().await;
    sqlx::query("delete from seaql_migrations where version like '%create_requests'")
        .execute(&app.database.pool)
        .await
        .expect("a migration is forgotten");
    let report = unready(&app).await;
    let pending = json!({ "name": "migrations", "status": "failed", "detail": "pending: m20261120_000003_create_requests" });
    assert!(report["checks"].as_array().expect("there are checks").contains(&pending), "{report}");
}

/// The exit status of `tarmac health`, asked for the service at `address`.
async fn health(address: String) -> ExitStatus {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tarmac"));
    command
        .args(["health", "--address", &address])
        .env("TARMAC_DATABASE_URL", "postgres://nobody@127.0.0.1/none");
    let output = tokio::task::spawn_blocking(move || command.output()).await.expect("nothing panics");
    output.expect("the program runs").status
}

#[tokio::test]
async fn the_command_health_says_by_its_exit_status_what_the_service_says() {
    let mut database = Database::create().await;
    let proxy = Proxy::to(&database.url).await;
    database.url = proxy.url.clone();
    let app = App::on(database, &[("database.acquire_ms", "200")]).await;
    assert_eq!(health(app.client.address()).await.code(), Some(0));
    drop(proxy);
    until("the service is not ready", || async {
        (health(app.client.address()).await.code() == Some(1)).then_some(())
    })
    .await;
    let nobody = "127.0.0.1:1".to_owned();
    assert_eq!(health(nobody).await.code(), Some(1));
}

#[tokio::test]
async fn a_service_without_its_database_lives_but_is_not_ready() {
    let mut database = Database::create().await;
    let proxy = Proxy::to(&database.url).await;
    database.url = proxy.url.clone();
    let app = App::on(database, &[("database.acquire_ms", "200")]).await;
    app.client.get("/health/ready").send().await.expect(200);
    drop(proxy);
    app.client.get("/health/live").send().await.expect(200);
    let report = unready(&app).await;
    assert_eq!(status_of(&report, "database"), "failed");
    let refused = app.client.get("/airports").send().await.expect(503);
    assert!(refused.header("retry-after").is_some());
    assert!(!refused.text().contains("127.0.0.1"), "internals do not leave the service");
}

#[tokio::test]
async fn who_asks_whether_the_service_can_work_writes_nothing() {
    let app = App::start().await;
    let modified = || {
        let archive = std::fs::metadata(&app.config.archive.url).expect("the archive is there");
        archive.modified().expect("it has a time")
    };
    let before = modified();
    let answers =
        futures_util::future::join_all((0..50).map(|_| app.client.get("/health/ready").send())).await;
    assert!(answers.iter().all(|answer| answer.status == 200));
    assert_eq!(modified(), before, "nothing was made in the archive");
    let metrics = app.client.get("/metrics").send().await.expect(200).text();
    assert!(!metrics.contains("operation=\"put\""), "{metrics}");
}
