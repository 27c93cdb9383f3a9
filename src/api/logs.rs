//! `/logs`: the last lines of this process's log, and those to come.

use std::{collections::BTreeMap, pin::Pin, time::Duration};

use chrono::{DateTime, SecondsFormat, Utc};
use futures_util::Stream;
use poem::web::sse::Event;
use poem_openapi::{
    ApiResponse, Enum, Object, OpenApi, Union,
    param::Query,
    payload::{EventStream, PlainText},
    types::{Example, ToJSON},
};
use serde_json::Value;
use tracing::Level;

use super::{
    Context, Tag,
    access::MayOperate,
    body::Json,
    negotiate::Accepted,
    problem::{Internal, Invalid},
};
use crate::{
    log::recent::{Line, Recent},
    refusal,
};

/// Lines of an answer that does not say how many.
const LINES: u64 = 50;
/// How often to say that the connection lives when there is nothing else to say.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// See the module.
pub(super) struct Logs {
    /// What it works with.
    pub(super) context: Context,
}

/// How bad it is, or worse
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
enum LogLevel {
    Error,
    Warn,
    Info,
    Debug,
    Trace,
}

impl From<Level> for LogLevel {
    fn from(level: Level) -> Self {
        match level {
            Level::ERROR => Self::Error,
            Level::WARN => Self::Warn,
            Level::INFO => Self::Info,
            Level::DEBUG => Self::Debug,
            Level::TRACE => Self::Trace,
        }
    }
}

impl From<LogLevel> for Level {
    fn from(level: LogLevel) -> Self {
        match level {
            LogLevel::Error => Self::ERROR,
            LogLevel::Warn => Self::WARN,
            LogLevel::Info => Self::INFO,
            LogLevel::Debug => Self::DEBUG,
            LogLevel::Trace => Self::TRACE,
        }
    }
}

/// A line of the log
#[derive(Debug, Clone, Object)]
#[oai(example)]
struct LogLine {
    /// Its place among the lines of this process, from 1.
    number: u64,
    /// When.
    time: DateTime<Utc>,
    /// How bad it is.
    level: LogLevel,
    /// The module that says it.
    target: String,
    /// What it says.
    message: String,
    /// The request it is about.
    request_id: Option<String>,
    /// The import it is about.
    import_id: Option<i64>,
    /// The chunk it is about.
    chunk: Option<i64>,
    /// Whatever else it says.
    fields: BTreeMap<String, Value>,
}

impl Example for LogLine {
    fn example() -> Self {
        Self {
            number: 17,
            time: DateTime::UNIX_EPOCH + Duration::from_secs(1_795_000_000),
            level: LogLevel::Info,
            target: "tarmac::ingest::finish".to_owned(),
            message: "import complete".to_owned(),
            request_id: None,
            import_id: Some(3),
            chunk: None,
            fields: [("rows", 7_698.into()), ("rejected", 0.into())]
                .map(|(name, value): (&str, Value)| (name.to_owned(), value))
                .into(),
        }
    }
}

impl From<&Line> for LogLine {
    fn from(line: &Line) -> Self {
        let Line { number, time, level, target, message, request_id, import, chunk, fields } = line.clone();
        let level = level.into();
        Self { number, time, level, target, message, request_id, import_id: import, chunk, fields }
    }
}

impl LogLine {
    /// For people: a line of text, whatever is in it.
    fn text(&self) -> String {
        let time = self.time.to_rfc3339_opts(SecondsFormat::Micros, true);
        let level = format!("{:?}", self.level).to_uppercase();
        let mut text = format!("{time} {level:>5} {}: {}", self.target, self.message.escape_debug());
        let own = [
            ("request_id", self.request_id.clone().map(Value::from)),
            ("import_id", self.import_id.map(Value::from)),
            ("chunk", self.chunk.map(Value::from)),
        ];
        for (name, value) in own.into_iter().filter_map(|(name, value)| Some((name, value?))) {
            text += &format!(" {name}={value}");
        }
        for (name, value) in &self.fields {
            text += &format!(" {name}={value}");
        }
        text.push('\n');
        text
    }
}

/// Lines that were not sent, because they came faster than they were taken
#[derive(Debug, Object)]
#[oai(example)]
struct LogLost {
    /// How many; those that the filter would have left out too.
    lost: u64,
}

impl Example for LogLost {
    fn example() -> Self {
        Self { lost: 12 }
    }
}

/// What the stream sends
#[derive(Debug, Union)]
enum LogEvent {
    Line(LogLine),
    Lost(LogLost),
}

#[derive(ApiResponse)]
enum LogsAnswer {
    /// The lines, the oldest first
    #[oai(status = 200)]
    Json(Json<Vec<LogLine>>),
    /// A line of JSON each
    #[oai(status = 200, content_type = "application/x-ndjson")]
    Ndjson(PlainText<String>),
    /// A line of text each, for people
    #[oai(status = 200, content_type = "text/plain; charset=utf-8")]
    Text(PlainText<String>),
}

/// Lines, as they come.
type LogEvents = Pin<Box<dyn Stream<Item = LogEvent> + Send>>;

#[derive(ApiResponse)]
enum StreamAnswer {
    /// An event `line` for each line, and an event `lost` where some are missing
    #[oai(status = 200)]
    Events(EventStream<LogEvents>),
}

