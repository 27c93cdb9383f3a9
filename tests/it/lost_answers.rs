//! Commits whose answer is lost: whether they have happened or not, an import that exists has its upload, and an upload that became
//! no import goes.

use std::path::Path;

use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, PgConnection};

use crate::support::{
    App,
    app::files_below,
    citizens::citizen,
    client::{Answer, Request},
    database::Database,
    files::rows,
    proxy::Proxy,
    wait::until,
};

/// A service whose commits wait in the database for the test, and whose way to the database can be cut.
struct World {
    app: App,
    proxy: Proxy,
    /// Holds up commits.
    holder: PgConnection,
}

impl World {
    async fn new() -> Self {
        let mut database = Database::create().await;
        let url = database.url.clone();
        let proxy = Proxy::to(&url).await;
        database.url = proxy.url.clone();
        let holder = PgConnection::connect(&url).await.expect("the database answers");
        Self { app: App::on(database, &[]).await, proxy, holder }
    }

    /// From now on a commit waits that has done this to an import.
    async fn hold_up(&mut self, event: &str) {
        let statements = format!(
            "select pg_advisory_lock(14);
             create function wait_for_the_test() returns trigger language plpgsql as
                 $$ begin perform pg_advisory_xact_lock(14); return null; end $$;
             create constraint trigger wait_for_the_test after {event} on imports deferrable initially deferred
                 for each row execute function wait_for_the_test()"
        );
        sqlx::raw_sql(AssertSqlSafe(statements)).execute(&mut self.holder).await.expect("there is a trigger");
    }

    async fn let_go(&mut self) {
        sqlx::raw_sql("select pg_advisory_unlock(14)").execute(&mut self.holder).await.expect("it is held");
    }

    /// The session that waits in its commit.
    async fn committing(&self) -> i32 {
        let waiting =
            "select max(pid) from pg_locks where locktype = 'advisory' and objid = 14 and not granted
            and database = (select oid from pg_database where datname = current_database())";
        until("the commit is under way", || self.app.one::<Option<i32>>(waiting)).await
    }

    /// Breaks all connections of the service; returns when they are broken.
    async fn cut(&self, committing: i32) {
        self.proxy.cut();
        let others = format!(
            "select count(*) from pg_stat_activity
             where datname = current_database() and application_name = 'tarmac' and pid <> {committing}"
        );
        until("the others are gone", || async { (self.app.one::<i64>(&others).await == 0).then_some(()) })
            .await;
    }

    /// What the archive has of uploads, manifests too.
    fn uploads(&self) -> Vec<String> {
        let mut files = files_below(Path::new(&self.app.config.archive.url));
        files.retain(|file| file.contains("/uploads/"));
        files
    }

    /// Both ways to make an import.
    fn requests(&self) -> [Request; 2] {
        let json = self.app.client.post("/imports").json(json!({ "citizens": [citizen(1, json!({}))] }));
        let csv = self.app.client.post("/upload").header("Content-Type", "text/csv").body(rows(1..9));
        [json, csv]
    }

    async fn assert_only_import_has_its_upload(&self) {
        let import: i64 = self.app.one("select id from imports").await;
        self.app.client.get(&format!("/imports/{import}/source")).send().await.expect(200);
        assert_eq!(self.uploads().len(), 2, "{:?}", self.uploads());
    }
}

#[tokio::test]
async fn an_import_whose_commit_has_happened_unheard_is_answered_like_any_other() {
    for which in 0..2 {
        let mut world = World::new().await;
        world.hold_up("insert").await;
        let [json, csv] = world.requests();
        let sent = tokio::spawn([json, csv].into_iter().nth(which).expect("two").send());
        let committing = world.committing().await;
        world.cut(committing).await;
        world.proxy.restore();
        world.let_go().await;
        let answer: Answer = sent.await.expect("no panic");
        let answer = answer.expect([201, 202][which]);
        let import: i64 = world.app.one("select id from imports").await;
        assert_eq!(answer.header("location"), Some(format!("/imports/{import}").as_str()));
        world.assert_only_import_has_its_upload().await;
    }
}

#[tokio::test]
async fn an_import_whose_commit_has_failed_leaves_no_upload() {
    for which in 0..2 {
        let mut world = World::new().await;
        world.hold_up("insert").await;
        let [json, csv] = world.requests();
        let sent = tokio::spawn([json, csv].into_iter().nth(which).expect("two").send());
        let committing = world.committing().await;
        let end = format!("select pg_terminate_backend({committing})");
        assert!(world.app.one::<bool>(&end).await);
        sent.await.expect("no panic").expect(503);
        assert_eq!(world.app.one::<i64>("select count(*) from imports").await, 0);
        assert_eq!(world.uploads(), [""; 0]);
    }
}

#[tokio::test]
async fn an_import_whose_commit_nobody_knows_of_has_its_upload() {
    for which in 0..2 {
        let mut world = World::new().await;
        world.hold_up("insert").await;
        let [json, csv] = world.requests();
        let sent = tokio::spawn([json, csv].into_iter().nth(which).expect("two").send());
        let committing = world.committing().await;
        world.cut(committing).await;
        sent.await.expect("no panic").expect(503);
        world.let_go().await;
        world.proxy.restore();
        let imports = "select count(*) from imports";
        until("the commit ends", || async { (world.app.one::<i64>(imports).await == 1).then_some(()) }).await;
        until("the service has its database again", || async {
            let ready = world.app.client.get("/health/ready").send().await;
            (ready.status == 200).then_some(())
        })
        .await;
        world.assert_only_import_has_its_upload().await;
    }
}

#[tokio::test]
async fn an_undo_or_cancel_whose_commit_has_happened_unheard_is_carried_out() {
    for what in ["undone", "cancelled"] {
        let mut world = World::new().await;
        let [_, csv] = world.requests();
        let import: Value = csv.header("Prefer", "wait=60").send().await.expect(200).json();
        if what == "cancelled" {
            // As if it were still under way.
            world.app.run("update imports set state = 'paused', finished_at = null").await;
        }
        world.hold_up("update").await;
        let path = format!("/imports/{}", import["id"]);
        let request = match what {
            "undone" => world.app.client.delete(&path),
            _ => world.app.client.post(&format!("{path}/cancel")),
        };
        let sent = tokio::spawn(request.send());
        let committing = world.committing().await;
        world.cut(committing).await;
        sent.await.expect("no panic").expect(503);
        world.let_go().await;
        world.proxy.restore();
        // A manifest that stays would bring the import back after a loss of the database.
        until("the manifest is gone", || async { (world.uploads().len() == 1).then_some(()) }).await;
        until("all of it is done", || async {
            let answer = world.app.client.get(&path).send().await;
            (answer.status == 200).then(|| answer.json())?["removal"]["finished_at"].is_string().then_some(())
        })
        .await;
        let state: String = world.app.one("select state from imports").await;
        assert_eq!(state, what);
    }
}
