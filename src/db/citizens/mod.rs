//! Citizens and who is related to whom. Every import is a set of its own.

mod access;
mod birthdays;
mod patch;
mod rows;
pub(super) mod segments;
mod store;

pub use access::{NoAccess, ReadError, Snapshot, snapshot};
pub use birthdays::{Buyers, GroupBy, Presents, birthdays};
pub use patch::{PatchError, Unknown, patch};
pub use rows::{Listed, Range, csv, find, list, page_end};
pub use store::insert;
