//! How files are written: quotes that are text, comments, encodings, lines before the header.

use reqwest::Method;
use serde_json::{Value, json};

use crate::support::{
    App,
    files::{HEADER, bad_row, form, gzip, openflights, row, rows, zip},
    imports::{count, failure, outcome, post_csv},
};

const NAMES: &str = "select string_agg(name, '|' order by openflights_id) from airports";

fn message(import: &Value) -> &str {
    import["error"]["message"].as_str().expect("a failed import says why")
}

async fn rejects_csv(app: &App, import: &Value) -> String {
    let path = format!("/imports/{}/rejects.csv", import["id"]);
    app.client.get(&path).send().await.expect(200).text()
}

/// Each character is one byte.
fn latin1(text: &str) -> Vec<u8> {
    text.chars().map(|char| u8::try_from(u32::from(char)).expect("it is in ISO 8859-1")).collect()
}

/// With a byte order mark, the lower half first.
fn utf16(text: &str) -> Vec<u8> {
    format!("\u{feff}{text}").encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn name(id: u32, name: &str) -> String {
    row(id).replace(&format!("Airport {id}"), name)
}

#[tokio::test]
async fn a_quote_may_be_text() {
    let app = App::with(&[("ingest.chunk_rows", "2")]).await;
    let tabs = |text: String| text.replace(',', "\t");
    let file = tabs(name(1, "Ile de l\" Union") + &name(2, "\"Little") + &row(3) + &name(4, "\"A\" B\""));
    // Without a word, a quote opens a field that only the one in the last line closes.
    let import = app.upload("?delimiter=%5Ct", file.clone()).await;
    assert_eq!((count(&import, "rows_read"), outcome(&import)), (2, [1, 0, 0, 0, 1]));
    let import = app.upload("?delimiter=%5Ct&quote=none", file).await;
    assert_eq!(outcome(&import), [3, 0, 1, 0, 0]);
    assert_eq!(app.one::<String>(NAMES).await, "Ile de l\" Union|\"Little|Airport 3|\"A\" B\"");
}

#[tokio::test]
async fn rejects_of_a_file_without_quotes_come_back() {
    let app = App::with(&[("ingest.chunk_rows", "1")]).await;
    let bad = bad_row(2).replace("Airport 2", "\"Little");
    let long = row(3).replace('\n', ",one more\n").replace("City", "C\"");
    let import = app.upload("?quote=none", row(1) + &bad + &long).await;
    assert_eq!(app.faults(&import).await, ["2 latitude out_of_range", "3 - field_count"]);
    let csv = rejects_csv(&app, &import).await;
    assert!(csv.contains("\r\n2,\"\"\"Little\",City,"), "{csv}");
    // Also with what was said of the file: what could not be read is refused until it is put right.
    for query in ["?quote=none", ""] {
        let import = app.upload(query, csv.replace(",91,", ",9,")).await;
        assert_eq!(count(&import, "rejected"), 1, "{import}");
        assert_eq!(app.faults(&import).await, ["2 - field_count"]);
        let again = rejects_csv(&app, &import).await;
        let raw = format!("\r\n\"{}\",", long.trim_end().replace('"', "\"\""));
        assert!(again.contains(&raw), "{again}");
    }
    assert_eq!(app.one::<String>(NAMES).await, "Airport 1|\"Little");
}

#[tokio::test]
async fn lines_that_begin_with_the_comment_character_are_no_records() {
    for chunk_rows in ["1", "3", "100"] {
        let app = App::with(&[("ingest.chunk_rows", chunk_rows)]).await;
        let comment = "# a \"comment, and,more\r\n";
        let multiline = row(2).replace("City", "\"a\n#b\"");
        let file = comment.to_owned()
            + HEADER
            + "\n"
            + comment
            + &row(1)
            + &comment.repeat(3)
            + &multiline
            + ",,\n"
            + comment
            + &bad_row(3)
            + &name(1, "#Again").replace("1,#", "#1,")
            + "#";
        let import = app.upload("?comment=%23", file.clone()).await;
        assert_eq!((count(&import, "rows_read"), outcome(&import)), (3, [2, 0, 0, 0, 1]), "{import}");
        let places: Vec<_> = app.rejects(&import).await;
        let places: Vec<_> = places.iter().map(|reject| json!([reject["row"], reject["line"]])).collect();
        assert_eq!(places, [json!([3, 12])], "{chunk_rows}");
        let city = "select city from airports where openflights_id = 2";
        assert_eq!(app.one::<String>(city).await, "a\n#b");
    }
}

#[tokio::test]
async fn a_reject_that_begins_with_the_comment_character_comes_back() {
    let app = App::start().await;
    let file = "name,country,latitude,longitude\n\"#1 Field\",A,91,2\n#B,C,1,2\n";
    let import = app.upload("?comment=%23", file).await;
    assert_eq!(app.faults(&import).await, ["1 latitude out_of_range"]);
    let csv = rejects_csv(&app, &import).await;
    assert!(csv.contains("\r\n\"#1 Field\",A,"), "{csv}");
    assert_eq!(outcome(&app.upload("?comment=%23", csv.replace(",91,", ",9,")).await), [1, 0, 0, 0, 0]);
}

#[tokio::test]
async fn long_comments_and_nothing_but_comments_are_read() {
    let app = App::start().await;
    let long = format!("#{}\n", "\",#".repeat(7_000_000));
    let import = app.upload("?comment=%23", format!("{long}{}{long}{}{long}", row(1), row(2))).await;
    assert_eq!(outcome(&import), [2, 0, 0, 0, 0]);
    let import = app.upload("?comment=%23", "# nothing\n#\n\n#").await;
    assert_eq!((&import["state"], count(&import, "rows_read")), (&json!("complete"), 0));
}

#[tokio::test]
async fn an_encoding_is_stated_and_never_guessed() {
    let app = App::with(&[("ingest.chunk_rows", "1")]).await;
    let file = latin1(&(name(1, "Zürich") + &name(2, "Ã©") + &name(3, "\u{93}é\u{94}")));
    let import = app.upload("", file.clone()).await;
    assert_eq!(app.faults(&import).await, ["1 name invalid_utf8", "3 name invalid_utf8"]);
    let import = app.upload("?encoding=windows-1252", file.clone()).await;
    assert_eq!(outcome(&import), [2, 1, 0, 0, 0]);
    assert_eq!(app.one::<String>(NAMES).await, "Zürich|Ã©|“é”");
    // Spelt otherwise it is the same import; in gzip and ZIP it is read the same.
    let again = app.upload("?encoding=Windows-1252", file.clone()).await;
    assert_eq!((&again["repeated"], &again["id"]), (&json!(true), &import["id"]));
    let request = post_csv(&app.client, "?encoding=windows-1252", gzip(&file));
    let answer = request.header("Content-Encoding", "gzip").send().await.expect(200);
    assert_eq!(outcome(&app.ended(answer).await), [0, 0, 3, 0, 0]);
    let request = app.client.post("/upload?encoding=windows-1252").header("Content-Type", "application/zip");
    let packed = zip(&[("a.csv", file.clone()), ("b.csv", latin1(&name(4, "Genève")))]);
    let answer = request.header("Prefer", "wait=60").body(packed).send().await.expect(200);
    assert_eq!(outcome(&app.ended(answer).await), [1, 0, 3, 0, 0]);
    // UTF-8 is what is read anyhow, so saying so changes nothing.
    let utf8 = name(5, "Zürich");
    let first = app.upload("", utf8.clone()).await;
    assert_eq!(app.upload("?encoding=utf-8", utf8).await["id"], first["id"]);
    // What was transcoded goes with the import.
    assert!(app.archived().iter().all(|object| object.contains("/uploads/")), "{:?}", app.archived());
}

#[tokio::test]
async fn utf_16_is_read_where_it_is_stated() {
    let app = App::start().await;
    let text =
        format!("{HEADER}\r\n{}", name(1, "東京, 😀").replace("東京, 😀", "\"東京, 😀\"")) + &bad_row(2);
    let import = app.upload("?encoding=utf-16", utf16(&text)).await;
    assert_eq!(outcome(&import), [1, 0, 0, 0, 1]);
    assert_eq!(app.one::<String>(NAMES).await, "東京, 😀");
    let csv = rejects_csv(&app, &import).await;
    assert_eq!(outcome(&app.upload("", csv.replace(",91,", ",9,")).await), [1, 0, 0, 0, 0]);
    // As a form, whose file has no media type that could say so.
    let (content_type, body) = form("file", "a.csv", utf16(&row(3)));
    let request = app.client.post("/upload?encoding=utf-16").header("Content-Type", &content_type);
    let answer = request.header("Prefer", "wait=60").body(body).send().await.expect(200);
    assert_eq!(outcome(&app.ended(answer).await), [1, 0, 0, 0, 0]);
    let problem = post_csv(&app.client, "", utf16(&text)).send().await.expect(400).json();
    assert!(problem["detail"].as_str().is_some_and(|detail| detail.contains("encoding=utf-16")), "{problem}");
    let request = post_csv(&app.client, "", gzip(utf16(&text)));
    let answer = request.header("Content-Encoding", "gzip").send().await.expect(200);
    assert_eq!(failure(&app.ended(answer).await), "not_utf8");
}

#[tokio::test]
async fn what_is_no_text_in_the_stated_encoding_fails_the_import_with_its_place() {
    let app = App::start().await;
    let good = utf16(&rows(1..=3));
    let length = good.len();
    let lone: Vec<u8> = [&good[..], b"\x00\xd8a\0"].concat();
    let odd: Vec<u8> = [&good[..], b"a"].concat();
    for (encoding, file, place) in [
        ("utf-16", odd, format!("byte {length}: ")),
        ("utf-16", lone, format!("byte {length}: ")),
        ("windows-1252", good, "byte 0: ".to_owned()),
        ("iso-8859-1", "\u{feff}a".into(), "byte 0: ".to_owned()),
    ] {
        // In gzip, so that the first bytes are not seen before.
        let request = post_csv(&app.client, &format!("?encoding={encoding}"), gzip(file));
        let import = app.ended(request.header("Content-Encoding", "gzip").send().await.expect(200)).await;
        assert_eq!(failure(&import), "bad_encoding");
        assert!(message(&import).starts_with(&place), "{import}");
    }
    let import = app.upload("?encoding=utf-16", b"a".as_slice()).await;
    assert_eq!(failure(&import), "bad_encoding");
    let packed = zip(&[("good.csv", utf16(&row(1))), ("bad.csv", b"a\0b".to_vec())]);
    let request = app.client.post("/upload?encoding=utf-16").header("Content-Type", "application/zip");
    let answer = request.header("Prefer", "wait=60").body(packed).send().await.expect(200);
    let import = app.ended(answer).await;
    assert!(message(&import).starts_with("bad.csv: byte 2: "), "{import}");
    // A zero is a character of every encoding, and none that is stored.
    let import = app.upload("?encoding=utf-16", utf16(&name(9, "A\0B"))).await;
    assert_eq!(count(&import, "rejected"), 1, "{import}");
    assert_eq!(app.one::<i64>("select count(*) from airports").await, 0);
    assert!(app.archived().iter().all(|object| object.contains("/uploads/")), "{:?}", app.archived());
}

#[tokio::test]
async fn the_charset_of_the_media_type_states_the_encoding() {
    let app = App::start().await;
    let post = |query: &str, charset: &str, body: Vec<u8>| {
        let request = app.client.post(&format!("/upload{query}"));
        let request = request.header("Content-Type", &format!("text/csv; charset={charset}"));
        request.header("Prefer", "wait=60").body(body).send()
    };
    let file = latin1(&name(1, "Zürich"));
    for charset in ["windows-1252", "ISO-8859-1"] {
        app.ended(post("?force=true", charset, file.clone()).await.expect(200)).await;
        assert_eq!(app.one::<String>(NAMES).await, "Zürich");
    }
    post("?encoding=iso-8859-1&force=true", "iso-8859-1", file.clone()).await.expect(200);
    post("", "utf-16", utf16(&row(2))).await.expect(200);
    // The bytes are not what the media type says.
    let import = app.ended(post("", "utf-16", b"odd".to_vec()).await.expect(200)).await;
    assert_eq!(failure(&import), "bad_encoding");
    for (query, charset) in [("?encoding=windows-1252", "utf-8"), ("?encoding=utf-8", "iso-8859-1")] {
        let answer = post(query, charset, file.clone()).await.expect(400);
        assert_eq!(answer.codes(), ["contradiction"]);
    }
    post("", "shift_jis", file.clone()).await.expect(415);
    post("?encoding=windows-1252", "us-ascii", row(3).into_bytes()).await.expect(200);
}

#[tokio::test]
async fn lines_before_the_header_are_left_out() {
    let app = App::with(&[("ingest.chunk_rows", "1")]).await;
    let file = format!("Estrazione del \"2025-01-06\n\n{HEADER}\n{}{}", row(1), bad_row(2));
    let import = app.upload("?skip=2", file.clone()).await;
    assert_eq!((count(&import, "rows_read"), outcome(&import)), (2, [1, 0, 0, 0, 1]));
    assert_eq!(app.rejects(&import).await[0]["line"], 5);
    // The rejects have no such lines, and come back as they are.
    let csv = rejects_csv(&app, &import).await;
    assert_eq!(outcome(&app.upload("?skip=2", csv.replace(",91,", ",9,")).await), [1, 0, 0, 0, 0]);
    let import = app.upload("?skip=9", file).await;
    assert_eq!(failure(&import), "empty_file");
    assert_eq!(message(&import), "skip leaves out 9 lines, and the file has 5");
    let packed = zip(&[("a.csv", format!("x\n{}", row(3))), ("b.csv", String::new()), ("c.csv", "x".into())]);
    let request = app.client.post("/upload?skip=1").header("Content-Type", "application/zip");
    let answer = request.header("Prefer", "wait=60").body(packed).send().await.expect(200);
    assert_eq!(outcome(&app.ended(answer).await), [1, 0, 0, 0, 0]);
}

#[tokio::test]
async fn what_a_file_cannot_be_is_400() {
    let app = App::start().await;
    for query in [
        "?comment=",
        "?comment=ab",
        "?comment=%C3%A4",
        "?comment=%0A",
        "?comment=%2C",
        "?comment=%22",
        "?comment=%5C&escape=%5C",
        "?quote=None",
        "?encoding=latin1",
        "?encoding=",
        "?skip=-1",
        "?skip=1001",
        "?skip=x",
    ] {
        let answer = post_csv(&app.client, query, row(1)).send().await.expect(400);
        assert_eq!(answer.codes().len(), 1, "{query}: {}", answer.text());
    }
    assert_eq!(app.one::<i64>("select count(*) from imports").await, 0);
    // Without a quote there is none that could be the same.
    let quotes = row(1).replace(',', "\"");
    assert_eq!(outcome(&app.upload("?quote=none&delimiter=%22", quotes).await), [1, 0, 0, 0, 0]);
    let contract = app.client.request(Method::OPTIONS, "/upload").send().await.expect(200).json();
    let dialect = &contract["dialect"];
    assert_eq!(
        (&dialect["encoding"], &dialect["skip"], &dialect["quote"]),
        (&json!("UTF-8"), &json!(0), &json!("\""))
    );
    assert_eq!(dialect["comment"], Value::Null);
    assert_eq!(dialect["encodings"], json!(["utf-8", "windows-1252", "iso-8859-1", "utf-16"]));
}

#[tokio::test]
async fn the_published_file_is_the_same_in_every_encoding() {
    let app = App::start().await;
    let file = String::from_utf8(openflights()).expect("it is UTF-8");
    let plain = outcome(&app.upload("", file.clone()).await);
    let import =
        app.upload("?encoding=utf-16&skip=1&comment=%23", utf16(&format!("prose\n# more\n{file}"))).await;
    assert_eq!(outcome(&import)[1..3].iter().sum::<i64>(), plain[0], "{import}");
    assert_eq!((outcome(&import)[0], outcome(&import)[4]), (0, plain[4]));
}

#[tokio::test]
async fn citizens_in_another_dialect_are_read() {
    let app = App::start().await;
    let header = "citizen_id;town;street;building;apartment;name;birth_date;gender;relatives";
    let file =
        latin1(&format!("Bürger\r\n{header}\r\n// nobody\r\n1;Zürich;\"A\";2;7;Zoë;26.12.1986;female;\r\n"));
    let path = "/imports?encoding=iso-8859-1&skip=1&comment=%2F&quote=none&delimiter=%3B";
    let request = app.client.post(path).header("Content-Type", "text/csv").header("Prefer", "wait=60");
    let import = request.body(file).send().await.expect(200).json();
    assert_eq!(outcome(&import), [1, 0, 0, 0, 0], "{import}");
    let place = "select concat_ws('|', town, street, name) from citizens";
    assert_eq!(app.one::<String>(place).await, "Zürich|\"A\"|Zoë");
    for query in ["encoding=utf-8", "skip=1", "comment=%23", "quote=none"] {
        let request = app.client.post(&format!("/imports?{query}")).json(json!({"citizens": []}));
        request.send().await.expect(400);
    }
}
