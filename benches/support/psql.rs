//! psql, the client that comes with PostgreSQL.

use std::{
    error::Error,
    path::PathBuf,
    process::Command,
    time::{Duration, Instant},
};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// How long psql takes for these commands, one after the other.
pub(crate) fn run(database_url: &str, commands: &[&str]) -> Outcome<Duration> {
    let mut psql = Command::new(psql_program()?);
    psql.args(["--no-psqlrc", "--quiet", "--set", "ON_ERROR_STOP=1", "--dbname", database_url]);
    psql.args(commands.iter().flat_map(|command| ["--command", command]));
    let started = Instant::now();
    let done = psql.status()?;
    let elapsed = started.elapsed();
    if done.success() { Ok(elapsed) } else { Err("psql failed".into()) }
}

/// Looked for before the time is taken.
fn psql_program() -> Outcome<PathBuf> {
    let on_path = std::env::var_os("PATH")
        .into_iter()
        .flat_map(|path| std::env::split_paths(&path).collect::<Vec<_>>());
    on_path
        .map(|folder| folder.join("psql"))
        .find(|psql| psql.is_file())
        .ok_or_else(|| "psql is not on the PATH".into())
}
