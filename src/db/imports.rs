//! The imports: one row each, and the only place where its state changes.

use std::{collections::HashMap, sync::Arc};

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use sqlx::{AssertSqlSafe, FromRow, PgConnection};

use super::{Db, DbError, catalog::Pinned, notify};
use crate::datasets::{
    Dataset, Encoding, Quote,
    plan::{Blanks, LoadMode, MaxDeleted},
};

/// Where an import stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, sqlx::Type)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum State {
    /// The bytes are safe; nobody works on it yet.
    Received,
    /// Being loaded.
    Running,
    /// Stopped on request; goes on when resumed.
    Paused,
    /// All of it is visible.
    Complete,
    /// None of it is visible; the error says why.
    Failed,
    /// Stopped on request for good; none of it is visible.
    Cancelled,
    /// Was complete; what it created was removed.
    Undone,
}

impl State {
    /// Whether nothing will happen any more without a request.
    pub fn is_final(self) -> bool {
        !matches!(self, Self::Received | Self::Running | Self::Paused)
    }
}

/// What happens to an import with rejects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, sqlx::Type)]
#[serde(rename_all = "lowercase")]
#[sqlx(type_name = "text", rename_all = "lowercase")]
pub enum Mode {
    /// Good rows go in, the others are reported.
    Lenient,
    /// One reject fails the import.
    Strict,
}

/// How the CSV is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Dialect {
    /// Between fields; one ASCII byte.
    pub delimiter: u8,
    /// Whether the client stated the delimiter. A file may state another one only where it did not.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub delimiter_stated: bool,
    /// Around fields; one ASCII byte. `None`: a quote is text.
    pub quote: Option<u8>,
    /// Before a byte that is to be taken as it is; one ASCII byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub escape: Option<u8>,
    /// At the beginning of lines that are no records; one ASCII byte.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub comment: Option<u8>,
    /// How the upload's text is encoded, which is UTF-8 once it is unpacked. `None`: it is UTF-8 already.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encoding: Option<Encoding>,
    /// How many lines there are before the first record.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub skip: u32,
    /// Whether it is the dataset, not the upload, that says how the text is encoded or that a quote is text. What the service itself has
    /// written, in UTF-8 and with quotes, is read as it was written then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub except_own: bool,
    /// The field that stands for null, beside the empty one.
    pub null: String,
    /// Whether the first record of a file names the columns; `None`: it does when it looks like a header.
    pub header: Option<bool>,
}

impl Dialect {
    /// Commas and double quotes, as RFC 4180 has them.
    pub fn standard(null: &str) -> Self {
        Self {
            delimiter: b',',
            delimiter_stated: false,
            quote: Some(b'"'),
            escape: None,
            comment: None,
            encoding: None,
            skip: 0,
            except_own: false,
            null: null.to_owned(),
            header: None,
        }
    }

    /// What holds for files of the dataset of which nothing is said.
    pub fn of(dataset: &Dataset) -> Self {
        let declared = &dataset.dialect;
        let quote = match declared.quote {
            None => Some(b'"'),
            Some(Quote::None) => None,
            Some(Quote::Byte(quote)) => Some(quote),
        };
        let encoding = declared.encoding.filter(|encoding| *encoding != Encoding::Utf8);
        Self {
            delimiter: declared.delimiter.unwrap_or(b','),
            delimiter_stated: false,
            quote,
            escape: declared.escape,
            comment: declared.comment,
            encoding,
            skip: declared.skip.unwrap_or_default(),
            except_own: quote.is_none() || encoding.is_some(),
            null: declared.null.as_deref().unwrap_or_else(|| dataset.null()).to_owned(),
            header: declared.header,
        }
    }

    /// What the service writes around fields of its own files of this dialect: where a quote is text, something must be around those
    /// with delimiters and line breaks in them all the same.
    pub fn own_quote(&self) -> u8 {
        let taken = [Some(self.delimiter), self.escape, self.comment];
        let free = || [b'"', b'\'', b'`', b'~'].into_iter().find(|byte| !taken.contains(&Some(*byte)));
        self.quote.or_else(free).unwrap_or(b'"')
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

/// Something about an import, or a file of it, that is neither a count nor a reject; shown to its owner.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Note {
    /// Stable and for machines.
    pub code: String,
    /// The file of a ZIP.
    pub file: Option<String>,
    /// The column's name.
    pub column: Option<String>,
    /// For people.
    pub message: String,
}

/// How the rows of an import meet those that are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadOptions {
    /// New rows, known rows, absent rows.
    pub load: LoadMode,
    /// Null in a known row.
    pub blanks: Blanks,
    /// How many rows a sync may delete.
    pub max_deleted: MaxDeleted,
}

