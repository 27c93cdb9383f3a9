//! The rehearsal of docs/OPERATIONS.md: the database is lost, an older backup restored, and what came later replayed from the archive.

use std::{path::Path, process::Command};

use serde_json::json;
use sqlx::AssertSqlSafe;

use crate::support::{
    App,
    app::files_below,
    citizens::citizen,
    database::Database,
    files::{bad_row, row, rows, zip},
    imports::{id, outcome},
    process::Launch,
};

/// Of PostgreSQL's own programs: where the distribution puts them, or on the path.
fn postgres(program: &str) -> Command {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten();
    let versions =
        versions.filter_map(|entry| entry.ok()?.file_name().into_string().ok()?.parse::<u32>().ok());
    let newest = versions.max().map(|version| format!("/usr/lib/postgresql/{version}/bin/{program}"));
    Command::new(newest.filter(|path| Path::new(path).exists()).unwrap_or_else(|| program.to_owned()))
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
}

/// What the database has, but for what a new run cannot give again: times of loading, and numbers that nobody is told.
async fn content(database: &Database) -> Vec<String> {
    let imports = "to_jsonb(i) - '{epoch,started_at,finished_at,traceparent,archived_at,restored_at,loaded_chunks,loaded_bytes,changes}'::text[]";
    let airports = "to_jsonb(a) - '{id,created_at,updated_at}'::text[]";
    let query = format!(
        "select 'import ' || ({imports})::text from imports i where state not in ('cancelled', 'undone')
         union all select 'airport ' || ({airports})::text from airports a
         union all select 'citizen ' || c::text from citizens c
         union all select 'reject ' || r::text from import_rejects r
         union all select 'chunk ' || (to_jsonb(c) - 'loaded_at')::text from import_chunks c
             where import_id not in (select id from imports where state in ('cancelled', 'undone'))
         order by 1"
    );
    let rows = sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(&database.pool).await;
    rows.expect("the tables can be read")
}

#[tokio::test]
async fn what_came_after_the_backup_is_replayed_from_the_archive() {
    let long_term = tempfile::tempdir().expect("a temporary directory can be made");
    let dump = tempfile::NamedTempFile::new().expect("a file can be made");
    let long_term = long_term.path().to_str().expect("the path is UTF-8");
    let app = App::with(&[("long_term.url", long_term), ("ingest.chunk_rows", "100")]).await;
    let archive = Path::new(&app.config.archive.url);

    app.upload("", rows(1..500)).await;
    app.import_citizens(json!([citizen(1, json!({}))])).await;
    run(postgres("pg_dump")
        .args(["--format=custom", "--dbname", &app.database.url])
        .arg("--file")
        .arg(dump.path()));

    // Later ones change what earlier ones brought, and the second time the first content comes last.
    let village = rows(1..300).replace("City", "Village");
    app.upload("?filename=village.csv", village.clone()).await;
    app.upload_as(
        "application/zip",
        zip(&[("a.csv", rows(500..700)), ("b.csv", rows(700..800) + &bad_row(900))]),
    )
    .await;
    app.upload("", rows(1..300).replace("City", "Town")).await;
    app.upload("?force=true", village).await;
    let strict = app.upload("?mode=strict", row(1_000) + &bad_row(1_001)).await;
    assert_eq!(strict["state"], "failed");
    app.upload("?dry_run=true", rows(2_000..2_010)).await;
    let relatives = [citizen(1, json!({ "relatives": [2] })), citizen(2, json!({ "relatives": [1] }))];
    app.import_citizens(json!(relatives)).await;
    let header = "citizen_id,town,street,building,apartment,name,birth_date,gender,relatives,channel\n";
    let csv = format!(
        "{header}1,Keflavik,Hafnargata,2,7,Anna,26.12.1986,female,2;9,radio\n2,Keflavik,Hafnargata,2,7,Björn,01.04.1997,male,1,\n"
    );
    app.import_citizens_csv("", csv).await;
    let undone = id(&app.upload("", rows(3_000..3_010)).await);
    app.client.delete(&format!("/imports/{undone}")).send().await.expect(200);
    let last = app.upload("", rows(4_000..4_010)).await;
    assert_eq!(outcome(&last), [10, 0, 0, 0, 0]);
    // Some of that is in the long-term archive alone by the time the database is lost.
    app.run("update imports set finished_at = now() - interval '20 days' where id in (1, 3, 4)").await;
    let old = Launch::new(&app.database.url, archive).with(&[("long_term.url", long_term)]);
    let rejects: Vec<String> = content(&app.database).await;
    let (status, out, err) = old.run(&["retain"]).await;
    assert!(status.success() && out.contains("moved 3 imports"), "{out}{err}");
    let objects = files_below(archive).len();

    let restored = Database::empty().await;
    run(postgres("pg_restore").args(["--dbname", &restored.url]).arg(dump.path()));
    let launch = Launch::new(&restored.url, archive)
        .with(&[("long_term.url", long_term), ("ingest.chunk_rows", "100")]);
    let (status, out, err) = launch.run(&["replay", "--missing", "--dry-run"]).await;
    assert!(status.success() && out.lines().count() == 10 && out.contains("village.csv"), "{out}{err}");
    assert!(out.starts_with("import 1: its upload is missing: airports"), "{out}");
    // What nobody has replayed yet is no litter.
    let (status, out, err) = launch.run(&["retain"]).await;
    assert!(status.success() && out.contains(" 0 objects"), "{out}{err}");
    assert_eq!(files_below(archive).len(), objects);

    let (status, out, err) = launch.run(&["replay", "--missing"]).await;
    assert!(status.success() && out.contains("10 were missing, 0 could"), "{out}{err}");
    assert!(out.contains("import 7: imported again, and failed: 1 of 2 rows"), "{out}");
    let found = content(&restored).await;
    for (found, expected) in found.iter().zip(&rejects) {
        assert_eq!(found, expected);
    }
    assert_eq!(found.len(), rejects.len());
    let source: String = sqlx::query_scalar("select source from imports where id = 1")
        .fetch_one(&restored.pool)
        .await
        .expect("the import is there");
    assert!(archive.join(source).exists(), "the upload of what the backup has is back, too");
    // Numbers go on behind those that came back, and there is nothing left to do.
    let next: i64 = sqlx::query_scalar("select nextval('imports_id_seq')")
        .fetch_one(&restored.pool)
        .await
        .expect("the sequence is there");
    assert!(next > id(&last), "{next}");
    let (status, out, err) = launch.run(&["replay", "--missing"]).await;
    assert!(status.success() && out.starts_with("0 were missing"), "{out}{err}");
}

