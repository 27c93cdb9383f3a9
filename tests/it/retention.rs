//! Old imports go to the long-term archive and come back as they were; nothing is lost on the way.

use std::{
    fs,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use serde_json::{Value, json};
use tarmac::{
    archive::Archive,
    clock::Clock,
    db::{Db, imports, notify::Changes, retention::Lock},
    ingest::manifest::Manifest,
    retention::{
        Retention,
        replay::{Loss, Lost, Replayed},
    },
};
use tokio_util::sync::CancellationToken;

use crate::support::{
    App,
    app::{files_below, spoil},
    citizens::citizen,
    files::{bad_row, fixture, row, rows, zip},
    imports::{count, id, post_csv},
    process::Launch,
    s3::S3,
    wait::until,
};

const RETAIN_ALL: [&str; 3] = ["retain", "--older-than", "0"];

/// A service with a long-term archive, and the command line beside it.
struct World {
    app: App,
    launch: Launch,
    long_term: PathBuf,
    _directory: Option<tempfile::TempDir>,
}

impl World {
    /// Everything in directories.
    async fn new() -> Self {
        let directory = tempfile::tempdir().expect("a temporary directory can be made");
        let long_term = directory.path().to_owned();
        let url = long_term.to_str().expect("the path is UTF-8").to_owned();
        Self {
            _directory: Some(directory),
            ..Self::with(&[("long_term.url".to_owned(), url)], long_term).await
        }
    }

    /// The long-term archive in a bucket.
    async fn on(store: &S3) -> Self {
        Self::with(&store.settings_by("long_term", &store.address), store.objects()).await
    }

    async fn with(settings: &[(String, String)], long_term: PathBuf) -> Self {
        let settings: Vec<_> = settings.iter().map(|(key, value)| (key.as_str(), value.as_str())).collect();
        let app = App::with(&settings).await;
        let launch = Launch::new(&app.database.url, Path::new(&app.config.archive.url)).with(&settings);
        Self { app, launch, long_term, _directory: None }
    }

    /// Runs the command, which does what it should; what it prints.
    async fn tarmac(&self, arguments: &[&str]) -> String {
        let (status, out, err) = self.launch.run(arguments).await;
        assert!(status.success(), "{arguments:?}: {out}{err}");
        out
    }

    /// Runs the command, which dies at that moment.
    async fn die(&self, moment: &str, arguments: &[&str]) {
        let dying = self.launch.clone().with(&[("dev.failpoint", &format!("{moment}:1"))]);
        let (status, out, err) = dying.run(arguments).await;
        assert!(!status.success() && err.contains("dying at a failpoint"), "{moment}: {out}{err}");
    }

    /// Everything a client can see of an import.
    async fn seen(&self, import: i64) -> (Value, Vec<u8>, Value, String) {
        let path = format!("/imports/{import}");
        let view = self.app.import(import).await;
        let source = self.app.client.get(&format!("{path}/source")).send().await.expect(200).body;
        let rejects =
            self.app.client.get(&format!("{path}/rejects?limit=10000")).send().await.expect(200).json();
        let csv = self.app.client.get(&format!("{path}/rejects.csv")).send().await.expect(200).text();
        (view, source, rejects, csv)
    }

    /// Every row of an import that goes with it.
    async fn rows(&self, import: i64) -> Vec<String> {
        sqlx::query_scalar(
            "select c::text from import_chunks c where import_id = $1
             union all select r::text from import_rejects r where import_id = $1 order by 1",
        )
        .bind(import)
        .fetch_all(&self.app.database.pool)
        .await
        .expect("the tables can be read")
    }

    fn files(&self) -> Vec<String> {
        if self.long_term.exists() { files_below(&self.long_term) } else { Vec::new() }
    }

    /// A file with rejects of every kind, of which there are some that are awkward to write.
    async fn import_with_rejects(&self) -> i64 {
        let faults = fixture("airports/rejected.csv");
        let latin: &[u8] = b"7,\"A \xe9 \"\"b\"\",\\\nc\",City,Country,\\N,\\N,1,2,0,0,U,\\N,airport,Test\n";
        let files = [("a.csv", faults), ("b.csv", latin.to_vec())];
        let import = self.app.upload_as("application/zip", zip(&files[..1])).await;
        assert!(count(&import, "rejected") > 10, "{import}");
        let import = self.app.upload("?header=absent", files[1].1.clone()).await;
        assert_eq!(count(&import, "rejected"), 1, "{import}");
        id(&import)
    }
}

async fn goes_and_comes_back(world: &World) {
    let last = world.import_with_rejects().await;
    let mut before = Vec::new();
    for import in 1..=last {
        before.push((world.seen(import).await, world.rows(import).await));
    }
    let airports = world.app.client.get("/airports").send().await.expect(200).body;
    let would = world.tarmac(&["retain", "--older-than", "0", "--dry-run"]).await;
    assert_eq!(would, "import 1: would be moved\nimport 2: would be moved\n");
    assert_eq!(world.files(), [""; 0]);
    assert!(world.tarmac(&["retain"]).await.starts_with("moved 0 imports"), "they are young");

    let moved = world.tarmac(&RETAIN_ALL).await;
    assert_eq!(
        moved,
        "import 1: moved\nimport 2: moved\nmoved 2 imports; removed 0 kept answers, 0 links, 0 objects\n"
    );
    assert_eq!(world.files().len(), 8, "{:?}", world.files());
    assert_eq!(files_below(Path::new(&world.app.config.archive.url)), [""; 0]);
    for (import, ((view, source, ..), _)) in (1..).zip(&before) {
        let mut now = world.app.import(import).await;
        assert!(now["archived_at"].is_string(), "{now}");
        now["archived_at"] = Value::Null;
        assert_eq!(&now, view, "nothing else has changed");
        assert_eq!(world.rows(import).await, [""; 0]);
        for part in ["source", "rejects", "rejects.csv"] {
            let gone = world.app.client.get(&format!("/imports/{import}/{part}")).send().await.expect(410);
            let detail = gone.json()["detail"].to_string();
            assert!(detail.contains(&format!("tarmac replay {import}")), "{detail}");
        }
        let upload = world
            .files()
            .into_iter()
            .find(|file| file.contains(&format!("/imports/{import}/")) && file.ends_with("/upload"));
        assert_eq!(&fs::read(upload.expect("it is there")).expect("it can be read"), source);
    }
    assert_eq!(world.app.client.get("/airports").send().await.expect(200).body, airports);
    let same = post_csv(&world.app.client, "?header=absent", before[1].0.1.clone()).send().await.expect(200);
    assert_eq!(id(&same.json()), 2, "the same file is still known");

    assert_eq!(world.tarmac(&["replay", "1", "2"]).await, "import 1: brought back\nimport 2: brought back\n");
    for (import, before) in (1..).zip(&before) {
        assert_eq!(&(world.seen(import).await, world.rows(import).await), before);
    }
    let old = "update imports set finished_at = now() - interval '15 days'";
    assert_eq!(world.app.run(old).await, 2);
    assert!(world.tarmac(&["retain"]).await.starts_with("moved 0 imports"), "what came back stays a while");
    let back = "update imports set restored_at = now() - interval '15 days'";
    assert_eq!(world.app.run(back).await, 2);
    assert!(world.tarmac(&["retain"]).await.contains("moved 2 imports"));
    assert_eq!(world.files().len(), 8);
    let (status, _, err) = world.launch.run(&["replay", "1", "3"]).await;
    assert!(!status.success() && err.contains("there is no import 3"), "{err}");
    let (status, _, err) = world.launch.run(&["replay", "1"]).await;
    assert!(!status.success() && err.contains("nothing to bring back"), "{err}");
}

#[tokio::test]
async fn what_is_old_goes_to_a_directory_and_comes_back_as_it_was() {
    goes_and_comes_back(&World::new().await).await;
}

#[tokio::test]
async fn what_is_old_goes_to_a_bucket_and_comes_back_as_it_was() {
    goes_and_comes_back(&World::on(&S3::start().await).await).await;
}

#[tokio::test]
async fn whenever_the_process_dies_nothing_is_lost_and_the_next_one_goes_on() {
    let world = World::new().await;
    let import = world.import_with_rejects().await;
    let before = (world.seen(import).await, world.rows(import).await);
    for moment in ["import-copied", "copy-verified", "import-forgotten"] {
        world.die(moment, &RETAIN_ALL).await;
        let archived = world.app.import(1).await["archived_at"].is_string();
        assert_eq!(archived, moment == "import-forgotten");
        if !archived {
            assert_eq!((world.seen(import).await, world.rows(import).await), before, "{moment}");
        }
    }
    // The upload that was left is swept away.
    let out = world.tarmac(&RETAIN_ALL).await;
    assert!(out.contains("moved 1 imports") && out.contains("1 objects"), "{out}");
    assert_eq!(files_below(Path::new(&world.app.config.archive.url)), [""; 0]);
    world.die("upload-back", &["replay", "2"]).await;
    world.tarmac(&["replay", "2"]).await;
    assert_eq!((world.seen(import).await, world.rows(import).await), before);
}

#[tokio::test]
async fn what_is_damaged_stays_and_the_others_go() {
    let store = S3::start().await;
    let world = World::on(&store).await;
    world.import_with_rejects().await;
    let upload = world.app.archived().into_iter().max().expect("there are two");
    spoil(Path::new(&upload));
    let rows = world.rows(2).await;
    let (status, out, err) = world.launch.run(&RETAIN_ALL).await;
    assert!(!status.success() && out.contains("import 1: moved"), "{out}{err}");
    assert!(err.contains("import 2: stays") && err.contains("damaged"), "{err}");
    assert_eq!((world.rows(2).await, world.app.archived()), (rows, vec![upload]));
    assert_eq!((store.parts(), world.files().len()), (Vec::new(), 4), "half a copy is thrown away");
    assert_eq!(world.app.import(2).await["archived_at"], Value::Null);
}

#[tokio::test]
async fn a_copy_that_cannot_be_read_back_right_deletes_nothing() {
    let store = S3::start().await;
    let world = World::on(&store).await;
    let import = world.import_with_rejects().await;
    let before = (world.seen(import).await, world.rows(import).await);
    for ending in ["upload", "ledger.csv.gz", "rejects.csv.gz", "manifest.json"] {
        store.set_spoils(Some(ending));
        let (status, out, err) = world.launch.run(&RETAIN_ALL).await;
        assert!(!status.success() && out.contains("moved 0 imports"), "{ending}: {out}{err}");
        assert_eq!((world.seen(import).await, world.rows(import).await), before, "{ending}");
    }
    store.set_spoils(None);
    assert!(world.tarmac(&RETAIN_ALL).await.contains("moved 2 imports"));
    // Nor is anything brought back that is not what went.
    let ledger =
        world.files().into_iter().find(|file| file.contains("/2/") && file.ends_with("rejects.csv.gz"));
    let ledger = PathBuf::from(ledger.expect("it is there"));
    spoil(&ledger);
    let (status, _, err) = world.launch.run(&["replay", "2"]).await;
    assert!(!status.success() && err.contains("damaged"), "{err}");
    assert!(world.app.import(2).await["archived_at"].is_string());
    assert_eq!(world.rows(2).await, [""; 0]);
    spoil(&ledger);
    world.tarmac(&["replay", "2"]).await;
    assert_eq!((world.seen(import).await, world.rows(import).await), before);
}

#[tokio::test]
async fn a_list_of_rejects_that_goes_while_it_is_read_breaks_off() {
    let world = World::new().await;
    // More than what fits between a client that does not read and the service.
    let long = "x".repeat(4_000);
    let file: String = (1..6_000).map(|id| bad_row(id).replace("City", &long)).collect();
    assert_eq!(count(&world.app.upload("", file).await, "rejected"), 5_999);
    let url = format!("{}/imports/1/rejects.csv", world.app.client.base());
    let mut answer = reqwest::get(url).await.expect("the service answers");
    assert!(answer.chunk().await.expect("the list begins").is_some());
    world.tarmac(&RETAIN_ALL).await;
    assert!(answer.bytes().await.is_err(), "half a list does not look like a whole one");
}

#[tokio::test]
async fn a_worker_retains_by_itself_and_sweeps_what_has_expired() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let url = directory.path().to_str().expect("the path is UTF-8").to_owned();
    let app = App::with(&[("long_term.url", &url), ("retention.every_seconds", "1")]).await;
    app.upload("", row(1)).await;
    app.upload("", row(2)).await;
    let airport = json!({ "name": "A", "country": "B", "latitude": 1, "longitude": 2 });
    for key in ["old", "young"] {
        app.client
            .post("/airports")
            .header("Idempotency-Key", key)
            .json(airport.clone())
            .send()
            .await
            .expect(201);
    }
    for name in ["old", "young"] {
        let query = format!("/create?name={name}&country=C&latitude=1&longitude=2");
        app.client.get(&query).send().await.expect(200);
    }
    app.run("update idempotency_keys set expires_at = now() where key = 'old'").await;
    let old =
        "update pending_changes set expires_at = now() - interval '2 days' where fields ->> 'name' = 'old'";
    assert_eq!(app.run(old).await, 1);
    app.run("update imports set finished_at = now() - interval '15 days' where id = 1").await;
    until("the old one is gone", || async { app.import(1).await["archived_at"].is_string().then_some(()) })
        .await;
    until("what has expired is gone", || async {
        let left = app.one::<i64>(
            "select (select count(*) from idempotency_keys) + (select count(*) from pending_changes)",
        );
        (left.await == 2).then_some(())
    })
    .await;
    assert_eq!(app.import(2).await["archived_at"], Value::Null);
    assert_eq!((files_below(directory.path()).len(), app.archived().len()), (4, 1));
}

