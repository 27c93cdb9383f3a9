//! Lists, facets and statistics of declared datasets, held against the same by hand.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, HashSet},
};

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use chrono::{Datelike, NaiveDate};
use serde_json::{Value, json};
use tarmac::{
    auth::{keys, scopes::Grant},
    db::Db,
};

use crate::support::{App, client::Answer, datasets::cats, imports::outcome};

/// Numbers that are the same every time.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }

    fn one_of<'a>(&mut self, words: &[&'a str]) -> &'a str {
        words[self.below(words.len() as u64) as usize]
    }
}

const NAMES: [&str; 8] =
    ["Мурка", "мур", "Äpfel", "a", "B", "100%_x\\", "", "'; drop table datasets.pets; --"];
const TODAY: &str = "2026-11-30";

/// A dataset with a column of each kind, and another one that it refers to.
async fn declare(app: &App) {
    let towns = json!({ "fields": [{ "name": "code", "type": "integer" }, { "name": "town" }], "primaryKey": "code" });
    app.declare("towns", towns).await;
    for (code, town) in [(0, Some("Split")), (1, Some("Zadar")), (2, Some("Split")), (3, None)] {
        app.row("towns", json!({ "code": code, "town": town })).await;
    }
    let pets = json!({
        "schema": {
            // The empty text is a value.
            "missingValues": ["-"],
            "fields": [
                { "name": "N name", "key": "name" }, { "name": "breed", "constraints": { "enum": ["siberian", "sphynx"] } },
                { "name": "born", "type": "date" }, { "name": "weight", "type": "number" }, { "name": "age", "type": "integer" },
                { "name": "seen", "type": "datetime" }, { "name": "good", "type": "boolean" }, { "name": "tags", "type": "list" },
                { "name": "lon", "type": "number" }, { "name": "lat", "type": "number" }, { "name": "owner", "type": "integer" },
                { "name": "chip", "type": "integer", "constraints": { "unique": true } }, { "name": "extra", "type": "object" },
                { "name": "month", "type": "yearmonth" }, { "name": "at", "type": "time" },
                { "name": "mass", "type": "number", "floatNumber": true }, { "name": "year", "type": "year" },
                { "name": "uid", "type": "string", "format": "uuid" }, { "name": "spot", "type": "geopoint" },
            ],
            "foreignKeys": [{ "fields": "owner", "reference": { "resource": "towns", "fields": "code" } }],
        },
        "point": { "longitude": "lon", "latitude": "lat" },
    });
    app.declare("pets", pets).await;
}

/// Pets with many equal values and many nulls, as the service gives them.
async fn fill(app: &App, rows: u64, seed: u64) -> Vec<Value> {
    declare(app).await;
    let mut random = Numbers(seed);
    let tags = json!([[], ["a"], ["a", "b c"], ["\""]]);
    for number in 0..rows {
        let mut pet = json!({
            "name": random.one_of(&NAMES),
            "breed": random.one_of(&["siberian", "sphynx"]),
            "born": format!("{:04}-{:02}-{:02}", 1990 + random.below(40), 1 + random.below(12), 1 + random.below(28)),
            "weight": (random.below(50) as f64 - 20.0) / 10.0,
            "age": random.below(7) as i64 - 3,
            "seen": format!("2024-0{}-1{}T0{}:00:00.{}Z", 1 + random.below(3), random.below(10), random.below(10), random.below(3) * 25),
            "good": random.below(2) == 0,
            "tags": tags[random.below(4) as usize],
            "owner": random.below(4),
            "chip": number,
            "extra": { "a": "x" },
            "month": format!("2024-{:02}", 1 + random.below(12)),
            "at": format!("0{}:00:00.5", random.below(10)),
            "mass": random.below(9) as f64 / 8.0 - 0.5,
            "year": random.below(40) as i64 - 20,
            "uid": format!("00000000-0000-4000-8000-00000000000{}", random.below(3)),
            "spot": [1, 2],
        });
        for value in pet.as_object_mut().expect("an object").values_mut() {
            if random.below(4) == 0 {
                *value = Value::Null;
            }
        }
        if random.below(4) != 0 {
            pet["lon"] = (random.below(360) as i64 - 180).into();
            pet["lat"] = (random.below(180) as i64 - 90).into();
        }
        // There is no year 0.
        if pet["year"] == 0 {
            pet["year"] = 1.into();
        }
        app.row("pets", pet).await;
    }
    let all = list(app, &[("limit", "10000")]).await;
    assert_eq!(all.len() as u64, rows);
    all
}

fn url(what: &str, parameters: &[(&str, &str)]) -> String {
    let url = reqwest::Url::parse_with_params(&format!("http://x/datasets/pets/{what}"), parameters)
        .expect("a URL");
    format!("{}?{}", url.path(), url.query().unwrap_or_default())
}

async fn get(app: &App, what: &str, parameters: &[(&str, &str)]) -> Answer {
    app.client.get(&url(what, parameters)).send().await
}

