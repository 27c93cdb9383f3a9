//! Whether the citizens of an import may be read: they are those of a complete import, or nobody's.

use sqlx::PgConnection;

use crate::{
    datasets::citizen::DATASET,
    db::{Db, DbError, export::Export, imports::State},
};

/// Why the citizens of an import may not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoAccess {
    /// No such import, or one of something else.
    Unknown,
    /// An import that stored nothing, or not yet, or no more.
    NotComplete(State),
    /// A dry run, which stored nothing.
    DryRun,
}

/// Why citizens are not read.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// Their import is not there to be read.
    #[error("the citizens of the import cannot be read: {0:?}")]
    Import(NoAccess),
    /// The database.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// A snapshot in which the citizens of an import are there.
#[derive(Debug)]
pub struct Snapshot {
    /// Reads in it.
    pub export: Export,
    /// The number of the import.
    pub import_id: i64,
    /// How many rows it had. There are no more citizens.
    pub rows: i64,
}

/// Opens a snapshot of the citizens of the import.
pub async fn snapshot(db: &Db, import_id: i64) -> Result<Snapshot, ReadError> {
    let query = format!(
        "select state, dry_run, coalesce(rows_read, 0) from imports where id = {import_id} and dataset = '{}'",
        DATASET.name
    );
    let (export, import): (_, Option<(State, bool, i64)>) = Export::begin(db, &query).await?;
    let rows = import.map_or(0, |(.., rows)| rows);
    match check(import.map(|(state, dry_run, _)| (state, dry_run))) {
        Ok(()) => Ok(Snapshot { export, import_id, rows }),
        Err(refused) => {
            export.end().await?;
            Err(ReadError::Import(refused))
        }
    }
}

/// Whether the citizens of the import may be read.
pub(super) async fn access(connection: &mut PgConnection, import_id: i64) -> Result<(), ReadError> {
    let import = sqlx::query_as("select state, dry_run from imports where id = $1 and dataset = $2")
        .bind(import_id)
        .bind(DATASET.name)
        .fetch_optional(connection)
        .await
        .map_err(DbError::during("looking for an import of citizens"))?;
    check(import).map_err(ReadError::Import)
}

fn check(import: Option<(State, bool)>) -> Result<(), NoAccess> {
    match import {
        None => Err(NoAccess::Unknown),
        Some((State::Complete, false)) => Ok(()),
        Some((State::Complete, true)) => Err(NoAccess::DryRun),
        Some((state, _)) => Err(NoAccess::NotComplete(state)),
    }
}
