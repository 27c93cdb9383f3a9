//! What Kafka costs: a file of citizens through a real broker, beside the same file through the journal and psql's `\copy`,
//! broker, service and database on one machine, in turns within one run.
//!
//! `make bench`, or with servers of one's own:
//! `TARMAC_TEST_DATABASE_URL=postgres://… TARMAC_TEST_KAFKA_BROKERS=host:port cargo bench --bench kafka -- --rows 1000000 --rounds 3`
//!
//! - imports: over HTTP, from the first byte sent until the import is complete, with 1, 2 and 4 consumers
//! - publishing: the same bytes in messages of a chunk's size by librdkafka alone, first as cheaply as order allows, then with
//!   what Tarmac asks for. [KIP-98] measured 3 % for transactions of 100 ms against in-order `acks=all`, 20 % against
//!   `acks=1`
//! - memory: of a process that receives and publishes and loads nothing, with a file, and with one of ten times the rows
//!
//! [KIP-98]: https://cwiki.apache.org/confluence/display/KAFKA/KIP-98+-+Exactly+Once+Delivery+and+Transactional+Messaging

#[path = "support/fixtures.rs"]
mod fixtures;
mod support;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    producer::{BaseProducer, BaseRecord, Producer},
};
use serde_json::Value;
use sqlx::{Connection, PgConnection};

use support::{Database, Options, Outcome, PATIENT, Tarmac, median, psql, run, upload};

const CONSUMERS: [&str; 3] = ["1", "2", "4"];
/// As many bytes as a chunk of Tarmac's has, and as many chunks as it publishes in a transaction.
const MESSAGE_BYTES: usize = 900_000;
const TRANSACTION_MESSAGES: usize = 4;
/// What `tarmac.toml` says of the chunks' topic.
const PARTITIONS: usize = 12;
const ANSWER: Duration = Duration::from_secs(30);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let options = Options::read(3)?;
    let brokers = std::env::var("TARMAC_TEST_KAFKA_BROKERS")
        .map_err(|_| "TARMAC_TEST_KAFKA_BROKERS is not set; make bench sets it")?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("citizens.csv");
    fixtures::citizens(options.rows, &file)?;
    let database = Database::create().await?;
    imports(&database, &brokers, directory.path(), &file, &options).await?;
    publishing(&brokers, &std::fs::read(&file)?, options.rounds).await?;
    memory(&database, &brokers, directory.path(), options.rows / 10).await
}

#[expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]
fn print(line: std::fmt::Arguments<'_>) {
    println!("{line}");
}