async fn list(app: &App, parameters: &[(&str, &str)]) -> Vec<Value> {
    let page = get(app, "rows", parameters).await.expect(200).json();
    page["data"].as_array().expect("a list").clone()
}

async fn codes(app: &App, what: &str, parameters: &[(&str, &str)]) -> Vec<String> {
    get(app, what, parameters).await.expect(400).codes()
}

fn ids<'a>(rows: impl IntoIterator<Item = &'a Value>) -> Vec<String> {
    rows.into_iter().map(|row| row["_id"].as_str().expect("an _id").to_owned()).collect()
}

/// The path of the next page.
fn next(answer: &Answer) -> Option<String> {
    answer
        .header("link")
        .map(|link| link.split_once(">; rel=\"next\"").expect("the next page").0[1..].to_owned())
}

/// The `_id`s of all pages, one after the other.
async fn pages(app: &App, parameters: &[(&str, &str)], limit: usize) -> Vec<String> {
    let limit_text = limit.to_string();
    let parameters: Vec<_> = parameters.iter().copied().chain([("limit", limit_text.as_str())]).collect();
    let mut path = url("rows", &parameters);
    let mut found = Vec::new();
    loop {
        let page = app.client.get(&path).send().await.expect(200);
        let rows = page.json();
        let rows = rows["data"].as_array().expect("a list");
        found.extend(ids(rows));
        match next(&page) {
            Some(link) => path = link,
            None => return found,
        }
        assert_eq!(rows.len(), limit);
    }
}

fn compare(one: &Value, other: &Value) -> Ordering {
    match (one, other) {
        (Value::String(one), Value::String(other)) => {
            one.trim_end_matches('Z').cmp(other.trim_end_matches('Z'))
        }
        (Value::Bool(one), Value::Bool(other)) => one.cmp(other),
        (one, other) => one.as_f64().partial_cmp(&other.as_f64()).expect("numbers"),
    }
}

/// Null is last either way.
fn by_keys(sort: &str, one: &Value, other: &Value) -> Ordering {
    for key in sort.split(',').filter(|key| !key.is_empty()) {
        let (key, descending) = key.strip_prefix('-').map_or((key, false), |key| (key, true));
        let order = match (&one[key], &other[key]) {
            (Value::Null, Value::Null) => Ordering::Equal,
            (Value::Null, _) => Ordering::Greater,
            (_, Value::Null) => Ordering::Less,
            (one, other) if descending => compare(other, one),
            (one, other) => compare(one, other),
        };
        if order.is_ne() {
            return order;
        }
    }
    compare(&one["_id"], &other["_id"])
}

#[tokio::test]
async fn pages_lose_no_row_and_have_none_twice() {
    let app = App::start().await;
    let all = fill(&app, 90, 7).await;
    let keys = [
        "name",
        "breed",
        "born",
        "weight",
        "age",
        "seen",
        "good",
        "chip",
        "month",
        "at",
        "mass",
        "year",
        "uid",
        "_version",
        "_created_at",
        "_import",
        "_row",
        "_deleted_at",
    ];
    let mut random = Numbers(99);
    let mut sorts: Vec<String> = keys.iter().flat_map(|key| [(*key).to_owned(), format!("-{key}")]).collect();
    sorts.extend(["", "_id", "-_id", "age,-_id"].map(str::to_owned));
    for _ in 0..20 {
        let several = (0..2 + random.below(3))
            .map(|_| format!("{}{}", random.one_of(&["", "-"]), random.one_of(&keys[..13])));
        sorts.push(several.collect::<Vec<_>>().join(","));
    }
    for sort in sorts {
        let mut expected: Vec<&Value> = all.iter().collect();
        expected.sort_by(|one, other| by_keys(&sort, one, other));
        let expected = ids(expected);
        let parameters: &[(&str, &str)] = if sort.is_empty() { &[] } else { &[("sort", &sort)] };
        for limit in [13, 90] {
            assert_eq!(pages(&app, parameters, limit).await, expected, "{sort} {limit}");
        }
    }
    let repeated = pages(&app, &[("sort", "age"), ("sort", "-name")], 90).await;
    assert_eq!(repeated, pages(&app, &[("sort", "age,-name")], 90).await);
    let near = [("near", "10,20"), ("radius", "9000000")];
    let nearest = pages(&app, &near, 90).await;
    assert!(nearest.len() > 10 && nearest == pages(&app, &near, 3).await);
    let by_age: Vec<_> = near.into_iter().chain([("sort", "age,-_distance_m")]).collect();
    let farthest = pages(&app, &by_age, 90).await;
    assert_eq!(farthest, pages(&app, &by_age, 4).await);
    assert_eq!(farthest.iter().collect::<HashSet<_>>(), nearest.iter().collect());
}

/// Whether a row is what a filter asks for.
type Holds<'a> = Box<dyn Fn(&Value) -> bool + 'a>;

