//! How files are read: what is a header, what is between fields, what is no record, what a ZIP has besides data.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    App,
    files::{HEADER, bad_row, row, rows, zip, zip_stored},
    imports::{count, failure, outcome},
};

const FOUR: &str = "name,country,latitude,longitude\n";

fn message(import: &Value) -> &str {
    import["error"]["message"].as_str().expect("a failed import says why")
}

fn notes(import: &Value) -> Vec<(&Value, &Value)> {
    let notes = import["notes"].as_array().expect("a list");
    notes.iter().map(|note| (&note["code"], &note["file"])).collect()
}

#[tokio::test]
async fn a_header_in_other_letters_is_read_by_name() {
    let app = App::start().await;
    let file = "Id,Name,City,Country,IATA,ICAO,Longitude,Latitude,Altitude,Timezone,DST,Tz,Type,Source\n\
                9001,Fjordvik,Fjordvik,Testland,QFA,QFAA,10.5,59.25,120,1,E,Europe/Oslo,airport,me\n";
    assert_eq!(outcome(&app.upload("", file).await), [1, 0, 0, 0, 0]);
    let place = "select concat_ws('|', longitude, latitude) from airports";
    assert_eq!(app.one::<String>(place).await, "10.5|59.25");
    // Neither blanks nor byte order marks make other names.
    let file = "\u{feff}\u{feff}\"Id\", Name,country\u{a0},\u{200b}Longitude,Latitude\n9001,Fjordvik,Testland,11,60\n";
    assert_eq!(outcome(&app.upload("", file).await), [0, 1, 0, 0, 0]);
    assert_eq!(app.one::<String>(place).await, "11|60");
}

#[tokio::test]
async fn a_header_with_an_unknown_name_fails_the_import_and_loads_nothing() {
    let app = App::start().await;
    for (names, unknown) in [
        ("id,name,country,latitude,longitud", "\"longitud\""),
        ("code,name,country,latitude,longitude", "\"code\""),
        ("id,name,country,latitude,longitude,row", "\"row\""),
        ("id,name,country,latitude,longitude,_code", "\"_code\""),
        ("id,name,,country,latitude,longitude", "\"\""),
    ] {
        let row = names.split(',').map(|_| "1").collect::<Vec<_>>().join(",");
        let import = app.upload("", format!("{names}\n{row}\n")).await;
        assert_eq!(failure(&import), "unknown_column", "{names}");
        assert!(message(&import).contains(unknown), "{import}");
    }
    let misspelt = HEADER.replace("tz", "zone") + "\n" + &rows(1..20);
    assert_eq!(failure(&app.upload("", misspelt).await), "unknown_column");
    assert_eq!(app.one::<i64>("select count(*) from airports").await, 0);
}

#[tokio::test]
async fn a_city_named_city_in_a_country_named_country_is_data() {
    let app = App::start().await;
    assert_eq!(outcome(&app.upload("", row(1) + &row(2)).await), [2, 0, 0, 0, 0]);
    assert_eq!(outcome(&app.upload("", bad_row(3) + &row(4)).await), [1, 0, 0, 0, 1]);
}

#[tokio::test]
async fn citizens_under_a_header_in_other_letters_are_read_by_name() {
    let app = App::start().await;
    let file = "citizen_id,street,town,building,apartment,name,birth_date,gender,relatives,Channel\n\
                1,Main Street,Springfield,2,7,Ann,26.12.1986,female,,radio\n";
    let request = app.client.post("/imports").header("Content-Type", "text/csv").header("Prefer", "wait=60");
    let import = request.body(file).send().await.expect(200).json();
    assert_eq!(outcome(&import), [1, 0, 0, 0, 0]);
    assert_eq!(
        app.one::<String>("select concat_ws('|', street, town) from citizens").await,
        "Main Street|Springfield"
    );
}

#[tokio::test]
async fn a_first_line_may_state_the_delimiter() {
    let app = App::with(&[("ingest.chunk_rows", "2")]).await;
    let semicolons = |text: &str| text.replace(',', ";");
    let file =
        format!("sep=;\r\n{HEADER}\r\n") + &rows(1..=3) + &bad_row(4) + &row(1).replace("City", "Town");
    let file = semicolons(&file);
    let import = app.upload("", file.clone()).await;
    assert_eq!(outcome(&import), [3, 0, 0, 0, 2]);
    let rejects = app.rejects(&import).await;
    let places: Vec<_> =
        rejects.iter().map(|reject| json!([reject["row"], reject["line"], reject["code"]])).collect();
    assert_eq!(places, [json!([4, 6, "out_of_range"]), json!([5, 7, "duplicate_in_file"])]);
    // The rejects are in the dialect of the upload: as they are, they are read again.
    let path = format!("/imports/{}/rejects.csv", import["id"]);
    let csv = app.client.get(&path).send().await.expect(200).text();
    assert!(csv.contains("\r\n4,Airport 4,City,Country,"), "{csv}");
    assert_eq!(outcome(&app.upload("", csv.replace(",91,", ",9,")).await), [1, 1, 0, 0, 0]);

    let import = app.upload("?delimiter=%2C", file.clone()).await;
    assert_eq!(failure(&import), "contradiction");
    assert!(message(&import).starts_with("line 1: "), "{import}");
    assert_eq!(app.upload("?delimiter=%3B", file).await["state"], "complete");
    let files = [
        ("a.csv", semicolons(&format!("sep=;\n{}", row(11)))),
        ("b.csv", row(12)),
        ("c.csv", format!("sep=,\n{}", row(13))),
    ];
    assert_eq!(outcome(&app.upload_as("application/zip", zip(&files)).await), [3, 0, 0, 0, 0]);
}

