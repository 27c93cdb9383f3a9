//! What the API answers, as far as this client needs it. What it does not know it leaves aside.

use std::{fmt, process::ExitCode};

use clap::ValueEnum;
use indicatif::HumanCount;
use serde::{Deserialize, Serialize};

/// An import as the server shows it.
#[derive(Debug, Deserialize)]
pub(in crate::cli) struct Import {
    pub(in crate::cli) id: i64,
    pub(in crate::cli) state: State,
    pub(in crate::cli) dry_run: bool,
    /// The file was not imported: this import of the same file answers for it.
    #[serde(default)]
    pub(in crate::cli) repeated: bool,
    pub(in crate::cli) counts: Counts,
    pub(in crate::cli) seconds_left: Option<f64>,
    pub(in crate::cli) error: Option<Failure>,
    /// A server of an earlier version has none.
    #[serde(default)]
    pub(in crate::cli) notes: Vec<Note>,
}

/// Where an import stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, ValueEnum)]
#[serde(rename_all = "lowercase")]
pub(in crate::cli) enum State {
    Received,
    Running,
    Paused,
    Complete,
    Failed,
    Cancelled,
    Undone,
}

/// What became of the rows.
#[derive(Debug, Deserialize, Serialize)]
pub(in crate::cli) struct Counts {
    pub(in crate::cli) rows_read: u64,
    pub(in crate::cli) accepted: u64,
    pub(in crate::cli) inserted: u64,
    pub(in crate::cli) updated: u64,
    pub(in crate::cli) unchanged: u64,
    pub(in crate::cli) deleted: u64,
    pub(in crate::cli) rejected: u64,
    #[serde(default)]
    pub(in crate::cli) relations_dropped: Option<u64>,
}

impl Counts {
    /// Whether there is anything among the rejects.
    pub(in crate::cli) fn have_rejects(&self) -> bool {
        self.rejected > 0 || self.relations_dropped.is_some_and(|dropped| dropped > 0)
    }
}

/// What was left out of an import.
#[derive(Debug, Deserialize)]
pub(in crate::cli) struct Note {
    pub(in crate::cli) file: Option<String>,
    pub(in crate::cli) message: String,
}

/// Why an import failed.
#[derive(Debug, Deserialize)]
pub(in crate::cli) struct Failure {
    pub(in crate::cli) message: String,
}

/// How something went, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::cli) enum Outcome {
    /// As it should, as far as is known.
    Good,
    /// An import is complete and has rejects.
    WithRejects,
    /// Otherwise.
    Failed,
}

impl From<Outcome> for ExitCode {
    fn from(outcome: Outcome) -> Self {
        match outcome {
            Outcome::Good => Self::SUCCESS,
            Outcome::WithRejects => Self::from(3),
            Outcome::Failed => Self::FAILURE,
        }
    }
}

impl Import {
    /// Good as long as it goes on.
    pub(in crate::cli) fn outcome(&self) -> Outcome {
        match self.state {
            State::Complete if self.counts.have_rejects() => Outcome::WithRejects,
            State::Complete | State::Received | State::Running | State::Paused => Outcome::Good,
            State::Failed | State::Cancelled | State::Undone => Outcome::Failed,
        }
    }
}

impl State {
    /// Whether the import will not change any more by itself.
    pub(in crate::cli) fn is_final(self) -> bool {
        match self {
            Self::Received | Self::Running | Self::Paused => false,
            Self::Complete | Self::Failed | Self::Cancelled | Self::Undone => true,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Received => "received",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Complete => "complete",
            Self::Failed => "failed",
            Self::Cancelled => "cancelled",
            Self::Undone => "undone",
        })
    }
}

/// The line of totals, for people; scripts read JSON.
impl fmt::Display for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts {
            rows_read,
            accepted,
            inserted,
            updated,
            unchanged,
            deleted,
            rejected,
            relations_dropped,
        } = &self.counts;
        let dry_run = if self.dry_run { " (dry run)" } else { "" };
        let [rows_read, accepted, inserted, updated, unchanged, deleted, rejected] =
            [rows_read, accepted, inserted, updated, unchanged, deleted, rejected]
                .map(|count| HumanCount(*count));
        write!(
            f,
            "import {} {}{dry_run}: {rows_read} read, {accepted} accepted ({inserted} inserted, {updated} updated, \
             {unchanged} unchanged, {deleted} deleted), {rejected} rejected",
            self.id, self.state
        )?;
        match relations_dropped {
            None | Some(0) => Ok(()),
            Some(dropped) => write!(f, ", {} relations dropped", HumanCount(*dropped)),
        }
    }
}

/// What the server says when it refuses (RFC 9457).
#[derive(Debug, Deserialize)]
pub(in crate::cli) struct Problem {
    title: String,
    detail: Option<String>,
    instance: Option<String>,
    #[serde(default)]
    errors: Vec<Violation>,
}

/// One violated rule.
#[derive(Debug, Deserialize)]
struct Violation {
    parameter: Option<String>,
    code: String,
    message: String,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let detail = self.detail.as_deref().unwrap_or(&self.title);
        f.write_str(detail)?;
        if let Some(instance) = &self.instance {
            write!(f, " (request {instance})")?;
        }
        for Violation { parameter, code, message } in &self.errors {
            // The detail of a single violation is its message.
            if message == detail {
                continue;
            }
            f.write_str("\n  ")?;
            if let Some(parameter) = parameter {
                write!(f, "{parameter}: ")?;
            }
            write!(f, "{message} ({code})")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_of_totals_has_every_count_with_thousands_apart() {
        let import: Import = serde_json::from_value(serde_json::json!({
            "id": 1, "state": "complete", "dry_run": false, "error": null, "seconds_left": null, "later": 1,
            "counts": {"rows_read": 1_000_010, "accepted": 1_000_008, "inserted": 1_000_005, "updated": 1, "unchanged": 2, "deleted": 0,
                "rejected": 2, "bytes": 900, "chunks": 1},
        }))
        .expect("an import");
        let line = "import 1 complete: 1,000,010 read, 1,000,008 accepted (1,000,005 inserted, 1 updated, 2 unchanged, 0 deleted), 2 rejected";
        assert_eq!(import.to_string(), line);
        let counts = Counts { relations_dropped: Some(2_000), ..import.counts };
        assert_eq!(Import { counts, ..import }.to_string(), format!("{line}, 2,000 relations dropped"));
    }

    #[test]
    fn a_problem_shows_every_broken_rule() {
        let problem: Problem = serde_json::from_value(serde_json::json!({
            "type": "/problems/invalid-request", "title": "The request is invalid", "status": 400,
            "detail": "2 rules are broken", "instance": "r-1",
            "errors": [
                {"parameter": "quote", "code": "not_allowed", "message": "quote must be one ASCII character"},
                {"pointer": "/file", "code": "required", "message": "the form has no field named file"},
            ],
        }))
        .expect("a problem");
        assert_eq!(
            problem.to_string(),
            "2 rules are broken (request r-1)\n  quote: quote must be one ASCII character (not_allowed)\n  \
             the form has no field named file (required)"
        );
    }
}
