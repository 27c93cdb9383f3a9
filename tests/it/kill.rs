//! SIGKILL while receiving, splitting, loading and finishing: the client has its answer or asks again, and what is in the
//! tables at the end is what an undisturbed run leaves.

use std::{path::Path, time::Instant};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::Value;

use crate::support::{
    app::files_below,
    client::Client,
    database::Database,
    files::{bad_row, row, rows},
    imports::{completed, id, outcome, post_csv},
    kafka::Topics,
    process::Launch,
    variables::seed,
    wait::{DEADLINE, until},
};

const ROWS: u32 = 200_000;
/// Of two hundred chunks.
const CHUNK_ROWS: &str = "1000";
/// A restarted service waits this long for its own past.
const LEASE_MS: &str = "1000";
/// Steps of the finishing transaction that take their time.
const FINISHING: [&str; 3] = ["with repeated as%", "with candidate as%", "insert into airports%"];

/// Some rows are wrong, some are there twice, some change what the first import brought.
fn file() -> Bytes {
    let line = |id: u32| match id % 20_011 {
        7 => bad_row(id),
        8 => row(id - 3),
        9 => row(id - 3).replace("City", "Town"),
        _ => row(id),
    };
    (1..=ROWS).map(line).collect::<String>().into()
}

struct World {
    database: Database,
    _archive: tempfile::TempDir,
    launch: Launch,
}

impl World {
    async fn new() -> Self {
        let database = Database::create().await;
        let archive = tempfile::tempdir().expect("a temporary directory can be made");
        let launch = Launch::new(&database.url, archive.path()).with(&[
            ("ingest.chunk_rows", CHUNK_ROWS),
            // Splitting is done long before loading.
            ("ingest.chunks_in_flight", "1000"),
            ("worker.lease_ms", LEASE_MS),
        ]);
        Self { database, _archive: archive, launch }
    }

    fn archive(&self) -> &Path {
        &self.launch.archive
    }

    /// What was there before.
    async fn prepare(&self, client: &Client) {
        let import = post_csv(client, "", rows(1..2_000).replace("City", "Village")).send().await.expect(200);
        assert_eq!(outcome(&import.json()), [1_999, 0, 0, 0, 0]);
    }