/// What was uploaded.
#[derive(Debug, Clone)]
pub struct NewImport {
    /// What it is a file of.
    pub dataset: Arc<Dataset>,
    /// What happens with rejects.
    pub mode: Mode,
    /// More rejects than this fail the import.
    pub max_rejects: Option<i64>,
    /// How its rows meet those that are stored; of a declared dataset.
    pub loading: Option<LoadOptions>,
    /// The import whose rejects it brings back.
    pub corrects: Option<i64>,
    /// Validates and decides, stores nothing.
    pub dry_run: bool,
    /// How the CSV is written.
    pub dialect: Dialect,
    /// As the client names the file.
    pub filename: Option<String>,
    /// The trace the upload belongs to.
    pub traceparent: Option<String>,
    /// `text/csv`, `application/zip` or `application/json`.
    pub media_type: &'static str,
    /// Whether the bytes are gzip around that.
    pub gzipped: bool,
    /// The object in the archive.
    pub source: String,
    /// Length of the object.
    pub bytes: i64,
    /// Digest of the object.
    pub sha256: [u8; 32],
}

/// One import.
#[derive(Debug, Clone, FromRow)]
#[expect(missing_docs, reason = "the columns, explained in the migration")]
pub struct Import {
    pub id: i64,
    pub dataset: String,
    pub dataset_id: Option<i32>,
    pub dataset_version: Option<i32>,
    pub state: State,
    pub mode: Mode,
    pub max_rejects: Option<i64>,
    pub load: Option<String>,
    pub blanks: Option<String>,
    pub max_deleted: Option<String>,
    pub corrects: Option<i64>,
    pub dry_run: bool,
    #[sqlx(json)]
    pub dialect: Dialect,
    pub filename: Option<String>,
    pub traceparent: Option<String>,
    pub media_type: String,
    pub gzipped: bool,
    pub source: String,
    pub bytes: i64,
    pub sha256: Vec<u8>,
    pub epoch: i32,
    pub chunk_rows: i64,
    pub chunk_bytes: i64,
    pub record_bytes: i64,
    pub chunks_total: Option<i64>,
    pub rows_read: Option<i64>,
    pub inserted: Option<i64>,
    pub updated: Option<i64>,
    pub unchanged: Option<i64>,
    pub deleted: Option<i64>,
    pub rejected: Option<i64>,
    pub relations_dropped: Option<i64>,
    pub removed: Option<i64>,
    pub error_code: Option<String>,
    pub error_message: Option<String>,
    #[sqlx(json)]
    pub notes: Vec<Note>,
    pub created_at: DateTime<Utc>,
    pub started_at: Option<DateTime<Utc>>,
    pub finished_at: Option<DateTime<Utc>>,
    pub archived_at: Option<DateTime<Utc>>,
    pub restored_at: Option<DateTime<Utc>>,
    pub loaded_chunks: Option<i64>,
    pub loaded_bytes: Option<i64>,
}

impl Import {
    /// How its rows meet those that are stored; `None`: it is of a built-in dataset.
    pub fn loading(&self) -> Option<LoadOptions> {
        let load = self.load.as_deref()?;
        let blanks = self.blanks.as_deref() == Some(Blanks::Keep.as_str());
        Some(LoadOptions {
            load: LoadMode::ALL.into_iter().find(|known| known.as_str() == load)?,
            blanks: if blanks { Blanks::Keep } else { Blanks::Overwrite },
            max_deleted: self.max_deleted.as_deref().and_then(|text| text.parse().ok()).unwrap_or_default(),
        })
    }

    /// What it is a file of.
    pub fn pinned(&self) -> Pinned {
        let Self { dataset, dataset_id, dataset_version, .. } = self;
        Pinned { dataset: dataset.clone(), dataset_id: *dataset_id, dataset_version: *dataset_version }
    }
}

