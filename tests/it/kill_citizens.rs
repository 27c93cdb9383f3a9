//! SIGKILL while a large file of citizens is imported: what is in the tables at the end is what an undisturbed run leaves.

use std::process::Command;

use bytes::Bytes;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::Value;

use crate::support::{
    database::Database,
    imports::{completed, id},
    process::{Launch, Process},
    variables::{seed, variable},
    wait::until,
};

/// Of every kind, relations between rows of different chunks among them.
const FAULTS: &str = "1050";

const CHUNK_ROWS: i64 = 1_000;

/// Unless it is told otherwise, as many as a build without optimizations imports twice in half a minute.
fn rows() -> i64 {
    variable("TARMAC_TEST_CITIZENS").map_or(100_000, |rows| i64::try_from(rows).expect("not so many"))
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
            ("ingest.chunk_rows", &CHUNK_ROWS.to_string()),
            // A restarted service waits this long for its own past. On a busy machine who leads a large file must not lose it
            // again before it is read as far as before.
            ("worker.lease_ms", "3000"),
        ]);
        Self { database, _archive: archive, launch }
    }

    /// Waits until the import has so many chunks.
    async fn loaded(&self, import: i64, chunks: i64) {
        let loaded = format!("select count(*) from import_chunks where import_id = {import}");
        until("so many chunks are loaded", || async {
            (self.database.one::<i64>(&loaded).await >= chunks).then_some(())
        })
        .await;
    }

    /// The counts of the import once it is complete, and what it left in the tables.
    async fn result(&self, service: &Process, import: i64) -> (Value, Vec<String>) {
        let import = completed(&service.client, import).await;
        let mut tables = Vec::new();
        for query in [
            "select md5(string_agg(c::text, ';' order by citizen_id)) from citizens c",
            "select md5(string_agg(r::text, ';' order by row)) from import_rejects r",
            "select md5(string_agg(concat_ws(' ', chunk_no, first_row, rows_read, rejected), ';' order by chunk_no))
             from import_chunks",
        ] {
            tables.push(self.database.one(query).await);
        }
        (import["counts"].clone(), tables)
    }
}

async fn begin(service: &Process, file: Bytes) -> i64 {
    let request = service.client.post("/imports").header("Content-Type", "text/csv");
    id(&request.body(file).send().await.expect(202).json())
}

#[tokio::test]
async fn an_import_of_citizens_that_is_killed_five_times_ends_like_an_undisturbed_one() {
    let seed = seed();
    let mut random = StdRng::seed_from_u64(seed);
    let mut fixtures = Command::new(env!("CARGO_BIN_EXE_tarmac"));
    fixtures.args(["fixtures", "citizens", "--rows", &rows().to_string(), "--faults", FAULTS]);
    let chunks = rows() / CHUNK_ROWS;
    let file = Bytes::from(fixtures.output().expect("the program runs").stdout);

    let calm = World::new().await;
    let service = calm.launch.start();
    let import = begin(&service, file.clone()).await;
    let expected = calm.result(&service, import).await;
    service.kill();
    drop(calm);

    let world = World::new().await;
    let mut service = world.launch.start();
    let import = begin(&service, file).await;
    let mut moments: Vec<i64> = (0..4).map(|_| random.random_range(1..chunks * 8 / 10)).collect();
    moments.sort_unstable();
    for chunks in moments {
        world.loaded(import, chunks).await;
        service.kill();
        let running = format!("select count(*) from imports where id = {import} and state = 'running'");
        assert_eq!(
            world.database.one::<i64>(&running).await,
            1,
            "seed {seed}: the import ended before {chunks} chunks"
        );
        service = world.launch.start();
        service.client.get(&format!("/imports/{import}/citizens")).send().await.expect(409);
    }
    // Every chunk is loaded, and the import about to end.
    world.loaded(import, chunks).await;
    service.kill();
    service = world.launch.start();
    let result = world.result(&service, import).await;
    assert_eq!(result.0, expected.0, "seed {seed}");
    assert!(result.1 == expected.1, "seed {seed}: the tables differ");
}
