//! What requests about citizens cost over HTTP, beside the same work done the plainest way by a client of the same database, in
//! turns within one run.
//!
//! `make bench`, or with a server of one's own:
//! `TARMAC_TEST_DATABASE_URL=postgres://… cargo bench --bench citizens -- --rows 1000000 --rounds 41`
//!
//! First an import of 10,000 citizens with 1,000 relations, beside a service in Python as well, then requests over a file of `--rows` citizens. The plain
//! way checks nothing and makes no JSON. What counts are the ratios: machines are noisy.

#[path = "support/fixtures.rs"]
mod fixtures;
#[path = "support/psql.rs"]
mod psql;
#[path = "support/python.rs"]
mod python;
#[path = "support/report.rs"]
mod report;
#[path = "support/settings.rs"]
mod settings;
mod support;

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::Stdio,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, TryStreamExt, future::BoxFuture, stream};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgExecutor, postgres::PgPoolOptions};

use report::Report;
use support::{
    Options, PATIENT, median,
    server::{Database, Outcome, Running, Tarmac, run},
    upload,
};

const SMALL: usize = 10_000;
const RELATIONS: usize = 1_000;
const CONNECTIONS: usize = 16;
/// Changes of one measurement with many connections.
const CHANGES: usize = 4_000;

const TIMES: [&str; 6] = ["", "Tarmac", "plain", "Tarmac / plain", "aiohttp", "aiohttp / Tarmac"];
const RATES: [&str; 6] = ["", "Tarmac", "plain", "Tarmac / plain", "aiohttp", "Tarmac / aiohttp"];
const COLUMNS: &str =
    "citizen_id, town, street, building, apartment, name, birth_date, gender, relatives, channel";

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let options = Options::read(1_000_000, 41)?;
    let directory = tempfile::tempdir()?;
    let database = Database::create().await?;
    let tarmac = Tarmac::start(&database.url, directory.path(), &PATIENT)?;
    let python = Python::start(&database.url)?;
    let mut sql = PgConnection::connect(&database.url).await?;
    let mut report = Report::new("citizens");
    let mut table = Vec::new();
    let sites =
        small(&mut table, [&tarmac.address, &python.address], &mut sql, directory.path(), options.rounds)
            .await?;
    report.say(format!("{SMALL} citizens, {RELATIONS} relations; medians of {} rounds, ms.", options.rounds));
    report.table(&TIMES, &table)?;
    report.say(format!("The same changes over {CONNECTIONS} connections; changes a second."));
    report.table(&RATES, &many(&sites, &database.url).await?)?;
    report.say(format!("aiohttp is {}.", python::versions(&["aiohttp", "asyncpg", "marshmallow"])?));
    drop(python);

    let file = directory.path().join("citizens.csv");
    fixtures::citizens(options.rows, &file)?;
    upload(&tarmac, "/imports", &file, options.rows).await?;
    run(&mut sql, "vacuum analyze citizens").await?;
    let mut table = Vec::new();
    large(&mut table, &tarmac, &mut sql, &database.url, directory.path()).await?;
    report.say(format!(
        "{} citizens; medians of 3 rounds, ms. Peak memory of the server meanwhile: {:.0} MB.",
        options.rows,
        tarmac.process.memory_mb("VmHWM")?
    ));
    report.table(&TIMES, &table)?;
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

/// The service in Python, `benches/contenders/service.py`, in a process of its own.
struct Python {
    /// Ends with it.
    _process: Running,
    /// Where it listens: `127.0.0.1:41234`.
    address: String,
}

impl Python {
    /// With tables of its own in the database.
    fn start(database_url: &str) -> Outcome<Self> {
        let mut python = python::interpreter()?;
        python.args([concat!(env!("CARGO_MANIFEST_DIR"), "/benches/contenders/service.py"), database_url]);
        let mut process = Running(python.stdout(Stdio::piped()).spawn()?);
        let mut port = String::new();
        BufReader::new(process.0.stdout.take().ok_or("no output")?).read_line(&mut port)?;
        let port: u16 = port.trim().parse().map_err(|_| "the service in Python ended at its start")?;
        Ok(Self { _process: process, address: format!("127.0.0.1:{port}") })
    }
}

/// An import at a service that speaks the contract.
struct Site {
    client: reqwest::Client,
    /// `http://127.0.0.1:41234/imports/1`
    base: String,
    import: i64,
}

