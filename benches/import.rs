//! How long an import takes, beside what a user would do instead, on the same rows, in turns within one run.
//!
//! `make bench`, or with a server of one's own:
//! `TARMAC_TEST_DATABASE_URL=postgres://… cargo bench --bench import -- --rows 1000000 --rounds 3`
//!
//! - tarmac: the file over HTTP, from the first byte sent until the import is complete: validated, merged, indexed
//! - copy + upsert: psql's `\copy` into a staging table, then one `INSERT … ON CONFLICT` into a table with the same columns
//!   and indexes. No row is checked.
//!
//! Both begin with empty tables, after a round that does not count. What counts is the ratio: machines are noisy.

use std::{
    error::Error,
    fmt::Write as _,
    io::{BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use sqlx::{AssertSqlSafe, Connection, PgConnection};

type Outcome<T> = Result<T, Box<dyn Error>>;

const COLUMNS: &str = "openflights_id, name, city, country, iata, icao, latitude, longitude, altitude, timezone, dst, tz, type, source";

#[expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]
#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let options = Options::read()?;
    let server_url = std::env::var("TARMAC_TEST_DATABASE_URL")
        .map_err(|_| "TARMAC_TEST_DATABASE_URL is not set; make bench sets it")?;
    let directory = tempfile::tempdir()?;
    let database = Database::create(&server_url).await?;
    let file = directory.path().join("airports.csv");
    write_airports(&file, options.rows)?;
    let mut tarmac = Tarmac::start(&database.url, directory.path())?;
    let mut sql = PgConnection::connect(&database.url).await?;
    run(&mut sql, &format!("create table contender (like airports including all); create table contender_staging as select {COLUMNS} from airports limit 0")).await?;
    // Vacuuming what one left behind would slow down the other.
    for table in ["airports", "contender", "contender_staging"] {
        run(&mut sql, &format!("alter table {table} set (autovacuum_enabled = false)")).await?;
    }

    let bytes = std::fs::metadata(&file)?.len();
    println!("{} airports, {:.1} MB, {} rounds; seconds", options.rows, bytes as f64 / 1e6, options.rounds);
    println!("{:<16}{:>10}{:>10}{:>10}", "round", "tarmac", "copy", "ratio");
    let mut ratios = Vec::new();
    for round in 1..=options.rounds {
        run(&mut sql, "truncate airports; truncate contender; truncate contender_staging; checkpoint")
            .await?;
        let ours = tarmac.upload(&file, options.rows).await?;
        run(&mut sql, "checkpoint").await?;
        let theirs = copy_and_upsert(&database.url, &file)?;
        expect_same_rows(&mut sql, options.rows).await?;
        let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
        println!("{round:<16}{:>10.2}{:>10.2}{ratio:>10.2}", ours.as_secs_f64(), theirs.as_secs_f64());
        ratios.push(ratio);
    }
    ratios.sort_by(f64::total_cmp);
    println!("import / (copy + upsert), median: {:.2}", ratios[ratios.len() / 2]);
    println!("peak memory of the server: {:.0} MB", tarmac.peak_memory_mb()?);

    report_radius(&mut sql, &tarmac).await?;

    run(&mut sql, "truncate airports").await?;
    let real = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/airports/airports.dat");
    let mut millis = Vec::new();
    for _ in 0..5 {
        run(&mut sql, "truncate airports").await?;
        millis.push(tarmac.upload(&real, 7_698).await?.as_secs_f64() * 1_000.0);
    }
    millis.sort_by(f64::total_cmp);
    println!("airports.dat, from the first byte until complete: median {:.0} ms", millis[2]);
    Ok(())
}

/// What the command line says; cargo adds `--bench`.
struct Options {
    rows: u64,
    rounds: usize,
}

impl Options {
    fn read() -> Outcome<Self> {
        let mut options = Self { rows: 1_000_000, rounds: 3 };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--rows" => options.rows = value()?.parse()?,
                "--rounds" => options.rounds = value()?.parse::<usize>()?.max(1),
                "--bench" => {}
                _ => return Err(format!("unknown argument {argument}; there are --rows and --rounds").into()),
            }
        }
        Ok(options)
    }
}

