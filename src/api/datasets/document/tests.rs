use std::{collections::HashSet, sync::Arc, time::Instant};

use super::*;
use crate::datasets::{
    Column, FieldsMatch, FileDialect, ForeignKey, Ident, Place, Point, Rule, Schema, Storage,
    declared::{Declared, GeoPoint, Kind},
};

fn declared(kind: Kind) -> Rule {
    Rule::Declared(Arc::new(Declared::new(kind)))
}

fn column(key: &str, kind: Kind, required: bool) -> Column {
    Column {
        name: key.into(),
        key: Ident::new(key).expect("a key"),
        title: None,
        description: None,
        aliases: Box::default(),
        required,
        unique: false,
        indexed: false,
        missing: Arc::new([Box::from("")]),
        rule: declared(kind),
    }
}

fn dataset(name: &str, schema: Schema) -> Dataset {
    Dataset {
        id: Some(1),
        name: Ident::new(name).expect("a name"),
        version: 3,
        title: Some("Cats".into()),
        description: Some("Cats of the town.".into()),
        private: false,
        dialect: FileDialect::default(),
        schema,
        descriptor: Arc::new(Value::Null),
        storage: Storage::Declared,
    }
}

fn cats() -> Dataset {
    let number = || Kind::Number { float: false };
    let columns = vec![
        column("name", Kind::String, false),
        column("breed", Kind::String, false),
        column("born", Kind::Date, false),
        column("weight", number(), false),
        column("lon", number(), false),
        column("lat", number(), false),
        column("owner", Kind::Integer, false),
        column("code", Kind::String, true),
        column(
            "tags",
            Kind::List(Box::new(match declared(Kind::String) {
                Rule::Declared(declared) => (*declared).clone(),
                _ => unreachable!("a declared rule"),
            })),
            false,
        ),
        column("more", Kind::Object, false),
        column("seen", Kind::DateTime, false),
    ];
    let schema = Schema {
        columns,
        primary_key: vec![0],
        foreign_keys: vec![ForeignKey {
            columns: vec![6],
            dataset: Some("owners".to_owned()),
            target: vec![Ident::new("id").expect("a key")],
            names: vec!["id".into()],
        }],
        fields_match: FieldsMatch::Superset,
        point: Some(Point { place: Place::Columns { longitude: 4, latitude: 5 }, bounds: None }),
    };
    Dataset { descriptor: Arc::new(descriptor()), ..dataset("cats", schema) }
}

fn descriptor() -> Value {
    json!({ "schema": { "fields": [
        { "name": "name", "key": "name", "constraints": { "maxLength": 80 } },
        { "name": "breed", "key": "breed", "constraints": { "enum": ["siberian", "sphynx"] } },
        { "name": "born", "key": "born", "constraints": { "minimum": "2025-01-01" } },
        { "name": "weight", "key": "weight", "unit": "kg", "constraints": { "exclusiveMinimum": "2", "maximum": 30 } },
        { "name": "code", "key": "code", "constraints": { "pattern": "[A-Z]{2}\\d" } },
    ] } })
}

fn owners() -> Dataset {
    let columns = vec![column("id", Kind::Integer, true), column("town", Kind::String, false)];
    dataset("owners", Schema { columns, primary_key: vec![0], ..Schema::default() })
}

fn operation(id: &str, parameters: &[Value], sent: Option<&str>, answered: &[&str]) -> Value {
    let name = json!({ "name": "name", "in": "path", "required": true, "schema": { "type": "string" } });
    let content = |media_type: &&str| {
        ((*media_type).to_owned(), json!({ "schema": { "$ref": "#/components/schemas/Generic" } }))
    };
    let parameters = [&[name], parameters].concat();
    let mut operation = json!({
        "tags": ["Datasets"],
        "operationId": id,
        "parameters": parameters,
        "security": [{ "key": [] }],
        "responses": {
            "200": { "description": "Well", "content": answered.iter().map(content).collect::<Map<_, _>>() },
            "400": { "description": "No", "content": { "application/problem+json": { "schema": { "$ref": "#/components/schemas/Problem" } } } },
        },
    });
    if let Some(media_type) = sent {
        operation["requestBody"] =
            json!({ "content": { media_type: { "schema": { "$ref": "#/components/schemas/Generic" } } } });
    }
    operation
}

