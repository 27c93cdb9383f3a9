use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Descriptor, DescriptorFault, Limits, keys, read, stored};
use crate::datasets::{Encoding, FieldsMatch, Ident, Place, Quote};

fn cats() -> Ident {
    Ident::dataset("cats").expect("a name")
}

pub(crate) fn declared(body: &Value) -> Descriptor {
    read(&cats(), body.to_string().as_bytes(), &Limits::default()).expect("no faults")
}

fn faults(body: &Value) -> Vec<DescriptorFault> {
    read(&cats(), body.to_string().as_bytes(), &Limits::default()).expect_err("there are faults")
}

/// Pointers and codes.
fn codes(body: &Value) -> Vec<(String, &'static str)> {
    faults(body).into_iter().map(|fault| (fault.pointer, fault.code)).collect()
}

fn code(body: &Value) -> (String, &'static str) {
    let all = codes(body);
    assert_eq!(all.len(), 1, "{all:?}");
    all.into_iter().next().expect("one")
}

fn at(pointer: &str, code: &'static str) -> (String, &'static str) {
    (pointer.to_owned(), code)
}

fn names(names: &[&str]) -> Value {
    json!({ "fields": names.iter().map(|name| json!({ "name": name })).collect::<Vec<_>>() })
}

fn derived(all: &[&str]) -> Vec<String> {
    declared(&names(all)).columns().iter().map(|column| column.key.as_str().to_owned()).collect()
}

/// A declaration whose one field has these properties.
fn field(properties: Value) -> Value {
    let mut field = json!({ "name": "a" });
    let given = properties.as_object().expect("an object").clone();
    field.as_object_mut().expect("an object").extend(given);
    json!({ "schema": { "fields": [field] } })
}

fn with(mut body: Value, pointer: &str, name: &str, value: Value) -> Value {
    body.pointer_mut(pointer)
        .and_then(Value::as_object_mut)
        .expect("an object")
        .insert(name.to_owned(), value);
    body
}

fn example() -> Value {
    json!({
        "title": "Cats",
        "schema": {
            "fields": [
                { "name": "Кличка", "key": "name", "type": "string", "constraints": { "required": true, "maxLength": 80 } },
                { "name": "breed", "type": "string", "constraints": { "enum": ["siberian", "sphynx"] } },
                { "name": "born", "type": "date", "format": "%d.%m.%Y" },
                { "name": "weight", "type": "number", "decimalChar": ",", "missingValues": ["", "-"], "aliases": ["weight, kg"] },
                { "name": "lon", "type": "number" },
                { "name": "lat", "type": "number" },
            ],
            "primaryKey": ["Кличка"],
            "fieldsMatch": "superset",
        },
        "dialect": { "delimiter": ";" },
        "point": { "longitude": "lon", "latitude": "lat" },
    })
}

#[test]
fn the_example_of_the_contract_is_declared_with_its_defaults() {
    let cats = declared(&example());
    let canonical = cats.canonical();
    let pointed = |pointer: &str| canonical.pointer(pointer).cloned().unwrap_or_default();
    assert_eq!(pointed("/name"), "cats");
    assert_eq!(pointed("/title"), "Cats");
    assert_eq!(pointed("/private"), false);
    assert_eq!(pointed("/schema/fields/0/key"), "name");
    assert_eq!(pointed("/schema/fields/1/key"), "breed");
    assert_eq!(pointed("/schema/fields/3/aliases"), json!(["weight, kg"]));
    assert_eq!(pointed("/schema/missingValues"), json!([""]));
    assert_eq!(pointed("/schema/primaryKey"), json!(["Кличка"]));
    assert_eq!(pointed("/schema/fieldsMatch"), "superset");
    assert_eq!(pointed("/dialect"), json!({ "delimiter": ";" }));
    let dataset = cats.compile(Some(7), 3);
    assert_eq!((dataset.id, dataset.version, dataset.name.as_str()), (Some(7), 3, "cats"));
    assert_eq!(dataset.dialect.delimiter, Some(b';'));
    assert_eq!(dataset.schema.primary_key, [0]);
    let point = dataset.schema.point.expect("a point");
    assert_eq!((point.place, point.bounds), (Place::Columns { longitude: 4, latitude: 5 }, None));
    let weight = &dataset.schema.columns[3];
    assert_eq!(*weight.missing, ["".into(), "-".into()]);
    assert!(dataset.schema.columns[0].required && !weight.required);
}

#[test]
fn a_bare_schema_is_a_resource_too() {
    let body =
        json!({ "fields": [{ "name": "a", "type": "string" }], "title": "A", "$schema": "x", "origin": [1] });
    let a = declared(&body);
    let canonical = a.canonical();
    assert_eq!(canonical["title"], "A");
    assert_eq!(canonical["schema"]["origin"], json!([1]));
    assert_eq!(canonical["schema"]["$schema"], "x");
    assert_eq!(canonical["schema"].get("title"), None);
    let fault = code(&json!({ "fields": [{ "name": "a" }], "primaryKey": "b" }));
    assert_eq!(fault, at("/primaryKey", "unknown_column"));
}

