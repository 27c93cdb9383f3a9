//! Airports, as OpenFlights publishes them (<https://openflights.org/data.php>): columns, rules, and the merge.
//!
//! A row is the same airport by `_id`, else OpenFlights id, else ICAO, else IATA, else, when the row has no id, by name, city,
//! country and position. What a key says counts only where no other contradicts: by neither code nor place is a row an airport that
//! has another OpenFlights id or another code. For each key an airport that is not deleted comes before one that is.

use std::sync::{Arc, LazyLock};

use super::{
    BuiltIn, Column, Dataset, FileDialect, Ident, Load, Rule, Step, Storage,
    descriptor::{Declaration, built_in},
    rule::NULL,
};

/// The airports dataset.
pub static DATASET: LazyLock<Arc<Dataset>> = LazyLock::new(|| {
    let Declaration { title, description, schema, descriptor } =
        built_in(include_str!("builtin/airports.json"));
    Arc::new(Dataset {
        id: None,
        name: Ident::own("airports"),
        version: 1,
        title,
        description,
        private: false,
        dialect: FileDialect::default(),
        schema,
        descriptor,
        storage: Storage::BuiltIn(Box::new(BuiltIn {
            table: "airports",
            row_id: Some(row_id()),
            null: NULL,
            load: Load::Staged,
            relation: None,
            segments: None,
            merge: MERGE,
            undo: UNDO,
            count_kept: Some("select count(*) from airports where import_id = $1"),
            changes: Some("airports_changes"),
        })),
    })
});

/// What exports begin with: how a row comes back to its airport whatever has become of its keys.
fn row_id() -> Column {
    let description = "The service's identifier of the airport, as in exports; it says which airport the row is, whatever its other keys";
    Column::new("_id", Rule::Integer { min: 1, max: i64::MAX }, false, description)
}

const MERGE: &[Step] = &[
    // Nobody may create or change an airport between the matching and the writing below: a code could change
    // hands unseen. Readers go on.
    Step::Decide("lock table airports in share row exclusive mode"),
    Step::Decide(FIND_BY_ROW_ID),
    Step::Decide(REJECT_UNKNOWN_ROW_IDS),
    Step::ResolveDuplicates(REJECT_REPEATED_KEYS),
    Step::Decide(REJECT_REPEATED_PLACES),
    Step::Decide(MATCH),
    Step::Decide(REJECT_REPEATED_TARGETS),
    Step::Decide(KEEP_DELETED),
    Step::Decide(COLLECT_WANTED_CODES),
    Step::Decide("create index on wanted_codes (giver)"),
    Step::Decide("analyze wanted_codes"),
    Step::Decide(REJECT_HELD_CODES),
    Step::Decide(MARK_UNCHANGED),
    Step::Write(RELEASE_CODES),
    Step::Write(UPDATE),
    Step::Write(INSERT),
];

/// A deleted airport does not compete for a key: others may have its codes, in an export of all airports too.
const FIND_BY_ROW_ID: &str = r"
update {staging} s set target = a.id, outcome = case when a.deleted_at is not null then 'deleted' end
from airports a
where '_id' = any ($2) and a.id = s._id";

const REJECT_UNKNOWN_ROW_IDS: &str = r"
update {staging} s set
    outcome = 'rejected', fault_column = '_id', fault_code = 'unknown_id',
    fault_message = 'there is no airport with the _id ' || s._id || '; for a new airport, leave the field empty'
where '_id' = any ($2) and s._id is not null and s.target is null";

