//! `/imports/{id}/rejects`: rejects as JSON and as a CSV that is corrected and posted back.

use serde_json::{Value, json};

use crate::support::{
    App,
    files::{HEADER, bad_row, row, rows, zip},
    imports::{id, outcome},
};

async fn csv_of(app: &App, import: &Value) -> String {
    let path = format!("/imports/{}/rejects.csv", id(import));
    let answer = app.client.get(&path).send().await.expect(200);
    assert_eq!(answer.header("content-type"), Some("text/csv"));
    let disposition = format!("attachment; filename=\"import-{}-rejects.csv\"", id(import));
    assert_eq!(answer.header("content-disposition"), Some(disposition.as_str()));
    let accepted = app.client.get(&path.replace(".csv", "")).header("Accept", "text/csv").send().await;
    assert_eq!(accepted.expect(200).text(), answer.text());
    answer.text()
}

#[tokio::test]
async fn a_reject_names_row_line_column_code_message_value_and_record() {
    let app = App::start().await;
    let file =
        row(1) + "2,\"Two\nlines\",City,Country,TOOLONG,\\N,91,0,abc,0,U,\\N,airport,Test\n" + &bad_row(3);
    let import = app.upload("", file).await;
    let rejects = app.rejects(&import).await;
    assert_eq!(
        rejects[0],
        json!({
            "row": 2, "line": 2, "file": null, "column": "iata", "code": "length",
            "message": "iata must be 3 capital letters or digits, or null", "value": "TOOLONG",
            "byte_offset": null,
            "more": [
                { "column": "latitude", "code": "out_of_range",
                  "message": "latitude must be a number from -90 to 90", "value": "91" },
                { "column": "altitude", "code": "not_an_integer",
                  "message": "altitude must be a whole number from -2000 to 30000, or null", "value": "abc" },
            ],
            "record": "2,\"Two\nlines\",City,Country,TOOLONG,\\N,91,0,abc,0,U,\\N,airport,Test",
            "accepted": false,
        })
    );
    assert_eq!(
        (&rejects[1]["row"], &rejects[1]["line"]),
        (&json!(3), &json!(4)),
        "a record may have two lines"
    );
}

#[tokio::test]
async fn rejects_come_page_by_page() {
    let app = App::with(&[("ingest.chunk_rows", "2")]).await;
    let file: String = (1..=9).map(|id| if id % 2 == 0 { row(id) } else { bad_row(id) }).collect();
    let import = app.upload("", file).await;
    let (mut seen, mut path) = (Vec::new(), Some(format!("/imports/{}/rejects?limit=2", id(&import))));
    while let Some(next) = path {
        let answer = app.client.get(&next).send().await.expect(200);
        let page = answer.json();
        seen.extend(page["data"].as_array().expect("a list").iter().map(|reject| reject["row"].clone()));
        path = answer
            .header("link")
            .map(|link| link.split_once(">; rel=\"next\"").expect("the next page").0[1..].to_owned());
    }
    assert_eq!(seen, [1, 3, 5, 7, 9]);
    for query in ["limit=0", "limit=10001", "cursor=x", "page=2"] {
        app.client.get(&format!("/imports/{}/rejects?{query}", id(&import))).send().await.expect(400);
    }
}

#[tokio::test]
async fn the_csv_has_the_original_columns_then_what_was_wrong() {
    let app = App::start().await;
    let import = app.upload("", row(1) + &bad_row(2).replace("City", "\"a, b\"")).await;
    assert_eq!(
        csv_of(&app, &import).await,
        format!(
            "{HEADER},_row,_line,_file,_column,_code,_message\r\n\
             2,Airport 2,\"a, b\",Country,\\N,\\N,91,0,0,0,U,\\N,airport,Test,2,2,,latitude,out_of_range,\
             latitude must be a number from -90 to 90\r\n"
        )
    );
}

#[tokio::test]
async fn the_csv_keeps_the_order_of_the_header_and_the_dialect() {
    let app = App::start().await;
    let file = "country;latitude;name;longitude\nC;91;'a;b';2\n";
    let import = app.upload("?delimiter=%3B&quote=%27", file).await;
    let csv = csv_of(&app, &import).await;
    let lines: Vec<_> = csv.lines().collect();
    assert_eq!(lines[0], "country;latitude;name;longitude;_row;_line;_file;_column;_code;_message");
    assert!(lines[1].starts_with("C;91;'a;b';2;1;2;;latitude;out_of_range;"), "{csv}");
    let import = app.upload("?delimiter=%3B&quote=%27", csv.replace(";91;", ";9;")).await;
    assert_eq!(outcome(&import), [1, 0, 0, 0, 0]);
    assert_eq!(app.one::<String>("select name from airports").await, "a;b");
}

