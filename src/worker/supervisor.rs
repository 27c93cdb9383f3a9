//! The supervisor of this process starts and stops its consumers: as many as its configuration says, and those added over the API
//! that no other process runs. What is wanted of each is in the database, so that any process may change it.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;

use super::{
    Worker,
    consumer::{self, Counted, Gauge},
};
use crate::{
    db::{
        DbError,
        consumers::{self, Desired, Report},
        notify::Topic,
    },
    transport::AssignedPartitions,
};

/// How often consumers give a sign of life, unless a lease is too short for that.
const BEAT: Duration = Duration::from_secs(1);
/// What throughput is measured over.
const WINDOW: Duration = Duration::from_secs(10);

/// A consumer at work.
struct Member {
    stop: CancellationToken,
    paused: watch::Sender<bool>,
    gauge: Arc<Gauge>,
    assigned: AssignedPartitions,
    /// Bytes loaded at moments of the last seconds.
    history: VecDeque<(Instant, i64)>,
    task: JoinHandle<()>,
}

impl Member {
    fn start(worker: &Worker, by: String, paused: bool) -> Self {
        let stop = CancellationToken::new();
        let (pausing, paused) = watch::channel(paused);
        let gauge = Arc::new(Gauge::default());
        let subscriber = worker.transport.subscriber(by);
        let assigned = subscriber.assigned_partitions();
        let run = consumer::run(worker.clone(), subscriber, Arc::clone(&gauge), paused, stop.clone());
        Self { stop, paused: pausing, gauge, assigned, history: VecDeque::new(), task: tokio::spawn(run) }
    }

    fn report(&mut self) -> Report {
        let Counted { import_id, chunks, bytes } = self.gauge.read();
        let now = Instant::now();
        self.history.push_back((now, bytes));
        while self.history.len() > 2 && self.history[1].0 + WINDOW < now {
            self.history.pop_front();
        }
        let (since, before) = self.history[0];
        let elapsed = now.duration_since(since).as_secs_f64();
        let bytes_per_second = if elapsed > 0.0 { ((bytes - before) as f64 / elapsed) as i64 } else { 0 };
        Report { import_id, chunks, bytes, bytes_per_second, partitions: self.assigned.get() }
    }

    /// Whether it was told to end.
    fn leaves(&self) -> bool {
        self.stop.is_cancelled()
    }

    /// Returns when the task has ended.
    async fn stop(self) {
        self.stop.cancel();
        if let Err(error) = self.task.await {
            tracing::error!(%error, "a consumer broke down");
        }
    }
}

/// Starts, stops and reports the consumers of this process.
struct Supervisor {
    worker: Worker,
    process: String,
    lease: Duration,
    /// How many consumers this process has to bring.
    owed: usize,
    members: BTreeMap<i64, Member>,
}

/// Runs consumers until `stop`.
pub(super) async fn run(worker: Worker, process: String, stop: CancellationToken) {
    let mut watch = worker.changes.watch(Topic::Consumers);
    let lease = Duration::from_millis(worker.config.worker.lease_ms);
    let owed = worker.config.worker.loaders;
    let mut supervisor = Supervisor { worker, process, lease, owed, members: BTreeMap::new() };
    while !stop.is_cancelled() {
        if let Err(error) = supervisor.keep_up().await {
            // Those at work go on: whether they can is not for this to say.
            tracing::warn!(error = &error as &dyn std::error::Error, "could not look after the consumers");
        }
        tokio::select! {
            () = stop.cancelled() => {}
            () = watch.changed(BEAT.min(lease / 3)) => {}
        }
    }
    supervisor.disband().await;
}

impl Supervisor {
    /// Tells the database how the consumers are, and does with them what it says.
    async fn keep_up(&mut self) -> Result<(), DbError> {
        let db = self.worker.db.clone();
        consumers::reap(&db, self.lease).await?;
        if self.owed > 0 {
            consumers::claim(&db, &self.process, self.lease).await?;
        }
        let reports: Vec<_> = self.members.iter_mut().map(|(id, member)| (*id, member.report())).collect();
        let wanted = consumers::beat(&db, &self.process, &reports).await?;
        // Those that are not ours any more: we were taken for dead.
        let gone: Vec<_> = self
            .members
            .keys()
            .copied()
            .filter(|id| wanted.iter().all(|(wanted, ..)| wanted != id))
            .collect();
        for id in gone {
            self.has_left(id).await;
        }
        let mut brought = 0;
        for (id, desired, permanent) in wanted {
            if desired == Desired::Stopped {
                if self.has_left(id).await {
                    consumers::forget(&db, &self.process, id).await?;
                    self.owed -= usize::from(!permanent && self.owed > 0);
                } else {
                    brought += usize::from(!permanent);
                }
                continue;
            }
            brought += usize::from(!permanent);
            // We were taken for dead, and have it again: it begins anew when the one before has left.
            if self.members.get(&id).is_some_and(Member::leaves) && !self.has_left(id).await {
                continue;
            }
            let by = format!("{}/consumer/{id}", self.process);
            let paused = desired == Desired::Paused;
            let member = self.members.entry(id).or_insert_with(|| Member::start(&self.worker, by, paused));
            member.paused.send_if_modified(|now| std::mem::replace(now, paused) != paused);
        }
        for _ in brought..self.owed {
            consumers::bring(&db, &self.process).await?;
        }
        if brought < self.owed {
            // They start with the next look, which is now.
            return Box::pin(self.keep_up()).await;
        }
        Ok(())
    }

    /// Lets a consumer go, and says whether it has gone. Kafka may take half a minute for that, and the others shall not fall silent
    /// meanwhile.
    async fn has_left(&mut self, id: i64) -> bool {
        match self.members.remove(&id) {
            Some(member) if member.task.is_finished() => member.stop().await,
            Some(member) => {
                member.stop.cancel();
                self.members.insert(id, member);
                return false;
            }
            None => {}
        }
        true
    }

    async fn disband(mut self) {
        for member in self.members.values() {
            member.stop.cancel();
        }
        while let Some((_, member)) = self.members.pop_first() {
            member.stop().await;
        }
        if let Err(error) = consumers::release(&self.worker.db, &self.process).await {
            tracing::warn!(error = &error as &dyn std::error::Error, "could not let go of the consumers");
        }
    }
}
