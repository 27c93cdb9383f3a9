//! `/schemas/infer`: what a file could be declared as, and why.

use serde_json::{Value, json};
use tarmac::datasets::{
    Ident,
    descriptor::{self, Limits},
};

use crate::support::{
    App,
    client::Answer,
    files::{form, gzip, openflights, zip},
};

async fn ask(app: &App, query: &str, media_type: &str, body: impl Into<Vec<u8>>) -> Answer {
    let request = app.client.post(&format!("/schemas/infer{query}")).header("Content-Type", media_type);
    request.body(body.into()).send().await
}

async fn infer(app: &App, query: &str, body: impl Into<Vec<u8>>) -> Value {
    ask(app, query, "text/csv", body).await.expect(200).json()
}

/// The codes of a refusal, with 400.
async fn codes(app: &App, query: &str, body: impl Into<Vec<u8>>) -> Vec<String> {
    ask(app, query, "text/csv", body).await.expect(400).codes()
}

/// Names and types of the proposed fields.
fn types(proposal: &Value) -> Vec<(&str, &str)> {
    let fields = proposal["descriptor"]["schema"]["fields"].as_array().expect("there are fields");

    fields.iter().filter_map(|field| Some((field["name"].as_str()?, field["type"].as_str()?))).collect()
}

/// Fails unless the proposal can be declared as it is.
fn assert_valid(proposal: &Value) {
    let name = Ident::new("proposed").expect("a name");
    let read = descriptor::read(&name, proposal["descriptor"].to_string().as_bytes(), &Limits::default());
    assert!(read.is_ok(), "{read:?}");
}

#[tokio::test]
async fn every_value_decides_and_the_evidence_names_the_first_against_a_type() {
    let app = App::start().await;
    let mut file = "id;born;note\r\n".to_owned();
    file.extend((1..=40_000).map(|number| format!("{number};31.12.2019;\"a\r\nb\"\r\n")));
    file.push_str("\r\n;;\r\n40001x;-;c\r\n");
    let proposal = infer(&app, "", file).await;
    assert_eq!(types(&proposal), [("id", "string"), ("born", "date"), ("note", "string")]);
    assert_eq!(proposal["descriptor"]["dialect"], json!({ "delimiter": ";" }));
    let born = &proposal["descriptor"]["schema"]["fields"][1];
    assert_eq!(born["format"], "%d.%m.%Y");
    assert_eq!(born["missingValues"], json!(["", "-"]));
    let first = json!({ "type": "integer", "value": "40001x", "row": 40_001, "line": 80_004 });
    assert_eq!(proposal["evidence"][0]["ruled_out"][0], first, "rows and lines are those of an import");
    assert_eq!(proposal["records"], 40_001);
    assert_eq!((&proposal["malformed"], &proposal["other_width"]), (&json!(0), &json!(0)));
    assert_valid(&proposal);
}

#[tokio::test]
async fn the_delimiter_is_stated_or_the_one_that_fits() {
    let app = App::start().await;
    for (delimiter, encoded) in [(",", ","), (";", ";"), ("\t", "%5Ct"), ("|", "|")] {
        let file = "a,b\n1,2\n3,4\n".replace(',', delimiter);
        let proposal = infer(&app, "", file.clone()).await;
        assert_eq!(types(&proposal), [("a", "integer"), ("b", "integer")], "{delimiter:?}");
        assert_eq!(proposal["descriptor"]["dialect"], json!({ "delimiter": delimiter }));
        assert_eq!(infer(&app, &format!("?delimiter={encoded}"), file).await, proposal);
    }
    let proposal = infer(&app, "", "sep=:\na:b\n1:2\n").await;
    assert_eq!(types(&proposal), [("a", "integer"), ("b", "integer")]);
    assert_eq!(proposal["descriptor"]["dialect"], json!({ "delimiter": ":" }));
    let first = json!({ "type": "date", "value": "1", "row": 1, "line": 3 });
    assert_eq!(proposal["evidence"][0]["ruled_out"][0], first);
    let one = infer(&app, "?delimiter=,", "a\nx\n").await;
    assert_eq!(one["evidence"][0]["ruled_out"][0]["line"], 2);

    let ambiguous = ask(&app, "", "text/csv", "a;b,c\n1;2,3\n").await.expect(400);
    assert_eq!(ambiguous.codes(), ["ambiguous_delimiter"]);
    let problem = ambiguous.json();
    assert_eq!(problem["errors"][0]["parameter"], "delimiter");
    assert!(problem["detail"].as_str().is_some_and(|text| text.starts_with(", and ; ")), "{problem}");
    for file in ["a\n1\n2\n", "a,b\n1,2\n3\n"] {
        assert_eq!(codes(&app, "", file).await, ["no_delimiter"], "{file:?}");
    }
    assert_eq!(codes(&app, "?delimiter=,", "sep=;\na;b\n").await, ["contradiction"]);
    for query in ["?delimiter=%22", "?delimiter=ab", "?quote=;&delimiter=;", "?escape=%22", "?escape=%0A"] {
        assert_eq!(codes(&app, query, "a,b\n1,2\n").await, ["not_allowed"], "{query}");
    }
}

