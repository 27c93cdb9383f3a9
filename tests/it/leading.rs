//! Who leads imports: what must wait holds up nobody, small ones do not wait for large ones, and an import that takes its workers
//! with it is given up.

use serde_json::json;
use tarmac::{
    archive::Archive,
    db::imports::Import,
    ingest::{IngestError, unpack},
};

use crate::support::{
    App,
    app::files_below,
    client::Client,
    database::Database,
    engine::Engine,
    files::{gzip, row, rows, zip},
    imports::{completed, id, outcome},
    process::Launch,
    wait::until,
};

/// Longer than a file of one row, and shorter than one of a few hundred.
const CHUNK_BYTES: (&str, &str) = ("ingest.chunk_bytes", "4096");
const RECORD_BYTES: (&str, &str) = ("ingest.record_bytes", "1024");
const ONE_COORDINATOR: (&str, &str) = ("worker.imports", "1");

async fn expire_leases(app: &App) {
    app.run("update import_leases set expires_at = now()").await;
}

async fn upload_packed(client: &Client, file: Vec<u8>) -> i64 {
    let request =
        client.post("/upload").header("Content-Type", "text/csv").header("Content-Encoding", "gzip");
    id(&request.body(file).send().await.expect(202).json())
}

#[tokio::test]
async fn an_import_whose_workers_keep_dying_fails_and_says_so() {
    let app = App::without_worker(&[("worker.attempts", "3"), ("ingest.chunk_rows", "2")]).await;
    let import = app.begin("", rows(1..=6)).await;
    let engine = Engine::beside(&app).await;
    for _ in 0..3 {
        engine.claim().await;
        expire_leases(&app).await;
    }
    app.work();
    let ended = app.end_of(import).await;
    assert_eq!((&ended["state"], &ended["error"]["code"]), (&json!("failed"), &json!("workers_died")));
    let message = ended["error"]["message"].as_str().expect("a text");
    assert!(message.starts_with("3 workers in a row died"), "{message}");
    assert_eq!(outcome(&app.upload("", row(7)).await), [1, 0, 0, 0, 0], "others go on");
}

#[tokio::test]
async fn a_chunk_that_is_loaded_or_a_worker_that_lets_go_is_no_death() {
    let app = App::without_worker(&[("worker.attempts", "2"), ("ingest.chunk_rows", "2")]).await;
    let import = app.begin("", rows(1..=20)).await;
    let mut engine = Engine::beside(&app).await;
    for _ in 0..3 {
        let leading = engine.lead().await;
        engine.step().await;
        expire_leases(&app).await;
        leading.abort();
    }
    for _ in 0..4 {
        engine.claim().await;
        engine.release(import).await;
    }
    let deaths = "select deaths from import_leases";
    assert_eq!(app.one::<i32>(deaths).await, 0);
    engine.claim().await;
    expire_leases(&app).await;
    engine.claim().await;
    assert_eq!(app.one::<i32>(deaths).await, 1);
    // Nor does one count that was before somebody saw to the import.
    for what in ["pause", "resume"] {
        app.client.post(&format!("/imports/{import}/{what}")).send().await.expect(200);
    }
    expire_leases(&app).await;
    app.work();
    assert_eq!(outcome(&app.end_of(import).await), [20, 0, 0, 0, 0]);
}

