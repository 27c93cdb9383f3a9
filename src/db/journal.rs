//! The table behind the embedded transport: chunks that are published and not yet acknowledged.

use std::time::Duration;

use sqlx::{PgConnection, types::Json};

use super::{Db, DbError, notify};

/// A chunk to be published.
#[derive(Debug)]
pub struct Entry<'a, C> {
    /// Whose it is.
    pub import_id: i64,
    /// Its place in the import.
    pub chunk_no: i64,
    /// The epoch it is published in.
    pub epoch: i32,
    /// What a consumer must know.
    pub chunk: &'a C,
}

/// What a chunk gives way to: the first chunk of an import has its turn at once, each later one so much later. A small import
/// so passes the large ones that were there before.
const TURN: Duration = Duration::from_secs(3);
/// No chunk gives way for longer than so many turns: whatever comes in meanwhile, it goes on, and before its coordinator takes it for lost
/// (`worker.stalled_ms`).
const TURNS: i64 = 16;

/// Adds chunks of one import, or renews them for a new epoch. One that the ledger holds is not added again. `false`: the import does
/// not run in that epoch, and nothing was added.
pub async fn publish<C: serde::Serialize + Sync>(db: &Db, entries: &[Entry<'_, C>]) -> Result<bool, DbError> {
    let failed = || DbError::during("publishing chunks");
    let Some(Entry { import_id, epoch, .. }) = entries.first() else { return Ok(true) };
    let chunk_nos: Vec<_> = entries.iter().map(|entry| entry.chunk_no).collect();
    let chunks: Vec<_> = entries.iter().map(|entry| Json(entry.chunk)).collect();
    let mut transaction = db.begin().await?;
    let runs: bool = sqlx::query_scalar(
        "with import as (
             select id, epoch from imports where id = $1 and state = 'running' and epoch = $2 for share
         ), published as (
             insert into journal (import_id, chunk_no, epoch, chunk, turn_at)
             select import.id, e.chunk_no, import.epoch, e.chunk, now() + $5::interval * least(e.chunk_no, $6)
             from import, unnest($3::bigint[], $4::jsonb[]) as e (chunk_no, chunk)
             where not exists
                 (select from import_chunks c where c.import_id = import.id and c.chunk_no = e.chunk_no)
             on conflict (import_id, chunk_no) do update
                 set epoch = excluded.epoch, chunk = excluded.chunk, claimed_by = null, visible_at = now(),
                     turn_at = excluded.turn_at
                 where journal.epoch < excluded.epoch
         )
         select exists (select from import)",
    )
    .bind(import_id)
    .bind(epoch)
    .bind(chunk_nos)
    .bind(chunks)
    .bind(TURN)
    .bind(TURNS)
    .fetch_one(&mut *transaction)
    .await
    .map_err(failed())?;
    notify::notify(&mut transaction, notify::Topic::Journal).await?;
    transaction.commit().await.map_err(failed())?;
    Ok(runs)
}

/// Lets the statement's commit not wait for the disk. What a crash of the database undoes by that is a claim or an acknowledgement:
/// the chunk comes once more, and the ledger has it or not.
macro_rules! lazily {
    () => {
        "lazily as materialized (select set_config('synchronous_commit', 'off', true))"
    };
}

/// Claims the chunk of a running import whose turn it is for `claim`; afterwards, unacknowledged, it is anybody's again.
/// Comes with how often it has been claimed.
pub async fn claim<C>(db: &Db, by: &str, claim: Duration) -> Result<Option<(C, i32)>, DbError>
where
    C: Send + Unpin + for<'a> serde::Deserialize<'a> + 'static,
{
    let claimed: Option<(Json<C>, i32)> = sqlx::query_as(
        // Materialized, so that it runs once: as a part of a join it could run again for every row of the journal,
        // and claim as many chunks.
        concat!(
            "with next as materialized (
             select c.import_id, c.chunk_no from journal c
             join imports i on i.id = c.import_id and i.state = 'running' and i.epoch = c.epoch
             where c.visible_at <= now()
             order by c.turn_at, c.import_id, c.chunk_no limit 1 for update of c skip locked
         ), ",
            lazily!(),
            "
         update journal j set claimed_by = $1, visible_at = now() + $2, attempts = j.attempts + 1
         from next, lazily where j.import_id = next.import_id and j.chunk_no = next.chunk_no
         returning j.chunk, j.attempts"
        ),
    )
    .bind(by)
    .bind(claim)
    .fetch_optional(db.pool())
    .await
    .map_err(DbError::during("claiming a chunk"))?;
    Ok(claimed.map(|(chunk, attempts)| (chunk.0, attempts)))
}

/// Forgets a chunk that `by` holds.
pub async fn acknowledge(db: &Db, import_id: i64, chunk_no: i64, by: &str) -> Result<(), DbError> {
    sqlx::query(concat!(
        "with ",
        lazily!(),
        " delete from journal using lazily where import_id = $1 and chunk_no = $2 and claimed_by = $3"
    ))
    .bind(import_id)
    .bind(chunk_no)
    .bind(by)
    .execute(db.pool())
    .await
    .map(drop)
    .map_err(DbError::during("acknowledging a chunk"))
}

/// Gives a chunk back, for anybody after `delay`.
pub async fn give_back(
    db: &Db,
    import_id: i64,
    chunk_no: i64,
    by: &str,
    delay: Duration,
) -> Result<(), DbError> {
    sqlx::query(
        "update journal set claimed_by = null, visible_at = now() + $4
         where import_id = $1 and chunk_no = $2 and claimed_by = $3",
    )
    .bind(import_id)
    .bind(chunk_no)
    .bind(by)
    .bind(delay)
    .execute(db.pool())
    .await
    .map(drop)
    .map_err(DbError::during("giving a chunk back"))
}

/// Gives back every chunk that `by` holds, as if it had not been claimed: nothing was tried with it.
pub async fn give_all_back(db: &Db, by: &str) -> Result<(), DbError> {
    sqlx::query(
        "update journal set claimed_by = null, visible_at = now(), attempts = attempts - 1
         where claimed_by = $1",
    )
    .bind(by)
    .execute(db.pool())
    .await
    .map(drop)
    .map_err(DbError::during("giving chunks back"))
}

/// How many chunks are published and not acknowledged.
pub async fn depth(db: &Db) -> Result<i64, DbError> {
    sqlx::query_scalar("select count(*) from journal")
        .fetch_one(db.pool())
        .await
        .map_err(DbError::during("counting the journal"))
}

/// Forgets every chunk of an import.
pub async fn clear(connection: &mut PgConnection, import_id: i64) -> Result<(), DbError> {
    sqlx::query("delete from journal where import_id = $1")
        .bind(import_id)
        .execute(connection)
        .await
        .map(drop)
        .map_err(DbError::during("clearing the journal"))
}

/// Forgets the chunks of imports that have ended; how many.
pub async fn sweep(db: &Db) -> Result<u64, DbError> {
    sqlx::query(
        "delete from journal j using imports i
         where i.id = j.import_id and i.state not in ('received', 'running', 'paused')",
    )
    .execute(db.pool())
    .await
    .map(|done| done.rows_affected())
    .map_err(DbError::during("sweeping the journal"))
}
