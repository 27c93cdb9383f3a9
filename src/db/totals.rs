//! Numbers for whoever watches the service.

use sqlx::FromRow;

use super::{Db, DbError};

/// The imports of one dataset in one state, in numbers.
#[derive(Debug, FromRow)]
pub struct Imports {
    /// Name of the dataset.
    pub dataset: String,
    /// As the API names it.
    pub state: String,
    /// How many.
    pub imports: i64,
    /// What was uploaded, bytes.
    pub bytes: i64,
    /// Rows that were read.
    pub rows_read: i64,
    /// Rows that were rejected.
    pub rejected: i64,
}

/// The journal's chunks that nobody has loaded yet.
#[derive(Debug, FromRow)]
pub struct Journal {
    /// How many.
    pub chunks: i64,
    /// For how long the one that waits longest could have been claimed, seconds.
    pub oldest_seconds: f64,
}

/// All imports. Rows count from when an import has ended.
pub async fn imports(db: &Db) -> Result<Vec<Imports>, DbError> {
    sqlx::query_as(
        "select dataset, state, count(*) as imports, coalesce(sum(bytes), 0)::bigint as bytes,
             coalesce(sum(rows_read), 0)::bigint as rows_read, coalesce(sum(rejected), 0)::bigint as rejected
         from imports group by dataset, state",
    )
    .fetch_all(db.pool())
    .await
    .map_err(DbError::during("counting imports"))
}

/// The journal.
pub async fn journal(db: &Db) -> Result<Journal, DbError> {
    sqlx::query_as(
        "select count(*) as chunks, coalesce(greatest(extract(epoch from now() - min(c.visible_at)
             filter (where i.state = 'running' and i.epoch = c.epoch)), 0), 0)::float8 as oldest_seconds
         from journal c join imports i on i.id = c.import_id",
    )
    .fetch_one(db.pool())
    .await
    .map_err(DbError::during("counting the journal's chunks"))
}
