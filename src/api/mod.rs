//! The only user of poem: one file a resource. Handlers translate: request, one call, response.

pub mod document;

use std::sync::Arc;

use poem::{Endpoint, Route};

use crate::{config::Config, db::Db};

/// What handlers work with. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Context {
    /// The database.
    pub db: Db,
    /// The whole configuration.
    pub config: Arc<Config>,
}

/// The whole API.
pub fn endpoint(_context: Context) -> impl Endpoint {
    Route::new()
}
