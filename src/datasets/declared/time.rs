//! Days, times of day and moments: ISO 8601, and the patterns of strftime that a field may have.

use std::{fmt::Write, str::FromStr};

use chrono::{DateTime, Datelike, LocalResult, NaiveDate, NaiveDateTime, TimeZone, Timelike};
use chrono_tz::Tz;

use super::Broken;

const MICROS: i64 = 1_000_000;
const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];

/// How files write a day, a time of day or both.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    /// As it was declared.
    pub text: Box<str>,
    parts: Box<[Part]>,
    /// The patterns that most files have are read without a loop over their parts.
    day: Option<(Order, [u8; 2])>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Order {
    DayMonthYear,
    MonthDayYear,
    YearMonthDay,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Literal(Box<str>),
    Field(Directive),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Directive {
    Day,
    Month,
    Year,
    ShortYear,
    ShortName,
    Name,
    DayOfYear,
    Hour,
    Hour12,
    Minute,
    Second,
    Fraction,
    Half,
    Offset,
}

/// What a pattern is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    Date,
    Time,
    DateTime,
}

impl Directive {
    fn of(letter: char) -> Option<Self> {
        Some(match letter {
            'd' => Self::Day,
            'm' => Self::Month,
            'Y' => Self::Year,
            'y' => Self::ShortYear,
            'b' => Self::ShortName,
            'B' => Self::Name,
            'j' => Self::DayOfYear,
            'H' => Self::Hour,
            'I' => Self::Hour12,
            'M' => Self::Minute,
            'S' => Self::Second,
            'f' => Self::Fraction,
            'p' => Self::Half,
            'z' => Self::Offset,
            _ => return None,
        })
    }

    fn is_of_day(self) -> bool {
        use Directive::{Day, DayOfYear, Month, Name, ShortName, ShortYear, Year};
        matches!(self, Day | Month | Year | ShortYear | ShortName | Name | DayOfYear)
    }

    /// What PostgreSQL's `to_char` calls it.
    fn sql(self) -> &'static str {
        match self {
            Self::Day => "DD",
            Self::Month => "MM",
            Self::Year => "YYYY",
            Self::ShortYear => "YY",
            Self::ShortName => "Mon",
            Self::Name => "FMMonth",
            Self::DayOfYear => "DDD",
            Self::Hour => "HH24",
            Self::Hour12 => "HH12",
            Self::Minute => "MI",
            Self::Second => "SS",
            Self::Fraction => "US",
            Self::Half => "AM",
            Self::Offset => "\"+0000\"",
        }
    }
}

