//! Values of declared columns: from a field of a file, from JSON, and from the text of a URL.

use std::borrow::Cow;

use chrono_tz::Tz;
use serde::Deserialize;

use super::{Broken, Declared, Kind, MAX_KEY_BYTES, Written, json, number, point, text, time};
use crate::datasets::{
    Value,
    numeric::{Numeric, NumericError},
    value::Item,
};

impl Declared {
    /// Reads a field, which has no blanks around it where they are not part of the value, and is none that stands for null.
    pub(in crate::datasets) fn parse<'a>(&self, field: &'a str) -> Result<Value<'a>, Broken> {
        let value = self.read(field).map_err(|code| nul_or(field, code))?;
        self.check(&value)?;
        Ok(value)
    }

    fn read<'a>(&self, field: &'a str) -> Result<Value<'a>, Broken> {
        let written = &self.written;
        match &self.kind {
            Kind::String | Kind::Any | Kind::Uuid | Kind::Email | Kind::Uri | Kind::Url => {
                self.text(Cow::Borrowed(field))
            }
            Kind::Integer => number::integer(field, written).map(Value::Integer),
            Kind::Number { float: false } => number::numeric(field, written).map(Value::Numeric),
            Kind::Number { float: true } => number::float(field, written).map(Value::Number),
            Kind::Boolean => {
                let is = |words: &[Box<str>]| words.iter().any(|word| **word == *field);
                if is(&written.true_values) {
                    Ok(Value::Boolean(true))
                } else if is(&written.false_values) {
                    Ok(Value::Boolean(false))
                } else {
                    Err("not_a_boolean")
                }
            }
            Kind::Date => match &written.pattern {
                Some(pattern) => pattern.date(field),
                None => time::iso_date(field),
            }
            .map(Value::Date),
            Kind::Time => match &written.pattern {
                Some(pattern) => pattern.time(field),
                None => time::iso_time(field).ok_or("not_a_time"),
            }
            .map(Value::Time),
            Kind::DateTime => match &written.pattern {
                Some(pattern) => pattern.datetime(field, written.timezone),
                None => time::iso_datetime(field, written.timezone),
            }
            .map(Value::DateTime),
            Kind::Year => time::year(field).map(Value::Year),
            Kind::YearMonth => time::year_month(field).map(Value::YearMonth),
            Kind::GeoPoint(format) => {
                let (longitude, latitude) = point::read(field, *format).ok_or("not_a_point")?;
                Ok(Value::Point { longitude, latitude })
            }
            Kind::List(item) => self.list(item, field),
            Kind::Object => self.json_text(field, true),
            Kind::Array => self.json_text(field, false),
        }
    }

    /// The items between delimiters, without the blanks around them.
    fn list<'a>(&self, item: &Declared, field: &'a str) -> Result<Value<'a>, Broken> {
        match *self.written.delimiter.as_bytes() {
            _ if field.is_empty() => items(item, std::iter::empty()),
            // A search for a character is much faster than one for a text.
            [delimiter] => items(item, field.split(char::from(delimiter))),
            _ => items(item, field.split(&*self.written.delimiter)),
        }
    }

    fn item(&self) -> Item {
        match self.kind {
            Kind::Number { float: false } => Item::Numeric,
            Kind::Number { float: true } => Item::Number,
            Kind::Boolean => Item::Boolean,
            Kind::Date => Item::Date,
            Kind::Time => Item::Time,
            Kind::DateTime => Item::DateTime,
            _ => Item::Text,
        }
    }

    fn text<'a>(&self, text: Cow<'a, str>) -> Result<Value<'a>, Broken> {
        let is_short = text.len() <= MAX_KEY_BYTES;
        match self.kind {
            Kind::Uuid => text::uuid(&text).map(Value::Uuid).ok_or("not_a_uuid"),
            Kind::Email | Kind::Uri | Kind::Url if !is_short => Err("length"),
            // The URL standard escapes it.
            Kind::Url if text.contains('\0') => Err("nul_character"),
            Kind::Email if !text::is_email(&text) => Err("not_an_email"),
            Kind::Uri if !text::is_uri(&text) => Err("not_a_uri"),
            Kind::Url => {
                let url = match text {
                    Cow::Borrowed(text) => text::url(text),
                    Cow::Owned(text) => text::url(&text).map(|url| Cow::Owned(url.into_owned())),
                };
                url.map(Value::Text).ok_or("not_a_url")
            }
            _ => Ok(Value::Text(text)),
        }
    }

    fn json_text<'a>(&self, text: &'a str, is_object: bool) -> Result<Value<'a>, Broken> {
        let count = json::count(text, is_object).ok_or("not_json")?;
        self.check_length(count)?;
        Ok(Value::Json(Cow::Borrowed(text)))
    }

    /// Holds every constraint.
    fn check(&self, value: &Value<'_>) -> Result<(), Broken> {
        let constraints = &self.constraints;
        match value {
            Value::Text(text) => {
                // PostgreSQL's text cannot hold it.
                if memchr::memchr(0, text.as_bytes()).is_some() {
                    return Err("nul_character");
                }
                let (min, max) = (constraints.min_length.unwrap_or(0) as usize, self.max_length() as usize);
                // Bytes bound characters from above, and four times as many characters from below: counting is seldom needed.
                let bytes = text.len();
                if bytes > max || bytes < min.saturating_mul(4) {
                    let count = text.chars().count();
                    if count > max || count < min {
                        return Err("length");
                    }
                }
                let is_url = matches!(self.kind, Kind::Url);
                if bytes > MAX_KEY_BYTES && (constraints.is_indexed || is_url) {
                    return Err("length");
                }
                if constraints.pattern.as_ref().is_some_and(|pattern| !pattern.whole.is_match(text)) {
                    return Err("pattern");
                }
            }
            Value::Uuid(uuid) => {
                if let Some(pattern) = &constraints.pattern
                    && !pattern.whole.is_match(&uuid.to_string())
                {
                    return Err("pattern");
                }
            }
            Value::Integers(items) => {
                self.check_length(items.len())?;
                // A number and its header take twelve bytes.
                self.check_bytes(|| items.len().saturating_mul(12))?;
            }
            Value::List(_, items) => {
                self.check_length(items.len())?;
                self.check_bytes(|| value.sql_text().map_or(0, |text| text.len()))?;
            }
            Value::Json(text) => self.check_bytes(|| text.len())?,
            Value::Numeric(number) => {
                self.check_bytes(|| usize::from(number.scale()) / 2 + number.groups().len())?;
            }
            Value::Point { longitude, latitude } => point::check(*longitude, *latitude, constraints.bounds)?,
            _ => {}
        }
        for (limit, end) in &constraints.limits {
            if value.compare(end).is_none_or(|order| !limit.admits(order)) {
                return Err("out_of_range");
            }
        }
        if constraints.allowed.as_ref().is_some_and(|allowed| !allowed.contains(value)) {
            return Err("not_allowed");
        }
        Ok(())
    }

    fn check_length(&self, count: usize) -> Result<(), Broken> {
        let min = self.constraints.min_length.unwrap_or(0) as usize;
        if (min..=self.max_length() as usize).contains(&count) { Ok(()) } else { Err("length") }
    }

    fn check_bytes(&self, bytes: impl FnOnce() -> usize) -> Result<(), Broken> {
        if self.constraints.is_indexed && bytes() > MAX_KEY_BYTES { Err("length") } else { Ok(()) }
    }

    /// Reads JSON as a body has it. It is valid, has no blanks around it, and is not null.
    pub(in crate::datasets) fn parse_json<'a>(&self, json: &'a str) -> Result<Value<'a>, Broken> {
        let value = self.read_json(json)?;
        self.check(&value)?;
        Ok(value)
    }

    fn read_json<'a>(&self, json: &'a str) -> Result<Value<'a>, Broken> {
        let code = self.code();
        match &self.kind {
            Kind::Integer => json_integer(json).map(Value::Integer),
            Kind::Year => {
                let year = json_integer(json).map_err(|code| match code {
                    "not_an_integer" => "not_a_year",
                    code => code,
                })?;
                let year = i32::try_from(year).ok().filter(|year| (-9999..=9999).contains(year));
                year.ok_or("out_of_range").and_then(|year| match year {
                    0 => Err("not_a_year"),
                    year => Ok(Value::Year(year)),
                })
            }
            Kind::Number { float } => {
                if !is_number(json) {
                    return Err(code);
                }
                let number = Numeric::parse(json, '.').map_err(number::code)?;
                if *float { number::to_f64(number).map(Value::Number) } else { Ok(Value::Numeric(number)) }
            }
            Kind::Boolean => match json {
                "true" => Ok(Value::Boolean(true)),
                "false" => Ok(Value::Boolean(false)),
                _ => Err(code),
            },
            Kind::GeoPoint(_) => {
                let (longitude, latitude) = point::read_array(json).ok_or(code)?;
                Ok(Value::Point { longitude, latitude })
            }
            Kind::List(item) => self.json_list(item, json),
            Kind::Object => self.json_text(json, true),
            Kind::Array => self.json_text(json, false),
            _ => match string(json) {
                Some(Ok(text)) => self.plain_text(text),
                Some(Err(code)) => Err(code),
                None => Err(code),
            },
        }
    }

    fn json_list<'a>(&self, item: &Declared, json: &'a str) -> Result<Value<'a>, Broken> {
        let items: Vec<&'a serde_json::value::RawValue> =
            serde_json::from_str(json).map_err(|_| "not_a_list")?;
        let items = items.into_iter().map(|json| match json.get() {
            "null" => Err("not_a_list"),
            json => item.parse_json(json),
        });
        if let Kind::Integer = item.kind {
            let numbers = items.map(|item| match item? {
                Value::Integer(number) => Ok(number),
                _ => Err("not_an_integer"),
            });
            return numbers.collect::<Result<_, _>>().map(Value::Integers);
        }
        Ok(Value::List(item.item(), items.collect::<Result<_, _>>()?))
    }

    /// Reads a value that JSON has as a string.
    fn plain_text<'a>(&self, text: Cow<'a, str>) -> Result<Value<'a>, Broken> {
        let dated = match self.kind {
            Kind::Date => time::iso_date(&text).map(Value::Date),
            Kind::Time => time::iso_time(&text).map(Value::Time).ok_or("not_a_time"),
            Kind::DateTime => time::iso_datetime(&text, Tz::UTC).map(Value::DateTime),
            Kind::YearMonth => time::year_month(&text).map(Value::YearMonth),
            _ => return self.text(text),
        };
        dated.map_err(|code| nul_or(&text, code))
    }

    /// Reads what a URL has, which is written as JSON writes it, without quotes. Holds no constraints. Of a list it is one item.
    pub(in crate::datasets) fn parse_plain<'a>(&self, text: &'a str) -> Result<Value<'a>, Broken> {
        if memchr::memchr(0, text.as_bytes()).is_some() {
            return Err("nul_character");
        }
        let plain = || Written::default();
        match &self.kind {
            Kind::Integer => number::plain_integer(text).map(Value::Integer),
            Kind::Number { float: false } => number::numeric(text, &plain()).map(Value::Numeric),
            Kind::Number { float: true } => number::float(text, &plain()).map(Value::Number),
            Kind::Boolean => match text {
                "true" => Ok(Value::Boolean(true)),
                "false" => Ok(Value::Boolean(false)),
                _ => Err("not_a_boolean"),
            },
            Kind::Year => {
                // As the API answers it, 44, or as XSD has it, 0044.
                let year = number::plain_integer(text).map_err(|code| match code {
                    "not_an_integer" => "not_a_year",
                    code => code,
                })?;
                let year = i32::try_from(year).ok().filter(|year| (-9999..=9999).contains(year));
                year.map(Value::Year).ok_or("out_of_range")
            }
            Kind::GeoPoint(_) => {
                let (longitude, latitude) =
                    point::read(text, super::GeoPoint::Default).ok_or("not_a_point")?;
                point::check(longitude, latitude, None)?;
                Ok(Value::Point { longitude, latitude })
            }
            Kind::List(item) => item.parse_plain(text),
            Kind::String | Kind::Any | Kind::Email | Kind::Uri | Kind::Url | Kind::Object | Kind::Array => {
                Ok(Value::Text(Cow::Borrowed(text)))
            }
            Kind::Uuid | Kind::Date | Kind::Time | Kind::DateTime | Kind::YearMonth => {
                self.plain_text(Cow::Borrowed(text))
            }
        }
    }

    /// The field that a file has for the value, as [`Declared::file_sql`] makes PostgreSQL write it.
    pub(in crate::datasets) fn field<'v>(&self, value: &'v Value<'_>) -> Cow<'v, str> {
        let written = &self.written;
        Cow::Owned(match value {
            Value::Null => return Cow::Borrowed(""),
            Value::Text(text) | Value::Json(text) => return Cow::Borrowed(text),
            Value::Boolean(is_true) => {
                let words = if *is_true { &written.true_values } else { &written.false_values };
                return Cow::Owned(words.first().map_or("", |word| &**word).to_owned());
            }
            Value::Numeric(_) | Value::Number(_) if written.decimal != '.' => {
                let text = value.sql_text().unwrap_or_default();
                text.replace('.', written.decimal.encode_utf8(&mut [0; 4]))
            }
            Value::Date(day) => match &written.pattern {
                Some(pattern) => pattern.date_text(*day),
                None => return value.sql_text().unwrap_or_default(),
            },
            Value::Time(micros) => match &written.pattern {
                Some(pattern) => pattern.time_text(*micros),
                None => return value.sql_text().unwrap_or_default(),
            },
            Value::DateTime(micros) => match &written.pattern {
                Some(pattern) => pattern.datetime_text(*micros, written.timezone),
                None => return value.sql_text().unwrap_or_default(),
            },
            Value::Year(year) => {
                format!("{}{:04}", if *year < 0 { "-" } else { "" }, year.unsigned_abs())
            }
            Value::YearMonth(day) => day.format("%Y-%m").to_string(),
            Value::Point { longitude, latitude } => {
                let format = match self.kind {
                    Kind::GeoPoint(format) => format,
                    _ => super::GeoPoint::Default,
                };
                point::write(*longitude, *latitude, format)
            }
            Value::Integers(numbers) => {
                let items: Vec<_> = numbers.iter().map(ToString::to_string).collect();
                items.join(&written.delimiter)
            }
            Value::List(_, items) => {
                let items: Vec<_> = match &self.kind {
                    Kind::List(item) => items.iter().map(|value| item.field(value)).collect(),
                    _ => Vec::new(),
                };
                items.join(&written.delimiter)
            }
            Value::Integer(_) | Value::Number(_) | Value::Numeric(_) | Value::Uuid(_) => {
                return value.sql_text().unwrap_or_default();
            }
        })
    }

    /// Whether the field would be a value.
    pub(super) fn says_value(&self, field: &str) -> bool {
        self.read(field).is_ok()
    }

    /// The field that a file has for the value, where it stands for null.
    pub(in crate::datasets) fn null_of(&self, value: &Value<'_>) -> Option<&str> {
        let nulls = || self.nulls.iter().map(|null| &**null);
        match value {
            _ if self.nulls.is_empty() => None,
            Value::Text(text) => nulls().find(|null| *null == text),
            // Of those only an empty list is the empty field.
            Value::List(..) | Value::Integers(_) if nulls().all(str::is_empty) => {
                let is_empty = match value {
                    Value::List(_, items) => items.is_empty(),
                    Value::Integers(items) => items.is_empty(),
                    _ => false,
                };
                is_empty.then_some("")
            }
            // PostgreSQL writes it with blanks of its own.
            Value::Json(_) => nulls().find(|null| super::same(value, &Value::Json(Cow::Borrowed(null)))),
            _ => {
                let field = self.field(value);
                nulls().find(|null| *null == field)
            }
        }
    }

    /// Whether the field that a file has for the value is read as this value.
    pub(in crate::datasets) fn comes_back(&self, value: &Value<'_>) -> bool {
        let is_certain = match &self.kind {
            Kind::List(_) => false,
            Kind::Date | Kind::Time | Kind::DateTime => self.written.pattern.is_none(),
            _ => true,
        };
        is_certain || self.read(&self.field(value)).is_ok_and(|read| read == *value)
    }

    /// The code of what is no value of the type.
    pub(in crate::datasets) fn code(&self) -> Broken {
        match &self.kind {
            Kind::String | Kind::Any => "not_text",
            Kind::Uuid => "not_a_uuid",
            Kind::Email => "not_an_email",
            Kind::Uri => "not_a_uri",
            Kind::Url => "not_a_url",
            Kind::Integer => "not_an_integer",
            Kind::Number { .. } => "not_a_number",
            Kind::Boolean => "not_a_boolean",
            Kind::Date => "not_a_date",
            Kind::Time => "not_a_time",
            Kind::DateTime => "not_a_datetime",
            Kind::Year => "not_a_year",
            Kind::YearMonth => "not_a_yearmonth",
            Kind::GeoPoint(_) => "not_a_point",
            Kind::List(_) => "not_a_list",
            Kind::Object | Kind::Array => "not_json",
        }
    }
}