/// The columns of [`Import`]. An asterisk would give statements that are prepared another result, and so end them, when a later
/// version adds a column while this one runs.
macro_rules! columns {
    () => {
        "id, dataset, dataset_id, dataset_version, state, mode, max_rejects, load, blanks, max_deleted, corrects, dry_run, dialect, filename, traceparent, media_type, gzipped, source, bytes, sha256, epoch, \
         chunk_rows, chunk_bytes, record_bytes, chunks_total, rows_read, inserted, updated, unchanged, deleted, rejected, \
         relations_dropped, removed, error_code, error_message, notes, created_at, started_at, finished_at, archived_at, restored_at, loaded_chunks, loaded_bytes"
    };
}
pub(super) use columns;

/// What became of the rows: `rows_read = inserted + updated + unchanged + deleted + rejected`. Rows that lost relations are among them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[expect(
    missing_docs,
    reason = "each counts the rows with that outcome, and the last one the relations that were left out"
)]
pub struct Counts {
    pub rows_read: i64,
    pub inserted: i64,
    pub updated: i64,
    pub unchanged: i64,
    pub deleted: i64,
    pub rejected: i64,
    pub relations_dropped: i64,
    /// Rows that a sync deleted; no part of `rows_read`. `None`: the import was no sync.
    pub removed: Option<i64>,
}

/// Why an import failed; shown to its owner.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImportError {
    /// Stable and for machines.
    pub code: &'static str,
    /// For people, with the place of the fault.
    pub message: String,
}

/// The number and the time of an import that was lost and is made again.
#[derive(Debug, Clone, Copy)]
pub struct Again {
    /// Its number.
    pub id: i64,
    /// When its bytes were safe.
    pub created_at: DateTime<Utc>,
}

/// Adds an import. Nobody sees it before the transaction commits.
pub async fn insert(
    connection: &mut PgConnection,
    new: &NewImport,
    again: Option<Again>,
) -> Result<Import, DbError> {
    let import = sqlx::query_as(concat!("insert into imports (dataset, dataset_id, dataset_version, mode, max_rejects, dry_run, dialect, filename, media_type, gzipped, source, bytes, sha256, traceparent, load, blanks, max_deleted, corrects, id, created_at)
         overriding system value
         values ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18,
             coalesce($19, nextval(pg_get_serial_sequence('imports', 'id'))), coalesce($20, now())) returning ", columns!()))
    .bind(new.dataset.name.as_str())
    .bind(new.dataset.id)
    .bind(new.dataset.id.map(|_| new.dataset.version))
    .bind(new.mode)
    .bind(new.max_rejects)
    .bind(new.dry_run)
    .bind(sqlx::types::Json(&new.dialect))
    .bind(&new.filename)
    .bind(new.media_type)
    .bind(new.gzipped)
    .bind(&new.source)
    .bind(new.bytes)
    .bind(new.sha256.as_slice())
    .bind(&new.traceparent)
    .bind(new.loading.map(|loading| loading.load.as_str()))
    .bind(new.loading.map(|loading| loading.blanks.as_str()))
    .bind(new.loading.map(|loading| loading.max_deleted.to_string()))
    .bind(new.corrects)
    .bind(again.map(|again| again.id))
    .bind(again.map(|again| again.created_at))
    .fetch_one(&mut *connection)
    .await
    .map_err(DbError::during("adding an import"))?;
    notify::notify(connection, notify::Topic::Imports).await?;
    Ok(import)
}

/// Adds an import whose rows are stored by its own transaction: complete, with one chunk of `rows` good rows.
pub async fn insert_complete(
    connection: &mut PgConnection,
    new: &NewImport,
    rows: i64,
    again: Option<Again>,
) -> Result<Import, DbError> {
    sqlx::query_as(concat!(
        "with import as (
             insert into imports (dataset, mode, dialect, media_type, source, bytes, sha256, state, chunks_total,
                 rows_read, inserted, updated, unchanged, deleted, rejected, relations_dropped, dry_run, started_at, finished_at, id,
                 created_at)
             overriding system value
             values ($1, $2, $3, $4, $5, $6, $7, 'complete', 1, $8, $8, 0, 0, 0, 0, 0, $9, now(), clock_timestamp(),
                 coalesce($10, nextval(pg_get_serial_sequence('imports', 'id'))), coalesce($11, now()))
             returning *
         ), file as (
             insert into import_files (import_id, file_no, object, bytes) select id, 0, source, bytes from import
         ), chunk as (
             insert into import_chunks
                 (import_id, chunk_no, file_no, first_row, first_line, byte_offset, byte_len, rows_read, rejected)
             select id, 0, 0, 1, 1, 0, bytes, $8, 0 from import
         )
         select ", columns!(), " from import"
    ))
    .bind(new.dataset.name.as_str())
    .bind(new.mode)
    .bind(sqlx::types::Json(&new.dialect))
    .bind(new.media_type)
    .bind(&new.source)
    .bind(new.bytes)
    .bind(new.sha256.as_slice())
    .bind(rows)
    .bind(new.dry_run)
    .bind(again.map(|again| again.id))
    .bind(again.map(|again| again.created_at))
    .fetch_one(connection)
    .await
    .map_err(DbError::during("adding a complete import"))
}

