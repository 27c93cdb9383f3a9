//! Every operation that reads, with 1, 16 and 128 connections: how many requests a second, and how long they take; with nothing else to do, and
//! while files of `--rows` citizens are imported one after the other.
//!
//! `dev/bench --bench reads -- --rows 1000000 --rounds 3`; each measurement takes so many seconds as there are rounds
//!
//! wrk asks, on the same machine: it takes its part of the processors. There are the 7,698 airports of OpenFlights and an import of 10,000 citizens.

#[path = "support/fixtures.rs"]
mod fixtures;
#[path = "support/report.rs"]
mod report;
#[path = "support/settings.rs"]
mod settings;
#[expect(dead_code, reason = "nothing is compared here")]
mod support;

use std::{
    path::Path,
    process::Command,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

use report::Report;
use sqlx::{Connection, PgConnection};
use support::{
    Options, PATIENT,
    server::{Database, Outcome, Tarmac, run},
    upload,
};

const CONNECTIONS: [usize; 3] = [1, 16, 128];
const CITIZENS: u64 = 10_000;
/// As many as the real file has.
const AIRPORTS: u64 = 7_698;

#[tokio::main]
async fn main() -> Outcome<()> {
    let options = Options::read(1_000_000, 3)?;
    let database = Database::create().await?;
    let directory = tempfile::tempdir()?;
    let tarmac = Tarmac::start(&database.url, directory.path(), &PATIENT)?;
    let mut sql = PgConnection::connect(&database.url).await?;
    let import = fill(&tarmac, directory.path()).await?;
    // As it is some minutes after an import.
    run(&mut sql, "vacuum analyze").await?;

    let file = directory.path().join("many.csv");
    fixtures::citizens(options.rows, &file)?;
    let alone = measure(&tarmac, import, options.rounds).await?;
    let finished = AtomicBool::new(false);
    let imports = AtomicU64::new(0);
    let importing = async {
        while !finished.load(Ordering::Relaxed) {
            upload(&tarmac, "/imports", &file, options.rows).await?;
            imports.fetch_add(1, Ordering::Relaxed);
        }
        Outcome::Ok(())
    };
    let measuring = async {
        let beside = measure(&tarmac, import, options.rounds).await;
        // Whether it went well or not: imports must end.
        finished.store(true, Ordering::Relaxed);
        beside
    };
    let (imported, beside) = tokio::join!(importing, measuring);
    imported?;

    let mut report = Report::new("reads");
    report.say("**With nothing else to do:**");
    report.table(&HEAD, &alone)?;
    report.say(format!(
        "**While files of {} citizens are imported**, {} in all:",
        options.rows,
        imports.into_inner()
    ));
    report.table(&HEAD, &beside?)?;
    report.say(format!(
        "{} s each, after a second that does not count. Peak memory of the server over all of it: {:.0} MB.",
        options.rounds,
        tarmac.memory_mb("VmHWM")?
    ));
    let server = settings::of(&mut sql).await?;
    report.finish(Some(&server))
}

/// The data to read; the number of the import of citizens.
async fn fill(tarmac: &Tarmac, directory: &Path) -> Outcome<i64> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/airports");
    upload(tarmac, "/upload", &fixtures.join("airports.dat"), AIRPORTS).await?;
    let rejected = std::fs::read(fixtures.join("rejected.csv"))?;
    let request = tarmac.client.post(format!("http://{}/upload", tarmac.address)).body(rejected);
    request
        .header("Content-Type", "text/csv")
        .header("Prefer", "wait=60")
        .send()
        .await?
        .error_for_status()?;
    let file = directory.join("citizens.csv");
    fixtures::citizens(CITIZENS, &file)?;
    upload(tarmac, "/imports", &file, CITIZENS).await?;
    let imports = tarmac.client.get(format!("http://{}/imports?limit=1", tarmac.address)).send().await?;
    let imports: serde_json::Value = imports.error_for_status()?.json().await?;
    imports["data"][0]["id"].as_i64().ok_or_else(|| format!("no import: {imports}").into())
}

