//! `tarmac upload`: the program itself, run against the service or against one that misbehaves.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Child, Command},
    sync::{Arc, Mutex},
};

use poem::{
    EndpointExt, Request, Response, Server,
    endpoint::make_sync,
    http::StatusCode,
    listener::{Acceptor, Listener, TcpListener},
};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::sync::mpsc;

use crate::support::{
    App,
    command::{Ended, end, tarmac},
};

fn command(server: &str, files: &[&Path], flags: &[&str]) -> Command {
    command_for("airports", server, files, flags)
}

fn command_for(dataset: &str, server: &str, files: &[&Path], flags: &[&str]) -> Command {
    let mut command = tarmac(&["upload", "--dataset", dataset, "--server", server]);
    command.args(flags).args(files);
    command
}

fn start(server: &str, files: &[&Path], flags: &[&str]) -> Child {
    command(server, files, flags).spawn().expect("the program starts")
}

async fn upload(server: &str, files: &[&Path], flags: &[&str]) -> Ended {
    end(start(server, files, flags)).await
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/airports").join(name)
}

/// A copy of a fixture in a directory of the test's own, beside which rejects may be saved.
fn copy(name: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let file = directory.path().join(name);
    fs::copy(fixture(name), &file).expect("the fixture can be copied");
    (directory, file)
}

fn names(directory: &TempDir) -> Vec<String> {
    let entries = fs::read_dir(directory).expect("the directory can be listed");
    let name = |entry: std::io::Result<fs::DirEntry>| entry.map(|entry| entry.file_name());
    let mut names: Vec<_> =
        entries.map(|entry| name(entry).expect("an entry").to_string_lossy().into_owned()).collect();
    names.sort_unstable();
    names
}

async fn airports(app: &App) -> i64 {
    sqlx::query_scalar("select count(*) from airports")
        .fetch_one(&app.database.pool)
        .await
        .expect("airports can be counted")
}

#[tokio::test]
async fn a_complete_import_exits_0_with_its_totals_and_nothing_else() {
    let app = App::start().await;
    let (directory, file) = copy("valid-header.csv");
    let ended = upload(app.client.base(), &[&file], &["--wait"]).await;
    let totals = "import 1 complete: 11 read, 11 accepted (11 inserted, 0 updated, 0 unchanged, 0 deleted), 0 rejected";
    let line = format!("{}: {totals}, in ", file.display());
    assert!(ended.stdout.starts_with(&line), "{}", ended.stdout);
    assert!(ended.stdout.ends_with(&format!(" s: {}/imports/1\n", app.client.base())), "{}", ended.stdout);
    assert_eq!((ended.status, ended.stderr.as_str()), (Some(0), ""));
    assert_eq!(names(&directory), ["valid-header.csv"]);
    assert_eq!(airports(&app).await, 11);
}

#[tokio::test]
async fn without_wait_an_accepted_file_exits_0_with_the_imports_url() {
    let app = App::start().await;
    let (_directory, file) = copy("valid-header.csv");
    let ended = upload(app.client.base(), &[&file], &[]).await;
    let url = format!("{}/imports/1", app.client.base());
    assert_eq!(ended.stdout, format!("{}: import 1 accepted: {url}\n", file.display()));
    assert_eq!((ended.status, ended.stderr.as_str()), (Some(0), ""));
    let import = app.client.get("/imports/1").send().await.expect(200).json();
    assert_eq!(import["filename"], "valid-header.csv");
}

#[tokio::test]
async fn rejects_exit_3_and_can_be_corrected_and_uploaded() {
    let app = App::start().await;
    let (directory, file) = copy("rejected.csv");
    let ended = upload(app.client.base(), &[&file], &["--wait"]).await;
    assert_eq!(ended.status, Some(3), "{}", ended.stderr);
    assert!(ended.stdout.contains("24 read, 2 accepted"), "{}", ended.stdout);
    assert_eq!(names(&directory), ["rejected.csv", "rejected.csv.rejects.csv"]);
    assert!(ended.stderr.contains("rejects saved as"), "{}", ended.stderr);

    let rejects = fs::read(directory.path().join("rejected.csv.rejects.csv")).expect("it was saved");
    let rejects = String::from_utf8_lossy(&rejects);
    let first_two: Vec<_> = rejects.lines().take(3).collect();
    let corrected = directory.path().join("corrected.csv");
    fs::write(&corrected, first_two.join("\n").replace(",91,", ",9.1,").replace(",NaN,", ",-1,"))
        .expect("the corrected file can be written");
    let ended = upload(app.client.base(), &[&corrected], &["--wait"]).await;
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("2 read, 2 accepted (2 inserted"), "{}", ended.stdout);
    assert_eq!(airports(&app).await, 4);
}