impl Format {
    /// Reads a pattern. The error says what is wrong with it.
    pub(super) fn new(text: &str, scope: Scope) -> Result<Self, String> {
        let mut parts: Vec<Part> = Vec::new();
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            if character == '%' {
                let letter = characters.next().ok_or("a % ends the pattern")?;
                let directive = Directive::of(letter).filter(|directive| match scope {
                    Scope::Date => directive.is_of_day(),
                    Scope::Time => !directive.is_of_day() && *directive != Directive::Offset,
                    Scope::DateTime => true,
                });
                let directive = directive.ok_or_else(|| format!("%{letter} is not supported here"))?;
                if parts.contains(&Part::Field(directive)) {
                    return Err(format!("%{letter} is there twice"));
                }
                parts.push(Part::Field(directive));
                continue;
            }
            // The pattern is a part of the statements that write files.
            if character.is_control() || matches!(character, '\'' | '"' | '\\') {
                return Err("it has a quote, a backslash or a control character".to_owned());
            }
            match parts.last_mut() {
                Some(Part::Literal(literal)) => *literal = format!("{literal}{character}").into(),
                _ => parts.push(Part::Literal(character.to_string().into())),
            }
        }
        let format = Self { text: text.into(), day: fast(&parts), parts: parts.into() };
        format.check(scope)?;
        Ok(format)
    }

    fn has(&self, directive: Directive) -> bool {
        self.parts.contains(&Part::Field(directive))
    }

    /// Whether exactly one value is what a text of this pattern can mean.
    fn check(&self, scope: Scope) -> Result<(), String> {
        use Directive::{
            Day, DayOfYear, Fraction, Half, Hour, Hour12, Minute, Month, Name, Second, ShortName, ShortYear,
            Year,
        };
        let count = |directives: &[Directive]| directives.iter().filter(|one| self.has(**one)).count();
        if scope != Scope::Time {
            let month = count(&[Month, ShortName, Name]);
            let day = matches!((count(&[Day]), month, count(&[DayOfYear])), (1, 1, 0) | (0, 0, 1));
            if count(&[Year, ShortYear]) != 1 || !day {
                return Err("it must have one year, and one month and day or the day of the year".to_owned());
            }
        }
        if scope != Scope::Date {
            let twelve = count(&[Hour12, Half]);
            if !matches!((count(&[Hour]), twelve), (1, 0) | (0, 2)) {
                return Err("it must have %H, or %I and %p".to_owned());
            }
            let (minute, second) = (self.has(Minute), self.has(Second));
            if (second && !minute) || (self.has(Fraction) && !second) {
                return Err("it has seconds without minutes, or a fraction without seconds".to_owned());
            }
        }
        for pair in self.parts.windows(2) {
            // Digits of any number before digits: nobody can say where the one ends.
            if pair[0] == Part::Field(Fraction)
                && !matches!(&pair[1], Part::Literal(literal) if !literal.starts_with(|c: char| c.is_ascii_digit()))
            {
                return Err("nothing separates %f from what follows".to_owned());
            }
        }
        Ok(())
    }

    /// The pattern as `to_char` has it.
    pub(super) fn sql(&self) -> String {
        let parts = self.parts.iter().map(|part| match part {
            Part::Literal(literal) => format!("\"{literal}\""),
            Part::Field(directive) => directive.sql().to_owned(),
        });
        format!("'{}'", parts.collect::<String>())
    }

    /// Whether texts have an offset.
    pub(super) fn has_offset(&self) -> bool {
        self.has(Directive::Offset)
    }

    fn read(&self, text: &str) -> Option<Fields> {
        let mut fields = Fields::default();
        let mut rest = text;
        for part in &self.parts {
            rest = match part {
                Part::Literal(literal) => rest.strip_prefix(&**literal)?,
                Part::Field(directive) => fields.take(*directive, rest)?,
            };
        }
        rest.is_empty().then_some(fields)
    }

    /// Reads a day.
    pub(super) fn date(&self, text: &str) -> Result<NaiveDate, Broken> {
        if let Some((order, separators)) = self.day {
            return fast_date(text.as_bytes(), order, separators).ok_or_else(|| self.no_date(text));
        }
        let fields = self.read(text).ok_or_else(|| self.no_date(text))?;
        if fields.year == 0 { Err("out_of_range") } else { fields.date().ok_or("not_a_date") }
    }

    /// A year of five digits or `0000` makes it out of range. This is for what is refused, so it may take its time.
    fn no_date(&self, text: &str) -> Broken {
        let mut fields = Fields::default();
        let mut rest = text;
        for part in &self.parts {
            let next = match part {
                Part::Literal(literal) => rest.strip_prefix(&**literal),
                Part::Field(Directive::Year) => {
                    let end = rest.find(|character: char| !character.is_ascii_digit());
                    let (year, after) = rest.split_at(end.unwrap_or(rest.len()));
                    // A leap year.
                    fields.year = 2000;
                    (year == "0000" || (year.len() > 4 && !year.starts_with('0'))).then_some(after)
                }
                Part::Field(directive) => fields.take(*directive, rest),
            };
            match next {
                Some(next) => rest = next,
                None => return "not_a_date",
            }
        }
        if rest.is_empty() && fields.date().is_some() { "out_of_range" } else { "not_a_date" }
    }

    /// Reads a time of day.
    pub(super) fn time(&self, text: &str) -> Result<i64, Broken> {
        self.read(text).and_then(|fields| fields.time()).ok_or("not_a_time")
    }

    /// Reads a moment; without an offset, it is in that zone.
    pub(super) fn datetime(&self, text: &str, zone: Tz) -> Result<i64, Broken> {
        let fields = self.read(text).ok_or("not_a_datetime")?;
        let day = fields.date().filter(|_| fields.year > 0).ok_or("not_a_datetime")?;
        let micros = fields.time().ok_or("not_a_datetime")?;
        moment(day, micros, fields.offset, zone)
    }

    /// Writes a day.
    pub(super) fn date_text(&self, day: NaiveDate) -> String {
        self.write(day.and_hms_opt(0, 0, 0).unwrap_or_default())
    }

    /// Writes a time of day.
    pub(super) fn time_text(&self, micros: i64) -> String {
        self.write(DateTime::from_timestamp_micros(micros).unwrap_or_default().naive_utc())
    }

    /// Writes a moment: in UTC where the pattern has an offset, else in that zone.
    pub(super) fn datetime_text(&self, micros: i64, zone: Tz) -> String {
        let moment = DateTime::from_timestamp_micros(micros).unwrap_or_default();
        if self.has_offset() {
            self.write(moment.naive_utc())
        } else {
            self.write(moment.with_timezone(&zone).naive_local())
        }
    }

    /// As [`Format::sql`] makes PostgreSQL write it.
    fn write(&self, at: NaiveDateTime) -> String {
        let mut text = String::new();
        let month = MONTHS[at.month0() as usize % 12];
        for part in &self.parts {
            let _ = match part {
                Part::Literal(literal) => write!(text, "{literal}"),
                Part::Field(directive) => match directive {
                    Directive::Day => write!(text, "{:02}", at.day()),
                    Directive::Month => write!(text, "{:02}", at.month()),
                    Directive::Year => write!(text, "{:04}", at.year()),
                    Directive::ShortYear => write!(text, "{:02}", at.year().rem_euclid(100)),
                    Directive::ShortName => write!(text, "{}", &month[..3]),
                    Directive::Name => write!(text, "{month}"),
                    Directive::DayOfYear => write!(text, "{:03}", at.ordinal()),
                    Directive::Hour => write!(text, "{:02}", at.hour()),
                    Directive::Hour12 => write!(text, "{:02}", at.hour12().1),
                    Directive::Minute => write!(text, "{:02}", at.minute()),
                    Directive::Second => write!(text, "{:02}", at.second()),
                    Directive::Fraction => write!(text, "{:06}", at.nanosecond() / 1000),
                    Directive::Half => write!(text, "{}", if at.hour12().0 { "PM" } else { "AM" }),
                    Directive::Offset => write!(text, "+0000"),
                },
            };
        }
        text
    }
}

