//! An import as clients see it.

use chrono::{DateTime, Utc};
use poem_openapi::{Enum, Object, types::Example};

use crate::db::{
    chunks::Progress,
    imports::{self, Import},
    removals::Removal,
};

/// Where an import stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
pub(crate) enum ImportState {
    /// The bytes are safe; the work has not begun.
    Received,
    /// Being loaded.
    Running,
    /// Stopped on request; goes on when resumed.
    Paused,
    /// All of it is visible.
    Complete,
    /// None of it is visible; `error` says why.
    Failed,
    /// Stopped on request for good; none of it is visible.
    Cancelled,
    /// Was complete; what it created is hidden, and removed once `removal` has finished.
    Undone,
}

/// What happens to an import with rejects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
pub(crate) enum ImportMode {
    /// Good rows go in, the others are reported.
    Lenient,
    /// One reject fails the import.
    Strict,
}

/// What became of the rows: `accepted + rejected = rows_read`, and
/// `accepted = inserted + updated + unchanged + deleted`. Until the import has ended, accepted rows that were not matched
/// yet count as inserted. An import that failed, was cancelled or is a dry run stored nothing: its counts say what was
/// decided about its rows
#[derive(Debug, Clone, Copy, Object)]
#[oai(rename = "ImportCounts")]
pub(crate) struct CountsView {
    /// Data records read so far.
    rows_read: i64,
    /// Rows that obey every rule.
    accepted: i64,
    /// New rows.
    inserted: i64,
    /// Rows that changed one that was there.
    updated: i64,
    /// Rows equal to one that was there.
    unchanged: i64,
    /// Rows of something that is deleted and stays so.
    deleted: i64,
    /// Rows that break a rule; `links.rejects` says which and how.
    rejected: i64,
    /// Relations that accepted rows have lost: to a citizen who is not in the import, or who does not list back. `links.rejects` names
    /// them, with `accepted` true. Null for an import that ended before they were counted.
    relations_dropped: Option<i64>,
    /// Stored rows that `load=sync` deleted because the file does not name them; no part of the rows read. Null for any other import.
    removed: Option<i64>,
    /// Bytes loaded so far, unpacked.
    bytes: i64,
    /// Chunks loaded so far.
    chunks: i64,
}

/// Why an import failed
#[derive(Debug, Clone, Object)]
#[oai(rename = "ImportFailure")]
pub(crate) struct ErrorView {
    /// Stable and for machines.
    code: String,
    /// For people, with the place of the fault.
    message: String,
}

/// Something about an import, or a file of it, that is neither a count nor a reject
#[derive(Debug, Clone, Object)]
#[oai(rename = "ImportNote")]
pub(crate) struct NoteView {
    /// Stable and for machines: `passed_over`, `empty_column`.
    code: String,
    /// Which file of the upload, when that was a ZIP.
    file: Option<String>,
    /// The column's name.
    column: Option<String>,
    /// For people.
    message: String,
}

/// How an import that was undone, cancelled or failed is taken out again. Its rows are hidden from the moment on at which the import
/// has its state; to remove many takes a while
#[derive(Debug, Clone, Object)]
#[oai(rename = "ImportRemoval")]
pub(crate) struct RemovalView {
    /// Rows removed so far.
    pub(crate) removed: i64,
    /// Rows the import had created that were changed since, and stay; not known before all others are removed.
    pub(crate) kept: Option<i64>,
    /// Rows the import had changed, or deleted as `load=sync` does, which stay as it left them.
    pub(crate) not_reverted: i64,
    /// When nothing was left to remove.
    finished_at: Option<DateTime<Utc>>,
}

/// Paths that belong to an import
#[derive(Debug, Clone, Object)]
#[oai(rename = "ImportLinks")]
pub(crate) struct LinksView {
    /// The import.
    #[oai(rename = "self")]
    import: String,
    /// Its progress as server-sent events.
    events: String,
    /// Its rejects.
    rejects: String,
    /// Its rejects as CSV, to be corrected and posted back.
    rejects_csv: String,
    /// The bytes as they were uploaded.
    source: String,
}

