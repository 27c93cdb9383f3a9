//! Citizens: columns and rules. The set of an import is checked as a whole by `relations`; [`body`] reads the
//! JSON of a request.

pub mod ages;
pub mod body;
pub mod faults;
mod fields;
mod relations;

use std::sync::{Arc, LazyLock};

use chrono::NaiveDate;

use super::{
    BuiltIn, Dataset, FileDialect, Ident, Load, Relation, Segments, Step, Storage,
    descriptor::{Declaration, built_in},
};

/// The citizens dataset.
pub static DATASET: LazyLock<Arc<Dataset>> = LazyLock::new(|| {
    let Declaration { title, description, schema, descriptor } =
        built_in(include_str!("../builtin/citizens.json"));
    Arc::new(Dataset {
        id: None,
        name: Ident::own("citizens"),
        version: 1,
        title,
        description,
        private: false,
        dialect: FileDialect::default(),
        schema,
        descriptor,
        storage: Storage::BuiltIn(Box::new(BuiltIn {
            table: "citizens",
            row_id: None,
            null: "",
            load: Load::Direct,
            relation: Some(Relation { number: "citizen_id", list: "relatives" }),
            segments: Some(Segments {
                table: "citizen_segments",
                changed: "changed_citizens",
                columns: &["citizen_id", "town", "birth_date", "relatives", "channel"],
            }),
            merge: &[
                Step::Decide(TAKE_REPEATED),
                Step::Decide(REJECT_REPEATED),
                Step::Decide(LEAVE_OUT_BROKEN_RELATIONS),
                Step::Write(INSERT),
            ],
            // Also those that were patched since: they belong to their import, and go with it.
            undo: UNDO,
            count_kept: None,
            changes: None,
        })),
    })
});

/// A number belongs to the first row that has it; to find out which, all that have it are brought together.
const TAKE_REPEATED: &str = r"
with taken as (
    delete from citizens c using (select distinct citizen_id from {staging}) s
    where c.import_id = $1 and c.citizen_id = s.citizen_id
    returning c.*
)
insert into {staging} (import_id, row, citizen_id, town, street, building, apartment, name, birth_date, gender, relatives, channel)
select import_id, row, citizen_id, town, street, building, apartment, name, birth_date, gender, relatives, channel from taken";

const REJECT_REPEATED: &str = r"
update {staging} s set
    outcome = 'rejected', fault_column = 'citizen_id', fault_code = 'duplicate_in_file',
    fault_message = 'citizen_id is that of row ' || k.first_row
from (
    select citizen_id, min(row) as first_row from {staging} group by citizen_id having count(*) > 1
) k
where s.citizen_id = k.citizen_id and s.row > k.first_row";

/// A relation to nobody, or to somebody who does not list back, is left out and reported; the citizen is loaded. Who was
/// loaded already is taken back for that.
const LEAVE_OUT_BROKEN_RELATIONS: &str = r"
with citizen as materialized (
    select citizen_id, relatives from citizens where import_id = $1
    union all
    select citizen_id, relatives from {staging} where outcome is null
),
relation as materialized (
    select citizen_id, relative.id from citizen cross join unnest(relatives) as relative (id)
),
broken as (
    select mine.citizen_id, mine.id, other.citizen_id is null as unknown
    from relation mine
    left join relation back on back.citizen_id = mine.id and back.id = mine.citizen_id
    left join citizen other on other.citizen_id = mine.id
    where back.id is null
),
fault as materialized (
    select citizen_id, array_agg(id) as ids,
        case when bool_or(unknown) then 'unknown_relative' else 'not_mutual' end as code,
        'relations are left out: ' || left(string_agg(
            id || case when unknown then ' is not in this import' else ' does not list it' end, ', ' order by id), 1000) as message,
        left(string_agg(id::text, ';' order by id), 256) as value
    from broken group by citizen_id
),
taken as (
    delete from citizens c using fault
    where c.import_id = $1 and c.citizen_id = fault.citizen_id
    returning c.*, fault.ids, fault.code, fault.message, fault.value
),
moved as (
    insert into {staging} (import_id, row, citizen_id, town, street, building, apartment, name, birth_date, gender, channel,
        relatives, fault_column, fault_code, fault_message, fault_value, relations_dropped)
    select import_id, row, citizen_id, town, street, building, apartment, name, birth_date, gender, channel,
        array(select id from unnest(relatives) as relative (id) where id <> all (ids) order by id),
        'relatives', code, message, value, cardinality(ids)
    from taken
)
update {staging} s set
    relatives = array(select id from unnest(s.relatives) as relative (id) where id <> all (fault.ids) order by id),
    fault_column = 'relatives', fault_code = fault.code, fault_message = fault.message, fault_value = fault.value,
    relations_dropped = cardinality(fault.ids)
from fault
where s.citizen_id = fault.citizen_id and s.outcome is null";

const INSERT: &str = r"
insert into citizens (import_id, citizen_id, row, apartment, birth_date, town, street, building, name, gender, channel, relatives)
select import_id, citizen_id, row, apartment, birth_date, town, street, building, name, gender, channel, relatives
from {staging} where outcome is null";

const UNDO: &str = r"
with batch as materialized (
    select count(*) as found, max(citizen_id) as last_key
    from (select citizen_id from citizens where import_id = $1 and citizen_id > $2 order by citizen_id limit $3) next
),
gone as (
    delete from citizens where import_id = $1 and citizen_id > $2 and citizen_id <= (select last_key from batch)
    returning citizen_id
)
select found, (select count(*) from gone) as removed, last_key from batch";

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

/// A change of a citizen: `None` leaves a field as it is, `Some(None)` clears one that may be empty.
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
    pub channel: Option<Option<String>>,
}