fn fast(parts: &[Part]) -> Option<(Order, [u8; 2])> {
    let [Part::Field(a), Part::Literal(first), Part::Field(b), Part::Literal(second), Part::Field(c)] = parts
    else {
        return None;
    };
    let order = match (a, b, c) {
        (Directive::Day, Directive::Month, Directive::Year) => Order::DayMonthYear,
        (Directive::Month, Directive::Day, Directive::Year) => Order::MonthDayYear,
        (Directive::Year, Directive::Month, Directive::Day) => Order::YearMonthDay,
        _ => return None,
    };
    match (first.as_bytes(), second.as_bytes()) {
        (&[first], &[second]) => Some((order, [first, second])),
        _ => None,
    }
}

fn fast_date(text: &[u8], order: Order, separators: [u8; 2]) -> Option<NaiveDate> {
    let text: &[u8; 10] = text.try_into().ok()?;
    let ([y1, y2, y3, y4], [m1, m2], [d1, d2], first, second) = match (order, text) {
        (Order::YearMonthDay, &[y1, y2, y3, y4, first, m1, m2, second, d1, d2]) => {
            ([y1, y2, y3, y4], [m1, m2], [d1, d2], first, second)
        }
        (Order::DayMonthYear, &[d1, d2, first, m1, m2, second, y1, y2, y3, y4])
        | (Order::MonthDayYear, &[m1, m2, first, d1, d2, second, y1, y2, y3, y4]) => {
            ([y1, y2, y3, y4], [m1, m2], [d1, d2], first, second)
        }
    };
    if [first, second] != separators {
        return None;
    }
    let year = number(&[y1, y2, y3, y4]).filter(|year| *year > 0)?;
    NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, number(&[m1, m2])?, number(&[d1, d2])?)
}

