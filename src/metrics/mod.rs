//! What this process counts about its work; [`crate::api`] shows it at `/metrics`.

pub mod store;

use std::{
    fmt,
    future::Future,
    sync::atomic::AtomicI64,
    time::{Duration, Instant},
};

use prometheus_client::{
    encoding::{EncodeLabelSet, EncodeLabelValue, LabelValueEncoder},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};
use tracing::{Instrument, Span};

use crate::log::Lost;

/// Upper bounds, seconds: from a commit that waits for nothing to a chunk that waits for a lock.
const SECONDS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

macro_rules! label_values {
    ($($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])+ $variant:ident = $text:literal,)+ })+) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
            pub enum $name {
                $($(#[$variant_doc])+ $variant,)+
            }

            impl EncodeLabelValue for $name {
                fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> Result<(), fmt::Error> {
                    let text = match self { $(Self::$variant => $text,)+ };
                    EncodeLabelValue::encode(&text, encoder)
                }
            }
        )+
    };
}

label_values! {
    /// A part of what is done with a chunk, in their order.
    Phase {
        /// Reading what the import, its dataset and its file are.
        Prepare = "prepare",
        /// Parsing its records, checking every field, encoding the good rows.
        Check = "check",
        /// Waiting for a connection and, while somebody reads, for its turn.
        Turn = "turn",
        /// Opening the transaction; waiting for whoever changes the import's state.
        Begin = "begin",
        /// The ledger, the rows, the rejects.
        Copy = "copy",
        /// The commit.
        Commit = "commit",
        /// Telling the transport.
        Acknowledge = "acknowledge",
    }
    /// What became of a delivered chunk.
    Outcome {
        /// Its rows are in.
        Loaded = "loaded",
        /// They were in already.
        Repeated = "repeated",
        /// Its import was stopped, paused or changed hands.
        Fenced = "fenced",
        /// It comes again.
        Retried = "retried",
        /// Its import failed with it.
        Failed = "failed",
    }
    /// What became of a row.
    Row {
        /// It is loaded.
        Accepted = "accepted",
        /// It is reported.
        Rejected = "rejected",
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPhase {
    phase: Phase,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfOutcome {
    outcome: Outcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRow {
    outcome: Row,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfOperation {
    operation: &'static str,
    outcome: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfDirection {
    direction: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfWriter {
    writer: &'static str,
}

type Seconds<L> = Family<L, Histogram, fn() -> Histogram>;

/// The counts. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Metrics {
    phases: Seconds<OfPhase>,
    chunks: Family<OfOutcome, Counter>,
    rows: Family<OfRow, Counter>,
    bytes: Counter,
    archive: Seconds<OfOperation>,
    archive_bytes: Family<OfDirection, Counter>,
    lost: Lost,
}

impl Metrics {
    /// Nothing is counted yet, but for lines of the log that are lost.
    pub fn new(lost: Lost) -> Self {
        let seconds = || Histogram::new(SECONDS);
        Self {
            phases: Family::new_with_constructor(seconds as fn() -> Histogram),
            chunks: Family::default(),
            rows: Family::default(),
            bytes: Counter::default(),
            archive: Family::new_with_constructor(seconds as fn() -> Histogram),
            archive_bytes: Family::default(),
            lost,
        }
    }

    /// Does a part of the work on a chunk: timed, and in a span of its own.
    pub async fn phase<T>(&self, phase: Phase, work: impl Future<Output = T>) -> T {
        let started = Instant::now();
        let done = work.instrument(phase.span()).await;
        self.phases.get_or_create(&OfPhase { phase }).observe(started.elapsed().as_secs_f64());
        done
    }

    /// A delivered chunk is dealt with.
    pub fn chunk(&self, outcome: Outcome) {
        self.chunks.get_or_create(&OfOutcome { outcome }).inc();
    }

    /// A chunk is stored.
    pub fn stored(&self, bytes: u64, accepted: u64, rejected: u64) {
        self.bytes.inc_by(bytes);
        self.rows.get_or_create(&OfRow { outcome: Row::Accepted }).inc_by(accepted);
        self.rows.get_or_create(&OfRow { outcome: Row::Rejected }).inc_by(rejected);
    }

    /// The archive did something, or could not.
    pub fn archive(&self, operation: &'static str, done: bool, took: Duration) {
        let outcome = if done { "done" } else { "failed" };
        self.archive.get_or_create(&OfOperation { operation, outcome }).observe(took.as_secs_f64());
    }

    /// Bytes went into the archive.
    pub fn archive_written(&self, bytes: u64) {
        self.archive_bytes.get_or_create(&OfDirection { direction: "written" }).inc_by(bytes);
    }

    /// Bytes came out of the archive.
    pub fn archive_read(&self, bytes: u64) {
        self.archive_bytes.get_or_create(&OfDirection { direction: "read" }).inc_by(bytes);
    }

    /// Shows the counts.
    pub fn register(&self, registry: &mut Registry) {
        let Self { phases, chunks, rows, bytes, archive, archive_bytes, lost } = self.clone();
        registry.register_with_unit("chunk", "Parts of the work on chunks", Unit::Seconds, phases);
        registry.register("chunks", "Delivered chunks, by what became of them", chunks);
        registry.register("chunk_rows", "Rows of chunks that were stored", rows);
        registry.register_with_unit("chunk", "Bytes of chunks that were stored", Unit::Bytes, bytes);
        registry.register_with_unit("archive", "Operations of the archive", Unit::Seconds, archive);
        let help = "Bytes into the archive and out of it";
        registry.register_with_unit("archive", help, Unit::Bytes, archive_bytes);
        let lines = Family::<OfWriter, Counter>::default();
        for (writer, number) in lost.get() {
            lines.get_or_create(&OfWriter { writer }).inc_by(number);
        }
        registry.register("log_lines_lost", "Lines of the log that could not be written in time", lines);
        register_process(registry);
    }
}

impl Phase {
    fn span(self) -> Span {
        match self {
            Self::Prepare => tracing::info_span!("prepare"),
            Self::Check => tracing::info_span!("check"),
            Self::Turn => tracing::info_span!("turn"),
            Self::Begin => tracing::info_span!("begin"),
            Self::Copy => tracing::info_span!("copy"),
            Self::Commit => tracing::info_span!("commit"),
            Self::Acknowledge => tracing::info_span!("acknowledge"),
        }
    }
}

/// What the kernel says of this process; nothing where there is no `/proc`.
fn register_process(registry: &mut Registry) {
    let number = |value: i64| {
        let gauge = Gauge::<i64, AtomicI64>::default();
        gauge.set(value);
        gauge
    };
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix("kB"));
    if let Some(kib) = resident.and_then(|kib| kib.trim().parse::<i64>().ok()) {
        let help = "Memory that this process has";
        registry.register_with_unit("process_resident_memory", help, Unit::Bytes, number(kib * 1_024));
    }
    if let Ok(files) = std::fs::read_dir("/proc/self/fd") {
        let files = i64::try_from(files.count()).unwrap_or(i64::MAX);
        registry.register(
            "process_open_files",
            "Files and connections that this process has open",
            number(files),
        );
    }
}
