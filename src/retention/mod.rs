//! What happens to an import after its end. When it is old, its upload, ledger and rejects move to the long-term archive ([`offload`]);
//! they can be brought back, and an import that the database has lost can be made again ([`replay`]). What nobody needs any more is
//! swept away ([`sweep`]).
//!
//! The rule of all of it: nothing is deleted before its copy was read back and found right. Each step may be interrupted
//! and done again.

mod bundle;
pub mod offload;
pub mod replay;
pub mod sweep;

use crate::{
    archive::{Archive, ArchiveError},
    clock::Clock,
    db::{Db, DbError, catalog::PinError, notify::Changes},
    ingest::{IngestError, manifest::ManifestError},
};

/// What retention works with.
#[derive(Debug, Clone)]
pub struct Retention {
    /// The database.
    pub db: Db,
    /// Where uploads are.
    pub archive: Archive,
    /// Where they go when they are old; `None`: they stay.
    pub long_term: Option<Archive>,
    /// Wakes who waits for an import.
    pub changes: Changes,
    /// What day it is.
    pub clock: Clock,
}

/// Why an import does not move, or does not come back. Everything is where it was.
#[derive(Debug, thiserror::Error)]
pub enum RetentionError {
    /// The database.
    #[error(transparent)]
    Database(#[from] DbError),
    /// One of the archives.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// What lies beside an upload cannot be read.
    #[error(transparent)]
    Manifest(#[from] ManifestError),
    /// An import cannot be made again.
    #[error(transparent)]
    Ingest(#[from] IngestError),
    /// The dataset is not what it was when the import began.
    #[error("an import of an earlier version of its dataset cannot be made again: {0}")]
    Dataset(#[from] PinError),
    /// The import was changed meanwhile.
    #[error("the import was changed meanwhile, or its ledger is not what was copied")]
    Changed,
    /// A file of rows cannot be packed or unpacked.
    #[error("{object} is no gzip that could be read")]
    Gzip {
        /// The file of rows.
        object: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// What came back has another number of rows than went.
    #[error("{object} has {found} rows, and had {expected}")]
    Rows {
        /// The file of rows.
        object: String,
        /// How many it has.
        found: i64,
        /// How many it is said to have.
        expected: i64,
    },
    /// There is nowhere to move to, or bring back from.
    #[error("there is no long-term archive: set long_term.url")]
    NoLongTerm,
    /// Neither the database nor an archive knows the import.
    #[error("there is no import {0}, nor an upload of it in an archive")]
    Unknown(i64),
    /// The import is here.
    #[error("the import {0} is not in the long-term archive: there is nothing to bring back")]
    Here(i64),
    /// A body of citizens breaks rules that it kept when it came.
    #[error("{0} breaks the rules of citizens by now: {1} violations")]
    Invalid(String, usize),
}

impl Retention {
    fn long_term(&self) -> Result<&Archive, RetentionError> {
        self.long_term.as_ref().ok_or(RetentionError::NoLongTerm)
    }
}
