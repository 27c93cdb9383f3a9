//! Whether the citizens of an import may be read: they are those of a complete import, or nobody's.

use sqlx::{FromRow, PgConnection};

use super::segments::MAX_CHANGED;

use crate::{
    datasets::citizen::DATASET,
    db::{Db, DbError, export::Export, imports::State},
    places::Place,
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
    /// Whether its segments have all of its citizens as they came.
    pub(super) has_segments: bool,
    /// Who is no longer as they came; of very many some.
    pub(super) changed: Vec<i64>,
}

/// An import as a snapshot finds it.
#[derive(Debug, FromRow)]
struct Import {
    state: State,
    dry_run: bool,
    rows: i64,
    has_segments: bool,
    changed: Vec<i64>,
}

/// Opens a snapshot of the citizens of the import, which holds the place until it is read.
pub async fn snapshot(db: &Db, import_id: i64, place: Place) -> Result<Snapshot, ReadError> {
    let query = format!(
        "select state, dry_run, coalesce(rows_read, 0) as rows,
             coalesce(inserted, 0) = (select coalesce(sum(rows), 0) from citizen_segments where import_id = {import_id})
                 as has_segments,
             array(select citizen_id from changed_citizens where import_id = {import_id} limit {MAX_CHANGED} + 1)
                 as changed
         from imports where id = {import_id} and dataset = '{}'",
        DATASET.name.as_str()
    );
    let (export, import): (_, Option<Import>) = Export::begin(db, &query).await?;
    let export = export.holding(place);
    let refused = match import {
        None => NoAccess::Unknown,
        Some(Import { state, dry_run, rows, has_segments, changed }) => match check(state, dry_run) {
            Ok(()) => return Ok(Snapshot { export, import_id, rows, has_segments, changed }),
            Err(refused) => refused,
        },
    };
    export.end().await?;
    Err(ReadError::Import(refused))
}

/// Whether the citizens of the import may be read.
pub(super) async fn access(connection: &mut PgConnection, import_id: i64) -> Result<(), ReadError> {
    let import: Option<(State, bool)> =
        sqlx::query_as("select state, dry_run from imports where id = $1 and dataset = $2")
            .bind(import_id)
            .bind(DATASET.name.as_str())
            .fetch_optional(connection)
            .await
            .map_err(DbError::during("looking for an import of citizens"))?;
    let (state, dry_run) = import.ok_or(ReadError::Import(NoAccess::Unknown))?;
    check(state, dry_run).map_err(ReadError::Import)
}

fn check(state: State, dry_run: bool) -> Result<(), NoAccess> {
    match (state, dry_run) {
        (State::Complete, false) => Ok(()),
        (State::Complete, true) => Err(NoAccess::DryRun),
        (state, _) => Err(NoAccess::NotComplete(state)),
    }
}