#[tokio::test]
async fn what_killed_processes_left_in_the_archive_is_swept_and_what_may_be_needed_stays() {
    let world = World::new().await;
    let archive = PathBuf::from(&world.app.config.archive.url);
    world.app.upload("", row(1)).await;
    let kept = files_below(&archive);
    assert_eq!(kept.len(), 2);
    let put = |name: &str, old: bool| {
        let path = archive.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("the folder can be made");
        fs::write(&path, "left").expect("the file can be written");
        if old {
            let yesterday = SystemTime::now() - Duration::from_secs(25 * 3_600);
            let file = fs::File::options().write(true).open(&path).expect("the file can be opened");
            file.set_modified(yesterday).expect("a file has a time");
        }
        path.display().to_string()
    };
    let swept =
        ["uploads/without-import", "uploads/begun#1", "unpacked/1/0", "unpacked/777/0#12", "health/check"];
    let swept: Vec<_> = swept.map(|name| put(name, true)).into();
    let stay = [
        put("uploads/lost", true),
        put("uploads/lost.json", true),
        put("uploads/young", false),
        put("uploads/young#1", false),
        put("unpacked/1/1", false),
    ];
    let out = world.tarmac(&["retain"]).await;
    assert!(out.contains(&format!("{} objects", swept.len())), "{out}");
    let mut expected = [kept, stay.into()].concat();
    expected.sort_unstable();
    assert_eq!(files_below(&archive), expected);
    assert_eq!(world.app.upload("", rows(2..4)).await["state"], "complete");
}