#[tokio::test]
async fn records_that_all_have_a_wrong_number_of_fields_fail_the_import() {
    let app = App::start().await;
    let file = rows(1..=200).replace(',', ";");
    let import = app.upload("", file.clone()).await;
    assert_eq!(failure(&import), "wrong_shape");
    assert_eq!(
        message(&import),
        "line 1: each of the first 100 records has 1 field, airports has 14 columns; with the delimiter ; they have 14"
    );
    assert_eq!(count(&import, "rows_read"), 0);
    let import = app.upload("", format!("{FOUR}A,B,1\nC,D,1\n")).await;
    assert_eq!(failure(&import), "wrong_shape");
    assert_eq!(message(&import), "line 2: each of the first 2 records has 3 fields, the header has 4");
    // One that is right, or two kinds of wrong ones, and they are rejects.
    let import = app.upload("", "1;A\n".repeat(99) + &row(1)).await;
    assert_eq!(outcome(&import), [1, 0, 0, 0, 99]);
    assert_eq!(outcome(&app.upload("", format!("{FOUR}A,B,1\nC,D\n")).await), [0, 0, 0, 0, 2]);
    assert_eq!(outcome(&app.upload("?delimiter=%3B", file).await), [199, 0, 1, 0, 0]);
}

#[tokio::test]
async fn empty_last_columns_are_left_out_and_said() {
    let app = App::with(&[("ingest.chunk_rows", "1")]).await;
    let file = "id,name,country,latitude,longitude,,\n9995,E,ExLand,1,1,,\n9996,F,ExLand,1,1\n9997,G,ExLand,1,1,,x\n";
    let import = app.upload("", file).await;
    assert_eq!(outcome(&import), [2, 0, 0, 0, 1]);
    assert_eq!(app.faults(&import).await, ["3 - field_count"]);
    let message = "columns 6 to 7, the last ones, have no names and no values and are left out";
    let note = json!({"code": "empty_column", "file": null, "column": null, "message": message});
    assert_eq!(import["notes"], json!([note]));

    let trailing = |id: u32| row(id).replace('\n', ",\n");
    let file: String =
        (1..=150).map(trailing).collect::<String>() + &row(151) + &trailing(152).replace(",\n", ",x\n");
    let import = app.upload("", file).await;
    assert_eq!(outcome(&import), [151, 0, 0, 0, 1]);
    assert_eq!(app.faults(&import).await, ["152 - field_count"]);
    assert_eq!(notes(&import), [(&json!("empty_column"), &Value::Null)]);
    assert_eq!(app.upload("", row(1)).await["notes"], json!([]));
}

#[tokio::test]
async fn records_of_nothing_but_empty_fields_are_no_records() {
    for chunk_rows in ["1", "3", "100"] {
        let app = App::with(&[("ingest.chunk_rows", chunk_rows)]).await;
        let blank = ",,,,,,,,,,,,,\n\"\",\"\"\n,\n";
        let file = blank.to_owned()
            + HEADER
            + "\n"
            + blank
            + &row(1)
            + blank
            + &bad_row(2)
            + blank
            + &row(1).replace("City", "Town");
        let import = app.upload("", file + &blank.repeat(5_000)).await;
        assert_eq!((count(&import, "rows_read"), outcome(&import)), (3, [1, 0, 0, 0, 2]));
        let rejects = app.rejects(&import).await;
        let places: Vec<_> = rejects.iter().map(|reject| json!([reject["row"], reject["line"]])).collect();
        assert_eq!(places, [json!([2, 12]), json!([3, 16])], "{chunk_rows}");
    }
}

