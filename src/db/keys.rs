//! API keys.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::{Db, DbError};

/// What a key may be used for. No scope includes another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Scope {
    /// Reading what was imported, and how imports went.
    Read,
    /// Importing, and changing what is stored.
    Write,
    /// Declaring datasets, and changing what is declared.
    Schema,
    /// Operating the service.
    Admin,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Read, Self::Write, Self::Schema, Self::Admin];

    /// As it is written everywhere.
    pub fn name(self) -> &'static str {
        match self {
            Self::Read => "read",
            Self::Write => "write",
            Self::Schema => "schema",
            Self::Admin => "admin",
        }
    }

    /// The scope of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|scope| scope.name() == name)
    }
}

/// A key, but for its secret, which nobody knows any more.
#[derive(Debug, Clone, FromRow)]
pub struct Key {
    /// Its number.
    pub id: i64,
    /// Whose it is, for people.
    pub name: String,
    scopes: Vec<String>,
    /// Since when it exists.
    pub created_at: DateTime<Utc>,
    /// From when it is no longer good.
    pub expires_at: Option<DateTime<Utc>>,
    /// Since when it is no longer good.
    pub revoked_at: Option<DateTime<Utc>>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<DateTime<Utc>>,
}

impl Key {
    /// What it may be used for.
    pub fn scopes(&self) -> impl Iterator<Item = Scope> {
        self.scopes.iter().filter_map(|name| Scope::named(name))
    }

    /// Its scopes as they are stored, with those that are limited to a dataset.
    pub fn stored_scopes(&self) -> &[String] {
        &self.scopes
    }
}

/// The columns of [`Key`]; named, for the same reason as those of an import.
macro_rules! columns {
    () => {
        "id, name, scopes, created_at, expires_at, revoked_at, last_used_at"
    };
}

/// Stores a key under the hash of its secret.
pub async fn create(
    db: &Db,
    key_hash: &[u8],
    name: &str,
    scopes: &[String],
    expires_at: Option<DateTime<Utc>>,
) -> Result<Key, DbError> {
    sqlx::query_as(concat!(
        "insert into api_keys (key_hash, name, scopes, expires_at) values ($1, $2, $3, $4) returning ",
        columns!()
    ))
    .bind(key_hash)
    .bind(name)
    .bind(scopes)
    .bind(expires_at)
    .fetch_one(db.pool())
    .await
    .map_err(DbError::during("storing a key"))
}

/// The key of that hash, good or not. Finding one is using it, which is noted at most once a minute.
pub async fn find(db: &Db, key_hash: &[u8]) -> Result<Option<Key>, DbError> {
    sqlx::query_as(concat!(
        "with used as (
             update api_keys set last_used_at = now()
             where key_hash = $1 and revoked_at is null and (expires_at is null or expires_at > now())
                 and (last_used_at is null or last_used_at < now() - interval '1 minute')
         )
         select ",
        columns!(),
        " from api_keys where key_hash = $1"
    ))
    .bind(key_hash)
    .fetch_optional(db.pool())
    .await
    .map_err(DbError::during("finding a key"))
}

/// All keys, also those that are no longer good, in the order they were made.
pub async fn list(db: &Db) -> Result<Vec<Key>, DbError> {
    sqlx::query_as(concat!("select ", columns!(), " from api_keys order by id"))
        .fetch_all(db.pool())
        .await
        .map_err(DbError::during("listing keys"))
}

/// Makes the key useless; one that was revoked stays as it is. False when there is none of that number.
pub async fn revoke(db: &Db, id: i64) -> Result<bool, DbError> {
    sqlx::query("update api_keys set revoked_at = coalesce(revoked_at, now()) where id = $1")
        .bind(id)
        .execute(db.pool())
        .await
        .map(|done| done.rows_affected() == 1)
        .map_err(DbError::during("revoking a key"))
}
