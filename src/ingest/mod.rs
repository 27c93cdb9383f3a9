//! What happens to a file between its first byte and its last row: [`receive`] keeps the bytes, [`unpack`] makes them
//! plain CSV, [`split`] cuts them, [`load`] checks and stores a chunk, [`finish`] makes the import visible. [`coordinator`] leads one
//! import through them; [`control`] is what a client may do to it meanwhile, and [`removal`] takes its rows out again. [`propose`]
//! reads a file that is not imported, and says what it could be declared as.
//!
//! Nothing here knows a dataset: what is particular to one is data in [`crate::datasets`].

mod beginning;
mod blank;
pub mod control;
pub mod coordinator;
mod entries;
pub mod export;
pub mod finish;
mod header;
pub mod load;
pub mod manifest;
pub mod propose;
pub mod receive;
mod records;
pub mod rejects_csv;
pub mod removal;
mod shape;
pub mod split;
mod symmetry;
mod transcode;
pub mod unpack;
mod unreadable;
mod zip_directory;

use std::time::Duration;

pub(crate) use header::REJECT_COLUMNS;

use crate::{
    archive::{ArchiveError, Sealed},
    db::{
        DbError, Failure,
        imports::{Import, ImportError},
    },
    transport::{TransportError, kafka::KafkaFailure},
};

/// Why a step of an import did not happen, and so what to do next.
#[derive(Debug, thiserror::Error)]
pub enum IngestError {
    /// Stop: the file is at fault, and the import fails with this.
    #[error("the import fails: {}", .0.message)]
    Refused(ImportError),
    /// Give up quietly: the import was paused, cancelled or taken over.
    #[error("the import is in other hands")]
    Fenced,
    /// The database.
    #[error(transparent)]
    Database(#[from] DbError),
    /// The archive.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// The transport.
    #[error(transparent)]
    Transport(TransportError),
    /// Wait for another version: the import's dataset came with a later one than this.
    #[error("this version does not know the dataset {0}; a later one goes on with the import")]
    UnknownDataset(String),
    /// Chunks that were loaded are not: the database has crashed, and a chunk's commit does not wait for the disk.
    #[error("a crash of the database has taken back chunks")]
    TakenBack,
    /// Chunks were published and not loaded, for longer than that should take: a transport may have lost them.
    #[error("no chunk was loaded for {} s", .0.as_secs())]
    Stalled(Duration),
}

impl From<TransportError> for IngestError {
    fn from(error: TransportError) -> Self {
        match error {
            TransportError::Fenced | TransportError::Kafka(KafkaFailure::Fenced) => Self::Fenced,
            TransportError::Kafka(KafkaFailure::TooLong) => Self::refused(
                "chunk_too_long",
                "the file was begun in longer chunks than Kafka takes now; it can be uploaded again",
            ),
            error => Self::Transport(error),
        }
    }
}

impl IngestError {
    /// The file is at fault.
    pub fn refused(code: &'static str, message: impl Into<String>) -> Self {
        Self::Refused(ImportError { code, message: message.into() })
    }

    /// Whether the same may succeed later, by itself.
    pub fn is_passing(&self) -> bool {
        match self {
            Self::Refused(_) | Self::Fenced | Self::Transport(TransportError::Fenced) => false,
            Self::Database(error) | Self::Transport(TransportError::Database(error)) => {
                matches!(error.failure(), Failure::Exhausted | Failure::Passing)
            }
            // A cluster that is away comes back, a topic that is wrong is put right; until then uploads are kept.
            Self::Transport(TransportError::Kafka(_)) | Self::Stalled(_) | Self::TakenBack => true,
            Self::UnknownDataset(_) => true,
            Self::Archive(error) => error.is_passing(),
        }
    }
}

/// The upload of an import, as it was received.
pub fn sealed(import: &Import) -> Sealed {
    Sealed {
        object: import.source.clone(),
        bytes: import.bytes.unsigned_abs(),
        sha256: import.sha256.clone(),
    }
}

/// What reading an upload failed with: when the archive no longer has what was received, the import fails, saying so.
fn damage_of(import: &Import, error: ArchiveError) -> IngestError {
    let file = import.filename.as_deref().unwrap_or("the upload");
    if error.is_damage() {
        IngestError::refused("damaged_upload", format!("{file} is not what was received: {error}"))
    } else if error.is_missing() {
        IngestError::refused("missing_upload", format!("{file} is no longer in the archive"))
    } else {
        error.into()
    }
}

/// Runs work that would keep a thread of the runtime from its other tasks.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, IngestError> {
    let span = tracing::Span::current();
    match tokio::task::spawn_blocking(move || span.in_scope(work)).await {
        Ok(done) => Ok(done),
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            // The runtime is shutting down and did not begin it: it will be done elsewhere.
            Err(_) => Err(IngestError::Fenced),
        },
    }
}
