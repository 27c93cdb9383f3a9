//! Relations move into the rows of the citizens: whoever reads or changes a citizen does both with its relatives.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &str = r"
-- Ascending. Each pair is there from both sides; a citizen may be related to itself.
alter table citizens add column relatives bigint[] not null default '{}';
update citizens c set relatives = r.list
from (
    select import_id, citizen_id, array_agg(relative_id order by relative_id) as list
    from relatives group by import_id, citizen_id
) r
where c.import_id = r.import_id and c.citizen_id = r.citizen_id;
alter table citizens alter column relatives drop default;
drop table relatives;
";

const DOWN: &str = r"
create table relatives (
    import_id   bigint not null,
    citizen_id  bigint not null,
    relative_id bigint not null,
    primary key (import_id, citizen_id, relative_id)
);
insert into relatives (import_id, citizen_id, relative_id)
select c.import_id, c.citizen_id, relative.id from citizens c cross join unnest(c.relatives) as relative (id);
alter table citizens drop column relatives;
";

plain_sql!();
