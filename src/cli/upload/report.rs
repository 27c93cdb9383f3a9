//! What is told of one file, for programs, and how long things took.

use std::{path::Path, time::Duration};

use reqwest::Url;
use serde::Serialize;

use crate::cli::server::{Counts, Import, State};

/// What became of one file: an object on a line of its own.
#[derive(Debug, Serialize)]
pub(super) struct Report<'a> {
    pub(super) file: String,
    /// Null, with all that belongs to it, when the server has not accepted the file.
    pub(super) import: Option<i64>,
    pub(super) url: Option<String>,
    pub(super) state: Option<State>,
    pub(super) counts: Option<&'a Counts>,
    /// Where the rejects were saved.
    pub(super) rejects_file: Option<String>,
    /// Why the file was not accepted, its import failed, or its rejects were not saved.
    pub(super) error: Option<String>,
    pub(super) seconds: f64,
}

impl<'a> Report<'a> {
    pub(super) fn of(file: &Path, import: Option<(&'a Import, &Url)>, took: Duration) -> Self {
        Self {
            file: file.display().to_string(),
            import: import.map(|(import, _)| import.id),
            url: import.map(|(_, url)| url.to_string()),
            state: import.map(|(import, _)| import.state),
            counts: import.map(|(import, _)| &import.counts),
            rejects_file: None,
            error: None,
            seconds: (took.as_secs_f64() * 1000.0).round() / 1000.0,
        }
    }
}

/// For people: `0.3 s`, `2 min 5 s`, `1 h 0 min`.
pub(super) fn duration(took: Duration) -> String {
    match took.as_secs() {
        0..60 => format!("{:.1} s", took.as_secs_f64()),
        seconds @ 60..3600 => format!("{} min {} s", seconds / 60, seconds % 60),
        seconds => format!("{} h {} min", seconds / 3600, seconds % 3600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_has_the_units_that_matter() {
        for (ms, expected) in
            [(40, "0.0 s"), (1_250, "1.2 s"), (125_900, "2 min 5 s"), (3_600_000, "1 h 0 min")]
        {
            assert_eq!(duration(Duration::from_millis(ms)), expected);
        }
    }
}
