//! Citizens from files: the engine's part of `POST /imports`.

use reqwest::Body;
use serde_json::{Value, json};

use crate::support::{App, files::zip, imports::outcome};

const HEADER: &str = "citizen_id,town,street,building,apartment,name,birth_date,gender,relatives,channel\n";

/// A good row.
fn citizen(id: u32, relatives: &str) -> String {
    format!("{id},Керчь,Иосифа Бродского,2,11,Романова Мария,23.11.1986,female,{relatives},radio\n")
}

/// Sends a file and waits for the end of its import.
async fn import(app: &App, query: &str, media_type: &str, file: impl Into<Body>) -> Value {
    let request = app.client.post(&format!("/imports{query}")).header("Content-Type", media_type);
    let answer = request.header("Prefer", "wait=60").body(file).send().await;
    answer.expect(200).json()
}

async fn import_csv(app: &App, query: &str, rows: &str) -> Value {
    import(app, query, "text/csv", HEADER.to_owned() + rows).await
}

async fn citizens(app: &App, import: &Value) -> Value {
    app.client.get(&format!("/imports/{}/citizens", import["id"])).send().await.expect(200).json()
}

/// Row, code and whether the row was loaded all the same.
async fn reports(app: &App, import: &Value) -> Vec<(Value, Value, Value)> {
    let rejects = app.rejects(import).await;
    rejects
        .into_iter()
        .map(|mut reject| (reject["row"].take(), reject["code"].take(), reject["accepted"].take()))
        .collect()
}

#[tokio::test]
async fn a_file_of_citizens_is_imported_with_their_relations() {
    let app = App::start().await;
    let imported = import_csv(&app, "", &(citizen(1, "3;2") + &citizen(2, "1") + &citizen(3, "3;1"))).await;
    assert_eq!(outcome(&imported), [3, 0, 0, 0, 0]);
    let citizens = citizens(&app, &imported).await;
    let relatives: Vec<_> =
        citizens["data"].as_array().expect("a list").iter().map(|citizen| &citizen["relatives"]).collect();
    assert_eq!(relatives, [&json!([2, 3]), &json!([1]), &json!([1, 3])]);
    assert_eq!(citizens["data"][0]["town"], "Керчь");
}

#[tokio::test]
async fn a_relation_to_nobody_or_from_one_side_is_left_out_and_reported() {
    let app = App::start().await;
    let imported = import_csv(&app, "", &(citizen(1, "2;9") + &citizen(2, "") + &citizen(3, "3"))).await;
    assert_eq!(outcome(&imported), [3, 0, 0, 0, 0]);
    assert_eq!(imported["counts"]["relations_dropped"], 2);
    assert_eq!(reports(&app, &imported).await, [(json!(1), json!("unknown_relative"), json!(true))]);
    let rejects = app.rejects(&imported).await;
    assert_eq!(rejects[0]["message"], "relations are left out: 2 does not list it, 9 is not in this import");
    assert_eq!(citizens(&app, &imported).await["data"][0]["relatives"], json!([]));
}

#[tokio::test]
async fn a_strict_import_fails_over_a_relation_that_is_not_mutual() {
    let app = App::start().await;
    let imported = import_csv(&app, "?mode=strict", &(citizen(1, "2") + &citizen(2, ""))).await;
    assert_eq!(
        (&imported["state"], &imported["error"]["code"]),
        (&json!("failed"), &json!("rejects_in_strict_mode"))
    );
    app.client.get(&format!("/imports/{}/citizens", imported["id"])).send().await.expect(409);
    assert_eq!(app.one::<i64>("select count(*) from citizens").await, 0);
}

