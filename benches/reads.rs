//! Every operation that reads, with 1, 16 and 128 connections: how many requests a second, and how long they take; with nothing else to do, and
//! while files of `--rows` citizens are imported one after the other. To compare with, also while psql copies the same rows, and while a process
//! that has nothing to do with any of it computes on one core.
//!
//! `dev/bench --bench reads -- --rows 1000000 --rounds 3`; each measurement takes so many seconds as there are rounds
//!
//! wrk asks, on the same machine: it takes its part of the processors. There are the 7,698 airports of OpenFlights and an import of 10,000 citizens.

#[path = "support/fixtures.rs"]
mod fixtures;
#[path = "support/psql.rs"]
mod psql;
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
    server::{Database, Outcome, Running, Tarmac, run},
    upload,
};

const CONNECTIONS: [usize; 3] = [1, 16, 128];
const CITIZENS: u64 = 10_000;
/// As many as the real file has.
const AIRPORTS: u64 = 7_698;
const COLUMNS: &str = "import_id, row, citizen_id, town, street, building, apartment, name, birth_date, gender, \
                       relatives, channel";

#[tokio::main]
async fn main() -> Outcome<()> {
    let options = Options::read(1_000_000, 3)?;
    let database = Database::create().await?;
    let directory = tempfile::tempdir()?;
    let tarmac = Tarmac::start(&database.url, directory.path(), &PATIENT)?;
    let mut sql = PgConnection::connect(&database.url).await?;
    let file = directory.path().join("many.csv");
    fixtures::citizens(options.rows, &file)?;
    upload(&tarmac, "/imports", &file, options.rows).await?;
    let copied = directory.path().join("many.copy");
    let rows = format!("'{}' with (format csv)", copied.display());
    psql::run(&database.url, &[&format!(r"\copy (select {COLUMNS} from citizens) to {rows}")])?;
    run(&mut sql, "create table copied (like citizens including all)").await?;
    run(&mut sql, "truncate citizens, citizen_segments").await?;
    let import = fill(&tarmac, directory.path()).await?;
    // As it is some minutes after an import.
    run(&mut sql, "vacuum analyze").await?;

    let operations = operations(import);
    let ask = || measure(&tarmac, &operations, options.rounds);
    let alone = ask().await?;
    let computing = {
        // The scheduler's last class: whatever else wants the core is to have it.
        let mut endless = Command::new("chrt");
        endless.args(["--idle", "0", "sh", "-c", "while :; do :; done"]);
        let _computes = Running(endless.spawn()?);
        ask().await?
    };
    let copy = format!(r"\copy copied ({COLUMNS}) from {rows}");
    let (_, copying) = beside(ask(), || async {
        let (url, copy) = (database.url.clone(), copy.clone());
        tokio::task::spawn_blocking(move || psql::run(&url, &["truncate copied", &copy])).await??;
        Ok(())
    })
    .await?;
    let (imports, importing) = beside(ask(), || async {
        upload(&tarmac, "/imports", &file, options.rows).await?;
        Ok(())
    })
    .await?;

    let mut report = Report::new("reads");
    report.say("**With nothing else to do:**");
    report.table(&HEAD, &figures(&operations, &alone))?;
    report.say(format!("**While files of {} citizens are imported**, {imports} in all:", options.rows));
    report.table(&HEAD, &figures(&operations, &importing))?;
    report.say(
        "**The 99th percentile, as a multiple of what it is with nothing else to do**: while one core computes at the lowest \
         priority; while psql copies the same citizens with `\\copy`, again and again; while Tarmac imports them:",
    );
    report.table(&MULTIPLES, &multiples(&operations, &alone, &[computing, copying, importing]))?;
    report.say(format!(
        "{} s each, after a second that does not count. Peak memory of the server over all of it: {:.0} MB.",
        options.rounds,
        tarmac.process.memory_mb("VmHWM")?
    ));
    let server = settings::of(&mut sql).await?;
    report.finish(Some(&server))
}

