//! What is logged, and where it goes: standard output, files that rotate (`files`), a window in memory (`recent`).
//!
//! Each writes in a thread of its own, behind a bounded queue. Whoever logs never waits: a disk that is full, slow or gone
//! costs lines, which are counted, and nothing else.

mod files;
pub mod recent;

use std::io::{self, IsTerminal, Write};

use opentelemetry_otlp::ExporterBuildError;
use tracing::{
    Metadata, Subscriber,
    level_filters::LevelFilter,
    span::{Attributes, Id, Record},
    subscriber::Interest,
};
use tracing_appender::non_blocking::{ErrorCounter, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::ParseError,
    fmt::MakeWriter,
    layer::{Context, SubscriberExt},
    registry::LookupSpan,
    util::{SubscriberInitExt, TryInitError},
};

use self::{files::Files, recent::Recent};
use crate::{
    config::{self, LogFormat},
    trace::Traces,
};

/// Lines that wait for a writer; further ones are lost.
const QUEUE_LINES: usize = 8_192;

/// Why nothing can be logged.
#[derive(Debug, thiserror::Error)]
pub enum LogError {
    /// The filter cannot be read.
    #[error("log.filter")]
    Filter(#[from] ParseError),
    /// The collector's address is none.
    #[error("traces.endpoint")]
    Traces(#[from] ExporterBuildError),
    /// Something in this process logs already.
    #[error("starting the log")]
    Start(#[from] TryInitError),
}

/// A process's log. What waits to be written is written when it is dropped.
#[derive(Debug)]
pub struct Log {
    /// What the process itself can show of it.
    pub shown: Shown,
    // Sent before the writers end: what goes wrong is logged.
    _traces: Option<Traces>,
    _writers: Vec<WorkerGuard>,
}

/// What a process can show of its log.
#[derive(Debug, Clone)]
pub struct Shown {
    /// The last lines.
    pub recent: Recent,
    /// Lines that were not written.
    pub lost: Lost,
}

impl Shown {
    /// Of a process that logs nothing.
    pub fn nothing() -> Self {
        Self { recent: Recent::new(0), lost: Lost::default() }
    }
}

/// Lines that this process has lost, by where they should have gone. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct Lost(Vec<(&'static str, ErrorCounter)>);

impl Lost {
    /// Since the start: `stdout` or `files`, and how many.
    pub fn get(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.0.iter().map(|(writer, lost)| (*writer, lost.dropped_lines() as u64))
    }
}

/// Starts the log of a service: standard output, files if there is a directory for them, and the window; traces, too, which are made of
/// the same spans.
pub fn start(config: &config::Log, traces: &config::Traces) -> Result<Log, LogError> {
    let recent = Recent::new(config.recent_bytes);
    let mut lost = Lost::default();
    let mut writers = Vec::new();
    let mut queue = |name: &'static str, writer: Box<dyn Write + Send>| {
        let queue = NonBlockingBuilder::default().buffered_lines_limit(QUEUE_LINES).thread_name(name);
        let (queue, guard) = queue.finish(writer);
        lost.0.push((name, queue.error_counter()));
        writers.push(guard);
        queue
    };
    let stdout = queue("stdout", Box::new(io::stdout()));
    let files = config.has_files().then(|| queue("files", Box::new(Files::new(config))));
    // The first one formats the fields of spans for both; colours have no place in a file.
    let mut layers = Vec::new();
    if let Some(files) = files {
        layers.push(text(config, files, false));
    }
    layers.push(text(config, stdout, io::stdout().is_terminal()));
    layers.push(recent.layer().boxed());
    let traces = Traces::start(traces)?;
    layers.extend(traces.as_ref().map(|traces| traces.layer().boxed()));
    tracing_subscriber::registry().with(layers).with(Filter::new(config)?).try_init()?;
    Ok(Log { shown: Shown { recent, lost }, _traces: traces, _writers: writers })
}

/// Starts the log of a command, whose standard output is its answer.
pub fn start_on_stderr(config: &config::Log) -> Result<(), LogError> {
    let layer = text::<Registry, _>(config, io::stderr, io::stderr().is_terminal());
    Ok(tracing_subscriber::registry().with(layer).with(Filter::new(config)?).try_init()?)
}

/// Lines for people or for machines.
fn text<S, W>(config: &config::Log, writer: W, colours: bool) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    // A writer that fails is no reason to write to another one that may fail too.
    let layer = tracing_subscriber::fmt::layer().with_writer(writer).log_internal_errors(false);
    match config.format {
        LogFormat::Text => layer.with_ansi(colours).boxed(),
        LogFormat::Json => layer.json().boxed(),
    }
}

/// What is logged and traced. One for all layers: with one each, a span could get lost for some of them after a question whether
/// something would be logged.
struct Filter(EnvFilter);

impl Filter {
    fn new(config: &config::Log) -> Result<Self, ParseError> {
        Ok(Self(EnvFilter::try_new(&config.filter)?))
    }
}

/// Spans of our own always count: whatever is logged within one says whose request, import or chunk it is about.
impl<S: Subscriber> Layer<S> for Filter {
    fn register_callsite(&self, metadata: &'static Metadata<'static>) -> Interest {
        // It has to know of all of them, for directives that name a span.
        let interest = Layer::<S>::register_callsite(&self.0, metadata);
        if is_own_span(metadata) { Interest::always() } else { interest }
    }

    fn enabled(&self, metadata: &Metadata<'_>, context: Context<'_, S>) -> bool {
        is_own_span(metadata) || self.0.enabled(metadata, context)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Layer::<S>::max_level_hint(&self.0).map(|most| most.max(LevelFilter::INFO))
    }

    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        self.0.on_new_span(attributes, id, context);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        self.0.on_record(id, values, context);
    }

    fn on_enter(&self, id: &Id, context: Context<'_, S>) {
        self.0.on_enter(id, context);
    }

    fn on_exit(&self, id: &Id, context: Context<'_, S>) {
        self.0.on_exit(id, context);
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        self.0.on_close(id, context);
    }
}

/// Whether it is a span of this crate that tells what is being done.
fn is_own_span(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.target().starts_with(env!("CARGO_PKG_NAME"))
}
