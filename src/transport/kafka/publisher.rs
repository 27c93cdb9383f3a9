//! The publishing side: batches of an import's chunks, each batch one transaction.

use std::time::{Duration, Instant};

use async_trait::async_trait;
use bytes::Bytes;
use rdkafka::{
    error::{KafkaError, RDKafkaErrorCode as Code},
    producer::{BaseProducer, BaseRecord, Producer},
};

use super::{
    Kafka, KafkaFailure,
    error::{ClientErrors, blocking},
    message,
};
use crate::transport::{Chunk, Publisher, TransportError};

/// How long a transaction may take to begin or to end: as long as the broker waits for it, and a little more.
const PATIENCE: Duration = Duration::from_secs(35);
/// Answers of a broker to wait for at most before transactions can begin: two are enough, unless brokers come and go.
const CONNECTIONS: usize = 4;
/// How often to look for answers.
const LOOK: Duration = Duration::from_millis(1);

/// Publishes the chunks of one import. Its producer is made with the first batch, and made anew after any error: nobody
/// knows then what became of the batch, and to publish it again is harmless.
pub(super) struct KafkaPublisher {
    kafka: Kafka,
    import_id: i64,
    producer: Option<ChunkProducer>,
}

impl std::fmt::Debug for KafkaPublisher {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KafkaPublisher").field("import_id", &self.import_id).finish_non_exhaustive()
    }
}

impl KafkaPublisher {
    pub(super) fn new(kafka: Kafka, import_id: i64) -> Self {
        Self { kafka, import_id, producer: None }
    }

    async fn open(&self) -> Result<ChunkProducer, KafkaFailure> {
        let partitions = self.kafka.topics.patiently().prepare().await?;
        let settings = self.kafka.settings.chunk_producer(self.import_id);
        let topic = self.kafka.settings.chunks.clone();
        let client_errors = self.kafka.client_errors.clone();
        blocking(move || {
            let producer =
                settings.create_with_context(client_errors.clone()).map_err(KafkaFailure::properties)?;
            let producer = ChunkProducer { producer, client_errors, topic, partitions };
            let begun = producer.connect().and_then(|()| producer.producer.init_transactions(PATIENCE));
            // Why it took too long is told only to who asks.
            producer.producer.poll(Duration::ZERO);
            begun.map_err(producer.client_errors.explain("beginning to publish"))?;
            Ok(producer)
        })
        .await
    }
}

impl Drop for KafkaPublisher {
    fn drop(&mut self) {
        // To end a client takes a moment, which no task should wait for.
        if let (Some(producer), Ok(runtime)) = (self.producer.take(), tokio::runtime::Handle::try_current()) {
            let span = tracing::Span::current();
            runtime.spawn_blocking(move || span.in_scope(|| drop(producer)));
        }
    }
}

#[async_trait]
impl Publisher for KafkaPublisher {
    async fn publish(&mut self, chunks: &[(Chunk, Bytes)]) -> Result<(), TransportError> {
        if chunks.iter().any(|(_, bytes)| bytes.len() > self.kafka.settings.chunk_bytes) {
            return Err(KafkaFailure::TooLong.into());
        }
        // Should nobody wait for the end of this, the transaction still comes to one.
        let producer = match self.producer.take() {
            Some(producer) => producer,
            None => self.open().await?,
        };
        let chunks = chunks.to_vec();
        self.producer = Some(blocking(move || producer.publish(&chunks).map(|()| producer)).await?);
        Ok(())
    }
}

struct ChunkProducer {
    producer: BaseProducer<ClientErrors>,
    client_errors: ClientErrors,
    topic: String,
    partitions: i32,
}

impl ChunkProducer {
    /// Asks until a broker answers that has an id. The connection by which a client learns of the brokers has none, and ends
    /// then; looking for the coordinator of transactions while there is no other, librdkafka pauses for half a second.
    fn connect(&self) -> Result<(), KafkaError> {
        for _ in 0..CONNECTIONS {
            let answer = self.producer.client().fetch_metadata(Some(&self.topic), PATIENCE)?;
            if answer.orig_broker_id() >= 0 {
                break;
            }
        }
        Ok(())
    }

    fn publish(&self, chunks: &[(Chunk, Bytes)]) -> Result<(), KafkaFailure> {
        let published = self.transact(chunks);
        if published.is_err() {
            // What is left open would keep readers of its partitions waiting until the broker ends it. One that is fenced,
            // or cannot be reached, has nothing to end.
            if let Err(error) = self.producer.abort_transaction(PATIENCE) {
                tracing::debug!(%error, "a transaction was not aborted");
            }
        }
        published.map_err(self.client_errors.explain("publishing chunks"))
    }

    fn transact(&self, chunks: &[(Chunk, Bytes)]) -> Result<(), KafkaError> {
        self.producer.begin_transaction()?;
        for (chunk, bytes) in chunks {
            self.send(chunk, bytes)?;
        }
        self.deliver();
        self.producer.commit_transaction(PATIENCE)
    }

    /// Waits until the broker has answered for every message. To commit would wait as well, but looks for answers every 100 ms
    /// only, which is longer than most transactions take.
    fn deliver(&self) {
        let deadline = Instant::now() + PATIENCE;
        while self.producer.in_flight_count() > 0 && Instant::now() < deadline {
            self.look();
        }
    }

    /// Takes in answers after a moment. The client can wait for them by itself, but spins through the last millisecond.
    fn look(&self) {
        std::thread::sleep(LOOK);
        self.producer.poll(Duration::ZERO);
    }

    /// Hands a message to the client; waits while its queue is full.
    fn send(&self, chunk: &Chunk, bytes: &Bytes) -> Result<(), KafkaError> {
        let key = message::key(chunk);
        // In turns: whatever their numbers, consumers get equal shares of an import.
        let partition = (chunk.import_id + chunk.chunk_no).rem_euclid(i64::from(self.partitions));
        let mut record = BaseRecord::to(&self.topic)
            .key(key.as_str())
            .payload(bytes.as_ref())
            .partition(i32::try_from(partition).unwrap_or(0))
            .headers(message::headers(chunk));
        let deadline = Instant::now() + PATIENCE;
        loop {
            record = match self.producer.send(record) {
                Err((KafkaError::MessageProduction(Code::QueueFull), record))
                    if Instant::now() < deadline =>
                {
                    record
                }
                sent => return sent.map_err(|(error, _)| error),
            };
            self.look();
        }
    }
}
