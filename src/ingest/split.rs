//! Cuts a CSV file into chunks of whole records.
//!
//! The same bytes with the same settings always give the same chunks, however they arrive: a crash, a retry or another
//! machine cuts where the first one did. Records end where the `csv` crate ends them; a property test holds the two
//! together. Unlike there, what is blank is no record. A record that is longer than the limit, or whose quote is never closed, becomes a chunk of its own that
//! ends at its first line break: one bad record costs one row, not the rest of the file.

mod escaped;

use bytes::{Bytes, BytesMut};
use memchr::{memchr, memchr_iter, memchr2, memchr3};

use super::{
    blank::{Blanks, Leading},
    header,
};
use crate::{db::imports::Dialect, transport::Broken};

/// A file with more unclosed quotes than this is not what its dialect says.
const UNCLOSED_QUOTES: u32 = 1_000;
const BOM: &[u8] = b"\xef\xbb\xbf";
/// How far a sample reaches, whatever the size of chunks: a file is judged alike everywhere.
const SAMPLE_BYTES: usize = 1 << 20;
/// A header that the service writes is shorter.
const OWN_HEADER_BYTES: usize = 64 * 1024;

/// How large a chunk may be.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Most records.
    pub chunk_rows: u64,
    /// Most bytes, unless a single record has more.
    pub chunk_bytes: usize,
    /// Longest record, bytes.
    pub record_bytes: usize,
}

/// One chunk, as it was cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Where in the file it begins.
    pub byte_offset: u64,
    /// How long it is.
    pub byte_len: u64,
    /// Row of its first record, from 1.
    pub first_row: i64,
    /// Records in it.
    pub rows: i64,
    /// Line of its first byte, from 1.
    pub first_line: i64,
    /// Set when it is a single record that cannot be parsed.
    pub broken: Option<Broken>,
    /// Its bytes; of a broken record the first ones.
    pub bytes: Bytes,
}

/// Why a file cannot be cut at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SplitError {
    /// It begins with the byte order mark of UTF-16.
    #[error("the file is UTF-16; say so with encoding=utf-16, or save it as UTF-8")]
    Utf16,
    /// Nothing is left of it.
    #[error("skip leaves out {skip} lines, and the file has {lines}")]
    TooFewLines {
        /// Those that it has.
        lines: i64,
        /// Those that are to be left out.
        skip: u32,
    },
    /// Most likely the quote character is another.
    #[error(
        "more than {UNCLOSED_QUOTES} quotes are never closed, the last one in line {line}: is the quote character right?"
    )]
    UnclosedQuotes {
        /// Of the last one.
        line: i64,
    },
}

/// The first record of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head {
    /// Not enough bytes yet.
    Incomplete,
    /// The file has no record.
    None,
    /// Its bytes.
    Record(Bytes),
    /// It cannot be parsed, so it names no columns.
    Broken,
}

/// The first records of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// Their bytes, with what is between them.
    pub records: Bytes,
    /// Whether the next record cannot be parsed, so that there are no more.
    pub is_broken: bool,
}

/// Where the scan of one record ended.
enum Scan {
    /// The record's last byte is before `content`, the next record begins at `next`.
    Complete { content: usize, next: usize },
    /// The bytes end first; those of an ended file do so only in quotes. What is surely the record's is before `content`.
    Incomplete { content: usize },
}

/// A record that is thrown away up to its line break because it does not fit in memory.
#[derive(Debug)]
struct Skip {
    offset: u64,
    length: u64,
    line: i64,
    sample: Bytes,
}

/// Cuts one file. Feed it with [`push`](Self::push) and [`end`](Self::end), take chunks with
/// [`next_cut`](Self::next_cut) until there is none.
#[derive(Debug)]
pub struct Splitter {
    delimiter: u8,
    quote: Option<u8>,
    escape: Option<u8>,
    blanks: Blanks,
    limits: Limits,
    /// Lines to leave out at the beginning.
    skip_lines: u32,
    /// Those of them that are still to come.
    lines_left: u32,
    /// The beginning of one of them is gone already.
    in_line: bool,
    /// What follows belongs to a comment until its line ends.
    in_comment: bool,
    /// Bytes from the chunk's start on.
    bytes: BytesMut,
    /// The place of `bytes[0]` in the file.
    offset: u64,
    ended: bool,
    begun: bool,
    /// Records of the chunk so far end here.
    position: usize,
    /// Records of the chunk so far.
    rows: i64,
    /// No quote lies between `position` and here.
    clear_to: usize,
    next_row: i64,
    next_line: i64,
    skip: Option<Skip>,
    unclosed_quotes: u32,
}

impl Splitter {
    /// A splitter for a file whose first record is row `first_row`.
    pub fn new(dialect: &Dialect, limits: Limits, first_row: i64) -> Self {
        Self {
            delimiter: dialect.delimiter,
            quote: dialect.quote,
            escape: dialect.escape,
            blanks: Blanks::new(dialect, limits.record_bytes),
            limits,
            skip_lines: dialect.skip,
            lines_left: dialect.skip,
            in_line: false,
            in_comment: false,
            bytes: BytesMut::new(),
            offset: 0,
            ended: false,
            begun: false,
            position: 0,
            rows: 0,
            clear_to: 0,
            next_row: first_row,
            next_line: 1,
            skip: None,
            unclosed_quotes: 0,
        }
    }

