//! Who buys how many presents in which month: one for every relative born in it.
//!
//! It is counted from segments, where there are some and presents are not too many; else by the database.

use std::{iter, ops::ControlFlow};

use futures_util::{StreamExt, stream, stream::BoxStream};

use super::{
    Snapshot,
    segments::{Column, Names, Segment, visit},
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

/// Birthdays of more citizens with relatives are left to the database to count: 32 MB.
const MAX_CITIZENS: usize = 2_000_000;
/// So are more presents that are to be told by citizen: 16 MB.
const MAX_PRESENTS: usize = 2_000_000;
/// So are presents of more channels.
const MAX_CHANNELS: usize = 16_384;
/// Citizens handed on together.
const CITIZENS: usize = 1024;

/// Relations are mutual: whoever lists somebody gets a present from them, and buys them one. So no birth date has to be looked up here.
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
    if let Some(born) = born(&mut snapshot).await? {
        let counted = match group_by {
            GroupBy::Citizen => {
                by_citizen(&mut snapshot, &born).await?.map(|counted| stream::iter(counted).boxed())
            }
            GroupBy::Channel => {
                by_channel(&mut snapshot, &born).await?.map(|counted| stream::iter(counted).boxed())
            }
        };
        if let Some(counted) = counted {
            snapshot.export.end_soon();
            return Ok(counted.map(Ok).boxed());
        }
    }
    let query = match group_by {
        GroupBy::Citizen => BY_CITIZEN,
        GroupBy::Channel => BY_CHANNEL,
    };
    let query = query.replace(":presents", PRESENTS).replace(":import", &snapshot.import_id.to_string());
    Ok(snapshot.export.rows(&query).map(move |row| Presents::read(&row?, group_by)).boxed())
}

/// In which month a citizen who has relatives is born, by number: 1 to 12.
enum Born {
    /// Of numbers that lie close together; [`NOBODY`] where there is none.
    Table { first: i64, months: Vec<u8> },
    /// In the order of the numbers.
    List(Vec<(i64, u8)>),
}

/// Nobody is born then.
const NOBODY: u8 = 0;
/// A table has so many places for each citizen at most: as many bytes as a list.
const PLACES: usize = 16;

impl Born {
    fn new(mut citizens: Vec<(i64, u8)>) -> Self {
        let numbers = citizens.iter().map(|(number, _)| *number);
        let first = numbers.clone().min().unwrap_or(0);
        let place = |number: i64| number.abs_diff(first) as usize;
        let places = numbers.max().map_or(0, |last| place(last).saturating_add(1));
        if places > PLACES * citizens.len() {
            citizens.sort_unstable_by_key(|(number, _)| *number);
            return Self::List(citizens);
        }
        let mut months = vec![NOBODY; places];
        for (number, month) in citizens {
            months[place(number)] = month;
        }
        Self::Table { first, months }
    }

    /// `None`: there is no such citizen.
    fn month(&self, number: i64) -> Option<u8> {
        match self {
            Self::Table { first, months } => {
                // A number before the first gives a place behind the last.
                let place = number.wrapping_sub(*first).cast_unsigned() as usize;
                months.get(place).copied().filter(|month| *month != NOBODY)
            }
            Self::List(citizens) => {
                let place = citizens.binary_search_by_key(&number, |(other, _)| *other).ok()?;
                Some(citizens[place].1)
            }
        }
    }

    /// Tells the month, from 0, in which each relative of the next citizen is born, if that one counts.
    #[inline]
    fn each_relative<const N: usize>(
        &self,
        segment: &mut Segment<'_, N>,
        relatives: &mut Packed<'_>,
        mut tell: impl FnMut(usize),
    ) -> Result<(), DbError> {
        let counts = segment.counts()?;
        for _ in 0..relatives.length()? {
            // Of those who do not count too: what comes next is a difference from it.
            let relative = relatives.integer()?;
            if counts && let Some(month) = self.month(relative) {
                tell(usize::from(month) - 1);
            }
        }
        Ok(())
    }
}

