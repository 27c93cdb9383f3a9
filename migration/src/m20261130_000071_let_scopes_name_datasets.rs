//! Scopes that this schema does not know by heart: `schema`, and those that are limited to a dataset.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

// What a scope may be, the program says: a version that does not know one takes it for nothing.
const UP: &str = "alter table api_keys drop constraint api_keys_scopes_check,
    add constraint api_keys_scopes_check check (cardinality(scopes) > 0);";

// Keys that have none but the new scopes may do nothing any more.
const DOWN: &str = r"
update api_keys set revoked_at = coalesce(revoked_at, now()) where not scopes && array['read', 'write', 'admin'];
update api_keys set scopes = array(
    select scope from unnest(scopes) as scope where scope in ('read', 'write', 'admin')
    union select 'read' where not scopes && array['read', 'write', 'admin']
);
alter table api_keys drop constraint api_keys_scopes_check,
    add constraint api_keys_scopes_check check (cardinality(scopes) > 0 and scopes <@ array['read', 'write', 'admin']);
";

plain_sql!();
