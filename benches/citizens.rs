//! What requests about citizens cost over HTTP, beside the same work done the plainest way by a client of the same database, in
//! turns within one run.
//!
//! `make bench`, or with a server of one's own:
//! `TARMAC_TEST_DATABASE_URL=postgres://… cargo bench --bench citizens -- --rows 1000000 --rounds 41`
//!
//! First an import of 10,000 citizens with 1,000 relations, then requests over a file of `--rows` citizens. The plain way checks nothing and makes no JSON. What counts is the ratio: machines are noisy. The column aiohttp has what a good service with aiohttp and asyncpg
//! took on a machine of two cores.

#[path = "support/fixtures.rs"]
mod fixtures;
#[path = "support/psql.rs"]
mod psql;
#[path = "support/report.rs"]
mod report;
#[path = "support/settings.rs"]
mod settings;
mod support;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgExecutor, postgres::PgPoolOptions};

use report::Report;
use support::{
    Options, PATIENT, median,
    server::{Database, Outcome, Tarmac, run},
    upload,
};

const SMALL: usize = 10_000;
const RELATIONS: usize = 1_000;
const CONNECTIONS: usize = 16;
/// Changes of one measurement with many connections.
const CHANGES: usize = 4_000;

const HEAD: [&str; 5] = ["", "Tarmac", "plain", "ratio", "aiohttp"];
const COLUMNS: &str =
    "citizen_id, town, street, building, apartment, name, birth_date, gender, relatives, channel";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let options = Options::read(1_000_000, 41)?;
    let directory = tempfile::tempdir()?;
    let database = Database::create().await?;
    let tarmac = Tarmac::start(&database.url, directory.path(), &PATIENT)?;
    let mut sql = PgConnection::connect(&database.url).await?;
    let mut report = Report::new("citizens");
    let mut table = Vec::new();
    let import = small(&mut table, &tarmac, &mut sql, directory.path(), options.rounds).await?;
    report.say(format!("{SMALL} citizens, {RELATIONS} relations; medians of {} rounds, ms.", options.rounds));
    report.table(&HEAD, &table)?;
    report.say(format!("The same changes over {CONNECTIONS} connections; changes a second."));
    report.table(&HEAD, &many(&tarmac, &database.url, import).await?)?;

    let file = directory.path().join("citizens.csv");
    fixtures::citizens(options.rows, &file)?;
    upload(&tarmac, "/imports", &file, options.rows).await?;
    run(&mut sql, "vacuum analyze citizens").await?;
    let mut table = Vec::new();
    large(&mut table, &tarmac, &mut sql, &database.url, directory.path()).await?;
    report.say(format!(
        "{} citizens; medians of 3 rounds, ms. Peak memory of the server meanwhile: {:.0} MB.",
        options.rows,
        tarmac.memory_mb("VmHWM")?
    ));
    report.table(&HEAD, &table)?;
    report.finish(Some(&settings::of(&mut sql).await?))
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

/// Both ways in turns; the medians become a line of the table.
async fn compare(
    table: &mut Vec<Vec<String>>,
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
    table.push(vec![
        name.to_owned(),
        format!("{ours:.2}"),
        format!("{plain:.2}"),
        format!("{:.2}", ours / plain),
        aiohttp.map_or("–".to_owned(), |millis| millis.to_string()),
    ]);
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
    table: &mut Vec<Vec<String>>,
    tarmac: &Tarmac,
    sql: &mut PgConnection,
    directory: &Path,
    rounds: usize,
) -> Outcome<i64> {
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
        table,
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
        table,
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
    statistics(table, tarmac, sql, import, rounds, [Some(6.4), Some(5.4), None, None]).await?;
    compare(
        table,
        "PATCH a field",
        rounds * 5,
        Some(2.1),
        async |round| change_field(tarmac, import, round).await,
        async |round| plain_field(&mut *sql, import, round).await,
    )
    .await?;
    compare(
        table,
        "PATCH relatives",
        rounds * 5,
        Some(2.1),
        async |round| change_relatives(tarmac, import, round).await,
        async |round| plain_relatives(&mut *sql, import, round).await,
    )
    .await?;
    Ok(import)
}

/// The two citizens that a round is about.
fn pair(round: usize) -> Outcome<(i64, i64)> {
    let first = i64::try_from(SMALL / 2 + round % 100)?;
    Ok((first, first + 100))
}

/// Whether a round relates them or parts them.
fn together(round: usize) -> bool {
    (round / 100).is_multiple_of(2)
}

async fn change_field(tarmac: &Tarmac, import: i64, round: usize) -> Outcome<Duration> {
    patch(tarmac, import, pair(round)?.0, &json!({ "apartment": round })).await
}

