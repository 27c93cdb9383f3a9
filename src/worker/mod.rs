//! The work: coordinators lead imports, consumers store chunks, and a supervisor starts and stops the consumers. Any number of
//! processes may run them; the database says which process has what.

mod consumer;
mod coordinator;
mod removing;
mod retaining;
mod stuck_sessions;
mod supervisor;

use std::{iter::repeat_n, sync::Arc, time::Duration};

use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    archive::Archive,
    config::Config,
    db::{Db, leases::Reach, notify::Changes},
    metrics::Metrics,
    throttle::Throttle,
    transport::Transport,
};

/// For so many coordinators of all imports there is one that takes only small ones.
const SMALL_SHARE: usize = 2;
/// How long to wait at most before looking for work again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// The first and the longest wait before something that failed in passing is tried again.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(5));

/// What a worker works with.
#[derive(Debug, Clone)]
pub struct Worker {
    /// The database.
    pub db: Db,
    /// Where the bytes are.
    pub archive: Archive,
    /// Where they go when they are old; `None`: they stay.
    pub long_term: Option<Archive>,
    /// How chunks travel.
    pub transport: Arc<dyn Transport>,
    /// Wakes whoever waits for work.
    pub changes: Changes,
    /// All settings.
    pub config: Arc<Config>,
    /// Where chunks are counted.
    pub metrics: Metrics,
    /// Lets fewer chunks be stored while somebody reads.
    pub throttle: Throttle,
}

impl Worker {
    /// Starts coordinators and consumers, the look for stuck sessions, and, where imports are led, the removal of what was undone
    /// and retention, for these take the archive. All end after `stop`: each lets go of what it holds, so that another can go on at once.
    pub fn start(&self, stop: &CancellationToken) -> TaskTracker {
        let tasks = TaskTracker::new();
        // Unique among processes and over time: a lease of a process that is gone is nobody else's.
        let process = uuid::Uuid::now_v7();
        tasks.spawn(supervisor::run(self.clone(), process.to_string(), stop.clone()));
        let imports = self.config.worker.imports;
        // Whatever the large ones take, small imports go on.
        let reaches =
            repeat_n(Reach::All, imports).chain(repeat_n(Reach::Small, imports.div_ceil(SMALL_SHARE)));
        for (number, reach) in reaches.enumerate() {
            let owner = format!("{process}/coordinator/{number}");
            tasks.spawn(coordinator::run(self.clone(), owner, reach, stop.clone()));
        }
        tasks.spawn(stuck_sessions::run(self.clone(), stop.clone()));
        if self.config.worker.imports > 0 {
            tasks.spawn(removing::run(self.clone(), stop.clone()));
        }
        if self.config.worker.imports > 0 && self.config.retention.every_seconds > 0 {
            tasks.spawn(retaining::run(self.clone(), stop.clone()));
        }
        tasks.close();
        tasks
    }
}

/// How long to wait after the `attempt`th failure, from 1.
fn backoff(attempt: u32) -> Duration {
    let (first, longest) = BACKOFF;
    first.saturating_mul(1 << attempt.saturating_sub(1).min(10)).min(longest)
}
