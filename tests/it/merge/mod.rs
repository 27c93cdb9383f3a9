//! The statements that merge a staging table: those made from a schema beside a model, and beside those written by hand.

mod by_hand;
mod model;

use std::collections::BTreeMap;

use sqlx::{AssertSqlSafe, Connection, PgConnection, Row};
use tarmac::datasets::{
    Dataset,
    plan::{self, Blanks, LoadMode, Loading, MaxDeleted, Reference, Step},
};

use self::model::{Answer, Case, FileRow, IMPORT, N, Random, Stored, Values, dataset, make, model};
use crate::support::database::Database;

const STAGING: &str = "staging.import_7";

async fn execute(connection: &mut PgConnection, sql: &str) -> Result<u64, sqlx::Error> {
    sqlx::query(AssertSqlSafe(sql.to_owned()))
        .persistent(false)
        .execute(connection)
        .await
        .map(|done| done.rows_affected())
}

async fn raw(connection: &mut PgConnection, sql: &str) {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned()))
        .execute(connection)
        .await
        .unwrap_or_else(|error| panic!("{error}\n{sql}"));
}

fn sql_value(value: Option<i64>) -> String {
    value.map_or("null".into(), |v| v.to_string())
}

fn uuid(id: i64) -> String {
    format!("00000000-0000-7000-8000-{id:012}")
}

/// The columns as they are written in SQL.
fn keys(dataset: &Dataset) -> Vec<String> {
    dataset.schema.columns.iter().map(|column| column.key.to_string()).collect()
}

fn ddl(dataset: &Dataset) -> String {
    let keys = keys(dataset);
    let mut ddl = format!(
        "drop schema if exists datasets cascade; create schema datasets;
         drop schema if exists staging cascade; create schema staging;
         create table datasets.cats (_id uuid primary key, _import bigint, _row bigint, _version bigint not null default 1,
             _created_at timestamptz not null default now(), _updated_at timestamptz not null default now(),
             _deleted_at timestamptz, {} bigint);
         create table datasets.owners (id bigint); ",
        keys.join(" bigint, ")
    );
    let primary_key: Vec<_> = dataset.schema.primary_key.iter().map(|place| keys[*place].clone()).collect();
    let unique =
        dataset.schema.columns.iter().filter(|column| column.unique).map(|column| column.key.to_string());
    for columns in unique.chain((!primary_key.is_empty()).then(|| primary_key.join(","))) {
        ddl += &format!("create unique index on datasets.cats ({columns}) where _deleted_at is null; ");
    }
    ddl + &plan::staging_table(dataset, STAGING, false)
}

async fn fill(connection: &mut PgConnection, case: &Case, dataset: &Dataset) {
    let mut sql = ddl(dataset) + ";";
    for t in &case.stored {
        let values: Vec<_> = t.values.iter().map(|v| sql_value(*v)).collect();
        sql += &format!(
            "insert into datasets.cats values ('{}', {}, 1, 1, now(), now(), {}, {});",
            uuid(t.id),
            t.import,
            if t.deleted { "now()" } else { "null" },
            values.join(",")
        );
    }
    for owner in &case.owners {
        sql += &format!("insert into datasets.owners values ({owner});");
    }
    let target = plan::copy_target(dataset, STAGING, false, true, true);
    for (i, f) in case.file.iter().enumerate() {
        let values: Vec<_> = f.values.iter().map(|v| sql_value(*v)).collect();
        sql += &format!(
            "insert into {target} values ({}, '{}', {}, {}, {});",
            i + 1,
            uuid(1000 + i as i64 + 1),
            values.join(","),
            f.id.filter(|_| case.has_row_id).map_or("null".into(), |id| format!("'{}'", uuid(id))),
            if f.refused { "'refused'" } else { "null" },
        );
    }
    raw(connection, &sql).await;
}

