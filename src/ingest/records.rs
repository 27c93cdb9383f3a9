//! The records of a chunk: where they are, and their fields.
//!
//! Read as the `csv` crate reads them, to which a property test holds them, but by searching for the bytes that end a field instead of
//! looking at every one; fields stay where they are. Unlike there, a record of nothing but empty fields is passed over, and one
//! with text after a closing quote is marked.

mod escaped;

use memchr::{memchr, memchr3};

use super::{blank::Blanks, split::line_breaks};
use crate::db::imports::Dialect;

/// The records of a chunk, in its order.
#[derive(Debug)]
pub(super) struct Records<'a> {
    bytes: &'a [u8],
    delimiter: u8,
    quote: Option<u8>,
    escape: Option<u8>,
    blanks: Blanks,
    /// The field that stands for null.
    null: &'a [u8],
    /// What is before is read.
    at: usize,
    /// Those of the record read last.
    fields: Vec<Field>,
    /// The text of those of its fields that cannot stay where they are.
    unescaped: Vec<u8>,
    /// Whether one of them has text after its closing quote.
    is_malformed: bool,
}

/// One record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'a> {
    /// Where it is in the chunk, without its line break.
    pub(super) start: usize,
    /// Its bytes as they are there.
    pub(super) raw: &'a [u8],
    /// Whether a field has text after its closing quote: what is meant nobody knows.
    pub(super) is_malformed: bool,
    fields: &'a [Field],
    unescaped: &'a [u8],
}

#[derive(Debug, Clone, Copy)]
struct Field {
    start: usize,
    end: usize,
    /// Whether its text is in `unescaped`, not in the record.
    is_unescaped: bool,
}

impl<'a> Records<'a> {
    pub(super) fn new(dialect: &'a Dialect, bytes: &'a [u8]) -> Self {
        let Dialect { delimiter, quote, escape, ref null, .. } = *dialect;
        Self {
            bytes,
            delimiter,
            quote,
            escape,
            // Longer records than allowed are in no chunk with others.
            blanks: Blanks::new(dialect, usize::MAX),
            null: null.as_bytes(),
            at: 0,
            fields: Vec::new(),
            unescaped: Vec::new(),
            is_malformed: false,
        }
    }

    /// The next record.
    pub(super) fn next(&mut self) -> Option<Record<'_>> {
        self.fields.clear();
        self.unescaped.clear();
        self.is_malformed = false;
        let start = self.at + self.blanks.leading(&self.bytes[self.at..], true).length;
        if start == self.bytes.len() {
            return None;
        }
        self.at = start;
        match (self.escape, self.quote) {
            (None, Some(quote)) => self.read(start, quote),
            (None, None) => self.read_unquoted(start),
            (Some(escape), quote) => self.read_escaped(start, escape, quote),
        }
        let Self { bytes, at, ref fields, ref unescaped, is_malformed, .. } = *self;
        Some(Record { start, raw: &bytes[start..at], is_malformed, fields, unescaped })
    }

    /// Reads the fields of the record that begins at `start`.
    fn read(&mut self, start: usize, quote: u8) {
        loop {
            let field = match self.bytes.get(self.at) {
                Some(byte) if *byte == quote => self.quoted(start, quote),
                _ => self.unquoted(start),
            };
            self.fields.push(field);
            if self.bytes.get(self.at) != Some(&self.delimiter) {
                return;
            }
            self.at += 1;
        }
    }

    /// Reads the fields of the record that begins at `start`, where a quote is text.
    fn read_unquoted(&mut self, start: usize) {
        loop {
            let field = self.unquoted(start);
            self.fields.push(field);
            if self.bytes.get(self.at) != Some(&self.delimiter) {
                return;
            }
            self.at += 1;
        }
    }

    /// Reads the field at `at`, of the record that begins at `record`.
    #[inline]
    fn unquoted(&mut self, record: usize) -> Field {
        let begin = self.at;
        self.at = self.end_of_field();
        Field { start: begin - record, end: self.at - record, is_unescaped: false }
    }

    /// Reads the field that begins with the quote at `at`, of the record that begins at `record`.
    fn quoted(&mut self, record: usize, quote: u8) -> Field {
        let text = self.unescaped.len();
        let mut begin = self.at + 1;
        loop {
            // A quote that is never closed reaches to the end.
            let close = memchr(quote, &self.bytes[begin..]);
            let close = close.map_or(self.bytes.len(), |found| begin + found);
            self.at = self.bytes.len().min(close + 1);
            let after = self.bytes.get(self.at);
            if after == Some(&quote) {
                // One of the two quotes is meant.
                self.unescaped.extend_from_slice(&self.bytes[begin..self.at]);
                begin = self.at + 1;
                continue;
            }
            let is_over = after.is_none_or(|byte| *byte == self.delimiter || matches!(byte, b'\n' | b'\r'));
            if is_over && self.unescaped.len() == text {
                return Field { start: begin - record, end: close - record, is_unescaped: false };
            }
            self.unescaped.extend_from_slice(&self.bytes[begin..close]);
            if !is_over {
                // Quotes mean nothing any more.
                self.is_malformed = true;
                begin = self.at;
                self.at = self.end_of_field();
                self.unescaped.extend_from_slice(&self.bytes[begin..self.at]);
            }
            return Field { start: text, end: self.unescaped.len(), is_unescaped: true };
        }
    }

    /// Where the field that holds `at`, outside of quotes, ends.
    fn end_of_field(&self) -> usize {
        let rest = &self.bytes[self.at..];
        let ends = [self.delimiter, b'\n', b'\r'];
        let found = find_near(ends, rest).or_else(|| memchr3(ends[0], ends[1], ends[2], rest));
        found.map_or(self.bytes.len(), |found| self.at + found)
    }
}

