//! What must hold between chunks, coordinators and consumers, whatever their order and however many there are.

use serde_json::{Value, json};
use tarmac::{
    archive::Archive,
    ingest::{IngestError, finish, load::Loaded},
};

use crate::support::{
    App,
    engine::Engine,
    files::{HEADER, bad_row, gzip, row, row_with_codes, rows, zip},
    imports::{count, outcome},
    wait::{DEADLINE, until},
};

/// New rows, known ones, wrong ones, and rows that compete with each other.
fn mixed() -> String {
    rows(1..=9)
        + &bad_row(10)
        + &row(3).replace("City", "Town")
        + &row(4)
        + &row_with_codes("20", "A", "AAA", "IIII")
        + &row_with_codes("21", "B", "AAA", r"\N")
        + "22,\"Two\n\nlines\",City,Country,\\N,\\N,1,2,0,0,U,\\N,airport,Test\n"
        + "23,short\n"
        + &rows(30..=40)
}

/// What an import leaves: its counts but for the chunks, the airports, the rejects.
async fn left_by(app: &App, import: &Value) -> (Value, String, Vec<Value>) {
    let mut counts = import["counts"].clone();
    counts.as_object_mut().expect("counts").remove("chunks");
    let airports = "select string_agg((to_jsonb(a) - 'id' - 'created_at' - 'updated_at')::text, ';' order by openflights_id) from airports a";
    (counts, app.one(airports).await, app.rejects(import).await)
}

#[tokio::test]
async fn the_result_depends_on_neither_the_size_nor_the_order_of_chunks() {
    let app = App::start().await;
    let whole = app.upload("", mixed()).await;
    assert_eq!((count(&whole, "chunks"), outcome(&whole)), (1, [22, 0, 1, 0, 4]));
    let expected = left_by(&app, &whole).await;
    for setting in [("ingest.chunk_rows", "1"), ("ingest.chunk_rows", "3"), ("ingest.chunk_bytes", "100")] {
        let app = App::with(&[setting]).await;
        let import = app.upload("", mixed()).await;
        assert!(count(&import, "chunks") > 5, "{import}");
        assert_eq!(left_by(&app, &import).await, expected, "{setting:?}");
    }
    let app = App::without_worker(&[("ingest.chunk_rows", "3")]).await;
    let id = app.begin("", mixed()).await;
    let mut engine = Engine::beside(&app).await;
    let leading = engine.lead().await;
    let mut deliveries = Vec::new();
    for _ in 0..9 {
        deliveries.push(engine.receive().await);
    }
    for delivery in deliveries.iter().rev() {
        assert_eq!(engine.load(delivery).await, Loaded::Now);
    }
    leading.await.expect("no panic").expect("the import ends");
    let import = app.end_of(id).await;
    assert_eq!(left_by(&app, &import).await, expected, "from the last chunk to the first");
}

#[tokio::test]
async fn packed_or_not_a_file_leaves_the_same() {
    let app = App::start().await;
    let import = app.upload("", mixed()).await;
    let expected = left_by(&app, &import).await;
    let app = App::start().await;
    let import = app.upload_as("application/zip", zip(&[("a.csv", mixed())])).await;
    let mut left = left_by(&app, &import).await;
    for reject in &mut left.2 {
        assert_eq!(reject["file"], "a.csv");
        reject["file"] = Value::Null;
    }
    assert_eq!(left, expected);
    let app = App::start().await;
    let request = app.client.post("/upload").header("Content-Type", "text/csv").header("Prefer", "wait=60");
    let request = request.header("Content-Encoding", "gzip").body(gzip(mixed()));
    let import = app.ended(request.send().await.expect(200)).await;
    assert_eq!(left_by(&app, &import).await, expected);
}

