//! A declaration as others want it: as a bare Table Schema, and as a JSON Schema of a row.

use serde_json::{Map, Value, json};

use super::Descriptor;
use crate::datasets::{Dataset, Place, Rule, Storage};

/// The bare Table Schema of a declaration.
pub fn table_schema(descriptor: &Descriptor) -> Value {
    bare(descriptor.canonical())
}

/// The bare Table Schema of a dataset, built-in ones too.
pub fn table_schema_of(dataset: &Dataset) -> Value {
    bare(&dataset.descriptor)
}

fn bare(descriptor: &Value) -> Value {
    descriptor.get("schema").cloned().unwrap_or_default()
}

/// A JSON Schema (2020-12) of a row as the API gives it: properties by key. Limits of dates and times and patterns that only Rust's `regex`
/// reads cannot be said in it and are left out.
pub fn json_schema(dataset: &Dataset) -> Value {
    let mut properties = Map::new();
    let is_declared = matches!(dataset.storage, Storage::Declared);
    if is_declared {
        properties.insert("_id".to_owned(), json!({ "type": "string", "format": "uuid" }));
    }
    let fields = dataset.descriptor.pointer("/schema/fields").and_then(Value::as_array);
    let fields = fields.map(Vec::as_slice).unwrap_or_default();
    let mut required = Vec::new();
    for (place, (field, column)) in fields.iter().zip(&dataset.schema.columns).enumerate() {
        let empty = Map::new();
        let field = field.as_object().unwrap_or(&empty);
        let mut schema = value(field);
        if let Rule::PastDate { .. } = column.rule {
            schema = json!({ "type": "string", "pattern": r"^\d{2}\.\d{2}\.\d{4}$" });
        }
        let bounds = dataset.schema.point.as_ref().and_then(|point| Some((point.place, point.bounds?)));
        match bounds {
            Some((Place::Column(column), bounds)) if column == place => schema = geopoint(bounds),
            Some((Place::Columns { longitude, .. }, [west, _, east, _])) if longitude == place => {
                narrow(&mut schema, west, east);
            }
            Some((Place::Columns { latitude, .. }, [_, south, _, north])) if latitude == place => {
                narrow(&mut schema, south, north);
            }
            _ => {}
        }
        if column.check_null().is_err() {
            required.push(column.key.as_str());
        } else {
            allow_null(&mut schema);
        }
        if let Some(schema) = schema.as_object_mut() {
            for (name, text) in [("title", &column.title), ("description", &column.description)] {
                if let Some(text) = text {
                    schema.insert(name.to_owned(), (**text).into());
                }
            }
        }
        properties.insert(column.key.as_str().to_owned(), schema);
    }
    if is_declared {
        properties
            .insert("_version".to_owned(), json!({ "type": "integer", "minimum": 1, "readOnly": true }));
        for name in ["_created_at", "_updated_at"] {
            let schema = json!({ "type": "string", "format": "date-time", "readOnly": true });
            properties.insert(name.to_owned(), schema);
        }
    }
    let mut schema = Map::new();
    schema.insert("$schema".to_owned(), "https://json-schema.org/draft/2020-12/schema".into());
    for (name, text) in [("title", &dataset.title), ("description", &dataset.description)] {
        if let Some(text) = text {
            schema.insert(name.to_owned(), (**text).into());
        }
    }
    schema.insert("type".to_owned(), "object".into());
    schema.insert("properties".to_owned(), Value::Object(properties));
    schema.insert("required".to_owned(), json!(required));
    Value::Object(schema)
}

/// What a value that is not null may be.
fn value(field: &Map<String, Value>) -> Value {
    let text = |name: &str| field.get(name).and_then(Value::as_str);
    let mut schema = of_type(text("type").unwrap_or("any"), text("format").unwrap_or("default"));
    if text("type") == Some("list") {
        let item = of_type(text("itemType").unwrap_or("string"), "default");
        schema = json!({ "type": "array", "items": item });
    }
    let constraint = |name: &str| field.get("constraints").and_then(|constraints| constraints.get(name));
    let (least, most) = match schema.get("type").and_then(Value::as_str) {
        Some("array") => ("minItems", "maxItems"),
        Some("object") => ("minProperties", "maxProperties"),
        _ => ("minLength", "maxLength"),
    };
    let is_number = matches!(text("type"), Some("integer" | "number" | "year"));
    let mut set = |name: &str, value: Option<&Value>| {
        if let (Some(value), Some(schema)) = (value, schema.as_object_mut()) {
            schema.insert(name.to_owned(), value.clone());
        }
    };
    set(least, constraint("minLength"));
    set(most, constraint("maxLength"));
    for name in ["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"] {
        set(name, constraint(name).filter(|limit| is_number && limit.is_number()));
    }
    let pattern = constraint("pattern").and_then(Value::as_str).filter(|pattern| is_common(pattern));
    set("pattern", pattern.map(|pattern| Value::String(format!("^(?:{pattern})$"))).as_ref());
    // Values that JSON and files write alike.
    if is_number || matches!(text("type"), Some("string" | "any" | "boolean") | None) {
        set("enum", constraint("enum").filter(|words| words.is_array()));
    }
    schema
}

