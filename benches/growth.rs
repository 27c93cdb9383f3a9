//! What an import costs as files grow: rows a second, memory, bytes on disk and of write-ahead log, CPU time of both sides.
//!
//! `dev/bench --bench growth -- --rows 10000000`; files have 10,000 rows, ten times as many, and so on up to that number
//!
//! Each file is imported by a fresh process into an empty table, which has one import of 1,000 rows behind it.

#[path = "support/chart.rs"]
mod chart;
#[path = "support/fixtures.rs"]
mod fixtures;
#[path = "support/process.rs"]
mod process;
#[path = "support/report.rs"]
mod report;
#[path = "support/settings.rs"]
mod settings;
mod support;

use std::path::Path;

use sqlx::{Connection, PgConnection};

use chart::{Chart, Panel};
use report::Report;
use support::{
    Options, PATIENT, median,
    server::{Database, Outcome, Tarmac, run},
    upload,
};

const FIRST_ROWS: u64 = 1_000;
const LEAST_ROWS: u64 = 10_000;

/// What one import took.
struct Taken {
    seconds: f64,
    /// Peak memory of the server, MB.
    memory: f64,
    /// Of tables and indexes, a row.
    disk: f64,
    /// Of write-ahead log, a row.
    wal: f64,
    /// CPU seconds of the server.
    ours: f64,
    /// CPU seconds of all processes of the database.
    theirs: f64,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let options = Options::read(10_000_000, 3)?;
    let database = Database::create().await?;
    let directory = tempfile::tempdir()?;
    let mut sql = PgConnection::connect(&database.url).await?;
    // Vacuuming what one import left behind would slow down the next.
    run(&mut sql, "alter table citizens set (autovacuum_enabled = false)").await?;
    let sizes: Vec<u64> = std::iter::successors(Some(LEAST_ROWS), |rows| Some(rows * 10))
        .take_while(|rows| *rows <= options.rows)
        .collect();
    let mut lines = Vec::new();
    let (mut speeds, mut memories) = (Vec::new(), Vec::new());
    for &rows in &sizes {
        let file = directory.path().join("citizens.csv");
        fixtures::citizens(rows, &file)?;
        // The largest take long enough to be sure of them at once.
        let rounds = if rows > 1_000_000 { 1 } else { options.rounds };
        let mut taken = Vec::new();
        for _ in 0..rounds {
            taken.push(import(&database, &mut sql, directory.path(), &file, rows).await?);
        }
        let of = |figure: fn(&Taken) -> f64| median(&mut taken.iter().map(figure).collect::<Vec<_>>());
        let (speed, memory) = (rows as f64 / of(|taken| taken.seconds), of(|taken| taken.memory));
        lines.push(vec![
            grouped(rows),
            format!("{:.1}", std::fs::metadata(&file)?.len() as f64 / 1e6),
            format!("{:.2}", of(|taken| taken.seconds)),
            format!("{speed:.0}"),
            format!("{memory:.0}"),
            format!("{:.0}", of(|taken| taken.disk)),
            format!("{:.0}", of(|taken| taken.wal)),
            format!("{:.2}", of(|taken| taken.ours)),
            format!("{:.2}", of(|taken| taken.theirs)),
        ]);
        speeds.push(speed);
        memories.push(memory);
    }
    let mut report = Report::new("growth");
    report.say(format!("Medians; rounds: {}, and one for more than a million rows.", options.rounds));
    report.table(
        &[
            "citizens",
            "MB of CSV",
            "s",
            "rows/s",
            "peak MB of the server",
            "bytes/row on disk",
            "bytes/row of WAL",
            "CPU s, server",
            "CPU s, PostgreSQL",
        ],
        &lines,
    )?;
    let labels: Vec<_> = sizes.iter().map(|&rows| grouped(rows)).collect();
    let panels = [
        Panel { title: "rows a second", values: &speeds },
        Panel { title: "peak memory of the server, MB", values: &memories },
    ];
    if let Some(document) = std::env::var_os("BENCH_DOCUMENT") {
        let chart = Chart { x: "citizens in the file", labels: &labels, panels: &panels };
        std::fs::write(Path::new(&document).with_file_name("growth.svg"), chart.svg()?)?;
        report.say("![Rows a second and peak memory over the number of citizens in the file](growth.svg)");
    }
    let server = settings::of(&mut sql).await?;
    report.finish(Some(&server))
}

/// Digits in groups of three.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let groups: Vec<_> = digits.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

async fn import(
    database: &Database,
    sql: &mut PgConnection,
    directory: &Path,
    file: &Path,
    rows: u64,
) -> Outcome<Taken> {
    let tarmac = Tarmac::start(&database.url, directory, &PATIENT)?;
    let first = directory.join("first.csv");
    fixtures::citizens(FIRST_ROWS, &first)?;
    upload(&tarmac, "/imports", &first, FIRST_ROWS).await?;
    run(sql, "truncate citizens, citizen_segments; checkpoint").await?;
    let session: i32 = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut *sql).await?;
    let postmaster = process::parent(session.cast_unsigned())?;
    let (disk, wal) = bytes(sql).await?;
    let (ours, theirs) =
        (process::cpu_seconds(tarmac.process.0.id())?, process::family_cpu_seconds(postmaster)?);

    let seconds = upload(&tarmac, "/imports", file, rows).await?.as_secs_f64();

    let (ours_after, theirs_after) =
        (process::cpu_seconds(tarmac.process.0.id())?, process::family_cpu_seconds(postmaster)?);
    let (disk_after, wal_after) = bytes(sql).await?;
    Ok(Taken {
        seconds,
        memory: tarmac.process.memory_mb("VmHWM")?,
        disk: (disk_after - disk) / rows as f64,
        wal: (wal_after - wal) / rows as f64,
        ours: ours_after - ours,
        theirs: theirs_after - theirs,
    })
}

/// Of the citizens with their index, and where the write-ahead log is.
async fn bytes(sql: &mut PgConnection) -> Outcome<(f64, f64)> {
    let query = "select (pg_total_relation_size('citizens') + pg_total_relation_size('citizen_segments'))::float8, \
                 (pg_current_wal_lsn() - '0/0')::float8";
    Ok(sqlx::query_as(query).fetch_one(sql).await?)
}
