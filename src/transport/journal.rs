//! The embedded transport: a table in the database that is there anyway. The bytes stay in the archive.

use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::{Chunk, Delivery, Publisher, Subscriber, Transport, TransportError};
use crate::{
    archive::Archive,
    db::{
        Db, journal,
        notify::{Changes, Topic, Watch},
    },
};

/// How long to sleep at most when nothing is announced: bounds what a lost notification costs.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// The journal.
#[derive(Debug, Clone)]
pub struct Journal {
    db: Db,
    archive: Archive,
    changes: Changes,
    sample_bytes: u64,
    claim: Duration,
}

impl Journal {
    /// A journal in `db` whose chunks are read from `archive`; of a broken record only `sample_bytes` are. A subscriber that
    /// takes longer than `claim` for a chunk must reckon with another one getting it too.
    pub fn new(db: Db, archive: Archive, changes: Changes, sample_bytes: u64, claim: Duration) -> Self {
        Self { db, archive, changes, sample_bytes, claim }
    }
}

#[async_trait]
impl Transport for Journal {
    async fn check(&self) -> Result<(), TransportError> {
        journal::depth(&self.db).await?;
        Ok(())
    }

    fn publisher(&self, _import_id: i64) -> Box<dyn Publisher> {
        Box::new(self.clone())
    }

    fn subscriber(&self, by: String) -> Box<dyn Subscriber> {
        Box::new(JournalSubscriber { journal: self.clone(), watch: self.changes.watch(Topic::Journal), by })
    }
}

#[async_trait]
impl Publisher for Journal {
    async fn publish(&mut self, chunks: &[(Chunk, Bytes)]) -> Result<(), TransportError> {
        let entries: Vec<_> = chunks
            .iter()
            .map(|(chunk, _)| journal::Entry {
                import_id: chunk.import_id,
                chunk_no: chunk.chunk_no,
                epoch: chunk.epoch,
                chunk,
            })
            .collect();
        if journal::publish(&self.db, &entries).await? { Ok(()) } else { Err(TransportError::Fenced) }
    }
}

#[derive(Debug)]
struct JournalSubscriber {
    journal: Journal,
    watch: Watch,
    by: String,
}

#[async_trait]
impl Subscriber for JournalSubscriber {
    async fn receive(&mut self) -> Result<Delivery, TransportError> {
        loop {
            if let Some(delivery) = self.try_receive().await? {
                return Ok(delivery);
            }
            self.watch.changed(LOOK_AGAIN).await;
        }
    }

    async fn try_receive(&mut self) -> Result<Option<Delivery>, TransportError> {
        let Journal { db, archive, sample_bytes, claim, .. } = &self.journal;
        let Some((chunk, attempt)) = journal::claim::<Chunk>(db, &self.by, *claim).await? else {
            return Ok(None);
        };
        let length = match chunk.broken {
            Some(_) => chunk.byte_len.min(*sample_bytes),
            None => chunk.byte_len,
        };
        let range = chunk.byte_offset..chunk.byte_offset + length;
        let bytes = archive.read(&chunk.object, range).await;
        // An entry is known by its chunk and by who claimed it.
        Ok(Some(Delivery { chunk, bytes, attempt, receipt: 0 }))
    }

    async fn acknowledge(&mut self, delivery: &Delivery) -> Result<(), TransportError> {
        let Chunk { import_id, chunk_no, .. } = delivery.chunk;
        journal::acknowledge(&self.journal.db, import_id, chunk_no, &self.by).await?;
        Ok(())
    }

    async fn retry(&mut self, delivery: &Delivery, delay: Duration) -> Result<(), TransportError> {
        let Chunk { import_id, chunk_no, .. } = delivery.chunk;
        journal::give_back(&self.journal.db, import_id, chunk_no, &self.by, delay).await?;
        Ok(())
    }

    async fn dead_letter(&mut self, delivery: &Delivery, _reason: &str) -> Result<(), TransportError> {
        // The bytes are in the archive.
        self.acknowledge(delivery).await
    }

    async fn close(&mut self) -> Result<(), TransportError> {
        journal::give_all_back(&self.journal.db, &self.by).await?;
        Ok(())
    }
}
