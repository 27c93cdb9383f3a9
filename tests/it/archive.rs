//! What every archive owes, a directory as well as a store that speaks S3: one suite, stamped on each of them.

use std::{
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use futures_util::{StreamExt, stream};
use serde_json::json;
use tarmac::archive::Archive;

use crate::support::{
    App,
    app::{files_below, spoil},
    database::Database,
    files::{gzip, row, rows, zip},
    imports::{failure, id, outcome, post_csv},
    process::Launch,
    proxy::Proxy,
    s3::S3,
    wait::until,
};

/// Of three parts, and a bit.
const LONG: usize = 20 << 20;

/// A place for objects.
enum Store {
    Directory(tempfile::TempDir),
    S3(Box<S3>),
}

impl Store {
    fn directory() -> Self {
        Self::Directory(tempfile::tempdir().expect("a temporary directory can be made"))
    }

    async fn s3() -> Self {
        Self::S3(Box::new(S3::start().await))
    }

    fn settings(&self) -> Vec<(String, String)> {
        match self {
            Self::Directory(directory) => {
                vec![("archive.url".to_owned(), format!("file://{}", directory.path().display()))]
            }
            Self::S3(store) => store.settings_by("archive", &store.address),
        }
    }

    /// Where the objects are files.
    fn objects(&self) -> PathBuf {
        match self {
            Self::Directory(directory) => directory.path().to_owned(),
            Self::S3(store) => store.objects(),
        }
    }

    /// The objects in a folder that can be seen.
    fn in_folder(&self, folder: &str) -> Vec<String> {
        let folder = self.objects().join(folder);
        if !folder.exists() {
            return Vec::new();
        }
        // A directory keeps what is begun beside what is finished, under a name with a #.
        files_below(&folder).into_iter().filter(|file| !file.contains('#')).collect()
    }

    /// What is begun and not finished.
    fn begun(&self) -> Vec<String> {
        match self {
            Self::Directory(directory) => {
                files_below(directory.path()).into_iter().filter(|file| file.contains('#')).collect()
            }
            Self::S3(store) => store.parts(),
        }
    }

    /// The uploads that can be seen.
    fn uploads(&self) -> Vec<String> {
        self.in_folder("uploads").into_iter().filter(|file| !file.ends_with(".json")).collect()
    }

    /// Changes one byte of the only upload.
    fn spoil(&self) {
        let uploads = self.uploads();
        assert_eq!(uploads.len(), 1, "{uploads:?}");
        spoil(Path::new(&uploads[0]));
    }

    async fn app(&self, with_worker: bool) -> App {
        let settings = self.settings();
        let settings: Vec<_> = settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        if with_worker { App::with(&settings).await } else { App::without_worker(&settings).await }
    }
}

/// Plain, gzip and ZIP come in whole, come back byte for byte, and leave nothing unpacked.
async fn keeps_what_is_imported(store: Store) {
    let app = store.app(true).await;
    let report = app.client.get("/health/ready").send().await.expect(200).json();
    assert_eq!(report["status"], "ok");
    let files = [
        ("text/csv", rows(1..2_000).into_bytes()),
        ("application/zip", zip(&[("a.csv", rows(2_000..3_000)), ("b.csv", rows(3_000..4_000))])),
    ];
    for ((media_type, file), rows) in files.iter().zip([1_999, 2_000]) {
        let import = app.upload_as(media_type, file.clone()).await;
        assert_eq!((&import["state"], outcome(&import)), (&json!("complete"), [rows, 0, 0, 0, 0]));
        let source = app.client.get(&format!("/imports/{}/source", id(&import))).send().await.expect(200);
        assert!(&source.body == file, "the bytes come back as they were");
    }
    let request = app.client.post("/upload").header("Content-Type", "text/csv");
    let request = request.header("Content-Encoding", "gzip").header("Prefer", "wait=60");
    let import = app.ended(request.body(gzip(rows(4_000..5_000))).send().await.expect(200)).await;
    assert_eq!(outcome(&import), [1_000, 0, 0, 0, 0]);
    assert_eq!(store.uploads().len(), 3);
    until("nothing unpacked is left", || async { store.in_folder("unpacked").is_empty().then_some(()) })
        .await;
    assert_eq!((store.in_folder("health"), store.begun()), (Vec::new(), Vec::new()));
}

/// A file of several parts comes in and out whole.
async fn keeps_a_file_of_many_parts(store: Store) {
    let app = store.app(false).await;
    let file = rows(1..1_000).into_bytes().repeat(1_000)[..LONG].to_vec();
    let id = app.begin("", file.clone()).await;
    let source = app.client.get(&format!("/imports/{id}/source")).send().await.expect(200);
    assert!(source.body == file, "the bytes come back as they were");
    assert_eq!(store.begun(), [""; 0]);
}

/// A client that goes away in the middle leaves nothing, neither an object nor its parts.
async fn throws_away_what_is_not_finished(store: Store) {
    let app = store.app(false).await;
    let part = rows(1..1_000).into_bytes().repeat(1_000)[..LONG].to_vec();
    let body = stream::iter([Ok::<_, std::io::Error>(part)]).chain(stream::pending());
    let request = reqwest::Client::new().post(format!("{}/upload", app.client.base()));
    let request = request.header("Content-Type", "text/csv").body(reqwest::Body::wrap_stream(body));
    let sending = tokio::spawn(request.send());
    until("parts are in the store", || async { (!store.begun().is_empty()).then_some(()) }).await;
    assert_eq!(store.in_folder("uploads"), [""; 0], "nothing is visible yet");
    sending.abort();
    until("nothing is left", || async { store.begun().is_empty().then_some(()) }).await;
    assert_eq!(store.in_folder("uploads"), [""; 0]);
    assert_eq!(app.one::<i64>("select count(*) from imports").await, 0);
}

/// What nobody goes on writing is thrown away too.
async fn throws_away_what_is_dropped(store: Store) {
    let app = store.app(false).await;
    let archive = Archive::open(&app.config.archive).expect("the archive can be opened");
    let mut writer = archive.write("uploads/dropped").await.expect("the archive takes it");
    writer.write(vec![0; LONG].into()).await.expect("the archive takes it");
    until("parts are in the store", || async { (!store.begun().is_empty()).then_some(()) }).await;
    drop(writer);
    until("nothing is left", || async { store.begun().is_empty().then_some(()) }).await;
    assert_eq!(store.in_folder("uploads"), [""; 0]);
}

/// A process that is killed in the middle leaves nothing that can be seen, and the upload can be sent again.
async fn shows_nothing_of_what_was_being_received(store: Store) {
    let database = Database::create().await;
    let settings = store.settings();
    let settings: Vec<_> = settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let launch = Launch::new(&database.url, &store.objects()).with(&settings);
    let service = launch.start();
    let part = rows(1..1_000).into_bytes().repeat(1_000)[..LONG].to_vec();
    let body = stream::iter([Ok::<_, std::io::Error>(part)]).chain(stream::pending());
    let request = reqwest::Client::new().post(format!("http://{}/upload", service.address));
    let request = request.header("Content-Type", "text/csv").body(reqwest::Body::wrap_stream(body));
    let sending = tokio::spawn(request.send());
    until("parts are in the store", || async { (!store.begun().is_empty()).then_some(()) }).await;
    service.kill();
    assert!(sending.await.expect("the client goes on").is_err(), "it was not answered");
    assert_eq!(store.in_folder("uploads"), [""; 0]);
    let service = launch.start();
    let import = post_csv(&service.client, "", rows(1..100)).send().await.expect(200).json();
    assert_eq!((id(&import), outcome(&import)), (1, [99, 0, 0, 0, 0]));
}

/// A byte that has changed is noticed by who downloads the upload, who gets less than all of it, and by its import, which fails.
async fn notices_a_changed_byte(store: Store) {
    let app = store.app(false).await;
    let import = app.begin("?filename=spoilt.csv", rows(1..2_000)).await;
    store.spoil();
    let url = format!("{}/imports/{import}/source", app.client.base());
    let refused = reqwest::get(&url).await.expect("the service answers");
    assert_eq!(refused.status(), 410, "of a short file nothing is sent");
    app.work();
    let import = app.end_of(import).await;
    assert_eq!(failure(&import), "damaged_upload");
    let message = import["error"]["message"].as_str().expect("text");
    assert!(message.starts_with("spoilt.csv is not what was received"), "{message}");
}

/// So is one of a ZIP, before anything is unpacked, and of a long file, whose download breaks off.
async fn notices_a_changed_byte_in_a_long_or_packed_file(store: Store) {
    let app = store.app(false).await;
    let file = rows(1..1_000).into_bytes().repeat(100);
    let import = app.begin("?filename=long.csv", file.clone()).await;
    store.spoil();
    let url = format!("{}/imports/{import}/source", app.client.base());
    let answer = reqwest::get(&url).await.expect("the service answers");
    assert_eq!(answer.status(), 200);
    assert!(answer.bytes().await.is_err(), "the download does not come to its end");
    app.client.post(&format!("/imports/{import}/cancel")).send().await.expect(200);
    for upload in store.uploads() {
        std::fs::remove_file(upload).expect("the upload can be removed");
    }

    let request = app.client.post("/upload?filename=spoilt.zip").header("Content-Type", "application/zip");
    let import = id(&request.body(zip(&[("a.csv", row(1))])).send().await.expect(202).json());
    store.spoil();
    app.work();
    let import = app.end_of(import).await;
    assert_eq!(failure(&import), "damaged_upload");
    assert_eq!(store.in_folder("unpacked"), [""; 0]);
}

/// An upload that is gone fails its import, which says so.
async fn notices_a_missing_file(store: Store) {
    let app = store.app(false).await;
    let import = app.begin("?filename=gone.csv", rows(1..2_000)).await;
    for upload in store.uploads() {
        std::fs::remove_file(upload).expect("the upload can be removed");
    }
    app.work();
    let import = app.end_of(import).await;
    assert_eq!(failure(&import), "missing_upload");
    assert_eq!(import["error"]["message"], "gone.csv is no longer in the archive");
}

/// Stamps the suite on a directory and on S3.
macro_rules! suite {
    ($($property:ident),* $(,)?) => {
        mod directory {
            $(#[tokio::test]
            async fn $property() {
                super::$property(super::Store::directory()).await;
            })*
        }
        mod s3 {
            $(#[tokio::test]
            async fn $property() {
                super::$property(super::Store::s3().await).await;
            })*
        }
    };
}

suite!(
    keeps_what_is_imported,
    keeps_a_file_of_many_parts,
    throws_away_what_is_not_finished,
    throws_away_what_is_dropped,
    shows_nothing_of_what_was_being_received,
    notices_a_changed_byte,
    notices_a_changed_byte_in_a_long_or_packed_file,
    notices_a_missing_file,
);

#[tokio::test]
async fn a_store_that_is_away_or_full_is_503_and_the_service_goes_on_after() {
    let store = S3::start().await;
    let proxy = Proxy::to(&format!("http://{}", store.address)).await;
    let address = proxy.url.trim_start_matches("http://").trim_end_matches('/').to_owned();
    let settings = store.settings_by("archive", &address);
    let settings: Vec<_> = settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let app = App::with(&settings).await;
    assert_eq!(outcome(&app.upload("", row(1)).await), [1, 0, 0, 0, 0]);
    for break_it in [|_: &S3, proxy: &Proxy| proxy.cut(), |store: &S3, _: &Proxy| store.set_full(true)] {
        break_it(&store, &proxy);
        let refused = post_csv(&app.client, "", row(2)).send().await.expect(503);
        assert!(refused.header("retry-after").is_some());
        assert_eq!(refused.json()["detail"], "the upload cannot be kept now");
        assert!(!refused.text().contains(&address), "internals do not leave the service");
        let report = until("the service says so", || async {
            let answer = app.client.get("/health/ready").send().await;
            (answer.status == 503).then(|| answer.json())
        })
        .await;
        let archive =
            json!({ "name": "archive", "status": "failed", "detail": "the archive cannot be written" });
        assert!(report["checks"].as_array().expect("there are checks").contains(&archive), "{report}");
        store.set_full(false);
        proxy.restore();
        until("the service is ready again", || async {
            (app.client.get("/health/ready").send().await.status == 200).then_some(())
        })
        .await;
    }
    assert_eq!(outcome(&app.upload("", row(2)).await), [1, 0, 0, 0, 0]);
    let uploads = files_below(&store.objects().join("uploads"));
    assert_eq!(uploads.len(), 4, "two uploads with their manifests: {uploads:?}");
}

#[tokio::test]
async fn a_store_that_knows_another_key_is_told_by_readiness() {
    let store = S3::start().await;
    let mut settings = store.settings_by("archive", &store.address);
    settings.push(("archive.secret_access_key".to_owned(), "another".to_owned()));
    let settings: Vec<_> = settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
    let app = App::with(&settings).await;
    app.client.get("/health/ready").send().await.expect(503);
    post_csv(&app.client, "", row(1)).send().await.expect(503);
}

/// A path and what is in it, with the permissions of each.
fn permissions(path: &Path) -> Vec<(String, u32)> {
    let metadata = std::fs::metadata(path).expect("it is there");
    let mut found = vec![(path.display().to_string(), metadata.permissions().mode() & 0o777)];
    if metadata.is_dir() {
        for entry in std::fs::read_dir(path).expect("it can be read") {
            found.extend(permissions(&entry.expect("it can be read").path()));
        }
    }
    found
}

#[tokio::test]
async fn what_an_upload_leaves_can_be_read_by_the_services_user_only() {
    let database = Database::create().await;
    let parent = tempfile::tempdir().expect("a temporary directory can be made");
    let archive = parent.path().join("archive");
    let service = Launch::new(&database.url, &archive).start();
    let request = service.client.post("/upload").header("Content-Type", "application/zip");
    let request = request.header("Prefer", "wait=60").body(zip(&[("a.csv", row(1))]));
    request.send().await.expect(200);
    let left = permissions(&archive);
    assert!(left.len() > 3, "the archive, a folder, the upload and its manifest: {left:?}");
    for (path, mode) in left {
        let expected = if Path::new(&path).is_dir() { 0o700 } else { 0o600 };
        assert_eq!(mode, expected, "{path} has {mode:o}");
    }
}

#[tokio::test]
async fn a_directory_that_is_there_keeps_its_permissions() {
    let database = Database::create().await;
    let archive = tempfile::tempdir().expect("a temporary directory can be made");
    let open = std::fs::Permissions::from_mode(0o755);
    std::fs::set_permissions(archive.path(), open).expect("it is ours");
    let _service = Launch::new(&database.url, archive.path()).start();
    let mode = std::fs::metadata(archive.path()).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o755);
}