fn of_type(kind: &str, format: &str) -> Value {
    match (kind, format) {
        ("string", "uuid") => json!({ "type": "string", "format": "uuid" }),
        ("string", "email") => json!({ "type": "string", "format": "email" }),
        ("string", "uri" | "url") => json!({ "type": "string", "format": "uri" }),
        ("integer", _) => json!({ "type": "integer", "minimum": i64::MIN, "maximum": i64::MAX }),
        ("number", _) => json!({ "type": "number" }),
        ("boolean", _) => json!({ "type": "boolean" }),
        ("date", _) => json!({ "type": "string", "format": "date" }),
        // JSON Schema's format `time` has an offset.
        ("time", _) => json!({ "type": "string", "pattern": r"^\d{2}:\d{2}:\d{2}(\.\d+)?$" }),
        ("datetime", _) => json!({ "type": "string", "format": "date-time" }),
        ("year", _) => json!({ "type": "integer", "minimum": -9999, "maximum": 9999 }),
        ("yearmonth", _) => json!({ "type": "string", "pattern": r"^\d{4}-\d{2}$" }),
        ("geopoint", _) => geopoint([-180.0, -90.0, 180.0, 90.0]),
        ("object", _) => json!({ "type": "object" }),
        ("array", _) => json!({ "type": "array" }),
        _ => json!({ "type": "string" }),
    }
}

fn geopoint([west, south, east, north]: [f64; 4]) -> Value {
    json!({
        "type": "array",
        "prefixItems": [
            { "type": "number", "minimum": west, "maximum": east },
            { "type": "number", "minimum": south, "maximum": north },
        ],
        "minItems": 2,
        "maxItems": 2,
    })
}

/// Sets the limits of a coordinate unless the field has narrower ones.
fn narrow(schema: &mut Value, least: f64, most: f64) {
    let limit = |name: &str| schema.get(name).and_then(Value::as_f64);
    let (least, most) = (
        limit("minimum").map_or(least, |own| own.max(least)),
        limit("maximum").map_or(most, |own| own.min(most)),
    );
    if let Some(schema) = schema.as_object_mut() {
        schema.insert("minimum".to_owned(), json!(least));
        schema.insert("maximum".to_owned(), json!(most));
    }
}

fn allow_null(schema: &mut Value) {
    let Some(schema) = schema.as_object_mut() else { return };
    if let Some(kind) = schema.get_mut("type") {
        *kind = json!([kind.take(), "null"]);
    }
    if let Some(Value::Array(words)) = schema.get_mut("enum") {
        words.push(Value::Null);
    }
}

