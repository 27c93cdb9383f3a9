//! Servers that a test has for itself, and may therefore stop, kill and start again.

use std::{net::TcpListener, process::Command};

use rand::RngExt;

/// A PostgreSQL with PostGIS of the test's own.
#[derive(Debug)]
pub(crate) struct Postgres {
    /// Its database.
    pub(crate) url: String,
    home: Home,
}

/// Kafka brokers of the test's own.
#[derive(Debug)]
pub(crate) struct Cluster {
    /// As `bootstrap.servers` wants them.
    pub(crate) brokers: String,
    home: Home,
}

/// Where a server keeps its data, on which ports.
#[derive(Debug)]
struct Home {
    script: &'static str,
    directory: tempfile::TempDir,
    port: u16,
    proxy: Option<String>,
}

impl Postgres {
    /// A new one that runs.
    pub(crate) async fn start() -> Self {
        let home = Home::new("dev/postgres", None);
        home.run(&["start"]).await;
        Self { url: home.run(&["url"]).await, home }
    }

    /// Breaks all connections and brings them down in order, then starts it again.
    pub(crate) async fn restart(&self) {
        self.home.run(&["stop"]).await;
        self.home.run(&["start"]).await;
    }
}

impl Cluster {
    /// So many brokers that run.
    pub(crate) async fn start(brokers: u8) -> Self {
        Self::within(Home::new("dev/kafka", None), brokers).await
    }

    /// One broker, and the free port at which clients that have once talked to it look for it.
    pub(crate) async fn behind_a_proxy() -> (Self, u16) {
        let port = free_ports(&[0]);
        let home = Home::new("dev/kafka", Some(format!("127.0.0.1:{port}")));
        (Self::within(home, 1).await, port)
    }

    async fn within(home: Home, brokers: u8) -> Self {
        home.run(&["start", "--brokers", &brokers.to_string()]).await;
        Self { brokers: home.run(&["url"]).await, home }
    }

    /// SIGKILL for one of them; they count from 1.
    pub(crate) async fn kill(&self, broker: u8) {
        self.home.run(&["kill", &broker.to_string()]).await;
    }

    /// SIGSTOP for one of them: nobody answers any more on connections that stay.
    pub(crate) async fn freeze(&self, broker: u8) {
        self.home.run(&["freeze", &broker.to_string()]).await;
    }

    /// Starts those that do not run.
    pub(crate) async fn revive(&self) {
        self.home.run(&["start"]).await;
    }
}

impl Home {
    fn new(script: &'static str, proxy: Option<String>) -> Self {
        // Broker 1 to 3: what they listen on, by the script's rules. PostgreSQL takes the first.
        let ports: Vec<u16> = (0..=3).flat_map(|id| [0, 1_000, 2_000].map(|list| list + 100 * id)).collect();
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        Self { script, directory, port: free_ports(&ports), proxy }
    }

    /// Runs the script; what it prints.
    async fn run(&self, arguments: &[&str]) -> String {
        let mut command = self.command(arguments);
        let done = tokio::task::spawn_blocking(move || command.output()).await.expect("no panic");
        let done = done.expect("the script can be started");
        let said = String::from_utf8_lossy(&done.stderr);
        assert!(done.status.success(), "{} {arguments:?}: {said}", self.script);
        String::from_utf8_lossy(&done.stdout).trim().to_owned()
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(format!("{}/{}", env!("CARGO_MANIFEST_DIR"), self.script));
        command
            .args(arguments)
            .env("TARMAC_DEV_DIR", self.directory.path())
            .env("TARMAC_DEV_PORT", self.port.to_string())
            .envs(self.proxy.as_ref().map(|proxy| ("TARMAC_DEV_KAFKA_PROXY", proxy)));
        command
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        // The test has its result already.
        drop(self.command(&["drop"]).output());
    }
}

/// A port from which on all these distances are free: below those that the system gives to whoever connects somewhere.
fn free_ports(distances: &[u16]) -> u16 {
    let mut random = rand::rng();
    let free = |port: u16| TcpListener::bind(("127.0.0.1", port)).is_ok();
    loop {
        let port = random.random_range(10_000..29_000);
        if distances.iter().all(|distance| free(port + distance)) {
            return port;
        }
    }
}
