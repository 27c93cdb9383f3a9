//! `tarmac upload`: files to a server, one after the other, with a progress bar and an exit status to trust.
//!
//! It is a client of the API like any other and needs neither configuration nor database.

mod client;
mod error;
mod import;
mod progress;
mod rejects;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::ValueEnum;
use reqwest::{Url, header::HeaderValue};

use self::{
    client::Client,
    error::UploadError,
    import::{Import, Note, State},
    progress::Progress,
};
use super::{CommandError, explain, print};

const EXIT_STATUS: &str = "\
Exit status:
  0    every file was accepted; with --wait: every import is complete, without rejects and without dropped relations
  1    a file was not accepted, its import failed or was cancelled, or its rejects could not be saved or removed
  2    the command line is wrong
  3    every import that is known to have ended is complete, and at least one has rejects or dropped relations
  130  interrupted; what was accepted goes on at the server

Standard output has one line for each file that was accepted. Messages and, on a terminal, progress go to standard error.
The rejects of FILE are saved as FILE.rejects.csv, over an older one; correct them and upload that file. Once an import of FILE has
ended without rejects, a FILE.rejects.csv that an earlier run has saved is removed. Of `tarmac upload *`, files of rejects are left
out: FILE.rejects.csv is not uploaded when FILE is given beside it. Name it without FILE to upload it.";

#[derive(Debug, clap::Args)]
#[command(after_help = EXIT_STATUS)]
pub(super) struct Arguments {
    /// What to upload: CSV; .zip with CSV inside; either also as .gz.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// What the files hold.
    #[arg(long)]
    dataset: DatasetName,
    /// Where Tarmac serves.
    #[arg(
        long,
        value_name = "URL",
        env = "TARMAC_UPLOAD_SERVER",
        default_value = "http://127.0.0.1:8080",
        value_parser = base_url
    )]
    server: Url,
    /// The API key, where the server requires one: with the scope `write`, and `read` for --wait. Others on this machine may
    /// see the command line; the environment is safer.
    #[arg(long, value_name = "KEY", env = "TARMAC_UPLOAD_KEY", hide_env_values = true, value_parser = bearer)]
    key: Option<HeaderValue>,
    /// Follow each import until it has ended, save its rejects and print its totals. Without it, the import's URL is
    /// printed as soon as the server has accepted the file.
    #[arg(long)]
    wait: bool,
    /// One reject fails the import, and nothing of the file is stored.
    #[arg(long)]
    strict: bool,
    /// More rejects than this fail the import.
    #[arg(long, value_name = "N")]
    max_rejects: Option<u32>,
    /// Validate and count, and store nothing.
    #[arg(long)]
    dry_run: bool,
    /// Import a file again that was imported before.
    #[arg(long)]
    force: bool,
    /// What stands between fields: one ASCII character, or \t.
    #[arg(long, value_name = "CHARACTER")]
    delimiter: Option<String>,
    /// What stands around fields: one ASCII character.
    #[arg(long, value_name = "CHARACTER")]
    quote: Option<String>,
    /// What takes the next character as it is, within quotes and outside: one ASCII character. None unless given.
    #[arg(long, value_name = "CHARACTER")]
    escape: Option<String>,
    /// The field that stands for null, beside the empty one.
    #[arg(long, value_name = "TEXT")]
    null: Option<String>,
    /// Whether the first record names the columns; unless given, it does when two or more of its fields are names of columns.
    #[arg(long)]
    header: Option<Header>,
    /// How often to try again when the server cannot be reached or is busy. The pause doubles from one second, or is as
    /// long as the server says. A repeated upload is never imported twice.
    // A killed server holds the upload's key for half a minute more: six pauses, a minute in all, outlast that.
    #[arg(long, value_name = "N", default_value_t = 6)]
    retries: u32,
}

/// A dataset that can be uploaded.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum DatasetName {
    Airports,
    Citizens,
}

impl DatasetName {
    /// The path it is uploaded to.
    fn path(self) -> &'static str {
        match self {
            Self::Airports => "upload",
            Self::Citizens => "imports",
        }
    }
}

/// Whether the first record names the columns.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Header {
    /// The first record is the header.
    Present,
    /// The first record is data.
    Absent,
}

/// How an upload went, from best to worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Outcome {
    Good,
    WithRejects,
    Failed,
}

