//! `tarmac imports list|show|cancel|undo`: what became of uploads, and what may still be done about them.

use std::process::ExitCode;

use chrono::{DateTime, Utc};
use clap::Subcommand;
use indicatif::HumanCount;
use reqwest::{
    Method, StatusCode, Url,
    header::{ACCEPT, HeaderValue},
};
use serde::Deserialize;
use serde_json::Value;

use super::{
    CommandError, complain, explain, print,
    server::{Import, Outcome, RequestError, Server, ServerArguments, State, read, send},
    table::{table, timestamp},
};
use crate::datasets::Ident;

const JSON: HeaderValue = HeaderValue::from_static("application/json");

const AFTER_HELP: &str = "\
Examples:
  tarmac imports list --state failed
  tarmac imports show 7
  tarmac imports cancel 7 8
  tarmac imports undo 7

Exit status:
  0    list: the imports are listed; cancel, undo: each import is cancelled or undone;
       show: each import is complete and without rejects, or has not ended
  1    the server refused or could not be reached; show: an import failed, was cancelled or was undone
  2    the command line is wrong
  3    show: every import is complete or has not ended, and at least one has rejects

With --json, standard output has one JSON object a line for each import: the import as the API gives it.";

const LIST_HELP: &str = "\
Examples:
  tarmac imports list
  tarmac imports list --dataset citizens --state running
  tarmac imports list --limit 1000 --json | jq .counts.rejected";

const SHOW_HELP: &str = "\
Examples:
  tarmac imports show 7
  tarmac imports show 7 8 --json --server tarmac.example:8080";

const CANCEL_HELP: &str = "\
Examples:
  tarmac imports cancel 7
  tarmac imports cancel 7 8 --server tarmac.example:8080";

const UNDO_HELP: &str = "\
Examples:
  tarmac imports undo 7
  tarmac imports undo 7 --json --server tarmac.example:8080";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    #[command(flatten)]
    server: ServerArguments,
    /// Write one JSON object for each import to standard output, instead of lines for people.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List imports, newest first.
    #[command(after_help = LIST_HELP)]
    List {
        /// Only those of this dataset.
        #[arg(long, value_name = "NAME", value_parser = dataset_name)]
        dataset: Option<String>,
        /// Only those in this state.
        #[arg(long)]
        state: Option<State>,
        /// List at most this many.
        #[arg(long, value_name = "N", default_value_t = 20)]
        limit: u32,
    },
    /// Show where imports stand, and their counts.
    #[command(after_help = SHOW_HELP)]
    Show {
        /// Numbers of imports.
        #[arg(required = true, value_name = "ID")]
        ids: Vec<i64>,
    },
    /// Cancel imports that have not ended: nothing of them becomes visible.
    #[command(after_help = CANCEL_HELP)]
    Cancel {
        /// Numbers of imports.
        #[arg(required = true, value_name = "ID")]
        ids: Vec<i64>,
    },
    /// Undo complete imports: remove the rows they created.
    ///
    /// Rows that were changed since stay, and so does what the import did to rows that were there before.
    #[command(after_help = UNDO_HELP)]
    Undo {
        /// Numbers of imports.
        #[arg(required = true, value_name = "ID")]
        ids: Vec<i64>,
    },
}

/// A name that a dataset can have; the server knows whether one has it.
pub(super) fn dataset_name(name: &str) -> Result<String, String> {
    let message = "must be a name of small letters, digits and single underscores, and begin with a letter";
    Ident::new(name).map(|name| name.as_str().to_owned()).ok_or_else(|| message.to_owned())
}

/// What is shown of an import beyond its counts.
#[derive(Debug, Deserialize)]
struct Details {
    #[serde(flatten)]
    import: Import,
    dataset: String,
    filename: Option<String>,
    bytes: u64,
    created_at: DateTime<Utc>,
    finished_at: Option<DateTime<Utc>>,
}

/// What the server says of an undo.
#[derive(Debug, Deserialize)]
struct Undone {
    removed: u64,
    kept: u64,
    not_reverted: u64,
}

pub(super) async fn run(arguments: Arguments) -> Result<ExitCode, CommandError> {
    let imports = Imports { server: Server::new(&arguments.server)?, json: arguments.json };
    let outcome = match arguments.command {
        Command::List { dataset, state, limit } => imports.list(dataset.as_deref(), state, limit).await?,
        Command::Show { ids } => imports.each(&ids, async |id| imports.show(id).await).await?,
        Command::Cancel { ids } => imports.each(&ids, async |id| imports.cancel(id).await).await?,
        Command::Undo { ids } => imports.each(&ids, async |id| imports.undo(id).await).await?,
    };
    Ok(outcome.into())
}

struct Imports {
    server: Server,
    json: bool,
}

impl Imports {
    async fn list(
        &self,
        dataset: Option<&str>,
        state: Option<State>,
        limit: u32,
    ) -> Result<Outcome, CommandError> {
        let mut url = self.server.url("imports");
        let state = state.map(|state| state.to_string());
        let filters = [("dataset", dataset), ("state", state.as_deref())];
        let filters = filters.into_iter().filter_map(|(name, value)| Some((name, value?)));
        url.query_pairs_mut().extend_pairs(filters).append_pair("limit", &limit.to_string());
        let mut page = self.ask(Method::GET, &url).await?.1;
        let Some(Value::Array(imports)) = page.get_mut("data").map(Value::take) else {
            return Err(RequestError::Foreign { url, status: StatusCode::OK }.into());
        };
        if self.json {
            for import in &imports {
                print(&format!("{import}\n"))?;
            }
            return Ok(Outcome::Good);
        }
        let header = ["ID", "DATASET", "STATE", "READ", "ACCEPTED", "REJECTED", "CREATED", "FILE"];
        let mut rows = vec![header.map(str::to_owned)];
        for import in imports {
            rows.push(row(understand(&url, import)?));
        }
        print(&table(&rows))?;
        Ok(Outcome::Good)
    }

