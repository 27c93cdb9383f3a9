//! `/consumers`.

use serde_json::{Value, json};

use crate::support::{
    App,
    files::{row, rows},
    imports::outcome,
    kafka::Topics,
    wait::{DEADLINE, until},
};

const ONE: (&str, &str) = ("worker.loaders", "1");

async fn list(app: &App) -> Vec<Value> {
    let answer = app.client.get("/consumers").send().await.expect(200).json();
    answer["data"].as_array().expect("a list").clone()
}

async fn get(app: &App, id: &Value) -> Value {
    app.client.get(&format!("/consumers/{id}")).send().await.expect(200).json()
}

async fn patch(app: &App, id: &Value, body: Value) -> Value {
    app.client.patch(&format!("/consumers/{id}")).json(body).send().await.expect(200).json()
}

/// The consumers, once they are as many and all are run by somebody.
async fn running(app: &App, number: usize) -> Vec<Value> {
    until("the consumers run", || async {
        let consumers = list(app).await;
        let all = consumers.iter().all(|consumer| consumer["state"] == "running");
        (all && consumers.len() == number).then_some(consumers)
    })
    .await
}

/// None of them keeps a connection that another needs.
#[tokio::test]
async fn more_consumers_than_connections_take_turns() {
    let settings = [
        ("worker.loaders", "8"),
        ("database.connections", "4"),
        ("database.acquire_ms", "600000"),
        ("ingest.chunk_rows", "2"),
    ];
    let app = App::with(&settings).await;
    running(&app, 8).await;
    let import = tokio::time::timeout(DEADLINE, app.upload("", rows(1..=400))).await;
    let import = import.expect("nobody waits for ever");
    assert_eq!((&import["state"], outcome(&import)), (&Value::from("complete"), [400, 0, 0, 0, 0]));
}

#[tokio::test]
async fn a_process_brings_its_consumers_and_takes_them_away() {
    let app = App::with(&[("worker.loaders", "3")]).await;
    let consumers = running(&app, 3).await;
    for consumer in &consumers {
        assert_eq!(consumer["permanent"], false, "{consumer}");
        assert!(consumer["heartbeat_at"].is_string() && consumer["worker"].is_string(), "{consumer}");
    }
    let import = app.upload("", rows(1..=9)).await;
    assert_eq!(import["state"], "complete");
    until("the chunk is counted", || async {
        let chunks = list(&app)
            .await
            .iter()
            .map(|consumer| consumer["chunks"].as_i64().expect("a number"))
            .sum::<i64>();
        (chunks == 1).then_some(())
    })
    .await;
    let page = app.client.get("/consumers?limit=2").send().await.expect(200);
    let ids = |page: &Value| -> Vec<Value> {
        page["data"].as_array().expect("a list").iter().map(|consumer| consumer["id"].clone()).collect()
    };
    let next = page.header("link").expect("there is more");
    let next = next.trim_start_matches('<').split('>').next().expect("a path").to_owned();
    let rest = app.client.get(&next).send().await.expect(200).json();
    let expected: Vec<_> = consumers.iter().map(|consumer| consumer["id"].clone()).collect();
    assert_eq!([ids(&page.json()), ids(&rest)].concat(), expected);
}

#[tokio::test]
async fn consumers_of_a_process_that_ended_are_gone_and_permanent_ones_go_to_another() {
    let app = App::without_worker(&[ONE]).await;
    assert!(list(&app).await.is_empty());
    let added = app.client.post("/consumers").send().await.expect(201);
    let consumer = added.json();
    assert_eq!(added.header("location"), Some(format!("/consumers/{}", consumer["id"]).as_str()));
    assert_eq!((&consumer["state"], &consumer["permanent"]), (&json!("waiting"), &json!(true)));

    let first = app.work_until_dropped();
    let own = running(&app, 2).await;
    drop(first);
    until("nobody runs it", || async {
        let left = list(&app).await;
        (left.len() == 1 && left[0]["state"] == "waiting" && left[0]["id"] == consumer["id"]).then_some(())
    })
    .await;
    // A process that is killed says nothing; its silence does.
    app.run("insert into consumers (permanent, worker, heartbeat_at) values (false, 'dead', now() - interval '1 hour')").await;
    app.run("update consumers set worker = 'dead', heartbeat_at = now() - interval '1 hour' where permanent")
        .await;
    app.work();
    let now = running(&app, 2).await;
    assert_eq!(now[0]["id"], consumer["id"]);
    assert_ne!(now[0]["worker"], own[0]["worker"]);
}