/// Within the file a code belongs to the first row that has it. The unique indexes guard the same codes.
const REJECT_REPEATED_KEYS: &str = r"
with repeated as (
    select s.row, k.first_row, 0 as precedence, '_id' as key
    from {staging} s
    join (select _id, min(row) as first_row from {staging} where _id is not null and outcome is null group by _id having count(*) > 1) k
        on s._id = k._id and s.row > k.first_row
    where '_id' = any ($2) and s.outcome is null
    union all
    select s.row, k.first_row, 1, 'id'
    from {staging} s
    join (select id, min(row) as first_row from {staging} where id is not null and outcome is null group by id having count(*) > 1) k
        on s.id = k.id and s.row > k.first_row
    where s.outcome is null
    union all
    select s.row, k.first_row, 2, 'icao'
    from {staging} s
    join (select icao, min(row) as first_row from {staging} where icao is not null and outcome is null group by icao having count(*) > 1) k
        on s.icao = k.icao and s.row > k.first_row
    where s.outcome is null
    union all
    select s.row, k.first_row, 3, 'iata'
    from {staging} s
    join (select iata, min(row) as first_row from {staging} where iata is not null and outcome is null group by iata having count(*) > 1) k
        on s.iata = k.iata and s.row > k.first_row
    where s.outcome is null
),
first_fault as (
    select distinct on (row) row, first_row, key from repeated order by row, precedence
)
update {staging} s set
    outcome = case when c.same_content then 'unchanged' else 'rejected' end,
    fault_column = f.key,
    fault_code = case when c.other_airport then 'code_held' else 'duplicate_in_file' end,
    fault_message = case
        when c.other_airport then
            f.key || ' is held by the airport ' || coalesce('with id ' || c.first_id || ' ', '') || 'in row ' || f.first_row
        else 'the same airport as row ' || f.first_row || ' by ' || f.key end
from first_fault f
join lateral (
    select
        e.id as first_id,
        -- By the key that comes first no other contradicts: it says which airport it is.
        case f.key
            when '_id' then false
            when 'id' then coalesce(e._id <> d._id, false)
            else coalesce(e._id <> d._id or e.id <> d.id or e.icao <> d.icao or e.iata <> d.iata, false)
        end as other_airport,
        (e._id, e.id, e.name, e.city, e.country, e.iata, e.icao, e.latitude, e.longitude, e.altitude, e.timezone, e.dst, e.tz, e.type, e.source)
        is not distinct from
        (d._id, d.id, d.name, d.city, d.country, d.iata, d.icao, d.latitude, d.longitude, d.altitude, d.timezone, d.dst, d.tz, d.type, d.source)
        as same_content
    from {staging} d, {staging} e where d.row = f.row and e.row = f.first_row
) c on true
where s.row = f.row";

/// Without an id, an airport is known by its place too. Where every row has an id there is nothing to look for.
const REJECT_REPEATED_PLACES: &str = r"
update {staging} s set
    outcome = case when same_content then 'unchanged' else 'rejected' end,
    fault_code = 'duplicate_in_file',
    fault_message = 'the same airport as row ' || f.first_row || ' by name, city, country and position'
from (
    select d.row, k.first_row,
        (e._id, e.id, e.iata, e.icao, e.altitude, e.timezone, e.dst, e.tz, e.type, e.source)
        is not distinct from (d._id, d.id, d.iata, d.icao, d.altitude, d.timezone, d.dst, d.tz, d.type, d.source) as same_content
    from (
        select name, country, latitude, longitude, city, min(row) as first_row
        from {staging} where exists (select from {staging} where id is null)
        group by name, country, latitude, longitude, city having count(*) > 1
    ) k
    join {staging} d on d.name = k.name and d.country = k.country and d.latitude = k.latitude
        and d.longitude = k.longitude and d.city is not distinct from k.city and d.row > k.first_row
    join {staging} e on e.row = k.first_row
    where d.id is null and d._id is null
) f
where s.row = f.row and s.outcome is null";

