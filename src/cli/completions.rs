//! `tarmac completions`: what a shell needs to complete command lines.

use std::process::ExitCode;

use clap::CommandFactory;
use clap_complete::Shell;

use super::{CommandError, print};

const AFTER_HELP: &str = "\
Examples:
  tarmac completions bash >~/.local/share/bash-completion/completions/tarmac
  tarmac completions zsh >/usr/local/share/zsh/site-functions/_tarmac
  tarmac completions fish >~/.config/fish/completions/tarmac.fish";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// The shell.
    shell: Shell,
}

pub(super) fn run(arguments: &Arguments) -> Result<ExitCode, CommandError> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut super::Arguments::command(), "tarmac", &mut script);
    print(&String::from_utf8(script)?)
}
