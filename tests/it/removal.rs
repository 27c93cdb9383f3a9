//! Undoing and cancelling imports of many rows: hidden at once, removed by and by, whatever happens meanwhile.

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};

use crate::support::{
    App,
    client::Client,
    database::Database,
    files::rows,
    imports::{completed, id, outcome},
    process::Launch,
    wait::until,
};

/// More than one transaction removes.
const ROWS: i64 = 25_000;

fn citizens() -> String {
    let mut csv = "citizen_id,town,street,building,apartment,name,birth_date,gender,relatives\n".to_owned();
    for number in 1..=ROWS {
        csv += &format!("{number},Town,Street,1,1,Name,01.03.1990,male,\n");
    }
    csv
}

/// Uploads many rows; the number of their import, which is complete.
async fn import(client: &Client, dataset: &str) -> i64 {
    let request = match dataset {
        "citizens" => client.post("/imports").header("Content-Type", "text/csv").body(citizens()),
        _ => client.post("/upload").header("Content-Type", "text/csv").body(rows(1..=ROWS as u32)),
    };
    let import = id(&request.send().await.expect(202).json());
    completed(client, import).await;
    import
}

async fn count(database: &Database, dataset: &str, import: i64) -> i64 {
    database.one(&format!("select count(*) from {dataset} where import_id = {import}")).await
}

/// That nobody sees anything of the import.
async fn assert_hidden(client: &Client, database: &Database, dataset: &str, import: i64) {
    if dataset == "citizens" {
        for path in ["citizens", "citizens/1", "citizens/birthdays", "towns/stat/percentile/age"] {
            client.get(&format!("/imports/{import}/{path}")).send().await.expect(409);
        }
        return;
    }
    let left: Option<i64> =
        database.one(&format!("select max(id) from airports where import_id = {import}")).await;
    let left = left.expect("some are left");
    client.get(&format!("/airports/{left}")).send().await.expect(404);
    client.patch(&format!("/airports/{left}")).json(json!({ "city": "X" })).send().await.expect(404);
    let list = client.get("/airports?include_deleted=true&limit=10").send().await.expect(200).json();
    assert_eq!(list["data"], json!([]));
}

/// The removal once it has finished: what was removed, kept and not reverted.
async fn removed(client: &Client, import: i64) -> [Value; 3] {
    until("all is removed", || async {
        let answer = client.get(&format!("/imports/{import}")).send().await;
        let removal = answer.expect(200).json()["removal"].clone();
        removal["finished_at"]
            .is_string()
            .then(|| ["removed", "kept", "not_reverted"].map(|name| removal[name].clone()))
    })
    .await
}

/// Holds a row that is removed late.
async fn hold(database: &Database, dataset: &str, import: i64) -> PgConnection {
    let key = if dataset == "citizens" { "citizen_id" } else { "id" };
    let mut holder = PgConnection::connect(&database.url).await.expect("the database answers");
    let statements = format!(
        "begin; select from {dataset} where import_id = {import} order by {key} desc limit 1 for update"
    );
    sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(&mut holder).await.expect("it is there");
    holder
}

