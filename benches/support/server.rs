//! What every benchmark needs: a database of its own, and the service in a process of its own.

use std::{
    error::Error,
    io::{BufRead, BufReader},
    path::Path,
    process::{Child, Command, Stdio},
};

use sqlx::{AssertSqlSafe, Connection, PgConnection};

pub(crate) type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// A migrated database of its own.
pub(crate) struct Database {
    /// Where it is.
    pub(crate) url: String,
}

impl Database {
    pub(crate) async fn create() -> Outcome<Self> {
        const NAME: &str = "tarmac_bench";
        let server_url = std::env::var("TARMAC_TEST_DATABASE_URL")
            .map_err(|_| "TARMAC_TEST_DATABASE_URL is not set; make bench and make overload set it")?;
        let mut sql = PgConnection::connect(&server_url).await?;
        for statement in
            [format!("drop database if exists {NAME} with (force)"), format!("create database {NAME}")]
        {
            run(&mut sql, &statement).await?;
        }
        let (server, _) = server_url.rsplit_once('/').ok_or("the URL names no database")?;
        let url = format!("{server}/{NAME}");
        let migrated = tarmac_command(&url).args(["migrate", "up"]).stderr(Stdio::null()).status()?;
        if !migrated.success() {
            return Err("tarmac migrate up failed".into());
        }
        Ok(Self { url })
    }
}

fn tarmac_command(database_url: &str) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tarmac"));
    command.env("TARMAC_DATABASE_URL", database_url).env_remove("TARMAC_TEST_DATABASE_URL");
    // As the image has it.
    command.env("MALLOC_ARENA_MAX", "2");
    command
}

/// Runs statements.
pub(crate) async fn run(sql: &mut PgConnection, statements: &str) -> Outcome<()> {
    sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(sql).await?;
    Ok(())
}

/// A process that ends when this is dropped.
pub(crate) struct Running(pub(crate) Child);

impl Running {
    /// What `/proc` says of its memory: `VmRSS` is how much it has, `VmHWM` the most it had.
    pub(crate) fn memory_mb(&self, figure: &str) -> Outcome<f64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.0.id()))?;
        let line = status.lines().find(|line| line.starts_with(figure)).ok_or("no such figure")?;
        let kib: f64 = line.split_whitespace().nth(1).ok_or("no number")?.parse()?;
        Ok(kib / 1_024.0)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Gone already is as good.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

/// The service, in a process of its own.
pub(crate) struct Tarmac {
    pub(crate) process: Running,
    /// Where it listens: `127.0.0.1:41234`.
    pub(crate) address: String,
    /// Talks to it.
    pub(crate) client: reqwest::Client,
}

impl Tarmac {
    /// With the settings of `environment` beside its own.
    pub(crate) fn start(database_url: &str, directory: &Path, environment: &[(&str, &str)]) -> Outcome<Self> {
        let mut serve = tarmac_command(database_url);
        serve
            .args(["serve", "--address", "127.0.0.1:0"])
            .env("TARMAC_ARCHIVE_URL", directory.join("archive"))
            .env("TARMAC_LOG_FORMAT", "json")
            .envs(environment.iter().copied())
            .stdout(Stdio::piped());
        let mut process = Running(serve.spawn()?);
        let mut log = BufReader::new(process.0.stdout.take().ok_or("no log")?);
        let mut address = String::new();
        while address.is_empty() {
            let mut line = String::new();
            if log.read_line(&mut line)? == 0 {
                return Err("the service ended at its start".into());
            }
            let event: serde_json::Value = serde_json::from_str(&line)?;
            if event["fields"]["message"] == "serving" {
                event["fields"]["address"].as_str().unwrap_or_default().clone_into(&mut address);
            }
        }
        // Read to its end, so that the service never waits for its log.
        std::thread::spawn(move || std::io::copy(&mut log, &mut std::io::sink()));
        Ok(Self { process, address, client: reqwest::Client::new() })
    }
}