/// A service whose chunks travel through topics of its own.
fn through_kafka(
    database: &Database,
    brokers: &str,
    directory: &Path,
    name: &str,
    settings: &[(&str, &str)],
) -> Outcome<Tarmac> {
    let application = format!("tarmac_bench_{}_{name}", std::process::id());
    let kafka = [
        ("TARMAC_TRANSPORT_KIND", "kafka"),
        ("TARMAC_KAFKA_BROKERS", brokers),
        ("TARMAC_KAFKA_APPLICATION", application.as_str()),
    ];
    Tarmac::start(&database.url, directory, &[&PATIENT[..], &kafka, settings].concat())
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

async fn imports(
    database: &Database,
    brokers: &str,
    directory: &Path,
    file: &Path,
    options: &Options,
) -> Outcome<()> {
    let mut sql = PgConnection::connect(&database.url).await?;
    run(&mut sql, "create table contender (like citizens including all)").await?;
    for table in ["citizens", "contender"] {
        run(&mut sql, &format!("alter table {table} set (autovacuum_enabled = false)")).await?;
    }
    let copied = file.with_extension("copy");
    let copy = |direction: &str| format!(r"\copy {direction} '{}' with (format csv)", copied.display());
    let megabytes = std::fs::metadata(file)?.len() as f64 / 1e6;
    print(format_args!(
        "{} citizens, {megabytes:.1} MB; seconds from the first byte until complete",
        options.rows
    ));
    print(format_args!(
        "{:<8}{:>10}{:>10}{:>12}{:>12}{:>12}",
        "round", "copy", "journal", "1 consumer", "2 consumers", "4 consumers"
    ));
    let mut ratios: [Vec<f64>; 4] = Default::default();
    // The first round warms up.
    for round in 0..=options.rounds {
        let mut seconds = Vec::new();
        for way in ["journal"].into_iter().chain(CONSUMERS) {
            // Services take turns: the one that does not import would still talk to the broker and the database.
            let service = if way == "journal" {
                Tarmac::start(&database.url, directory, &PATIENT)?
            } else {
                through_kafka(database, brokers, directory, way, &[("TARMAC_WORKER_LOADERS", way)])?
            };
            if way != "journal" {
                settled(&service, way.parse()?).await?;
            }
            run(&mut sql, "truncate citizens; checkpoint").await?;
            seconds.push(upload(&service, "/imports", file, options.rows).await?.as_secs_f64());
        }
        if round == 0 {
            psql(&database.url, &[&copy("(select * from citizens order by row) to")])?;
        }
        run(&mut sql, "truncate contender; checkpoint").await?;
        let theirs = psql(&database.url, &[&copy("contender from")])?.as_secs_f64();
        if round == 0 {
            continue;
        }
        let [journal, one, two, four] = seconds[..] else { return Err("four ways were measured".into()) };
        print(format_args!("{round:<8}{theirs:>10.2}{journal:>10.2}{one:>12.2}{two:>12.2}{four:>12.2}"));
        for (ratios, ours) in ratios.iter_mut().zip(&seconds) {
            ratios.push(theirs / ours);
        }
    }
    let [journal, one, two, four] = ratios.map(|mut ratios| median(&mut ratios));
    print(format_args!(
        "{:<8}{:>10.2}{journal:>10.2}{one:>12.2}{two:>12.2}{four:>12.2}   of copy's speed, medians",
        "", 1.0
    ));
    run(&mut sql, "drop table contender; truncate citizens").await
}

/// How librdkafka is to write.
struct Guarantee {
    name: &'static str,
    properties: &'static [(&'static str, &'static str)],
    transactions: bool,
}

const GUARANTEES: [Guarantee; 4] = [
    Guarantee { name: "acks=1", properties: &[("acks", "1"), ("max.in.flight", "1")], transactions: false },
    Guarantee {
        name: "acks=all, in order",
        properties: &[("acks", "all"), ("max.in.flight", "1")],
        transactions: false,
    },
    Guarantee { name: "idempotent", properties: &[("enable.idempotence", "true")], transactions: false },
    Guarantee { name: "transactions of 4", properties: &[("transactional.id", "bench")], transactions: true },
];

/// The bytes in messages, with one guarantee after the other.
async fn publishing(brokers: &str, bytes: &[u8], rounds: usize) -> Outcome<()> {
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", brokers)
        .set("compression.type", "lz4")
        .set("message.max.bytes", "1000000");
    let administrator: AdminClient<DefaultClientContext> = client.create()?;
    let topic = format!("tarmac_bench_{}_publishing", std::process::id());
    let new = NewTopic::new(&topic, PARTITIONS as i32, TopicReplication::Fixed(1));
    for made in administrator.create_topics([&new], &AdminOptions::new()).await? {
        made.map_err(|(name, code)| format!("{name}: {code}"))?;
    }
    let megabytes = bytes.len() as f64 / 1e6;
    print(format_args!(
        "\npublishing {megabytes:.0} MB in messages of {MESSAGE_BYTES} bytes by librdkafka alone; MB/s"
    ));
    let mut speeds: [Vec<f64>; 4] = Default::default();
    for round in 0..=2 * rounds {
        for (guarantee, speeds) in GUARANTEES.iter().zip(&mut speeds) {
            let mut client = client.clone();
            guarantee.properties.iter().for_each(|(name, value)| {
                client.set(*name, *value);
            });
            let seconds = publish(&client.create()?, &topic, bytes, guarantee.transactions)?.as_secs_f64();
            // The first round warms up.
            if round > 0 {
                speeds.push(megabytes / seconds);
            }
        }
    }
    let [one, all, ..] = speeds.each_mut().map(|speeds| median(speeds));
    for (guarantee, speeds) in GUARANTEES.iter().zip(&mut speeds) {
        let speed = median(speeds);
        print(format_args!(
            "{:<20}{speed:>8.0}{:>+8.0} % against acks=all in order{:>+8.0} % against acks=1",
            guarantee.name,
            (speed / all - 1.0) * 100.0,
            (speed / one - 1.0) * 100.0
        ));
    }
    administrator.delete_topics(&[&topic], &AdminOptions::new()).await?;
    Ok(())
}

fn publish(producer: &BaseProducer, topic: &str, bytes: &[u8], transactions: bool) -> Outcome<Duration> {
    // The first message waits for connections and for the producer's id, which is not what is compared.
    if transactions {
        producer.init_transactions(ANSWER)?;
        producer.begin_transaction()?;
    }
    send(producer, topic, b"first")?;
    delivered(producer);
    if transactions {
        producer.commit_transaction(ANSWER)?;
    }
    let started = Instant::now();
    let messages: Vec<_> = bytes.chunks(MESSAGE_BYTES).collect();
    for batch in messages.chunks(TRANSACTION_MESSAGES) {
        if transactions {
            producer.begin_transaction()?;
        }
        for message in batch {
            send(producer, topic, message)?;
        }
        if transactions {
            delivered(producer);
            producer.commit_transaction(ANSWER)?;
        }
    }
    delivered(producer);
    Ok(started.elapsed())
}

fn send(producer: &BaseProducer, topic: &str, message: &[u8]) -> Outcome<()> {
    producer.send(BaseRecord::<(), [u8]>::to(topic).payload(message)).map_err(|(error, _)| error.into())
}

/// Waits for the broker's answers, as closely as Tarmac does: to flush would look every 100 ms only.
fn delivered(producer: &BaseProducer) {
    while producer.in_flight_count() > 0 {
        producer.poll(Duration::from_millis(1));
    }
}

/// The peak of a process that loads nothing, with a worker beside it that does.
async fn memory(database: &Database, brokers: &str, directory: &Path, rows: u64) -> Outcome<()> {
    print(format_args!("\npeak memory of a process that receives and publishes, MB"));
    let settings = [("TARMAC_WORKER_LOADERS", "0")];
    let publisher = through_kafka(database, brokers, directory, "memory", &settings)?;
    let _loader = through_kafka(database, brokers, directory, "memory", &[("TARMAC_WORKER_IMPORTS", "0")])?;
    for rows in [rows, rows * 10] {
        let file = directory.join("memory.csv");
        fixtures::citizens(rows, &file)?;
        upload(&publisher, "/imports", &file, rows).await?;
        print(format_args!("{rows:>12} citizens{:>8.0}", publisher.memory_mb("VmHWM")?));
    }
    Ok(())
}
