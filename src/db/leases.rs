//! Who leads an import: one worker at a time, for as long as it gives signs of life.

use std::time::Duration;

use sqlx::{FromRow, PgConnection};

use super::{Db, DbError, commit};
use crate::config;

/// An import that was claimed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
pub struct Claimed {
    /// Its number.
    #[sqlx(rename = "import_id")]
    pub id: i64,
    /// How many owners fell silent in a row without a chunk loaded in between.
    pub deaths: i32,
    /// How often it was given back in a row without a chunk loaded in between.
    pub waits: i32,
}

/// Which imports a coordinator takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// All.
    All,
    /// Those that are known to unpack to at most the bytes of a chunk.
    Small,
}

/// Takes an import nobody leads: the oldest, where one that had to wait is as old as its wait's end. Taking it from an owner before
/// raises the epoch, so that whatever that one still does is refused. One without chunks will be cut as `ingest` says;
/// one that has some stays as it is cut.
pub async fn claim(
    db: &Db,
    owner: &str,
    lease: Duration,
    ingest: &config::Ingest,
    reach: Reach,
) -> Result<Option<Claimed>, DbError> {
    let failed = || DbError::during("claiming an import");
    // Nothing that is read is nearly as long.
    let chunk_bytes = i64::try_from(ingest.chunk_bytes).unwrap_or(i64::MAX);
    let ratio = i64::try_from(ingest.unpacked_ratio).unwrap_or(i64::MAX);
    let mut transaction = db.begin().await?;
    let id: Option<i64> = sqlx::query_scalar(
        "select i.id from imports i left join import_leases l on l.import_id = i.id
         where i.state in ('received', 'running') and coalesce(l.expires_at <= now(), true)
             and ($1 or coalesce(
                 (select sum(f.bytes) from import_files f where f.import_id = i.id),
                 i.bytes::numeric * case when i.gzipped or i.media_type = 'application/zip' then $2::bigint else 1 end
             ) <= $3::bigint)
         order by case when l.waits > 0 then l.expires_at else i.created_at end, i.id limit 1 for no key update of i skip locked",
    )
    .bind(reach == Reach::All)
    .bind(ratio)
    .bind(chunk_bytes)
    .fetch_optional(&mut *transaction)
    .await
    .map_err(failed())?;
    let Some(id) = id else { return Ok(None) };
    // Two claims can find the same import one after the other: the lease decides, not what was read above.
    let claimed: Option<Claimed> = sqlx::query_as(
        "insert into import_leases as lease (import_id, owner, expires_at, chunks)
         values ($1, $2, now() + $3, (select count(*) from import_chunks where import_id = $1))
         on conflict (import_id) do update set owner = $2, expires_at = now() + $3, chunks = excluded.chunks,
             deaths = case when excluded.chunks > lease.chunks then 0 else lease.deaths + (lease.owner <> '')::integer end,
             waits = case when excluded.chunks > lease.chunks then 0 else lease.waits end
         where lease.expires_at <= now()
         returning import_id, deaths, waits",
    )
    .bind(id)
    .bind(owner)
    .bind(lease)
    .fetch_optional(&mut *transaction)
    .await
    .map_err(failed())?;
    let Some(claimed) = claimed else { return Ok(None) };
    sqlx::query(
        "update imports set state = 'running', started_at = coalesce(started_at, now()),
             epoch = epoch + case when state = 'running' then 1 else 0 end,
             chunk_rows = case when begun then chunk_rows else $2 end,
             chunk_bytes = case when begun then chunk_bytes else $3 end,
             record_bytes = case when begun then record_bytes else $4 end
         from (select exists (select from import_chunks where import_id = $1) as begun) as ledger
         where id = $1",
    )
    .bind(id)
    .bind(i64::try_from(ingest.chunk_rows).unwrap_or(i64::MAX))
    .bind(chunk_bytes)
    .bind(i64::try_from(ingest.record_bytes).unwrap_or(i64::MAX))
    .execute(&mut *transaction)
    .await
    .map_err(failed())?;
    commit(transaction, "claiming an import").await?;
    Ok(Some(claimed))
}

/// A sign of life. `false`: the lease is somebody else's by now.
pub async fn renew(db: &Db, id: i64, owner: &str, lease: Duration) -> Result<bool, DbError> {
    sqlx::query("update import_leases set expires_at = now() + $3 where import_id = $1 and owner = $2")
        .bind(id)
        .bind(owner)
        .bind(lease)
        .execute(db.pool())
        .await
        .map(|done| done.rows_affected() > 0)
        .map_err(DbError::during("renewing a lease"))
}

/// Lets go of an import that needs no coordinator any more.
pub async fn release(db: &Db, id: i64, owner: &str) -> Result<(), DbError> {
    sqlx::query("delete from import_leases where import_id = $1 and owner = $2")
        .bind(id)
        .bind(owner)
        .execute(db.pool())
        .await
        .map(drop)
        .map_err(DbError::during("releasing a lease"))
}

/// Lets go of an import that goes on later: at once, or, when it `waits` for something, not before that has passed.
pub async fn give_back(db: &Db, id: i64, owner: &str, waits: Option<Duration>) -> Result<(), DbError> {
    sqlx::query(
        "update import_leases set owner = '', expires_at = now() + $3, waits = waits + $4
         where import_id = $1 and owner = $2",
    )
    .bind(id)
    .bind(owner)
    .bind(waits.unwrap_or_default())
    .bind(i32::from(waits.is_some()))
    .execute(db.pool())
    .await
    .map(drop)
    .map_err(DbError::during("giving an import back"))
}

/// Forgets an import that has ended while nobody led it; an owner releases it.
pub async fn clear(connection: &mut PgConnection, id: i64) -> Result<(), DbError> {
    sqlx::query("delete from import_leases where import_id = $1 and owner = ''")
        .bind(id)
        .execute(connection)
        .await
        .map(drop)
        .map_err(DbError::during("clearing a lease"))
}

/// Forgets what became of earlier owners: somebody has seen to the import.
pub async fn forget(connection: &mut PgConnection, id: i64) -> Result<(), DbError> {
    sqlx::query("update import_leases set deaths = 0, waits = 0 where import_id = $1")
        .bind(id)
        .execute(connection)
        .await
        .map(drop)
        .map_err(DbError::during("forgetting earlier owners of an import"))
}
