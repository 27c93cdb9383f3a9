//! The composition root: builds the parts, starts them, stops them in two steps.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use poem::listener::{Acceptor, Listener, TcpListener};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    api,
    archive::{Archive, ArchiveError},
    clock::Clock,
    config::Config,
    db::{Db, DbError, notify::Changes},
    transport::{Transport, journal::Journal},
    worker::Worker,
};

/// Why the service does not start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The database does not answer.
    #[error("opening the database")]
    Database(#[from] DbError),
    /// The archive cannot be opened.
    #[error("opening the archive")]
    Archive(#[from] ArchiveError),
    /// The address cannot be listened on, or the listener broke.
    #[error("serving {address}")]
    Serve {
        /// What was configured.
        address: SocketAddr,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

/// The parts that serving and working share.
#[derive(Debug, Clone)]
struct Parts {
    config: Arc<Config>,
    db: Db,
    archive: Archive,
    changes: Changes,
    transport: Arc<dyn Transport>,
}

impl Parts {
    async fn build(config: Config, stop: &CancellationToken) -> Result<Self, AppError> {
        let db = Db::connect(&config.database).await?;
        let archive = Archive::local(&config.archive.directory)?;
        let changes = Changes::listen(db.pool().clone(), stop.clone());
        let sample_bytes = config.ingest.record_bytes as u64;
        let claim = Duration::from_millis(config.worker.lease_ms);
        let journal = Journal::new(db.clone(), archive.clone(), changes.clone(), sample_bytes, claim);
        let transport = Arc::new(journal);
        Ok(Self { config: Arc::new(config), db, archive, changes, transport })
    }

    fn start_worker(&self, stop: &CancellationToken) -> TaskTracker {
        let Self { config, db, archive, changes, transport } = self.clone();
        Worker { db, archive, transport, changes, config }.start(stop)
    }

    async fn stop(self, worker: Option<TaskTracker>) {
        if let Some(worker) = worker {
            let grace = Duration::from_secs(self.config.server.shutdown_seconds);
            if tokio::time::timeout(grace, worker.wait()).await.is_err() {
                tracing::warn!("some work did not end in time; it will be done again");
            }
        }
        self.db.close().await;
    }
}

/// Serves until `stop` is cancelled, then drains. `bound` is told the address, which matters with port 0.
pub async fn serve(
    config: Config,
    clock: Clock,
    with_worker: bool,
    stop: CancellationToken,
    bound: impl FnOnce(SocketAddr),
) -> Result<(), AppError> {
    let address = config.server.address;
    let failed = |source| AppError::Serve { address, source };
    let acceptor = TcpListener::bind(address).into_acceptor().await.map_err(failed)?;
    let local =
        acceptor.local_addr().first().and_then(|local| local.as_socket_addr().copied()).unwrap_or(address);
    let parts = Parts::build(config, &stop).await?;
    let worker = with_worker.then(|| parts.start_worker(&stop));
    let grace = Duration::from_secs(parts.config.server.shutdown_seconds);
    let Parts { config, db, archive, changes, transport } = parts.clone();
    let endpoint =
        api::endpoint(api::Context { db, config, clock, archive, transport, changes, address: local });
    bound(local);
    let served = poem::Server::new_with_acceptor(acceptor)
        .run_with_graceful_shutdown(endpoint, stop.clone().cancelled_owned(), Some(grace))
        .await
        .map_err(failed);
    // A listener that broke takes the worker with it.
    stop.cancel();
    parts.stop(worker).await;
    served
}

/// Loads chunks until `stop` is cancelled, then lets go of what it holds.
pub async fn work(config: Config, stop: CancellationToken) -> Result<(), AppError> {
    let parts = Parts::build(config, &stop).await?;
    let worker = parts.start_worker(&stop);
    worker.wait().await;
    parts.stop(None).await;
    Ok(())
}
