//! What commands say of a database that cannot be reached or lacks the schema, and how the schema is taken back.

use tempfile::TempDir;

use crate::support::{
    app::airport,
    database::Database,
    process::{Launch, Running},
    wait::until,
};

fn launch(database: &Database) -> (Launch, TempDir) {
    let archive = tempfile::tempdir().expect("a temporary directory can be made");
    (Launch::new(&database.url, archive.path()), archive)
}

/// Waits until it says so; its exit status.
async fn refused(begun: Running, said: &str) -> Option<i32> {
    until(said, async || begun.log().iter().any(|line| line.contains(said)).then_some(())).await;
    begun.end().await.code()
}

#[tokio::test]
async fn without_the_schema_nothing_starts_and_everything_says_what_to_do() {
    let database = Database::empty().await;
    let (launch, _archive) = launch(&database);
    let said = "the database has no schema; run: tarmac migrate up";
    for command in ["serve", "serve --no-worker", "worker"] {
        assert_eq!(refused(launch.begin(command), said).await, Some(1), "{command}");
    }
    for command in [["keys", "list"].as_slice(), &["retain"], &["replay", "1"]] {
        let (status, _, err) = launch.run(command).await;
        assert!(status.code() == Some(1) && err.contains(said), "{command:?}: {err}");
    }
}

#[tokio::test]
async fn a_service_that_is_ahead_of_its_schema_names_what_is_pending() {
    let database = Database::create().await;
    let (launch, _archive) = launch(&database);
    sqlx::query("delete from seaql_migrations where version like '%add_cutting'")
        .execute(&database.pool)
        .await
        .expect("a migration is forgotten");
    let said = "run: tarmac migrate up (pending: m20261127_000012_add_cutting)";
    assert_eq!(refused(launch.begin("serve"), said).await, Some(1));
}

#[tokio::test]
async fn a_service_can_bring_the_schema_up_itself() {
    let database = Database::empty().await;
    let (launch, _archive) = launch(&database);
    let service = launch.start_at_a_port("serve --migrate");
    service.client.get("/health/ready").send().await.expect(200);
    service.client.post("/airports").json(airport(serde_json::json!({}))).send().await.expect(201);
    service.stop().await;
    launch.start_at_a_port("serve --migrate").stop().await;
}

#[tokio::test]
async fn a_database_that_cannot_be_reached_is_named_without_its_password() {
    let archive = tempfile::tempdir().expect("a temporary directory can be made");
    // Nobody listens there.
    let url = "postgres://user:hush@127.0.0.1:1/name";
    let launch = Launch::new(url, archive.path()).with(&[("database.acquire_ms", "200")]);
    for command in [
        ["serve"].as_slice(),
        &["worker"],
        &["migrate", "up"],
        &["migrate", "down", "1"],
        &["migrate", "status"],
        &["keys", "list"],
        &["retain"],
        &["replay", "1"],
    ] {
        let (status, out, err) = launch.run(command).await;
        assert_eq!(status.code(), Some(1), "{command:?}: {err}");
        assert!(err.contains("database at 127.0.0.1:1: ") && err.contains("Connection refused"), "{err}");
        assert!(!err.contains("hush") && !out.contains("hush"), "{out}{err}");
    }
}

#[tokio::test]
async fn the_schema_is_taken_back_as_far_as_is_said_and_no_further() {
    let database = Database::create().await;
    let (launch, _archive) = launch(&database);
    let (status, _, err) = launch.run(&["migrate", "down"]).await;
    assert_eq!(status.code(), Some(2), "{err}");
    let (status, _, err) = launch.run(&["migrate", "down", "0"]).await;
    assert_eq!(status.code(), Some(2), "{err}");
    let (status, _, err) = launch.run(&["migrate", "down", "--to", "m20200101_000001_of_nobody"]).await;
    assert!(status.code() == Some(1) && err.contains("of_nobody is not applied"), "{err}");
    let all = "select count(*) from seaql_migrations";
    let applied: i64 = database.one(all).await;
    let (status, _, err) = launch.run(&["migrate", "down", "99"]).await;
    assert!(status.code() == Some(1) && err.contains(&format!("{applied} are applied")), "{err}");
    assert_eq!(database.one::<i64>(all).await, applied);

    // Nothing is in its tables, so nothing is lost.
    let (status, _, err) = launch.run(&["migrate", "down", "--to", "m20261121_000010_add_retention"]).await;
    assert!(status.success(), "{err}");
    let newest: String = database.one("select max(version) from seaql_migrations").await;
    assert_eq!(newest, "m20261121_000010_add_retention");
    let (status, _, err) = launch.run(&["migrate", "down", "1"]).await;
    assert!(status.success(), "{err}");
    let newest: String = database.one("select max(version) from seaql_migrations").await;
    assert_eq!(newest, "m20261121_000009_add_traceparent");
}

#[tokio::test]
async fn data_is_dropped_with_the_schema_only_when_that_is_wanted() {
    let database = Database::create().await;
    let (launch, _archive) = launch(&database);
    let (status, _, err) = launch.run(&["keys", "create", "--name", "partner", "--scopes", "read"]).await;
    assert!(status.success(), "{err}");
    let to = ["migrate", "down", "--to", "m20261121_000006_add_unpaired_to_chunks"];
    let (status, _, err) = launch.run(&to).await;
    assert_eq!(status.code(), Some(1), "{err}");
    for part in ["--yes", "m20261121_000007_create_api_keys", "table api_keys: 1 rows"] {
        assert!(err.contains(part), "{part}: {err}");
    }
    // Tables without rows are not worth a word, and what was tried is not told as if it had happened.
    assert!(!err.contains("consumers: ") && !err.to_lowercase().contains("rolling back"), "{err}");
    assert_eq!(database.one::<i64>("select count(*) from api_keys").await, 1);

    let (status, _, err) = launch.run(&[to.as_slice(), &["--yes"]].concat()).await;
    assert!(status.success(), "{err}");
    assert_eq!(database.one::<Option<String>>("select to_regclass('api_keys')::text").await, None);
}