#[tokio::test]
async fn chunks_of_imports_that_have_ended_are_swept_from_the_journal() {
    let world = World::new().await;
    world.app.upload("", row(1)).await;
    let left = "insert into journal (import_id, chunk_no, epoch, chunk) values (1, 7, 1, '{}')";
    world.app.run(left).await;
    let text = world.app.client.get("/metrics").send().await.expect(200).text();
    assert!(text.contains("tarmac_journal_oldest_seconds 0"), "nobody could claim it: {text}");
    world.tarmac(&["retain"]).await;
    assert_eq!(world.app.one::<i64>("select count(*) from journal").await, 0);
}

/// It looked lost while it was on its way.
#[tokio::test]
async fn an_upload_whose_import_has_come_meanwhile_is_neither_discarded_nor_imported_again() {
    let app = App::start().await;
    app.upload("", row(1)).await;
    app.upload("?force=true", row(1)).await;
    app.import_citizens(json!([citizen(1, json!({}))])).await;
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    let db = Db::connect(&app.config.database).await.expect("the database answers");
    let archive = Archive::open(&app.config.archive).expect("the archive is there");
    let changes = Changes::listen(db.pool().clone(), stop);
    let retention = Retention {
        db: db.clone(),
        archive: archive.clone(),
        long_term: None,
        changes,
        clock: Clock::System,
    };
    let mut lock = Lock::take(&db).await.expect("the database answers");
    let uploads = files_below(Path::new(&app.config.archive.url));
    for number in 1..=3 {
        let import = imports::get(&db, number).await.expect("the database answers").expect("it is there");
        let manifest = Manifest::read(&archive, &import.source).await.expect("it can be read");
        let lost = Lost { manifest, loss: Loss::Import };
        let replayed = retention.load(&lost, &mut lock).await.expect("it can be looked for");
        assert!(matches!(replayed, Replayed::Same(same) if same == number), "{replayed:?}");
    }
    assert_eq!(files_below(Path::new(&app.config.archive.url)), uploads);
    assert_eq!(app.one::<i64>("select count(*) from imports").await, 3);
}

#[tokio::test]
async fn without_a_long_term_archive_nothing_is_moved_and_replay_says_so() {
    let app = App::start().await;
    app.upload("", row(1)).await;
    let launch = Launch::new(&app.database.url, Path::new(&app.config.archive.url));
    let (status, out, err) = launch.run(&RETAIN_ALL).await;
    assert!(status.success() && err.contains("long_term.url"), "{out}{err}");
    assert_eq!(app.import(1).await["archived_at"], Value::Null);
    assert_eq!(app.archived().len(), 1);
    app.run("update imports set archived_at = now()").await;
    let (status, _, err) = launch.run(&["replay", "1"]).await;
    assert!(!status.success() && err.contains("long_term.url"), "{err}");
}
