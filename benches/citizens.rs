//! What requests about citizens cost over HTTP, beside the same work done the plainest way by a client of the same database, in
//! turns within one run.
//!
//! `make bench`, or with a server of one's own:
//! `TARMAC_TEST_DATABASE_URL=postgres://… cargo bench --bench citizens -- --rows 1000000 --rounds 41`
//!
//! First an import of 10,000 citizens with 1,000 relations, then a file of `--rows` citizens, beside psql's `\copy`, and requests
//! over what it brought. The plain way checks nothing and makes no JSON. What counts is the ratio: machines are noisy. The column aiohttp has what a good service with aiohttp and asyncpg
//! took on a machine of two cores.

#[path = "support/fixtures.rs"]
mod fixtures;
mod support;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection, postgres::PgPoolOptions};

use support::{Database, Options, Outcome, PATIENT, Tarmac, median, psql, run, upload};

const SMALL: usize = 10_000;
const RELATIONS: usize = 1_000;
const CONNECTIONS: usize = 16;
/// Changes of one measurement with many connections.
const CHANGES: usize = 4_000;

const COLUMNS: &str =
    "citizen_id, town, street, building, apartment, name, birth_date, gender, relatives, channel";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let options = Options::read(41)?;
    let directory = tempfile::tempdir()?;
    let database = Database::create().await?;
    let tarmac = Tarmac::start(&database.url, directory.path(), &PATIENT)?;
    let mut sql = PgConnection::connect(&database.url).await?;
    print(format_args!("{SMALL} citizens, {RELATIONS} relations; medians of {} rounds, ms", options.rounds));
    print(format_args!("{:<28}{:>10}{:>10}{:>10}{:>10}", "", "tarmac", "plain", "ratio", "aiohttp"));
    small(&tarmac, &mut sql, &database.url, directory.path(), options.rounds).await?;

    let file = directory.path().join("citizens.csv");
    fixtures::citizens(options.rows, &file)?;
    imports(&tarmac, &mut sql, &database.url, &file, options.rows).await?;
    print(format_args!("\n{} citizens; medians of 3 rounds, ms", options.rows));
    large(&tarmac, &mut sql, &database.url, directory.path()).await?;
    print(format_args!("peak memory of the server: {:.0} MB", tarmac.memory_mb("VmHWM")?));
    Ok(())
}

#[expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]
fn print(line: std::fmt::Arguments<'_>) {
    println!("{line}");
}

/// The small import as the contract's JSON. Only the first citizens are related.
fn citizens(directory: &Path) -> Outcome<Value> {
    let file = directory.join("small.csv");
    fixtures::citizens(SMALL as u64, &file)?;
    let mut citizens = Vec::new();
    let mut relations = 0;
    let mut unrelated_from = u64::MAX;
    for record in csv::Reader::from_path(file)?.records() {
        let record = record?;
        let number: u64 = record[0].parse()?;
        let mut relatives = record[8]
            .split(';')
            .filter(|item| !item.is_empty())
            .map(str::parse)
            .collect::<Result<Vec<u64>, _>>()?;
        // Houses are of five.
        if relations >= 2 * RELATIONS && number % 5 == 1 {
            unrelated_from = unrelated_from.min(number);
        }
        relatives.retain(|relative| *relative < unrelated_from && number < unrelated_from);
        relations += relatives.len();
        let mut citizen = json!({
            "citizen_id": number, "town": record[1], "street": record[2], "building": record[3],
            "apartment": record[4].parse::<u64>()?, "name": record[5], "birth_date": record[6], "gender": record[7],
            "relatives": relatives,
        });
        if !record[9].is_empty() {
            citizen["channel"] = json!(record[9]);
        }
        citizens.push(citizen);
    }
    Ok(json!({ "citizens": citizens }))
}

