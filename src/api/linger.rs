//! Bodies that nobody reads to their end: an answer may be there before its request has come whole, a refusal most of all. Were
//! the connection closed then, a client that still sends would find it broken, and lose the answer with it (RFC 9112, section 9.6).
//! So the rest comes, for a while, and is thrown away.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream::BoxStream};
use poem::{
    Body, Request,
    http::{Version, header},
};
use tokio::{runtime::Handle, time::timeout};
use tokio_util::sync::CancellationToken;

/// How long the rest of a body may take.
const REST: Duration = Duration::from_secs(30);
/// How long it may pause: whoever has stopped sending has seen the answer.
const PAUSE: Duration = Duration::from_secs(2);

/// Has the rest of the request's body read until `stop` when the request is answered before. `exchange` goes with the body.
pub(super) fn read_to_the_end<E: Send + Unpin + 'static>(
    request: &mut Request,
    stop: &CancellationToken,
    exchange: E,
) {
    // HTTP/2 ends a request without its connection.
    if request.version() > Version::HTTP_11 {
        return;
    }
    let body = request.take_body();
    if body.is_empty() {
        return;
    }
    let waits = request.headers().contains_key(header::EXPECT);
    let rest = Some(body.into_bytes_stream().boxed());
    request.set_body(Body::from_bytes_stream(Lingering {
        rest,
        waits,
        stop: stop.clone(),
        exchange: Some(exchange),
    }));
}

/// A body whose rest is read when it is dropped.
struct Lingering<E: Send + 'static> {
    /// Until it has ended.
    rest: Option<BoxStream<'static, io::Result<Bytes>>>,
    /// The client sends nothing before it is asked to (RFC 9110, section 10.1.1), which reading does.
    waits: bool,
    stop: CancellationToken,
    /// Dropped when nothing more is read.
    exchange: Option<E>,
}

impl<E: Send + Unpin + 'static> Stream for Lingering<E> {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.waits = false;
        let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
        let polled = rest.poll_next_unpin(context);
        if !matches!(polled, Poll::Pending | Poll::Ready(Some(Ok(_)))) {
            self.rest = None;
        }
        polled
    }
}

impl<E: Send + 'static> Drop for Lingering<E> {
    fn drop(&mut self) {
        if let (Some(rest), false, Ok(runtime)) = (self.rest.take(), self.waits, Handle::try_current()) {
            let (stop, exchange) = (self.stop.clone(), self.exchange.take());
            let reading = async move {
                throw_away(rest, REST, PAUSE).await;
                drop(exchange);
            };
            runtime.spawn(stop.run_until_cancelled_owned(reading));
        }
    }
}

/// Reads on for `time` at most, and until nothing comes for `pause`.
async fn throw_away(
    mut rest: impl Stream<Item = io::Result<Bytes>> + Unpin,
    time: Duration,
    pause: Duration,
) {
    let read = async { while let Ok(Some(Ok(_))) = timeout(pause, rest.next()).await {} };
    // However it ends, the connection's end is all that can come of it.
    let _ = timeout(time, read).await;
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use futures_util::stream;

    use super::*;

    /// How many of a body's three pieces are read when `first` of them are before the answer.
    async fn pieces_read(request: poem::RequestBuilder, first: usize) -> usize {
        let read = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&read);
        let pieces = stream::iter(0..3).map(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
            Ok::<_, io::Error>(Bytes::from_static(b"x"))
        });
        let mut request = request.body(Body::from_bytes_stream(pieces));
        read_to_the_end(&mut request, &CancellationToken::new(), ());
        let mut body = request.take_body().into_bytes_stream().boxed();
        for _ in 0..first {
            body.next().await.expect("there are more").expect("they can be read");
        }
        drop(body);
        // Whatever was spawned runs now: there is one thread.
        tokio::task::yield_now().await;
        read.load(Ordering::Relaxed)
    }

    #[tokio::test]
    async fn what_a_client_sends_is_read_and_none_is_asked_for_more() {
        let asks = || Request::builder().header(header::EXPECT, "100-continue");
        assert_eq!(pieces_read(Request::builder(), 0).await, 3);
        assert_eq!(pieces_read(asks(), 0).await, 0);
        assert_eq!(pieces_read(asks(), 1).await, 3, "it was asked already");
        assert_eq!(pieces_read(Request::builder().version(Version::HTTP_2), 1).await, 1);
    }

    #[tokio::test]
    async fn a_rest_that_pauses_or_never_ends_is_given_up() {
        let (long, short) = (Duration::from_secs(600), Duration::from_millis(10));
        let given_up = async {
            throw_away(stream::pending(), long, short).await;
            let trickle = stream::repeat(()).then(|()| async {
                tokio::task::yield_now().await;
                Ok(Bytes::from_static(b"x"))
            });
            throw_away(trickle.boxed(), short, long).await;
        };
        timeout(Duration::from_secs(60), given_up).await.expect("it ends");
    }
}
