//! What requests leave behind: answers kept for their idempotency key, and changes waiting for confirmation.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &str = r"
create table idempotency_keys (
    client       text        not null,
    key          text        not null,
    -- Which request holds the key; one that took over after the lease had run out is another.
    holder       text        not null,
    -- SHA-256 of the method, the path with its query, and the body; null until the answer is kept.
    fingerprint  bytea,
    -- The answer, null while the first request is still running.
    status       smallint,
    headers      jsonb,
    body         bytea,
    -- While running: when the first request is taken for dead. Afterwards: when the answer is forgotten.
    expires_at   timestamptz not null,
    primary key (client, key)
);
create index idempotency_keys_expires_at on idempotency_keys (expires_at);

create table pending_changes (
    -- SHA-256 of the token in the link: the database alone opens no link.
    token_hash   bytea       primary key,
    action       text        not null check (action in ('create', 'update')),
    airport_id   bigint,
    fields       jsonb       not null,
    expires_at   timestamptz not null,
    confirmed_at timestamptz,
    created_at   timestamptz not null default now()
);
create index pending_changes_expires_at on pending_changes (expires_at);
";

const DOWN: &str = "drop table pending_changes, idempotency_keys;";

plain_sql!();
