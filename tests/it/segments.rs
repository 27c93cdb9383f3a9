//! Statistics are counted from segments; from the rows they must be the same.

use std::collections::BTreeSet;

use proptest::{
    prelude::*,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};

use crate::support::{App, citizens::citizen};

const STATISTICS: [(&str, &str); 6] = [
    ("citizens/birthdays", "application/json"),
    ("citizens/birthdays?group_by=channel", "application/json"),
    ("towns/stat/percentile/age", "application/json"),
    ("towns/stat/percentile/age", "application/geo+json"),
    ("towns/stat/demand?age_groups=20,40", "text/csv"),
    ("towns/stat/demand", "application/geo+json"),
];

async fn statistics(app: &App, import: i64) -> Vec<String> {
    let mut answers = Vec::new();
    for (path, accept) in STATISTICS {
        let path = format!("/imports/{import}/{path}");
        answers.push(app.client.get(&path).header("Accept", accept).send().await.expect(200).text());
    }
    answers
}

/// How many citizens the segments of an import have; nothing where there are none.
async fn in_segments(app: &App, import: i64) -> Option<i64> {
    let rows = format!("select sum(rows)::bigint from citizen_segments where import_id = {import}");
    app.database.one(&rows).await
}

/// That the statistics are those of the rows. Segments are gone then.
async fn assert_same_from_rows(app: &App, import: i64) {
    let from_segments = statistics(app, import).await;
    app.run(&format!("delete from citizen_segments where import_id = {import}")).await;
    assert_eq!(from_segments, statistics(app, import).await);
}

/// A citizen of a few, with their relations: places among them.
type Drawn = (Vec<(u8, i64, Option<u8>)>, BTreeSet<(usize, usize)>);

fn draw() -> impl Strategy<Value = Drawn> {
    (2..30_usize).prop_flat_map(|count| {
        let citizens =
            proptest::collection::vec((0..4_u8, 1..40_000_i64, proptest::option::of(0..3_u8)), count);
        (citizens, proptest::collection::btree_set((0..count, 0..count), 0..40))
    })
}

fn number(place: usize) -> i64 {
    // In no order, and far apart.
    (place as i64 * 7_919) % 1_009 * 1_000_000_000
}

fn fields((town, days, channel): (u8, i64, Option<u8>)) -> Value {
    let day = chrono::NaiveDate::from_ymd_opt(2026, 11, 20).expect("a day") - chrono::Duration::days(days);
    let town = ["Suva", "Αθήνα", "Москва", "a, \"b\""][usize::from(town)];
    let mut fields = json!({ "town": town, "birth_date": day.format("%d.%m.%Y").to_string() });
    if let Some(channel) = channel {
        fields["channel"] = ["радио", "tv", "a;b"][usize::from(channel)].into();
    }
    fields
}

fn citizens((citizens, relations): &Drawn) -> Vec<Value> {
    let citizens = citizens.iter().enumerate().map(|(place, drawn)| {
        let mutual = relations.iter().flat_map(|(one, other)| [(*one, *other), (*other, *one)]);
        let relatives: BTreeSet<i64> =
            mutual.filter(|(one, _)| *one == place).map(|(_, other)| number(other)).collect();
        let mut citizen = citizen(number(place), fields(*drawn));
        citizen["relatives"] = json!(relatives);
        citizen
    });
    citizens.collect()
}

#[tokio::test]
async fn statistics_are_those_of_the_rows_also_when_citizens_have_changed() {
    let app = App::on_day("2026-11-20").await;
    let suva = json!({ "city": "Suva", "country": "Fiji", "longitude": 178.5, "latitude": -18.0 });
    app.airport(suva).await;
    let mut runner = TestRunner::new(Config::default());
    for _ in 0..20 {
        let drawn = draw().new_tree(&mut runner).expect("citizens can be drawn").current();
        let import = app.import_citizens(citizens(&drawn)).await;
        assert_eq!(in_segments(&app, import).await, Some(drawn.0.len() as i64));
        let (others, _) = draw().new_tree(&mut runner).expect("citizens can be drawn").current();
        for (place, other) in others.into_iter().enumerate().take(drawn.0.len()).step_by(3) {
            let mut change = fields(other);
            if place % 2 == 0 {
                change["relatives"] = json!([number(0), number(drawn.0.len() - 1)]);
            }
            app.patch(import, number(place), change).await.expect(200);
        }
        assert_same_from_rows(&app, import).await;
    }
}

