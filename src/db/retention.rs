//! What happens to imports long after their end: which are due, what goes with them, how it comes back; and what has expired.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt};
use sqlx::{AssertSqlSafe, Connection, PgConnection, Postgres, Transaction};

use super::{
    Db, DbError,
    export::{Dates, Export},
    imports::{self, Again, Import},
    stuck_sessions::STREAMED,
};

/// Any number that no other lock uses: those of files are the beginnings of digests.
const LOCK: i64 = 0x7461_726d_6163;
/// For how long a link that has expired is still told from one that never was.
const EXPIRED_LINKS_DAYS: i32 = 1;

/// Held by the one process that moves imports away or brings them back. Freed with its connection.
#[derive(Debug)]
pub struct Lock(PgConnection);

impl Lock {
    /// `None`: another process holds it.
    pub async fn try_take(db: &Db) -> Result<Option<Self>, DbError> {
        let mut lock = Self::connect(db).await?;
        let taken: bool = sqlx::query_scalar("select pg_try_advisory_lock($1)")
            .bind(LOCK)
            .fetch_one(&mut lock.0)
            .await
            .map_err(DbError::during("locking retention"))?;
        Ok(taken.then_some(lock))
    }

    /// Waits for whoever holds it.
    pub async fn take(db: &Db) -> Result<Self, DbError> {
        let mut lock = Self::connect(db).await?;
        sqlx::query("select pg_advisory_lock($1)")
            .bind(LOCK)
            .execute(&mut lock.0)
            .await
            .map_err(DbError::during("locking retention"))?;
        Ok(lock)
    }

    /// Fails when the lock was lost, with its connection.
    pub async fn check(&mut self) -> Result<(), DbError> {
        self.0.ping().await.map_err(DbError::during("holding the lock of retention"))
    }

    async fn connect(db: &Db) -> Result<Self, DbError> {
        let connection = db.pool().acquire().await.map_err(DbError::during("locking retention"))?;
        // Not given back: another user of it would hold the lock too.
        Ok(Self(connection.detach()))
    }
}

/// A table whose rows of an import go to the long-term archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// The ledger.
    Ledger,
    /// The rejects.
    Rejects,
}

impl Table {
    fn name(self) -> &'static str {
        match self {
            Self::Ledger => "import_chunks",
            Self::Rejects => "import_rejects",
        }
    }

    /// What is kept of a row; the import is known.
    fn columns(self) -> &'static [&'static str] {
        match self {
            Self::Ledger => &[
                "import_id",
                "chunk_no",
                "file_no",
                "first_row",
                "first_line",
                "byte_offset",
                "byte_len",
                "rows_read",
                "rejected",
                "loaded_at",
                "unpaired",
            ],
            Self::Rejects => &[
                "import_id",
                "row",
                "line",
                "file_no",
                "column_name",
                "code",
                "message",
                "value",
                "byte_offset",
                "more",
                "raw",
                "accepted",
            ],
        }
    }

    fn order(self) -> &'static str {
        match self {
            Self::Ledger => "chunk_no",
            Self::Rejects => "row",
        }
    }
}

/// Imports that ended, and were last brought back, before that moment, oldest first, after the one of that number.
pub async fn due(db: &Db, before: DateTime<Utc>, after: i64, limit: i64) -> Result<Vec<Import>, DbError> {
    sqlx::query_as(concat!(
        "select ",
        imports::columns!(),
        " from imports
         where archived_at is null and finished_at < $1 and coalesce(restored_at < $1, true) and id > $2
             and state in ('complete', 'failed', 'cancelled', 'undone')
         order by id limit $3",
    ))
    .bind(before)
    .bind(after)
    .bind(limit)
    .fetch_all(db.pool())
    .await
    .map_err(DbError::during("looking for imports to move away"))
}

/// The rows of an import as CSV with a header, and how many there are.
pub async fn export(
    db: &Db,
    table: Table,
    import_id: i64,
) -> Result<(i64, impl Stream<Item = Result<Bytes, DbError>> + Send + 'static), DbError> {
    let name = table.name();
    let count = format!("select count(*) from {name} where import_id = {import_id}");
    let (export, count) = Export::begin::<(i64,)>(db, &count).await?;
    let (columns, order) = (table.columns().join(", "), table.order());
    let query = format!("select {columns} from {name} where import_id = {import_id} order by {order}");
    Ok((count.map_or(0, |(count,)| count), export.csv(&query, Dates::Iso)))
}

/// Says that the import is in the long-term archive and removes its ledger and its rejects, unless their numbers are other
/// than those or the import has changed: `false`.
pub async fn forget(
    connection: &mut PgConnection,
    import: &Import,
    (chunks, rejects): (i64, i64),
) -> Result<bool, DbError> {
    let failed = || DbError::during("moving an import away");
    let bytes: i64 = sqlx::query_scalar(
        "select coalesce(sum(byte_len), 0)::bigint from import_chunks where import_id = $1",
    )
    .bind(import.id)
    .fetch_one(&mut *connection)
    .await
    .map_err(failed())?;
    for (table, expected) in [(Table::Ledger, chunks), (Table::Rejects, rejects)] {
        let statement = format!("delete from {} where import_id = $1", table.name());
        let gone = sqlx::query(AssertSqlSafe(statement)).bind(import.id).execute(&mut *connection).await;
        if i64::try_from(gone.map_err(failed())?.rows_affected()) != Ok(expected) {
            return Ok(false);
        }
    }
    let marked = sqlx::query(
        "update imports set archived_at = now(), loaded_chunks = $2, loaded_bytes = $3
         where id = $1 and archived_at is null and state = $4 and restored_at is not distinct from $5",
    )
    .bind(import.id)
    .bind(chunks)
    .bind(bytes)
    .bind(import.state)
    .bind(import.restored_at)
    .execute(connection)
    .await
    .map_err(failed())?;
    Ok(marked.rows_affected() == 1)
}

