//! `/datasets`: declaring, changing and removing datasets, and what files of them become.

use serde_json::{Value, json};

use crate::support::{
    App,
    datasets::cats,
    imports::{count, failure, outcome},
};

const FILE: &str = "Кличка;breed;born;weight;lon;lat\nTom;siberian;01.02.2020;4,5;1.5;2.5\nMia;sphynx;;-;;\n";

#[tokio::test]
async fn a_dataset_is_declared_listed_described_and_purged() {
    let app = App::start().await;
    let declared = app.client.put("/datasets/cats").json(cats()).send().await.expect(201);
    assert_eq!(
        (declared.header("etag"), declared.header("location")),
        (Some("\"1\""), Some("/datasets/cats"))
    );
    let same = app.client.put("/datasets/cats").json(cats()).send().await.expect(200);
    assert_eq!(same.json()["version"], 1);
    let listed = app.client.get("/datasets").send().await.expect(200).json();
    let names: Vec<_> = listed["data"].as_array().expect("a list").iter().map(|each| &each["name"]).collect();
    assert_eq!(names, ["airports", "citizens", "cats"]);
    assert_eq!(listed["data"][2]["kind"], "declared");
    let described = app.client.get("/datasets/cats").send().await.expect(200).json();
    assert_eq!(described["schema"]["fields"][0]["key"], "name");
    assert_eq!(described["schema"]["primaryKey"], json!(["Кличка"]));
    let schema = app.client.get("/datasets/cats/schema").send().await.expect(200).json();
    assert_eq!(schema["fields"].as_array().map(Vec::len), Some(6));
    let row =
        app.client.get("/datasets/cats/schema").header("Accept", "application/schema+json").send().await;
    assert_eq!(row.expect(200).json()["properties"]["breed"]["enum"][0], "siberian");

    app.client.delete("/datasets/cats").send().await.expect(204);
    app.client.get("/datasets/cats").send().await.expect(404);
    let hidden = app.client.put("/datasets/cats").json(cats()).send().await.expect(409);
    assert_eq!(hidden.codes(), ["hidden"]);
    app.client.post("/datasets/cats/restore").send().await.expect(200);
    app.client.delete("/datasets/cats?purge=true").send().await.expect(428);
    app.client.delete("/datasets/cats?purge=true").header("If-Match", "\"9\"").send().await.expect(412);
    app.client.delete("/datasets/cats?purge=true").header("If-Match", "\"1\"").send().await.expect(204);
    app.client.get("/datasets/cats").send().await.expect(404);
    assert_eq!(app.one::<i64>("select count(*) from pg_class c join pg_namespace n on n.oid = relnamespace where nspname = 'datasets'").await, 0);
}

#[tokio::test]
async fn every_fault_of_a_declaration_has_its_place() {
    let app = App::start().await;
    let declaration = json!({ "fields": [
        { "name": "a", "type": "duration" },
        { "name": "b", "constraints": { "pattern": "(?=x)" } },
        { "name": "A" },
        { "name": "c", "key": "limit" },
    ]});
    let refused = app.client.put("/datasets/x").json(declaration).send().await.expect(400).json();
    let faults = refused["errors"].as_array().expect("a list");
    let found: Vec<_> =
        faults.iter().map(|fault| (fault["pointer"].as_str(), fault["code"].as_str())).collect();
    for expected in [
        (Some("/fields/0/type"), Some("unsupported_type")),
        (Some("/fields/1/constraints/pattern"), Some("unsupported_pattern")),
        (Some("/fields/2/name"), Some("ambiguous_name")),
        (Some("/fields/3/key"), Some("reserved_key")),
    ] {
        assert!(found.contains(&expected), "{expected:?} {found:?}");
    }
    app.client.put("/datasets/airports").json(cats()).send().await.expect(409);
    app.client.put("/datasets/Bad__name").json(cats()).send().await.expect(400);
}

