//! A service with something to be found, for the targets that ask one.

use std::sync::LazyLock;

use tarmac::{app, clock::Clock, config::Config, log::Shown};
use tokio::{runtime::Runtime, sync::oneshot};
use tokio_util::sync::CancellationToken;

/// There to be found.
const AIRPORT: &str =
    r#"{"name":"Tegel Airport","city":"Berlin","country":"Germany","latitude":52.5597,"longitude":13.2877}"#;
/// The first import, which is complete when it is answered.
const CITIZENS: &str = include_str!("../../fixtures/citizens/import.json");

/// What answers.
pub(crate) struct Service {
    runtime: Runtime,
    client: reqwest::Client,
    url: String,
}

/// The only one; it starts when it is first asked.
pub(crate) static SERVICE: LazyLock<Service> = LazyLock::new(|| {
    let runtime = Runtime::new().expect("threads can be started");
    let archive = tempfile::tempdir().expect("a temporary directory can be made").keep();
    let database = std::env::var("TARMAC_FUZZ_DATABASE_URL").expect("dev/fuzz names a migrated database");
    let settings = [
        ("server.address", "127.0.0.1:0".to_owned()),
        ("database.url", database),
        ("archive.url", archive.display().to_string()),
    ];
    let settings = settings.map(|(key, value)| (key.to_owned(), value)).into();
    let config = Config::from_parts(None, settings, &[]).expect("the configuration is valid");
    let (bound, address) = oneshot::channel();
    let serving =
        app::serve(config, Clock::System, false, Shown::nothing(), CancellationToken::new(), |address| {
            bound.send(address).expect("the address is waited for");
        });
    runtime.spawn(async { panic!("the service ended: {:?}", serving.await) });
    let address = runtime.block_on(address).expect("the service starts");
    let service = Service { runtime, client: reqwest::Client::new(), url: format!("http://{address}") };
    service.create("/airports", AIRPORT);
    service.create("/imports", CITIZENS);
    service
});

impl Service {
    fn create(&self, path: &str, body: &'static str) {
        let request =
            self.client.post(format!("{}{path}", self.url)).header("Content-Type", "application/json");
        let answer = self.runtime.block_on(request.body(body).send()).expect("the service answers");
        assert_eq!(answer.status(), 201, "{path}");
    }

    /// Gets the path with its query, whose answer must not be a fault of the service's own.
    pub(crate) fn get(&self, path: &str) {
        let target = format!("{}{path}", self.url);
        self.runtime.block_on(async {
            let Ok(request) = self.client.get(&target).build() else { return };
            let answer = self.client.execute(request).await.expect("the service answers");
            let status = answer.status();
            let text = answer.text().await.expect("the answer is whole and UTF-8");
            assert!(!status.is_server_error(), "{target}: {status}: {text}");
        });
    }
}
