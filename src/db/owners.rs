//! The API key that each import was uploaded with.

use sqlx::PgConnection;

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

/// The key that the import was uploaded with; `None` for an unknown import and for one without a key.
pub async fn of(db: &Db, import_id: i64) -> Result<Option<i64>, DbError> {
    let key: Option<Option<i64>> = sqlx::query_scalar("select key_id from imports where id = $1")
        .bind(import_id)
        .fetch_optional(db.pool())
        .await
        .map_err(DbError::during("reading the key of an import"))?;
    Ok(key.flatten())
}