/// Airports like OpenFlights', at places spread over the globe. Codes run out before rows do: ICAO has 36⁴, IATA 36³.
fn write_airports(path: &Path, rows: u64) -> Outcome<()> {
    let mut file = BufWriter::new(std::fs::File::create(path)?);
    let code = |mut number: u64, length: usize| {
        let mut code = vec![0; length];
        for digit in code.iter_mut().rev() {
            *digit = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"[(number % 36) as usize];
            number /= 36;
        }
        (number == 0).then(|| String::from_utf8(code).unwrap_or_default())
    };
    let quoted = |code: Option<String>| code.map_or(r"\N".to_owned(), |code| format!("\"{code}\""));
    for id in 1..=rows {
        // Two generators of a lattice that fills the square evenly (the R2 sequence).
        let latitude = ((id as f64 * 0.754_877_666_246_692_7).fract() * 180.0) - 90.0;
        let longitude = ((id as f64 * 0.569_840_290_998_053_2).fract() * 360.0) - 180.0;
        writeln!(
            file,
            "{id},\"Airfield {id}\",\"Town {}\",\"Country {}\",{},{},{latitude:.6},{longitude:.6},{},{},\"U\",\"Europe/Paris\",\"airport\",\"OurAirports\"",
            id % 50_000,
            id % 240,
            quoted(code(id, 3)),
            quoted(code(id, 4)),
            id % 9_000,
            id % 13,
        )?;
    }
    Ok(file.flush()?)
}

/// A migrated database of its own.
struct Database {
    url: String,
}

impl Database {
    async fn create(server_url: &str) -> Outcome<Self> {
        const NAME: &str = "tarmac_bench";
        let mut sql = PgConnection::connect(server_url).await?;
        for statement in
            [format!("drop database if exists {NAME} with (force)"), format!("create database {NAME}")]
        {
            run(&mut sql, &statement).await?;
        }
        let (server, _) = server_url.rsplit_once('/').ok_or("the URL names no database")?;
        let url = format!("{server}/{NAME}");
        let migrated = tarmac_command(&url).args(["migrate", "up"]).stderr(Stdio::null()).status()?;
        if !migrated.success() {
            return Err("tarmac migrate up failed".into());
        }
        Ok(Self { url })
    }
}

fn tarmac_command(database_url: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tarmac"));
    command.env("TARMAC_DATABASE_URL", database_url).env_remove("TARMAC_TEST_DATABASE_URL");
    command
}

async fn run(sql: &mut PgConnection, statements: &str) -> Outcome<()> {
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(sql).await?;
    Ok(())
}

/// The service, in a process of its own.
struct Tarmac {
    process: Child,
    address: String,
    client: reqwest::Client,
}

impl Tarmac {
    fn start(database_url: &str, directory: &Path) -> Outcome<Self> {
        let mut process = tarmac_command(database_url)
            .args(["serve", "--address", "127.0.0.1:0"])
            .env("TARMAC_ARCHIVE_DIRECTORY", directory.join("archive"))
            .env("TARMAC_SERVER_WAIT_SECONDS", "3600")
            .env("TARMAC_LOG_FORMAT", "json")
            .stderr(Stdio::piped())
            .spawn()?;
        let mut log = BufReader::new(process.stderr.take().ok_or("no log")?);
        let mut address = String::new();
        while address.is_empty() {
            let mut line = String::new();
            if log.read_line(&mut line)? == 0 {
                return Err("the service ended at its start".into());
            }
            let event: serde_json::Value = serde_json::from_str(&line)?;
            if event["fields"]["message"] == "serving" {
                event["fields"]["address"].as_str().unwrap_or_default().clone_into(&mut address);
            }
        }
        // Read to its end, so that the service never waits for its log.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Ok(Self { process, address, client: reqwest::Client::new() })
    }

