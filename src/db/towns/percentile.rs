//! When the citizens of each town were born.

use chrono::NaiveDate;
use futures_util::Stream;

use super::{Position, located, position};
use crate::db::{DbError, citizens::Snapshot, export::Row};

/// So many citizens of a town come in one row at most.
const PART_ROWS: i64 = 65_536;

/// Some of the citizens of a town; all others are in the rows beside it.
#[derive(Debug)]
pub struct Births<'a> {
    /// The town.
    pub town: &'a str,
    /// A day for each citizen, in no order.
    pub dates: Vec<NaiveDate>,
    /// Where the town is, when that was asked for and is known.
    pub position: Option<Position>,
}

/// Birth dates by town, in the order of the towns; [`Births::read`] understands the rows.
///
/// To gather the days of a town takes less than half the time of `percentile_cont`, which sorts them. Of a large import they are
/// gathered in parts, so that a row stays small however large the town; the planner sorts the citizens for that.
pub fn births(
    snapshot: Snapshot,
    with_positions: bool,
) -> impl Stream<Item = Result<Row, DbError>> + Send + 'static + use<> {
    let Snapshot { export, import_id, rows } = snapshot;
    let part = if rows <= PART_ROWS { String::new() } else { format!(", row / {PART_ROWS}") };
    let gathered = format!(
        "select town, array_agg(birth_date) as dates from citizens where import_id = {import_id} group by town{part}"
    );
    let order = "town collate \"C\"";
    if with_positions {
        export.rows(&located(&gathered, order))
    } else {
        export.rows(&format!("{gathered} order by {order}"))
    }
}

impl<'a> Births<'a> {
    /// Reads a row of [`births`], with the position when that was asked for.
    pub fn read(row: &'a Row, with_positions: bool) -> Result<Self, DbError> {
        let mut columns = row.columns();
        let mut births = Self { town: columns.text()?, dates: columns.dates()?, position: None };
        if with_positions {
            births.position = position(columns.optional_f64()?, columns.optional_f64()?);
        }
        Ok(births)
    }
}