    /// Appends bytes of the file.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// There are no more bytes.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// The row the next record will be.
    pub fn next_row(&self) -> i64 {
        self.next_row
    }

    /// The line of the record that [`head`](Self::head) or [`sample`](Self::sample) gave first.
    pub fn next_line(&self) -> i64 {
        self.next_line
    }

    /// What was pushed and not taken yet.
    pub(super) fn rest(&self) -> &[u8] {
        &self.bytes
    }

    /// What stands between fields and around them from here on; before anything else than the head is taken.
    pub fn set_dialect(&mut self, dialect: &Dialect) {
        (self.delimiter, self.quote, self.escape) = (dialect.delimiter, dialect.quote, dialect.escape);
        self.blanks = Blanks::new(dialect, self.limits.record_bytes);
    }

    /// The first record, which stays in place; before anything else is taken.
    pub fn head(&mut self) -> Result<Head, SplitError> {
        if !self.begin()? {
            return Ok(Head::Incomplete);
        }
        self.drop_blanks();
        if self.bytes.is_empty() {
            return Ok(if self.ended { Head::None } else { Head::Incomplete });
        }
        Ok(match self.scan(0) {
            Scan::Complete { content, .. } if content > self.limits.record_bytes => Head::Broken,
            Scan::Complete { content, .. } => Head::Record(Bytes::copy_from_slice(&self.bytes[..content])),
            Scan::Incomplete { content } if self.ended || content > self.limits.record_bytes => Head::Broken,
            Scan::Incomplete { .. } => Head::Incomplete,
        })
    }

    /// Leaves the first record, which [`head`](Self::head) gave, out of the chunks: it is the header.
    pub fn skip_head(&mut self) {
        if let Scan::Complete { next, .. } = self.scan(0) {
            self.consume(next);
        }
    }

    /// The first records, which stay in place; before a chunk is taken. At most `count`, and as many as begin within the first
    /// [`SAMPLE_BYTES`]. `None`: not enough bytes yet.
    pub fn sample(&mut self, count: usize) -> Result<Option<Sample>, SplitError> {
        if !self.begin()? {
            return Ok(None);
        }
        self.drop_blanks();
        let (mut end, mut seen, mut is_broken) = (0, 0, false);
        while seen < count && !is_broken {
            let start = self.skip_blanks(end);
            if start >= SAMPLE_BYTES || start == self.bytes.len() && self.ended {
                break;
            }
            match self.scan(start) {
                Scan::Complete { content, next } if content - start <= self.limits.record_bytes => {
                    (end, seen) = (next, seen + 1);
                }
                Scan::Incomplete { content }
                    if !self.ended && content - start <= self.limits.record_bytes =>
                {
                    self.clear_to = 0;
                    return Ok(None);
                }
                _ => is_broken = true,
            }
        }
        // What was searched for quotes will be searched again, from the first record.
        self.clear_to = 0;
        Ok(Some(Sample { records: Bytes::copy_from_slice(&self.bytes[..end]), is_broken }))
    }

    /// The next chunk; `None` asks for more bytes, or is the end of a file that was ended.
    pub fn next_cut(&mut self) -> Result<Option<Cut>, SplitError> {
        if !self.begin()? {
            return Ok(None);
        }
        if self.skip.is_some() {
            return Ok(self.finish_skip());
        }
        loop {
            if self.rows == 0 {
                self.drop_blanks();
            }
            let start = self.skip_blanks(self.position);
            if start == self.bytes.len() && self.ended {
                return Ok(self.cut());
            }
            match self.scan(start) {
                Scan::Complete { content, .. } if content - start > self.limits.record_bytes => {
                    return self.too_large(start);
                }
                Scan::Complete { next, .. } => {
                    if self.rows > 0 && next > self.limits.chunk_bytes {
                        return Ok(self.cut());
                    }
                    self.position = next;
                    self.rows += 1;
                    if self.rows as u64 == self.limits.chunk_rows || next >= self.limits.chunk_bytes {
                        return Ok(self.cut());
                    }
                }
                Scan::Incomplete { content } if content - start > self.limits.record_bytes => {
                    return self.too_large(start);
                }
                Scan::Incomplete { .. } if self.ended => return self.broken(start, Broken::UnclosedQuote),
                // No record fits any more that begins there.
                Scan::Incomplete { .. } if start > self.limits.chunk_bytes => return Ok(self.cut()),
                Scan::Incomplete { .. } => return Ok(None),
            }
        }
    }

