//! An import's progress as server-sent events.

use std::{pin::Pin, time::Duration};

use futures_util::Stream;
use poem::web::sse::Event;
use poem_openapi::{ApiResponse, payload::EventStream, types::ToJSON};

use super::{
    super::{Context, stream::in_current_span},
    view::ImportView,
};
use crate::db::notify::Topic;

/// The shortest and the longest time between two looks at the import.
const PACE: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(1));
/// How often to say that the connection lives when there is nothing else to say.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// Views of an import, as it changes.
type Views = Pin<Box<dyn Stream<Item = ImportView> + Send>>;

#[derive(ApiResponse)]
pub(super) enum EventsAnswer {
    /// An event `import` whenever it changed; the stream ends with the import, or once nothing of it is left to remove. The last event has
    /// the state as its `id`; a stream that ends without an `id` was cut off
    #[oai(status = 200)]
    Events(EventStream<Views>),
    /// `Last-Event-ID` says that the client has seen the end of the import: nothing follows, and browsers do not reconnect
    #[oai(status = 204)]
    Seen,
}

/// The answer to a client that has seen the event with the id `last`.
pub(super) fn answer(context: Context, first: ImportView, last: Option<&str>) -> EventsAnswer {
    if last.is_some() && last == first.final_state().as_deref() {
        return EventsAnswer::Seen;
    }
    let events = EventStream::new(follow(context, first));
    EventsAnswer::Events(events.to_event(named).keep_alive(KEEP_ALIVE))
}

/// The import as it is, then after every change, until it has ended and nothing of it is left to remove, or the service stops.
fn follow(context: Context, first: ImportView) -> Views {
    Box::pin(in_current_span(async_stream::stream! {
        let mut watch = context.changes.watch(Topic::Ledger);
        let mut last = first.to_json_string();
        let mut ended = first.is_settled();
        let id = first.id();
        yield first;
        while !ended {
            // At most so many looks a second, however fast chunks are loaded and however many follow.
            let next = async {
                tokio::time::sleep(PACE.0).await;
                watch.changed(PACE.1).await;
            };
            if context.stopping.run_until_cancelled(next).await.is_none() {
                break;
            }
            let view = match context.view(id).await {
                Ok(Some(view)) => view,
                Ok(None) => break,
                Err(error) => {
                    tracing::warn!(error = &error as &dyn std::error::Error, "cannot follow an import");
                    break;
                }
            };
            ended = view.is_settled();
            let json = view.to_json_string();
            if json != last {
                last = json;
                yield view;
            }
        }
    }))
}

/// A browser reconnects whenever a stream ends, and sends the last id that it has seen.
fn named(view: ImportView) -> Event {
    let event = Event::message(view.to_json_string()).event_type("import");
    match view.final_state() {
        Some(state) => event.id(state),
        None => event,
    }
}
