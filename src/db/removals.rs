//! Imports whose rows are taken out again: undone, or ended badly after rows were loaded directly. The entry of one is made in the
//! transaction that changes its state, and hides its rows; they are removed in batches, each a transaction, by whoever gets to it.

use chrono::{DateTime, Utc};
use sqlx::{AssertSqlSafe, FromRow, PgConnection};

use super::{Db, DbError, catalog::Pinned, imports::State, merge, notify, segments};
use crate::datasets::{Dataset, row_ids::RowIds};

/// How far the removal of an import's rows has come.
#[derive(Debug, Clone, FromRow)]
pub struct Removal {
    /// Whose rows.
    pub import_id: i64,
    /// Up to this key of the dataset's rows they are gone.
    last_key: i64,
    /// Rows removed so far.
    pub removed: i64,
    /// Rows that were changed since they were created, and stay. `None`: there may be rows to remove.
    pub kept: Option<i64>,
    /// When nothing was left to do.
    pub finished_at: Option<DateTime<Utc>>,
}

/// The columns of [`Removal`].
macro_rules! columns {
    () => {
        "r.import_id, r.last_key, r.removed, r.kept, r.finished_at"
    };
}

/// A removal that the caller's transaction goes on with, and what it must know of the import.
#[derive(Debug, FromRow)]
pub struct Claimed {
    /// The removal.
    #[sqlx(flatten)]
    pub removal: Removal,
    /// The import's.
    #[sqlx(flatten)]
    pub dataset: Pinned,
    /// The import's.
    pub state: State,
    /// The import's upload.
    pub source: String,
    /// When that came.
    pub created_at: DateTime<Utc>,
}

/// What a claim came to.
#[derive(Debug)]
pub enum Claim {
    /// The removal is the transaction's.
    Granted(Box<Claimed>),
    /// Somebody else is at it.
    Elsewhere,
    /// There is nothing to do.
    Finished,
}

/// What a batch of removed rows was; see [`crate::datasets::BuiltIn::undo`].
#[derive(Debug, FromRow)]
struct Batch {
    found: i64,
    removed: i64,
    last_key: Option<i64>,
}

/// Begins a removal: from the commit on, rows are hidden.
pub async fn add(connection: &mut PgConnection, import_id: i64) -> Result<Removal, DbError> {
    sqlx::query_as(concat!("insert into import_removals as r (import_id) values ($1) returning ", columns!()))
        .bind(import_id)
        .fetch_one(connection)
        .await
        .map_err(DbError::during("beginning to remove the rows of an import"))
}

/// Keeps others from the removal until the transaction ends. Whoever changes rows meanwhile is waited for, but not for long: the removal
/// can go on later.
pub async fn claim(connection: &mut PgConnection, import_id: i64) -> Result<Claim, DbError> {
    let failed = || DbError::during("claiming the removal of an import");
    sqlx::raw_sql("set local lock_timeout = '1s'").execute(&mut *connection).await.map_err(failed())?;
    let claimed: Option<Claimed> = sqlx::query_as(concat!(
        "select i.dataset, i.dataset_id, i.dataset_version, i.state, i.source, i.created_at, ",
        columns!(),
        " from import_removals r join imports i on i.id = r.import_id
         where r.import_id = $1 and r.finished_at is null for update of r skip locked"
    ))
    .bind(import_id)
    .fetch_optional(&mut *connection)
    .await
    .map_err(failed())?;
    Ok(match claimed {
        Some(claimed) => Claim::Granted(Box::new(claimed)),
        None if is_open(connection, import_id).await? => Claim::Elsewhere,
        None => Claim::Finished,
    })
}

