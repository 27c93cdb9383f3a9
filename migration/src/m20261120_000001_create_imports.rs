//! Imports: what was uploaded, the ledger of its chunks, its rejects, and the journal that carries the chunks.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &str = r"
create table imports (
    id            bigint generated always as identity primary key,
    dataset       text        not null,
    state         text        not null default 'received'
        check (state in ('received', 'running', 'paused', 'complete', 'failed', 'cancelled', 'undone')),
    mode          text        not null check (mode in ('lenient', 'strict')),
    max_rejects   bigint      check (max_rejects >= 0),
    dry_run       boolean     not null default false,
    dialect       jsonb       not null,
    filename      text,
    media_type    text        not null,
    gzipped       boolean     not null default false,
    source        text        not null,
    bytes         bigint      not null check (bytes >= 0),
    sha256        bytea       not null check (length(sha256) = 32),
    -- Raised whenever the import changes hands or is stopped: a worker holding an older one is a zombie.
    epoch         integer     not null default 1,
    chunks_total  bigint,
    rows_read     bigint,
    inserted      bigint,
    updated       bigint,
    unchanged     bigint,
    deleted       bigint,
    rejected      bigint,
    error_code    text,
    error_message text,
    created_at    timestamptz not null default now(),
    started_at    timestamptz,
    finished_at   timestamptz
);
-- The same file again is answered with the first import.
create index imports_sha256 on imports (sha256);
create index imports_unfinished on imports (id) where state in ('received', 'running', 'paused');

-- Who drives an import now. Apart from `imports`, so that a heartbeat never waits for the chunks that hold
-- a shared lock on the import's row.
create table import_leases (
    import_id  bigint      primary key references imports on delete cascade,
    owner      text        not null,
    expires_at timestamptz not null
);

-- The plain CSV files of an import: the upload itself, or what was unpacked from it.
create table import_files (
    import_id bigint  not null references imports on delete cascade,
    file_no   integer not null,
    name      text,
    object    text    not null,
    bytes     bigint  not null,
    -- The dataset's column of each field, '' for a field that is left out; null until the first record was read.
    columns   text[],
    primary key (import_id, file_no)
);

-- The ledger: a chunk is in it exactly when its rows are in the database.
create table import_chunks (
    import_id   bigint  not null references imports on delete cascade,
    chunk_no    bigint  not null,
    file_no     integer not null,
    first_row   bigint  not null,
    first_line  bigint  not null,
    byte_offset bigint  not null,
    byte_len    bigint  not null,
    rows_read   bigint  not null,
    rejected    bigint  not null,
    loaded_at   timestamptz not null default now(),
    primary key (import_id, chunk_no)
);

create table import_rejects (
    import_id   bigint not null references imports on delete cascade,
    row         bigint not null,
    line        bigint,
    file_no     integer,
    column_name text,
    code        text   not null,
    message     text   not null,
    value       text,
    byte_offset bigint,
    -- The faults of the row beyond the first: [{column, code, message, value}].
    more        jsonb,
    -- The record as it stood in the file, without its line break; bytes, because they need not be UTF-8.
    raw         bytea,
    -- The row was loaded all the same, without what is at fault; it does not count as rejected.
    accepted    boolean not null default false,
    primary key (import_id, row)
);

-- The embedded transport: chunks that are published and not yet acknowledged.
create table journal (
    import_id     bigint  not null references imports on delete cascade,
    chunk_no      bigint  not null,
    epoch         integer not null,
    chunk         jsonb   not null,
    attempts      integer not null default 0,
    claimed_by    text,
    visible_at    timestamptz not null default now(),
    primary key (import_id, chunk_no)
);
create index journal_visible_at on journal (visible_at);

-- One table an import while it is being loaded, dropped with it.
create schema staging;
";

const DOWN: &str = r"
drop schema staging cascade;
drop table journal, import_rejects, import_chunks, import_files, import_leases, imports;
";

plain_sql!();