    /// All chunks of a file of which nothing was pushed yet, in whatever pieces it comes.
    pub fn cut_all<'a>(mut self, pieces: impl IntoIterator<Item = &'a [u8]>) -> Result<Vec<Cut>, SplitError> {
        let mut cuts = Vec::new();
        for piece in pieces {
            self.push(piece);
            while let Some(cut) = self.next_cut()? {
                cuts.push(cut);
            }
        }
        self.end();
        while let Some(cut) = self.next_cut()? {
            cuts.push(cut);
        }
        Ok(cuts)
    }

    /// Drops byte order marks; some programs write a second one before that of another. `false`: too few bytes to tell.
    fn begin(&mut self) -> Result<bool, SplitError> {
        while !self.begun {
            if self.bytes.len() < BOM.len() && !self.ended {
                return Ok(false);
            }
            if self.bytes.starts_with(b"\xff\xfe") || self.bytes.starts_with(b"\xfe\xff") {
                return Err(SplitError::Utf16);
            }
            if self.bytes.starts_with(BOM) {
                self.consume(BOM.len());
            } else {
                self.begun = true;
            }
        }
        self.skip_lines()
    }

    /// Drops the lines before the header, however long they are. `false`: they have not all come yet.
    fn skip_lines(&mut self) -> Result<bool, SplitError> {
        while self.lines_left > 0 {
            let found = memchr2(b'\n', b'\r', &self.bytes);
            let line = &self.bytes[..found.unwrap_or(self.bytes.len())];
            if self.lines_left == self.skip_lines && !self.in_line {
                if found.is_none() && !self.ended && line.len() < OWN_HEADER_BYTES {
                    return Ok(false);
                }
                // Exports and rejects have no lines before their header, and are to come back as they are.
                if header::is_own(line, self.delimiter) {
                    self.lines_left = 0;
                    break;
                }
            }
            match found.map(|content| self.complete(content)) {
                Some(Scan::Complete { next, .. }) => {
                    self.consume(next);
                    self.lines_left -= 1;
                    self.in_line = false;
                }
                Some(Scan::Incomplete { .. }) => return Ok(false),
                None => {
                    self.in_line |= !self.bytes.is_empty();
                    self.consume(self.bytes.len());
                    if !self.ended {
                        return Ok(false);
                    }
                    let (lines, skip) = (self.next_line - 1 + i64::from(self.in_line), self.skip_lines);
                    if lines > 0 && lines < i64::from(skip) {
                        return Err(SplitError::TooFewLines { lines, skip });
                    }
                    self.lines_left = 0;
                }
            }
        }
        Ok(true)
    }

    /// Drops what is before the first record of a chunk, which may be any number of bytes.
    fn drop_blanks(&mut self) {
        if self.in_comment {
            let end = memchr2(b'\n', b'\r', &self.bytes);
            self.in_comment = end.is_none() && !self.ended;
            self.consume(end.unwrap_or(self.bytes.len()));
        }
        let Leading { length, in_comment } = self.blanks.leading(&self.bytes, self.ended);
        self.in_comment |= in_comment;
        // A line feed that follows belongs to this line break.
        let is_open = length == self.bytes.len() && !self.ended && self.bytes.ends_with(b"\r");
        let blanks = length - usize::from(is_open);
        if blanks > 0 {
            self.consume(blanks);
        }
    }

    fn skip_blanks(&self, from: usize) -> usize {
        from + self.blanks.leading(&self.bytes[from..], self.ended).length
    }

    fn scan(&mut self, start: usize) -> Scan {
        let quote = match (self.escape, self.quote) {
            (None, Some(quote)) => quote,
            (None, None) => return self.scan_unquoted(start),
            (Some(escape), _) => return self.scan_escaped(start, escape),
        };
        // Most records have no quote before their line break: they end there.
        if let Some(length) = memchr2(b'\n', b'\r', &self.bytes[start..]) {
            let content = start + length;
            if self.is_clear(start, content, quote) {
                return self.complete(content);
            }
        }
        let mut at = start;
        loop {
            if self.bytes.get(at) == Some(&quote) {
                at += 1;
                loop {
                    let Some(length) = memchr(quote, &self.bytes[at..]) else {
                        return Scan::Incomplete { content: self.bytes.len() };
                    };
                    at += length + 1;
                    match self.bytes.get(at) {
                        Some(&byte) if byte == quote => at += 1,
                        // The next byte decides whether this quote closes the field or is half of an escaped one.
                        None if !self.ended => return Scan::Incomplete { content: at },
                        _ => break,
                    }
                }
            }
            match memchr3(self.delimiter, b'\n', b'\r', &self.bytes[at..]) {
                Some(length) if self.bytes[at + length] == self.delimiter => at += length + 1,
                Some(length) => return self.complete(at + length),
                None if self.ended => {
                    let end = self.bytes.len();
                    return Scan::Complete { content: end, next: end };
                }
                None => return Scan::Incomplete { content: self.bytes.len() },
            }
        }
    }

    /// Where a record ends in a file where quotes are text: at its line break.
    fn scan_unquoted(&self, start: usize) -> Scan {
        let end = self.bytes.len();
        match memchr2(b'\n', b'\r', &self.bytes[start..]) {
            Some(length) => self.complete(start + length),
            None if self.ended => Scan::Complete { content: end, next: end },
            None => Scan::Incomplete { content: end },
        }
    }

    fn is_clear(&mut self, start: usize, end: usize, quote: u8) -> bool {
        self.clear_to = self.clear_to.max(start);
        if self.clear_to < end {
            self.clear_to = match memchr(quote, &self.bytes[self.clear_to..]) {
                Some(length) => self.clear_to + length,
                None => self.bytes.len(),
            };
        }
        self.clear_to >= end
    }

    fn complete(&self, content: usize) -> Scan {
        let next = content + 1;
        if self.bytes[content] == b'\r' {
            match self.bytes.get(next) {
                Some(b'\n') => return Scan::Complete { content, next: next + 1 },
                // A line feed that follows belongs to this line break.
                None if !self.ended => return Scan::Incomplete { content },
                _ => {}
            }
        }
        Scan::Complete { content, next }
    }

    /// The records so far as a chunk; `None` when there are none.
    fn cut(&mut self) -> Option<Cut> {
        if self.rows == 0 {
            return None;
        }
        let rows = std::mem::take(&mut self.rows);
        let (byte_offset, first_line, first_row) = (self.offset, self.next_line, self.next_row);
        let bytes = self.consume(self.position);
        self.next_row += rows;
        Some(Cut {
            byte_offset,
            byte_len: bytes.len() as u64,
            first_row,
            rows,
            first_line,
            broken: None,
            bytes,
        })
    }

    /// The record at `start`, which goes on beyond the limit. Where its first line ends before that, a quote kept it open.
    fn too_large(&mut self, start: usize) -> Result<Option<Cut>, SplitError> {
        let within = &self.bytes[start..start + self.limits.record_bytes];
        let several_lines = memchr2(b'\n', b'\r', within).is_some();
        self.broken(start, if several_lines { Broken::UnclosedQuote } else { Broken::TooLong })
    }

    /// The record at `start` as a chunk of its own, after what comes before it.
    fn broken(&mut self, start: usize, broken: Broken) -> Result<Option<Cut>, SplitError> {
        if self.rows > 0 {
            return Ok(self.cut());
        }
        self.consume(start);
        if broken == Broken::UnclosedQuote {
            self.unclosed_quotes += 1;
            if self.unclosed_quotes > UNCLOSED_QUOTES {
                return Err(SplitError::UnclosedQuotes { line: self.next_line });
            }
        }
        match memchr2(b'\n', b'\r', &self.bytes) {
            Some(content) if content + 1 < self.bytes.len() || self.ended => {
                let next = match self.complete(content) {
                    Scan::Complete { next, .. } => next,
                    Scan::Incomplete { .. } => content + 1,
                };
                Ok(Some(self.cut_broken(next, broken)))
            }
            _ if self.ended => Ok(Some(self.cut_broken(self.bytes.len(), broken))),
            _ => {
                let (offset, line) = (self.offset, self.next_line);
                let sample =
                    Bytes::copy_from_slice(&self.bytes[..self.limits.record_bytes.min(self.bytes.len())]);
                self.skip = Some(Skip { offset, length: 0, line, sample });
                Ok(self.finish_skip())
            }
        }
    }

    fn cut_broken(&mut self, next: usize, broken: Broken) -> Cut {
        let (byte_offset, first_line, first_row) = (self.offset, self.next_line, self.next_row);
        let mut bytes = self.consume(next);
        self.next_row += 1;
        let byte_len = bytes.len() as u64;
        bytes.truncate(self.limits.record_bytes);
        Cut { byte_offset, byte_len, first_row, rows: 1, first_line, broken: Some(broken), bytes }
    }

    fn finish_skip(&mut self) -> Option<Cut> {
        let next = match memchr2(b'\n', b'\r', &self.bytes) {
            Some(content) => match self.complete(content) {
                Scan::Complete { next, .. } => Some(next),
                // Keeps the carriage return until the byte after it is known.
                Scan::Incomplete { .. } => {
                    let skipped = self.consume(content).len() as u64;
                    if let Some(skip) = &mut self.skip {
                        skip.length += skipped;
                    }
                    return None;
                }
            },
            None if self.ended => Some(self.bytes.len()),
            None => None,
        };
        let skipped = self.consume(next.unwrap_or(self.bytes.len())).len() as u64;
        let skip = self.skip.as_mut()?;
        skip.length += skipped;
        next?;
        let skip = self.skip.take()?;
        let first_row = self.next_row;
        self.next_row += 1;
        Some(Cut {
            byte_offset: skip.offset,
            byte_len: skip.length,
            first_row,
            rows: 1,
            first_line: skip.line,
            broken: Some(Broken::TooLong),
            bytes: skip.sample,
        })
    }

    /// Takes bytes from the front, counting their lines.
    fn consume(&mut self, length: usize) -> Bytes {
        let bytes = self.bytes.split_to(length).freeze();
        self.next_line += line_breaks(&bytes);
        self.offset += length as u64;
        self.position = 0;
        self.clear_to = self.clear_to.saturating_sub(length);
        bytes
    }
}