fn town(row: &Value) -> Value {
    match row["owner"].as_i64() {
        Some(0 | 2) => "Split".into(),
        Some(1) => "Zadar".into(),
        _ => Value::Null,
    }
}

#[tokio::test]
async fn filters_find_what_is_found_by_hand() {
    let app = App::start().await;
    let all = fill(&app, 120, 11).await;
    fn text<'a>(column: &'a str, holds: impl Fn(&str) -> bool + 'a) -> Holds<'a> {
        Box::new(move |row| row[column].as_str().is_some_and(&holds))
    }
    fn number<'a>(column: &'a str, holds: impl Fn(f64) -> bool + 'a) -> Holds<'a> {
        Box::new(move |row| row[column].as_f64().is_some_and(&holds))
    }
    fn value<'a>(column: &'a str, holds: impl Fn(&Value) -> bool + 'a) -> Holds<'a> {
        Box::new(move |row| holds(&row[column]))
    }
    let cases: Vec<(&[(&str, &str)], Holds<'_>)> = vec![
        (&[("name", "a")], text("name", |name| name == "a")),
        (&[("name", "")], text("name", str::is_empty)),
        (&[("name", "a"), ("name", "B")], text("name", |name| name == "a" || name == "B")),
        (&[("name__not", "a")], value("name", |name| name != "a")),
        (&[("name__not", "a"), ("name__not", "B")], value("name", |name| name != "a" && name != "B")),
        (&[("name__contains", "МУР")], text("name", |name| name.to_lowercase().contains("мур"))),
        (&[("name__starts", "ä")], text("name", |name| name.to_lowercase().starts_with('ä'))),
        (&[("name__contains", "0%_")], text("name", |name| name.contains("0%_"))),
        (&[("name__contains", "\\")], text("name", |name| name.contains('\\'))),
        (&[("name", NAMES[7])], text("name", |name| name == NAMES[7])),
        (&[("name__gte", "a"), ("name__lt", "Ñ")], text("name", |name| ("a".."Ñ").contains(&name))),
        (&[("name__null", "true")], value("name", Value::is_null)),
        (&[("name__null", "false")], value("name", |name| !name.is_null())),
        (&[("breed", "sphynx")], text("breed", |breed| breed == "sphynx")),
        (&[("breed__not", "sphynx")], value("breed", |breed| breed != "sphynx")),
        (
            &[("born__gte", "2000-01-01"), ("born__lt", "2010-01-01")],
            text("born", |born| ("2000".."2010").contains(&born)),
        ),
        (&[("weight__gt", "0.5")], number("weight", |weight| weight > 0.5)),
        (&[("weight__lte", "-1e0")], number("weight", |weight| weight <= -1.0)),
        (&[("age__gt", "2"), ("age__gt", "-1")], number("age", |age| age > -1.0)),
        (&[("age", "1"), ("age", "2")], number("age", |age| age == 1.0 || age == 2.0)),
        (&[("mass__lt", "0")], number("mass", |mass| mass < 0.0)),
        (&[("seen__gte", "2024-02-01T00:00:00Z")], text("seen", |seen| seen >= "2024-02")),
        (&[("seen__lt", "2024-02-01T02:00:00+02:00")], text("seen", |seen| seen < "2024-02")),
        (&[("good", "true")], value("good", |good| *good == true)),
        (&[("good__not", "true")], value("good", |good| *good != true)),
        (
            &[("tags__has", "a")],
            value("tags", |tags| tags.as_array().is_some_and(|tags| tags.contains(&json!("a")))),
        ),
        (&[("tags__has", "\"")], value("tags", |tags| *tags == json!(["\""]))),
        (&[("tags", "[]")], value("tags", |tags| *tags == json!([]))),
        (&[("month", "2024-03")], text("month", |month| month == "2024-03")),
        (&[("at__gte", "05:00:00")], text("at", |at| at >= "05")),
        (&[("year__lt", "-3")], number("year", |year| year < -3.0)),
        (&[("uid", "00000000-0000-4000-8000-000000000001")], text("uid", |uid| uid.ends_with("01"))),
        (&[("extra", "{\"a\":\"x\"}")], value("extra", |extra| !extra.is_null())),
        (&[("extra__null", "true")], value("extra", Value::is_null)),
        (&[("owner.town", "Split")], Box::new(|row| town(row) == "Split")),
        (&[("owner.town__not", "Split")], Box::new(|row| town(row) != "Split")),
        (&[("owner.town__null", "true")], Box::new(|row| town(row).is_null())),
        (&[("owner.town__contains", "LI"), ("owner.code__gt", "0")], number("owner", |owner| owner == 2.0)),
        (
            &[("q", "МУР")],
            Box::new(|row| {
                ["name", "breed"]
                    .iter()
                    .any(|key| row[key].as_str().is_some_and(|text| text.to_lowercase().contains("мур")))
            }),
        ),
        (&[("q", "SPH")], text("breed", |breed| breed == "sphynx")),
        (
            &[("bbox", "-10,-20,50,60")],
            Box::new(|row| {
                row["lon"].as_f64().is_some_and(|lon| (-10.0..=50.0).contains(&lon))
                    && row["lat"].as_f64().is_some_and(|lat| (-20.0..=60.0).contains(&lat))
            }),
        ),
        (&[("bbox", "170,-90,-170,90")], number("lon", |lon| lon >= 170.0 || lon <= -170.0)),
        (&[("_version", "1"), ("_import__null", "true")], Box::new(|_| true)),
        (&[("_created_at__lt", "2000-01-01")], Box::new(|_| false)),
    ];
    for (parameters, holds) in cases {
        let mut expected = ids(all.iter().filter(|row| holds(row)));
        expected.sort_unstable();
        let whole: Vec<_> = parameters.iter().copied().chain([("limit", "10000")]).collect();
        let answer =
            app.client.get(&url("rows", &whole)).header("Prefer", "count=exact").send().await.expect(200);
        assert_eq!(answer.header("preference-applied"), Some("count=exact"));
        let page = answer.json();
        let mut found = ids(page["data"].as_array().expect("a list"));
        found.sort_unstable();
        assert_eq!(found, expected, "{parameters:?}");
        assert_eq!(page["count"], expected.len(), "{parameters:?}");
    }
}

