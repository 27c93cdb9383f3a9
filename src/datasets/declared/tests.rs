use proptest::prelude::*;
use serde_json::{Value as Json, json, value::RawValue};

use super::*;
use crate::datasets::{Column, Fault, Ident};

/// A column of a field, whose fields that stand for null are those the field says, else the empty one.
pub(super) fn column(field: Json) -> Column {
    let missing = match &field["missingValues"] {
        Json::Array(words) => words.iter().map(|word| word.as_str().expect("text").into()).collect(),
        _ => vec![Box::from("")],
    };
    let mut faults = Vec::new();
    let rule = Declared::declare(field.as_object().expect("an object"), &missing, &mut faults);
    let rule = rule.unwrap_or_else(|| panic!("{field}: {faults:?}"));
    let required = field["constraints"]["required"] == true;
    Column {
        missing: missing.into(),
        required,
        key: Ident::new("x").expect("a name"),
        ..Column::new("x", rule, required, "")
    }
}

fn refused(field: Json) -> Vec<(String, &'static str)> {
    let mut faults = Vec::new();
    let rule = Declared::declare(field.as_object().expect("an object"), &[Box::from("")], &mut faults);
    assert!(rule.is_none(), "{field}");
    faults.into_iter().map(|fault| (fault.pointer, fault.code)).collect()
}

/// What comes of a field: the JSON of its value, or the code of its fault.
fn file(column: &Column, field: &str) -> String {
    match column.parse(field) {
        Ok(value) => value.json(),
        Err(Fault { code, message }) => {
            assert!(message.starts_with("x "), "{message}");
            code.to_owned()
        }
    }
}

fn body(column: &Column, json: &str) -> String {
    let json: &RawValue = serde_json::from_str(json).unwrap_or_else(|error| panic!("{json}: {error}"));
    match column.parse_raw(json) {
        Ok(value) => value.json(),
        Err(Fault { code, message }) => {
            assert!(message.starts_with("x "), "{message}");
            code.to_owned()
        }
    }
}

#[track_caller]
fn files(field: Json, expected: &[(&str, &str)]) {
    let column = column(field.clone());
    for (text, expected) in expected {
        assert_eq!(&file(&column, text), expected, "{field} {text:?}");
    }
}

#[track_caller]
fn bodies(field: Json, expected: &[(&str, &str)]) {
    let column = column(field.clone());
    for (text, expected) in expected {
        assert_eq!(&body(&column, text), expected, "{field} {text}");
    }
}

