//! What can be asked of a column: its kind, the operators the kind has, and how a URL writes its values.

use chrono::{DateTime, Datelike, NaiveDate, NaiveDateTime, NaiveTime, Timelike, Utc};

use crate::datasets::{
    Column, Fault, Rule,
    declared::{Declared, Kind},
    numeric::MAX_DIGITS,
};

/// Greatest exponent of ten of a number, either way: PostgreSQL's `numeric` holds more.
const MAX_EXPONENT: i32 = 1_000;

/// The kinds of columns, as far as filters tell them apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Family {
    /// Free text.
    Text,
    /// One of these texts.
    Enum(Vec<Box<str>>),
    /// A UUID.
    Uuid,
    /// A whole number of 64 bits.
    Integer,
    /// A decimal number; `float`: `double precision`.
    Number {
        /// Stored as `double precision`.
        float: bool,
    },
    /// True or false.
    Boolean,
    /// A day.
    Date,
    /// A time of day.
    Time,
    /// A point in time.
    DateTime,
    /// A year, a number of its own.
    Year,
    /// A month, stored as its first day.
    YearMonth,
    /// A point on the Earth.
    Point,
    /// A list of these.
    List(Box<Family>),
    /// A JSON object or array.
    Json,
}

/// What a filter does with its values. The name is what stands behind `__`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operator {
    /// One of the values.
    Equal,
    /// None of the values; rows without a value are kept.
    Not,
    /// One of the values is a part of the text, in any case.
    Contains,
    /// The text begins with one of the values, in any case.
    Starts,
    /// Greater.
    Gt,
    /// Greater or equal.
    Gte,
    /// Less.
    Lt,
    /// Less or equal.
    Lte,
    /// Whether there is no value.
    Null,
    /// The list has one of the values.
    Has,
}

impl Operator {
    /// As it stands behind `__`; nothing for equality.
    pub fn name(self) -> &'static str {
        match self {
            Self::Equal => "",
            Self::Not => "not",
            Self::Contains => "contains",
            Self::Starts => "starts",
            Self::Gt => "gt",
            Self::Gte => "gte",
            Self::Lt => "lt",
            Self::Lte => "lte",
            Self::Null => "null",
            Self::Has => "has",
        }
    }
}

/// A value of a filter or a cursor, of the type that the database compares with.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// `text`
    Text(String),
    /// `bigint`
    Integer(i64),
    /// `integer`
    Year(i32),
    /// `numeric`, as decimal digits.
    Numeric(String),
    /// `double precision`
    Float(f64),
    /// `boolean`
    Boolean(bool),
    /// `date`
    Date(NaiveDate),
    /// `time`
    Time(NaiveTime),
    /// `timestamptz`
    Instant(DateTime<Utc>),
    /// `uuid`, in lower case.
    Uuid(String),
    /// `geometry`: longitude and latitude.
    Point(f64, f64),
    /// `jsonb`
    Json(String),
    /// An array of the items' type.
    List(Vec<Operand>),
}

impl Family {
    /// The column's.
    pub fn of(column: &Column) -> Self {
        match &column.rule {
            Rule::Text { .. } | Rule::Code { .. } | Rule::Verbatim { .. } => Self::Text,
            Rule::OneOf(words) => Self::Enum(words.to_vec()),
            Rule::Integer { .. } => Self::Integer,
            Rule::Number { .. } => Self::Number { float: true },
            Rule::PastDate { .. } => Self::Date,
            Rule::Integers { .. } => Self::List(Box::new(Self::Integer)),
            Rule::Declared(declared) => Self::of_declared(declared),
        }
    }

    fn of_declared(declared: &Declared) -> Self {
        let allowed = declared.constraints.allowed.as_ref().map(|allowed| &allowed.values);
        match &declared.kind {
            Kind::String | Kind::Any | Kind::Email | Kind::Uri | Kind::Url if allowed.is_some() => {
                let words = allowed.into_iter().flatten();
                Self::Enum(words.filter_map(|word| word.sql_text()).map(Into::into).collect())
            }
            Kind::String | Kind::Any | Kind::Email | Kind::Uri | Kind::Url => Self::Text,
            Kind::Uuid => Self::Uuid,
            Kind::Integer => Self::Integer,
            Kind::Number { float } => Self::Number { float: *float },
            Kind::Boolean => Self::Boolean,
            Kind::Date => Self::Date,
            Kind::Time => Self::Time,
            Kind::DateTime => Self::DateTime,
            Kind::Year => Self::Year,
            Kind::YearMonth => Self::YearMonth,
            Kind::GeoPoint(_) => Self::Point,
            Kind::List(item) => Self::List(Box::new(Self::of_declared(item))),
            Kind::Object | Kind::Array => Self::Json,
        }
    }

