//! Imports of citizens beside what one would use instead: the same rows into the same columns with the same primary key.
//!
//! `dev/bench --bench contenders -- --rows 1000000 --rounds 3`
//!
//! Before each measurement the table is empty and a checkpoint is over; after it, the rows stored are counted and digested, and another
//! digest than that of Tarmac's is an error. Contenders take turns at going first; the first round warms up and does not count.

#[path = "../support/fixtures.rs"]
mod fixtures;
mod foreign;
mod kafka_connect;
#[path = "../support/psql.rs"]
mod psql;
#[path = "../support/python.rs"]
mod python;
#[path = "../support/report.rs"]
mod report;
#[path = "../support/settings.rs"]
mod settings;
#[path = "../support/mod.rs"]
mod support;
mod tarmac;

use std::path::PathBuf;

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use kafka_connect::KafkaConnect;
use report::Report;
use support::{
    Options, median,
    server::{Database, Outcome, run},
};

/// The whole set as the contract's JSON must stay below 70 MiB.
const JSON_ROWS: u64 = 10_000;
/// Of those who would take minutes for a million.
const SLOW_ROWS: u64 = 100_000;
const COLUMNS: &str =
    "row, citizen_id, town, street, building, apartment, name, birth_date, gender, relatives, channel";

/// Who loads, and how.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Contender {
    Copy,
    Pgloader,
    AsyncpgCopy,
    AsyncpgExecutemany,
    JsonRecordset,
    KafkaConnect,
    TarmacFile,
    /// With so many consumers.
    TarmacKafka(usize),
    TarmacJson,
}

impl Contender {
    fn name(self) -> String {
        let name = match self {
            Self::Copy => r"psql `\copy`",
            Self::Pgloader => "pgloader",
            Self::AsyncpgCopy => "asyncpg, COPY",
            Self::AsyncpgExecutemany => "asyncpg, executemany",
            Self::JsonRecordset => "INSERT … json_to_recordset",
            Self::KafkaConnect => "Kafka Connect, Debezium JDBC sink",
            Self::TarmacFile => "**Tarmac**, file over HTTP",
            Self::TarmacKafka(1) => "**Tarmac**, file over HTTP, Kafka, 1 consumer",
            Self::TarmacKafka(consumers) => {
                return format!("**Tarmac**, file over HTTP, Kafka, {consumers} consumers");
            }
            Self::TarmacJson => "**Tarmac**, JSON over HTTP",
        };
        name.to_owned()
    }

    /// The table it fills.
    fn table(self) -> &'static str {
        match self {
            Self::TarmacFile | Self::TarmacKafka(_) | Self::TarmacJson => "citizens",
            _ => "contender",
        }
    }
}

/// What one measurement took.
pub(crate) struct Taken {
    /// From the first byte sent until the last row is stored for good.
    pub(crate) seconds: f64,
    /// Peak memory of the contender's process, PostgreSQL's own not counted.
    pub(crate) megabytes: f64,
}

/// What all of them work with.
pub(crate) struct Setting {
    pub(crate) database: Database,
    pub(crate) brokers: String,
    pub(crate) directory: tempfile::TempDir,
    pub(crate) rows: u64,
}

impl Setting {
    /// The rows as clients send them.
    pub(crate) fn csv(&self) -> PathBuf {
        self.directory.path().join(format!("{}.csv", self.rows))
    }

    /// The rows as PostgreSQL writes them, CSV without header.
    pub(crate) fn copied(&self) -> PathBuf {
        self.directory.path().join(format!("{}.copy", self.rows))
    }

    /// The rows as a JSON array whose objects have the table's columns.
    pub(crate) fn body(&self) -> PathBuf {
        self.directory.path().join(format!("{}.json", self.rows))
    }
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let options = Options::read(1_000_000, 3)?;
    let brokers = std::env::var("TARMAC_TEST_KAFKA_BROKERS")
        .map_err(|_| "TARMAC_TEST_KAFKA_BROKERS is not set; make bench sets it")?;
    let database = Database::create().await?;
    let mut setting = Setting { database, brokers, directory: tempfile::tempdir()?, rows: options.rows };
    let mut sql = PgConnection::connect(&setting.database.url).await?;
    run(&mut sql, "create table contender (like citizens including all)").await?;
    // Vacuuming what one left behind would slow down the other.
    for table in ["citizens", "contender"] {
        run(&mut sql, &format!("alter table {table} set (autovacuum_enabled = false)")).await?;
    }

    let mut report = Report::new("contenders");
    prepare(&setting, &mut sql).await?;
    let contenders = [
        Contender::Copy,
        Contender::TarmacFile,
        Contender::TarmacKafka(1),
        Contender::TarmacKafka(2),
        Contender::TarmacKafka(4),
        Contender::AsyncpgCopy,
        Contender::Pgloader,
        Contender::JsonRecordset,
        Contender::AsyncpgExecutemany,
    ];
    let mut rows = contest(&setting, &mut sql, &contenders, options.rounds, None).await?;
    // Not before: who has two cores to work on shall not share them with a process that waits for its turn.
    let connect = KafkaConnect::start(&setting, &mut sql, options.rows.min(SLOW_ROWS)).await?;
    let contenders = [Contender::Copy, Contender::KafkaConnect];
    let apart = contest(&setting, &mut sql, &contenders, options.rounds, Some(&connect)).await?;
    connect.stop().await?;
    rows.extend(apart.into_iter().skip(1));
    report.say(format!(
        "{} citizens; {:.1} MB of CSV, {:.1} MB as the body of JSON; {} rounds.",
        setting.rows,
        megabytes(&setting.csv())?,
        megabytes(&setting.body())?,
        options.rounds
    ));
    report.table(&HEAD, &rows)?;