#[test]
fn a_string_is_any_text() {
    files(
        json!({"type": "string"}),
        &[
            ("a", "\"a\""),
            (" a ", "\" a \""),
            (" ", "\" \""),
            ("", "null"),
            ("a\0", "nul_character"),
            (&"ä".repeat(65_536), &format!("\"{}\"", "ä".repeat(65_536))),
            (&"ä".repeat(65_537), "length"),
            (&"x".repeat(300_000), "length"),
        ],
    );
    files(
        json!({"type": "string", "missingValues": ["-"]}),
        &[("", "\"\""), ("-", "null"), (" -", "\" -\"")],
    );
    files(json!({}), &[(" a ", "\" a \""), ("", "null")]);
    bodies(
        json!({"type": "string"}),
        &[
            ("\"a\"", "\"a\""),
            ("\"\"", "not_writable"),
            ("5", "not_text"),
            ("true", "not_text"),
            ("[]", "not_text"),
            ("null", "null"),
            (r#""a\u0000""#, "nul_character"),
            (r#""\ud800""#, "invalid_utf8"),
            (r#""\ud83d\ude00\n""#, "\"😀\\n\""),
        ],
    );
}

#[test]
fn a_string_has_a_length_in_characters_a_pattern_and_an_enum() {
    files(
        json!({"constraints": {"minLength": 2, "maxLength": 3}, "type": "string"}),
        &[("ä", "length"), ("ää", "\"ää\""), ("äää", "\"äää\""), ("ääää", "length"), ("a", "length")],
    );
    let pattern = |pattern: &str| json!({"type": "string", "constraints": {"pattern": pattern}});
    files(
        pattern("a|ab"),
        &[("a", "\"a\""), ("ab", "\"ab\""), ("b", "pattern"), ("ab\n", "pattern"), ("xa", "pattern")],
    );
    files(pattern("^[0-9]+$"), &[("12", "\"12\""), ("1x", "pattern")]);
    files(pattern("(?x) a b # the end"), &[("ab", "\"ab\""), ("abc", "pattern")]);
    files(pattern("(?m)^a$"), &[("a", "\"a\""), ("a\nb", "pattern")]);
    files(
        json!({"type": "string", "constraints": {"enum": ["a", "b "]}}),
        &[("a", "\"a\""), ("b ", "\"b \""), ("b", "not_allowed")],
    );
    let many: Vec<_> = (0..1000).map(|number| format!("w{number}")).collect();
    let many = json!({"type": "string", "constraints": {"enum": many}});
    files(many, &[("w0", "\"w0\""), ("w999", "\"w999\""), ("w1000", "not_allowed")]);
    files(
        json!({"type": "string", "categories": ["a", {"value": "b", "label": "B"}]}),
        &[("a", "\"a\""), ("b", "\"b\""), ("B", "not_allowed")],
    );
    files(
        json!({"type": "string", "constraints": {"unique": true}}),
        &[(&"x".repeat(2001), "length"), (&"x".repeat(2000), &format!("\"{}\"", "x".repeat(2000)))],
    );
}

#[test]
fn formats_of_strings() {
    files(
        json!({"type": "string", "format": "uuid"}),
        &[
            ("A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11", "\"a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11\""),
            ("a0eebc999c0b4ef8bb6d6bb9bd380a11", "not_a_uuid"),
            ("{a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11}", "not_a_uuid"),
            (" a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "not_a_uuid"),
            ("a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a1g", "not_a_uuid"),
            ("", "null"),
        ],
    );
    let long = format!("{}@a.b", "a".repeat(2000));
    files(
        json!({"type": "string", "format": "email"}),
        &[
            ("a.b+c@example.org", "\"a.b+c@example.org\""),
            ("a@localhost", "\"a@localhost\""),
            ("a@-b.org", "not_an_email"),
            ("a@b..org", "not_an_email"),
            ("@b.org", "not_an_email"),
            ("a b@c.org", "not_an_email"),
            ("a@b@c", "not_an_email"),
            (&long, "length"),
        ],
    );
    files(
        json!({"type": "string", "format": "uri"}),
        &[
            ("urn:isbn:0451450523", "\"urn:isbn:0451450523\""),
            ("http://user@[::1]:80/a%20b?c#d", "\"http://user@[::1]:80/a%20b?c#d\""),
            ("mailto:a@b.org", "\"mailto:a@b.org\""),
            ("/relative", "not_a_uri"),
            ("1a:b", "not_a_uri"),
            ("a:b c", "not_a_uri"),
            ("a:b%2", "not_a_uri"),
            ("http://[x]/", "not_a_uri"),
            ("http://a:b/", "not_a_uri"),
            ("a:ä", "not_a_uri"),
        ],
    );
    files(
        json!({"type": "string", "format": "url"}),
        &[
            ("HTTP://Example.org", "\"http://example.org/\""),
            ("https://example.org/a#b", "\"https://example.org/a\""),
            ("ftp://example.org", "not_a_url"),
            ("example.org", "not_a_url"),
            ("http://", "not_a_url"),
            ("http://a/\0", "nul_character"),
        ],
    );
}

#[test]
fn an_integer_has_64_bits() {
    files(
        json!({"type": "integer"}),
        &[
            ("5", "5"),
            (" \t+5\t", "5"),
            ("-9223372036854775808", "-9223372036854775808"),
            ("9223372036854775808", "out_of_range"),
            ("99999999999999999999x", "not_an_integer"),
            (&"9".repeat(300_000), "out_of_range"),
            ("007", "7"),
            ("5.0", "not_an_integer"),
            ("1e3", "not_an_integer"),
            ("+", "not_an_integer"),
            ("", "null"),
            ("  ", "null"),
            ("1,000", "not_an_integer"),
            ("٣", "not_an_integer"),
            ("\u{a0}5", "not_an_integer"),
            ("5\0", "nul_character"),
        ],
    );
    bodies(
        json!({"type": "integer"}),
        &[
            ("5", "5"),
            ("5.0", "5"),
            ("5e2", "500"),
            ("-0", "0"),
            ("5.5", "not_an_integer"),
            ("\"5\"", "not_an_integer"),
            ("9223372036854775808", "out_of_range"),
            ("1e999999999", "out_of_range"),
            ("1e-999999999", "out_of_range"),
            ("true", "not_an_integer"),
            ("[5]", "not_an_integer"),
        ],
    );
    files(
        json!({"type": "integer", "groupChar": ","}),
        &[
            ("1,234,567", "1234567"),
            ("-1,234", "-1234"),
            ("1234567", "1234567"),
            ("1234,567", "not_an_integer"),
            ("1,23", "not_an_integer"),
            (",123", "not_an_integer"),
            ("1,234,", "not_an_integer"),
            ("1,,234", "not_an_integer"),
        ],
    );
    files(
        json!({"type": "integer", "bareNumber": false}),
        &[
            ("€95", "95"),
            ("95%", "95"),
            ("€-5", "-5"),
            ("-€5", "-5"),
            ("--5", "not_an_integer"),
            ("-.5", "not_an_integer"),
            ("a-b5", "not_an_integer"),
            ("a-5", "-5"),
            ("EUR 12 EUR", "12"),
            ("none", "not_an_integer"),
            ("1 2", "not_an_integer"),
            ("5\0", "nul_character"),
        ],
    );
    files(
        json!({"type": "integer", "constraints": {"minimum": 1, "exclusiveMaximum": 5}}),
        &[("0", "out_of_range"), ("1", "1"), ("4", "4"), ("5", "out_of_range")],
    );
    files(json!({"type": "integer", "constraints": {"enum": [1, 2]}}), &[("01", "1"), ("3", "not_allowed")]);
}

#[test]
fn a_number_keeps_forty_digits() {
    let forty = "1234567890123456789012345678901234567.890";
    files(
        json!({"type": "number"}),
        &[
            ("1.50", "1.50"),
            (forty, forty),
            ("12345678901234567890123456789012345678901", "out_of_range"),
            ("1e3", "1000"),
            (".5", "0.5"),
            ("NaN", "not_a_number"),
            ("INF", "not_a_number"),
            ("-INF", "not_a_number"),
            ("1,5", "not_a_number"),
            ("1e999999999", "out_of_range"),
            (&"9".repeat(300_000), "out_of_range"),
        ],
    );
    bodies(
        json!({"type": "number"}),
        &[
            (forty, forty),
            ("1.50", "1.50"),
            ("1e3", "1000"),
            ("\"1\"", "not_a_number"),
            ("1e999999999", "out_of_range"),
        ],
    );
    files(
        json!({"type": "number", "decimalChar": ",", "groupChar": "."}),
        &[("1.234,5", "1234.5"), ("1.5", "not_a_number"), ("1234,50", "1234.50"), ("-1.234.567", "-1234567")],
    );
    files(
        json!({"type": "number", "bareNumber": false}),
        &[("€ 12.50", "12.50"), ("12.5%", "12.5"), ("-.5", "-0.5"), ("1e3", "1000"), ("-12 €", "-12")],
    );
    files(
        json!({"type": "number", "floatNumber": true}),
        &[
            ("1.50", "1.5"),
            ("1e300", "1e+300"),
            ("1e400", "out_of_range"),
            ("1e-400", "out_of_range"),
            ("0e-9", "0"),
            ("1.7976931348623157e308", "1.7976931348623157e+308"),
            ("5e-324", "5e-324"),
        ],
    );
    files(
        json!({"type": "number", "constraints": {"minimum": 0.1, "maximum": 10}}),
        &[("0.1", "0.1"), ("0.09", "out_of_range"), ("10.000", "10.000"), ("10.001", "out_of_range")],
    );
    files(
        json!({"type": "number", "constraints": {"enum": [1.5]}}),
        &[("1.50", "1.50"), ("1", "not_allowed")],
    );
}

#[test]
fn a_boolean_is_one_of_its_words() {
    files(
        json!({"type": "boolean"}),
        &[
            ("true", "true"),
            ("TRUE", "true"),
            ("1", "true"),
            ("0", "false"),
            (" False ", "false"),
            ("yes", "not_a_boolean"),
            ("tRUE", "not_a_boolean"),
        ],
    );
    files(
        json!({"type": "boolean", "trueValues": ["ja"], "falseValues": ["nein"]}),
        &[("ja", "true"), ("nein", "false"), ("true", "not_a_boolean")],
    );
    bodies(
        json!({"type": "boolean"}),
        &[("true", "true"), ("\"true\"", "not_a_boolean"), ("1", "not_a_boolean")],
    );
}

#[test]
fn a_date_exists() {
    files(
        json!({"type": "date"}),
        &[
            ("2024-02-29", "\"2024-02-29\""),
            ("2023-02-29", "not_a_date"),
            ("0000-01-01", "out_of_range"),
            ("12024-01-01", "out_of_range"),
            ("12024-13-01", "not_a_date"),
            ("2024-1-1", "not_a_date"),
            ("-2024-01-01", "not_a_date"),
            ("2024-01-01T00:00:00", "not_a_date"),
            ("٢٠٢٤-٠١-٠١", "not_a_date"),
        ],
    );
    let date = |format: &str| json!({"type": "date", "format": format});
    files(
        date("%d.%m.%Y"),
        &[
            ("29.02.2024", "\"2024-02-29\""),
            ("31.02.2024", "not_a_date"),
            ("1.2.2024", "not_a_date"),
            ("01.02.12024", "out_of_range"),
            ("01.02.0000", "out_of_range"),
            ("2024-02-01", "not_a_date"),
            ("01/02/2024", "not_a_date"),
        ],
    );
    files(
        date("%m/%d/%y"),
        &[("12/31/68", "\"2068-12-31\""), ("12/31/69", "\"1969-12-31\""), ("1/1/69", "not_a_date")],
    );
    files(date("%d %b %Y"), &[("05 mar 2024", "\"2024-03-05\""), ("05 March 2024", "not_a_date")]);
    files(date("%B %d, %Y"), &[("March 05, 2024", "\"2024-03-05\"")]);
    files(
        date("%Y%j"),
        &[("2024366", "\"2024-12-31\""), ("2023366", "not_a_date"), ("2023000", "not_a_date")],
    );
    files(date("%Y年%m月%d日"), &[("2024年03月05日", "\"2024-03-05\"")]);
    bodies(
        date("%d.%m.%Y"),
        &[("\"2024-02-29\"", "\"2024-02-29\""), ("\"29.02.2024\"", "not_a_date"), ("7", "not_a_date")],
    );
    // Two digits of a year say 1969 to 2068.
    bodies(date("%m/%d/%y"), &[("\"2068-12-31\"", "\"2068-12-31\""), ("\"1968-12-31\"", "not_writable")]);
    files(
        json!({"type": "date", "format": "%d.%m.%Y", "constraints": {"minimum": "2000-01-01"}}),
        &[("01.01.2000", "\"2000-01-01\""), ("31.12.1999", "out_of_range")],
    );
}

#[test]
fn a_time_is_of_one_day() {
    files(
        json!({"type": "time"}),
        &[
            ("23:59:59", "\"23:59:59\""),
            ("10:00:00.5", "\"10:00:00.500000\""),
            ("10:00:00.1234567", "\"10:00:00.123456\""),
            ("24:00:00", "not_a_time"),
            ("25:10:00", "not_a_time"),
            ("23:59:60", "not_a_time"),
            ("10:00", "not_a_time"),
            ("10:00:00.", "not_a_time"),
            ("1:00:00", "not_a_time"),
        ],
    );
    files(
        json!({"type": "time", "format": "%I:%M %p"}),
        &[
            ("12:00 AM", "\"00:00:00\""),
            ("12:30 pm", "\"12:30:00\""),
            ("13:00 PM", "not_a_time"),
            ("00:00 AM", "not_a_time"),
        ],
    );
    files(
        json!({"type": "time", "format": "%H:%M:%S.%f"}),
        &[("10:00:00.5", "\"10:00:00.500000\""), ("10:00:00.1234567", "not_a_time")],
    );
    bodies(
        json!({"type": "time", "format": "%H:%M"}),
        &[("\"10:00:00\"", "\"10:00:00\""), ("\"10:00:01\"", "not_writable"), ("\"10:00\"", "not_a_time")],
    );
}

#[test]
fn a_datetime_is_a_moment() {
    files(
        json!({"type": "datetime"}),
        &[
            ("2024-03-05T10:00:00Z", "\"2024-03-05T10:00:00Z\""),
            ("2024-03-05T10:00:00", "\"2024-03-05T10:00:00Z\""),
            ("2024-03-05T10:00:00.1234567+01:30", "\"2024-03-05T08:30:00.123456Z\""),
            ("2024-03-05 10:00:00", "not_a_datetime"),
            ("2024-03-05T10:00:00+0100", "not_a_datetime"),
            ("2024-03-05T10:00:00+01", "not_a_datetime"),
            ("2024-03-05T24:00:00Z", "not_a_datetime"),
            ("2024-02-30T10:00:00Z", "not_a_datetime"),
            ("2024-03-05", "not_a_datetime"),
            ("12024-03-05T10:00:00Z", "out_of_range"),
            ("0001-01-01T00:00:00+01:00", "out_of_range"),
            ("9999-12-31T23:59:59-01:00", "out_of_range"),
            ("2024-03-05T10:00:00é", "not_a_datetime"),
        ],
    );
    let paris = json!({"type": "datetime", "timezone": "Europe/Paris", "format": "%d/%m/%Y %H:%M"});
    files(
        paris.clone(),
        &[
            ("05/07/2024 10:00", "\"2024-07-05T08:00:00Z\""),
            ("05/01/2024 10:00", "\"2024-01-05T09:00:00Z\""),
            // The clocks go forward, and back.
            ("31/03/2024 02:30", "not_a_datetime"),
            ("27/10/2024 02:30", "\"2024-10-27T00:30:00Z\""),
        ],
    );
    bodies(
        paris,
        &[
            ("\"2024-10-27T00:30:00Z\"", "\"2024-10-27T00:30:00Z\""),
            ("\"2024-10-27T01:30:00Z\"", "not_writable"),
            ("\"2024-10-27T02:30:00\"", "\"2024-10-27T02:30:00Z\""),
            ("\"2024-10-27T02:30:01Z\"", "not_writable"),
            ("\"27/10/2024 02:30\"", "not_a_datetime"),
        ],
    );
    files(
        json!({"type": "datetime", "format": "%Y-%m-%d %H:%M:%S%z"}),
        &[
            ("2024-03-05 10:00:00+0200", "\"2024-03-05T08:00:00Z\""),
            ("2024-03-05 10:00:00Z", "\"2024-03-05T10:00:00Z\""),
        ],
    );
}

#[test]
fn years_and_months() {
    files(
        json!({"type": "year"}),
        &[
            ("2024", "2024"),
            ("-0044", "-44"),
            ("0000", "not_a_year"),
            ("12024", "out_of_range"),
            ("24", "not_a_year"),
            ("+2024", "not_a_year"),
            ("02024", "not_a_year"),
        ],
    );
    bodies(
        json!({"type": "year"}),
        &[
            ("44", "44"),
            ("0", "not_a_year"),
            ("10000", "out_of_range"),
            ("\"2024\"", "not_a_year"),
            ("2024.5", "not_a_year"),
        ],
    );
    files(
        json!({"type": "yearmonth", "constraints": {"minimum": "2020-01"}}),
        &[
            ("2024-03", "\"2024-03\""),
            ("2024-13", "not_a_yearmonth"),
            ("2024-3", "not_a_yearmonth"),
            ("12024-03", "out_of_range"),
            ("2019-12", "out_of_range"),
            ("2024-03-01", "not_a_yearmonth"),
        ],
    );
    bodies(json!({"type": "yearmonth"}), &[("\"2024-03\"", "\"2024-03\""), ("202403", "not_a_yearmonth")]);
}

#[test]
fn a_geopoint_is_on_earth() {
    files(
        json!({"type": "geopoint"}),
        &[
            ("2.35, 48.85", "[2.35,48.85]"),
            ("2.35 , 48.85", "[2.35,48.85]"),
            ("2.35,48.85", "[2.35,48.85]"),
            ("181, 0", "out_of_range"),
            ("10, 95", "out_of_range"),
            ("10", "not_a_point"),
            ("10, 20, 30", "not_a_point"),
            ("a, b", "not_a_point"),
            ("NaN, 0", "not_a_point"),
        ],
    );
    files(
        json!({"type": "geopoint", "format": "array"}),
        &[
            ("[2.35 , 48.85]", "[2.35,48.85]"),
            ("2.35, 48.85", "not_a_point"),
            ("[1,2,3]", "not_a_point"),
            ("[\"1\",2]", "not_a_point"),
        ],
    );
    files(
        json!({"type": "geopoint", "format": "object"}),
        &[
            ("{\"lat\": 48.85, \"lon\": 2.35}", "[2.35,48.85]"),
            ("{\"lat\": 48.85}", "not_a_point"),
            ("{\"lat\":1,\"lon\":2,\"alt\":3}", "not_a_point"),
        ],
    );
    bodies(
        json!({"type": "geopoint"}),
        &[("[2.35,48.85]", "[2.35,48.85]"), ("\"2.35, 48.85\"", "not_a_point")],
    );
    let mut france = column(json!({"type": "geopoint", "format": "array"}));
    france.rule = france.rule.within([-5.0, 41.0, 10.0, 51.5]);
    for (field, expected) in
        [("[2.35,48.85]", "[2.35,48.85]"), ("[48.85,2.35]", "swapped_point"), ("[100,10]", "out_of_range")]
    {
        assert_eq!(file(&france, field), expected);
    }
}

#[test]
fn a_list_has_items_of_one_type() {
    files(
        json!({"type": "list", "itemType": "integer", "delimiter": ";"}),
        &[
            ("1;2; 3", "[1,2,3]"),
            ("3;1;3", "[3,1,3]"),
            ("", "null"),
            ("1;x", "not_an_integer"),
            ("1;", "not_an_integer"),
            ("1,2", "not_an_integer"),
        ],
    );
    files(
        json!({"type": "list", "missingValues": ["-"]}),
        &[("", "[]"), ("a, b", "[\"a\",\"b\"]"), ("a,,b", "[\"a\",\"\",\"b\"]")],
    );
    files(
        json!({"type": "list", "itemType": "date"}),
        &[("2024-01-01,2024-01-02", "[\"2024-01-01\",\"2024-01-02\"]"), ("x", "not_a_date")],
    );
    files(json!({"type": "list", "itemType": "boolean"}), &[("1,false", "[true,false]")]);
    files(
        json!({"type": "list", "constraints": {"minLength": 2}}),
        &[("a", "length"), ("a,b", "[\"a\",\"b\"]")],
    );
    bodies(
        json!({"type": "list"}),
        &[
            ("[\"a\",\"b\"]", "[\"a\",\"b\"]"),
            ("[]", "not_writable"),
            ("[\"a,b\"]", "not_writable"),
            ("[\" a\"]", "not_writable"),
            ("[\"\"]", "not_writable"),
            ("[\"a\",\"\"]", "[\"a\",\"\"]"),
            ("[1]", "not_text"),
            ("[null]", "not_a_list"),
            ("\"a\"", "not_a_list"),
            ("{}", "not_a_list"),
        ],
    );
    bodies(
        json!({"type": "list", "missingValues": ["-"]}),
        &[("[]", "[]"), ("[\"\"]", "not_writable"), ("[\"-\"]", "not_writable")],
    );
    bodies(
        json!({"type": "list", "itemType": "integer"}),
        &[("[1,2.0]", "[1,2]"), ("[\"1\"]", "not_an_integer")],
    );
}

#[test]
fn objects_and_arrays_are_what_jsonb_keeps() {
    let deep = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    let long = |bytes: usize| format!("[\"{}\"]", "x".repeat(bytes - 4));
    files(
        json!({"type": "array"}),
        &[
            ("[1, 2]", "[1, 2]"),
            ("{}", "not_json"),
            ("[1", "not_json"),
            ("[\"\\u0000\"]", "not_json"),
            ("[\"\\ud800\"]", "not_json"),
            ("[\"\\ude00\"]", "not_json"),
            ("[\"\\ud83d\\ude00\"]", "[\"\\ud83d\\ude00\"]"),
            ("[1e999999999]", "not_json"),
            ("[NaN]", "not_json"),
            (&deep(64), &deep(64)),
            (&deep(65), "not_json"),
            (&deep(150_000), "not_json"),
            (&"[".repeat(300_000), "not_json"),
            (&long(65_536), &long(65_536)),
            (&long(65_537), "not_json"),
            (&format!("[{}1e300]", "1e300,".repeat(300)), "not_json"),
            (&format!("[{}]", "9".repeat(400)), "not_json"),
        ],
    );
    files(
        json!({"type": "object"}),
        &[("{\"a\":[]}", "{\"a\":[]}"), ("[]", "not_json"), ("5", "not_json"), ("null", "not_json")],
    );
    files(
        json!({"type": "object", "constraints": {"minLength": 1, "maxLength": 2}}),
        &[("{}", "length"), ("{\"a\":[1,2,3]}", "{\"a\":[1,2,3]}"), ("{\"a\":1,\"b\":2,\"c\":3}", "length")],
    );
    bodies(
        json!({"type": "object"}),
        &[("{\"a\":1}", "{\"a\":1}"), ("\"{}\"", "not_json"), ("[]", "not_json")],
    );
    files(
        json!({"type": "array", "constraints": {"enum": [[1, {"a": 2, "b": 3}]]}}),
        &[("[1,{\"b\":3,\"a\":2}]", "[1,{\"b\":3,\"a\":2}]"), ("[1]", "not_allowed")],
    );
}

#[test]
fn what_a_file_cannot_say_is_refused() {
    bodies(
        json!({"type": "string", "missingValues": ["", "-"]}),
        &[("\"-\"", "not_writable"), ("\"- \"", "\"- \"")],
    );
    bodies(
        json!({"type": "object", "missingValues": ["{}", "-"]}),
        &[("{ }", "not_writable"), ("{\"a\": 1}", "{\"a\": 1}")],
    );
    bodies(json!({"type": "string", "missingValues": []}), &[("null", "not_writable"), ("\"\"", "\"\"")]);
    bodies(json!({"type": "integer", "missingValues": ["-1"]}), &[("-1", "not_writable"), ("1", "1")]);
    files(
        json!({"type": "integer", "missingValues": ["-1"]}),
        &[("-1", "null"), (" -1", "null"), ("-01", "not_writable"), ("", "not_an_integer")],
    );
    bodies(json!({"type": "string", "constraints": {"required": true}}), &[("null", "required")]);
    files(
        json!({"type": "integer", "constraints": {"required": true}}),
        &[("", "required"), (" ", "required")],
    );
}

#[test]
fn filters_have_plain_values() {
    let plain = |field: Json, text: &str| match column(field).parse_plain(text) {
        Ok(value) => value.json(),
        Err(fault) => fault.code.to_owned(),
    };
    assert_eq!(
        plain(json!({"type": "integer", "groupChar": ",", "constraints": {"maximum": 5}}), "10"),
        "10"
    );
    assert_eq!(plain(json!({"type": "integer", "groupChar": ","}), "1,000"), "not_an_integer");
    assert_eq!(plain(json!({"type": "number", "decimalChar": ","}), "1.5"), "1.5");
    assert_eq!(plain(json!({"type": "date", "format": "%d.%m.%Y"}), "2024-01-02"), "\"2024-01-02\"");
    assert_eq!(plain(json!({"type": "date", "format": "%d.%m.%Y"}), "02.01.2024"), "not_a_date");
    assert_eq!(
        plain(json!({"type": "boolean", "trueValues": ["ja"], "falseValues": ["nein"]}), "true"),
        "true"
    );
    assert_eq!(plain(json!({"type": "boolean"}), "1"), "not_a_boolean");
    assert_eq!(plain(json!({"type": "year"}), "-44"), "-44");
    assert_eq!(plain(json!({"type": "list", "itemType": "integer"}), "5"), "5");
    assert_eq!(plain(json!({"type": "string"}), "a\0"), "nul_character");
    assert_eq!(plain(json!({"type": "string", "format": "email"}), "a"), "\"a\"");
}

#[test]
fn declarations_that_cannot_be() {
    let one = |field: Json| {
        let faults = refused(field.clone());
        assert_eq!(faults.len(), 1, "{field} {faults:?}");
        faults.into_iter().next().expect("a fault")
    };
    for (field, pointer, code) in [
        (json!({"type": "duration"}), "/type", "unsupported_type"),
        (json!({"type": "geojson"}), "/type", "unsupported_type"),
        (json!({"type": "strng"}), "/type", "unsupported_type"),
        (json!({"type": 5}), "/type", "wrong_type"),
        (json!({"type": "string", "format": "binary"}), "/format", "unsupported_type"),
        (json!({"type": "date", "format": "any"}), "/format", "unsupported_type"),
        (json!({"type": "string", "format": "x"}), "/format", "unknown_format"),
        (json!({"type": "date", "format": "%d.%m"}), "/format", "unknown_format"),
        (json!({"type": "date", "format": "%d.%m.%Y'"}), "/format", "unknown_format"),
        (json!({"type": "date", "format": "%d.%m.%Y %H"}), "/format", "unknown_format"),
        (json!({"type": "date", "format": "%Q"}), "/format", "unknown_format"),
        (json!({"type": "date", "format": "%d%d%m%Y"}), "/format", "unknown_format"),
        (json!({"type": "time", "format": "%I:%M"}), "/format", "unknown_format"),
        (json!({"type": "datetime", "timezone": "Mars/Olympus"}), "/timezone", "unknown_timezone"),
        (json!({"type": "list", "itemType": "object"}), "/itemType", "unsupported_type"),
        (json!({"type": "list", "delimiter": ""}), "/delimiter", "not_allowed"),
        (json!({"type": "number", "decimalChar": "x"}), "/decimalChar", "not_allowed"),
        (json!({"type": "number", "decimalChar": ",", "groupChar": ","}), "/groupChar", "overlapping_values"),
        (
            json!({"type": "boolean", "trueValues": ["a"], "falseValues": ["a"]}),
            "/falseValues",
            "overlapping_values",
        ),
        (json!({"type": "boolean", "trueValues": ["0"]}), "/trueValues", "overlapping_values"),
        (json!({"type": "boolean", "trueValues": []}), "/trueValues", "wrong_type"),
        (json!({"type": "string", "constraints": []}), "/constraints", "wrong_type"),
        (json!({"type": "string", "constraints": {"x/y": 1}}), "/constraints/x~1y", "unknown_constraint"),
        (
            json!({"type": "string", "constraints": {"minimum": 1}}),
            "/constraints/minimum",
            "constraint_does_not_fit",
        ),
        (
            json!({"type": "integer", "constraints": {"pattern": "x"}}),
            "/constraints/pattern",
            "constraint_does_not_fit",
        ),
        (
            json!({"type": "string", "constraints": {"pattern": "(?=x)"}}),
            "/constraints/pattern",
            "unsupported_pattern",
        ),
        (
            json!({"type": "string", "constraints": {"pattern": r"(a)\1"}}),
            "/constraints/pattern",
            "unsupported_pattern",
        ),
        (
            json!({"type": "string", "constraints": {"pattern": "a)|(b"}}),
            "/constraints/pattern",
            "unsupported_pattern",
        ),
        (
            json!({"type": "string", "constraints": {"pattern": "(\\w{99}){99}"}}),
            "/constraints/pattern",
            "unsupported_pattern",
        ),
        (json!({"type": "string", "constraints": {"pattern": 1}}), "/constraints/pattern", "wrong_type"),
        (
            json!({"type": "string", "constraints": {"required": "yes"}}),
            "/constraints/required",
            "wrong_type",
        ),
        (
            json!({"type": "string", "constraints": {"minLength": -1}}),
            "/constraints/minLength",
            "not_allowed",
        ),
        (
            json!({"type": "string", "constraints": {"minLength": 3, "maxLength": 2}}),
            "/constraints/minLength",
            "empty_range",
        ),
        (
            json!({"type": "integer", "constraints": {"minimum": 3, "maximum": 2}}),
            "/constraints/minimum",
            "empty_range",
        ),
        (
            json!({"type": "integer", "constraints": {"exclusiveMinimum": 2, "maximum": 2}}),
            "/constraints/exclusiveMinimum",
            "empty_range",
        ),
        (json!({"type": "integer", "constraints": {"minimum": "a"}}), "/constraints/minimum", "not_allowed"),
        (
            json!({"type": "date", "constraints": {"minimum": "01.01.2000"}}),
            "/constraints/minimum",
            "not_allowed",
        ),
        (json!({"type": "integer", "constraints": {"enum": [1, "x"]}}), "/constraints/enum/1", "not_allowed"),
        (json!({"type": "date", "categories": ["2024-01-01"]}), "/categories", "constraint_does_not_fit"),
    ] {
        assert_eq!(one(field.clone()), (pointer.to_owned(), code), "{field}");
    }
    let many: Vec<_> = (0..=1000).collect();
    assert_eq!(refused(json!({"type": "integer", "constraints": {"enum": many}}))[0].1, "not_allowed");
}

#[test]
fn defaults_are_filled_in() {
    let fill = |field: Json| {
        let mut field = field.as_object().expect("an object").clone();
        fill_defaults(&mut field);
        Json::Object(field)
    };
    assert_eq!(
        fill(json!({"name": "a", "x": 1})),
        json!({"name": "a", "x": 1, "type": "any", "format": "default"})
    );
    assert_eq!(
        fill(json!({"type": "number", "decimalChar": ","})),
        json!({"type": "number", "decimalChar": ",", "format": "default", "bareNumber": true, "floatNumber": false})
    );
    for kind in
        ["string", "integer", "number", "boolean", "date", "time", "datetime", "list", "any", "object"]
    {
        column(fill(json!({"type": kind})));
    }
}

/// Fields of all kinds, with a strategy of texts of JSON that are their values.
fn kinds() -> Vec<(Json, BoxedStrategy<String>)> {
    let text =
        |strategy: BoxedStrategy<String>| strategy.prop_map(|text| Json::from(text).to_string()).boxed();
    let date = || {
        (0_i32..3_652_058).prop_map(|day| {
            chrono::NaiveDate::from_num_days_from_ce_opt(day + 1)
                .expect("a day")
                .format("%Y-%m-%d")
                .to_string()
        })
    };
    let datetime =
        || (-30_000_000_000_000_000_i64..60_000_000_000_000_000).prop_map(crate::datasets::value::datetime);
    let time = || (0_i64..86_400_000_000).prop_map(crate::datasets::value::time);
    let number = || "-?(0|[1-9][0-9]{0,19})(\\.[0-9]{1,20})?".boxed();
    let float = || {
        any::<f64>()
            .prop_filter("finite", |number| number.is_finite())
            .prop_map(|number| Json::from(number).to_string())
            .boxed()
    };
    vec![
        (json!({"type": "string", "missingValues": ["-"]}), text(".{0,20}".boxed())),
        (json!({"type": "integer"}), any::<i64>().prop_map(|number| number.to_string()).boxed()),
        (json!({"type": "number"}), number()),
        (json!({"type": "number", "decimalChar": ",", "groupChar": "."}), number()),
        (json!({"type": "number", "floatNumber": true, "decimalChar": ","}), float()),
        (
            json!({"type": "boolean", "trueValues": ["x", "1"], "falseValues": ["o"]}),
            any::<bool>().prop_map(|value| value.to_string()).boxed(),
        ),
        (json!({"type": "date"}), text(date().boxed())),
        (json!({"type": "date", "format": "%d.%m.%Y"}), text(date().boxed())),
        (json!({"type": "date", "format": "%B %d, %Y"}), text(date().boxed())),
        (json!({"type": "date", "format": "%Y%j"}), text(date().boxed())),
        (json!({"type": "date", "format": "%d-%b-%y"}), text(date().boxed())),
        (json!({"type": "time"}), text(time().boxed())),
        (json!({"type": "time", "format": "%I:%M:%S.%f %p"}), text(time().boxed())),
        (json!({"type": "time", "format": "%H:%M"}), text(time().boxed())),
        (json!({"type": "datetime"}), text(datetime().boxed())),
        (
            json!({"type": "datetime", "format": "%d.%m.%Y %H:%M:%S.%f", "timezone": "America/New_York"}),
            text(datetime().boxed()),
        ),
        (json!({"type": "datetime", "format": "%y%m%d%H%M%S%z"}), text(datetime().boxed())),
        (json!({"type": "year"}), (-9999_i32..=9999).prop_map(|year| year.to_string()).boxed()),
        (json!({"type": "yearmonth"}), text("[0-9]{4}-(0[1-9]|1[0-2])".boxed())),
        (
            json!({"type": "geopoint", "format": "object"}),
            (-180.0..180.0, -90.0..90.0).prop_map(|(x, y): (f64, f64)| format!("[{x},{y}]")).boxed(),
        ),
        (
            json!({"type": "geopoint"}),
            (-180.0..180.0, -90.0..90.0).prop_map(|(x, y): (f64, f64)| format!("[{x},{y}]")).boxed(),
        ),
        (
            json!({"type": "list", "delimiter": ";"}),
            prop::collection::vec("[a;, ]{0,3}", 0..4)
                .prop_map(|items| Json::from(items).to_string())
                .boxed(),
        ),
        (
            json!({"type": "list", "itemType": "integer", "missingValues": ["-"]}),
            prop::collection::vec(any::<i64>(), 0..4).prop_map(|items| Json::from(items).to_string()).boxed(),
        ),
        (
            json!({"type": "list", "itemType": "datetime", "missingValues": ["-"]}),
            prop::collection::vec(datetime(), 0..4).prop_map(|items| Json::from(items).to_string()).boxed(),
        ),
        (
            json!({"type": "string", "format": "uuid"}),
            text("[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}".boxed()),
        ),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn a_value_that_json_says_comes_back_from_a_file(values in kinds().into_iter().map(|(_, strategy)| strategy).collect::<Vec<_>>()) {
        for ((field, _), json) in kinds().into_iter().zip(values) {
            let column = column(field.clone());
            let raw: &RawValue = serde_json::from_str(&json).expect("JSON");
            let value = match column.parse_raw(raw) {
                Ok(value) => value,
                Err(fault) => {
                    prop_assert!(["not_writable", "nul_character", "not_a_year", "out_of_range"].contains(&fault.code), "{field} {json} {fault:?}");
                    continue;
                }
            };
            let text = column.field_of(&value).into_owned();
            let back = column.parse(&text);
            prop_assert_eq!(&back, &Ok(value.clone()), "{} {} {:?}", field, json, text);
            let again = value.json();
            let again: &RawValue = serde_json::from_str(&again).expect("JSON");
            prop_assert_eq!(column.parse_raw(again), Ok(value.clone()), "{} {}", field, json);
        }
    }

    #[test]
    fn no_field_panics_and_what_is_taken_comes_back(text in "([-+0-9.,:;eETZ %apm\u{e9}\\[\\]{}\"]|lon|lat|true){0,24}") {
        for (field, _) in kinds() {
            let column = column(field.clone());
            if let Ok(value) = column.parse(&text) {
                let field_text = column.field_of(&value).into_owned();
                prop_assert_eq!(column.parse(&field_text), Ok(value), "{} {:?} {:?}", field, &text, field_text);
            }
            let _ = column.parse_plain(&text);
        }
    }
}
