//! `/airports`.

use std::collections::BTreeSet;

use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use serde_json::{Value, json};

use crate::support::{App, app::airport, imports::outcome};

async fn ids(app: &App, query: &str) -> Vec<i64> {
    let rows = app.client.get(&format!("/airports{query}")).send().await.expect(200).json();
    rows["data"].as_array().expect("rows").iter().map(|row| row["id"].as_i64().expect("an id")).collect()
}

#[tokio::test]
async fn an_airport_comes_back_as_it_was_sent() {
    let app = App::start().await;
    let sent = airport(json!({
        "openflights_id": 16, "name": "Keflavík \\N 'Ünïcode' \u{1f6eb}", "city": "Keflavik", "iata": "KEF", "icao": "BIKF",
        "altitude": 171, "timezone": 5.75, "dst": "N", "tz": "Atlantic/Reykjavik", "type": "airport", "source": "me",
    }));
    let created = app.client.post("/airports").json(sent.clone()).send().await.expect(201);
    let read = app.client.get(created.header("location").expect("where it is")).send().await.expect(200);
    assert_eq!(read.json(), created.json());
    assert_eq!(read.header("etag"), created.header("etag"));
    for (name, value) in sent.as_object().expect("an object") {
        assert_eq!(&read.json()[name], value, "{name}");
    }
}

#[tokio::test]
async fn a_code_held_by_another_airport_is_a_conflict_naming_code_and_holder() {
    let app = App::start().await;
    app.airport(json!({ "openflights_id": 16, "iata": "KEF", "icao": "BIKF" })).await;
    app.airport(json!({ "iata": "RKV" })).await;
    let refused = app
        .client
        .post("/airports")
        .json(airport(json!({ "openflights_id": 16, "icao": "BIKF", "iata": "RKV" })));
    let problem = refused.send().await.expect(409).json();
    let held: BTreeSet<_> = problem["errors"]
        .as_array()
        .expect("what is held")
        .iter()
        .map(|error| {
            (error["pointer"].as_str().expect("a pointer"), error["message"].as_str().expect("a message"))
        })
        .collect();
    let expected = BTreeSet::from([
        ("/openflights_id", "openflights_id is held by the airport /airports/1"),
        ("/icao", "icao is held by the airport /airports/1"),
        ("/iata", "iata is held by the airport /airports/2"),
    ]);
    assert_eq!(held, expected);
    app.client.patch("/airports/2").json(json!({ "iata": "KEF" })).send().await.expect(409);
    app.client.put("/airports/2").json(airport(json!({ "iata": "KEF" }))).send().await.expect(409);
}

#[tokio::test]
async fn a_deleted_airport_frees_its_codes_and_cannot_be_restored_while_they_are_taken() {
    let app = App::start().await;
    app.airport(json!({ "iata": "KEF" })).await;
    app.client.delete("/airports/1").send().await.expect(204);
    app.airport(json!({ "iata": "KEF" })).await;
    let refused = app.client.post("/airports/1/restore").send().await.expect(409);
    assert_eq!(refused.codes(), ["code_held"]);
    app.client.delete("/airports/2?purge=true").send().await.expect(204);
    let restored = app.client.post("/airports/1/restore").send().await.expect(200);
    assert_eq!(restored.json()["deleted_at"], Value::Null);
    let again = app.client.post("/airports/1/restore").send().await.expect(200);
    assert_eq!(again.json(), restored.json(), "restoring what is there changes nothing");
}

#[tokio::test]
async fn a_deleted_airport_is_found_only_where_deleted_ones_are_asked_for() {
    let app = App::start().await;
    app.airport(json!({})).await;
    app.client.delete("/airports/1").send().await.expect(204);
    for request in [
        app.client.get("/airports/1"),
        app.client.delete("/airports/1"),
        app.client.put("/airports/1").json(airport(json!({}))),
        app.client.patch("/airports/1").json(json!({})),
    ] {
        request.send().await.expect(404);
    }
    assert_eq!(ids(&app, "").await, [0_i64; 0]);
    assert_eq!(ids(&app, "?include_deleted=true").await, [1]);
    app.client.delete("/airports/1?purge=true").send().await.expect(204);
    assert_eq!(ids(&app, "?include_deleted=true").await, [0_i64; 0]);
    app.client.post("/airports/1/restore").send().await.expect(404);
}

