//! Who buys how many presents in which month: one for every relative born in it.

use futures_util::Stream;

use crate::db::{
    DbError,
    export::{Export, Row, inline},
};

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

const BY_CITIZEN: &str = "
    select extract(month from born.birth_date)::integer as month, r.citizen_id, count(*)
    from relatives r
    join citizens born on born.import_id = r.import_id and born.citizen_id = r.relative_id
    where r.import_id = :import and born.import_id = :import
    group by 1, 2 order by 1, 2";

const BY_CHANNEL: &str = "
    select extract(month from born.birth_date)::integer as month, buyer.channel, count(*)
    from relatives r
    join citizens born on born.import_id = r.import_id and born.citizen_id = r.relative_id
    join citizens buyer on buyer.import_id = r.import_id and buyer.citizen_id = r.citizen_id
    where r.import_id = :import and born.import_id = :import and buyer.import_id = :import
    group by 1, 2 order by 1, buyer.channel collate \"C\" nulls last";

/// Presents by month and buyer, in this order; [`Birthday::read`] understands the rows.
pub fn birthdays(
    export: Export,
    import_id: i64,
    group_by: GroupBy,
) -> impl Stream<Item = Result<Row, DbError>> + Send + 'static + use<> {
    let query = match group_by {
        GroupBy::Citizen => BY_CITIZEN,
        GroupBy::Channel => BY_CHANNEL,
    };
    export.rows(&inline(query, &[(":import", import_id)]))
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
