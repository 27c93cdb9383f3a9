//! `Idempotency-Key`.

use serde_json::{Value, json};

use crate::support::{App, app::airport, client::Answer};

async fn create(app: &App, key: &str, body: Value) -> Answer {
    app.client.post("/airports").header("Idempotency-Key", key).json(body).send().await
}

async fn count(app: &App) -> usize {
    app.client.get("/airports").send().await.expect(200).json()["data"].as_array().expect("rows").len()
}

#[tokio::test]
async fn a_repeated_request_gets_the_first_answer_and_creates_nothing() {
    let app = App::start().await;
    let first = create(&app, "a", airport(json!({}))).await.expect(201);
    assert_eq!(first.header("idempotent-replayed"), None);
    app.client.patch("/airports/1").json(json!({ "city": "Keflavik" })).send().await.expect(200);

    let again = create(&app, "a", airport(json!({}))).await.expect(201);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.json(), first.json());
    for name in ["location", "etag", "content-type"] {
        assert_eq!(again.header(name), first.header(name), "{name}");
    }
    assert_eq!(count(&app).await, 1);
}

#[tokio::test]
async fn a_key_belongs_to_one_path_query_and_body() {
    let app = App::start().await;
    create(&app, "a", airport(json!({}))).await.expect(201);
    create(&app, "a", airport(json!({ "city": "B" }))).await.expect(422);
    let elsewhere =
        app.client.put("/create").header("Idempotency-Key", "a").json(airport(json!({}))).send().await;
    elsewhere.expect(422);
    create(&app, "b", airport(json!({}))).await.expect(201);
    assert_eq!(count(&app).await, 2);
}

#[tokio::test]
async fn a_failed_request_frees_its_key_before_it_is_answered() {
    let app = App::start().await;
    app.airport(json!({ "iata": "KEF" })).await;
    create(&app, "a", airport(json!({ "iata": "KEF" }))).await.expect(409);
    create(&app, "a", airport(json!({ "iata": "RKV" }))).await.expect(201);
}

async fn hold(app: &App, key: &str, expires: &str) {
    sqlx::query(
        "insert into idempotency_keys (client, key, holder, expires_at)
         values ('anonymous', $1, 'another process', now() + $2::interval)",
    )
    .bind(key)
    .bind(expires)
    .execute(&app.database.pool)
    .await
    .expect("the key is held");
}

#[tokio::test]
async fn a_key_whose_request_is_still_running_is_a_conflict() {
    let app = App::start().await;
    hold(&app, "a", "1 minute").await;
    create(&app, "a", airport(json!({}))).await.expect(409);
    assert_eq!(count(&app).await, 0);
}

#[tokio::test]
async fn a_crashed_request_does_not_block_its_key_beyond_its_lease() {
    let app = App::start().await;
    hold(&app, "a", "-1 second").await;
    create(&app, "a", airport(json!({}))).await.expect(201);
    create(&app, "a", airport(json!({}))).await.expect(201);
    assert_eq!(count(&app).await, 1);
}

#[tokio::test]
async fn many_requests_with_one_key_at_once_create_one_airport() {
    let app = App::start().await;
    let requests = (0..8).map(|_| create(&app, "a", airport(json!({}))));
    let answers = futures_util::future::join_all(requests).await;
    assert!(answers.iter().all(|answer| [201, 409].contains(&answer.status.as_u16())));
    assert!(answers.iter().any(|answer| answer.status == 201));
    assert_eq!(count(&app).await, 1);
}

#[tokio::test]
async fn an_empty_or_endless_key_is_refused() {
    let app = App::start().await;
    for key in ["", &"x".repeat(256)] {
        assert_eq!(create(&app, key, airport(json!({}))).await.expect(400).codes(), ["length"]);
    }
}
