//! Every rule of a citizen's fields, on POST and on PATCH. What is refused leaves the database as it was.

use serde_json::{Value, json};

use crate::support::{App, citizens::citizen, client::Answer};

/// Field, value, and the code of the fault.
fn violations() -> Vec<(&'static str, Value, &'static str)> {
    let mut table = vec![
        ("apartment", json!(-1), "out_of_range"),
        ("apartment", json!(1e300), "out_of_range"),
        ("apartment", json!(9_223_372_036_854_775_808_u64), "out_of_range"),
        ("apartment", json!(1.0), "not_an_integer"),
        ("apartment", json!(1.5), "not_an_integer"),
        ("apartment", json!("1"), "not_an_integer"),
        ("apartment", json!(true), "not_an_integer"),
        ("apartment", json!([]), "not_an_integer"),
        ("apartment", json!({ "a": [{}] }), "not_an_integer"),
        ("apartment", json!(null), "null"),
    ];
    for field in ["town", "street", "building", "name", "channel"] {
        table.extend([
            (field, json!(""), "length"),
            (field, json!("я".repeat(257)), "length"),
            (field, json!("a\u{0}b"), "nul_character"),
            (field, json!(1), "not_text"),
            (field, json!(false), "not_text"),
            (field, json!(["a"]), "not_text"),
            (field, json!({}), "not_text"),
            (field, json!(null), "null"),
        ]);
    }
    for field in ["town", "street", "building"] {
        table.extend([
            (field, json!(" "), "no_letter_or_digit"),
            (field, json!("\t-_.,!"), "no_letter_or_digit"),
            (field, json!("😀"), "no_letter_or_digit"),
        ]);
    }
    table.extend([
        ("birth_date", json!("31.02.1990"), "not_a_date"),
        ("birth_date", json!("29.02.1900"), "not_a_date"),
        ("birth_date", json!("1.1.1990"), "not_a_date"),
        ("birth_date", json!("1990-01-01"), "not_a_date"),
        ("birth_date", json!("01/01/1990"), "not_a_date"),
        ("birth_date", json!(" 01.01.1990"), "not_a_date"),
        ("birth_date", json!("01.01.90"), "not_a_date"),
        ("birth_date", json!("00.01.1990"), "not_a_date"),
        ("birth_date", json!(""), "not_a_date"),
        ("birth_date", json!("20.11.2026"), "not_in_the_past"),
        ("birth_date", json!("21.11.2026"), "not_in_the_past"),
        ("birth_date", json!(19900101), "not_text"),
        ("birth_date", json!(null), "null"),
        ("gender", json!(""), "not_allowed"),
        ("gender", json!("Male"), "not_allowed"),
        ("gender", json!("other"), "not_allowed"),
        ("gender", json!(0), "not_text"),
        ("gender", json!(null), "null"),
        ("relatives", json!(null), "null"),
        ("relatives", json!(1), "not_a_list"),
        ("relatives", json!("1"), "not_a_list"),
        ("relatives", json!({ "1": 1 }), "not_a_list"),
    ]);
    table
}

/// An item of the second citizen's relatives, and the code of the fault.
fn wrong_relatives() -> Vec<(Value, &'static str)> {
    vec![
        (json!(-1), "out_of_range"),
        (json!(9_223_372_036_854_775_808_u64), "out_of_range"),
        (json!(1.0), "not_an_integer"),
        (json!("1"), "not_an_integer"),
        (json!(null), "not_an_integer"),
        (json!([1]), "not_an_integer"),
        (json!(3), "unknown_relative"),
        (json!(i64::MAX), "unknown_relative"),
    ]
}

fn places(answer: &Answer) -> Vec<(String, String)> {
    let problem = answer.json();
    let errors = problem["errors"].as_array().expect("a list");
    let text = |error: &Value, name: &str| error[name].as_str().unwrap_or_default().to_owned();
    errors.iter().map(|error| (text(error, "pointer"), text(error, "code"))).collect()
}

fn place(pointer: &str, code: &str) -> Vec<(String, String)> {
    vec![(pointer.to_owned(), code.to_owned())]
}

/// The day before whose end nobody is born.
async fn start() -> App {
    App::on_day("2026-11-20").await
}

