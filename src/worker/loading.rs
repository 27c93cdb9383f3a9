//! A loader: takes a chunk, stores it, acknowledges it.

use tokio_util::sync::CancellationToken;

use super::{BACKOFF, Worker, backoff, driving::explain};
use crate::{
    ingest::{
        IngestError, finish,
        load::{self, Loaded},
    },
    transport::{Delivery, Subscriber},
};

pub(super) async fn run(worker: Worker, by: String, stop: CancellationToken) {
    let mut subscriber = worker.transport.subscriber(by);
    let mut failures = 0;
    loop {
        let received = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            received = subscriber.receive() => received,
        };
        let handled = match received {
            Ok(delivery) => handle(&worker, subscriber.as_mut(), &delivery).await,
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
            return Ok(subscriber.acknowledge(delivery).await?);
        }
        Ok(Loaded::Paused) => return Ok(subscriber.retry(delivery, BACKOFF.1).await?),
        Err(error) => error,
    };
    if error.is_passing() || delivery.attempt < worker.config.worker.attempts {
        let attempt = u32::try_from(delivery.attempt).unwrap_or(1);
        subscriber.retry(delivery, backoff(attempt)).await?;
        return Err(error);
    }
    let error = explain(chunk.import_id, error);
    finish::fail(&worker.db, &worker.archive, chunk.import_id, chunk.epoch, &error).await?;
    Ok(subscriber.acknowledge(delivery).await?)
}