#[test]
fn what_is_not_a_declaration_is_told_what_is() {
    let read = |body: &[u8]| {
        let faults = read(&cats(), body, &Limits::default()).expect_err("faults");
        (faults[0].pointer.clone(), faults[0].code)
    };
    let deep = "[".repeat(200_000);
    let closed = format!("{deep}{}", "]".repeat(200_000));
    let nested = format!("{{\"fields\":[{{\"name\":\"a\",\"x\":{}1{}}}]}}", "[".repeat(200), "]".repeat(200));
    for body in ["", "{", "nul", "{}{}", "\u{1}", "1e999", deep.as_str(), &nested, "\"\\ud800\""] {
        assert_eq!(read(body.as_bytes()), at("", "malformed_json"), "{:.20}", body);
    }
    assert_eq!(read(closed.as_bytes()).1, "too_long");
    assert_eq!(read(b"\"\xff\""), at("", "malformed_json"));
    assert_eq!(read(format!("\"{}\"", "a".repeat(300_000)).as_bytes()), at("", "too_long"));
    for body in ["[]", "1", "null", "\"a\""] {
        assert_eq!(read(body.as_bytes()), at("", "wrong_type"), "{body}");
    }
    for body in ["{}", "{\"resources\":[]}", "{\"schema\":null}"] {
        let all = super::read(&cats(), body.as_bytes(), &Limits::default()).expect_err("faults");
        assert!(all.contains(all.iter().find(|fault| fault.code == "required").expect("required")), "{body}");
    }
    assert_eq!(code(&json!({ "schema": "https://example.org" })), at("/schema", "wrong_type"));
    assert_eq!(code(&json!({ "fields": [] })), at("/fields", "required"));
    assert_eq!(code(&json!({ "fields": {} })), at("/fields", "wrong_type"));
    assert_eq!(code(&json!({ "schema": {} })), at("/schema/fields", "required"));
    assert_eq!(code(&json!({ "fields": [7] })), at("/fields/0", "wrong_type"));
    assert!(super::read(&cats(), b"\xef\xbb\xbf{\"fields\":[{\"name\":\"a\"}]}", &Limits::default()).is_ok());
}

#[test]
fn a_member_given_twice_and_a_nul_are_found_where_they_are() {
    let body = br#"{"fields":[{"name":"a","x/~":{"b":1,"b":2}},{"name":"c","title":"\u0000"}]}"#;
    let all = read(&cats(), body, &Limits::default()).expect_err("faults");
    let all: Vec<_> = all.into_iter().map(|fault| (fault.pointer, fault.code)).collect();
    let expected = [at("/fields/0/x~1~0/b", "duplicate_field"), at("/fields/1/title", "nul_character")];
    assert_eq!(all, expected);
}

#[test]
fn all_faults_come_at_once_up_to_a_hundred() {
    let body = json!({
        "name": "dogs", "colour": 1, "data": [], "private": "no", "title": 5,
        "dialect": { "delimiter": ";;", "sep": 1 },
        "schema": {
            "fields": [{ "name": "a", "key": "A" }, { "name": "b", "type": "nonsense" }, {}, { "name": "B" }],
            "fieldsMatch": "some",
            "missingValues": [1],
        },
    });
    let mut all = codes(&body);
    all.sort();
    let mut expected = vec![
        at("/colour", "unknown_property"),
        at("/data", "not_allowed"),
        at("/dialect/delimiter", "not_allowed"),
        at("/dialect/sep", "unknown_property"),
        at("/name", "contradiction"),
        at("/private", "wrong_type"),
        at("/schema/fields/0/key", "pattern"),
        at("/schema/fields/1/type", "unsupported_type"),
        at("/schema/fields/2", "required"),
        at("/schema/fields/3/name", "ambiguous_name"),
        at("/schema/fieldsMatch", "not_allowed"),
        at("/schema/missingValues/0", "wrong_type"),
        at("/title", "wrong_type"),
    ];
    expected.sort();
    assert_eq!(all, expected);
    assert_eq!(faults(&names(&vec![""; 200])).len(), 100);
}