#[tokio::test]
async fn what_is_wanted_of_a_consumer_holds_whoever_runs_it() {
    let app = App::without_worker(&[ONE]).await;
    let id = app.client.post("/consumers").send().await.expect(201).json()["id"].clone();
    assert_eq!(patch(&app, &id, json!({ "state": "paused" })).await["state"], "paused");
    app.work();
    until("somebody runs it", || async { get(&app, &id).await["worker"].is_string().then_some(()) }).await;
    assert_eq!(get(&app, &id).await["state"], "paused");
    assert_eq!(patch(&app, &id, json!({})).await["state"], "paused");
    assert_eq!(patch(&app, &id, json!({ "state": "running" })).await["state"], "running");
}

#[tokio::test]
async fn the_next_chunk_is_taken_while_one_is_stored_and_a_pause_hands_it_back() {
    let app = App::with(&[ONE, ("ingest.chunk_rows", "2")]).await;
    let id = running(&app, 1).await[0]["id"].clone();
    let mut holder = app.database.pool.begin().await.expect("the database answers");
    sqlx::query("lock table import_chunks in share row exclusive mode")
        .execute(&mut *holder)
        .await
        .expect("nobody else holds it");
    let import = app.begin("", rows(1..=8)).await;
    let taken = || app.one::<i64>("select count(*) from journal where claimed_by is not null");
    until("two are in hand", || async { (taken().await == 2).then_some(()) }).await;
    patch(&app, &id, json!({ "state": "paused" })).await;
    // Whoever runs it asks what is wanted with every beat; the third begins when what the second heard has been done.
    for _ in 0..3 {
        let before = get(&app, &id).await["heartbeat_at"].clone();
        until("a beat", || async { (get(&app, &id).await["heartbeat_at"] != before).then_some(()) }).await;
    }
    holder.rollback().await.expect("the database answers");
    until("none is in hand", || async { (taken().await == 0).then_some(()) }).await;
    assert_eq!(app.one::<i64>("select count(*) from import_chunks").await, 1);
    assert_eq!(app.one::<i64>("select count(*) from journal where attempts = 0").await, 3);
    patch(&app, &id, json!({ "state": "running" })).await;
    assert_eq!(outcome(&app.end_of(import).await), [8, 0, 0, 0, 0]);
    // What was handed back came again as any other: nothing was dealt with twice.
    let chunks = until("all are counted", || async {
        get(&app, &id).await["chunks"].as_i64().filter(|chunks| *chunks >= 4)
    });
    assert_eq!(chunks.await, 4);
}

#[tokio::test]
async fn the_others_give_signs_of_life_while_one_takes_its_time_to_leave() {
    let app = App::with(&[("worker.loaders", "2")]).await;
    running(&app, 2).await;
    let mut holder = app.database.pool.begin().await.expect("the database answers");
    sqlx::query("lock table import_chunks in share row exclusive mode")
        .execute(&mut *holder)
        .await
        .expect("nobody else holds it");
    app.begin("", row(1)).await;
    let (leaving, staying) = until("one has a chunk in hand", || async {
        let consumers = list(&app).await;
        let (busy, idle): (Vec<_>, Vec<_>) =
            consumers.into_iter().partition(|consumer| consumer["import_id"].is_i64());
        (busy.len() == 1 && idle.len() == 1).then(|| (busy[0]["id"].clone(), idle[0]["id"].clone()))
    })
    .await;
    app.client.delete(&format!("/consumers/{leaving}")).send().await.expect(204);
    for _ in 0..3 {
        let before = get(&app, &staying).await["heartbeat_at"].clone();
        until("a beat", || async { (get(&app, &staying).await["heartbeat_at"] != before).then_some(()) })
            .await;
    }
    let rows = "select count(*) from consumers";
    assert_eq!(app.one::<i64>(rows).await, 2, "it has not left, and nobody came in its place");
    holder.rollback().await.expect("the database answers");
    until("it has left", || async { (app.one::<i64>(rows).await == 1).then_some(()) }).await;
}

