//! Citizens as statistics read them: column by column from their import's segments, and those who have changed since as they
//! are now.

use std::{
    borrow::Cow,
    collections::{HashMap, HashSet},
    ops::ControlFlow,
};

use chrono::NaiveDate;
use futures_util::StreamExt;
use sqlx::FromRow;

use super::Snapshot;
use crate::{
    datasets::{Value, citizen::DATASET},
    db::{
        DbError,
        segments::{Packed, SegmentBuffer},
    },
};

/// Where more citizens than these have changed, rows are read instead.
pub(super) const MAX_CHANGED: usize = 10_000;

/// The columns that segments have, in their order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::db) enum Column {
    CitizenId,
    Town,
    BirthDate,
    Relatives,
    Channel,
}

/// Some of the citizens.
#[derive(Debug)]
pub(in crate::db) struct Segment<'a, const N: usize> {
    /// How many there are, those who do not count included.
    pub(in crate::db) rows: i64,
    /// What was asked for.
    pub(in crate::db) columns: [&'a [u8]; N],
    numbers: Packed<'a>,
    changed: &'a HashSet<i64>,
}

impl<const N: usize> Segment<'_, N> {
    /// Whether the next citizen counts: who has changed comes again in another segment. To be asked for one after the other.
    #[inline]
    pub(in crate::db) fn counts(&mut self) -> Result<bool, DbError> {
        Ok(self.changed.is_empty() || !self.changed.contains(&self.numbers.integer()?))
    }
}

/// Shows `visit` all citizens of the import, segment by segment. `false`: there are no segments that have them, or `visit` broke
/// off; the rows have to be asked.
pub(in crate::db) async fn visit<const N: usize>(
    snapshot: &mut Snapshot,
    wanted: [Column; N],
    mut visit: impl FnMut(Segment<'_, N>) -> Result<ControlFlow<()>, DbError> + Send,
) -> Result<bool, DbError> {
    let Some(kept_in) =
        DATASET.segments().filter(|_| snapshot.has_segments && snapshot.changed.len() <= MAX_CHANGED)
    else {
        return Ok(false);
    };
    let Some((changed_rows, changed)) = changed(snapshot).await? else { return Ok(false) };
    let unchanged = HashSet::new();
    if changed_rows > 0 {
        let segment = Segment {
            rows: changed_rows,
            columns: wanted.map(|column| changed[column as usize].as_slice()),
            numbers: Packed::new(&[]),
            changed: &unchanged,
        };
        if visit(segment)?.is_break() {
            return Ok(false);
        }
    }
    let changed: HashSet<i64> = snapshot.changed.iter().copied().collect();
    let numbers = if changed.is_empty() { "''::bytea" } else { kept_in.columns[Column::CitizenId as usize] };
    let columns: Vec<_> = wanted.iter().map(|column| kept_in.columns[*column as usize]).collect();
    let query = format!(
        "select rows, {numbers}, {} from {} where import_id = {} order by segment_no",
        columns.join(", "),
        kept_in.table,
        snapshot.import_id
    );
    let mut segments = std::pin::pin!(snapshot.export.read(&query));
    let mut goes_on = true;
    // What is left after a break is read all the same: the connection is needed for the rows.
    while let Some(row) = segments.next().await {
        if !goes_on {
            continue;
        }
        let row = row?;
        let mut values = row.columns();
        let (rows, numbers) = (values.i64()?, Packed::new(values.bytes()?));
        let mut columns: [&[u8]; N] = [&[]; N];
        for column in &mut columns {
            *column = values.bytes()?;
        }
        goes_on = visit(Segment { rows, columns, numbers, changed: &changed })?.is_continue();
    }
    Ok(goes_on)
}

/// Of a citizen who has changed what a segment has.
#[derive(Debug, FromRow)]
struct Changed {
    citizen_id: i64,
    town: String,
    birth_date: NaiveDate,
    relatives: Vec<i64>,
    channel: Option<String>,
}

/// Those who have changed, packed as a segment is. `None`: that is not worth it.
async fn changed(snapshot: &mut Snapshot) -> Result<Option<(i64, Vec<Vec<u8>>)>, DbError> {
    let Some(mut segment) = SegmentBuffer::new(&DATASET) else { return Ok(None) };
    if !snapshot.changed.is_empty() {
        let rows: Vec<Changed> = sqlx::query_as(
            "select citizen_id, town, birth_date, relatives, channel from citizens
             where import_id = $1 and citizen_id = any($2)",
        )
        .bind(snapshot.import_id)
        .bind(&snapshot.changed)
        .fetch_all(snapshot.export.connection()?)
        .await
        .map_err(DbError::during("reading changed citizens"))?;
        for Changed { citizen_id, town, birth_date, relatives, channel } in rows {
            segment.put_row([
                Value::Integer(citizen_id),
                Value::Text(Cow::Owned(town)),
                Value::Date(birth_date),
                Value::Integers(relatives),
                channel.map_or(Value::Null, |channel| Value::Text(Cow::Owned(channel))),
            ]);
        }
    }
    Ok(segment.packed().map(|columns| (segment.rows(), columns)))
}

/// Different texts over many segments, in the order in which they are first seen.
#[derive(Debug, Default)]
pub(in crate::db) struct Names {
    places: HashMap<Box<str>, usize>,
}

impl Names {
    /// For each of a segment's texts its place among all; `None`: they are more than `most`.
    pub(in crate::db) fn places(&mut self, texts: &[&str], most: usize) -> Option<Vec<usize>> {
        let places = texts.iter().map(|text| match self.places.get(*text) {
            Some(place) => *place,
            None => {
                let place = self.places.len();
                self.places.insert((*text).into(), place);
                place
            }
        });
        let places = places.collect();
        (self.places.len() <= most).then_some(places)
    }

    /// How many they are.
    pub(in crate::db) fn len(&self) -> usize {
        self.places.len()
    }

    /// In the order of their places.
    pub(in crate::db) fn into_names(self) -> Vec<Box<str>> {
        let mut names: Vec<_> = self.places.into_iter().collect();
        names.sort_unstable_by_key(|(_, place)| *place);
        names.into_iter().map(|(name, _)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_those_of_the_dataset() {
        let columns = DATASET.segments().expect("citizens have segments").columns;
        for (column, name) in [
            (Column::CitizenId, "citizen_id"),
            (Column::Town, "town"),
            (Column::BirthDate, "birth_date"),
            (Column::Relatives, "relatives"),
            (Column::Channel, "channel"),
        ] {
            assert_eq!(columns[column as usize], name);
        }
    }
}
