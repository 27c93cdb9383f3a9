//! Changes of citizens are noted in every session, whatever its `session_replication_role`.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

// A trigger that is enabled as usual does not fire in a session with `session_replication_role = replica`, which replication tools
// and bulk scripts set. Statistics would show such a change nowhere.
//
// A subscriber of logical replication then notes a change twice: by this trigger, and because the note is replicated too. The second
// note is left out, which takes a trigger that fires in such sessions alone.
const UP: &str = r"
alter table citizens enable always trigger note_changed;

create function skip_known_change() returns trigger language plpgsql as $$
begin
    if exists (select from changed_citizens where import_id = new.import_id and citizen_id = new.citizen_id) then
        return null;
    end if;
    return new;
end
$$;
create trigger skip_known before insert on changed_citizens for each row execute function skip_known_change();
alter table changed_citizens enable replica trigger skip_known;
";

const DOWN: &str = r"
drop trigger skip_known on changed_citizens;
drop function skip_known_change();
alter table citizens enable trigger note_changed;
";

plain_sql!();
