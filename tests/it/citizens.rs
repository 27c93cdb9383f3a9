//! Citizens: brought by JSON, read, changed, undone.

use serde_json::{Value, json};

use crate::support::{App, citizens::citizen};

fn numbers(citizens: &[Value]) -> Vec<i64> {
    citizens.iter().map(|citizen| citizen["citizen_id"].as_i64().expect("a number")).collect()
}

#[tokio::test]
async fn citizens_come_back_as_they_were_sent() {
    let app = App::start().await;
    let sent = vec![
        citizen(0, json!({ "relatives": [0, i64::MAX], "name": " \u{1}\"\\\u{2028}\u{10ffff}" })),
        citizen(2, json!({ "channel": "радио", "apartment": i64::MAX, "gender": "female" })),
        citizen(i64::MAX, json!({ "relatives": [0], "birth_date": "29.02.1904", "town": "東京" })),
    ];
    let mut shuffled = sent.clone();
    shuffled.reverse();
    let import = app.import_citizens(shuffled).await;
    assert_eq!(app.citizens(import).await, sent);
    for citizen in &sent {
        let path = format!("/imports/{import}/citizens/{}", citizen["citizen_id"]);
        assert_eq!(app.client.get(&path).send().await.expect(200).json(), json!({ "data": citizen }));
    }
    let places: Vec<(i64, i64)> = sqlx::query_as("select row, citizen_id from citizens order by row")
        .fetch_all(&app.database.pool)
        .await
        .expect("the table can be read");
    assert_eq!(places, [(1, i64::MAX), (2, 2), (3, 0)]);
}

#[tokio::test]
async fn an_import_is_a_set_of_its_own() {
    let app = App::start().await;
    let first = app.import_citizens(vec![citizen(1, json!({}))]).await;
    let second = app.import_citizens(vec![citizen(1, json!({})), citizen(2, json!({}))]).await;
    assert_ne!(first, second);
    app.patch(second, 1, json!({ "town": "Керчь", "relatives": [2] })).await.expect(200);
    assert_eq!(app.citizens(first).await, [citizen(1, json!({}))]);
    app.patch(first, 1, json!({ "relatives": [2] })).await.expect(400);
}

#[tokio::test]
async fn the_same_citizens_twice_are_two_imports() {
    let app = App::start().await;
    let first = app.import_citizens(vec![citizen(1, json!({}))]).await;
    assert_ne!(app.import_citizens(vec![citizen(1, json!({}))]).await, first);
}

#[tokio::test]
async fn an_import_without_citizens_is_one() {
    let app = App::start().await;
    let import = app.import_citizens(json!([])).await;
    assert_eq!(app.citizens(import).await, Vec::<Value>::new());
}

#[tokio::test]
async fn the_import_tells_what_was_sent() {
    let app = App::start().await;
    let body = json!({ "citizens": [citizen(1, json!({})), citizen(2, json!({}))] }).to_string();
    let request = app.client.post("/imports").header("Content-Type", "application/json").body(body.clone());
    let created = request.send().await.expect(201);
    assert_eq!(created.header("location"), Some("/imports/1"));
    let import = app.client.get("/imports/1").send().await.expect(200).json();
    assert_eq!(import["dataset"], "citizens");
    assert_eq!(import["state"], "complete");
    assert_eq!(import["media_type"], "application/json");
    assert_eq!(import["bytes"], body.len());
    assert_eq!(import["counts"]["rows_read"], 2);
    assert_eq!(import["counts"]["inserted"], 2);
    assert_eq!(import["counts"]["relations_dropped"], 0);
    assert_eq!(import["counts"]["bytes"], body.len());
    let source = app.client.get("/imports/1/source").send().await.expect(200);
    assert_eq!(source.text(), body);
    let rejects = app.client.get("/imports/1/rejects").send().await.expect(200).json();
    assert_eq!(rejects, json!({ "data": [] }));
    app.client.post("/imports/1/cancel").send().await.expect(409);
}

#[tokio::test]
async fn a_dry_run_says_what_would_become_of_the_citizens() {
    let app = App::start().await;
    let post = |citizens| app.client.post("/imports?dry_run=true").json(json!({ "citizens": citizens }));
    let before = app.tables().await;
    post(vec![citizen(1, json!({ "town": "" }))]).send().await.expect(400);
    assert_eq!(app.tables().await, before);

    let family = vec![citizen(1, json!({ "relatives": [2] })), citizen(2, json!({ "relatives": [1] }))];
    let number = post(family.clone()).send().await.expect(201).json()["data"]["import_id"].clone();
    let import = app.client.get(&format!("/imports/{number}")).send().await.expect(200).json();
    assert_eq!((&import["dry_run"], &import["state"]), (&json!(true), &json!("complete")));
    assert_eq!((&import["counts"]["rows_read"], &import["counts"]["inserted"]), (&json!(2), &json!(2)));
    app.client.get(&format!("/imports/{number}/citizens")).send().await.expect(409);
    let stored: i64 = app.one("select count(*) from citizens").await;
    assert_eq!(stored, 0);
    let real = app.import_citizens(family.clone()).await;
    assert_eq!(app.citizens(real).await, family);
}

