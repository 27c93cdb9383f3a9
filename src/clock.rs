//! Time as a parameter: ages and birthdays depend on today, and tests choose it.

use chrono::{DateTime, NaiveDate, Utc};

/// Tells the time. Cheap to copy.
#[derive(Debug, Clone, Copy)]
pub enum Clock {
    /// The machine's.
    System,
    /// Stands still.
    Fixed(DateTime<Utc>),
}

impl Clock {
    /// The present moment.
    pub fn now(self) -> DateTime<Utc> {
        match self {
            Self::System => Utc::now(),
            Self::Fixed(time) => time,
        }
    }

    /// The day in UTC, whatever the machine's time zone.
    pub fn today(self) -> NaiveDate {
        self.now().date_naive()
    }
}
