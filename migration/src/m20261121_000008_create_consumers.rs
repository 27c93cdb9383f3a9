//! Consumers: who loads chunks, what is wanted of each, and what each last said of itself.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &str = r"
create table consumers (
    id           bigint generated always as identity primary key,
    -- Stays when the process that runs it ends, and is run by another. The others come and go with their process.
    permanent    boolean     not null,
    desired      text        not null default 'running' check (desired in ('running', 'paused', 'stopped')),
    -- The process that runs it.
    worker       text,
    heartbeat_at timestamptz,
    -- What it does: {import_id, chunks, bytes, bytes_per_second, partitions}.
    report       jsonb,
    created_at   timestamptz not null default now()
);
";

const DOWN: &str = "drop table consumers;";

plain_sql!();
