//! The service, in this process, on a port of its own.

use std::{collections::HashMap, path::Path};

use serde_json::{Value, json};
use tarmac::{clock::Clock, config::Config, log::Shown};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::{client::Client, database::Database};

/// Stopped when dropped; its database and its archive go with it.
pub(crate) struct App {
    /// Talks to it.
    pub(crate) client: Client,
    /// Its database.
    pub(crate) database: Database,
    /// What it was started with.
    pub(crate) config: Config,
    settings: HashMap<String, String>,
    archive: tempfile::TempDir,
    stop: CancellationToken,
    _stop: DropGuard,
}

impl App {
    /// With the default configuration.
    pub(crate) async fn start() -> Self {
        Self::with(&[]).await
    }

    /// With some keys set: `("server.json_bytes", "100")`.
    pub(crate) async fn with(settings: &[(&str, &str)]) -> Self {
        Self::serve(Database::create().await, settings, true).await
    }

    /// On a day of the test's choice, `2026-11-20`.
    pub(crate) async fn on_day(day: &str) -> Self {
        let midday = format!("{day}T12:00:00Z").parse().expect("a day");
        Self::build(Database::create().await, &[], true, Clock::Fixed(midday)).await
    }

    /// On a database that the test has prepared.
    pub(crate) async fn on(database: Database, settings: &[(&str, &str)]) -> Self {
        Self::serve(database, settings, true).await
    }

    /// Nothing is loaded before [`App::work`].
    pub(crate) async fn without_worker(settings: &[(&str, &str)]) -> Self {
        Self::serve(Database::create().await, settings, false).await
    }

    async fn serve(database: Database, settings: &[(&str, &str)], with_worker: bool) -> Self {
        Self::build(database, settings, with_worker, Clock::System).await
    }

    async fn build(database: Database, settings: &[(&str, &str)], with_worker: bool, clock: Clock) -> Self {
        let archive = tempfile::tempdir().expect("a temporary directory can be made");
        let own = [
            ("server.address", "127.0.0.1:0"),
            ("server.shutdown_seconds", "1"),
            ("database.url", database.url.as_str()),
            ("database.connections", "8"),
            ("archive.url", archive.path().to_str().expect("the path is UTF-8")),
        ];
        let settings: HashMap<_, _> =
            own.iter().chain(settings).map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let config = Config::from_parts(None, settings.clone(), &[]).expect("the configuration is valid");

        let stop = CancellationToken::new();
        let (bound, address) = tokio::sync::oneshot::channel();
        let bound = |address| bound.send(address).expect("the test waits for the address");
        // Lines of this process are not the service's alone: who looks at them starts one of its own.
        let shown = Shown::nothing();
        let served = tarmac::app::serve(config.clone(), clock, with_worker, shown, stop.clone(), bound);
        let served = tokio::spawn(served);
        let Ok(address) = address.await else {
            panic!("the service does not start: {:?}", served.await);
        };
        let client = Client::new(format!("http://{address}"));
        Self { client, database, config, settings, archive, _stop: stop.clone().drop_guard(), stop }
    }

    /// What it was started with, and some more.
    pub(crate) fn config_with(&self, settings: &[(&str, &str)]) -> Config {
        let mut all = self.settings.clone();
        all.extend(settings.iter().map(|&(key, value)| (key.to_owned(), value.to_owned())));
        Config::from_parts(None, all, &[]).expect("the configuration is valid")
    }

    /// Starts a worker beside the service that leads imports and loads nothing, until it is dropped.
    pub(crate) fn lead(&self) -> DropGuard {
        let stop = self.stop.child_token();
        let mut config = self.config.clone();
        config.worker.loaders = 0;
        tokio::spawn(tarmac::app::work(config, stop.clone()));
        stop.drop_guard()
    }

    /// Starts a worker beside the service that ends, as one does that is told to, when it is dropped.
    pub(crate) fn work_until_dropped(&self) -> DropGuard {
        let stop = self.stop.child_token();
        tokio::spawn(tarmac::app::work(self.config.clone(), stop.clone()));
        stop.drop_guard()
    }

    /// Starts a worker beside the service.
    pub(crate) fn work(&self) {
        tokio::spawn(tarmac::app::work(self.config.clone(), self.stop.clone()));
    }

    /// Every file in the archive but the manifests, also one that is only begun.
    pub(crate) fn archived(&self) -> Vec<String> {
        files_below(self.archive.path()).into_iter().filter(|file| !file.ends_with(".json")).collect()
    }

    /// Creates an airport: Keflavík, with the given fields in place of its own.
    pub(crate) async fn airport(&self, fields: Value) -> Value {
        let answer = self.client.post("/airports").json(airport(fields)).send().await;
        answer.expect(201).json()
    }
}

/// The paths of all files below a directory, sorted.
pub(crate) fn files_below(directory: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(directory).expect("the directory can be read") {
        let path = entry.expect("the directory can be read").path();
        if path.is_dir() {
            found.extend(files_below(&path));
        } else {
            found.push(path.display().to_string());
        }
    }
    found.sort_unstable();
    found
}

/// Changes one byte of a file.
pub(crate) fn spoil(file: &Path) {
    let mut bytes = std::fs::read(file).expect("the file can be read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(file, bytes).expect("the file can be written");
}

/// The body of a new airport: the required fields, with the given ones over them.
pub(crate) fn airport(fields: Value) -> Value {
    let mut airport = json!({
        "name": "Keflavik International Airport", "country": "Iceland",
        "latitude": 63.985000610352, "longitude": -22.605600357056,
    });
    let object = airport.as_object_mut().expect("an object");
    object.extend(fields.as_object().expect("an object").clone());
    airport
}
