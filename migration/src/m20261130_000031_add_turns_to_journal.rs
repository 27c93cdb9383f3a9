//! In which order the journal's chunks are claimed.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

// The version before publishes without a turn of its own, which is then at once, and claims by import. The index on the time at which a
// chunk is visible served claims by nothing but that, and would mislead them: a claim wants the first of those that are visible. Without
// it a claim changes no indexed column.
const UP: &str = r"
alter table journal add column turn_at timestamptz not null default now();
create index journal_turn_at on journal (turn_at, import_id, chunk_no);
drop index journal_visible_at;
";

const DOWN: &str = r"
create index journal_visible_at on journal (visible_at);
alter table journal drop column turn_at;
";

plain_sql!();
