//! The only user of poem: one file a resource. Handlers translate: request, one call, response.

pub mod document;

use std::{net::SocketAddr, sync::Arc};

use poem::{Endpoint, Route};

use crate::{
    archive::Archive,
    config::Config,
    db::{Db, notify::Changes},
};

/// What handlers work with. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Context {
    /// The database.
    pub db: Db,
    /// The whole configuration.
    pub config: Arc<Config>,
    /// Where uploads go.
    pub archive: Archive,
    /// Wakes who waits for an import.
    pub changes: Changes,
    /// Where the service listens.
    pub address: SocketAddr,
}

/// The whole API.
pub fn endpoint(_context: Context) -> impl Endpoint {
    Route::new()
}