    /// Seconds from the first byte until the import is complete.
    async fn upload(&mut self, path: &Path, rows: u64) -> Outcome<Duration> {
        let file = tokio::fs::File::open(path).await?;
        let length = file.metadata().await?.len();
        let body = reqwest::Body::wrap_stream(tokio_util::io::ReaderStream::with_capacity(file, 1 << 18));
        let started = Instant::now();
        let response = self
            .client
            .post(format!("http://{}/upload?force=true", self.address))
            .header("Content-Type", "text/csv")
            .header("Content-Length", length)
            .header("Prefer", "wait=3600")
            .body(body)
            .send()
            .await?;
        let import: serde_json::Value = response.json().await?;
        let elapsed = started.elapsed();
        if import["state"] != "complete" || import["counts"]["inserted"] != rows {
            return Err(format!("the import is not as expected: {import}").into());
        }
        Ok(elapsed)
    }

    fn peak_memory_mb(&self) -> Outcome<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.process.id()))?;
        let line = status.lines().find(|line| line.starts_with("VmHWM:")).ok_or("no VmHWM")?;
        let kib: f64 = line.split_whitespace().nth(1).ok_or("no VmHWM")?.parse()?;
        Ok(kib / 1_024.0)
    }
}

impl Drop for Tarmac {
    fn drop(&mut self) {
        // Gone already is as good.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

/// What a user would write: two psql commands, nothing checked.
fn copy_and_upsert(database_url: &str, file: &Path) -> Outcome<Duration> {
    let columns: Vec<_> = COLUMNS.split(", ").skip(1).collect();
    let mut updates = String::new();
    for column in &columns {
        write!(updates, "{}{column} = excluded.{column}", if updates.is_empty() { "" } else { ", " })?;
    }
    let copy = format!(
        r"\copy contender_staging ({COLUMNS}) from '{}' with (format csv, null '\N')",
        file.display()
    );
    let upsert = format!(
        "insert into contender ({COLUMNS}) select {COLUMNS} from contender_staging
         on conflict (openflights_id) where deleted_at is null do update set {updates}, version = contender.version + 1"
    );
    let started = Instant::now();
    let done = Command::new(psql()?)
        .args(["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--dbname", database_url])
        .args(["--command", &copy, "--command", &upsert])
        .status()?;
    let elapsed = started.elapsed();
    if done.success() { Ok(elapsed) } else { Err("psql failed".into()) }
}

fn psql() -> Outcome<PathBuf> {
    let on_path = std::env::var_os("PATH")
        .into_iter()
        .flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    on_path
        .map(|folder| folder.join("psql"))
        .find(|psql| psql.is_file())
        .ok_or_else(|| "psql is not on the PATH".into())
}

async fn expect_same_rows(sql: &mut PgConnection, rows: u64) -> Outcome<()> {
    let differing: (i64, i64) = sqlx::query_as(AssertSqlSafe(format!(
        "select (select count(*) from airports),
             (select count(*) from (select {COLUMNS} from airports except select {COLUMNS} from contender) d)"
    )))
    .fetch_one(sql)
    .await?;
    if differing == (i64::try_from(rows)?, 0) {
        Ok(())
    } else {
        Err(format!("the contenders stored different rows: {differing:?}").into())
    }
}

/// A radius search over everything, over HTTP, and how the database does it.
#[expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]
async fn report_radius(sql: &mut PgConnection, tarmac: &Tarmac) -> Outcome<()> {
    run(sql, "vacuum analyze airports").await?;
    let mut millis = Vec::new();
    for number in 0..200 {
        let (longitude, latitude) = (f64::from(number) * 1.7 - 170.0, f64::from(number % 120) - 60.0);
        let started = Instant::now();
        let url = format!("http://{}/airports?near={longitude},{latitude}&radius=50000", tarmac.address);
        let response = tarmac.client.get(url).send().await?.error_for_status()?;
        response.bytes().await?;
        millis.push(started.elapsed().as_secs_f64() * 1_000.0);
    }
    millis.sort_by(f64::total_cmp);
    println!("radius search of 50 km, 200 places: median {:.1} ms, p99 {:.1} ms", millis[100], millis[198]);
    Ok(())
}
