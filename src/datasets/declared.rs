//! The rule of a column that a user declared: its type, how files write it, and its constraints.

mod json;
mod number;
mod parse;
pub mod point;
mod spec;
mod sql;
#[cfg(test)]
mod tests;
mod text;
mod time;

use std::{borrow::Cow, cmp::Ordering};

use chrono_tz::Tz;
use regex::Regex;

pub(super) use parse::without_blanks;
pub use spec::{SpecFault, fill_defaults};
pub(super) use sql::literal;
pub use time::Format;

use super::Value;

/// The code of the rule that a value breaks.
type Broken = &'static str;

/// Most characters of a text without `maxLength`.
const MAX_CHARS: u32 = 65_536;
/// Most bytes of a URI or an e-mail address, and of what an index has.
const MAX_KEY_BYTES: usize = 2_000;
/// Allowed values that a message names.
const NAMED: usize = 20;

/// A type with its constraints.
#[derive(Debug, Clone, PartialEq)]
pub struct Declared {
    /// The type.
    pub kind: Kind,
    /// How files write a value, where that may differ from how JSON does.
    pub written: Written,
    /// What else is asked of a value.
    pub constraints: Constraints,
    /// Fields of files that stand for null and would be values otherwise: no file can say those values.
    pub nulls: Box<[Box<str>]>,
}

/// The types of Table Schema that can be declared, with the formats that decide how values are stored.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "Table Schema's own words")]
pub enum Kind {
    String,
    Any,
    Uuid,
    Email,
    Uri,
    Url,
    Integer,
    Number {
        /// Stored as `double precision`, not as `numeric`.
        float: bool,
    },
    Boolean,
    Date,
    Time,
    DateTime,
    Year,
    YearMonth,
    GeoPoint(GeoPoint),
    /// With what its items are.
    List(Box<Declared>),
    Object,
    Array,
}

/// How files write a geopoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GeoPoint {
    /// `lon, lat`
    Default,
    /// `[lon,lat]`
    Array,
    /// `{"lon":…,"lat":…}`
    Object,
}

/// How files write a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Written {
    /// Of a date, time or datetime, as strftime has it; `None`: as ISO 8601 has it.
    pub pattern: Option<Format>,
    /// Between the whole and the fraction of a number.
    pub decimal: char,
    /// Between groups of three digits.
    pub group: Option<char>,
    /// Whether a number stands alone; otherwise what is no digit is stripped from both ends.
    pub bare: bool,
    /// The first is what exports write.
    pub true_values: Box<[Box<str>]>,
    /// The first is what exports write.
    pub false_values: Box<[Box<str>]>,
    /// Where a datetime without offset is.
    pub timezone: Tz,
    /// Between the items of a list.
    pub delimiter: Box<str>,
}

impl Default for Written {
    fn default() -> Self {
        let words = |words: [&str; 4]| words.into_iter().map(Box::from).collect();
        Self {
            pattern: None,
            decimal: '.',
            group: None,
            bare: true,
            true_values: words(["true", "True", "TRUE", "1"]),
            false_values: words(["false", "False", "FALSE", "0"]),
            timezone: Tz::UTC,
            delimiter: ",".into(),
        }
    }
}

