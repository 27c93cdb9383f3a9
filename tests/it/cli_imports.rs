//! `tarmac imports`: what became of uploads, and what may still be done about them.

use serde_json::Value;

use crate::support::{
    App,
    command::{Ended, run, tarmac},
    files::{bad_row, row, rows},
};

async fn imports(app: &App, arguments: &[&str]) -> Ended {
    let mut command = tarmac(&["imports"]);
    command.args(arguments).args(["--server", app.client.base()]);
    run(command).await
}

fn objects(ended: &Ended) -> Vec<Value> {
    ended.stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[tokio::test]
async fn imports_are_listed_newest_first() {
    let app = App::start().await;
    app.upload("?filename=many.csv", rows(1..1_500)).await;
    app.upload("?mode=strict", bad_row(1)).await;
    let ended = imports(&app, &["list"]).await;
    assert_eq!((ended.status, ended.stderr.as_str()), (Some(0), ""));
    let lines: Vec<Vec<&str>> = ended.stdout.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["ID", "DATASET", "STATE", "READ", "ACCEPTED", "REJECTED", "CREATED", "FILE"]);
    assert_eq!(lines[1][..6], ["2", "airports", "failed", "1", "0", "1"]);
    assert_eq!(lines[2][..6], ["1", "airports", "complete", "1,499", "1,499", "0"]);
    assert_eq!((lines[1][7], lines[2][7], lines.len()), ("-", "many.csv", 3));

    for (flags, expected) in
        [(["--state", "complete"], vec![1]), (["--dataset", "citizens"], vec![]), (["--limit", "1"], vec![2])]
    {
        let ended = imports(&app, &["list", "--json", flags[0], flags[1]]).await;
        assert_eq!(ended.status, Some(0), "{}", ended.stderr);
        let ids: Vec<_> = objects(&ended).iter().map(|import| import["id"].as_i64()).collect();
        assert_eq!(ids, expected.into_iter().map(Some).collect::<Vec<_>>());
    }
    let ended = imports(&app, &["list", "--dataset", "New Towns"]).await;
    assert_eq!(ended.status, Some(2));
    assert!(ended.stderr.contains("small letters"), "{}", ended.stderr);
}

#[tokio::test]
async fn an_import_is_shown_and_the_exit_status_says_how_it_went() {
    let app = App::start().await;
    app.upload("?filename=good.csv", row(1)).await;
    app.upload("", row(2) + &bad_row(3)).await;
    app.upload("?mode=strict", bad_row(4)).await;
    let ended = imports(&app, &["show", "1"]).await;
    assert_eq!((ended.status, ended.stderr.as_str()), (Some(0), ""));
    for part in ["import 1 complete: 1 read, 1 accepted", "good.csv, ", " bytes", "Z\n", "/imports/1\n"] {
        assert!(ended.stdout.contains(part), "{part}: {}", ended.stdout);
    }
    let ended = imports(&app, &["show", "1", "2"]).await;
    assert_eq!(ended.status, Some(3), "{}", ended.stderr);
    assert!(ended.stdout.contains("/imports/2/rejects.csv\n"), "{}", ended.stdout);
    let ended = imports(&app, &["show", "3", "2"]).await;
    assert_eq!(ended.status, Some(1));
    assert!(ended.stdout.contains("error     1 of 1 rows"), "{}", ended.stdout);

    let ended = imports(&app, &["show", "7", "1", "--json"]).await;
    assert_eq!(ended.status, Some(1));
    assert!(ended.stderr.contains("import 7: refused with 404"), "{}", ended.stderr);
    assert_eq!(objects(&ended), [app.import(1).await]);
}

#[tokio::test]
async fn an_import_can_be_cancelled_and_it_does_not_matter_that_it_is() {
    let app = App::without_worker(&[]).await;
    let id = app.begin("", row(1)).await.to_string();
    for _ in 0..2 {
        let ended = imports(&app, &["cancel", &id]).await;
        let line = format!("import {id} cancelled\n");
        assert_eq!((ended.status, ended.stdout), (Some(0), line), "{}", ended.stderr);
    }
    assert_eq!(app.import(1).await["state"], "cancelled");
    let ended = imports(&app, &["undo", &id]).await;
    assert_eq!((ended.status, ended.stdout.as_str()), (Some(1), ""));
    assert!(ended.stderr.contains("409 Conflict: the import 1 is cancelled"), "{}", ended.stderr);
    assert_eq!(imports(&app, &["show", &id]).await.status, Some(1));
}

#[tokio::test]
async fn an_import_can_be_undone_and_it_says_what_that_did() {
    let app = App::start().await;
    app.upload("", rows(1..12)).await;
    let ended = imports(&app, &["undo", "1"]).await;
    assert_eq!((ended.status, ended.stderr.as_str()), (Some(0), ""));
    assert!(ended.stdout.starts_with("import 1 undone: 11 rows removed, 0 kept"), "{}", ended.stdout);
    assert_eq!(app.one::<i64>("select count(*) from airports").await, 0);
    let ended = imports(&app, &["undo", "1", "--json"]).await;
    assert_eq!(ended.status, Some(0), "{}", ended.stderr);
    assert_eq!(objects(&ended)[0]["state"], "undone");
}

#[tokio::test]
async fn a_server_that_wants_a_key_is_told_where_to_give_one() {
    let app = App::with(&[("auth.required", "true")]).await;
    let ended = imports(&app, &["list"]).await;
    assert_eq!((ended.status, ended.stdout.as_str()), (Some(1), ""));
    assert!(ended.stderr.contains("TARMAC_UPLOAD_KEY"), "{}", ended.stderr);
}