/// An import: one uploaded file and what became of it
#[derive(Debug, Clone, Object)]
#[oai(rename = "Import", example)]
pub(crate) struct ImportView {
    /// Its number.
    id: i64,
    /// What it imports.
    dataset: String,
    /// Where it stands.
    pub(crate) state: ImportState,
    /// What happens with rejects.
    mode: ImportMode,
    /// More rejects than this fail the import.
    max_rejects: Option<i64>,
    /// Whether it validates and decides, and stores nothing.
    dry_run: bool,
    /// The version of a declared dataset that it began with; null for a built-in one.
    dataset_version: Option<i32>,
    /// How its rows meet those that are stored: `upsert`, `insert`, `append` or `sync`; null for a built-in dataset.
    load: Option<String>,
    /// The import whose rejects it brings back.
    corrects: Option<i64>,
    /// The last import that brings its rejects back.
    pub(super) corrected_by: Option<i64>,
    /// In the answer to an upload: the same file was imported before, this is that import, and nothing new was begun. False wherever an
    /// import is read.
    pub(crate) repeated: bool,
    /// The file as its client named it.
    filename: Option<String>,
    /// `text/csv`, `application/zip` or `application/json`.
    media_type: String,
    /// Length of the upload, bytes.
    bytes: i64,
    /// SHA-256 of the upload, hexadecimal.
    sha256: String,
    /// What became of its rows.
    counts: CountsView,
    /// Rows read a second, on average.
    rows_per_second: Option<f64>,
    /// Seconds left at this rate, while it runs and once a rate is known.
    seconds_left: Option<f64>,
    /// Why it failed.
    error: Option<ErrorView>,
    /// What was left out of it: files of a ZIP, columns. The first ones, where there are many.
    notes: Vec<NoteView>,
    /// How far it is taken out again, where it is.
    pub(crate) removal: Option<RemovalView>,
    /// Where to go on.
    links: LinksView,
    /// When the bytes were safe.
    created_at: DateTime<Utc>,
    /// When the work began.
    started_at: Option<DateTime<Utc>>,
    /// When it ended.
    finished_at: Option<DateTime<Utc>>,
    /// Since when its upload and its rejects are in the long-term archive, and cannot be read here.
    archived_at: Option<DateTime<Utc>>,
}

impl From<imports::Note> for NoteView {
    fn from(note: imports::Note) -> Self {
        let imports::Note { code, file, column, message } = note;
        Self { code, file, column, message }
    }
}

impl From<imports::State> for ImportState {
    fn from(state: imports::State) -> Self {
        match state {
            imports::State::Received => Self::Received,
            imports::State::Running => Self::Running,
            imports::State::Paused => Self::Paused,
            imports::State::Complete => Self::Complete,
            imports::State::Failed => Self::Failed,
            imports::State::Cancelled => Self::Cancelled,
            imports::State::Undone => Self::Undone,
        }
    }
}

impl From<ImportState> for imports::State {
    fn from(state: ImportState) -> Self {
        match state {
            ImportState::Received => Self::Received,
            ImportState::Running => Self::Running,
            ImportState::Paused => Self::Paused,
            ImportState::Complete => Self::Complete,
            ImportState::Failed => Self::Failed,
            ImportState::Cancelled => Self::Cancelled,
            ImportState::Undone => Self::Undone,
        }
    }
}

impl From<ImportMode> for imports::Mode {
    fn from(mode: ImportMode) -> Self {
        match mode {
            ImportMode::Lenient => Self::Lenient,
            ImportMode::Strict => Self::Strict,
        }
    }
}

impl From<imports::Mode> for ImportMode {
    fn from(mode: imports::Mode) -> Self {
        match mode {
            imports::Mode::Lenient => Self::Lenient,
            imports::Mode::Strict => Self::Strict,
        }
    }
}

impl ImportView {
    /// The import as it stands at `now`, with what the ledger says of it.
    pub(crate) fn new(
        import: Import,
        progress: &Progress,
        removal: Option<&Removal>,
        now: DateTime<Utc>,
    ) -> Self {
        // Of an import in the long-term archive the ledger says nothing any more.
        let loaded = import.loaded_bytes.zip(import.loaded_chunks);
        let progress = &loaded.map_or(*progress, |(bytes, chunks)| Progress { bytes, chunks, ..*progress });
        let counts = counts(&import, progress);
        let elapsed = import.started_at.map(|started| {
            let end = import.finished_at.unwrap_or(now);
            (end - started).as_seconds_f64().max(0.001)
        });
        let rate = elapsed.filter(|_| counts.rows_read > 0).map(|elapsed| counts.rows_read as f64 / elapsed);
        let seconds_left = elapsed
            .filter(|_| import.state == imports::State::Running && progress.bytes > 0)
            .map(|elapsed| (progress.bytes_total - progress.bytes) as f64 * elapsed / progress.bytes as f64);
        let error = import.error_code.zip(import.error_message);
        let has_changed = import.state == imports::State::Undone && !import.dry_run;
        let changed = import.updated.unwrap_or(0) + import.removed.unwrap_or(0);
        let not_reverted = if has_changed { changed } else { 0 };
        Self {
            id: import.id,
            dataset: import.dataset,
            dataset_version: import.dataset_version,
            load: import.load,
            corrects: import.corrects,
            corrected_by: None,
            state: import.state.into(),
            mode: import.mode.into(),
            max_rejects: import.max_rejects,
            dry_run: import.dry_run,
            repeated: false,
            filename: import.filename,
            media_type: import.media_type,
            bytes: import.bytes,
            sha256: hex::encode(import.sha256),
            counts,
            rows_per_second: rate.map(round),
            seconds_left: seconds_left.map(round),
            error: error.map(|(code, message)| ErrorView { code, message }),
            notes: import.notes.into_iter().map(Into::into).collect(),
            removal: removal.map(|removal| RemovalView::of(removal, not_reverted)),
            links: LinksView::of(import.id),
            created_at: import.created_at,
            started_at: import.started_at,
            finished_at: import.finished_at,
            archived_at: import.archived_at,
        }
    }

