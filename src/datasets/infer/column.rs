//! What the values of one column have been so far.

use std::{hash::BuildHasher, sync::Arc};

use foldhash::{HashSet as FastSet, fast::RandomState};
use serde_json::{Map, Value, json};

use super::fit::Fit;

/// What stands for null in files of many, beside the empty field.
pub(super) const NULLS: [&str; 9] = ["NA", "N/A", "null", "NULL", r"\N", "-", "--", "#N/A", "nan"];

/// The longest of [`NULLS`].
const MAX_NULL_BYTES: usize = 4;

/// The types before text, in the order in which they are tried.
const TYPES: [(&str, Fit); 6] = [
    ("integer", Fit::INTEGER),
    ("number", NUMBER),
    ("date", Fit::DATE),
    ("datetime", Fit::DATETIME),
    ("boolean", Fit::BOOLEAN),
    ("uuid", Fit::UUID),
];
const NUMBER: Fit = Fit::NUMBER.or(Fit::COMMA);

/// Characters of a value that are shown.
const SHOWN_CHARS: usize = 256;
/// Different values of an enum.
const MAX_WORDS: usize = 20;
/// Bytes of a value of an enum.
const MAX_WORD_BYTES: usize = 128;
/// Of an enum every value comes so many times, on average.
const MIN_USES: u64 = 5;
/// Bytes of a value that may stand for null although nobody knows it.
const MAX_MARKER_BYTES: usize = 16;
/// Different values of one column that are told apart.
const MAX_HASHES: usize = 1 << 20;
/// Characters of a text of which no length is declared.
const MAX_CHARS: usize = 65_536;

/// Different values of all columns together that are told apart.
#[derive(Debug)]
pub(super) struct Hashes {
    left: usize,
    state: RandomState,
}

impl Default for Hashes {
    fn default() -> Self {
        Self { left: 1 << 21, state: RandomState::default() }
    }
}

/// Where a value is.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place {
    pub(super) row: i64,
    pub(super) line: i64,
}

/// One column, in memory that does not grow with the rows beyond a limit.
#[derive(Debug)]
pub(super) struct Column {
    /// The types that every value has, what stands for null aside.
    fit: Fit,
    seen: Fit,
    /// The first value that did not have the type.
    ruled_out: [Option<(Arc<str>, Place)>; TYPES.len()],
    empty: u64,
    blank: u64,
    /// How many of each of [`NULLS`], as long as there is a type.
    nulls: [u64; NULLS.len()],
    /// Other values.
    values: u64,
    odd: Odd,
    words: Words,
    /// `None`: a value was there twice, or there are too many.
    hashes: Option<FastSet<u64>>,
    longest_chars: usize,
    /// Least and greatest number; kept of columns that may say where something is.
    range: Option<[f64; 2]>,
    is_coordinate: bool,
}

/// The one value without which the column would have a type.
#[derive(Debug)]
struct Odd {
    fit: Fit,
    value: Option<Box<str>>,
    count: u64,
}

/// Different values, as long as they are few.
#[derive(Debug, Default)]
struct Words {
    words: Vec<Box<str>>,
    are_many: bool,
}

/// What a column is proposed to be.
#[derive(Debug)]
pub(super) struct Guess {
    /// `type`, `format` and what else the field has beside its name.
    pub(super) field: Map<String, Value>,
    pub(super) ruled_out: Value,
    pub(super) missing: Value,
    pub(super) hints: Vec<String>,
    /// The least and the greatest value, of numbers that may say where something is.
    pub(super) range: Option<[f64; 2]>,
}

impl Column {
    pub(super) fn new(delimiter: u8, is_coordinate: bool) -> Self {
        // Between commas, a comma in a number stands between groups of digits.
        let fit = if delimiter == b',' { Fit::ALL.without(Fit::COMMA) } else { Fit::ALL };
        Self {
            fit,
            seen: Fit::NONE,
            ruled_out: [const { None }; TYPES.len()],
            empty: 0,
            blank: 0,
            nulls: [0; NULLS.len()],
            values: 0,
            odd: Odd { fit, value: None, count: 0 },
            words: Words::default(),
            hashes: Some(FastSet::default()),
            longest_chars: 0,
            range: None,
            is_coordinate,
        }
    }

    /// Whether every field has been empty.
    pub(super) fn is_empty(&self) -> bool {
        self.values == 0 && self.blank == 0 && self.nulls.iter().all(|count| *count == 0)
    }

