//! The consumers: what is wanted of each, who runs it, what it last said of itself. A consumer whose heartbeat is older than
//! a lease is run by nobody.

use std::time::Duration;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection, types::Json};

use super::{Db, DbError, commit, notify};

/// What is wanted of a consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, sqlx::Type)]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Desired {
    /// It loads chunks.
    Running,
    /// It holds nothing and waits.
    Paused,
    /// It ends, and is forgotten.
    Stopped,
}

/// What a consumer says of itself.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// The import whose chunk it loads now.
    pub import_id: Option<i64>,
    /// Chunks it has dealt with since it was started.
    pub chunks: i64,
    /// Bytes in them.
    pub bytes: i64,
    /// Bytes a second, over the last seconds.
    pub bytes_per_second: i64,
    /// What the transport has given it to take chunks from.
    pub partitions: Vec<Partition>,
}

/// A part of what chunks travel by.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Partition {
    /// The topic.
    pub topic: String,
    /// Its number in the topic.
    pub partition: i32,
    /// Chunks in it that are not dealt with.
    pub lag: i64,
}

/// One consumer.
#[derive(Debug, Clone, FromRow)]
#[expect(missing_docs, reason = "the columns, explained in the migration")]
pub struct Consumer {
    pub id: i64,
    pub permanent: bool,
    pub desired: Desired,
    pub worker: Option<String>,
    pub heartbeat_at: Option<DateTime<Utc>>,
    pub report: Option<Json<Report>>,
    pub created_at: DateTime<Utc>,
    /// Somebody runs it.
    pub alive: bool,
}

const COLUMNS: &str = "id, permanent, desired, worker, heartbeat_at, report, created_at,
    coalesce(heartbeat_at > now() - $1, false) as alive";

/// Consumers by id, after one.
pub async fn list(db: &Db, lease: Duration, after: i64, limit: i64) -> Result<Vec<Consumer>, DbError> {
    let query = format!(
        "select {COLUMNS} from consumers where id > $2 and desired <> 'stopped' order by id limit $3"
    );
    sqlx::query_as(sqlx::AssertSqlSafe(query))
        .bind(lease)
        .bind(after)
        .bind(limit)
        .fetch_all(db.pool())
        .await
        .map_err(DbError::during("listing consumers"))
}

/// The consumer of that id.
pub async fn get(db: &Db, lease: Duration, id: i64) -> Result<Option<Consumer>, DbError> {
    let query = format!("select {COLUMNS} from consumers where id = $2 and desired <> 'stopped'");
    sqlx::query_as(sqlx::AssertSqlSafe(query))
        .bind(lease)
        .bind(id)
        .fetch_optional(db.pool())
        .await
        .map_err(DbError::during("reading a consumer"))
}

/// Adds one that stays until it is removed; some process will run it.
pub async fn add(connection: &mut PgConnection, lease: Duration) -> Result<Consumer, DbError> {
    let query = format!("insert into consumers (permanent) values (true) returning {COLUMNS}");
    let added = sqlx::query_as(sqlx::AssertSqlSafe(query))
        .bind(lease)
        .fetch_one(&mut *connection)
        .await
        .map_err(DbError::during("adding a consumer"))?;
    notify::notify(connection, notify::Topic::Consumers).await?;
    Ok(added)
}

/// Says what is wanted of a consumer. `false`: there is none of that id.
pub async fn want(db: &Db, id: i64, desired: Desired) -> Result<bool, DbError> {
    let mut transaction = db.begin().await?;
    let found = sqlx::query("update consumers set desired = $2 where id = $1 and desired <> 'stopped'")
        .bind(id)
        .bind(desired)
        .execute(&mut *transaction)
        .await
        .map_err(DbError::during("changing a consumer"))?
        .rows_affected();
    notify::notify(&mut transaction, notify::Topic::Consumers).await?;
    commit(transaction, "changing a consumer").await?;
    Ok(found > 0)
}

/// Adds one that goes with its process.
pub async fn bring(db: &Db, worker: &str) -> Result<(), DbError> {
    sqlx::query("insert into consumers (permanent, worker, heartbeat_at) values (false, $1, now())")
        .bind(worker)
        .execute(db.pool())
        .await
        .map(drop)
        .map_err(DbError::during("adding a consumer"))
}

/// Takes one that nobody runs, if there is one.
pub async fn claim(db: &Db, worker: &str, lease: Duration) -> Result<(), DbError> {
    sqlx::query(
        "update consumers set worker = $1, heartbeat_at = now(), report = null
         where id = (
             select id from consumers
             where permanent and desired <> 'stopped' and coalesce(heartbeat_at <= now() - $2, true)
             order by id limit 1 for update skip locked
         )",
    )
    .bind(worker)
    .bind(lease)
    .execute(db.pool())
    .await
    .map(drop)
    .map_err(DbError::during("taking a consumer"))
}

/// A sign of life of all consumers that `worker` runs, with what they say; what is wanted of each, and whether it is permanent.
pub async fn beat(
    db: &Db,
    worker: &str,
    reports: &[(i64, Report)],
) -> Result<Vec<(i64, Desired, bool)>, DbError> {
    let (ids, reports): (Vec<_>, Vec<_>) = reports.iter().map(|(id, report)| (*id, Json(report))).unzip();
    sqlx::query_as(
        "update consumers c set heartbeat_at = now(), report = coalesce(
             (select r.report from unnest($2::bigint[], $3::jsonb[]) as r (id, report) where r.id = c.id), c.report)
         where c.worker = $1 returning c.id, c.desired, c.permanent",
    )
    .bind(worker)
    .bind(ids)
    .bind(reports)
    .fetch_all(db.pool())
    .await
    .map_err(DbError::during("giving a sign of life"))
}

/// Removes one that has been stopped by `worker`.
pub async fn forget(db: &Db, worker: &str, id: i64) -> Result<(), DbError> {
    sqlx::query("delete from consumers where id = $1 and worker = $2")
        .bind(id)
        .bind(worker)
        .execute(db.pool())
        .await
        .map(drop)
        .map_err(DbError::during("removing a consumer"))
}

/// Removes those that nobody runs and nobody will.
pub async fn reap(db: &Db, lease: Duration) -> Result<(), DbError> {
    sqlx::query(
        "delete from consumers
         where (not permanent or desired = 'stopped') and coalesce(heartbeat_at <= now() - $1, true)",
    )
    .bind(lease)
    .execute(db.pool())
    .await
    .map(drop)
    .map_err(DbError::during("removing dead consumers"))
}

/// Lets go of all consumers of `worker`, which ends.
pub async fn release(db: &Db, worker: &str) -> Result<(), DbError> {
    let mut transaction = db.begin().await?;
    for statement in [
        "delete from consumers where worker = $1 and (not permanent or desired = 'stopped')",
        "update consumers set worker = null, heartbeat_at = null, report = null where worker = $1",
    ] {
        sqlx::query(statement)
            .bind(worker)
            .execute(&mut *transaction)
            .await
            .map_err(DbError::during("letting go of consumers"))?;
    }
    notify::notify(&mut transaction, notify::Topic::Consumers).await?;
    commit(transaction, "letting go of consumers").await
}