/// What is asked of a value beside its type.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Constraints {
    /// Characters, items or members.
    pub min_length: Option<u32>,
    /// Characters, items or members.
    pub max_length: Option<u32>,
    /// Whether an index has the values, which then are at most 2,000 bytes long.
    pub is_indexed: bool,
    /// What the whole value matches.
    pub pattern: Option<Pattern>,
    /// Ends of what is allowed.
    pub limits: Box<[(Limit, Value<'static>)]>,
    /// All that is allowed: `enum` and `categories`.
    pub allowed: Option<Allowed>,
    /// West, south, east and north of where a geopoint may be.
    pub bounds: Option<[f64; 4]>,
}

/// An end of what is allowed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "Table Schema's own words")]
pub enum Limit {
    Minimum,
    ExclusiveMinimum,
    Maximum,
    ExclusiveMaximum,
}

impl Limit {
    /// Whether a value may compare so to the limit.
    fn admits(self, order: Ordering) -> bool {
        match self {
            Self::Minimum => order.is_ge(),
            Self::ExclusiveMinimum => order.is_gt(),
            Self::Maximum => order.is_le(),
            Self::ExclusiveMaximum => order.is_lt(),
        }
    }
}

/// A regular expression that holds for the whole value.
#[derive(Debug, Clone)]
pub struct Pattern {
    /// As it was declared.
    pub text: Box<str>,
    whole: Regex,
}

impl PartialEq for Pattern {
    fn eq(&self, other: &Self) -> bool {
        self.text == other.text
    }
}

/// The only values that are allowed.
#[derive(Debug, Clone, PartialEq)]
pub struct Allowed {
    /// As they were declared.
    pub values: Box<[Value<'static>]>,
    /// Their places in ascending order. Empty: they have none, or are few.
    order: Box<[u16]>,
}

impl Allowed {
    /// So many are searched one after the other.
    const FEW: usize = 8;

    fn new(values: Vec<Value<'static>>) -> Self {
        let mut order: Vec<u16> = Vec::new();
        let is_ordered = values.first().is_some_and(|value| value.compare(value).is_some());
        if values.len() > Self::FEW && is_ordered {
            order = (0..).take(values.len()).collect();
            let value = |place: &u16| &values[usize::from(*place)];
            order.sort_by(|left, right| value(left).compare(value(right)).unwrap_or(Ordering::Equal));
        }
        Self { values: values.into(), order: order.into() }
    }

    fn contains(&self, value: &Value<'_>) -> bool {
        if self.order.is_empty() {
            return self.values.iter().any(|allowed| same(allowed, value));
        }
        let compare = |place: &u16| self.values[usize::from(*place)].compare(value);
        self.order.binary_search_by(|place| compare(place).unwrap_or(Ordering::Less)).is_ok()
    }
}

/// Whether two values are the same one. Objects may have their members in any order.
fn same(left: &Value<'_>, right: &Value<'_>) -> bool {
    match (left, right) {
        (Value::Json(left), Value::Json(right)) => {
            let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).ok();
            json(left).is_some_and(|left| json(right) == Some(left))
        }
        (left, right) => left == right,
    }
}

impl Declared {
    /// PostgreSQL's type of the values.
    pub fn sql_type(&self) -> &'static str {
        match &self.kind {
            Kind::String | Kind::Any | Kind::Email | Kind::Uri | Kind::Url => "text",
            Kind::Uuid => "uuid",
            Kind::Integer => "bigint",
            Kind::Number { float: false } => "numeric",
            Kind::Number { float: true } => "double precision",
            Kind::Boolean => "boolean",
            Kind::Date | Kind::YearMonth => "date",
            Kind::Time => "time",
            Kind::DateTime => "timestamptz",
            Kind::Year => "integer",
            Kind::GeoPoint(_) => "geometry(Point,4326)",
            Kind::Object | Kind::Array => "jsonb",
            Kind::List(item) => match item.sql_type() {
                "text" => "text[]",
                "bigint" => "bigint[]",
                "numeric" => "numeric[]",
                "double precision" => "double precision[]",
                "boolean" => "boolean[]",
                "date" => "date[]",
                "time" => "time[]",
                _ => "timestamptz[]",
            },
        }
    }

    /// Whether blanks around a field are a part of the value: `string`, whatever its format, and `any`.
    pub(super) fn keeps_blanks(&self) -> bool {
        matches!(self.kind, Kind::String | Kind::Any | Kind::Uuid | Kind::Email | Kind::Uri | Kind::Url)
    }

    /// The rule in words.
    pub(super) fn words(&self) -> String {
        let mut words = self.kind_words().into_owned();
        let constraints = &self.constraints;
        if let Some(allowed) = &constraints.allowed {
            let named: Vec<_> =
                allowed.values.iter().take(NAMED).map(|value| self.canonical(value)).collect();
            let more = if allowed.values.len() > NAMED { ", …" } else { "" };
            words = format!("{words}, one of {}{more}", named.join(", "));
        }
        for (limit, value) in &constraints.limits {
            let limit = match limit {
                Limit::Minimum => "at least",
                Limit::ExclusiveMinimum => "greater than",
                Limit::Maximum => "at most",
                Limit::ExclusiveMaximum => "less than",
            };
            words = format!("{words}, {limit} {}", self.canonical(value));
        }
        if let Some(pattern) = &constraints.pattern {
            words = format!("{words}, which matches {} from beginning to end", pattern.text);
        }
        if constraints.is_indexed && self.is_long() {
            words = format!("{words}, at most {MAX_KEY_BYTES} bytes");
        }
        words
    }

    fn kind_words(&self) -> Cow<'static, str> {
        let written = &self.written;
        let either = |words: &[Box<str>]| words.join(" or ");
        Cow::Owned(match &self.kind {
            Kind::String | Kind::Any => self.length_words("text", "characters"),
            Kind::Uuid => return Cow::Borrowed("a UUID, 8-4-4-4-12 hexadecimal digits"),
            Kind::Email => self.length_words("an e-mail address", "characters"),
            Kind::Uri => self.length_words("a URI with its scheme", "characters"),
            Kind::Url => self.length_words("an address that begins with http:// or https://", "characters"),
            Kind::Integer => return Cow::Borrowed("a whole number"),
            Kind::Number { .. } if written.decimal == '.' => {
                return Cow::Borrowed("a number of at most 40 digits");
            }
            Kind::Number { .. } => {
                format!("a number of at most 40 digits, with {} before its fraction", written.decimal)
            }
            Kind::Boolean => {
                format!("{}, or {}", either(&written.true_values), either(&written.false_values))
            }
            Kind::Date => self.dated_words("a day that exists", "YYYY-MM-DD"),
            Kind::Time => self.dated_words("a time of day", "hh:mm:ss"),
            Kind::DateTime => self.dated_words("a day and time that exist", "YYYY-MM-DDThh:mm:ssZ"),
            Kind::Year => return Cow::Borrowed("a year of four digits, -9999 to 9999"),
            Kind::YearMonth => return Cow::Borrowed("a month, as YYYY-MM"),
            Kind::GeoPoint(format) => {
                let format = match format {
                    GeoPoint::Default => "lon, lat",
                    GeoPoint::Array => "[lon,lat]",
                    GeoPoint::Object => "{\"lon\":…,\"lat\":…}",
                };
                format!("a point, as {format}, within {}", point::area(self.constraints.bounds))
            }
            Kind::List(item) => {
                let what =
                    format!("a list with {} between its items, each {}", written.delimiter, item.words());
                self.length_words(&what, "items")
            }
            Kind::Object => self.length_words("a JSON object of at most 64 KiB", "members"),
            Kind::Array => self.length_words("a JSON array of at most 64 KiB", "items"),
        })
    }

    /// What a value of a URL is, in words.
    pub(super) fn plain_words(&self) -> String {
        match &self.kind {
            Kind::List(item) => item.plain_words(),
            kind => Self::new(kind.clone()).kind_words().into_owned(),
        }
        .replace("true or True or TRUE or 1, or false or False or FALSE or 0", "true or false")
    }

    fn dated_words(&self, what: &str, iso: &str) -> String {
        format!("{what}, as {}", self.written.pattern.as_ref().map_or(iso, |pattern| &pattern.text))
    }

    fn length_words(&self, what: &str, of: &str) -> String {
        let max = self.max_length();
        match (self.constraints.min_length, max) {
            (None | Some(0), u32::MAX) => what.to_owned(),
            (None | Some(0), MAX_CHARS) if self.constraints.max_length.is_none() => what.to_owned(),
            (None | Some(0), max) => format!("{what} of at most {max} {of}"),
            (Some(min), u32::MAX) => format!("{what} of at least {min} {of}"),
            (Some(min), max) if min == max => format!("{what} of {min} {of}"),
            (Some(min), max) => format!("{what} of {min} to {max} {of}"),
        }
    }

    /// Most characters, items or members.
    fn max_length(&self) -> u32 {
        let most = if self.keeps_blanks() { MAX_CHARS } else { u32::MAX };
        self.constraints.max_length.unwrap_or(most)
    }

    /// Whether a value may be longer than an index can have.
    fn is_long(&self) -> bool {
        matches!(
            self.kind,
            Kind::String | Kind::Any | Kind::List(_) | Kind::Object | Kind::Array | Kind::Number { .. }
        )
    }

    /// As messages write a value of a constraint.
    fn canonical(&self, value: &Value<'_>) -> String {
        match value {
            Value::Text(text) => text.clone().into_owned(),
            value => value.json().trim_matches('"').to_owned(),
        }
    }
}