#[tokio::test]
async fn what_is_said_of_a_file_is_proposed_with_it() {
    let app = App::start().await;
    let file = "a,b\n'1,5',?\n'x\\'y',7\n";
    let proposal = infer(&app, "?delimiter=,&quote='&escape=%5C&null=?", file).await;
    assert_eq!(types(&proposal), [("a", "string"), ("b", "integer")]);
    let dialect = json!({ "delimiter": ",", "quote": "'", "escape": "\\", "null": "?" });
    assert_eq!(proposal["descriptor"]["dialect"], dialect);
    assert_eq!(proposal["evidence"][0]["ruled_out"][0]["value"], "1,5");
    assert_valid(&proposal);
}

#[tokio::test]
async fn a_header_is_told_or_stated() {
    let app = App::start().await;
    let file = "a,b\nx,y\n";
    let told = infer(&app, "", file).await;
    assert_eq!((types(&told), &told["records"]), (vec![("a", "string"), ("b", "string")], &json!(1)));
    let absent = infer(&app, "?header=absent", file).await;
    assert_eq!(types(&absent), [("column_1", "string"), ("column_2", "string")]);
    assert_eq!((&absent["records"], &absent["evidence"][0]["ruled_out"][0]["line"]), (&json!(2), &json!(1)));
    assert_eq!(absent["descriptor"]["dialect"]["header"], false);
    let data = infer(&app, "", "1,x\n2,y\n").await;
    assert_eq!(types(&data), [("column_1", "integer"), ("column_2", "string")]);
    assert_eq!(data["descriptor"]["dialect"]["header"], false);
    let years = infer(&app, "?header=present", "name,2024\nx,1\n").await;
    assert_eq!(types(&years), [("name", "string"), ("2024", "integer")]);
    assert_eq!(years["descriptor"]["dialect"]["header"], true);
    let typed = ask(&app, "", "text/csv; header=absent", file).await.expect(200).json();
    assert_eq!(typed, absent);
    let contradiction = ask(&app, "?header=present", "text/csv; header=absent", file).await.expect(400);
    assert_eq!(contradiction.codes(), ["contradiction"]);
    let only = infer(&app, "", "\u{feff}a,b\n").await;
    assert_eq!((types(&only), &only["records"]), (vec![("a", "string"), ("b", "string")], &json!(0)));
    for proposal in [told, absent, data, years, only] {
        assert_valid(&proposal);
    }
}

#[tokio::test]
async fn a_file_may_be_packed() {
    let app = App::start().await;
    let file = "a,b\n1,2\n";
    let expected = infer(&app, "", file).await;
    let gzipped = || app.client.post("/schemas/infer").header("Content-Encoding", "gzip");
    let answer = gzipped().header("Content-Type", "text/csv").body(gzip(file)).send().await;
    assert_eq!(answer.expect(200).json(), expected);
    let archive = zip(&[("data/a.csv", file)]);
    let answer = gzipped().header("Content-Type", "application/zip").body(gzip(&archive)).send().await;
    assert_eq!(answer.expect(200).json(), expected);
    for body in [file.as_bytes().to_vec(), gzip(file), archive] {
        let (media_type, form) = form("file", "a", &body);
        assert_eq!(ask(&app, "", &media_type, form).await.expect(200).json(), expected);
        assert_eq!(ask(&app, "", "application/octet-stream", body).await.expect(200).json(), expected);
    }
    assert!(app.archived().is_empty(), "nothing is stored");
}

