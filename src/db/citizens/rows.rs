//! Citizens as they are read: one, or all of an import by number.

use chrono::NaiveDate;
use futures_util::Stream;
use sqlx::FromRow;

use super::{ReadError, Snapshot, access::access};
use crate::{
    datasets::citizen::Citizen,
    db::{
        Db, DbError,
        export::{Dates, Row},
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
pub async fn find(db: &Db, import_id: i64, citizen_id: i64) -> Result<Option<Citizen>, ReadError> {
    let failed = || DbError::during("reading a citizen");
    let mut connection = db.pool().acquire().await.map_err(failed())?;
    let found: Option<Found> = sqlx::query_as(
        "select citizen_id, town, street, building, apartment, name, birth_date, gender, relatives, channel
         from citizens where import_id = $1 and citizen_id = $2
             and exists (select from imports where id = $1 and state = 'complete')",
    )
    .bind(import_id)
    .bind(citizen_id)
    .fetch_optional(&mut *connection)
    .await
    .map_err(failed())?;
    if found.is_none() {
        access(&mut connection, import_id).await?;
    }
    Ok(found.map(Citizen::from))
}

/// The last number of a page that is not the last one.
pub async fn page_end(snapshot: &mut Snapshot, range: Range) -> Result<Option<i64>, DbError> {
    let Some(limit) = range.limit else { return Ok(None) };
    // Two numbers: where the page ends, and one beyond.
    let ends: Vec<i64> = sqlx::query_scalar(
        "select citizen_id from citizens where import_id = $1 and ($2::bigint is null or citizen_id > $2)
         order by citizen_id offset $3 limit 2",
    )
    .bind(snapshot.import_id)
    .bind(range.after)
    .bind(i64::try_from(limit.saturating_sub(1)).unwrap_or(i64::MAX))
    .fetch_all(snapshot.export.connection()?)
    .await
    .map_err(DbError::during("finding the end of a page"))?;
    Ok(match ends.as_slice() {
        [last, _beyond] => Some(*last),
        _ => None,
    })
}

/// Citizens by number; [`Listed::read`] understands the rows.
pub fn list(
    snapshot: Snapshot,
    range: Range,
) -> impl Stream<Item = Result<Row, DbError>> + Send + 'static + use<> {
    let columns =
        "citizen_id, town, street, building, apartment, name, birth_date, gender, channel, relatives";
    snapshot.export.rows(&query(columns, snapshot.import_id, range))
}

/// The same as CSV, with the dataset's columns in their order.
pub fn csv(
    snapshot: Snapshot,
    range: Range,
) -> impl Stream<Item = Result<bytes::Bytes, DbError>> + Send + 'static + use<> {
    let columns = "citizen_id, town, street, building, apartment, name, birth_date, gender,
        array_to_string(relatives, ';') as relatives, channel";
    snapshot.export.csv(&query(columns, snapshot.import_id, range), Dates::German)
}

fn query(columns: &str, import_id: i64, range: Range) -> String {
    let after = range.after.map(|after| format!("and citizen_id > {after}")).unwrap_or_default();
    let limit = range.limit.map(|limit| format!("limit {limit}")).unwrap_or_default();
    format!(
        "select {columns} from citizens where import_id = {import_id} {after} order by citizen_id {limit}"
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
