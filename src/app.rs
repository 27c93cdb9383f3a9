//! The composition root: builds the parts, starts them, stops them in two steps.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use tokio::{net::TcpListener, sync::Semaphore};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    api::{self, server::TlsError},
    archive::{Archive, ArchiveError},
    clock::Clock,
    config::{Config, TransportKind},
    db::{Db, DbError, notify::Changes},
    log::{Lost, Shown},
    meter::Meter,
    retention::Keeper,
    transport::{Transport, TransportError, journal::Journal, kafka::Kafka},
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
    /// Whoever reaches the address could do everything.
    #[error(
        "not serving {address} without keys: set auth.required = true, or auth.open = true to let anyone do everything"
    )]
    Open {
        /// What was configured.
        address: SocketAddr,
    },
    /// TLS cannot be had.
    #[error("preparing TLS")]
    Tls(#[from] TlsError),
    /// The transport cannot be made as it is configured.
    #[error("making the transport")]
    Transport(#[from] TransportError),
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
    long_term: Option<Archive>,
    changes: Changes,
    transport: Arc<dyn Transport>,
    meter: Meter,
}

impl Parts {
    async fn build(config: Config, lost: Lost, stop: &CancellationToken) -> Result<Self, AppError> {
        let meter = Meter::new(lost);
        let db = Db::connect(&config.database).await?;
        let (archive, long_term) = archives(&config)?;
        let archive = archive.metered(&meter);
        let changes = Changes::listen(db.pool().clone(), stop.clone());
        let transport: Arc<dyn Transport> = match config.transport.kind {
            TransportKind::Journal => {
                let sample_bytes = config.ingest.record_bytes as u64;
                let claim = Duration::from_millis(config.worker.lease_ms);
                Arc::new(Journal::new(db.clone(), archive.clone(), changes.clone(), sample_bytes, claim))
            }
            TransportKind::Kafka => {
                Arc::new(Kafka::new(&config.kafka, &config.ingest).map_err(TransportError::from)?)
            }
        };
        tokio::spawn(say_whether_chunks_travel(Arc::clone(&transport)));
        Ok(Self { config: Arc::new(config), db, archive, long_term, changes, transport, meter })
    }

    fn start_worker(&self, stop: &CancellationToken) -> TaskTracker {
        let Self { config, db, archive, long_term, changes, transport, meter } = self.clone();
        Worker { db, archive, long_term, transport, changes, config, meter }.start(stop)
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

/// The archive, and the long-term one if there is one.
fn archives(config: &Config) -> Result<(Archive, Option<Archive>), ArchiveError> {
    let has_long_term = !config.long_term.url.is_empty();
    let long_term = has_long_term.then(|| Archive::open(&config.long_term)).transpose()?;
    Ok((Archive::open(&config.archive)?, long_term))
}

/// What moves imports away and brings them back, for the command line.
pub async fn keeper(config: &Config, clock: Clock, stop: &CancellationToken) -> Result<Keeper, AppError> {
    let db = Db::connect(&config.database).await?;
    let (archive, long_term) = archives(config)?;
    let changes = Changes::listen(db.pool().clone(), stop.clone());
    Ok(Keeper { db, archive, long_term, changes, clock })
}

/// At the start, for the log: work waits for a transport that is away, and uploads are accepted all the same.
async fn say_whether_chunks_travel(transport: Arc<dyn Transport>) {
    if let Err(error) = transport.check().await {
        let error = &error as &dyn std::error::Error;
        tracing::error!(error, "chunks cannot travel; uploads are kept until they can");
    }
}

/// Serves until `stop` is cancelled, then drains. `shown` is what the API shows of the log; `bound` is told the address, which
/// matters with port 0.
pub async fn serve(
    config: Config,
    clock: Clock,
    with_worker: bool,
    shown: Shown,
    stop: CancellationToken,
    bound: impl FnOnce(SocketAddr),
) -> Result<(), AppError> {
    let address = config.server.address;
    if !config.auth.required && !address.ip().is_loopback() {
        if !config.auth.open {
            return Err(AppError::Open { address });
        }
        tracing::warn!(%address, "no keys are required: whoever reaches this address may do everything");
    }
    let failed = |source| AppError::Serve { address, source };
    let tls = api::server::tls(&config.server)?;
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let local = listener.local_addr().map_err(failed)?;
    let Shown { recent, lost } = shown;
    let parts = Parts::build(config, lost, &stop).await?;
    let worker = with_worker.then(|| parts.start_worker(&stop));
    let grace = Duration::from_secs(parts.config.server.shutdown_seconds);
    let Parts { config, db, archive, changes, transport, meter, .. } = parts.clone();
    let limits = config.limits.clone();
    let uploads = Arc::new(Semaphore::new(limits.uploads));
    let stopping = stop.clone();
    let context = api::Context {
        db,
        config,
        clock,
        archive,
        transport,
        changes,
        uploads,
        recent,
        meter,
        stopping,
        address: local,
    };
    let endpoint = api::endpoint(context);
    bound(local);
    let served =
        api::server::serve(listener, tls, endpoint, &limits, stop.clone(), grace).await.map_err(failed);
    // A listener that broke takes the worker with it.
    stop.cancel();
    parts.stop(worker).await;
    served
}

/// Loads chunks until `stop` is cancelled, then lets go of what it holds.
pub async fn work(config: Config, stop: CancellationToken) -> Result<(), AppError> {
    let parts = Parts::build(config, Lost::default(), &stop).await?;
    let worker = parts.start_worker(&stop);
    worker.wait().await;
    parts.stop(None).await;
    Ok(())
}
