//! Airports: reading one, listing many (`list`), and changing them one at a time ([`Write`]).

mod area;
mod list;
mod write;

pub use area::{Bounds, Circle};
pub use list::{After, Filter, Listed, SortKey, SortValue, list, write_list};
use sea_orm::{EntityTrait, QueryFilter, sea_query::Expr};
pub use write::{Fields, HeldCode, Write, WriteError};

pub use super::entities::airport::Model as Airport;
use super::{Db, DbError, entities::airport::Entity};

/// Holds for what may be seen: all but what an import created that is undone, nobody changed since, and is not removed yet.
pub(super) const VISIBLE: &str = "(airports.import_id = any (array(
        select removal.import_id from import_removals removal where removal.finished_at is null
    )) and airports.version = 1) is not true";

/// The airport with that id, deleted ones too.
pub async fn find(db: &Db, id: i64) -> Result<Option<Airport>, DbError> {
    let airport = Entity::find_by_id(id).filter(Expr::cust(VISIBLE)).one(db.orm()).await;
    airport.map_err(DbError::orm("reading an airport"))
}
