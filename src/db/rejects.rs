//! Rejected rows: data like any other.

use serde::{Deserialize, Serialize};
use sqlx::{FromRow, PgConnection};

use super::{Db, DbError, copy::CopyBuffer};

const TARGET: &str = "import_rejects (import_id, row, line, file_no, column_name, code, message, value, byte_offset, more, raw, accepted)";
const COLUMNS: i16 = 12;

/// One rejected row, by its first fault in the order of the columns.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct Reject {
    /// Which data record, from 1.
    pub row: i64,
    /// Which physical line of its file it begins on, from 1.
    pub line: Option<i64>,
    /// Which file.
    pub file_no: Option<i32>,
    /// The column's name; `None` for a fault of the whole record.
    #[sqlx(rename = "column_name")]
    pub column: Option<String>,
    /// Stable and for machines.
    pub code: String,
    /// For people.
    pub message: String,
    /// What was in the column.
    pub value: Option<String>,
    /// Where in the unpacked file the first bad byte is, for text that is not UTF-8.
    pub byte_offset: Option<i64>,
    /// The faults beyond the first.
    #[sqlx(json)]
    pub more: Vec<MoreFault>,
    /// The record as it stood in the file.
    pub raw: Option<Vec<u8>>,
    /// Whether the row was loaded all the same, without what is at fault; it does not count as rejected.
    pub accepted: bool,
}

/// A further fault of a rejected row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "as in Reject")]
pub struct MoreFault {
    pub column: Option<String>,
    pub code: String,
    pub message: String,
    pub value: Option<String>,
}

/// Bytes of rejects that are stored at once, and those of one reject more.
const WRITE_BYTES: usize = 8 << 20;

/// Stores rejects of one import, many at once, in little memory: however many there are, and however long their records.
#[derive(Debug)]
pub struct Writer {
    import_id: i64,
    copy: CopyBuffer,
}

impl Writer {
    /// One that has nothing to store yet.
    pub fn new(import_id: i64) -> Self {
        Self { import_id, copy: CopyBuffer::new(COLUMNS, 0) }
    }

    /// Stores a reject, together with others.
    pub async fn put(&mut self, connection: &mut PgConnection, reject: &Reject) -> Result<(), DbError> {
        let Self { import_id, copy } = self;
        let Reject { row, line, file_no, column, code, message, value, byte_offset, more, raw, accepted } =
            reject;
        copy.begin_row();
        copy.put_i64(*import_id);
        copy.put_i64(*row);
        put_i64(copy, *line);
        match file_no {
            Some(file_no) => copy.put_i32(*file_no),
            None => copy.put_null(),
        }
        put_text(copy, column.as_deref());
        copy.put_text(code);
        copy.put_text(message);
        put_text(copy, value.as_deref());
        put_i64(copy, *byte_offset);
        copy.put_jsonb(&serde_json::json!(more));
        match raw {
            Some(raw) => copy.put_bytes(raw),
            None => copy.put_null(),
        }
        copy.put_bool(*accepted);
        copy.end_row();
        if copy.size() < WRITE_BYTES {
            return Ok(());
        }
        let mut full = std::mem::replace(copy, CopyBuffer::new(COLUMNS, 0));
        full.send(connection, TARGET).await
    }

    /// Stores the rest.
    pub async fn finish(mut self, connection: &mut PgConnection) -> Result<(), DbError> {
        self.copy.send(connection, TARGET).await
    }
}

fn put_i64(copy: &mut CopyBuffer, number: Option<i64>) {
    match number {
        Some(number) => copy.put_i64(number),
        None => copy.put_null(),
    }
}

fn put_text(copy: &mut CopyBuffer, text: Option<&str>) {
    match text {
        Some(text) => copy.put_text(text),
        None => copy.put_null(),
    }
}

/// Bytes of rejects that are read at once, and those of one reject more. In an answer they may take several times as much.
const READ_BYTES: i64 = 4 << 20;

/// Rejects after `after`, by row: at most `limit`, and fewer when they are long.
pub async fn list(db: &Db, import_id: i64, after: i64, limit: i64) -> Result<Vec<Reject>, DbError> {
    sqlx::query_as(
        "select row, line, file_no, column_name, code, message, value, byte_offset, more, raw, accepted
         from (
             select row, line, file_no, column_name, code, message, value, byte_offset, more, raw, accepted,
                 sum(coalesce(octet_length(raw), 0) + octet_length(message) + coalesce(octet_length(value), 0)
                         + coalesce(pg_column_size(more), 0))
                     over (order by row rows between unbounded preceding and 1 preceding) as bytes_before
             from import_rejects where import_id = $1 and row > $2 order by row limit $3
         ) r
         where coalesce(bytes_before, 0) < $4 order by row",
    )
    .bind(import_id)
    .bind(after)
    .bind(limit)
    .bind(READ_BYTES)
    .fetch_all(db.pool())
    .await
    .map_err(DbError::during("reading rejects"))
}

/// Whether there are rejects after `after`.
pub async fn has_more(db: &Db, import_id: i64, after: i64) -> Result<bool, DbError> {
    sqlx::query_scalar("select exists (select from import_rejects where import_id = $1 and row > $2)")
        .bind(import_id)
        .bind(after)
        .fetch_one(db.pool())
        .await
        .map_err(DbError::during("looking for more rejects"))
}

/// Keeps the `keep` rejects with the lowest rows and removes the others.
pub async fn trim(connection: &mut PgConnection, import_id: i64, keep: i64) -> Result<(), DbError> {
    sqlx::query(
        "delete from import_rejects where import_id = $1 and row > (
             select row from import_rejects where import_id = $1 order by row offset greatest($2 - 1, 0) limit 1)
             or import_id = $1 and $2 = 0",
    )
    .bind(import_id)
    .bind(keep)
    .execute(connection)
    .await
    .map(drop)
    .map_err(DbError::during("trimming rejects"))
}