    /// The import once it is complete, with what it left in the tables.
    async fn result(&self, client: &Client, id: i64) -> (Value, Vec<String>) {
        let import = completed(client, id).await;
        let mut tables = Vec::new();
        for query in [
            "select md5(string_agg((to_jsonb(a) - 'id' - 'created_at' - 'updated_at')::text, ';' order by openflights_id))
             from airports a"
                .to_owned(),
            format!("select md5(string_agg(r::text, ';' order by row)) from import_rejects r where import_id = {id}"),
            format!("select string_agg(concat_ws(' ', chunk_no, first_row, rows_read, rejected), ';' order by chunk_no)
                 from import_chunks where import_id = {id}"),
        ] {
            tables.push(self.database.one(&query).await);
        }
        (import["counts"].clone(), tables)
    }
}

/// Sends a part of an upload, and no more until the service is gone.
async fn send_part(url: String, part: Bytes) {
    let pieces: Vec<Result<Bytes, std::io::Error>> = (0..part.len())
        .step_by(1 << 16)
        .map(|at| Ok(part.slice(at..part.len().min(at + (1 << 16)))))
        .collect();
    let body = reqwest::Body::wrap_stream(stream::iter(pieces).chain(stream::pending()));
    let request = reqwest::Client::new().post(url).header("Content-Type", "text/csv");
    let answer = request.header("Idempotency-Key", "k").body(body).send().await;
    assert!(answer.is_err(), "an upload that is not complete is not answered");
}

#[tokio::test]
async fn an_import_that_is_killed_ten_times_ends_like_an_undisturbed_one() {
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    let file = file();

    let calm = World::new().await;
    let service = calm.launch.start();
    calm.prepare(&service.client).await;
    let import = post_csv(&service.client, "", file.clone()).send().await.json();
    let expected = calm.result(&service.client, id(&import)).await;
    service.kill();
    drop(calm);

    let world = World::new().await;
    let mut service = world.launch.start();
    world.prepare(&service.client).await;
    let mut kills = 0;

    for _ in 0..2 {
        let before = files_below(world.archive());
        let length = file.len() * random.random_range(5..95) / 100;
        let upload =
            tokio::spawn(send_part(format!("http://{}/upload", service.address), file.slice(..length)));
        // The archive is written in parts of 6 MiB; the last one waits for its end.
        let written = length as u64 / (6 << 20) * (6 << 20);
        until("the archive has what was sent", || async {
            let size = |path: &String| std::fs::metadata(path).map_or(0, |file| file.len());
            let begun = files_below(world.archive()).into_iter().find(|path| !before.contains(path))?;
            (size(&begun) >= written).then_some(())
        })
        .await;
        service.kill();
        kills += 1;
        upload.await.expect("the client sees that the service is gone");
        assert_eq!(world.database.one::<i64>("select count(*) from imports").await, 1, "seed {seed}");
        service = world.launch.start();
        // The dead request holds its key until it is taken for dead.
        let request =
            service.client.post("/upload").header("Content-Type", "text/csv").header("Idempotency-Key", "k");
        request.body(file.clone()).send().await.expect(409);
        assert_eq!(world.database.one::<i64>("select count(*) from imports").await, 1, "seed {seed}");
        sqlx::query("update idempotency_keys set expires_at = now() where status is null")
            .execute(&world.database.pool)
            .await
            .expect("the lease can run out");
    }

    let upload = |client: &Client| {
        let request =
            client.post("/upload").header("Content-Type", "text/csv").header("Idempotency-Key", "k");
        request.body(file.clone()).send()
    };
    let import = id(&upload(&service.client).await.expect(202).json());

    // Splitting comes first; it begins again with every kill.
    for chunk in [random.random_range(5..50), random.random_range(50..120)] {
        let split =
            "select coalesce(max(j.chunk_no), 0)::bigint from journal j join imports i on i.id = j.import_id
             where i.chunks_total is null and j.epoch = i.epoch";
        reached(&world, import, || async { world.database.one::<i64>(split).await >= chunk }).await;
        service.kill();
        kills += 1;
        service = world.launch.start();
    }

    let mut moments: Vec<i64> = (0..4).map(|_| random.random_range(30..190)).collect();
    moments.sort_unstable();
    for chunks in moments {
        let loaded = format!("select count(*) from import_chunks where import_id = {import}");
        reached(&world, import, || async { world.database.one::<i64>(&loaded).await >= chunks }).await;
        service.kill();
        kills += 1;
        service = world.launch.start();
    }

    for _ in 0..2 {
        let step = FINISHING[random.random_range(0..FINISHING.len())];
        let finishing = format!(
            "select count(*) from pg_stat_activity
             where datname = current_database() and pid <> pg_backend_pid() and state = 'active'
                 and ltrim(query, E'\\n ') like '{step}'"
        );
        reached(&world, import, || async { world.database.one::<i64>(&finishing).await > 0 }).await;
        service.kill();
        kills += 1;
        service = world.launch.start();
    }

    let result = world.result(&service.client, import).await;
    assert_eq!(kills, 10);
    assert_eq!(result.0, expected.0, "seed {seed}");
    assert!(result.1 == expected.1, "seed {seed}: the tables differ");
    // The client that never read its answer asks again.
    let again = upload(&service.client).await.expect(202);
    assert_eq!((again.header("idempotent-replayed"), id(&again.json())), (Some("true"), import));
    assert_eq!(world.database.one::<i64>("select count(*) from imports").await, 2);
    assert_eq!(world.database.one::<i64>("select count(*) from journal").await, 0);
    let panics: Vec<_> = service.log().into_iter().filter(|line| line.contains("panicked")).collect();
    assert_eq!(panics, [""; 0], "seed {seed}");
}

/// Waits for a moment of the import, which must come before its end. Looks closely: such a moment is short.
async fn reached<F: Future<Output = bool>>(world: &World, import: i64, moment: impl Fn() -> F) {
    let running =
        format!("select count(*) from imports where id = {import} and state in ('received', 'running')");
    let deadline = Instant::now() + DEADLINE;
    while !moment().await {
        assert_eq!(world.database.one::<i64>(&running).await, 1, "the import ended before the moment came");
        assert!(Instant::now() < deadline, "the moment did not come");
    }
}

/// An import that is killed with some of its chunks loaded, and others not.
async fn begun(world: &World) -> i64 {
    let service = world.launch.start();
    let request = service.client.post("/upload").header("Content-Type", "text/csv");
    let import = id(&request.body(rows(1..=100_000)).send().await.json());
    let loaded = format!("select count(*) from import_chunks where import_id = {import}");
    until("some chunks are loaded", || async {
        (world.database.one::<i64>(&loaded).await >= 3).then_some(())
    })
    .await;
    service.kill();
    assert!(world.database.one::<i64>(&loaded).await < 100, "some are not");
    import
}

#[tokio::test]
async fn an_import_that_has_begun_stays_as_it_is_cut_whatever_is_configured_later() {
    let world = World::new().await;
    let import = begun(&world).await;
    let others =
        [("ingest.chunk_rows", "700"), ("ingest.chunk_bytes", "50000"), ("ingest.record_bytes", "20")];
    let service = world.launch.clone().with(&others).start();
    let ended = completed(&service.client, import).await;
    assert_eq!(outcome(&ended), [100_000, 0, 0, 0, 0], "{ended}");
    let cut =
        format!("select count(*) from import_chunks where import_id = {import} and rows_read = {CHUNK_ROWS}");
    assert_eq!(world.database.one::<i64>(&cut).await, 100);
}

#[tokio::test]
async fn an_import_that_was_cut_otherwise_fails_instead_of_mixing_chunks() {
    let world = World::new().await;
    let import = begun(&world).await;
    let changed =
        sqlx::query("update imports set chunk_rows = chunk_rows - 1").execute(&world.database.pool).await;
    assert_eq!(changed.expect("the database answers").rows_affected(), 1);
    let service = world.launch.start();
    assert_eq!(failed(&service.client, import).await, "cut_otherwise");
    assert_eq!(world.database.one::<i64>("select count(*) from airports").await, 0);
}

#[tokio::test]
async fn an_import_whose_chunks_kafka_does_not_take_fails_instead_of_waiting_for_ever() {
    let world = World::new().await;
    let import = begun(&world).await;
    let topics = Topics::new();
    let sizes = [("ingest.chunk_bytes", "2000"), ("ingest.record_bytes", "1000")];
    let service = world.launch.clone().with(&topics.settings()).with(&sizes).start();
    assert_eq!(failed(&service.client, import).await, "chunk_too_long");
    assert_eq!(world.database.one::<i64>("select count(*) from airports").await, 0);
}

/// Why the import has failed, once it has.
async fn failed(client: &Client, import: i64) -> Value {
    until("the import fails", || async {
        let import = client.get(&format!("/imports/{import}")).send().await.json();
        (import["state"] == "failed").then(|| import["error"]["code"].clone())
    })
    .await
}