#[tokio::test]
async fn a_clean_import_removes_the_rejects_that_an_earlier_run_has_saved() {
    let app = App::start().await;
    let (directory, file) = copy("rejected.csv");
    upload(app.client.base(), &[&file], &["--wait"]).await;
    assert_eq!(names(&directory), ["rejected.csv", "rejected.csv.rejects.csv"]);
    fs::copy(fixture("valid-header.csv"), &file).expect("the file can be corrected");
    let ended = upload(app.client.base(), &[&file], &["--wait"]).await;
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("removed") && ended.stderr.contains("rejected.csv.rejects.csv"),
        "{}",
        ended.stderr
    );
    assert_eq!(names(&directory), ["rejected.csv"]);

    // What the program has not written stays.
    let other = directory.path().join("rejected.csv.rejects.csv");
    fs::write(&other, "name,why\nGoroka,lost\n").expect("the directory takes it");
    let ended = upload(app.client.base(), &[&file], &["--wait", "--force"]).await;
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    assert_eq!(names(&directory), ["rejected.csv", "rejected.csv.rejects.csv"]);
}

#[tokio::test]
async fn rejects_beside_their_file_are_left_out_unless_they_are_named_alone() {
    let app = App::start().await;
    let (directory, file) = copy("rejected.csv");
    upload(app.client.base(), &[&file], &["--wait"]).await;
    let rejects = directory.path().join("rejected.csv.rejects.csv");
    let ended = upload(app.client.base(), &[&file, &rejects], &["--wait"]).await;
    assert_eq!((ended.status, ended.stdout.lines().count()), (Some(3), 1), "{}", ended.stdout);
    assert!(
        ended.stderr.contains("rejected.csv.rejects.csv: left out: it has the rejects of"),
        "{}",
        ended.stderr
    );
    let ended = upload(app.client.base(), &[&rejects], &["--wait"]).await;
    assert!(ended.stdout.contains("rejected.csv.rejects.csv: import "), "{}", ended.stdout);
}

#[tokio::test]
async fn what_is_left_out_of_a_file_is_said() {
    let app = App::start().await;
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let file = directory.path().join("excel.csv");
    fs::write(&file, "name,country,latitude,longitude,\nA,B,1,2,\n").expect("the directory takes it");
    let ended = upload(app.client.base(), &[&file], &["--wait"]).await;
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("excel.csv: column 5, the last one, has no name"), "{}", ended.stderr);
}

#[tokio::test]
async fn dropped_relations_exit_3_and_are_saved() {
    let app = App::start().await;
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let file = directory.path().join("one-sided.csv");
    let citizens = "citizen_id,town,street,building,apartment,name,birth_date,gender,relatives,channel\n\
                    1,T,S,1,2,A,26.12.1986,male,2;3,\n2,T,S,1,2,B,26.12.1986,male,,\n";
    fs::write(&file, citizens).expect("the file can be written");
    let child = command_for("citizens", app.client.base(), &[&file], &["--wait"]).spawn();
    let ended = end(child.expect("the program starts")).await;
    assert_eq!(ended.status, Some(3), "{}", ended.stderr);
    assert!(ended.stdout.contains("2 read, 2 accepted (2 inserted, 0 updated, 0 unchanged, 0 deleted), 0 rejected, 2 relations dropped, in "), "{}", ended.stdout);
    assert!(ended.stderr.contains("rejects saved as"), "{}", ended.stderr);
    assert_eq!(names(&directory), ["one-sided.csv", "one-sided.csv.rejects.csv"]);
}