#[tokio::test]
async fn a_repeated_request_stores_its_citizens_once() {
    let app = App::start().await;
    let post = |id| {
        let body = json!({ "citizens": [citizen(id, json!({}))] });
        app.client.post("/imports").header("Idempotency-Key", "a").json(body)
    };
    let first = post(1).send().await.expect(201);
    let again = post(1).send().await.expect(201);
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.json(), first.json());
    post(2).send().await.expect(422);
    assert_eq!(app.client.get("/imports").send().await.json()["data"].as_array().map(Vec::len), Some(1));
}

#[tokio::test]
async fn undoing_an_import_removes_its_citizens_and_their_relations() {
    let app = App::start().await;
    let family = vec![citizen(1, json!({ "relatives": [2] })), citizen(2, json!({ "relatives": [1] }))];
    let other = app.import_citizens(family.clone()).await;
    let import = app.import_citizens(family.clone()).await;
    app.patch(import, 1, json!({ "town": "Керчь" })).await.expect(200);
    let undone = app.client.delete(&format!("/imports/{import}")).send().await.expect(200).json();
    assert_eq!((&undone["removed"], &undone["kept"]), (&json!(2), &json!(0)));
    assert_eq!(app.citizens(other).await, family);
    let left: i64 = sqlx::query_scalar("select count(*) from citizens where import_id = $1")
        .bind(import)
        .fetch_one(&app.database.pool)
        .await
        .expect("the tables can be read");
    assert_eq!(left, 0);
    for path in paths(import) {
        app.client.get(&path).send().await.expect(409);
    }
    app.patch(import, 1, json!({ "town": "Керчь" })).await.expect(409);
    app.patch(import, 1, json!({ "relatives": [] })).await.expect(409);
}

fn paths(import: i64) -> Vec<String> {
    ["citizens", "citizens/1", "citizens/birthdays", "towns/stat/percentile/age", "towns/stat/demand"]
        .iter()
        .map(|path| format!("/imports/{import}/{path}"))
        .collect()
}

#[tokio::test]
async fn citizens_of_an_import_that_is_not_complete_are_not_there() {
    let app = App::without_worker(&[]).await;
    let family = vec![citizen(1, json!({ "relatives": [2] })), citizen(2, json!({ "relatives": [1] }))];
    let import = app.import_citizens(family.clone()).await;
    app.run("update imports set state = 'running'").await;
    for path in paths(import) {
        app.client.get(&path).send().await.expect(409);
    }
    app.patch(import, 1, json!({ "town": "Керчь" })).await.expect(409);
    app.patch(import, 1, json!({ "relatives": [] })).await.expect(409);
    app.run("update imports set state = 'complete'").await;
    assert_eq!(app.citizens(import).await, family);
}

#[tokio::test]
async fn what_is_not_there_is_404() {
    let app = App::start().await;
    let airports = "id,name,country,latitude,longitude\n1,A,B,1,2\n";
    let upload = app.client.post("/upload").header("Content-Type", "text/csv").header("Prefer", "wait=30");
    upload.body(airports).send().await.expect(200);
    for import in [1, 2, -1, i64::MAX] {
        for path in paths(import) {
            app.client.get(&path).send().await.expect(404);
        }
        app.patch(import, 1, json!({ "town": "Керчь" })).await.expect(404);
        app.patch(import, 1, json!({ "relatives": [] })).await.expect(404);
    }
    let import = app.import_citizens(vec![citizen(1, json!({}))]).await;
    app.client.get(&format!("/imports/{import}/citizens/2")).send().await.expect(404);
    app.patch(import, 2, json!({ "town": "Керчь" })).await.expect(404);
    app.patch(import, 2, json!({ "relatives": [1] })).await.expect(404);
}

#[tokio::test]
async fn a_number_that_is_none_is_400() {
    let app = App::start().await;
    for number in ["x", "1.0", "9223372036854775808", "%00"] {
        for path in [
            format!("/imports/{number}/citizens"),
            format!("/imports/{number}/citizens/1"),
            format!("/imports/1/citizens/{number}"),
            format!("/imports/{number}/citizens/birthdays"),
            format!("/imports/{number}/towns/stat/percentile/age"),
            format!("/imports/{number}/towns/stat/demand"),
        ] {
            app.client.get(&path).send().await.expect(400);
        }
        for path in [format!("/imports/{number}/citizens/1"), format!("/imports/1/citizens/{number}")] {
            app.client.patch(&path).json(json!({ "town": "Керчь" })).send().await.expect(400);
        }
    }
}

