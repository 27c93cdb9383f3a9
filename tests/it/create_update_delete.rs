//! `/create`, `/update`, `/delete`.

use serde_json::json;

use crate::support::{App, app::airport};

#[tokio::test]
async fn put_create_creates_an_airport() {
    let app = App::start().await;
    let created = app.client.put("/create").json(airport(json!({ "iata": "KEF" }))).send().await.expect(201);
    assert_eq!(created.header("location"), Some("/airports/1"));
    assert_eq!(created.header("etag"), Some("\"1\""));
    let read = app.client.get("/airports/1").send().await.expect(200);
    assert_eq!(read.json(), created.json());
    app.client.put("/create").json(airport(json!({ "iata": "KEF" }))).send().await.expect(409);
}

#[tokio::test]
async fn patch_update_changes_the_fields_in_its_body() {
    let app = App::start().await;
    app.airport(json!({ "city": "Keflavik", "iata": "KEF" })).await;
    let changed =
        app.client.patch("/update").json(json!({ "id": 1, "iata": "RKV", "city": null })).send().await;
    let changed = changed.expect(200).json();
    assert_eq!(
        (&changed["iata"], &changed["city"], &changed["version"]),
        (&json!("RKV"), &json!(null), &json!(2))
    );

    let stale = app.client.patch("/update").header("If-Match", "\"1\"").json(json!({ "id": 1, "city": "A" }));
    stale.send().await.expect(412);
    app.client.patch("/update").json(json!({ "id": 2, "city": "A" })).send().await.expect(404);
    for body in [
        json!({ "city": "A" }),
        json!({ "id": "1" }),
        json!({ "id": 1, "colour": 1 }),
        json!({ "id": 1, "name": null }),
    ] {
        app.client.patch("/update").json(body).send().await.expect(400);
    }
}

#[tokio::test]
async fn delete_delete_removes_the_row_for_good() {
    let app = App::start().await;
    app.airport(json!({})).await;
    app.client.delete("/delete?id=1").send().await.expect(204);
    app.client.post("/airports/1/restore").send().await.expect(404);
    app.client.delete("/delete?id=1").send().await.expect(404);
    app.client.delete("/delete").send().await.expect(400);
    let rows: i64 = sqlx::query_scalar("select count(*) from airports")
        .fetch_one(&app.database.pool)
        .await
        .expect("a count");
    assert_eq!(rows, 0);
}

#[tokio::test]
async fn get_delete_sets_the_deleted_flag_and_is_never_cached() {
    let app = App::start().await;
    app.airport(json!({})).await;
    let deleted = app.client.get("/delete?id=1").send().await.expect(200);
    assert_eq!(deleted.header("cache-control"), Some("no-store"));
    assert!(deleted.json()["deleted_at"].is_string());
    app.client.get("/airports/1").send().await.expect(404);
    app.client.get("/delete?id=1").send().await.expect(404);
    app.client.post("/airports/1/restore").send().await.expect(200);
    app.client.get("/airports/1").send().await.expect(200);
}