#[tokio::test]
async fn put_replaces_every_field_and_patch_only_what_it_names() {
    let app = App::start().await;
    app.airport(json!({ "city": "Keflavik", "iata": "KEF", "altitude": 171 })).await;
    let patched = app
        .client
        .patch("/airports/1")
        .json(json!({ "city": null, "dst": "N" }))
        .send()
        .await
        .expect(200)
        .json();
    assert_eq!(
        (&patched["city"], &patched["dst"], &patched["iata"]),
        (&json!(null), &json!("N"), &json!("KEF"))
    );
    let replaced =
        app.client.put("/airports/1").json(airport(json!({ "city": "B" }))).send().await.expect(200).json();
    for (name, value) in
        [("city", json!("B")), ("iata", json!(null)), ("altitude", json!(null)), ("dst", json!(null))]
    {
        assert_eq!(replaced[name], value, "{name}");
    }
    app.client.patch("/airports/1").json(json!({ "name": null })).send().await.expect(400);
}

#[tokio::test]
async fn a_change_starts_from_the_version_the_client_has_seen() {
    let app = App::start().await;
    app.airport(json!({})).await;
    let change = |etag: &'static str| app.client.patch("/airports/1").header("If-Match", etag);
    let changed = change("\"1\"").json(json!({ "city": "A" })).send().await.expect(200);
    assert_eq!(changed.header("etag"), Some("\"2\""));
    change("\"1\"").json(json!({ "city": "B" })).send().await.expect(412);
    change("W/\"2\"").json(json!({ "city": "B" })).send().await.expect(412);
    change("*").json(json!({ "city": "B" })).send().await.expect(200);
    app.client
        .put("/airports/1")
        .header("If-Match", "\"2\"")
        .json(airport(json!({})))
        .send()
        .await
        .expect(412);
    app.client.delete("/airports/1").header("If-Match", "\"2\"").send().await.expect(412);
    app.client.delete("/airports/1?purge=true").header("If-Match", "\"2\"").send().await.expect(412);
    app.client.delete("/airports/1").header("If-Match", "\"1\", \"3\"").send().await.expect(204);
}

#[tokio::test]
async fn a_change_that_changes_nothing_keeps_the_version() {
    let app = App::start().await;
    app.airport(json!({ "city": "A" })).await;
    let same = app.client.patch("/airports/1").json(json!({ "city": "A" })).send().await.expect(200);
    assert_eq!(same.header("etag"), Some("\"1\""));
    let same = app.client.put("/airports/1").json(airport(json!({ "city": "A" }))).send().await.expect(200);
    assert_eq!(same.header("etag"), Some("\"1\""));
}

#[tokio::test]
async fn a_client_that_has_the_version_is_answered_304() {
    let app = App::start().await;
    app.airport(json!({})).await;
    let known = app.client.get("/airports/1").header("If-None-Match", "\"1\"").send().await.expect(304);
    assert_eq!((known.header("etag"), known.body.len()), (Some("\"1\""), 0));
    app.client.patch("/airports/1").json(json!({ "city": "A" })).send().await.expect(200);
    app.client.get("/airports/1").header("If-None-Match", "\"1\"").send().await.expect(200);
}

#[tokio::test]
async fn a_client_that_wants_no_representation_gets_none() {
    let app = App::start().await;
    let minimal = ("Prefer", "return=minimal");
    let created = app
        .client
        .post("/airports")
        .header(minimal.0, minimal.1)
        .json(airport(json!({})))
        .send()
        .await
        .expect(201);
    assert_eq!((created.body.len(), created.header("location")), (0, Some("/airports/1")));
    let patched = app
        .client
        .patch("/airports/1")
        .header(minimal.0, minimal.1)
        .json(json!({ "city": "A" }))
        .send()
        .await;
    let patched = patched.expect(204);
    assert_eq!(
        (patched.header("etag"), patched.header("preference-applied")),
        (Some("\"2\""), Some("return=minimal"))
    );
    let full = app
        .client
        .patch("/airports/1")
        .header("Prefer", "return=representation")
        .json(json!({ "city": "B" }));
    assert_eq!(full.send().await.expect(200).header("preference-applied"), Some("return=representation"));
}

