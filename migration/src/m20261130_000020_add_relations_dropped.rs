//! How many relations an import has left out.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

// Null for imports that ended before: how many it were is not to be found out any more.
const UP: &str = "alter table imports add column relations_dropped bigint";

const DOWN: &str = "alter table imports drop column relations_dropped";

plain_sql!();
