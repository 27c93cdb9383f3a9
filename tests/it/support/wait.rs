//! Waiting for something to become true.

use std::{fmt::Debug, future::Future, time::Duration};

/// Far longer than anything a test waits for takes, on a machine that does much else.
pub(crate) const DEADLINE: Duration = Duration::from_secs(180);
const PACE: Duration = Duration::from_millis(5);

/// Looks again and again until `look` gives something; panics with what was waited for when that takes too long.
pub(crate) async fn until<T, F: Future<Output = Option<T>>>(
    what: impl Debug,
    mut look: impl FnMut() -> F,
) -> T {
    let found = tokio::time::timeout(DEADLINE, async {
        loop {
            if let Some(found) = look().await {
                return found;
            }
            tokio::time::sleep(PACE).await;
        }
    });
    found.await.unwrap_or_else(|_| panic!("waited in vain: {what:?}"))
}
