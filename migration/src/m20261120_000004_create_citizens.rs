//! Citizens and who is related to whom, each import a set of its own.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

// No foreign keys: they would cost every row of a bulk load a look-up, and whatever writes here has checked them.
const UP: &str = r"
create table citizens (
    import_id  bigint not null,
    citizen_id bigint not null,
    -- Its place in the import, from 1.
    row        bigint not null,
    apartment  bigint not null,
    birth_date date   not null,
    town       text   not null,
    street     text   not null,
    building   text   not null,
    name       text   not null,
    gender     text   not null,
    channel    text,
    primary key (import_id, citizen_id)
);

-- Each pair is stored both ways; a citizen may be related to itself.
create table relatives (
    import_id   bigint not null,
    citizen_id  bigint not null,
    relative_id bigint not null,
    primary key (import_id, citizen_id, relative_id)
);
";

const DOWN: &str = "drop table relatives, citizens;";

plain_sql!();
