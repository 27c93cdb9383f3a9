//! Stuck sessions of this service: their process neither reads nor writes any more, frozen or cut off. PostgreSQL's time-out for idle
//! transactions does not see them while a statement is under way, because to PostgreSQL they are busy: in the middle of a `COPY`, or with
//! an answer that nobody takes. It waits without end, and with it everybody who wants the locks of the transaction.

use chrono::{DateTime, Utc};
use sqlx::FromRow;

use super::{Db, DbError};

/// What sessions of this service call themselves, unless the database's URL has another name. Those of people are left alone.
pub const APPLICATION: &str = "tarmac";

/// Begins the statement of a `COPY` whose rows come from elsewhere, at whatever pace.
pub const STREAMED: &str = "/* streamed */";

/// A session that waits for its client.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
struct Waiting {
    pid: i32,
    /// When its statement began.
    since: DateTime<Utc>,
    /// Bytes of its `COPY` so far.
    copied: i64,
}

/// Finds stuck sessions by what waited for its client at the last look.
#[derive(Debug, Default)]
pub struct StuckSessions {
    waiting: Vec<Waiting>,
}

impl StuckSessions {
    /// Ends the sessions of this role and database that wait for their client as they did at the last look; how many there were. A
    /// `COPY` that goes on, however slowly, is not among them, nor are answers that somebody else reads (`COPY … TO`).
    pub async fn look(&mut self, db: &Db) -> Result<i64, DbError> {
        let failed = || DbError::during("ending stuck sessions");
        let waiting: Vec<Waiting> = sqlx::query_as(
            "select a.pid, a.query_start as since, coalesce(c.bytes_processed, 0) as copied
             from pg_stat_activity a left join pg_stat_progress_copy c on c.pid = a.pid
             where a.datname = current_database() and a.usename = current_user
                 and a.application_name = current_setting('application_name')
                 and a.state = 'active' and a.wait_event in ('ClientRead', 'ClientWrite')
                 and c.command is distinct from 'COPY TO' and not starts_with(a.query, $1)",
        )
        .bind(STREAMED)
        .fetch_all(db.pool())
        .await
        .map_err(failed())?;
        let (pids, since): (Vec<_>, Vec<_>) = waiting
            .iter()
            .filter(|session| self.waiting.contains(session))
            .map(|session| (session.pid, session.since))
            .unzip();
        self.waiting = waiting;
        if pids.is_empty() {
            return Ok(0);
        }
        sqlx::query_scalar(
            "select count(*) filter (where pg_terminate_backend(a.pid)) from pg_stat_activity a
             join unnest($1::integer[], $2::timestamptz[]) as stuck (pid, since)
                 on stuck.pid = a.pid and stuck.since = a.query_start
             where a.state = 'active' and a.wait_event in ('ClientRead', 'ClientWrite')",
        )
        .bind(pids)
        .bind(since)
        .fetch_one(db.pool())
        .await
        .map_err(failed())
    }
}