/// The first import of the same bytes with the same settings that answers for this one: it is complete, and nothing has changed its
/// dataset since; or it is on its way there. Neither answers where another import was received after it and is under way, which may
/// undo what it does; nor where rows are hidden that are still to be removed. Imports that are sets of their own always answer; a dry run never asks. With a key, only imports of that key answer.
///
/// Two uploads of one file at once take turns here until their transactions end, so that the second finds the first.
pub async fn find_same(
    connection: &mut PgConnection,
    new: &NewImport,
    key_id: Option<i64>,
) -> Result<Option<Import>, DbError> {
    if new.dry_run {
        return Ok(None);
    }
    let failed = || DbError::during("looking for the same file");
    let is_current = match new.dataset.changes_of(new.loading.map(|loading| loading.load)) {
        None => "true".to_owned(),
        Some(sequence) => format!(
            "dataset_version is not distinct from $11 and (state <> 'complete' or changes = (select last_value from {sequence})
                 and not exists (select from import_removals r join imports undone on undone.id = r.import_id
                     where undone.dataset = imports.dataset and r.finished_at is null and r.kept is null))
             and not exists (select from imports later where later.dataset = imports.dataset and later.id > imports.id
                 and not later.dry_run and later.state in ('received', 'running', 'paused'))"
        ),
    };
    let lock = i64::from_be_bytes(new.sha256[..8].try_into().unwrap_or_default());
    sqlx::query("select pg_advisory_xact_lock($1)")
        .bind(lock)
        .execute(&mut *connection)
        .await
        .map_err(failed())?;
    let statement = format!(
        concat!(
            "select ",
            columns!(),
            " from imports
             where sha256 = $1 and dataset = $2 and dataset_id is not distinct from $7 and media_type <> 'application/json' and dialect - 'delimiter_stated' = $3 - 'delimiter_stated'
                 and mode = $4
                 and max_rejects is not distinct from $5 and load is not distinct from $8 and blanks is not distinct from $9
                 and max_deleted is not distinct from $10 and not dry_run
                 and state in ('received', 'running', 'paused', 'complete') and {is_current}
                 and ($6::bigint is null or key_id = $6)
             order by id limit 1"
        ),
        is_current = is_current
    );
    sqlx::query_as(AssertSqlSafe(statement))
        .bind(new.sha256.as_slice())
        .bind(new.dataset.name.as_str())
        .bind(sqlx::types::Json(&new.dialect))
        .bind(new.mode)
        .bind(new.max_rejects)
        .bind(key_id)
        .bind(new.dataset.id)
        .bind(new.loading.map(|loading| loading.load.as_str()))
        .bind(new.loading.map(|loading| loading.blanks.as_str()))
        .bind(new.loading.map(|loading| loading.max_deleted.to_string()))
        .bind(new.dataset.id.map(|_| new.dataset.version))
        .fetch_optional(connection)
        .await
        .map_err(failed())
}

/// The import of that id.
pub async fn get(db: &Db, id: i64) -> Result<Option<Import>, DbError> {
    sqlx::query_as(concat!("select ", columns!(), " from imports where id = $1"))
        .bind(id)
        .fetch_optional(db.pool())
        .await
        .map_err(DbError::during("reading an import"))
}