#[tokio::test]
async fn corrected_rejects_can_be_posted_back_as_they_are() {
    let app = App::start().await;
    let file = rows([1, 2]) + &bad_row(3) + &bad_row(4) + &row(5);
    let import = app.upload("", file).await;
    assert_eq!(outcome(&import), [3, 0, 0, 0, 2]);
    let csv = csv_of(&app, &import).await;
    // One is corrected; the other keeps its fault.
    let import = app.upload("", csv.replacen(",91,", ",9,", 1)).await;
    assert_eq!(outcome(&import), [1, 0, 0, 0, 1]);
    assert_eq!(app.faults(&import).await, ["2 latitude out_of_range"]);
    let csv = csv_of(&app, &import).await;
    assert_eq!(csv.lines().next().map(|line| line.matches("_row,_line").count()), Some(1), "{csv}");
    assert_eq!(outcome(&app.upload("", csv.replace(",91,", ",9,")).await), [1, 0, 0, 0, 0]);
    assert_eq!(app.one::<i64>("select count(*) from airports").await, 5);
}

/// The records of a CSV, but for the header.
fn records(csv: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let records = csv::Reader::from_reader(csv).into_byte_records();
    let records = records.map(|record| record.expect("all records have as many fields"));
    records.map(|record| record.iter().map(<[u8]>::to_vec).collect()).collect()
}

async fn bytes_of(app: &App, import: &Value) -> Vec<u8> {
    let path = format!("/imports/{}/rejects.csv", id(import));
    app.client.get(&path).send().await.expect(200).body
}

#[tokio::test]
async fn what_could_not_be_told_into_fields_comes_as_it_was_and_is_refused_until_its_code_is_emptied() {
    let app = App::with(&[("ingest.record_bytes", "500")]).await;
    let latin =
        [b"4,Z\xfcrich".as_slice(), &row(4).as_bytes()[row(4).find(",City").expect("a city")..]].concat();
    let unreadable: [&[u8]; 6] = [
        b"9202,Cut,C,CutA,\\N,\\N,1.5,10",
        &[row(2).trim_end().as_bytes(), b",beyond"].concat(),
        b"3,\"Little\" Strip,City,Country,\\N,\\N,1,2,0,0,U,\\N,airport,Test",
        latin.trim_ascii_end(),
        &[b"5,".as_slice(), &b"x".repeat(600)].concat(),
        b"6,\"open,City",
    ];
    let file = [&row(1).into_bytes(), &unreadable.join(&b'\n')[..], b"\n"].concat();
    let import = app.upload("", file).await;
    let codes = [
        "field_count",
        "field_count",
        "malformed_quotes",
        "invalid_utf8",
        "record_too_long",
        "unclosed_quote",
    ];
    let faults: Vec<_> = codes.iter().zip(2..).map(|(code, row)| format!("{row} - {code}")).collect();
    assert_eq!(
        app.faults(&import).await,
        [&faults[..3], &["5 name invalid_utf8".to_owned()], &faults[4..]].concat()
    );
    let csv = bytes_of(&app, &import).await;
    let written = records(&csv);
    for (record, raw) in written.iter().zip(unreadable) {
        let raw = &raw[..raw.len().min(500)];
        assert_eq!(String::from_utf8_lossy(&record[0]), String::from_utf8_lossy(raw));
        assert!(record[1..14].iter().all(Vec::is_empty), "{record:?}");
    }

    // Untouched they are refused again, with the same codes, and come back as they were once more; the one that is too long is longer now.
    let again = app.upload("", csv).await;
    assert_eq!(outcome(&again), [0, 0, 0, 0, 6]);
    let faults: Vec<_> = codes.iter().zip(1..).map(|(code, row)| format!("{row} - {code}")).collect();
    assert_eq!(app.faults(&again).await, faults);
    let message = app.rejects(&again).await[0]["message"].clone();
    assert!(message.as_str().is_some_and(|message| message.contains("empty the _code cell")), "{message}");
    let once_more = records(&bytes_of(&app, &again).await);
    for (before, after) in written.iter().zip(&once_more) {
        let is_too_long = before[18] == b"record_too_long";
        assert_eq!(is_too_long, before[0] != after[0]);
        assert_eq!(before[18], after[18]);
    }

    // With the values in their columns and no code, one is a row like any other.
    let corrected = "9202,Cut,C,CutA,\\N,\\N,1.5,102.5,10,1,E,Europe/Oslo,airport,src,2,2,,,,";
    let file = format!("{HEADER},_row,_line,_file,_column,_code,_message\n{corrected}\n");
    assert_eq!(outcome(&app.upload("", file).await), [1, 0, 0, 0, 0]);
    assert_eq!(app.one::<f64>("select longitude from airports where openflights_id = 9202").await, 102.5);
}