async fn change_relatives(tarmac: &Tarmac, import: i64, round: usize) -> Outcome<Duration> {
    let (first, second) = pair(round)?;
    let relatives = if together(round) { json!([second]) } else { json!([]) };
    patch(tarmac, import, first, &json!({ "relatives": relatives })).await
}

async fn plain_field(sql: impl PgExecutor<'_>, import: i64, round: usize) -> Outcome<Duration> {
    let started = Instant::now();
    sqlx::query("update citizens set apartment = $3 where import_id = $1 and citizen_id = $2 returning *")
        .bind(import)
        .bind(pair(round)?.0)
        .bind(i64::try_from(round)?)
        .fetch_one(sql)
        .await?;
    Ok(started.elapsed())
}

async fn plain_relatives(sql: impl PgExecutor<'_>, import: i64, round: usize) -> Outcome<Duration> {
    let (first, second) = pair(round)?;
    let started = Instant::now();
    sqlx::query(
        "update citizens set relatives = case when $4 then array[$2 + $3 - citizen_id] else '{}' end
        where import_id = $1 and citizen_id in ($2, $3)",
    )
    .bind(import)
    .bind(first)
    .bind(second)
    .bind(together(round))
    .execute(sql)
    .await?;
    Ok(started.elapsed())
}

/// Changes of single citizens, many at once; the lines of the table.
async fn many(tarmac: &Tarmac, url: &str, import: i64) -> Outcome<Vec<Vec<String>>> {
    let pool = PgPoolOptions::new().max_connections(u32::try_from(CONNECTIONS)?).connect(url).await?;
    let [mut ours, mut plain]: [[Vec<f64>; 2]; 2] = Default::default();
    for _ in 0..3 {
        ours[0].push(rate(async |round| change_field(tarmac, import, round).await).await?);
        plain[0].push(rate(async |round| plain_field(&pool, import, round).await).await?);
        ours[1].push(rate(async |round| change_relatives(tarmac, import, round).await).await?);
        plain[1].push(rate(async |round| plain_relatives(&pool, import, round).await).await?);
    }
    pool.close().await;
    let lines = ["PATCH a field", "PATCH relatives"].iter().zip(ours.iter_mut().zip(&mut plain));
    Ok(lines
        .map(|(name, (ours, plain))| {
            let (ours, plain) = (median(ours), median(plain));
            let ratio = format!("{:.2}", ours / plain);
            vec![(*name).to_owned(), format!("{ours:.0}"), format!("{plain:.0}"), ratio, "480–880".to_owned()]
        })
        .collect())
}

/// So many changes a second with many connections.
async fn rate(change: impl AsyncFn(usize) -> Outcome<Duration>) -> Outcome<f64> {
    let started = Instant::now();
    stream::iter(0..CHANGES)
        .map(|round| change(round))
        .buffer_unordered(CONNECTIONS)
        .try_for_each(async |_| Ok(()))
        .await?;
    Ok(CHANGES as f64 / started.elapsed().as_secs_f64())
}

/// Birthdays, percentiles and demand of an import.
async fn statistics(
    table: &mut Vec<Vec<String>>,
    tarmac: &Tarmac,
    sql: &mut PgConnection,
    import: i64,
    rounds: usize,
    aiohttp: [Option<f64>; 4],
) -> Outcome<()> {
    let operations = [
        ("GET birthdays", "citizens/birthdays", birthdays("citizen_id", import)),
        ("GET percentiles", "towns/stat/percentile/age", percentiles(import)),
        ("GET demand", "towns/stat/demand", demand(import)),
        ("GET birthdays by channel", "citizens/birthdays?group_by=channel", birthdays("channel", import)),
    ];
    for ((name, path, plain), aiohttp) in operations.iter().zip(aiohttp) {
        compare(
            table,
            name,
            rounds,
            aiohttp,
            async |_| get(tarmac, &format!("/imports/{import}/{path}")).await,
            async |_| query(sql, plain).await,
        )
        .await?;
    }
    Ok(())
}

async fn large(
    table: &mut Vec<Vec<String>>,
    tarmac: &Tarmac,
    sql: &mut PgConnection,
    url: &str,
    directory: &Path,
) -> Outcome<()> {
    let import: i64 = sqlx::query_scalar("select max(id) from imports").fetch_one(&mut *sql).await?;
    let path = format!("/imports/{import}");
    statistics(table, tarmac, sql, import, 3, [None; 4]).await?;
    let exported = directory.join("exported.csv");
    compare(
        table,
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
            psql::run(url, &[&copy])
        },
    )
    .await
}

fn birthdays(by: &str, import: i64) -> String {
    format!(
        "select extract(month from born.birth_date)::integer, buyer.{by}, count(*)
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
