//! The last lines of this process in memory, for whoever looks over the API.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use chrono::{DateTime, Utc};
use serde_json::Value;
use tokio::sync::watch;
use tracing::{
    Event, Level, Subscriber,
    field::{Field, Visit},
    span::{Attributes, Id, Record},
};
use tracing_subscriber::{
    Layer,
    layer::Context,
    registry::{LookupSpan, Scope},
};

/// What a line takes beside its texts, bytes; roughly.
const LINE_BYTES: usize = 256;

/// A line of the log.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Its place among the lines of this process, from 1.
    pub number: u64,
    /// When.
    pub time: DateTime<Utc>,
    /// How bad.
    pub level: Level,
    /// Which module says it.
    pub target: String,
    /// What it says.
    pub message: String,
    /// The request it is about.
    pub request_id: Option<String>,
    /// The import it is about.
    pub import: Option<i64>,
    /// The chunk it is about.
    pub chunk: Option<i64>,
    /// Everything else.
    pub fields: BTreeMap<String, Value>,
}

/// The window. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Recent {
    window: Arc<Mutex<Window>>,
    /// The number of the last line.
    last: watch::Sender<u64>,
}

#[derive(Debug)]
struct Window {
    lines: VecDeque<(Arc<Line>, usize)>,
    bytes: usize,
    bytes_most: usize,
    last: u64,
}

/// What came after a line.
#[derive(Debug, PartialEq)]
pub struct Since {
    /// Lines that are gone already.
    pub lost: u64,
    /// The others.
    pub lines: Vec<Arc<Line>>,
    /// The number of the last of them all.
    pub last: u64,
}

impl Recent {
    /// Keeps lines of about so many bytes together.
    pub fn new(bytes_most: usize) -> Self {
        let window = Window { lines: VecDeque::new(), bytes: 0, bytes_most, last: 0 };
        Self { window: Arc::new(Mutex::new(window)), last: watch::Sender::new(0) }
    }

    /// What fills it.
    pub fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> impl Layer<S> + use<S> {
        Recorder(self.clone())
    }

    /// The lines after the one with this number.
    pub fn since(&self, number: u64) -> Since {
        let window = self.window();
        let first = window.last - window.lines.len() as u64 + 1;
        let next = number.saturating_add(1);
        let lost = first.saturating_sub(next);
        let old = usize::try_from(next.saturating_sub(first)).unwrap_or(usize::MAX);
        let lines = window.lines.iter().skip(old).map(|(line, _)| Arc::clone(line)).collect();
        Since { lost, lines, last: window.last }
    }

    /// Tells whoever waits that there are more lines.
    pub fn watch(&self) -> watch::Receiver<u64> {
        self.last.subscribe()
    }

    fn window(&self) -> MutexGuard<'_, Window> {
        // Lines are whole whatever happened to their writer.
        self.window.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn push(&self, mut line: Line) {
        let texts = line.target.len() + line.message.len() + line.request_id.as_ref().map_or(0, String::len);
        let fields = line
            .fields
            .iter()
            .map(|(name, value)| name.len() + LINE_BYTES / 4 + value.as_str().map_or(0, str::len));
        let bytes = LINE_BYTES + texts + fields.sum::<usize>();
        let mut window = self.window();
        window.last += 1;
        line.number = window.last;
        window.bytes += bytes;
        window.lines.push_back((Arc::new(line), bytes));
        while window.bytes > window.bytes_most
            && let Some((_, bytes)) = window.lines.pop_front()
        {
            window.bytes -= bytes;
        }
        let last = window.last;
        drop(window);
        // Lines of two threads may come here in the other order.
        self.last.send_if_modified(|seen| {
            *seen < last && {
                *seen = last;
                true
            }
        });
    }
}

struct Recorder(Recent);

