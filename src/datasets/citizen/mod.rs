//! Citizens: columns and rules. The set of an import is checked as a whole by [`relations`]; [`body`] reads the
//! JSON of a request.

pub mod ages;
pub mod body;
mod fields;
mod relations;

use chrono::NaiveDate;

use super::{Column, Dataset, Kind, Step};

const PLACE: Kind = Kind::Verbatim { max_chars: 256, alphanumeric: true };
const TEXT: Kind = Kind::Verbatim { max_chars: 256, alphanumeric: false };
const NUMBER: Kind = Kind::Integer { min: 0, max: i64::MAX };

/// The citizens dataset.
pub const DATASET: Dataset = Dataset {
    name: "citizens",
    columns: &[
        Column {
            name: "citizen_id",
            kind: NUMBER,
            required: true,
            description: "Number of the citizen, unique in its import",
        },
        Column { name: "town", kind: PLACE, required: true, description: "Town" },
        Column { name: "street", kind: PLACE, required: true, description: "Street" },
        Column { name: "building", kind: PLACE, required: true, description: "Building" },
        Column { name: "apartment", kind: NUMBER, required: true, description: "Number of the apartment" },
        Column { name: "name", kind: TEXT, required: true, description: "Name" },
        Column {
            name: "birth_date",
            kind: Kind::PastDate,
            required: true,
            description: "Date of birth, `DD.MM.YYYY`, before today in UTC",
        },
        Column {
            name: "gender",
            kind: Kind::OneOf(&["male", "female"]),
            required: true,
            description: "Gender",
        },
        Column {
            name: "relatives",
            kind: Kind::Integers { min: 0, max: i64::MAX },
            required: true,
            description: "Numbers of the relatives, citizens of the same import; whoever is listed lists back",
        },
        Column {
            name: "channel",
            kind: TEXT,
            required: false,
            description: "The advertising channel that brought the citizen",
        },
    ],
    null: "",
    merge: &[
        Step::DecideContested(REJECT_REPEATED_IDS),
        Step::Decide(LEAVE_OUT_BROKEN_RELATIONS),
        Step::Write(INSERT_CITIZENS),
        Step::Write(INSERT_RELATIVES),
    ],
    // Also those that were patched since: they belong to their import, and go with it.
    undo: "with gone as (delete from relatives where import_id = $1) delete from citizens where import_id = $1",
    count_created: "select count(*) from citizens where import_id = $1",
};

/// A number belongs to the first row that has it. The primary key guards the same.
const REJECT_REPEATED_IDS: &str = r"
update {staging} s set
    outcome = 'rejected', fault_column = 'citizen_id', fault_code = 'duplicate_in_file',
    fault_message = 'citizen_id is that of row ' || k.first_row
from (
    select citizen_id, min(row) as first_row from {staging} group by citizen_id having count(*) > 1
) k
where s.citizen_id = k.citizen_id and s.row > k.first_row";

/// A relation to nobody, or to somebody who does not list back, is left out and reported; the citizen is loaded.
const LEAVE_OUT_BROKEN_RELATIONS: &str = r"
with broken as (
    select s.row, relation.id, other.row is null as unknown
    from {staging} s
    cross join unnest(s.relatives) as relation (id)
    left join {staging} other on other.citizen_id = relation.id and other.outcome is null
    where s.outcome is null and (other.row is null or s.citizen_id <> all (other.relatives))
),
fault as (
    select row, array_agg(id) as ids, bool_or(unknown) as unknown,
        string_agg(id || case when unknown then ' is not in this import' else ' does not list it' end, ', ' order by id) as words,
        string_agg(id::text, ';' order by id) as value
    from broken group by row
)
update {staging} s set
    relatives = array(select id from unnest(s.relatives) as relation (id) where id <> all (fault.ids)),
    fault_column = 'relatives',
    fault_code = case when fault.unknown then 'unknown_relative' else 'not_mutual' end,
    fault_message = 'relations are left out: ' || left(fault.words, 1000),
    fault_value = left(fault.value, 256)
from fault
where s.row = fault.row";

const INSERT_CITIZENS: &str = r"
insert into citizens (import_id, citizen_id, row, apartment, birth_date, town, street, building, name, gender, channel)
select $1, citizen_id, row, apartment, birth_date, town, street, building, name, gender, channel
from {staging} where outcome is null";

/// What is mutual is there from both sides already.
const INSERT_RELATIVES: &str = r"
insert into relatives (import_id, citizen_id, relative_id)
select $1, s.citizen_id, relation.id
from {staging} s cross join unnest(s.relatives) as relation (id) where s.outcome is null";

/// A citizen.
#[derive(Debug, Clone, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns of the dataset, described there")]
pub struct Citizen {
    pub citizen_id: i64,
    pub town: String,
    pub street: String,
    pub building: String,
    pub apartment: i64,
    pub name: String,
    pub birth_date: NaiveDate,
    pub gender: String,
    pub relatives: Vec<i64>,
    pub channel: Option<String>,
}

/// A change of a citizen: `None` leaves a field as it is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns of the dataset, described there")]
pub struct CitizenPatch {
    pub town: Option<String>,
    pub street: Option<String>,
    pub building: Option<String>,
    pub apartment: Option<i64>,
    pub name: Option<String>,
    pub birth_date: Option<NaiveDate>,
    pub gender: Option<String>,
    pub relatives: Option<Vec<i64>>,
    pub channel: Option<String>,
}