#[tokio::test]
async fn a_file_becomes_rows_and_again_changes_nothing() {
    let app = App::start().await;
    app.declare("cats", cats()).await;
    let import = app.upload_rows("cats", "", FILE).await;
    assert_eq!((&import["state"], outcome(&import)), (&json!("complete"), [2, 0, 0, 0, 0]), "{import}");
    assert_eq!(app.stored("cats").await, ["Mia sphynx", "Tom siberian 2020-02-01 4.5 1.5 2.5"]);
    let same = app.upload_rows("cats", "", FILE).await;
    assert_eq!(same["repeated"], true);
    let again = app.upload_rows("cats", "?force=true", FILE).await;
    assert_eq!(outcome(&again), [0, 0, 2, 0, 0]);
    let changed = "Кличка;weight, kg\nTom;5,5\nLeo;1\n";
    let changed = app.upload_rows("cats", "", changed).await;
    assert_eq!(outcome(&changed), [1, 1, 0, 0, 0]);
    let undone = app.client.delete(&format!("/imports/{}", changed["id"])).send().await.expect(200).json();
    assert_eq!((&undone["removed"], &undone["kept"]), (&json!(1), &json!(0)));
    assert_eq!(app.stored("cats").await, ["Mia sphynx", "Tom siberian 2020-02-01 5.5 1.5 2.5"]);
}

#[tokio::test]
async fn rejects_name_column_and_code() {
    let app = App::start().await;
    app.declare("cats", cats()).await;
    let file = "Кличка;breed;born;weight;lon;lat\n;siberian;;;;\nA;lion;;;;\nB;;31.02.2020;;;\nC;;;x;;\nD;;;;200;1\nE;;;;1;\nF;;;\nA;;;1;;\nA;;;2;;\n";
    let import = app.upload_rows("cats", "", file).await;
    let faults = app.faults(&import).await;
    assert_eq!(
        faults,
        [
            "1 Кличка required",
            "2 breed not_allowed",
            "3 born not_a_date",
            "4 weight not_a_number",
            "5 lon out_of_range",
            "6 lat not_a_point",
            "7 - field_count",
            "9 Кличка duplicate_in_file",
        ],
    );
    assert_eq!(count(&import, "inserted"), 1);
}

#[tokio::test]
async fn a_file_is_loaded_as_it_says() {
    let app = App::start().await;
    app.declare("cats", cats()).await;
    app.upload_rows("cats", "", FILE).await;
    let refused = app.post_rows("cats", "?load=append", FILE).await.expect(400);
    assert_eq!(refused.codes(), ["not_allowed"]);
    let inserted = app.upload_rows("cats", "?load=insert", "name;born\nTom;\nLeo;\n").await;
    assert_eq!(outcome(&inserted), [1, 0, 0, 0, 1]);
    assert_eq!(app.faults(&inserted).await, ["1 Кличка key_exists"]);
    let kept = app.upload_rows("cats", "?blanks=keep", "name;born\nTom;\n").await;
    assert_eq!(outcome(&kept), [0, 0, 1, 0, 0]);
    let guarded = app.upload_rows("cats", "?load=sync", "name;born\nTom;\nLeo;x\n").await;
    assert_eq!(failure(&guarded), "too_many_deleted", "{guarded}");
    let synced = app.upload_rows("cats", "?load=sync&max_deleted=1", "name;born\nTom;\nLeo;x\n").await;
    assert_eq!((outcome(&synced), &synced["counts"]["removed"]), ([0, 1, 0, 0, 1], &json!(1)), "{synced}");
    assert_eq!(app.stored("cats").await, ["Leo", "Tom siberian 4.5 1.5 2.5"]);
    let deleted = app.upload_rows("cats", "", "name;born\nMia;\n").await;
    assert_eq!(outcome(&deleted), [0, 0, 0, 1, 0]);
}

fn events() -> Value {
    json!({ "fields": [{ "name": "at", "type": "datetime" }, { "name": "what" }] })
}