#[tokio::test]
async fn of_two_rows_with_one_number_the_lower_wins_whatever_the_chunks() {
    for chunk_rows in ["1", "2", "100"] {
        let app = App::with(&[("ingest.chunk_rows", chunk_rows)]).await;
        let again = citizen(1, "").replace("Мария", "Иная");
        let imported = import_csv(&app, "", &(citizen(1, "2") + &again + &citizen(2, "1") + &again)).await;
        assert_eq!(outcome(&imported), [2, 0, 0, 0, 2]);
        let expected = [2, 4].map(|row| (json!(row), json!("duplicate_in_file"), json!(false)));
        assert_eq!(reports(&app, &imported).await, expected);
        assert_eq!(citizens(&app, &imported).await["data"][0]["name"], "Романова Мария");
    }
}

#[tokio::test]
async fn every_rule_of_the_contract_holds_for_files() {
    let app = App::start().await;
    let good = citizen(1, "");
    let faults = [
        (good.replace("1,Керчь", "-1,Керчь"), "citizen_id out_of_range"),
        (good.replace("1,Керчь", "1.0,Керчь"), "citizen_id not_an_integer"),
        (good.replace("Керчь", "!?"), "town no_letter_or_digit"),
        (good.replace(",2,11,", ",,11,"), "building required"),
        (good.replace(",11,", ",x,"), "apartment not_an_integer"),
        (good.replace("23.11.1986", "31.02.1986"), "birth_date not_a_date"),
        (good.replace("23.11.1986", "1.1.1990"), "birth_date not_a_date"),
        (good.replace("female", "woman"), "gender not_allowed"),
        (good.replace(",female,,", ",female,2;2,"), "relatives not_unique"),
        (good.replace(",female,,", ",female,2;x,"), "relatives not_an_integer"),
    ];
    let rows: String = faults.iter().map(|(row, _)| row.as_str()).collect();
    let imported = import_csv(&app, "", &rows).await;
    let expected: Vec<_> = faults.iter().zip(1..).map(|((_, fault), row)| format!("{row} {fault}")).collect();
    assert_eq!(app.faults(&imported).await, expected);
}

#[tokio::test]
async fn what_is_exported_can_be_imported_and_is_the_same() {
    let app = App::start().await;
    let first = import_csv(&app, "", &(citizen(1, "2") + &citizen(2, "1") + &citizen(7, ""))).await;
    let path = format!("/imports/{}/citizens", first["id"]);
    let csv = app.client.get(&path).header("Accept", "text/csv").send().await.expect(200).body;
    let second = import(&app, "", "text/csv", csv).await;
    assert_eq!(outcome(&second), [3, 0, 0, 0, 0]);
    assert_eq!(citizens(&app, &second).await, citizens(&app, &first).await);
}

#[tokio::test]
async fn whatever_a_citizen_may_be_called_is_the_same_after_an_export() {
    let app = App::start().await;
    let texts = [
        r"\N",
        r"\'",
        r"\",
        r"\.",
        "'",
        "\"",
        "\"\"",
        ",",
        ";",
        "a\nb",
        "a\rb",
        "a\r\nb",
        "\ra",
        "a\n",
        " a ",
        "\ta\t",
        "\u{feff}a",
        "NULL",
        "null",
        "-",
        "=1+1",
        "\u{1f6eb}",
        "row",
        "_id",
    ];
    let row = |(number, text): (i64, &&str)| {
        let place = format!("{text}1");
        json!({
            "citizen_id": number, "town": place, "street": place, "building": place, "apartment": i64::MAX, "name": text,
            "birth_date": "29.02.2000", "gender": "male", "relatives": [number], "channel": text,
        })
    };
    let first = app.import_citizens(Value::from_iter((0..).zip(&texts).map(row))).await;
    let path = format!("/imports/{first}/citizens");
    let csv = app.client.get(&path).header("Accept", "text/csv").send().await.expect(200).body;
    let second = import(&app, "", "text/csv", csv).await;
    assert_eq!(outcome(&second), [texts.len() as i64, 0, 0, 0, 0], "{:?}", app.rejects(&second).await);
    assert_eq!(citizens(&app, &second).await["data"], Value::from(app.citizens(first).await));
}

