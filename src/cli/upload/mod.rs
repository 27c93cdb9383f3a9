//! `tarmac upload`: files to a server, one after the other, with a progress bar and an exit status to trust.

mod client;
mod progress;
mod rejects;
mod report;
mod source;

use std::{
    path::{Path, PathBuf},
    process::ExitCode,
    time::{Duration, Instant},
};

use clap::{ValueEnum, error::ErrorKind};

use self::{
    client::Client,
    progress::Progress,
    report::{Report, duration},
    source::Source,
};
use super::{
    CommandError, explain,
    imports::dataset_name,
    print,
    server::{Import, Note, Outcome, RequestError, ServerArguments, State},
};

const AFTER_HELP: &str = "\
Examples:
  tarmac upload airports.csv --dataset airports --wait
  tarmac upload /data/incoming --dataset citizens --wait --quiet
  tarmac upload airports.csv --dataset airports --dry-run --wait
  psql -c 'copy airports to stdout csv' | tarmac upload - --filename airports.csv --dataset airports --wait
  tarmac upload *.csv --dataset citizens --server tarmac.example:8080 --wait --json | jq .counts.rejected

Exit status:
  0    every file was accepted; with --wait: every import is complete, without rejects and without dropped relations
  1    a file was not accepted, its import failed or was cancelled, or its rejects could not be saved or removed
  2    the command line is wrong
  3    every import that is known to have ended is complete, and at least one has rejects or dropped relations
  130  interrupted; what was accepted goes on at the server

Standard output has one line for each file that was accepted. Messages and, on a terminal, progress go to standard error.
The rejects of FILE are saved as FILE.rejects.csv, over an older one; correct them and upload that file. Those of standard input
are saved in the current directory. Once an import of FILE has ended without rejects, a FILE.rejects.csv that an earlier run has
saved is removed. Of `tarmac upload *`, files of rejects are left out: FILE.rejects.csv is not uploaded when FILE is given beside
it. Name it without FILE to upload it.

With --json, standard output has one JSON object a line for each file, accepted or not: file, import (its number), url, state,
counts (rows_read, accepted, inserted, updated, unchanged, deleted, rejected, relations_dropped), rejects_file, error, seconds.
What does not apply is null.";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// What to upload: CSV files, .zip files with CSV inside, either also as .gz; directories with such files; `-` for standard
    /// input.
    ///
    /// A directory stands for the *.csv, *.zip and *.gz files in it, sorted by name. Passed over are *.rejects.csv, hidden files
    /// and directories within. Standard input is kept in a temporary file until it is sent.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
    /// The dataset that the files are for, built in or declared.
    #[arg(long, value_name = "NAME", value_parser = dataset_name)]
    dataset: String,
    /// The file name of standard input. Its ending says what the bytes are: .zip, .gz, or else CSV.
    #[arg(long, value_name = "NAME", value_parser = file_name)]
    filename: Option<String>,
    #[command(flatten)]
    server: ServerArguments,
    /// Follow each import until it has ended, save its rejects and print its totals.
    ///
    /// Without it, the import's URL is printed as soon as the server has accepted the file.
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
    /// The field delimiter: one ASCII character, or \t.
    #[arg(long, value_name = "CHARACTER")]
    delimiter: Option<String>,
    /// The quote character: one ASCII character, or `none`: then a quote is text.
    #[arg(long, value_name = "CHARACTER")]
    quote: Option<String>,
    /// The escape character, which takes the next character as it is, within quotes and outside: one ASCII character. None unless
    /// given.
    #[arg(long, value_name = "CHARACTER")]
    escape: Option<String>,
    /// How the text is encoded: utf-8, windows-1252, iso-8859-1 or utf-16. UTF-8 unless given.
    #[arg(long, value_name = "ENCODING")]
    encoding: Option<String>,
    /// How many lines are before the header, or before the first record.
    #[arg(long, value_name = "LINES")]
    skip: Option<u32>,
    /// What begins a line that is no record: one ASCII character. None unless given.
    #[arg(long, value_name = "CHARACTER")]
    comment: Option<String>,
    /// The text of a field that means null, as the empty field does.
    #[arg(long, value_name = "TEXT")]
    null: Option<String>,
    /// Whether the first record names the columns; unless given, it does when two or more of its fields are names of columns.
    #[arg(long)]
    header: Option<Header>,
    /// Write nothing but errors. The exit status says the rest.
    #[arg(long, short)]
    quiet: bool,
    /// Write one JSON object for each file to standard output, instead of a line for people.
    #[arg(long)]
    json: bool,
}

