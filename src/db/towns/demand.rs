//! Who will ask for courses: citizens, and the presents they buy in a year, by town, age group and channel.

use std::{collections::HashMap, ops::ControlFlow, sync::Arc};

use chrono::NaiveDate;
use futures_util::{StreamExt, stream::BoxStream};

use super::{Names, Position, age, located, position, positions};
use crate::db::{
    DbError,
    citizens::{
        Snapshot,
        segments::{Column, visit},
    },
    export::Row,
    segments::Packed,
};

/// More towns, channels, or pairs of both are not counted in memory.
const MAX_PAIRS: usize = 16_384;

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
    // Citizens and presents of each age group, by town and channel, which is 0 for none.
    let mut counts: HashMap<(usize, usize), Vec<(i64, i64)>> = HashMap::new();
    let wanted = [Column::Town, Column::BirthDate, Column::Relatives, Column::Channel];
    let is_whole = visit(snapshot, wanted, |mut segment| {
        let [town_column, dates, relatives, channel_column] = segment.columns;
        let (town_texts, mut in_town) = Packed::texts(town_column)?;
        let (channel_texts, mut by_channel) = Packed::texts(channel_column)?;
        let (mut dates, mut relatives) = (Packed::new(dates), Packed::new(relatives));
        let places = towns.places(&town_texts, MAX_PAIRS).zip(channels.places(&channel_texts, MAX_PAIRS));
        let Some((town_places, channel_places)) = places else { return Ok(ControlFlow::Break(())) };
        for _ in 0..segment.rows {
            let (town, channel, born) = (in_town.place()?, by_channel.place()?, dates.date()?);
            let presents = relatives.length()?;
            for _ in 0..presents {
                relatives.integer()?;
            }
            let channel = channel.checked_sub(1).and_then(|channel| channel_places.get(channel));
            if segment.counts()?
                && let Some(town) = town.checked_sub(1).and_then(|town| town_places.get(town))
            {
                let age = today.years_since(born).unwrap_or(0).cast_signed();
                let group = bounds.partition_point(|bound| *bound <= age);
                let pair = (*town, channel.map_or(0, |channel| channel + 1));
                let groups = counts.entry(pair).or_insert_with(|| vec![(0, 0); bounds.len() + 1]);
                groups[group].0 += 1;
                groups[group].1 += presents as i64;
            }
        }
        Ok(if counts.len() > MAX_PAIRS { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    });
    if !is_whole.await? {
        return Ok(None);
    }
    let towns: Vec<Arc<str>> = towns.into_names().into_iter().map(Arc::from).collect();
    let channels: Vec<Arc<str>> = channels.into_names().into_iter().map(Arc::from).collect();
    let mut counted = Vec::new();
    for ((town, channel), groups) in counts {
        let channel = channel.checked_sub(1).map(|channel| &channels[channel]);
        for (age_group, (citizens, presents)) in groups.into_iter().enumerate() {
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
