//! What the fields of a file are: named by its first record, or the dataset's columns in their order.

use crate::{
    datasets::Dataset,
    db::imports::Dialect,
    ingest::{IngestError, records::Records},
};

/// The columns that the CSV of rejects adds at the end. Under a header they are left out, so that a corrected file of
/// rejects can be posted as it is.
pub(crate) const REJECT_COLUMNS: [&str; 5] = ["row", "line", "column", "code", "message"];

/// The fields of a file, and whether its first record is a header.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// The dataset's column of each field, empty for a field that is left out.
    pub(super) columns: Vec<String>,
    /// Whether the first record named them.
    pub(super) is_record: bool,
}

/// Reads the header of a file from its first record; `None` when that cannot be parsed or is not there.
pub(super) fn read(
    dataset: &Dataset,
    dialect: &Dialect,
    place: &str,
    first: Option<&[u8]>,
) -> Result<Header, IngestError> {
    let without = || Header {
        columns: dataset.columns.iter().map(|column| column.name.to_owned()).collect(),
        is_record: false,
    };
    if dialect.header == Some(false) {
        return Ok(without());
    }
    let names = first.map(|record| fields(dialect, record));
    let is_header = match &names {
        Some(names) => dialect.header == Some(true) || names.iter().all(|name| is_known(dataset, name)),
        None => false,
    };
    match names {
        Some(names) if is_header => check(dataset, place, names),
        None if dialect.header == Some(true) => Err(IngestError::refused(
            "bad_header",
            format!("{place}: the first record is to be the header and cannot be parsed"),
        )),
        _ => Ok(without()),
    }
}

fn fields(dialect: &Dialect, record: &[u8]) -> Vec<String> {
    let mut records = Records::new(dialect, record);
    let fields = records
        .next()
        .map(|record| record.iter().map(|field| String::from_utf8_lossy(field).into_owned()).collect());
    fields.unwrap_or_default()
}

fn is_known(dataset: &Dataset, name: &str) -> bool {
    dataset.column(name).is_some() || REJECT_COLUMNS.contains(&name)
}

fn check(dataset: &Dataset, place: &str, names: Vec<String>) -> Result<Header, IngestError> {
    let mut columns: Vec<String> = Vec::with_capacity(names.len());
    for name in names {
        if !is_known(dataset, &name) {
            let allowed: Vec<_> = dataset.columns.iter().map(|column| column.name).collect();
            return Err(IngestError::refused(
                "unknown_column",
                format!(
                    "{place}: {name:?} is no column of {}; columns are {}",
                    dataset.name,
                    allowed.join(", ")
                ),
            ));
        }
        if dataset.column(&name).is_none() {
            columns.push(String::new());
        } else if columns.contains(&name) {
            return Err(IngestError::refused(
                "repeated_column",
                format!("{place}: the column {name} is there twice"),
            ));
        } else {
            columns.push(name);
        }
    }
    for required in dataset.columns.iter().filter(|column| column.required) {
        if !columns.iter().any(|name| name == required.name) {
            return Err(IngestError::refused(
                "missing_column",
                format!("{place}: the required column {} is not there", required.name),
            ));
        }
    }
    Ok(Header { columns, is_record: true })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasets::airport::DATASET;

    fn dialect(header: Option<bool>) -> Dialect {
        Dialect { delimiter: b',', quote: b'"', null: r"\N".to_owned(), header }
    }

    fn code(header: Option<bool>, first: &str) -> &'static str {
        match read(&DATASET, &dialect(header), "line 1", Some(first.as_bytes())) {
            Err(IngestError::Refused(error)) => error.code,
            other => panic!("not refused: {other:?}"),
        }
    }

    #[test]
    fn known_names_are_a_header_and_anything_else_is_data() {
        let known = read(&DATASET, &dialect(None), "", Some(b"country,\"name\",latitude,longitude,row,code"));
        let known = known.expect("a header");
        assert_eq!(known.columns, ["country", "name", "latitude", "longitude", "", ""]);
        assert!(known.is_record);
        let data = read(&DATASET, &dialect(None), "", Some(b"1,Goroka")).expect("data");
        assert_eq!((data.columns.len(), data.is_record), (14, false));
    }

    #[test]
    fn a_header_is_checked_by_name() {
        assert_eq!(code(Some(true), "name,country,latitude,longitud"), "unknown_column");
        assert_eq!(code(None, "name,country,latitude"), "missing_column");
        assert_eq!(code(None, "name,name,country,latitude,longitude"), "repeated_column");
    }

    #[test]
    fn an_absent_header_is_data_even_when_it_looks_like_one() {
        let header = read(&DATASET, &dialect(Some(false)), "", Some(b"name,country")).expect("data");
        assert!(!header.is_record);
    }
}