/// Puts rows back that [`export`] gave; how many.
pub async fn import_rows<E: From<DbError>>(
    connection: &mut PgConnection,
    table: Table,
    mut csv: impl Stream<Item = Result<Bytes, E>> + Unpin,
) -> Result<i64, E> {
    let failed = || DbError::during("bringing back an import");
    let malformed = |what: String| E::from(failed()(sqlx::Error::Decode(what.into())));
    // The header says which columns there were then; those that came later have their defaults.
    let mut head = Vec::new();
    let rest = loop {
        let Some(bytes) = csv.next().await else { return Err(malformed("there is no header".to_owned())) };
        head.extend_from_slice(&bytes?);
        if let Some(end) = head.iter().position(|byte| *byte == b'\n') {
            break head.split_off(end + 1);
        }
    };
    let header = String::from_utf8_lossy(head.trim_ascii_end());
    if let Some(foreign) = header.split(',').find(|name| !table.columns().contains(name)) {
        return Err(malformed(format!("{foreign:?} is no column of {}", table.name())));
    }
    let statement = format!("{STREAMED} copy {} ({header}) from stdin (format csv)", table.name());
    let mut copy = connection.copy_in_raw(&statement).await.map_err(failed())?;
    copy.send(rest).await.map_err(failed())?;
    while let Some(bytes) = csv.next().await {
        copy.send(bytes?).await.map_err(failed())?;
    }
    let rows = copy.finish().await.map_err(failed())?;
    Ok(i64::try_from(rows).unwrap_or(i64::MAX))
}

/// Says that the import is here again.
pub async fn restored(connection: &mut PgConnection, import_id: i64) -> Result<(), DbError> {
    sqlx::query(
        "update imports set archived_at = null, restored_at = now(), loaded_chunks = null, loaded_bytes = null
         where id = $1",
    )
    .bind(import_id)
    .execute(connection)
    .await
    .map(drop)
    .map_err(DbError::during("bringing back an import"))
}

/// What the database knows of uploads.
#[derive(Debug, Clone, sqlx::FromRow)]
pub struct Known {
    /// The upload's object.
    pub source: String,
    /// Whether it is in the long-term archive.
    pub archived: bool,
}

/// Those of the uploads that belong to an import.
pub async fn known(db: &Db, sources: &[String]) -> Result<Vec<Known>, DbError> {
    sqlx::query_as("select source, archived_at is not null as archived from imports where source = any($1)")
        .bind(sources)
        .fetch_all(db.pool())
        .await
        .map_err(DbError::during("looking for the imports of uploads"))
}

/// The import of an upload.
pub async fn import_of(db: &Db, source: &str) -> Result<Option<i64>, DbError> {
    sqlx::query_scalar("select id from imports where source = $1 order by id limit 1")
        .bind(source)
        .fetch_optional(db.pool())
        .await
        .map_err(DbError::during("looking for the import of an upload"))
}

/// Those of the imports that have not ended.
pub async fn unfinished(db: &Db, ids: &[i64]) -> Result<Vec<i64>, DbError> {
    sqlx::query_scalar(
        "select id from imports where id = any($1) and state in ('received', 'running', 'paused')",
    )
    .bind(ids)
    .fetch_all(db.pool())
    .await
    .map_err(DbError::during("looking for imports under way"))
}

/// The number and the time of a lost import, with its number still to be had; a number that another import has got since is left
/// to it. No later import gets the number.
pub async fn reserve(
    transaction: &mut Transaction<'static, Postgres>,
    id: i64,
    created_at: DateTime<Utc>,
) -> Result<Again, DbError> {
    let failed = || DbError::during("making a lost import again");
    // Numbers are drawn until this one is behind, rather than set, which could take back what others draw meanwhile.
    sqlx::query(
        "select nextval(pg_get_serial_sequence('imports', 'id'))
         from (select last_value, is_called from imports_id_seq) sequence,
             generate_series(sequence.last_value + sequence.is_called::int, $1)",
    )
    .bind(id)
    .execute(&mut **transaction)
    .await
    .map_err(failed())?;
    let id = sqlx::query_scalar(
        "select case when exists (select from imports where id = $1)
             then nextval(pg_get_serial_sequence('imports', 'id')) else $1 end",
    )
    .bind(id)
    .fetch_one(&mut **transaction)
    .await
    .map_err(failed())?;
    Ok(Again { id, created_at })
}

/// Removes answers and links that are of no use any more; how many of each.
pub async fn expire(db: &Db) -> Result<(u64, u64), DbError> {
    let failed = || DbError::during("removing what has expired");
    let answers = sqlx::query("delete from idempotency_keys where expires_at <= now()")
        .execute(db.pool())
        .await
        .map_err(failed())?;
    let links =
        sqlx::query("delete from pending_changes where expires_at <= now() - make_interval(days => $1)")
            .bind(EXPIRED_LINKS_DAYS)
            .execute(db.pool())
            .await
            .map_err(failed())?;
    Ok((answers.rows_affected(), links.rows_affected()))
}
