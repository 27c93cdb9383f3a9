//! Ends stuck sessions, so that processes that are frozen, or cut off, do not hold up the imports of others.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::Worker;
use crate::db::stuck_sessions::StuckSessions;

pub(super) async fn run(worker: Worker, stop: CancellationToken) {
    let between_looks = Duration::from_millis(worker.config.database.silent_ms);
    let mut stuck = StuckSessions::default();
    loop {
        let round = async {
            tokio::time::sleep(between_looks).await;
            stuck.look(&worker.db).await
        };
        match stop.run_until_cancelled(round).await {
            None => return,
            Some(Ok(0)) => {}
            Some(Ok(sessions)) => {
                tracing::warn!(
                    sessions,
                    "ended sessions whose process was silent in the middle of a statement"
                )
            }
            Some(Err(error)) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "could not look for stuck sessions");
            }
        }
    }
}