/// As the engine does: first without resolving duplicates.
async fn merge(
    connection: &mut PgConnection,
    steps: &[Step],
    max: MaxDeleted,
) -> (bool, Option<(i64, i64)>, bool) {
    for hoped in [true, false] {
        let mut savepoint = connection.begin().await.expect("the server answers");
        let mut removed = None;
        let mut refused = false;
        for step in steps {
            match step {
                Step::Decide(sql) => {
                    execute(&mut savepoint, sql).await.unwrap_or_else(|error| panic!("{error}\n{sql}"));
                }
                Step::ResolveDuplicates(_) if hoped => {}
                Step::ResolveDuplicates(sql) => {
                    execute(&mut savepoint, sql).await.unwrap_or_else(|error| panic!("{error}\n{sql}"));
                }
                Step::Guard(sql) => {
                    let row = sqlx::query(AssertSqlSafe(sql.clone()))
                        .fetch_one(&mut *savepoint)
                        .await
                        .expect("it can be counted");
                    let found: (i64, i64) = (row.get("removed"), row.get("stored"));
                    refused = !max.allows(found.0, found.1);
                    removed = Some(found);
                }
                Step::Write(_) => {}
            }
        }
        if hoped {
            let rejected: i64 =
                sqlx::query_scalar("select count(*) from staging.import_7 where outcome = 'rejected'")
                    .fetch_one(&mut *savepoint)
                    .await
                    .expect("the server answers");
            if rejected > 0 || refused {
                savepoint.rollback().await.expect("the server answers");
                continue;
            }
        }
        if !refused {
            let mut again = false;
            for step in steps {
                if let Step::Write(sql) = step
                    && let Err(error) = execute(&mut savepoint, sql).await
                {
                    let code = error.as_database_error().and_then(|e| e.code()).map(|c| c.into_owned());
                    assert!(hoped && code.as_deref() == Some("23505"), "{error}\n{sql}");
                    again = true;
                    break;
                }
            }
            if again {
                savepoint.rollback().await.expect("the server answers");
                continue;
            }
        }
        savepoint.commit().await.expect("the server answers");
        return (refused, removed, hoped);
    }
    unreachable!()
}

async fn connect(database: &Database) -> PgConnection {
    let mut connection = PgConnection::connect(&database.url).await.expect("the test server answers");
    raw(&mut connection, "set client_min_messages = error; set synchronous_commit = off").await;
    connection
}

fn steps(case: &Case, dataset: &Dataset) -> Vec<Step> {
    let references: Vec<_> = dataset
        .schema
        .foreign_keys
        .iter()
        .map(|key| Reference { key, rows: "datasets.\"owners\"".into() })
        .collect();
    plan::plan(Loading {
        dataset,
        staging: STAGING,
        import_id: IMPORT,
        present: &case.present,
        has_row_id: case.has_row_id,
        load: case.load,
        blanks: case.blanks,
        references: &references,
    })
}

async fn run(connection: &mut PgConnection, case: &Case) -> (Answer, bool, Vec<(String, String)>) {
    let dataset = dataset(case);
    fill(connection, case, &dataset).await;
    let mut transaction = connection.begin().await.expect("the server answers");
    let (refused, removed, hoped) = merge(&mut transaction, &steps(case, &dataset), case.max_deleted).await;
    transaction.commit().await.expect("the server answers");
    let mut verdicts = Vec::new();
    let mut said = Vec::new();
    for row in sqlx::query("select outcome, fault_code, fault_column, fault_message, fault_value from staging.import_7 order by row")
        .persistent(false)
        .fetch_all(&mut *connection)
        .await
        .expect("the server answers")
    {
        let outcome: Option<String> = row.get(0);
        let outcome: Option<&'static str> = outcome.map(|o| &*o.leak());
        let code: Option<String> = row.get::<Option<String>, _>(1).filter(|_| outcome == Some("rejected"));
        let column: Option<String> = row.get::<Option<String>, _>(2).filter(|_| outcome == Some("rejected"));
        let message: Option<String> = row.get(3);
        let value: Option<String> = row.get(4);
        assert!(outcome != Some("rejected") || message.is_some());
        assert!(outcome != Some("rejected") || code.as_deref() == Some("required") || value.is_some(), "{code:?}");
        said.push((message.unwrap_or_default(), value.unwrap_or_default()));
        verdicts.push((outcome, code.map(|c| &*c.leak()), column));
    }
    let mut table = BTreeMap::new();
    let columns = keys(&dataset).join(",");
    let sql = format!(
        "select right(_id::text, 12)::bigint, _import, _version, _deleted_at is not null, _row, {columns} from datasets.cats"
    );
    for row in sqlx::query(AssertSqlSafe(sql))
        .persistent(false)
        .fetch_all(&mut *connection)
        .await
        .expect("the server answers")
    {
        let mut values = [None; N];
        for (place, value) in values.iter_mut().enumerate() {
            *value = row.get(5 + place);
        }
        let id: i64 = row.get(0);
        if id > 1000 {
            assert_eq!(row.get::<i64, _>(4), id - 1000);
        }
        table.insert(id, Stored { id, values, deleted: row.get(3), version: row.get(2), import: row.get(1) });
    }
    (Answer { verdicts, refused, removed, table }, hoped, said)
}

