//! Goes on with removing the rows of imports that were undone or ended badly.

use tokio_util::sync::CancellationToken;

use super::{LOOK_AGAIN, Worker, backoff};
use crate::{
    db::{notify::Topic, removals},
    ingest::{
        IngestError,
        removal::{self, Step},
    },
};

pub(super) async fn run(worker: Worker, stop: CancellationToken) {
    let mut watch = worker.changes.watch(Topic::Imports);
    let mut failures = 0;
    loop {
        let round = async {
            match round(&worker).await {
                Ok(Step::More) => failures = 0,
                Ok(_) => {
                    failures = 0;
                    watch.changed(LOOK_AGAIN).await;
                }
                Err(error) => {
                    failures += 1;
                    tracing::warn!(error = &error as &dyn std::error::Error, "removing an import must wait");
                    tokio::time::sleep(backoff(failures)).await;
                }
            }
        };
        if stop.run_until_cancelled(round).await.is_none() {
            return;
        }
    }
}

/// One step of each removal; one that fails does not keep the others.
async fn round(worker: &Worker) -> Result<Step, IngestError> {
    let mut went_on = Ok(Step::Finished);
    for import_id in removals::open(&worker.db).await? {
        match removal::step(&worker.db, &worker.archive, import_id).await {
            Ok(Step::More) if went_on.is_ok() => went_on = Ok(Step::More),
            Ok(_) => {}
            Err(error) => went_on = Err(error),
        }
    }
    went_on
}
