//! How much of everything: requests a minute, places for what goes on at once, JSON in memory, and how slowly a body may come.

use std::{
    net::IpAddr,
    num::NonZeroU32,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use governor::{
    DefaultKeyedRateLimiter, Quota, RateLimiter, clock::Clock, middleware::StateInformationMiddleware,
};
use poem::{
    Body, FromRequest, Request, RequestBody,
    http::{HeaderMap, HeaderName, HeaderValue, header},
};

use super::{
    access::Caller,
    pace::{Pace, paced},
    problem::{Internal, Problem, TooManyRequests, Unavailable},
};
use crate::{
    config::{Config, Limits, Rate},
    places::{Full, Place, Places},
};

/// Requests a minute where strangers may come, unless configured.
const STRANGERS_RATE: NonZeroU32 = NonZeroU32::new(1_200).expect("it is not 0");
/// Who was quiet for a minute is forgotten once in so many requests.
const FORGET_EVERY: u32 = 65_536;
/// JSON in memory is counted in pieces of this many bytes.
const PIECE_BYTES: usize = 1024;

const RATE_LIMIT: HeaderName = HeaderName::from_static("ratelimit");
const RATE_LIMIT_POLICY: HeaderName = HeaderName::from_static("ratelimit-policy");

/// Shared by all operations. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Limiter {
    rate: Option<Arc<RateLimit>>,
    requests: Places<Identity>,
    uploads: Places<Identity>,
    exports: Places<Identity>,
    streams: Places<Identity>,
    json: Places<Identity>,
    /// How long an export waits for its place.
    patience: Duration,
    /// How fast bodies are to come.
    pace: Pace,
}

/// Who shares a rate and a part of the places.
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
    /// As configured.
    pub fn new(config: &Config) -> Self {
        let Limits { requests, uploads, exports, streams, json_bytes, share_percent, .. } = config.limits;
        let Limits { body_seconds, body_bytes, .. } = config.limits;
        let strangers = config.auth.required || !config.server.address.ip().is_loopback();
        let rate = match config.limits.requests_per_minute {
            Rate::Limit(rate) => Some(rate),
            Rate::Auto if strangers => Some(STRANGERS_RATE),
            Rate::Auto | Rate::Off => None,
        };
        let places = |total| Places::new(total, share_percent);
        // The other half is everybody else's.
        let half = usize::try_from(config.database.connections / 2).unwrap_or(usize::MAX);
        Self {
            rate: rate.map(|rate| Arc::new(RateLimit::new(rate))),
            requests: places(requests),
            uploads: places(uploads),
            exports: places(exports.min(half).max(1)),
            streams: places(streams),
            json: places(json_bytes / PIECE_BYTES),
            patience: Duration::from_millis(config.database.acquire_ms),
            pace: Pace::new(Duration::from_secs(body_seconds), body_bytes),
        }
    }

    /// Counts a request; the headers that say how many are left.
    pub(super) fn count(&self, identity: &Identity) -> Result<HeaderMap, Problem> {
        self.rate.as_ref().map_or(Ok(HeaderMap::new()), |rate| rate.count(identity))
    }

    /// How many uploads are being received.
    pub(super) fn uploads(&self) -> usize {
        self.uploads.taken()
    }

    /// Prepares the request's body to be read: not too slowly, and as JSON not too much at once. The flag is set when
    /// it came too slowly.
    pub(super) fn watch(&self, request: &mut Request, identity: &Identity) -> Arc<AtomicBool> {
        let too_slow = Arc::new(AtomicBool::new(false));
        let body = request.take_body().into_bytes_stream();
        request.set_body(Body::from_bytes_stream(paced(body, self.pace, Arc::clone(&too_slow))));
        let (json, identity) = (self.json.clone(), identity.clone());
        request.set_data(Memory { json, identity, held: Arc::default() });
        too_slow
    }
}

/// What a request's client may have of the service; in the request's data.
#[derive(Debug, Clone)]
pub(super) struct Share {
    /// Whose it is.
    pub(super) identity: Identity,
    /// What there is.
    pub(super) limiter: Limiter,
}

impl Share {
    /// That of the request's client.
    pub(super) fn of(request: &Request) -> Result<Self, Internal> {
        let share = request.data::<Self>().cloned();
        share.ok_or_else(|| Internal::because("the request has no share of the service"))
    }

    /// A place among the requests that are answered at the same time.
    pub(super) fn request(&self) -> Result<Place, Unavailable> {
        self.take(&self.limiter.requests, "requests")
    }

    /// A place among the event streams that are followed at the same time.
    pub(super) fn stream(&self) -> Result<Place, Unavailable> {
        self.take(&self.limiter.streams, "event streams")
    }

    /// A place among the uploads that are received at the same time.
    pub(super) fn upload(&self) -> Result<Place, Unavailable> {
        self.take(&self.limiter.uploads, "uploads")
    }

    /// A place among the answers that hold a connection to the database, as soon as there is one.
    pub(super) async fn export(&self) -> Result<Place, Unavailable> {
        let Limiter { exports, patience, .. } = &self.limiter;
        exports.wait(&self.identity, *patience).await.map_err(|full| refused(full, "exports"))
    }

    /// Room for another `bytes` of a body that is kept in memory while it is looked at, among those of JSON.
    pub(super) fn memory(&self, bytes: usize) -> Result<Place, Unavailable> {
        let pieces = u32::try_from(bytes.div_ceil(PIECE_BYTES)).unwrap_or(u32::MAX);
        let room = self.limiter.json.take(&self.identity, pieces);
        room.map_err(|full| refused(full, "bytes of bodies in memory"))
    }

    fn take(&self, places: &Places<Identity>, what: &str) -> Result<Place, Unavailable> {
        places.take(&self.identity, 1).map_err(|full| refused(full, what))
    }
}

fn refused(full: Full, what: &str) -> Unavailable {
    Unavailable::new(match full {
        Full::ForClient => format!("this key, or this address, has as many {what} under way as it may"),
        Full::ForAll => format!("the service has as many {what} under way as it can"),
    })
}

impl<'a> FromRequest<'a> for Share {
    async fn from_request(request: &'a Request, _body: &mut RequestBody) -> poem::Result<Self> {
        Ok(Self::of(request)?)
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
    json: Places<Identity>,
    identity: Identity,
    held: Arc<Mutex<Vec<Place>>>,
}

impl Memory {
    /// Takes room for another `bytes`.
    pub(super) fn take(&self, bytes: usize) -> Result<(), Unavailable> {
        let pieces = u32::try_from(bytes.div_ceil(PIECE_BYTES)).unwrap_or(u32::MAX);
        let taken = self.json.take(&self.identity, pieces).map_err(|full| refused(full, "bytes of JSON"))?;
        self.held.lock().unwrap_or_else(PoisonError::into_inner).push(taken);
        Ok(())
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
}