/// What is asked for, and what it is called in the table.
fn operations(import: i64) -> [(&'static str, String); 10] {
    [
        ("airports, 100", "/airports".to_owned()),
        ("airports within 50 km", "/airports?near=2.35,48.86&radius=50000".to_owned()),
        ("one airport", "/airports/100".to_owned()),
        ("citizens, 100", format!("/imports/{import}/citizens?limit=100")),
        ("one citizen", format!("/imports/{import}/citizens/100")),
        ("birthdays of 10,000", format!("/imports/{import}/citizens/birthdays")),
        ("percentiles of 10,000", format!("/imports/{import}/towns/stat/percentile/age")),
        ("demand of 10,000", format!("/imports/{import}/towns/stat/demand")),
        ("imports", "/imports".to_owned()),
        ("rejects, 22", "/imports/2/rejects".to_owned()),
    ]
}

const HEAD: [&str; 10] =
    ["GET", "1: /s", "p50 ms", "p99 ms", "16: /s", "p50 ms", "p99 ms", "128: /s", "p50 ms", "p99 ms"];

async fn measure(tarmac: &Tarmac, import: i64, seconds: usize) -> Outcome<Vec<Vec<String>>> {
    let mut lines = Vec::new();
    for (name, path) in operations(import) {
        let mut line = vec![name.to_owned()];
        for connections in CONNECTIONS {
            let url = format!("http://{}{path}", tarmac.address);
            wrk(&url, connections, 1).await?;
            let rate = wrk(&url, connections, seconds).await?;
            let refused =
                if rate.refused > 0.0 { format!(", and {:.0} refused", rate.refused) } else { String::new() };
            line.push(format!("{:.0}{refused}", rate.a_second));
            for millis in [rate.p50_ms, rate.p99_ms] {
                // Without a single answer in that time, wrk says 0.
                line.push(if millis > 0.0 { format!("{millis:.1}") } else { "–".to_owned() });
            }
        }
        tell(&line);
        lines.push(line);
    }
    Ok(lines)
}

#[expect(clippy::print_stderr, reason = "a benchmark says how far it is")]
fn tell(line: &[String]) {
    eprintln!("{}", line.join("  "));
}

struct Rate {
    a_second: f64,
    /// Answers a second that say that the service is too busy.
    refused: f64,
    p50_ms: f64,
    p99_ms: f64,
}

/// Asks for one URL again and again.
async fn wrk(url: &str, connections: usize, seconds: usize) -> Outcome<Rate> {
    let mut wrk = Command::new("wrk");
    wrk.args(["--latency", "--timeout", "60s", "--threads", if connections == 1 { "1" } else { "2" }]);
    wrk.args(["--connections", &connections.to_string(), "--duration", &format!("{seconds}s"), url]);
    let output = tokio::task::spawn_blocking(move || wrk.output()).await??;
    let said = String::from_utf8(output.stdout)?;
    if !output.status.success() || said.contains("Socket errors") {
        return Err(format!("{url} was not answered well: {said}").into());
    }
    let figure = |name: &str| {
        let line = said.lines().find_map(|line| line.trim().strip_prefix(name));
        line.map(str::trim).ok_or_else(|| format!("wrk did not say {name}: {said}"))
    };
    let refused = match figure("Non-2xx or 3xx responses:") {
        Ok(count) => count.parse::<f64>()? / seconds as f64,
        Err(_) => 0.0,
    };
    Ok(Rate {
        a_second: figure("Requests/sec:")?.parse::<f64>()? - refused,
        refused,
        p50_ms: millis(figure("50%")?)?,
        p99_ms: millis(figure("99%")?)?,
    })
}

/// Of `812.00us`, `1.23ms`, `2.50s`, `1.02m`.
fn millis(time: &str) -> Outcome<f64> {
    for (unit, factor) in [("us", 0.001), ("ms", 1.0), ("s", 1_000.0), ("m", 60_000.0)] {
        if let Some(number) = time.strip_suffix(unit) {
            return Ok(number.parse::<f64>()? * factor);
        }
    }
    Err(format!("{time} is no time").into())
}