/// The path that files of a dataset are uploaded to.
fn path(dataset: &str) -> String {
    match dataset {
        // The built-in ones have paths of their own, which servers of earlier versions know too.
        "airports" => "upload".to_owned(),
        "citizens" => "imports".to_owned(),
        name => format!("datasets/{name}/imports"),
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

/// What is told of the files, and how.
#[derive(Debug, Clone, Copy)]
struct Output {
    quiet: bool,
    json: bool,
}

pub(super) async fn run(arguments: Arguments) -> Result<ExitCode, CommandError> {
    if let Err(error) = check_stdin(&arguments) {
        error.print()?;
        return Ok(ExitCode::from(2));
    }
    let client = Client::new(&arguments)?;
    let output = Output { quiet: arguments.quiet, json: arguments.json };
    let began = Instant::now();
    let mut outcomes = Vec::new();
    for (file, error) in source::expand(&arguments.files) {
        let progress = Progress::new(output.quiet);
        if let Some(of) = rejects::left_out_beside(&file, &arguments.files) {
            let reason =
                format!("left out: it has the rejects of {}; name it alone to upload it", of.display());
            progress.note(&format!("{}: {reason}", file.display()));
            continue;
        }
        let name = arguments.filename.as_deref();
        let mut upload = Upload { client: &client, file: &file, name, output, progress, accepted: None };
        let went = tokio::select! {
            went = upload.run(arguments.wait, error) => went,
            interrupted = tokio::signal::ctrl_c() => {
                interrupted?;
                upload.say_interrupted();
                return Ok(ExitCode::from(130));
            }
        };
        outcomes.push(went?);
    }
    if outcomes.len() > 1 {
        Progress::new(output.quiet).note(&sum(&outcomes, began.elapsed()));
    }
    Ok(outcomes.into_iter().max().unwrap_or(Outcome::Good).into())
}

/// Standard input can be read once, and only it has no name of its own.
fn check_stdin(arguments: &Arguments) -> Result<(), clap::Error> {
    let wrong = |message: &str| Err(clap::Error::raw(ErrorKind::ArgumentConflict, format!("{message}\n")));
    match arguments.files.iter().filter(|file| source::is_stdin(file)).count() {
        0 if arguments.filename.is_some() => wrong("--filename names standard input: it needs the FILE -"),
        0 | 1 => Ok(()),
        _ => wrong("standard input can be uploaded once: give - once"),
    }
}

fn sum(outcomes: &[Outcome], took: Duration) -> String {
    let count = |outcome| outcomes.iter().filter(|&&went| went == outcome).count();
    format!(
        "{} files in {}: {} good, {} with rejects, {} failed",
        outcomes.len(),
        duration(took),
        count(Outcome::Good),
        count(Outcome::WithRejects),
        count(Outcome::Failed)
    )
}

/// One file on its way.
struct Upload<'a> {
    client: &'a Client,
    file: &'a Path,
    /// Of standard input.
    name: Option<&'a str>,
    output: Output,
    progress: Progress,
    /// The import, once the server has accepted the file.
    accepted: Option<i64>,
}

impl Upload<'_> {
    /// Fails only when standard output does; what befalls the file is said and is an outcome. `error`: what is known to befall it.
    async fn run(&mut self, wait: bool, error: Option<RequestError>) -> Result<Outcome, CommandError> {
        let began = Instant::now();
        let ended = match error {
            None => self.import(wait).await,
            Some(error) => Err(error),
        };
        self.progress.clear();
        let took = began.elapsed();
        let accepted = self.accepted.map(|id| (id, self.client.import_url(id)));
        let report = Report::of(self.file, accepted, took);
        let (source, import) = match ended {
            Ok(ended) => ended,
            Err(error) => {
                let error = explain(&error);
                self.say(&error);
                self.print_json(Report { error: Some(error), ..report })?;
                return Ok(Outcome::Failed);
            }
        };
        let url = self.client.import_url(import.id);
        let mut report = report.ended(&import);
        let outcome = if import.state.is_final() {
            self.print_line(&format!("{import}, in {}: {url}", duration(took)))?;
            self.say_notes(&import);
            self.judge(&source, &import, &mut report).await
        } else {
            self.print_line(&format!("import {} accepted: {url}", import.id))?;
            Outcome::Good
        };
        self.print_json(report)?;
        Ok(outcome)
    }

    /// The import of the file: as it was accepted or, when told to wait, as it ended.
    async fn import(&mut self, wait: bool) -> Result<(Source, Import), RequestError> {
        let source = Source::open(self.file, self.name).await?;
        let shown = self.file.to_string_lossy();
        let mut import = self.client.upload(&source, &shown, &self.progress).await?;
        self.accepted = Some(import.id);
        if import.repeated {
            self.note("was imported before, and nothing has changed since; --force imports it once more");
        }
        if wait && !import.state.is_final() {
            import = self.client.follow(import, &self.progress).await?;
        }
        Ok((source, import))
    }

    /// What to make of an import that has ended. Its rejects are saved either way.
    async fn judge(&self, source: &Source, import: &Import, report: &mut Report<'_>) -> Outcome {
        if let Some(error) = &import.error {
            self.say(&format!("the import failed: {}", error.message));
            report.error = Some(error.message.clone());
        }
        if import.counts.have_rejects() {
            let saved = self.client.save_rejects(import.id, &source.rejects, &self.progress).await;
            if let Err(error) = saved {
                return self.fail(&error, report);
            }
            let path = source.rejects.display().to_string();
            self.note(&format!("rejects saved as {path}"));
            report.rejects_file = Some(path);
        } else if import.state == State::Complete {
            return self.remove_rejects(source, report).await;
        }
        import.outcome()
    }

    /// After an import without rejects: those of an earlier one are none any more.
    async fn remove_rejects(&self, source: &Source, report: &mut Report<'_>) -> Outcome {
        let path = source.rejects.clone();
        match rejects::remove(&path).await {
            Ok(false) => Outcome::Good,
            Ok(true) => {
                self.note(&format!("removed {}, the rejects of an earlier run", path.display()));
                Outcome::Good
            }
            Err(source) => self.fail(&RequestError::Remove { path, source }, report),
        }
    }

    /// Says what went wrong after the import has ended.
    fn fail(&self, error: &RequestError, report: &mut Report<'_>) -> Outcome {
        let error = explain(error);
        self.say(&error);
        report.error.get_or_insert(error);
        Outcome::Failed
    }

    /// The line for people.
    fn print_line(&self, text: &str) -> Result<(), CommandError> {
        if !self.output.json && !self.output.quiet {
            print(&format!("{}: {text}\n", self.file.display()))?;
        }
        Ok(())
    }

    /// The line for programs.
    fn print_json(&self, report: Report<'_>) -> Result<(), CommandError> {
        if self.output.json {
            print(&format!("{}\n", serde_json::to_string(&report)?))?;
        }
        Ok(())
    }

    fn say_notes(&self, import: &Import) {
        for Note { file, message } in &import.notes {
            self.note(&file.iter().chain([message]).map(String::as_str).collect::<Vec<_>>().join(": "));
        }
    }

    fn say_interrupted(&self) {
        self.progress.clear();
        self.say(&match self.accepted {
            Some(id) => format!("interrupted; the import goes on: {}", self.client.import_url(id)),
            None => "interrupted before the server had accepted the file".to_owned(),
        });
    }

    fn note(&self, text: &str) {
        self.progress.note(&format!("{}: {text}", self.file.display()));
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

/// A name without directories: the server stores it, and rejects are saved beside nothing.
fn file_name(text: &str) -> Result<String, String> {
    let is_name = Path::new(text).file_name().is_some_and(|name| name == text);
    is_name.then(|| text.to_owned()).ok_or_else(|| "must be a file name without directories".to_owned())
}