#[tokio::test]
async fn text_after_a_closing_quote_is_a_reject_unless_an_escape_says_what_is_meant() {
    let app = App::start().await;
    let villa = r#"9101,"Villa \"Roma\" Airfield","Roma","QuoteA",\N,\N,1.5,2.5,10,1,E,Europe/Oslo,airport,OurAirports"#;
    let little = row(1).replace("Airport 1", "\"Little\" Strip");
    let text = row(2).replace("Airport 2", "A \"B\" C");
    let file = format!("{villa}\n{little}{text}");
    let import = app.upload("", file.clone()).await;
    assert_eq!(outcome(&import), [1, 0, 0, 0, 2]);
    assert_eq!(app.faults(&import).await, ["1 - malformed_quotes", "2 - malformed_quotes"]);
    assert_eq!(app.one::<String>("select name from airports").await, "A \"B\" C");

    let import = app.upload(r"?escape=\", file.clone()).await;
    assert_eq!(outcome(&import), [1, 0, 1, 0, 1]);
    let stored = "select concat_ws('|', name, iata) from airports where openflights_id = 9101";
    assert_eq!(app.one::<String>(stored).await, r#"Villa "Roma" Airfield"#);
    assert_eq!(app.faults(&import).await, ["2 - malformed_quotes"]);
}

#[tokio::test]
async fn an_escaped_file_comes_back_from_its_rejects() {
    let app = App::with(&[("ingest.chunk_rows", "1")]).await;
    let file = row(1) + &bad_row(2).replace("City", r"a\\b\,c\\") + &row(1).replace("City", r"d\\e");
    let import = app.upload(r"?escape=\", file).await;
    assert_eq!(outcome(&import), [1, 0, 0, 0, 2]);
    let path = format!("/imports/{}/rejects.csv", import["id"]);
    let csv = app.client.get(&path).send().await.expect(200).text();
    assert_eq!(outcome(&app.upload(r"?escape=\", csv.replace(",91,", ",9,")).await), [1, 1, 0, 0, 0]);
    let cities = "select string_agg(city, '|' order by openflights_id) from airports";
    assert_eq!(app.one::<String>(cities).await, r"d\e|a\b,c\");
    let contract = app.client.request(Method::OPTIONS, "/upload").send().await.expect(200).json();
    assert_eq!(contract["dialect"]["escape"], Value::Null);
}

#[tokio::test]
async fn a_zip_with_two_entries_of_one_name_fails_whole() {
    let app = App::start().await;
    let mut packed = zip_stored(&[("part.csv", row(1)), ("tray.csv", row(2))]);
    while let Some(at) = packed.windows(8).position(|bytes| bytes == b"tray.csv") {
        packed[at..at + 8].copy_from_slice(b"part.csv");
    }
    let import = app.upload_as("application/zip", packed).await;
    assert_eq!(failure(&import), "repeated_name");
    assert!(message(&import).contains("\"part.csv\""), "{import}");
    assert_eq!(app.one::<i64>("select count(*) from airports").await, 0);
}

#[tokio::test]
async fn what_lies_beside_the_data_of_a_zip_is_passed_over_and_listed() {
    let app = App::start().await;
    let beside = ["00-README.txt", "LICENSE", "desktop.ini", "~$airports.csv", "d/.hidden.csv", "map.pdf"];
    let mut files: Vec<_> =
        beside.iter().map(|name| (*name, "Airports of the world\nsee licence\n".to_owned())).collect();
    files.push(("airports.csv", row(1)));
    let import = app.upload_as("application/zip", zip(&files)).await;
    assert_eq!(outcome(&import), [1, 0, 0, 0, 0]);
    let code = json!("passed_over");
    let expected = beside.map(|name| json!(name));
    assert_eq!(notes(&import), expected.iter().map(|name| (&code, name)).collect::<Vec<_>>());

    let import = app.upload_as("application/zip", zip(&files[..6])).await;
    assert_eq!(failure(&import), "empty_archive");
    assert!(message(&import).contains("\"00-README.txt\", \"LICENSE\""), "{import}");
}

#[tokio::test]
async fn a_file_of_a_zip_that_is_no_csv_of_these_columns_is_named() {
    let app = App::start().await;
    let data = format!("{FOUR}A,B,1,2\n");
    for text in
        ["Airports of the world\nsee licence\n", "Airports, of the world\nsee, among others, the licence\n"]
    {
        let files = [("notes.txt", text), ("airports.csv", &data)];
        let import = app.upload_as("application/zip", zip(&files)).await;
        assert_eq!(failure(&import), "wrong_shape");
        assert!(message(&import).starts_with("notes.txt: line 1: "), "{import}");
    }
    let import = app.upload_as("application/zip", zip(&[("a.txt", "one line\n"), ("b.csv", &data)])).await;
    assert_eq!(failure(&import), "columns_differ");
    assert!(message(&import).starts_with("b.csv: the columns are not those of a.txt;"), "{import}");
}

#[tokio::test]
async fn a_file_of_a_zip_without_records_takes_no_column_from_the_others() {
    let app = App::start().await;
    app.upload("", row(1)).await;
    let before =
        app.one::<String>("select a::text from (select city, altitude, dst, source from airports) a").await;
    let data = "name,country,latitude,longitude,id\nRenamed,Country,-79,-149,1\n";
    for empty in ["\n", "\u{feff}", ",,,\n"] {
        let files = [("a.csv", empty), ("b.csv", data)];
        let import = app.upload_as("application/zip", zip(&files)).await;
        assert_eq!(import["state"], "complete", "{import}");
        let after = "select a::text from (select city, altitude, dst, source from airports) a";
        assert_eq!(app.one::<String>(after).await, before, "{empty:?}");
    }
}
