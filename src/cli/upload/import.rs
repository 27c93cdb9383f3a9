//! What the API answers, as far as this client needs it. What it does not know it leaves aside.

use std::fmt;

use serde::Deserialize;

/// An import as the server shows it.
#[derive(Debug, Deserialize)]
pub(super) struct Import {
    pub(super) id: i64,
    pub(super) state: State,
    pub(super) dry_run: bool,
    /// The file was not imported: this import of the same file answers for it.
    #[serde(default)]
    pub(super) repeated: bool,
    pub(super) counts: Counts,
    pub(super) seconds_left: Option<f64>,
    pub(super) error: Option<Failure>,
    /// A server of an earlier version has none.
    #[serde(default)]
    pub(super) notes: Vec<Note>,
}

/// Where an import stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Received,
    Running,
    Paused,
    Complete,
    Failed,
    Cancelled,
    Undone,
}

/// What became of the rows.
#[derive(Debug, Deserialize)]
pub(super) struct Counts {
    pub(super) rows_read: u64,
    pub(super) accepted: u64,
    pub(super) inserted: u64,
    pub(super) updated: u64,
    pub(super) unchanged: u64,
    pub(super) deleted: u64,
    pub(super) rejected: u64,
    #[serde(default)]
    pub(super) relations_dropped: Option<u64>,
}

impl Counts {
    /// Whether there is anything among the rejects.
    pub(super) fn have_rejects(&self) -> bool {
        self.rejected > 0 || self.relations_dropped.is_some_and(|dropped| dropped > 0)
    }
}

/// What was left out of an import.
#[derive(Debug, Deserialize)]
pub(super) struct Note {
    pub(super) file: Option<String>,
    pub(super) message: String,
}

/// Why an import failed.
#[derive(Debug, Deserialize)]
pub(super) struct Failure {
    pub(super) message: String,
}

impl State {
    /// Whether the import will not change any more by itself.
    pub(super) fn is_final(self) -> bool {
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

/// The line of totals. Scripts read it: words may be added at its end, nothing else changes.
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
        write!(
            f,
            "import {} {}{dry_run}: {rows_read} read, {accepted} accepted ({inserted} inserted, {updated} updated, \
             {unchanged} unchanged, {deleted} deleted), {rejected} rejected",
            self.id, self.state
        )?;
        match relations_dropped {
            None | Some(0) => Ok(()),
            Some(dropped) => write!(f, ", {dropped} relations dropped"),
        }
    }
}

/// What the server says when it refuses (RFC 9457).
#[derive(Debug, Deserialize)]
pub(super) struct Problem {
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
    fn the_line_of_totals_stays_as_scripts_know_it() {
        let import: Import = serde_json::from_value(serde_json::json!({
            "id": 1, "state": "complete", "dry_run": false, "error": null, "seconds_left": null, "later": 1,
            "counts": {"rows_read": 10, "accepted": 8, "inserted": 5, "updated": 1, "unchanged": 2, "deleted": 0,
                "rejected": 2, "bytes": 900, "chunks": 1},
        }))
        .expect("an import");
        let line = "import 1 complete: 10 read, 8 accepted (5 inserted, 1 updated, 2 unchanged, 0 deleted), 2 rejected";
        assert_eq!(import.to_string(), line);
        let counts = Counts { relations_dropped: Some(2), ..import.counts };
        assert_eq!(Import { counts, ..import }.to_string(), format!("{line}, 2 relations dropped"));
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
