//! `/datasets/{name}/rows`: creating, reading, changing, deleting and restoring rows of declared datasets.

use serde_json::{Value, json};

use crate::support::{App, client::Answer, datasets::cats};

impl App {
    /// Creates a row.
    pub(crate) async fn row(&self, dataset: &str, row: Value) -> Value {
        self.post_row(dataset, row).await.expect(201).json()
    }

    async fn post_row(&self, dataset: &str, row: Value) -> Answer {
        self.client.post(&format!("/datasets/{dataset}/rows")).json(row).send().await
    }
}

fn path(dataset: &str, row: &Value) -> String {
    format!("/datasets/{dataset}/rows/{}", row["_id"].as_str().expect("an _id"))
}

/// Pointers and codes of an answer's errors.
fn faults(answer: &Answer) -> Vec<(String, String)> {
    let problem = answer.json();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let errors = problem["errors"].as_array().cloned().unwrap_or_default();
    errors.iter().map(|error| (text(&error["pointer"]), text(&error["code"]))).collect()
}

fn fault(pointer: &str, code: &str) -> Vec<(String, String)> {
    vec![(pointer.to_owned(), code.to_owned())]
}

#[tokio::test]
async fn a_row_is_created_read_replaced_patched_deleted_and_restored() {
    let app = App::start().await;
    app.declare("cats", cats()).await;
    let body = json!({ "name": "Tom", "breed": "sphynx", "born": "2020-02-01", "weight": 4.50 });
    let created = app.post_row("cats", body).await.expect(201);
    let row = created.json();
    let path = path("cats", &row);
    assert_eq!((created.header("location"), created.header("etag")), (Some(path.as_str()), Some("\"1\"")));
    assert!(created.text().contains("\"weight\":4.5"), "{}", created.text());
    assert_eq!(
        (&row["born"], &row["lon"], &row["_version"], &row["_import"]),
        (&json!("2020-02-01"), &Value::Null, &json!(1), &Value::Null)
    );

    let read = app.client.get(&path).send().await.expect(200);
    assert_eq!((read.json(), read.header("etag")), (row.clone(), Some("\"1\"")));
    app.client.get(&path).header("If-None-Match", "\"1\"").send().await.expect(304);
    app.client
        .get(&path.to_uppercase().replace("/DATASETS/CATS/ROWS", "/datasets/cats/rows"))
        .send()
        .await
        .expect(200);

    // What is not there becomes null.
    let whole = json!({ "name": "Tom", "born": "2020-02-01", "_id": row["_id"] });
    let replaced =
        app.client.put(&path).header("If-Match", "\"1\"").json(whole.clone()).send().await.expect(200);
    assert_eq!((&replaced.json()["breed"], replaced.header("etag")), (&Value::Null, Some("\"2\"")));
    // The same again changes nothing.
    let same = app.client.put(&path).json(whole.clone()).send().await.expect(200);
    assert_eq!(same.json(), replaced.json());
    app.client.put(&path).header("If-Match", "\"1\"").json(whole).send().await.expect(412);

    let patch = app.client.patch(&path).header("Content-Type", "application/merge-patch+json");
    let patched = patch.body(r#"{"weight":5.25,"born":null}"#).send().await.expect(200).json();
    assert_eq!(
        (&patched["weight"], &patched["born"], &patched["_version"]),
        (&json!(5.25), &Value::Null, &json!(3))
    );
    assert_eq!(app.client.patch(&path).json(json!({})).send().await.expect(200).json()["_version"], 3);
    app.client.patch(&path).header("If-Match", "\"2\"").json(json!({ "weight": 1 })).send().await.expect(412);
    let minimal = app.client.patch(&path).header("Prefer", "return=minimal").json(json!({ "weight": 6 }));
    let minimal = minimal.send().await.expect(204);
    assert_eq!(
        (minimal.header("etag"), minimal.header("preference-applied")),
        (Some("\"4\""), Some("return=minimal"))
    );

    app.client.delete(&path).header("If-Match", "\"1\"").send().await.expect(412);
    app.client.delete(&path).header("If-Match", "\"4\"").send().await.expect(204);
    app.client.get(&path).send().await.expect(404);
    app.client.delete(&path).send().await.expect(404);
    app.client.patch(&path).json(json!({})).send().await.expect(404);
    // Its key is free for another one, and taken then.
    let other = app.row("cats", json!({ "name": "Tom" })).await;
    let held = app.client.post(&format!("{path}/restore")).send().await.expect(409);
    assert_eq!(faults(&held), fault("/name", "key_held"));
    app.client.delete(&self::path("cats", &other)).send().await.expect(204);
    let restored = app.client.post(&format!("{path}/restore")).send().await.expect(200);
    assert_eq!((&restored.json()["name"], restored.header("etag")), (&json!("Tom"), Some("\"6\"")));
    let again = app.client.post(&format!("{path}/restore")).send().await.expect(200);
    assert_eq!(again.header("etag"), Some("\"6\""));
}

#[tokio::test]
async fn a_row_that_breaks_a_rule_is_refused_with_the_places() {
    let app = App::start().await;
    app.declare("cats", cats()).await;
    let row = app.row("cats", json!({ "name": "Tom", "lon": 1, "lat": 2 })).await;
    let path = path("cats", &row);
    let refused =
        app.post_row("cats", json!({ "breed": "tabby", "born": "01.02.2020", "weight": "4", "colour": 1 }));
    let mut found = faults(&refused.await.expect(400));
    found.sort();
    let codes: Vec<_> = found.iter().map(|(pointer, code)| format!("{pointer} {code}")).collect();
    assert_eq!(
        codes,
        [
            "/born not_a_date",
            "/breed not_allowed",
            "/colour unknown_field",
            "/name required",
            "/weight not_a_number"
        ]
    );
    for (body, pointer, code) in [
        (json!({ "name": "Tom" }), "/name", "key_held"),
        (json!({ "name": "Mia", "_id": row["_id"] }), "/_id", "id_taken"),
    ] {
        assert_eq!(faults(&app.post_row("cats", body).await.expect(409)), fault(pointer, code));
    }
    for (body, pointer, code) in [
        (json!({ "_id": "0193a2c4-5a52-7b1e-a7d4-0b1c2d3e4f50" }), "/_id", "not_changeable"),
        (json!({ "_version": 7 }), "/_version", "unknown_field"),
        (json!({ "lat": null }), "/lat", "not_a_point"),
        (json!({ "lon": 181 }), "/lon", "out_of_range"),
        (json!({ "name": null }), "/name", "required"),
    ] {
        let refused = app.client.patch(&path).json(body).send().await.expect(400);
        assert_eq!(faults(&refused), fault(pointer, code));
    }
    app.client.patch(&path).json(json!({ "lat": 50.5 })).send().await.expect(200);
    app.client.patch(&path).json(json!({ "lat": null, "lon": null })).send().await.expect(200);
    for body in ["", "[]", "{", "{\"name\":\"a\",\"name\":\"b\"}", "null"] {
        let request = app.client.post("/datasets/cats/rows").header("Content-Type", "application/json");
        request.body(body).send().await.expect(400);
    }
    app.client
        .post("/datasets/cats/rows")
        .header("Content-Type", "text/plain")
        .body("x")
        .send()
        .await
        .expect(415);
    for id in ["1", "x", "0193a2c4-5a52-7b1e-a7d4-0b1c2d3e4f50", "0193a2c45a527b1ea7d40b1c2d3e4f50", "%00"] {
        app.client.get(&format!("/datasets/cats/rows/{id}")).send().await.expect(404);
        app.client.delete(&format!("/datasets/cats/rows/{id}")).send().await.expect(404);
    }
    for name in ["dogs", "airports", "citizens"] {
        app.client.get(&format!("/datasets/{name}/rows")).send().await.expect(404);
        app.client.get(&format!("/datasets/{name}/facets?columns=name")).send().await.expect(404);
        app.client.get(&format!("/datasets/{name}/statistics")).send().await.expect(404);
        app.post_row(name, json!({ "name": "a" })).await.expect(404);
    }
}

#[tokio::test]
async fn a_row_may_bring_its_id_and_a_repeated_request_makes_one_row() {
    let app = App::start().await;
    app.declare("cats", cats()).await;
    let id = "018f0000-0000-7000-8000-0000000000aa";
    let row = app.row("cats", json!({ "_id": id.to_uppercase(), "name": "Tom" })).await;
    assert_eq!(row["_id"], id);
    let send = async |name: &str| {
        let request = app.client.post("/datasets/cats/rows").header("Idempotency-Key", "k1");
        request.json(json!({ "name": name })).send().await
    };
    let first = send("Mia").await.expect(201);
    let again = send("Mia").await.expect(201);
    assert_eq!(again.json(), first.json());
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(again.header("location"), first.header("location"));
    send("Leo").await.expect(422);
    assert_eq!(app.one::<i64>("select count(*) from datasets.cats").await, 2);
    // A refused request keeps nothing.
    let refused = app.client.post("/datasets/cats/rows").header("Idempotency-Key", "k2");
    refused.json(json!({ "name": "Tom" })).send().await.expect(409);
    let good = app.client.post("/datasets/cats/rows").header("Idempotency-Key", "k2");
    let minimal =
        good.header("Prefer", "return=minimal").json(json!({ "name": "Ada" })).send().await.expect(201);
    assert!(minimal.body.is_empty() && minimal.header("location").is_some());
}

#[tokio::test]
async fn what_a_row_refers_to_is_there_and_stays() {
    let app = App::start().await;
    app.declare("towns", json!({ "fields": [{ "name": "code", "type": "integer" }, { "name": "town" }], "primaryKey": "code" }))
        .await;
    let schema = json!({
        "fields": [{ "name": "name" }, { "name": "owner", "type": "integer" }],
        "foreignKeys": [{ "fields": "owner", "reference": { "resource": "towns", "fields": "code" } }],
    });
    app.declare("pets", schema).await;
    let town = app.row("towns", json!({ "code": 1, "town": "Split" })).await;
    let refused = app.post_row("pets", json!({ "name": "Tom", "owner": 2 })).await.expect(400);
    assert_eq!(faults(&refused), fault("/owner", "unknown_reference"));
    let pet = app.row("pets", json!({ "name": "Tom", "owner": 1 })).await;
    app.row("pets", json!({ "name": "Mia", "owner": null })).await;
    let referenced = app.client.delete(&path("towns", &town)).send().await.expect(409);
    assert_eq!(referenced.codes(), ["referenced"]);
    let moved = app.client.patch(&path("towns", &town)).json(json!({ "code": 9 })).send().await.expect(409);
    assert_eq!(moved.codes(), ["referenced"]);
    let list = app.client.get("/datasets/pets/rows?owner.town=Split").send().await.expect(200).json();
    assert_eq!((list["data"].as_array().map(Vec::len), &list["data"][0]["name"]), (Some(1), &json!("Tom")));

    app.client.delete(&path("pets", &pet)).send().await.expect(204);
    app.client.delete(&path("towns", &town)).send().await.expect(204);
    let orphan = app.client.post(&format!("{}/restore", path("pets", &pet))).send().await.expect(409);
    assert_eq!(faults(&orphan), fault("/owner", "unknown_reference"));
}

#[tokio::test]
async fn a_change_of_the_dataset_is_seen_by_the_next_request() {
    let app = App::start().await;
    app.declare("cats", cats()).await;
    let row = app.row("cats", json!({ "name": "Tom" })).await;
    let mut wider = cats();
    wider["schema"]["fields"].as_array_mut().expect("a list").push(json!({ "name": "colour" }));
    app.client.put("/datasets/cats").header("If-Match", "\"1\"").json(wider).send().await.expect(200);
    let patched = app.client.patch(&path("cats", &row)).json(json!({ "colour": "red" })).send().await;
    assert_eq!(patched.expect(200).json()["colour"], "red");
    app.client.delete("/datasets/cats").send().await.expect(204);
    app.client.get(&path("cats", &row)).send().await.expect(404);
}

#[tokio::test]
async fn of_many_who_want_a_unique_value_at_once_one_gets_it() {
    let app = App::start().await;
    app.declare("cats", cats()).await;
    let answers = (0..8).map(|_| app.post_row("cats", json!({ "name": "Tom" })));
    let answers = futures_util::future::join_all(answers).await;
    let created = answers.iter().filter(|answer| answer.status == 201).count();
    assert_eq!(created, 1);
    for answer in answers.iter().filter(|answer| answer.status != 201) {
        assert_eq!(
            (answer.status.as_u16(), faults(answer)),
            (409, fault("/name", "key_held")),
            "{}",
            answer.text()
        );
    }
}

#[tokio::test]
async fn rows_of_an_import_that_is_being_undone_are_hidden_and_hold_nothing() {
    let app = App::start().await;
    app.declare("cats", cats()).await;
    let file = "name;weight\nTom;1,5\nMia;2\n";
    let import = app.upload_rows("cats", "", file).await;
    let list = async |query: &str| {
        let page = app.client.get(&format!("/datasets/cats/rows?sort=name{query}")).send().await;
        page.expect(200).json()["data"].as_array().expect("a list").clone()
    };
    let rows = list("").await;
    assert_eq!(
        (rows.len(), &rows[1]["_import"], &rows[1]["_row"]),
        (2, &import["id"], &json!(1)),
        "{rows:?}"
    );
    // What somebody changed since stays.
    let changed = app.client.patch(&path("cats", &rows[0])).json(json!({ "weight": 3 })).send().await;
    changed.expect(200);
    app.run(&format!("insert into import_removals (import_id) values ({})", import["id"])).await;
    let left = list("&_deleted=true").await;
    assert_eq!((left.len(), &left[0]["name"]), (1, &json!("Mia")));
    app.client.get(&path("cats", &rows[1])).send().await.expect(404);
    app.client.patch(&path("cats", &rows[1])).json(json!({ "weight": 3 })).send().await.expect(404);
    let facets = app.client.get("/datasets/cats/facets?columns=name").send().await.expect(200).json();
    assert_eq!(facets["data"]["name"].as_array().map(Vec::len), Some(1));
    app.row("cats", json!({ "name": "Tom" })).await;
    let held = app.post_row("cats", json!({ "name": "Mia" })).await.expect(409);
    assert_eq!(faults(&held), fault("/name", "key_held"));
}

#[tokio::test]
async fn while_a_dataset_changes_no_request_fails_for_it() {
    let app = App::start().await;
    app.declare("cats", cats()).await;
    let mut wider = cats();
    wider["schema"]["fields"].as_array_mut().expect("a list").push(json!({ "name": "colour" }));
    let change = async {
        for version in 1..9 {
            let body = if version % 2 == 1 { wider.clone() } else { cats() };
            let etag = format!("\"{version}\"");
            let put = app.client.put("/datasets/cats?drop=true").header("If-Match", &etag).json(body);
            put.send().await.expect(200);
        }
    };
    let use_it = async {
        for number in 0..60 {
            let posted = app.post_row("cats", json!({ "name": format!("cat {number}") })).await;
            assert!([201, 503].contains(&posted.status.as_u16()), "{}", posted.text());
            let read = app.client.get("/datasets/cats/rows?sort=-weight&q=cat").send().await;
            assert!([200, 503].contains(&read.status.as_u16()), "{}", read.text());
        }
    };
    tokio::join!(change, use_it);
}