#[tokio::test]
async fn of_a_zip_the_first_file_of_records_is_looked_at() {
    let app = App::start().await;
    let archive = zip(&[
        ("README.txt", "about"),
        ("empty.csv", ""),
        ("b/a.txt", "a,b\n1,2\n"),
        ("c.csv", "c,d\nx,y\n"),
        ("map.pdf", "%PDF"),
    ]);
    let proposal = ask(&app, "", "application/zip", archive).await.expect(200).json();
    assert_eq!(types(&proposal), [("a", "integer"), ("b", "integer")]);
    assert_eq!(
        proposal["hints"],
        json!([
            "files: only \"b/a.txt\" was looked at; an import reads \"empty.csv\", \"c.csv\" too",
            "files: not named like data and left out, as an import does: \"README.txt\", \"map.pdf\"",
        ])
    );
    for (files, code) in [
        (vec![("a.pdf", "a,b\n")], "empty_archive"),
        (vec![("a.csv", ""), ("b.csv", "")], "empty_file"),
        (vec![("a.csv", "a,b\n"), ("b.zip", "PK")], "nested_archive"),
        (vec![("../a.csv", "a,b\n")], "unsafe_name"),
        (vec![("a.csv", "a,b\n1,2\n3\n")], "no_delimiter"),
    ] {
        let answer = ask(&app, "", "application/zip", zip(&files)).await.expect(400);
        assert_eq!(answer.codes(), [code], "{}", answer.text());
    }
    let cut = &zip(&[("a.csv", "a,b\n")])[..40];
    assert_eq!(ask(&app, "", "application/zip", cut).await.expect(400).codes(), ["bad_zip"]);
}

#[tokio::test]
async fn what_is_no_file_of_records_is_refused() {
    let app = App::start().await;
    assert_eq!(codes(&app, "?delimiter=,", ",,\n\"\",\n").await, ["empty_file"]);
    for file in ["", "\u{feff}", "\n\r\n\n"] {
        assert_eq!(codes(&app, "", file).await, ["empty_file"], "{file:?}");
        assert_eq!(codes(&app, "?delimiter=,", file).await, ["empty_file"], "{file:?}");
    }
    assert_eq!(codes(&app, "?delimiter=,", "\"a,b\n").await, ["no_records"]);
    assert_eq!(codes(&app, "?delimiter=,&header=present", "\"a\"x,b\n1,2\n").await, ["bad_header"]);
    assert_eq!(codes(&app, "?delimiter=;", b"\xff;\xfe\n".as_slice()).await, ["no_records"]);
    let cut = gzip("a,b\n1,2\n");
    let request = app.client.post("/schemas/infer").header("Content-Type", "text/csv");
    let answer = request.header("Content-Encoding", "gzip").body(cut[..cut.len() - 6].to_vec()).send().await;
    assert_eq!(answer.expect(400).codes(), ["truncated_gzip"]);
    ask(&app, "", "text/csv", b"\xff\xfea\0".as_slice()).await.expect(400);
    ask(&app, "", "text/csv", zip(&[("a.csv", "a,b\n")])).await.expect(400);
    ask(&app, "", "application/json", "{}").await.expect(415);
    ask(&app, "?nothing=1", "text/csv", "a,b\n").await.expect(400);
}

#[tokio::test]
async fn what_cannot_be_read_is_counted_and_left_out() {
    let app = App::start().await;
    let file = b"a,b\n1,2\n\"x\"y,3\n\xff,4\n5\n6,7,8\n9,\"\n10,11\n".as_slice();
    let proposal = infer(&app, "?delimiter=,", file).await;
    assert_eq!(types(&proposal), [("a", "integer"), ("b", "integer")]);
    assert_eq!(
        [&proposal["records"], &proposal["malformed"], &proposal["other_width"]],
        [&json!(2), &json!(3), &json!(2)],
        "{proposal}"
    );
    // A record that is longer than an import reads.
    let app = App::with(&[("ingest.record_bytes", "1024")]).await;
    let file = format!("a,b\n1,2\n{},x\n3,y\n", "z".repeat(2_000));
    let proposal = infer(&app, "?delimiter=,", file).await;
    assert_eq!(
        (types(&proposal), &proposal["malformed"]),
        (vec![("a", "integer"), ("b", "string")], &json!(1))
    );
    let first = json!({ "type": "integer", "value": "y", "row": 3, "line": 4 });
    assert_eq!(proposal["evidence"][1]["ruled_out"][0], first);
    let quotes = format!("\"x,1\n{}", "2,3\n".repeat(400)).repeat(1_001);
    assert_eq!(codes(&app, "?delimiter=,", quotes).await, ["unclosed_quotes"]);
}

