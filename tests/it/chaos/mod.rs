//! Failures, at moments that a seed chooses, and one question after each of them: is what was stored and rejected exactly what
//! an undisturbed run stores and rejects?
//!
//! `make test` puts every case to one seed and a small file, `make chaos` to more and larger ones, as
//! [`variables`](crate::support::variables) tell.

/// Stamps cases on both transports, for every seed.
macro_rules! on_every_transport {
    ($($case:ident),+ $(,)?) => {
        on!(journal, Journal: $($case),+);
        on!(kafka, Kafka: $($case),+);
    };
}

/// Stamps cases on one transport, for every seed.
macro_rules! on {
    ($name:ident, $transport:ident: $($case:ident),+ $(,)?) => {
        mod $name {
            $(
                // A proxy forwards while the test waits for a service to start.
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    for seed in $crate::chaos::seeds() {
                        super::$case($crate::chaos::World::new($crate::chaos::Way::$transport, seed).await).await;
                    }
                }
            )+
        }
    };
}

mod archive;
mod brokers;
mod clients;
mod consumers;
mod database;
mod kills;

use std::{ops::Range, time::Duration};

use bytes::Bytes;
use rand::{RngExt, SeedableRng, rngs::StdRng};
use serde_json::Value;
use tokio::sync::OnceCell;

use crate::support::{
    client::Client,
    database::Database,
    files::{bad_row, gzip, row, row_with_codes},
    imports::{assert_balanced, count, id, outcome},
    kafka::Topics,
    process::Launch,
    variables::{seed, variable},
    wait::until,
};

/// Records of a chunk: few, so that there are many chunks.
const CHUNK_ROWS: u32 = 50;

/// A consumer of Kafka that does not poll for longer is out of its group.
const SILENT_MOST: Duration = Duration::from_secs(3);

/// How chunks travel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Journal,
    Kafka,
}

/// What a case happens to: a database, an archive, topics, and a way to start services on them.
struct World {
    database: Database,
    /// On Kafka.
    topics: Option<Topics>,
    launch: Launch,
    archive: tempfile::TempDir,
    random: StdRng,
    seed: u64,
}

/// What an import left.
#[derive(Debug, PartialEq, Eq)]
struct Left {
    counts: Value,
    digests: Vec<String>,
}

/// The seeds of this run.
fn seeds() -> Range<u64> {
    let first = seed();
    first..first + variable("TARMAC_TEST_SEEDS").unwrap_or(1)
}

/// How many rows the file has.
fn file_rows() -> u32 {
    variable("TARMAC_TEST_ROWS").map_or(6_000, |rows| u32::try_from(rows).expect("not so many"))
}

/// How many chunks it is cut into.
fn file_chunks() -> i64 {
    i64::from(file_rows().div_ceil(CHUNK_ROWS))
}

/// Every row has an id of its own, from 1. Some are rejected when they are read, some only by the merge.
fn file() -> Bytes {
    let line = |id: u32| match id % 211 {
        7 => bad_row(id),
        8 => row_with_codes(&id.to_string(), "Keflavik", "KEF", "BIKF"),
        _ => row(id),
    };
    (1..=file_rows()).map(line).collect::<String>().into()
}

impl World {
    async fn new(way: Way, seed: u64) -> Self {
        let topics = (way == Way::Kafka).then(Topics::new);
        Self::on(Database::create().await, topics, seed)
    }

    fn on(database: Database, topics: Option<Topics>, seed: u64) -> Self {
        let archive = tempfile::tempdir().expect("a temporary directory can be made");
        let mut launch = Launch::new(&database.url, archive.path()).with(&[
            ("ingest.chunk_rows", &CHUNK_ROWS.to_string()),
            ("database.connections", "8"),
            // Whoever falls silent is soon taken for dead.
            ("worker.lease_ms", "1000"),
            ("database.silent_ms", "1000"),
            ("database.acquire_ms", "1000"),
        ]);
        if let Some(topics) = &topics {
            launch = launch.with(&topics.settings()).with(&[
                ("kafka.consumer.session.timeout.ms", "2000"),
                ("kafka.consumer.heartbeat.interval.ms", "500"),
                ("kafka.consumer.max.poll.interval.ms", &SILENT_MOST.as_millis().to_string()),
                ("kafka.producer.transaction.timeout.ms", "5000"),
                ("kafka.producer.delivery.timeout.ms", "5000"),
                // It has to be shorter than a transaction.
                ("kafka.properties.socket.timeout.ms", "4000"),
            ]);
        }
        Self { database, topics, launch, archive, random: StdRng::seed_from_u64(seed), seed }
    }

    /// Uploads the file; the id of the import.
    async fn upload(&self, client: &Client) -> i64 {
        let request = client.post("/upload").header("Content-Type", "text/csv").body(file());
        id(&request.send().await.expect(202).json())
    }

    /// Uploads it packed.
    async fn upload_packed(&self, client: &Client) -> i64 {
        let request =
            client.post("/upload").header("Content-Type", "text/csv").header("Content-Encoding", "gzip");
        id(&request.body(gzip(file())).send().await.expect(202).json())
    }

