//! The properties of the clients: Tarmac's own, over them what the configuration says.

use rdkafka::{ClientConfig, consumer::BaseConsumer, producer::BaseProducer};

use super::KafkaFailure;
use crate::config::{self, Properties};

/// What a message may take beyond the chunk's bytes: its key, its headers, and what compression adds to bytes it cannot
/// compress.
const ENVELOPE_BYTES: usize = 16 << 10;

/// Names and sizes, derived once.
#[derive(Debug, Clone)]
pub(super) struct Settings {
    kafka: config::Kafka,
    /// The topic of the chunks.
    pub(super) chunks: String,
    /// The topic of what cannot be loaded.
    pub(super) dead_letters: String,
    /// Bytes of the longest chunk there can be.
    pub(super) chunk_bytes: usize,
    /// The longest message there can be.
    pub(super) message_bytes: usize,
}

impl Settings {
    pub(super) fn new(kafka: &config::Kafka, ingest: &config::Ingest) -> Self {
        let chunk_bytes = ingest.chunk_bytes.max(ingest.record_bytes);
        Self {
            chunks: format!("{}.chunks", kafka.application),
            dead_letters: format!("{}.dead-letters", kafka.application),
            chunk_bytes,
            message_bytes: chunk_bytes + ENVELOPE_BYTES,
            kafka: kafka.clone(),
        }
    }

    pub(super) fn topics(&self) -> &config::Kafka {
        &self.kafka
    }

    /// For questions, and for dead letters: idempotent, without transactions.
    pub(super) fn dead_letter_producer(&self) -> ClientConfig {
        let mut client = self.producer(&self.dead_letters);
        client.remove("transactional.id");
        client
    }

    /// A producer of one import's chunks. Whoever leads the import next has the same transactional id, so that the broker
    /// ends what this one left open and refuses whatever it still sends.
    pub(super) fn chunk_producer(&self, import_id: i64) -> ClientConfig {
        let mut client = self.producer(&self.chunks);
        let prefix = client.get("transactional.id").unwrap_or(&self.kafka.application);
        let id = format!("{prefix}-import-{import_id}");
        client.set("transactional.id", id);
        client
    }

    pub(super) fn administrator(&self) -> ClientConfig {
        self.client(&self.chunks)
    }

    fn producer(&self, topic: &str) -> ClientConfig {
        let mut client = self.client(topic);
        client
            .set("acks", "all")
            .set("enable.idempotence", "true")
            .set("retries", "2147483647")
            .set("max.in.flight.requests.per.connection", "5")
            .set("delivery.timeout.ms", "30000")
            .set("transaction.timeout.ms", "30000")
            .set("compression.type", "lz4")
            // Who publishes a batch waits for it: nothing comes that could go with it.
            .set("linger.ms", "0")
            .set("message.max.bytes", self.message_bytes.to_string());
        overlay(client, &self.kafka.producer)
    }

    pub(super) fn consumer(&self) -> ClientConfig {
        let mut client = self.client(&self.chunks);
        client
            .set("group.id", &self.kafka.application)
            .set("isolation.level", "read_committed")
            .set("enable.auto.commit", "false")
            .set("enable.auto.offset.store", "false")
            .set("auto.offset.reset", "earliest")
            .set("partition.assignment.strategy", "cooperative-sticky")
            // As long as a lease: a consumer that fell silent keeps its partitions no longer than a coordinator its import.
            .set("session.timeout.ms", "10000")
            // By its answer members hear that others came or went, which takes two rounds of it.
            .set("heartbeat.interval.ms", "1000")
            // How far behind it is.
            .set("statistics.interval.ms", "1000")
            // Chunks take memory: while one waits here, no other is fetched.
            .set("queued.max.messages.kbytes", "1024")
            // How often it is looked whether there is room again. By default once a second, and the workers would wait for that.
            .set("fetch.queue.backoff.ms", "10")
            .set("fetch.max.bytes", self.message_bytes.max(4 << 20).to_string());
        overlay(client, &self.kafka.consumer)
    }

    fn client(&self, topic: &str) -> ClientConfig {
        let mut client = ClientConfig::new();
        client
            .set("bootstrap.servers", &self.kafka.brokers)
            .set("client.id", format!("{}-{topic}", self.kafka.application))
            // Doubled with every attempt. A new client waits half of it before it connects to a broker it has just learnt of.
            .set("reconnect.backoff.ms", "20")
            // A broker that lost its power closes no connection. As long as a lease, too: by default a minute.
            .set("socket.timeout.ms", "10000")
            // Who leads its partitions instead is noticed, and so is a topic that is made anew.
            .set("topic.metadata.refresh.interval.ms", "10000");
        overlay(client, &self.kafka.properties)
    }

    /// Whether librdkafka makes clients of the properties that are made only when there is work: some it refuses together.
    pub(super) fn check(&self) -> Result<(), KafkaFailure> {
        self.chunk_producer(0).create::<BaseProducer>().map_err(KafkaFailure::properties)?;
        self.consumer().create::<BaseConsumer>().map_err(KafkaFailure::properties)?;
        Ok(())
    }
}

fn overlay(mut client: ClientConfig, properties: &Properties) -> ClientConfig {
    for (name, value) in &properties.0 {
        client.set(name, value);
    }
    client
}