#[test]
fn there_are_limits() {
    let many = |count: usize| -> Vec<String> { (0..count).map(|number| format!("f{number}")).collect() };
    let of = |count: usize| names(&many(count).iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(declared(&of(256)).columns().len(), 256);
    assert_eq!(code(&of(257)), at("/fields", "too_many_values"));
    let indexed = |count: usize| {
        let field = |name: &String| json!({ "name": name, "index": true });
        json!({ "fields": many(count).iter().map(field).collect::<Vec<_>>() })
    };
    assert_eq!(declared(&indexed(10)).columns().iter().filter(|column| column.indexed).count(), 10);
    assert_eq!(code(&indexed(11)), at("/fields", "too_many_values"));
    assert_eq!(code(&names(&[&"é".repeat(1_001)])), at("/fields/0/name", "length"));
    assert!(derived(&[&"é".repeat(1_000)])[0].len() <= 48);
    let limits = Limits { fields: 1, ..Limits::default() };
    let two = of(2).to_string();
    assert!(read(&cats(), two.as_bytes(), &limits).is_err());
    assert!(stored(&cats(), &two).is_ok(), "what is declared stays, whatever the limits become");
}

#[test]
fn keys_are_derived_from_names() {
    for (name, key) in [
        ("name", "name"),
        ("Été", "ete"),
        ("Ünïcode Größe", "unicode_gro_e"),
        ("weight, kg", "weight_kg"),
        ("  a -- b__c  ", "a_b_c"),
        ("_x_", "x"),
        ("Кличка", "column_1"),
        ("東京", "column_1"),
        ("!!!", "column_1"),
        ("2019", "n_2019"),
        ("ﬁn ①", "fin_1"),
        ("Ｆｕｌｌ", "full"),
        ("limit", "limit_field"),
        ("Cursor", "cursor_field"),
        ("xmin", "xmin_field"),
        ("tz", "tz_field"),
        ("from", "from"),
        ("on", "on"),
        ("\u{feff}id", "id"),
        (
            "emissions_de_gaz_a_effet_de_serre_annuelles_par_secteur_departement",
            "emissions_de_gaz_a_effet_de_serre_annuelles_par",
        ),
        (
            "123456789012345678901234567890123456789012345678901234567890",
            // No word ends before the limit but the service's own prefix.
            "n",
        ),
    ] {
        let expected = if key == "n" { derived(&[name])[0].clone() } else { key.to_owned() };
        assert_eq!(derived(&[name]), [expected], "{name}");
    }
    assert_eq!(derived(&["a b", "a-b", "a/b"]), ["a_b", "a_b_2", "a_b_3"]);
    assert_eq!(derived(&["Я", "x", "Ж"]), ["column_1", "x", "column_3"]);
}

#[test]
fn a_derived_key_is_never_what_another_field_is_called() {
    assert_eq!(derived(&["a b", "a_b"]), ["a_b_2", "a_b"]);
    let body = json!({ "fields": [{ "name": "X" }, { "name": "y", "key": "x" }] });
    assert_eq!(codes(&body), [at("/fields/1/key", "ambiguous_name")]);
    let body = json!({ "fields": [{ "name": "x!" }, { "name": "y", "key": "x" }, { "name": "z", "aliases": ["X_2"] }] });
    let keys: Vec<_> =
        declared(&body).columns().iter().map(|column| column.key.as_str().to_owned()).collect();
    assert_eq!(keys, ["x_3", "x", "z"]);
}

#[test]
fn a_given_key_is_a_name_for_sql_and_the_api() {
    for key in ["A", "1a", "a__b", "_a", "a-b", "", "ä", &"a".repeat(49), "a\"b", "a;b"] {
        assert_eq!(code(&field(json!({ "key": key }))), at("/schema/fields/0/key", "pattern"), "{key}");
    }
    for key in keys::RESERVED_KEYS {
        assert_eq!(code(&field(json!({ "key": key }))), at("/schema/fields/0/key", "reserved_key"), "{key}");
    }
    assert_eq!(code(&field(json!({ "key": 5 }))), at("/schema/fields/0/key", "wrong_type"));
    assert!(
        read(&cats(), field(json!({ "key": "a".repeat(48) })).to_string().as_bytes(), &Limits::default())
            .is_ok()
    );
}

#[test]
fn no_header_can_mean_two_fields() {
    for (other, pointer) in [
        (json!({ "name": " NAME\u{200b}" }), "/fields/1/name"),
        (json!({ "name": "b", "key": "name" }), "/fields/1/key"),
        (json!({ "name": "b", "aliases": ["ok", "\u{feff}Name "] }), "/fields/1/aliases/1"),
        (json!({ "name": "Alias" }), "/fields/1/name"),
        (json!({ "name": "b", "key": "own" }), "/fields/1/key"),
    ] {
        let body = json!({ "fields": [{ "name": "name", "key": "own", "aliases": ["alias"] }, other] });
        let all = codes(&body);
        // `name` is not the key of the first here, and still a name of it.
        assert_eq!(all, [at(pointer, "ambiguous_name")], "{body}");
    }
    let own = json!({ "fields": [{ "name": "Name", "key": "name", "aliases": ["NAME", "name"] }] });
    assert_eq!(declared(&own).columns().len(), 1, "a field may be called one thing thrice");
}

#[test]
fn names_are_what_a_header_can_say() {
    for (name, expected) in [
        (json!(""), "required"),
        (json!(" \u{feff}\u{200b}\u{a0}"), "required"),
        (json!("a\u{1}"), "not_allowed"),
        (json!("a\u{0}"), "nul_character"),
        (json!("_id"), "reserved_name"),
        (json!(" _ID "), "reserved_name"),
        (json!("_row"), "reserved_name"),
        (json!(5), "wrong_type"),
    ] {
        let all = codes(&json!({ "fields": [{ "name": name }] }));
        assert_eq!(all[0], at("/fields/0/name", expected), "{name}");
    }
    assert_eq!(code(&json!({ "fields": [{ "type": "string" }] })), at("/fields/0", "required"));
    assert_eq!(code(&field(json!({ "aliases": "b" }))), at("/schema/fields/0/aliases", "wrong_type"));
    assert_eq!(code(&field(json!({ "aliases": [" "] }))), at("/schema/fields/0/aliases/0", "required"));
    assert_eq!(code(&field(json!({ "aliases": [1] }))), at("/schema/fields/0/aliases/0", "wrong_type"));
    assert_eq!(derived(&["Name\n(full)"]), ["name_full"]);
}

#[test]
fn unknown_properties_of_schema_and_fields_are_kept_and_those_of_the_dataset_refused() {
    let body = json!({
        "schema": { "fields": [{ "name": "a", "rdfType": "x", "example": { "deep": [null] } }], "countryCode": "FR" },
        "path": "a.csv", "mediatype": "text/csv", "sources": [{ "title": "s" }], "licenses": [{ "name": "l" }],
        "version": 4, "links": { "self": "x" },
    });
    let kept = declared(&body);
    let canonical = kept.canonical();
    assert_eq!(canonical["schema"]["fields"][0]["example"], json!({ "deep": [null] }));
    assert_eq!(canonical["schema"]["countryCode"], "FR");
    assert_eq!(canonical["sources"], json!([{ "title": "s" }]));
    assert_eq!((canonical.get("version"), canonical.get("links")), (None, None));
    assert_eq!(code(&with(body, "", "primaryKey", json!("a"))), at("/primaryKey", "misplaced"));
    let hidden = json!({ "fields": [{ "name": "a" }], "private": true });
    assert_eq!(code(&hidden), at("/private", "misplaced"), "it would not be private");
    let hidden = json!({ "schema": { "fields": [{ "name": "a" }], "private": true } });
    assert_eq!(code(&hidden), at("/schema/private", "misplaced"));
}

/// As <https://schema.data.gouv.fr> publishes them, in short.
#[test]
fn a_published_schema_is_declared_as_it_is() {
    let body = json!({
        "$schema": "https://frictionlessdata.io/schemas/table-schema.json",
        "name": "schema-irve-statique", "title": "IRVE statique", "description": "Bornes", "countryCode": "FR",
        "homepage": "https://example.org", "path": "https://example.org/schema.json", "image": "x", "version": "2.3.1",
        "created": "2018-06-29", "lastModified": "2024-02-22", "resources": [{ "path": "exemple.csv" }],
        "contributors": [{ "title": "x", "role": "author" }], "sources": [], "licenses": [{ "name": "lov2" }],
        "keywords": ["irve"],
        "fields": [
            { "name": "nom_amenageur", "description": "Nom", "example": "Société X", "type": "string",
              "constraints": { "required": false } },
            { "name": "siren_amenageur", "type": "string", "constraints": { "pattern": r"^\d{9}$" } },
            { "name": "contact_amenageur", "type": "string", "format": "email" },
            { "name": "implantation_station", "type": "string", "constraints": { "required": true, "enum": ["Voirie", "Parking privé"] } },
            { "name": "coordonneesXY", "type": "geopoint", "format": "array", "constraints": { "required": true } },
            { "name": "nbre_pdc", "type": "integer", "constraints": { "required": true, "minimum": 0 } },
            { "name": "puissance_nominale", "type": "number", "constraints": { "required": true, "minimum": 0 } },
            { "name": "prise_type_ef", "type": "boolean", "trueValues": ["TRUE", "true", "True", "1"],
              "falseValues": ["FALSE", "false", "False", "0"] },
            { "name": "date_mise_en_service", "type": "date", "format": "%Y-%m-%d" },
        ],
        "missingValues": [""],
    });
    let irve = declared(&body);
    assert_eq!(irve.columns()[4].key.as_str(), "coordonneesxy");
    assert_eq!(irve.canonical()["schema"]["version"], "2.3.1");
    assert_eq!(irve.canonical()["title"], "IRVE statique");
    assert_eq!(irve.compile(None, 1).schema.point.map(|point| point.place), Some(Place::Column(4)));
}

/// `frictionless describe --stats` writes it so. `scheme` and its like are kept; counts and the options of a reader are not the standard's.
#[test]
fn what_a_described_file_has_beyond_the_standard_is_named() {
    let body = json!({
        "name": "cats", "type": "table", "path": "cats.csv", "scheme": "file", "format": "csv", "mediatype": "text/csv",
        "encoding": "utf-8", "hash": "sha256:00", "bytes": 10, "fields": 2, "rows": 3,
        "dialect": { "csv": { "delimiter": ";" } },
        "schema": { "fields": [{ "name": "id", "type": "integer" }, { "name": "name", "type": "string" }] },
    });
    let expected =
        [at("/fields", "misplaced"), at("/rows", "unknown_property"), at("/dialect/csv", "unknown_property")];
    assert_eq!(codes(&body), expected);
}

#[test]
fn null_says_nothing() {
    let body = json!({
        "title": null, "point": null, "dialect": null, "private": null,
        "schema": { "primaryKey": null, "missingValues": null,
            "fields": [{ "name": "a", "key": null, "title": null, "type": null, "constraints": { "required": null } }] },
    });
    assert_eq!(declared(&body), declared(&names(&["a"])));
}

#[test]
fn missing_values_are_texts_with_or_without_labels() {
    let body = json!({ "fields": [{ "name": "a" }, { "name": "b", "missingValues": [] }],
        "missingValues": ["", { "value": "-", "label": "none" }] });
    let columns = declared(&body).columns().to_vec();
    assert_eq!(*columns[0].missing, ["".into(), "-".into()]);
    assert!(columns[1].missing.is_empty());
    let fault = code(&field(json!({ "missingValues": ["", -1] })));
    assert_eq!(fault, at("/schema/fields/0/missingValues/1", "wrong_type"));
    let many: Vec<String> = (0..101).map(|number| number.to_string()).collect();
    assert_eq!(code(&field(json!({ "missingValues": many }))).1, "too_many_values");
}

#[test]
fn fields_match_is_one_of_five_words() {
    for (given, expected) in [
        (json!("exact"), FieldsMatch::Exact),
        (json!(["equal"]), FieldsMatch::Equal),
        (json!("subset"), FieldsMatch::Subset),
        (json!(["superset"]), FieldsMatch::Superset),
        (json!("partial"), FieldsMatch::Partial),
    ] {
        let read = declared(&with(names(&["a"]), "", "fieldsMatch", given)).compile(None, 1);
        assert_eq!(read.schema.fields_match, expected);
    }
    for given in [json!("all"), json!([]), json!(["equal", "exact"]), json!(1)] {
        assert_eq!(code(&with(names(&["a"]), "", "fieldsMatch", given)), at("/fieldsMatch", "not_allowed"));
    }
}

#[test]
fn a_primary_key_goes_by_names_and_implies_required() {
    let body = json!({ "fields": [{ "name": "A", "key": "x" }, { "name": "b" }], "primaryKey": ["b", "A"] });
    let dataset = declared(&body).compile(None, 1);
    assert_eq!(dataset.schema.primary_key, [1, 0]);
    assert!(dataset.schema.columns.iter().all(|column| column.required));
    let keyed = |key: Value| with(names(&["A", "b"]), "", "primaryKey", key);
    assert_eq!(declared(&keyed(json!("A"))), declared(&keyed(json!(["A"]))));
    assert_eq!(declared(&keyed(json!([]))), declared(&names(&["A", "b"])));
    for (key, pointer, code_) in [
        (json!("a"), "/primaryKey", "unknown_column"),
        (json!(["A", "c"]), "/primaryKey/1", "unknown_column"),
        (json!(["A", "A"]), "/primaryKey/1", "not_unique"),
        (json!(["A", 1]), "/primaryKey/1", "wrong_type"),
        (json!(1), "/primaryKey", "wrong_type"),
    ] {
        assert_eq!(code(&keyed(key)), at(pointer, code_));
    }
}

#[test]
fn a_unique_key_of_several_fields_is_refused_and_not_ignored() {
    let keyed = |keys: Value| with(names(&["a", "b"]), "", "uniqueKeys", keys);
    assert!(declared(&keyed(json!([["b"]]))).columns()[1].unique);
    assert_eq!(code(&keyed(json!([["b"], ["a", "b"]]))), at("/uniqueKeys/1", "unsupported_unique_key"));
    assert_eq!(code(&keyed(json!([["c"]]))), at("/uniqueKeys/0/0", "unknown_column"));
}

#[test]
fn what_cannot_be_compared_is_no_key() {
    for kind in ["geopoint", "object", "array"] {
        let all = codes(&field(json!({ "type": kind, "index": true, "constraints": { "unique": true } })));
        let expected = [
            at("/schema/fields/0/constraints/unique", "not_allowed"),
            at("/schema/fields/0/index", "not_allowed"),
        ];
        assert_eq!(all, expected, "{kind}");
        let keyed = with(field(json!({ "type": kind })), "/schema", "primaryKey", json!("a"));
        assert_eq!(code(&keyed), at("/schema/primaryKey", "not_allowed"));
    }
}

fn owned(foreign_key: Value) -> Value {
    json!({
        "fields": [
            { "name": "Id", "type": "integer" }, { "name": "Boss", "type": "integer" }, { "name": "note", "type": "string" },
        ],
        "primaryKey": "Id",
        "foreignKeys": [foreign_key],
    })
}

#[test]
fn a_reference_points_to_a_key_of_the_same_types() {
    let own = json!({ "fields": "Boss", "reference": { "resource": "", "fields": "Id" } });
    let dataset = declared(&owned(own.clone())).compile(None, 1);
    let key = &dataset.schema.foreign_keys[0];
    assert_eq!((key.columns.clone(), key.dataset.clone(), key.target[0].as_str()), (vec![1], None, "id"));
    let named = with(own.clone(), "/reference", "resource", json!("cats"));
    assert_eq!(declared(&owned(named)).references()[0].dataset, None, "its own name is itself");
    for (foreign_key, pointer, code_) in [
        (json!({ "fields": ["Boss"] }), "/foreignKeys/0", "required"),
        (json!({ "reference": { "fields": ["Id"] } }), "/foreignKeys/0", "required"),
        (
            json!({ "fields": ["x"], "reference": { "fields": ["Id"] } }),
            "/foreignKeys/0/fields/0",
            "unknown_column",
        ),
        (
            json!({ "fields": ["Boss"], "reference": { "fields": ["Id", "Boss"] } }),
            "/foreignKeys/0/reference/fields",
            "field_count",
        ),
        (
            json!({ "fields": ["Boss"], "reference": { "fields": ["x"] } }),
            "/foreignKeys/0/reference/fields",
            "unknown_column",
        ),
        (
            json!({ "fields": ["note"], "reference": { "fields": ["Id"] } }),
            "/foreignKeys/0/reference/fields",
            "not_allowed",
        ),
        (
            json!({ "fields": ["Boss"], "reference": { "fields": ["Boss"] } }),
            "/foreignKeys/0/reference/fields",
            "not_a_key",
        ),
        (
            json!({ "fields": ["Boss"], "reference": { "resource": 1, "fields": ["Id"] } }),
            "/foreignKeys/0/reference/resource",
            "wrong_type",
        ),
        (json!({ "fields": ["Boss"], "reference": "dogs" }), "/foreignKeys/0/reference", "wrong_type"),
    ] {
        assert_eq!(code(&owned(foreign_key.clone())), at(pointer, code_), "{foreign_key}");
    }
}

#[test]
fn a_reference_to_another_dataset_is_left_to_the_caller() {
    let other = json!({ "fields": "Boss", "reference": { "resource": "dogs", "fields": "Dog id" } });
    let cats = declared(&owned(other));
    let reference = &cats.references()[0];
    assert_eq!(reference.dataset.as_deref(), Some("dogs"));
    assert_eq!(cats.compile(None, 1).schema.foreign_keys[0].target[0].as_str(), "dog_id");
    let compiled = cats.compile_with(None, 1, |dataset, name| {
        assert_eq!((dataset, name), ("dogs", "Dog id"));
        Ident::new("number")
    });
    assert_eq!(compiled.schema.foreign_keys[0].target[0].as_str(), "number");
    let check = |dogs: Option<Value>| {
        let dogs = dogs.map(|dogs| declared(&dogs).compile(None, 1));
        reference.check(cats.columns(), dogs.as_ref()).map(|fault| (fault.pointer, fault.code))
    };
    assert_eq!(check(None), Some(at("/foreignKeys/0/reference/resource", "unknown_dataset")));
    let dogs = |properties: Value| {
        let mut dogs = field(properties);
        dogs["schema"]["fields"][0]["name"] = "Dog id".into();
        Some(dogs)
    };
    assert_eq!(check(dogs(json!({ "type": "integer", "constraints": { "unique": true } }))), None);
    let fields = "/foreignKeys/0/reference/fields";
    assert_eq!(check(dogs(json!({ "type": "integer" }))), Some(at(fields, "not_a_key")));
    assert_eq!(check(dogs(json!({ "type": "string" }))), Some(at(fields, "not_allowed")));
    assert_eq!(check(Some(names(&["x"]))), Some(at(fields, "unknown_column")));
}

#[test]
fn a_point_is_two_numbers_or_a_geopoint() {
    let numbers = json!({ "schema": { "fields": [
        { "name": "X", "type": "number" }, { "name": "y", "type": "number" },
        { "name": "s", "type": "string" }, { "name": "g", "type": "geopoint" },
    ] } });
    let point = |point: Value| with(numbers.clone(), "", "point", point);
    let read = |body: &Value| declared(body).compile(None, 1).schema.point.expect("a point");
    let bounded = json!({ "longitude": "x", "latitude": "y", "bounds": [-5, 41.5, 10, 51] });
    assert_eq!(read(&point(bounded)).bounds, Some([-5.0, 41.5, 10.0, 51.0]));
    assert_eq!(read(&point(json!({ "field": "g", "bounds": [-5, 41, 10, 51] }))).place, Place::Column(3));
    assert_eq!(read(&numbers).place, Place::Column(3), "a geopoint is where a row is");
    assert_eq!(declared(&numbers).canonical()["point"], json!({ "field": "g" }));
    for (given, pointer, code_) in [
        (json!({}), "/point", "required"),
        (json!({ "longitude": "x" }), "/point", "required"),
        (json!({ "longitude": "x", "latitude": "y", "field": "g" }), "/point", "required"),
        (json!({ "longitude": "X", "latitude": "y" }), "/point/longitude", "unknown_column"),
        (json!({ "longitude": "x", "latitude": "x" }), "/point/latitude", "not_unique"),
        (json!({ "longitude": "x", "latitude": "s" }), "/point/latitude", "not_allowed"),
        (json!({ "field": "x" }), "/point/field", "not_allowed"),
        (json!({ "field": 1 }), "/point/field", "wrong_type"),
        (json!({ "field": "g", "srid": 1 }), "/point/srid", "unknown_property"),
        (json!([1, 2]), "/point", "wrong_type"),
        (json!({ "field": "g", "bounds": [1, 2, 3] }), "/point/bounds", "out_of_range"),
        (json!({ "field": "g", "bounds": [1, 2, 1, 3] }), "/point/bounds", "out_of_range"),
        (json!({ "field": "g", "bounds": [0, 0, 181, 3] }), "/point/bounds", "out_of_range"),
        (json!({ "field": "g", "bounds": ["0", 0, 1, 3] }), "/point/bounds", "out_of_range"),
    ] {
        assert_eq!(code(&point(given.clone())), at(pointer, code_), "{given}");
    }
}

#[test]
fn a_dialect_goes_by_our_names_and_the_standards() {
    let dialect = |dialect: Value| with(field(json!({})), "", "dialect", dialect);
    let read = |given: Value| declared(&dialect(given)).compile(None, 1).dialect;
    let ours = read(
        json!({ "delimiter": "\\t", "quote": "none", "escape": "\\", "comment": "#", "encoding": "UTF-16",
        "skip": 3, "header": "absent", "null": "NA" }),
    );
    assert_eq!((ours.delimiter, ours.quote, ours.escape), (Some(b'\t'), Some(Quote::None), Some(b'\\')));
    assert_eq!((ours.comment, ours.encoding, ours.skip), (Some(b'#'), Some(Encoding::Utf16), Some(3)));
    assert_eq!((ours.header, ours.null.as_deref()), (Some(false), Some("NA")));
    let standards = read(
        json!({ "delimiter": "\t", "quoteChar": "'", "escapeChar": "\\", "commentChar": "#",
        "header": true, "doubleQuote": true, "lineTerminator": "\r\n", "skipInitialSpace": false, "nullSequence": "" }),
    );
    assert_eq!((standards.quote, standards.header), (Some(Quote::Byte(b'\'')), Some(true)));
    for (given, pointer, code_) in [
        (json!({ "delimiter": "" }), "/dialect/delimiter", "not_allowed"),
        (json!({ "delimiter": "\n" }), "/dialect/delimiter", "not_allowed"),
        (json!({ "delimiter": "é" }), "/dialect/delimiter", "not_allowed"),
        (json!({ "quote": "'", "quoteChar": "'" }), "/dialect/quoteChar", "contradiction"),
        (json!({ "delimiter": "\"" }), "/dialect", "contradiction"),
        (json!({ "escape": "," }), "/dialect", "contradiction"),
        (json!({ "encoding": "latin1" }), "/dialect/encoding", "not_allowed"),
        (json!({ "skip": -1 }), "/dialect/skip", "not_allowed"),
        (json!({ "skip": 1001 }), "/dialect/skip", "not_allowed"),
        (json!({ "header": "yes" }), "/dialect/header", "not_allowed"),
        (json!({ "null": 1 }), "/dialect/null", "wrong_type"),
        (json!({ "doubleQuote": false }), "/dialect/doubleQuote", "not_allowed"),
        (json!({ "thousands": "," }), "/dialect/thousands", "unknown_property"),
        (json!(";"), "/dialect", "wrong_type"),
    ] {
        assert_eq!(code(&dialect(given.clone())), at(pointer, code_), "{given}");
    }
}

#[test]
fn faults_of_a_field_and_of_what_names_it_come_together() {
    let body = json!({
        "schema": { "fields": [{ "name": "a", "type": "nonsense" }], "primaryKey": "b", "missingValues": "x" },
    });
    let expected = [
        at("/schema/missingValues", "wrong_type"),
        at("/schema/fields/0/type", "unsupported_type"),
        at("/schema/primaryKey", "unknown_column"),
    ];
    assert_eq!(codes(&body), expected);
}

#[test]
fn what_takes_long_elsewhere_does_not_here() {
    let limits = Limits::default();
    let key = "k".repeat(100_000);
    let hostile = [
        // A long name above many faults.
        format!("{{\"{key}\":[{}]}}", vec!["\"\\u0000\""; 15_000].join(",")),
        format!("{{\"fields\":[{{\"name\":\"a\"}}],\"uniqueKeys\":[{}]}}", vec!["[\"b\"]"; 40_000].join(",")),
        format!(
            "{{\"fields\":[{{\"name\":\"a\",\"constraints\":{{{}}}}}]}}",
            (0..20_000).map(|number| format!("\"c{number}\":1")).collect::<Vec<_>>().join(",")
        ),
        format!(
            "{{\"fields\":[{}]}}",
            (0..256)
                .map(|number| {
                    let pattern = format!("(\\\\p{{L}}{{1,9}}|x{number}){{1,9}}{}", "[a-z]?".repeat(100));
                    format!("{{\"name\":\"f{number}\",\"type\":\"string\",\"constraints\":{{\"pattern\":\"{pattern}\"}}}}")
                })
                .collect::<Vec<_>>()
                .join(",")
        ),
        format!("{{{}}}", (0..20_000).map(|number| format!("\"c{number}\":1")).collect::<Vec<_>>().join(",")),
        format!(
            "{{\"fields\":[{}]}}",
            (0..256)
                .map(|number| {
                    format!("{{\"name\":\"{}{}\"}}", "\u{fdfa}".repeat(200), "!".repeat(number + 1))
                })
                .collect::<Vec<_>>()
                .join(",")
        ),
    ];
    for body in hostile {
        let begin = std::time::Instant::now();
        let _ = read(&cats(), body.as_bytes(), &limits);
        assert!(begin.elapsed().as_secs() < 30, "{:.60}", body);
    }
}

fn any_name() -> impl Strategy<Value = String> {
    prop_oneof![
        "[A-Za-z0-9_ ]{1,60}",
        "\\PC{1,20}",
        Just("limit".to_owned()),
        Just("Été 2".to_owned()),
        Just("a b".to_owned()),
        Just("a_b".to_owned()),
    ]
}

fn any_field() -> impl Strategy<Value = Value> {
    let kind = prop_oneof![
        Just("string"),
        Just("integer"),
        Just("number"),
        Just("date"),
        Just("boolean"),
        Just("geopoint"),
        Just("any"),
        Just("datetime"),
        Just("object"),
    ];
    (any_name(), kind, any::<bool>(), any::<Option<bool>>(), proptest::option::of("[a-z]{1,3}")).prop_map(
        |(name, kind, index, required, title)| {
            let mut field = json!({ "name": name, "type": kind });
            if index && !matches!(kind, "geopoint" | "object") {
                field["index"] = true.into();
            }
            if let Some(required) = required {
                field["constraints"] = json!({ "required": required });
            }
            if let Some(title) = title {
                field["title"] = title.into();
            }
            field
        },
    )
}

proptest! {
    #[test]
    fn a_derived_key_is_a_key(name in "\\PC{0,80}", number in 1_usize..300) {
        let key = keys::derive(&name, number, |_| false);
        prop_assert!(Ident::new(&key).is_some(), "{key}");
        prop_assert!(!keys::is_reserved(&key));
        prop_assert_eq!(keys::derive(&key, number, |_| false), key.clone(), "a key's key is itself");
    }

    #[test]
    fn what_is_stored_reads_as_itself(fields in prop::collection::vec(any_field(), 1..9), private: bool, bare: bool) {
        let schema = json!({ "fields": fields, "other": 1 });
        let body = if bare { schema } else { json!({ "schema": schema, "private": private, "dialect": { "quoteChar": "'" } }) };
        if let Ok(first) = read(&cats(), body.to_string().as_bytes(), &Limits::default()) {
            let again = stored(&cats(), &first.text()).expect("no faults");
            prop_assert_eq!(first.canonical(), again.canonical());
            prop_assert_eq!(first.text(), again.text());
            let (one, other) = (first.compile(Some(1), 2), again.compile(Some(1), 2));
            prop_assert_eq!(format!("{one:?}"), format!("{other:?}"));
            let keys: std::collections::HashSet<_> = one.schema.columns.iter().map(|column| &column.key).collect();
            prop_assert_eq!(keys.len(), one.schema.columns.len());
            for (place, column) in one.schema.columns.iter().enumerate() {
                prop_assert_eq!(one.schema.named(&column.name).map(|(place, _)| place), Some(place));
                prop_assert_eq!(one.schema.named(column.key.as_str()).map(|(place, _)| place), Some(place));
            }
        }
    }

    #[test]
    fn no_body_panics(body in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&cats(), &body, &Limits::default());
    }

    #[test]
    fn folding_needs_no_copy(name in "\\PC{0,20}") {
        prop_assert!(keys::is_folded(&name, &keys::folded(&name)));
    }
}
