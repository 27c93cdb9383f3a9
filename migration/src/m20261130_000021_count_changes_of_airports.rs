//! Whether anything has changed the airports since an import was complete.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

// The database advances the sequence, so that whoever changes airports does, the version before too. Always: also in a session that
// leaves triggers out, as replication and some restores do.
const UP: &str = r"
create sequence airports_changes;
select nextval('airports_changes');

create function note_airports_changed() returns trigger language plpgsql as $$
begin
    perform nextval('airports_changes');
    return null;
end
$$;
create trigger note_changed after insert or update or delete or truncate on airports for each statement
    execute function note_airports_changed();
alter table airports enable always trigger note_changed;

-- Where the sequence was when the import was complete. Null: it is not known whether the same file would change anything.
alter table imports add column changes bigint;
";

const DOWN: &str = r"
alter table imports drop column changes;
drop trigger note_changed on airports;
drop function note_airports_changed();
drop sequence airports_changes;
";

plain_sql!();