#[tokio::test]
async fn rows_without_a_key_are_added_and_the_same_file_is_not() {
    let app = App::start().await;
    app.declare("events", events()).await;
    let file = "at,what\n2026-01-01T00:00:00Z,a\n2026-01-01T00:00:00Z,a\n";
    let import = app.upload_rows("events", "", file).await;
    assert_eq!(outcome(&import), [2, 0, 0, 0, 0]);
    let same = app.upload_rows("events", "", file).await;
    assert_eq!((&same["id"], &same["repeated"]), (&import["id"], &json!(true)));
    app.upload_rows("events", "", "at,what\n2026-01-02T00:00:00Z,b\n").await;
    assert_eq!(app.stored("events").await.len(), 3);
    assert_eq!(app.upload_rows("events", "", file).await["repeated"], true);
    let dry = app.upload_rows("events", "?dry_run=true", "at,what\n2026-01-03T00:00:00Z,c\nx,d\n").await;
    assert_eq!(outcome(&dry), [1, 0, 0, 0, 1]);
    let synced =
        app.upload_rows("events", "?load=sync&max_deleted=100%25", "at,what\n2026-01-03T00:00:00Z,c\n").await;
    assert_eq!((outcome(&synced), &synced["counts"]["removed"]), ([1, 0, 0, 0, 0], &json!(3)), "{synced}");
    assert_eq!(app.stored("events").await, ["2026-01-03T00:00:00+00:00 c"]);
    let undone = app.client.delete(&format!("/imports/{}", import["id"])).send().await.expect(200).json();
    assert_eq!((&undone["removed"], &undone["kept"]), (&json!(0), &json!(2)));
}

#[tokio::test]
async fn a_change_is_planned_and_made() {
    let app = App::start().await;
    app.declare("cats", cats()).await;
    app.upload_rows("cats", "", FILE).await;
    let mut changed = cats();
    let fields = changed["schema"]["fields"].as_array_mut().expect("a list");
    fields.push(json!({ "name": "colour", "type": "string" }));
    let plan = app.client.post("/datasets/cats/plan").json(changed.clone()).send().await.expect(200).json();
    assert_eq!((&plan["class"], plan["changes"].as_array().map(Vec::len)), (&json!("instant"), Some(1)));
    app.client.put("/datasets/cats").json(changed.clone()).send().await.expect(428);
    app.client
        .put("/datasets/cats")
        .json(changed.clone())
        .header("If-Match", "\"7\"")
        .send()
        .await
        .expect(412);
    let put = app.client.put("/datasets/cats").json(changed.clone()).header("If-Match", "\"1\"").send().await;
    assert_eq!(put.expect(200).json()["version"], 2);
    app.upload_rows("cats", "", "name;colour\nTom;red\n").await;

    changed["schema"]["fields"][3]["constraints"] = json!({ "minimum": 5 });
    let plan = app.client.post("/datasets/cats/plan").json(changed.clone()).send().await.expect(200).json();
    assert_eq!(
        (&plan["class"], plan["changes"][0]["rows"].as_array().map(Vec::len)),
        (&json!("checked"), Some(1)),
        "{plan}"
    );
    let refused =
        app.client.put("/datasets/cats").json(changed).header("If-Match", "\"2\"").send().await.expect(409);
    assert_eq!(
        (&refused.json()["rows"][0]["column"], &refused.json()["rows"][0]["code"]),
        (&json!("weight"), &json!("out_of_range"))
    );

    let mut fewer = cats();
    fewer["schema"]["fields"].as_array_mut().expect("a list").remove(1);
    let refused =
        app.client.put("/datasets/cats").json(fewer.clone()).header("If-Match", "\"2\"").send().await;
    assert!(refused.expect(409).codes().contains(&"would_drop".to_owned()));
    let dropped =
        app.client.put("/datasets/cats?drop=true").json(fewer).header("If-Match", "\"2\"").send().await;
    assert_eq!(dropped.expect(200).json()["version"], 3);
    assert_eq!(app.stored("cats").await, ["Mia", "Tom 2020-02-01 4.5 1.5 2.5"]);
}