    /// The operators beside equality.
    pub fn operators(&self) -> &'static [Operator] {
        use Operator::{Contains, Gt, Gte, Has, Lt, Lte, Not, Null, Starts};
        match self {
            Self::Text => &[Not, Contains, Starts, Gte, Lt, Null],
            Self::Integer
            | Self::Number { .. }
            | Self::Date
            | Self::Time
            | Self::DateTime
            | Self::Year
            | Self::YearMonth => &[Not, Gt, Gte, Lt, Lte, Null],
            Self::Boolean | Self::Enum(_) | Self::Uuid => &[Not, Null],
            Self::List(_) => &[Has, Null],
            Self::Point | Self::Json => &[Null],
        }
    }

    /// Whether rows can be put in the order of it.
    pub fn is_ordered(&self) -> bool {
        !matches!(self, Self::Point | Self::List(_) | Self::Json)
    }

    /// Whether its values are text.
    pub fn is_text(&self) -> bool {
        matches!(self, Self::Text | Self::Enum(_))
    }

    /// Whether its values can be added.
    pub fn is_number(&self) -> bool {
        matches!(self, Self::Integer | Self::Number { .. })
    }

    /// PostgreSQL's type of a value.
    pub fn sql_type(&self) -> &'static str {
        match self {
            Self::Text | Self::Enum(_) => "text",
            Self::Uuid => "uuid",
            Self::Integer => "bigint",
            Self::Number { float: false } => "numeric",
            Self::Number { float: true } => "double precision",
            Self::Boolean => "boolean",
            Self::Date | Self::YearMonth => "date",
            Self::Time => "time",
            Self::DateTime => "timestamptz",
            Self::Year => "integer",
            Self::Point => "geometry(Point,4326)",
            Self::Json => "jsonb",
            Self::List(item) => match **item {
                Self::Text | Self::Enum(_) => "text[]",
                Self::Integer => "bigint[]",
                Self::Number { float: false } => "numeric[]",
                Self::Number { float: true } => "double precision[]",
                Self::Boolean => "boolean[]",
                Self::Date | Self::YearMonth => "date[]",
                Self::Time => "time[]",
                Self::Year => "integer[]",
                Self::Uuid => "uuid[]",
                _ => "timestamptz[]",
            },
        }
    }

    /// Reads a value as a URL writes it: ISO dates, numbers with a point, `true` and `false`.
    pub fn read(&self, name: &str, text: &str) -> Result<Operand, Fault> {
        let fault = |code, what: &str| Fault::new(code, format!("{name} must be {what}"));
        match self {
            Self::Text => {
                without_nul(text).ok_or_else(|| fault("nul_character", "text without the NUL character"))
            }
            Self::Enum(words) if words.iter().any(|word| **word == *text) => Ok(Operand::Text(text.to_owned())),
            Self::Enum(words) => {
                Err(fault("not_allowed", &format!("one of {}", listed(words.iter().map(|word| &**word)))))
            }
            Self::Uuid => uuid(text).ok_or_else(|| fault("not_a_uuid", "a UUID: 8-4-4-4-12 hexadecimal digits")),
            Self::Integer if !is_integer(text) => Err(fault("not_an_integer", "a whole number")),
            Self::Integer => text
                .parse()
                .map(Operand::Integer)
                .map_err(|_| fault("out_of_range", "a whole number of at most 64 bits")),
            Self::Number { float } => match decimal(text) {
                Err(code) => Err(fault(code, "a decimal number of at most 40 digits, such as 12.5 or 1e3")),
                Ok(()) if *float => text
                    .parse()
                    .ok()
                    .filter(|number: &f64| number.is_finite())
                    .map(Operand::Float)
                    .ok_or_else(|| fault("out_of_range", "a number that double precision can hold")),
                Ok(()) => Ok(Operand::Numeric(text.to_owned())),
            },
            Self::Boolean => match text {
                "true" => Ok(Operand::Boolean(true)),
                "false" => Ok(Operand::Boolean(false)),
                _ => Err(fault("not_a_boolean", "true or false")),
            },
            Self::Date => date(text)
                .map(Operand::Date)
                .ok_or_else(|| fault("not_a_date", "a day that exists, as YYYY-MM-DD")),
            Self::Time => time(text).map(Operand::Time).ok_or_else(|| fault("not_a_time", "a time, as hh:mm:ss")),
            Self::DateTime => instant(text).map(Operand::Instant).ok_or_else(|| {
                fault(
                    "not_a_datetime",
                    "a date and time, as YYYY-MM-DDThh:mm:ssZ; without offset it is in UTC, and + is written %2B",
                )
            }),
            Self::Year => {
                year(text).map(Operand::Year).ok_or_else(|| fault("not_a_year", "a year from -9999 to 9999"))
            }
            Self::YearMonth => date(&format!("{text}-01"))
                .map(Operand::Date)
                .ok_or_else(|| fault("not_a_yearmonth", "a month, as YYYY-MM")),
            Self::Point => match numbers(text) {
                Some([longitude, latitude]) if longitude.abs() <= 180.0 && latitude.abs() <= 90.0 => {
                    Ok(Operand::Point(longitude, latitude))
                }
                _ => Err(fault("not_a_point", NOT_A_POINT)),
            },
            Self::Json => json(text).ok_or_else(|| fault("not_json", "JSON")),
            Self::List(item) => {
                let items: Vec<serde_json::Value> = serde_json::from_str(text)
                    .map_err(|_| fault("not_a_list", "a JSON array; __has looks for one item"))?;
                let items = items.iter().map(|value| match value {
                    serde_json::Value::String(text) => item.read(name, text),
                    other => item.read(name, &other.to_string()),
                });
                items.collect::<Result<_, _>>().map(Operand::List)
            }
        }
    }

    /// Reads a value as PostgreSQL writes it. Nothing: it did not write it.
    pub(super) fn read_written(&self, text: &str) -> Option<Operand> {
        match self {
            // What is no longer allowed may still be where a page ended.
            Self::Enum(_) => without_nul(text),
            Self::Boolean => match text {
                "true" => Some(Operand::Boolean(true)),
                "false" => Some(Operand::Boolean(false)),
                _ => None,
            },
            Self::DateTime => {
                let time = DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z").ok()?.to_utc();
                // PostgreSQL refuses years that chrono has.
                (is_writable(time.year()) && time.nanosecond() < 1_000_000_000)
                    .then_some(Operand::Instant(time))
            }
            Self::YearMonth => date(text).map(Operand::Date),
            // PostgreSQL writes all digits, also of what a filter would write with an exponent.
            Self::Number { float: false } => {
                let plain = text.strip_prefix('-').unwrap_or(text);
                let is_decimal = plain.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.')
                    && plain.bytes().filter(|&byte| byte == b'.').count() <= 1
                    && plain.starts_with(|first: char| first.is_ascii_digit())
                    && plain.len() <= 20_000;
                is_decimal.then(|| Operand::Numeric(text.to_owned()))
            }
            Self::Point | Self::Json | Self::List(_) => None,
            other => other.read("", text).ok(),
        }
    }
}