#[tokio::test]
async fn every_rule_holds_for_a_new_citizen() {
    let app = start().await;
    app.import_citizens(vec![citizen(1, json!({}))]).await;
    let before = (app.tables().await, app.archived());
    let of_number = violations()
        .into_iter()
        .filter(|(field, ..)| *field == "apartment")
        .map(|(_, value, code)| ("citizen_id", value, code));
    for (field, value, code) in violations().into_iter().chain(of_number) {
        let mut wrong = citizen(2, json!({}));
        wrong[field] = value.clone();
        let answer = app.post_citizens(vec![citizen(1, json!({})), wrong]).await.expect(400);
        assert_eq!(places(&answer), place(&format!("/citizens/1/{field}"), code), "{field} {value}");
    }
    for (relative, code) in wrong_relatives() {
        let wrong = citizen(2, json!({ "relatives": [2, relative] }));
        let answer = app.post_citizens(vec![citizen(1, json!({})), wrong]).await.expect(400);
        assert_eq!(places(&answer), place("/citizens/1/relatives/1", code), "{relative}");
    }
    assert_eq!((app.tables().await, app.archived()), before);
}

#[tokio::test]
async fn a_channel_of_null_takes_the_channel_away() {
    let app = start().await;
    let channel = |id: i64| citizen(id, json!({ "channel": "tv", "relatives": [] }));
    let import = app.import_citizens(vec![channel(1), channel(2)]).await;
    for change in [json!({ "channel": null }), json!({ "channel": null, "relatives": [1] })] {
        let changed = app.patch(import, 1, change.clone()).await.expect(200).json();
        assert!(changed["data"].get("channel").is_none_or(Value::is_null), "{changed}");
        let name = app.patch(import, 1, json!({ "name": "A" })).await.expect(200).json();
        assert!(name["data"].get("channel").is_none_or(Value::is_null), "it stays away: {name}");
        let again = app.patch(import, 1, json!({ "channel": "tv" })).await.expect(200).json();
        assert_eq!(again["data"]["channel"], "tv");
    }
    assert_eq!(app.citizens(import).await[1]["channel"], "tv", "another's stays");
}

#[tokio::test]
async fn every_rule_holds_for_a_change() {
    let app = start().await;
    let import = app.import_citizens(vec![citizen(1, json!({})), citizen(2, json!({}))]).await;
    let before = app.tables().await;
    for (field, value, code) in violations() {
        if (field, &value) == ("channel", &Value::Null) {
            continue;
        }
        let answer = app.patch(import, 2, json!({ "name": "A", field: value })).await.expect(400);
        assert_eq!(places(&answer), place(&format!("/{field}"), code), "{field} {value}");
    }
    for (relative, code) in wrong_relatives() {
        let answer =
            app.patch(import, 2, json!({ "name": "A", "relatives": [1, relative] })).await.expect(400);
        assert_eq!(places(&answer), place("/relatives/1", code), "{relative}");
    }
    for (body, pointer, code) in [
        (json!({}), "", "empty_patch"),
        (json!([]), "", "not_an_object"),
        (json!(null), "", "not_an_object"),
        (json!({ "citizen_id": 2 }), "/citizen_id", "not_changeable"),
        (json!({ "citizen_id": null, "name": "A" }), "/citizen_id", "not_changeable"),
        (json!({ "name": "A", "age": 1 }), "/age", "unknown_field"),
        (json!({ "a/b~": 1 }), "/a~1b~0", "unknown_field"),
        (json!({ "relatives": [1, 2, 1] }), "/relatives/2", "not_unique"),
    ] {
        let answer = app.patch(import, 2, body.clone()).await.expect(400);
        assert_eq!(places(&answer), place(pointer, code), "{body}");
    }
    assert_eq!(app.tables().await, before);
}

#[tokio::test]
async fn every_field_is_required_but_for_the_channel() {
    let app = start().await;
    let whole = citizen(1, json!({}));
    for field in whole.as_object().expect("an object").keys() {
        let mut wrong = whole.clone();
        wrong.as_object_mut().expect("an object").remove(field);
        let answer = app.post_citizens(vec![wrong]).await.expect(400);
        assert_eq!(places(&answer), place(&format!("/citizens/0/{field}"), "required"));
    }
    app.import_citizens(vec![whole]).await;
}

