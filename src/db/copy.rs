//! Rows in PostgreSQL's binary COPY format
//! (<https://www.postgresql.org/docs/current/sql-copy.html>, "Binary Format"), built in one growing buffer.

use chrono::NaiveDate;
use sqlx::{PgConnection, postgres::PgCopyIn};
use uuid::Uuid;

use super::{DbError, days};
use crate::datasets::{Item, Value, numeric::Numeric};

const SIGNATURE: &[u8] = b"PGCOPY\n\xff\r\n\0";
const NULL: i32 = -1;
const END: i16 = -1;
/// The types of arrays' items.
const BOOLEAN_OID: i32 = 16;
const BIGINT_OID: i32 = 20;
const TEXT_OID: i32 = 25;
const DOUBLE_OID: i32 = 701;
const DATE_OID: i32 = 1082;
const TIME_OID: i32 = 1083;
const TIMESTAMPTZ_OID: i32 = 1184;
const NUMERIC_OID: i32 = 1700;
/// Bit of a `numeric` below zero.
const NEGATIVE: u16 = 0x4000;
/// Microseconds from 1970 to 2000, where PostgreSQL counts from.
const EPOCH_MICROS: i64 = 946_684_800_000_000;
/// EWKB's number of a point that says its reference system.
const POINT_WITH_SRID: u32 = 0x2000_0001;
/// WGS 84.
const SRID: u32 = 4326;
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

    /// A `numeric`: groups of four digits.
    pub fn put_numeric(&mut self, value: Numeric) {
        let groups = value.groups();
        // At most eleven groups.
        let count = groups.len() as u16;
        self.bytes.extend_from_slice(&(8 + 2 * i32::from(count)).to_be_bytes());
        let sign = if value.is_negative() { NEGATIVE } else { 0 };
        for number in [count, value.weight().cast_unsigned(), sign, value.scale()] {
            self.bytes.extend_from_slice(&number.to_be_bytes());
        }
        for group in groups {
            self.bytes.extend_from_slice(&group.to_be_bytes());
        }
    }

    /// A `time`, in microseconds since midnight.
    pub fn put_time(&mut self, micros: i64) {
        self.put_i64(micros);
    }

    /// A `timestamptz`, in microseconds since 1970 in UTC.
    pub fn put_timestamptz(&mut self, micros: i64) {
        self.put_i64(micros.saturating_sub(EPOCH_MICROS));
    }

    /// A `uuid`.
    pub fn put_uuid(&mut self, value: Uuid) {
        self.put_bytes(value.as_bytes());
    }

    /// A `geometry(Point,4326)`, as EWKB.
    pub fn put_point(&mut self, longitude: f64, latitude: f64) {
        let mut bytes = [0; 25];
        bytes[0] = 1; // little endian
        bytes[1..5].copy_from_slice(&POINT_WITH_SRID.to_le_bytes());
        bytes[5..9].copy_from_slice(&SRID.to_le_bytes());
        bytes[9..17].copy_from_slice(&longitude.to_le_bytes());
        bytes[17..].copy_from_slice(&latitude.to_le_bytes());
        self.put_bytes(&bytes);
    }

    /// A checked value, in a column of its type.
    pub fn put(&mut self, value: &Value<'_>) {
        match value {
            Value::Null => self.put_null(),
            Value::Text(text) => self.put_text(text),
            Value::Integer(number) => self.put_i64(*number),
            Value::Number(number) => self.put_f64(*number),
            Value::Date(day) | Value::YearMonth(day) => self.put_date(*day),
            Value::Integers(numbers) => self.put_i64s(numbers),
            Value::Numeric(number) => self.put_numeric(*number),
            Value::Boolean(value) => self.put_bool(*value),
            Value::Time(micros) => self.put_time(*micros),
            Value::DateTime(micros) => self.put_timestamptz(*micros),
            Value::Year(year) => self.put_i32(*year),
            Value::Uuid(uuid) => self.put_uuid(*uuid),
            Value::Point { longitude, latitude } => self.put_point(*longitude, *latitude),
            Value::List(item, values) => self.put_list(*item, values),
            Value::Json(text) => {
                // Version 1, then the text.
                let length = i32::try_from(text.len() + 1).unwrap_or(i32::MAX);
                self.bytes.extend_from_slice(&length.to_be_bytes());
                self.bytes.push(1);
                self.bytes.extend_from_slice(text.as_bytes());
            }
        }
    }

    /// An array of these items.
    fn put_list(&mut self, item: Item, values: &[Value<'_>]) {
        let oid = match item {
            Item::Text => TEXT_OID,
            Item::Numeric => NUMERIC_OID,
            Item::Number => DOUBLE_OID,
            Item::Boolean => BOOLEAN_OID,
            Item::Date => DATE_OID,
            Item::Time => TIME_OID,
            Item::DateTime => TIMESTAMPTZ_OID,
        };
        // The length is known at the end.
        let start = self.bytes.len();
        self.bytes.extend_from_slice(&0_i32.to_be_bytes());
        self.put_array_header(oid, values.len());
        for value in values {
            self.put(value);
        }
        let length = i32::try_from(self.bytes.len() - start - 4).unwrap_or(i32::MAX);
        self.bytes[start..start + 4].copy_from_slice(&length.to_be_bytes());
    }

    /// One dimension, none where there is no item; every item comes with its own length.
    fn put_array_header(&mut self, oid: i32, count: usize) {
        let (dimensions, has_nulls) = (i32::from(count > 0), 0);
        for number in [dimensions, has_nulls, oid] {
            self.bytes.extend_from_slice(&number.to_be_bytes());
        }
        if count > 0 {
            // As many as fit into a record.
            let count = i32::try_from(count).unwrap_or(i32::MAX);
            self.bytes.extend_from_slice(&count.to_be_bytes());
            self.bytes.extend_from_slice(&FIRST_INDEX.to_be_bytes());
        }
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