#[tokio::test]
async fn a_chunk_loaded_by_two_at_once_is_loaded_once() {
    let app = App::without_worker(&[("ingest.chunk_rows", "5")]).await;
    let id = app.begin("", mixed()).await;
    let mut engine = Engine::beside(&app).await;
    let leading = engine.lead().await;
    for _ in 0..6 {
        let delivery = engine.receive().await;
        let (a, b, c) = tokio::join!(engine.load(&delivery), engine.load(&delivery), engine.load(&delivery));
        let mut loaded = [a, b, c];
        loaded.sort_by_key(|loaded| *loaded != Loaded::Now);
        assert_eq!(loaded, [Loaded::Now, Loaded::Before, Loaded::Before]);
    }
    leading.await.expect("no panic").expect("the import ends");
    assert_eq!(outcome(&app.end_of(id).await), [22, 0, 1, 0, 4]);
}

#[tokio::test]
async fn an_import_whose_coordinator_fell_silent_is_taken_over_and_loses_nothing() {
    let app = App::without_worker(&[("ingest.chunk_rows", "3")]).await;
    let id = app.begin("", mixed()).await;
    let mut engine = Engine::beside(&app).await;
    let leading = engine.lead().await;
    for _ in 0..3 {
        assert_eq!(engine.step().await, Loaded::Now);
    }
    let held = engine.receive().await;
    app.run("update import_leases set expires_at = now()").await;
    app.work();
    let import = app.end_of(id).await;
    assert_eq!((&import["state"], outcome(&import)), (&json!("complete"), [22, 0, 1, 0, 4]));
    assert_eq!(engine.load(&held).await, Loaded::Before);
    assert!(matches!(leading.await.expect("no panic"), Err(IngestError::Fenced)));
    assert_eq!(app.one::<i32>(&format!("select epoch from imports where id = {id}")).await, 2);
}

#[tokio::test]
async fn a_zombie_can_neither_load_nor_finish_nor_fail_an_import() {
    let app = App::without_worker(&[("ingest.chunk_rows", "3")]).await;
    let id = app.begin("", mixed()).await;
    let mut engine = Engine::beside(&app).await;
    let leading = engine.lead().await;
    let held = engine.receive().await;
    app.run("update import_leases set expires_at = now()").await;
    let taken_over = engine.claim().await;
    assert_eq!((taken_over.id, taken_over.epoch), (id, 2));
    assert_eq!(engine.load(&held).await, Loaded::Fenced);
    assert!(matches!(leading.await.expect("no panic"), Err(IngestError::Fenced)));
    let archive = Archive::open(&app.config.archive).expect("the archive is there");
    let finished = finish::finish(&engine.db, &archive, 10, id, 1).await;
    assert!(matches!(finished, Err(IngestError::Fenced)));
    let IngestError::Refused(error) = IngestError::refused("internal", "a zombie says so") else {
        panic!("a refusal is one");
    };
    finish::fail(&engine.db, &archive, id, 1, &error).await.expect("a zombie is not listened to");
    assert_eq!(app.import(id).await["state"], "running");
    assert_eq!(count(&app.import(id).await, "chunks"), 0);
}

/// As after a crash of the database, which may take back what was loaded last.
#[tokio::test]
async fn an_import_is_not_finished_while_the_ledger_lacks_a_chunk() {
    let app = App::without_worker(&[("ingest.chunk_rows", "3")]).await;
    let id = app.begin("", rows(1..=9)).await;
    let mut engine = Engine::beside(&app).await;
    let leading = engine.lead().await;
    assert_eq!([engine.step().await, engine.step().await], [Loaded::Now, Loaded::Now]);
    let last = engine.receive().await;
    let total = format!("select chunks_total from imports where id = {id}");
    until("all chunks are cut", async || app.one::<Option<i64>>(&total).await.filter(|total| *total == 3))
        .await;
    let archive = Archive::open(&app.config.archive).expect("the archive is there");
    let finished = finish::finish(&engine.db, &archive, 10, id, 1).await;
    assert!(matches!(finished, Err(IngestError::TakenBack)), "{finished:?}");
    assert_eq!(app.import(id).await["state"], "running");
    assert_eq!(engine.load(&last).await, Loaded::Now);
    leading.await.expect("no panic").expect("the import ends");
    assert_eq!(outcome(&app.end_of(id).await), [9, 0, 0, 0, 0]);
}