#[tokio::test]
async fn what_the_rules_allow_at_their_limits_is_accepted() {
    let app = start().await;
    for fields in [
        json!({ "citizen_id": 0, "apartment": 0 }),
        json!({ "citizen_id": i64::MAX, "apartment": i64::MAX }),
        json!({ "town": "я".repeat(256), "street": "1", "building": "-a-", "name": "-", "channel": " " }),
        json!({ "birth_date": "19.11.2026" }),
        json!({ "birth_date": "01.01.0001" }),
        json!({ "town": "٣", "street": "東", "building": "½" }),
    ] {
        let sent = citizen(1, fields);
        let import = app.import_citizens(vec![sent.clone()]).await;
        assert_eq!(app.citizens(import).await, std::slice::from_ref(&sent));
        let number = sent["citizen_id"].as_i64().expect("a number");
        let mut change = sent.clone();
        change.as_object_mut().expect("an object").remove("citizen_id");
        assert_eq!(app.patch(import, number, change).await.expect(200).json()["data"], sent);
    }
}

#[tokio::test]
async fn the_body_holds_citizens_and_nothing_else() {
    let app = start().await;
    let before = app.tables().await;
    let whole = citizen(1, json!({}));
    let mut stranger = whole.clone();
    stranger["age"] = json!(1);
    for (body, pointer, code) in [
        (json!([]), "", "not_an_object"),
        (json!("citizens"), "", "not_an_object"),
        (json!({}), "/citizens", "required"),
        (json!({ "citizens": null }), "/citizens", "not_a_list"),
        (json!({ "citizens": {} }), "/citizens", "not_a_list"),
        (json!({ "citizens": [], "more": 1 }), "/more", "unknown_field"),
        (json!({ "citizens": [null] }), "/citizens/0", "not_an_object"),
        (json!({ "citizens": [[whole]] }), "/citizens/0", "not_an_object"),
        (json!({ "citizens": [stranger] }), "/citizens/0/age", "unknown_field"),
    ] {
        let answer = app.client.post("/imports").json(body.clone()).send().await.expect(400);
        assert_eq!(places(&answer), place(pointer, code), "{body}");
    }
    assert_eq!(app.tables().await, before);
}

