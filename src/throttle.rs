//! Throttles the storing of chunks while somebody reads. An import may have all of a machine when nobody else is there; while somebody
//! reads, a chunk needs a permit to be stored, for a request waits for a processor as long as others have them all.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread::available_parallelism,
    time::{Duration, Instant},
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// For how long after a request another is expected: longer than a chunk takes.
const ATTENTIVE_FOR: Duration = Duration::from_millis(200);
/// The longest wait for a permit: a chunk that hangs in the database shall not hold up the others.
const PATIENT_FOR: Duration = Duration::from_secs(1);

/// The throttle of this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Throttle(Arc<Seen>);

#[derive(Debug)]
struct Seen {
    began: Instant,
    /// Until when another request is expected, milliseconds after the beginning.
    until: AtomicU64,
    /// A permit for each chunk that may be stored whoever reads.
    permits: Arc<Semaphore>,
}

/// Allows storing one chunk for as long as it is held.
#[derive(Debug)]
pub struct Permit(#[expect(dead_code, reason = "held, not read")] Option<OwnedSemaphorePermit>);

impl Default for Throttle {
    /// Nobody has asked yet. While somebody does, a chunk for every two processors may be stored at the same time, or one.
    fn default() -> Self {
        let processors = available_parallelism().map_or(1, usize::from);
        Self::with_permits((processors / 2).max(1))
    }
}

impl Throttle {
    /// While somebody reads, so many chunks may be stored at the same time.
    fn with_permits(permits: usize) -> Self {
        let permits = Arc::new(Semaphore::new(permits));
        Self(Arc::new(Seen { began: Instant::now(), until: AtomicU64::new(0), permits }))
    }

    /// Notes that a client sent a request.
    pub fn note_request(&self) {
        let until = self.0.now() + ATTENTIVE_FOR.as_millis() as u64;
        self.0.until.store(until, Ordering::Relaxed);
    }

    /// Waits until a chunk may be stored: at once, unless somebody reads and enough others are being stored, and never for
    /// longer than a second.
    pub async fn permit(&self) -> Permit {
        let permits = Arc::clone(&self.0.permits);
        if !self.0.reading() {
            return Permit(permits.try_acquire_owned().ok());
        }
        let permit = timeout(PATIENT_FOR, permits.acquire_owned()).await;
        Permit(permit.ok().and_then(Result::ok))
    }
}

impl Seen {
    /// Milliseconds since the beginning.
    fn now(&self) -> u64 {
        // There are enough for half a thousand million years.
        self.began.elapsed().as_millis() as u64
    }

    fn reading(&self) -> bool {
        self.now() < self.until.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[tokio::test]
    async fn chunks_wait_for_a_permit_only_while_somebody_reads() {
        let throttle = Throttle::with_permits(1);
        let first = throttle.permit().await;
        let second = throttle.permit().now_or_never();
        assert!(second.is_some(), "nobody reads");
        throttle.note_request();
        let mut third = Box::pin(throttle.permit());
        assert!(third.as_mut().now_or_never().is_none(), "somebody reads, and the first is being stored");
        drop(first);
        assert!(third.now_or_never().is_some(), "the first is stored");
    }

    #[tokio::test]
    async fn a_chunk_that_hangs_does_not_hold_up_the_others() {
        let throttle = Throttle::with_permits(1);
        let _hangs = throttle.permit().await;
        throttle.note_request();
        let next = timeout(10 * PATIENT_FOR, throttle.permit()).await;
        assert!(next.is_ok(), "it waited for longer than {PATIENT_FOR:?}");
    }
}