/// Removes the next rows, at most `limit`. After the last ones, what was kept of them in segments goes too, and those that stay are
/// counted.
pub async fn remove_batch(
    connection: &mut PgConnection,
    dataset: &Dataset,
    created_at: DateTime<Utc>,
    removal: &Removal,
    limit: i64,
) -> Result<Removal, DbError> {
    let failed = || DbError::during("removing the rows of an import");
    let import_id = removal.import_id;
    let mut undo = sqlx::query_as(AssertSqlSafe(merge::undo(dataset)))
        .bind(import_id)
        .bind(removal.last_key)
        .bind(limit);
    if dataset.built_in().is_none() {
        // Where the rows lie that the import made: from the next one to the last one there can be.
        let ids = RowIds::new(created_at);
        undo = undo.bind(ids.of(import_id, removal.last_key + 1)).bind(ids.last(import_id));
    }
    let Batch { found, removed, last_key } = undo
        // A plan for any limit would read all of the import each time.
        .persistent(false)
        .fetch_one(&mut *connection)
        .await
        .map_err(failed())?;
    let kept = if found < limit {
        segments::remove(connection, dataset, import_id).await?;
        let kept: i64 = match merge::count_kept(dataset) {
            None => 0,
            Some(count) => {
                let kept = sqlx::query_scalar(AssertSqlSafe(count))
                    .bind(import_id)
                    .fetch_one(&mut *connection)
                    .await;
                kept.map_err(failed())?
            }
        };
        Some(kept)
    } else {
        None
    };
    sqlx::query_as(concat!(
        "update import_removals r set removed = r.removed + $2, last_key = coalesce($3, r.last_key), kept = $4
         where r.import_id = $1 returning ",
        columns!()
    ))
    .bind(import_id)
    .bind(removed)
    .bind(last_key)
    .bind(kept)
    .fetch_one(connection)
    .await
    .map_err(failed())
}

/// Says that there are no rows to remove.
pub async fn skip_rows(connection: &mut PgConnection, import_id: i64) -> Result<(), DbError> {
    sqlx::query("update import_removals set kept = 0 where import_id = $1")
        .bind(import_id)
        .execute(connection)
        .await
        .map(drop)
        .map_err(DbError::during("skipping the rows of an import"))
}

/// Says that nothing is left to do.
pub async fn finish(connection: &mut PgConnection, import_id: i64) -> Result<(), DbError> {
    sqlx::query(
        "update import_removals set finished_at = clock_timestamp() where import_id = $1 and finished_at is null",
    )
    .bind(import_id)
    .execute(&mut *connection)
    .await
    .map_err(DbError::during("finishing the removal of an import"))?;
    notify::notify(connection, notify::Topic::Imports).await
}

/// Whether something is left to do.
pub async fn is_open(connection: &mut PgConnection, import_id: i64) -> Result<bool, DbError> {
    sqlx::query_scalar(
        "select exists (select from import_removals where import_id = $1 and finished_at is null)",
    )
    .bind(import_id)
    .fetch_one(connection)
    .await
    .map_err(DbError::during("looking for the removal of an import"))
}

/// The imports of which something is left to do, oldest first.
pub async fn open(db: &Db) -> Result<Vec<i64>, DbError> {
    sqlx::query_scalar("select import_id from import_removals where finished_at is null order by import_id")
        .fetch_all(db.pool())
        .await
        .map_err(DbError::during("looking for imports to remove"))
}

/// An import of the dataset that still has rows to remove.
pub async fn with_rows(connection: &mut PgConnection, dataset: &Dataset) -> Result<Option<i64>, DbError> {
    sqlx::query_scalar(
        "select r.import_id from import_removals r join imports i on i.id = r.import_id
         where r.finished_at is null and r.kept is null and i.dataset = $1 and i.dataset_id is not distinct from $2 order by r.import_id limit 1",
    )
    .bind(dataset.name.as_str())
    .bind(dataset.id)
    .fetch_optional(connection)
    .await
    .map_err(DbError::during("looking for rows to remove"))
}

/// The removals of these imports, those that have one.
pub async fn of(db: &Db, imports: &[i64]) -> Result<Vec<Removal>, DbError> {
    sqlx::query_as(concat!("select ", columns!(), " from import_removals r where r.import_id = any($1)"))
        .bind(imports)
        .fetch_all(db.pool())
        .await
        .map_err(DbError::during("reading the removals of imports"))
}