refusal!(
    /// Why the log is not shown.
    LogsRefusal: Invalid, Internal
);

/// Which lines are wanted.
#[derive(Debug, Clone, Copy)]
struct Filter {
    level: Level,
    import_id: Option<i64>,
}

impl Filter {
    fn new(level: Option<LogLevel>, import_id: Option<i64>) -> Self {
        Self { level: level.map_or(Level::TRACE, Level::from), import_id }
    }

    fn takes(&self, line: &Line) -> bool {
        line.level <= self.level && self.import_id.is_none_or(|id| line.import == Some(id))
    }
}

#[OpenApi(tag = "Tag::Operations")]
impl Logs {
    /// The last lines of the log
    ///
    /// Those of the process that answers, as far as they are still in its memory; each process has its own.
    #[oai(path = "/logs", method = "get", operation_id = "list_logs")]
    async fn list_logs(
        &self,
        _caller: MayOperate,
        /// Most lines; 50 unless given
        #[oai(validator(maximum(value = "10000")))]
        Query(limit): Query<Option<u64>>,
        /// Only lines that are as bad, or worse
        Query(level): Query<Option<LogLevel>>,
        /// Only lines about this import
        Query(import_id): Query<Option<i64>>,
        accepted: Accepted,
    ) -> Result<LogsAnswer, LogsRefusal> {
        let limit = limit.unwrap_or(LINES);
        if limit == 0 {
            return Err(Invalid::parameter("limit", "out_of_range", "limit must be at least 1").into());
        }
        let filter = Filter::new(level, import_id);
        let kept = self.context.recent.since(0).lines;
        let mut lines: Vec<_> = kept.iter().filter(|line| filter.takes(line)).collect();
        let surplus = lines.len().saturating_sub(usize::try_from(limit).unwrap_or(usize::MAX));
        let lines = lines.drain(surplus..).map(|line| LogLine::from(line.as_ref()));
        Ok(match accepted.0 {
            "application/x-ndjson" => {
                LogsAnswer::Ndjson(PlainText(lines.map(|line| line.to_json_string() + "\n").collect()))
            }
            "text/plain; charset=utf-8" => {
                LogsAnswer::Text(PlainText(lines.map(|line| line.text()).collect()))
            }
            _ => LogsAnswer::Json(Json(lines.collect())),
        })
    }

    /// The log as it is written
    ///
    /// Server-sent events, from now on, of the process that answers. A line's number is its event's `id`; with `Last-Event-ID` the stream goes on
    /// after that line, as far as it is still in memory. Who reads too slowly misses lines, and is told how many.
    #[oai(path = "/logs/stream", method = "get", operation_id = "follow_logs")]
    async fn follow_logs(
        &self,
        _caller: MayOperate,
        /// Only lines that are as bad, or worse
        Query(level): Query<Option<LogLevel>>,
        /// Only lines about this import
        Query(import_id): Query<Option<i64>>,
        /// When to end the stream; unless given, it goes on until the client or the service ends
        #[oai(validator(maximum(value = "86400")))]
        Query(seconds): Query<Option<u64>>,
        /// The last line that was received
        #[oai(name = "Last-Event-ID")]
        poem_openapi::param::Header(last): poem_openapi::param::Header<Option<u64>>,
    ) -> Result<StreamAnswer, LogsRefusal> {
        let filter = Filter::new(level, import_id);
        let recent = self.context.recent.clone();
        let now = recent.since(u64::MAX).last;
        // A number from before a restart may be ahead.
        let after = last.filter(|last| *last <= now).unwrap_or(now);
        let stopping = self.context.stopping.clone();
        let end = async move {
            match seconds {
                Some(seconds) => tokio::select! {
                    () = stopping.cancelled() => {}
                    () = tokio::time::sleep(Duration::from_secs(seconds)) => {}
                },
                None => stopping.cancelled().await,
            }
        };
        let events = EventStream::new(follow(recent, filter, after, end));
        Ok(StreamAnswer::Events(events.to_event(named).keep_alive(KEEP_ALIVE)))
    }
}

/// Lines after the one with that number, until `end`.
fn follow(
    recent: Recent,
    filter: Filter,
    mut after: u64,
    end: impl Future<Output = ()> + Send + 'static,
) -> LogEvents {
    Box::pin(async_stream::stream! {
        let mut watch = recent.watch();
        let mut end = std::pin::pin!(end);
        loop {
            watch.mark_unchanged();
            let since = recent.since(after);
            after = since.last;
            if since.lost > 0 {
                yield LogEvent::Lost(LogLost { lost: since.lost });
            }
            for line in since.lines.iter().filter(|line| filter.takes(line)) {
                yield LogEvent::Line(LogLine::from(line.as_ref()));
            }
            tokio::select! {
                () = &mut end => break,
                // The window outlives whoever looks through it.
                _ = watch.changed() => {}
            }
        }
    })
}

fn named(event: LogEvent) -> Event {
    match event {
        LogEvent::Line(line) => {
            Event::message(line.to_json_string()).event_type("line").id(line.number.to_string())
        }
        LogEvent::Lost(lost) => Event::message(lost.to_json_string()).event_type("lost"),
    }
}