#[tokio::test]
async fn filters_are_joined_by_and() {
    let app = App::start().await;
    for fields in [
        json!({ "name": "Alpha 100%", "country": "X", "city": "P", "iata": "AAA", "icao": "AAAA", "type": "airport", "tz": "T/A", "source": "s" }),
        json!({ "name": "Beta_1", "country": "X", "city": "Q", "iata": "BBB", "icao": "BBBB", "type": "station", "tz": "T/B", "source": "s" }),
        json!({ "name": "betaX1", "country": "Y", "city": "P", "iata": "CCC", "icao": "CCCC", "type": "airport", "tz": "T/A", "source": "t" }),
    ] {
        app.airport(fields).await;
    }
    for (query, expected) in [
        ("?country=X", vec![1, 2]),
        ("?city=P", vec![1, 3]),
        ("?iata=BBB", vec![2]),
        ("?icao=CCCC", vec![3]),
        ("?type=airport&country=X", vec![1]),
        ("?tz=T/A", vec![1, 3]),
        ("?source=t", vec![3]),
        ("?name=BETA", vec![2, 3]),
        ("?name=a_1", vec![2]),
        ("?name=100%25", vec![1]),
        ("?name=%25", vec![1]),
        ("?name=%5C", vec![]),
        ("?country=x", vec![]),
        ("?country=X&city=P&iata=CCC", vec![]),
    ] {
        assert_eq!(ids(&app, query).await, expected, "{query}");
    }
    for query in ["?city=%00", "?iata=AAAA", "?name=", "?city="] {
        app.client.get(&format!("/airports{query}")).send().await.expect(400);
    }
}

#[tokio::test]
async fn every_order_shows_every_row_once_page_by_page_nulls_last() {
    let app = App::start().await;
    for (number, city) in
        [Some("b"), None, Some("a"), Some("b"), None, Some("c"), Some("a")].into_iter().enumerate()
    {
        let altitude = if number % 3 == 0 { json!(null) } else { json!(100 - number) };
        let timezone = json!(number as f64 / 3.0);
        app.airport(json!({ "city": city, "altitude": altitude, "timezone": timezone })).await;
    }
    let fields = app.client.get("/airports").send().await.expect(200).json()["data"][0].clone();
    let fields: Vec<_> = fields.as_object().expect("an airport").keys().cloned().collect();
    for field in fields.iter().filter(|field| !["version", "deleted_at"].contains(&field.as_str())) {
        for sort in [field.clone(), format!("-{field}")] {
            let rows = paged(&app, &format!("/airports?sort={sort}&limit=2")).await;
            let found: BTreeSet<_> = rows.iter().map(|row| row["id"].as_i64()).collect();
            assert_eq!((rows.len(), found.len()), (7, 7), "{sort}: every row once");
            for pair in rows.windows(2) {
                assert!(in_order(&pair[0], &pair[1], field, sort.starts_with('-')), "{sort}: {pair:?}");
            }
        }
    }
}

fn in_order(first: &Value, second: &Value, field: &str, descending: bool) -> bool {
    let (a, b) = (&first[field], &second[field]);
    if a == b {
        return first["id"].as_i64() < second["id"].as_i64();
    }
    let less = match (a, b) {
        (Value::Null, _) => return false,
        (_, Value::Null) => return true,
        (Value::Number(a), Value::Number(b)) => a.as_f64() < b.as_f64(),
        _ => a.as_str() < b.as_str(),
    };
    less != descending
}

async fn paged(app: &App, path: &str) -> Vec<Value> {
    let mut rows = Vec::new();
    let mut next = Some(path.to_owned());
    while let Some(path) = next {
        let page = app.client.get(&path).send().await.expect(200);
        rows.extend(page.json()["data"].as_array().expect("rows").clone());
        next = page
            .header("link")
            .map(|link| link.trim_start_matches('<').split('>').next().unwrap_or_default().to_owned());
    }
    rows
}

#[tokio::test]
async fn a_page_has_as_many_rows_as_asked_within_the_limits() {
    let app = App::with(&[("server.page_rows", "2"), ("server.page_rows_max", "3")]).await;
    for _ in 0..4 {
        app.airport(json!({})).await;
    }
    assert_eq!(ids(&app, "").await, [1, 2]);
    assert_eq!(ids(&app, "?limit=3").await, [1, 2, 3]);
    for (query, code) in [
        ("?limit=0", "out_of_range"),
        ("?limit=4", "out_of_range"),
        ("?cursor=nonsense", "invalid_cursor"),
        ("?sort=colour", "not_allowed"),
    ] {
        assert_eq!(
            app.client.get(&format!("/airports{query}")).send().await.expect(400).codes(),
            [code],
            "{query}"
        );
    }
    let first = app.client.get("/airports?sort=name").send().await.expect(200);
    let link = first.header("link").expect("there is more");
    let cursor = link.split("cursor=").nth(1).and_then(|rest| rest.split('>').next()).expect("a cursor");
    let other_order =
        app.client.get(&format!("/airports?sort=-name&cursor={cursor}")).send().await.expect(400);
    assert_eq!(other_order.codes(), ["invalid_cursor"]);
}

