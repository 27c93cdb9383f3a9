//! Whether the citizens of an import may be read: they are those of a complete import, or nobody's.

use sqlx::PgConnection;

use crate::{
    datasets::citizen::DATASET,
    db::{DbError, imports::State},
};

/// What a reader of an import's citizens finds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// The citizens.
    Granted,
    /// No such import, or one of something else.
    Unknown,
    /// An import that stored nothing, or not yet, or no more.
    NotComplete(State),
    /// A dry run, which stored nothing.
    DryRun,
}

/// Whether the citizens of the import may be read.
pub async fn access(connection: &mut PgConnection, import_id: i64) -> Result<Access, DbError> {
    let import = sqlx::query_as("select state, dry_run from imports where id = $1 and dataset = $2")
        .bind(import_id)
        .bind(DATASET.name)
        .fetch_optional(connection)
        .await
        .map_err(DbError::during("looking for an import of citizens"))?;
    Ok(of(import))
}

/// The same, and the import stays as it is until the transaction ends; others may do the same at once.
pub(super) async fn share(connection: &mut PgConnection, import_id: i64) -> Result<Access, DbError> {
    let import =
        sqlx::query_as("select state, dry_run from imports where id = $1 and dataset = $2 for share")
            .bind(import_id)
            .bind(DATASET.name)
            .fetch_optional(connection)
            .await
            .map_err(DbError::during("holding an import of citizens"))?;
    Ok(of(import))
}

fn of(import: Option<(State, bool)>) -> Access {
    match import {
        None => Access::Unknown,
        Some((State::Complete, false)) => Access::Granted,
        Some((State::Complete, true)) => Access::DryRun,
        Some((state, _)) => Access::NotComplete(state),
    }
}
