//! Columns kept a second time, for statistics: those of some thousand rows, each packed into one value. A statistic that wants two
//! of ten columns reads a few bytes a row, and no row.
//!
//! Numbers and days are written as the difference to the one before, in as few bytes as it takes (LEB128 of the zigzag form, as in
//! <https://protobuf.dev/programming-guides/encoding/>); lists after their length. Of texts each different one comes first,
//! once, and a row has its place among them, from 1; 0 is null.

use std::collections::HashMap;

use chrono::{Days, NaiveDate};
use sqlx::{AssertSqlSafe, PgConnection};

use super::DbError;
use crate::datasets::{Column, Dataset, Segments, Value};

/// With more different texts than these in one column of a segment, it is not worth its place, and left out.
const MAX_TEXTS: usize = 1_024;
/// Days are counted from here, as PostgreSQL does.
const EPOCH: NaiveDate = NaiveDate::from_ymd_opt(2000, 1, 1).expect("a day that exists");

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
    places: HashMap<Box<str>, u64>,
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
            Value::Date(date) => self.put_difference((*date - EPOCH).num_days()),
            Value::Integers(numbers) => {
                put_varint(&mut self.bytes, numbers.len() as u64);
                for number in numbers {
                    self.put_difference(*number);
                }
            }
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

/// A packed column, to be read row by row. What is not packed as it should be is an error, never a panic.
#[derive(Debug, Clone)]
pub struct Packed<'a> {
    rest: &'a [u8],
    last: i64,
}

impl<'a> Packed<'a> {
    /// A column without texts.
    pub fn new(column: &'a [u8]) -> Self {
        Self { rest: column, last: 0 }
    }

    /// A column of texts: the different ones, and what gives each row's [`Packed::place`] among them, from 1; 0 is null.
    pub fn texts(column: &'a [u8]) -> Result<(Vec<&'a str>, Self), DbError> {
        let mut packed = Self::new(column);
        let count = packed.length()?;
        let mut texts = Vec::with_capacity(count.min(MAX_TEXTS));
        for _ in 0..count {
            let length = packed.length()?;
            let (text, rest) =
                packed.rest.split_at_checked(length).ok_or_else(|| malformed("a text is too short"))?;
            texts.push(std::str::from_utf8(text).map_err(|_| malformed("a text is not UTF-8"))?);
            packed.rest = rest;
        }
        Ok((texts, packed))
    }

    /// The next row's place.
    pub fn place(&mut self) -> Result<usize, DbError> {
        self.length()
    }

    /// The next number.
    pub fn integer(&mut self) -> Result<i64, DbError> {
        let zigzag = self.varint()?;
        let difference = (zigzag >> 1).cast_signed() ^ -(zigzag & 1).cast_signed();
        self.last = self.last.wrapping_add(difference);
        Ok(self.last)
    }

    /// The next day.
    pub fn date(&mut self) -> Result<NaiveDate, DbError> {
        let days = self.integer()?;
        let distance = Days::new(days.unsigned_abs());
        let date = if days < 0 { EPOCH.checked_sub_days(distance) } else { EPOCH.checked_add_days(distance) };
        date.ok_or_else(|| malformed("there is no such day"))
    }

    /// How many numbers the next list has; they come next, one by one.
    pub fn length(&mut self) -> Result<usize, DbError> {
        usize::try_from(self.varint()?).map_err(|_| malformed("a length is too great"))
    }

    fn varint(&mut self) -> Result<u64, DbError> {
        let mut number = 0;
        for (place, byte) in self.rest.iter().enumerate().take(10) {
            number |= u64::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                self.rest = &self.rest[place + 1..];
                return Ok(number);
            }
        }
        Err(malformed("a number has no end"))
    }
}

fn malformed(what: &'static str) -> DbError {
    DbError::during("reading a segment")(sqlx::Error::Decode(what.into()))
}

