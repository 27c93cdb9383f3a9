//! Tarmac itself, each time in a fresh process that has imported a small file.

use std::time::{Duration, Instant};

use serde_json::{Map, Value, json};
use sqlx::PgConnection;

use crate::{
    Setting, Taken, fixtures,
    support::{
        PATIENT,
        server::{Outcome, Tarmac, run},
        upload,
    },
};

/// Rows of the file that a service imports first, so that connections are made.
const FIRST_ROWS: u64 = 1_000;
/// Of the topic, as `tarmac.toml` has them.
const PARTITIONS: usize = 12;

async fn start(setting: &Setting, sql: &mut PgConnection, settings: &[(&str, &str)]) -> Outcome<Tarmac> {
    let directory = setting.directory.path();
    let tarmac = Tarmac::start(&setting.database.url, directory, &[&PATIENT[..], settings].concat())?;
    let first = directory.join("first.csv");
    fixtures::citizens(FIRST_ROWS, &first)?;
    upload(&tarmac, "/imports", &first, FIRST_ROWS).await?;
    run(sql, "truncate citizens, citizen_segments; checkpoint").await?;
    Ok(tarmac)
}

/// The file over HTTP, its chunks through the journal.
pub(crate) async fn file(setting: &Setting, sql: &mut PgConnection) -> Outcome<Taken> {
    send_file(setting, &start(setting, sql, &[]).await?).await
}

/// The same, with chunks that travel through Kafka to so many consumers.
pub(crate) async fn kafka(setting: &Setting, sql: &mut PgConnection, consumers: usize) -> Outcome<Taken> {
    // Members of other groups, which are gone without a word, would keep their partitions for seconds.
    let application = format!("tarmac_bench_{}_{consumers}", std::process::id());
    let loaders = consumers.to_string();
    let settings = [
        ("TARMAC_TRANSPORT_KIND", "kafka"),
        ("TARMAC_KAFKA_BROKERS", setting.brokers.as_str()),
        ("TARMAC_KAFKA_APPLICATION", application.as_str()),
        ("TARMAC_WORKER_LOADERS", loaders.as_str()),
    ];
    let tarmac = start(setting, sql, &settings).await?;
    settled(&tarmac, consumers).await?;
    send_file(setting, &tarmac).await
}

/// Waits until so many consumers have all partitions among them, in equal shares.
async fn settled(service: &Tarmac, consumers: usize) -> Outcome<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while Instant::now() < deadline {
        let answer = service.client.get(format!("http://{}/consumers", service.address)).send().await?;
        let list: Value = answer.json().await?;
        let shares = list["data"].as_array().ok_or("no list of consumers")?.iter();
        let shares: Vec<_> = shares.filter_map(|one| one["partitions"].as_array().map(Vec::len)).collect();
        if shares == vec![PARTITIONS / consumers; consumers] {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Err("the consumers did not get their partitions".into())
}

async fn send_file(setting: &Setting, tarmac: &Tarmac) -> Outcome<Taken> {
    let seconds = upload(tarmac, "/imports", &setting.csv(), setting.rows).await?.as_secs_f64();
    Ok(Taken { seconds, megabytes: tarmac.process.memory_mb("VmHWM")? })
}

/// The rows as the contract's JSON, in one request.
pub(crate) async fn json(setting: &Setting, sql: &mut PgConnection) -> Outcome<Taken> {
    let body = contract(&std::fs::read(setting.body())?)?;
    let tarmac = start(setting, sql, &[]).await?;
    let request = tarmac.client.post(format!("http://{}/imports", tarmac.address));
    let request = request.header("Content-Type", "application/json").body(body);
    let started = Instant::now();
    request.send().await?.error_for_status()?.bytes().await?;
    Ok(Taken { seconds: started.elapsed().as_secs_f64(), megabytes: tarmac.process.memory_mb("VmHWM")? })
}

/// Of the table's columns what the contract names, as it writes it.
fn contract(body: &[u8]) -> Outcome<String> {
    let mut citizens: Vec<Map<String, Value>> = serde_json::from_slice(body)?;
    for citizen in &mut citizens {
        citizen.retain(|name, value| !matches!(name.as_str(), "import_id" | "row") && !value.is_null());
        if let Some(Value::String(date)) = citizen.get_mut("birth_date") {
            let mut parts: Vec<_> = date.split('-').collect();
            parts.reverse();
            *date = parts.join(".");
        }
    }
    Ok(json!({ "citizens": citizens }).to_string())
}