/// Whether ECMA-262, whose patterns JSON Schema has, reads a pattern as Rust's `regex` does. In doubt it does not: `\d` and its like have
/// other digits there.
fn is_common(pattern: &str) -> bool {
    let bytes = pattern.as_bytes();
    let has_own = bytes.windows(2).any(|pair| match pair {
        [b'\\', next] => next.is_ascii_alphabetic() && !b"tnrfv".contains(next),
        b"&&" | b"--" | b"~~" | b"[[" => true,
        _ => false,
    });
    let groups = pattern.matches("(?").count() == pattern.matches("(?:").count();
    pattern.is_ascii() && groups && !has_own && !pattern.contains("[^[") && !pattern.contains("[]")
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::{is_common, json_schema, table_schema, table_schema_of};
    use crate::datasets::{
        BUILT_IN, Ident,
        descriptor::{Descriptor, Limits, read},
    };

    fn declared(body: &Value) -> Descriptor {
        let name = Ident::dataset("cats").expect("a name");
        read(&name, body.to_string().as_bytes(), &Limits::default()).expect("no faults")
    }

    fn property(field: &Value) -> Value {
        let mut field = field.clone();
        field["name"] = "a".into();
        let dataset = declared(&json!({ "fields": [field] })).compile(Some(1), 1);
        json_schema(&dataset)["properties"]["a"].clone()
    }

    #[test]
    fn a_row_has_its_columns_by_key_and_the_services_own() {
        let cats = declared(&json!({ "title": "Cats", "schema": { "fields": [
            { "name": "Кличка", "key": "name", "type": "string", "title": "Name",
                "constraints": { "required": true, "maxLength": 80 } },
            { "name": "born", "type": "date", "description": "Day" },
        ] } }));
        let schema = json_schema(&cats.compile(Some(1), 1));
        let expected = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "title": "Cats",
            "type": "object",
            "properties": {
                "_id": { "type": "string", "format": "uuid" },
                "name": { "type": "string", "maxLength": 80, "title": "Name" },
                "born": { "type": ["string", "null"], "format": "date", "description": "Day" },
                "_version": { "type": "integer", "minimum": 1, "readOnly": true },
                "_created_at": { "type": "string", "format": "date-time", "readOnly": true },
                "_updated_at": { "type": "string", "format": "date-time", "readOnly": true },
            },
            "required": ["name"],
        });
        assert_eq!(schema, expected);
        let names: Vec<&String> = schema["properties"].as_object().expect("an object").keys().collect();
        assert_eq!(names[..3], ["_id", "name", "born"]);
    }

    #[test]
    fn values_are_as_json_has_them() {
        let required = |kind: &str, constraints: Value| {
            let mut constraints = constraints;
            constraints["required"] = true.into();
            property(&json!({ "type": kind, "constraints": constraints }))
        };
        assert_eq!(
            required("list", json!({ "minLength": 1, "maxLength": 3 })),
            json!({ "type": "array", "items": { "type": "string" }, "minItems": 1, "maxItems": 3 })
        );
        assert_eq!(
            required("integer", json!({ "minimum": 1 })),
            json!({ "type": "integer", "minimum": 1, "maximum": i64::MAX })
        );
        assert_eq!(required("object", json!({})), json!({ "type": "object" }));
        assert_eq!(
            required("number", json!({ "exclusiveMaximum": 5 })),
            json!({ "type": "number", "exclusiveMaximum": 5 })
        );
        assert_eq!(
            required("date", json!({ "minimum": "2000-01-01" })),
            json!({ "type": "string", "format": "date" })
        );
        assert_eq!(property(&json!({ "type": "string", "format": "uuid" }))["format"], "uuid");
        assert_eq!(
            property(&json!({ "type": "string", "constraints": { "enum": ["a"], "pattern": "a|b" } })),
            json!({ "type": ["string", "null"], "pattern": "^(?:a|b)$", "enum": ["a", null] })
        );
    }

    #[test]
    fn a_coordinate_is_within_the_bounds() {
        let numbers = declared(&json!({
            "schema": { "fields": [
                { "name": "lon", "type": "number", "constraints": { "minimum": 1 } }, { "name": "lat", "type": "number" },
            ] },
            "point": { "longitude": "lon", "latitude": "lat", "bounds": [0, 40, 10, 50] },
        }));
        let schema = json_schema(&numbers.compile(None, 1));
        assert_eq!(
            schema["properties"]["lon"],
            json!({ "type": ["number", "null"], "minimum": 1.0, "maximum": 10.0 })
        );
        assert_eq!(
            schema["properties"]["lat"],
            json!({ "type": ["number", "null"], "minimum": 40.0, "maximum": 50.0 })
        );
        let point = declared(&json!({
            "schema": { "fields": [{ "name": "p", "type": "geopoint" }] },
            "point": { "field": "p", "bounds": [0, 40, 10, 50] },
        }));
        let schema = json_schema(&point.compile(None, 1));
        assert_eq!(
            schema["properties"]["p"]["prefixItems"][1],
            json!({ "type": "number", "minimum": 40.0, "maximum": 50.0 })
        );
    }

    #[test]
    fn only_patterns_that_both_read_alike_are_said() {
        for pattern in ["[a-z]+", "(?:a|b)*", r"[0-9]+\.[0-9]{2}", "^a$", "[^a]"] {
            assert!(is_common(pattern), "{pattern}");
        }
        for pattern in [r"\d", "(?i)a", r"\p{L}", "(?P<a>b)", "[a&&b]", "[[:alpha:]]", r"\Aa\z", "é"] {
            assert!(!is_common(pattern), "{pattern}");
        }
    }

    #[test]
    fn a_bare_schema_is_that_of_the_declaration() {
        let cats = declared(&json!({ "fields": [{ "name": "a" }], "primaryKey": "a" }));
        let bare = table_schema(&cats);
        assert_eq!(bare["primaryKey"], json!(["a"]));
        assert_eq!(bare, table_schema_of(&cats.compile(None, 1)));
        assert_eq!(declared(&bare), cats, "it declares the same");
    }

    #[test]
    fn built_in_datasets_have_schemas_too() {
        let [airports, citizens] = &*BUILT_IN;
        let properties = |schema: Value| schema["properties"].as_object().expect("an object").len();
        assert_eq!(properties(json_schema(airports)), 14);
        assert_eq!(table_schema_of(airports)["missingValues"], json!(["", r"\N"]));
        let citizen = json_schema(citizens);
        assert_eq!(citizen["properties"]["birth_date"]["type"], "string");
        assert_eq!(citizen["properties"]["relatives"]["items"]["type"], "integer");
    }
}