fn query(name: &str) -> Value {
    json!({ "name": name, "in": "query", "required": false, "schema": { "type": "string" } })
}

/// What poem-openapi makes of generic operations, and some operations that are none.
fn base() -> Value {
    let id = json!({ "name": "id", "in": "path", "required": true, "schema": { "type": "string", "format": "uuid" } });
    let list = [query("limit"), query("sort"), query("near"), query("bbox"), query("_deleted"), query("q")];
    const LISTS: &[&str] = &["application/json", "text/csv", "application/geo+json"];
    const JSON: &[&str] = &["application/json"];
    json!({
        "openapi": "3.0.0",
        "info": { "title": "Tarmac", "description": "Lands CSV files.", "version": "1.0.0" },
        "servers": [{ "url": "/" }],
        "tags": [{ "name": "Airports" }, { "name": "Datasets" }],
        "paths": {
            "/airports": { "get": operation("list_airports", &[], None, JSON) },
            "/datasets": { "get": operation("list_datasets", &[], None, JSON) },
            "/datasets/{name}": { "get": operation("get_dataset", &[], None, JSON) },
            "/datasets/{name}/imports": { "post": operation("import_rows", &[query("load")], Some("text/csv"), JSON) },
            "/datasets/{name}/rows": {
                "get": operation("list_rows", &list, None, LISTS),
                "head": operation("head_list_rows", &list, None, &[]),
                "post": operation("create_row", &[], Some("application/json"), JSON),
            },
            "/datasets/{name}/rows/{id}": {
                "get": operation("get_row", std::slice::from_ref(&id), None, JSON),
                "patch": operation("patch_row", std::slice::from_ref(&id), Some("application/merge-patch+json"), JSON),
                "put": operation("replace_row", std::slice::from_ref(&id), Some("application/json"), JSON),
            },
            "/datasets/{name}/rows/{id}/restore": { "post": operation("restore_row", std::slice::from_ref(&id), None, JSON) },
            "/datasets/{name}/facets": { "get": operation("get_facets", &[query("columns")], None, JSON) },
            "/datasets/{name}/statistics": { "get": operation("get_statistics", &[query("by")], None, LISTS) },
            "/imports/{id}": { "get": operation("get_import", std::slice::from_ref(&id), None, JSON) },
            "/imports/{id}/citizens": { "get": operation("list_citizens", &[id], None, JSON) },
        },
        "components": {
            "schemas": {
                "Generic": { "type": "object", "properties": { "next": { "$ref": "#/components/schemas/Part" } } },
                "Part": { "type": "string" },
                "Airport": { "type": "object" },
                "Problem": { "type": "object" },
            },
            "securitySchemes": { "key": { "type": "http", "scheme": "bearer" }, "other": { "type": "http" } },
        },
    })
}

fn made() -> Value {
    document(&base(), &cats(), &[Arc::new(owners())])
}

fn names(document: &Value, path: &str) -> Vec<String> {
    let parameters = document["paths"][path]["get"]["parameters"].as_array().expect("parameters");
    let name = |parameter: &Value| {
        let reference = parameter["$ref"].as_str().and_then(|reference| reference.rsplit('/').next());
        reference.or(parameter["name"].as_str()).expect("a name").to_owned()
    };
    parameters.iter().map(name).collect()
}

#[test]
fn only_the_paths_of_the_dataset_and_of_imports_are_left() {
    let document = made();
    let paths: Vec<_> = document["paths"].as_object().expect("paths").keys().map(String::as_str).collect();
    let expected = [
        "/datasets/cats",
        "/datasets/cats/imports",
        "/datasets/cats/rows",
        "/datasets/cats/rows/{id}",
        "/datasets/cats/rows/{id}/restore",
        "/datasets/cats/facets",
        "/datasets/cats/statistics",
        "/imports/{id}",
    ];
    assert_eq!(paths, expected);
    let text = document.to_string();
    assert!(!text.contains("\"name\":\"name\",\"in\":\"path\"") && !text.contains("{name}"));
    assert_eq!(document["info"]["title"], "Cats");
    assert_eq!(document["info"]["version"], "3");
    assert_eq!(document["tags"], json!([{ "name": "Datasets" }]));
}

