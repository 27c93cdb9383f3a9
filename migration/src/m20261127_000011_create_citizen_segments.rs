//! What statistics read of citizens, a second time and column by column.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

// The version before writes no segments and reads none. What it changes is noted all the same, because the database does that.
const UP: &str = r"
-- A segment holds some of an import's citizens as they came, each column packed into one value. External: packed already.
create table citizen_segments (
    import_id  bigint  not null,
    segment_no bigint  not null,
    rows       bigint  not null,
    citizen_id bytea   not null,
    town       bytea   not null,
    birth_date bytea   not null,
    relatives  bytea   not null,
    channel    bytea   not null,
    primary key (import_id, segment_no)
);
alter table citizen_segments
    alter column citizen_id set storage external,
    alter column town       set storage external,
    alter column birth_date set storage external,
    alter column relatives  set storage external,
    alter column channel    set storage external;

-- Citizens who are no longer as they came.
create table changed_citizens (
    import_id  bigint not null,
    citizen_id bigint not null,
    primary key (import_id, citizen_id)
);
create function note_changed_citizen() returns trigger language plpgsql as $$
begin
    insert into changed_citizens (import_id, citizen_id) values (new.import_id, new.citizen_id) on conflict do nothing;
    return null;
end
$$;
create trigger note_changed after update on citizens for each row
    when ((old.town, old.birth_date, old.relatives, old.channel) is distinct from (new.town, new.birth_date, new.relatives, new.channel))
    execute function note_changed_citizen();
";

const DOWN: &str = r"
drop trigger note_changed on citizens;
drop function note_changed_citizen();
drop table changed_citizens, citizen_segments;
";

plain_sql!();
