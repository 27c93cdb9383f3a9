//! Who buys how many presents in which month: one for every relative born in it.
//!
//! It is counted from segments, where there are some and presents are not too many; else by the database.

use std::{iter, ops::ControlFlow};

use futures_util::{StreamExt, stream, stream::BoxStream};

use super::{
    Snapshot,
    segments::{Column, Names, visit},
};
use crate::db::{
    DbError,
    export::Row,
    segments::{Packed, PackedTexts},
};

/// Who is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupBy {
    /// Each citizen.
    Citizen,
    /// The advertising channel that brought the citizen.
    Channel,
}

/// The presents of a month, or of some of its buyers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presents {
    /// 1 to 12.
    pub month: u32,
    /// In their order.
    pub buyers: Buyers,
}

/// Buyers, each with how many presents it buys.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Buyers {
    /// By their numbers.
    Citizens(Vec<(i64, i64)>),
    /// All citizens of a channel, or of none.
    Channels(Vec<(Option<String>, i64)>),
}

/// More presents of citizens are left to the database to count: 16 MB.
const MAX_PRESENTS: usize = 2_000_000;
/// So are those of more channels.
const MAX_CHANNELS: usize = 16_384;
/// Citizens handed on together.
const CITIZENS: usize = 1024;

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

/// Presents by month and buyer, in this order.
pub async fn birthdays(
    mut snapshot: Snapshot,
    group_by: GroupBy,
) -> Result<BoxStream<'static, Result<Presents, DbError>>, DbError> {
    if let Some(months) = buyers(&mut snapshot).await? {
        let counted = match group_by {
            GroupBy::Citizen => Some(stream::iter(by_citizen(months).map(Ok)).boxed()),
            GroupBy::Channel => {
                let brought = brought(&mut snapshot).await?;
                brought.map(|brought| stream::iter(by_channel(months, &brought).into_iter().map(Ok)).boxed())
            }
        };
        if let Some(counted) = counted {
            snapshot.export.end_soon();
            return Ok(counted);
        }
    }
    let query = match group_by {
        GroupBy::Citizen => BY_CITIZEN,
        GroupBy::Channel => BY_CHANNEL,
    };
    let query = query.replace(":presents", PRESENTS).replace(":import", &snapshot.import_id.to_string());
    Ok(snapshot.export.rows(&query).map(move |row| Presents::read(&row?, group_by)).boxed())
}

/// For each month who buys a present in it, once for each.
async fn buyers(snapshot: &mut Snapshot) -> Result<Option<[Vec<i64>; 12]>, DbError> {
    let mut months: [Vec<i64>; 12] = Default::default();
    let mut presents = 0;
    let is_whole = visit(snapshot, [Column::BirthDate, Column::Relatives], |mut segment| {
        let [mut dates, mut relatives] = segment.columns.map(Packed::new);
        for _ in 0..segment.rows {
            let (born, count) = (dates.month()?, relatives.length()?);
            let month = &mut months[born as usize - 1];
            let before = month.len();
            for _ in 0..count {
                month.push(relatives.integer()?);
            }
            if !segment.counts()? {
                month.truncate(before);
            }
            presents += month.len() - before;
            if presents > MAX_PRESENTS {
                return Ok(ControlFlow::Break(()));
            }
        }
        Ok(ControlFlow::Continue(()))
    });
    Ok(is_whole.await?.then_some(months))
}

/// Which of the channels brought each of those who have relatives.
struct Brought {
    by_number: ByNumber,
    channels: Vec<Box<str>>,
}

/// The channels of citizens, by their numbers: from 1, and 0 for none.
enum ByNumber {
    /// Of numbers that lie close together; [`NOBODY`] where there is none.
    Table { first: i64, channels: Vec<u32> },
    /// In the order of the numbers.
    List(Vec<(i64, u32)>),
}

/// No channel has this place.
const NOBODY: u32 = u32::MAX;
/// A table has so many places for each citizen at most: as many bytes as a list.
const PLACES: usize = 4;

impl ByNumber {
    fn new(mut citizens: Vec<(i64, u32)>) -> Self {
        let numbers = citizens.iter().map(|(number, _)| *number);
        let first = numbers.clone().min().unwrap_or(0);
        let place = |number: i64| number.abs_diff(first) as usize;
        let places = numbers.max().map_or(0, |last| place(last).saturating_add(1));
        if places > PLACES * citizens.len() {
            citizens.sort_unstable_by_key(|(number, _)| *number);
            return Self::List(citizens);
        }
        let mut channels = vec![NOBODY; places];
        for (number, channel) in citizens {
            channels[place(number)] = channel;
        }
        Self::Table { first, channels }
    }

