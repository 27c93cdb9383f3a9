//! Columns kept a second time, for statistics: those of some thousand rows, each packed into one value. A statistic that wants two
//! of ten columns reads a few bytes a row, and no row.
//!
//! Numbers and days are written as the difference to the one before, in as few bytes as it takes (LEB128 of the zigzag form, as in
//! <https://protobuf.dev/programming-guides/encoding/>); lists after their length. Of texts each different one comes first,
//! once, and a row has its place among them, from 1; 0 is null.

mod read;
mod write;

pub use read::{Packed, PackedTexts};
pub use write::SegmentBuffer;

use sqlx::{AssertSqlSafe, PgConnection};

use super::DbError;
use crate::datasets::{Dataset, Segments};

/// With more different texts than these in one column of a segment, it is not worth its place, and left out.
const MAX_TEXTS: usize = 2_048;

/// Removes what is kept of the import's rows in segments, and which of them have changed.
pub async fn remove(connection: &mut PgConnection, dataset: &Dataset, import_id: i64) -> Result<(), DbError> {
    let Some(&Segments { table, changed, .. }) = dataset.segments() else { return Ok(()) };
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
    use crate::{
        datasets::{BUILT_IN, Value, citizen::DATASET},
        db::days,
    };

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

    fn values((number, text, number_of_day, list): &Row) -> [Value<'_>; 5] {
        let born = days::day((*number_of_day).into()).expect("a day");
        let town = Value::Text(Cow::Borrowed("Town"));
        let text = text.as_deref().map_or(Value::Null, |text| Value::Text(Cow::Borrowed(text)));
        [Value::Integer(*number), town, Value::Date(born), Value::Integers(list.clone()), text]
    }

    fn read(columns: &[Vec<u8>], rows: i64) -> Result<Vec<Row>, DbError> {
        let [mut numbers, mut days, mut lists] = [0, 2, 3].map(|place| Packed::new(&columns[place]));
        let mut texts = PackedTexts::new(&columns[4])?;
        let row = |_| {
            let born = days.date()?;
            let list = (0..lists.length()?).map(|_| lists.integer()).collect::<Result<_, _>>()?;
            let text = texts.place()?.map(|place| texts.texts()[place].to_owned());
            Ok((numbers.integer()?, text, days::number(born), list))
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
                    for (name, value) in DATASET.segments().expect("they have").columns.iter().zip(values(row)) {
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
            if let Ok(mut texts) = PackedTexts::new(&bytes) {
                let count = texts.texts().len();
                prop_assert!(count <= bytes.len());
                while let Ok(place) = texts.place() {
                    prop_assert!(place.is_none_or(|place| place < count));
                }
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
        for dataset in BUILT_IN.iter() {
            for name in dataset.segments().iter().flat_map(|segments| segments.columns) {
                let (_, column) = dataset.column(name).expect("segments have columns of the dataset");
                assert!(column.required || column.rule.is_text(), "{name}");
            }
        }
    }
}
