//! Cursors that no list has given: refused, whatever is in them.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use serde_json::{Value, json};

use crate::support::{
    App,
    app::airport,
    citizens::citizen,
    files::{bad_row, row},
    imports::id,
};

/// Made-up cursors that each list is asked for.
const CURSORS: usize = 60;

/// A service with something in every list, and the lists.
async fn with_lists() -> (App, Vec<String>) {
    let app = App::start().await;
    let import = id(&app.upload("", row(1) + &row(2) + &bad_row(3) + &bad_row(4)).await);
    let citizens = app.import_citizens(json!([citizen(0, json!({})), citizen(1, json!({}))])).await;
    app.client.post("/airports").json(airport(json!({}))).send().await.expect(201);
    let mut lists = vec![
        "/airports?near=1,2&radius=1e7".to_owned(),
        "/imports?limit=1".to_owned(),
        format!("/imports/{import}/rejects?limit=1"),
        format!("/imports/{citizens}/citizens?limit=1"),
        "/consumers?limit=1".to_owned(),
    ];
    for sort in ["id", "name", "iata", "latitude", "altitude", "timezone", "created_at", "-updated_at"] {
        lists.push(format!("/airports?sort={sort}"));
    }
    (app, lists)
}

fn encoded(place: &str) -> String {
    URL_SAFE_NO_PAD.encode(place)
}

#[tokio::test]
async fn a_cursor_that_no_list_has_given_is_400() {
    let (app, lists) = with_lists().await;
    let by =
        |sort: &str, value: Value, id: i64| json!({ "sort": sort, "value": value, "id": id }).to_string();
    let of_airports = [
        by("id", json!("1"), -1),
        by("latitude", json!("NaN"), 1),
        by("latitude", json!("-inf"), 1),
        by("altitude", json!("9223372036854775808"), 1),
        by("name", json!("a\0b"), 1),
        by("created_at", json!("-262143-01-01 00:00:00+00"), 1),
        by("created_at", json!("-5000-01-01 00:00:00+00"), 1),
        by("created_at", json!("+262142-01-01 00:00:00+00"), 1),
        by("created_at", json!(1), 1),
        r#"{"sort":"id","value":"1","id":1,"id":1}"#.to_owned(),
        r#"{"sort":"id","value":"1","id":1,"more":1}"#.to_owned(),
        r#"{"sort":"id","id":1}"#.to_owned(),
    ];
    for place in &of_airports {
        let sort: Value = serde_json::from_str(place).unwrap_or_default();
        let sort = sort["sort"].as_str().unwrap_or("id");
        let path = format!("/airports?sort={sort}&cursor={}", encoded(place));
        assert_eq!(app.client.get(&path).send().await.expect(400).codes(), ["invalid_cursor"], "{place}");
    }
    let everywhere = [
        "-1",
        "-9223372036854775808",
        "9223372036854775808",
        "1.0",
        " 1",
        "1e0",
        "null",
        "[]",
        "\"1\"",
        "{}",
    ];
    for (list, place) in lists.iter().flat_map(|list| everywhere.map(|place| (list, place))) {
        let path = format!("{list}&cursor={}", encoded(place));
        assert_eq!(
            app.client.get(&path).send().await.expect(400).codes(),
            ["invalid_cursor"],
            "{path} {place}"
        );
    }
}

/// JSON that begins like a cursor of airports, and any other.
fn places() -> impl Strategy<Value = String> {
    let text = prop_oneof![
        any::<String>(),
        any::<i64>().prop_map(|number| number.to_string()),
        any::<f64>().prop_map(|number| number.to_string()),
        "[+-]?[0-9]{1,6}-[0-9]{2}-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2}(\\.[0-9]{1,9})?[+-][0-9]{2}",
    ];
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        text.prop_map(Value::from),
    ];
    let sort = prop_oneof![
        Just("id"),
        Just("name"),
        Just("iata"),
        Just("latitude"),
        Just("altitude"),
        Just("timezone"),
        Just("created_at"),
        Just("-updated_at"),
        Just("distance"),
    ];
    let of_airports = (sort, leaf.clone(), any::<i64>())
        .prop_map(|(sort, value, id)| json!({ "sort": sort, "value": value, "id": id }));
    let any_json = leaf.prop_recursive(3, 16, 4, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            proptest::collection::vec((any::<String>(), inner), 0..4)
                .prop_map(|members| Value::Object(members.into_iter().collect())),
        ]
    });
    prop_oneof![2 => of_airports, 1 => any_json].prop_map(|place| place.to_string())
}

#[tokio::test]
async fn made_up_cursors_never_fail_the_server() {
    let (app, lists) = with_lists().await;
    let mut runner = TestRunner::deterministic();
    for list in &lists {
        for _ in 0..CURSORS {
            let place = places().new_tree(&mut runner).expect("a place").current();
            let answer = app.client.get(&format!("{list}&cursor={}", encoded(&place))).send().await;
            assert!(!answer.status.is_server_error(), "{list}: {place}: {}", answer.text());
        }
    }
}
