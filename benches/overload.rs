//! What becomes of the service when far more clients come than it can serve, and clients that keep it waiting.
//!
//! `make overload`, or with a server of one's own:
//! `TARMAC_TEST_DATABASE_URL=postgres://… cargo bench --bench overload -- --seconds 60 --idle 10000`
//!
//! First ten thousand connections that say nothing, or half a request, while others ask for airports. Then four times as many
//! clients as there are places (`limits.requests`), each as fast as it can: radius searches, and uploads in between. It fails when
//! a request stays without an answer, an accepted upload is lost, memory grows, or the service is not quick again two seconds later.

#[path = "support/server.rs"]
mod server;

use std::{
    collections::BTreeMap,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use sqlx::{Connection, PgConnection};
use tokio::{io::AsyncWriteExt, net::TcpStream, task::JoinSet};

use server::{Database, Outcome, Tarmac};

/// Places for requests, and clients that want one.
const PLACES: usize = 256;
const CLIENTS: usize = 4 * PLACES;
/// One request in so many is an upload.
const UPLOAD_EVERY: u64 = 50;
const QUICK: Duration = Duration::from_millis(100);
const RECOVERY: Duration = Duration::from_secs(2);
/// What connections, places and uploads may take in all.
const MEMORY_MB: f64 = 400.0;

#[expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]
#[tokio::main]
async fn main() -> Outcome<()> {
    let (seconds, idle) = options()?;
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    let directory = tempfile::tempdir()?;
    let database = Database::create().await?;
    let places = PLACES.to_string();
    let tarmac =
        Tarmac::start(&database.url, directory.path(), &[("TARMAC_LIMITS_REQUESTS", places.as_str())])?;
    let client = tarmac.client.clone();
    let fixture =
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/airports/airports.dat"))?;
    let url = format!("http://{}/upload", tarmac.address);
    let request = client.post(url).header("Content-Type", "text/csv").header("Prefer", "wait=60");
    request.body(fixture).send().await?.error_for_status()?;
    let search = format!("http://{}/airports?near=2.35,48.86&radius=200000&limit=10", tarmac.address);

    let mut connections = Vec::with_capacity(idle);
    for number in 0..idle {
        let mut socket = TcpStream::connect(&tarmac.address).await?;
        if number % 2 == 0 {
            socket.write_all(b"GET /airports HTTP/1.1\r\nX-Slow: ").await?;
        }
        connections.push(socket);
    }
    let mut times = Vec::new();
    for _ in 0..200 {
        let started = Instant::now();
        client.get(&search).send().await?.error_for_status()?.bytes().await?;
        times.push(started.elapsed());
    }
    times.sort_unstable();
    println!(
        "beside {idle} idle connections: median {:?}, p99 {:?}; {:.0} MB",
        times[100],
        times[198],
        tarmac.process.memory_mb("VmRSS")?
    );
    drop(connections);

    let (counts, accepted, memory) =
        overload(&tarmac, &client, &search, Duration::from_secs(seconds)).await?;
    let ended = Instant::now();
    while {
        let started = Instant::now();
        let answer = client.get(&search).send().await?;
        let good = answer.status().is_success();
        answer.bytes().await?;
        !good || started.elapsed() > QUICK
    } {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let recovered = ended.elapsed();
    println!(
        "{CLIENTS} clients for {seconds} s, {PLACES} places: {counts:?}; quick again after {recovered:?}"
    );
    println!("memory: {:.0} MB in the middle, {:.0} MB at the end", memory.0, memory.1);

    let mut sql = PgConnection::connect(&database.url).await?;
    let deadline = Instant::now() + Duration::from_secs(120);
    loop {
        let complete: i64 = sqlx::query_scalar("select count(*) from imports where state = 'complete'")
            .fetch_one(&mut sql)
            .await?;
        // The fixture is one more.
        if u64::try_from(complete)? == accepted + 1 {
            break;
        }
        if Instant::now() > deadline {
            return Err(format!(
                "{accepted} uploads were accepted, and {} imports are complete",
                complete - 1
            )
            .into());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    println!("{accepted} uploads were accepted, and all are complete");
    if recovered > RECOVERY {
        return Err("the service is not quick again in time".into());
    }
    if memory.1 > memory.0 * 1.25 || memory.1 > MEMORY_MB {
        return Err("memory grows".into());
    }
    Ok(())
}

fn options() -> Outcome<(u64, usize)> {
    let (mut seconds, mut idle) = (60, 10_000);
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
        match argument.as_str() {
            "--seconds" => seconds = value()?.parse()?,
            "--idle" => idle = value()?.parse()?,
            "--bench" => {}
            _ => return Err(format!("unknown argument {argument}; there are --seconds and --idle").into()),
        }
    }
    Ok((seconds, idle))
}

/// Answers by status, uploads that were accepted, and the memory in the middle and at the end. Fails with the first request that
/// gets no answer, or one that is no answer to being too many.
async fn overload(
    tarmac: &Tarmac,
    client: &reqwest::Client,
    search: &str,
    time: Duration,
) -> Outcome<(BTreeMap<u16, u64>, u64, (f64, f64))> {
    let end = Instant::now() + time;
    let rows = Arc::new(AtomicU64::new(1_000_000));
    let mut clients = JoinSet::new();
    for number in 0..CLIENTS as u64 {
        let (client, search, rows) = (client.clone(), search.to_owned(), Arc::clone(&rows));
        let upload = format!("http://{}/upload", tarmac.address);
        clients.spawn(async move {
            let mut counts = BTreeMap::new();
            let mut turn = number;
            while Instant::now() < end {
                turn += 1;
                let request = if turn.is_multiple_of(UPLOAD_EVERY) {
                    let row = rows.fetch_add(1, Ordering::Relaxed);
                    let row = format!("{row},A{row},B,C,\\N,\\N,1,2,0,0,U,\\N,airport,S\n");
                    client.post(&upload).header("Content-Type", "text/csv").body(row)
                } else {
                    client.get(&search)
                };
                let answer = request.send().await?;
                let status = answer.status().as_u16();
                answer.bytes().await?;
                *counts.entry(status).or_insert(0_u64) += 1;
                if !matches!(status, 200 | 202 | 429 | 503) {
                    return Err(format!("answered {status}").into());
                }
            }
            Outcome::Ok(counts)
        });
    }
    tokio::time::sleep(time / 2).await;
    let middle = tarmac.process.memory_mb("VmRSS")?;
    let mut counts = BTreeMap::new();
    while let Some(ended) = clients.join_next().await {
        for (status, count) in ended?? {
            *counts.entry(status).or_insert(0) += count;
        }
    }
    let accepted = counts.get(&202).copied().unwrap_or_default();
    Ok((counts, accepted, (middle, tarmac.process.memory_mb("VmRSS")?)))
}
