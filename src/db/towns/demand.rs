//! Who will ask for courses: citizens, and the presents they buy in a year, by town, age group and channel.

use std::{collections::HashMap, ops::ControlFlow, sync::Arc};

use chrono::{Months, NaiveDate};
use futures_util::{StreamExt, stream::BoxStream};

use super::{Position, age, located, position, positions};
use crate::db::{
    DbError,
    citizens::{
        Snapshot,
        segments::{Column, Names, visit},
    },
    days,
    export::Row,
    segments::{Packed, PackedTexts},
};

/// More towns, channels, or pairs of both are not counted in memory.
const MAX_PAIRS: usize = 16_384;
/// More pairs are not even possible in a segment that is counted in memory.
const MAX_CELLS: usize = 16 * MAX_PAIRS;

/// The citizens of one age group, brought by one channel, in one town.
#[derive(Debug, Clone, PartialEq)]
pub struct Demand {
    /// The town.
    pub town: Arc<str>,
    /// Which of the groups, from 0: below the first bound.
    pub age_group: usize,
    /// The advertising channel; nothing for citizens without one.
    pub channel: Option<Arc<str>>,
    /// How many they are.
    pub citizens: i64,
    /// Relations they have: presents they buy in a year.
    pub presents: i64,
    /// Where the town is, when that was asked for and is known.
    pub position: Option<Position>,
}

/// Counts by town, age group and channel, in this order. `bounds` are the ages at which groups begin, ascending.
pub async fn demand(
    mut snapshot: Snapshot,
    today: NaiveDate,
    bounds: &[i32],
    with_positions: bool,
) -> Result<BoxStream<'static, Result<Demand, DbError>>, DbError> {
    let Some(mut counted) = count(&mut snapshot, today, bounds).await? else {
        let rows = snapshot.export.rows(&query(snapshot.import_id, today, bounds, with_positions));
        return Ok(rows.map(move |row| Demand::read(&row?, with_positions)).boxed());
    };
    if with_positions {
        let mut towns: Vec<&str> = counted.iter().map(|demand| &*demand.town).collect();
        towns.dedup();
        let positions = positions(&mut snapshot, &towns).await?;
        for demand in &mut counted {
            demand.position = positions.get(&*demand.town).copied();
        }
    }
    snapshot.export.end_soon();
    Ok(futures_util::stream::iter(counted.into_iter().map(Ok)).boxed())
}

