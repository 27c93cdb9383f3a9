//! Retention on its schedule, by one process at a time.

use std::time::Duration;

use chrono::TimeDelta;
use tokio_util::sync::CancellationToken;

use super::Worker;
use crate::{
    clock::Clock,
    db::retention::Lock,
    retention::{Retention, RetentionError},
};

pub(super) async fn run(worker: Worker, stop: CancellationToken) {
    let every = Duration::from_secs(worker.config.retention.every_seconds);
    let days = TimeDelta::days(worker.config.retention.days.into());
    let Worker { db, archive, long_term, changes, .. } = worker;
    let retention = Retention { db, archive, long_term, changes, clock: Clock::System };
    loop {
        // It may be interrupted anywhere, and begins again where it was.
        let round = async {
            tokio::time::sleep(every).await;
            retain(&retention, days).await
        };
        match stop.run_until_cancelled(round).await {
            None => return,
            Some(Ok(())) => {}
            Some(Err(error)) => {
                let error = &error as &dyn std::error::Error;
                tracing::warn!(error, "retention stopped early; it goes on next time");
            }
        }
    }
}

async fn retain(retention: &Retention, days: TimeDelta) -> Result<(), RetentionError> {
    let Some(mut lock) = Lock::try_take(&retention.db).await? else { return Ok(()) };
    let now = retention.clock.now();
    if retention.long_term.is_some() {
        retention.offload(now - days, &mut lock).await?;
    }
    retention.sweep(now, &mut lock).await?;
    Ok(())
}
