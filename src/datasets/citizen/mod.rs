//! Citizens: columns and rules. The set of an import is checked as a whole by [`relations`]; [`body`] reads the
//! JSON of a request.

pub mod ages;
pub mod body;
mod fields;
mod relations;

use chrono::NaiveDate;

use super::{Column, Dataset, Kind, Load};

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
    load: Load::Staged,
    merge: &[],
    // Also those that were patched since: they belong to their import, and go with it.
    undo: "with gone as (delete from relatives where import_id = $1) delete from citizens where import_id = $1",
    count_created: "select count(*) from citizens where import_id = $1",
};

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
