//! Topics of its own for each test, on a real broker.

use std::{
    collections::BTreeMap,
    sync::atomic::{AtomicBool, AtomicU32, Ordering},
    time::Duration,
};

use rdkafka::{
    ClientConfig, Offset, TopicPartitionList,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    consumer::{BaseConsumer, CommitMode, Consumer, StreamConsumer},
    message::{Header, Headers, Message, OwnedHeaders},
    producer::{BaseProducer, BaseRecord, FutureProducer, FutureRecord, Producer},
};

use super::wait::DEADLINE;

/// Enough to share among consumers, and soon made.
const PARTITIONS: &str = "4";

/// Two topics and a consumer group that no other test has. Deleted at the end of its test.
#[derive(Debug)]
pub(crate) struct Topics {
    /// What they are named after.
    pub(crate) application: String,
    brokers: String,
    used: AtomicBool,
}

/// The broker that tests use, without a password.
pub(crate) fn brokers() -> String {
    variable("TARMAC_TEST_KAFKA_BROKERS")
}

/// The same broker, where it asks for one.
pub(crate) fn sasl_brokers() -> String {
    variable("TARMAC_TEST_KAFKA_SASL_BROKERS")
}

fn variable(name: &str) -> String {
    std::env::var(name)
        .unwrap_or_else(|_| panic!("{name} must name a Kafka broker; `make test` brings one up"))
}

impl Topics {
    /// They are made when they are first used.
    pub(crate) fn new() -> Self {
        Self::on(brokers())
    }