#[tokio::test]
async fn pages_hold_every_citizen_once_and_in_order() {
    let app = App::start().await;
    let ring = (0..25).map(|id| citizen(id, json!({ "relatives": [(id + 24) % 25, (id + 1) % 25] })));
    let import = app.import_citizens(ring.collect::<Vec<_>>()).await;
    let all = app.citizens(import).await;
    assert_eq!(numbers(&all), (0..25).collect::<Vec<_>>());
    assert_eq!(all[0]["relatives"], json!([1, 24]));

    let mut paged = Vec::new();
    let mut next = Some(format!("/imports/{import}/citizens?limit=10"));
    while let Some(path) = next {
        let page = app.client.get(&path).send().await.expect(200);
        paged.extend(page.json()["data"].as_array().expect("a list").clone());
        let link = page.header("link").map(str::to_owned);
        next = link.map(|link| link[1..].split('>').next().unwrap_or_default().to_owned());
    }
    assert_eq!(paged, all);
    let exact = app.client.get(&format!("/imports/{import}/citizens?limit=25")).send().await.expect(200);
    assert_eq!(exact.header("link"), None);
    for query in ["limit=0", "limit=10001", "limit=x", "cursor=x"] {
        app.client.get(&format!("/imports/{import}/citizens?{query}")).send().await.expect(400);
    }
}

#[tokio::test]
async fn ndjson_is_a_citizen_a_line_and_imports_again() {
    let app = App::start().await;
    let family = vec![
        citizen(1, json!({ "relatives": [2], "channel": "tv" })),
        citizen(2, json!({ "relatives": [1], "name": "a\nb" })),
    ];
    let import = app.import_citizens(family.clone()).await;
    let path = format!("/imports/{import}/citizens");
    let answer = app.client.get(&path).header("Accept", "application/x-ndjson").send().await.expect(200);
    let lines: Vec<Value> =
        answer.text().lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(lines, family);
    app.import_citizens(lines).await;
}

#[tokio::test]
async fn csv_has_the_columns_of_an_import() {
    let app = App::start().await;
    let family = vec![
        citizen(1, json!({ "relatives": [1, 2], "channel": "tv, \"radio\"", "birth_date": "01.02.0903" })),
        citizen(2, json!({ "relatives": [1], "name": "a\nb", "town": r"a\'b" })),
    ];
    let import = app.import_citizens(family).await;
    let path = format!("/imports/{import}/citizens");
    let answer = app.client.get(&path).header("Accept", "text/csv").send().await.expect(200);
    assert_eq!(
        answer.text(),
        "citizen_id,town,street,building,apartment,name,birth_date,gender,relatives,channel\n\
         1,Москва,Льва Толстого,16к7стр5,7,Иванов Иван Иванович,01.02.0903,male,1;2,\"tv, \"\"radio\"\"\"\n\
         2,a\\'b,Льва Толстого,16к7стр5,7,\"a\nb\",26.12.1986,male,1,\n"
    );
}

#[tokio::test]
async fn an_answer_of_many_pieces_is_whole() {
    let app = App::start().await;
    let many: Vec<_> = (0..3_000).map(|id| citizen(id, json!({}))).collect();
    let import = app.import_citizens(many.clone()).await;
    assert_eq!(app.citizens(import).await, many);
}

/// The example that the contract is told by.
#[tokio::test]
async fn families_of_moscow_and_kerch_marry_and_divorce() {
    let app = App::start().await;
    let ivan = citizen(1, json!({ "relatives": [2] }));
    let sergey =
        citizen(2, json!({ "name": "Иванов Сергей Иванович", "birth_date": "01.04.1997", "relatives": [1] }));
    let maria = citizen(
        3,
        json!({
            "town": "Керчь", "street": "Иосифа Бродского", "building": "2", "apartment": 11,
            "name": "Романова Мария Леонидовна", "birth_date": "23.11.1986", "gender": "female",
        }),
    );
    let import = app.import_citizens(vec![ivan.clone(), sergey.clone(), maria.clone()]).await;

    let move_in = json!({
        "name": "Иванова Мария Леонидовна", "town": "Москва", "street": "Льва Толстого", "building": "16к7стр5",
        "apartment": 7, "relatives": [1],
    });
    let married = app.patch(import, 3, move_in.clone()).await.expect(200).json();
    let mut expected = maria.clone();
    expected.as_object_mut().expect("an object").extend(move_in.as_object().expect("an object").clone());
    assert_eq!(married, json!({ "data": expected }));
    let mut husband = ivan.clone();
    husband["relatives"] = json!([2, 3]);
    assert_eq!(app.citizens(import).await, [husband, sergey.clone(), expected.clone()]);

    let divorced = app.patch(import, 3, json!({ "relatives": [] })).await.expect(200).json();
    expected["relatives"] = json!([]);
    assert_eq!(divorced, json!({ "data": expected }));
    assert_eq!(app.citizens(import).await, [ivan, sergey, expected]);
}

#[tokio::test]
async fn a_citizen_may_be_its_own_relative() {
    let app = App::start().await;
    let import =
        app.import_citizens(vec![citizen(1, json!({ "relatives": [1] })), citizen(2, json!({}))]).await;
    let changed = app.patch(import, 1, json!({ "relatives": [1, 2] })).await.expect(200).json();
    assert_eq!(changed["data"]["relatives"], json!([1, 2]));
    let changed = app.patch(import, 2, json!({ "relatives": [2] })).await.expect(200).json();
    assert_eq!(changed["data"]["relatives"], json!([2]));
    assert_eq!(app.citizens(import).await[0]["relatives"], json!([1]));
}
