//! A driver: takes an import nobody leads, leads it to its end, takes the next.

use std::{sync::Arc, time::Duration};

use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{LOOK_AGAIN, Worker, backoff};
use crate::{
    db::{
        Db,
        imports::{self, Import, ImportError},
        leases,
        notify::Topic,
    },
    ingest::{IngestError, drive::Driver, finish},
    trace,
};

pub(super) async fn run(worker: Worker, owner: String, stop: CancellationToken) {
    let lease = Duration::from_millis(worker.config.worker.lease_ms);
    let driver = Driver {
        db: worker.db.clone(),
        archive: worker.archive.clone(),
        transport: Arc::clone(&worker.transport),
        changes: worker.changes.clone(),
        limits: worker.config.ingest.clone(),
    };
    let mut watch = worker.changes.watch(Topic::Imports);
    while !stop.is_cancelled() {
        let claimed = match leases::claim(&worker.db, &owner, lease, &worker.config.ingest).await {
            Ok(claimed) => claimed,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "could not look for imports");
                None
            }
        };
        let Some(id) = claimed else {
            tokio::select! {
                () = stop.cancelled() => {}
                () = watch.changed(LOOK_AGAIN) => {}
            }
            continue;
        };
        let led = async {
            tokio::select! {
                () = stop.cancelled() => {}
                () = keep_lease(&worker, id, &owner, lease) => {
                    tracing::warn!("lost the lease: another worker goes on");
                }
                () = lead(&driver, id, Duration::from_millis(worker.config.worker.stalled_ms)) => {}
            }
            if let Err(error) = leases::release(&worker.db, id, &owner).await {
                tracing::warn!(error = &error as &dyn std::error::Error, "could not release an import");
            }
        };
        let span = tracing::info_span!("import", import = id);
        trace::adopt(&span, traceparent(&worker.db, id).await.as_deref());
        led.instrument(span).await;
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

/// Leads the import until it has ended or is somebody else's. What a transport lost is published again after `patience`, and
/// should nobody be there to load it, at longer and longer intervals: what waits for them does not pile up.
async fn lead(driver: &Driver, id: i64, mut patience: Duration) {
    let mut attempt = 0;
    loop {
        let import = match imports::get(&driver.db, id).await {
            Ok(Some(import)) => import,
            Ok(None) => return,
            Err(error) => {
                attempt += 1;
                tracing::warn!(error = &error as &dyn std::error::Error, "could not read an import");
                tokio::time::sleep(backoff(attempt)).await;
                continue;
            }
        };
        let error = match driver.drive(&import, patience).await {
            Ok(()) | Err(IngestError::Fenced) => return,
            Err(error @ IngestError::Stalled(_)) => {
                tracing::warn!("{error}: what is missing is published again");
                patience = patience.saturating_mul(2);
                continue;
            }
            Err(error) => error,
        };
        attempt += 1;
        if error.is_passing() {
            tracing::warn!(error = &error as &dyn std::error::Error, "an import must wait");
        } else if let Err(error) = fail(driver, &import, error).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "could not fail an import");
        } else {
            return;
        }
        tokio::time::sleep(backoff(attempt)).await;
    }
}

async fn fail(driver: &Driver, import: &Import, error: IngestError) -> Result<(), IngestError> {
    let error = explain(error);
    finish::fail(&driver.db, &driver.archive, import.id, import.epoch, &error).await
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