/// How long a file takes over HTTP until its import is complete, beside psql's `\copy` of the same rows, as PostgreSQL writes them,
/// into a table with the same columns and primary key. Leaves the last import's citizens.
async fn imports(tarmac: &Tarmac, sql: &mut PgConnection, url: &str, file: &Path, rows: u64) -> Outcome<()> {
    run(sql, "create table contender (like citizens including all)").await?;
    // Vacuuming what one left behind would slow down the other.
    for table in ["citizens", "contender"] {
        run(sql, &format!("alter table {table} set (autovacuum_enabled = false)")).await?;
    }
    let copied = file.with_extension("copy");
    let copy = |direction: &str| format!(r"\copy {direction} '{}' with (format csv)", copied.display());
    let bytes = std::fs::metadata(file)?.len();
    print(format_args!(
        "\n{rows} citizens, {:.1} MB; seconds from the first byte until complete",
        bytes as f64 / 1e6
    ));
    print(format_args!("{:<16}{:>10}{:>10}{:>10}", "round", "tarmac", "copy", "ratio"));
    let mut ratios = Vec::new();
    for round in 0..=5 {
        run(sql, "truncate citizens; truncate contender; checkpoint").await?;
        let ours = upload(tarmac, "/imports", file, rows).await?.as_secs_f64();
        if round == 0 {
            psql(url, &[&copy("(select * from citizens order by row) to")])?;
        }
        run(sql, "checkpoint").await?;
        let theirs = psql(url, &[&copy("contender from")])?.as_secs_f64();
        let columns = "row, citizen_id, town, street, building, apartment, name, birth_date, gender, relatives, channel";
        let differing: i64 = sqlx::query_scalar(AssertSqlSafe(format!(
            "select (select abs(count(*) - {rows}) from citizens)
                 + (select count(*) from (select {columns} from citizens except select {columns} from contender) d)"
        )))
        .fetch_one(&mut *sql)
        .await?;
        if differing != 0 {
            return Err(format!("the contenders stored different rows: {differing}").into());
        }
        // The first round warms up.
        if round > 0 {
            let ratio = ours / theirs;
            print(format_args!("{round:<16}{ours:>10.2}{theirs:>10.2}{ratio:>10.2}"));
            ratios.push(ratio);
        }
    }
    print(format_args!("import / copy, median: {:.2}", median(&mut ratios)));
    run(sql, "drop table contender; alter table citizens reset (autovacuum_enabled)").await?;
    run(sql, "vacuum analyze citizens").await
}

/// Both ways in turns; prints the medians.
async fn compare(
    name: &str,
    rounds: usize,
    aiohttp: Option<f64>,
    mut ours: impl AsyncFnMut(usize) -> Outcome<Duration>,
    mut plain: impl AsyncFnMut(usize) -> Outcome<Duration>,
) -> Outcome<()> {
    let (mut our_times, mut plain_times) = (Vec::new(), Vec::new());
    for round in 0..rounds + rounds.div_ceil(4) {
        let ours = ours(round).await?.as_secs_f64() * 1_000.0;
        let plain = plain(round).await?.as_secs_f64() * 1_000.0;
        // The first rounds warm up.
        if round >= rounds.div_ceil(4) {
            our_times.push(ours);
            plain_times.push(plain);
        }
    }
    let (ours, plain) = (median(&mut our_times), median(&mut plain_times));
    let aiohttp = aiohttp.map_or(String::new(), |millis| millis.to_string());
    print(format_args!("{name:<28}{ours:>10.2}{plain:>10.2}{:>10.2}{aiohttp:>10}", ours / plain));
    Ok(())
}

/// Sends a request and takes the whole answer.
async fn send(
    tarmac: &Tarmac,
    method: reqwest::Method,
    path: &str,
    json: Bytes,
) -> Outcome<(Duration, Bytes)> {
    let request = tarmac.client.request(method, format!("http://{}{path}", tarmac.address));
    let request = request.header("Content-Type", "application/json").body(json);
    let started = Instant::now();
    let answer = request.send().await?.error_for_status()?.bytes().await?;
    Ok((started.elapsed(), answer))
}

async fn get(tarmac: &Tarmac, path: &str) -> Outcome<Duration> {
    let request = tarmac.client.get(format!("http://{}{path}", tarmac.address));
    let started = Instant::now();
    request.send().await?.error_for_status()?.bytes().await?;
    Ok(started.elapsed())
}

async fn patch(tarmac: &Tarmac, import: i64, citizen: i64, fields: &Value) -> Outcome<Duration> {
    let path = format!("/imports/{import}/citizens/{citizen}");
    Ok(send(tarmac, reqwest::Method::PATCH, &path, fields.to_string().into()).await?.0)
}

/// All rows of a query, and none of them looked at.
async fn query(sql: &mut PgConnection, query: &str) -> Outcome<Duration> {
    let started = Instant::now();
    sqlx::query(AssertSqlSafe(query.to_owned())).fetch_all(sql).await?;
    Ok(started.elapsed())
}

