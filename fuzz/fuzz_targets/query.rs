//! Any query is answered, and never with a fault of the service's own.
#![no_main]

use std::{fmt::Write as _, sync::LazyLock};

use libfuzzer_sys::fuzz_target;
use tarmac::{app, clock::Clock, config::Config, log::Shown};
use tokio::{runtime::Runtime, sync::oneshot};
use tokio_util::sync::CancellationToken;

/// There to be found.
const AIRPORT: &str =
    r#"{"name":"Tegel Airport","city":"Berlin","country":"Germany","latitude":52.5597,"longitude":13.2877}"#;
/// The first import, which is complete when it is answered.
const CITIZENS: &str = include_str!("../../fixtures/citizens/import.json");
/// What is read with parameters; the last two take what follows as an identifier.
const PATHS: &[&str] = &[
    "/airports?",
    "/imports?",
    "/imports/1/rejects?",
    "/imports/1/citizens?",
    "/imports/1/citizens/birthdays?",
    "/imports/1/towns/stat/percentile/age?",
    "/imports/1/towns/stat/demand?",
    "/create?",
    "/update?",
    "/delete?",
    "/consumers?",
    "/airports/",
    "/confirm/",
];

struct Service {
    runtime: Runtime,
    client: reqwest::Client,
    url: String,
}

static SERVICE: LazyLock<Service> = LazyLock::new(|| {
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
}

fuzz_target!(|input: (u8, &[u8])| {
    let (path, query) = input;
    let Service { runtime, client, url } = &*SERVICE;
    let mut target = format!("{url}{}", PATHS[usize::from(path) % PATHS.len()]);
    for &byte in query {
        match byte {
            b'a'..=b'z'
            | b'A'..=b'Z'
            | b'0'..=b'9'
            | b'-'
            | b'.'
            | b'_'
            | b'='
            | b'&'
            | b'%'
            | b'+'
            | b',' => {
                target.push(char::from(byte));
            }
            other => write!(target, "%{other:02X}").expect("a string takes anything"),
        }
    }
    runtime.block_on(async {
        let Ok(request) = client.get(&target).build() else { return };
        let answer = client.execute(request).await.expect("the service answers");
        let status = answer.status();
        let text = answer.text().await.expect("the answer is whole and UTF-8");
        assert!(!status.is_server_error(), "{target}: {status}: {text}");
    });
});