fn alike(ours: &mut Answer, theirs: &Answer) {
    for (mine, their) in ours.verdicts.iter_mut().zip(&theirs.verdicts) {
        if their.1 == Some("unmet") && matches!(mine.1, Some("key_held" | "unknown_reference")) {
            *mine = their.clone();
        }
    }
}

#[tokio::test]
async fn any_file_becomes_what_the_model_says() {
    let database = Database::create().await;
    let mut connection = connect(&database).await;
    let mut seen: BTreeMap<String, u64> = BTreeMap::new();
    for number in 1..=400u64 {
        let mut random = Random(number.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1);
        random.below(2);
        let case = make(&mut random);
        let expected = model(&case);
        let (mut found, hoped, _) = run(&mut connection, &case).await;
        alike(&mut found, &expected);
        for verdict in &found.verdicts {
            *seen.entry(format!("{:?} {:?}", verdict.0, verdict.1)).or_default() += 1;
        }
        *seen.entry(format!("hoped {hoped}")).or_default() += 1;
        *seen.entry(format!("refused {}", found.refused)).or_default() += 1;
        assert_eq!(found, expected, "case {number}: {case:#?}\n{:#?}", steps(&case, &dataset(&case)));
    }
    // Eleven outcomes, two ways to merge, two answers to a sync.
    assert_eq!(seen.len(), 15, "{seen:#?}");
}

fn blank() -> Case {
    Case {
        key: vec![0],
        unique: vec![2],
        self_reference: false,
        reference: false,
        owners: vec![],
        stored: vec![],
        present: vec![0, 2, 3],
        has_row_id: false,
        load: LoadMode::Upsert,
        blanks: Blanks::Overwrite,
        max_deleted: MaxDeleted::default(),
        file: vec![],
    }
}

/// k, u and v; other columns are null.
fn values(k: i64, u: Option<i64>, v: i64) -> Values {
    [Some(k), None, u, Some(v), None, None]
}

fn stored(id: i64, values: Values) -> Stored {
    Stored { id, values, deleted: false, version: 1, import: 1 }
}

fn file(id: Option<i64>, values: Values) -> FileRow {
    FileRow { id, values, refused: false }
}

async fn said(case: Case) -> (Vec<String>, Answer) {
    let database = Database::create().await;
    let mut connection = connect(&database).await;
    let (answer, _, said) = run(&mut connection, &case).await;
    let said = answer
        .verdicts
        .iter()
        .zip(said)
        .map(|((outcome, code, column), (message, value))| match (outcome, code) {
            (Some("rejected"), Some(code)) => {
                format!("{code} {} {value}: {message}", column.as_deref().unwrap_or("-"))
            }
            (outcome, _) => outcome.unwrap_or("written").to_owned(),
        })
        .collect();
    (said, answer)
}

#[tokio::test]
async fn a_repeated_key_is_told_by_its_row() {
    let rows = [(1, 5), (2, 5), (1, 5), (1, 6)];
    let (said, _) =
        said(Case { file: rows.map(|(k, v)| file(None, values(k, None, v))).to_vec(), ..blank() }).await;
    assert_eq!(
        said,
        [
            "written",
            "written",
            "unchanged",
            "duplicate_in_file Na'me $1 1: the same cats as row 1 by Na'me $1"
        ]
    );
}

