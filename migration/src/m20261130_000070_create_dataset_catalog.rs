//! Datasets that users declare: their catalogue, the versions of their descriptors, and what imports must know of both.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

// A declared dataset's rows are in a table of its name in the schema `datasets`. Its sequence is `<name>__changes`.
const UP: &str = r"
create table dataset_catalog (
    id         integer     generated always as identity primary key,
    name       text        not null unique,
    -- The current one.
    version    integer     not null default 1,
    -- Of the current descriptor, so that a list of all datasets need not read them.
    title      text,
    private    boolean     not null default false,
    hidden_at  timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now()
);

-- A version never changes: an import stays with the one it began with.
create table dataset_versions (
    dataset_id integer     not null references dataset_catalog on delete cascade,
    version    integer     not null,
    descriptor text        not null,
    created_at timestamptz not null default now(),
    primary key (dataset_id, version)
);

-- The foreign keys of the current versions. A dataset that another one refers to is not purged.
create table dataset_references (
    dataset_id integer not null references dataset_catalog on delete cascade,
    target_id  integer not null references dataset_catalog,
    primary key (dataset_id, target_id)
);
create index dataset_references_target on dataset_references (target_id);

create schema datasets;

-- As for airports: whoever changes the table advances its sequence.
create function datasets.note_changed() returns trigger language plpgsql as $$
begin
    perform nextval(format('datasets.%I', tg_table_name || '__changes')::regclass);
    return null;
end
$$;

-- Without references, because an import outlives its dataset. Null: the dataset is built in.
alter table imports
    add column dataset_id      integer,
    add column dataset_version integer,
    add column load            text,
    add column blanks          text,
    add column max_deleted     text,
    -- Rows that a sync deleted.
    add column removed         bigint,
    -- The import whose rejects this one brings back.
    add column corrects        bigint;
create index imports_dataset_id on imports (dataset_id) where dataset_id is not null;
create index imports_corrects on imports (corrects) where corrects is not null;
";

const DOWN: &str = r"
alter table imports
    drop column corrects,
    drop column removed,
    drop column max_deleted,
    drop column blanks,
    drop column load,
    drop column dataset_version,
    drop column dataset_id;
drop schema datasets cascade;
drop table dataset_references, dataset_versions, dataset_catalog;
";

plain_sql!();