#[tokio::test]
async fn an_upload_that_was_sent_again_is_not_loaded_twice_and_a_taken_number_stays_whose_it_is() {
    let app = App::start().await;
    let archive = Path::new(&app.config.archive.url);
    app.upload("", rows(1..10)).await;
    app.upload("", rows(10..20)).await;
    app.import_citizens(json!([citizen(1, json!({}))])).await;
    let village = "citizen_id,town,street,building,apartment,name,birth_date,gender,relatives,channel\n\
                   1,Keflavik,Hafnargata,2,7,Anna,26.12.1986,female,,radio\n";
    app.import_citizens_csv("", village).await;
    let (before, lost) = (app.one::<i64>("select count(*) from airports").await, Database::create().await);
    // Clients send some again before anybody replays, and get the numbers of others.
    let service = Launch::new(&lost.url, archive).start();
    let request =
        service.client.post("/upload").header("Content-Type", "text/csv").header("Prefer", "wait=60");
    let again = request.body(rows(10..20)).send().await.expect(200).json();
    assert_eq!(id(&again), 1);
    let request =
        service.client.post("/imports").header("Content-Type", "text/csv").header("Prefer", "wait=60");
    assert_eq!(id(&request.body(village).send().await.expect(200).json()), 2);
    service.stop().await;
    let launch = Launch::new(&lost.url, archive);
    let (status, out, err) = launch.run(&["replay", "--missing"]).await;
    // Of airports the order counts: what came second is imported again after what came first, and changes nothing by that.
    let expected = "import 1: imported again as import 3: 9 rows, 0 rejected\n\
                    import 2: imported again as import 4: 10 rows, 0 rejected\n\
                    import 3: imported again as import 5: 1 rows, 0 rejected\n\
                    import 4: is here as import 2\n\
                    4 were missing, 0 could not be brought back\n";
    assert!(status.success(), "{out}{err}");
    assert_eq!(out, expected, "{err}");
    let airports: i64 =
        sqlx::query_scalar("select count(*) from airports").fetch_one(&lost.pool).await.expect("a table");
    assert_eq!(airports, before);
    let unchanged: i64 = sqlx::query_scalar("select unchanged from imports where id = 4")
        .fetch_one(&lost.pool)
        .await
        .expect("the import is there");
    assert_eq!(unchanged, 10);
}