/// The list of these items.
fn items<'a>(item: &Declared, items: impl Iterator<Item = &'a str>) -> Result<Value<'a>, Broken> {
    let items = items.map(without_blanks);
    if let Kind::Integer = item.kind {
        let mut numbers = Vec::new();
        for text in items {
            numbers.push(number::integer(text, &item.written)?);
        }
        return Ok(Value::Integers(numbers));
    }
    let values = items.map(|text| item.parse(text)).collect::<Result<_, _>>()?;
    Ok(Value::List(item.item(), values))
}

/// The text without the spaces and tabs around it. Most texts have none.
pub(in crate::datasets) fn without_blanks(text: &str) -> &str {
    match text.as_bytes() {
        [b' ' | b'\t', ..] | [.., b' ' | b'\t'] => text.trim_matches([' ', '\t']),
        _ => text,
    }
}

/// A field with a NUL character is refused for that, whatever else it is.
fn nul_or(field: &str, code: Broken) -> Broken {
    if memchr::memchr(0, field.as_bytes()).is_some() { "nul_character" } else { code }
}

fn is_number(json: &str) -> bool {
    json.starts_with(|first: char| first == '-' || first.is_ascii_digit())
}

/// `5` is a whole number, and so are `5.0` and `5e0`.
fn json_integer(json: &str) -> Result<i64, Broken> {
    if !is_number(json) {
        return Err("not_an_integer");
    }
    if let Ok(number) = json.parse() {
        return Ok(number);
    }
    let number = match Numeric::parse(json, '.') {
        Ok(number) => number.to_i64(),
        Err(NumericError::Malformed) => return Err("not_an_integer"),
        Err(NumericError::OutOfRange) => Err(NumericError::OutOfRange),
    };
    number.map_err(|_| "out_of_range")?.ok_or("not_an_integer")
}

/// The text of a JSON string. `None`: it is no string. Half a surrogate pair is no text.
fn string(json: &str) -> Option<Result<Cow<'_, str>, Broken>> {
    #[derive(Deserialize)]
    struct Text<'a>(#[serde(borrow)] Cow<'a, str>);
    json.starts_with('"')
        .then(|| serde_json::from_str::<Text<'_>>(json).map(|Text(text)| text).map_err(|_| "invalid_utf8"))
}