async fn small(
    tarmac: &Tarmac,
    sql: &mut PgConnection,
    url: &str,
    directory: &Path,
    rounds: usize,
) -> Outcome<()> {
    let body = Bytes::from(citizens(directory)?.to_string());
    let post = async || send(tarmac, reqwest::Method::POST, "/imports", body.clone()).await;
    let (_, answer) = post().await?;
    let import =
        serde_json::from_slice::<Value>(&answer)?["data"]["import_id"].as_i64().ok_or("no number")?;
    let path = format!("/imports/{import}");

    run(sql, "create table plain (like citizens including all)").await?;
    let rows: Vec<Bytes> = sql
        .copy_out_raw(&format!(
            "copy (select * from citizens where import_id = {import} order by citizen_id) to stdout"
        ))
        .await?
        .try_collect()
        .await?;
    let rows = rows.concat();
    compare(
        "POST",
        rounds.div_ceil(2),
        Some(1_250.0),
        async |_| Ok(post().await?.0),
        async |_| {
            run(sql, "truncate plain").await?;
            let started = Instant::now();
            let mut copy = sql.copy_in_raw("copy plain from stdin").await?;
            copy.send(rows.as_slice()).await?;
            copy.finish().await?;
            Ok(started.elapsed())
        },
    )
    .await?;
    // As it is some minutes after an import.
    run(sql, "vacuum analyze citizens").await?;

    compare(
        "GET citizens",
        rounds,
        Some(230.0),
        async |_| get(tarmac, &format!("{path}/citizens")).await,
        async |_| {
            query(
                sql,
                &format!("select {COLUMNS} from citizens where import_id = {import} order by citizen_id"),
            )
            .await
        },
    )
    .await?;
    compare(
        "GET birthdays",
        rounds,
        Some(6.4),
        async |_| get(tarmac, &format!("{path}/citizens/birthdays")).await,
        async |_| query(sql, &birthdays(import)).await,
    )
    .await?;
    compare(
        "GET percentiles",
        rounds,
        Some(5.4),
        async |_| get(tarmac, &format!("{path}/towns/stat/percentile/age")).await,
        async |_| query(sql, &percentiles(import)).await,
    )
    .await?;
    compare(
        "GET demand",
        rounds,
        None,
        async |_| get(tarmac, &format!("{path}/towns/stat/demand")).await,
        async |_| query(sql, &demand(import)).await,
    )
    .await?;
    changes(tarmac, sql, url, import, rounds).await
}

/// Changes of single citizens, one after the other and many at once. Those of relatives relate two citizens, or part them.
async fn changes(
    tarmac: &Tarmac,
    sql: &mut PgConnection,
    url: &str,
    import: i64,
    rounds: usize,
) -> Outcome<()> {
    let pair = |round: usize| -> Outcome<(i64, i64)> {
        let first = i64::try_from(SMALL / 2 + round % 100)?;
        Ok((first, first + 100))
    };
    let together = |round: usize| (round / 100).is_multiple_of(2);
    let our_field =
        async |round: usize| patch(tarmac, import, pair(round)?.0, &json!({ "apartment": round })).await;
    let our_relatives = async |round: usize| {
        let (first, second) = pair(round)?;
        let relatives = if together(round) { json!([second]) } else { json!([]) };
        patch(tarmac, import, first, &json!({ "relatives": relatives })).await
    };
    const FIELD: &str =
        "update citizens set apartment = $3 where import_id = $1 and citizen_id = $2 returning *";
    const RELATIVES: &str =
        "update citizens set relatives = case when $4 then array[$2 + $3 - citizen_id] else '{}' end
        where import_id = $1 and citizen_id in ($2, $3)";

    compare("PATCH a field", rounds * 5, Some(2.1), our_field, async |round| {
        let started = Instant::now();
        let change = sqlx::query(FIELD).bind(import).bind(pair(round)?.0).bind(i64::try_from(round)?);
        change.fetch_one(&mut *sql).await?;
        Ok(started.elapsed())
    })
    .await?;
    compare("PATCH relatives", rounds * 5, Some(2.1), our_relatives, async |round| {
        let (first, second) = pair(round)?;
        let started = Instant::now();
        let change = sqlx::query(RELATIVES).bind(import).bind(first).bind(second).bind(together(round));
        change.execute(&mut *sql).await?;
        Ok(started.elapsed())
    })
    .await?;

    let pool = PgPoolOptions::new().max_connections(u32::try_from(CONNECTIONS)?).connect(url).await?;
    let plain_field = async |round: usize| {
        let change = sqlx::query(FIELD).bind(import).bind(pair(round)?.0).bind(i64::try_from(round)?);
        change.fetch_one(&pool).await?;
        Ok(Duration::ZERO)
    };
    let plain_relatives = async |round: usize| {
        let (first, second) = pair(round)?;
        let change = sqlx::query(RELATIVES).bind(import).bind(first).bind(second).bind(together(round));
        change.execute(&pool).await?;
        Ok(Duration::ZERO)
    };
    print(format_args!("{CONNECTIONS} connections, a second"));
    for name in ["PATCH a field", "PATCH relatives"] {
        let (mut ours, mut plain) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            if name == "PATCH a field" {
                ours.push(rate(&our_field).await?);
                plain.push(rate(&plain_field).await?);
            } else {
                ours.push(rate(&our_relatives).await?);
                plain.push(rate(&plain_relatives).await?);
            }
        }
        let (ours, plain) = (median(&mut ours), median(&mut plain));
        print(format_args!("{name:<28}{ours:>10.0}{plain:>10.0}{:>10.2}{:>10}", plain / ours, "480-880"));
    }
    pool.close().await;
    Ok(())
}

