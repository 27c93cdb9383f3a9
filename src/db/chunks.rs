//! The ledger: a chunk is in it exactly when its rows are in the database.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sqlx::{FromRow, PgConnection};

use super::{Db, DbError, notify::Topic};
use crate::db::{
    catalog::Pinned,
    files::Layout,
    imports::{Dialect, Import},
};

/// One loaded chunk.
#[derive(Debug, Clone, FromRow)]
#[expect(missing_docs, reason = "the columns of import_chunks, see the migration that creates it")]
pub struct Entry {
    pub import_id: i64,
    pub chunk_no: i64,
    pub file_no: i32,
    pub first_row: i64,
    pub first_line: i64,
    pub byte_offset: i64,
    pub byte_len: i64,
    pub rows_read: i64,
    pub rejected: i64,
    /// See [`unpaired`].
    pub unpaired: i64,
}

/// How far an import has come.
#[derive(Debug, Clone, Copy, Default, FromRow)]
pub struct Progress {
    /// Chunks loaded.
    pub chunks: i64,
    /// Records in them.
    pub rows_read: i64,
    /// Records rejected while loading; the merge may reject more.
    pub rejected: i64,
    /// Bytes in them.
    pub bytes: i64,
    /// Bytes of all files of the import, 0 until it is unpacked.
    pub bytes_total: i64,
}

/// What became of a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loaded {
    /// Its rows are in.
    Now,
    /// Its rows were in already.
    Before,
    /// Its import was stopped, paused or changed hands: the chunk is nobody's. Should the import go on, it is published again.
    Fenced,
}

/// Enters a chunk of an import that runs in `epoch`, and keeps it running until the transaction ends: neither a cancel nor a new owner
/// can slip in between. [`Loaded::Now`]: its rows are due, in the same transaction. Whoever waits for the ledger hears of it when that
/// commits.
///
/// The commit will not wait for the disk. What a crash of the database takes back by that is the chunk as a whole, and those entered
/// after it: they are loaded again. What depends on all of them being there must ask the ledger once more, as finishing does.
pub async fn enter(connection: &mut PgConnection, entry: &Entry, epoch: i32) -> Result<Loaded, DbError> {
    let entered: Option<bool> = sqlx::query_scalar(
        "with import as (
             select id from imports where id = $1 and state = 'running' and epoch = $11 for share
         ), entered as (
             insert into import_chunks
                 (import_id, chunk_no, file_no, first_row, first_line, byte_offset, byte_len, rows_read, rejected,
                  unpaired)
             select id, $2, $3, $4, $5, $6, $7, $8, $9, $10 from import on conflict do nothing returning chunk_no
         )
         select chunk_no is not null, set_config('synchronous_commit', 'off', true), pg_notify($12, '')::text
         from import left join entered on true",
    )
    .bind(entry.import_id)
    .bind(entry.chunk_no)
    .bind(entry.file_no)
    .bind(entry.first_row)
    .bind(entry.first_line)
    .bind(entry.byte_offset)
    .bind(entry.byte_len)
    .bind(entry.rows_read)
    .bind(entry.rejected)
    .bind(entry.unpaired)
    .bind(epoch)
    .bind(Topic::Ledger.channel())
    .fetch_optional(connection)
    .await
    .map_err(DbError::during("entering a chunk in the ledger"))?;
    Ok(match entered {
        Some(true) => Loaded::Now,
        Some(false) => Loaded::Before,
        None => Loaded::Fenced,
    })
}

/// What it takes to load a chunk.
#[derive(Debug, Clone, FromRow)]
pub struct Assignment {
    /// Its import's.
    #[sqlx(flatten)]
    pub dataset: Pinned,
    /// How its import's rows meet those that are stored.
    pub load: Option<String>,
    /// Its import's.
    #[sqlx(json)]
    pub dialect: Dialect,
    /// Whether its import stores nothing.
    pub dry_run: bool,
    /// The upload its import is of.
    pub source: String,
    /// When that came.
    pub created_at: DateTime<Utc>,
    /// What the fields of its file are; `None` before they are known.
    pub columns: Option<Vec<String>>,
    /// What that file says of its own fields.
    #[sqlx(json)]
    pub layout: Layout,
    /// Whether it is in the ledger.
    pub is_loaded: bool,
}

