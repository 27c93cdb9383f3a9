//! Places at what only so many may have at the same time, of which one client has a part at most: whoever takes every place of
//! its own leaves the others theirs.

use std::{
    collections::HashMap,
    hash::Hash,
    sync::{Arc, Mutex, PoisonError, Weak},
    time::Duration,
};

use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::timeout,
};

/// Clients without a place are forgotten when there are so many.
const FORGET_FROM: usize = 1_024;

/// Places of one kind. Cheap to clone.
#[derive(Debug)]
pub struct Places<K> {
    total: usize,
    each: usize,
    free: Arc<Semaphore>,
    clients: Arc<Mutex<HashMap<K, Weak<Semaphore>>>>,
}

/// One place, or several. Given back when dropped.
#[derive(Debug)]
pub struct Place {
    _own: OwnedSemaphorePermit,
    _free: OwnedSemaphorePermit,
}

/// Why there is no place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Full {
    /// The client has as many as it may.
    ForClient,
    /// There is none for anybody.
    ForAll,
}

impl<K> Clone for Places<K> {
    fn clone(&self) -> Self {
        let Self { total, each, free, clients } = self;
        Self { total: *total, each: *each, free: Arc::clone(free), clients: Arc::clone(clients) }
    }
}

impl<K: Clone + Eq + Hash> Places<K> {
    /// `total` places, of which a client has `share_percent` at most, and at least one.
    pub fn new(total: usize, share_percent: usize) -> Self {
        let total = total.min(Semaphore::MAX_PERMITS);
        let each = total.saturating_mul(share_percent).div_ceil(100).clamp(1, total.max(1));
        Self { total, each, free: Arc::new(Semaphore::new(total)), clients: Arc::default() }
    }

    /// So many places, if they are free now.
    pub fn take(&self, client: &K, places: u32) -> Result<Place, Full> {
        let own = self.of(client).try_acquire_many_owned(places).map_err(|_| Full::ForClient)?;
        let free = Arc::clone(&self.free).try_acquire_many_owned(places).map_err(|_| Full::ForAll)?;
        Ok(Place { _own: own, _free: free })
    }

    /// A place, waiting up to `time` for one. Those who wait have it in their order.
    pub async fn wait(&self, client: &K, time: Duration) -> Result<Place, Full> {
        let mut full = Full::ForClient;
        let waiting = async {
            let own = self.of(client).acquire_owned().await;
            full = Full::ForAll;
            let free = Arc::clone(&self.free).acquire_owned().await;
            Some(Place { _own: own.ok()?, _free: free.ok()? })
        };
        let place = timeout(time, waiting).await;
        place.ok().flatten().ok_or(full)
    }

    /// How many are taken.
    pub fn taken(&self) -> usize {
        self.total.saturating_sub(self.free.available_permits())
    }

    /// The client's part. It is there as long as anything of it is taken.
    fn of(&self, client: &K) -> Arc<Semaphore> {
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = clients.get(client).and_then(Weak::upgrade) {
            return own;
        }
        if clients.len() >= FORGET_FROM {
            clients.retain(|_, own| own.strong_count() > 0);
        }
        let own = Arc::new(Semaphore::new(self.each));
        clients.insert(client.clone(), Arc::downgrade(&own));
        own
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SHORT: Duration = Duration::from_millis(1);

    #[test]
    fn one_client_has_its_part_and_leaves_the_others_theirs() {
        let places = Places::new(4, 50);
        let taken: Vec<_> = (0..2).map(|_| places.take(&"one", 1).expect("its part")).collect();
        assert_eq!(places.take(&"one", 1).err(), Some(Full::ForClient));
        let other = places.take(&"other", 2).expect("the other's part");
        assert_eq!(places.take(&"third", 1).err(), Some(Full::ForAll));
        assert_eq!(places.taken(), 4);
        drop(taken);
        places.take(&"third", 2).expect("they were given back");
        drop(other);
        assert_eq!(places.taken(), 0);
    }

    #[test]
    fn a_part_is_at_least_one_place_and_at_most_all() {
        let one = Places::new(1, 50);
        one.take(&(), 1).expect("the only one");
        let all = Places::new(3, 100);
        all.take(&(), 3).expect("all");
    }

    #[tokio::test]
    async fn who_waits_gets_the_place_that_is_given_back() {
        let places = Places::new(2, 50);
        let taken = places.take(&1, 1).expect("free");
        assert_eq!(places.wait(&1, SHORT).await.err(), Some(Full::ForClient));
        let others = [places.take(&2, 1).expect("free")];
        assert_eq!(places.wait(&3, SHORT).await.err(), Some(Full::ForAll));
        let waiting = tokio::spawn({
            let places = places.clone();
            async move { places.wait(&1, Duration::from_secs(60)).await.is_ok() }
        });
        tokio::task::yield_now().await;
        drop(taken);
        assert!(waiting.await.expect("no panic"));
        drop(others);
    }

    #[test]
    fn who_has_no_place_is_forgotten() {
        let places = Places::new(10, 50);
        let held = places.take(&0, 1).expect("free");
        for client in 1..=3 * FORGET_FROM {
            places.take(&client, 1).expect("free");
        }
        let clients = places.clients.lock().expect("nobody panics with it");
        assert!(clients.len() <= FORGET_FROM && clients.contains_key(&0));
        drop(held);
    }
}
