//! Airports: reading one, listing many (`list`), and changing them one at a time ([`Write`]).

mod area;
mod list;
mod write;

pub use area::{Bounds, Circle};
pub use list::{After, Filter, Listed, SortKey, SortValue, list, write_list};
use sea_orm::EntityTrait;
pub use write::{Fields, HeldCode, Write, WriteError};

pub use super::entities::airport::Model as Airport;
use super::{Db, DbError, entities::airport::Entity};

/// The airport with that id, deleted ones too.
pub async fn find(db: &Db, id: i64) -> Result<Option<Airport>, DbError> {
    Entity::find_by_id(id).one(db.orm()).await.map_err(DbError::orm("reading an airport"))
}
