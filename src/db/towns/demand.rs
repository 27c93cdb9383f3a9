//! Who will ask for courses: citizens, and the presents they buy in a year, by town, age group and channel.

use chrono::NaiveDate;
use futures_util::Stream;

use super::{Position, age, located, position};
use crate::db::{DbError, citizens::Snapshot, export::Row};

/// The citizens of one age group, brought by one channel, in one town.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Demand<'a> {
    /// The town.
    pub town: &'a str,
    /// Which of the groups, from 0: below the first bound.
    pub age_group: usize,
    /// The advertising channel; nothing for citizens without one.
    pub channel: Option<&'a str>,
    /// How many they are.
    pub citizens: i64,
    /// Relations they have: presents they buy in a year.
    pub presents: i64,
    /// Where the town is, when that was asked for and is known.
    pub position: Option<Position>,
}

/// Counts by town, age group and channel, in this order; [`Demand::read`] understands the rows. `bounds` are the ages at which
/// groups begin, ascending.
pub fn demand(
    snapshot: Snapshot,
    today: NaiveDate,
    bounds: &[i32],
    with_positions: bool,
) -> impl Stream<Item = Result<Row, DbError>> + Send + 'static + use<> {
    let Snapshot { export, import_id, .. } = snapshot;
    let bounds = bounds.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let counted = format!(
        "select town, width_bucket({}, array[{bounds}]::integer[]) as age_group, channel,
             count(*) as citizens, sum(cardinality(relatives)) as presents
         from citizens where import_id = {import_id} group by 1, 2, 3",
        age(today)
    );
    let order = "town collate \"C\", age_group, channel collate \"C\" nulls last";
    let query = if with_positions {
        located(&counted, order)
    } else {
        format!("select * from ({counted}) counted order by {order}")
    };
    export.rows(&query)
}

impl<'a> Demand<'a> {
    /// Reads a row of [`demand`], with the position when that was asked for.
    pub fn read(row: &'a Row, with_positions: bool) -> Result<Self, DbError> {
        let mut columns = row.columns();
        let mut demand = Self {
            town: columns.text()?,
            age_group: usize::try_from(columns.i32()?).unwrap_or(0),
            channel: columns.optional_text()?,
            citizens: columns.i64()?,
            presents: columns.i64()?,
            position: None,
        };
        if with_positions {
            demand.position = position(columns.optional_f64()?, columns.optional_f64()?);
        }
        Ok(demand)
    }
}
