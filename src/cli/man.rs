//! `tarmac man`: a page for each command.

use std::{path::PathBuf, process::ExitCode};

use clap::CommandFactory;

use super::CommandError;

const AFTER_HELP: &str = "\
Examples:
  tarmac man ~/.local/share/man/man1
  tarmac man pages                      # man -l pages/tarmac-upload.1 shows one";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// Where to write tarmac.1, tarmac-upload.1 and so on. It is made when it is missing.
    directory: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, CommandError> {
    let directory = &arguments.directory;
    let failed = |error| format!("writing to {}: {error}", directory.display());
    std::fs::create_dir_all(directory).map_err(failed)?;
    clap_mangen::generate_to(super::Arguments::command(), directory).map_err(failed)?;
    Ok(ExitCode::SUCCESS)
}
