//! What a field could be, by its bytes alone.

/// A set of types, and of what was seen of a value. A column's types are those that all its values have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fit(u32);

/// The days' patterns as strftime has them, in the order of the bits of [`Fit::DATE`].
const DAYS: [&str; 4] = ["%Y-%m-%d", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y"];
/// Digits of a number: what PostgreSQL keeps and clients can be expected to.
const MAX_DIGITS: usize = 40;
/// Digits of an integer: beyond these, floating-point numbers lose some.
const MAX_INTEGER_DIGITS: usize = 15;
/// Digits of a fraction of a second.
const MAX_FRACTION_DIGITS: usize = 9;

const ISO_DAY: u32 = 1 << 3;
const DAY_MONTH_DOT: u32 = 1 << 4;
const DAY_MONTH: u32 = 1 << 5;
const MONTH_DAY: u32 = 1 << 6;
const MINUTES: u32 = 4;
const SECONDS: u32 = 8;

impl Fit {
    pub(super) const NONE: Self = Self(0);
    pub(super) const INTEGER: Self = Self(1);
    /// With a point.
    pub(super) const NUMBER: Self = Self(1 << 1);
    /// With a comma.
    pub(super) const COMMA: Self = Self(1 << 2);
    pub(super) const DATE: Self = Self(0b1111 << 3);
    /// As the days with hours and minutes, then with seconds, then as ISO 8601 has it.
    pub(super) const DATETIME: Self = Self(0b1_1111_1111 << 7);
    const ISO: Self = Self(1 << 15);
    pub(super) const BOOLEAN: Self = Self(1 << 16);
    pub(super) const UUID: Self = Self(1 << 17);
    /// Every type.
    pub(super) const ALL: Self = Self((1 << 18) - 1);
    /// Seen: a comma that does not stand between groups of three digits.
    pub(super) const DECIMAL_COMMA: Self = Self(1 << 18);
    /// Seen: a datetime that does not say where.
    pub(super) const NO_OFFSET: Self = Self(1 << 19);

    /// What the field could be. It is not empty and has no blanks at its edges.
    pub(super) fn of(field: &[u8]) -> Self {
        match field {
            [b'0'..=b'9', ..] => numbers(field).or(moments(field)).or(uuid(field)),
            [b'-' | b'.', ..] => numbers(field),
            b"true" | b"True" | b"TRUE" | b"false" | b"False" | b"FALSE" => Self::BOOLEAN,
            _ => uuid(field),
        }
    }

    pub(super) fn is_none(self) -> bool {
        self.0 == 0
    }

    pub(super) fn has(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    pub(super) fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The formats of the dates that are among them; two where day and month cannot be told apart.
    pub(super) fn date_formats(self) -> Vec<String> {
        formats(self.0, "")
    }

    /// The formats of the datetimes that are among them; `None` is ISO 8601.
    pub(super) fn datetime_formats(self) -> Vec<Option<String>> {
        let iso = self.has(Self::ISO).then_some(None);
        let minutes = formats(self.0 >> MINUTES, " %H:%M");
        let seconds = formats(self.0 >> SECONDS, " %H:%M:%S");
        iso.into_iter().chain(minutes.into_iter().chain(seconds).map(Some)).collect()
    }
}

fn formats(bits: u32, time: &str) -> Vec<String> {
    let days = DAYS.iter().zip([ISO_DAY, DAY_MONTH_DOT, DAY_MONTH, MONTH_DAY]);
    days.filter(|(_, bit)| bits & bit != 0).map(|(day, _)| format!("{day}{time}")).collect()
}

/// A whole number as people do not write it (with zeros in front, with `+`, with many digits) is a code, and no number of another kind.
fn numbers(field: &[u8]) -> Fit {
    let digits = |bytes: &[u8]| bytes.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let unsigned = field.strip_prefix(b"-").unwrap_or(field);
    let whole = digits(unsigned);
    let (whole, rest) = unsigned.split_at(whole);
    if matches!(whole, [b'0', _, ..]) {
        return Fit::NONE;
    }
    match rest {
        [] if (1..=MAX_INTEGER_DIGITS).contains(&whole.len()) => Fit::INTEGER.or(Fit::NUMBER).or(Fit::COMMA),
        [b'.', rest @ ..] => {
            let fraction = digits(rest);
            let count = whole.len() + fraction;
            let fits = (1..=MAX_DIGITS).contains(&count) && is_exponent(&rest[fraction..]);
            if fits { Fit::NUMBER } else { Fit::NONE }
        }
        [b',', rest @ ..] => {
            let fraction = digits(rest);
            let fits = (1..rest.len() + 1).contains(&fraction)
                && fraction == rest.len()
                && !whole.is_empty()
                && whole.len() + fraction <= MAX_DIGITS;
            let could_be_groups = fraction == 3 && whole.len() <= 3 && whole != b"0";
            match (fits, could_be_groups) {
                (true, true) => Fit::COMMA,
                (true, false) => Fit::COMMA.or(Fit::DECIMAL_COMMA),
                (false, _) => Fit::NONE,
            }
        }
        [b'e' | b'E', ..] if (1..=MAX_DIGITS).contains(&whole.len()) && is_exponent(rest) => Fit::NUMBER,
        _ => Fit::NONE,
    }
}

/// Nothing, or an exponent of at most two digits.
fn is_exponent(bytes: &[u8]) -> bool {
    let [b'e' | b'E', exponent @ ..] = bytes else { return bytes.is_empty() };
    let digits = exponent.strip_prefix(b"-").or(exponent.strip_prefix(b"+")).unwrap_or(exponent);
    matches!(digits, [b'0'..=b'9'] | [b'0'..=b'9', b'0'..=b'9'])
}

/// Dates and datetimes.
fn moments(field: &[u8]) -> Fit {
    let Some((day, time)) = field.split_at_checked(10) else { return Fit::NONE };
    if time.is_empty() {
        return Fit(days(day));
    }
    let length = time.len();
    match time {
        [b' ', time @ ..] if length == 6 && is_clock(time) => Fit(days(day) << MINUTES),
        [b' ', time @ ..] if length == 9 && is_clock(time) => Fit(days(day) << SECONDS),
        [b'T', time @ ..] if length >= 9 && is_clock(&time[..8]) && days(day) == ISO_DAY => {
            let rest = &time[8..];
            let rest = match rest {
                [b'.', fraction @ ..] => {
                    let count = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
                    if !(1..=MAX_FRACTION_DIGITS).contains(&count) {
                        return Fit::NONE;
                    }
                    &fraction[count..]
                }
                _ => rest,
            };
            match rest {
                [] => Fit::ISO.or(Fit::NO_OFFSET),
                b"Z" => Fit::ISO,
                // An offset can move a day out of the years that are kept.
                [b'+' | b'-', offset @ ..]
                    if is_offset(offset) && !matches!(&day[..4], b"0001" | b"9999") =>
                {
                    Fit::ISO
                }
                _ => Fit::NONE,
            }
        }
        _ => Fit::NONE,
    }
}

/// The patterns that the ten bytes are a day by.
fn days(bytes: &[u8]) -> u32 {
    let number = |range: std::ops::Range<usize>| {
        bytes[range]
            .iter()
            .try_fold(0, |number, byte| byte.is_ascii_digit().then(|| number * 10 + u32::from(byte - b'0')))
    };
    let day = |year: std::ops::Range<usize>, month: std::ops::Range<usize>, day: std::ops::Range<usize>| {
        let (Some(year), Some(month), Some(day)) = (number(year), number(month), number(day)) else {
            return false;
        };
        year > 0 && (1..=days_of(year, month)).contains(&day)
    };
    let mut found = 0;
    match (bytes[2], bytes[4], bytes[5], bytes[7]) {
        (_, b'-', _, b'-') if day(0..4, 5..7, 8..10) => found |= ISO_DAY,
        (b'.', _, b'.', _) if day(6..10, 3..5, 0..2) => found |= DAY_MONTH_DOT,
        (b'/', _, b'/', _) => {
            if day(6..10, 3..5, 0..2) {
                found |= DAY_MONTH;
            }
            if day(6..10, 0..2, 3..5) {
                found |= MONTH_DAY;
            }
        }
        _ => {}
    }
    found
}

fn days_of(year: u32, month: u32) -> u32 {
    match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        _ => 0,
    }
}

/// `hh:mm` or `hh:mm:ss`.
fn is_clock(bytes: &[u8]) -> bool {
    let two = |tens: u8, ones: u8, most: u8| {
        tens.is_ascii_digit() && ones.is_ascii_digit() && (tens - b'0') * 10 + (ones - b'0') <= most
    };
    match *bytes {
        [h, o, b':', m, i] => two(h, o, 23) && two(m, i, 59),
        [h, o, b':', m, i, b':', s, e] => two(h, o, 23) && two(m, i, 59) && two(s, e, 59),
        _ => false,
    }
}

/// `hh:mm`, at most 14 hours.
fn is_offset(bytes: &[u8]) -> bool {
    bytes.len() == 5 && is_clock(bytes) && bytes <= b"14:00".as_slice()
}

fn uuid(field: &[u8]) -> Fit {
    let is_uuid = field.len() == 36
        && field.iter().enumerate().all(|(at, byte)| match at {
            8 | 13 | 18 | 23 => *byte == b'-',
            _ => byte.is_ascii_hexdigit(),
        });
    if is_uuid { Fit::UUID } else { Fit::NONE }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_told_from_codes() {
        let all = Fit::INTEGER.or(Fit::NUMBER).or(Fit::COMMA);
        for field in ["0", "7", "-7", "-0", "123456789012345"] {
            assert_eq!(Fit::of(field.as_bytes()), all, "{field}");
        }
        for field in ["1.5", "-.5", "5.", "1e5", "1.5E-10", "0.0001", "12345678901234567.5"] {
            assert_eq!(Fit::of(field.as_bytes()), Fit::NUMBER, "{field}");
        }
        for field in ["1,5", "0,125", "1234,567", "-1,25"] {
            assert_eq!(Fit::of(field.as_bytes()), Fit::COMMA.or(Fit::DECIMAL_COMMA), "{field}");
        }
        assert_eq!(Fit::of(b"1,234"), Fit::COMMA);
        let codes = [
            "007",
            "00",
            "+7",
            "+385912345678",
            "1234567890123456",
            "01.5",
            "-01",
            "1e999",
            "1,2,3",
            "1.2.3",
        ];
        for field in
            codes.into_iter().chain(["-", ".", "-.", ",5", "5,", "1e", "e5", "0x1F", "1_000", "NaN", "INF"])
        {
            assert_eq!(Fit::of(field.as_bytes()), Fit::NONE, "{field}");
        }
        assert_eq!(Fit::of("1".repeat(41).as_bytes()), Fit::NONE);
    }

    #[test]
    fn days_exist() {
        let formats = |field: &str| Fit::of(field.as_bytes()).date_formats();
        assert_eq!(formats("2024-02-29"), ["%Y-%m-%d"]);
        assert_eq!(formats("31.12.1999"), ["%d.%m.%Y"]);
        assert_eq!(formats("13/12/1999"), ["%d/%m/%Y"]);
        assert_eq!(formats("12/13/1999"), ["%m/%d/%Y"]);
        assert_eq!(formats("11/12/1999"), ["%d/%m/%Y", "%m/%d/%Y"]);
        for field in
            ["2023-02-29", "1900-02-29", "31.04.2000", "13/13/2000", "0000-01-01", "2000-1-01", "2000-01/01"]
        {
            assert_eq!(formats(field), [""; 0], "{field}");
        }
    }

    #[test]
    fn moments_have_a_clock() {
        let formats = |field: &str| Fit::of(field.as_bytes()).datetime_formats();
        let pattern = |pattern: &str| vec![Some(pattern.to_owned())];
        for field in ["2024-01-01T00:00:00", "2024-01-01T00:00:00.5Z", "2024-01-01T23:59:59+05:45"] {
            assert_eq!(formats(field), [None], "{field}");
        }
        assert_eq!(formats("2015-04-01 00:00:00"), pattern("%Y-%m-%d %H:%M:%S"));
        assert_eq!(formats("01.04.2015 23:59"), pattern("%d.%m.%Y %H:%M"));
        assert_eq!(formats("04/13/2015 23:59"), pattern("%m/%d/%Y %H:%M"));
        assert_eq!(formats("04/12/2015 23:59").len(), 2);
        let wrong = [
            "2024-01-01T24:00:00",
            "2024-01-01 23:59:60",
            "2024-01-01T00:00",
            "2024-01-01T00:00:00.",
            "2024-01-01T",
        ];
        for field in
            wrong.into_iter().chain(["2024-01-01T00:00:00+15:00", "2024-01-01 0:00", "2024-01-01T00:00:00z"])
        {
            assert_eq!(formats(field), [], "{field}");
        }
    }

    #[test]
    fn words_and_uuids() {
        assert_eq!(Fit::of(b"True"), Fit::BOOLEAN);
        for field in ["1234abcd-0000-7000-8000-0123456789AB", "abcd1234-0000-7000-8000-0123456789AB"] {
            assert_eq!(Fit::of(field.as_bytes()), Fit::UUID);
        }
        for field in [
            "tRUE",
            "yes",
            "abcd1234-0000-7000-8000-0123456789AX",
            "abcd1234a0000-7000-8000-0123456789AB",
            "é",
        ] {
            assert_eq!(Fit::of(field.as_bytes()), Fit::NONE, "{field}");
        }
    }
}