    /// The channel of the citizen of that number. `None`: there is no such citizen.
    fn get(&self, number: i64) -> Option<u32> {
        match self {
            Self::Table { first, channels } => {
                let place = usize::try_from(number.checked_sub(*first)?).ok()?;
                channels.get(place).copied().filter(|channel| *channel != NOBODY)
            }
            Self::List(citizens) => {
                let place = citizens.binary_search_by_key(&number, |(other, _)| *other).ok()?;
                Some(citizens[place].1)
            }
        }
    }
}

async fn brought(snapshot: &mut Snapshot) -> Result<Option<Brought>, DbError> {
    let mut channels = Names::default();
    let mut citizens = Vec::new();
    let wanted = [Column::CitizenId, Column::Relatives, Column::Channel];
    let is_whole = visit(snapshot, wanted, |mut segment| {
        let [numbers, relatives, by_channel] = segment.columns;
        let (mut numbers, mut relatives) = (Packed::new(numbers), Packed::new(relatives));
        let mut by_channel = PackedTexts::new(by_channel)?;
        let Some(places) = channels.places(by_channel.texts(), MAX_CHANNELS) else {
            return Ok(ControlFlow::Break(()));
        };
        for _ in 0..segment.rows {
            let (number, channel, count) = (numbers.integer()?, by_channel.place()?, relatives.length()?);
            relatives.skip(count)?;
            if segment.counts()? && count > 0 {
                // There are not nearly so many channels.
                let channel = channel.map_or(0, |channel| places[channel] as u32 + 1);
                citizens.push((number, channel));
            }
        }
        Ok(ControlFlow::Continue(()))
    });
    if !is_whole.await? {
        return Ok(None);
    }
    Ok(Some(Brought { by_number: ByNumber::new(citizens), channels: channels.into_names() }))
}

fn by_citizen(months: [Vec<i64>; 12]) -> impl Iterator<Item = Presents> {
    (1..).zip(months).flat_map(|(month, buyers)| {
        let mut counted = counted(buyers);
        iter::from_fn(move || {
            let some: Vec<_> = counted.by_ref().take(CITIZENS).collect();
            (!some.is_empty()).then_some(Presents { month, buyers: Buyers::Citizens(some) })
        })
    })
}

fn by_channel(months: [Vec<i64>; 12], Brought { by_number, channels }: &Brought) -> Vec<Presents> {
    // Of citizens without a channel come last.
    let mut order: Vec<usize> = (1..=channels.len()).collect();
    order.sort_unstable_by_key(|channel| &channels[channel - 1]);
    order.push(0);
    let name = |channel: usize| channel.checked_sub(1).map(|channel| channels[channel].to_string());
    let bought = |(month, buyers): (u32, Vec<i64>)| {
        let mut presents_of = vec![0; order.len()];
        for channel in buyers.into_iter().filter_map(|buyer| by_number.get(buyer)) {
            presents_of[channel as usize] += 1;
        }
        let presents = order.iter().map(|channel| (*channel, presents_of[*channel]));
        let some = presents.filter(|(_, presents)| *presents > 0);
        let buyers = some.map(|(channel, presents)| (name(channel), presents)).collect();
        Presents { month, buyers: Buyers::Channels(buyers) }
    };
    (1..).zip(months).map(bought).collect()
}

/// The buyers in the order of their numbers, each once, with how often they were there.
fn counted(mut buyers: Vec<i64>) -> impl Iterator<Item = (i64, i64)> {
    buyers.sort_unstable();
    let mut place = 0;
    iter::from_fn(move || {
        let buyer = *buyers.get(place)?;
        let presents = buyers[place..].iter().take_while(|other| **other == buyer).count();
        place += presents;
        Some((buyer, presents as i64))
    })
}

impl Presents {
    /// Those of one buyer.
    fn read(row: &Row, group_by: GroupBy) -> Result<Self, DbError> {
        let mut columns = row.columns();
        let month = columns.i32()?.unsigned_abs();
        let buyers = match group_by {
            GroupBy::Citizen => Buyers::Citizens(vec![(columns.i64()?, columns.i64()?)]),
            GroupBy::Channel => {
                let channel = columns.optional_text()?.map(ToOwned::to_owned);
                Buyers::Channels(vec![(channel, columns.i64()?)])
            }
        };
        Ok(Self { month, buyers })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_channel_is_found_by_number_whether_numbers_are_close_or_not(
            citizens in proptest::collection::btree_map(
                prop_oneof![0_i64..20, 0..=i64::MAX, Just(i64::MAX)], 0_u32..3, 0..20,
            ),
            others in proptest::collection::vec(prop_oneof![0_i64..20, any::<i64>()], 20),
        ) {
            let by_number = ByNumber::new(citizens.clone().into_iter().rev().collect());
            for number in others.iter().chain(citizens.keys()) {
                prop_assert_eq!(by_number.get(*number), citizens.get(number).copied());
            }
        }
    }
}
