//! Airports, as OpenFlights publishes them (<https://openflights.org/data.php>): columns, rules, and the merge.
//!
//! A row is the same airport by OpenFlights id, else ICAO, else IATA, else, when the row has no id, by name, city,
//! country and position. Two different OpenFlights ids are never one airport. For each key an airport that
//! is not deleted comes before one that is.

use chrono::NaiveDate;

use super::{Column, Dataset, Kind, Load, Step};

/// Stands for today where airports are checked: none of their columns depends on the day.
pub const ANY_DAY: NaiveDate = NaiveDate::MAX;

const TEXT: Kind = Kind::Text { max_chars: 256 };

/// The airports dataset.
pub const DATASET: Dataset = Dataset {
    name: "airports",
    columns: &[
        Column {
            name: "id",
            kind: Kind::Integer { min: 1, max: i64::MAX },
            required: false,
            description: "OpenFlights' identifier of the airport",
        },
        Column { name: "name", kind: TEXT, required: true, description: "Name of the airport" },
        Column { name: "city", kind: TEXT, required: false, description: "Main city served" },
        Column { name: "country", kind: TEXT, required: true, description: "Country or territory" },
        Column {
            name: "iata",
            kind: Kind::Code { min_chars: 3, max_chars: 3 },
            required: false,
            description: "IATA code",
        },
        Column {
            name: "icao",
            kind: Kind::Code { min_chars: 3, max_chars: 4 },
            required: false,
            description: "ICAO code",
        },
        Column {
            name: "latitude",
            kind: Kind::Number { min: -90.0, max: 90.0 },
            required: true,
            description: "Decimal degrees WGS 84, north positive",
        },
        Column {
            name: "longitude",
            kind: Kind::Number { min: -180.0, max: 180.0 },
            required: true,
            description: "Decimal degrees WGS 84, east positive",
        },
        // The Dead Sea's shore is at -1,412 feet, the highest strip in the data below 15,000.
        Column {
            name: "altitude",
            kind: Kind::Integer { min: -2_000, max: 30_000 },
            required: false,
            description: "Feet above mean sea level",
        },
        Column {
            name: "timezone",
            kind: Kind::Number { min: -12.0, max: 14.0 },
            required: false,
            description: "Hours from UTC, fractions allowed",
        },
        Column {
            name: "dst",
            kind: Kind::OneOf(&["E", "A", "S", "O", "Z", "N", "U"]),
            required: false,
            description: "Daylight saving rule: Europe, US/Canada (A), South America, Australia (O), New Zealand (Z), None, Unknown",
        },
        Column { name: "tz", kind: TEXT, required: false, description: "Time zone's Olson name" },
        Column {
            name: "type",
            kind: TEXT,
            required: false,
            description: "airport, station, port or unknown in OpenFlights' files",
        },
        Column { name: "source", kind: TEXT, required: false, description: "Where the record comes from" },
    ],
    null: r"\N",
    load: Load::Staged,
    relation: None,
    segments: None,
    merge: MERGE,
    undo: "delete from airports where import_id = $1 and version = 1",
    count_created: "select count(*) from airports where import_id = $1",
};

const MERGE: &[Step] = &[
    // Nobody may create or change an airport between the matching and the writing below: a code could change
    // hands unseen. Readers go on.
    Step::Decide("lock table airports in share row exclusive mode"),
    Step::DecideContested(REJECT_REPEATED_KEYS),
    Step::Decide(REJECT_REPEATED_PLACES),
    Step::Decide(MATCH),
    Step::Decide(REJECT_REPEATED_TARGETS),
    Step::Decide(KEEP_DELETED),
    Step::DecideUntilQuiet(REJECT_HELD_CODES),
    Step::Decide(MARK_UNCHANGED),
    Step::Write(RELEASE_CODES),
    Step::Write(UPDATE),
    Step::Write(INSERT),
];

/// Within the file a code belongs to the first row that has it. The unique indexes guard the same codes.
const REJECT_REPEATED_KEYS: &str = r"
with repeated as (
    select s.row, k.first_row, 1 as precedence, 'id' as key
    from {staging} s
    join (select id, min(row) as first_row from {staging} where id is not null group by id having count(*) > 1) k
        on s.id = k.id and s.row > k.first_row
    union all
    select s.row, k.first_row, 2, 'icao'
    from {staging} s
    join (select icao, min(row) as first_row from {staging} where icao is not null group by icao having count(*) > 1) k
        on s.icao = k.icao and s.row > k.first_row
    union all
    select s.row, k.first_row, 3, 'iata'
    from {staging} s
    join (select iata, min(row) as first_row from {staging} where iata is not null group by iata having count(*) > 1) k
        on s.iata = k.iata and s.row > k.first_row
),
first_fault as (
    select distinct on (row) row, first_row, key from repeated order by row, precedence
)
update {staging} s set
    outcome = case when c.same_content then 'unchanged' else 'rejected' end,
    fault_column = f.key,
    fault_code = case when c.other_airport then 'code_held' else 'duplicate_in_file' end,
    fault_message = case
        when c.other_airport then f.key || ' is held by the airport with id ' || c.first_id || ' in row ' || f.first_row
        else 'the same airport as row ' || f.first_row || ' by ' || f.key end
