//! The service as a process of its own, which can be killed, frozen and told to stop.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{Arc, Mutex, mpsc},
};

use rustix::process::{Resource, Rlimit};
use serde_json::Value;

use super::{
    client::Client,
    wait::{DEADLINE, until},
};

/// A running `tarmac serve`; killed when dropped.
pub(crate) struct Process {
    /// Talks to it.
    pub(crate) client: Client,
    /// Where it listens: `127.0.0.1:41234`.
    pub(crate) address: String,
    running: Running,
}

/// A running `tarmac`, whatever its command; killed when dropped. Prints its log when the test fails.
pub(crate) struct Running {
    child: Child,
    log: Arc<Mutex<Vec<String>>>,
}

/// How to start one: again and again with the same database and archive.
#[derive(Clone)]
pub(crate) struct Launch {
    /// Where the database is.
    pub(crate) database_url: String,
    /// The archive's directory.
    pub(crate) archive: PathBuf,
    /// `TARMAC_…` variables beside those.
    environment: Vec<(String, String)>,
    /// Runs before the program, in a shell that becomes it.
    prelude: String,
}

impl Launch {
    /// With the default configuration.
    pub(crate) fn new(database_url: &str, archive: &Path) -> Self {
        Self {
            database_url: database_url.to_owned(),
            archive: archive.to_owned(),
            environment: Vec::new(),
            prelude: ":".to_owned(),
        }
    }

    /// With some keys set over that: `("ingest.chunk_rows", "100")`.
    pub(crate) fn with(mut self, settings: &[(&str, &str)]) -> Self {
        self.environment.extend(settings.iter().map(|(key, value)| {
            (format!("TARMAC_{}", key.replace('.', "_").to_uppercase()), (*value).to_owned())
        }));
        self
    }

    /// With a disk that is full for files longer than so many KiB. Told by an error, as a full disk does: the signal is ignored.
    pub(crate) fn with_files_up_to(mut self, kib: usize) -> Self {
        self.prelude = format!("trap '' XFSZ; ulimit -f {}", 2 * kib);
        self
    }

    /// Starts the service and returns once it serves.
    pub(crate) fn start(&self) -> Process {
        self.start_at_a_port("serve")
    }

    /// Starts a worker that can be watched, and returns once it can be.
    pub(crate) fn start_watched_worker(&self) -> Process {
        self.start_at_a_port("worker --address 127.0.0.1:0")
    }

    /// The same by a command line of one's own.
    pub(crate) fn start_at_a_port(&self, command: &str) -> Process {
        let (bound, address) = mpsc::channel();
        let running = self.spawn(command, bound);
        let address = address.recv_timeout(DEADLINE);
        let address = address.unwrap_or_else(|error| panic!("{error}: {:?}", running.log()));
        Process { client: Client::new(format!("http://{address}")), address, running }
    }

    /// Starts a worker, and returns before it works.
    pub(crate) fn start_worker(&self) -> Running {
        self.begin("worker")
    }

    /// Starts a command that may run for ever, and returns at once.
    pub(crate) fn begin(&self, command: &str) -> Running {
        self.spawn(command, mpsc::channel().0)
    }

    /// Runs a command to its end: its exit status, standard output and standard error.
    pub(crate) async fn run(&self, arguments: &[&str]) -> (ExitStatus, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tarmac"));
        command
            .args(arguments)
            .env("TARMAC_DATABASE_URL", &self.database_url)
            .env("TARMAC_ARCHIVE_URL", &self.archive)
            .env("TARMAC_LOG_FILTER", "warn")
            .envs(self.environment.iter().map(|(name, value)| (name, value)));
        // What it talks to may be in this process, on this thread.
        let output = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic");
        let output = output.expect("the program can be started");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        (output.status, text(&output.stdout), text(&output.stderr))
    }