/// What comes of `asking`, with `work` done again and again until that has ended; how often it was.
async fn beside<T, W: Future<Output = Outcome<()>>>(
    asking: impl Future<Output = Outcome<T>>,
    work: impl Fn() -> W,
) -> Outcome<(u64, T)> {
    let finished = AtomicBool::new(false);
    let times = AtomicU64::new(0);
    let working = async {
        while !finished.load(Ordering::Relaxed) {
            work().await?;
            times.fetch_add(1, Ordering::Relaxed);
        }
        Outcome::Ok(())
    };
    let asking = async {
        let answers = asking.await;
        // Whether it went well or not: the work must end.
        finished.store(true, Ordering::Relaxed);
        answers
    };
    let (worked, answers) = tokio::join!(working, asking);
    worked?;
    Ok((times.into_inner(), answers?))
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

/// What is asked for: what it is called in the tables, and its path.
type Operation = (&'static str, String);

fn operations(import: i64) -> [Operation; 10] {
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
        ("rejects, 22", "/imports/3/rejects".to_owned()),
    ]
}

const HEAD: [&str; 10] =
    ["GET", "1: /s", "p50 ms", "p99 ms", "16: /s", "p50 ms", "p99 ms", "128: /s", "p50 ms", "p99 ms"];

/// Of each operation a rate for each number of connections.
type Rates = Vec<[Rate; CONNECTIONS.len()]>;

async fn measure(tarmac: &Tarmac, operations: &[Operation], seconds: usize) -> Outcome<Rates> {
    let mut rates = Vec::new();
    for (name, path) in operations {
        let url = format!("http://{}{path}", tarmac.address);
        let mut of_this = [Rate::default(); CONNECTIONS.len()];
        for (rate, connections) in of_this.iter_mut().zip(CONNECTIONS) {
            wrk(&url, connections, 1).await?;
            *rate = wrk(&url, connections, seconds).await?;
        }
        tell(name, &of_this);
        rates.push(of_this);
    }
    Ok(rates)
}

#[expect(clippy::print_stderr, reason = "a benchmark says how far it is")]
fn tell(name: &str, rates: &[Rate]) {
    let rates: Vec<_> = rates.iter().flat_map(Rate::figures).collect();
    eprintln!("{name}  {}", rates.join("  "));
}

fn figures(operations: &[Operation], rates: &Rates) -> Vec<Vec<String>> {
    let lines = operations.iter().zip(rates);
    let figures = |rates: &[Rate]| rates.iter().flat_map(Rate::figures).collect::<Vec<_>>();
    lines.map(|((name, _), rates)| [vec![(*name).to_owned()], figures(rates)].concat()).collect()
}

const MULTIPLES: [&str; 10] = [
    "GET",
    "1: core",
    r"`\copy`",
    "Tarmac",
    "16: core",
    r"`\copy`",
    "Tarmac",
    "128: core",
    r"`\copy`",
    "Tarmac",
];

fn multiples(operations: &[Operation], alone: &Rates, others: &[Rates; 3]) -> Vec<Vec<String>> {
    let mut lines = Vec::new();
    for (number, (name, _)) in operations.iter().enumerate() {
        let mut line = vec![(*name).to_owned()];
        for (connections, alone) in alone[number].iter().enumerate() {
            for other in others {
                line.push(format!("{:.1}", other[number][connections].p99_ms / alone.p99_ms));
            }
        }
        lines.push(line);
    }
    lines
}

#[derive(Clone, Copy, Default)]
struct Rate {
    a_second: f64,
    /// Answers a second that say that the service is too busy.
    refused: f64,
    p50_ms: f64,
    p99_ms: f64,
}

impl Rate {
    fn figures(&self) -> [String; 3] {
        let refused =
            if self.refused > 0.0 { format!(", and {:.0} refused", self.refused) } else { String::new() };
        // Without a single answer in that time, wrk says 0.
        let millis = |millis| if millis > 0.0 { format!("{millis:.1}") } else { "–".to_owned() };
        [format!("{:.0}{refused}", self.a_second), millis(self.p50_ms), millis(self.p99_ms)]
    }
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
