//! The records of a chunk: where they are, and their fields.
//!
//! Read as the `csv` crate reads them, to which a property test holds them, but by searching for the bytes that end a field instead of
//! looking at every one; fields stay where they are.

use memchr::{memchr, memchr3};

use super::split::{leading_breaks, line_breaks};
use crate::db::imports::Dialect;

/// The records of a chunk, in its order.
#[derive(Debug)]
pub(super) struct Records<'a> {
    bytes: &'a [u8],
    delimiter: u8,
    quote: u8,
    /// What is before is read.
    at: usize,
    /// Those of the record read last.
    fields: Vec<Field>,
    /// The text of those of its fields that cannot stay where they are.
    unescaped: Vec<u8>,
}

/// One record.
#[derive(Debug, Clone, Copy)]
pub(super) struct Record<'a> {
    /// Where it is in the chunk, without its line break.
    pub(super) start: usize,
    /// Its bytes as they are there.
    pub(super) raw: &'a [u8],
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
    pub(super) fn new(dialect: &Dialect, bytes: &'a [u8]) -> Self {
        let Dialect { delimiter, quote, .. } = *dialect;
        Self { bytes, delimiter, quote, at: 0, fields: Vec::new(), unescaped: Vec::new() }
    }

    /// The next record.
    pub(super) fn next(&mut self) -> Option<Record<'_>> {
        self.fields.clear();
        self.unescaped.clear();
        let start = self.at + leading_breaks(&self.bytes[self.at..]);
        if start == self.bytes.len() {
            return None;
        }
        self.at = start;
        loop {
            let field = match self.bytes.get(self.at) {
                Some(byte) if *byte == self.quote => self.quoted(start),
                _ => {
                    let begin = self.at;
                    self.at = self.end_of_field();
                    Field { start: begin - start, end: self.at - start, is_unescaped: false }
                }
            };
            self.fields.push(field);
            if self.bytes.get(self.at) != Some(&self.delimiter) {
                break;
            }
            self.at += 1;
        }
        let raw = &self.bytes[start..self.at];
        Some(Record { start, raw, fields: &self.fields, unescaped: &self.unescaped })
    }

    /// Reads the field that begins with the quote at `at`, of the record that begins at `record`.
    fn quoted(&mut self, record: usize) -> Field {
        let text = self.unescaped.len();
        let mut begin = self.at + 1;
        loop {
            // A quote that is never closed reaches to the end.
            let close = memchr(self.quote, &self.bytes[begin..]);
            let close = close.map_or(self.bytes.len(), |found| begin + found);
            self.at = self.bytes.len().min(close + 1);
            let after = self.bytes.get(self.at);
            if after == Some(&self.quote) {
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
        let dialect = Dialect { delimiter, quote, null: String::new(), header: None };
        let mut records = Records::new(&dialect, bytes);
        let mut read = Vec::new();
        while let Some(record) = records.next() {
            let place = record.start..record.start + record.raw.len();
            assert_eq!(record.raw, &bytes[place.clone()]);
            read.push((place, record.iter().map(<[u8]>::to_vec).collect()));
        }
        read
    }

    fn read_by_csv(bytes: &[u8], delimiter: u8, quote: u8) -> Vec<Vec<Vec<u8>>> {
        let mut reader = csv::ReaderBuilder::new();
        let reader = reader.has_headers(false).flexible(true).delimiter(delimiter).quote(quote);
        let records = reader.from_reader(bytes).into_byte_records();
        let records = records.map(|record| record.expect("flexible records of a slice cannot fail"));
        records.map(|record| record.iter().map(<[u8]>::to_vec).collect()).collect()
    }

    #[test]
    fn fields_may_be_quoted_escaped_and_followed_by_what_does_not_belong_there() {
        let read = read(b"\r\na,\"b,\nc\",\"d\"\"e\",\"f\"g\"h,\r\n\n\"\"\n", b',', b'"');
        let fields: Vec<Vec<&[u8]>> =
            read.iter().map(|(_, fields)| fields.iter().map(Vec::as_slice).collect()).collect();
        assert_eq!(fields, [vec![b"a".as_ref(), b"b,\nc", b"d\"e", b"fg\"h", b""], vec![b""]]);
        assert_eq!((read[0].0.clone(), read[1].0.clone()), (2..25, 28..30));
    }

    #[test]
    fn a_byte_order_mark_within_a_file_is_a_character() {
        assert_eq!(read(b"\xef\xbb\xbfa\n", b',', b'"')[0].1, [b"\xef\xbb\xbfa"]);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn records_are_those_of_the_csv_crate(file in "[ab,;\"'\n\r é]{0,60}", other in any::<bool>()) {
            let (delimiter, quote) = if other { (b';', b'\'') } else { (b',', b'"') };
            let read = read(file.as_bytes(), delimiter, quote);
            let fields: Vec<_> = read.iter().map(|(_, fields)| fields.clone()).collect();
            prop_assert_eq!(&fields, &read_by_csv(file.as_bytes(), delimiter, quote));
            for (place, fields) in read {
                prop_assert_eq!(read_by_csv(&file.as_bytes()[place], delimiter, quote), [fields]);
            }
        }
    }
}
