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

#[path = "support/psql.rs"]
mod psql;
#[path = "support/report.rs"]
mod report;
#[path = "support/settings.rs"]
mod settings;
mod support;

use std::{
    fmt::Write as _,
    io::{BufWriter, Write},
    path::Path,
    time::{Duration, Instant},
};

use sqlx::{AssertSqlSafe, Connection, PgConnection};

use report::Report;
use support::{
    Options, PATIENT, median,
    server::{Database, Outcome, Tarmac, run},
    upload,
};

const COLUMNS: &str = "openflights_id, name, city, country, iata, icao, latitude, longitude, altitude, timezone, dst, tz, type, source";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let options = Options::read(1_000_000, 3)?;
    let directory = tempfile::tempdir()?;
    let database = Database::create().await?;
    let file = directory.path().join("airports.csv");
    write_airports(&file, options.rows)?;
    let tarmac = Tarmac::start(&database.url, directory.path(), &PATIENT)?;
    let mut sql = PgConnection::connect(&database.url).await?;
    run(&mut sql, &format!("create table contender (like airports including all); create table contender_staging as select {COLUMNS} from airports limit 0")).await?;
    // Vacuuming what one left behind would slow down the other.
    for table in ["airports", "contender", "contender_staging"] {
        run(&mut sql, &format!("alter table {table} set (autovacuum_enabled = false)")).await?;
    }

    let bytes = std::fs::metadata(&file)?.len();
    let mut report = Report::new("import");
    report.say(format!("{} airports, {:.1} MB; seconds.", options.rows, bytes as f64 / 1e6));
    let mut rounds = Vec::new();
    let mut ratios = Vec::new();
    // The first round warms up.
    for round in 0..=options.rounds {
        run(&mut sql, "truncate airports; truncate contender; truncate contender_staging; checkpoint")
            .await?;
        let ours = upload(&tarmac, "/upload", &file, options.rows).await?;
        run(&mut sql, "checkpoint").await?;
        let theirs = copy_and_upsert(&database.url, &file)?;
        expect_same_rows(&mut sql, options.rows).await?;
        let ratio = ours.as_secs_f64() / theirs.as_secs_f64();
        if round > 0 {
            let seconds = |taken: Duration| format!("{:.2}", taken.as_secs_f64());
            rounds.push(vec![round.to_string(), seconds(ours), seconds(theirs), format!("{ratio:.2}")]);
            ratios.push(ratio);
        }
    }
    rounds.push(vec![
        "median".to_owned(),
        String::new(),
        String::new(),
        format!("{:.2}", median(&mut ratios)),
    ]);
    report.table(&["round", "Tarmac", r"`\copy` + upsert", "ratio"], &rounds)?;
    let memory = tarmac.process.memory_mb("VmHWM")?;
    let (middle, slowest) = radius(&mut sql, &tarmac).await?;

    let real = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/airports/airports.dat");
    let mut millis = Vec::new();
    for _ in 0..5 {
        run(&mut sql, "truncate airports").await?;
        millis.push(upload(&tarmac, "/upload", &real, 7_698).await?.as_secs_f64() * 1_000.0);
    }
    let real = median(&mut millis);
    drop(tarmac);
    let mut millis = Vec::new();
    for _ in 0..5 {
        millis.push(start(&database.url, directory.path()).await?.as_secs_f64() * 1_000.0);
    }
    let ready = median(&mut millis);
    report.table(
        &["", "MB or ms"],
        &[
            vec!["peak memory of the server, MB".to_owned(), format!("{memory:.0}")],
            vec![
                "radius search of 50 km among them, 200 places, median, ms".to_owned(),
                format!("{middle:.1}"),
            ],
            vec!["the same, 99th percentile, ms".to_owned(), format!("{slowest:.1}")],
            vec!["airports.dat, until complete, median, ms".to_owned(), format!("{real:.0}")],
            vec!["the service, from its start until ready, median, ms".to_owned(), format!("{ready:.0}")],
        ],
    )?;
    report.finish(Some(&settings::of(&mut sql).await?))
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
    psql::run(database_url, &[&copy, &upsert])
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

/// How long a service takes until it is ready, from the start of its process.
async fn start(database_url: &str, directory: &Path) -> Outcome<Duration> {
    let started = Instant::now();
    let tarmac = Tarmac::start(database_url, directory, &[])?;
    let url = format!("http://{}/health/ready", tarmac.address);
    tarmac.client.get(url).send().await?.error_for_status()?;
    Ok(started.elapsed())
}

/// What a radius search over everything takes, over HTTP: median and 99th percentile, milliseconds.
async fn radius(sql: &mut PgConnection, tarmac: &Tarmac) -> Outcome<(f64, f64)> {
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
    Ok((millis[100], millis[198]))
}
