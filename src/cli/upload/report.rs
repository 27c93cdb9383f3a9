//! What is told of one file, for programs, and how long things took.

use std::{path::Path, time::Duration};

use reqwest::Url;
use serde::Serialize;

use crate::cli::server::{Counts, Import, State};

/// What became of one file: an object on a line of its own.
#[derive(Debug, Default, Serialize)]
pub(super) struct Report<'a> {
    pub(super) file: String,
    /// Null, and so is its URL, when the server has not accepted the file.
    pub(super) import: Option<i64>,
    pub(super) url: Option<String>,
    /// Null, and so are the counts, when nobody knows how the import goes.
    pub(super) state: Option<State>,
    pub(super) counts: Option<&'a Counts>,
    /// Where the rejects were saved.
    pub(super) rejects_file: Option<String>,
    /// Why the file was not accepted, its import failed, or its rejects were not saved.
    pub(super) error: Option<String>,
    pub(super) seconds: f64,
}

impl<'a> Report<'a> {
    /// `accepted` is the number of the import and its URL.
    pub(super) fn of(file: &Path, accepted: Option<(i64, Url)>, took: Duration) -> Self {
        let (import, url) = accepted.unzip();
        Self {
            file: file.display().to_string(),
            import,
            url: url.map(Into::into),
            seconds: (took.as_secs_f64() * 1000.0).round() / 1000.0,
            ..Self::default()
        }
    }

    pub(super) fn ended(self, import: &'a Import) -> Self {
        Self { state: Some(import.state), counts: Some(&import.counts), ..self }
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
