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
                (true, _) => {}
                (false, None) => {
                    failures = 0;
                    watch.changed(LOOK_AGAIN).await;
                }
                (false, Some(error)) => {
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

/// One step of each removal: whether there is more to do at once, and why one of them failed. That does not keep the others.
async fn round(worker: &Worker) -> (bool, Option<IngestError>) {
    let open = match removals::open(&worker.db).await {
        Ok(open) => open,
        Err(error) => return (false, Some(error.into())),
    };
    let (mut more, mut failure) = (false, None);
    for import_id in open {
        match removal::step(&worker.db, &worker.archive, import_id).await {
            Ok(step) => more |= step == Step::More,
            Err(error) => failure = Some(error),
        }
    }
    (more, failure)
}
