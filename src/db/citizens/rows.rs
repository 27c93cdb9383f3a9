//! Citizens as they are read: one, or all of an import by number.

use chrono::NaiveDate;
use futures_util::Stream;
use sqlx::{FromRow, PgConnection};

use crate::{
    datasets::citizen::Citizen,
    db::{
        DbError,
        export::{Export, Row},
    },
};

/// Which citizens of an import.
#[derive(Debug, Clone, Copy, Default)]
pub struct Range {
    /// Only those with higher numbers.
    pub after: Option<i64>,
    /// At most so many.
    pub limit: Option<u64>,
}

/// A citizen of a list.
#[derive(Debug)]
#[expect(missing_docs, reason = "the columns of the dataset, which describes them")]
pub struct Listed<'a> {
    pub citizen_id: i64,
    pub town: &'a str,
    pub street: &'a str,
    pub building: &'a str,
    pub apartment: i64,
    pub name: &'a str,
    pub birth_date: NaiveDate,
    pub gender: &'a str,
    pub channel: Option<&'a str>,
    pub relatives: Vec<i64>,
}

/// A citizen as one statement finds it.
#[derive(Debug, FromRow)]
pub struct Found {
    citizen_id: i64,
    town: String,
    street: String,
    building: String,
    apartment: i64,
    name: String,
    birth_date: NaiveDate,
    gender: String,
    relatives: Vec<i64>,
    channel: Option<String>,
}

impl From<Found> for Citizen {
    fn from(found: Found) -> Self {
        let Found {
            citizen_id,
            town,
            street,
            building,
            apartment,
            name,
            birth_date,
            gender,
            relatives,
            channel,
        } = found;
        Self { citizen_id, town, street, building, apartment, name, birth_date, gender, relatives, channel }
    }
}

/// The citizen of that number.
pub async fn find(
    connection: &mut PgConnection,
    import_id: i64,
    citizen_id: i64,
) -> Result<Option<Citizen>, DbError> {
    let found: Option<Found> = sqlx::query_as(
        "select citizen_id, town, street, building, apartment, name, birth_date, gender, channel,
             array(select relative_id from relatives r where r.import_id = c.import_id
                 and r.citizen_id = c.citizen_id order by relative_id) as relatives
         from citizens c where import_id = $1 and citizen_id = $2",
    )
    .bind(import_id)
    .bind(citizen_id)
    .fetch_optional(connection)
    .await
    .map_err(DbError::during("reading a citizen"))?;
    Ok(found.map(Citizen::from))
}

/// The last number of a page that is not the last one.
pub async fn page_end(
    connection: &mut PgConnection,
    import_id: i64,
    range: Range,
) -> Result<Option<i64>, DbError> {
    let Some(limit) = range.limit else { return Ok(None) };
    // Two numbers: where the page ends, and one beyond.
    let ends: Vec<i64> = sqlx::query_scalar(
        "select citizen_id from citizens where import_id = $1 and ($2::bigint is null or citizen_id > $2)
         order by citizen_id offset $3 limit 2",
    )
    .bind(import_id)
    .bind(range.after)
    .bind(i64::try_from(limit.saturating_sub(1)).unwrap_or(i64::MAX))
    .fetch_all(connection)
    .await
    .map_err(DbError::during("finding the end of a page"))?;
    Ok(match ends.as_slice() {
        [last, _beyond] => Some(*last),
        _ => None,
    })
}

/// Citizens by number; [`Listed::read`] understands the rows.
pub fn list(
    export: Export,
    import_id: i64,
    range: Range,
) -> impl Stream<Item = Result<Row, DbError>> + Send + 'static + use<> {
    let columns = "citizen_id, town, street, building, apartment, name, birth_date, gender, channel, list";
    export.rows(&query(columns, import_id, range))
}

/// The same as CSV, with the dataset's columns in their order.
pub fn csv(
    export: Export,
    import_id: i64,
    range: Range,
) -> impl Stream<Item = Result<bytes::Bytes, DbError>> + Send + 'static + use<> {
    let columns = "citizen_id, town, street, building, apartment, name,
        to_char(birth_date, 'DD.MM.YYYY') as birth_date, gender,
        coalesce(array_to_string(list, ';'), '') as relatives, channel";
    export.csv(&query(columns, import_id, range))
}

/// Relatives are gathered beside the citizens and joined by number: both come in the order of their primary keys.
fn query(columns: &str, import_id: i64, range: Range) -> String {
    let after = range.after.map(|after| format!("and citizen_id > {after}")).unwrap_or_default();
    let (page, up_to) = match range.limit {
        Some(limit) => (
            format!(
                "materialized (select * from citizens where import_id = {import_id} {after} order by citizen_id limit {limit})"
            ),
            "and citizen_id <= (select max(citizen_id) from page)",
        ),
        None => {
            (format!("not materialized (select * from citizens where import_id = {import_id} {after})"), "")
        }
    };
    format!(
        "with page as {page}, related as (
             select citizen_id, array_agg(relative_id order by relative_id) as list
             from relatives where import_id = {import_id} {after} {up_to} group by citizen_id
         )
         select {columns} from page left join related using (citizen_id) order by citizen_id"
    )
}

impl<'a> Listed<'a> {
    /// Reads a row of [`list`].
    pub fn read(row: &'a Row) -> Result<Self, DbError> {
        let mut columns = row.columns();
        Ok(Self {
            citizen_id: columns.i64()?,
            town: columns.text()?,
            street: columns.text()?,
            building: columns.text()?,
            apartment: columns.i64()?,
            name: columns.text()?,
            birth_date: columns.date()?,
            gender: columns.text()?,
            channel: columns.optional_text()?,
            relatives: columns.i64s()?,
        })
    }
}

impl<'a> From<&'a Citizen> for Listed<'a> {
    fn from(citizen: &'a Citizen) -> Self {
        Self {
            citizen_id: citizen.citizen_id,
            town: &citizen.town,
            street: &citizen.street,
            building: &citizen.building,
            apartment: citizen.apartment,
            name: &citizen.name,
            birth_date: citizen.birth_date,
            gender: &citizen.gender,
            channel: citizen.channel.as_deref(),
            relatives: citizen.relatives.clone(),
        }
    }
}