#[tokio::test]
async fn what_is_wrong_with_a_query_is_named() {
    let app = App::start().await;
    declare(&app).await;
    let cases: &[(&[(&str, &str)], &str)] = &[
        (&[("colour", "x")], "unknown_parameter"),
        (&[("name__gt", "x")], "unknown_operator"),
        (&[("name__", "x")], "unknown_operator"),
        (&[("age", "x")], "not_an_integer"),
        (&[("age", "99999999999999999999")], "out_of_range"),
        (&[("weight", "NaN")], "not_a_number"),
        (&[("weight", "1e9999")], "out_of_range"),
        (&[("born", "2024-02-30")], "not_a_date"),
        (&[("seen", "x")], "not_a_datetime"),
        (&[("breed", "tabby")], "not_allowed"),
        (&[("good", "yes")], "not_a_boolean"),
        (&[("name__null", "yes")], "not_a_boolean"),
        (&[("name", "a\0")], "nul_character"),
        (&[("q", "a\0")], "nul_character"),
        (&[("uid", "x")], "not_a_uuid"),
        (&[("sort", "extra")], "not_allowed"),
        (&[("sort", "name\"; drop")], "not_allowed"),
        (&[("sort", "a,b,c,d,e")], "too_many"),
        (&[("sort", "name"), ("sort", "nope")], "not_allowed"),
        (&[("fields", "nope")], "not_allowed"),
        (&[("limit", "0")], "out_of_range"),
        (&[("limit", "10001")], "out_of_range"),
        (&[("limit", "+5")], "out_of_range"),
        (&[("limit", "1"), ("limit", "2")], "repeated_parameter"),
        (&[("near", "1,2")], "required"),
        (&[("radius", "2")], "required"),
        (&[("near", "1,2"), ("radius", "-1")], "out_of_range"),
        (&[("near", "200,2"), ("radius", "1")], "not_a_point"),
        (&[("bbox", "1,2,3")], "not_a_box"),
        (&[("owner.x", "1")], "unknown_parameter"),
        (&[("name.town", "1")], "unknown_parameter"),
        (&[("_deleted", "1")], "not_a_boolean"),
        (&[("cursor", "x")], "invalid_cursor"),
        (&[("", "x")], "unknown_parameter"),
        (&[("filters", "x")], "unknown_parameter"),
    ];
    for (parameters, code) in cases {
        assert_eq!(codes(&app, "rows", parameters).await, [*code], "{parameters:?}");
    }
    let many: Vec<_> = (0..33).map(|number| format!("age__gt={number}")).collect();
    app.client.get(&format!("/datasets/pets/rows?{}", many.join("&"))).send().await.expect(200);
    let many: Vec<_> = (0..33).map(|number| format!("x{number}=1")).collect();
    let refused = app.client.get(&format!("/datasets/pets/rows?{}", many.join("&"))).send().await.expect(400);
    assert_eq!(refused.codes(), ["too_many"]);
    for (parameter, code) in [
        (("by", "name__month"), "not_allowed"),
        (("by", "age__step0"), "not_allowed"),
        (("by", "age__step-1"), "not_allowed"),
        (("by", "age__step99999999999999999999"), "not_allowed"),
        (("measure", "name__avg"), "not_allowed"),
        (("measure", "age__p100"), "not_allowed"),
        (("measure", "age"), "not_allowed"),
        (("tz", "'; drop"), "not_a_time_zone"),
        (("sort", "x"), "unknown_parameter"),
    ] {
        assert_eq!(codes(&app, "statistics", &[parameter]).await, [code], "{parameter:?}");
    }
    assert_eq!(codes(&app, "facets", &[]).await, ["required"]);
    assert_eq!(codes(&app, "facets", &[("columns", "name,breed,born,age,good")]).await, ["too_many"]);
    assert_eq!(codes(&app, "facets", &[("columns", "spot")]).await, ["not_allowed"]);
}

