//! The engine, step by step: an import is led like a worker does, but a chunk is loaded when the test says so.

use std::{sync::Arc, time::Duration};

use tarmac::{
    archive::Archive,
    config::Config,
    db::{
        Db,
        imports::{self, Import},
        leases::{self, Reach},
        notify::Changes,
    },
    ingest::{
        IngestError,
        coordinator::Coordinator,
        load::{self, Loaded, Prepared},
    },
    log::Lost,
    metrics::Metrics,
    transport::{Delivery, Subscriber, Transport, journal::Journal},
};
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{
    App,
    wait::{DEADLINE, until},
};

/// Longer than any test.
const LEASE: Duration = Duration::from_secs(600);

/// A worker in slow motion.
pub(crate) struct Engine {
    /// The database.
    pub(crate) db: Db,
    config: Config,
    metrics: Metrics,
    archive: Archive,
    changes: Changes,
    /// The transport.
    pub(crate) journal: Journal,
    subscriber: Box<dyn Subscriber>,
    _stop: DropGuard,
}

impl Engine {
    /// Beside a service that has no worker.
    pub(crate) async fn beside(app: &App) -> Self {
        let config = app.config.clone();
        let stop = CancellationToken::new();
        let db = Db::connect(&config.database).await.expect("the database answers");
        let archive = Archive::open(&config.archive).expect("the archive is there");
        let changes = Changes::listen(db.pool().clone(), stop.clone());
        let sample_bytes = config.ingest.record_bytes as u64;
        let claim = Duration::from_millis(config.worker.lease_ms);
        let journal = Journal::new(db.clone(), archive.clone(), changes.clone(), sample_bytes, claim);
        let subscriber = journal.subscriber("the test".to_owned());
        Self {
            db,
            config,
            metrics: Metrics::new(Lost::default()),
            archive,
            changes,
            journal,
            subscriber,
            _stop: stop.drop_guard(),
        }
    }

    /// Takes the next import, which is running then.
    pub(crate) async fn claim(&self) -> Import {
        // Whoever led it before may be looking at it just now, and it is passed by then.
        let id = until("an import can be had", || async {
            leases::claim(&self.db, "the test", LEASE, &self.config.ingest, Reach::All)
                .await
                .expect("the database answers")
        })
        .await
        .id;
        imports::get(&self.db, id).await.expect("the database answers").expect("it is there")
    }

    /// Takes the next import and leads it to its end, in the background.
    pub(crate) async fn lead(&self) -> JoinHandle<Result<(), IngestError>> {
        let import = self.claim().await;
        let coordinator = Coordinator {
            db: self.db.clone(),
            archive: self.archive.clone(),
            transport: Arc::new(self.journal.clone()),
            changes: self.changes.clone(),
            limits: self.config.ingest.clone(),
        };
        tokio::spawn(async move { coordinator.lead(&import, LEASE).await })
    }

    /// Lets go of the import as a worker does that stops leading it.
    pub(crate) async fn release(&self, id: i64) {
        leases::give_back(&self.db, id, "the test", None).await.expect("the database answers");
    }

    /// The next chunk.
    pub(crate) async fn receive(&mut self) -> Delivery {
        let received = tokio::time::timeout(DEADLINE, self.subscriber.receive()).await;
        received.expect("a chunk comes").expect("the journal answers")
    }

    /// Loads a chunk without acknowledging it.
    pub(crate) async fn load(&self, delivery: &Delivery) -> Loaded {
        let rejects_kept = self.config.ingest.rejects_kept;
        let bytes = delivery.bytes.clone().expect("the archive has them");
        let prepared = load::prepare(&self.db, &delivery.chunk, bytes, &self.metrics).await;
        let ready = match prepared.expect("the chunk can be checked") {
            Prepared::Settled(loaded) => return loaded,
            Prepared::Ready(ready) => *ready,
        };
        let mut connection = self.db.acquire().await.expect("there is a connection");
        let loaded = load::store(&mut connection, rejects_kept, &delivery.chunk, ready, &self.metrics).await;
        loaded.expect("the chunk can be loaded")
    }

    /// Receives, loads and acknowledges one chunk.
    pub(crate) async fn step(&mut self) -> Loaded {
        let delivery = self.receive().await;
        let loaded = self.load(&delivery).await;
        self.subscriber.acknowledge(&delivery).await.expect("the journal answers");
        loaded
    }
}