/// The fields of a span, as far as they are known.
#[derive(Debug, Default)]
struct Fields(BTreeMap<String, Value>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Recorder {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        if let Some(span) = context.span(id) {
            let mut fields = Fields::default();
            attributes.record(&mut fields);
            span.extensions_mut().insert(fields);
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(fields) = span.extensions_mut().get_mut::<Fields>()
        {
            values.record(fields);
        }
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let mut fields = Fields::default();
        // What is nearer to the event goes over what is around it.
        for span in context.event_scope(event).into_iter().flat_map(Scope::from_root) {
            if let Some(own) = span.extensions().get::<Fields>() {
                fields.0.extend(own.0.clone());
            }
        }
        event.record(&mut fields);
        let text = |value: Option<Value>| match value {
            Some(Value::String(text)) => Some(text),
            other => other.map(|value| value.to_string()),
        };
        let Fields(mut fields) = fields;
        self.0.push(Line {
            number: 0,
            time: Utc::now(),
            level: *event.metadata().level(),
            target: event.metadata().target().to_owned(),
            message: text(fields.remove("message")).unwrap_or_default(),
            request_id: text(fields.remove("request.id")),
            import: fields.remove("import").and_then(|import| import.as_i64()),
            chunk: fields.remove("chunk").and_then(|chunk| chunk.as_i64()),
            fields,
        });
    }
}

impl Fields {
    fn put(&mut self, field: &Field, value: impl Into<Value>) {
        self.0.insert(field.name().to_owned(), value.into());
    }
}

impl Visit for Fields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.put(field, value);
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.put(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.put(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.put(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.put(field, value);
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        let mut text = value.to_string();
        let mut source = value.source();
        while let Some(cause) = source {
            text.push_str(": ");
            text.push_str(&cause.to_string());
            source = cause.source();
        }
        self.put(field, text);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.put(field, format!("{value:?}"));
    }
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

    fn logged(bytes: usize, say: impl FnOnce()) -> Recent {
        let recent = Recent::new(bytes);
        let subscriber = tracing_subscriber::registry().with(recent.layer());
        tracing::subscriber::with_default(subscriber, say);
        recent
    }

    #[test]
    fn a_line_says_whose_it_is() {
        let recent = logged(100_000, || {
            let request = tracing::info_span!("request", request.id = "r-1", key.id = tracing::field::Empty);
            let _request = request.enter();
            request.record("key.id", 7);
            let _chunk = tracing::info_span!("chunk", import = 3, chunk = 5_i64).entered();
            let error = std::io::Error::other("the disk is full");
            tracing::warn!(error = &error as &dyn std::error::Error, tries = 2, "must {}", "wait");
        });
        let since = recent.since(0);
        assert_eq!((since.lost, since.last), (0, 1));
        let line = &since.lines[0];
        assert_eq!((line.level, line.message.as_str()), (Level::WARN, "must wait"));
        assert_eq!((line.request_id.as_deref(), line.import, line.chunk), (Some("r-1"), Some(3), Some(5)));
        let fields = [("error", "the disk is full".into()), ("key.id", 7.into()), ("tries", 2.into())];
        assert_eq!(line.fields, fields.map(|(name, value)| (name.to_owned(), value)).into());
    }

    #[test]
    fn old_lines_go_and_are_counted_for_who_has_not_seen_them() {
        let recent = logged(10 * LINE_BYTES, || {
            for number in 1..=100 {
                tracing::info!("{number}");
            }
        });
        let since = recent.since(40);
        let kept = since.lines.len() as u64;
        assert!((5..10).contains(&kept), "{kept}");
        assert_eq!((since.lost, since.last), (60 - kept, 100));
        assert_eq!(since.lines[0].number, 101 - kept);
        assert_eq!(recent.since(98).lines.iter().map(|line| line.number).collect::<Vec<_>>(), [99, 100]);
        assert_eq!(recent.since(100), Since { lost: 0, lines: Vec::new(), last: 100 });
        assert_eq!(*recent.watch().borrow(), 100);
    }
}