#[tokio::test]
async fn a_cursor_of_another_list_or_a_forged_one_is_refused() {
    let app = App::start().await;
    fill(&app, 12, 3).await;
    let sort = ("sort", "-weight,seen");
    let page = get(&app, "rows", &[sort, ("limit", "3")]).await.expect(200);
    let link = next(&page).expect("a next page");
    let good = link.rsplit_once("cursor=").expect("a cursor").1.to_owned();
    get(&app, "rows", &[sort, ("cursor", &good)]).await.expect(200);
    for other in [("sort", "weight"), ("sort", "weight,seen"), ("limit", "5")] {
        assert_eq!(codes(&app, "rows", &[other, ("cursor", &good)]).await, ["invalid_cursor"]);
    }
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(&good).expect("base64")).expect("text");
    let id = text.rsplit('"').nth(1).expect("an _id").to_owned();
    for (old, new) in [
        ("[1,", "[2,"),
        ("[1,", "[ 1,"),
        ("pets", "cats"),
        (id.as_str(), "x"),
        (&format!("\"{id}\""), "null"),
        (&format!(",\"{id}\""), ""),
    ] {
        assert!(text.contains(old), "{text}");
        let forged = URL_SAFE_NO_PAD.encode(text.replacen(old, new, 1));
        assert_eq!(
            codes(&app, "rows", &[sort, ("cursor", &forged)]).await,
            ["invalid_cursor"],
            "{old} {new}"
        );
    }
}

#[tokio::test]
async fn rows_are_json_csv_ndjson_and_geojson() {
    let app = App::start().await;
    app.declare("cats", cats()).await;
    let file = "Кличка;breed;born;weight;lon;lat\n\"T;\"\"om\";siberian;01.02.2020;4,5;1.5;2.5\nMia;;;-;;\n";
    let import = app.upload_rows("cats", "", file).await;
    assert_eq!(import["counts"]["inserted"], 2, "{import}");
    let get = async |accept: &str, query: &str| {
        app.client.get(&format!("/datasets/cats/rows{query}")).header("Accept", accept).send().await
    };
    let page = get("application/json", "?sort=name").await.expect(200).json();
    let (mia, tom) = (&page["data"][0], &page["data"][1]);
    assert_eq!((&mia["name"], &mia["_row"], &tom["weight"]), (&json!("Mia"), &json!(2), &json!(4.5)));
    let lines = get("application/x-ndjson", "?sort=name").await.expect(200).text();
    let lines: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    assert_eq!(json!(lines), page["data"]);
    let features = get("application/geo+json", "?sort=name").await.expect(200).json();
    assert_eq!(features["features"][0]["geometry"], Value::Null);
    assert_eq!(features["features"][1]["geometry"], json!({ "type": "Point", "coordinates": [1.5, 2.5] }));
    assert_eq!((&features["features"][1]["properties"], &features["features"][1]["id"]), (tom, &tom["_id"]));
    // In the dataset's own dialect, so that it comes back.
    let csv = get("text/csv", "?sort=name").await.expect(200).text();
    let id = |row: &Value| row["_id"].as_str().expect("an _id").to_owned();
    let expected = format!(
        "_id;Кличка;breed;born;weight;lon;lat\r\n{};Mia;;;;;\r\n{};\"T;\"\"om\";siberian;01.02.2020;4,5;1.5;2.5\r\n",
        id(mia),
        id(tom)
    );
    assert_eq!(csv, expected);
    let again = app.upload_rows("cats", "", csv).await;
    assert_eq!(again["counts"]["unchanged"], 2, "{again}");
    let chosen =
        get("application/json", "?fields=weight&fields=name&sort=name&limit=1").await.expect(200).json();
    let keys: Vec<_> = chosen["data"][0].as_object().expect("an object").keys().cloned().collect();
    assert_eq!(keys, ["_id", "name", "weight"]);
    get("text/html", "").await.expect(406);

    app.declare("plain", json!({ "fields": [{ "name": "a" }], "missingValues": [""] })).await;
    app.row("plain", json!({ "a": "x" })).await;
    let plain =
        async |accept: &str| app.client.get("/datasets/plain/rows").header("Accept", accept).send().await;
    plain("application/geo+json").await.expect(406);
    let other = plain("application/geo+json, text/csv;q=0.5").await.expect(200);
    assert!(other.text().starts_with("_id,a\r\n"), "{}", other.text());
    let unknown = app.client.get("/datasets/plain/rows?near=1,2&radius=3").send().await.expect(400);
    assert_eq!(unknown.codes(), ["unknown_parameter"]);
}

