//! The API key that each import was uploaded with.

use sqlx::{FromRow, PgConnection};

use super::{Db, DbError};

/// The key that an upload comes with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Owner {
    /// Its number.
    pub key_id: i64,
    /// Whether the key may read imports of other keys.
    pub reads_all: bool,
}

/// Stores the key of an import.
pub async fn set(connection: &mut PgConnection, import_id: i64, key_id: i64) -> Result<(), DbError> {
    sqlx::query("update imports set key_id = $2 where id = $1")
        .bind(import_id)
        .bind(key_id)
        .execute(connection)
        .await
        .map(drop)
        .map_err(DbError::during("storing the key of an import"))
}

/// Whose import it is, and of what.
#[derive(Debug, Clone, FromRow)]
pub struct Ownership {
    /// The key that it was uploaded with.
    pub key_id: Option<i64>,
    /// The name of its dataset.
    pub dataset: String,
    /// Whether only keys that name the dataset reach it.
    pub private: bool,
}

/// Whose import it is; `None` for one that there is not.
pub async fn ownership(db: &Db, import_id: i64) -> Result<Option<Ownership>, DbError> {
    sqlx::query_as(
        "select i.key_id, i.dataset, coalesce(c.private, false) as private
         from imports i left join dataset_catalog c on c.id = i.dataset_id where i.id = $1",
    )
    .bind(import_id)
    .fetch_optional(db.pool())
    .await
    .map_err(DbError::during("reading whose an import is"))
}
