//! `tarmac man`: a page for each command.

use std::{
    io,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::{Command, CommandFactory};
use clap_mangen::Man;

use super::CommandError;

const AFTER_HELP: &str = "\
Examples:
  tarmac man ~/.local/share/man/man1
  tarmac man pages                      # man -l pages/tarmac-upload.1 shows one";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// Where to write tarmac.1, tarmac-upload.1 and so on. It is created when it is missing.
    directory: PathBuf,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, CommandError> {
    let directory = &arguments.directory;
    let mut command = super::Arguments::command().disable_help_subcommand(true);
    command.build();
    let written = std::fs::create_dir_all(directory).and_then(|()| write(&command, directory));
    written.map_err(|error| format!("writing to {}: {error}", directory.display()))?;
    Ok(ExitCode::SUCCESS)
}

/// The pages of a command and of those below it.
fn write(command: &Command, directory: &Path) -> io::Result<()> {
    for below in command.get_subcommands() {
        write(below, directory)?;
    }
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    man.render(&mut page)?;
    // What stands after the options is laid out already: `.nf` keeps its lines.
    let page = String::from_utf8_lossy(&page)
        .replace(".SH EXTRA\n", ".SH EXAMPLES\n.nf\n")
        .replace(".SH VERSION\n", ".fi\n.SH VERSION\n");
    std::fs::write(directory.join(man.get_filename()), page)
}
