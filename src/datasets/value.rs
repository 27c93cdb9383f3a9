//! Checked values, and how they are written for PostgreSQL and as JSON.

use std::{borrow::Cow, cmp::Ordering, fmt::Write};

use chrono::{DateTime, NaiveDate};
use uuid::Uuid;

use super::numeric::Numeric;

/// A checked value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// Nothing.
    Null,
    /// Text.
    Text(Cow<'a, str>),
    /// A whole number.
    Integer(i64),
    /// A finite number.
    Number(f64),
    /// A day.
    Date(NaiveDate),
    /// Whole numbers.
    Integers(Vec<i64>),
    /// A decimal number.
    Numeric(Numeric),
    /// True or false.
    Boolean(bool),
    /// Microseconds since midnight.
    Time(i64),
    /// Microseconds since 1970 in UTC.
    DateTime(i64),
    /// A year.
    Year(i32),
    /// A month, as its first day.
    YearMonth(NaiveDate),
    /// A UUID.
    Uuid(Uuid),
    /// Degrees of WGS 84.
    Point {
        /// East positive.
        longitude: f64,
        /// North positive.
        latitude: f64,
    },
    /// Values of one type. None of them is null.
    List(Item, Vec<Value<'a>>),
    /// The text of an object or array.
    Json(Cow<'a, str>),
}

/// The types that items of lists may have, beside whole numbers, which have a list of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the names of the variants of Value")]
pub enum Item {
    Text,
    Numeric,
    Number,
    Boolean,
    Date,
    Time,
    DateTime,
}

impl Value<'_> {
    /// Without what it borrowed.
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::Null => Value::Null,
            Self::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Self::Integer(number) => Value::Integer(number),
            Self::Number(number) => Value::Number(number),
            Self::Date(day) => Value::Date(day),
            Self::Integers(numbers) => Value::Integers(numbers),
            Self::Numeric(number) => Value::Numeric(number),
            Self::Boolean(value) => Value::Boolean(value),
            Self::Time(micros) => Value::Time(micros),
            Self::DateTime(micros) => Value::DateTime(micros),
            Self::Year(year) => Value::Year(year),
            Self::YearMonth(day) => Value::YearMonth(day),
            Self::Uuid(uuid) => Value::Uuid(uuid),
            Self::Point { longitude, latitude } => Value::Point { longitude, latitude },
            Self::List(item, values) => {
                Value::List(item, values.into_iter().map(Value::into_owned).collect())
            }
            Self::Json(text) => Value::Json(Cow::Owned(text.into_owned())),
        }
    }

    /// The number, whichever of the types of numbers it has.
    pub fn as_f64(&self) -> Option<f64> {
        match self {
            Self::Integer(number) => Some(*number as f64),
            Self::Number(number) => Some(*number),
            Self::Numeric(number) => Some(number.to_f64()),
            _ => None,
        }
    }

    /// Which of two values of one type is greater. `None`: they have no order, or different types.
    pub fn compare(&self, other: &Value<'_>) -> Option<Ordering> {
        match (self, other) {
            (Self::Text(own), Value::Text(other)) => Some(own.cmp(other)),
            (Self::Integer(own), Value::Integer(other)) => Some(own.cmp(other)),
            (Self::Number(own), Value::Number(other)) => own.partial_cmp(other),
            (Self::Numeric(own), Value::Numeric(other)) => Some(own.cmp(other)),
            (Self::Date(own), Value::Date(other)) | (Self::YearMonth(own), Value::YearMonth(other)) => {
                Some(own.cmp(other))
            }
            (Self::Time(own), Value::Time(other)) | (Self::DateTime(own), Value::DateTime(other)) => {
                Some(own.cmp(other))
            }
            (Self::Year(own), Value::Year(other)) => Some(own.cmp(other)),
            (Self::Uuid(own), Value::Uuid(other)) => Some(own.cmp(other)),
            (Self::Boolean(own), Value::Boolean(other)) => Some(own.cmp(other)),
            _ => None,
        }
    }

    /// The text that the input function of the column's type in PostgreSQL reads: a statement binds it as text and casts it,
    /// `$1::text::numeric`. A list is an array literal (`{"a","b"}`), a point EWKT. `None`: null.
    pub fn sql_text(&self) -> Option<Cow<'_, str>> {
        Some(match self {
            Self::Null => return None,
            Self::Text(text) | Self::Json(text) => Cow::Borrowed(text),
            Self::Integer(number) => Cow::Owned(number.to_string()),
            Self::Number(number) => Cow::Owned(float(*number)),
            Self::Numeric(number) => Cow::Owned(number.to_string()),
            Self::Boolean(true) => Cow::Borrowed("true"),
            Self::Boolean(false) => Cow::Borrowed("false"),
            Self::Date(day) | Self::YearMonth(day) => Cow::Owned(day.format("%Y-%m-%d").to_string()),
            Self::Time(micros) => Cow::Owned(time(*micros)),
            Self::DateTime(micros) => Cow::Owned(datetime(*micros)),
            Self::Year(year) => Cow::Owned(year.to_string()),
            Self::Uuid(uuid) => Cow::Owned(uuid.to_string()),
            Self::Point { longitude, latitude } => {
                Cow::Owned(format!("SRID=4326;POINT({} {})", float(*longitude), float(*latitude)))
            }
            Self::Integers(numbers) => {
                let items: Vec<_> = numbers.iter().map(ToString::to_string).collect();
                Cow::Owned(format!("{{{}}}", items.join(",")))
            }
            Self::List(_, items) => {
                let mut literal = String::from("{");
                for (place, item) in items.iter().enumerate() {
                    literal.push_str(if place > 0 { ",\"" } else { "\"" });
                    for character in item.sql_text().unwrap_or_default().chars() {
                        if matches!(character, '"' | '\\') {
                            literal.push('\\');
                        }
                        literal.push(character);
                    }
                    literal.push('"');
                }
                literal.push('}');
                Cow::Owned(literal)
            }
        })
    }

    /// The value as answers have it, as JSON text: numbers with all their digits, ISO dates, `[lon,lat]`.
    pub fn json(&self) -> String {
        let mut json = String::new();
        self.write_json(&mut json);
        json
    }

    fn write_json(&self, json: &mut String) {
        match self {
            Self::Null => json.push_str("null"),
            Self::Text(text) => json.push_str(&serde_json::Value::from(&**text).to_string()),
            Self::YearMonth(day) => {
                let _ = write!(json, "\"{}\"", day.format("%Y-%m"));
            }
            Self::Date(_) | Self::Time(_) | Self::DateTime(_) | Self::Uuid(_) => {
                json.push('"');
                json.push_str(&self.sql_text().unwrap_or_default());
                json.push('"');
            }
            Self::Point { longitude, latitude } => {
                let _ = write!(json, "[{},{}]", float(*longitude), float(*latitude));
            }
            Self::Integers(numbers) => {
                let items: Vec<_> = numbers.iter().map(ToString::to_string).collect();
                let _ = write!(json, "[{}]", items.join(","));
            }
            Self::List(_, items) => {
                json.push('[');
                for (place, item) in items.iter().enumerate() {
                    if place > 0 {
                        json.push(',');
                    }
                    item.write_json(json);
                }
                json.push(']');
            }
            Self::Integer(_)
            | Self::Number(_)
            | Self::Numeric(_)
            | Self::Boolean(_)
            | Self::Year(_)
            | Self::Json(_) => json.push_str(&self.sql_text().unwrap_or_default()),
        }
    }
}

/// The shortest text that reads as the same number, as PostgreSQL writes it.
pub(super) fn float(number: f64) -> String {
    if number == 0.0 {
        return if number.is_sign_negative() { "-0".to_owned() } else { "0".to_owned() };
    }
    let scientific = format!("{number:e}");
    let exponent = scientific.rsplit_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0);
    if (-4..15).contains(&exponent) {
        return number.to_string();
    }
    let digits = scientific.split_once('e').map_or(scientific.as_str(), |(digits, _)| digits);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", i32::abs(exponent))
}

/// `hh:mm:ss`, and six more digits where they are not zero.
pub(super) fn time(micros: i64) -> String {
    let (seconds, rest) = (micros / 1_000_000, micros % 1_000_000);
    let mut text = format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
    if rest != 0 {
        let _ = write!(text, ".{rest:06}");
    }
    text
}

/// RFC 3339 in UTC, with six digits of a fraction where they are not zero.
pub(super) fn datetime(micros: i64) -> String {
    let day = 86_400_000_000;
    let date = DateTime::from_timestamp_micros(micros).unwrap_or_default().format("%Y-%m-%d");
    format!("{date}T{}Z", time(micros.rem_euclid(day)))
}