/// So many changes a second with many connections.
async fn rate(change: &impl AsyncFn(usize) -> Outcome<Duration>) -> Outcome<f64> {
    let started = Instant::now();
    stream::iter(0..CHANGES)
        .map(|round| change(round))
        .buffer_unordered(CONNECTIONS)
        .try_for_each(async |_| Ok(()))
        .await?;
    Ok(CHANGES as f64 / started.elapsed().as_secs_f64())
}

async fn large(tarmac: &Tarmac, sql: &mut PgConnection, url: &str, directory: &Path) -> Outcome<()> {
    let import: i64 = sqlx::query_scalar("select max(id) from imports").fetch_one(&mut *sql).await?;
    let path = format!("/imports/{import}");
    compare(
        "GET birthdays",
        3,
        None,
        async |_| get(tarmac, &format!("{path}/citizens/birthdays")).await,
        async |_| query(sql, &birthdays(import)).await,
    )
    .await?;
    compare(
        "GET percentiles",
        3,
        None,
        async |_| get(tarmac, &format!("{path}/towns/stat/percentile/age")).await,
        async |_| query(sql, &percentiles(import)).await,
    )
    .await?;
    compare(
        "GET demand",
        3,
        None,
        async |_| get(tarmac, &format!("{path}/towns/stat/demand")).await,
        async |_| query(sql, &demand(import)).await,
    )
    .await?;
    let exported = directory.join("exported.csv");
    compare(
        "GET citizens as CSV",
        3,
        None,
        async |_| {
            let request = tarmac.client.get(format!("http://{}{path}/citizens", tarmac.address));
            let started = Instant::now();
            let mut pieces =
                request.header("Accept", "text/csv").send().await?.error_for_status()?.bytes_stream();
            let mut file = tokio::fs::File::create(&exported).await?;
            while let Some(piece) = pieces.next().await {
                tokio::io::AsyncWriteExt::write_all(&mut file, &piece?).await?;
            }
            tokio::io::AsyncWriteExt::flush(&mut file).await?;
            Ok(started.elapsed())
        },
        async |_| {
            let rows =
                format!("select {COLUMNS} from citizens where import_id = {import} order by citizen_id");
            let copy = format!(r"\copy ({rows}) to '{}' with (format csv, header)", exported.display());
            psql(url, &[&copy])
        },
    )
    .await
}

fn birthdays(import: i64) -> String {
    format!(
        "select extract(month from born.birth_date)::integer, buyer.citizen_id, count(*)
         from citizens buyer cross join unnest(buyer.relatives) as relative (id)
         join citizens born on born.citizen_id = relative.id and born.import_id = {import}
         where buyer.import_id = {import} group by 1, 2 order by 1, 2"
    )
}

fn percentiles(import: i64) -> String {
    format!(
        "select town, percentile_cont(array[0.5, 0.75, 0.99]) within group (order by extract(year from age(birth_date)))
         from citizens where import_id = {import} group by town"
    )
}

fn demand(import: i64) -> String {
    format!(
        "select town, width_bucket(extract(year from age(birth_date))::integer, array[18, 25, 35, 45, 60]), channel,
             count(*), sum(cardinality(relatives))
         from citizens where import_id = {import} group by 1, 2, 3 order by 1, 2, 3"
    )
}