/// The merge rejects a row whose record is not in the file any more.
#[tokio::test]
async fn a_record_that_is_not_found_again_is_a_damaged_upload() {
    let app = App::without_worker(&[("ingest.chunk_rows", "2")]).await;
    app.begin("", row(1) + &row(1).replace("City", "Town") + &row(2)).await;
    let mut engine = Engine::beside(&app).await;
    let leading = engine.lead().await;
    assert_eq!(engine.step().await, Loaded::Now);
    app.run("update import_chunks set byte_len = 20").await;
    assert_eq!(engine.step().await, Loaded::Now);
    let led = tokio::time::timeout(DEADLINE, leading).await.expect("it comes to an end").expect("no panic");
    assert!(matches!(&led, Err(IngestError::Refused(error)) if error.code == "damaged_upload"), "{led:?}");
}

#[tokio::test]
async fn an_import_cancelled_just_before_its_end_stays_cancelled() {
    let app = App::without_worker(&[("ingest.chunk_rows", "100")]).await;
    let id = app.begin("", mixed()).await;
    let mut engine = Engine::beside(&app).await;
    let import = engine.claim().await;
    app.run(&format!("delete from import_leases where import_id = {id}")).await;
    let leading = engine.lead().await;
    let delivery = engine.receive().await;
    app.client.post(&format!("/imports/{id}/cancel")).send().await.expect(200);
    assert_eq!(engine.load(&delivery).await, Loaded::Fenced);
    assert!(matches!(leading.await.expect("no panic"), Err(IngestError::Fenced)));
    let archive = Archive::open(&app.config.archive).expect("the archive is there");
    let finished = finish::finish(&engine.db, &archive, 10, id, import.epoch + 1).await;
    assert!(matches!(finished, Err(IngestError::Fenced)));
    assert_eq!(app.import(id).await["state"], "cancelled");
    assert_eq!(app.one::<i64>("select count(*) from airports").await, 0);
}

#[tokio::test]
async fn imports_run_beside_each_other() {
    let app = App::with(&[("ingest.chunk_rows", "5")]).await;
    let uploads = (0..6).map(|number| app.upload("", rows(number * 100 + 1..number * 100 + 90)));
    for import in futures_util::future::join_all(uploads).await {
        assert_eq!((&import["state"], outcome(&import)), (&json!("complete"), [89, 0, 0, 0, 0]));
    }
    assert_eq!(app.one::<i64>("select count(*) from airports").await, 6 * 89);
}

#[tokio::test]
async fn two_files_that_want_the_same_airport_at_once_leave_it_once() {
    let app = App::start().await;
    let file = |city: &str| format!("{HEADER}\n") + &rows(1..=50).replace("City", city);
    let (a, b) = tokio::join!(app.upload("", file("Here")), app.upload("", file("There")));
    let mut outcomes = [outcome(&a), outcome(&b)];
    outcomes.sort_unstable();
    assert_eq!(outcomes, [[0, 50, 0, 0, 0], [50, 0, 0, 0, 0]]);
    assert_eq!(app.one::<i64>("select count(*) from airports").await, 50);
    assert_eq!(app.one::<i64>("select count(distinct city) from airports").await, 1);
}

#[tokio::test]
async fn an_upload_that_is_lost_while_it_is_loaded_fails_its_import() {
    let app = App::without_worker(&[("ingest.chunk_rows", "3"), ("worker.lease_ms", "1000")]).await;
    let id = app.begin("", rows(1..=9)).await;
    let mut engine = Engine::beside(&app).await;
    let leading = engine.lead().await;
    assert_eq!(engine.step().await, Loaded::Now);
    for object in app.archived() {
        std::fs::remove_file(object).expect("the object is there");
    }
    app.work();
    let ended = app.end_of(id).await;
    assert_eq!((&ended["state"], &ended["error"]["code"]), (&json!("failed"), &json!("missing_upload")));
    assert_eq!(app.one::<i64>("select count(*) from airports").await, 0);
    let led = leading.await.expect("no panic");
    assert!(matches!(led, Err(IngestError::Fenced)), "{led:?}");
}
