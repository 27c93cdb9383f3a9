//! The same file of airports again: answered from memory while nothing has changed them, else imported once more.

use serde_json::json;

use crate::support::{
    App,
    files::{row, rows},
    imports::{completed, id, outcome},
    wait::until,
};

#[tokio::test]
async fn an_upload_that_waits_for_the_import_of_the_same_file_is_told_so() {
    let app = App::without_worker(&[]).await;
    let first = app.begin("", row(1)).await;
    let again = app.upload("", row(1));
    let (again, ()) = tokio::join!(again, async { app.work() });
    assert_eq!((id(&again), &again["state"], &again["repeated"]), (first, &json!("complete"), &json!(true)));
}

#[tokio::test]
async fn the_same_file_is_imported_again_once_anything_has_changed_the_airports() {
    let app = App::start().await;
    let file = |city: &str| row(1).replace("City", city);
    let city = async || app.one::<String>("select city from airports where openflights_id = 1").await;
    let upload = async |file: String| {
        let import = app.upload("", file).await;
        (id(&import), import["repeated"] == true)
    };
    assert_eq!(upload(file("A")).await, (1, false));
    assert_eq!(upload(file("A")).await, (1, true));
    assert_eq!(upload(file("B")).await, (2, false));
    assert_eq!(upload(file("A")).await, (3, false));
    assert_eq!(city().await, "A", "the last upload counts");
    assert_eq!(upload(file("A")).await, (3, true), "of the first one, something has changed since");
    // An import that finds everything as it is changes nothing, nor does a dry run.
    let shorter = "id,name,country,latitude,longitude
1,Airport 1,Country,-79,-149
"
    .to_owned();
    assert_eq!(upload(shorter).await, (4, false));
    app.upload("?dry_run=true", file("B")).await;
    assert_eq!(upload(file("A")).await, (3, true));

    let airport = app.one::<i64>("select id from airports").await;
    let path = format!("/airports/{airport}");
    app.client.patch(&path).json(json!({ "city": "A" })).send().await.expect(200);
    assert_eq!(upload(file("A")).await, (3, true), "nothing is changed to what it was");
    app.client.patch(&path).json(json!({ "city": "C" })).send().await.expect(200);
    assert_eq!(upload(file("A")).await, (6, false));
    assert_eq!(city().await, "A");
    app.client.delete(&path).send().await.expect(204);
    assert_eq!(upload(file("A")).await, (7, false));
    app.client.post(&format!("{path}/restore")).send().await.expect(200);
    assert_eq!(upload(file("A")).await, (8, false));
    app.airport(json!({})).await;
    assert_eq!(upload(file("A")).await, (9, false));
    app.run("update airports set city = 'D' where openflights_id = 1").await;
    assert_eq!(upload(file("A")).await, (10, false), "whoever changes them");
    assert_eq!(city().await, "A");
}

#[tokio::test]
async fn after_an_undo_the_same_file_brings_its_rows_back() {
    let app = App::start().await;
    let first = id(&app.upload("", rows([1, 2])).await);
    let forced = app.upload("?force=true", rows([1, 2])).await;
    assert_eq!(outcome(&forced), [0, 0, 2, 0, 0]);
    app.client.delete(&format!("/imports/{first}")).send().await.expect(200);
    assert_eq!(app.one::<i64>("select count(*) from airports").await, 0);
    let again = app.upload("", rows([1, 2])).await;
    assert_eq!((outcome(&again), &again["repeated"]), ([2, 0, 0, 0, 0], &json!(false)));
}

#[tokio::test]
async fn an_import_under_way_answers_unless_another_one_came_after_it() {
    let app = App::without_worker(&[]).await;
    let first = app.begin("", row(1)).await;
    let other = app.begin("", row(1).replace("City", "Town")).await;
    let again = app.begin("", row(1)).await;
    assert!(![first, other].contains(&again), "the other one may be the last to end");
    assert_eq!(app.begin("", row(1)).await, again);
    app.begin("?dry_run=true", row(1).replace("City", "Village")).await;
    assert_eq!(app.begin("", row(1)).await, again, "a dry run changes nothing");
    // That of another dataset is none of theirs.
    let citizens = app.client.post("/imports").header("Content-Type", "text/csv").body("x");
    citizens.send().await.expect(202);
    assert_eq!(app.begin("", row(1)).await, again);
}

#[tokio::test]
async fn an_import_that_ended_while_a_change_was_not_committed_is_no_memory_once_it_is() {
    let app = App::start().await;
    app.upload("", row(1)).await;
    let mut change = app.database.pool.begin().await.expect("a transaction");
    sqlx::query("update airports set city = 'Elsewhere'").execute(&mut *change).await.expect("a change");
    // It waits for the change to be committed before it decides anything.
    let second = app.begin("?force=true", row(1)).await;
    let waits = "select exists (select from pg_locks l join pg_database d on d.oid = l.database
        where d.datname = current_database() and l.relation = 'airports'::regclass and not l.granted)";
    until("the import waits for the lock", async || app.one::<bool>(waits).await.then_some(())).await;
    change.commit().await.expect("it is committed");
    assert_eq!(outcome(&app.end_of(second).await), [0, 1, 0, 0, 0]);
    let again = app.upload("", row(1)).await;
    assert_eq!((id(&again), &again["repeated"]), (second, &json!(true)));
    // One that is rolled back has advanced the sequence all the same: the file is imported once more, and finds nothing to do.
    let mut change = app.database.pool.begin().await.expect("a transaction");
    sqlx::query("update airports set city = 'Elsewhere'").execute(&mut *change).await.expect("a change");
    change.rollback().await.expect("it is rolled back");
    let again = app.upload("", row(1)).await;
    assert_eq!((outcome(&again), &again["repeated"]), ([0, 0, 1, 0, 0], &json!(false)));
}

#[tokio::test]
async fn a_file_is_not_remembered_while_rows_of_an_undone_import_are_still_to_be_removed() {
    let app = App::start().await;
    let first = app.upload("", rows(1..5)).await;
    let again = rows(1..5) + "\n";
    assert_eq!(outcome(&app.upload("", again.clone()).await), [0, 0, 4, 0, 0]);
    let mut holder = app.database.pool.begin().await.expect("a transaction begins");
    let lock = "lock table airports in share row exclusive mode";
    sqlx::query(lock).execute(&mut *holder).await.expect("nobody else holds it");
    app.client.delete(&format!("/imports/{}", id(&first))).send().await.expect(202);
    let import = app.begin("", again).await;
    holder.rollback().await.expect("the lock is given back");
    assert_eq!(outcome(&completed(&app.client, import).await), [4, 0, 0, 0, 0]);
}