impl Site {
    /// Makes the import.
    async fn import(address: &str, body: &Bytes) -> Outcome<Self> {
        let client = reqwest::Client::new();
        let answer = post(&client, address, body).await?.1;
        let import =
            serde_json::from_slice::<Value>(&answer)?["data"]["import_id"].as_i64().ok_or("no number")?;
        Ok(Self { client, base: format!("http://{address}/imports/{import}"), import })
    }

    async fn get(&self, path: &str) -> Outcome<Duration> {
        Ok(send(self.client.get(format!("{}/{path}", self.base))).await?.0)
    }

    async fn patch(&self, citizen: i64, fields: &Value) -> Outcome<Duration> {
        let request = self.client.patch(format!("{}/citizens/{citizen}", self.base));
        let request = request.header("Content-Type", "application/json").body(fields.to_string());
        Ok(send(request).await?.0)
    }

    async fn change_field(&self, round: usize) -> Outcome<Duration> {
        self.patch(pair(round)?.0, &json!({ "apartment": round })).await
    }

    async fn change_relatives(&self, round: usize) -> Outcome<Duration> {
        let (first, second) = pair(round)?;
        let relatives = if together(round) { json!([second]) } else { json!([]) };
        self.patch(first, &json!({ "relatives": relatives })).await
    }
}

/// Sends a request and takes the whole answer.
async fn send(request: reqwest::RequestBuilder) -> Outcome<(Duration, Bytes)> {
    let started = Instant::now();
    let answer = request.send().await?.error_for_status()?.bytes().await?;
    Ok((started.elapsed(), answer))
}

async fn post(client: &reqwest::Client, address: &str, body: &Bytes) -> Outcome<(Duration, Bytes)> {
    let request = client.post(format!("http://{address}/imports")).header("Content-Type", "application/json");
    send(request.body(body.clone())).await
}

/// What the service in Python takes in a round; `None`: it does not do that.
type Theirs<'a> = Option<&'a dyn Fn(usize) -> BoxFuture<'a, Outcome<Duration>>>;

/// All ways in turns; the medians become a line of the table.
async fn compare(
    table: &mut Vec<Vec<String>>,
    name: &str,
    rounds: usize,
    theirs: Theirs<'_>,
    mut ours: impl AsyncFnMut(usize) -> Outcome<Duration>,
    mut plain: impl AsyncFnMut(usize) -> Outcome<Duration>,
) -> Outcome<()> {
    let mut times: [Vec<f64>; 3] = Default::default();
    for round in 0..rounds + rounds.div_ceil(4) {
        let mut taken = vec![ours(round).await?, plain(round).await?];
        if let Some(theirs) = theirs {
            taken.push(theirs(round).await?);
        }
        // The first rounds warm up.
        if round >= rounds.div_ceil(4) {
            for (times, taken) in times.iter_mut().zip(taken) {
                times.push(taken.as_secs_f64() * 1_000.0);
            }
        }
    }
    let [ours, plain, python] = times;
    table.push(line(name, 2, ours, plain, python, |ours, python| python / ours));
    Ok(())
}

/// A line of a table: figures with so many places, how often one of Python's is in one of ours, and a dash where it has none.
fn line(
    name: &str,
    places: usize,
    mut ours: Vec<f64>,
    mut plain: Vec<f64>,
    mut python: Vec<f64>,
    faster: impl Fn(f64, f64) -> f64,
) -> Vec<String> {
    let (ours, plain) = (median(&mut ours), median(&mut plain));
    let mut line = vec![
        name.to_owned(),
        format!("{ours:.places$}"),
        format!("{plain:.places$}"),
        format!("{:.2}", ours / plain),
    ];
    if python.is_empty() {
        line.extend(["–".to_owned(), "–".to_owned()]);
    } else {
        let python = median(&mut python);
        line.extend([format!("{python:.places$}"), format!("{:.1}", faster(ours, python))]);
    }
    line
}

/// All rows of a query, and none of them looked at.
async fn query(sql: &mut PgConnection, query: &str) -> Outcome<Duration> {
    let started = Instant::now();
    sqlx::query(AssertSqlSafe(query.to_owned())).fetch_all(sql).await?;
    Ok(started.elapsed())
}

