//! The composition root: builds the parts, starts them, stops them in two steps.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use poem::{Endpoint, Response};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    api::{self, server::TlsError},
    archive::{Archive, ArchiveError},
    clock::Clock,
    config::{Config, TransportKind},
    db::{Db, DbError, notify::Changes},
    log::{Lost, Shown},
    metrics::Metrics,
    retention::Retention,
    throttle::Throttle,
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
    metrics: Metrics,
    throttle: Throttle,
}

impl Parts {
    async fn build(config: Config, lost: Lost, stop: &CancellationToken) -> Result<Self, AppError> {
        let metrics = Metrics::new(lost);
        let db = Db::connect(&config.database).await?;
        let (archive, long_term) = archives(&config)?;
        let archive = archive.metered(&metrics);
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
        let (config, throttle) = (Arc::new(config), Throttle::default());
        Ok(Self { config, db, archive, long_term, changes, transport, metrics, throttle })
    }

    fn start_worker(&self, stop: &CancellationToken) -> TaskTracker {
        let Self { config, db, archive, long_term, changes, transport, metrics, throttle } = self.clone();
        Worker { db, archive, long_term, transport, changes, config, metrics, throttle }.start(stop)
    }

    fn context(
        &self,
        clock: Clock,
        shown: Shown,
        stop: &CancellationToken,
        address: SocketAddr,
    ) -> api::Context {
        let Self { config, db, archive, changes, transport, metrics, throttle, .. } = self.clone();
        let limiter = api::Limiter::new(&config);
        let (recent, stopping) = (shown.recent, stop.clone());
        api::Context {
            db,
            config,
            clock,
            archive,
            transport,
            changes,
            limiter,
            recent,
            metrics,
            throttle,
            stopping,
            address,
        }
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
pub async fn retention(
    config: &Config,
    clock: Clock,
    stop: &CancellationToken,
) -> Result<Retention, AppError> {
    let db = Db::connect(&config.database).await?;
    let (archive, long_term) = archives(config)?;
    let changes = Changes::listen(db.pool().clone(), stop.clone());
    Ok(Retention { db, archive, long_term, changes, clock })
}

/// At the start, for the log: work waits for a transport that is away, and uploads are accepted all the same.
async fn say_whether_chunks_travel(transport: Arc<dyn Transport>) {
    if let Err(error) = transport.prepare().await {
        let error = &error as &dyn std::error::Error;
        tracing::error!(error, "chunks cannot travel; uploads are kept until they can");
    }
}

/// An address that is listened on, before anything is served there.
struct Port {
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    /// What was configured.
    wanted: SocketAddr,
    /// What it has become: another one when any port was wanted.
    address: SocketAddr,
}

impl Port {
    async fn open(config: &Config, wanted: SocketAddr) -> Result<Self, AppError> {
        if !config.auth.required && !wanted.ip().is_loopback() {
            if !config.auth.open {
                return Err(AppError::Open { address: wanted });
            }
            tracing::warn!(address = %wanted, "no keys are required: whoever reaches this address may do everything");
        }
        let failed = |source| AppError::Serve { address: wanted, source };
        let tls = api::server::tls(&config.server)?;
        let listener = TcpListener::bind(wanted).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        Ok(Self { listener, tls, wanted, address })
    }

    /// Serves until `stop` is cancelled, then drains.
    async fn serve(
        self,
        endpoint: impl Endpoint<Output = Response> + 'static,
        config: &Config,
        stop: &CancellationToken,
    ) -> Result<(), AppError> {
        let Self { listener, tls, wanted, .. } = self;
        let grace = Duration::from_secs(config.server.shutdown_seconds);
        let served = api::server::serve(listener, tls, endpoint, &config.limits, stop.clone(), grace).await;
        // A listener that broke takes the rest with it.
        stop.cancel();
        served.map_err(|source| AppError::Serve { address: wanted, source })
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
    let port = Port::open(&config, config.server.address).await?;
    let parts = Parts::build(config, shown.lost.clone(), &stop).await?;
    let worker = with_worker.then(|| parts.start_worker(&stop));
    let endpoint = api::endpoint(parts.context(clock, shown, &stop, port.address));
    bound(port.address);
    let served = port.serve(endpoint, &parts.config, &stop).await;
    parts.stop(worker).await;
    served
}

/// Loads chunks until `stop` is cancelled, then lets go of what it holds.
pub async fn work(config: Config, stop: CancellationToken) -> Result<(), AppError> {
    let parts = Parts::build(config, Lost::default(), &stop).await?;
    parts.start_worker(&stop).wait().await;
    parts.stop(None).await;
    Ok(())
}

/// The same for a worker that can be watched at an address; `bound` is told which it has become.
pub async fn work_at(
    address: SocketAddr,
    config: Config,
    clock: Clock,
    shown: Shown,
    stop: CancellationToken,
    bound: impl FnOnce(SocketAddr),
) -> Result<(), AppError> {
    let port = Port::open(&config, address).await?;
    let parts = Parts::build(config, shown.lost.clone(), &stop).await?;
    let worker = parts.start_worker(&stop);
    let endpoint = api::watching_endpoint(parts.context(clock, shown, &stop, port.address));
    bound(port.address);
    let watched = port.serve(endpoint, &parts.config, &stop).await;
    worker.wait().await;
    parts.stop(None).await;
    watched
}
