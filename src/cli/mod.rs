//! The commands, one file each.

mod completions;
mod config;
mod datasets;
mod fixtures;
mod health;
mod imports;
mod keys;
mod man;
mod migrate;
mod openapi;
mod replay;
mod retain;
mod serve;
mod server;
mod table;
mod upload;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};
use rustix::{fs::Mode, process::umask};

use crate::{config::Config, log};

const AFTER_HELP: &str = "\
Examples:
  tarmac serve --migrate                                      # serve the API on http://127.0.0.1:8080/
  tarmac upload airports.csv --dataset airports --wait        # send a file to it
  tarmac imports list                                         # what became of the files
  tarmac config                                               # the settings in force

Commands that need the database find it by TARMAC_DATABASE_URL or by database.url of the configuration file.
tarmac COMMAND --help has the options and examples of each command.";

const OPENAPI_HELP: &str = "\
Examples:
  tarmac openapi >openapi.yaml";

#[derive(Debug, Parser)]
#[command(version, about, propagate_version = true, after_help = AFTER_HELP)]
struct Arguments {
    /// A TOML file with the settings that differ from the defaults.
    #[arg(long, global = true, value_name = "FILE", env = "TARMAC_CONFIG_FILE")]
    config: Option<PathBuf>,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve the API, with a worker inside.
    Serve(serve::Arguments),
    /// Load chunks without serving the API.
    Worker(serve::WorkerArguments),
    /// Ask the service on this machine whether it is ready; exit status 0 when it is.
    Health(health::Arguments),
    /// Migrate the database's schema up or down, or show its status.
    #[command(subcommand)]
    Migrate(migrate::Command),
    /// Create, list and revoke API keys.
    #[command(subcommand)]
    Keys(keys::Command),
    /// Move old imports to the long-term archive and remove what has expired, as workers do by themselves.
    Retain(retain::Arguments),
    /// Bring imports back: from the long-term archive, or from their uploads when the database has lost them.
    Replay(replay::Arguments),
    /// Upload files to a server.
    Upload(upload::Arguments),
    /// List, show, cancel and undo imports at a server.
    Imports(imports::Arguments),
    /// List, show, infer, declare and drop datasets at a server.
    Datasets(datasets::Arguments),
    /// Generate test data.
    #[command(subcommand)]
    Fixtures(fixtures::Command),
    /// Print the OpenAPI document.
    #[command(after_help = OPENAPI_HELP)]
    Openapi,
    /// Print the settings in force, or the defaults with what each means.
    Config(config::Arguments),
    /// Print the completions of a shell.
    Completions(completions::Arguments),
    /// Write a man page for each command.
    Man(man::Arguments),
}

impl Command {
    /// Whether it writes to an archive.
    fn keeps_data(&self) -> bool {
        matches!(self, Self::Serve(_) | Self::Worker(_) | Self::Retain(_) | Self::Replay(_))
    }
}

/// How long to wait for threads that are still at work when a command has ended. Whatever had to be finished is; what is left are
/// calls of libraries, and nobody knows how long they take. Both drains and this fit into the 45 seconds that service managers give.
const LEFTOVERS: Duration = Duration::from_secs(2);

/// What a command may fail with: printed once, with its causes.
type CommandError = Box<dyn std::error::Error + Send + Sync>;

/// Runs the command on the command line.
pub fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&error),
    };
    let code = match runtime.block_on(run(arguments)) {
        Ok(code) => code,
        Err(error) => fail(error.as_ref()),
    };
    runtime.shutdown_timeout(LEFTOVERS);
    code
}

async fn run(arguments: Arguments) -> Result<ExitCode, CommandError> {
    let file = arguments.config.as_deref();
    if arguments.command.keeps_data() {
        // Uploads hold personal data, so only the process's own user may read the files it creates.
        umask(Mode::RWXG | Mode::RWXO);
    }
    match arguments.command {
        Command::Serve(serve) => serve::run(serve, file).await,
        Command::Worker(worker) => serve::run_worker(worker, file).await,
        Command::Health(health) => health::run(health, file).await,
        Command::Migrate(command) => migrate::run(command, file).await,
        Command::Keys(command) => keys::run(command, file).await,
        Command::Retain(retain) => retain::run(retain, file).await,
        Command::Replay(replay) => replay::run(replay, file).await,
        Command::Upload(upload) => upload::run(upload).await,
        Command::Imports(imports) => imports::run(imports).await,
        Command::Datasets(datasets) => datasets::run(datasets).await,
        Command::Fixtures(command) => fixtures::run(&command),
        Command::Openapi => openapi::run(),
        Command::Config(config) => config::run(&config, file),
        Command::Completions(completions) => completions::run(&completions),
        Command::Man(man) => man::run(&man),
    }
}

/// Writes to standard output; a reader that went away is no failure.
fn print(text: &str) -> Result<ExitCode, CommandError> {
    use std::io::{ErrorKind, Write};
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error.into()),
        _ => Ok(ExitCode::SUCCESS),
    }
}

fn fail(error: &(dyn std::error::Error + 'static)) -> ExitCode {
    complain(&explain(error));
    ExitCode::FAILURE
}

/// Writes a line to standard error.
#[expect(clippy::print_stderr, reason = "a command line says on standard error what is wrong")]
fn complain(text: &str) {
    eprintln!("tarmac: {text}");
}

/// The error with its causes, in one line.
fn explain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text += &format!(": {cause}");
        source = cause.source();
    }
    text
}

/// The configuration of a command that answers on standard output, and logs on standard error.
fn load_config(file: Option<&std::path::Path>, overrides: &[(&str, String)]) -> Result<Config, CommandError> {
    let config = Config::load(file, overrides)?;
    log::start_on_stderr(&config.log)?;
    Ok(config)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    /// The command and all below it, with their names.
    fn all(command: &clap::Command, name: &str) -> Vec<(String, clap::Command)> {
        let name = format!("{name} {}", command.get_name());
        let below = command.get_subcommands().filter(|below| below.get_name() != "help");
        let below = below.flat_map(|below| all(below, &name));
        std::iter::once((name.clone(), command.clone())).chain(below).collect()
    }

    /// The command lines of `tarmac` in an example, which may be a pipeline with a comment.
    fn lines(help: &str) -> Vec<String> {
        let mut lines = Vec::new();
        for line in help.lines().filter(|line| line.starts_with("  ")) {
            for part in line.split(['|', '#', '>']) {
                let Some((before, _)) = part.split_once("tarmac ") else { continue };
                // Variables of the environment may stand before.
                if before.split_whitespace().all(|word| word.contains('=')) {
                    lines.push(part[before.len()..].trim().to_owned());
                }
            }
        }
        lines
    }

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn the_help_of_every_command_has_examples_that_are_right() {
        let mut command = Arguments::command();
        command.build();
        for (name, command) in all(&command, "") {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let (_, examples) =
                help.split_once("Examples:\n").unwrap_or_else(|| panic!("{name} has no examples"));
            let examples = lines(examples.split("\n\n").next().unwrap_or_default());
            assert!(!examples.is_empty(), "{name} has no examples");
            for example in examples {
                assert!(
                    format!(" {example} ").contains(&format!("{} ", name.trim_start_matches(" tarmac"))),
                    "{name}: {example}"
                );
                let parsed = Arguments::try_parse_from(example.split_whitespace());
                parsed.unwrap_or_else(|error| panic!("{example}: {error}"));
            }
        }
    }
}