    /// Whether nothing will happen to it any more without a request.
    pub(crate) fn is_final(&self) -> bool {
        imports::State::from(self.state).is_final()
    }

    /// Whether that, and nothing of it is left to remove.
    pub(crate) fn is_settled(&self) -> bool {
        self.is_final() && self.removal.as_ref().is_none_or(|removal| removal.finished_at.is_some())
    }

    /// How it has ended, as JSON has it; nothing before it is settled.
    pub(super) fn final_state(&self) -> Option<String> {
        self.is_settled().then(|| format!("{:?}", self.state).to_lowercase())
    }

    /// Its number.
    pub(crate) fn id(&self) -> i64 {
        self.id
    }

    /// Its path.
    pub(crate) fn location(&self) -> String {
        self.links.import.clone()
    }
}

impl RemovalView {
    fn of(removal: &Removal, not_reverted: i64) -> Self {
        let Removal { removed, kept, finished_at, .. } = *removal;
        Self { removed, kept, not_reverted, finished_at }
    }

    /// That of an undo that is done.
    pub(crate) fn example() -> Self {
        let finished_at = DateTime::from_timestamp(1_795_000_100, 0);
        Self { removed: 7_697, kept: Some(1), not_reverted: 0, finished_at }
    }
}

impl LinksView {
    fn of(id: i64) -> Self {
        let import = format!("/imports/{id}");
        Self {
            events: format!("{import}/events"),
            rejects: format!("{import}/rejects"),
            rejects_csv: format!("{import}/rejects.csv"),
            source: format!("{import}/source"),
            import,
        }
    }
}

fn counts(import: &Import, progress: &Progress) -> CountsView {
    let (bytes, chunks) = (progress.bytes, progress.chunks);
    let decided = (|| {
        Some(CountsView {
            rows_read: import.rows_read?,
            accepted: import.inserted? + import.updated? + import.unchanged? + import.deleted?,
            inserted: import.inserted?,
            updated: import.updated?,
            unchanged: import.unchanged?,
            deleted: import.deleted?,
            rejected: import.rejected?,
            relations_dropped: import.relations_dropped,
            removed: import.removed,
            bytes,
            chunks,
        })
    })();
    decided.unwrap_or_else(|| {
        let accepted = progress.rows_read - progress.rejected;
        CountsView {
            rows_read: progress.rows_read,
            accepted,
            inserted: accepted,
            updated: 0,
            unchanged: 0,
            deleted: 0,
            rejected: progress.rejected,
            relations_dropped: Some(0),
            removed: None,
            bytes,
            chunks,
        }
    })
}

/// One decimal is as much as a rate is worth.
fn round(number: f64) -> f64 {
    (number * 10.0).round() / 10.0
}

impl Example for ImportView {
    fn example() -> Self {
        let at = |second: i64| DateTime::from_timestamp(1_795_000_000 + second, 0).unwrap_or_default();
        Self {
            id: 1,
            dataset: "airports".to_owned(),
            dataset_version: None,
            load: None,
            corrects: None,
            corrected_by: None,
            state: ImportState::Complete,
            mode: ImportMode::Lenient,
            max_rejects: None,
            dry_run: false,
            repeated: false,
            filename: Some("airports.dat".to_owned()),
            media_type: "text/csv".to_owned(),
            bytes: 1_127_225,
            sha256: "53a79e5e1c2e0f0f0e9a1c4e8f0c3a1de1cbb4c5c2e8a7d1a1b2c3d4e5f60718".to_owned(),
            counts: CountsView {
                rows_read: 7_698,
                accepted: 7_698,
                inserted: 7_698,
                updated: 0,
                unchanged: 0,
                deleted: 0,
                rejected: 0,
                relations_dropped: Some(0),
                removed: None,
                bytes: 1_127_225,
                chunks: 2,
            },
            rows_per_second: Some(38_490.0),
            seconds_left: None,
            error: None,
            notes: Vec::new(),
            removal: None,
            links: LinksView::of(1),
            created_at: at(0),
            started_at: Some(at(0)),
            finished_at: Some(at(1)),
            archived_at: None,
        }
    }
}
