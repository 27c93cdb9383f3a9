//! The API key that an import was uploaded with.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

// Without a reference, because an import outlives its key. An import that `tarmac replay` makes again has no key.
const UP: &str = "alter table imports add column key_id bigint;";

const DOWN: &str = "alter table imports drop column key_id;";

plain_sql!();