#[tokio::test]
async fn a_removed_consumer_ends_and_the_others_go_on() {
    let app = App::with(&[("worker.loaders", "2")]).await;
    let consumers = running(&app, 2).await;
    let path = format!("/consumers/{}", consumers[0]["id"]);
    app.client.delete(&path).send().await.expect(204);
    app.client.get(&path).send().await.expect(404);
    app.client.delete(&path).send().await.expect(404);
    app.client.patch(&path).json(json!({ "state": "paused" })).send().await.expect(404);
    until("it has ended", || async {
        (app.one::<i64>("select count(*) from consumers").await == 1).then_some(())
    })
    .await;
    assert_eq!(app.upload("", row(1)).await["state"], "complete");
    assert_eq!(running(&app, 1).await[0]["id"], consumers[1]["id"]);
}

#[tokio::test]
async fn a_wrong_request_is_refused_with_its_place() {
    let app = App::with(&[ONE]).await;
    let id = running(&app, 1).await[0]["id"].clone();
    for (body, code) in [
        (json!({ "state": "asleep" }), "not_one_of"),
        (json!({ "state": null }), "not_one_of"),
        (json!({ "lag": 0 }), "unknown_field"),
        (json!([]), "not_an_object"),
    ] {
        let refused = app.client.patch(&format!("/consumers/{id}")).json(body).send().await.expect(400);
        assert_eq!(refused.codes(), [code]);
    }
    app.client.get("/consumers?limit=0").send().await.expect(400);
    app.client.get("/consumers?cursor=x").send().await.expect(400);
}

#[tokio::test]
async fn adding_a_consumer_twice_with_one_key_adds_one() {
    let app = App::without_worker(&[]).await;
    let add = || app.client.post("/consumers").header("Idempotency-Key", "k").send();
    let (first, second) = (add().await.expect(201), add().await.expect(201));
    assert_eq!(first.json(), second.json());
    assert_eq!(second.header("idempotent-replayed"), Some("true"));
    assert_eq!(list(&app).await.len(), 1);
}

#[tokio::test]
async fn consumers_share_the_partitions_and_one_that_is_paused_leaves_them_to_the_others() {
    let topics = Topics::new();
    let app =
        App::with(&[&topics.settings()[..], &[("worker.loaders", "2"), ("ingest.chunk_rows", "2")]].concat())
            .await;
    let shares = async || {
        let consumers = list(&app).await;
        let share = |consumer: &Value| consumer["partitions"].as_array().expect("a list").len();
        consumers.iter().map(share).collect::<Vec<_>>()
    };
    until("each has half", || async { (shares().await == [2, 2]).then_some(()) }).await;
    let first = list(&app).await.remove(0);
    assert_eq!(first["partitions"][0]["topic"], topics.chunks());
    patch(&app, &first["id"], json!({ "state": "paused" })).await;
    until("the other has all", || async { (shares().await == [0, 4]).then_some(()) }).await;
    assert_eq!(app.upload("", rows(1..=20)).await["state"], "complete");
    until("nothing waits", || async {
        let [paused, other] = <[Value; 2]>::try_from(list(&app).await).expect("there are two");
        (other["chunks"] == 10 && other["lag"] == 0 && paused["chunks"] == 0).then_some(())
    })
    .await;
    // With nobody left, chunks wait, and are seen to.
    let second = list(&app).await.remove(1);
    patch(&app, &second["id"], json!({ "state": "paused" })).await;
    until("nobody has any", || async { (shares().await == [0, 0]).then_some(()) }).await;
    let published = topics.published().await;
    let import = app.begin("", rows(21..=40)).await;
    until("chunks are published", || async { (topics.published().await > published).then_some(()) }).await;
    assert_eq!(app.import(import).await["counts"]["chunks"], 0);
    for consumer in [first, second] {
        patch(&app, &consumer["id"], json!({ "state": "running" })).await;
    }
    assert_eq!(outcome(&app.end_of(import).await), [20, 0, 0, 0, 0]);
}