#[tokio::test]
async fn unique_values_change_hands_and_a_chain_ends_where_one_is_kept() {
    let store = vec![
        stored(1, values(1, Some(1), 0)),
        stored(2, values(2, Some(2), 0)),
        stored(3, values(3, Some(3), 0)),
    ];
    let swap = vec![file(None, values(1, Some(2), 0)), file(None, values(2, Some(1), 0))];
    let (told, answer) = said(Case { stored: store.clone(), file: swap, ..blank() }).await;
    assert_eq!(told, ["written", "written"]);
    assert_eq!(answer.table[&1].values[2], Some(2));
    let chain = vec![
        file(None, values(1, Some(2), 0)),
        file(None, values(2, Some(3), 0)),
        file(None, values(4, Some(9), 0)),
        file(None, values(5, Some(9), 1)),
    ];
    let (told, _) = said(Case { stored: store, file: chain, ..blank() }).await;
    assert_eq!(
        told,
        [
            format!("key_held u 2: u is held by the row {}", uuid(2)),
            format!("key_held u 3: u is held by the row {}", uuid(3)),
            "written".into(),
            "key_held u 9: u is held by row 3 of the file".into()
        ]
    );
}

#[tokio::test]
async fn a_row_id_says_which_row_it_is() {
    let mut gone = stored(3, values(3, None, 0));
    gone.deleted = true;
    let store = vec![stored(1, values(1, None, 0)), stored(2, values(2, None, 0)), gone];
    let rows = vec![
        file(Some(1), values(9, None, 0)),
        file(Some(9), values(8, None, 0)),
        file(Some(3), values(7, None, 0)),
        file(Some(1), values(9, None, 0)),
        file(Some(1), values(9, None, 4)),
        file(None, values(2, None, 0)),
        file(None, values(3, None, 0)),
    ];
    let (told, answer) = said(Case { stored: store, file: rows, has_row_id: true, ..blank() }).await;
    let unknown = format!(
        "unknown_id _id {0}: there is no row of cats with the _id {0}; for a new row, leave the field empty",
        uuid(9)
    );
    let repeated = format!("duplicate_in_file _id {}: the same cats as row 1 by _id", uuid(1));
    assert_eq!(told, ["written", &unknown, "deleted", "unchanged", &repeated, "unchanged", "deleted"]);
    assert_eq!(answer.table[&1].values[0], Some(9));
}

#[tokio::test]
async fn keys_change_hands_by_row_id() {
    let store =
        vec![stored(1, values(1, None, 0)), stored(2, values(2, None, 0)), stored(3, values(3, None, 0))];
    let rows = vec![file(Some(1), values(2, None, 0)), file(Some(2), values(1, None, 0))];
    let (told, answer) = said(Case { stored: store.clone(), file: rows, has_row_id: true, ..blank() }).await;
    assert_eq!(told, ["written", "written"]);
    assert_eq!((answer.table[&1].values[0], answer.table[&2].values[0]), (Some(2), Some(1)));
    let rows = vec![file(Some(1), values(3, None, 0))];
    let (told, _) = said(Case { stored: store, file: rows, has_row_id: true, ..blank() }).await;
    assert_eq!(told, [format!("key_held Na'me $1 3: Na'me $1 is held by the row {}", uuid(3))]);
}

#[tokio::test]
async fn insert_refuses_known_keys_and_counts_deleted_ones() {
    let mut gone = stored(2, values(2, None, 0));
    gone.deleted = true;
    let rows = [1, 2, 3].map(|k| file(None, values(k, None, 0))).to_vec();
    let case = Case {
        stored: vec![stored(1, values(1, None, 0)), gone],
        file: rows,
        load: LoadMode::Insert,
        ..blank()
    };
    let (told, _) = said(case).await;
    let known = format!(
        "key_exists Na'me $1 1: Na'me $1 is that of the row {}, which is stored already; to change it, load the file with load=upsert",
        uuid(1)
    );
    assert_eq!(told, [&*known, "deleted", "written"]);
}

