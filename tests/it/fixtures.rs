//! `tarmac fixtures`: what it writes, and that an import of citizens agrees with it.

use std::{
    fs,
    path::Path,
    process::{Command, Output, Stdio},
};

use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tarmac::datasets::{
    Ident,
    descriptor::{self, Limits},
};

use crate::support::{App, imports::outcome};

/// Runs `tarmac fixtures citizens`.
fn run(flags: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tarmac"));
    command.args(["fixtures", "citizens"]).args(flags).output().expect("the program runs")
}

fn citizens(flags: &[&str]) -> Vec<u8> {
    let output = run(flags);
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    output.stdout
}

#[test]
fn the_same_seed_gives_the_same_citizens_on_every_machine() {
    let first = citizens(&["--rows", "1003", "--seed", "7", "--faults", "21"]);
    assert_eq!(
        hex::encode(Sha256::digest(&first)),
        "55a3a848028e70fc00c995c5226a0e3097c9a0c098ffb61dc2411f8169663345",
        "the citizens of a seed have changed: {}",
        String::from_utf8_lossy(&first[..first.len().min(500)])
    );
    assert_ne!(citizens(&["--rows", "1003", "--seed", "8", "--faults", "21"]), first);
}

#[tokio::test]
async fn citizens_without_faults_break_no_rule() {
    let app = App::start().await;
    // Far enough for distant relatives; the last house is not whole.
    let import = app.import_citizens_csv("?mode=strict", citizens(&["--rows", "21003"])).await;
    assert_eq!((&import["state"], outcome(&import)), (&json!("complete"), [21_003, 0, 0, 0, 0]));
    let distant: i64 = app
        .one("select count(*) from citizens, unnest(relatives) as relative (id) where abs(citizen_id - id) > 20000")
        .await;
    // Of the houses 0, 16, … 96 and of those that are 4,096 further, which is where the 4,200 whole ones end.
    assert_eq!(distant, 14);
}

#[tokio::test]
async fn an_import_reports_the_expected_rejects_and_no_others() {
    let app = App::with(&[("ingest.chunk_rows", "300")]).await;
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let expected = directory.path().join("expected.csv");
    let path = expected.to_str().expect("the path is UTF-8");
    let rows = citizens(&["--rows", "2500", "--seed", "3", "--faults", "400", "--expected", path]);
    let expected = read(&expected);
    assert!(expected.iter().filter(|(.., accepted)| *accepted == json!(false)).count() > 300);

    let import = app.import_citizens_csv("", rows).await;
    let field = |reject: &Value, name: &str| reject[name].clone();
    let reported: Vec<_> = app
        .rejects(&import)
        .await
        .iter()
        .map(|r| (field(r, "row"), field(r, "column"), field(r, "code"), field(r, "accepted")))
        .collect();
    assert_eq!(reported, expected);
    let rejected = expected.iter().filter(|(.., accepted)| *accepted == json!(false)).count();
    assert_eq!(import["counts"]["rejected"], json!(rejected));
}

#[test]
fn awkward_files_come_with_what_reads_them_and_what_an_import_must_report() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let target = directory.path().join("new/awkward");
    let write = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tarmac"));
        let output = command.args(["fixtures", "awkward"]).arg(&target).output().expect("the program runs");
        assert!(
            output.status.success() && output.stdout.is_empty() && output.stderr.is_empty(),
            "{output:?}"
        );
        let read = |name: &str| fs::read(target.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
        let expected: Value = serde_json::from_slice(&read("expected.json")).expect("JSON");
        let mut files = vec![("expected.json".to_owned(), read("expected.json"))];
        for entry in expected.as_array().expect("an array") {
            let text = |member: &str| entry[member].as_str().expect("a string");
            for name in [text("file"), text("descriptor")] {
                files.push((name.to_owned(), read(name)));
            }
            let name = Ident::dataset(text("dataset")).expect("a name");
            let declared = descriptor::read(&name, &read(text("descriptor")), &Limits::default());
            assert!(declared.is_ok(), "{}: {declared:?}", text("descriptor"));
        }
        files
    };
    let files = write();
    assert_eq!(fs::read_dir(&target).expect("it is there").count(), files.len(), "there is nothing else");
    assert!(files.len() > 20 && files.iter().all(|(_, bytes)| !bytes.is_empty()));
    assert!(write() == files, "the same bytes again");
}

#[test]
fn awkward_files_that_cannot_be_written_are_a_failure() {
    let file = tempfile::NamedTempFile::new().expect("a temporary file can be made");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tarmac"));
    let output = command.args(["fixtures", "awkward"]).arg(file.path()).output().expect("the program runs");
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains(&file.path().display().to_string()), "{said}");
}

/// Row, column, code and whether the row is accepted.
fn read(path: &Path) -> Vec<(Value, Value, Value, Value)> {
    let mut reader = csv::Reader::from_path(path).expect("the file is there");
    let records = reader.records().map(|record| record.expect("a record"));
    records
        .map(|record| {
            let row: u64 = record[0].parse().expect("a number");
            let column = if record[1].is_empty() { Value::Null } else { json!(record[1]) };
            (json!(row), column, json!(record[2]), json!(&record[3] == "true"))
        })
        .collect()
}

#[test]
fn more_faults_than_there_is_room_for_are_refused() {
    let output = run(&["--rows", "14", "--faults", "3"]);
    assert_eq!(output.status.code(), Some(1));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.contains("14 rows have room for 2 faults"), "{said}");
    assert!(output.stdout.is_empty());
}

#[test]
fn a_reader_that_has_seen_enough_is_no_failure() {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tarmac"));
    command.args(["fixtures", "citizens", "--rows", "1000000"]).stdout(Stdio::piped());
    let mut child = command.spawn().expect("the program runs");
    drop(child.stdout.take());
    assert_eq!(child.wait().expect("the program ends").code(), Some(0));
}
