//! Whether the records of a file have as many fields as are expected, by the first of them: a file that is written otherwise than it was
//! said to be is refused before a row of it is loaded.

use super::{header, header::Header, records::Records};
use crate::{datasets::Dataset, db::imports::Dialect};

/// How many records are looked at.
pub(super) const RECORDS: usize = 100;

/// What may stand between fields where something else was expected.
const DELIMITERS: [(u8, &str); 4] = [(b',', ","), (b';', ";"), (b'\t', r"\t"), (b'|', "|")];

/// How many fields may follow those of the columns: those that have no name, and those that every record has, always empty.
pub(super) fn spare(dialect: &Dialect, header: &Header, sample: &[u8]) -> usize {
    let mut records = Records::new(dialect, sample);
    let mut spare = 0;
    while let Some(record) = records.next() {
        if !record.ends_empty(header.columns.len()) {
            return header.nameless;
        }
        spare = spare.max(record.len() - header.columns.len());
    }
    spare.max(header.nameless)
}

/// What is wrong with the records, if it is all of them. Of a file of an archive, which may be there by accident, less is enough.
pub(super) fn fault(
    dataset: &Dataset,
    dialect: &Dialect,
    header: &Header,
    spare: usize,
    sample: &[u8],
    is_archived: bool,
) -> Option<String> {
    let expected = header.columns.len();
    let mut records = Records::new(dialect, sample);
    let mut widths = Vec::new();
    while let Some(record) = records.next() {
        if record.fits(expected, spare) {
            return None;
        }
        widths.push(record.len());
    }
    let [width, _, ..] = widths[..] else { return None };
    let expected = match header.is_record {
        true => format!("the header has {expected}"),
        false => format!("{} has {expected} columns", dataset.name.as_str()),
    };
    if widths.iter().any(|other| *other != width) {
        // Rows with faults of their own, or a text that is no table.
        let message = format!(
            "the first {} records have neither a header nor the number of fields that is expected: {expected}",
            widths.len()
        );
        return (is_archived && !header.is_record).then_some(message);
    }
    let fields = if width == 1 { "field" } else { "fields" };
    let mut message = format!("each of the first {} records has {width} {fields}, {expected}", widths.len());
    for (delimiter, name) in DELIMITERS {
        if let Some(width) = width_with(dataset, dialect, header, delimiter, sample) {
            message.push_str(&format!("; with the delimiter {name} they have {width}"));
        }
    }
    Some(message)
}

/// How many fields each record has with that delimiter, if they would be read.
fn width_with(
    dataset: &Dataset,
    dialect: &Dialect,
    header: &Header,
    delimiter: u8,
    sample: &[u8],
) -> Option<usize> {
    if [Some(dialect.delimiter), dialect.quote, dialect.escape, dialect.comment].contains(&Some(delimiter)) {
        return None;
    }
    let dialect = Dialect { delimiter, ..dialect.clone() };
    let mut records = Records::new(&dialect, sample);
    let first = records.next()?;
    let width = first.len();
    let is_header = !header.is_record && header::is_header(dataset, &dialect, first.raw);
    while let Some(record) = records.next() {
        if record.len() != width {
            return None;
        }
    }
    (width == header.columns.len() || is_header).then_some(width)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::datasets::airport::DATASET;

    fn header(first: &str) -> Header {
        header::read(&DATASET, &Dialect::standard(""), "", Some(first.as_bytes())).expect("it is read")
    }

    fn judge(header: &Header, sample: &str, is_archived: bool) -> (usize, Option<String>) {
        let (dialect, sample) = (Dialect::standard(""), sample.as_bytes());
        let spare = spare(&dialect, header, sample);
        (spare, fault(&DATASET, &dialect, header, spare, sample, is_archived))
    }

    fn message(header: &Header, sample: &str) -> String {
        judge(header, sample, false).1.expect("a fault")
    }

    #[test]
    fn a_wrong_delimiter_is_named_with_what_another_would_give() {
        let fourteen = "1;A;B;C;D;E;1;2;3;4;U;F;G;H\n".repeat(2);
        assert_eq!(
            message(&header("1;A"), &fourteen),
            "each of the first 2 records has 1 field, airports has 14 columns; with the delimiter ; they have 14"
        );
        let named = "name\tcountry\tlatitude\tlongitude\nA\tB\t1\t2\n";
        assert!(message(&header("name\tcountry"), named).ends_with(r"; with the delimiter \t they have 4"));
        let other = message(&header("a"), "a;b\nc;d\n");
        assert_eq!(other, "each of the first 2 records has 1 field, airports has 14 columns");
    }

    #[test]
    fn one_good_record_or_two_kinds_of_bad_ones_are_rejects() {
        let four = header("name,country,latitude,longitude");
        for sample in ["", "a\n", "a\nb,c,1,2\n", "a\nb,c\n"] {
            assert_eq!(judge(&four, sample, false), (0, None), "{sample:?}");
        }
        assert!(message(&four, "a,b,1\nc,d,1\n").contains("has 3 fields, the header has 4"));
    }

    #[test]
    fn a_text_in_an_archive_is_no_table() {
        let text = "Airports, of the world\nsee licence\n";
        assert_eq!(judge(&header("x"), text, false).1, None);
        assert!(
            judge(&header("x"), text, true).1.is_some_and(|message| message.contains("neither a header nor"))
        );
        assert_eq!(judge(&header("x"), "one line\n", true).1, None);
    }

    #[test]
    fn fields_that_are_always_empty_are_spare() {
        let four = header("name,country,latitude,longitude");
        assert_eq!(judge(&four, "A,B,1,2,,\nC,D,1,2,\n", false), (2, None));
        assert_eq!(judge(&four, "A,B,1,2,\nC,D,1,2\n", false), (0, None));
        assert_eq!(judge(&four, "A,B,1,2,\nC,D,1,2,x\n", false).0, 0);
        let six = header("name,country,latitude,longitude,,");
        assert_eq!(judge(&six, "A,B,1,2,,\nC,D,1,2,x,\nE,F,1,2\n", false), (2, None));
    }
}
