//! Who reads while chunks are stored. An import may have all of a machine when nobody else is there; while somebody reads, fewer
//! chunks are stored at the same time, for a request waits for a processor as long as others have them all.

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
/// The longest wait for a turn: a chunk that hangs in the database shall not hold up the others.
const PATIENT_FOR: Duration = Duration::from_secs(1);

/// Those of this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Readers(Arc<Seen>);

#[derive(Debug)]
struct Seen {
    began: Instant,
    /// Until when another request is expected, milliseconds after the beginning.
    until: AtomicU64,
    /// A permit for each chunk that may be stored whoever reads.
    turns: Arc<Semaphore>,
}

/// A chunk may be stored as long as it is held.
#[derive(Debug)]
pub struct Turn(#[expect(dead_code, reason = "held, not read")] Option<OwnedSemaphorePermit>);

impl Default for Readers {
    /// Nobody has asked yet. While somebody does, a chunk for every two processors may be stored at the same time, or one.
    fn default() -> Self {
        let processors = available_parallelism().map_or(1, usize::from);
        Self::who_leave((processors / 2).max(1))
    }
}

impl Readers {
    /// They leave room for so many chunks at the same time.
    fn who_leave(turns: usize) -> Self {
        let turns = Arc::new(Semaphore::new(turns));
        Self(Arc::new(Seen { began: Instant::now(), until: AtomicU64::new(0), turns }))
    }

    /// Somebody asks.
    pub fn ask(&self) {
        let until = self.0.now() + ATTENTIVE_FOR.as_millis() as u64;
        self.0.until.store(until, Ordering::Relaxed);
    }

    /// Waits until a chunk may be stored: at once, unless somebody reads and enough others are being stored, and never for
    /// longer than a second.
    pub async fn turn(&self) -> Turn {
        let turns = Arc::clone(&self.0.turns);
        if !self.0.reading() {
            return Turn(turns.try_acquire_owned().ok());
        }
        let turn = timeout(PATIENT_FOR, turns.acquire_owned()).await;
        Turn(turn.ok().and_then(Result::ok))
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
    async fn chunks_take_turns_only_while_somebody_reads() {
        let readers = Readers::who_leave(1);
        let first = readers.turn().await;
        let second = readers.turn().now_or_never();
        assert!(second.is_some(), "nobody reads");
        readers.ask();
        let mut third = Box::pin(readers.turn());
        assert!(third.as_mut().now_or_never().is_none(), "somebody reads, and the first is being stored");
        drop(first);
        assert!(third.now_or_never().is_some(), "the first is stored");
    }

    #[tokio::test]
    async fn a_chunk_that_hangs_does_not_hold_up_the_others() {
        let readers = Readers::who_leave(1);
        let _hangs = readers.turn().await;
        readers.ask();
        let next = timeout(10 * PATIENT_FOR, readers.turn()).await;
        assert!(next.is_ok(), "it waited for longer than {PATIENT_FOR:?}");
    }
}