/// What is found by a code or a place and has another OpenFlights id or another code is not the row's airport. If it has one of the row's
/// codes, the row will be rejected for that; if it has the row's place and no code of it, nothing else would notice.
const MATCH: &str = r"
with candidate as (
    select s.row, a.id, 1 as key, a.deleted_at, null as contradicting
    from {staging} s join airports a on a.openflights_id = s.id
    where s.outcome is null and s.target is null
    union all
    select s.row, a.id, 2, a.deleted_at, null
    from {staging} s join airports a on a.icao = s.icao
    where s.outcome is null and s.target is null
        and (a.openflights_id = s.id) is not false and (a.iata = s.iata) is not false
    union all
    select s.row, a.id, 3, a.deleted_at, null
    from {staging} s join airports a on a.iata = s.iata
    where s.outcome is null and s.target is null
        and (a.openflights_id = s.id) is not false and (a.icao = s.icao) is not false
    union all
    select s.row, a.id, case when c.contradicting is null then 4 else 5 end, a.deleted_at, c.contradicting
    from {staging} s
    join airports a on a.name = s.name and a.country = s.country
        and a.latitude = s.latitude and a.longitude = s.longitude and a.city is not distinct from s.city
    join lateral (select case when a.icao <> s.icao then 'icao' when a.iata <> s.iata then 'iata' end as contradicting) c on true
    where s.outcome is null and s.target is null and s.id is null
        and (c.contradicting is null
            or a.deleted_at is null and (a.icao = s.icao) is not true and (a.iata = s.iata) is not true)
),
best as (
    select distinct on (row) row, id, contradicting from candidate order by row, key, deleted_at is not null, id desc
)
update {staging} s set
    target = case when best.contradicting is null then best.id end,
    outcome = case when best.contradicting is not null then 'rejected' end,
    fault_column = best.contradicting,
    fault_code = case when best.contradicting is not null then 'code_held' end,
    fault_message = best.contradicting || ' differs from that of the airport /airports/' || best.id
        || ', which has the same name, city, country and position; to change it, give the _id of the airport'
from best where s.row = best.row";

/// Two rows can find one airport by different keys.
const REJECT_REPEATED_TARGETS: &str = r"
update {staging} s set
    outcome = 'rejected', fault_code = 'duplicate_in_file',
    fault_message = 'the same airport as row ' || t.first_row
from (
    select target, min(row) as first_row from {staging}
    where target is not null and outcome is null group by target having count(*) > 1
) t
where s.target = t.target and s.outcome is null and s.row > t.first_row";

const KEEP_DELETED: &str = r"
update {staging} s set outcome = 'deleted'
from airports a
where a.id = s.target and a.deleted_at is not null and s.outcome is null";

/// The codes that rows want and other airports have. `giver` is the row of this file in which the airport gives the code up; there is none
/// where it keeps it. Only of a row that says by `_id` which airport it is can another have the OpenFlights id.
const COLLECT_WANTED_CODES: &str = r"
create temporary table wanted_codes on commit drop as
    select s.row, 'id' as key, 1 as precedence, a.id as holder, h.row as giver
    from {staging} s join airports a on a.openflights_id = s.id and a.deleted_at is null
    left join {staging} h on h.target = a.id and h.outcome is null and h.id <> a.openflights_id
    where '_id' = any ($2) and s._id is not null and s.outcome is null and s.target is distinct from a.id
    union all
    select s.row, 'icao', 2, a.id, h.row
    from {staging} s join airports a on a.icao = s.icao and a.deleted_at is null
    left join {staging} h on h.target = a.id and h.outcome is null and h.icao is distinct from a.icao
    where s.outcome is null and s.target is distinct from a.id
    union all
    select s.row, 'iata', 3, a.id, h.row
    from {staging} s join airports a on a.iata = s.iata and a.deleted_at is null
    left join {staging} h on h.target = a.id and h.outcome is null and h.iata is distinct from a.iata
    where s.outcome is null and s.target is distinct from a.id";

/// Who wants a code that is kept is rejected, and keeps its own codes by that: so is who wants those, and so on. Each link of such a chain
/// is looked up in the index, whatever the planner expects of it (`offset 0`), so that a chain takes as long as it has links.
const REJECT_HELD_CODES: &str = r"
with recursive refused (row) as (
    select row from wanted_codes where giver is null
    union
    select w.row from refused r cross join lateral (select row from wanted_codes where giver = r.row offset 0) w
),
first_fault as (
    select distinct on (w.row) w.row, w.holder, w.key
    from wanted_codes w
    where w.giver is null or w.giver in (select row from refused)
    order by w.row, w.precedence
)
update {staging} s set
    outcome = 'rejected', fault_column = f.key, fault_code = 'code_held',
    fault_message = f.key || ' is held by the airport /airports/' || a.id || ', ' || a.name
from first_fault f join airports a on a.id = f.holder
where s.row = f.row";

