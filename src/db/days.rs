//! Days as PostgreSQL counts them.

use chrono::{Days, NaiveDate};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_numbered_as_postgresql_does() {
        // select '1999-12-31'::date - '2000-01-01'::date, and so on.
        for (text, expected) in
            [("2000-01-01", 0), ("1999-12-31", -1), ("2004-02-29", 1520), ("1900-03-01", -36465)]
        {
            let date: NaiveDate = text.parse().expect("a day");
            assert_eq!(number(date), expected, "{text}");
            assert_eq!(day(expected.into()), Some(date));
        }
        for number in [i64::MIN, i64::MAX, 1 << 40] {
            assert_eq!(day(number), None);
        }
        assert_eq!(day(number(NaiveDate::MAX).into()), Some(NaiveDate::MAX));
        assert_eq!(day(number(NaiveDate::MIN).into()), Some(NaiveDate::MIN));
    }
}