/// The number of some ASCII digits, at most nine.
fn number(digits: &[u8]) -> Option<u32> {
    digits
        .iter()
        .try_fold(0, |number, digit| digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0')))
}

/// What was read of a text so far.
#[derive(Debug, Default)]
struct Fields {
    year: i32,
    month: u32,
    day: u32,
    ordinal: Option<u32>,
    hour: u32,
    hour12: Option<u32>,
    is_afternoon: bool,
    minute: u32,
    second: u32,
    micros: u32,
    /// Seconds east of UTC.
    offset: Option<i64>,
}

impl Fields {
    /// Takes one from the beginning of the text and gives what follows it.
    fn take<'a>(&mut self, directive: Directive, text: &'a str) -> Option<&'a str> {
        let digits = |count: usize| {
            let (digits, rest) = (text.get(..count)?, text.get(count..)?);
            Some((number(digits.as_bytes())?, rest))
        };
        let (number, rest) = match directive {
            Directive::Year => digits(4)?,
            Directive::DayOfYear => digits(3)?,
            Directive::ShortName | Directive::Name => {
                let is_short = directive == Directive::ShortName;
                let month = MONTHS.iter().position(|name| {
                    let name = if is_short { &name[..3] } else { name };
                    text.get(..name.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(name))
                })?;
                let len = if is_short { 3 } else { MONTHS[month].len() };
                (u32::try_from(month).ok()? + 1, text.get(len..)?)
            }
            Directive::Half => {
                let half = text.get(..2)?;
                let is_afternoon = half.eq_ignore_ascii_case("pm");
                if !is_afternoon && !half.eq_ignore_ascii_case("am") {
                    return None;
                }
                (u32::from(is_afternoon), text.get(2..)?)
            }
            Directive::Fraction => {
                let (micros, rest) = fraction(text)?;
                // At most six, as Python has it.
                Some((micros, rest)).filter(|(_, rest)| text.len() - rest.len() <= 6)?
            }
            Directive::Offset => {
                let (offset, rest) = offset(text)?;
                self.offset = Some(offset);
                (0, rest)
            }
            _ => digits(2)?,
        };
        match directive {
            Directive::Day => self.day = number,
            Directive::Month | Directive::ShortName | Directive::Name => self.month = number,
            Directive::Year => self.year = i32::try_from(number).ok()?,
            // As POSIX has it.
            Directive::ShortYear => {
                self.year = i32::try_from(number).ok()? + if number < 69 { 2000 } else { 1900 };
            }
            Directive::DayOfYear => self.ordinal = Some(number),
            Directive::Hour => self.hour = number,
            Directive::Hour12 => self.hour12 = Some(number),
            Directive::Minute => self.minute = number,
            Directive::Second => self.second = number,
            Directive::Fraction => self.micros = number,
            Directive::Half => self.is_afternoon = number == 1,
            Directive::Offset => {}
        }
        Some(rest)
    }

    fn date(&self) -> Option<NaiveDate> {
        match self.ordinal {
            Some(ordinal) => NaiveDate::from_yo_opt(self.year, ordinal),
            None => NaiveDate::from_ymd_opt(self.year, self.month, self.day),
        }
    }

    fn time(&self) -> Option<i64> {
        let hour = match self.hour12 {
            Some(hour) if (1..=12).contains(&hour) => hour % 12 + if self.is_afternoon { 12 } else { 0 },
            Some(_) => return None,
            None => self.hour,
        };
        if hour > 23 || self.minute > 59 || self.second > 59 {
            return None;
        }
        let seconds = (hour * 60 + self.minute) * 60 + self.second;
        Some(i64::from(seconds) * MICROS + i64::from(self.micros))
    }
}

/// Takes the digits of a fraction of a second, as microseconds; what is smaller is cut off.
fn fraction(text: &str) -> Option<(u32, &str)> {
    let len = text.bytes().take_while(u8::is_ascii_digit).count();
    let (digits, rest) = text.split_at(len);
    let micros = number(digits.get(..len.min(6))?.as_bytes())?;
    (len > 0).then(|| (micros * 10_u32.pow(6 - len.min(6) as u32), rest))
}

/// Takes `Z`, `±hh:mm` or `±hhmm`, as seconds.
fn offset(text: &str) -> Option<(i64, &str)> {
    if let Some(rest) = text.strip_prefix('Z') {
        return Some((0, rest));
    }
    let sign = match text.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let hours = number(text.get(1..3)?.as_bytes())?;
    let rest = text.get(3..)?;
    let rest = rest.strip_prefix(':').unwrap_or(rest);
    let minutes = number(rest.get(..2)?.as_bytes())?;
    if hours > 23 || minutes > 59 {
        return None;
    }
    Some((sign * i64::from(hours * 60 + minutes) * 60, rest.get(2..)?))
}

/// `YYYY-MM-DD`.
pub(super) fn iso_date(text: &str) -> Result<NaiveDate, Broken> {
    let day = fast_date(text.as_bytes(), Order::YearMonthDay, *b"--");
    day.ok_or_else(|| match text.split_once('-') {
        Some((year, rest)) if is_far(year) && leap_day(rest) => "out_of_range",
        _ => "not_a_date",
    })
}

