//! Keys that open the API.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &str = r"
create table api_keys (
    id           bigint      generated always as identity primary key,
    -- For people: whose key it is. Two keys may have the same name while one takes over from the other.
    name         text        not null,
    -- SHA-256 of the key: the database alone opens nothing.
    key_hash     bytea       not null unique,
    scopes       text[]      not null check (cardinality(scopes) > 0 and scopes <@ array['read', 'write', 'admin']),
    created_at   timestamptz not null default now(),
    expires_at   timestamptz,
    revoked_at   timestamptz,
    -- To the minute.
    last_used_at timestamptz
);
";

const DOWN: &str = "drop table api_keys;";

plain_sql!();
