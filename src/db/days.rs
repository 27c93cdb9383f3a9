//! Days as PostgreSQL counts them.

use std::sync::LazyLock;

use chrono::{Datelike, Days, NaiveDate};

/// Day 0.
const EPOCH: NaiveDate = NaiveDate::from_ymd_opt(2000, 1, 1).expect("a day that exists");

/// A day's number.
pub(super) fn number(day: NaiveDate) -> i32 {
    // Both ends of chrono's years are well within 32 bits of days.
    i32::try_from((day - EPOCH).num_days()).unwrap_or(i32::MAX)
}

/// The day of a number. `None`: the calendar does not reach so far.
pub(super) fn day(number: i64) -> Option<NaiveDate> {
    let distance = Days::new(number.unsigned_abs());
    if number < 0 { EPOCH.checked_sub_days(distance) } else { EPOCH.checked_add_days(distance) }
}

/// The number of 1 January 1900.
const FIRST_KEPT: i64 = -36_524;
/// Two centuries.
const KEPT: usize = 73_049;

/// The months of most days people are born on. To ask chrono for each was a tenth of what birthdays of a million took.
static MONTHS: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let days = (FIRST_KEPT..).take(KEPT).filter_map(day);
    days.map(|day| day.month() as u8).collect()
});

/// The month of a day, 1 to 12. `None`: the calendar does not reach so far.
pub(super) fn month(number: i64) -> Option<u32> {
    let place = number.checked_sub(FIRST_KEPT).and_then(|place| usize::try_from(place).ok());
    match place.and_then(|place| MONTHS.get(place)) {
        Some(month) => Some(u32::from(*month)),
        None => day(number).map(|day| day.month()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_numbered_as_postgresql_does() {
        // select '1999-12-31'::date - '2000-01-01'::date, and so on.
        for (text, expected) in [
            ("2000-01-01", 0),
            ("1999-12-31", -1),
            ("2004-02-29", 1520),
            ("1900-03-01", -36465),
            ("2100-01-01", 36525),
        ] {
            let date: NaiveDate = text.parse().expect("a day");
            assert_eq!(number(date), expected, "{text}");
            assert_eq!(day(expected.into()), Some(date));
            assert_eq!(month(expected.into()), Some(date.month()));
        }
        for number in [i64::MIN, i64::MAX, 1 << 40] {
            assert_eq!((day(number), month(number)), (None, None));
        }
        let first = NaiveDate::from_ymd_opt(1899, 12, 30).expect("a day");
        for day in first.iter_days().take(KEPT + 5) {
            assert_eq!(month(number(day).into()), Some(day.month()), "{day}");
        }
        assert_eq!(day(number(NaiveDate::MAX).into()), Some(NaiveDate::MAX));
        assert_eq!(day(number(NaiveDate::MIN).into()), Some(NaiveDate::MIN));
    }
}
