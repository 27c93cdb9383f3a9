//! How many citizens of which age a town has.

use chrono::NaiveDate;
use futures_util::Stream;

use super::{Position, age, located, position};
use crate::db::{
    DbError,
    export::{Export, Row},
};

/// The citizens of one age in one town.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct AgeCount<'a> {
    /// The town.
    pub town: &'a str,
    /// Full years.
    pub age: i32,
    /// How many.
    pub citizens: i64,
    /// Where the town is, when that was asked for and is known.
    pub position: Option<Position>,
}

/// Counts by town and age, in this order; [`AgeCount::read`] understands the rows.
pub fn ages(
    export: Export,
    import_id: i64,
    today: NaiveDate,
    with_positions: bool,
) -> impl Stream<Item = Result<Row, DbError>> + Send + 'static + use<> {
    let counted = format!(
        "select town, {} as age, count(*) as citizens from citizens where import_id = {import_id} group by 1, 2",
        age(today)
    );
    let order = "town collate \"C\", age";
    let query = if with_positions {
        located(&counted, order)
    } else {
        format!("select * from ({counted}) counted order by {order}")
    };
    export.rows(&query)
}

impl<'a> AgeCount<'a> {
    /// Reads a row of [`ages`], with the position when that was asked for.
    pub fn read(row: &'a Row, with_positions: bool) -> Result<Self, DbError> {
        let mut columns = row.columns();
        let mut count =
            Self { town: columns.text()?, age: columns.i32()?, citizens: columns.i64()?, position: None };
        if with_positions {
            count.position = position(columns.optional_f64()?, columns.optional_f64()?);
        }
        Ok(count)
    }
}