#[test]
fn every_reference_leads_somewhere_and_every_component_is_referred_to() {
    let document = made();
    let text = document.to_string();
    for (group, components) in document["components"].as_object().expect("components") {
        for name in components.as_object().expect("a group").keys() {
            let is_used = group == "securitySchemes" && name == "key"
                || text.contains(&format!("\"#/components/{group}/{name}\""));
            assert!(is_used, "{group}/{name}");
        }
    }
    for reference in text.split("\"$ref\":\"#").skip(1) {
        let pointer = reference.split('"').next().expect("a pointer");
        assert!(document.pointer(pointer).is_some(), "{pointer}");
    }
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    assert!(schemas.contains_key("Part") && !schemas.contains_key("Airport"));
}

#[test]
fn a_list_has_a_parameter_for_each_column_and_operator() {
    let names = names(&made(), "/datasets/cats/rows");
    for name in [
        "limit",
        "_deleted",
        "q",
        "sort",
        "fields",
        "near",
        "radius",
        "bbox",
        "name",
        "name__not",
        "name__contains",
        "name__starts",
        "name__gte",
        "name__lt",
        "name__null",
        "breed__not",
        "born__gt",
        "weight__lte",
        "tags__has",
        "tags__null",
        "more__null",
        "owner.town__contains",
        "owner.id",
        "_id",
        "_version__gte",
        "_created_at__lt",
    ] {
        assert!(names.iter().any(|one| one == name), "{name}");
    }
    for name in ["breed__contains", "breed__gte", "name__gt", "tags", "more", "born__contains", "tags__not"] {
        assert!(!names.iter().any(|one| one == name), "{name}");
    }
    let different: HashSet<_> = names.iter().collect();
    assert_eq!(different.len(), names.len());
}

#[test]
fn a_parameter_has_the_type_of_its_column() {
    let document = made();
    let parameters = &document["components"]["parameters"];
    assert_eq!(parameters["weight"]["schema"], json!({ "type": "array", "items": { "type": "number" } }));
    assert_eq!(parameters["weight"]["explode"], true);
    assert_eq!(parameters["weight__gte"]["schema"], json!({ "type": "number" }));
    assert_eq!(parameters["born__lt"]["schema"], json!({ "type": "string", "format": "date" }));
    assert_eq!(parameters["born__null"]["schema"], json!({ "type": "boolean" }));
    assert_eq!(parameters["breed"]["schema"]["items"]["enum"], json!(["siberian", "sphynx"]));
    let list = document["paths"]["/datasets/cats/rows"]["get"]["parameters"].as_array().expect("parameters");
    let sort = list.iter().find(|parameter| parameter["name"] == "sort").expect("sort");
    assert_eq!((&sort["explode"], &sort["schema"]["maxItems"]), (&json!(false), &json!(4)));
    let keys = document["components"]["schemas"]["SortKey"]["enum"].as_array().expect("keys");
    assert!(keys.contains(&json!("-born")) && keys.contains(&json!("_id")) && !keys.contains(&json!("tags")));
}

#[test]
fn statistics_name_what_can_be_grouped_and_measured() {
    let document = made();
    let schemas = &document["components"]["schemas"];
    let has =
        |schema: &str, name: &str| schemas[schema]["enum"].as_array().expect("names").contains(&json!(name));
    for name in ["breed", "born__month", "seen__week", "born__age10", "weight__step10", "owner.town"] {
        assert!(has("GroupKey", name), "{name}");
    }
    for name in ["tags", "more", "name__month", "seen__age"] {
        assert!(!has("GroupKey", name), "{name}");
    }
    for name in ["count", "weight__avg", "weight__p90", "born__min", "name__distinct", "more__count"] {
        assert!(has("Measure", name), "{name}");
    }
    assert!(!has("Measure", "name__avg") && !has("Measure", "born__sum"));
    assert_eq!(names(&document, "/datasets/cats/facets")[0], "columns");
}