/// What it takes to load the chunk. `None`: its import is gone.
pub async fn assignment(
    db: &Db,
    import_id: i64,
    file_no: i32,
    chunk_no: i64,
) -> Result<Option<Assignment>, DbError> {
    sqlx::query_as(
        "select i.dataset, i.dataset_id, i.dataset_version, i.load, i.dialect, i.dry_run, i.source, i.created_at, f.columns,
             coalesce(f.layout, '{}') as layout,
             exists (select from import_chunks c where c.import_id = i.id and c.chunk_no = $3) as is_loaded
         from imports i left join import_files f on f.import_id = i.id and f.file_no = $2 where i.id = $1",
    )
    .bind(import_id)
    .bind(file_no)
    .bind(chunk_no)
    .fetch_optional(db.pool())
    .await
    .map_err(DbError::during("preparing to load a chunk"))
}

/// Where a loaded chunk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromRow)]
#[expect(missing_docs, reason = "as in Entry")]
pub struct Place {
    pub byte_offset: i64,
    pub byte_len: i64,
    pub first_row: i64,
    pub rows_read: i64,
}

/// The chunks that are loaded, by their numbers.
pub async fn loaded(db: &Db, import_id: i64) -> Result<HashMap<i64, Place>, DbError> {
    #[derive(FromRow)]
    struct Row {
        chunk_no: i64,
        #[sqlx(flatten)]
        place: Place,
    }
    let chunks: Vec<Row> = sqlx::query_as(
        "select chunk_no, byte_offset, byte_len, first_row, rows_read from import_chunks where import_id = $1",
    )
    .bind(import_id)
    .fetch_all(db.pool())
    .await
    .map_err(DbError::during("reading the ledger"))?;
    Ok(chunks.into_iter().map(|Row { chunk_no, place }| (chunk_no, place)).collect())
}

/// How far the import has come.
pub async fn progress(connection: &mut PgConnection, import_id: i64) -> Result<Progress, DbError> {
    sqlx::query_as(
        "select count(*) as chunks, coalesce(sum(rows_read), 0)::bigint as rows_read,
             coalesce(sum(rejected), 0)::bigint as rejected, coalesce(sum(byte_len), 0)::bigint as bytes,
             (select coalesce(sum(bytes), 0)::bigint from import_files where import_id = $1) as bytes_total
         from import_chunks where import_id = $1",
    )
    .bind(import_id)
    .fetch_one(connection)
    .await
    .map_err(DbError::during("reading the progress of an import"))
}

/// [`progress`] of several imports, in their order.
pub async fn progress_of(db: &Db, imports: &[Import]) -> Result<Vec<Progress>, DbError> {
    let ids: Vec<i64> = imports.iter().map(|import| import.id).collect();
    sqlx::query_as(
        "select count(c.chunk_no) as chunks, coalesce(sum(c.rows_read), 0)::bigint as rows_read,
             coalesce(sum(c.rejected), 0)::bigint as rejected, coalesce(sum(c.byte_len), 0)::bigint as bytes,
             (select coalesce(sum(bytes), 0)::bigint from import_files f where f.import_id = i.id) as bytes_total
         from unnest($1::bigint[]) with ordinality as i (id, place)
         left join import_chunks c on c.import_id = i.id
         group by i.id, i.place order by i.place",
    )
    .bind(&ids)
    .fetch_all(db.pool())
    .await
    .map_err(DbError::during("reading the progress of imports"))
}

/// 0 when every relation of the loaded rows is listed from both of its sides, as far as their hashes tell.
pub async fn unpaired(connection: &mut PgConnection, import_id: i64) -> Result<i64, DbError> {
    sqlx::query_scalar("select coalesce(bit_xor(unpaired), 0) from import_chunks where import_id = $1")
        .bind(import_id)
        .fetch_one(connection)
        .await
        .map_err(DbError::during("adding up the relations of an import"))
}

/// The chunk that holds a row.
pub async fn holding_row(
    connection: &mut PgConnection,
    import_id: i64,
    row: i64,
) -> Result<Option<Entry>, DbError> {
    sqlx::query_as(
        "select import_id, chunk_no, file_no, first_row, first_line, byte_offset, byte_len, rows_read, rejected,
             unpaired
         from import_chunks where import_id = $1 and first_row <= $2 and first_row + rows_read > $2",
    )
    .bind(import_id)
    .bind(row)
    .fetch_optional(connection)
    .await
    .map_err(DbError::during("finding the chunk of a row"))
}

/// Rows rejected in the chunks before one; what it says of chunks not loaded yet is nothing.
pub async fn rejected_before(
    connection: &mut PgConnection,
    import_id: i64,
    chunk_no: i64,
) -> Result<i64, DbError> {
    sqlx::query_scalar(
        "select coalesce(sum(rejected), 0)::bigint from import_chunks where import_id = $1 and chunk_no < $2",
    )
    .bind(import_id)
    .bind(chunk_no)
    .fetch_one(connection)
    .await
    .map_err(DbError::during("counting rejects"))
}