/// Whether it is a year that is written as one and not one of those from 1 to 9999.
fn is_far(year: &str) -> bool {
    year == "0000"
        || (year.len() > 4 && !year.starts_with('0') && year.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Whether `MM-DD` exists in some year.
fn leap_day(text: &str) -> bool {
    text.len() == 5 && fast_date(format!("2000-{text}").as_bytes(), Order::YearMonthDay, *b"--").is_some()
}

/// `hh:mm:ss[.f…]`, as microseconds; what is smaller is cut off.
pub(super) fn iso_time(text: &str) -> Option<i64> {
    let (micros, rest) = iso_time_prefix(text)?;
    rest.is_empty().then_some(micros)
}

fn iso_time_prefix(text: &str) -> Option<(i64, &str)> {
    let (time, rest) = (text.get(..8)?, text.get(8..)?);
    let &[h1, h2, b':', m1, m2, b':', s1, s2] = time.as_bytes() else { return None };
    let mut fields = Fields {
        hour: number(&[h1, h2])?,
        minute: number(&[m1, m2])?,
        second: number(&[s1, s2])?,
        ..Fields::default()
    };
    let rest = match rest.strip_prefix('.') {
        Some(digits) => {
            let (micros, rest) = fraction(digits)?;
            fields.micros = micros;
            rest
        }
        None => rest,
    };
    Some((fields.time()?, rest))
}

/// `YYYY-MM-DDThh:mm:ss[.f…][Z or ±hh:mm]`, as microseconds since 1970 in UTC.
pub(super) fn iso_datetime(text: &str, zone: Tz) -> Result<i64, Broken> {
    let parts = text.split_once('T').and_then(|(day, time)| Some((day, iso_time_prefix(time)?)));
    let (day, (micros, rest)) = parts.ok_or("not_a_datetime")?;
    let offset = if rest.is_empty() {
        None
    } else {
        // Only patterns have offsets without a colon.
        let offset = offset(rest).filter(|(_, rest)| rest.is_empty() && text.get(text.len() - 5..).is_some());
        let has_colon = rest == "Z" || rest.len() == 6;
        Some(offset.filter(|_| has_colon).ok_or("not_a_datetime")?.0)
    };
    match iso_date(day) {
        Ok(day) => moment(day, micros, offset, zone),
        Err("out_of_range") => Err("out_of_range"),
        Err(_) => Err("not_a_datetime"),
    }
}

/// The moment of a day and a time: the earlier of two where the clocks go back, and none where they go forward.
fn moment(day: NaiveDate, micros: i64, offset: Option<i64>, zone: Tz) -> Result<i64, Broken> {
    let midnight = day.and_hms_opt(0, 0, 0).unwrap_or_default().and_utc().timestamp_micros();
    let local = midnight + micros;
    let utc = match offset {
        Some(seconds) => local - seconds * MICROS,
        None if zone == Tz::UTC => local,
        None => {
            let naive = DateTime::from_timestamp_micros(local).unwrap_or_default().naive_utc();
            match zone.from_local_datetime(&naive) {
                LocalResult::Single(moment) | LocalResult::Ambiguous(moment, _) => moment.timestamp_micros(),
                LocalResult::None => return Err("not_a_datetime"),
            }
        }
    };
    let year = DateTime::from_timestamp_micros(utc).map_or(0, |moment| moment.year());
    if (1..=9999).contains(&year) { Ok(utc) } else { Err("out_of_range") }
}

/// A year as XSD's gYear has it: four digits, and `-` where it is before the first. There is no year 0.
pub(super) fn year(text: &str) -> Result<i32, Broken> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    if digits.len() < 4 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err("not_a_year");
    }
    if digits.len() > 4 {
        return Err(if digits.starts_with('0') { "not_a_year" } else { "out_of_range" });
    }
    text.parse().ok().filter(|year| *year != 0).ok_or("not_a_year")
}

/// `YYYY-MM`, as the first day of the month.
pub(super) fn year_month(text: &str) -> Result<NaiveDate, Broken> {
    let (year, month) = text.split_once('-').ok_or("not_a_yearmonth")?;
    if month.len() != 2 {
        return Err("not_a_yearmonth");
    }
    let month = number(month.as_bytes()).filter(|month| (1..=12).contains(month)).ok_or("not_a_yearmonth")?;
    if is_far(year) {
        return Err("out_of_range");
    }
    if year.len() != 4 {
        return Err("not_a_yearmonth");
    }
    let year = number(year.as_bytes()).and_then(|year| i32::try_from(year).ok());
    year.and_then(|year| NaiveDate::from_ymd_opt(year, month, 1)).ok_or("not_a_yearmonth")
}

/// A zone by IANA's name.
pub(super) fn zone(name: &str) -> Option<Tz> {
    Tz::from_str(name).ok()
}