/// Line breaks in `bytes`: CR LF, LF or CR, each one.
pub fn line_breaks(bytes: &[u8]) -> i64 {
    let line_feeds = memchr_iter(b'\n', bytes).count();
    let lone_returns = memchr_iter(b'\r', bytes).filter(|&at| bytes.get(at + 1) != Some(&b'\n')).count();
    (line_feeds + lone_returns) as i64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::ingest::records::Records;

    const LIMITS: Limits = Limits { chunk_rows: 3, chunk_bytes: 24, record_bytes: 64 };

    fn split(file: &[u8], limits: Limits, steps: &[usize]) -> Result<Vec<Cut>, SplitError> {
        split_as(&Dialect::standard(""), file, limits, steps)
    }

    fn split_as(
        dialect: &Dialect,
        file: &[u8],
        limits: Limits,
        steps: &[usize],
    ) -> Result<Vec<Cut>, SplitError> {
        let mut rest = file;
        let pieces = steps.iter().cycle().map_while(|step| {
            let piece = rest.split_off(..(*step).min(rest.len()))?;
            (!piece.is_empty()).then_some(piece)
        });
        Splitter::new(dialect, limits, 1).cut_all(pieces)
    }

    fn records(bytes: &[u8]) -> Vec<csv::ByteRecord> {
        csv::ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .from_reader(bytes)
            .byte_records()
            .map(|record| record.expect("flexible records of a slice cannot fail"))
            .filter(|record| !record.iter().all(<[u8]>::is_empty))
            .collect()
    }

    fn assert_blank(bytes: &[u8]) {
        assert!(records(bytes).is_empty(), "{bytes:?} is in no chunk");
    }

    #[test]
    fn a_quoted_line_break_does_not_end_a_record() {
        let cuts = split(b"a,\"b\nc\"\nd,e\n", Limits { chunk_rows: 1, ..LIMITS }, &[1]).expect("cuts");
        let texts: Vec<&[u8]> = cuts.iter().map(|cut| cut.bytes.as_ref()).collect();
        assert_eq!(texts, [b"a,\"b\nc\"\n".as_ref(), b"d,e\n"]);
        assert_eq!((cuts[1].first_row, cuts[1].first_line, cuts[1].byte_offset), (2, 3, 8));
    }

    #[test]
    fn an_unclosed_quote_costs_one_row() {
        let cuts = split(b"a\n\"b\nc\nd\n", LIMITS, &[2]).expect("cuts");
        let seen: Vec<_> = cuts.iter().map(|cut| (cut.bytes.as_ref(), cut.rows, cut.broken)).collect();
        assert_eq!(
            seen,
            [
                (b"a\n".as_ref(), 1, None),
                (b"\"b\n".as_ref(), 1, Some(Broken::UnclosedQuote)),
                (b"c\nd\n".as_ref(), 2, None),
            ]
        );
        assert_eq!(cuts[2].first_row, 3);
        assert_eq!(cuts[2].first_line, 3);
    }

    #[test]
    fn a_record_beyond_the_limit_costs_one_row() {
        let mut file = b"a\n".to_vec();
        file.extend(std::iter::repeat_n(b'x', 1_000));
        file.extend(b"\r\nb\n");
        for steps in [&[1][..], &[7], &[2_000]] {
            let cuts = split(&file, LIMITS, steps).expect("cuts");
            let seen: Vec<_> = cuts.iter().map(|cut| (cut.byte_offset, cut.byte_len, cut.broken)).collect();
            assert_eq!(seen, [(0, 2, None), (2, 1_002, Some(Broken::TooLong)), (1_004, 2, None)]);
            assert_eq!(cuts[1].bytes.len(), LIMITS.record_bytes);
            assert_eq!((cuts[2].first_row, cuts[2].first_line), (3, 3));
        }
    }

    #[test]
    fn which_fault_a_record_has_does_not_depend_on_how_the_bytes_come() {
        let file = format!("\"{}\n{}\"\n\"{}\"\nd\n", "a".repeat(50), "b".repeat(50), "c".repeat(100));
        for steps in [&[1][..], &[60], &[70, 200], &[1_000]] {
            let cuts = split(file.as_bytes(), LIMITS, steps).expect("cuts");
            let seen: Vec<_> = cuts.iter().map(|cut| (cut.rows, cut.broken)).collect();
            let unclosed = (1, Some(Broken::UnclosedQuote));
            assert_eq!(seen, [unclosed, (1, None), (1, Some(Broken::TooLong)), (1, None)], "{steps:?}");
        }
    }

    #[test]
    fn a_record_of_the_longest_length_may_end_where_the_bytes_do() {
        let file = format!("{}\r{}\r\nb\n", "a".repeat(LIMITS.record_bytes), "c".repeat(LIMITS.record_bytes));
        for steps in [&[1][..], &[65], &[131], &[1_000]] {
            let cuts = split(file.as_bytes(), LIMITS, steps).expect("cuts");
            assert!(cuts.iter().all(|cut| cut.broken.is_none()), "{steps:?}: {cuts:?}");
            assert_eq!(cuts.iter().map(|cut| cut.rows).sum::<i64>(), 3, "{steps:?}");
        }
    }

    #[test]
    fn any_number_of_line_breaks_takes_no_memory() {
        let mut splitter = Splitter::new(&Dialect::standard(""), LIMITS, 1);
        let breaks = b"\r\n\n\r".repeat(1_000);
        assert_eq!(splitter.head(), Ok(Head::Incomplete));
        for _ in 0..2 {
            splitter.push(&breaks);
            assert_eq!(splitter.head(), Ok(Head::Incomplete));
            assert!(splitter.bytes.len() <= 1, "{}", splitter.bytes.len());
        }
        splitter.push(b"a\n");
        splitter.push(&breaks);
        let cut = splitter.next_cut().expect("cuts").expect("one chunk");
        assert_eq!((cut.bytes.as_ref(), cut.first_line, cut.byte_offset), (b"a\n".as_ref(), 6_001, 8_000));
        assert_eq!(splitter.next_cut(), Ok(None));
        assert!(splitter.bytes.len() <= 1, "{}", splitter.bytes.len());
        splitter.push(b"\nb");
        splitter.end();
        let cut = splitter.next_cut().expect("cuts").expect("one chunk");
        assert_eq!((cut.bytes.as_ref(), cut.first_row, cut.first_line), (b"b".as_ref(), 2, 9_002));
    }

    #[test]
    fn any_number_of_records_of_empty_fields_takes_no_memory_and_no_row() {
        let blanks = b",,\r\n\"\",\n".repeat(1_000);
        for step in [1, 7, 1_000, 5_000] {
            let mut splitter = Splitter::new(&Dialect::standard(""), LIMITS, 1);
            let mut cuts = Vec::new();
            let file = [b"a,b\n".as_slice(), &blanks, b"c,d\n", &blanks].concat();
            for piece in file.chunks(step) {
                splitter.push(piece);
                while let Some(cut) = splitter.next_cut().expect("cuts") {
                    cuts.push((cut.bytes, cut.first_row, cut.rows, cut.first_line));
                }
                // Of a record that may go on there are a few bytes more.
                assert!(splitter.bytes.len() <= LIMITS.chunk_bytes + step + 8, "{}", splitter.bytes.len());
            }
            splitter.end();
            assert_eq!(splitter.next_cut(), Ok(None));
            let first = (Bytes::from_static(b"a,b\n"), 1, 1, 1);
            assert_eq!(cuts, [first, (Bytes::from_static(b"c,d\n"), 2, 1, 2_002)], "{step}");
        }
    }

    #[test]
    fn a_record_of_empty_fields_that_is_too_long_is_a_reject_however_the_bytes_come() {
        let file = format!("a\n{}\n{}\nb\n", ",".repeat(LIMITS.record_bytes), ",".repeat(1_000));
        for steps in [&[1][..], &[70], &[2_000]] {
            let cuts = split(file.as_bytes(), LIMITS, steps).expect("cuts");
            let seen: Vec<_> = cuts.iter().map(|cut| (cut.first_row, cut.broken)).collect();
            assert_eq!(seen, [(1, None), (2, Some(Broken::TooLong)), (3, None)], "{steps:?}");
        }
    }

    #[test]
    fn a_sample_is_the_first_records_however_the_bytes_come() {
        for (file, count, expected) in [
            ("\n,,\na,b\n\nc,d\ne,f\n", 2, "a,b\n\nc,d\n"),
            ("a\nb", 5, "a\nb"),
            ("a\n\"b\nc", 5, "a\n"),
            ("\"a\nb\"\nc\n", 1, "\"a\nb\"\n"),
            ("aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\nb\n", 5, "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\nb\n"),
            ("\n,\n", 5, ""),
        ] {
            for step in [1, 3, 100] {
                let mut splitter = Splitter::new(&Dialect::standard(""), LIMITS, 1);
                let mut sample = None;
                for piece in file.as_bytes().chunks(step) {
                    splitter.push(piece);
                    sample = sample.or(splitter.sample(count).expect("no fault"));
                }
                splitter.end();
                let sample = sample.or(splitter.sample(count).expect("no fault"));
                let expected = Sample {
                    records: Bytes::from_static(expected.as_bytes()),
                    is_broken: file.matches('"').count() == 1,
                };
                assert_eq!(sample, Some(expected), "{file:?}, {step}");
                let rows: i64 = splitter.cut_all([]).expect("cuts").iter().map(|cut| cut.rows).sum();
                let whole = split(file.as_bytes(), LIMITS, &[1_000]).expect("cuts");
                assert_eq!(rows, whole.iter().map(|cut| cut.rows).sum::<i64>(), "{file:?}, {step}");
            }
        }
    }

    #[test]
    fn what_is_escaped_ends_no_record() {
        let dialect = Dialect { escape: Some(b'\\'), ..Dialect::standard("") };
        let limits = Limits { chunk_rows: 1, ..LIMITS };
        for steps in [&[1][..], &[3], &[100]] {
            let file = b"\"a\\\"\nb\",c\nd\\\ne\n\"f\"\"g\",\\\"h\n\"i\\\\\"\n\"j\\\"\nk\\";
            let cuts = split_as(&dialect, file, limits, steps).expect("cuts");
            let texts: Vec<_> = cuts.iter().map(|cut| (cut.bytes.as_ref(), cut.broken)).collect();
            let whole = [b"\"a\\\"\nb\",c\n".as_ref(), b"d\\\ne\n", b"\"f\"\"g\",\\\"h\n", b"\"i\\\\\"\n"];
            let whole = whole.map(|text| (text, None));
            let broken = (b"\"j\\\"\n".as_ref(), Some(Broken::UnclosedQuote));
            assert_eq!(texts, [&whole[..], &[broken, (b"k\\".as_ref(), None)]].concat(), "{steps:?}");
        }
    }

    fn commented() -> Dialect {
        Dialect { comment: Some(b'#'), ..Dialect::standard("") }
    }

    #[test]
    fn comments_of_any_length_take_no_memory_and_no_row() {
        let long = format!("#{}\n", "\",#".repeat(1_000));
        for step in [1, 7, 1_000, 20_000] {
            let mut splitter = Splitter::new(&commented(), LIMITS, 1);
            let file = format!("{long}\n{long}a,\"b\n#c\"\n{long}d\r\n#\r{long},\n{long}e\n{long}#");
            let mut cuts = Vec::new();
            for piece in file.as_bytes().chunks(step) {
                splitter.push(piece);
                while let Some(cut) = splitter.next_cut().expect("cuts") {
                    cuts.push((cut.bytes, cut.first_row, cut.rows, cut.first_line));
                }
                assert!(splitter.bytes.len() <= LIMITS.chunk_bytes + step + 8, "{}", splitter.bytes.len());
            }
            splitter.end();
            while let Some(cut) = splitter.next_cut().expect("cuts") {
                cuts.push((cut.bytes, cut.first_row, cut.rows, cut.first_line));
            }
            let cut = |text: &'static str, row, line| (Bytes::from_static(text.as_bytes()), row, 1, line);
            assert_eq!(cuts, [cut("a,\"b\n#c\"\n", 1, 4), cut("d\r\n", 2, 7), cut("e\n", 3, 12)], "{step}");
        }
    }

    #[test]
    fn a_file_of_nothing_but_comments_has_no_record() {
        for file in ["#", "#a\n", "\u{feff}#a\r#b\r\n\n#\"c"] {
            for step in [1, 100] {
                let mut splitter = Splitter::new(&commented(), LIMITS, 1);
                for piece in file.as_bytes().chunks(step) {
                    splitter.push(piece);
                    assert_eq!(splitter.head(), Ok(Head::Incomplete));
                }
                splitter.end();
                assert_eq!(splitter.head(), Ok(Head::None));
                let sample = splitter.sample(5).expect("no fault").expect("it has ended");
                assert!(sample.records.is_empty() && !sample.is_broken);
                assert_eq!(splitter.next_cut(), Ok(None));
            }
        }
    }

    #[test]
    fn lines_before_the_first_record_are_left_out() {
        let file = "\u{feff}it says \"so\r\n\n#x\ra\nb\n";
        let split = |file: &str, skip| {
            let dialect = Dialect { skip, ..Dialect::standard("") };
            let [one, other] = [1, 1_000].map(|step| split_as(&dialect, file.as_bytes(), LIMITS, &[step]));
            assert_eq!(one, other, "{file:?}, {skip}");
            one
        };
        for (skip, line, text) in [(3, 4, "a\nb\n"), (4, 5, "b\n"), (1, 3, "#x\ra\nb\n")] {
            let cuts = split(file, skip).expect("cuts");
            assert_eq!((cuts[0].first_line, cuts[0].bytes.as_ref()), (line, text.as_bytes()), "{skip}");
            assert_eq!(cuts[0].first_row, 1);
        }
        assert_eq!(split(file, 5), Ok(Vec::new()));
        assert_eq!(split(file, 6), Err(SplitError::TooFewLines { lines: 5, skip: 6 }));
        assert_eq!(split("a\nb", 2), Ok(Vec::new()));
        assert_eq!(split("a\nb", 3), Err(SplitError::TooFewLines { lines: 2, skip: 3 }));
        assert_eq!(split("", 3), Ok(Vec::new()));
        let long = "x".repeat(3 * OWN_HEADER_BYTES) + "\ry\nz";
        assert_eq!(split(&long, 2).expect("cuts")[0].bytes.as_ref(), b"z");
        assert_eq!(split(&long, 4), Err(SplitError::TooFewLines { lines: 3, skip: 4 }));
    }

    #[test]
    fn the_header_of_an_export_or_of_rejects_is_never_left_out() {
        let dialect = Dialect { skip: 1, ..Dialect::standard("") };
        for (file, rows) in [
            ("_id,a\nb\n", 2),
            ("\u{feff}\"_id\"\nb\n", 2),
            ("a,_row,_line,_file,_column,_code,_message\r\nb\n", 2),
            ("a,_row,_line,_column,_code,_message\r\nb\n", 1),
            ("a,_id\nb\n", 1),
        ] {
            let cuts = split_as(&dialect, file.as_bytes(), LIMITS, &[3]).expect("cuts");
            assert_eq!(cuts.iter().map(|cut| cut.rows).sum::<i64>(), rows, "{file:?}");
        }
    }

    #[test]
    fn where_quotes_are_text_a_record_is_a_line() {
        let dialect = Dialect { quote: None, ..Dialect::standard("") };
        let limits = Limits { chunk_rows: 1, ..LIMITS };
        let cuts = split_as(&dialect, b"\"a\nb\"\r\"\"\r\nc", limits, &[1]).expect("cuts");
        let texts: Vec<_> = cuts.iter().map(|cut| (cut.bytes.as_ref(), cut.broken)).collect();
        assert_eq!(texts, [b"\"a\n".as_ref(), b"b\"\r", b"\"\"\r\n", b"c"].map(|text| (text, None)));
    }

    #[test]
    fn a_file_whose_quotes_are_all_wrong_is_refused() {
        let file = "\"\n".repeat(2 * UNCLOSED_QUOTES as usize + 1) + &"x\"y,\"z\n".repeat(9_000);
        let limits = Limits { record_bytes: 10, ..LIMITS };
        assert!(matches!(split(file.as_bytes(), limits, &[4_096]), Err(SplitError::UnclosedQuotes { .. })));
    }

    #[test]
    fn marks_of_encodings_are_dropped_or_refused() {
        let cuts = split(b"\xef\xbb\xbfa\n", LIMITS, &[1]).expect("cuts");
        assert_eq!((cuts[0].byte_offset, cuts[0].bytes.as_ref()), (3, b"a\n".as_ref()));
        let cuts = split(b"\xef\xbb\xbf\xef\xbb\xbf\"a\"\n", LIMITS, &[1]).expect("cuts");
        assert_eq!((cuts[0].byte_offset, cuts[0].bytes.as_ref()), (6, b"\"a\"\n".as_ref()), "two marks");
        assert_eq!(split(b"\xff\xfea\0\n\0", LIMITS, &[1]), Err(SplitError::Utf16));
    }

    #[test]
    fn the_head_stays_in_place_until_it_is_skipped() {
        let mut splitter = Splitter::new(&Dialect::standard(""), LIMITS, 1);
        splitter.push(b"\r\nname,\"ci");
        assert_eq!(splitter.head(), Ok(Head::Incomplete));
        splitter.push(b"ty\"\r\nx,y");
        assert_eq!(splitter.head(), Ok(Head::Record(Bytes::from_static(b"name,\"city\""))));
        splitter.skip_head();
        splitter.end();
        let cut = splitter.next_cut().expect("cuts").expect("one chunk");
        assert_eq!((cut.bytes.as_ref(), cut.first_row, cut.first_line), (b"x,y".as_ref(), 1, 3));
        assert_eq!(splitter.next_cut(), Ok(None));
    }

    proptest! {
        #[test]
        fn records_end_and_are_counted_where_they_are_read(
            file in r##"[ab,"#\\\n\r]{0,200}"##,
            is_escaped in any::<bool>(),
            has_quotes in any::<bool>(),
            has_comments in any::<bool>(),
            rows in 1_u64..5,
            bytes in 1_usize..60,
            steps in prop::collection::vec(1_usize..40, 1..8),
        ) {
            let escape = is_escaped.then_some(b'\\');
            let quote = has_quotes.then_some(b'"');
            let comment = has_comments.then_some(b'#');
            let dialect = Dialect { escape, quote, comment, ..Dialect::standard("") };
            let limits = Limits { chunk_rows: rows, chunk_bytes: bytes, record_bytes: 1_000 };
            let cuts = split_as(&dialect, file.as_bytes(), limits, &[usize::MAX]).expect("cuts");
            prop_assert_eq!(&cuts, &split_as(&dialect, file.as_bytes(), limits, &steps).expect("cuts"));
            for cut in cuts.iter().filter(|cut| cut.broken.is_none()) {
                let mut records = Records::new(&dialect, &cut.bytes);
                let mut ends = Vec::new();
                while let Some(record) = records.next() {
                    ends.push(record.start + record.raw.len());
                }
                prop_assert_eq!(ends.len() as i64, cut.rows);
                let last = ends.last().map_or(0, |end| *end);
                prop_assert!(cut.bytes[last..].iter().all(|byte| matches!(byte, b'\n' | b'\r')));
            }
            let ends = cuts.iter().map(|cut| (cut.byte_offset + cut.byte_len) as usize);
            let begins = cuts.iter().map(|cut| cut.byte_offset as usize).chain([file.len()]);
            for (end, begin) in std::iter::once(0).chain(ends).zip(begins) {
                prop_assert!(Records::new(&dialect, &file.as_bytes()[end..begin]).next().is_none());
            }
        }

        #[test]
        fn splitting_is_deterministic_and_never_cuts_a_record(
            file in "[ab,\"\n\r ]{0,200}",
            rows in 1_u64..5,
            bytes in 1_usize..60,
            steps in prop::collection::vec(1_usize..40, 1..8),
        ) {
            let limits = Limits { chunk_rows: rows, chunk_bytes: bytes, record_bytes: 1_000 };
            let whole = split(file.as_bytes(), limits, &[usize::MAX]).expect("cuts");
            let pieces = split(file.as_bytes(), limits, &steps).expect("cuts");
            prop_assert_eq!(&whole, &pieces);

            let mut next = 0;
            let mut row = 1;
            let mut found = Vec::new();
            for cut in &whole {
                let at = cut.byte_offset as usize;
                prop_assert!(at >= next);
                assert_blank(&file.as_bytes()[next..at]);
                prop_assert_eq!(cut.first_line, line_breaks(&file.as_bytes()[..at]) + 1);
                prop_assert_eq!(cut.first_row, row);
                let own = records(&cut.bytes);
                if cut.broken.is_none() {
                    prop_assert_eq!(own.len() as i64, cut.rows);
                }
                found.extend(own);
                next = at + cut.byte_len as usize;
                row += cut.rows;
            }
            assert_blank(&file.as_bytes()[next..]);
            if whole.iter().all(|cut| cut.broken.is_none()) {
                prop_assert_eq!(found, records(file.as_bytes()));
            }
        }
    }
}