    pub(super) fn add(&mut self, field: &str, place: Place, hashes: &mut Hashes) {
        if field.is_empty() {
            self.empty += 1;
            return;
        }
        self.words.add(field);
        self.tell_apart(field, hashes);
        // Bytes bound characters from above.
        if field.len() > self.longest_chars {
            self.longest_chars = self.longest_chars.max(field.chars().count());
        }
        if self.fit.is_none() && self.odd.fit.is_none() {
            self.values += 1;
            return;
        }
        let value = field.trim_matches([' ', '\t']);
        if value.len() < field.len() {
            // A UUID is a text, whose blanks are part of it.
            self.odd.fit = self.odd.fit.without(Fit::UUID);
            self.narrow(field, Fit::ALL.without(Fit::UUID), place);
        }
        if value.is_empty() {
            self.blank += 1;
            return;
        }
        if value.len() <= MAX_NULL_BYTES
            && let Some(null) = NULLS.iter().position(|null| *null == value)
        {
            self.nulls[null] += 1;
            return;
        }
        self.values += 1;
        let fit = Fit::of(value.as_bytes());
        self.seen = self.seen.or(fit);
        self.odd.add(value, fit);
        self.narrow(field, fit, place);
        if self.is_coordinate && fit.has(NUMBER) {
            self.widen(value);
        }
    }

    fn narrow(&mut self, field: &str, fit: Fit, place: Place) {
        let before = self.fit;
        self.fit = before.and(fit);
        if self.fit == before {
            return;
        }
        let mut shown = None;
        for ((_, fits), ruled_out) in TYPES.iter().zip(&mut self.ruled_out) {
            if before.has(*fits) && !self.fit.has(*fits) {
                let shown = shown.get_or_insert_with(|| Arc::from(shorten(field)));
                *ruled_out = Some((Arc::clone(shown), place));
            }
        }
    }

    fn widen(&mut self, value: &str) {
        if let Ok(number) = value.replace(',', ".").parse::<f64>() {
            let [least, greatest] = self.range.unwrap_or([number, number]);
            self.range = Some([least.min(number), greatest.max(number)]);
        }
    }

    fn tell_apart(&mut self, field: &str, budget: &mut Hashes) {
        let Some(hashes) = &mut self.hashes else { return };
        let is_room = hashes.len() < MAX_HASHES && budget.left > 0;
        if is_room && hashes.insert(budget.state.hash_one(field)) {
            budget.left -= 1;
        } else {
            budget.left += hashes.len();
            self.hashes = None;
        }
    }

    /// The first type that every value has.
    pub(super) fn guess(self) -> Guess {
        let mut hints = Vec::new();
        let mut field = Map::new();
        let has_type = self.values > 0 && self.write_type(&mut field, &mut hints);
        if !has_type {
            field.insert("type".into(), "string".into());
            if self.longest_chars > MAX_CHARS {
                let most = self.longest_chars.next_power_of_two();
                field.insert("constraints".into(), json!({ "maxLength": most }));
                hints.push(format!(
                    "length: a value has {} characters; maxLength is declared",
                    self.longest_chars
                ));
            }
            if self.values == 0 {
                hints.push("type: there is no value to tell a type from".to_owned());
            }
            hints.extend(self.odd.hint());
        }
        let missing = self.missing(has_type);
        if has_type && missing.iter().any(|(value, _)| !value.is_empty()) {
            let known = missing.iter().filter(|(value, _)| !value.is_empty());
            let values: Vec<_> = [""].into_iter().chain(known.map(|(value, _)| *value)).collect();
            field.insert("missingValues".into(), values.into());
        }
        self.hint_rules(&field, has_type, missing.is_empty(), &mut hints);
        let ruled_out = TYPES.iter().zip(&self.ruled_out).filter_map(|((name, _), ruled_out)| {
            let (value, Place { row, line }) = ruled_out.as_ref()?;
            Some(json!({ "type": name, "value": &**value, "row": row, "line": line }))
        });
        Guess {
            ruled_out: ruled_out.collect(),
            missing: missing.iter().map(|(value, count)| json!({ "value": value, "count": count })).collect(),
            range: self.range.filter(|_| has_type),
            field,
            hints,
        }
    }