#[tokio::test]
async fn a_forged_cursor_is_refused_and_never_fails_the_server() {
    use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
    let app = App::start().await;
    for (sort, value) in
        [("id", "x"), ("altitude", "9e9"), ("latitude", "abc"), ("name", "\0"), ("created_at", "yesterday")]
    {
        let forged = json!({ "sort": sort, "value": value, "id": 1 }).to_string();
        let path = format!("/airports?sort={sort}&cursor={}", URL_SAFE_NO_PAD.encode(forged));
        app.client.get(&path).send().await.expect(400);
    }
}

#[tokio::test]
async fn a_list_as_csv_can_be_posted_back_and_changes_nothing() {
    let app = App::start().await;
    app.airport(
        json!({ "openflights_id": 1, "name": "A \"quoted\", one", "city": "line\nbreak", "timezone": 5.5 }),
    )
    .await;
    app.airport(
        json!({ "openflights_id": 2, "name": " spaces ", "icao": "CNZ0", "latitude": -0.1, "altitude": -5 }),
    )
    .await;
    let file = app.client.get("/airports").header("Accept", "text/csv").send().await.expect(200).text();
    assert!(file.starts_with(
        "_id,id,name,city,country,iata,icao,latitude,longitude,altitude,timezone,dst,tz,type,source\r\n"
    ));
    let upload = app.client.post("/upload").header("Content-Type", "text/csv").header("Prefer", "wait=30");
    let import = upload.body(file).send().await.expect(200).json();
    assert_eq!(import["counts"]["unchanged"], 2, "{import}");
    assert_eq!(import["counts"]["rows_read"], 2, "{import}");
}

/// Text that a file may write otherwise than it is meant, and some that it may not.
fn text() -> impl Strategy<Value = String> {
    prop_oneof![
        r#"([\\'N"\n\r,; \ta]|\PC){1,6}"#,
        proptest::sample::select(vec![
            r"\N", r"\'", r"\\'", r"\\N", r"\.", "'", "\"", "\"\"", "NULL", " ", "\r", "\n", "\u{feff}",
            "_id", "-0", "1e5",
        ])
        .prop_map(ToOwned::to_owned),
    ]
}

fn any_airport() -> impl Strategy<Value = Value> {
    use proptest::option::weighted;
    let texts = (
        text(),
        weighted(0.7, text()),
        text(),
        weighted(0.5, text()),
        weighted(0.5, text()),
        weighted(0.5, text()),
    );
    let codes = (weighted(0.3, 1..i64::MAX), weighted(0.5, "[A-Z0-9]{3}"), weighted(0.5, "[A-Z0-9]{3,4}"));
    let latitude = prop_oneof![-90.0..=90.0, Just(-0.0), Just(1e-7), Just(90.0)];
    let numbers = (latitude, -180.0..=180.0, weighted(0.5, -2_000..30_000_i64), weighted(0.5, -12.0..14.0));
    (texts, codes, numbers, weighted(0.5, proptest::sample::select(vec!["E", "A", "U"]))).prop_map(
        |((name, city, country, tz, kind, source), (id, iata, icao), (latitude, longitude, altitude, timezone), dst)| {
            json!({
                "openflights_id": id, "name": name, "city": city, "country": country, "iata": iata, "icao": icao,
                "latitude": latitude, "longitude": longitude, "altitude": altitude, "timezone": timezone, "dst": dst,
                "tz": tz, "type": kind, "source": source,
            })
        },
    )
}

async fn every_airport(app: &App) -> String {
    app.one("select string_agg(a::text, ';' order by id) from airports a").await
}

