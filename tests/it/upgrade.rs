//! A later version's schema under this version: what it adds must not matter.

use std::path::Path;

use sqlx::AssertSqlSafe;

use crate::support::{
    App,
    citizens::citizen,
    files::{bad_row, rows},
    imports::outcome,
    process::Launch,
};

const LATER: &str =
    "insert into seaql_migrations (version, applied_at) values ('m29991231_000001_of_later', 0)";

#[tokio::test]
async fn a_service_works_on_while_and_after_its_schema_is_expanded() {
    let app = App::start().await;
    app.upload("", rows(1..100)).await;
    // What an expanding migration does: columns that may be null or have a default, tables, indexes.
    let tables: Vec<String> = sqlx::query_scalar(
        "select tablename::text from pg_tables where schemaname = 'public' and tablename not in ('spatial_ref_sys', 'seaql_migrations')",
    )
    .fetch_all(&app.database.pool)
    .await
    .expect("the catalogue can be read");
    assert!(tables.len() > 8, "{tables:?}");
    for table in tables {
        let expand = format!(
            "alter table {table} add column later text, add column at_once integer not null default 1"
        );
        sqlx::query(AssertSqlSafe(expand)).execute(&app.database.pool).await.expect("it can be expanded");
    }
    app.run("create table of_later (id bigint)").await;
    app.run(LATER).await;

    app.client.get("/health/ready").send().await.expect(200);
    assert_eq!(outcome(&app.upload("", rows(50..150) + &bad_row(200)).await), [50, 0, 50, 0, 1]);
    let import = app.import_citizens(serde_json::json!([citizen(1, serde_json::json!({}))])).await;
    assert_eq!(app.citizens(import).await.len(), 1);
    app.client.get("/imports").send().await.expect(200);
    app.client.get("/airports").send().await.expect(200);
    app.airport(serde_json::json!({})).await;
    app.client.delete("/imports/1").send().await.expect(200);
}

#[tokio::test]
async fn an_import_that_the_version_before_has_begun_is_brought_to_its_end() {
    let app = App::without_worker(&[]).await;
    let import = app.begin("", rows(1..10) + &bad_row(10)).await;
    let columns = "row bigint not null, id bigint, name text, city text, country text, iata text, icao text, latitude double precision,
        longitude double precision, altitude bigint, timezone double precision, dst text, tz text, type text, source text,
        target bigint, outcome text, fault_column text, fault_code text, fault_message text, fault_value text";
    app.run(&format!("create table staging.import_{import} ({columns})")).await;
    app.work();
    assert_eq!(outcome(&app.end_of(import).await), [9, 0, 0, 0, 1]);
}

#[tokio::test]
async fn a_version_that_is_put_back_starts_on_a_later_schema_and_takes_nothing_back() {
    let app = App::start().await;
    app.run(LATER).await;
    let launch = Launch::new(&app.database.url, Path::new(&app.config.archive.url));
    let (status, _, err) = launch.run(&["migrate", "up"]).await;
    assert!(status.success(), "{err}");
    let (status, out, err) = launch.run(&["migrate", "status"]).await;
    assert!(status.success() && out.contains("later    m29991231_000001_of_later"), "{out}{err}");
    let (status, _, err) = launch.run(&["migrate", "down", "1"]).await;
    assert!(!status.success() && err.contains("ahead of this version") && err.contains("m29991231"), "{err}");
    // A step that is missing below is still missed, and not put in beneath the later one.
    app.run("delete from seaql_migrations where version like '%create_requests'").await;
    app.client.get("/health/ready").send().await.expect(503);
    let (status, _, err) = launch.run(&["migrate", "up"]).await;
    assert!(!status.success() && err.contains("ahead of this version"), "{err}");
}
