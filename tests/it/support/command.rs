//! The program's commands that need neither database nor configuration, run to their end.

use std::process::{Child, Command, Output, Stdio};

/// How a command ended.
pub(crate) struct Ended {
    /// Its exit status; `None`: it was killed.
    pub(crate) status: Option<i32>,
    /// All of its standard output.
    pub(crate) stdout: String,
    /// All of its standard error.
    pub(crate) stderr: String,
}

/// A command that is not started yet, with its output caught and nothing on its standard input.
pub(crate) fn tarmac(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tarmac"));
    command.args(arguments).env("NO_PROXY", "127.0.0.1");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Starts it and waits for its end.
pub(crate) async fn run(mut command: Command) -> Ended {
    end(command.spawn().expect("the program starts")).await
}

/// Waits in a thread of its own: the service it talks to runs in this one.
pub(crate) async fn end(child: Child) -> Ended {
    let output = tokio::task::spawn_blocking(|| child.wait_with_output()).await.expect("nothing panics");
    let Output { status, stdout, stderr } = output.expect("the program ends");
    let text = |bytes| String::from_utf8(bytes).expect("the output is UTF-8");
    let ended = Ended { status: status.code(), stdout: text(stdout), stderr: text(stderr) };
    assert!(!ended.stdout.contains('\x1b') && !ended.stderr.contains('\x1b'), "{}", ended.stderr);
    ended
}
