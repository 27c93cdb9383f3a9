//! Files of citizens are loaded straight into their table: whatever the order of their chunks, they leave what their rows say,
//! and until they are complete, nobody sees any of it.

use std::collections::{BTreeMap, BTreeSet};

use rand::{RngExt, SeedableRng, rngs::ChaCha8Rng, seq::SliceRandom};
use serde_json::{Value, json};
use tarmac::ingest::load::Loaded;

use crate::support::{App, engine::Engine, imports::id};

const HEADER: &str = "citizen_id,town,street,building,apartment,name,birth_date,gender,relatives,channel\n";

/// A good row. Its apartment is its row, by which it is known again.
fn citizen(row: usize, number: i64, relatives: &BTreeSet<i64>) -> String {
    let list: Vec<_> = relatives.iter().map(i64::to_string).collect();
    format!("{number},Керчь,Иосифа Бродского,2,{row},Романова Мария,23.11.1986,female,{},\n", list.join(";"))
}

/// Row numbers begin at 1: a citizen's number and whom it lists.
type Rows = Vec<(i64, BTreeSet<i64>)>;

/// Few citizens, so that numbers repeat, and relations of which most are mutual.
fn random_rows(rng: &mut ChaCha8Rng) -> Rows {
    let count = rng.random_range(1..14);
    let numbers = rng.random_range(4..40);
    let mut rows: Rows = (0..count).map(|_| (rng.random_range(0..numbers), BTreeSet::new())).collect();
    for _ in 0..rng.random_range(0..8) {
        let (one, other) = (rng.random_range(0..rows.len()), rng.random_range(0..rows.len()));
        let (first, second) = (rows[one].0, rows[other].0);
        if rng.random_bool(0.1) {
            rows[one].1.insert(numbers);
        }
        rows[one].1.insert(second);
        if rng.random_bool(0.8) {
            rows[other].1.insert(first);
        }
    }
    rows
}

/// Whom an import has: from which row, and with which relatives.
type Citizens = BTreeMap<i64, (usize, Vec<i64>)>;
/// What is reported of which row, and whether the row is there all the same.
type Reports = Vec<(usize, String, bool)>;

/// By the rules' own words: whom the import has, from which row and with which relatives; and what is reported of which row.
fn expected(rows: &Rows) -> (Citizens, Reports) {
    let mut first: BTreeMap<i64, usize> = BTreeMap::new();
    let mut reports = Reports::new();
    let mut report =
        |index: usize, code: &str, accepted| reports.push((index + 1, code.to_owned(), accepted));
    for (index, (number, _)) in rows.iter().enumerate() {
        if *first.entry(*number).or_insert(index) != index {
            report(index, "duplicate_in_file", false);
        }
    }
    let lists = |one: i64, other: i64| first.get(&one).is_some_and(|&index| rows[index].1.contains(&other));
    let mut citizens = BTreeMap::new();
    for (&number, &index) in &first {
        let (kept, broken): (Vec<i64>, Vec<i64>) =
            rows[index].1.iter().partition(|&&other| lists(other, number));
        if broken.iter().any(|other| !first.contains_key(other)) {
            report(index, "unknown_relative", true);
        } else if !broken.is_empty() {
            report(index, "not_mutual", true);
        }
        citizens.insert(number, (index + 1, kept));
    }
    reports.sort_unstable();
    (citizens, reports)
}

async fn begin(app: &App, query: &str, rows: &Rows) -> i64 {
    let lines: String =
        rows.iter().zip(1..).map(|((number, list), row)| citizen(row, *number, list)).collect();
    let request = app.client.post(&format!("/imports{query}")).header("Content-Type", "text/csv");
    id(&request.body(HEADER.to_owned() + &lines).send().await.expect(202).json())
}

async fn stored(app: &App) -> i64 {
    app.one("select count(*) from citizens").await
}