pub(super) async fn run(arguments: Arguments) -> Result<ExitCode, CommandError> {
    let client = Client::new(&arguments)?;
    let mut worst = Outcome::Good;
    for file in &arguments.files {
        if let Some(of) = rejects::left_out_beside(file, &arguments.files) {
            let reason =
                format!("left out: it has the rejects of {}; name it alone to upload it", of.display());
            Progress::new().say(&format!("{}: {reason}", file.display()));
            continue;
        }
        let mut upload = Upload { client: &client, file, progress: Progress::new(), accepted: None };
        let went = tokio::select! {
            went = upload.run(arguments.wait) => went,
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                upload.say_interrupted();
                return Ok(ExitCode::from(130));
            }
        };
        worst = worst.max(went?);
    }
    Ok(match worst {
        Outcome::Good => ExitCode::SUCCESS,
        Outcome::WithRejects => ExitCode::from(3),
        Outcome::Failed => ExitCode::FAILURE,
    })
}

/// One file on its way.
struct Upload<'a> {
    client: &'a Client,
    file: &'a Path,
    progress: Progress,
    /// The import, once the server has accepted the file.
    accepted: Option<i64>,
}

impl Upload<'_> {
    /// Fails only when standard output does; what befalls the file is said and is an outcome.
    async fn run(&mut self, wait: bool) -> Result<Outcome, CommandError> {
        let ended = self.import(wait).await;
        self.progress.clear();
        match ended {
            Ok(import) if import.state.is_final() => {
                print(&format!("{}: {import}\n", self.file.display()))?;
                self.say_notes(&import);
                Ok(self.judge(&import).await)
            }
            Ok(import) => {
                let url = self.client.import_url(import.id);
                print(&format!("{}: import {} accepted: {url}\n", self.file.display(), import.id))?;
                Ok(Outcome::Good)
            }
            Err(error) => {
                self.say(&explain(&error));
                Ok(Outcome::Failed)
            }
        }
    }

    /// The import of the file: as it was accepted or, when told to wait, as it ended.
    async fn import(&mut self, wait: bool) -> Result<Import, UploadError> {
        let import = self.client.upload(self.file, &self.progress).await?;
        self.accepted = Some(import.id);
        if import.repeated {
            self.say("was imported before, and nothing has changed since; --force imports it once more");
        }
        if !wait || import.state.is_final() {
            return Ok(import);
        }
        self.client.follow(import, &self.progress).await
    }

    /// What to make of an import that has ended. Its rejects are saved either way.
    async fn judge(&self, import: &Import) -> Outcome {
        if let Some(error) = &import.error {
            self.say(&format!("the import failed: {}", error.message));
        }
        let rejects = import.counts.have_rejects();
        if rejects && let Err(error) = self.save_rejects(import).await {
            self.say(&explain(&error));
            return Outcome::Failed;
        }
        match import.state {
            State::Complete if rejects => Outcome::WithRejects,
            State::Complete => self.remove_rejects().await,
            _ => Outcome::Failed,
        }
    }

    /// After an import without rejects: those of an earlier one are none any more.
    async fn remove_rejects(&self) -> Outcome {
        let path = suffixed(self.file, rejects::SUFFIX);
        match rejects::remove(&path).await {
            Ok(false) => Outcome::Good,
            Ok(true) => {
                self.say(&format!("removed {}, the rejects of an earlier run", path.display()));
                Outcome::Good
            }
            Err(source) => {
                self.say(&explain(&UploadError::Remove { path, source }));
                Outcome::Failed
            }
        }
    }

    async fn save_rejects(&self, import: &Import) -> Result<(), UploadError> {
        let path = suffixed(self.file, rejects::SUFFIX);
        self.client.save_rejects(import.id, &path, &self.progress).await?;
        self.say(&format!("rejects saved as {}", path.display()));
        Ok(())
    }

    fn say_notes(&self, import: &Import) {
        for Note { file, message } in &import.notes {
            self.say(&file.iter().chain([message]).map(String::as_str).collect::<Vec<_>>().join(": "));
        }
    }

    fn say_interrupted(&self) {
        self.progress.clear();
        self.say(&match self.accepted {
            Some(id) => format!("interrupted; the import goes on: {}", self.client.import_url(id)),
            None => "interrupted before the server had accepted the file".to_owned(),
        });
    }

    fn say(&self, text: &str) {
        self.progress.say(&format!("{}: {text}", self.file.display()));
    }
}

/// The path with something after its last character, whatever that is.
fn suffixed(path: &Path, suffix: &str) -> PathBuf {
    let mut path = path.as_os_str().to_owned();
    path.push(suffix);
    path.into()
}

/// The value of `Authorization` for a key.
fn bearer(key: &str) -> Result<HeaderValue, String> {
    let value = HeaderValue::from_str(&format!("Bearer {}", key.trim()));
    // The key itself is not repeated: it would end up on a screen.
    let mut value = value.map_err(|_| "no key looks like this".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

/// An address that paths can be joined to.
fn base_url(text: &str) -> Result<Url, String> {
    let mut url: Url = text.parse().map_err(|error| format!("{error}"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("must begin with http:// or https://".to_owned());
    }
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}