#[tokio::test]
async fn an_import_that_waits_for_room_holds_no_coordinator_and_is_left_alone_once_it_is_cancelled() {
    let database = Database::create().await;
    let archive = tempfile::tempdir().expect("a temporary directory can be made");
    let launch =
        Launch::new(&database.url, archive.path()).with(&[CHUNK_BYTES, RECORD_BYTES, ONE_COORDINATOR]);
    let service = launch.with_files_up_to(64).start();
    let waiting = upload_packed(&service.client, gzip(rows(1..5_000))).await;
    let waits = || service.log().iter().filter(|line| line.contains("an import must wait")).count();
    until("the import has to wait", || async { (waits() >= 2).then_some(()) }).await;
    // Of more than a chunk: no coordinator is kept for its like.
    let request = service.client.post("/upload").header("Content-Type", "text/csv").body(rows(1..=300));
    let other = id(&request.send().await.expect(202).json());
    assert_eq!(outcome(&completed(&service.client, other).await), [300, 0, 0, 0, 0]);

    service.client.post(&format!("/imports/{waiting}/cancel")).send().await.expect(200);
    let held = format!("select count(*) from import_leases where import_id = {waiting} and owner <> ''");
    until("nobody leads it", || async { (database.one::<i64>(&held).await == 0).then_some(()) }).await;
    let before = waits();
    let epoch = format!("select epoch from imports where id = {waiting}");
    let cancelled: i32 = database.one(&epoch).await;
    let request = service.client.post("/upload").header("Content-Type", "text/csv").body(rows(300..=600));
    let last = id(&request.send().await.expect(202).json());
    completed(&service.client, last).await;
    assert_eq!((waits(), database.one::<i32>(&epoch).await), (before, cancelled));
    until("nothing unpacked is left", || async {
        let files = files_below(archive.path());
        files.iter().all(|file| !file.contains("/unpacked/")).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_small_import_does_not_wait_for_the_coordinator_of_a_large_one() {
    // A packed file is taken for as long as it might be.
    let app = App::without_worker(&[("ingest.chunk_bytes", "32768"), RECORD_BYTES, ONE_COORDINATOR]).await;
    let large = app.begin("", rows(1..5_000)).await;
    // Nobody loads: the large one keeps its coordinator.
    let _leading = app.lead();
    let published = |import: i64| format!("select count(*) from journal where import_id = {import}");
    until("the large one is published", || async {
        (app.one::<i64>(&published(large)).await > 0).then_some(())
    })
    .await;
    let small = app.begin("", row(1)).await;
    let packed = upload_packed(&app.client, gzip(row(2))).await;
    for import in [small, packed] {
        until("a small one is published", || async {
            (app.one::<i64>(&published(import)).await == 1).then_some(())
        })
        .await;
        // Its coordinator is free for the next when it has ended.
        app.client.post(&format!("/imports/{import}/cancel")).send().await.expect(200);
    }
    assert_eq!(app.import(large).await["state"], "running");
}

/// An import as two coordinators see it, of which the first has lost its lease and does not know it yet.
async fn two_attempts(engine: &Engine) -> [Import; 2] {
    let first = engine.claim().await;
    engine.release(first.id).await;
    let second = engine.claim().await;
    assert_eq!((first.id, first.epoch + 1), (second.id, second.epoch));
    [first, second]
}

#[tokio::test]
async fn two_attempts_at_unpacking_do_not_touch_each_others_files() {
    let app = App::without_worker(&[]).await;
    let request = app.client.post("/upload").header("Content-Type", "application/zip");
    let file = gzip(zip(&[("a.csv", rows(1..2_000)), ("b.csv", rows(2_000..3_000))]));
    let request = request.header("Content-Encoding", "gzip").body(file);
    request.send().await.expect(202);
    let engine = Engine::beside(&app).await;
    let attempts = two_attempts(&engine).await;
    let archive = Archive::open(&app.config.archive).expect("the archive is there");
    let limits = app.config.ingest.clone();
    let mut files = Vec::new();
    for import in &attempts {
        files.push(unpack::unpack(&archive, &limits, import).await.expect("it can be unpacked").files);
    }
    for (import, files) in attempts.iter().zip(&files) {
        let folder = format!("unpacked/{}/{}/", import.id, import.epoch);
        assert!(files.len() == 2 && files.iter().all(|file| file.object.starts_with(&folder)), "{files:?}");
    }
    // Whoever comes later clears away what the one before has left.
    for (file, is_there) in files.concat().iter().zip([false, false, true, true]) {
        assert_eq!(archive.contains(&file.object).await.expect("the archive answers"), is_there, "{file:?}");
    }
    // What an attempt removes at its end is its own.
    let broken = Import { bytes: attempts[0].bytes - 9, ..attempts[0].clone() };
    assert!(unpack::unpack(&archive, &limits, &broken).await.is_err());
    engine.release(attempts[1].id).await;
    app.work();
    let ended = app.end_of(attempts[0].id).await;
    assert_eq!(outcome(&ended), [2_999, 0, 0, 0, 0]);
}

#[tokio::test]
async fn unpacking_stops_when_nobody_waits_for_it_any_more() {
    let app = App::without_worker(&[]).await;
    let file: String = rows(1..2_000).repeat(300);
    upload_packed(&app.client, gzip(&file)).await;
    let engine = Engine::beside(&app).await;
    let import = engine.claim().await;
    let archive = Archive::open(&app.config.archive).expect("the archive is there");
    let limits = app.config.ingest.clone();
    let before = app.archived();
    let unpacking = tokio::spawn({
        let (archive, import) = (archive.clone(), import.clone());
        async move { unpack::unpack(&archive, &limits, &import).await }
    });
    until("it has begun", || async { (app.archived() != before).then_some(()) }).await;
    unpacking.abort();
    let ended = unpacking.await;
    assert!(ended.is_err_and(|error| error.is_cancelled()), "it took long enough to be stopped");
    until("nothing is left of it", || async { (app.archived() == before).then_some(()) }).await;
}

#[tokio::test]
async fn an_import_of_an_unknown_dataset_is_left_to_a_later_version() {
    let app = App::without_worker(&[("ingest.chunk_rows", "2")]).await;
    let file = "citizen_id,town,street,building,apartment,name,birth_date,gender,relatives,channel\n"
        .to_owned()
        + &(1..=6).map(|id| format!("{id},A,B,C,1,D,01.01.2000,male,,\n")).collect::<String>();
    let request = app.client.post("/imports").header("Content-Type", "text/csv").body(file);
    let import = id(&request.send().await.expect(202).json());
    let mut engine = Engine::beside(&app).await;
    let leading = engine.lead().await;
    engine.step().await;
    let cancel = format!("/imports/{import}/cancel");
    app.run("update imports set dataset = 'of_later'").await;
    expire_leases(&app).await;
    let led = engine.lead().await.await.expect("no panic");
    assert!(matches!(&led, Err(error @ IngestError::UnknownDataset(_)) if error.is_passing()), "{led:?}");
    assert!(matches!(leading.await.expect("no panic"), Err(IngestError::Fenced)));
    app.client.post(&cancel).send().await.expect(202);
    let rows = || app.one::<i64>("select count(*) from citizens");
    assert_eq!(rows().await, 2, "what this version cannot take back stays");
    app.run("update imports set dataset = 'citizens'").await;
    app.client.post(&cancel).send().await.expect(200);
    assert_eq!(rows().await, 0);
}