#[tokio::test]
async fn rows_are_checked_as_files_are() {
    let app = App::start().await;
    app.declare("cats", cats()).await;
    let body = json!({ "columns": ["name", "Breed", "weight, kg"], "rows": [["A", "siberian", "1,5"], ["", "lion", "1.5"], ["B"]] });
    let checked = app.client.post("/datasets/cats/check").json(body).send().await.expect(200).json();
    assert_eq!(checked["data"][0], json!({ "ok": true, "faults": [] }));
    let faults: Vec<_> =
        checked["data"][1]["faults"].as_array().expect("a list").iter().map(|fault| &fault["code"]).collect();
    assert_eq!(faults, ["required", "not_allowed", "not_a_number"]);
    assert_eq!(checked["data"][2]["faults"][0]["code"], "field_count");
    let unknown = json!({ "columns": ["name", "colour"], "rows": [] });
    let refused = app.client.post("/datasets/cats/check").json(unknown).send().await.expect(400);
    assert_eq!(refused.codes(), ["unknown_column"]);
    let airports =
        json!({ "columns": ["name", "country", "latitude", "longitude"], "rows": [["A", "B", "91", "0"]] });
    let checked = app.client.post("/datasets/airports/check").json(airports).send().await.expect(200).json();
    assert_eq!(checked["data"][0]["faults"][0]["column"], "latitude");
}

#[tokio::test]
async fn a_row_that_repeats_a_rejected_one_is_rejected_too() {
    let app = App::start().await;
    app.declare("towns", json!({ "fields": [{ "name": "code" }], "primaryKey": "code" })).await;
    let pets = json!({
        "fields": [{ "name": "name" }, { "name": "town" }],
        "primaryKey": "name",
        "foreignKeys": [{ "fields": "town", "reference": { "resource": "towns", "fields": "code" } }],
    });
    app.declare("pets", pets).await;
    app.upload_rows("towns", "", "code\nA\n").await;
    let import = app.upload_rows("pets", "", "name,town\nTom,B\nTom,B\nMia,A\n").await;
    assert_eq!(app.faults(&import).await, ["1 town unknown_reference", "2 town unknown_reference"]);
    assert_eq!(app.stored("pets").await, ["Mia A"]);
}

#[tokio::test]
async fn a_file_has_both_columns_of_a_point_or_none() {
    let app = App::start().await;
    app.declare("cats", cats()).await;
    let import = app.upload_rows("cats", "", "name;lon\nTom;1\n").await;
    assert_eq!(failure(&import), "missing_column");
    assert_eq!(outcome(&app.upload_rows("cats", "", "name;born\nTom;\n").await), [1, 0, 0, 0, 0]);
}

#[tokio::test]
async fn a_sync_leaves_the_rows_of_rejected_records_and_can_bring_back_an_earlier_file() {
    let app = App::start().await;
    app.declare("events", events()).await;
    let file = "at,what\n2026-01-01T00:00:00Z,a\n2026-01-02T00:00:00Z,b\n";
    app.upload_rows("events", "?load=sync&max_deleted=100%25", file).await;
    let ids: Vec<String> = sqlx::query_scalar("select _id::text from datasets.events order by _row")
        .fetch_all(&app.database.pool)
        .await
        .expect("rows can be read");
    let broken = format!("_id,at,what\n{},never,a\n{},2026-01-02T00:00:00Z,b\n", ids[0], ids[1]);
    let import = app.upload_rows("events", "?load=sync&max_deleted=100%25", broken).await;
    assert_eq!((outcome(&import), &import["counts"]["removed"]), ([0, 0, 1, 0, 1], &json!(0)), "{import}");
    app.upload_rows("events", "?load=sync&max_deleted=100%25", "at,what\n2026-01-03T00:00:00Z,c\n").await;
    let again = app.upload_rows("events", "?load=sync&max_deleted=100%25", file).await;
    assert_eq!((&again["repeated"], app.stored("events").await.len()), (&json!(false), 2));
}

#[tokio::test]
async fn a_dataset_that_changes_while_a_file_comes_is_loaded_as_it_is_then() {
    let app = App::start().await;
    app.declare("cats", cats()).await;
    let (sender, receiver) = tokio::sync::mpsc::channel::<Result<&'static str, std::io::Error>>(1);
    let body = reqwest::Body::wrap_stream(async_stream::stream! {
        let mut receiver = receiver;
        while let Some(piece) = receiver.recv().await {
            yield piece;
        }
    });
    sender.send(Ok("name;colour\n")).await.expect("it is taken");
    let upload = app.post_rows("cats", "", body);
    let change = async {
        let mut changed = cats();
        changed["schema"]["fields"].as_array_mut().expect("a list").push(json!({ "name": "colour" }));
        let put = app.client.put("/datasets/cats").json(changed).header("If-Match", "\"1\"").send().await;
        put.expect(200);
        sender.send(Ok("Tom;red\n")).await.expect("it is taken");
        drop(sender);
    };
    let (answer, ()) = tokio::join!(upload, change);
    let import = answer.expect(200).json();
    assert_eq!((&import["dataset_version"], outcome(&import)), (&json!(2), [1, 0, 0, 0, 0]), "{import}");
}

