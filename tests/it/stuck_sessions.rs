//! Sessions of processes that are frozen or cut off.

use futures_util::StreamExt;
use sqlx::{ConnectOptions, PgConnection, postgres::PgConnectOptions};
use tarmac::db::{
    Db,
    stuck_sessions::{APPLICATION, STREAMED, StuckSessions},
};

use crate::support::{App, wait::until};

const COPY: &str = "copy airports (name) from stdin";
/// More than sockets keep.
const LONG: &str = "select repeat('x', 1000000) from generate_series(1, 100)";

/// A session that the service takes for one of its own, and its number.
async fn session(app: &App) -> (PgConnection, i32) {
    let options: PgConnectOptions = app.database.url.parse().expect("the URL is well-formed");
    let mut session = options.application_name(APPLICATION).connect().await.expect("the database answers");
    let pid = sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut session).await;
    (session, pid.expect("a number"))
}

async fn is_there(app: &App, pid: i32) -> bool {
    app.one::<i64>(&format!("select count(*) from pg_stat_activity where pid = {pid}")).await == 1
}

async fn waits(app: &App, pid: i32, event: &str) {
    let waits = format!("select count(*) from pg_stat_activity where pid = {pid} and wait_event = '{event}'");
    until(event, || async { (app.one::<i64>(&waits).await == 1).then_some(()) }).await;
}

#[tokio::test]
async fn a_session_that_is_stuck_in_the_middle_of_a_chunk_is_ended_and_no_other_is() {
    let app = App::with(&[("database.silent_ms", "200")]).await;
    let (mut frozen, frozen_pid) = session(&app).await;
    let (mut slow, slow_pid) = session(&app).await;
    // To drop it would end the copy.
    let _in_hand = frozen.copy_in_raw(COPY).await.expect("it begins");
    let _streamed = slow.copy_in_raw(&format!("{STREAMED} {COPY}")).await.expect("it begins");
    until("the stuck session is ended", || async { (!is_there(&app, frozen_pid).await).then_some(()) }).await;
    assert!(is_there(&app, slow_pid).await, "rows that come from elsewhere take their time");
}

#[tokio::test]
async fn who_does_not_take_an_answer_loses_the_session_unless_it_is_an_export() {
    let app = App::without_worker(&[]).await;
    let db = Db::connect(&app.config.database).await.expect("the database answers");
    let (mut frozen, frozen_pid) = session(&app).await;
    let (mut reader, reader_pid) = session(&app).await;
    let options: PgConnectOptions = app.database.url.parse().expect("the URL is well-formed");
    let mut person = options.connect().await.expect("the database answers");
    let person_pid: i32 =
        sqlx::query_scalar("select pg_backend_pid()").fetch_one(&mut person).await.expect("a number");
    // None of them reads on after the first row.
    let mut answer = sqlx::query(LONG).fetch(&mut frozen);
    answer.next().await.expect("a row").expect("a row");
    let mut export = reader.copy_out_raw(&format!("copy ({LONG}) to stdout")).await.expect("it begins");
    export.next().await.expect("a row").expect("a row");
    let mut other = sqlx::query(LONG).fetch(&mut person);
    other.next().await.expect("a row").expect("a row");
    for pid in [frozen_pid, reader_pid, person_pid] {
        waits(&app, pid, "ClientWrite").await;
    }
    let mut stuck = StuckSessions::default();
    assert_eq!(stuck.look(&db).await.expect("the database answers"), 0, "no session is stuck at first sight");
    assert_eq!(stuck.look(&db).await.expect("the database answers"), 1);
    until("the stuck session is ended", || async { (!is_there(&app, frozen_pid).await).then_some(()) }).await;
    assert!(is_there(&app, reader_pid).await, "whoever reads an export takes its time");
    assert!(is_there(&app, person_pid).await, "people are left alone");
}

#[tokio::test]
async fn a_copy_that_goes_on_is_not_stuck_however_slow_it_is() {
    let app = App::without_worker(&[]).await;
    let db = Db::connect(&app.config.database).await.expect("the database answers");
    let (mut slow, pid) = session(&app).await;
    let target = "copy changed_citizens (import_id, citizen_id) from stdin";
    let mut copy = slow.copy_in_raw(target).await.expect("it begins");
    let mut stuck = StuckSessions::default();
    let copied =
        format!("select coalesce(max(bytes_processed), 0) from pg_stat_progress_copy where pid = {pid}");
    for piece in 1..=4 {
        copy.send(format!("1\t{piece}\n").as_bytes()).await.expect("it goes on");
        until("the piece is read", || async { (app.one::<i64>(&copied).await == 4 * piece).then_some(()) })
            .await;
        waits(&app, pid, "ClientRead").await;
        assert_eq!(stuck.look(&db).await.expect("the database answers"), 0);
    }
    assert_eq!(stuck.look(&db).await.expect("the database answers"), 1, "now nothing came");
}