#[tokio::test]
async fn dropped_relations_are_counted_whatever_the_chunks_and_in_a_dry_run() {
    let rows =
        citizen(1, "2;3;9") + &citizen(2, "1;4") + &citizen(3, "") + &citizen(4, "2;2") + &citizen(3, "1");
    for chunk_rows in ["1", "100"] {
        let app = App::with(&[("ingest.chunk_rows", chunk_rows)]).await;
        for query in ["?dry_run=true", ""] {
            let imported = import_csv(&app, query, &rows).await;
            // 1 lists 3, who does not list back, and 9, who is not there; 2 lists 4, whose row is rejected.
            assert_eq!(outcome(&imported), [3, 0, 0, 0, 2], "{imported}");
            assert_eq!(imported["counts"]["relations_dropped"], 3, "{imported}");
        }
    }
    let app = App::start().await;
    let strict = import_csv(&app, "?mode=strict", &(citizen(1, "2") + &citizen(2, ""))).await;
    assert_eq!((&strict["state"], &strict["counts"]["relations_dropped"]), (&json!("failed"), &json!(1)));
}

#[tokio::test]
async fn the_same_file_is_answered_with_its_set_whatever_has_happened_since() {
    let app = App::start().await;
    let first = import_csv(&app, "", &citizen(1, "")).await;
    assert_eq!(first["repeated"], false);
    import_csv(&app, "", &citizen(2, "")).await;
    app.patch(1, 1, json!({ "town": "Elsewhere" })).await.expect(200);
    let again = import_csv(&app, "", &citizen(1, "")).await;
    assert_eq!((&again["id"], &again["repeated"]), (&first["id"], &json!(true)));
    app.client.delete("/imports/1").send().await.expect(200);
    let again = import_csv(&app, "", &citizen(1, "")).await;
    assert_eq!((&again["id"], &again["repeated"]), (&json!(3), &json!(false)), "but for its undo");
}

#[tokio::test]
async fn a_zip_of_citizens_is_one_import() {
    let app = App::start().await;
    let files = zip(&[
        ("a.csv", (HEADER.to_owned() + &citizen(1, "2")).as_bytes()),
        ("b.csv", (HEADER.to_owned() + &citizen(2, "1")).as_bytes()),
    ]);
    let imported = import(&app, "", "application/zip", files).await;
    assert_eq!(outcome(&imported), [2, 0, 0, 0, 0]);
    assert_eq!(citizens(&app, &imported).await["data"][0]["relatives"], json!([2]));
}

#[tokio::test]
async fn a_dry_run_and_an_undone_import_leave_no_citizens() {
    let app = App::start().await;
    let rows = citizen(1, "2") + &citizen(2, "1") + &citizen(2, "");
    let dry = import_csv(&app, "?dry_run=true", &rows).await;
    assert_eq!((outcome(&dry), app.one::<i64>("select count(*) from citizens").await), ([2, 0, 0, 0, 1], 0));
    let real = import_csv(&app, "", &rows).await;
    assert_eq!(outcome(&real), outcome(&dry));
    let undone = app.client.delete(&format!("/imports/{}", real["id"])).send().await.expect(200).json();
    assert_eq!((&undone["removed"], &undone["kept"]), (&json!(2), &json!(0)));
    assert_eq!(app.one::<i64>("select count(*) from citizens").await, 0);
}

#[tokio::test]
async fn parameters_for_files_are_refused_with_json() {
    let app = App::start().await;
    for query in
        ["mode=strict", "max_rejects=1", "force=true", "delimiter=;", "escape=!", "null=-", "header=present"]
    {
        let request = app.client.post(&format!("/imports?{query}")).json(json!({"citizens": []}));
        let problem = request.send().await.expect(400).json();
        assert!(problem["detail"].as_str().expect("words").contains("for files"), "{problem}");
    }
    assert_eq!(app.one::<i64>("select count(*) from imports").await, 0);
}
