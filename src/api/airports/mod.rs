//! `/airports`: the list, single airports, and what all ways to change one have in common.

mod change;
mod fields;
mod formats;
mod item;
mod list;
mod parameters;

pub(super) use change::{
    ChangeRefusal, Changed, Created, KeyedCreateRefusal, change, delete_softly, existing, keyed_create, purge,
};
pub(super) use fields::{AirportBody, AirportPatch, NewAirport, example, fields_to_json, timestamp};
pub(super) use item::AirportItem;
pub(super) use list::AirportList;
pub(super) use parameters::{ColumnParameters, ColumnsAsParameters};