#[tokio::test]
async fn a_reject_whose_row_was_loaded_is_marked_in_the_csv() {
    let app = App::start().await;
    let file = "citizen_id,town,street,building,apartment,name,birth_date,gender,relatives,channel\n\
                1,T,S,1,2,A,26.12.1986,male,2;3,\n2,T,S,1,2,B,26.12.1986,male,,\n";
    let request = app.client.post("/imports").header("Content-Type", "text/csv").header("Prefer", "wait=60");
    let import = request.body(file).send().await.expect(200).json();
    assert_eq!(outcome(&import), [2, 0, 0, 0, 0]);
    let csv = records(&bytes_of(&app, &import).await);
    let messages: Vec<_> = csv.iter().map(|record| String::from_utf8_lossy(&record[15])).collect();
    assert!(
        messages.len() == 1 && messages[0].starts_with("accepted: relations are left out"),
        "{messages:?}"
    );
}

#[tokio::test]
async fn a_reject_in_the_csv_names_its_file() {
    let app = App::start().await;
    let files = [("a.csv", row(1)), ("d/b.csv", bad_row(2) + &row(3))];
    let import = app.upload_as("application/zip", zip(&files)).await;
    let csv = records(&bytes_of(&app, &import).await);
    assert_eq!(csv[0][14..19].join(&b'|'), b"2|1|d/b.csv|latitude|out_of_range");
}

#[tokio::test]
async fn a_reject_that_the_merge_finds_has_its_place_too() {
    let app = App::with(&[("ingest.chunk_rows", "2")]).await;
    let file = rows(1..=6) + "\n\n" + &row(3).replace("City", "Town");
    let import = app.upload("", file).await;
    let rejects = app.rejects(&import).await;
    assert_eq!(rejects.len(), 1);
    let reject = &rejects[0];
    assert_eq!(
        [&reject["row"], &reject["line"], &reject["column"], &reject["code"], &reject["value"]],
        [&json!(7), &json!(9), &json!("id"), &json!("duplicate_in_file"), &json!("3")]
    );
    assert_eq!(reject["message"], "the same airport as row 3 by id");
    assert_eq!(reject["record"], row(3).replace("City", "Town").trim_end());
    assert!(csv_of(&app, &import).await.contains(",7,9,,id,duplicate_in_file,"));
}

#[tokio::test]
async fn in_a_zip_rows_run_through_lines_restart_and_a_reject_names_its_file() {
    let app = App::with(&[("ingest.chunk_rows", "2")]).await;
    let first = rows(1..=3) + &bad_row(4);
    let second = format!("{HEADER}\n") + &row(5) + &bad_row(6) + &row(1).replace("City", "Town");
    let import = app.upload_as("application/zip", zip(&[("a/one.csv", first), ("two.dat", second)])).await;
    assert_eq!(outcome(&import), [4, 0, 0, 0, 3]);
    let places: Vec<_> = app
        .rejects(&import)
        .await
        .iter()
        .map(|reject| json!([reject["file"], reject["row"], reject["line"], reject["code"]]))
        .collect();
    assert_eq!(
        places,
        [
            json!(["a/one.csv", 4, 4, "out_of_range"]),
            json!(["two.dat", 6, 3, "out_of_range"]),
            json!(["two.dat", 7, 4, "duplicate_in_file"]),
        ]
    );
}

#[tokio::test]
async fn of_many_rejects_the_first_are_kept_and_all_are_counted() {
    let app = App::with(&[("ingest.rejects_kept", "3"), ("ingest.chunk_rows", "2")]).await;
    let early: String = (1..=10).map(bad_row).collect();
    let import = app.upload("", early).await;
    assert_eq!(outcome(&import), [0, 0, 0, 0, 10]);
    let rows_kept: Vec<_> = app.rejects(&import).await.iter().map(|reject| reject["row"].clone()).collect();
    assert_eq!(rows_kept, [1, 2, 3]);
    // Those that the merge finds come before those of higher rows, too.
    let file = rows([1, 2]) + &row(1).replace("City", "Town") + &bad_row(3) + &bad_row(4) + &bad_row(5);
    let import = app.upload("", file).await;
    assert_eq!(outcome(&import), [2, 0, 0, 0, 4]);
    let rows_kept: Vec<_> = app.rejects(&import).await.iter().map(|reject| reject["row"].clone()).collect();
    assert_eq!(rows_kept, [3, 4, 5]);
}

#[tokio::test]
async fn an_import_without_rejects_has_an_empty_list_and_a_header() {
    let app = App::start().await;
    let import = app.upload("", row(1)).await;
    assert_eq!(app.rejects(&import).await, [] as [Value; 0]);
    assert_eq!(csv_of(&app, &import).await, format!("{HEADER},_row,_line,_file,_column,_code,_message\r\n"));
}
