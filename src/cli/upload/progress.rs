//! Progress on a terminal: first bytes, then rows. Anywhere else nothing but messages.

use std::time::Duration;

use indicatif::{BinaryBytes, HumanCount, HumanDuration, ProgressBar, ProgressStyle};

use crate::cli::{
    complain,
    server::{Import, State},
};

/// How often a bar is drawn while nothing happens.
const TICK: Duration = Duration::from_millis(120);

/// The progress of one file. Hidden when nothing but errors is wanted, and unless standard error is a terminal, for which indicatif looks.
pub(super) struct Progress {
    bar: ProgressBar,
    quiet: bool,
}

impl Progress {
    pub(super) fn new(quiet: bool) -> Self {
        Self { bar: if quiet { ProgressBar::hidden() } else { ProgressBar::new_spinner() }, quiet }
    }

    /// Begins to send a file of that length; also for the second time.
    pub(super) fn begin_sending(&self, file: &str, bytes: u64) {
        self.bar.set_prefix(file.to_owned());
        self.bar.set_message("");
        self.bar.set_length(bytes);
        self.bar.set_position(0);
        self.bar.set_style(style("{prefix} {wide_bar} {binary_bytes}/{binary_total_bytes} {msg}"));
    }

    /// What a body calls with the number of bytes that are on their way.
    pub(super) fn sent(&self) -> impl Fn(usize) + Send + Sync + use<> {
        let bar = self.bar.clone();
        move |bytes| {
            bar.inc(bytes as u64);
            bar.set_message(format!("{}/s", BinaryBytes(bar.per_sec() as u64)));
        }
    }

    /// Shows how far the rows are.
    pub(super) fn show(&self, import: &Import) {
        if self.bar.is_hidden() {
            return;
        }
        self.bar.set_style(style("{prefix} {spinner} {msg}"));
        self.bar.set_message(rows(import));
        self.bar.enable_steady_tick(TICK);
    }

    /// Takes the bar off the terminal.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// Writes what may be of interest to standard error, unless nothing but errors is wanted.
    pub(super) fn note(&self, text: &str) {
        if !self.quiet {
            self.say(text);
        }
    }

    /// Writes a line to standard error, above the bar.
    pub(super) fn say(&self, text: &str) {
        self.bar.suspend(|| complain(text));
    }
}

fn rows(import: &Import) -> String {
    let mut rows = format!("{} rows", HumanCount(import.counts.rows_read));
    if import.counts.rejected > 0 {
        rows += &format!(", {} rejected", HumanCount(import.counts.rejected));
    }
    if import.state == State::Paused {
        rows += ", paused";
    }
    // All chunks are loaded a while before the import is complete: then there is nothing to say of the time left.
    let left = import.seconds_left.and_then(|left| Duration::try_from_secs_f64(left).ok());
    if let Some(left) = left.filter(|left| left.as_secs() > 0) {
        rows += &format!(", {} left", HumanDuration(left));
    }
    rows
}

fn style(template: &str) -> ProgressStyle {
    // The templates are the ones above, which parse; were one wrong, the default would be shown.
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}
