//! Commits whose answer may be lost, while something outside of the database depends on what became of them.

use std::time::{Duration, Instant};

use sqlx::{Postgres, Transaction};

use super::{Db, DbError, commit};

/// For how long the database is asked what became of a transaction.
const PATIENCE: Duration = Duration::from_secs(5);
const PACE: Duration = Duration::from_millis(100);

/// A commit that was not confirmed.
#[derive(Debug)]
pub enum Unconfirmed {
    /// Nothing of the transaction has happened, nor will.
    RolledBack(DbError),
    /// It may have happened, or happen yet.
    Unknown(DbError),
}

impl Unconfirmed {
    /// Why it was not confirmed.
    pub fn into_error(self) -> DbError {
        match self {
            Self::RolledBack(error) | Self::Unknown(error) => error,
        }
    }
}

/// Commits like [`commit`]. When that fails, a lost connection for example, the database is asked what became of the
/// transaction: one that has happened is a success.
pub async fn commit_settled(
    db: &Db,
    mut transaction: Transaction<'static, Postgres>,
    operation: &'static str,
) -> Result<(), Unconfirmed> {
    let id: String = sqlx::query_scalar("select pg_current_xact_id()::text")
        .fetch_one(&mut *transaction)
        .await
        .map_err(|error| Unconfirmed::RolledBack(DbError::during(operation)(error)))?;
    let Err(error) = commit(transaction, operation).await else { return Ok(()) };
    match outcome(db, &id).await {
        Some(Outcome::Committed) => {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "a commit was not confirmed, and has happened"
            );
            Ok(())
        }
        Some(Outcome::Aborted) => Err(Unconfirmed::RolledBack(error)),
        None => Err(Unconfirmed::Unknown(error)),
    }
}

/// How a transaction ended.
enum Outcome {
    Committed,
    Aborted,
}

/// `None`: it has not ended, or the database does not tell.
async fn outcome(db: &Db, transaction_id: &str) -> Option<Outcome> {
    let begun = Instant::now();
    loop {
        let status: Result<Option<String>, _> = sqlx::query_scalar("select pg_xact_status($1::xid8)")
            .bind(transaction_id)
            .fetch_one(db.pool())
            .await;
        match status.as_ref().map(Option::as_deref) {
            Ok(Some("committed")) => return Some(Outcome::Committed),
            Ok(Some("aborted")) => return Some(Outcome::Aborted),
            // It goes on without its client, or the database is away.
            _ if begun.elapsed() < PATIENCE => tokio::time::sleep(PACE).await,
            _ => return None,
        }
    }
}