    /// The type and how it is written, if it is not text.
    fn write_type(&self, field: &mut Map<String, Value>, hints: &mut Vec<String>) -> bool {
        let mut put = |name: &str, value: &str| _ = field.insert(name.into(), value.into());
        let Some((name, _)) = TYPES.iter().find(|(_, fit)| self.fit.has(*fit)) else { return false };
        let formats: Vec<Option<String>> = match *name {
            "date" => self.fit.date_formats().into_iter().map(Some).collect(),
            "datetime" => self.fit.datetime_formats(),
            _ => vec![None],
        };
        match (*name, &formats[..]) {
            (_, [Some(one), other @ ..]) if !other.is_empty() => {
                let other = other.iter().flatten().map(String::as_str).collect::<Vec<_>>().join(" and ");
                hints.push(format!(
                    "{name}: every value is one by {one} and by {other}; declare the format to have it read as a {name}"
                ));
                return false;
            }
            ("number", _) if !self.fit.has(Fit::NUMBER) => {
                if !self.seen.has(Fit::DECIMAL_COMMA) {
                    hints.push(
                        "number: the comma stands before three digits in every value; declare decimalChar or groupChar to have \
                         it read as a number"
                            .to_owned(),
                    );
                    return false;
                }
                put("type", "number");
                put("decimalChar", ",");
                hints.push("number: the comma is the decimal mark".to_owned());
            }
            ("uuid", _) => {
                put("type", "string");
                put("format", "uuid");
            }
            (name, [format, ..]) => {
                put("type", name);
                if let Some(format) = format.as_deref().filter(|format| *format != "%Y-%m-%d") {
                    put("format", format);
                }
            }
            (_, []) => return false,
        }
        if *name == "datetime" && (self.seen.has(Fit::NO_OFFSET) || formats != [None]) {
            hints.push(
                "timezone: values without an offset are read as UTC; declare the timezone if it is another"
                    .to_owned(),
            );
        }
        true
    }

    /// What stands for null, with how many.
    fn missing(&self, has_type: bool) -> Vec<(&'static str, u64)> {
        let empty = self.empty + if has_type { self.blank } else { 0 };
        let nulls = NULLS.into_iter().zip(self.nulls).filter(|_| has_type);
        [("", empty)].into_iter().chain(nulls).filter(|(_, count)| *count > 0).collect()
    }

    /// What may hold of the column and is not declared.
    fn hint_rules(
        &self,
        field: &Map<String, Value>,
        has_type: bool,
        is_complete: bool,
        hints: &mut Vec<String>,
    ) {
        let count = self.values + self.nulls.iter().sum::<u64>() + self.blank;
        if self.values == 0 {
            return;
        }
        if is_complete {
            hints.push("required: no value is missing".to_owned());
        }
        if is_complete && count > 1 && self.hashes.is_some() {
            hints.push("key: no value is missing and all differ; it can be the primary key".to_owned());
        }
        let words = &self.words;
        let is_text = !has_type && !field.contains_key("constraints");
        if is_text && !words.are_many && count >= words.words.len() as u64 * MIN_USES {
            let list = serde_json::to_string(&words.words).unwrap_or_default();
            hints.push(format!("enum: {count} values are of these: {list}"));
        }
    }
}

impl Odd {
    fn add(&mut self, value: &str, fit: Fit) {
        if self.fit.is_none() {
            return;
        }
        if self.value.as_deref() == Some(value) {
            self.count += 1;
            return;
        }
        let left = self.fit.and(fit);
        if left.is_none() && self.value.is_none() && value.len() <= MAX_MARKER_BYTES {
            (self.value, self.count) = (Some(value.into()), 1);
        } else {
            self.fit = left;
        }
    }

    fn hint(&self) -> Option<String> {
        let value = self.value.as_deref()?;
        // All types are left where there is no other value.
        let mut types = TYPES.iter().filter(|(_, fit)| self.fit.has(*fit));
        let is_narrowed = TYPES.iter().any(|(_, fit)| !self.fit.has(*fit));
        let (name, _) = types.next().filter(|_| is_narrowed)?;
        Some(format!(
            "missing: {} times {value:?}, every other value is of the type {name}; if it stands for null, declare it in missingValues",
            self.count
        ))
    }
}

impl Words {
    fn add(&mut self, word: &str) {
        if self.are_many || self.words.iter().any(|known| **known == *word) {
            return;
        }
        if self.words.len() == MAX_WORDS || word.len() > MAX_WORD_BYTES {
            *self = Self { words: Vec::new(), are_many: true };
        } else {
            self.words.push(word.into());
        }
    }
}

fn shorten(value: &str) -> String {
    match value.char_indices().nth(SHOWN_CHARS) {
        Some((end, _)) => format!("{}…", &value[..end]),
        None => value.to_owned(),
    }
}