    setting.rows = JSON_ROWS;
    prepare(&setting, &mut sql).await?;
    let contenders = [Contender::Copy, Contender::TarmacJson, Contender::JsonRecordset];
    let rounds = 3 * options.rounds;
    let rows = contest(&setting, &mut sql, &contenders, rounds, None).await?;
    report.say(format!(
        "{JSON_ROWS} citizens in one request; {:.1} MB of JSON; {rounds} rounds.",
        megabytes(&setting.body())?
    ));
    report.table(&HEAD, &rows)?;
    let server = format!("{}; {}", settings::of(&mut sql).await?, foreign::versions()?);
    report.finish(Some(&server))
}

const HEAD: [&str; 7] =
    ["contender", "rows", "s, median", "min–max", "rows/s", r"time a row / `\copy`'s", "peak MB"];

fn megabytes(file: &std::path::Path) -> Outcome<f64> {
    Ok(std::fs::metadata(file)?.len() as f64 / 1e6)
}

/// Makes the files, and the table `reference` with what must be stored in the end.
async fn prepare(setting: &Setting, sql: &mut PgConnection) -> Outcome<()> {
    fixtures::citizens(setting.rows, &setting.csv())?;
    run(sql, "truncate citizens, citizen_segments").await?;
    tarmac::file(setting, sql).await?;
    run(sql, "drop table if exists reference; create table reference as select * from citizens").await?;
    foreign::write_copied(setting)?;
    foreign::write_body(setting)
}

/// How many rows a table has, and a number that changes when any of them does.
async fn digest(sql: &mut PgConnection, table: &str, rows: u64) -> Outcome<(i64, String)> {
    // A client may list relatives in any order.
    let columns = COLUMNS.replace("relatives", "array(select unnest(relatives) order by 1)");
    let query = format!(
        "select count(*), coalesce(sum(hashtextextended(row({columns})::text, 0)), 0)::text from {table} where row <= {rows}"
    );
    Ok(sqlx::query_as(AssertSqlSafe(query)).fetch_one(sql).await?)
}

/// Has them all load, in turns; the rows of the table.
async fn contest(
    setting: &Setting,
    sql: &mut PgConnection,
    contenders: &[Contender],
    rounds: usize,
    connect: Option<&KafkaConnect>,
) -> Outcome<Vec<Vec<String>>> {
    let mut taken: Vec<Vec<Taken>> = contenders.iter().map(|_| Vec::new()).collect();
    let rows = |contender| match contender {
        Contender::AsyncpgExecutemany | Contender::KafkaConnect => setting.rows.min(SLOW_ROWS),
        _ => setting.rows,
    };
    let mut expected = Vec::new();
    for &contender in contenders {
        expected.push(digest(sql, "reference", rows(contender)).await?);
    }
    for round in 0..=rounds {
        for turn in 0..contenders.len() {
            let place = (turn + round) % contenders.len();
            let contender = contenders[place];
            run(sql, "truncate citizens, citizen_segments, contender; checkpoint").await?;
            let took = match contender {
                Contender::TarmacFile => tarmac::file(setting, sql).await?,
                Contender::TarmacKafka(consumers) => tarmac::kafka(setting, sql, consumers).await?,
                Contender::TarmacJson => tarmac::json(setting, sql).await?,
                Contender::KafkaConnect => connect.ok_or("it is not running")?.load(sql).await?,
                _ => foreign::load(setting, contender, rows(contender))?,
            };
            let stored = digest(sql, contender.table(), u64::from(u32::MAX)).await?;
            if stored != expected[place] {
                let expected = &expected[place];
                return Err(format!("{} stored {stored:?} instead of {expected:?}", contender.name()).into());
            }
            tell(round, contender, &took);
            // The first round warms up.
            if round > 0 {
                taken[place].push(took);
            }
        }
    }
    let mut copy_row = None;
    let mut lines = Vec::new();
    for (&contender, taken) in contenders.iter().zip(&taken) {
        let mut seconds: Vec<_> = taken.iter().map(|taken| taken.seconds).collect();
        let median = median(&mut seconds);
        let rows = rows(contender);
        let row = median / rows as f64;
        lines.push(vec![
            contender.name(),
            rows.to_string(),
            format!("{median:.2}"),
            format!("{:.2}–{:.2}", seconds[0], seconds[seconds.len() - 1]),
            format!("{:.0}", 1.0 / row),
            format!("{:.2}", row / *copy_row.get_or_insert(row)),
            format!("{:.0}", taken.iter().map(|taken| taken.megabytes).fold(0.0, f64::max)),
        ]);
    }
    Ok(lines)
}

#[expect(clippy::print_stderr, reason = "a benchmark says how far it is")]
fn tell(round: usize, contender: Contender, taken: &Taken) {
    eprintln!("round {round}: {} {:.2} s, {:.0} MB", contender.name(), taken.seconds, taken.megabytes);
}
