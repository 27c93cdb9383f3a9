//! The least speed of a transfer, whichever way it goes: it may wait for the client for some time, and what is moved earns new time.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tokio::time::Instant;

/// How much longer a transfer may wait for its client. Each `bytes` earn `time`, of which no more than `time` is kept: so the speed
/// over the whole is at least `bytes` in `time`, and a pause is at most `time`.
#[derive(Debug, Clone, Copy)]
pub(super) struct Pace {
    time: Duration,
    bytes: usize,
    left: Duration,
}

impl Pace {
    /// At the beginning of a transfer.
    pub(super) fn new(time: Duration, bytes: usize) -> Self {
        Self { time, bytes: bytes.max(1), left: time }
    }

    /// How long it may wait now.
    pub(super) fn left(&self) -> Duration {
        self.left
    }

    /// The client let it wait, then moved so many bytes.
    pub(super) fn moved(&mut self, bytes: usize, waited: Duration) {
        let earned = self.time.mul_f64((bytes as f64 / self.bytes as f64).min(1.0));
        self.left = (self.left.saturating_sub(waited) + earned).min(self.time);
    }
}

/// Ends with an error when the body comes more slowly than its pace. Time that the reader takes does not count.
pub(super) fn paced(
    body: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    mut pace: Pace,
    too_slow: Arc<AtomicBool>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    async_stream::stream! {
        let mut body = std::pin::pin!(body);
        loop {
            let asked = Instant::now();
            let Ok(piece) = tokio::time::timeout(pace.left(), body.next()).await else {
                too_slow.store(true, Ordering::Relaxed);
                yield Err(io::Error::new(io::ErrorKind::TimedOut, "the body comes too slowly"));
                return;
            };
            let Some(piece) = piece else { return };
            pace.moved(piece.as_ref().map_or(0, Bytes::len), asked.elapsed());
            yield piece;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// After pieces of so many bytes, one a second, at 1000 bytes in 20 s.
    fn left_after(pieces: usize, bytes: usize) -> u64 {
        let mut pace = Pace::new(Duration::from_secs(20), 1000);
        for _ in 0..pieces {
            pace.moved(bytes, Duration::from_secs(1));
        }
        pace.left().as_secs()
    }

    #[test]
    fn a_trickle_uses_up_its_time_and_a_slow_line_does_not() {
        assert_eq!(left_after(20, 1), 0, "next to nothing");
        assert_eq!(left_after(100, 40), 0, "too slow in the long run");
        assert_eq!(left_after(100_000, 50), 20, "just enough");
        assert_eq!(left_after(100_000, 100), 20, "more than enough earns no longer pause");
    }

    #[test]
    fn what_came_fast_pays_for_no_longer_pause() {
        let mut pace = Pace::new(Duration::from_secs(20), 1000);
        pace.moved(usize::MAX, Duration::ZERO);
        assert_eq!(pace.left(), Duration::from_secs(20));
        pace.moved(0, Duration::from_secs(20));
        assert_eq!(pace.left(), Duration::ZERO);
    }
}
