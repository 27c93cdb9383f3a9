//! Answers that are sent while the database is still reading: memory does not grow with the rows, and what goes wrong before
//! the first piece is still told by a status.

use std::{io, marker::PhantomData};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use poem::{Body, IntoResponse, Response};
use poem_openapi::{
    payload::Payload,
    registry::{MetaSchemaRef, Registry},
    types::Type,
};
use tokio::sync::mpsc;
use tracing::Instrument;

use super::problem::Internal;
use crate::{db::DbError, refusal};

/// Bytes of a piece.
const PIECE_BYTES: usize = 64 * 1024;
/// Pieces that wait for the client.
const PIECES: usize = 4;

refusal!(
    /// Why an answer does not even begin.
    pub(crate) StreamRefusal: Internal
);

impl From<serde_json::Error> for StreamRefusal {
    fn from(error: serde_json::Error) -> Self {
        Internal::because(error).into()
    }
}

/// Writes an answer's text.
pub(crate) trait Write<R>: Send + 'static {
    /// What stands before the first row.
    fn begin(&mut self, out: &mut Vec<u8>);

    /// A row.
    fn row(&mut self, row: R, out: &mut Vec<u8>) -> Result<(), StreamRefusal>;

    /// What stands after the last row.
    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), StreamRefusal>;
}

/// The text of all rows. They are read for as long as somebody takes the text: [`super::traffic`] gives up who takes it too slowly.
pub(crate) async fn write<R: Send + 'static>(
    rows: impl Stream<Item = Result<R, DbError>> + Send + 'static,
    writer: impl Write<R>,
) -> Result<Body, StreamRefusal> {
    let (pieces, mut written) = mpsc::channel(PIECES);
    let sending = async move {
        if let Err(failure) = send(&pieces, rows, writer).await {
            // Where nobody listens any more there is nobody to tell.
            let _ = pieces.send(Err(failure)).await;
        }
    };
    tokio::spawn(sending.in_current_span());
    let first = written.recv().await.transpose()?.unwrap_or_default();
    let Some(second) = written.recv().await else { return Ok(Body::from(first)) };
    Ok(streamed(async_stream::stream! {
        yield Ok(first);
        let mut next = Some(second);
        while let Some(piece) = next {
            yield piece.map_err(cut_off);
            next = written.recv().await;
        }
    }))
}

fn cut_off(failure: StreamRefusal) -> io::Error {
    tracing::error!(error = ?failure, "an answer was cut off");
    io::Error::other("the answer cannot be completed")
}

/// Ends early, and quietly, when nobody takes the pieces.
async fn send<R>(
    pieces: &mpsc::Sender<Result<Bytes, StreamRefusal>>,
    rows: impl Stream<Item = Result<R, DbError>>,
    mut writer: impl Write<R>,
) -> Result<(), StreamRefusal> {
    let mut rows = std::pin::pin!(rows);
    let mut out = Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 4);
    writer.begin(&mut out);
    while let Some(row) = rows.next().await {
        writer.row(row?, &mut out)?;
        if out.len() >= PIECE_BYTES {
            let piece = std::mem::replace(&mut out, Vec::with_capacity(PIECE_BYTES + PIECE_BYTES / 4));
            if pieces.send(Ok(piece.into())).await.is_err() {
                return Ok(());
            }
        }
    }
    writer.end(&mut out)?;
    // As above: who has gone away needs no end.
    let _ = pieces.send(Ok(out.into())).await;
    Ok(())
}

/// An answer that is read and sent piece by piece. A fault on the way ends it early, so that the client sees it is cut off.
pub(crate) fn streamed(pieces: impl Stream<Item = io::Result<Bytes>> + Send + 'static) -> Body {
    Body::from_bytes_stream(in_current_span(pieces))
}

/// The stream, polled within the span that is current now: answers are sent after the request's own has been left.
pub(crate) fn in_current_span<S: Stream + Send + 'static>(
    items: S,
) -> impl Stream<Item = S::Item> + Send + use<S> {
    let span = tracing::Span::current();
    futures_util::stream::unfold((Box::pin(items), span), async |(mut items, span)| {
        let item = items.next().instrument(span.clone()).await?;
        Some((item, (items, span)))
    })
}

/// JSON of the type `T` that is written by hand.
pub(crate) struct JsonText<T>(Body, PhantomData<fn() -> T>);

impl<T> JsonText<T> {
    /// The caller sees to it that the text is a `T`.
    pub(crate) fn new(text: Body) -> Self {
        Self(text, PhantomData)
    }
}

impl<T: Type> Payload for JsonText<T> {
    const CONTENT_TYPE: &'static str = "application/json";

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T> IntoResponse for JsonText<T> {
    fn into_response(self) -> Response {
        Response::builder().content_type("application/json").body(self.0)
    }
}

/// Lines that are text already.
pub(crate) struct Lines;

impl Write<Bytes> for Lines {
    fn begin(&mut self, _: &mut Vec<u8>) {}

    fn row(&mut self, line: Bytes, out: &mut Vec<u8>) -> Result<(), StreamRefusal> {
        out.extend_from_slice(&line);
        Ok(())
    }

    fn end(&mut self, _: &mut Vec<u8>) -> Result<(), StreamRefusal> {
        Ok(())
    }
}