    /// Does something with each import; one that cannot be had does not stop the others.
    async fn each(
        &self,
        ids: &[i64],
        act: impl AsyncFn(i64) -> Result<Outcome, CommandError>,
    ) -> Result<Outcome, CommandError> {
        let mut worst = Outcome::Good;
        for &id in ids {
            worst = worst.max(act(id).await.unwrap_or_else(|error| {
                complain(&format!("import {id}: {}", explain(error.as_ref())));
                Outcome::Failed
            }));
        }
        Ok(worst)
    }

    async fn show(&self, id: i64) -> Result<Outcome, CommandError> {
        let url = self.server.import_url(id);
        let answer = self.ask(Method::GET, &url).await?.1;
        let details: Details = understand(&url, answer.clone())?;
        let text = if self.json { format!("{answer}\n") } else { self.describe(&details) };
        print(&text)?;
        Ok(details.import.outcome())
    }

    fn describe(&self, details: &Details) -> String {
        let Details { import, dataset, filename, bytes, created_at, finished_at } = details;
        let name = filename.as_deref().unwrap_or("without a name");
        let mut text = format!("{import}\n");
        let mut line = |name: &str, value: &str| text += &format!("  {name:<8}  {value}\n");
        line("dataset", dataset);
        line("file", &format!("{name}, {} bytes", HumanCount(*bytes)));
        line("created", &timestamp(*created_at));
        if let Some(finished_at) = finished_at {
            line("finished", &timestamp(*finished_at));
        }
        if let Some(error) = &import.error {
            line("error", &error.message);
        }
        line("url", self.server.import_url(import.id).as_str());
        if import.counts.have_rejects() {
            line("rejects", self.server.url(&format!("imports/{}/rejects.csv", import.id)).as_str());
        }
        text
    }

    async fn cancel(&self, id: i64) -> Result<Outcome, CommandError> {
        let url = self.server.url(&format!("imports/{id}/cancel"));
        let (status, import) = self.change(Method::POST, &url, id, State::Cancelled).await?;
        let rest = if status == StatusCode::ACCEPTED { "; what was loaded is being removed" } else { "" };
        let text = if self.json { import.to_string() } else { format!("import {id} cancelled{rest}") };
        print(&format!("{text}\n"))?;
        Ok(Outcome::Good)
    }

    async fn undo(&self, id: i64) -> Result<Outcome, CommandError> {
        let url = self.server.import_url(id);
        let (status, answer) = self.change(Method::DELETE, &url, id, State::Undone).await?;
        let text = if self.json {
            answer.get("import").unwrap_or(&answer).to_string()
        } else if status == StatusCode::ACCEPTED {
            format!("import {id} undone; its rows are hidden and are being removed")
        } else if let Ok(Undone { removed, kept, not_reverted }) = Undone::deserialize(&answer) {
            let [removed, kept, stay] = [removed, kept, not_reverted].map(HumanCount);
            format!(
                "import {id} undone: {removed} rows removed, {kept} kept because they were changed since, {stay} updated rows stay"
            )
        } else {
            format!("import {id} undone")
        };
        print(&format!("{text}\n"))?;
        Ok(Outcome::Good)
    }

    /// Brings the import to a state. It may be in it already: the answer to an earlier request may have been lost.
    async fn change(
        &self,
        method: Method,
        url: &Url,
        id: i64,
        to: State,
    ) -> Result<(StatusCode, Value), RequestError> {
        let refused = match self.ask(method, url).await {
            Err(error @ RequestError::Refused { status: StatusCode::CONFLICT, .. }) => error,
            answer => return answer,
        };
        let (status, import) = self.ask(Method::GET, &self.server.import_url(id)).await?;
        match Import::deserialize(&import) {
            Ok(now) if now.state == to => Ok((status, import)),
            _ => Err(refused),
        }
    }

    async fn ask(&self, method: Method, url: &Url) -> Result<(StatusCode, Value), RequestError> {
        let attempt = async || {
            let request = self.server.http.request(method.clone(), url.clone()).header(ACCEPT, JSON);
            let response = send(url, request).await?;
            Ok((response.status(), read(url, response).await?))
        };
        self.server.repeat(attempt, |text| complain(&text)).await
    }
}

/// What Tarmac says of an import; others say something else.
fn understand(url: &Url, import: Value) -> Result<Details, RequestError> {
    let foreign = |_| RequestError::Foreign { url: url.clone(), status: StatusCode::OK };
    serde_json::from_value(import).map_err(foreign)
}

fn row(details: Details) -> [String; 8] {
    let Details { import, dataset, filename, created_at, .. } = details;
    let [read, accepted, rejected] =
        [import.counts.rows_read, import.counts.accepted, import.counts.rejected].map(HumanCount);
    [
        import.id.to_string(),
        dataset,
        import.state.to_string() + if import.dry_run { " (dry run)" } else { "" },
        read.to_string(),
        accepted.to_string(),
        rejected.to_string(),
        timestamp(created_at),
        filename.unwrap_or_else(|| "-".to_owned()),
    ]
}
