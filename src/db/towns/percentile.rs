//! How old the citizens of each town are.

use std::ops::ControlFlow;

use async_stream::try_stream;
use chrono::NaiveDate;
use futures_util::{Stream, StreamExt, stream::BoxStream};

use super::{Position, located, position, positions};
use crate::{
    datasets::citizen::ages::Ages,
    db::{
        DbError,
        citizens::{
            Snapshot,
            segments::{Column, Names, visit},
        },
        export::Row,
        segments::{Packed, PackedTexts},
    },
};

/// So many citizens of a town come in one row at most.
const PART_ROWS: i64 = 65_536;
/// The ages of more towns are not counted in memory.
const MAX_TOWNS: usize = 16_384;

/// The ages of a town's citizens.
#[derive(Debug)]
pub struct TownAges {
    /// The town.
    pub town: Box<str>,
    /// How many citizens have which age.
    pub ages: Ages,
    /// Where the town is, when that was asked for and is known.
    pub position: Option<Position>,
}

/// The ages of the citizens of each town, in the order of the towns.
pub async fn ages(
    mut snapshot: Snapshot,
    today: NaiveDate,
    with_positions: bool,
) -> Result<BoxStream<'static, Result<TownAges, DbError>>, DbError> {
    let Some(mut towns) = count(&mut snapshot, today).await? else {
        return Ok(gather(snapshot, today, with_positions).boxed());
    };
    if with_positions {
        let names: Vec<&str> = towns.iter().map(|town| &*town.town).collect();
        let positions = positions(&mut snapshot, &names).await?;
        for town in &mut towns {
            town.position = positions.get(&*town.town).copied();
        }
    }
    snapshot.export.end_soon();
    Ok(futures_util::stream::iter(towns.into_iter().map(Ok)).boxed())
}

/// Counts in memory. `None`: there are too many towns, or no segments.
async fn count(snapshot: &mut Snapshot, today: NaiveDate) -> Result<Option<Vec<TownAges>>, DbError> {
    let mut names = Names::default();
    let mut ages: Vec<Ages> = Vec::new();
    let is_whole = visit(snapshot, [Column::Town, Column::BirthDate], |mut segment| {
        let [towns, dates] = segment.columns;
        let (mut towns, mut dates) = (PackedTexts::new(towns)?, Packed::new(dates));
        let Some(places) = names.places(towns.texts(), MAX_TOWNS) else { return Ok(ControlFlow::Break(())) };
        ages.resize_with(names.len(), Ages::default);
        for _ in 0..segment.rows {
            let (town, born) = (towns.present_place()?, dates.date()?);
            if segment.counts()? {
                ages[places[town]].add(born, today);
            }
        }
        Ok(ControlFlow::Continue(()))
    });
    if !is_whole.await? {
        return Ok(None);
    }
    let towns = names.into_names().into_iter().zip(ages);
    // Nobody is left where all who came from there have moved.
    let towns = towns.filter(|(_, ages)| !ages.is_empty());
    let mut towns: Vec<_> = towns.map(|(town, ages)| TownAges { town, ages, position: None }).collect();
    towns.sort_unstable_by(|one, other| one.town.cmp(&other.town));
    Ok(Some(towns))
}

/// Has the database gather them.
///
/// To gather the days of a town takes less than half the time of `percentile_cont`, which sorts them. Of a large import they are
/// gathered in parts, so that a row stays small however large the town; the planner sorts the citizens for that.
fn gather(
    snapshot: Snapshot,
    today: NaiveDate,
    with_positions: bool,
) -> impl Stream<Item = Result<TownAges, DbError>> + Send + 'static {
    let Snapshot { export, import_id, rows, .. } = snapshot;
    let part = if rows <= PART_ROWS { String::new() } else { format!(", row / {PART_ROWS}") };
    let gathered = format!(
        "select town, array_agg(birth_date) as dates from citizens where import_id = {import_id} group by town{part}"
    );
    let order = "town collate \"C\"";
    let query =
        if with_positions { located(&gathered, order) } else { format!("{gathered} order by {order}") };
    try_stream! {
        let mut rows = std::pin::pin!(export.rows(&query));
        let mut open: Option<TownAges> = None;
        while let Some(row) = rows.next().await {
            let (part, dates) = read(&row?, with_positions)?;
            if open.as_ref().is_none_or(|open| open.town != part.town)
                && let Some(whole) = open.replace(part)
            {
                yield whole;
            }
            for born in dates {
                if let Some(open) = &mut open {
                    open.ages.add(born, today);
                }
            }
        }
        if let Some(whole) = open {
            yield whole;
        }
    }
}

/// A town without its ages, and when some of its citizens were born.
fn read(row: &Row, with_positions: bool) -> Result<(TownAges, Vec<NaiveDate>), DbError> {
    let mut columns = row.columns();
    let (town, dates) = (columns.text()?.into(), columns.dates()?);
    let position =
        if with_positions { position(columns.optional_f64()?, columns.optional_f64()?) } else { None };
    Ok((TownAges { town, ages: Ages::default(), position }, dates))
}
