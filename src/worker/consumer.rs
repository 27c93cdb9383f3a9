//! A consumer of chunks: takes a chunk, checks it, stores it, acknowledges it. While one is stored, the next is taken and checked: the
//! processor works for one, the database for the other.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use sqlx::{Postgres, pool::PoolConnection};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span};

use super::{Worker, backoff, coordinator::explain};
use crate::{
    failpoint,
    ingest::{
        IngestError, finish,
        load::{self, Loaded, Prepared},
    },
    metrics::{Outcome, Phase},
    transport::{Delivery, Subscriber, TransportError},
};

/// What a consumer counts.
#[derive(Debug, Default)]
pub(super) struct Gauge(Mutex<Counted>);

/// What it has counted so far.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Counted {
    /// That of the chunk in hand.
    pub(super) import_id: Option<i64>,
    /// Those loaded.
    pub(super) chunks: i64,
    /// Of those.
    pub(super) bytes: i64,
}

impl Gauge {
    fn counted(&self) -> MutexGuard<'_, Counted> {
        // Numbers are whole whatever happened to their writer.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn read(&self) -> Counted {
        *self.counted()
    }

    /// A chunk of this import is in hand.
    pub(super) fn begin(&self, import_id: i64) {
        self.counted().import_id = Some(import_id);
    }

    /// It is dealt with, for now or for good.
    pub(super) fn end(&self, chunks: i64, bytes: u64) {
        let mut counted = self.counted();
        counted.import_id = None;
        counted.chunks += chunks;
        counted.bytes += i64::try_from(bytes).unwrap_or(0);
    }
}

/// A chunk in hand, with what is to be stored of it.
struct Taken {
    delivery: Delivery,
    prepared: Result<Prepared, IngestError>,
    span: Span,
}

pub(super) async fn run(
    worker: Worker,
    mut subscriber: Box<dyn Subscriber>,
    gauge: Arc<Gauge>,
    mut paused: watch::Receiver<bool>,
    stop: CancellationToken,
) {
    let mut failures = 0;
    let mut next = None;
    // The same for all chunks in a row: its process in the database has plans, catalog and shared memory at hand.
    let mut connection = None;
    while !stop.is_cancelled() {
        if *paused.borrow_and_update() {
            // Others shall have what it holds and what it could take.
            (next, connection) = (None, None);
            close(subscriber.as_mut()).await;
            tokio::select! {
                () = stop.cancelled() => {}
                _ = paused.changed() => {}
            }
            continue;
        }
        let taken = match next.take() {
            Some(taken) => taken,
            None => {
                connection = None;
                tokio::select! {
                    biased;
                    () = stop.cancelled() => break,
                    _ = paused.changed() => continue,
                    received = subscriber.receive() => take(&worker, received).await,
                }
            }
        };
        let handled = match taken {
            Ok(Taken { delivery, prepared, span }) => {
                gauge.begin(delivery.chunk.import_id);
                let stored = store(&worker, &mut connection, &delivery, prepared).instrument(span.clone());
                let (stored, following) = tokio::join!(stored, look(&worker, subscriber.as_mut()));
                next = following;
                let settled = settle(&worker, subscriber.as_mut(), &delivery, stored);
                let handled = settled.instrument(span.clone()).await;
                let dealt_with = if handled.is_ok() { (1, delivery.chunk.byte_len) } else { (0, 0) };
                gauge.end(dealt_with.0, dealt_with.1);
                span.in_scope(|| note(&handled));
                handled
            }
            Err(error) => {
                let failed = Err(error.into());
                note(&failed);
                failed
            }
        };
        if handled.is_ok() {
            failures = 0;
            continue;
        }
        failures += 1;
        tokio::select! {
            () = stop.cancelled() => {}
            () = tokio::time::sleep(backoff(failures)) => {}
        }
    }
    close(subscriber.as_mut()).await;
}

fn note(handled: &Result<(), IngestError>) {
    if let Err(error) = handled {
        tracing::warn!(error = error as &dyn std::error::Error, "a chunk must wait");
    }
}

async fn close(subscriber: &mut dyn Subscriber) {
    if let Err(error) = subscriber.close().await {
        tracing::warn!(error = &error as &dyn std::error::Error, "could not hand back chunks");
    }
}

/// Checks a chunk that was received.
async fn take(worker: &Worker, received: Result<Delivery, TransportError>) -> Result<Taken, TransportError> {
    let mut delivery = received?;
    let span = delivery.chunk.span();
    // Not kept beyond that: while what came of them is stored, the next chunk's are there.
    let prepared = match std::mem::replace(&mut delivery.bytes, Ok(Bytes::new())) {
        Ok(bytes) => {
            let prepared = load::prepare(&worker.db, &delivery.chunk, bytes, &worker.metrics);
            prepared.instrument(span.clone()).await
        }
        Err(error) => Err(error.into()),
    };
    Ok(Taken { delivery, prepared, span })
}

/// Takes the next chunk if it is there.
async fn look(worker: &Worker, subscriber: &mut dyn Subscriber) -> Option<Result<Taken, TransportError>> {
    let received = subscriber.try_receive().await.transpose()?;
    Some(take(worker, received).await)
}

/// Stores a chunk over the connection that is held, or one that is held from then on, until something fails or others have none left.
async fn store(
    worker: &Worker,
    held: &mut Option<PoolConnection<Postgres>>,
    delivery: &Delivery,
    prepared: Result<Prepared, IngestError>,
) -> Result<Loaded, IngestError> {
    let ready = match prepared? {
        Prepared::Settled(loaded) => return Ok(loaded),
        Prepared::Ready(ready) => *ready,
    };
    let begin = async {
        let connection = match held.take() {
            Some(connection) => connection,
            None => worker.db.acquire().await?,
        };
        Ok::<_, IngestError>((connection, worker.throttle.permit().await))
    };
    let (mut connection, _permit) = worker.metrics.phase(Phase::Turn, begin).await?;
    let kept = worker.config.ingest.rejects_kept;
    let loaded = load::store(&mut connection, kept, &delivery.chunk, ready, &worker.metrics).await?;
    *held = Some(connection).filter(|_| worker.db.has_spare());
    Ok(loaded)
}

/// Tells the transport what became of a chunk.
async fn settle(
    worker: &Worker,
    subscriber: &mut dyn Subscriber,
    delivery: &Delivery,
    loaded: Result<Loaded, IngestError>,
) -> Result<(), IngestError> {
    let chunk = &delivery.chunk;
    let error = match loaded {
        Ok(loaded) => {
            failpoint::reach(failpoint::BEFORE_ACKNOWLEDGE);
            worker.metrics.chunk(match loaded {
                Loaded::Now => Outcome::Loaded,
                Loaded::Before => Outcome::Repeated,
                Loaded::Fenced => Outcome::Fenced,
            });
            return Ok(worker.metrics.phase(Phase::Acknowledge, subscriber.acknowledge(delivery)).await?);
        }
        Err(error) => error,
    };
    if error.is_passing() || delivery.attempt < worker.config.worker.attempts {
        let attempt = u32::try_from(delivery.attempt).unwrap_or(1);
        worker.metrics.chunk(Outcome::Retried);
        subscriber.retry(delivery, backoff(attempt)).await?;
        return Err(error);
    }
    let error = explain(error);
    finish::fail(&worker.db, &worker.archive, chunk.import_id, chunk.epoch, &error).await?;
    worker.metrics.chunk(Outcome::Failed);
    Ok(subscriber.dead_letter(delivery, &error.message).await?)
}