#[tokio::test]
async fn only_a_change_of_what_is_counted_is_noted() {
    let app = App::start().await;
    let import = app.import_citizens(vec![citizen(1, json!({})), citizen(2, json!({}))]).await;
    let noted =
        "select coalesce(string_agg(citizen_id::text, ' ' order by citizen_id), '') from changed_citizens";
    app.patch(import, 1, json!({ "street": "Тверская", "town": "Москва" })).await.expect(200);
    assert_eq!(app.database.one::<String>(noted).await, "");
    app.patch(import, 2, json!({ "relatives": [1] })).await.expect(200);
    assert_eq!(app.database.one::<String>(noted).await, "1 2");
    app.client.delete(&format!("/imports/{import}")).send().await.expect(200);
    assert_eq!(app.database.one::<String>(noted).await, "");
    assert_eq!(in_segments(&app, import).await, None);
}

#[tokio::test]
async fn a_change_in_a_session_that_replicates_shows_in_statistics() {
    let app = App::on_day("2026-11-20").await;
    let import = app.import_citizens((1..=3).map(|id| citizen(id, json!({}))).collect::<Vec<_>>()).await;
    let before = statistics(&app, import).await;
    let mut session = app.database.pool.acquire().await.expect("the database answers");
    let statements = format!(
        "set session_replication_role = replica;
         update citizens set town = 'Αθήνα', birth_date = '1930-01-01' where import_id = {import} and citizen_id = 2;
         insert into changed_citizens values ({import}, 2), ({import}, 3);
         reset session_replication_role"
    );
    // Who replicates brings the notes of the changes too, and must not fail with them.
    sqlx::raw_sql(sqlx::AssertSqlSafe(statements)).execute(&mut *session).await.expect("they are replicated");
    let noted = "select string_agg(citizen_id::text, ' ' order by citizen_id) from changed_citizens";
    assert_eq!(app.database.one::<String>(noted).await, "2 3");
    assert_ne!(statistics(&app, import).await, before);
    assert_same_from_rows(&app, import).await;
}

#[tokio::test]
async fn statistics_of_a_file_do_not_ask_its_rows() {
    let app = App::with(&[("ingest.chunk_rows", "3")]).await;
    let mut csv = "citizen_id,town,street,building,apartment,name,birth_date,gender,relatives\n".to_owned();
    for number in 1..=10 {
        csv += &format!("{number},Town {},Street,1,1,Name,{number:02}.03.1990,male,{number}\n", number % 3);
    }
    let rejected = "11,Town,Street,1,1,Name,31.02.1990,male,\n";
    let import = app.import_citizens_csv("", csv.clone() + rejected).await["id"].as_i64().expect("a number");
    assert_eq!(in_segments(&app, import).await, Some(10));
    let before = statistics(&app, import).await;
    assert!(before[0].contains(r#""3":[{"citizen_id":1,"presents":1}"#), "{}", before[0]);

    app.run(&format!("create table aside as select * from citizens where import_id = {import}")).await;
    app.run(&format!("delete from citizens where import_id = {import}")).await;
    assert_eq!(statistics(&app, import).await, before);
    app.run("insert into citizens select * from aside").await;
    assert_same_from_rows(&app, import).await;

    let again = app.import_citizens_csv("", csv + "1,Town,Street,1,1,Name,01.01.1990,male,\n").await;
    assert_eq!((&again["counts"]["accepted"], &again["counts"]["rejected"]), (&json!(10), &json!(1)));
    let import = again["id"].as_i64().expect("a number");
    assert_eq!(in_segments(&app, import).await, None, "what was merged is asked of the rows");
    assert_eq!(statistics(&app, import).await, before);
}
