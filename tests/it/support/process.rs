//! The service as a process of its own, which can be killed.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex, mpsc},
    time::Duration,
};

use serde_json::Value;

use super::client::Client;

/// A running `tarmac serve`; killed when dropped.
pub(crate) struct Process {
    /// Talks to it.
    pub(crate) client: Client,
    /// Where it listens: `127.0.0.1:41234`.
    pub(crate) address: String,
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

/// How to start one: again and again with the same database and archive.
pub(crate) struct Launch {
    /// Where the database is.
    pub(crate) database_url: String,
    /// The archive's directory.
    pub(crate) archive: PathBuf,
    /// `TARMAC_…` variables beside those.
    pub(crate) environment: Vec<(&'static str, String)>,
    /// Runs before the program, in a shell that becomes it: `ulimit -f 1`.
    pub(crate) prelude: &'static str,
}

impl Launch {
    /// With the default configuration.
    pub(crate) fn new(database_url: &str, archive: &Path) -> Self {
        Self {
            database_url: database_url.to_owned(),
            archive: archive.to_owned(),
            environment: Vec::new(),
            prelude: ":",
        }
    }

    /// Starts it and returns once it serves.
    pub(crate) fn start(&self) -> Process {
        let mut child = Command::new("sh")
            .args(["-c", &format!("{}; exec \"$0\" serve", self.prelude), env!("CARGO_BIN_EXE_tarmac")])
            .env("TARMAC_SERVER_ADDRESS", "127.0.0.1:0")
            .env("TARMAC_DATABASE_URL", &self.database_url)
            .env("TARMAC_ARCHIVE_DIRECTORY", &self.archive)
            .env("TARMAC_LOG_FORMAT", "json")
            .env("TARMAC_LOG_FILTER", "info")
            .envs(self.environment.iter().map(|(name, value)| (*name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program can be started");
        let stderr = child.stderr.take().expect("its log is piped");
        let log = Arc::new(Mutex::new(Vec::new()));
        let (bound, address) = mpsc::channel();
        let lines = Arc::clone(&log);
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                let event: Value = serde_json::from_str(&line).unwrap_or_default();
                if event["fields"]["message"] == "serving" {
                    // Nobody waits for it any more when starting took too long.
                    drop(bound.send(event["fields"]["address"].as_str().unwrap_or_default().to_owned()));
                }
                lines.lock().expect("nobody panics with it").push(line);
            }
        });
        let address = address.recv_timeout(Duration::from_secs(60));
        let mut process = Process { client: Client::new(String::new()), address: String::new(), child, log };
        process.address = address.unwrap_or_else(|error| panic!("{error}: {:?}", process.log()));
        process.client = Client::new(format!("http://{}", process.address));
        process
    }
}

impl Process {
    /// SIGKILL; returns when it is gone.
    pub(crate) fn kill(mut self) {
        self.end();
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().expect("nobody panics with it").clone()
    }

    fn end(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.end();
    }
}
