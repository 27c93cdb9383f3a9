//! Days as `DD.MM.YYYY`, the way the citizens contract writes them.

use chrono::{Datelike, NaiveDate};

/// The day, when there is one: two digits, two digits, four digits, from the year 1.
pub(super) fn parse(text: &str) -> Option<NaiveDate> {
    let &[d1, d2, b'.', m1, m2, b'.', y1, y2, y3, y4] = text.as_bytes() else { return None };
    let number = |digits: &[u8]| {
        digits.iter().try_fold(0, |number, digit| {
            digit.is_ascii_digit().then(|| number * 10 + u32::from(digit - b'0'))
        })
    };
    let year = number(&[y1, y2, y3, y4]).filter(|year| *year > 0)?;
    NaiveDate::from_ymd_opt(i32::try_from(year).ok()?, number(&[m1, m2])?, number(&[d1, d2])?)
}

/// The day's ten characters.
pub fn format(date: NaiveDate) -> [u8; 10] {
    let digit = |number: u32, place: u32| b'0' + u8::try_from(number / place % 10).unwrap_or(0);
    let (day, month, year) = (date.day(), date.month(), date.year().unsigned_abs());
    [
        digit(day, 10),
        digit(day, 1),
        b'.',
        digit(month, 10),
        digit(month, 1),
        b'.',
        digit(year, 1000),
        digit(year, 100),
        digit(year, 10),
        digit(year, 1),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_day_comes_back_as_it_was_written() {
        for text in ["01.01.0001", "29.02.2000", "31.12.1999", "09.10.0987"] {
            let date = parse(text).expect("a day");
            assert_eq!(format(date), text.as_bytes(), "{text}");
        }
    }
}