/// What a point must be, for messages.
pub(super) const NOT_A_POINT: &str = "longitude,latitude: from -180 to 180 and from -90 to 90";

/// With commas between them; beyond twenty, only how many there are.
pub(super) fn listed<'a>(names: impl Iterator<Item = &'a str>) -> String {
    const SHOWN: usize = 20;
    let names: Vec<_> = names.collect();
    match names.len().checked_sub(SHOWN) {
        Some(more) if more > 0 => format!("{} and {more} others", names[..SHOWN].join(", ")),
        _ => names.join(", "),
    }
}

/// Exactly `N` finite numbers with commas between them.
pub(super) fn numbers<const N: usize>(text: &str) -> Option<[f64; N]> {
    let mut parts = text.split(',');
    let mut numbers = [0.0; N];
    for number in &mut numbers {
        *number = parts.next()?.trim().parse().ok().filter(|number: &f64| number.is_finite())?;
    }
    parts.next().is_none().then_some(numbers)
}

fn without_nul(text: &str) -> Option<Operand> {
    (!text.contains('\0')).then(|| Operand::Text(text.to_owned()))
}

fn is_integer(text: &str) -> bool {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())
}

/// Whether the text is a decimal number that PostgreSQL's `numeric` takes; otherwise the code of the fault.
fn decimal(text: &str) -> Result<(), &'static str> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
        Some((mantissa, exponent)) if is_integer(exponent) => (mantissa, Some(exponent)),
        Some(_) => return Err("not_a_number"),
        None => (unsigned, None),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = || whole.bytes().chain(fraction.bytes());
    if digits().next().is_none() || !digits().all(|byte| byte.is_ascii_digit()) {
        return Err("not_a_number");
    }
    let significant = digits().skip_while(|&byte| byte == b'0').count();
    let exponent = exponent.map_or(Ok(0), str::parse::<i32>);
    let is_small = exponent.is_ok_and(|exponent| (-MAX_EXPONENT..=MAX_EXPONENT).contains(&exponent));
    if significant > MAX_DIGITS || mantissa.len() > 4 * MAX_DIGITS || !is_small {
        return Err("out_of_range");
    }
    Ok(())
}

