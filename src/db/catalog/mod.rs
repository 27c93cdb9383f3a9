//! Datasets that users declare: their catalogue, their tables, and how both change.
//!
//! # Locks
//!
//! Whoever takes more than one of these takes them in this order, so that no two wait for each other:
//!
//! 1. [`DECLARING`]: an advisory lock that declarations take, one at a time.
//! 2. The gates of datasets, by ascending id: advisory locks in two modes. Writers of rows share a dataset's gate; who changes, hides or
//!    purges the dataset has it alone. PostgreSQL queues these locks fairly; row locks alone would let writers that overlap keep a
//!    change waiting for ever.
//! 3. The datasets' rows in `dataset_catalog`, by ascending id: `for share` to write rows or to refer to the dataset, `for update` to
//!    change it.
//! 4. The datasets' tables: `share row exclusive` in the finishing transaction of an import, `access exclusive` for changes of the table.
//!
//! [`pin`] and [`hold`] take 2 and 3 for a writer. They must come before the transaction touches the dataset's table. A transaction that
//! makes an import calls [`pin`] too: then the change of a dataset sees every import that has begun.

mod change;
mod ddl;
mod kept;
mod scan;
mod versions;

use std::time::Duration;

use sqlx::{FromRow, PgConnection, Postgres, Transaction};

pub use change::{Change, Referencing, change};
pub(crate) use kept::{Versions, versions};

pub use ddl::{changes_sequence, table, unique_columns};
pub use scan::{MAX_OFFENDERS, Offender, preview};
pub use versions::{
    Declared, Entry, Listed, Removed, Target, declare, descriptor, find, hide, list, purge, referencing,
    restore, rows_estimate, version_of,
};

use super::{Db, DbError};

/// The lock of declarations.
const DECLARING: i64 = 0x6461_7461_7365_7473;
/// The first half of a gate's lock; the second is the dataset's id.
const GATE: i32 = 0x6461_7461;
/// How often a change is tried whose locks others hold.
const ATTEMPTS: u32 = 3;
/// Between two attempts, so that those who waited behind the first one get on.
const PAUSE: Duration = Duration::from_millis(200);

/// The dataset of an import, in the version that the import began with.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Pinned {
    /// Its name.
    pub dataset: String,
    /// The catalogue's number of it; none of a built-in one.
    pub dataset_id: Option<i32>,
    /// Its version; none of a built-in one.
    pub dataset_version: Option<i32>,
}

/// Why the catalogue refuses something.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// A built-in dataset has the name.
    #[error("a built-in dataset has this name")]
    NameTaken,
    /// A dataset of the name is declared already, in other words.
    #[error("a dataset of this name is declared already, with another descriptor")]
    Exists,
    /// A dataset of the name is hidden.
    #[error("a hidden dataset has this name; restore it or purge it")]
    Hidden,
    /// There is no such dataset.
    #[error("there is no such dataset")]
    Absent,
    /// The dataset has another version than the caller knows.
    #[error("the dataset has changed meanwhile")]
    Moved,
    /// Imports of the dataset are under way, or the removal of their rows is.
    #[error("an import of the dataset is under way")]
    UnderWay,
    /// Rows that the new version does not allow.
    #[error("stored rows break the new rules")]
    Offenders(Vec<Offender>),
    /// As many datasets as there may be.
    #[error("there are {limit} datasets already")]
    TooMany {
        /// How many there may be.
        limit: u32,
    },
    /// Other datasets refer to this one, or to the columns that would go; their names.
    #[error("other datasets refer to this one: {}", .0.join(", "))]
    Referenced(Vec<String>),
    /// A foreign key names a dataset that is not declared; its name.
    #[error("there is no dataset {0} to refer to")]
    UnknownTarget(String),
    /// The type of a column would change; its key.
    #[error("the type of column {0} cannot change")]
    TypeChanged(String),
    /// The plan says that the change cannot be made.
    #[error("the dataset cannot be changed so; declare another one")]
    Refused,
    /// Others held the table for too long. Passes by itself.
    #[error("the dataset is busy; try again")]
    Busy,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// Names what was attempted, for `map_err`. A lock that others hold, and what they wrote meanwhile, is [`CatalogError::Busy`].
