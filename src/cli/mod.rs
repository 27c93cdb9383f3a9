//! The commands, one file each.

mod fixtures;
mod health;
mod keys;
mod migrate;
mod openapi;
mod replay;
mod retain;
mod serve;
mod upload;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};

use crate::{
    config::{self, Config},
    log,
};

#[derive(Debug, Parser)]
#[command(version, about, propagate_version = true)]
struct Arguments {
    /// A TOML file over the defaults.
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
    /// Ask the service on this machine whether it can work; exit status 0 when it can.
    Health(health::Arguments),
    /// Bring the database's schema up or down, or tell where it is.
    #[command(subcommand)]
    Migrate(migrate::Command),
    /// Make, list and revoke the keys that open the API.
    #[command(subcommand)]
    Keys(keys::Command),
    /// Move what is old to the long-term archive and remove what nobody needs, as workers do by themselves.
    Retain(retain::Arguments),
    /// Bring imports back: from the long-term archive, or from their uploads when the database has lost them.
    Replay(replay::Arguments),
    /// Upload files to a server.
    Upload(upload::Arguments),
    /// Write data to try things out with.
    #[command(subcommand)]
    Fixtures(fixtures::Command),
    /// Print the OpenAPI document.
    Openapi,
    /// Print the configuration's defaults, with what each means.
    Config,
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
    match arguments.command {
        Command::Serve(serve) => serve::run(serve, file).await,
        Command::Worker(worker) => serve::run_worker(worker, file).await,
        Command::Health(health) => health::run(health, file).await,
        Command::Migrate(command) => migrate::run(command, file).await,
        Command::Keys(command) => keys::run(command, file).await,
        Command::Retain(retain) => retain::run(retain, file).await,
        Command::Replay(replay) => replay::run(replay, file).await,
        Command::Upload(upload) => upload::run(upload).await,
        Command::Fixtures(command) => fixtures::run(&command),
        Command::Openapi => openapi::run(),
        Command::Config => print(config::DEFAULTS),
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