#[tokio::test]
async fn what_is_left_depends_on_the_rows_and_not_on_the_order_of_their_chunks() {
    let app = App::without_worker(&[("ingest.chunk_rows", "2")]).await;
    let mut engine = Engine::beside(&app).await;
    let mut shapes = BTreeSet::new();
    for seed in 0..30 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let rows = random_rows(&mut rng);
        let import = begin(&app, "?force=true", &rows).await;
        let leading = engine.lead().await;
        let mut deliveries = Vec::new();
        for _ in 0..rows.len().div_ceil(2) {
            deliveries.push(engine.receive().await);
        }
        deliveries.shuffle(&mut rng);
        for delivery in &deliveries {
            assert_eq!(engine.load(delivery).await, Loaded::Now, "seed {seed}");
        }
        leading.await.expect("no panic").expect("the import ends");
        let (citizens, reports) = expected(&rows);
        let left: Citizens = app
            .citizens(import)
            .await
            .into_iter()
            .map(|citizen| {
                let row = citizen["apartment"].as_u64().expect("a number") as usize;
                let relatives = serde_json::from_value(citizen["relatives"].clone()).expect("numbers");
                (citizen["citizen_id"].as_i64().expect("a number"), (row, relatives))
            })
            .collect();
        assert_eq!(left, citizens, "seed {seed}");
        let reported: Reports = app
            .rejects(&app.import(import).await)
            .await
            .iter()
            .map(|reject| {
                let row = reject["row"].as_u64().expect("a number") as usize;
                (row, reject["code"].as_str().expect("words").to_owned(), reject["accepted"] == true)
            })
            .collect();
        assert_eq!(reported, reports, "seed {seed}");
        shapes.extend(reports.into_iter().map(|(_, code, _)| code));
    }
    assert_eq!(shapes.len(), 3, "the seeds bring every kind of report: {shapes:?}");
}

#[tokio::test]
async fn of_an_import_that_is_loaded_and_not_complete_nothing_is_seen_and_nothing_stays() {
    let app = App::without_worker(&[("ingest.chunk_rows", "1")]).await;
    let rows: Rows = (1..=3).map(|number| (number, BTreeSet::new())).collect();
    let import = begin(&app, "", &rows).await;
    let mut engine = Engine::beside(&app).await;
    let leading = engine.lead().await;
    engine.step().await;
    engine.step().await;
    let held = engine.receive().await;
    assert_eq!(stored(&app).await, 2, "rows are loaded");
    for path in ["citizens", "citizens/1", "citizens/birthdays", "towns/stat/percentile/age"] {
        app.client.get(&format!("/imports/{import}/{path}")).send().await.expect(409);
    }
    app.client.post(&format!("/imports/{import}/cancel")).send().await.expect(200);
    assert_eq!(stored(&app).await, 0, "a cancelled import leaves nothing");
    assert_eq!(engine.load(&held).await, Loaded::Fenced);
    assert_eq!(stored(&app).await, 0);
    leading.await.expect("no panic").expect_err("the import is in other hands");
}

#[tokio::test]
async fn an_import_that_fails_takes_back_what_it_loaded() {
    let app = App::without_worker(&[("ingest.chunk_rows", "1")]).await;
    let kept = app.import_citizens(json!([])).await;
    let twice: Rows = [1, 2, 1].into_iter().map(|number| (number, BTreeSet::new())).collect();
    let one_sided: Rows = vec![(1, [2].into()), (2, BTreeSet::new())];
    for (query, rows) in [("?max_rejects=0", &twice), ("?mode=strict", &one_sided)] {
        let import = begin(&app, query, rows).await;
        let mut engine = Engine::beside(&app).await;
        let leading = engine.lead().await;
        for _ in rows {
            assert_eq!(engine.step().await, Loaded::Now);
        }
        leading.await.expect("no panic").expect("the import ends");
        let ended: Value = app.import(import).await;
        assert_eq!(ended["state"], "failed", "{ended}");
        assert_eq!(stored(&app).await, 0);
    }
    assert_eq!(app.citizens(kept).await, Vec::<Value>::new());
}