    /// So many moments of an import, in order, each a number of chunks that are loaded. They leave a few chunks to come.
    fn moments<const N: usize>(&mut self) -> [i64; N] {
        let mut moments = [0; N].map(|_: i64| self.random.random_range(2..file_chunks() - 20));
        moments.sort_unstable();
        moments
    }

    /// Waits until so many chunks of the import are loaded; it must still be running then.
    async fn reached(&self, import: i64, chunks: i64) {
        let look = format!(
            "select case when (select state from imports where id = {import}) not in ('received', 'running') then -1
                 else (select count(*) from import_chunks where import_id = {import}) end"
        );
        let loaded = until(format!("{chunks} chunks are loaded, seed {}", self.seed), || async {
            Some(self.number(&look).await).filter(|loaded| *loaded < 0 || *loaded >= chunks)
        });
        assert!(loaded.await >= 0, "the import ended before chunk {chunks}, seed {}", self.seed);
    }

    async fn number(&self, query: &str) -> i64 {
        self.database.one(query).await
    }

    /// The import once it has ended.
    async fn end_of(&self, client: &Client, import: i64) -> Value {
        until(format!("import {import} ends, seed {}", self.seed), || async {
            let answer = client.get(&format!("/imports/{import}")).send().await;
            // What it needs may be away.
            let import = (answer.status != 503).then(|| answer.expect(200).json())?;
            assert_balanced(&import);
            ["complete", "failed", "cancelled"].contains(&import["state"].as_str()?).then_some(import)
        })
        .await
    }

    /// The one question: the import of the file has ended as if nothing had happened.
    async fn check(&self, client: &Client, import: i64) {
        static UNDISTURBED: OnceCell<Left> = OnceCell::const_new();
        let undisturbed = UNDISTURBED
            .get_or_init(|| async {
                let world = Self::new(Way::Journal, 0).await;
                let service = world.launch.start();
                let import = world.upload(&service.client).await;
                world.left(&service.client, import).await
            })
            .await;
        let left = self.left(client, import).await;
        assert_eq!(left.counts, undisturbed.counts, "seed {}", self.seed);
        assert!(left == *undisturbed, "seed {}: the tables differ", self.seed);
    }

    /// What the import left, once it is complete: every row of the file once, stored or rejected, and no row of an import that
    /// is not complete.
    async fn left(&self, client: &Client, import: i64) -> Left {
        let ended = self.end_of(client, import).await;
        assert_eq!(ended["state"], "complete", "seed {}: {ended}", self.seed);
        let [inserted, updated, unchanged, deleted, rejected] = outcome(&ended);
        let (rows, seed) = (i64::from(file_rows()), self.seed);
        assert_eq!([inserted + rejected, updated, unchanged, deleted], [rows, 0, 0, 0], "seed {seed}");
        assert!(rejected > 0 && count(&ended, "chunks") == file_chunks(), "seed {seed}: {ended}");
        let stored = format!("select openflights_id::bigint as id from airports where import_id = {import}");
        let refused = format!(
            "select split_part(convert_from(raw, 'UTF8'), ',', 1)::bigint as id from import_rejects where import_id = {import}"
        );
        let faults = format!(
            "select count(*) from generate_series(1, {rows}) id full join (
                 select id, count(*) from ({stored} union all {refused}) all_rows group by id
             ) seen using (id) where seen.count is distinct from 1 or id not between 1 and {rows}"
        );
        assert_eq!(self.number(&faults).await, 0, "seed {seed}: rows that are there twice, or not at all");
        self.assert_nothing_unfinished_is_visible().await;
        let mut digests = Vec::new();
        for (table, order) in [
            (
                format!(
                    "(select to_jsonb(a) - 'id' - 'import_id' - 'created_at' - 'updated_at' as row, openflights_id from airports a where import_id = {import})"
                ),
                "openflights_id",
            ),
            (
                format!(
                    "(select to_jsonb(r) - 'import_id' as row, r.row as place from import_rejects r where import_id = {import})"
                ),
                "place",
            ),
            (
                format!(
                    "(select to_jsonb(c) - 'import_id' - 'loaded_at' as row, chunk_no from import_chunks c where import_id = {import})"
                ),
                "chunk_no",
            ),
        ] {
            let query = format!("select md5(string_agg(row::text, ';' order by {order})) from {table} t");
            digests.push(self.database.one(&query).await);
        }
        Left { counts: ended["counts"].clone(), digests }
    }

    /// Nothing of an import that is not complete is in the table, and nothing of one that has ended is left in staging.
    async fn assert_nothing_unfinished_is_visible(&self) {
        let visible = "select count(*) from airports a join imports i on i.id = a.import_id where i.state <> 'complete'";
        assert_eq!(self.number(visible).await, 0, "seed {}", self.seed);
        let staged = "select count(*) from pg_tables t join imports i on t.tablename = 'import_' || i.id
             where t.schemaname = 'staging' and i.state in ('complete', 'failed', 'cancelled')";
        assert_eq!(self.number(staged).await, 0, "seed {}", self.seed);
    }
}