impl<'a> Record<'a> {
    /// How many fields it has.
    pub(super) fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether it has as many fields as there are columns, or up to `spare` more that are all empty.
    pub(super) fn fits(&self, columns: usize, spare: usize) -> bool {
        self.len() == columns || self.len() <= columns + spare && self.ends_empty(columns)
    }

    /// Whether it has more than so many fields, and the others are empty.
    pub(super) fn ends_empty(&self, columns: usize) -> bool {
        self.len() > columns && self.iter().skip(columns).all(<[u8]>::is_empty)
    }

    /// The field at that place.
    pub(super) fn get(&self, place: usize) -> Option<&'a [u8]> {
        let Field { start, end, is_unescaped } = *self.fields.get(place)?;
        Some(&(if is_unescaped { self.unescaped } else { self.raw })[start..end])
    }

    /// The field at that place, when it is a part of `raw`, the record as text.
    pub(super) fn get_in(&self, raw: &'a str, place: usize) -> Option<&'a str> {
        let Field { start, end, is_unescaped } = *self.fields.get(place)?;
        if is_unescaped { None } else { raw.get(start..end) }
    }

    /// All fields in their order.
    pub(super) fn iter(&self) -> impl Iterator<Item = &'a [u8]> {
        (0..self.len()).map_while(|place| self.get(place))
    }
}

/// The first of the needles, if it is among the first eight bytes, where most fields end: to begin a search takes longer.
///
/// A byte of the word is zero where it was the needle, and a zero byte lets its highest bit be set; so may bytes above it, which do not
/// matter: Henry S. Warren, Hacker's Delight, 6-1.
fn find_near(needles: [u8; 3], bytes: &[u8]) -> Option<usize> {
    const LOWEST: u64 = 0x0101_0101_0101_0101;
    const HIGHEST: u64 = LOWEST << 7;
    let word = u64::from_le_bytes(*bytes.first_chunk()?);
    let found = needles.into_iter().fold(0, |found, needle| {
        let differing = word ^ (LOWEST * u64::from(needle));
        found | (differing.wrapping_sub(LOWEST) & !differing & HIGHEST)
    });
    (found != 0).then(|| found.trailing_zeros() as usize / 8)
}

/// Tells the line of a place, counting on from the place before.
pub(super) struct Lines {
    line: i64,
    counted: usize,
}

impl Lines {
    pub(super) fn new(first_line: i64) -> Self {
        Self { line: first_line, counted: 0 }
    }