/// A column the file does not have is left as it is.
const MARK_UNCHANGED: &str = r"
update {staging} s set outcome = 'unchanged'
from airports a
where a.id = s.target and s.outcome is null
    and (s.id is null or a.openflights_id is not distinct from s.id)
    and ('name' <> all ($2) or a.name = s.name)
    and ('city' <> all ($2) or a.city is not distinct from s.city)
    and ('country' <> all ($2) or a.country = s.country)
    and ('iata' <> all ($2) or a.iata is not distinct from s.iata)
    and ('icao' <> all ($2) or a.icao is not distinct from s.icao)
    and ('latitude' <> all ($2) or a.latitude = s.latitude)
    and ('longitude' <> all ($2) or a.longitude = s.longitude)
    and ('altitude' <> all ($2) or a.altitude is not distinct from s.altitude)
    and ('timezone' <> all ($2) or a.timezone is not distinct from s.timezone)
    and ('dst' <> all ($2) or a.dst is not distinct from s.dst)
    and ('tz' <> all ($2) or a.tz is not distinct from s.tz)
    and ('type' <> all ($2) or a.type is not distinct from s.type)
    and ('source' <> all ($2) or a.source is not distinct from s.source)";

/// Unique indexes are checked row by row: where codes change hands within a file, they must be free first.
const RELEASE_CODES: &str = r"
update airports a set
    openflights_id = case when a.openflights_id <> s.id then null else a.openflights_id end,
    iata = case when 'iata' = any ($2) then null else a.iata end,
    icao = case when 'icao' = any ($2) then null else a.icao end
from {staging} s
where a.id = s.target and s.outcome is null
    and (('iata' = any ($2) and (a.iata = s.iata) is not true and a.iata is not null)
        or ('icao' = any ($2) and (a.icao = s.icao) is not true and a.icao is not null)
        or a.openflights_id <> s.id)";

const UPDATE: &str = r"
update airports a set
    openflights_id = coalesce(s.id, a.openflights_id),
    name = case when 'name' = any ($2) then s.name else a.name end,
    city = case when 'city' = any ($2) then s.city else a.city end,
    country = case when 'country' = any ($2) then s.country else a.country end,
    iata = case when 'iata' = any ($2) then s.iata else a.iata end,
    icao = case when 'icao' = any ($2) then s.icao else a.icao end,
    latitude = case when 'latitude' = any ($2) then s.latitude else a.latitude end,
    longitude = case when 'longitude' = any ($2) then s.longitude else a.longitude end,
    altitude = case when 'altitude' = any ($2) then s.altitude else a.altitude end,
    timezone = case when 'timezone' = any ($2) then s.timezone else a.timezone end,
    dst = case when 'dst' = any ($2) then s.dst else a.dst end,
    tz = case when 'tz' = any ($2) then s.tz else a.tz end,
    type = case when 'type' = any ($2) then s.type else a.type end,
    source = case when 'source' = any ($2) then s.source else a.source end,
    version = a.version + 1,
    updated_at = now()
from {staging} s
where a.id = s.target and s.outcome is null";

const INSERT: &str = r"
insert into airports (openflights_id, name, city, country, iata, icao, latitude, longitude, altitude, timezone, dst, tz,
    type, source, import_id)
select id, name, city, country, iata, icao, latitude, longitude, altitude, timezone, dst, tz, type, source, $1
from {staging}
where outcome is null and target is null
order by row";

/// A row that is changed at this moment is found and not removed. An import's rows lie together in the order of the primary key, but the
/// planner does not know where: it would look for the smallest there, past all rows of others, were it not for the sum.
const UNDO: &str = r"
with start as materialized (
    select case when $2 < 0 then (select min(id + 0) - 1 from airports where import_id = $1) else $2 end as key
),
batch as materialized (
    select count(*) as found, max(id) as last_key from (
        select id from airports where import_id = $1 and version = 1 and id > (select key from start) order by id limit $3
    ) next
),
gone as (
    delete from airports
    where import_id = $1 and version = 1 and id > (select key from start) and id <= (select last_key from batch)
    returning id
)
select found, (select count(*) from gone) as removed, last_key from batch";