#[tokio::test]
async fn a_reference_goes_to_a_key_that_there_is() {
    let app = App::start().await;
    let towns = json!({ "fields": [{ "name": "code" }, { "name": "size", "type": "integer" }], "primaryKey": "code" });
    app.declare("towns", towns).await;
    let pets = |dataset: &str, field: &str| {
        json!({
            "fields": [{ "name": "name" }, { "name": "town" }],
            "foreignKeys": [{ "fields": "town", "reference": { "resource": dataset, "fields": field } }],
        })
    };
    for (dataset, field, code, place) in [
        ("villages", "code", "unknown_dataset", "resource"),
        ("airports", "icao", "unknown_dataset", "resource"),
        ("towns", "zip", "unknown_column", "fields"),
        ("towns", "size", "not_allowed", "fields"),
    ] {
        let refused = app.client.put("/datasets/pets").json(pets(dataset, field)).send().await.expect(400);
        let pointer = format!("/foreignKeys/0/reference/{place}");
        assert_eq!(
            (refused.codes(), &refused.json()["errors"][0]["pointer"]),
            (vec![code.to_owned()], &json!(pointer))
        );
    }
    app.client
        .put("/datasets/pets")
        .json(pets("towns", "code"))
        .header("If-Match", "*")
        .send()
        .await
        .expect(412);
    app.declare("pets", pets("towns", "code")).await;
}

#[tokio::test]
async fn rejects_of_a_declared_dataset_come_under_its_names() {
    let app = App::start().await;
    app.declare("cats", cats()).await;
    let import = app.upload_rows("cats", "", "name;born\nTom;x\n").await;
    let rejects = app.client.get(&format!("/imports/{}/rejects.csv", import["id"])).send().await.expect(200);
    let text = rejects.text();
    assert!(text.starts_with("Кличка;born;_row"), "{text}");
    let back = app.upload_rows("cats", "", text.replace(";x;", ";01.02.2020;")).await;
    assert_eq!(outcome(&back), [1, 0, 0, 0, 0], "{back}");
}

#[tokio::test]
async fn a_deleted_row_comes_back_only_by_the_rules_of_now() {
    let app = App::start().await;
    let cats = |required: bool| json!({ "fields": [{ "name": "name" }, { "name": "breed", "constraints": { "required": required } }] });
    app.declare("cats", cats(false)).await;
    let row =
        app.client.post("/datasets/cats/rows").json(json!({ "name": "Tom" })).send().await.expect(201).json();
    let path = format!("/datasets/cats/rows/{}", row["_id"].as_str().expect("an id"));
    app.client.delete(&path).send().await.expect(204);
    let put = app.client.put("/datasets/cats").json(cats(true)).header("If-Match", "\"1\"").send().await;
    put.expect(200);
    let refused = app.client.post(&format!("{path}/restore")).send().await.expect(409);
    assert_eq!(refused.codes(), ["required"]);
}

#[tokio::test]
async fn a_key_of_several_columns_fits_into_its_index() {
    let app = App::start().await;
    let pairs = json!({ "fields": [{ "name": "a" }, { "name": "b" }], "primaryKey": ["a", "b"] });
    app.declare("pairs", pairs).await;
    let long = "x".repeat(1_500);
    let import = app.upload_rows("pairs", "", format!("a,b\n{long},{long}\n{long},y\n")).await;
    assert_eq!((app.faults(&import).await, count(&import, "inserted")), (vec!["1 b length".to_owned()], 1));
    let body = json!({ "a": long, "b": long });
    let refused = app.client.post("/datasets/pairs/rows").json(body).send().await.expect(400);
    assert_eq!(refused.codes(), ["length"]);
}