#[tokio::test]
async fn a_sync_deletes_what_is_absent_and_frees_its_values() {
    let store: Vec<_> = (1..=4).map(|k| stored(k, values(k, Some(k), 0))).collect();
    let refused = FileRow { id: None, values: [Some(2), None, None, None, None, None], refused: true };
    let rows = vec![file(None, values(1, Some(3), 0)), refused];
    let case =
        Case { stored: store, file: rows, load: LoadMode::Sync, max_deleted: MaxDeleted::Rows(2), ..blank() };
    let (told, answer) = said(case.clone()).await;
    assert_eq!(told, ["written", "refused"]);
    assert_eq!(answer.removed, Some((2, 4)));
    let deleted: Vec<_> = answer.table.values().filter(|row| row.deleted).map(|row| row.id).collect();
    assert_eq!(deleted, [3, 4]);
    let (_, answer) = said(Case { max_deleted: MaxDeleted::Rows(1), ..case.clone() }).await;
    assert!(answer.refused && answer.table.values().all(|row| row.version == 1));
    let (_, answer) = said(Case { file: vec![], max_deleted: MaxDeleted::Percent(100), ..case }).await;
    assert_eq!(answer.removed, Some((4, 4)));
}

#[tokio::test]
async fn a_reference_to_a_row_of_the_file_holds_as_long_as_that_row_does() {
    let row = |k, u, m| {
        let mut values = values(k, u, 0);
        values[4] = m;
        file(None, values)
    };
    let rows = vec![
        row(1, None, Some(2)),
        row(2, None, Some(1)),
        row(3, None, Some(4)),
        row(4, Some(9), Some(5)),
        row(6, Some(7), Some(6)),
    ];
    let case = Case { self_reference: true, present: vec![0, 2, 3, 4], file: rows, ..blank() };
    let (told, _) = said(case).await;
    let none = |value: i64| {
        format!(
            "unknown_reference row {value}: row must be the Na'me $1 of a row of cats, and no row has this value"
        )
    };
    assert_eq!(told, ["written".into(), "written".into(), none(4), none(5), "written".to_owned()]);
}

#[tokio::test]
async fn what_was_loaded_directly_is_taken_back_and_what_was_inserted_is_undone_in_batches() {
    let database = Database::create().await;
    let mut connection = connect(&database).await;
    let case = Case { unique: vec![], ..blank() };
    let dataset = dataset(&case);
    raw(&mut connection, &ddl(&dataset)).await;
    raw(&mut connection, &format!("drop table {STAGING}")).await;
    raw(&mut connection, &plan::staging_table(&dataset, STAGING, true)).await;
    for row in 1..=5 {
        let target = plan::direct_copy_target(&dataset);
        raw(
            &mut connection,
            &format!("insert into {target} values (7, {row}, '{}', {row}, 0, 0, 0, 0, 0)", uuid(row)),
        )
        .await;
    }
    let target = plan::copy_target(&dataset, STAGING, true, false, false);
    raw(&mut connection, &format!("insert into {target} values (7, 6, '{}', 3, 0, 0, 0, 0, 0)", uuid(6)))
        .await;
    raw(&mut connection, &plan::take_back(&dataset, STAGING, 7)).await;
    let mut transaction = connection.begin().await.expect("the server answers");
    merge(&mut transaction, &steps(&case, &dataset), MaxDeleted::default()).await;
    transaction.commit().await.expect("the server answers");
    raw(&mut connection, "update datasets.cats set _version = 2 where _row = 4").await;
    let mut key = -1i64;
    let mut batches = Vec::new();
    loop {
        let (found, removed, last): (i64, i64, Option<i64>) =
            sqlx::query_as(AssertSqlSafe(plan::undo(&dataset)))
                .bind(7i64)
                .bind(key)
                .bind(2i64)
                .bind(sqlx::types::Uuid::from_u128(
                    u128::from_str_radix(&uuid((key + 1).max(1)).replace('-', ""), 16)
                        .expect("the server answers"),
                ))
                .bind(sqlx::types::Uuid::max())
                .fetch_one(&mut connection)
                .await
                .expect("the server answers");
        batches.push((found, removed, last));
        if found < 2 {
            break;
        }
        key = last.expect("the server answers");
    }
    assert_eq!(batches, [(2, 2, Some(2)), (2, 2, Some(5)), (0, 0, None)]);
    let kept: i64 = sqlx::query_scalar(AssertSqlSafe(plan::count_kept(&dataset)))
        .bind(7i64)
        .fetch_one(&mut connection)
        .await
        .expect("the server answers");
    assert_eq!(kept, 1);
}