/// Counts in memory. `None`: there are too many towns or channels, or no segments.
async fn count(
    snapshot: &mut Snapshot,
    today: NaiveDate,
    bounds: &[i32],
) -> Result<Option<Vec<Demand>>, DbError> {
    let (mut towns, mut channels) = (Names::default(), Names::default());
    let youngest = last_birthdays(today, bounds);
    // Pairs of a town and a channel, which is 0 for none, in the order in which they are first seen; and for each of them the
    // citizens and presents of each age group.
    let mut pairs: HashMap<(usize, usize), usize> = HashMap::new();
    let mut counts: Vec<(i64, i64)> = Vec::new();
    let groups = bounds.len() + 1;
    let wanted = [Column::Town, Column::BirthDate, Column::Relatives, Column::Channel];
    let is_whole = visit(snapshot, wanted, |mut segment| {
        let [in_town, dates, relatives, by_channel] = segment.columns;
        let (mut in_town, mut by_channel) = (PackedTexts::new(in_town)?, PackedTexts::new(by_channel)?);
        let (mut dates, mut relatives) = (Packed::new(dates), Packed::new(relatives));
        let places =
            towns.places(in_town.texts(), MAX_PAIRS).zip(channels.places(by_channel.texts(), MAX_PAIRS));
        let Some((town_places, channel_places)) = places else { return Ok(ControlFlow::Break(())) };
        // The places of this segment's pairs, lest a map be asked for every citizen.
        let columns = channel_places.len() + 1;
        if town_places.len() * columns > MAX_CELLS {
            return Ok(ControlFlow::Break(()));
        }
        let mut known: Vec<Option<usize>> = vec![None; town_places.len() * columns];
        for _ in 0..segment.rows {
            let (town, channel, born) = (in_town.present_place()?, by_channel.place()?, dates.integer()?);
            let presents = relatives.length()?;
            relatives.skip(presents)?;
            if segment.counts()? {
                let cell = town * columns + channel.map_or(0, |channel| channel + 1);
                let pair = *known[cell].get_or_insert_with(|| {
                    let channel = channel.map_or(0, |channel| channel_places[channel] + 1);
                    let next = pairs.len();
                    *pairs.entry((town_places[town], channel)).or_insert(next)
                });
                counts.resize(pairs.len() * groups, (0, 0));
                let group = youngest.partition_point(|last| born <= *last);
                let (citizens, all_presents) = &mut counts[pair * groups + group];
                *citizens += 1;
                *all_presents += presents as i64;
            }
        }
        Ok(if pairs.len() > MAX_PAIRS { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    });
    if !is_whole.await? {
        return Ok(None);
    }
    let towns: Vec<Arc<str>> = towns.into_names().into_iter().map(Arc::from).collect();
    let channels: Vec<Arc<str>> = channels.into_names().into_iter().map(Arc::from).collect();
    let mut counted = Vec::new();
    for ((town, channel), pair) in pairs {
        let channel = channel.checked_sub(1).map(|channel| &channels[channel]);
        let of_pair = &counts[pair * groups..][..groups];
        for (age_group, &(citizens, presents)) in of_pair.iter().enumerate() {
            if citizens > 0 {
                let (town, channel) = (Arc::clone(&towns[town]), channel.cloned());
                counted.push(Demand { town, age_group, channel, citizens, presents, position: None });
            }
        }
    }
    // Citizens without a channel come last.
    counted.sort_unstable_by(|one, other| {
        let key = |demand: &Demand| (demand.age_group, demand.channel.is_none());
        one.town.cmp(&other.town).then(key(one).cmp(&key(other))).then(one.channel.cmp(&other.channel))
    });
    Ok(Some(counted))
}

/// For each bound the number of the last day on which somebody was born who is so old today.
fn last_birthdays(today: NaiveDate, bounds: &[i32]) -> Vec<i64> {
    // On 29 February it is the 28th in a year that has no 29th.
    let last = |bound: &i32| today.checked_sub_months(Months::new(12 * bound.unsigned_abs()));
    bounds
        .iter()
        .map(|bound| last(bound).unwrap_or(NaiveDate::MIN))
        .map(|day| days::number(day).into())
        .collect()
}

fn query(import_id: i64, today: NaiveDate, bounds: &[i32], with_positions: bool) -> String {
    let bounds = bounds.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    let counted = format!(
        "select town, width_bucket({}, array[{bounds}]::integer[]) as age_group, channel,
             count(*) as citizens, sum(cardinality(relatives)) as presents
         from citizens where import_id = {import_id} group by 1, 2, 3",
        age(today)
    );
    let order = "town collate \"C\", age_group, channel collate \"C\" nulls last";
    if with_positions {
        located(&counted, order)
    } else {
        format!("select * from ({counted}) counted order by {order}")
    }
}

impl Demand {
    fn read(row: &Row, with_positions: bool) -> Result<Self, DbError> {
        let mut columns = row.columns();
        let mut demand = Self {
            town: columns.text()?.into(),
            age_group: usize::try_from(columns.i32()?).unwrap_or(0),
            channel: columns.optional_text()?.map(Arc::from),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_begin_at_birthdays() {
        for today in ["2024-02-28", "2024-02-29", "2024-03-01", "2023-02-28", "2023-03-01", "2026-11-27"] {
            let today: NaiveDate = today.parse().expect("a day");
            let bounds: Vec<i32> = (1..=150).collect();
            let youngest = last_birthdays(today, &bounds);
            for born in today.pred_opt().expect("a day").iter_days().rev().take(160 * 366) {
                let age = today.years_since(born).expect("it is earlier") as usize;
                let group = youngest.partition_point(|last| i64::from(days::number(born)) <= *last);
                assert_eq!(group, age.min(150), "{born} {today}");
            }
        }
    }
}