    /// On a cluster that the test has for itself.
    pub(crate) fn on(brokers: String) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let application = format!("tarmac_test_{}_{number}", std::process::id());
        Self { application, brokers, used: AtomicBool::new(false) }
    }

    /// The topic of chunks.
    pub(crate) fn chunks(&self) -> String {
        format!("{}.chunks", self.application)
    }

    /// The topic of dead letters.
    pub(crate) fn dead_letters(&self) -> String {
        format!("{}.dead-letters", self.application)
    }

    /// What a service is told, to use them.
    pub(crate) fn settings(&self) -> [(&str, &str); 4] {
        self.used.store(true, Ordering::Relaxed);
        [
            ("transport.kind", "kafka"),
            ("kafka.brokers", &self.brokers),
            ("kafka.application", &self.application),
            ("kafka.partitions", PARTITIONS),
        ]
    }

    /// Puts a message on a topic, whatever it says.
    pub(crate) async fn send(&self, topic: &str, headers: &[(&str, &str)], payload: &str) {
        let producer: FutureProducer = self.client().create().expect("a client can be made");
        let headers = headers.iter().fold(OwnedHeaders::new(), |headers, &(key, value)| {
            headers.insert(Header { key, value: Some(value) })
        });
        let record = FutureRecord::<str, str>::to(topic).payload(payload).headers(headers);
        producer.send(record, DEADLINE).await.expect("the broker takes it");
    }

    /// How many messages, and markers of transactions, the topic of chunks holds.
    pub(crate) async fn published(&self) -> i64 {
        let (topic, client) = (self.chunks(), self.client());
        let counted = tokio::task::spawn_blocking(move || {
            let consumer: BaseConsumer = client.create().expect("a client can be made");
            let partitions = 0..PARTITIONS.parse().expect("a number");
            let ends = partitions.map(|partition| {
                let watermarks = consumer.fetch_watermarks(&topic, partition, Duration::from_secs(5));
                // The topic may be still to be made.
                watermarks.map_or(0, |(low, high)| high - low)
            });
            ends.sum()
        });
        counted.await.expect("no panic")
    }

    /// The first dead letters: payload and headers of each.
    pub(crate) async fn dead_lettered(&self, number: usize) -> Vec<(Vec<u8>, BTreeMap<String, String>)> {
        let consumer: StreamConsumer = self
            .client()
            .set("group.id", format!("{}.reader", self.application))
            .set("auto.offset.reset", "earliest")
            .create()
            .expect("a client can be made");
        consumer.subscribe(&[&self.dead_letters()]).expect("the name is a topic's");
        let mut letters = Vec::new();
        while letters.len() < number {
            let received = tokio::time::timeout(DEADLINE, consumer.recv()).await;
            let message = received.expect("a dead letter comes").expect("the broker answers");
            let headers = message.headers().into_iter().flat_map(Headers::iter).map(|header| {
                let value = String::from_utf8(header.value.unwrap_or_default().to_vec());
                (header.key.to_owned(), value.expect("headers are text"))
            });
            letters.push((message.payload().unwrap_or_default().to_vec(), headers.collect()));
        }
        letters
    }

    /// Makes the topic of chunks like this, and that of dead letters as it should be.
    pub(crate) async fn make(&self, partitions: i32, max_message_bytes: &str) {
        let (chunks, dead_letters) = (self.chunks(), self.dead_letters());
        let topic = |name, partitions, bytes| {
            NewTopic::new(name, partitions, TopicReplication::Fixed(1))
                .set("max.message.bytes", bytes)
                .set("retention.ms", "-1")
        };
        let topics = [topic(&chunks, partitions, max_message_bytes), topic(&dead_letters, 1, "4000000")];
        let made = self.administrator().create_topics(&topics, &options()).await.expect("the broker answers");
        made.into_iter().for_each(|topic| drop(topic.expect("the topic is new")));
    }

    /// Deletes a topic under whoever uses it.
    pub(crate) async fn delete(&self, topic: &str) {
        let deleted =
            self.administrator().delete_topics(&[topic], &options()).await.expect("the broker answers");
        deleted.into_iter().for_each(|topic| drop(topic.expect("the topic was there")));
    }

    /// Where every partition of the topic of chunks is to be read on by the consumer group; 0 before it was read.
    pub(crate) async fn committed(&self) -> Vec<i64> {
        let (consumer, partitions) = self.group();
        let committed = tokio::task::spawn_blocking(move || {
            consumer.committed_offsets(partitions, DEADLINE).expect("the broker answers")
        });
        let committed = committed.await.expect("no panic");
        let positions = committed.elements().into_iter().map(|partition| match partition.offset() {
            Offset::Offset(position) => position,
            _ => 0,
        });
        positions.collect()
    }

    /// Has the consumer group, which must have no members, read everything once more.
    pub(crate) async fn replay(&self) {
        let (consumer, mut partitions) = self.group();
        partitions.set_all_offsets(Offset::Offset(0)).expect("an offset");
        let committed = tokio::task::spawn_blocking(move || consumer.commit(&partitions, CommitMode::Sync));
        committed.await.expect("no panic").expect("the group has no members");
    }

    fn group(&self) -> (BaseConsumer, TopicPartitionList) {
        let consumer =
            self.client().set("group.id", &self.application).create().expect("a client can be made");
        let mut partitions = TopicPartitionList::new();
        partitions.add_partition_range(&self.chunks(), 0, PARTITIONS.parse::<i32>().expect("a number") - 1);
        (consumer, partitions)
    }

    /// Begins a transaction with a message on every partition of chunks; readers wait until it is ended, or for `patience`.
    pub(crate) async fn leave_a_transaction_open(&self, patience: Duration) -> BaseProducer {
        let mut client = self.client();
        client.set("transactional.id", format!("{}-foreign", self.application));
        client.set("transaction.timeout.ms", patience.as_millis().to_string());
        let topic = self.chunks();
        let opened = tokio::task::spawn_blocking(move || {
            let producer: BaseProducer = client.create().expect("a client can be made");
            producer.init_transactions(DEADLINE).expect("the broker answers");
            producer.begin_transaction().expect("there is none yet");
            for partition in 0..PARTITIONS.parse().expect("a number") {
                let record = BaseRecord::<str, str>::to(&topic).payload("never said").partition(partition);
                producer.send(record).expect("the queue is not full");
            }
            producer.flush(DEADLINE).expect("the broker takes it");
            producer
        });
        opened.await.expect("no panic")
    }

    fn administrator(&self) -> AdminClient<DefaultClientContext> {
        self.client().create().expect("a client can be made")
    }

    fn client(&self) -> ClientConfig {
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &self.brokers);
        client
    }
}

/// Enough time for a busy machine.
fn options() -> AdminOptions {
    let patience = Some(DEADLINE);
    AdminOptions::new().request_timeout(patience).operation_timeout(patience)
}

impl Drop for Topics {
    fn drop(&mut self) {
        // On brokers of the test's own, they go with these.
        if !self.used.load(Ordering::Relaxed) || self.brokers != brokers() {
            return;
        }
        let topics = [self.chunks(), self.dead_letters()];
        let administrator = self.administrator();
        // The test's own runtime may be on its way out.
        let deleted = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            let names = topics.each_ref().map(String::as_str);
            runtime.expect("a runtime can be built").block_on(administrator.delete_topics(&names, &options()))
        });
        // Whatever went wrong, the test has its result already; the broker ends with the run.
        drop(deleted.join());
    }
}
