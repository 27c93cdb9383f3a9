//! How chunks travel from who cuts them to who loads them.
//!
//! Delivery is at least once: a chunk that is not acknowledged comes again, maybe elsewhere, maybe twice. The ledger makes
//! that harmless, so a transport owes nothing but not to lose a chunk that [`Publisher::publish`] has returned for.

pub mod journal;
pub mod kafka;

use std::{
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use async_trait::async_trait;
use bytes::Bytes;
use serde::{Deserialize, Serialize};

use self::kafka::KafkaFailure;
pub use crate::db::consumers::Partition;
use crate::{archive::ArchiveError, db::DbError, trace};

/// A piece of a plain CSV file: whole records, or one record that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Chunk {
    /// Whose it is.
    pub import_id: i64,
    /// The import's epoch when it was published; loading checks it.
    pub epoch: i32,
    /// Its place in the import, from 0, through all files.
    pub chunk_no: i64,
    /// Which file it is of.
    pub file_no: i32,
    /// The archive's object with the file.
    pub object: String,
    /// Where in the file it begins.
    pub byte_offset: u64,
    /// How long it is.
    pub byte_len: u64,
    /// Row of its first record, from 1, through all files.
    pub first_row: i64,
    /// Line of its first byte, from 1, in its file.
    pub first_line: i64,
    /// Set when the chunk is a single record that is not to be parsed.
    pub broken: Option<Broken>,
    /// The trace the upload belongs to (W3C Trace Context).
    #[serde(default)]
    pub traceparent: Option<String>,
}

impl Chunk {
    /// What is done with the chunk: whatever is logged within says whose it is, and it is a part of the upload's trace.
    pub fn span(&self) -> tracing::Span {
        let span = tracing::info_span!("chunk", import = self.import_id, chunk = self.chunk_no);
        trace::adopt(&span, self.traceparent.as_deref());
        span
    }
}

/// Why a record cannot be parsed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Broken {
    /// Longer than the limit.
    TooLong,
    /// A quote is opened and never closed.
    UnclosedQuote,
}

/// A chunk on its way to be loaded.
#[derive(Debug)]
pub struct Delivery {
    /// What it is.
    pub chunk: Chunk,
    /// Its bytes; of a broken record the first ones. Should they be lost, that is the chunk's fault and not the transport's:
    /// the consumer decides what becomes of it.
    pub bytes: Result<Bytes, ArchiveError>,
    /// Which time it is delivered, from 1; a transport may begin to count anew when the chunk goes to another subscriber.
    pub attempt: i32,
    /// What its subscriber knows it by.
    pub receipt: u64,
}

/// Why a transport did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// The database.
    #[error(transparent)]
    Database(#[from] DbError),
    /// Kafka.
    #[error(transparent)]
    Kafka(#[from] KafkaFailure),
    /// The import does not run in the epoch of its chunks.
    #[error("the import is in other hands")]
    Fenced,
}

/// Who cuts.
#[async_trait]
pub trait Publisher: Send + Sync + std::fmt::Debug {
    /// Publishes chunks of one import with their bytes, all or none, and returns when they cannot be lost any more.
    /// Publishing one again, in the same or a later epoch, is harmless.
    async fn publish(&mut self, chunks: &[(Chunk, Bytes)]) -> Result<(), TransportError>;
}

/// The partitions that a subscriber takes chunks from at the moment, for whoever asks meanwhile. None where all take from the same.
#[derive(Debug, Clone, Default)]
pub struct AssignedPartitions(Arc<Mutex<Vec<Partition>>>);

impl AssignedPartitions {
    /// As it was last known.
    pub fn get(&self) -> Vec<Partition> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set(&self, partitions: Vec<Partition>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = partitions;
    }
}

/// Gives chunks to a consumer. Each consumer has its own.
#[async_trait]
pub trait Subscriber: Send + std::fmt::Debug {
    /// Waits for the next chunk. Others may be in hand; who breaks off the waiting closes the subscriber.
    async fn receive(&mut self) -> Result<Delivery, TransportError>;

    /// The next chunk, if it is there already. After an error nothing else that is in hand can be settled: it comes again.
    async fn try_receive(&mut self) -> Result<Option<Delivery>, TransportError>;

    /// The chunk is dealt with.
    async fn acknowledge(&mut self, delivery: &Delivery) -> Result<(), TransportError>;

    /// The chunk shall come again after `delay`.
    async fn retry(&mut self, delivery: &Delivery, delay: Duration) -> Result<(), TransportError>;

    /// The chunk can never be loaded, for this reason: it is dealt with, and kept aside where the transport has a place.
    async fn dead_letter(&mut self, delivery: &Delivery, reason: &str) -> Result<(), TransportError>;

    /// Hands back whatever was received and not dealt with: others can have it at once. It may receive again later.
    async fn close(&mut self) -> Result<(), TransportError>;

    /// The partitions it takes chunks from, kept up to date.
    fn assigned_partitions(&self) -> AssignedPartitions {
        AssignedPartitions::default()
    }
}

/// Makes publishers and subscribers: what the configuration chooses.
#[async_trait]
pub trait Transport: Send + Sync + std::fmt::Debug {
    /// A publisher of an import's chunks. Making a second one may put an end to the first.
    fn publisher(&self, import_id: i64) -> Box<dyn Publisher>;
    /// A subscriber named `by`, unique among all processes.
    fn subscriber(&self, by: String) -> Box<dyn Subscriber>;

    /// Creates what chunks need to travel, where it is missing, and checks whether they can travel now.
    async fn prepare(&self) -> Result<(), TransportError> {
        self.check().await
    }

    /// Whether chunks can travel now. Creates nothing, because any client can cause this check.
    async fn check(&self) -> Result<(), TransportError>;
}
