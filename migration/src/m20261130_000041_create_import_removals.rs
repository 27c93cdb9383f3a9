//! Imports whose rows are taken out again: undone, cancelled or failed after rows were loaded.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

// The version before removes all rows in one transaction, and makes no such entry.
const UP: &str = r"
-- Until `finished_at` is set, what is left of the rows is hidden, and some worker goes on with removing it.
create table import_removals (
    import_id   bigint      primary key references imports,
    -- Rows are removed in the order of a key: up to this one they are gone.
    last_key    bigint      not null default -1,
    removed     bigint      not null default 0,
    -- Rows that were changed since they were created, and stay; null while there may be rows to remove.
    kept        bigint,
    created_at  timestamptz not null default now(),
    finished_at timestamptz
);
create index import_removals_open on import_removals (import_id) where finished_at is null;
";

const DOWN: &str = "drop table import_removals;";

plain_sql!();