#[test]
fn a_row_has_the_rules_of_its_columns() {
    let document = made();
    let schemas = &document["components"]["schemas"];
    let new = &schemas["NewRow"];
    assert_eq!(new["required"], json!(["name", "code"]));
    assert_eq!(new["additionalProperties"], false);
    assert!(new["properties"]["_id"].is_object() && new["properties"]["_version"].is_null());
    let name = &new["properties"]["name"];
    assert_eq!(
        (&name["minLength"], &name["maxLength"], &name["nullable"]),
        (&json!(1), &json!(80), &Value::Null)
    );
    let weight = &new["properties"]["weight"];
    assert_eq!((&weight["minimum"], &weight["exclusiveMinimum"]), (&json!(2), &json!(true)));
    assert_eq!((&weight["maximum"], &weight["nullable"]), (&json!(30), &json!(true)));
    assert_eq!(weight["example"], json!(3));
    assert_eq!(new["properties"]["breed"]["enum"], json!(["siberian", "sphynx", null]));
    assert_eq!(new["properties"]["born"]["example"], "2025-01-01");
    assert_eq!(new["properties"]["code"]["pattern"], "^(?:[A-Z]{2}\\d)$");
    assert_eq!(new["example"]["code"], "AA1");
    assert_eq!(new["properties"]["lon"]["minimum"], json!(-180.0));
    assert!(schemas["RowPatch"]["required"].is_null());
    assert_eq!(schemas["Row"]["required"].as_array().map(Vec::len), Some(18));
    let get = &document["paths"]["/datasets/cats/rows/{id}"]["get"];
    let answer = &get["responses"]["200"]["content"]["application/json"]["schema"]["$ref"];
    assert_eq!(answer, "#/components/schemas/Row");
    assert_eq!(get["parameters"].as_array().map(Vec::len), Some(1));
}

#[test]
fn without_a_point_there_is_nothing_of_places() {
    let document = document(&base(), &owners(), &[]);
    let text = document.to_string();
    assert!(!text.contains("geo+json") && !text.contains("\"bbox\"") && !text.contains("\"near\""));
    assert!(document["components"]["schemas"]["RowFeatures"].is_null());
}

#[test]
fn what_the_base_lacks_is_no_failure() {
    let cats = cats();
    for base in [
        Value::Null,
        json!({}),
        json!({ "paths": { "/datasets/{name}/rows": { "get": {}, "parameters": [], "x": 1 } } }),
        json!({ "paths": { "/datasets/{name}/rows": null, "/imports/{id": {}, "/datasets/{": {} } }),
        json!({ "paths": [], "components": 7, "tags": "none" }),
    ] {
        assert!(document(&base, &cats, &[]).is_object());
    }
}

#[test]
fn two_hundred_and_fifty_six_columns_give_a_document_of_bounded_size_in_time() {
    let kinds = [Kind::String, Kind::Date, Kind::Number { float: false }, Kind::GeoPoint(GeoPoint::Default)];
    let columns = (0..256).map(|n| column(&format!("c{n}"), kinds[n % 4].clone(), n % 3 == 0)).collect();
    let foreign_keys = (0..256)
        .map(|n| ForeignKey {
            columns: vec![n],
            dataset: None,
            target: vec![Ident::new("c1").expect("a key")],
            names: vec!["c1".into()],
        })
        .collect();
    let wide = dataset("wide", Schema { columns, foreign_keys, ..Schema::default() });
    let fields = (0..256).map(|n| {
        let constraints = if n % 4 == 0 { json!({ "pattern": "[a-z]{3}" }) } else { json!({}) };
        json!({ "key": format!("c{n}"), "constraints": constraints })
    });
    let descriptor = json!({ "schema": { "fields": fields.collect::<Vec<_>>() } });
    let wide = Dataset { descriptor: Arc::new(descriptor), ..wide };
    let base = base();
    let began = Instant::now();
    let document = document(&base, &wide, &[]);
    let took = began.elapsed();
    let parameters = document["components"]["parameters"].as_object().expect("parameters").len();
    assert!((1_000..=parameters::FILTERS).contains(&parameters), "{parameters}");
    // Generous, for a build that is not optimised on a busy machine.
    assert!(took.as_millis() < 2_000, "{took:?}");
}