fn during(operation: &'static str) -> impl FnOnce(sqlx::Error) -> CatalogError {
    move |error| {
        let code = error.as_database_error().and_then(|error| error.code());
        match code.as_deref() {
            // lock_not_available, deadlock_detected, unique_violation.
            Some("55P03" | "40P01" | "23505") => CatalogError::Busy,
            _ => CatalogError::Database(DbError::during(operation)(error)),
        }
    }
}

/// The dataset as it is in the catalogue is not the one that the caller knows.
#[derive(Debug, thiserror::Error)]
pub enum PinError {
    /// It has another version, or is gone.
    #[error("the dataset has changed meanwhile")]
    Moved,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// Keeps the dataset as it is until the transaction ends, for one that writes rows, and gives its version. `None`: it is gone.
/// Hidden datasets are there: an import that is under way when its dataset is hidden goes on.
pub async fn hold(connection: &mut PgConnection, id: i32) -> Result<Option<i32>, DbError> {
    sqlx::query_scalar(
        "with gate as materialized (select pg_advisory_xact_lock_shared($1, $2))
         select catalog.version from gate cross join dataset_catalog catalog where catalog.id = $2 for share of catalog",
    )
    .bind(GATE)
    .bind(id)
    .fetch_optional(connection)
    .await
    .map_err(DbError::during("keeping a dataset as it is"))
}

/// Keeps the dataset as it is until the transaction ends, for one that writes rows by the rules of that version.
pub async fn pin(connection: &mut PgConnection, id: i32, version: i32) -> Result<(), PinError> {
    match hold(connection, id).await? {
        Some(current) if current == version => Ok(()),
        _ => Err(PinError::Moved),
    }
}

/// Tries again what others' locks kept from happening. A macro, because a future that borrows from a closure's arguments is not `Send`.
macro_rules! again {
    ($attempt:expr) => {{
        let mut number = 1;
        loop {
            match $attempt.await {
                Err($crate::db::catalog::CatalogError::Busy) if number < $crate::db::catalog::ATTEMPTS => {
                    tokio::time::sleep($crate::db::catalog::PAUSE * number).await;
                    number += 1;
                }
                other => break other,
            }
        }
    }};
}
use again;

/// Opens a transaction whose statements wait for locks for at most two seconds.
async fn begin(db: &Db) -> Result<Transaction<'static, Postgres>, CatalogError> {
    let mut transaction = db.begin().await?;
    sqlx::query("set local lock_timeout = '2s'")
        .execute(&mut *transaction)
        .await
        .map_err(during("limiting the wait for locks"))?;
    Ok(transaction)
}

/// Waits until nobody writes rows of these datasets, and lets nobody begin until the transaction ends.
async fn close_gates(connection: &mut PgConnection, ids: &[i32]) -> Result<(), CatalogError> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    ids.dedup();
    for id in ids {
        sqlx::query("select pg_advisory_xact_lock($1, $2)")
            .bind(GATE)
            .bind(id)
            .execute(&mut *connection)
            .await
            .map_err(during("waiting for the writers of a dataset"))?;
    }
    Ok(())
}

/// Whether a transaction has to wait for one that is under way.
async fn is_under_way(connection: &mut PgConnection, id: i32) -> Result<bool, CatalogError> {
    sqlx::query_scalar(
        "select exists (select from imports where dataset_id = $1 and state in ('received', 'running', 'paused'))
             or exists (select from import_removals r join imports i on i.id = r.import_id
                        where i.dataset_id = $1 and r.finished_at is null)",
    )
    .bind(id)
    .fetch_one(connection)
    .await
    .map_err(during("looking for imports of a dataset"))
}
