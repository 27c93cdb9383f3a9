//! Rows in PostgreSQL's binary COPY format
//! (<https://www.postgresql.org/docs/current/sql-copy.html>, "Binary Format"), built in one growing buffer.

use chrono::NaiveDate;
use sqlx::{PgConnection, postgres::PgCopyIn};
use uuid::Uuid;

use super::{DbError, days};

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
const NULL: i32 = -1;
const END: i16 = -1;
/// The type of an array's items.
const BIGINT_OID: i32 = 20;
/// PostgreSQL's arrays begin at 1.
const FIRST_INDEX: i32 = 1;
/// Bytes of a message of copied rows: client and server hold a whole message in memory.
const MESSAGE_BYTES: usize = 64 << 10;

/// Rows on their way into one table. Every row must get exactly the columns it was opened for.
#[derive(Debug)]
pub struct CopyBuffer {
    bytes: Vec<u8>,
    columns: i16,
    rows: u64,
    row_start: usize,
}

impl CopyBuffer {
    /// An empty buffer for rows of `columns` columns.
    pub fn new(columns: i16, capacity: usize) -> Self {
        let mut bytes = Vec::with_capacity(capacity + 32);
        bytes.extend_from_slice(SIGNATURE);
        bytes.extend_from_slice(&0_i32.to_be_bytes()); // flags
        bytes.extend_from_slice(&0_i32.to_be_bytes()); // length of the header's extension
        Self { row_start: bytes.len(), bytes, columns, rows: 0 }
    }

    /// Complete rows so far.
    pub fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes of the complete rows.
    pub fn size(&self) -> usize {
        self.row_start
    }

    /// Opens a row; one that is open is thrown away.
    pub fn begin_row(&mut self) {
        self.bytes.truncate(self.row_start);
        self.bytes.extend_from_slice(&self.columns.to_be_bytes());
    }

    /// Keeps the open row.
    pub fn end_row(&mut self) {
        self.row_start = self.bytes.len();
        self.rows += 1;
    }

    /// A null of any type.
    pub fn put_null(&mut self) {
        self.bytes.extend_from_slice(&NULL.to_be_bytes());
    }

    /// A `bytea`; `text` has the same form.
    pub fn put_bytes(&mut self, value: &[u8]) {
        // Values come from records, and a record is at most a few MiB by configuration.
        let length = i32::try_from(value.len()).unwrap_or(i32::MAX);
        self.bytes.extend_from_slice(&length.to_be_bytes());
        self.bytes.extend_from_slice(&value[..length as usize]);
    }

    /// A `text`.
    pub fn put_text(&mut self, value: &str) {
        self.put_bytes(value.as_bytes());
    }

    /// A `jsonb`: version 1, then the text.
    pub fn put_jsonb(&mut self, value: &serde_json::Value) {
        let mut bytes = vec![1];
        bytes.extend_from_slice(value.to_string().as_bytes());
        self.put_bytes(&bytes);
    }

    /// A `uuid`.
    pub fn put_uuid(&mut self, value: Uuid) {
        self.put_bytes(value.as_bytes());
    }

    /// A `boolean`.
    pub fn put_bool(&mut self, value: bool) {
        self.put_bytes(&[u8::from(value)]);
    }

    /// A `bigint`.
    pub fn put_i64(&mut self, value: i64) {
        self.put_eight(value.to_be_bytes());
    }

    /// An `integer`.
    pub fn put_i32(&mut self, value: i32) {
        self.bytes.extend_from_slice(&4_i32.to_be_bytes());
        self.bytes.extend_from_slice(&value.to_be_bytes());
    }

    /// A `bigint[]`.
    pub fn put_i64s(&mut self, values: &[i64]) {
        // One dimension; every item comes with its own length. As many as fit into a record.
        let count = i32::try_from(values.len()).unwrap_or(i32::MAX);
        self.bytes.extend_from_slice(&(20 + 12 * count).to_be_bytes());
        let (dimensions, has_nulls) = (1, 0);
        for number in [dimensions, has_nulls, BIGINT_OID, count, FIRST_INDEX] {
            self.bytes.extend_from_slice(&number.to_be_bytes());
        }
        for value in values {
            self.put_i64(*value);
        }
    }

    /// A `date`.
    pub fn put_date(&mut self, value: NaiveDate) {
        self.put_i32(days::number(value));
    }

    /// A `double precision`.
    pub fn put_f64(&mut self, value: f64) {
        self.put_eight(value.to_be_bytes());
    }

    /// What most values are, with their length in one go.
    fn put_eight(&mut self, value: [u8; 8]) {
        let mut bytes = [0, 0, 0, 8, 0, 0, 0, 0, 0, 0, 0, 0];
        bytes[4..].copy_from_slice(&value);
        self.bytes.extend_from_slice(&bytes);
    }

    /// Sends the complete rows; `target` is a table with its columns, `airports (id, name)`. They may be sent again.
    pub async fn send(&mut self, connection: &mut PgConnection, target: &str) -> Result<(), DbError> {
        if self.rows == 0 {
            return Ok(());
        }
        self.bytes.truncate(self.row_start);
        self.bytes.extend_from_slice(&END.to_be_bytes());
        let failed = || DbError::during("copying rows");
        let statement = format!("copy {target} from stdin (format binary)");
        let mut copy = connection.copy_in_raw(&statement).await.map_err(failed())?;
        for message in self.bytes.chunks(MESSAGE_BYTES) {
            copy.send(message).await.map_err(failed())?;
            // The kernel takes megabytes without a wait; requests shall not wait for all of them.
            tokio::task::yield_now().await;
        }
        copy.finish().await.map_err(failed())?;
        Ok(())
    }
}

/// Rows that are sent while they are being written: memory does not grow with their number.
pub struct CopyStream<'c> {
    copy: PgCopyIn<&'c mut PgConnection>,
    buffer: CopyBuffer,
}

impl<'c> CopyStream<'c> {
    /// Begins to copy rows of `columns` columns into `target`, a table with its columns.
    pub async fn open(connection: &'c mut PgConnection, target: &str, columns: i16) -> Result<Self, DbError> {
        let statement = format!("copy {target} from stdin (format binary)");
        let copy = connection.copy_in_raw(&statement).await.map_err(DbError::during("copying rows"))?;
        Ok(Self { copy, buffer: CopyBuffer::new(columns, MESSAGE_BYTES) })
    }

    /// Opens a row; the caller puts its columns and ends it.
    pub fn begin_row(&mut self) -> &mut CopyBuffer {
        self.buffer.begin_row();
        &mut self.buffer
    }

    /// Sends the complete rows when there are enough of them for a message.
    pub async fn send_full(&mut self) -> Result<(), DbError> {
        if self.buffer.bytes.len() >= MESSAGE_BYTES {
            self.send().await?;
        }
        Ok(())
    }

    /// Sends what is left and ends the copy.
    pub async fn finish(mut self) -> Result<(), DbError> {
        self.buffer.bytes.truncate(self.buffer.row_start);
        self.buffer.bytes.extend_from_slice(&END.to_be_bytes());
        self.buffer.row_start = self.buffer.bytes.len();
        self.send().await?;
        self.copy.finish().await.map(drop).map_err(DbError::during("copying rows"))
    }

    async fn send(&mut self) -> Result<(), DbError> {
        self.buffer.bytes.truncate(self.buffer.row_start);
        self.copy.send(self.buffer.bytes.as_slice()).await.map_err(DbError::during("copying rows"))?;
        self.buffer.bytes.clear();
        self.buffer.row_start = 0;
        Ok(())
    }
}
