//! Packing.

use std::collections::HashMap;

use sqlx::{AssertSqlSafe, PgConnection};

use super::MAX_TEXTS;
use crate::{
    datasets::{Column, Dataset, Segments, Value},
    db::{DbError, days},
};

/// A segment on its way into the database. Every row must get a value for each of its columns.
#[derive(Debug)]
pub struct SegmentBuffer {
    kept_in: &'static Segments,
    columns: Vec<Packer>,
    /// For each of the dataset's columns, its place among these.
    places: Vec<Option<usize>>,
    rows: i64,
}

#[derive(Debug, Default)]
struct Packer {
    bytes: Vec<u8>,
    last: i64,
    /// `bytes.len()` and `last` after the last complete row.
    complete: (usize, i64),
    /// Of a column of texts.
    texts: Option<Texts>,
}

/// The different texts of a column, packed, and their places.
#[derive(Debug, Default)]
struct Texts {
    bytes: Vec<u8>,
    // At most [`MAX_TEXTS`], so that nobody gains by texts whose hashes collide.
    places: HashMap<Box<str>, u64, foldhash::fast::RandomState>,
}

impl SegmentBuffer {
    /// An empty one. `None`: nothing of the dataset is kept in segments.
    pub fn new(dataset: &'static Dataset) -> Option<Self> {
        let kept_in = dataset.segments.as_ref()?;
        let kinds =
            kept_in.columns.iter().filter_map(|name| dataset.column(name)).map(|(_, column)| column.kind);
        let columns =
            kinds.map(|kind| Packer { texts: kind.is_text().then(Texts::default), ..Packer::default() });
        let place = |column: &Column| kept_in.columns.iter().position(|name| *name == column.name);
        let places = dataset.columns.iter().map(place).collect();
        Some(Self { kept_in, columns: columns.collect(), places, rows: 0 })
    }

    /// Complete rows so far.
    pub fn rows(&self) -> i64 {
        self.rows
    }

    /// Opens a row; one that is open is thrown away.
    pub fn begin_row(&mut self) {
        for column in &mut self.columns {
            column.bytes.truncate(column.complete.0);
            column.last = column.complete.1;
        }
    }

    /// Keeps the open row.
    pub fn end_row(&mut self) {
        for column in &mut self.columns {
            column.complete = (column.bytes.len(), column.last);
        }
        self.rows += 1;
    }

    /// A value of the open row; `column` is the place among the dataset's columns. Of columns that are not kept nothing happens.
    pub fn put(&mut self, column: usize, value: &Value<'_>) {
        if let Some(place) = self.places[column] {
            self.columns[place].put(value);
        }
    }

    /// A complete row: the values of the columns that are kept, in their order.
    pub fn put_row<const N: usize>(&mut self, values: [Value<'_>; N]) {
        self.begin_row();
        for (column, value) in self.columns.iter_mut().zip(&values) {
            column.put(value);
        }
        self.end_row();
    }

    /// The packed columns. `None`: they are not worth it.
    pub fn packed(&self) -> Option<Vec<Vec<u8>>> {
        self.columns.iter().map(Packer::packed).collect()
    }

    /// Stores the complete rows as a segment of the import.
    pub async fn insert(
        &self,
        connection: &mut PgConnection,
        import_id: i64,
        segment_no: i64,
    ) -> Result<(), DbError> {
        if self.rows == 0 {
            return Ok(());
        }
        let Some(packed) = self.packed() else { return Ok(()) };
        let Segments { table, columns, .. } = self.kept_in;
        let parameters: Vec<_> = (4..4 + columns.len()).map(|number| format!("${number}")).collect();
        let statement = format!(
            "insert into {table} (import_id, segment_no, rows, {}) values ($1, $2, $3, {})",
            columns.join(", "),
            parameters.join(", ")
        );
        let mut query =
            sqlx::query(AssertSqlSafe(statement)).bind(import_id).bind(segment_no).bind(self.rows);
        for column in packed {
            query = query.bind(column);
        }
        query.execute(connection).await.map(drop).map_err(DbError::during("storing a segment"))
    }
}

impl Packer {
    fn put(&mut self, value: &Value<'_>) {
        match value {
            Value::Null => put_varint(&mut self.bytes, 0),
            Value::Text(text) => {
                let place = self.texts.as_mut().map_or(0, |texts| texts.place(text));
                put_varint(&mut self.bytes, place);
            }
            Value::Integer(number) => self.put_difference(*number),
            Value::Number(number) => self.put_difference(number.to_bits().cast_signed()),
            Value::Date(date) => self.put_difference(days::number(*date).into()),
            Value::Integers(numbers) => {
                put_varint(&mut self.bytes, numbers.len() as u64);
                for number in numbers {
                    self.put_difference(*number);
                }
            }
            // Only built-in datasets have segments, and no column of theirs has these.
            Value::Numeric(_)
            | Value::Boolean(_)
            | Value::Time(_)
            | Value::DateTime(_)
            | Value::Year(_)
            | Value::YearMonth(_)
            | Value::Uuid(_)
            | Value::Point { .. }
            | Value::List(..)
            | Value::Json(_) => put_varint(&mut self.bytes, 0),
        }
    }

    fn put_difference(&mut self, number: i64) {
        let difference = number.wrapping_sub(self.last);
        self.last = number;
        put_varint(&mut self.bytes, ((difference << 1) ^ (difference >> 63)).cast_unsigned());
    }

    fn packed(&self) -> Option<Vec<u8>> {
        let rows = &self.bytes[..self.complete.0];
        let Some(Texts { bytes, places }) = &self.texts else { return Some(rows.to_vec()) };
        if places.len() > MAX_TEXTS {
            return None;
        }
        let mut packed = Vec::with_capacity(bytes.len() + rows.len() + 2);
        put_varint(&mut packed, places.len() as u64);
        packed.extend_from_slice(bytes);
        packed.extend_from_slice(rows);
        Some(packed)
    }
}

impl Texts {
    fn place(&mut self, text: &str) -> u64 {
        if let Some(place) = self.places.get(text) {
            return *place;
        }
        let place = self.places.len() as u64 + 1;
        // One too many is kept, to know of it.
        if place <= MAX_TEXTS as u64 + 1 {
            self.places.insert(text.into(), place);
            put_varint(&mut self.bytes, text.len() as u64);
            self.bytes.extend_from_slice(text.as_bytes());
        }
        place
    }
}

fn put_varint(bytes: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        bytes.push(number as u8 | 0x80);
        number >>= 7;
    }
    bytes.push(number as u8);
}
