//! Keeps processes that are frozen, or cut off, from holding up the imports of others.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Worker;
use crate::db::silent;

pub(super) async fn run(worker: Worker, stop: CancellationToken) {
    let silent_ms = worker.config.database.silent_ms;
    loop {
        let round = async {
            tokio::time::sleep(Duration::from_millis(silent_ms)).await;
            silent::end(&worker.db, silent_ms).await
        };
        match stop.run_until_cancelled(round).await {
            None => return,
            Some(Ok(0)) => {}
            Some(Ok(sessions)) => {
                tracing::warn!(sessions, "ended sessions that were silent in the middle of a chunk")
            }
            Some(Err(error)) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "could not look for silent sessions"
                );
            }
        }
    }
}
