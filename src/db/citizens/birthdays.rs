//! Who buys how many presents in which month: one for every relative born in it.

use futures_util::Stream;

use super::Snapshot;
use crate::db::{DbError, export::Row};

/// Who is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupBy {
    /// Each citizen.
    Citizen,
    /// The advertising channel that brought the citizen.
    Channel,
}

/// The buyer of presents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Buyer<'a> {
    /// A citizen.
    Citizen(i64),
    /// All citizens of a channel, or of none.
    Channel(Option<&'a str>),
}

/// The presents a buyer buys in a month.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Birthday<'a> {
    /// 1 to 12.
    pub month: i32,
    /// Who buys.
    pub buyer: Buyer<'a>,
    /// How many.
    pub presents: i64,
}

/// Relations are mutual: whoever lists somebody gets a present from them. So no birth date has to be looked up.
const PRESENTS: &str = "
    select date_part('month', birth_date::timestamp)::integer as month, unnest(relatives) as buyer
    from citizens where import_id = :import and cardinality(relatives) > 0";

const BY_CITIZEN: &str =
    "select month, buyer, count(*) from (:presents) presents group by 1, 2 order by 1, 2";

const BY_CHANNEL: &str = "
    select month, channel, count(*)
    from (:presents) presents join citizens on citizen_id = buyer
    where import_id = :import
    group by 1, 2 order by 1, channel collate \"C\" nulls last";

/// Presents by month and buyer, in this order; [`Birthday::read`] understands the rows.
pub fn birthdays(
    snapshot: Snapshot,
    group_by: GroupBy,
) -> impl Stream<Item = Result<Row, DbError>> + Send + 'static + use<> {
    let query = match group_by {
        GroupBy::Citizen => BY_CITIZEN,
        GroupBy::Channel => BY_CHANNEL,
    };
    let query = query.replace(":presents", PRESENTS).replace(":import", &snapshot.import_id.to_string());
    snapshot.export.rows(&query)
}

impl<'a> Birthday<'a> {
    /// Reads a row of [`birthdays`].
    pub fn read(row: &'a Row, group_by: GroupBy) -> Result<Self, DbError> {
        let mut columns = row.columns();
        let month = columns.i32()?;
        let buyer = match group_by {
            GroupBy::Citizen => Buyer::Citizen(columns.i64()?),
            GroupBy::Channel => Buyer::Channel(columns.optional_text()?),
        };
        Ok(Self { month, buyer, presents: columns.i64()? })
    }
}
