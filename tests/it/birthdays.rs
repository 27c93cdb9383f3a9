//! Presents by month.

use serde_json::{Value, json};
use tarmac::db::{Db, citizens};

use crate::support::{App, citizens::citizen};

async fn birthdays(app: &App, import: i64, query: &str) -> Value {
    let path = format!("/imports/{import}/citizens/birthdays{query}");
    app.client.get(&path).send().await.expect(200).json()["data"].clone()
}

fn months(with: &[(&str, Value)]) -> Value {
    let mut months: serde_json::Map<_, _> = (1..=12).map(|month| (month.to_string(), json!([]))).collect();
    for (month, presents) in with {
        months.insert((*month).to_owned(), presents.clone());
    }
    months.into()
}

#[tokio::test]
async fn all_months_are_there_even_without_relatives() {
    let app = App::start().await;
    let empty = app.import_citizens(json!([])).await;
    let alone = app.import_citizens(vec![citizen(1, json!({}))]).await;
    for import in [empty, alone] {
        for query in ["", "?group_by=channel"] {
            let answer = birthdays(&app, import, query).await;
            assert_eq!(answer, months(&[]));
            let order: Vec<_> = answer.as_object().expect("an object").keys().cloned().collect();
            assert_eq!(order, (1..=12).map(|month| month.to_string()).collect::<Vec<_>>());
        }
    }
}

/// 1 and 3 were brought by radio, 2 by nobody; 1 is related to everybody, itself included.
async fn family(app: &App) -> i64 {
    app.import_citizens(vec![
        citizen(1, json!({ "birth_date": "26.12.1986", "relatives": [1, 2, 3], "channel": "radio" })),
        citizen(2, json!({ "birth_date": "01.04.1997", "relatives": [1] })),
        citizen(3, json!({ "birth_date": "23.12.1986", "relatives": [1], "channel": "radio" })),
        citizen(4, json!({ "birth_date": "01.01.1990", "channel": "tv" })),
    ])
    .await
}

#[tokio::test]
async fn everybody_buys_a_present_for_each_relative_in_its_month() {
    let app = App::start().await;
    family(&app).await;
    let import = family(&app).await;
    let december = json!([
        { "citizen_id": 1, "presents": 2 }, { "citizen_id": 2, "presents": 1 }, { "citizen_id": 3, "presents": 1 }
    ]);
    let april = json!([{ "citizen_id": 1, "presents": 1 }]);
    assert_eq!(birthdays(&app, import, "").await, months(&[("4", april), ("12", december)]));
}

#[tokio::test]
async fn presents_are_counted_by_the_channel_of_who_buys() {
    let app = App::start().await;
    let import = family(&app).await;
    let december = json!([{ "channel": "radio", "presents": 3 }, { "channel": null, "presents": 1 }]);
    let april = json!([{ "channel": "radio", "presents": 1 }]);
    let expected = months(&[("4", april), ("12", december)]);
    assert_eq!(birthdays(&app, import, "?group_by=channel").await, expected);
    let path = format!("/imports/{import}/citizens/birthdays?group_by=town");
    app.client.get(&path).send().await.expect(400);
}

#[tokio::test]
async fn a_change_of_relatives_changes_the_presents() {
    let app = App::start().await;
    let import = family(&app).await;
    app.patch(import, 1, json!({ "relatives": [4] })).await.expect(200);
    let january = json!([{ "citizen_id": 1, "presents": 1 }]);
    let december = json!([{ "citizen_id": 4, "presents": 1 }]);
    assert_eq!(birthdays(&app, import, "").await, months(&[("1", january), ("12", december)]));
}

#[tokio::test]
async fn an_import_is_read_by_its_index_whatever_the_planner_believes() {
    let app = App::start().await;
    let import = family(&app).await;
    // It is all there is: to read the whole table would seem best, and no longer be when others are loaded.
    app.run("analyze citizens").await;
    let db = Db::connect(&app.config.database).await.expect("the database answers");
    let place = tarmac::places::Places::new(1, 100).take(&(), 1).expect("it is free");
    let mut snapshot = citizens::snapshot(&db, import, place).await.expect("the import is complete");
    let query = format!("explain select town from citizens where import_id = {import}");
    let connection = snapshot.export.connection().expect("the snapshot is open");
    let plan: Vec<String> =
        sqlx::query_scalar(sqlx::AssertSqlSafe(query)).fetch_all(connection).await.expect("a plan");
    assert!(plan.join("\n").contains("citizens_pkey"), "{plan:?}");
}