/// Requests about the small import; it at both services.
async fn small(
    table: &mut Vec<Vec<String>>,
    addresses: [&str; 2],
    sql: &mut PgConnection,
    directory: &Path,
    rounds: usize,
) -> Outcome<[Site; 2]> {
    let body = Bytes::from(citizens(directory)?.to_string());
    let sites = [Site::import(addresses[0], &body).await?, Site::import(addresses[1], &body).await?];
    let [tarmac, python] = &sites;
    let import = tarmac.import;

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
        Some(&|_| async { Ok(post(&python.client, addresses[1], &body).await?.0) }.boxed()),
        async |_| Ok(post(&tarmac.client, addresses[0], &body).await?.0),
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
    // As they are some minutes after an import.
    run(sql, "vacuum analyze citizens").await?;
    run(sql, "vacuum analyze aiohttp_citizens").await?;

    compare(
        table,
        "GET citizens",
        rounds,
        Some(&|_| python.get("citizens").boxed()),
        async |_| tarmac.get("citizens").await,
        async |_| {
            query(
                sql,
                &format!("select {COLUMNS} from citizens where import_id = {import} order by citizen_id"),
            )
            .await
        },
    )
    .await?;
    statistics(table, tarmac, Some(python), sql, rounds).await?;
    compare(
        table,
        "PATCH a field",
        rounds * 5,
        Some(&|round| python.change_field(round).boxed()),
        async |round| tarmac.change_field(round).await,
        async |round| plain_field(&mut *sql, import, round).await,
    )
    .await?;
    compare(
        table,
        "PATCH relatives",
        rounds * 5,
        Some(&|round| python.change_relatives(round).boxed()),
        async |round| tarmac.change_relatives(round).await,
        async |round| plain_relatives(&mut *sql, import, round).await,
    )
    .await?;
    Ok(sites)
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
async fn many([tarmac, python]: &[Site; 2], url: &str) -> Outcome<Vec<Vec<String>>> {
    let import = tarmac.import;
    let pool = PgPoolOptions::new().max_connections(u32::try_from(CONNECTIONS)?).connect(url).await?;
    let [mut field, mut relatives]: [[Vec<f64>; 3]; 2] = Default::default();
    for _ in 0..3 {
        field[0].push(rate(async |round| tarmac.change_field(round).await).await?);
        field[1].push(rate(async |round| plain_field(&pool, import, round).await).await?);
        field[2].push(rate(async |round| python.change_field(round).await).await?);
        relatives[0].push(rate(async |round| tarmac.change_relatives(round).await).await?);
        relatives[1].push(rate(async |round| plain_relatives(&pool, import, round).await).await?);
        relatives[2].push(rate(async |round| python.change_relatives(round).await).await?);
    }
    pool.close().await;
    let lines = [("PATCH a field", field), ("PATCH relatives", relatives)];
    let faster = |ours, python| ours / python;
    Ok(lines.map(|(name, [ours, plain, python])| line(name, 0, ours, plain, python, faster)).into())
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

/// Birthdays, percentiles and demand of an import. The service in Python has the first two.
async fn statistics(
    table: &mut Vec<Vec<String>>,
    tarmac: &Site,
    python: Option<&Site>,
    sql: &mut PgConnection,
    rounds: usize,
) -> Outcome<()> {
    let import = tarmac.import;
    let operations = [
        ("GET birthdays", "citizens/birthdays", birthdays("citizen_id", import), python),
        ("GET percentiles", "towns/stat/percentile/age", percentiles(import), python),
        ("GET demand", "towns/stat/demand", demand(import), None),
        (
            "GET birthdays by channel",
            "citizens/birthdays?group_by=channel",
            birthdays("channel", import),
            None,
        ),
    ];
    for (name, path, plain, python) in &operations {
        let ask = python.map(|python| move |_| python.get(path).boxed());
        let theirs: Theirs<'_> = match &ask {
            Some(ask) => Some(ask),
            None => None,
        };
        compare(
            table,
            name,
            rounds,
            theirs,
            async |_| tarmac.get(path).await,
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
    let site = Site {
        client: tarmac.client.clone(),
        base: format!("http://{}/imports/{import}", tarmac.address),
        import,
    };
    statistics(table, &site, None, sql, 3).await?;
    let exported = directory.join("exported.csv");
    compare(
        table,
        "GET citizens as CSV",
        3,
        None,
        async |_| {
            let request = site.client.get(format!("{}/citizens", site.base));
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