    fn spawn(&self, command: &str, bound: mpsc::Sender<String>) -> Running {
        let mut child = Command::new("sh")
            .args(["-c", &format!("{}; exec \"$0\" {command}", self.prelude), env!("CARGO_BIN_EXE_tarmac")])
            .env("TARMAC_SERVER_ADDRESS", "127.0.0.1:0")
            .env("TARMAC_DATABASE_URL", &self.database_url)
            .env("TARMAC_ARCHIVE_URL", &self.archive)
            .env("TARMAC_LOG_FORMAT", "json")
            .env("TARMAC_LOG_FILTER", "info")
            .envs(self.environment.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the program can be started");
        let stdout = child.stdout.take().expect("its log is piped");
        let stderr = child.stderr.take().expect("what it says in despair is piped");
        let log = Arc::new(Mutex::new(Vec::new()));
        let (lines, last_words) = (Arc::clone(&log), Arc::clone(&log));
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                let event: Value = serde_json::from_str(&line).unwrap_or_default();
                if event["fields"]["message"] == "serving" {
                    // Nobody waits for it any more when starting took too long.
                    drop(bound.send(event["fields"]["address"].as_str().unwrap_or_default().to_owned()));
                }
                lines.lock().expect("nobody panics with it").push(line);
            }
        });
        std::thread::spawn(move || {
            for line in BufReader::new(stderr).lines().map_while(Result::ok) {
                last_words.lock().expect("nobody panics with it").push(line);
            }
        });
        Running { child, log }
    }
}

impl Process {
    /// SIGKILL; returns when it is gone.
    pub(crate) fn kill(self) {
        self.running.kill();
    }

    /// SIGTERM; returns when it has drained and gone.
    pub(crate) async fn stop(self) {
        self.running.stop().await;
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.running.log()
    }

    /// The most memory it has held so far, KiB.
    pub(crate) fn peak_kib(&self) -> u64 {
        self.memory_kib("VmHWM:")
    }

    /// Lets it have so much more memory than it has now (all that it has mapped to write to): the allocation beyond ends it.
    pub(crate) fn limit_memory(&self, more_kib: u64) {
        let limit = Some((self.memory_kib("VmData:") + more_kib) * 1024);
        let id = rustix::process::Pid::from_raw(self.running.child.id().cast_signed());
        let limits = Rlimit { current: limit, maximum: limit };
        rustix::process::prlimit(id, Resource::Data, limits).expect("it is a process of ours");
    }

    fn memory_kib(&self, name: &str) -> u64 {
        let path = format!("/proc/{}/status", self.running.child.id());
        let status = std::fs::read_to_string(&path).expect("the process is there");
        let size = status.lines().find_map(|line| line.strip_prefix(name)?.strip_suffix(" kB"));
        size.and_then(|size| size.trim().parse().ok()).expect("Linux tells how much memory it has")
    }

    /// Waits for it to end by itself.
    pub(crate) async fn end(self) -> ExitStatus {
        self.running.end().await
    }
}

impl Running {
    /// SIGKILL; returns when it is gone.
    pub(crate) fn kill(mut self) {
        self.die();
    }

    /// SIGTERM; returns when it has let go of what it held and gone.
    pub(crate) async fn stop(self) {
        self.signal("TERM");
        let status = self.end().await;
        assert!(status.success(), "{status}");
    }

    /// SIGSTOP: it holds whatever it holds, and does nothing.
    pub(crate) fn freeze(&self) {
        self.signal("STOP");
    }

    /// SIGCONT.
    pub(crate) fn thaw(&self) {
        self.signal("CONT");
    }

    /// What it has logged so far.
    pub(crate) fn log(&self) -> Vec<String> {
        self.log.lock().expect("nobody panics with it").clone()
    }

    /// Waits for it to end by itself.
    pub(crate) async fn end(mut self) -> ExitStatus {
        let child = Mutex::new(&mut self.child);
        until("the process ends", || async {
            child.lock().expect("nobody panics with it").try_wait().expect("it is our child")
        })
        .await
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([format!("-{name}"), self.child.id().to_string()]).status();
        assert!(sent.expect("kill can be started").success(), "the process is there");
    }

    fn die(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Drop for Running {
    #[expect(clippy::print_stderr, reason = "a failing test is explained by what the process said")]
    fn drop(&mut self) {
        self.die();
        if std::thread::panicking() {
            eprintln!("the log of process {}:\n{}", self.child.id(), self.log().join("\n"));
        }
    }
}
