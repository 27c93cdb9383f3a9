//! What goes on over a connection: how many requests are under way, and whether the client takes their answers fast enough.
//!
//! hyper knows neither. It closes an idle connection of HTTP/1 only, and waits for a client that takes nothing of a stream of HTTP/2
//! for as long as the client likes; with the answer wait its place and its connection to the database.

use std::{
    collections::HashMap,
    io,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::{
    sync::Notify,
    time::{Instant, sleep, timeout},
};

use super::pace::Pace;
use crate::places::Place;

/// How often is looked whether an answer is taken fast enough.
const LOOK_EVERY: Duration = Duration::from_millis(500);
/// Bytes of an answer that are handed on at once: what is handed on waits in memory, and counts as taken when more is asked for.
const PIECE_BYTES: usize = 64 * 1024;

/// What goes on over one connection.
#[derive(Debug)]
pub(super) struct Traffic {
    pace: Pace,
    exchanges: Mutex<Exchanges>,
    begun: Notify,
}

/// Those under way. With each, until when the client must have taken something, while that is waited for.
#[derive(Debug, Default)]
struct Exchanges {
    next: u64,
    due: HashMap<u64, Option<Instant>>,
}

/// Why a connection should be closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// No request was under way for a while.
    Idle,
    /// The client takes an answer too slowly.
    TooSlow,
}

/// A request that is under way until this is dropped.
#[derive(Debug)]
pub(super) struct Exchange {
    traffic: Arc<Traffic>,
    number: u64,
}

/// In the data of an answer: the place that it holds until it was sent.
#[derive(Debug, Clone)]
pub(super) struct Held(#[expect(dead_code, reason = "held, not read")] Arc<Place>);

impl Held {
    /// The answer holds that place.
    pub(super) fn new(place: Place) -> Self {
        Self(Arc::new(place))
    }
}

impl Traffic {
    /// Nothing yet. Each answer is to be taken at that pace.
    pub(super) fn new(pace: Pace) -> Arc<Self> {
        Arc::new(Self { pace, exchanges: Mutex::default(), begun: Notify::new() })
    }

    /// A request begins.
    pub(super) fn begin(self: &Arc<Self>) -> Arc<Exchange> {
        let mut exchanges = self.exchanges();
        let number = exchanges.next;
        exchanges.next += 1;
        exchanges.due.insert(number, None);
        drop(exchanges);
        self.begun.notify_one();
        Arc::new(Exchange { traffic: Arc::clone(self), number })
    }

    /// Waits until the connection should be closed: nothing was under way for `idle`, or an answer is taken too slowly.
    pub(super) async fn end(&self, idle: Duration) -> End {
        loop {
            let is_idle = || self.exchanges().due.is_empty();
            if is_idle() && timeout(idle, self.begun.notified()).await.is_err() && is_idle() {
                return End::Idle;
            }
            sleep(LOOK_EVERY).await;
            if self.is_too_slow(Instant::now()) {
                return End::TooSlow;
            }
        }
    }

    fn is_too_slow(&self, now: Instant) -> bool {
        self.exchanges().due.values().flatten().any(|due| *due <= now)
    }

    fn exchanges(&self) -> MutexGuard<'_, Exchanges> {
        self.exchanges.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Exchange {
    fn expect(&self, due: Option<Instant>) {
        self.traffic.exchanges().due.insert(self.number, due);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        self.traffic.exchanges().due.remove(&self.number);
    }
}

/// The body of an answer, which says how it is taken.
#[derive(Debug)]
pub(super) struct Answer<B> {
    body: B,
    /// What has been read of the body and not handed on.
    rest: Bytes,
    /// How long was handed on last, and when; nothing while the client waits for us.
    taking: Option<(usize, Instant)>,
    pace: Pace,
    exchange: Arc<Exchange>,
    held: Option<Held>,
}

impl<B> Answer<B> {
    /// The answer to that request.
    pub(super) fn new(body: B, exchange: Arc<Exchange>, held: Option<Held>) -> Self {
        let pace = exchange.traffic.pace;
        Self { body, rest: Bytes::new(), taking: None, pace, exchange, held }
    }

    fn taken(&mut self) {
        if let Some((bytes, since)) = self.taking.take() {
            self.pace.moved(bytes, since.elapsed());
            self.exchange.expect(None);
        }
    }

    fn hand_on(&mut self) -> Bytes {
        let piece = self.rest.split_to(self.rest.len().min(PIECE_BYTES));
        let now = Instant::now();
        self.taking = Some((piece.len(), now));
        self.exchange.expect(Some(now + self.pace.left()));
        piece
    }
}

impl<B: Body<Data = Bytes, Error = io::Error> + Unpin> Body for Answer<B> {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        self.taken();
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(frame) => return Poll::Ready(Some(Ok(frame))),
                },
                end => {
                    self.held = None;
                    return Poll::Ready(end);
                }
            }
        }
        let piece = self.hand_on();
        // Before the client has it: its next request may come at once.
        if self.is_end_stream() {
            self.held = None;
        }
        Poll::Ready(Some(Ok(Frame::data(piece))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let (mut hint, rest) = (self.body.size_hint(), self.rest.len() as u64);
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + rest);
        }
        hint.set_lower(hint.lower() + rest);
        hint
    }
}

