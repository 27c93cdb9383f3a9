//! How much of everything: requests a minute, requests at once, JSON in memory, and how slowly a body may come.

use std::{
    io,
    net::IpAddr,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock, middleware::StateInformationMiddleware,
};
use poem::{
    Body, Request,
    http::{HeaderMap, HeaderName, HeaderValue, header},
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::Instant,
};

use super::{
    access::Caller,
    problem::{Problem, TooManyRequests, Unavailable},
};
use crate::config::{Config, Limits, Rate};

/// Requests a minute where strangers may come, unless configured.
const STRANGERS_RATE: NonZeroU32 = NonZeroU32::new(1_200).expect("it is not 0");
/// Who was quiet for a minute is forgotten once in so many requests.
const FORGET_EVERY: u32 = 65_536;
/// JSON in memory is counted in pieces of this many bytes.
const PIECE_BYTES: usize = 1024;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Shared by all operations.
#[derive(Debug, Clone)]
pub(super) struct Limiter {
    rate: Option<Arc<RateLimit>>,
    requests: Arc<Semaphore>,
    json: Arc<Semaphore>,
    body_time: Duration,
    body_bytes: usize,
}

/// Who shares a rate.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Identity {
    /// The holders of a key.
    Key(i64),
    /// An address of IPv4, or a network of IPv6: one customer has a whole one.
    Address(IpAddr),
}

impl Identity {
    /// The key when there is one, else where the request comes from.
    pub(super) fn of(request: &Request, caller: Option<&Caller>) -> Self {
        if let Some(Caller(key)) = caller {
            return Self::Key(key.id);
        }
        let address = request.remote_addr().as_socket_addr().map(|address| address.ip().to_canonical());
        Self::Address(match address {
            Some(IpAddr::V6(address)) => {
                let [a, b, c, d, ..] = address.segments();
                IpAddr::from([a, b, c, d, 0, 0, 0, 0])
            }
            Some(address) => address,
            None => IpAddr::from([0, 0, 0, 0]),
        })
    }
}

impl Limiter {
    pub(super) fn new(config: &Config) -> Self {
        let Limits { requests, json_bytes, body_seconds, body_bytes, .. } = config.limits;
        let strangers = config.auth.required || !config.server.address.ip().is_loopback();
        let rate = match config.limits.requests_per_minute {
            Rate::Limit(rate) => Some(rate),
            Rate::Auto if strangers => Some(STRANGERS_RATE),
            Rate::Auto | Rate::Off => None,
        };
        Self {
            rate: rate.map(|rate| Arc::new(RateLimit::new(rate))),
            requests: Arc::new(Semaphore::new(requests)),
            json: Arc::new(Semaphore::new((json_bytes / PIECE_BYTES).min(Semaphore::MAX_PERMITS))),
            body_time: Duration::from_secs(body_seconds),
            body_bytes,
        }
    }

    /// Counts a request; the headers that say how many are left.
    pub(super) fn count(&self, identity: &Identity) -> Result<HeaderMap, Problem> {
        self.rate.as_ref().map_or(Ok(HeaderMap::new()), |rate| rate.count(identity))
    }

    /// A place among the requests that are answered at the same time.
    pub(super) fn place(&self) -> Result<OwnedSemaphorePermit, Unavailable> {
        let place = Arc::clone(&self.requests).try_acquire_owned();
        place.map_err(|_| Unavailable::new("the service has as many requests as it can answer at once"))
    }

    /// Prepares the request's body to be read: not too slowly, and as JSON not too much at once. The flag is set when
    /// it came too slowly.
    pub(super) fn watch(&self, request: &mut Request) -> Arc<AtomicBool> {
        let too_slow = Arc::new(AtomicBool::new(false));
        let body = request.take_body().into_bytes_stream();
        let paced = paced(body, self.body_time, self.body_bytes, Arc::clone(&too_slow));
        request.set_body(Body::from_bytes_stream(paced));
        request.set_data(Memory { free: Arc::clone(&self.json), held: Arc::default() });
        too_slow
    }
}

/// A rate for each identity: `rate` requests at once, and as many again in a minute.
#[derive(Debug)]
struct RateLimit {
    rate: NonZeroU32,
    limiter: DefaultKeyedRateLimiter<Identity, StateInformationMiddleware>,
    policy: HeaderValue,
    counted: AtomicU32,
}

impl RateLimit {
    fn new(rate: NonZeroU32) -> Self {
        let limiter = RateLimiter::keyed(Quota::per_minute(rate)).with_middleware();
        // Digits and the letters here are good in a header.
        let policy = HeaderValue::from_str(&format!("\"default\";q={rate};w=60"));
        let policy = policy.unwrap_or(HeaderValue::from_static("\"default\""));
        Self { rate, limiter, policy, counted: AtomicU32::new(0) }
    }

