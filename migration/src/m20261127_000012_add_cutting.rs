//! How the files of an import are cut.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

// Settled while the import has no chunk: cut otherwise, the numbers of its chunks would mean other rows. The defaults are those of
// the version before, which cuts by its configuration and does not say how.
const UP: &str = r"
alter table imports
    add column chunk_rows   bigint not null default 16384,
    add column chunk_bytes  bigint not null default 917504,
    add column record_bytes bigint not null default 524288;
";

const DOWN: &str =
    "alter table imports drop column chunk_rows, drop column chunk_bytes, drop column record_bytes;";

plain_sql!();
