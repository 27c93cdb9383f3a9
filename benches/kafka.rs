//! What Kafka's guarantees cost, with a real broker beside it on one machine. How long imports take through it is among the contenders.
//!
//! `make bench`, or with servers of one's own:
//! `TARMAC_TEST_DATABASE_URL=postgres://… TARMAC_TEST_KAFKA_BROKERS=host:port cargo bench --bench kafka -- --rows 1000000 --rounds 3`
//!
//! - publishing: a file's bytes in messages of a chunk's size by librdkafka alone, first as cheaply as order allows, then with
//!   what Tarmac asks for. [KIP-98] measured 3 % for transactions of 100 ms against in-order `acks=all`, 20 % against
//!   `acks=1`
//! - memory: of a process that receives and publishes and loads nothing, with a file, and with one of ten times the rows
//!
//! [KIP-98]: https://cwiki.apache.org/confluence/display/KAFKA/KIP-98+-+Exactly+Once+Delivery+and+Transactional+Messaging

#[path = "support/fixtures.rs"]
mod fixtures;
#[path = "support/report.rs"]
mod report;
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

use report::Report;
use support::{
    Options, PATIENT, median,
    server::{Database, Outcome, Tarmac},
    upload,
};

/// As many bytes as a chunk of Tarmac's has; most of its transactions publish one.
const MESSAGE_BYTES: usize = 3 << 20;
/// What a message may take, by the clients and by the topic.
const MESSAGE_LIMIT: &str = "4000000";
/// What `tarmac.toml` says of the chunks' topic.
const PARTITIONS: i32 = 12;
const ANSWER: Duration = Duration::from_secs(30);

#[tokio::main(flavor = "current_thread")]
async fn main() -> Outcome<()> {
    let options = Options::read(1_000_000, 3)?;
    let brokers = std::env::var("TARMAC_TEST_KAFKA_BROKERS")
        .map_err(|_| "TARMAC_TEST_KAFKA_BROKERS is not set; make bench sets it")?;
    let directory = tempfile::tempdir()?;
    let file = directory.path().join("citizens.csv");
    fixtures::citizens(options.rows, &file)?;
    let database = Database::create().await?;
    let mut report = Report::new("kafka");
    publishing(&mut report, &brokers, &std::fs::read(&file)?, options.rounds).await?;
    memory(&mut report, &database, &brokers, directory.path(), options.rows / 10).await?;
    report.finish(None)
}

/// A service whose chunks travel through topics of its own.
fn through_kafka(
    database: &Database,
    brokers: &str,
    directory: &Path,
    settings: &[(&str, &str)],
) -> Outcome<Tarmac> {
    let application = format!("tarmac_bench_{}", std::process::id());
    let kafka = [
        ("TARMAC_TRANSPORT_KIND", "kafka"),
        ("TARMAC_KAFKA_BROKERS", brokers),
        ("TARMAC_KAFKA_APPLICATION", application.as_str()),
    ];
    Tarmac::start(&database.url, directory, &[&PATIENT[..], &kafka, settings].concat())
}

/// How librdkafka is to write.
struct Guarantee {
    name: &'static str,
    properties: &'static [(&'static str, &'static str)],
    transactions: bool,
}

const GUARANTEES: [Guarantee; 4] = [
    Guarantee {
        name: "`acks=1`, in order",
        properties: &[("acks", "1"), ("max.in.flight", "1")],
        transactions: false,
    },
    Guarantee {
        name: "`acks=all`, in order",
        properties: &[("acks", "all"), ("max.in.flight", "1")],
        transactions: false,
    },
    Guarantee { name: "idempotent", properties: &[("enable.idempotence", "true")], transactions: false },
    Guarantee {
        name: "a transaction a message",
        properties: &[("transactional.id", "bench")],
        transactions: true,
    },
];

/// The bytes in messages, with one guarantee after the other.
async fn publishing(report: &mut Report, brokers: &str, bytes: &[u8], rounds: usize) -> Outcome<()> {
    let mut client = ClientConfig::new();
    client
        .set("bootstrap.servers", brokers)
        .set("compression.type", "lz4")
        .set("message.max.bytes", MESSAGE_LIMIT);
    let administrator: AdminClient<DefaultClientContext> = client.create()?;
    let topic = format!("tarmac_bench_{}_publishing", std::process::id());
    let new =
        NewTopic::new(&topic, PARTITIONS, TopicReplication::Fixed(1)).set("max.message.bytes", MESSAGE_LIMIT);
    for made in administrator.create_topics([&new], &AdminOptions::new()).await? {
        made.map_err(|(name, code)| format!("{name}: {code}"))?;
    }
    let megabytes = bytes.len() as f64 / 1e6;
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
    let medians = speeds.each_mut().map(|speeds| median(speeds));
    let [one, all, ..] = medians;
    let lines: Vec<_> = GUARANTEES
        .iter()
        .zip(medians)
        .map(|(guarantee, speed)| {
            let against = |other: f64| format!("{:+.0} %", (speed / other - 1.0) * 100.0);
            vec![guarantee.name.to_owned(), format!("{speed:.0}"), against(one), against(all)]
        })
        .collect();
    report.say(format!(
        "{megabytes:.0} MB in messages of {MESSAGE_BYTES} bytes, compressed, to {PARTITIONS} partitions; {} rounds.",
        2 * rounds
    ));
    report.table(
        &["librdkafka alone", "MB/s, median", "against `acks=1`", "against `acks=all`, in order"],
        &lines,
    )?;
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
    for message in bytes.chunks(MESSAGE_BYTES) {
        if transactions {
            producer.begin_transaction()?;
        }
        send(producer, topic, message)?;
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
        std::thread::sleep(Duration::from_millis(1));
        producer.poll(Duration::ZERO);
    }
}

/// The peak of a process that loads nothing, with a worker beside it that does.
async fn memory(
    report: &mut Report,
    database: &Database,
    brokers: &str,
    directory: &Path,
    rows: u64,
) -> Outcome<()> {
    let publisher = through_kafka(database, brokers, directory, &[("TARMAC_WORKER_LOADERS", "0")])?;
    let _loader = through_kafka(database, brokers, directory, &[("TARMAC_WORKER_IMPORTS", "0")])?;
    let mut lines = Vec::new();
    for rows in [rows, rows * 10] {
        let file = directory.join("memory.csv");
        fixtures::citizens(rows, &file)?;
        upload(&publisher, "/imports", &file, rows).await?;
        lines.push(vec![rows.to_string(), format!("{:.0}", publisher.process.memory_mb("VmHWM")?)]);
    }
    report
        .say("A process that receives and publishes and loads nothing, with a worker beside it that loads.");
    report.table(&["citizens", "peak MB"], &lines)
}