#[tokio::test]
async fn what_takes_long_to_undo_is_accepted_and_hidden_at_once() {
    for dataset in ["citizens", "airports"] {
        let app = App::start().await;
        let import = import(&app.client, dataset).await;
        let holder = hold(&app.database, dataset, import).await;
        let path = format!("/imports/{import}");
        let answer = app.client.delete(&path).send().await.expect(202);
        assert_eq!(answer.header("location"), Some(path.as_str()));
        let accepted = answer.json();
        assert_eq!(
            (&accepted["state"], &accepted["removal"]["finished_at"]),
            (&json!("undone"), &Value::Null)
        );
        assert_eq!(accepted["removal"]["kept"], Value::Null);
        assert_hidden(&app.client, &app.database, dataset, import).await;
        // Asked again, it is still at it.
        app.client.delete(&path).send().await.expect(202);

        let follow = app.client.get(&format!("{path}/events")).send();
        let (events, ()) = tokio::join!(follow, async { holder.close().await.expect("the row is free") });
        let last = events.text();
        assert!(last.contains(r#""finished_at":""#), "the stream ends with the removal: {last}");
        assert_eq!(removed(&app.client, import).await, [json!(ROWS), json!(0), json!(0)]);
        assert_eq!(count(&app.database, dataset, import).await, 0);
        app.client.delete(&path).send().await.expect(409);
    }
}

#[tokio::test]
async fn an_undo_that_is_killed_between_two_batches_goes_on_in_another_process() {
    for dataset in ["citizens", "airports"] {
        let database = Database::create().await;
        let archive = tempfile::tempdir().expect("a temporary directory can be made");
        let launch = Launch::new(&database.url, archive.path());
        let service = launch.clone().with(&[("dev.failpoint", "rows-removed:2")]).start();
        let import = import(&service.client, dataset).await;
        if dataset == "airports" {
            let changed: i64 = database.one("select min(id) from airports").await;
            let patch =
                service.client.patch(&format!("/airports/{changed}")).json(json!({ "city": "Changed" }));
            patch.send().await.expect(200);
        }
        let url = format!("http://{}/imports/{import}", service.address);
        let undo = reqwest::Client::new().delete(url).send().await;
        assert!(undo.is_err(), "it dies meanwhile");
        service.end().await;
        assert_eq!(count(&database, dataset, import).await, ROWS - 20_000);

        // This one serves and does not remove anything.
        let reader = launch.clone().with(&[("worker.imports", "0"), ("worker.loaders", "0")]).start();
        let there = reader.client.get(&format!("/imports/{import}")).send().await.expect(200).json();
        assert_eq!((&there["state"], &there["removal"]["removed"]), (&json!("undone"), &json!(20_000)));
        if dataset == "citizens" {
            assert_hidden(&reader.client, &database, dataset, import).await;
        } else {
            let list = reader.client.get("/airports?limit=10").send().await.expect(200).json();
            let cities: Vec<_> =
                list["data"].as_array().expect("a list").iter().map(|row| &row["city"]).collect();
            assert_eq!(cities, ["Changed"], "what was changed since stays");
        }

        let other = launch.start();
        let kept = i64::from(dataset == "airports");
        assert_eq!(removed(&other.client, import).await, [json!(ROWS - kept), json!(kept), json!(0)]);
        assert_eq!(count(&database, dataset, import).await, kept);
    }
}

#[tokio::test]
async fn a_cancelled_or_failed_import_of_many_rows_leaves_none() {
    let app = App::start().await;
    // A row that breaks a rule comes last.
    let bad = citizens() + "0,Town,Street,1,1,Name,31.02.1990,male,\n";
    let failed = app.import_citizens_csv("?mode=strict", bad).await;
    assert_eq!(failed["state"], "failed");
    assert_eq!(removed(&app.client, id(&failed)).await, [json!(ROWS), json!(0), json!(0)]);

    let import = import(&app.client, "citizens").await;
    // As if it were still under way.
    app.run(&format!("update imports set state = 'paused', finished_at = null where id = {import}")).await;
    let holder = hold(&app.database, "citizens", import).await;
    let path = format!("/imports/{import}");
    let accepted = app.client.post(&format!("{path}/cancel")).send().await.expect(202);
    assert_eq!(accepted.header("location"), Some(path.as_str()));
    assert_eq!(accepted.json()["state"], "cancelled");
    holder.close().await.expect("the row is free");
    assert_eq!(removed(&app.client, import).await, [json!(ROWS), json!(0), json!(0)]);
    for table in ["citizens", "citizen_segments"] {
        assert_eq!(app.one::<i64>(&format!("select count(*) from {table}")).await, 0, "{table}");
    }
}

#[tokio::test]
async fn what_is_hidden_is_in_nobodys_way() {
    let app = App::start().await;
    let first = import(&app.client, "airports").await;
    let holder = hold(&app.database, "airports", first).await;
    app.client.delete(&format!("/imports/{first}")).send().await.expect(202);
    assert_eq!(count(&app.database, "airports", first).await, ROWS - 20_000);
    // Its number is free for whoever wants it.
    let taken = app.airport(json!({ "openflights_id": 24_000 })).await;
    assert_eq!(count(&app.database, "airports", first).await, ROWS - 20_001);
    // A file finds nothing of it either.
    let second = app.begin("", rows(20_001..=25_000)).await;
    let loaded = format!("select count(*) from import_chunks where import_id = {second}");
    until("its rows are loaded", || async { (app.one::<i64>(&loaded).await > 0).then_some(()) }).await;
    holder.close().await.expect("the row is free");
    let second = completed(&app.client, second).await;
    assert_eq!(outcome(&second), [4_999, 1, 0, 0, 0]);
    assert_eq!(removed(&app.client, first).await, [json!(ROWS), json!(0), json!(0)]);
    assert_eq!(app.one::<i64>("select count(*) from airports").await, 5_000);
    app.client.get(&format!("/airports/{}", taken["id"])).send().await.expect(200);
}
