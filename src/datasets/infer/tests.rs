use std::{fmt::Write, time::Instant};

use serde_json::json;

use super::*;

/// Reads a text as a caller does: the delimiter is found, the header is told, quotes count.
fn infer(text: &str) -> Proposal {
    let delimiter = sniff_delimiter(&Sample::whole(text.as_bytes())).expect("a delimiter");
    infer_with(text.as_bytes(), delimiter, Some(b'"'))
}

fn infer_with(text: &[u8], delimiter: u8, quote: Option<u8>) -> Proposal {
    let mut reader = csv::ReaderBuilder::new();
    reader.has_headers(false).flexible(true).delimiter(delimiter);
    reader.quoting(quote.is_some()).quote(quote.unwrap_or(b'"'));
    let mut inference = None;
    let mut row = 1;
    for record in reader.from_reader(text).into_byte_records() {
        let record = record.expect("a slice can be read");
        let inference = match &mut inference {
            None => {
                let is_header = is_header(&record);
                let header = is_header
                    .then(|| record.iter().map(|cell| String::from_utf8_lossy(cell).into_owned()).collect());
                let new = inference.insert(Inference::new(header).with_delimiter(delimiter));
                if is_header {
                    continue;
                }
                new
            }
            Some(inference) => inference,
        };
        let line = record.position().map_or(0, csv::Position::line);
        inference.add(row, i64::try_from(line).expect("few lines"), record.iter());
        row += 1;
    }
    inference.unwrap_or_else(|| Inference::new(None)).finish()
}

/// One column of the values, beside one that is always there.
fn one(delimiter: char, values: &[&str]) -> (Value, Value) {
    let mut text = format!("n{delimiter}v\n");
    for value in values {
        writeln!(text, "x{delimiter}\"{value}\"").expect("a string");
    }
    let proposal = infer_with(text.as_bytes(), delimiter as u8, Some(b'"'));
    (proposal.descriptor["schema"]["fields"][1].clone(), proposal.evidence[1].clone())
}

fn field(values: &[&str]) -> Value {
    let mut field = one(',', values).0;
    field.as_object_mut().expect("an object").remove("name");
    field
}

fn has_hint(evidence: &Value, kind: &str) -> bool {
    let hints = evidence["hints"].as_array().expect("an array");
    hints.iter().any(|hint| hint.as_str().expect("a string").starts_with(kind))
}

#[test]
fn the_first_type_that_every_value_has_is_proposed() {
    let uuid = "0190c0de-0000-7000-8000-000000000000";
    for (values, expected) in [
        (&["0", "-7", "123456789012345"][..], json!({ "type": "integer" })),
        (&["1", "1.5", "1e3"], json!({ "type": "number" })),
        (&["2024-01-01", "2024-12-31"], json!({ "type": "date" })),
        (&["01.02.2024", "31.12.2024"], json!({ "type": "date", "format": "%d.%m.%Y" })),
        (&["01/02/2024", "31/12/2024"], json!({ "type": "date", "format": "%d/%m/%Y" })),
        (&["01/02/2024", "12/31/2024"], json!({ "type": "date", "format": "%m/%d/%Y" })),
        (&["2024-01-01T00:00:00Z", "2024-01-01T00:00:00.25+02:00"], json!({ "type": "datetime" })),
        (
            &["2024-01-01 00:00", "2024-01-01 23:59"],
            json!({ "type": "datetime", "format": "%Y-%m-%d %H:%M" }),
        ),
        (&["13/01/2024 00:00:00"], json!({ "type": "datetime", "format": "%d/%m/%Y %H:%M:%S" })),
        (&["true", "FALSE"], json!({ "type": "boolean" })),
        (&["1", "0"], json!({ "type": "integer" })),
        (&[uuid, "ABCDEFAB-0000-7000-8000-000000000000"], json!({ "type": "string", "format": "uuid" })),
        (&[" 7 ", "\t8"], json!({ "type": "integer" })),
        (&["2024-01-01 00:00", "2024-01-01 00:00:00"], json!({ "type": "string" })),
        (&["31.04.2024"], json!({ "type": "string" })),
        (&["1,5"], json!({ "type": "string" })),
        (&["true", "1"], json!({ "type": "string" })),
        (&["NaN"], json!({ "type": "string" })),
    ] {
        assert_eq!(field(values), expected, "{values:?}");
    }
}