#[tokio::test]
async fn hostile_files_take_little() {
    let app = App::start().await;
    let commas = vec![b','; 64 << 20];
    assert_eq!(codes(&app, "", commas.clone()).await, ["no_delimiter"]);
    assert_eq!(codes(&app, "?delimiter=,", commas.clone()).await, ["no_records"]);
    let mut longer = commas;
    longer.push(b',');
    ask(&app, "", "text/csv", longer.clone()).await.expect(413);
    let request = app.client.post("/schemas/infer?delimiter=,").header("Content-Type", "text/csv");
    let bomb = request.header("Content-Encoding", "gzip").body(gzip(&longer)).send().await;
    assert_eq!(bomb.expect(413).json()["status"], 413);
    ask(&app, "?delimiter=,", "application/zip", zip(&[("a.csv", longer)])).await.expect(413);

    let wide = |columns: usize| format!("{}x\n{}1\n", "x,".repeat(columns - 1), "1,".repeat(columns - 1));
    let proposal = infer(&app, "?header=present", wide(10_000)).await;
    assert_eq!(types(&proposal).len(), 10_000);
    assert!(proposal["hints"][0].as_str().is_some_and(|hint| hint.contains("may have 256")), "{proposal}");
    for header in ["present", "absent"] {
        let query = format!("?header={header}");
        assert_eq!(codes(&app, &query, wide(10_001)).await, ["too_many_fields"]);
    }
    let unclosed = format!("a,b\n1,\"{}", "2,3\n".repeat(4 << 20));
    let proposal = infer(&app, "?delimiter=,", unclosed).await;
    assert_eq!((&proposal["malformed"], &proposal["records"]), (&json!(1), &json!((4 << 20) - 1)));
}

#[tokio::test]
async fn files_as_publishers_write_them_can_be_declared_as_proposed() {
    let app = App::start().await;
    let proposal = infer(&app, "", openflights()).await;
    let fields = types(&proposal);
    assert_eq!((fields.len(), fields[0], fields[1].1), (14, ("column_1", "integer"), "string"));
    assert_eq!((fields[6].1, fields[7].1, fields[8].1), ("number", "number", "integer"));
    assert_eq!(proposal["descriptor"]["dialect"], json!({ "delimiter": ",", "header": false }));
    let timezone = &proposal["descriptor"]["schema"]["fields"][9];
    assert!(
        timezone["missingValues"].as_array().is_some_and(|values| values.contains(&json!("\\N"))),
        "{timezone}"
    );
    assert_valid(&proposal);

    let village = |id: &str, name: &str, others: &str, place: &str, rest: &str| {
        format!("{id}\t{name}\t{name}\t{others}\t{place}\tP\tPPL\tAD\t\t{rest}\tEurope/Andorra\t2012-11-03\n")
    };
    let geonames =
        village("3039154", "El Tarter", "El Tarter,Эл Тартер", "42.57952\t1.65362", "02\t\t\t\t1052\t\t1721")
            + &village("3039163", "Sant \"Julià\"", "", "42.46372\t1.49129", "06\t\t\t\t8022\t\t921");
    let proposal = infer(&app, "?quote=none", geonames).await;
    let fields = types(&proposal);
    assert_eq!(fields.len(), 19);
    let found: Vec<_> = [0, 1, 4, 10, 14, 18].map(|at| fields[at].1).into();
    assert_eq!(found, ["integer", "string", "number", "string", "integer", "date"]);
    assert_eq!(
        proposal["descriptor"]["dialect"],
        json!({ "delimiter": "\t", "quote": "none", "header": false })
    );
    assert_valid(&proposal);
}

#[tokio::test]
async fn a_file_declares_a_dataset_and_is_then_imported_as_it_is() {
    let app = App::start().await;
    let put = |name: &str, file: Vec<u8>| {
        let request = app.client.put(&format!("/datasets/{name}")).header("Content-Type", "text/csv");
        request.body(file).send()
    };
    for (name, file, rows) in [
        ("semicolons", "id;born\r\n1;31.12.2019\r\n2;-\r\n".as_bytes().to_vec(), 2),
        ("stated", b"sep=|\na|b\n1|x\n".to_vec(), 1),
        ("nameless", b"1\t2019-12-31 23:59\ttrue\n2\t\tfalse\n".to_vec(), 2),
        ("openflights", openflights(), 7_698),
    ] {
        let proposal = infer(&app, "", file.clone()).await;
        let declared = put(name, file.clone()).await.expect(201).json();
        assert_eq!(declared["schema"]["fields"].as_array().map(Vec::len), Some(types(&proposal).len()));
        let path = format!("/datasets/{name}/imports?mode=strict");
        let request = app.client.post(&path).header("Content-Type", "text/csv").header("Prefer", "wait=60");
        let import = request.body(file).send().await.expect(200).json();
        assert_eq!(
            (&import["state"], &import["counts"]["rejected"]),
            (&json!("complete"), &json!(0)),
            "{import}"
        );
        assert_eq!(import["counts"]["inserted"], rows, "{import}");
    }
    for (file, code) in
        [("", "empty_file"), ("a;b,c\n1;2,3\n", "ambiguous_delimiter"), ("a\n", "no_delimiter")]
    {
        assert_eq!(put("refused", file.into()).await.expect(400).codes(), [code]);
    }
}

#[tokio::test]
async fn whoever_may_read_may_ask() {
    let app = App::with(&[("auth.required", "true")]).await;
    ask(&app, "", "text/csv", "a,b\n1,2\n").await.expect(401);
}
