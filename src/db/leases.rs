//! Who drives an import: one worker at a time, for as long as it gives signs of life.

use std::time::Duration;

use super::{Db, DbError, commit};
use crate::config;

/// Takes an import nobody drives, the oldest first, and returns its id. Taking one over from a silent owner
/// raises the epoch, so that whatever the silent one still does is refused. One without chunks will be cut as `ingest` says;
/// one that has some stays as it is cut.
pub async fn claim(
    db: &Db,
    owner: &str,
    lease: Duration,
    ingest: &config::Ingest,
) -> Result<Option<i64>, DbError> {
    let failed = || DbError::during("claiming an import");
    let mut transaction = db.begin().await?;
    let id: Option<i64> = sqlx::query_scalar(
        "select i.id from imports i
         where i.state in ('received', 'running')
             and not exists (select from import_leases l where l.import_id = i.id and l.expires_at > now())
         order by i.id limit 1 for no key update of i skip locked",
    )
    .fetch_optional(&mut *transaction)
    .await
    .map_err(failed())?;
    let Some(id) = id else { return Ok(None) };
    // Two claims can find the same import one after the other: the lease decides, not what was read above.
    let claimed = sqlx::query(
        "insert into import_leases (import_id, owner, expires_at) values ($1, $2, now() + $3)
         on conflict (import_id) do update set owner = $2, expires_at = now() + $3 where import_leases.expires_at <= now()",
    )
    .bind(id)
    .bind(owner)
    .bind(lease)
    .execute(&mut *transaction)
    .await
    .map_err(failed())?
    .rows_affected();
    if claimed == 0 {
        return Ok(None);
    }
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
    // Nothing that is read is nearly as long.
    .bind(i64::try_from(ingest.chunk_rows).unwrap_or(i64::MAX))
    .bind(i64::try_from(ingest.chunk_bytes).unwrap_or(i64::MAX))
    .bind(i64::try_from(ingest.record_bytes).unwrap_or(i64::MAX))
    .execute(&mut *transaction)
    .await
    .map_err(failed())?;
    commit(transaction, "claiming an import").await?;
    Ok(Some(id))
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

/// Lets go of an import.
pub async fn release(db: &Db, id: i64, owner: &str) -> Result<(), DbError> {
    sqlx::query("delete from import_leases where import_id = $1 and owner = $2")
        .bind(id)
        .bind(owner)
        .execute(db.pool())
        .await
        .map(drop)
        .map_err(DbError::during("releasing a lease"))
}