    fn count(&self, identity: &Identity) -> Result<HeaderMap, Problem> {
        if self.counted.fetch_add(1, Ordering::Relaxed).is_multiple_of(FORGET_EVERY) {
            self.limiter.retain_recent();
        }
        match self.limiter.check_key(identity) {
            Ok(left) => {
                Ok(self.headers(&format!("\"default\";r={}", left.remaining_burst_capacity())).collect())
            }
            Err(until) => {
                let wait = until.wait_time_from(self.limiter.clock().now()).as_secs() + 1;
                let detail = format!("no more than {} requests a minute; try again in {wait} s", self.rate);
                let mut problem: Problem = TooManyRequests::new(detail).into();
                problem.set_header(header::RETRY_AFTER, HeaderValue::from(wait));
                for (name, value) in self.headers(&format!("\"default\";r=0;t={wait}")) {
                    problem.set_header(name, value);
                }
                Err(problem)
            }
        }
    }

    /// As draft-ietf-httpapi-ratelimit-headers-10 has them.
    fn headers(&self, state: &str) -> impl Iterator<Item = (HeaderName, HeaderValue)> {
        let state = HeaderValue::from_str(state).ok().map(|state| (RATE_LIMIT, state));
        state.into_iter().chain([(RATE_LIMIT_POLICY, self.policy.clone())])
    }
}

/// The memory that a request's JSON body takes, until the request is answered; in the request's data.
#[derive(Debug, Clone)]
pub(super) struct Memory {
    free: Arc<Semaphore>,
    held: Arc<Mutex<Vec<OwnedSemaphorePermit>>>,
}

impl Memory {
    /// Takes room for another `bytes`.
    pub(super) fn take(&self, bytes: usize) -> Result<(), Unavailable> {
        let busy = || Unavailable::new("the service holds as much JSON as it can; send it again later");
        let pieces = u32::try_from(bytes.div_ceil(PIECE_BYTES)).map_err(|_| busy())?;
        let taken = Arc::clone(&self.free).try_acquire_many_owned(pieces).map_err(|_| busy())?;
        self.held.lock().unwrap_or_else(PoisonError::into_inner).push(taken);
        Ok(())
    }
}

/// How long to go on waiting: `time` for each `bytes`.
#[derive(Debug)]
struct Pace {
    time: Duration,
    bytes: usize,
    left: Duration,
    brought: usize,
}

impl Pace {
    fn brought(&mut self, bytes: usize, waited: Duration) {
        self.left = self.left.saturating_sub(waited);
        self.brought += bytes;
        if self.brought >= self.bytes {
            (self.left, self.brought) = (self.time, 0);
        }
    }
}

/// Ends with an error when waiting for `bytes` took longer than `time`. Time that the reader takes does not count.
fn paced(
    body: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    time: Duration,
    bytes: usize,
    too_slow: Arc<AtomicBool>,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    async_stream::stream! {
        let mut body = std::pin::pin!(body);
        let mut pace = Pace { time, bytes, left: time, brought: 0 };
        loop {
            let asked = Instant::now();
            let Ok(piece) = tokio::time::timeout(pace.left, body.next()).await else {
                too_slow.store(true, Ordering::Relaxed);
                yield Err(io::Error::new(io::ErrorKind::TimedOut, "the body comes too slowly"));
                return;
            };
            let Some(piece) = piece else { return };
            pace.brought(piece.as_ref().map_or(0, Bytes::len), asked.elapsed());
            yield piece;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_counts_each_identity_by_itself_and_says_what_is_left() {
        let limit = RateLimit::new(NonZeroU32::new(2).expect("not 0"));
        let (one, other) = (Identity::Key(1), Identity::Key(2));
        let left = |headers: HeaderMap| headers[RATE_LIMIT].to_str().expect("text").to_owned();
        assert_eq!(left(limit.count(&one).expect("the first")), "\"default\";r=1");
        assert_eq!(left(limit.count(&one).expect("the second")), "\"default\";r=0");
        let refused = limit.count(&one).expect_err("the third");
        assert!(refused.has_header(&header::RETRY_AFTER) && refused.has_header(&RATE_LIMIT));
        assert_eq!(left(limit.count(&other).expect("somebody else")), "\"default\";r=1");
    }

    #[test]
    fn a_trickle_uses_up_its_time_and_a_slow_line_does_not() {
        let left_after = |pieces: usize, bytes: usize| {
            let time = Duration::from_secs(20);
            let mut pace = Pace { time, bytes: 1000, left: time, brought: 0 };
            for _ in 0..pieces {
                pace.brought(bytes, Duration::from_secs(1));
            }
            pace.left.as_secs()
        };
        assert_eq!(left_after(19, 10), 1, "a trickle");
        assert_eq!(left_after(30, 10), 0, "a trickle that went on");
        assert_eq!(left_after(100, 100), 20, "slow, but enough");
        assert_eq!(left_after(109, 100), 11, "the next thousand bytes are on their way");
    }
}