    /// The line of the byte at `place`; places come in order.
    pub(super) fn at(&mut self, bytes: &[u8], place: usize) -> i64 {
        self.line += line_breaks(&bytes[self.counted..place]);
        self.counted = place;
        self.line
    }
}

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use proptest::prelude::*;

    use super::*;

    fn read(bytes: &[u8], delimiter: u8, quote: u8) -> Vec<(Range<usize>, Vec<Vec<u8>>)> {
        read_as(&Dialect { delimiter, quote: Some(quote), ..Dialect::standard("") }, bytes)
    }

    fn read_as(dialect: &Dialect, bytes: &[u8]) -> Vec<(Range<usize>, Vec<Vec<u8>>)> {
        let mut records = Records::new(dialect, bytes);
        let mut read = Vec::new();
        while let Some(record) = records.next() {
            let place = record.start..record.start + record.raw.len();
            assert_eq!(record.raw, &bytes[place.clone()]);
            read.push((place, record.iter().map(<[u8]>::to_vec).collect()));
        }
        read
    }

    fn read_by_csv(bytes: &[u8], delimiter: u8, quote: u8) -> Vec<Vec<Vec<u8>>> {
        read_by_csv_as(&Dialect { delimiter, quote: Some(quote), ..Dialect::standard("") }, bytes)
    }

    fn read_by_csv_as(dialect: &Dialect, bytes: &[u8]) -> Vec<Vec<Vec<u8>>> {
        let Dialect { delimiter, quote, comment, .. } = *dialect;
        let mut reader = csv::ReaderBuilder::new();
        let reader = reader.has_headers(false).flexible(true).delimiter(delimiter).comment(comment);
        let reader = reader.quoting(quote.is_some()).quote(quote.unwrap_or(b'"'));
        let records = reader.from_reader(bytes).into_byte_records();
        let records = records.map(|record| record.expect("flexible records of a slice cannot fail"));
        let records = records.filter(|record| !record.iter().all(<[u8]>::is_empty));
        records.map(|record| record.iter().map(<[u8]>::to_vec).collect()).collect()
    }

    fn malformed(dialect: &Dialect, bytes: &str) -> Vec<bool> {
        let mut records = Records::new(dialect, bytes.as_bytes());
        std::iter::from_fn(|| records.next().map(|record| record.is_malformed)).collect()
    }

    fn escaped_by(escape: u8) -> Dialect {
        Dialect { escape: Some(escape), ..Dialect::standard(r"\N") }
    }

    #[test]
    fn fields_may_be_quoted_escaped_and_followed_by_what_does_not_belong_there() {
        let read = read(b"\r\na,\"b,\nc\",\"d\"\"e\",\"f\"g\"h,\r\n\n\"\",a\n", b',', b'"');
        let fields: Vec<Vec<&[u8]>> =
            read.iter().map(|(_, fields)| fields.iter().map(Vec::as_slice).collect()).collect();
        assert_eq!(fields, [vec![b"a".as_ref(), b"b,\nc", b"d\"e", b"fg\"h", b""], vec![b"", b"a"]]);
        assert_eq!((read[0].0.clone(), read[1].0.clone()), (2..25, 28..32));
    }

    #[test]
    fn text_after_a_closing_quote_is_malformed_and_a_quote_in_unquoted_text_is_text() {
        let standard = Dialect::standard("");
        let records = "\"a\" b,c\na,\"b\"c\na\"b\"c,\"d\"\n\"a\"\"\",b\n\"a\"\r\n\"a\"";
        assert_eq!(malformed(&standard, records), [true, true, false, false, false, false]);
        let records = "\"a\\\" b\",c\n\"a\" b\n\"a\"\\n\n\"a\"";
        assert_eq!(malformed(&escaped_by(b'\\'), records), [false, true, true, false]);
    }

    #[test]
    fn an_escape_takes_the_next_byte_as_it_is() {
        let file = b"\"Villa \\\"Roma\\\"\",a\\,b,\\N,\"\\N\",\\\\N,\"c\"\"d\",e\\\nf\n\"g\\\\\",h\\";
        let read = read_as(&escaped_by(b'\\'), file);
        let fields: Vec<Vec<&[u8]>> =
            read.iter().map(|(_, fields)| fields.iter().map(Vec::as_slice).collect()).collect();
        let first = vec![b"Villa \"Roma\"".as_ref(), b"a,b", br"\N", br"\N", br"\N", b"c\"d", b"e\nf"];
        assert_eq!(fields, [first, vec![br"g\", br"h\"]]);
    }

    #[test]
    fn a_record_of_nothing_but_empty_fields_is_no_record() {
        let read = read(b",,\na,,\n\"\",\n\n,b,\n,", b',', b'"');
        let places: Vec<_> = read.into_iter().map(|(place, _)| place).collect();
        assert_eq!(places, [3..6, 12..15]);
    }

    #[test]
    fn a_byte_order_mark_within_a_file_is_a_character() {
        assert_eq!(read(b"\xef\xbb\xbfa\n", b',', b'"')[0].1, [b"\xef\xbb\xbfa"]);
    }

    #[test]
    fn a_comment_is_no_record_and_within_one_its_character_is_text() {
        let dialect = Dialect { comment: Some(b'#'), ..Dialect::standard("") };
        let read = read_as(&dialect, b"#a,\"b\n,\n#\r\na,#b\n\"c\n#d\",e\n\"#f\"\n #g\n#");
        let fields: Vec<_> = read.into_iter().flat_map(|(_, fields)| fields).collect();
        assert_eq!(fields, [b"a".as_ref(), b"#b", b"c\n#d", b"e", b"#f", b" #g"]);
    }

    #[test]
    fn where_quotes_are_text_a_record_is_a_line() {
        let dialect = Dialect { quote: None, ..Dialect::standard("") };
        let read = read_as(&dialect, b"\"a,b\n\"c\",d\"\r\n\"\"\n");
        let fields: Vec<_> = read.into_iter().flat_map(|(_, fields)| fields).collect();
        assert_eq!(fields, [b"\"a".as_ref(), b"b", b"\"c\"", b"d\"", b"\"\""]);
        let escaped = Dialect { escape: Some(b'\\'), ..dialect };
        assert_eq!(read_as(&escaped, b"\"a\\,b\\\nc\",d\n")[0].1, [b"\"a,b\nc\"".as_ref(), b"d"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        // There a comment goes on at a carriage return alone; here a line ends there.
        #[test]
        fn records_are_those_of_the_csv_crate_without_quotes_and_with_comments(
            file in prop::collection::vec(prop::sample::select(vec!["a", "b", ",", "\"", "#", "\n", "\r\n", " "]), 0..60),
            has_quotes in any::<bool>(),
            has_comments in any::<bool>(),
        ) {
            let quote = has_quotes.then_some(b'"');
            let dialect = Dialect { quote, comment: has_comments.then_some(b'#'), ..Dialect::standard("") };
            let file = file.concat();
            let mut read = read_as(&dialect, file.as_bytes());
            read.retain(|(_, fields)| !fields.iter().all(Vec::is_empty));
            let fields: Vec<_> = read.into_iter().map(|(_, fields)| fields).collect();
            prop_assert_eq!(fields, read_by_csv_as(&dialect, file.as_bytes()));
        }

        #[test]
        fn records_are_those_of_the_csv_crate(file in "[ab,;\"'\n\r é]{0,60}", other in any::<bool>()) {
            let (delimiter, quote) = if other { (b';', b'\'') } else { (b',', b'"') };
            let mut read = read(file.as_bytes(), delimiter, quote);
            // A quote that is opened at the very end is no empty field here.
            read.retain(|(_, fields)| !fields.iter().all(Vec::is_empty));
            let fields: Vec<_> = read.iter().map(|(_, fields)| fields.clone()).collect();
            prop_assert_eq!(&fields, &read_by_csv(file.as_bytes(), delimiter, quote));
            for (place, fields) in read {
                prop_assert_eq!(read_by_csv(&file.as_bytes()[place], delimiter, quote), [fields]);
            }
        }
    }
}