/// The datasets that a key may read.
#[derive(Debug, Clone, Default)]
pub struct Readable {
    /// All that are not private.
    pub all_public: bool,
    /// Those of these names.
    pub named: Vec<String>,
}

/// Which imports a list holds.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Only of this dataset.
    pub dataset: Option<String>,
    /// Only of the declared dataset of this number: one of the same name was there before it was purged.
    pub dataset_id: Option<i32>,
    /// Only what a key may read of.
    pub readable: Option<Readable>,
    /// Only in this state.
    pub state: Option<State>,
    /// Only older than this one: where the page before ended.
    pub before: Option<i64>,
}

/// Imports, newest first.
pub async fn list(db: &Db, filter: &Filter, limit: i64) -> Result<Vec<Import>, DbError> {
    sqlx::query_as(concat!(
"select ", columns!(), " from imports
         where ($1::text is null or dataset = $1) and ($5::int is null or dataset_id = $5)
             and ($6::bool is null or dataset = any($7) or $6 and (dataset_id is null or exists (
                 select from dataset_catalog c where c.id = imports.dataset_id and not c.private))) and ($2::text is null or state = $2) and ($3::bigint is null or id < $3)
         order by id desc limit $4"))
    .bind(&filter.dataset)
    .bind(filter.state)
    .bind(filter.before)
    .bind(limit)
    .bind(filter.dataset_id)
    .bind(filter.readable.as_ref().map(|readable| readable.all_public))
    .bind(filter.readable.as_ref().map(|readable| &readable.named))
    .fetch_all(db.pool())
    .await
    .map_err(DbError::during("listing imports"))
}

/// For each of these imports that others bring the rejects of back, the last one that does.
pub async fn corrections(db: &Db, imports: &[i64]) -> Result<HashMap<i64, i64>, DbError> {
    let rows: Vec<(i64, i64)> = sqlx::query_as(
        "select corrects, max(id) from imports where corrects = any ($1) and not dry_run group by corrects",
    )
    .bind(imports)
    .fetch_all(db.pool())
    .await
    .map_err(DbError::during("looking for imports that correct others"))?;
    Ok(rows.into_iter().collect())
}

/// How many imports are received or running.
pub async fn unfinished(db: &Db) -> Result<i64, DbError> {
    sqlx::query_scalar("select count(*) from imports where state in ('received', 'running')")
        .fetch_one(db.pool())
        .await
        .map_err(DbError::during("counting imports that are under way"))
}

/// Reads the import and keeps its state from changing until the transaction ends; others may do the same at once.
pub async fn share(connection: &mut PgConnection, id: i64) -> Result<Option<(State, i32)>, DbError> {
    sqlx::query_as("select state, epoch from imports where id = $1 for share")
        .bind(id)
        .fetch_optional(connection)
        .await
        .map_err(DbError::during("fencing an import"))
}

/// Reads the import and keeps everybody else from it until the transaction ends.
pub async fn lock(connection: &mut PgConnection, id: i64) -> Result<Option<Import>, DbError> {
    sqlx::query_as(concat!("select ", columns!(), " from imports where id = $1 for update"))
        .bind(id)
        .fetch_optional(connection)
        .await
        .map_err(DbError::during("locking an import"))
}

/// Moves an import that the caller has locked. Leaving `running` for good raises the epoch: what is still under way is
/// from a zombie. So does going on after a pause, for chunks that came meanwhile were thrown away: whoever leads the
/// import next publishes them again.
pub async fn set_state(connection: &mut PgConnection, id: i64, state: State) -> Result<Import, DbError> {
    let import = sqlx::query_as(concat!(
        "update imports set state = $2,
             epoch = epoch + case when $2 in ('failed', 'cancelled', 'running') then 1 else 0 end,
             finished_at = case when $2 in ('complete', 'failed', 'cancelled') then clock_timestamp()
                 else finished_at end
         where id = $1 returning ",
        columns!()
    ))
    .bind(id)
    .bind(state)
    .fetch_one(&mut *connection)
    .await
    .map_err(DbError::during("moving an import to another state"))?;
    notify::notify(connection, notify::Topic::Imports).await?;
    Ok(import)
}

/// Says why an import failed.
pub async fn set_error(connection: &mut PgConnection, id: i64, error: &ImportError) -> Result<(), DbError> {
    sqlx::query("update imports set error_code = $2, error_message = $3 where id = $1")
        .bind(id)
        .bind(error.code)
        .bind(&error.message)
        .execute(connection)
        .await
        .map(drop)
        .map_err(DbError::during("keeping why an import failed"))
}

/// Adds a note, unless the import has it already or has `most`.
pub async fn add_note(connection: &mut PgConnection, id: i64, note: &Note, most: i32) -> Result<(), DbError> {
    sqlx::query(
        "update imports set notes = notes || $2
         where id = $1 and not notes @> $2 and jsonb_array_length(notes) < $3",
    )
    .bind(id)
    .bind(sqlx::types::Json([note]))
    .bind(most)
    .execute(connection)
    .await
    .map(drop)
    .map_err(DbError::during("adding a note to an import"))
}

/// Keeps the final counts.
pub async fn set_counts(connection: &mut PgConnection, id: i64, counts: &Counts) -> Result<(), DbError> {
    sqlx::query(
        "update imports set rows_read = $2, inserted = $3, updated = $4, unchanged = $5, deleted = $6, rejected = $7,
             relations_dropped = $8, removed = $9
         where id = $1",
    )
    .bind(id)
    .bind(counts.rows_read)
    .bind(counts.inserted)
    .bind(counts.updated)
    .bind(counts.unchanged)
    .bind(counts.deleted)
    .bind(counts.rejected)
    .bind(counts.relations_dropped)
    .bind(counts.removed)
    .execute(connection)
    .await
    .map(drop)
    .map_err(DbError::during("keeping the counts of an import"))
}

/// Keeps how often the dataset's table had changed when the import was complete, by the sequence that counts that. As long as it has not
/// changed since, the same file would change nothing. The caller holds a lock that no writer of the table holds beside it: there is none then
/// that has advanced the sequence and may still commit, nor one that has changed something and not advanced it.
pub async fn set_changes(connection: &mut PgConnection, id: i64, sequence: &str) -> Result<(), DbError> {
    let statement = format!("update imports set changes = (select last_value from {sequence}) where id = $1");
    sqlx::query(AssertSqlSafe(statement))
        .bind(id)
        .execute(connection)
        .await
        .map(drop)
        .map_err(DbError::during("keeping how often a dataset had changed"))
}

/// Says how many chunks the import has, once all are published.
pub async fn set_chunks_total(connection: &mut PgConnection, id: i64, chunks: i64) -> Result<(), DbError> {
    sqlx::query("update imports set chunks_total = $2 where id = $1")
        .bind(id)
        .bind(chunks)
        .execute(connection)
        .await
        .map(drop)
        .map_err(DbError::during("keeping the number of chunks"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_dialect_of_an_older_version_is_the_same_as_one_that_says_nothing_new() {
        let old = json!({"delimiter": 44, "quote": 34, "null": "", "header": null});
        let read: Dialect = serde_json::from_value(old.clone()).expect("it is read");
        assert_eq!(read, Dialect::standard(""));
        assert_eq!(serde_json::to_value(read).expect("it is written"), old);
    }

    #[test]
    fn a_dialect_comes_back() {
        for encoding in Encoding::ALL {
            let dialect = Dialect {
                quote: None,
                comment: Some(b'#'),
                encoding: Some(encoding),
                skip: 7,
                except_own: true,
                ..Dialect::standard(r"\N")
            };
            let written = serde_json::to_value(&dialect).expect("it is written");
            assert_eq!((&written["encoding"], &written["quote"]), (&json!(encoding.as_str()), &json!(null)));
            assert_eq!(serde_json::from_value::<Dialect>(written).expect("it is read"), dialect);
        }
    }

    #[test]
    fn the_quote_of_own_files_means_nothing_else() {
        let unquoted = |delimiter, escape, comment| Dialect {
            delimiter,
            quote: None,
            escape,
            comment,
            ..Dialect::standard("")
        };
        assert_eq!(Dialect { quote: Some(b'|'), ..Dialect::standard("") }.own_quote(), b'|');
        assert_eq!(unquoted(b',', None, None).own_quote(), b'"');
        assert_eq!(unquoted(b'"', None, Some(b'\'')).own_quote(), b'`');
        assert_eq!(unquoted(b'"', Some(b'`'), Some(b'\'')).own_quote(), b'~');
    }
}
