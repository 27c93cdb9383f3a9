//! What `tarmac upload` can be given to upload: standard input, directories; and how it is told where.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Stdio},
};

use crate::support::{
    App,
    command::{Ended, run, tarmac},
    files::{bad_row, gzip, row, zip},
};

fn upload(app: &App, arguments: &[&str]) -> Command {
    let mut command = tarmac(&["upload", "--dataset", "airports", "--server", app.client.base()]);
    command.args(arguments);
    command
}

/// With the text as its standard input, in a directory.
async fn upload_stdin(app: &App, directory: &Path, text: &str, arguments: &[&str]) -> Ended {
    let piped = tempfile::NamedTempFile::new().expect("a file can be made");
    fs::write(&piped, text).expect("the file can be written");
    let mut command = upload(app, arguments);
    command.current_dir(directory).stdin(Stdio::from(File::open(&piped).expect("the file is there")));
    run(command).await
}

#[tokio::test]
async fn standard_input_is_imported_under_the_name_it_is_given() {
    let app = App::start().await;
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let flags = ["-", "--filename", "pipe.csv", "--wait"];
    let ended = upload_stdin(&app, directory.path(), &(row(1) + &bad_row(2)), &flags).await;
    assert_eq!(ended.status, Some(3), "{}", ended.stderr);
    assert!(ended.stdout.starts_with("-: import 1 complete: 2 read, 1 accepted"), "{}", ended.stdout);
    assert_eq!(app.import(1).await["filename"], "pipe.csv");
    assert!(directory.path().join("pipe.csv.rejects.csv").exists(), "{}", ended.stderr);
}

#[tokio::test]
async fn standard_input_needs_no_name_and_nothing_else_can_have_one() {
    let app = App::start().await;
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let ended = upload_stdin(&app, directory.path(), &row(1), &["-"]).await;
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    assert_eq!(app.import(1).await["filename"], "stdin");
    for (arguments, message) in [
        (["a.csv", "--filename", "b.csv"].as_slice(), "needs the FILE -"),
        (&["-", "-"], "give - once"),
        (&["-", "--filename", "a/b.csv"], "without directories"),
    ] {
        let ended = run(upload(&app, arguments)).await;
        assert_eq!(ended.status, Some(2), "{}", ended.stderr);
        assert!(ended.stderr.contains(message), "{}", ended.stderr);
    }
}

#[tokio::test]
async fn a_directory_stands_for_its_data_files_in_order() {
    let app = App::start().await;
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let path = |name: &str| directory.path().join(name);
    fs::create_dir(path("within")).expect("a directory can be made");
    let files: [(&str, Vec<u8>); 8] = [
        ("c.csv", row(3).into()),
        ("a.csv.gz", gzip(row(1))),
        ("B.ZIP", zip(&[("b.csv", row(2))])),
        ("c.csv.rejects.csv", row(4).into()),
        (".hidden.csv", row(5).into()),
        ("~$open.csv", row(6).into()),
        ("readme.txt", b"text".to_vec()),
        ("within/d.csv", row(7).into()),
    ];
    for (name, content) in files {
        fs::write(path(name), content).expect("the file can be written");
    }
    let shown = directory.path().to_str().expect("the path is UTF-8");
    let ended = run(upload(&app, &[shown, "--wait"])).await;
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    let names: Vec<_> = ended.stdout.lines().filter_map(|line| line.split_once(": import")).collect();
    let names: Vec<_> = names.iter().filter_map(|(name, _)| name.rsplit('/').next()).collect();
    assert_eq!(names, ["B.ZIP", "a.csv.gz", "c.csv"]);
    assert!(ended.stderr.contains("3 files in "), "{}", ended.stderr);
    assert_eq!(app.one::<i64>("select count(*) from airports").await, 3);
}

#[tokio::test]
async fn a_server_can_be_named_by_host_and_port() {
    let app = App::start().await;
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let file = directory.path().join("a.csv");
    fs::write(&file, row(1)).expect("the file can be written");
    let mut command =
        tarmac(&["upload", "--dataset", "airports", "--wait", "--server", &app.client.address()]);
    command.arg(&file);
    let ended = run(command).await;
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
}
