//! `dev/compatibility`: what would break clients of the released API document is noticed.

use std::process::{Command, Output};

use serde_json::{Value, json};

fn released() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/openapi/released.yaml");
    let text = std::fs::read_to_string(path).expect("there is a released document");
    serde_yaml::from_str(&text).expect("it is YAML")
}

/// Whether the document, changed like this, would do for clients of the released one; and what is said.
fn compare(change: impl FnOnce(&mut Value)) -> (bool, String) {
    let mut document = released();
    change(&mut document);
    assert_ne!(document, released(), "nothing was changed");
    let file = tempfile::NamedTempFile::with_suffix(".json").expect("a file can be made");
    std::fs::write(&file, document.to_string()).expect("the file can be written");
    let Output { status, stderr, .. } = Command::new("dev/compatibility")
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .arg(file.path())
        .output()
        .expect("the script can be started");
    (status.success(), String::from_utf8_lossy(&stderr).into_owned())
}

#[track_caller]
fn assert_breaks(part: &str, change: impl FnOnce(&mut Value)) {
    let (compatible, said) = compare(change);
    assert!(!compatible && said.contains(part), "{said}");
}

fn remove(object: &mut Value, name: &str) {
    object.as_object_mut().expect("an object").remove(name).expect("it is there");
}

fn parameter(name: &str, required: bool) -> Value {
    json!({ "name": name, "in": "query", "required": required, "schema": { "type": "string" } })
}

#[test]
fn an_operation_that_is_gone_breaks_clients() {
    assert_breaks("DELETE /airports/{id} is gone", |document| {
        remove(&mut document["paths"]["/airports/{id}"], "delete")
    });
}

#[test]
fn a_new_parameter_that_is_required_breaks_clients() {
    assert_breaks("GET /airports: the parameter planet is new and required", |document| {
        let parameters = document["paths"]["/airports"]["get"]["parameters"].as_array_mut();
        parameters.expect("a list").push(parameter("planet", true));
    });
}

#[test]
fn a_field_of_an_answer_that_is_gone_breaks_clients() {
    assert_breaks("GET /airports/{id}: 200.city is gone", |document| {
        let airport = &mut document["components"]["schemas"]["Airport"];
        remove(&mut airport["properties"], "city");
        airport["required"].as_array_mut().expect("a list").retain(|name| name != "city");
    });
}

#[test]
fn an_enumeration_with_fewer_values_breaks_who_sends_them() {
    assert_breaks("POST /upload: the parameter mode: without strict", |document| {
        let values = document["components"]["schemas"]["ImportMode"]["enum"].as_array_mut();
        values.expect("a list").retain(|mode| mode != "strict");
    });
}

#[test]
fn a_field_of_another_type_breaks_clients() {
    assert_breaks("GET /airports/{id}: 200.id: another type", |document| {
        document["components"]["schemas"]["Airport"]["properties"]["id"] = json!({ "type": "string" });
    });
}

#[test]
fn what_is_added_breaks_nobody() {
    let (compatible, said) = compare(|document| {
        let parameters = document["paths"]["/airports"]["get"]["parameters"].as_array_mut();
        parameters.expect("a list").push(parameter("planet", false));
        document["components"]["schemas"]["Airport"]["properties"]["moons"] = json!({ "type": "integer" });
        document["paths"]["/moons/{name}"] = document["paths"]["/problems/{name}"].clone();
    });
    assert!(compatible, "{said}");
}
