//! A coordinator takes an import nobody leads, leads it to its end, and takes the next. It gives back an import that must wait for
//! what others need not.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{LOOK_AGAIN, Worker, backoff};
use crate::{
    db::{
        Db,
        imports::{self, ImportError, State},
        leases::{self, Claimed, Reach},
        notify::Topic,
    },
    ingest::{IngestError, coordinator::Coordinator, finish},
    trace,
};

/// Why a coordinator lets go of an import.
enum Led {
    /// It has ended, or is stopped, or is somebody else's.
    Ended,
    /// Something that it needs, and others do not, is away.
    MustWait,
    /// The worker stops.
    Stopped,
}

pub(super) async fn run(worker: Worker, owner: String, reach: Reach, stop: CancellationToken) {
    let lease = Duration::from_millis(worker.config.worker.lease_ms);
    let coordinator = Coordinator {
        db: worker.db.clone(),
        archive: worker.archive.clone(),
        transport: Arc::clone(&worker.transport),
        changes: worker.changes.clone(),
        limits: worker.config.ingest.clone(),
    };
    let mut watch = worker.changes.watch(Topic::Imports);
    while !stop.is_cancelled() {
        let claimed = match leases::claim(&worker.db, &owner, lease, &worker.config.ingest, reach).await {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "could not look for imports");
                None
            }
        };
        let Some(claimed) = claimed else {
            tokio::select! {
                () = stop.cancelled() => {}
                () = watch.changed(LOOK_AGAIN) => {}
            }
            continue;
        };
        let id = claimed.id;
        let led = async {
            let led = tokio::select! {
                () = stop.cancelled() => Led::Stopped,
                () = keep_lease(&worker, id, &owner, lease) => {
                    tracing::warn!("lost the lease: another worker goes on");
                    Led::Ended
                }
                led = lead(&coordinator, &worker, claimed) => led,
            };
            let_go(&worker, claimed, &owner, led, &stop).await;
        };
        let span = tracing::info_span!("import", import = id);
        trace::adopt(&span, traceparent(&worker.db, id).await.as_deref());
        led.instrument(span).await;
    }
}

/// Says that nobody leads the import any more. While the database does not take it, the lease looks like that of a dead worker.
async fn let_go(worker: &Worker, claimed: Claimed, owner: &str, led: Led, stop: &CancellationToken) {
    let mut attempt = 0;
    loop {
        let db = &worker.db;
        let done = match led {
            Led::Ended => leases::release(db, claimed.id, owner).await,
            Led::Stopped => leases::give_back(db, claimed.id, owner, None).await,
            Led::MustWait => {
                let waits = backoff(u32::try_from(claimed.waits).unwrap_or(0).saturating_add(1));
                leases::give_back(db, claimed.id, owner, Some(waits)).await
            }
        };
        let Err(error) = done else { return };
        tracing::warn!(error = &error as &dyn std::error::Error, "could not let go of an import");
        attempt += 1;
        if stop.run_until_cancelled(tokio::time::sleep(backoff(attempt))).await.is_none() {
            return;
        }
    }
}

/// The trace that the upload belongs to. Should the database not tell, whoever leads the import asks it again, and says so.
async fn traceparent(db: &Db, id: i64) -> Option<String> {
    imports::get(db, id).await.ok().flatten()?.traceparent
}

/// Returns when the lease is lost.
async fn keep_lease(worker: &Worker, id: i64, owner: &str, lease: Duration) {
    loop {
        tokio::time::sleep(lease / 3).await;
        match leases::renew(&worker.db, id, owner, lease).await {
            Ok(true) => {}
            Ok(false) => return,
            // The lease may run out meanwhile; the epoch protects the import then.
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "could not renew a lease");
            }
        }
    }
}

/// Leads the import until it has ended, is somebody else's, or must wait for what others need not. What a transport lost is published again after a while, and
/// should nobody be there to load it, at longer and longer intervals: what waits for them does not pile up.
async fn lead(coordinator: &Coordinator, worker: &Worker, claimed: Claimed) -> Led {
    let mut patience = Duration::from_millis(worker.config.worker.stalled_ms);
    let mut attempt = 0;
    loop {
        let error = match try_to_lead(coordinator, worker, claimed, patience).await {
            Ok(()) | Err(IngestError::Fenced) => return Led::Ended,
            Err(error @ IngestError::Stalled(_)) => {
                tracing::warn!("{error}: what is missing is published again");
                patience = patience.saturating_mul(2);
                continue;
            }
            Err(error) => error,
        };
        tracing::warn!(error = &error as &dyn std::error::Error, "an import must wait");
        // Others have less to unpack, or are of datasets that are known. For the database and for Kafka all would wait alike, and
        // while the import is kept, its chunks on their way are still worth loading.
        if matches!(error, IngestError::Archive(_) | IngestError::UnknownDataset(_)) {
            return Led::MustWait;
        }
        attempt += 1;
        tokio::time::sleep(backoff(attempt)).await;
    }
}

/// Leads the import, and fails it when it is at fault: an error says why neither was possible.
async fn try_to_lead(
    coordinator: &Coordinator,
    worker: &Worker,
    claimed: Claimed,
    patience: Duration,
) -> Result<(), IngestError> {
    let import = match imports::get(&coordinator.db, claimed.id).await? {
        Some(import) if import.state == State::Running => import,
        _ => return Err(IngestError::Fenced),
    };
    let led = if claimed.deaths < worker.config.worker.attempts {
        coordinator.lead(&import, patience).await
    } else {
        Err(deadly(claimed.deaths))
    };
    match led {
        Err(error) if !error.is_passing() && !matches!(error, IngestError::Fenced) => {
            finish::fail(&coordinator.db, &coordinator.archive, import.id, import.epoch, &explain(error))
                .await
        }
        led => led,
    }
}

/// An import that takes its workers with it is not tried for ever: all others would come to a stop with them.
fn deadly(deaths: i32) -> IngestError {
    let message = format!(
        "{deaths} workers in a row died, or fell silent, while they led the import, and loaded nothing more of it; \
         the operator finds why in their logs and in the system's"
    );
    IngestError::refused("workers_died", message)
}

/// What the import's owner is told of a failure that is not the file's: nothing of what is inside.
pub(super) fn explain(error: IngestError) -> ImportError {
    match error {
        IngestError::Refused(error) => error,
        IngestError::Archive(error) if error.is_missing() => ImportError {
            code: "missing_upload",
            message: "what was uploaded is no longer in the archive".to_owned(),
        },
        error => {
            tracing::error!(error = &error as &dyn std::error::Error, "an import fails");
            ImportError {
                code: "internal",
                message: "the service could not load the file; its log has the reason".to_owned(),
            }
        }
    }
}
