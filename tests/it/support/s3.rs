//! A store that speaks S3, in this process: a bucket over a directory, which a test may look into and break.

use std::{
    path::PathBuf,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
};

use hyper::{Method, Request, Response, body::Incoming, service::Service};
use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::conn::auto,
};
use s3s::{
    HttpError,
    auth::SimpleAuth,
    service::{S3Service, S3ServiceBuilder},
};
use tokio::{net::TcpListener, task::JoinSet};

use super::app::spoil;

const BUCKET: &str = "bucket";
const PREFIX: &str = "tarmac/of/the/test";
const KEY: [&str; 2] = ["the-test", "only the test knows"];

/// Gone with its objects when dropped.
pub(crate) struct S3 {
    directory: tempfile::TempDir,
    /// `127.0.0.1:41234`.
    pub(crate) address: String,
    full: Arc<AtomicBool>,
    spoils: Spoils,
    _serving: JoinSet<()>,
}

impl S3 {
    /// With an empty bucket, for who has the key.
    pub(crate) async fn start() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        std::fs::create_dir(directory.path().join(BUCKET)).expect("a bucket can be made");
        let files = s3s_fs::FileSystem::new(directory.path()).expect("the directory is there");
        let mut builder = S3ServiceBuilder::new(files);
        builder.set_auth(SimpleAuth::from_single(KEY[0], KEY[1]));
        let full = Arc::new(AtomicBool::new(false));
        let spoils = Spoils::default();
        let bounded = Bounded {
            store: builder.build(),
            full: Arc::clone(&full),
            spoils: Arc::clone(&spoils),
            root: directory.path().to_owned(),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("there is a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let mut serving = JoinSet::new();
        serving.spawn(serve(listener, bounded));
        Self { directory, address, full, spoils, _serving: serving }
    }

    /// What a service needs to keep its archive there, by way of `address`; `section` is `archive` or `long_term`.
    pub(crate) fn settings_by(&self, section: &str, address: &str) -> Vec<(String, String)> {
        [
            ("url", format!("s3://{BUCKET}/{PREFIX}")),
            ("endpoint", format!("http://{address}")),
            ("access_key_id", KEY[0].to_owned()),
            ("secret_access_key", KEY[1].to_owned()),
        ]
        .map(|(key, value)| (format!("{section}.{key}"), value))
        .into()
    }

    /// Where the objects of a service are files.
    pub(crate) fn objects(&self) -> PathBuf {
        self.directory.path().join(BUCKET).join(PREFIX)
    }

    /// The parts of objects that are begun and neither finished nor thrown away.
    pub(crate) fn parts(&self) -> Vec<String> {
        let entries = std::fs::read_dir(self.directory.path()).expect("the directory can be read");
        let names = entries.map(|entry| entry.expect("the directory can be read").file_name());
        names.filter_map(|name| name.into_string().ok()).filter(|name| name.contains(".upload")).collect()
    }

    /// Takes nothing more, as long as it is full.
    pub(crate) fn set_full(&self, full: bool) {
        self.full.store(full, Ordering::Relaxed);
    }

    /// Keeps what is written under a name with that ending with one wrong bit; with `None` all as it is.
    pub(crate) fn set_spoils(&self, ending: Option<&'static str>) {
        *self.spoils.lock().expect("nobody panics with it") = ending;
    }
}

/// Which objects are spoilt: those whose names end so.
type Spoils = Arc<Mutex<Option<&'static str>>>;

async fn serve(listener: TcpListener, store: Bounded) {
    // Dropped, and so ended, with this task.
    let mut connections = JoinSet::new();
    while let Ok((socket, _)) = listener.accept().await {
        let store = store.clone();
        connections.spawn(async move {
            // A client that breaks a connection has its reasons.
            drop(
                auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(socket), store).await,
            );
        });
    }
}

/// A store that can be full, and that can lose a bit.
#[derive(Clone)]
struct Bounded {
    store: S3Service,
    full: Arc<AtomicBool>,
    spoils: Spoils,
    root: PathBuf,
}

impl Service<Request<Incoming>> for Bounded {
    type Response = Response<s3s::Body>;
    type Error = HttpError;
    type Future = std::pin::Pin<Box<dyn Future<Output = Result<Self::Response, Self::Error>> + Send>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        if self.full.load(Ordering::Relaxed) && matches!(*request.method(), Method::PUT | Method::POST) {
            let mut response = Response::new(s3s::Body::empty());
            *response.status_mut() = hyper::StatusCode::INSUFFICIENT_STORAGE;
            return Box::pin(std::future::ready(Ok(response)));
        }
        // A PUT of a part writes no object, the POST after the last one does.
        let is_part = request.uri().query().is_some_and(|query| query.contains("partNumber"));
        let writes = !is_part && matches!(*request.method(), Method::PUT | Method::POST);
        let object = self.root.join(request.uri().path().trim_start_matches('/'));
        let ending = *self.spoils.lock().expect("nobody panics with it");
        let answer = Service::call(&self.store, request);
        Box::pin(async move {
            let answer = answer.await;
            let name = object.to_string_lossy();
            if writes && object.is_file() && ending.is_some_and(|ending| name.ends_with(ending)) {
                spoil(&object);
            }
            answer
        })
    }
}
