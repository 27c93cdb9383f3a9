//! Sessions of processes that are frozen or cut off.

use sqlx::{Connection, PgConnection};
use tarmac::db::silent::ROWS_IN_HAND;

use crate::support::{App, wait::until};

#[tokio::test]
async fn who_is_silent_in_the_middle_of_a_chunk_loses_the_session_and_nobody_else_does() {
    let app = App::with(&[("database.silent_ms", "200")]).await;
    let mut frozen = PgConnection::connect(&app.database.url).await.expect("the database answers");
    let mut slow = PgConnection::connect(&app.database.url).await.expect("the database answers");
    let mut sessions = Vec::new();
    for session in [&mut frozen, &mut slow] {
        let pid: i32 =
            sqlx::query_scalar("select pg_backend_pid()").fetch_one(session).await.expect("a number");
        sessions.push(pid);
    }
    let copy = "copy airports (name) from stdin";
    // To drop it would end the copy.
    let _in_hand = frozen.copy_in_raw(&format!("{ROWS_IN_HAND} {copy}")).await.expect("it begins");
    let _streamed = slow.copy_in_raw(copy).await.expect("it begins");
    let there = async |pid: i32| {
        app.one::<i64>(&format!("select count(*) from pg_stat_activity where pid = {pid}")).await == 1
    };
    until("the silent session is ended", || async { (!there(sessions[0]).await).then_some(()) }).await;
    assert!(there(sessions[1]).await, "rows that come one by one take their time");
}