#[tokio::test]
async fn a_file_that_was_imported_before_is_said_to_be() {
    let app = App::start().await;
    let (_directory, file) = copy("valid-header.csv");
    upload(app.client.base(), &[&file], &["--wait"]).await;
    let ended = upload(app.client.base(), &[&file], &["--wait"]).await;
    assert!(ended.stdout.contains("import 1 complete: 11 read"), "{}", ended.stdout);
    let said = "was imported before, and nothing has changed since; --force imports it once more";
    assert!(ended.stderr.contains(said), "{}", ended.stderr);
    let ended = upload(app.client.base(), &[&file], &["--wait", "--force"]).await;
    assert!(ended.stdout.contains("import 2 complete"), "{}", ended.stdout);
    assert_eq!(ended.stderr, "");
}

#[tokio::test]
async fn a_failed_import_exits_1_with_the_reason_and_its_rejects() {
    let app = App::start().await;
    let (directory, file) = copy("rejected.csv");
    let ended = upload(app.client.base(), &[&file], &["--wait", "--strict"]).await;
    assert_eq!(ended.status, Some(1));
    assert!(ended.stdout.contains("import 1 failed: 24 read"), "{}", ended.stdout);
    assert!(ended.stderr.contains("the import failed: 22 of 24 rows have faults"), "{}", ended.stderr);
    assert_eq!(names(&directory), ["rejected.csv", "rejected.csv.rejects.csv"]);
    assert_eq!(airports(&app).await, 0);
}

#[tokio::test]
async fn a_dry_run_stores_nothing_and_says_so() {
    let app = App::start().await;
    let (_directory, file) = copy("rejected.csv");
    let ended = upload(app.client.base(), &[&file], &["--wait", "--dry-run"]).await;
    assert_eq!(ended.status, Some(3), "{}", ended.stderr);
    assert!(ended.stdout.contains("import 1 complete (dry run): 24 read, 2 accepted"), "{}", ended.stdout);
    assert_eq!(airports(&app).await, 0);
}

#[tokio::test]
async fn a_file_that_fails_does_not_stop_the_others() {
    let app = App::start().await;
    let (directory, file) = copy("valid-header.csv");
    let missing = directory.path().join("missing.csv");
    let empty = tempfile::tempdir().expect("a temporary directory can be made");
    let files: [&Path; 3] = [&missing, empty.path(), &file];
    let ended = upload(app.client.base(), &files, &["--wait"]).await;
    assert_eq!(ended.status, Some(1));
    assert!(ended.stderr.contains("missing.csv: cannot be read: No such file"), "{}", ended.stderr);
    assert!(ended.stderr.contains("has no *.csv, *.zip or *.gz files"), "{}", ended.stderr);
    assert!(ended.stdout.contains("valid-header.csv: import 1 complete"), "{}", ended.stdout);
    assert!(ended.stderr.contains(": 1 good, 0 with rejects, 2 failed"), "{}", ended.stderr);
}