impl<B> Drop for Answer<B> {
    fn drop(&mut self) {
        // What is left of the exchange, such as the rest of the request's body, does not wait for this client.
        self.exchange.expect(None);
    }
}

#[cfg(test)]
mod tests {
    use futures_util::future::poll_fn;

    use super::*;

    const TIME: Duration = Duration::from_secs(600);
    const SHORT: Duration = Duration::from_millis(1);

    fn traffic(time: Duration) -> Arc<Traffic> {
        Traffic::new(Pace::new(time, PIECE_BYTES))
    }

    fn answer(
        traffic: &Arc<Traffic>,
        bytes: usize,
    ) -> Answer<impl Body<Data = Bytes, Error = io::Error> + Unpin + use<>> {
        let response: hyper::Response<_> = poem::Response::from(vec![b'x'; bytes]).into();
        Answer::new(response.into_body(), traffic.begin(), None)
    }

    async fn next(answer: &mut Answer<impl Body<Data = Bytes, Error = io::Error> + Unpin>) -> Option<usize> {
        let frame = poll_fn(|context| Pin::new(&mut *answer).poll_frame(context)).await?;
        Some(frame.expect("it can be read").into_data().expect("data").len())
    }

    #[tokio::test]
    async fn a_connection_is_idle_when_no_request_is_under_way() {
        let traffic = traffic(TIME);
        assert_eq!(traffic.end(SHORT).await, End::Idle);
        let exchange = traffic.begin();
        timeout(3 * LOOK_EVERY, traffic.end(SHORT)).await.expect_err("somebody waits for an answer");
        drop(exchange);
        assert_eq!(traffic.end(SHORT).await, End::Idle);
    }

    #[tokio::test]
    async fn an_answer_that_is_not_taken_ends_its_connection() {
        let traffic = traffic(SHORT);
        let mut answer = answer(&traffic, 3 * PIECE_BYTES);
        assert_eq!(next(&mut answer).await, Some(PIECE_BYTES));
        assert_eq!(traffic.end(TIME).await, End::TooSlow);
    }

    #[tokio::test]
    async fn an_answer_is_late_when_it_is_not_taken_in_time_and_only_then() {
        let traffic = traffic(TIME);
        let mut answer = answer(&traffic, 2 * PIECE_BYTES);
        assert_eq!(answer.size_hint().exact(), Some(2 * PIECE_BYTES as u64));
        assert!(!traffic.is_too_slow(Instant::now() + 2 * TIME), "the client waits for us");
        assert_eq!(next(&mut answer).await, Some(PIECE_BYTES));
        assert_eq!(answer.size_hint().exact(), Some(PIECE_BYTES as u64));
        assert!(!traffic.is_too_slow(Instant::now() + TIME / 2));
        assert!(traffic.is_too_slow(Instant::now() + TIME));
        assert_eq!(next(&mut answer).await, Some(PIECE_BYTES));
        assert!(answer.is_end_stream());
        assert!(traffic.is_too_slow(Instant::now() + TIME), "the last piece waits to be taken, too");
        drop(answer);
        assert!(!traffic.is_too_slow(Instant::now() + TIME));
    }

    #[tokio::test]
    async fn a_place_is_held_until_the_last_piece_is_handed_on() {
        let traffic = traffic(TIME);
        let places = crate::places::Places::new(1, 100);
        let mut answer = answer(&traffic, PIECE_BYTES + 1);
        answer.held = Some(Held::new(places.take(&(), 1).expect("free")));
        assert_eq!(next(&mut answer).await, Some(PIECE_BYTES));
        assert_eq!(places.taken(), 1);
        assert_eq!(next(&mut answer).await, Some(1));
        assert_eq!(places.taken(), 0);
    }
}
