//! What becomes of an import after its end: when its upload, ledger and rejects went to the long-term archive.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &str = r"
alter table imports
    -- Set while the upload, the ledger and the rejects are in the long-term archive alone.
    add column archived_at   timestamptz,
    -- When they were last brought back: they stay for as long again.
    add column restored_at   timestamptz,
    -- What the ledger said before it went.
    add column loaded_chunks bigint,
    add column loaded_bytes  bigint;
create index imports_finished_at on imports (finished_at) where archived_at is null;
-- Sweeping asks whose an upload is.
create index imports_source on imports (source);
";

const DOWN: &str = r"
drop index imports_finished_at, imports_source;
alter table imports
    drop column archived_at, drop column restored_at, drop column loaded_chunks, drop column loaded_bytes;
";

plain_sql!();