#[test]
fn a_type_needs_every_value_and_the_evidence_names_the_first_that_has_none() {
    let mut values = vec!["1"; 5_000];
    values.push("2.5");
    values.push("late");
    values.push("later");
    let (field, evidence) = one(',', &values);
    assert_eq!(field, json!({ "name": "v", "type": "string" }));
    let ruled_out = evidence["ruled_out"].as_array().expect("an array");
    assert_eq!(ruled_out[0], json!({ "type": "integer", "value": "2.5", "row": 5_001, "line": 5_002 }));
    assert_eq!(ruled_out[1], json!({ "type": "number", "value": "late", "row": 5_002, "line": 5_003 }));
    assert_eq!(ruled_out[2], json!({ "type": "date", "value": "1", "row": 1, "line": 2 }));
    let types: Vec<_> = ruled_out.iter().map(|entry| entry["type"].as_str().expect("a string")).collect();
    assert_eq!(types, ["integer", "number", "date", "datetime", "boolean", "uuid"]);
}

#[test]
fn a_shown_value_is_short() {
    let (_, evidence) = one(',', &["é".repeat(1_000).as_str()]);
    let value = evidence["ruled_out"][0]["value"].as_str().expect("a string");
    assert_eq!(value.chars().count(), 257);
}

#[test]
fn zeros_in_front_make_text() {
    for code in ["01001", "00", "007.5", "+7", "1234567890123456"] {
        assert_eq!(field(&["1", "2", code]), json!({ "type": "string" }), "{code}");
    }
    assert_eq!(field(&["0", "0.5"]), json!({ "type": "number" }));
}

#[test]
fn day_and_month_that_cannot_be_told_apart_stay_text() {
    for values in [["01/02/2024", "12/12/2024"], ["01/02/2024 10:00", "12/12/2024 11:00"]] {
        let (field, evidence) = one(',', &values);
        assert_eq!(field["type"], "string");
        assert!(has_hint(&evidence, "date"), "{evidence}");
    }
}

#[test]
fn what_stands_for_null_is_proposed_where_it_makes_a_type() {
    let (field, evidence) = one(',', &["", "1", "NA", "2", "-", "NA", "", " ", "nan"]);
    assert_eq!(field, json!({ "name": "v", "type": "integer", "missingValues": ["", "NA", "-", "nan"] }));
    let expected = json!([
        { "value": "", "count": 3 }, { "value": "NA", "count": 2 }, { "value": "-", "count": 1 }, { "value": "nan", "count": 1 },
    ]);
    assert_eq!(evidence["missing"], expected);
    assert!(!has_hint(&evidence, "required") && !has_hint(&evidence, "key"));

    let (field, evidence) = one(',', &["a", "NA", "b", ""]);
    assert_eq!(field, json!({ "name": "v", "type": "string" }), "it may be a word");
    assert_eq!(evidence["missing"], json!([{ "value": "", "count": 1 }]));
    let (field, evidence) = one(',', &["NA", "N/A"]);
    assert_eq!(field, json!({ "name": "v", "type": "string" }));
    assert!(has_hint(&evidence, "type"));
    assert_eq!(
        one(',', &["", "7"]).0,
        json!({ "name": "v", "type": "integer" }),
        "the empty field is missing anyway"
    );
}

#[test]
fn one_value_that_alone_is_in_the_way_is_named() {
    let (field, evidence) = one(';', &["#NULO", "3", "#NULO", "-1"]);
    assert_eq!(field["type"], "string");
    assert!(
        has_hint(&evidence, "missing: 2 times \"#NULO\", every other value is of the type integer"),
        "{evidence}"
    );
    for values in [&["#NULO"][..], &["a", "b", "1"], &["1", "2"]] {
        assert!(!has_hint(&one(';', values).1, "missing"), "{values:?}");
    }
}