from first_fault f
join lateral (
    select
        e.id as first_id,
        coalesce(e.id <> d.id, false) as other_airport,
        (e.id, e.name, e.city, e.country, e.iata, e.icao, e.latitude, e.longitude, e.altitude, e.timezone, e.dst, e.tz, e.type, e.source)
        is not distinct from
        (d.id, d.name, d.city, d.country, d.iata, d.icao, d.latitude, d.longitude, d.altitude, d.timezone, d.dst, d.tz, d.type, d.source)
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
        (e.id, e.iata, e.icao, e.altitude, e.timezone, e.dst, e.tz, e.type, e.source)
        is not distinct from (d.id, d.iata, d.icao, d.altitude, d.timezone, d.dst, d.tz, d.type, d.source) as same_content
    from (
        select name, country, latitude, longitude, city, min(row) as first_row
        from {staging} where exists (select from {staging} where id is null)
        group by name, country, latitude, longitude, city having count(*) > 1
    ) k
    join {staging} d on d.name = k.name and d.country = k.country and d.latitude = k.latitude
        and d.longitude = k.longitude and d.city is not distinct from k.city and d.row > k.first_row
    join {staging} e on e.row = k.first_row
    where d.id is null
) f
where s.row = f.row and s.outcome is null";

const MATCH: &str = r"
with candidate as (
    select s.row, a.id, 1 as key, a.deleted_at
    from {staging} s join airports a on a.openflights_id = s.id
    where s.outcome is null
    union all
    select s.row, a.id, 2, a.deleted_at
    from {staging} s join airports a on a.icao = s.icao
    where s.outcome is null and (a.openflights_id = s.id) is not false
    union all
    select s.row, a.id, 3, a.deleted_at
    from {staging} s join airports a on a.iata = s.iata
    where s.outcome is null and (a.openflights_id = s.id) is not false
    union all
    select s.row, a.id, 4, a.deleted_at
    from {staging} s
    join airports a on a.name = s.name and a.country = s.country
        and a.latitude = s.latitude and a.longitude = s.longitude and a.city is not distinct from s.city
    where s.outcome is null and s.id is null
),
best as (
    select distinct on (row) row, id from candidate order by row, key, deleted_at is not null, id desc
)
update {staging} s set target = best.id from best where s.row = best.row";

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

/// A code is free when its holder gives it up in this very file, unless that row is itself rejected. An OpenFlights id
/// is never held: its holder is the row's target.
const REJECT_HELD_CODES: &str = r"
with held as (
    select s.row, a.id, 'icao' as key, 1 as precedence
    from {staging} s join airports a on a.icao = s.icao and a.deleted_at is null
    left join {staging} h on h.target = a.id and h.outcome is null
    where s.outcome is null and s.target is distinct from a.id
        and (h.row is null or h.icao is not distinct from a.icao)
    union all
    select s.row, a.id, 'iata', 2
    from {staging} s join airports a on a.iata = s.iata and a.deleted_at is null
    left join {staging} h on h.target = a.id and h.outcome is null
    where s.outcome is null and s.target is distinct from a.id
        and (h.row is null or h.iata is not distinct from a.iata)
),
first_fault as (
    select distinct on (row) row, id, key from held order by row, precedence
)
update {staging} s set
    outcome = 'rejected', fault_column = f.key, fault_code = 'code_held',
    fault_message = f.key || ' is held by the airport /airports/' || a.id || ', ' || a.name
from first_fault f join airports a on a.id = f.id
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
    iata = case when 'iata' = any ($2) then null else a.iata end,
    icao = case when 'icao' = any ($2) then null else a.icao end
from {staging} s
where a.id = s.target and s.outcome is null
    and (('iata' = any ($2) and (a.iata = s.iata) is not true and a.iata is not null)
        or ('icao' = any ($2) and (a.icao = s.icao) is not true and a.icao is not null))";

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
