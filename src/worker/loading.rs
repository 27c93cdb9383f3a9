//! A loader: takes a chunk, stores it, acknowledges it.

use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{Worker, backoff, crew::Gauge, driving::explain};
use crate::{
    failpoint,
    ingest::{
        IngestError, finish,
        load::{self, Loaded},
    },
    transport::{Chunk, Delivery, Subscriber},
};

pub(super) async fn run(
    worker: Worker,
    mut subscriber: Box<dyn Subscriber>,
    gauge: Arc<Gauge>,
    mut paused: watch::Receiver<bool>,
    stop: CancellationToken,
) {
    let mut failures = 0;
    while !stop.is_cancelled() {
        if *paused.borrow_and_update() {
            // Others shall have what it could take.
            close(subscriber.as_mut()).await;
            tokio::select! {
                () = stop.cancelled() => {}
                _ = paused.changed() => {}
            }
            continue;
        }
        let received = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = paused.changed() => continue,
            received = subscriber.receive() => received,
        };
        let handled = match received {
            Ok(delivery) => {
                gauge.begin(delivery.chunk.import_id);
                let handled =
                    handle(&worker, subscriber.as_mut(), &delivery).instrument(span(&delivery.chunk)).await;
                let dealt_with = if handled.is_ok() { (1, delivery.chunk.byte_len) } else { (0, 0) };
                gauge.end(dealt_with.0, dealt_with.1);
                handled
            }
            Err(error) => Err(error.into()),
        };
        match handled {
            Ok(()) => failures = 0,
            Err(error) => {
                failures += 1;
                tracing::warn!(error = &error as &dyn std::error::Error, "a chunk must wait");
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = tokio::time::sleep(backoff(failures)) => {}
                }
            }
        }
    }
    close(subscriber.as_mut()).await;
}

/// What is logged while a chunk is loaded says whose it is.
fn span(chunk: &Chunk) -> tracing::Span {
    let Chunk { import_id, chunk_no, traceparent, .. } = chunk;
    tracing::info_span!("chunk", import = import_id, chunk = chunk_no, traceparent)
}

async fn close(subscriber: &mut dyn Subscriber) {
    if let Err(error) = subscriber.close().await {
        tracing::warn!(error = &error as &dyn std::error::Error, "could not hand back chunks");
    }
}

async fn handle(
    worker: &Worker,
    subscriber: &mut dyn Subscriber,
    delivery: &Delivery,
) -> Result<(), IngestError> {
    let chunk = &delivery.chunk;
    let limits = &worker.config.ingest;
    let loaded = match &delivery.bytes {
        Ok(bytes) => load::load(&worker.db, limits.rejects_kept, chunk, bytes.clone()).await,
        Err(error) => Err(error.clone().into()),
    };
    let error = match loaded {
        Ok(Loaded::Now | Loaded::Before | Loaded::Fenced) => {
            failpoint::reach(failpoint::BEFORE_ACKNOWLEDGE);
            return Ok(subscriber.acknowledge(delivery).await?);
        }
        Err(error) => error,
    };
    if error.is_passing() || delivery.attempt < worker.config.worker.attempts {
        let attempt = u32::try_from(delivery.attempt).unwrap_or(1);
        subscriber.retry(delivery, backoff(attempt)).await?;
        return Err(error);
    }
    let error = explain(chunk.import_id, error);
    finish::fail(&worker.db, &worker.archive, chunk.import_id, chunk.epoch, &error).await?;
    Ok(subscriber.bury(delivery, &error.message).await?)
}
