//! What the fields of a file are: named by its first record, or the dataset's columns in their order.

use super::{IngestError, records::Records};
use crate::{
    datasets::{Column, Dataset, FieldsMatch, declared::point},
    db::imports::Dialect,
    text::cut,
};

/// The columns that the CSV of rejects adds at the end. Under a header that has all of them they are left out, so that a corrected
/// file of rejects can be posted as it is.
pub(crate) const REJECT_COLUMNS: [&str; 6] = ["_row", "_line", "_file", "_column", CODE_COLUMN, "_message"];
const CODE_COLUMN: &str = "_code";
/// The column that exports begin with.
pub(super) const ROW_ID: &str = "_id";

/// Unknown names that a message lists.
const NAMES_SAID: usize = 5;

/// The fields of a file, and whether its first record is a header.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The dataset's column of each field, empty for a field that is left out.
    pub(super) columns: Vec<String>,
    /// Whether the first record named them.
    pub(super) is_record: bool,
    /// How many fields without a name follow them.
    pub(super) nameless: usize,
    /// The field that has the code of an earlier reject.
    pub(super) code: Option<usize>,
    /// The names of fields that are left out because the dataset does not have them and lets files have more.
    pub(super) left_out: Vec<String>,
}

/// Reads the header of a file from its first record; `None` when that cannot be parsed or is not there.
pub(super) fn read(
    dataset: &Dataset,
    dialect: &Dialect,
    place: &str,
    first: Option<&[u8]>,
) -> Result<Header, IngestError> {
    let without = || Header {
        columns: dataset.schema.columns.iter().map(|column| column.key.as_str().to_owned()).collect(),
        is_record: false,
        nameless: 0,
        code: None,
        left_out: Vec::new(),
    };
    let unreadable = || {
        let message = "the first record is the header and cannot be parsed; text may follow a closing quote";
        IngestError::refused("bad_header", format!("{place}: {message}"))
    };
    let is_stated = dialect.header == Some(true);
    if dialect.header == Some(false) {
        return Ok(without());
    }
    let Some(first) = first.and_then(|record| First::read(dialect, record)) else {
        return if is_stated { Err(unreadable()) } else { Ok(without()) };
    };
    if !is_stated && !first.is_header(dataset) {
        return Ok(without());
    }
    if first.is_malformed {
        return Err(unreadable());
    }
    check(dataset, place, &first.fields)
}

/// The columns that names mean, as [`crate::db::files::File::columns`] keeps them.
pub(super) fn columns(dataset: &Dataset, names: &[String]) -> Result<Vec<String>, IngestError> {
    let names: Vec<_> = names.iter().map(|name| trim(name).to_owned()).collect();
    Ok(check(dataset, "columns", &names)?.columns)
}

/// Whether the record looks like a header of the dataset.
pub(super) fn is_header(dataset: &Dataset, dialect: &Dialect, record: &[u8]) -> bool {
    First::read(dialect, record).is_some_and(|first| first.is_header(dataset))
}

/// The first record of a file.
struct First {
    /// Without what is around them.
    fields: Vec<String>,
    is_malformed: bool,
}

impl First {
    fn read(dialect: &Dialect, record: &[u8]) -> Option<Self> {
        let mut records = Records::new(dialect, record);
        let record = records.next()?;
        let fields = record.iter().map(|field| trim(&String::from_utf8_lossy(field)).to_owned()).collect();
        Some(Self { fields, is_malformed: record.is_malformed })
    }

    /// Two names of columns are no accident, unless a number stands where the dataset has one: then a city is called City, and a country
    /// Country.
    fn is_header(&self, dataset: &Dataset) -> bool {
        let known = self.fields.iter().filter(|field| column(dataset, field).is_some()).count();
        let enough = if self.fields.len() == 1 || dataset.schema.columns.len() == 1 { 1 } else { 2 };
        let is_number =
            |(column, field): (&Column, &String)| column.rule.is_number() && field.parse::<f64>().is_ok();
        // Of other datasets nothing is known that would have the name of a column for a value.
        let may_be_data = dataset.built_in().is_some();
        known >= enough && !(may_be_data && dataset.schema.columns.iter().zip(&self.fields).any(is_number))
    }
}

/// The column that a header means by that name.
fn column<'a>(dataset: &'a Dataset, name: &str) -> Option<&'a Column> {
    let row_id = dataset.row_id().filter(|column| column.name.eq_ignore_ascii_case(name));
    dataset.schema.named(name).map(|(_, column)| column).or(row_id)
}

/// The service's own column of that name, whatever its case.
fn reject_column(name: &str) -> Option<&'static str> {
    REJECT_COLUMNS.into_iter().find(|known| known.eq_ignore_ascii_case(name))
}

/// Without what cannot be seen at the edges: blanks, byte order marks, spaces of no width.
fn trim(name: &str) -> &str {
    name.trim_matches(|char: char| char.is_whitespace() || matches!(char, '\u{feff}' | '\u{200b}'))
}