#[tokio::test]
async fn every_airport_that_the_api_accepts_is_the_same_after_an_export() {
    let app = App::start().await;
    let mut runner = TestRunner::deterministic();
    let mut accepted = 0;
    for _ in 0..400 {
        let airport = any_airport().new_tree(&mut runner).expect("an airport").current();
        let answer = app.client.post("/airports").json(airport.clone()).send().await;
        let has_null = airport.as_object().expect("an object").values().any(|value| value == r"\N");
        match answer.status.as_u16() {
            201 if !has_null => accepted += 1,
            // A code that another one has.
            409 => {}
            400 if has_null => {
                assert!(answer.codes().iter().all(|code| code == "not_writable"), "{}", answer.text())
            }
            _ => panic!("{airport}: {}", answer.text()),
        }
    }
    assert!(accepted > 200, "{accepted}");
    // Some are like others in everything, some have another name now, and some are deleted: others may have their codes.
    let twin = json!({ "name": "Twin" });
    let gone = app.airport(twin.clone()).await;
    for airport in [twin, json!({ "iata": "TWN" })] {
        app.airport(airport).await;
    }
    app.client.patch("/airports/3").json(json!({ "name": "Renamed", "city": null })).send().await.expect(200);
    app.client.delete(&format!("/airports/{}", gone["id"])).send().await.expect(204);
    app.client.delete(&format!("/airports/{}", accepted + 3)).send().await.expect(204);
    app.airport(json!({ "iata": "TWN" })).await;
    accepted += 4;

    let before = every_airport(&app).await;
    let path = "/airports?limit=10000&include_deleted=true";
    let file = app.client.get(path).header("Accept", "text/csv").send().await.expect(200).body;
    let import = app.upload("", file).await;
    assert_eq!(app.rejects(&import).await, [] as [Value; 0]);
    assert_eq!(outcome(&import), [0, 0, accepted - 2, 2, 0]);
    assert_eq!(every_airport(&app).await, before);
}

#[tokio::test]
async fn a_code_that_is_none_and_a_text_that_no_file_can_say_are_refused_wherever_they_come_in() {
    let app = App::start().await;
    let id = app.airport(json!({})).await["id"].clone();
    let path = format!("/airports/{id}");
    for (field, value, code) in [
        ("iata", "klo", "pattern"),
        ("iata", "N/A", "pattern"),
        ("icao", "----", "pattern"),
        ("iata", "KEFL", "length"),
        ("name", r"\N", "not_writable"),
        ("tz", r"\N", "not_writable"),
    ] {
        let fields = json!({ field: value });
        let whole = airport(fields.clone());
        let with_id = json!({ "id": id, field: value });
        for request in [
            app.client.post("/airports").json(whole.clone()),
            app.client.put(&path).json(whole.clone()),
            app.client.patch(&path).json(fields),
            app.client.put("/create").json(whole),
            app.client.patch("/update").json(with_id),
        ] {
            assert_eq!(request.send().await.expect(400).codes(), [code], "{field} {value}");
        }
    }
    let create = "/create?name=A&country=B&latitude=1&longitude=2";
    for query in [create, &format!("/update?id={id}")] {
        assert_eq!(
            app.client.get(&format!("{query}&icao=bikf")).send().await.expect(400).codes(),
            ["pattern"]
        );
        // As in a file, it stands for null there.
        app.client.get(&format!("{query}&icao=%5CN")).send().await.expect(200);
    }
    app.client.get("/airports?name=%5CN").send().await.expect(200);
    assert_eq!(app.client.get("/airports?iata=klo").send().await.expect(400).codes(), ["pattern"]);
}

#[tokio::test]
async fn a_list_as_geojson_has_longitude_before_latitude() {
    let app = App::start().await;
    app.airport(json!({ "iata": "KEF" })).await;
    let accept = app.client.get("/airports").header("Accept", "application/geo+json");
    let collection = accept.send().await.expect(200).json();
    assert_eq!(collection["type"], "FeatureCollection");
    let feature = &collection["features"][0];
    assert_eq!((&feature["id"], &feature["properties"]["iata"]), (&json!(1), &json!("KEF")));
    assert_eq!(
        feature["geometry"],
        json!({ "type": "Point", "coordinates": [-22.605600357056, 63.985000610352] })
    );
}

#[tokio::test]
async fn a_write_that_an_import_holds_up_is_told_to_come_back() {
    let app = App::start().await;
    app.airport(json!({})).await;
    let mut import = app.database.pool.begin().await.expect("a transaction");
    sqlx::query("lock table airports in share row exclusive mode")
        .execute(&mut *import)
        .await
        .expect("the lock");
    app.client.get("/airports/1").send().await.expect(200);
    let refused = app.client.patch("/airports/1").json(json!({ "city": "A" })).send().await.expect(503);
    assert!(refused.header("retry-after").is_some());
    import.rollback().await.expect("the lock is let go");
    app.client.patch("/airports/1").json(json!({ "city": "A" })).send().await.expect(200);
}