#[test]
fn a_decimal_comma_needs_another_delimiter() {
    let (field, evidence) = one(';', &["1,5", "2", "-0,25"]);
    assert_eq!(field, json!({ "name": "v", "type": "number", "decimalChar": "," }));
    assert!(has_hint(&evidence, "number"));
    assert_eq!(one(',', &["1,5", "2"]).0["type"], "string");
    assert_eq!(one(';', &["1,5", "2.5"]).0["type"], "string");
    let (field, evidence) = one(';', &["1,500", "2"]);
    assert_eq!(field["type"], "string", "thousands or thousandths");
    assert!(has_hint(&evidence, "number"));
    assert_eq!(one(';', &["1,500", "0,5"]).0["decimalChar"], ",");
}

#[test]
fn keys_enums_and_required_are_hints_only() {
    let mut text = "id,kind,note\n".to_owned();
    for id in 0..100 {
        writeln!(text, "{id},{},{}", ["cat", "dog"][id % 2], if id == 7 { "" } else { "x" })
            .expect("a string");
    }
    let proposal = infer(&text);
    let fields = json!([{ "name": "id", "type": "integer" }, { "name": "kind", "type": "string" }, { "name": "note", "type": "string" }]);
    assert_eq!(
        proposal.descriptor,
        json!({ "schema": { "fields": fields }, "dialect": { "delimiter": "," } })
    );
    let [id, kind, note] = [0, 1, 2].map(|at| &proposal.evidence[at]);
    assert!(has_hint(id, "key") && has_hint(id, "required") && !has_hint(id, "enum"));
    assert!(
        has_hint(kind, r#"enum: 100 values are of these: ["cat","dog"]"#) && !has_hint(kind, "key"),
        "{kind}"
    );
    assert!(!has_hint(note, "required"));
}

#[test]
fn a_pair_of_columns_within_bounds_may_be_a_point() {
    let hinted = |text: &str| {
        let evidence = infer(text).evidence;
        evidence.as_array().expect("an array").iter().filter(|column| has_hint(column, "point")).count()
    };
    assert_eq!(hinted("Lng,lat,a\n7.5,46,1\n-180,-90,2\n"), 2);
    assert_eq!(hinted("x,y\n1,2\n"), 2);
    assert_eq!(hinted("lon;lat\n7,25;46,5\n"), 2);
    assert_eq!(hinted("x,y\n1,91\n"), 0);
    assert_eq!(hinted("lon,lat\n1,a\n"), 0);
    assert_eq!(hinted("lon,place\n1,2\n"), 0);
}

#[test]
fn records_that_are_not_like_the_others_are_counted() {
    let proposal = infer_with(b"a,b\n1,2\n3\n4,5,6\n\n,\n7,8,,\n\xff,9\n9,\0\n", b',', Some(b'"'));
    assert_eq!((proposal.records, proposal.malformed, proposal.other_width), (2, 2, 2));
    assert_eq!(proposal.hints.len(), 2);
    assert_eq!(proposal.descriptor["schema"]["fields"][0]["type"], "integer");
    let answer = proposal.into_json();
    assert_eq!((&answer["records"], &answer["malformed"]), (&json!(2), &json!(2)));
}

#[test]
fn headers_with_gaps_get_names() {
    let names = |text: &str| {
        let proposal = infer(text);
        let fields = proposal.descriptor["schema"]["fields"].as_array().expect("an array").clone();
        fields.iter().map(|field| field["name"].as_str().expect("a string").to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(names(",a,A,c,d\n1,2,3,4,5\n"), ["column_1", "a", "A_3", "c", "d"]);
    assert_eq!(names("\u{feff} a ,b,\n1,2,\n"), ["a", "b"], "a trailing delimiter");
    assert_eq!(names("a,b,\n1,2,\n1,2,3\n"), ["a", "b", "column_3"]);
    assert_eq!(names("_id,a,_Row\nx,y,1\n"), ["a", "column_3"], "the service's own");
    assert_eq!(names("a,b,_row,_line,_file,_column,_code,_message\n1,2,3,4,5,6,7,8\n"), ["a", "b"]);
    assert_eq!(names("1,x,\n2,y,\n"), ["column_1", "column_2"]);
}

/// The lines of section 11.
#[test]
fn awkward_files() {
    let types = |proposal: &Proposal| {
        let fields = proposal.descriptor["schema"]["fields"].as_array().expect("an array").clone();
        fields.iter().map(|field| field["type"].as_str().expect("a string").to_owned()).collect::<Vec<_>>()
    };
    let geonames =
        infer_with("7\tIle de l\" Union\t\t46.1\t7.2\n8\t\"Nax\t\t46.2\t7.4\n".as_bytes(), b'\t', None);
    assert_eq!(types(&geonames), ["integer", "string", "string", "number", "number"]);
    assert_eq!(geonames.evidence[0]["name"], "column_1");
    assert!(has_hint(&geonames.evidence[2], "type"), "no value");

    let jhu = infer("FIPS,Admin2,State,Country,Last_Update\n1001,Autauga,Alabama,US,4/12/20 23:18\n");
    assert_eq!(types(&jhu), ["integer", "string", "string", "string", "string"]);

    let tse = infer("ds;nr;vr\n\"#NULO\";-1;\"0,00\"\n\"PARTIDO\";5;\"12,50\"\n");
    assert_eq!(types(&tse), ["string", "integer", "number"]);

    let cvm = infer_with("TP;NM;SIT\nFI;\"1\" é calculado;S\n".as_bytes(), b';', Some(b'"'));
    assert_eq!((cvm.records, types(&cvm).len()), (1, 3));

    let irve = infer("coordonneesXY,gratuit\n\"[48.85 , 2.35]\",true\n\"[2.35, 48.85]\",false\n");
    assert_eq!(types(&irve), ["string", "boolean"]);

    let taxi = infer(
        "VendorID,lpep_pickup_datetime,flag,RateCodeID,fee\n\n2,2015-04-01 00:00:00,N,1,,,\n1,2015-04-01 00:00:01,N,1,,,\n",
    );
    assert_eq!(types(&taxi), ["integer", "datetime", "string", "integer", "string"]);
    assert_eq!((taxi.records, taxi.other_width), (2, 0));

    let imdb = "tconst\ttitle\tendYear\tgenres\ntt1\t\"X\t\\N\tComedy,Short\ntt2\tY\t1999\tShort\n";
    let imdb = infer_with(imdb.as_bytes(), b'\t', None);
    assert_eq!(
        imdb.descriptor["schema"]["fields"][2],
        json!({ "name": "endYear", "type": "integer", "missingValues": ["", r"\N"] })
    );

    let gtfs = infer("trip_id,stop_name,arrival\n3,חב\"ד,25:10:00\n");
    assert_eq!(types(&gtfs), ["integer", "string", "string"]);

    let eurostat = "unit,geo\\time\tlast\tnext\nA,LU\\TIME\t12.3 b\t: c\nA,DE\t1.5\t:\n";
    let error = sniff_delimiter(&Sample::whole(eurostat.as_bytes())).expect_err("two");
    assert_eq!(error, DelimiterError::Ambiguous(vec![b',', b'\t']), "its first column is two in truth");
    let eurostat = infer_with(eurostat.as_bytes(), b'\t', None);
    assert_eq!(types(&eurostat), ["string"; 3]);

    let insee = infer_with(b"\"codgeo\";\"evol\"\r\r\n\"2A004\";0\r\r\n\"2A006\";-1\r\r\n", b';', Some(b'"'));
    assert_eq!((types(&insee), insee.records), (vec!["string".to_owned(), "integer".to_owned()], 2));

    let blank = format!("a,b,c,d,e,f\n1,2,3,4,5,6\n{}", ",,,,,\n".repeat(1_000));
    let buenos_aires = infer(&blank);
    assert_eq!((types(&buenos_aires), buenos_aires.records), (vec!["integer".to_owned(); 6], 1));

    let gases = infer("emissions_de_gaz_a_effet_de_serre_annuelles_par_secteur_departement,an\n1.5,2019\n");
    assert_eq!(
        gases.evidence[0]["name"],
        "emissions_de_gaz_a_effet_de_serre_annuelles_par_secteur_departement"
    );

    let buffalo = infer("on,from,to\nTRANSIT RD,MAIN ST,END\n");
    assert_eq!(buffalo.evidence[2]["name"], "to");
}

#[test]
fn italian_fuel_prices_begin_with_prose() {
    let sample = b"Estrazione del 2025-01-06\nid;prezzo\n1;1.5\n";
    let error = sniff_delimiter(&Sample::whole(sample)).expect_err("prose");
    assert_eq!(error.code(), "no_delimiter");
    assert_eq!(sniff_delimiter(&Sample::whole(&sample[26..])), Ok(b';'));
}

#[test]
fn ten_thousand_columns_take_little() {
    let row = vec!["x,1.5,"; 5_000].concat();
    let begun = Instant::now();
    let proposal =
        infer_with(format!("{}\n", row.trim_end_matches(',')).repeat(20).as_bytes(), b',', Some(b'"'));
    assert_eq!(proposal.evidence.as_array().map(Vec::len), Some(10_000));
    assert!(proposal.hints[0].starts_with("fields"));
    assert!(begun.elapsed().as_secs() < 20, "{:?}", begun.elapsed());
}

#[test]
fn wider_files_are_left_out() {
    let wide = vec![b"x".as_slice(); MAX_COLUMNS + 1];
    let mut inference = Inference::new(None);
    inference.add(1, 1, wide.into_iter());
    let proposal = inference.finish();
    assert_eq!((proposal.other_width, proposal.descriptor["schema"]["fields"].clone()), (1, json!([])));
    let header = vec!["x".to_owned(); MAX_COLUMNS * 2];
    assert_eq!(Inference::new(Some(header)).finish().evidence.as_array().map(Vec::len), Some(MAX_COLUMNS));
}

#[test]
fn hostile_records_are_survived() {
    let long = format!("a,b\n{},1\n\"never closed", "é".repeat(500_000));
    let proposal = infer_with(long.as_bytes(), b',', Some(b'"'));
    assert_eq!((proposal.records, proposal.other_width), (1, 1));
    let field = &proposal.descriptor["schema"]["fields"][0];
    assert_eq!(field["constraints"]["maxLength"], 524_288);
    let huge = "a".repeat(1 << 20);
    let proposal = infer_with(format!("{huge},b\n1,2\n").as_bytes(), b',', Some(b'"'));
    assert_eq!(proposal.evidence[0]["name"], "column_1");
    assert_eq!(infer_with(b"", b',', Some(b'"')).descriptor["schema"]["fields"], json!([]));
    for bytes in [b"\0,\0\n\0".as_slice(), b"\xff\xfe,\x80\n", b"\"\"\"\"\"\"", b",,,\n,,,", b"a,b"] {
        infer_with(bytes, b',', Some(b'"')).into_json();
    }
}

#[test]
fn a_large_file_is_read_in_one_pass_of_bounded_memory() {
    let mut inference = Inference::new(Some(["id", "day", "word", "price"].map(str::to_owned).to_vec()));
    let begun = Instant::now();
    for row in 1..=1_200_000_i64 {
        let id = row.to_string();
        let fields = [id.as_bytes(), b"2024-01-31", b"some", b"17.25"];
        inference.add(row, row + 1, fields.into_iter());
    }
    let proposal = inference.finish();
    assert!(!has_hint(&proposal.evidence[0], "key"), "too many to tell");
    assert_eq!(proposal.descriptor["schema"]["fields"][1]["type"], "date");
    assert!(begun.elapsed().as_secs() < 60, "{:?}", begun.elapsed());
}