/// Whether a line is a header that the service writes itself: that of an export, which begins with the ids of rows, or that of rejects.
pub(super) fn is_own(line: &[u8], delimiter: u8) -> bool {
    let Ok(line) = std::str::from_utf8(line) else { return false };
    let names = || line.split(char::from(delimiter)).map(|name| trim(trim(name).trim_matches('"')));
    names().next() == Some(ROW_ID)
        || REJECT_COLUMNS.into_iter().all(|known| names().any(|name| name.eq_ignore_ascii_case(known)))
}

/// What a field of a file is, by its name in the header.
#[derive(Debug, Clone, Copy)]
enum Named<'a> {
    Column(&'a Column),
    /// The service's own, of rejects.
    Reject(&'static str),
    Unknown(&'a str),
}

fn check(dataset: &Dataset, place: &str, names: &[String]) -> Result<Header, IngestError> {
    let named = names.iter().rposition(|name| !name.is_empty()).map_or(0, |last| last + 1);
    let (names, nameless) = (&names[..named], names.len() - named);
    let is_rejects =
        REJECT_COLUMNS.into_iter().all(|known| names.iter().any(|name| reject_column(name) == Some(known)));
    let fields: Vec<_> = names
        .iter()
        .map(|name| match (column(dataset, name), reject_column(name).filter(|_| is_rejects)) {
            (Some(column), _) => Named::Column(column),
            (None, Some(own)) => Named::Reject(own),
            (None, None) => Named::Unknown(name),
        })
        .collect();
    let unknown: Vec<_> = fields
        .iter()
        .filter_map(|field| match field {
            Named::Unknown(name) => Some(*name),
            _ => None,
        })
        .collect();
    let fields_match = dataset.schema.fields_match;
    if !unknown.is_empty() && !matches!(fields_match, FieldsMatch::Subset | FieldsMatch::Partial) {
        return Err(IngestError::refused("unknown_column", format!("{place}: {}", say(dataset, &unknown))));
    }
    let known = |field: &Named<'_>| match *field {
        Named::Column(column) => Some(column.name.to_string()),
        Named::Reject(name) => Some(name.to_owned()),
        Named::Unknown(_) => None,
    };
    let known: Vec<_> = fields.iter().map(known).collect();
    for (at, name) in known.iter().enumerate() {
        if let Some(name) = name.as_ref().filter(|_| known[..at].contains(name)) {
            let message = format!("{place}: the column {name} is there twice");
            return Err(IngestError::refused("repeated_column", message));
        }
    }
    // Half a point is none.
    if let Some((longitude, latitude)) =
        point::columns(&dataset.schema).filter(|_| dataset.built_in().is_none())
    {
        let names =
            [longitude, latitude].map(|place| dataset.schema.columns.get(place).map(|column| &*column.name));
        let is_there = |name: Option<&str>| known.iter().flatten().any(|known| Some(known.as_str()) == name);
        if let [Some(one), Some(other)] = names
            && is_there(Some(one)) != is_there(Some(other))
        {
            let (there, absent) = if is_there(Some(one)) { (one, other) } else { (other, one) };
            let message =
                format!("{place}: the column {absent} is not there, which makes a point with {there}");
            return Err(IngestError::refused("missing_column", message));
        }
    }
    // Rows that the file names by their `_id` keep what it has no column for; the merge rejects others.
    let has_row_id = dataset.built_in().is_none() && fields.iter().any(|field| {
        matches!(field, Named::Column(column) if Some(&column.key) == dataset.row_id().map(|own| &own.key))
    });
    let all = matches!(fields_match, FieldsMatch::Exact | FieldsMatch::Equal | FieldsMatch::Subset);
    for needed in dataset.schema.columns.iter().filter(|column| column.required && !has_row_id || all) {
        if !known.iter().flatten().any(|name| **name == *needed.name) {
            let required = if needed.required { "required " } else { "" };
            let message = format!("{place}: the {required}column {} is not there", needed.name);
            return Err(IngestError::refused("missing_column", message));
        }
    }
    let keys = fields.iter().map(|field| match field {
        Named::Column(column) => column.key.as_str().to_owned(),
        _ => String::new(),
    });
    let columns: Vec<_> = keys.collect();
    if fields_match == FieldsMatch::Exact {
        let mut of_schema = dataset.schema.columns.iter().map(|column| column.key.as_str());
        let own = dataset.row_id().map(|column| column.key.as_str());
        let in_file = columns.iter().map(String::as_str).filter(|key| !key.is_empty() && Some(*key) != own);
        if !in_file.eq(&mut of_schema) {
            let names: Vec<_> = dataset.schema.columns.iter().map(|column| &*column.name).collect();
            let message = format!("{place}: the columns must be in the order {}", names.join(", "));
            return Err(IngestError::refused("column_order", message));
        }
    }
    let code = fields.iter().position(|field| matches!(field, Named::Reject(CODE_COLUMN)));
    let left_out = unknown.into_iter().map(ToOwned::to_owned).collect();
    Ok(Header { columns, is_record: true, nameless, code, left_out })
}

/// Which names are unknown, and which are known.
fn say(dataset: &Dataset, unknown: &[&str]) -> String {
    let mut said: Vec<_> = unknown.iter().take(NAMES_SAID).map(|name| format!("{:?}", cut(name))).collect();
    if unknown.len() > NAMES_SAID {
        said.push(format!("{} more", unknown.len() - NAMES_SAID));
    }
    let known: Vec<_> =
        dataset.schema.columns.iter().chain(dataset.row_id()).map(|column| &*column.name).collect();
    let verb = if unknown.len() == 1 { "is not a column" } else { "are not columns" };
    format!("{} {verb} of {}; its columns are {}", said.join(", "), dataset.name.as_str(), known.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasets::{airport, citizen};

    fn dialect(header: Option<bool>) -> Dialect {
        Dialect { header, ..Dialect::standard(r"\N") }
    }

    fn header(first: &str) -> Header {
        read(&airport::DATASET, &dialect(None), "line 1", Some(first.as_bytes())).expect("it is read")
    }

    fn refusal(header: Option<bool>, first: &str) -> (&'static str, String) {
        match read(&airport::DATASET, &dialect(header), "line 1", Some(first.as_bytes())) {
            Err(IngestError::Refused(error)) => (error.code, error.message),
            other => panic!("not refused: {other:?}"),
        }
    }

    fn code(header: Option<bool>, first: &str) -> &'static str {
        refusal(header, first).0
    }

    #[test]
    fn two_known_names_are_a_header_and_anything_else_is_data() {
        let known = header("country,\"name\",latitude,longitude");
        assert_eq!(known.columns, ["country", "name", "latitude", "longitude"]);
        assert!(known.is_record);
        for data in ["1,Goroka", "name,x", "x", "1,A,City,Country", "\\N,A,City,Country,\\N,\\N,91"] {
            let data = header(data);
            assert_eq!((data.columns.len(), data.is_record), (14, false));
        }
        assert_eq!(code(None, "name"), "missing_column");
    }

    #[test]
    fn names_are_known_whatever_their_case_and_what_is_around_them() {
        let known = header("\u{feff}Name,COUNTRY , \u{a0}Longitude\u{200b},\"\tLatitude\"");
        assert_eq!(known.columns, ["name", "country", "longitude", "latitude"]);
        let first = "citizen_id,street,town,building,apartment,name,birth_date,gender,relatives,Channel";
        let known = read(&citizen::DATASET, &dialect(None), "", Some(first.as_bytes())).expect("a header");
        assert_eq!(known.columns, first.to_lowercase().split(',').collect::<Vec<_>>());
    }

    #[test]
    fn a_header_is_checked_by_name() {
        assert_eq!(code(Some(true), "name,country,latitude,longitud"), "unknown_column");
        assert_eq!(code(None, "name,country,latitude"), "missing_column");
        assert_eq!(code(None, "name,Name,country,latitude,longitude"), "repeated_column");
        assert_eq!(code(None, "name,country,\"latitude\"x,longitude"), "bad_header");
        let unknown = refusal(None, "code,name,country,,latitude,longitude");
        assert_eq!(unknown.0, "unknown_column");
        assert!(
            unknown.1.starts_with("line 1: \"code\", \"\" are not columns of airports;"),
            "{}",
            unknown.1
        );
        let many = format!("{},", "x".repeat(1_000)).repeat(200);
        let long = refusal(None, &format!("{many}name,country"));
        assert!(long.1.contains(", 195 more are not") && long.1.len() < 2_000, "{}", long.1);
    }

    #[test]
    fn an_absent_header_is_data_even_when_it_looks_like_one() {
        let header = read(&airport::DATASET, &dialect(Some(false)), "", Some(b"name,country")).expect("data");
        assert!(!header.is_record);
    }

    #[test]
    fn the_columns_of_rejects_are_left_out_only_where_all_are_there() {
        let names = "name,country,latitude,longitude";
        let all = header(&format!("{names},_row,_line,_file,_column,_Code,_message"));
        assert_eq!(all.columns, ["name", "country", "latitude", "longitude", "", "", "", "", "", ""]);
        assert_eq!(all.code, Some(8));
        assert_eq!(code(None, &format!("{names},_row,_line,_column,_code,_message")), "unknown_column");
        for old in ["row", "line", "column", "code", "message"] {
            assert_eq!(code(None, &format!("{names},{old}")), "unknown_column");
        }
    }

    #[test]
    fn fields_without_a_name_may_follow_the_others() {
        let spare = header("name,country,latitude,longitude,,\" \"");
        assert_eq!((spare.columns.len(), spare.nameless), (4, 2));
    }
}
