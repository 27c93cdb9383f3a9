//! Sessions whose process fell silent in the middle of a `COPY`. PostgreSQL waits for the rest of it without end, and with it
//! everybody who wants the locks of its transaction.

use super::{Db, DbError};

/// Begins the statement of a `COPY` whose rows are all in memory: it never waits long for its client.
pub const ROWS_IN_HAND: &str = "/* rows in hand */";

/// Ends the sessions of this role and database that have waited for such rows for `silent_ms` and longer; how many there were.
/// PostgreSQL's own time-out for idle transactions does not see them, since to it they are busy.
pub async fn end(db: &Db, silent_ms: u64) -> Result<i64, DbError> {
    sqlx::query_scalar(
        "select count(*) filter (where pg_terminate_backend(pid)) from pg_stat_activity
         where datname = current_database() and usename = current_user and state = 'active' and wait_event = 'ClientRead'
             and starts_with(query, $1) and query_start < now() - make_interval(secs => $2)",
    )
    .bind(ROWS_IN_HAND)
    .bind(silent_ms as f64 / 1_000.0)
    .fetch_one(db.pool())
    .await
    .map_err(DbError::during("ending silent sessions"))
}
