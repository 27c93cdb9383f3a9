//! Goes on with removing the rows of imports that were undone or ended badly.

use std::{collections::HashMap, time::Instant};

use tokio_util::sync::CancellationToken;

use super::{LOOK_AGAIN, Worker, backoff};
use crate::{
    db::{notify::Topic, removals},
    ingest::removal::{self, Step},
};

/// The removals that must wait: how often each has failed, and until when it is left alone.
type Waiting = HashMap<i64, (u32, Instant)>;

pub(super) async fn run(worker: Worker, stop: CancellationToken) {
    let mut watch = worker.changes.watch(Topic::Imports);
    let mut waiting = Waiting::new();
    loop {
        let round = async {
            if !round(&worker, &mut waiting).await {
                watch.changed(LOOK_AGAIN).await;
            }
        };
        if stop.run_until_cancelled(round).await.is_none() {
            return;
        }
    }
}

/// One step of each removal: whether there is more to do at once. One that fails does not keep the others.
async fn round(worker: &Worker, waiting: &mut Waiting) -> bool {
    let open = match removals::open(&worker.db).await {
        Ok(open) => open,
        Err(error) => {
            tracing::warn!(error = &error as &dyn std::error::Error, "could not look for imports to remove");
            return false;
        }
    };
    waiting.retain(|import_id, _| open.contains(import_id));
    let mut more = false;
    for import_id in open {
        if waiting.get(&import_id).is_some_and(|(_, until)| Instant::now() < *until) {
            continue;
        }
        match removal::step(&worker.db, &worker.archive, import_id).await {
            Ok(step) => {
                waiting.remove(&import_id);
                more |= step == Step::More;
            }
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    import = import_id,
                    "removing an import must wait"
                );
                let failures = waiting.get(&import_id).map_or(0, |(failures, _)| *failures) + 1;
                waiting.insert(import_id, (failures, Instant::now() + backoff(failures)));
            }
        }
    }
    more
}
