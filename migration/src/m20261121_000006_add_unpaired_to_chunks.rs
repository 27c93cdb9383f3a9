//! The ledger keeps what a chunk's relations come to.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &str = r"
-- 0 over all chunks of an import: each of its relations is listed from both sides.
alter table import_chunks add column unpaired bigint not null default 0;
";

const DOWN: &str = "alter table import_chunks drop column unpaired;";

plain_sql!();