#[tokio::test]
async fn deleted_rows_are_shown_to_who_asks_for_them() {
    let app = App::start().await;
    app.declare("cats", cats()).await;
    let row = app.row("cats", json!({ "name": "Tom" })).await;
    app.row("cats", json!({ "name": "Mia" })).await;
    let path = format!("/datasets/cats/rows/{}", row["_id"].as_str().expect("an _id"));
    app.client.delete(&path).send().await.expect(204);
    let names = async |query: &str| {
        let page =
            app.client.get(&format!("/datasets/cats/rows?sort=name{query}")).send().await.expect(200).json();
        let rows = page["data"].as_array().expect("a list").clone();
        rows.iter().map(|row| row["name"].as_str().expect("a name").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names("").await, ["Mia"]);
    assert_eq!(names("&_deleted=true").await, ["Mia", "Tom"]);
    assert_eq!(names("&_deleted=true&_deleted_at__null=false").await, ["Tom"]);
    let facets = app.client.get("/datasets/cats/facets?columns=name").send().await.expect(200).json();
    assert_eq!(facets, json!({ "data": { "name": [{ "value": "Mia", "count": 1 }] } }));
}

/// What a row is grouped by.
type Groups<'a> = (&'a str, Box<dyn Fn(&Value) -> Value>);

fn day(value: &Value) -> Option<NaiveDate> {
    value.as_str().map(|text| text[..10].parse().expect("a day"))
}

fn part(column: &'static str, part: impl Fn(NaiveDate) -> String + 'static) -> Box<dyn Fn(&Value) -> Value> {
    Box::new(move |row| day(&row[column]).map_or(Value::Null, |day| part(day).into()))
}

fn band(column: &'static str, width: f64) -> Box<dyn Fn(&Value) -> Value> {
    Box::new(move |row| {
        row[column].as_f64().map_or(Value::Null, |number| json!(((number / width).floor() * width) as i64))
    })
}

#[tokio::test]
async fn statistics_are_what_is_counted_by_hand() {
    let app = App::on_day(TODAY).await;
    let all = fill(&app, 200, 5).await;
    let today: NaiveDate = TODAY.parse().expect("a day");
    let age = move |width: i64| -> Box<dyn Fn(&Value) -> Value> {
        Box::new(move |row| {
            let years = day(&row["born"]).and_then(|born| today.years_since(born));
            years.map_or(Value::Null, |years| (i64::from(years) / width * width).into())
        })
    };
    let groups: Vec<Groups<'_>> = vec![
        ("name", Box::new(|row| row["name"].clone())),
        ("owner.town", Box::new(town)),
        ("good", Box::new(|row| row["good"].clone())),
        ("month", Box::new(|row| row["month"].clone())),
        ("born__year", part("born", |day| day.format("%Y").to_string())),
        ("born__quarter", part("born", |day| format!("{}-Q{}", day.year(), day.month0() / 3 + 1))),
        ("born__month", part("born", |day| day.format("%Y-%m").to_string())),
        ("born__week", part("born", |day| day.format("%G-W%V").to_string())),
        ("seen__day", part("seen", |day| day.to_string())),
        ("age__step2", band("age", 2.0)),
        ("weight__step3", band("weight", 3.0)),
        ("year__step10", band("year", 10.0)),
        ("born__age", age(1)),
        ("born__age10", age(10)),
        ("tags", Box::new(|row| row["tags"].clone())),
    ];
    let measures = [
        "count",
        "weight__count",
        "weight__distinct",
        "weight__sum",
        "weight__avg",
        "weight__min",
        "weight__max",
        "weight__p90",
    ];
    for (place, (one, first)) in groups.iter().enumerate() {
        let (other, second) = &groups[(place + 3) % groups.len()];
        // Ages of who is not born yet are not asked for.
        let rows: Vec<_> =
            all.iter().filter(|row| day(&row["born"]).is_some_and(|born| born <= today)).collect();
        let mut expected: BTreeMap<String, (usize, Vec<f64>)> = BTreeMap::new();
        for row in rows {
            let (count, weights) = expected.entry(format!("{}|{}", first(row), second(row))).or_default();
            *count += 1;
            weights.extend(row["weight"].as_f64());
        }
        let mut parameters = vec![("by", *one), ("by", *other), ("born__lte", TODAY)];
        parameters.extend(measures.map(|measure| ("measure", measure)));
        let answer = get(&app, "statistics", &parameters).await.expect(200).json();
        let data = answer["data"].as_array().expect("a list");
        assert_eq!(data.len(), expected.len(), "{one} {other}");
        for group in data {
            let key = format!("{}|{}", group[*one], group[*other]);
            let (count, weights) = expected.get_mut(&key).unwrap_or_else(|| panic!("{one} {other}: {key}"));
            weights.sort_by(f64::total_cmp);
            let (many, last) = (weights.len() as f64, weights.len().saturating_sub(1));
            let rank = last as f64 * 0.9;
            let percentile = weights.get(rank as usize).map(|low| {
                let high = weights[rank.ceil() as usize];
                low + (high - low) * rank.fract()
            });
            let some = |value: f64| (many > 0.0).then_some(value);
            let sum: f64 = weights.iter().sum();
            assert_eq!((&group["count"], &group["weight__count"]), (&json!(*count), &json!(weights.len())));
            for (name, expected) in [
                ("weight__sum", some(sum)),
                ("weight__avg", some(sum / many)),
                ("weight__min", weights.first().copied()),
                ("weight__max", weights.last().copied()),
                ("weight__p90", percentile),
            ] {
                match (group[name].as_f64(), expected) {
                    (None, None) => {}
                    (Some(found), Some(expected)) => {
                        assert!((found - expected).abs() < 1e-9, "{name} {group}")
                    }
                    (found, expected) => panic!("{name} {found:?} {expected:?}"),
                }
            }
            weights.dedup();
            assert_eq!(group["weight__distinct"], weights.len());
        }
    }
    assert_eq!(get(&app, "statistics", &[]).await.expect(200).json(), json!({ "data": [{ "count": 200 }] }));
    let zoned = [
        ("by", "seen__day"),
        ("tz", "Asia/Tokyo"),
        ("seen__gte", "2024-01-19T16:00:00Z"),
        ("seen__lt", "2024-01-20T00:00:00Z"),
    ];
    assert_eq!(get(&app, "statistics", &zoned).await.expect(200).json(), json!({ "data": [] }));
}