#[tokio::test]
async fn text_that_is_no_json_is_refused() {
    let app = start().await;
    let import = app.import_citizens(vec![citizen(1, json!({}))]).await;
    let before = app.tables().await;
    let whole = citizen(1, json!({ "name": "NAME" })).to_string();
    let text = |name: &str| format!("{{\"citizens\":[{}]}}", whole.replace("\"NAME\"", name)).into_bytes();
    let mut bodies = vec![
        Vec::new(),
        b"{".to_vec(),
        b"{\"citizens\":[]} x".to_vec(),
        b"\xff".to_vec(),
        b"{\"citizens\":NaN}".to_vec(),
        b"{\"citizens\":01}".to_vec(),
        "[".repeat(1_000_000).into_bytes(),
        "{\"a\":".repeat(1_000_000).into_bytes(),
        format!("{{\"citizens\":{}", "[".repeat(1_000_000)).into_bytes(),
        text(r#""\ud800""#),
        text(r#""\udc00\ud800""#),
        text("\"\u{1}\""),
        text("'A'"),
        text(&"[".repeat(100_000)),
        text(&format!("{}1{}", "[".repeat(100_000), "]".repeat(100_000))),
    ];
    let mut broken = text("\"A\"");
    let place = broken.iter().rposition(|byte| *byte == b'A').expect("the name");
    broken[place] = 0xff;
    bodies.push(broken);
    for body in bodies {
        let shown = String::from_utf8_lossy(&body[..body.len().min(80)]).into_owned();
        let post = app.client.post("/imports").header("Content-Type", "application/json").body(body.clone());
        let answer = post.send().await;
        assert_eq!(answer.status, 400, "{shown}");
        let path = format!("/imports/{import}/citizens/1");
        let patch = app.client.patch(&path).header("Content-Type", "application/json").body(body);
        assert_eq!(patch.send().await.status, 400, "{shown}");
    }
    assert_eq!(app.tables().await, before);
}

#[tokio::test]
async fn a_name_that_is_there_twice_is_refused() {
    let app = start().await;
    let whole = citizen(1, json!({})).to_string();
    let twice = whole.replace("\"apartment\":7", "\"apartment\":7,\"apartment\":7");
    let inside = format!("{{\"citizens\":[{twice}]}}");
    let outside = format!("{{\"citizens\":[{whole}],\"citizens\":[]}}");
    for (body, pointer) in [(inside, "/citizens/0/apartment"), (outside, "/citizens")] {
        let post = app.client.post("/imports").header("Content-Type", "application/json").body(body);
        assert_eq!(places(&post.send().await.expect(400)), place(pointer, "duplicate_field"));
    }
    let import = app.import_citizens(vec![citizen(1, json!({}))]).await;
    let path = format!("/imports/{import}/citizens/1");
    let patch = app.client.patch(&path).header("Content-Type", "application/json");
    let answer = patch.body(r#"{"town":"A","name":"B","town":"A"}"#).send().await.expect(400);
    assert_eq!(places(&answer), place("/town", "duplicate_field"));
    assert_eq!(app.citizens(import).await, [citizen(1, json!({}))]);
}

#[tokio::test]
async fn seventy_mebibytes_are_taken_and_a_byte_more_is_413() {
    let app = start().await;
    let post = |length| {
        let mut body = json!({ "citizens": [citizen(1, json!({}))] }).to_string();
        body += &" ".repeat(length - body.len());
        app.client.post("/imports").header("Content-Type", "application/json").body(body).send()
    };
    let before = (app.tables().await, app.archived());
    post(70 * 1024 * 1024 + 1).await.expect(413);
    assert_eq!((app.tables().await, app.archived()), before);
    post(70 * 1024 * 1024).await.expect(201);
}

#[tokio::test]
async fn numbers_are_unique_and_relations_known_unique_and_mutual() {
    let app = start().await;
    let before = app.tables().await;
    let related = |id, relatives: Value| citizen(id, json!({ "relatives": relatives }));
    for (citizens, expected) in [
        (vec![related(1, json!([])), related(1, json!([]))], place("/citizens/1/citizen_id", "not_unique")),
        (vec![related(1, json!([2])), related(2, json!([]))], place("/citizens/0/relatives/0", "not_mutual")),
        (
            vec![related(2, json!([3, 2])), related(1, json!([])), related(3, json!([1]))],
            [place("/citizens/0/relatives/0", "not_mutual"), place("/citizens/2/relatives/0", "not_mutual")]
                .concat(),
        ),
        (vec![related(1, json!([1, 1]))], place("/citizens/0/relatives/1", "not_unique")),
        (
            vec![related(1, json!([2, 2])), related(2, json!([1, 1]))],
            [place("/citizens/0/relatives/1", "not_unique"), place("/citizens/1/relatives/1", "not_unique")]
                .concat(),
        ),
        (vec![related(1, json!([9]))], place("/citizens/0/relatives/0", "unknown_relative")),
    ] {
        let answer = app.post_citizens(citizens.clone()).await.expect(400);
        assert_eq!(places(&answer), expected, "{citizens:?}");
    }
    assert_eq!(app.tables().await, before);
}

#[tokio::test]
async fn every_violation_is_listed_up_to_a_limit() {
    let app = start().await;
    let wrong = citizen(1, json!({ "town": "", "apartment": -1, "relatives": [5] }));
    let answer = app.post_citizens(vec![wrong, citizen(1, json!({ "gender": "x" }))]).await.expect(400);
    let pointers: Vec<_> = places(&answer).into_iter().map(|(pointer, _)| pointer).collect();
    let expected = [
        "/citizens/0/town",
        "/citizens/0/apartment",
        "/citizens/1/gender",
        "/citizens/1/citizen_id",
        "/citizens/0/relatives/0",
    ];
    assert_eq!(pointers, expected);

    let many: Vec<_> = (0..1_500).map(|id| citizen(id, json!({ "town": "" }))).collect();
    let answer = app.post_citizens(many).await.expect(400);
    assert_eq!(places(&answer).len(), 1_000);
    let detail = answer.json()["detail"].as_str().expect("text").to_owned();
    assert!(detail.contains("1500") && detail.contains("1000"), "{detail}");
}

#[tokio::test]
async fn a_body_beyond_the_limit_is_413_and_one_of_another_type_415() {
    let app = App::with(&[("server.json_bytes", "2000")]).await;
    let import = app.import_citizens(vec![citizen(1, json!({}))]).await;
    let long = citizen(1, json!({ "name": "a".repeat(3_000) }));
    app.post_citizens(vec![long.clone()]).await.expect(413);
    app.patch(import, 1, json!({ "name": "a".repeat(3_000) })).await.expect(413);
    let path = format!("/imports/{import}/citizens/1");
    for content_type in ["text/plain", "application/xml", "json", ""] {
        for request in [app.client.post("/imports"), app.client.patch(&path)] {
            request.header("Content-Type", content_type).body("{}").send().await.expect(415);
        }
    }
    for request in [app.client.post("/imports"), app.client.patch(&path)] {
        request.body("{}").send().await.expect(415);
    }
}
