//! Proposes a descriptor of a CSV file by all of its records, with the evidence for it. Nothing is kept of a record but what it rules out.
//!
//! A type is proposed where every value has it, in the order integer, number, date, datetime, boolean, uuid, and text where none has.
//! One value decides, wherever it is: an import never guesses, so a proposal by the first rows alone would fail later.

mod column;
mod delimiter;
mod fit;
mod header;
#[cfg(test)]
mod oracle;
#[cfg(test)]
mod tests;

use std::iter;

use serde_json::{Map, Value, json};

use column::{Column, Hashes, Place};
pub use delimiter::{DelimiterError, Sample, sniff_delimiter};
pub use header::is_header;

/// Fields of a dataset, by the limit of declarations.
const MAX_FIELDS: usize = 256;
/// Bytes of a declaration.
const MAX_BYTES: usize = 256 * 1024;

/// Columns that are looked at; of a wider file nothing could be declared.
pub const MAX_COLUMNS: usize = 10_000;

/// Names of columns that say where something is, in lower case: longitude, latitude, and the greatest number of each.
const POINTS: [(&str, &str); 9] = [
    ("longitude", "latitude"),
    ("lon", "lat"),
    ("lng", "lat"),
    ("long", "lat"),
    ("x", "y"),
    ("lon", "latitude"),
    ("longitude", "lat"),
    ("lng", "latitude"),
    ("long", "latitude"),
];

/// Takes the records of a file one after the other.
#[derive(Debug)]
pub struct Inference {
    header: Option<Vec<String>>,
    delimiter: u8,
    columns: Vec<Column>,
    /// Columns up to the last that has a name in the header; all, without one.
    named: usize,
    hashes: Hashes,
    records: u64,
    malformed: u64,
    other_width: u64,
}

/// What the file could be declared as.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// A Data Resource, as `PUT /datasets/{name}` takes it.
    pub descriptor: Value,
    /// For each field of it, what ruled out other types, what stands for null, and what may hold without being declared.
    pub evidence: Value,
    /// Records that were looked at.
    pub records: u64,
    /// Records that could not be told into fields, or are not UTF-8, or hold a NUL character. They are left out.
    pub malformed: u64,
    /// Records that have another number of fields than the header or, without one, the first. They are left out.
    pub other_width: u64,
    /// What concerns the whole file.
    pub hints: Vec<String>,
}

impl Proposal {
    /// The answer of `POST /schemas/infer`.
    pub fn into_json(self) -> Value {
        let Self { descriptor, evidence, records, malformed, other_width, hints } = self;
        json!({
            "descriptor": descriptor, "evidence": evidence, "records": records, "malformed": malformed, "other_width": other_width,
            "hints": hints,
        })
    }
}

impl Inference {
    /// Begins a file with these cells of its header; `None`: it has none, and its columns are `column_1` and so on. Cells beyond
    /// [`MAX_COLUMNS`] are left out, and so are records that have as many fields.
    pub fn new(mut header: Option<Vec<String>>) -> Self {
        if let Some(header) = &mut header {
            header.truncate(MAX_COLUMNS);
        }
        let mut inference = Self {
            header,
            delimiter: b',',
            columns: Vec::new(),
            named: 0,
            hashes: Hashes::default(),
            records: 0,
            malformed: 0,
            other_width: 0,
        };
        inference.make_columns(inference.header.as_ref().map_or(0, Vec::len));
        inference
    }

    /// With the delimiter of the file, before any record: where it is not the comma, a comma may be a decimal mark.
    #[must_use]
    pub fn with_delimiter(mut self, delimiter: u8) -> Self {
        self.delimiter = delimiter;
        self.make_columns(self.columns.len());
        self
    }

    fn make_columns(&mut self, width: usize) {
        let cell = |at: usize| self.header.as_ref().and_then(|header| header.get(at));
        let is_coordinate = |at: usize| {
            let name = cell(at).map(|cell| header::trimmed(cell).to_lowercase());
            name.is_some_and(|name| POINTS.iter().any(|(x, y)| name == *x || name == *y))
        };
        self.columns = (0..width).map(|at| Column::new(self.delimiter, is_coordinate(at))).collect();
        let last = self
            .header
            .as_ref()
            .and_then(|header| header.iter().rposition(|cell| !header::trimmed(cell).is_empty()));
        self.named = last.map_or(width, |last| last + 1);
    }