#[tokio::test]
async fn a_refusal_exits_1_with_what_is_wrong() {
    let app = App::start().await;
    let (_directory, file) = copy("valid-header.csv");
    let ended = upload(app.client.base(), &[&file], &["--delimiter", "xx"]).await;
    assert_eq!((ended.status, ended.stdout.as_str()), (Some(1), ""));
    assert!(
        ended.stderr.contains("400 Bad Request: delimiter must be one ASCII character"),
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn a_server_that_is_away_exits_1_and_is_named() {
    // Nobody may listen here but the system's own services, and none does.
    let server = "http://127.0.0.1:1";
    let ended = upload(server, &[&fixture("valid-header.csv")], &["--retries", "0"]).await;
    assert_eq!((ended.status, ended.stdout.as_str()), (Some(1), ""));
    assert!(
        ended.stderr.contains("cannot reach http://127.0.0.1:1/upload: Connection refused"),
        "{}",
        ended.stderr
    );
}

#[tokio::test]
async fn a_key_is_sent_with_every_request_and_never_shown() {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let sent = seen.clone();
    let server = serve(move |request| {
        let authorization = request.header("authorization").map(ToOwned::to_owned);
        sent.lock().expect("nothing panics").push(authorization);
        match request.uri().path() {
            "/upload" => answer(StatusCode::ACCEPTED, &import("received")),
            _ => answer(StatusCode::UNAUTHORIZED, &json!({"title": "No", "detail": "the key was revoked"})),
        }
    })
    .await;
    let mut command = command(&server, &[&fixture("valid-header.csv")], &["--wait"]);
    let ended = end(command.env("TARMAC_UPLOAD_KEY", "tarmac_secret").spawn().expect("it starts")).await;
    assert_eq!(ended.status, Some(1));
    assert!(ended.stderr.contains("401 Unauthorized: the key was revoked"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("tarmac_secret"), "{}", ended.stderr);
    let seen = seen.lock().expect("nothing panics");
    assert!(seen.len() >= 2, "{seen:?}");
    assert!(seen.iter().all(|sent| sent.as_deref() == Some("Bearer tarmac_secret")), "{seen:?}");
}

#[tokio::test]
async fn a_server_that_wants_a_key_is_told_where_to_give_one() {
    let app = App::with(&[("auth.required", "true")]).await;
    let ended = upload(app.client.base(), &[&fixture("valid-header.csv")], &[]).await;
    assert_eq!(ended.status, Some(1));
    for part in ["401 Unauthorized", "TARMAC_UPLOAD_KEY", "--key"] {
        assert!(ended.stderr.contains(part), "{part}: {}", ended.stderr);
    }
}

#[tokio::test]
async fn quiet_writes_errors_alone() {
    let app = App::start().await;
    let (directory, good) = copy("valid-header.csv");
    let rejected = directory.path().join("rejected.csv");
    fs::copy(fixture("rejected.csv"), &rejected).expect("the fixture can be copied");
    let ended = upload(app.client.base(), &[&good, &good, &rejected], &["--wait", "--quiet"]).await;
    assert_eq!((ended.status, ended.stdout.as_str(), ended.stderr.as_str()), (Some(3), "", ""));
    let ended = upload(app.client.base(), &[&good, &directory.path().join("missing.csv")], &["-q"]).await;
    assert_eq!((ended.status, ended.stdout.as_str()), (Some(1), ""));
    assert!(ended.stderr.lines().count() == 1 && ended.stderr.contains("No such file"), "{}", ended.stderr);
}

#[tokio::test]
async fn json_has_an_object_for_every_file() {
    let app = App::start().await;
    let (directory, rejected) = copy("rejected.csv");
    let missing = directory.path().join("missing.csv");
    let ended = upload(app.client.base(), &[&missing, &rejected], &["--wait", "--json"]).await;
    assert_eq!(ended.status, Some(1));
    let objects: Vec<Value> =
        ended.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let [failed, imported] = objects.as_slice() else { panic!("{}", ended.stdout) };
    assert_eq!(failed["file"], missing.display().to_string());
    for name in ["import", "url", "state", "counts", "rejects_file"] {
        assert!(failed[name].is_null(), "{failed}");
    }
    assert!(failed["error"].as_str().is_some_and(|error| error.contains("No such file")), "{failed}");

    assert_eq!(imported["file"], rejected.display().to_string());
    assert_eq!((&imported["import"], &imported["state"]), (&json!(1), &json!("complete")));
    assert_eq!(imported["url"], format!("{}/imports/1", app.client.base()));
    assert_eq!(imported["counts"]["rejected"], 22);
    assert_eq!(imported["rejects_file"], format!("{}.rejects.csv", rejected.display()));
    assert!(imported["error"].is_null() && imported["seconds"].is_number(), "{imported}");
}

#[tokio::test]
async fn a_wrong_command_line_exits_2() {
    let ended = upload("ftp://127.0.0.1", &[&fixture("valid-header.csv")], &[]).await;
    assert_eq!(ended.status, Some(2));
    assert!(ended.stderr.contains("must begin with http:// or https://"), "{}", ended.stderr);
}

/// A server that answers as told; its address.
async fn serve(answer: impl Fn(Request) -> Response + Send + Sync + 'static) -> String {
    let acceptor = TcpListener::bind("127.0.0.1:0").into_acceptor().await.expect("a port is free");
    let address = acceptor.local_addr().first().and_then(|local| local.as_socket_addr().copied());
    let address = address.expect("it is bound to an address");
    let endpoint = make_sync(answer).boxed();
    tokio::spawn(async move { Server::new_with_acceptor(acceptor).run(endpoint).await });
    format!("http://{address}")
}

fn import(state: &str) -> Value {
    json!({
        "id": 7, "state": state, "dry_run": false, "seconds_left": null, "error": null,
        "counts": {"rows_read": 1, "accepted": 1, "inserted": 1, "updated": 0, "unchanged": 0, "deleted": 0, "rejected": 0},
    })
}

fn answer(status: StatusCode, body: &Value) -> Response {
    Response::builder().status(status).body(body.to_string())
}

#[tokio::test]
async fn json_names_the_import_of_a_file_that_was_accepted_and_lost_from_sight() {
    let server = serve(|request| match request.uri().path() {
        "/upload" => answer(StatusCode::ACCEPTED, &import("received")),
        _ => answer(StatusCode::UNAUTHORIZED, &json!({"title": "No", "detail": "the key was revoked"})),
    })
    .await;
    let ended = upload(&server, &[&fixture("valid-header.csv")], &["--wait", "--json"]).await;
    let object: Value = serde_json::from_str(&ended.stdout).expect("JSON");
    assert_eq!((ended.status, &object["import"], &object["state"]), (Some(1), &json!(7), &Value::Null));
    assert_eq!(object["url"], format!("{server}/imports/7"));
}

#[tokio::test]
async fn a_busy_server_is_asked_again_with_the_same_key() {
    let keys = Arc::new(Mutex::new(Vec::new()));
    let seen = keys.clone();
    let server = serve(move |request| {
        let mut seen = seen.lock().expect("nothing panics");
        seen.push(request.header("idempotency-key").map(ToOwned::to_owned));
        if seen.len() == 1 {
            let busy = json!({"title": "Busy", "detail": "too busy"}).to_string();
            let response = Response::builder().status(StatusCode::SERVICE_UNAVAILABLE);
            return response.header("Retry-After", "0").body(busy);
        }
        answer(StatusCode::ACCEPTED, &import("received"))
    })
    .await;
    let ended = upload(&server, &[&fixture("valid-header.csv")], &[]).await;
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    assert!(ended.stderr.contains("too busy; trying again in 0 s (1 of 6)"), "{}", ended.stderr);
    let keys = keys.lock().expect("nothing panics");
    assert!(keys.len() == 2 && keys[0].is_some() && keys[0] == keys[1], "{keys:?}");
}

#[tokio::test]
async fn an_import_whose_events_break_off_is_looked_at() {
    let server = serve(|request| match request.uri().path() {
        "/upload" => answer(StatusCode::ACCEPTED, &import("received")),
        "/imports/7/events" => {
            Response::builder().body(format!("event: import\ndata: {}\n\n", import("running")))
        }
        _ => answer(StatusCode::OK, &import("complete")),
    })
    .await;
    let ended = upload(&server, &[&fixture("valid-header.csv")], &["--wait"]).await;
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    assert!(ended.stdout.contains("import 7 complete: 1 read"), "{}", ended.stdout);
}

#[tokio::test]
async fn interrupted_it_says_that_the_import_goes_on() {
    let (followed, mut follows) = mpsc::unbounded_channel();
    let server = serve(move |request| {
        if request.uri().path() == "/upload" {
            return answer(StatusCode::ACCEPTED, &import("received"));
        }
        followed.send(()).expect("the test waits for it");
        answer(StatusCode::OK, &import("running"))
    })
    .await;
    let child = start(&server, &[&fixture("valid-header.csv")], &["--wait"]);
    follows.recv().await.expect("the import is followed");
    let interrupt = Command::new("kill").args(["-INT", &child.id().to_string()]).status();
    assert!(interrupt.expect("kill runs").success());
    let ended = end(child).await;
    assert_eq!((ended.status, ended.stdout.as_str()), (Some(130), ""));
    assert!(ended.stderr.contains(&format!("the import goes on: {server}/imports/7")), "{}", ended.stderr);
}