async fn born(snapshot: &mut Snapshot) -> Result<Option<Born>, DbError> {
    let mut citizens = Vec::new();
    let wanted = [Column::CitizenId, Column::BirthDate, Column::Relatives];
    let is_whole = visit(snapshot, wanted, |mut segment| {
        let [mut numbers, mut dates, mut relatives] = segment.columns.map(Packed::new);
        for _ in 0..segment.rows {
            let (number, month, count) = (numbers.integer()?, dates.month()? as u8, relatives.length()?);
            relatives.skip(count)?;
            if segment.counts()? && count > 0 {
                citizens.push((number, month));
            }
        }
        Ok(if citizens.len() > MAX_CITIZENS { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    });
    Ok(is_whole.await?.then(|| Born::new(citizens)))
}

/// A citizen buys one present for each relative: relations are mutual.
async fn by_citizen(
    snapshot: &mut Snapshot,
    born: &Born,
) -> Result<Option<impl Iterator<Item = Presents> + Send + use<>>, DbError> {
    // Each buyer, once for each present.
    let mut months: [Vec<i64>; 12] = Default::default();
    let mut presents = 0;
    let is_whole = visit(snapshot, [Column::CitizenId, Column::Relatives], |mut segment| {
        let [mut numbers, mut relatives] = segment.columns.map(Packed::new);
        for _ in 0..segment.rows {
            let buyer = numbers.integer()?;
            born.each_relative(&mut segment, &mut relatives, |month| {
                months[month].push(buyer);
                presents += 1;
            })?;
        }
        Ok(if presents > MAX_PRESENTS { ControlFlow::Break(()) } else { ControlFlow::Continue(()) })
    });
    if !is_whole.await? {
        return Ok(None);
    }
    let presents = (1..).zip(months).flat_map(|(month, buyers)| {
        let mut counted = counted(buyers);
        iter::from_fn(move || {
            let some: Vec<_> = counted.by_ref().take(CITIZENS).collect();
            (!some.is_empty()).then_some(Presents { month, buyers: Buyers::Citizens(some) })
        })
    });
    Ok(Some(presents))
}

async fn by_channel(snapshot: &mut Snapshot, born: &Born) -> Result<Option<Vec<Presents>>, DbError> {
    let mut channels = Names::default();
    // By channel, from 1, and 0 for none; then by month.
    let mut bought: Vec<[i64; 12]> = Vec::new();
    let is_whole = visit(snapshot, [Column::Relatives, Column::Channel], |mut segment| {
        let [relatives, by_channel] = segment.columns;
        let (mut relatives, mut by_channel) = (Packed::new(relatives), PackedTexts::new(by_channel)?);
        let Some(places) = channels.places(by_channel.texts(), MAX_CHANNELS) else {
            return Ok(ControlFlow::Break(()));
        };
        bought.resize(channels.len() + 1, [0; 12]);
        for _ in 0..segment.rows {
            let bought = &mut bought[by_channel.place()?.map_or(0, |channel| places[channel] + 1)];
            born.each_relative(&mut segment, &mut relatives, |month| bought[month] += 1)?;
        }
        Ok(ControlFlow::Continue(()))
    });
    if !is_whole.await? {
        return Ok(None);
    }
    let names = channels.into_names().into_iter().map(|name| Some(name.into_string()));
    let mut bought: Vec<_> = iter::once(None).chain(names).zip(bought).collect();
    // Those of no channel come last.
    bought.sort_unstable_by(|(one, _), (other, _)| (one.is_none(), one).cmp(&(other.is_none(), other)));
    let presents = (1..=12).map(|month| {
        let buyers = bought.iter().map(|(channel, months)| (channel.clone(), months[month as usize - 1]));
        let buyers = buyers.filter(|(_, presents)| *presents > 0).collect();
        Presents { month, buyers: Buyers::Channels(buyers) }
    });
    Ok(Some(presents.collect()))
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
        fn a_month_is_found_by_number_whether_numbers_are_close_or_not(
            citizens in proptest::collection::btree_map(
                prop_oneof![0_i64..20, 0..=i64::MAX, Just(i64::MAX)], 1_u8..=12, 0..20,
            ),
            others in proptest::collection::vec(prop_oneof![0_i64..20, any::<i64>()], 20),
        ) {
            let born = Born::new(citizens.clone().into_iter().rev().collect());
            for number in others.iter().chain(citizens.keys()) {
                prop_assert_eq!(born.month(*number), citizens.get(number).copied());
            }
        }
    }
}