#[tokio::test]
async fn facets_count_values_and_groups_have_places() {
    let app = App::start().await;
    let all = fill(&app, 80, 21).await;
    let facets =
        get(&app, "facets", &[("columns", "breed,seen"), ("columns", "good"), ("age__gte", "0")]).await;
    let facets = facets.expect(200).json();
    for column in ["breed", "seen", "good"] {
        let values = facets["data"][column].as_array().expect("a list");
        let mut total = 0;
        for value in values {
            let is_counted = |row: &&Value| row["age"].as_i64() >= Some(0) && row[column] == value["value"];
            let expected = all.iter().filter(is_counted).count();
            assert_eq!(value["count"], expected, "{column} {value}");
            total += expected;
        }
        assert_eq!(total, all.iter().filter(|row| row["age"].as_i64() >= Some(0)).count());
    }
    let grouped = async |query: &str, accept: &str| {
        app.client.get(&format!("/datasets/pets/statistics?{query}")).header("Accept", accept).send().await
    };
    let geo = "application/geo+json";
    let spots = grouped("by=spot&spot__null=false", geo).await.expect(200).json();
    assert_eq!(spots["features"][0]["geometry"], json!({ "type": "Point", "coordinates": [1, 2] }));
    let degrees = grouped("by=lon&by=lat&measure=count", geo).await.expect(200).json();
    assert!(degrees["features"].as_array().expect("a list").len() > 10);
    grouped("by=breed", geo).await.expect(406);
    let csv = grouped("by=breed&measure=count&breed__null=false", "text/csv").await.expect(200).text();
    assert!(csv.starts_with("breed,count\nsiberian,"), "{csv}");
    app.run("insert into datasets.pets (_id, chip) select gen_random_uuid(), g from generate_series(1000, 11100) g").await;
    assert_eq!(codes(&app, "statistics", &[("by", "chip")]).await, ["too_many_groups"]);
}

#[tokio::test]
async fn the_document_of_a_dataset_has_its_rows() {
    let app = App::start().await;
    app.declare("cats", cats()).await;
    let document = app.client.get("/datasets/cats/openapi.json").send().await.expect(200).json();
    for (path, method) in [
        ("/rows", "get"),
        ("/rows", "post"),
        ("/rows/{id}", "get"),
        ("/rows/{id}", "put"),
        ("/rows/{id}", "patch"),
        ("/rows/{id}", "delete"),
        ("/rows/{id}/restore", "post"),
        ("/facets", "get"),
        ("/statistics", "get"),
    ] {
        assert!(document["paths"][format!("/datasets/cats{path}")][method].is_object(), "{method} {path}");
    }
    let list = &document["paths"]["/datasets/cats/rows"]["get"];
    let parameters = list["parameters"].as_array().expect("parameters").iter();
    let names: Vec<_> = parameters
        .map(|parameter| match parameter["$ref"].as_str() {
            Some(reference) => reference.rsplit('/').next().expect("a name").to_owned(),
            None => parameter["name"].as_str().expect("a name").to_owned(),
        })
        .collect();
    for expected in [
        "limit",
        "cursor",
        "sort",
        "fields",
        "q",
        "near",
        "bbox",
        "_deleted",
        "name__contains",
        "weight__gte",
    ] {
        assert_eq!(names.iter().filter(|name| *name == expected).count(), 1, "{expected} {names:?}");
    }
    assert!(!names.contains(&"filters".to_owned()));
    let schema = |answer: &Value, media_type: &str| answer["content"][media_type]["schema"]["$ref"].clone();
    assert_eq!(schema(&list["responses"]["200"], "application/json"), "#/components/schemas/RowPage");
    let item = &document["paths"]["/datasets/cats/rows/{id}"]["patch"];
    assert_eq!(schema(&item["requestBody"], "application/merge-patch+json"), "#/components/schemas/RowPatch");
    assert!(document["components"]["schemas"]["Row"]["properties"]["weight"].is_object());
}

