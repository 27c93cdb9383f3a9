//! Apache Kafka as the transport: messages carry the chunks' bytes, so that any machine can load them.
//!
//! Publishing is idempotent and transactional, reading `read_committed`: duplicates are rare. They are harmless because of
//! the ledger, not because of that. An offset is committed after the database has committed what came before it.
//!
//! A transactional id belongs to an import, not to a process: whoever leads an import next thereby ends what its
//! predecessor left open. The consumer group spreads partitions over all subscribers, wherever they run.

mod consumer;
mod error;
mod message;
mod progress;
mod publisher;
mod settings;
mod subscriber;
mod topics;

use std::sync::Arc;

use async_trait::async_trait;
use rdkafka::producer::FutureProducer;

use error::ClientErrors;
pub use error::{Cause, KafkaFailure};
use publisher::KafkaPublisher;
use settings::Settings;
use subscriber::KafkaSubscriber;
use topics::Topics;

use super::{Publisher, Subscriber, Transport, TransportError};
use crate::config;

/// The cluster. Cheap to clone.
#[derive(Clone)]
pub struct Kafka {
    settings: Arc<Settings>,
    client_errors: ClientErrors,
    topics: Topics,
    dead_letters: FutureProducer<ClientErrors>,
}

impl std::fmt::Debug for Kafka {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Kafka").field("settings", &self.settings).finish_non_exhaustive()
    }
}

impl Kafka {
    /// Waits for nobody: a broker that is away is no reason not to start. Fails when librdkafka does not take the
    /// properties.
    pub fn new(kafka: &config::Kafka, ingest: &config::Ingest) -> Result<Self, KafkaFailure> {
        let settings = Arc::new(Settings::new(kafka, ingest));
        settings.check()?;
        let client_errors = ClientErrors::default();
        let dead_letters: FutureProducer<ClientErrors> = settings
            .dead_letter_producer()
            .create_with_context(client_errors.clone())
            .map_err(KafkaFailure::properties)?;
        let topics = Topics::new(Arc::clone(&settings), client_errors.clone(), dead_letters.clone())?;
        Ok(Self { settings, client_errors, topics, dead_letters })
    }
}

#[async_trait]
impl Transport for Kafka {
    fn publisher(&self, import_id: i64) -> Box<dyn Publisher> {
        Box::new(KafkaPublisher::new(self.clone(), import_id))
    }

    fn subscriber(&self, by: String) -> Box<dyn Subscriber> {
        Box::new(KafkaSubscriber::new(self.clone(), by))
    }

    async fn prepare(&self) -> Result<(), TransportError> {
        self.topics.prepare().await?;
        Ok(())
    }

    async fn check(&self) -> Result<(), TransportError> {
        self.topics.inspect().await?;
        Ok(())
    }
}