    /// Takes a record; `row` counts from 1 without the header, `line` is its first line. A record of nothing but empty fields is none.
    pub fn add<'a>(&mut self, row: i64, line: i64, fields: impl Iterator<Item = &'a [u8]>) {
        let fields: Vec<&[u8]> = fields.take(MAX_COLUMNS + 1).collect();
        if fields.len() > MAX_COLUMNS {
            self.other_width += 1;
            return;
        }
        if fields.iter().all(|field| field.is_empty()) {
            return;
        }
        if self.columns.is_empty() {
            self.make_columns(fields.len());
        }
        // Empty fields behind the last column that has a name are those of trailing delimiters: there may be any number of them.
        let width = self.columns.len();
        if fields.len() < self.named || fields.iter().skip(width).any(|field| !field.is_empty()) {
            self.other_width += 1;
            return;
        }
        let Some(texts) = texts(&fields[..fields.len().min(width)]) else { return self.add_malformed() };
        self.records += 1;
        for (column, text) in self.columns.iter_mut().zip(texts.into_iter().chain(iter::repeat(""))) {
            column.add(text, Place { row, line }, &mut self.hashes);
        }
    }

    /// Counts a record that could not be told into fields.
    pub fn add_malformed(&mut self) {
        self.malformed += 1;
    }

    /// What all records together say.
    pub fn finish(mut self) -> Proposal {
        let mut hints = Vec::new();
        self.drop_nameless();
        let names = header::names(self.header.as_deref(), self.columns.len());
        if self.columns.len() > MAX_FIELDS {
            let width = self.columns.len();
            hints.push(format!("fields: the file has {width} columns; a dataset may have {MAX_FIELDS}"));
        }
        if self.other_width > 0 {
            let (count, width) = (self.other_width, self.columns.len());
            hints.push(format!("records: {count} do not have {width} fields and were left out"));
        }
        if self.malformed > 0 {
            hints.push(format!(
                "records: {} could not be told into fields, are not UTF-8 or hold a NUL character, and were left out; if the file has \
                 another encoding, state it",
                self.malformed
            ));
        }
        let own = header::own(self.header.as_deref());
        if !own.is_empty() {
            hints.push(
                "fields: columns that exports and rejects add are the service's own and were left out"
                    .to_owned(),
            );
        }
        let mut ranges = Vec::new();
        let (mut fields, mut evidence) = (Vec::new(), Vec::new());
        let columns = names.into_iter().zip(self.columns).enumerate();
        let (names, columns): (Vec<_>, Vec<_>) =
            columns.filter(|(at, _)| !own.contains(at)).map(|(_, column)| column).unzip();
        for (name, column) in names.iter().zip(columns) {
            let guess = column.guess();
            ranges.push(guess.range);
            let mut field = Map::from_iter([("name".to_owned(), Value::from(&*name.name))]);
            field.extend(guess.field);
            fields.push(Value::Object(field));
            let hints: Vec<String> = name.hint.iter().cloned().chain(guess.hints).collect();
            evidence.push((guess.ruled_out, guess.missing, hints));
        }
        if let Some((longitude, latitude)) = point(&names, &ranges) {
            let [x, y] = [longitude, latitude].map(|at| &names[at].name);
            for at in [longitude, latitude] {
                evidence[at].2.push(format!("point: {x} and {y} may be longitude and latitude of a point"));
            }
        }
        let evidence = names.iter().zip(evidence).map(|(name, (ruled_out, missing, hints))| {
            json!({ "name": name.name, "ruled_out": ruled_out, "missing": missing, "hints": hints })
        });
        let descriptor = json!({
            "schema": { "fields": fields },
            "dialect": { "delimiter": char::from(self.delimiter).to_string() },
        });
        if descriptor.to_string().len() > MAX_BYTES {
            hints
                .push(format!("fields: the proposal is longer than a declaration may be, {MAX_BYTES} bytes"));
        }
        Proposal {
            evidence: evidence.collect(),
            descriptor,
            records: self.records,
            malformed: self.malformed,
            other_width: self.other_width,
            hints,
        }
    }

    /// Columns at the end without a name and without a value are those of trailing delimiters; without a header, it is one at most.
    fn drop_nameless(&mut self) {
        let most = if self.header.is_some() { self.columns.len() } else { 1 };
        for _ in 0..most {
            let at = self.columns.len().saturating_sub(1);
            let cell = self.header.as_ref().and_then(|header| header.get(at));
            let is_nameless = cell.is_none_or(|cell| header::trimmed(cell).is_empty());
            if at == 0 || !is_nameless || !self.columns[at].is_empty() {
                return;
            }
            self.columns.truncate(at);
        }
    }
}

/// The fields as texts, if they can be values at all.
fn texts<'a>(fields: &[&'a [u8]]) -> Option<Vec<&'a str>> {
    let text = |field: &&'a [u8]| {
        let text = simdutf8::basic::from_utf8(field).ok()?;
        memchr::memchr(0, field).is_none().then_some(text)
    };
    fields.iter().map(text).collect()
}

/// The columns that by their names and values may be longitude and latitude.
fn point(names: &[header::Name], ranges: &[Option<[f64; 2]>]) -> Option<(usize, usize)> {
    let find = |wanted: &str, most: f64| {
        let at = names.iter().position(|name| name.name.to_lowercase() == wanted)?;
        let [least, greatest] = ranges[at]?;
        (-most <= least && greatest <= most).then_some(at)
    };
    POINTS.iter().find_map(|(x, y)| Some((find(x, 180.0)?, find(y, 90.0)?)))
}
