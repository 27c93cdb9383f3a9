//! Answers kept for their `Idempotency-Key`. The first request holds the key while it runs; the hold runs out by itself,
//! so a crashed request never blocks its key for longer than a lease.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DatabaseBackend, Statement};
use serde_json::Value as Json;
use sqlx::{PgConnection, Row};

use super::{Db, DbError};

/// A key, and who holds it.
#[derive(Debug, Clone)]
pub struct Hold {
    /// Keys of different clients have nothing to do with each other.
    pub client: String,
    /// As the client sent it.
    pub key: String,
    /// Tells the holder from one that took over after its lease had run out.
    pub holder: String,
}

/// An answer as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// An object: header name to value.
    pub headers: Json,
    /// The body's bytes.
    pub body: Vec<u8>,
}

/// What became of the wish to hold a key.
#[derive(Debug)]
pub enum Claim {
    /// The key is held now.
    Granted,
    /// An earlier request holds it.
    Running,
    /// An earlier request was answered.
    Answered {
        /// Which request that was.
        fingerprint: Vec<u8>,
        /// What it was answered.
        answer: Answer,
    },
}

const SAVE: &str = "
    update idempotency_keys
    set fingerprint = $4, status = $5, headers = $6, body = $7, expires_at = now() + make_interval(secs => $8)
    where client = $1 and key = $2 and holder = $3";

/// Holds the key for `lease`, unless somebody else does or it has its answer; both count until they expire.
pub async fn claim(db: &Db, hold: &Hold, lease: Duration) -> Result<Claim, DbError> {
    let during = "holding an idempotency key";
    loop {
        let granted = sqlx::query(
            "insert into idempotency_keys as present (client, key, holder, expires_at)
             values ($1, $2, $3, now() + make_interval(secs => $4))
             on conflict (client, key) do update
             set holder = excluded.holder, expires_at = excluded.expires_at,
                 fingerprint = null, status = null, headers = null, body = null
             where present.expires_at <= now()",
        )
        .bind(&hold.client)
        .bind(&hold.key)
        .bind(&hold.holder)
        .bind(lease.as_secs_f64())
        .execute(db.pool())
        .await
        .map_err(DbError::during(during))?
        .rows_affected();
        if granted == 1 {
            return Ok(Claim::Granted);
        }
        let present = sqlx::query(
            "select fingerprint, status, headers, body from idempotency_keys where client = $1 and key = $2",
        )
        .bind(&hold.client)
        .bind(&hold.key)
        .fetch_optional(db.pool())
        .await
        .map_err(DbError::during(during))?;
        // Freed between the two statements: it can be had now.
        let Some(row) = present else { continue };
        let read = || -> Result<Claim, sqlx::Error> {
            let Some(status) = row.try_get::<Option<i16>, _>("status")? else { return Ok(Claim::Running) };
            Ok(Claim::Answered {
                fingerprint: row.try_get("fingerprint")?,
                answer: Answer {
                    status: status.unsigned_abs(),
                    headers: row.try_get("headers")?,
                    body: row.try_get("body")?,
                },
            })
        };
        return read().map_err(DbError::during(during));
    }
}

/// Holds the key for another `lease`; false when it is not held any more.
pub async fn extend(db: &Db, hold: &Hold, lease: Duration) -> Result<bool, DbError> {
    sqlx::query(
        "update idempotency_keys set expires_at = now() + make_interval(secs => $4)
         where client = $1 and key = $2 and holder = $3 and status is null",
    )
    .bind(&hold.client)
    .bind(&hold.key)
    .bind(&hold.holder)
    .bind(lease.as_secs_f64())
    .execute(db.pool())
    .await
    .map(|done| done.rows_affected() == 1)
    .map_err(DbError::during("extending the hold of an idempotency key"))
}

/// Frees the key, unless it has its answer.
pub async fn release(db: &Db, hold: &Hold) -> Result<(), DbError> {
    sqlx::query(
        "delete from idempotency_keys where client = $1 and key = $2 and holder = $3 and status is null",
    )
    .bind(&hold.client)
    .bind(&hold.key)
    .bind(&hold.holder)
    .execute(db.pool())
    .await
    .map(drop)
    .map_err(DbError::during("freeing an idempotency key"))
}

/// Keeps the answer, in the transaction that does what is answered; false when the key is not held any more, and then
/// the transaction must be rolled back. The holder may save again: its last answer counts.
pub async fn save(
    connection: &mut PgConnection,
    hold: &Hold,
    fingerprint: &[u8],
    answer: &Answer,
    keep: Duration,
) -> Result<bool, DbError> {
    sqlx::query(SAVE)
        .bind(&hold.client)
        .bind(&hold.key)
        .bind(&hold.holder)
        .bind(fingerprint)
        .bind(i32::from(answer.status))
        .bind(&answer.headers)
        .bind(&answer.body)
        .bind(keep.as_secs_f64())
        .execute(connection)
        .await
        .map(|done| done.rows_affected() == 1)
        .map_err(DbError::during("keeping an answer"))
}

/// [`save`] in a transaction of sea-orm's.
pub async fn save_orm(
    connection: &impl ConnectionTrait,
    hold: &Hold,
    fingerprint: &[u8],
    answer: &Answer,
    keep: Duration,
) -> Result<bool, DbError> {
    let statement = Statement::from_sql_and_values(
        DatabaseBackend::Postgres,
        SAVE,
        [
            hold.client.clone().into(),
            hold.key.clone().into(),
            hold.holder.clone().into(),
            fingerprint.to_vec().into(),
            i32::from(answer.status).into(),
            answer.headers.clone().into(),
            answer.body.clone().into(),
            keep.as_secs_f64().into(),
        ],
    );
    connection
        .execute_raw(statement)
        .await
        .map(|done| done.rows_affected() == 1)
        .map_err(DbError::orm("keeping an answer"))
}
