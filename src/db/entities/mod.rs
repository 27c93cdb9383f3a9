//! sea-orm's models, one file a table.

pub mod airport;
pub mod pending_change;