fn uuid(text: &str) -> Option<Operand> {
    let is_uuid = text.len() == 36
        && text.bytes().enumerate().all(|(place, byte)| match place {
            8 | 13 | 18 | 23 => byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    is_uuid.then(|| Operand::Uuid(text.to_ascii_lowercase()))
}

fn is_writable(year: i32) -> bool {
    (1..=9999).contains(&year)
}

/// `YYYY-MM-DD`
pub(super) fn date(text: &str) -> Option<NaiveDate> {
    let has_shape = text.len() == 10
        && text.bytes().enumerate().all(|(place, byte)| match place {
            4 | 7 => byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    let date = NaiveDate::parse_from_str(has_shape.then_some(text)?, "%Y-%m-%d").ok()?;
    is_writable(date.year()).then_some(date)
}

/// `hh:mm:ss[.f…]`, cut to microseconds.
fn time(text: &str) -> Option<NaiveTime> {
    let has_shape = text.as_bytes().get(2) == Some(&b':') && text.as_bytes().get(5) == Some(&b':');
    let time = NaiveTime::parse_from_str(has_shape.then_some(text)?, "%H:%M:%S%.f").ok()?;
    // chrono keeps a leap second in its nanoseconds.
    (time.nanosecond() < 1_000_000_000).then(|| cut(time))
}

fn cut<T>(time: T) -> T
where
    T: Copy + Timelike,
{
    time.with_nanosecond(time.nanosecond() / 1_000 * 1_000).unwrap_or(time)
}

/// With an offset or in UTC; a day alone is its midnight.
fn instant(text: &str) -> Option<DateTime<Utc>> {
    if let Some(day) = date(text) {
        return day.and_hms_opt(0, 0, 0).map(|midnight| midnight.and_utc());
    }
    // A plus that was not encoded comes as a blank; the time is 8 characters at least.
    let text = match text.rfind(' ') {
        Some(place) if place > 10 => format!("{}+{}", &text[..place], &text[place + 1..]),
        _ => text.to_owned(),
    };
    date(text.get(..10)?)?;
    let time = match DateTime::parse_from_rfc3339(&text) {
        Ok(time) => time.to_utc(),
        Err(_) => NaiveDateTime::parse_from_str(&text, "%Y-%m-%dT%H:%M:%S%.f").ok()?.and_utc(),
    };
    (is_writable(time.year()) && time.nanosecond() < 1_000_000_000).then(|| cut(time))
}

fn year(text: &str) -> Option<i32> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let is_year = (1..=4).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_digit());
    is_year.then(|| text.parse().ok())?
}

/// As `jsonb` can keep it.
fn json(text: &str) -> Option<Operand> {
    fn has_nul(value: &serde_json::Value) -> bool {
        use serde_json::Value;
        match value {
            Value::String(text) => text.contains('\0'),
            Value::Array(items) => items.iter().any(has_nul),
            Value::Object(members) => {
                members.iter().any(|(name, value)| name.contains('\0') || has_nul(value))
            }
            _ => false,
        }
    }
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    (!has_nul(&value)).then(|| Operand::Json(value.to_string()))
}