#[tokio::test]
async fn a_key_sees_what_it_may_read_and_deleted_rows_if_it_may_write() {
    let app = App::with(&[("auth.required", "true"), ("auth.memory_ms", "100")]).await;
    let db = Db::connect(&app.config.database).await.expect("the database answers");
    let key = async |scopes: &str| {
        let grants: Vec<Grant> = scopes.split(' ').map(|scope| scope.parse().expect("a grant")).collect();
        keys::create(&db, &mut rand::rng(), "test", &grants, None).await.expect("a key is made").0
    };
    let get = async |key: &str, path: &str| {
        app.client.get(path).header("Authorization", &format!("Bearer {key}")).send().await
    };
    let declarer = key("schema read:towns").await;
    let towns = json!({ "schema": { "fields": [{ "name": "code", "type": "integer" }, { "name": "town" }], "primaryKey": "code" }, "private": true });
    let pets = json!({
        "fields": [{ "name": "name" }, { "name": "owner", "type": "integer" }],
        "foreignKeys": [{ "fields": "owner", "reference": { "resource": "towns", "fields": "code" } }],
    });
    for (name, body) in [("towns", towns), ("pets", pets)] {
        let put = app
            .client
            .put(&format!("/datasets/{name}"))
            .header("Authorization", &format!("Bearer {declarer}"));
        put.json(body).send().await.expect(201);
    }
    let (reader, writer, both) =
        (key("read:pets").await, key("read:pets write:pets").await, key("read read:towns").await);
    get(&reader, "/datasets/pets/rows").await.expect(200);
    let refused = get(&reader, "/datasets/pets/rows?_deleted=true").await.expect(403);
    assert!(refused.header("www-authenticate").is_some_and(|challenge| challenge.contains("write:pets")));
    get(&reader, "/datasets/pets/facets?columns=name&_deleted=true").await.expect(403);
    get(&reader, "/datasets/pets/statistics?_deleted=true").await.expect(403);
    get(&writer, "/datasets/pets/rows?_deleted=true").await.expect(200);
    let hidden = get(&reader, "/datasets/pets/rows?owner.town=Split").await.expect(400);
    assert_eq!(hidden.codes(), ["unknown_parameter"]);
    get(&both, "/datasets/pets/rows?owner.town=Split").await.expect(200);
    get(&key("read:towns").await, "/datasets/pets/rows").await.expect(404);
    get(&key("write:pets").await, "/datasets/pets/rows").await.expect(403);
}

#[tokio::test]
async fn an_export_comes_back_whatever_the_files_of_the_dataset_are_like() {
    let app = App::start().await;
    let dialects = [
        json!({ "delimiter": "\t" }),
        json!({ "quote": "'" , "delimiter": "|" }),
        json!({ "quote": "none", "delimiter": ";" }),
        json!({ "encoding": "windows-1252", "skip": 2, "comment": "#" }),
        json!({ "escape": "\\" }),
        json!({ "header": false }),
        json!({ "header": false, "encoding": "utf-16", "skip": 1, "comment": "#" }),
    ];
    for (number, dialect) in dialects.into_iter().enumerate() {
        let name = format!("notes_{number}");
        let schema = json!({ "fields": [{ "name": "text" }, { "name": "more" }], "primaryKey": "text" });
        app.declare(&name, json!({ "schema": schema, "dialect": dialect })).await;
        for text in
            ["plain", "#1", "a,b;c|d\te", "\"so\"", "it's", "line\nbreak", "back\\slash", "Мурка", " edge "]
        {
            app.row(&name, json!({ "text": text, "more": if text == "plain" { None } else { Some(text) } }))
                .await;
        }
        let path = format!("/datasets/{name}/rows");
        let csv = app.client.get(&path).header("Accept", "text/csv").send().await.expect(200).text();
        // Without a header nothing tells that the service wrote the file; its mark refuses to be read as something else.
        let is_foreign = dialect["header"] == false && dialect["encoding"].is_string();
        let query = if is_foreign { "?encoding=utf-8" } else { "" };
        let again = app.upload_rows(&name, query, csv.clone()).await;
        assert_eq!(outcome(&again), [0, 0, 9, 0, 0], "{dialect}\n{csv}\n{again}");
    }
}