/// Removes what is kept of the import's rows in segments, and which of them have changed.
pub async fn remove(connection: &mut PgConnection, dataset: &Dataset, import_id: i64) -> Result<(), DbError> {
    let Some(Segments { table, changed, .. }) = dataset.segments else { return Ok(()) };
    for table in [table, changed] {
        sqlx::query(AssertSqlSafe(format!("delete from {table} where import_id = $1")))
            .bind(import_id)
            .execute(&mut *connection)
            .await
            .map_err(DbError::during("removing segments"))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;

    use super::*;
    use crate::datasets::{ALL, citizen::DATASET};

    type Row = (i64, Option<String>, i32, Vec<i64>);

    fn rows() -> impl Strategy<Value = Vec<Row>> {
        let numbers = prop_oneof![any::<i64>(), 0..100_i64];
        let row = (
            numbers.clone(),
            proptest::option::of("[aя]{0,2}"),
            -80_000..80_000_i32,
            proptest::collection::vec(numbers, 0..4),
        );
        proptest::collection::vec(row, 0..40)
    }

    fn values((number, text, days, list): &Row) -> [Value<'_>; 5] {
        let born = EPOCH + chrono::Duration::days((*days).into());
        let town = Value::Text(Cow::Borrowed("Town"));
        let text = text.as_deref().map_or(Value::Null, |text| Value::Text(Cow::Borrowed(text)));
        [Value::Integer(*number), town, Value::Date(born), Value::Integers(list.clone()), text]
    }

    fn read(columns: &[Vec<u8>], rows: i64) -> Result<Vec<Row>, DbError> {
        let [mut numbers, mut days, mut lists] = [0, 2, 3].map(|place| Packed::new(&columns[place]));
        let (texts, mut places) = Packed::texts(&columns[4])?;
        let row = |_| {
            let born = days.date()?;
            let list = (0..lists.length()?).map(|_| lists.integer()).collect::<Result<_, _>>()?;
            let text = places.place()?.checked_sub(1).map(|place| texts[place].to_owned());
            Ok((numbers.integer()?, text, (born - EPOCH).num_days() as i32, list))
        };
        (0..rows).map(row).collect()
    }

    proptest! {
        #[test]
        fn what_is_packed_is_read_again_without_rows_that_were_thrown_away(rows in rows(), thrown_away in rows()) {
            let mut buffer = SegmentBuffer::new(&DATASET).expect("citizens have segments");
            for (place, row) in rows.iter().enumerate() {
                if let Some(row) = thrown_away.get(place) {
                    buffer.begin_row();
                    for (name, value) in DATASET.segments.expect("they have").columns.iter().zip(values(row)) {
                        let (place, _) = DATASET.column(name).expect("a column");
                        buffer.put(place, &value);
                    }
                }
                buffer.put_row(values(row));
            }
            let packed = buffer.packed().expect("few texts");
            prop_assert_eq!(buffer.rows(), rows.len() as i64);
            prop_assert_eq!(read(&packed, buffer.rows()).expect("it is well packed"), rows);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..40)) {
            let mut packed = Packed::new(&bytes);
            while packed.date().is_ok() {}
            let mut packed = Packed::new(&bytes);
            while packed.integer().is_ok() {}
            prop_assert!(packed.integer().is_err());
            if let Ok((texts, _)) = Packed::texts(&bytes) {
                prop_assert!(texts.len() <= bytes.len());
            }
        }
    }

    #[test]
    fn too_many_different_texts_are_not_worth_it() {
        let mut buffer = SegmentBuffer::new(&DATASET).expect("citizens have segments");
        for number in 0..=MAX_TEXTS as i64 {
            assert!(buffer.packed().is_some());
            buffer.put_row(values(&(number, Some(number.to_string()), 0, Vec::new())));
        }
        assert!(buffer.packed().is_none());
    }

    #[test]
    fn only_texts_may_be_null_in_a_segment() {
        for dataset in ALL {
            for name in dataset.segments.iter().flat_map(|segments| segments.columns) {
                let (_, column) = dataset.column(name).expect("segments have columns of the dataset");
                assert!(column.required || column.kind.is_text(), "{name}");
            }
        }
    }
}
