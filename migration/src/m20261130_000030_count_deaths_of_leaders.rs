//! What becomes of whoever leads an import is kept beyond its lease: how often it died, and how often the import had to wait.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

// The version before deletes the row when it lets go of an import, and so begins to count anew.
const UP: &str = r"
alter table import_leases
    -- How often a lease ran out, one after the other, without a chunk loaded in between. An owner '' has let go of it.
    add column deaths integer not null default 0,
    -- How often the import was given back because something it needs was away.
    add column waits  integer not null default 0,
    -- Chunks in the ledger when the lease was taken.
    add column chunks bigint  not null default 0;
";

const DOWN: &str = "alter table import_leases drop column deaths, drop column waits, drop column chunks;";

plain_sql!();
