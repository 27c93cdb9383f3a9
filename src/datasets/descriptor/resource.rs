//! The outermost part of a declaration: the Data Resource, and the Table Schema in it.

use std::sync::Arc;

use serde_json::{Map, Value, json};

use super::{
    Descriptor, Limits, dialect,
    fault::{Faults, member, shown},
    fields, flag, list, object, point, relations, text,
};
use crate::datasets::{FieldsMatch, FileDialect, Ident};

/// Most characters of a title.
pub(super) const MAX_TITLE: usize = 1_000;
/// Most characters of a description.
pub(super) const MAX_DESCRIPTION: usize = 20_000;

/// What Tarmac reads.
const READ: [&str; 7] = ["name", "title", "description", "schema", "dialect", "point", "private"];

/// What the standard has beside, in its versions 1 and 2, and what frictionless-py writes: kept without effect.
const KEPT: [&str; 20] = [
    "$schema",
    "type",
    "path",
    "profile",
    "format",
    "mediatype",
    "encoding",
    "bytes",
    "hash",
    "sources",
    "licenses",
    "contributors",
    "keywords",
    "homepage",
    "id",
    "created",
    "scheme",
    "compression",
    "innerpath",
    "extrapaths",
];

/// What a GET adds: left out of what is kept.
const ADDED: [&str; 4] = ["version", "links", "kind", "rows_estimate"];

/// What belongs to the resource and has no effect inside a schema. These are not kept there like other unknown properties: who sends
/// `private` expects it to hold.
const MISPLACED: [&str; 3] = ["dialect", "point", "private"];

/// Reads the declaration. What it gives is complete only where there are no faults.
pub(super) fn read(
    name: &Ident,
    mut json: Value,
    limits: &Limits,
    faults: &mut Faults,
) -> Option<Descriptor> {
    leave_out_nulls(&mut json);
    let body = object(&json, "a declaration", "", faults)?;
    let bare = !body.contains_key("schema") && body.contains_key("fields");
    let (schema, schema_pointer) = if bare {
        (body, "")
    } else {
        check_members(body, faults);
        let Some(schema) = body.get("schema") else {
            faults.add("", "required", missing_schema(body));
            return None;
        };
        if schema.is_string() {
            let message = "schema must be the Table Schema itself, not where it is";
            faults.add("/schema", "wrong_type", message);
            return None;
        }
        (object(schema, "schema", "/schema", faults)?, "/schema")
    };
    if !bare && body.get("name").is_some_and(|given| *given != *name.as_str()) {
        let message = format!("name must be that of the path, {}, or left out", name.as_str());
        faults.add("/name", "contradiction", message);
    }
    let title = text(body, "title", MAX_TITLE, "", faults);
    let description = text(body, "description", MAX_DESCRIPTION, "", faults);
    let private = !bare && flag(body, "private", "", faults);
    let file_dialect = match body.get("dialect") {
        Some(given) if !bare => object(given, "dialect", "/dialect", faults)
            .map_or_else(FileDialect::default, |given| dialect::read(given, "/dialect", faults)),
        _ => FileDialect::default(),
    };
    for name in MISPLACED.into_iter().filter(|name| schema.contains_key(*name)) {
        let message = format!("{name} belongs beside the schema: send {{\"schema\":{{…}},\"{name}\":…}}");
        faults.add(member(schema_pointer, name), "misplaced", message);
    }

    let fields = fields::read(schema, schema_pointer, limits, faults)?;
    let fields_match = fields_match(schema, schema_pointer, faults);
    let mut columns = fields.columns;
    let mut primary_key = Vec::new();
    let mut references = Vec::new();
    let mut place = None;
    if fields.named {
        primary_key = relations::primary_key(schema, &mut columns, schema_pointer, faults);
        relations::unique_keys(schema, &mut columns, schema_pointer, faults);
        references = relations::references(name, schema, &columns, schema_pointer, faults);
    }
    // Of a column that is at fault itself nothing can be asked.
    if fields.sound {
        relations::check_comparable(schema, &columns, &primary_key, schema_pointer, faults);
        relations::check_own(&references, &columns, &primary_key, faults);
        place = point::read(if bare { None } else { body.get("point") }, &columns, faults);
        point::bound(place.as_ref(), &mut columns);
    }

    let mut canonical = Map::new();
    canonical.insert("name".to_owned(), name.as_str().into());
    let keep = |canonical: &mut Map<String, Value>, name: &str| {
        if let Some(value) = body.get(name) {
            canonical.insert(name.to_owned(), value.clone());
        }
    };
    keep(&mut canonical, "title");
    keep(&mut canonical, "description");
    canonical.insert("private".to_owned(), private.into());
    let names =
        primary_key.iter().filter_map(|place| columns.get(*place)).map(|column| &*column.name).collect();
    canonical
        .insert("schema".to_owned(), canonical_schema(schema, bare, fields.canonical, fields_match, names));
    if !bare {
        keep(&mut canonical, "dialect");
        KEPT.into_iter().for_each(|name| keep(&mut canonical, name));
    }
    if let Some(place) = &place {
        canonical.insert("point".to_owned(), point::canonical(place, &columns));
    }
    Some(Descriptor {
        name: name.clone(),
        schema_pointer,
        canonical: Arc::new(Value::Object(canonical)),
        title: title.map(Into::into),
        description: description.map(Into::into),
        private,
        dialect: file_dialect,
        columns,
        primary_key,
        references,
        fields_match,
        point: place,
    })
}

/// A property that is null says what one that is left out says, so that there is one way less to say it.
fn leave_out_nulls(body: &mut Value) {
    fn of(value: Option<&mut Value>) -> Option<&mut Map<String, Value>> {
        let object = value?.as_object_mut()?;
        object.retain(|_, value| !value.is_null());
        Some(object)
    }
    let Some(body) = of(Some(body)) else { return };
    let schema = if body.contains_key("schema") { of(body.get_mut("schema")) } else { Some(body) };
    let fields = schema.and_then(|schema| schema.get_mut("fields")).and_then(Value::as_array_mut);
    for field in fields.into_iter().flatten() {
        let Some(field) = of(Some(field)) else { continue };
        if of(field.get_mut("constraints")).is_some_and(|constraints| constraints.is_empty()) {
            field.remove("constraints");
        }
    }
}

fn missing_schema(body: &Map<String, Value>) -> &'static str {
    if body.contains_key("resources") {
        "a declaration is one Data Resource, not a Data Package; send one of its resources"
    } else {
        "a declaration is a Data Resource, an object with schema, or a Table Schema, an object with fields"
    }
}

fn check_members(body: &Map<String, Value>, faults: &mut Faults) {
    for name in body.keys().map(String::as_str) {
        if READ.contains(&name) || KEPT.contains(&name) || ADDED.contains(&name) {
            continue;
        }
        let pointer = member("", name);
        match name {
            "data" => {
                let message = "rows do not come with the declaration; leave data out and import a file";
                faults.add(pointer, "not_allowed", message);
            }
            "fields" | "primaryKey" | "foreignKeys" | "fieldsMatch" | "missingValues" | "uniqueKeys" => {
                faults.add(pointer, "misplaced", format!("{name} belongs inside schema"));
            }
            _ => {
                let message =
                    format!("{} is not a property of a dataset; there are {}", shown(name), READ.join(", "));
                faults.add(pointer, "unknown_property", message);
            }
        }
    }
}

/// Version 1 of the standard has a string, version 2 a list of one.
fn fields_match(schema: &Map<String, Value>, pointer: &str, faults: &mut Faults) -> FieldsMatch {
    let given = match schema.get("fieldsMatch") {
        None => return FieldsMatch::default(),
        Some(Value::Array(items)) if items.len() == 1 => items.first().and_then(Value::as_str),
        Some(value) => value.as_str(),
    };
    given.and_then(FieldsMatch::named).unwrap_or_else(|| {
        let message = "fieldsMatch must be exact, equal, subset, superset or partial";
        faults.add(member(pointer, "fieldsMatch"), "not_allowed", message);
        FieldsMatch::default()
    })
}

/// The schema as it came, with defaults. A bare schema's title and description are those of the dataset.
fn canonical_schema(
    schema: &Map<String, Value>,
    bare: bool,
    fields: Vec<Value>,
    fields_match: FieldsMatch,
    primary_key: Vec<&str>,
) -> Value {
    let mut canonical = Map::new();
    canonical.insert("fields".to_owned(), Value::Array(fields));
    for (name, value) in schema {
        let is_written_below = matches!(&**name, "fields" | "missingValues" | "primaryKey" | "fieldsMatch");
        let is_the_datasets = bare && matches!(&**name, "title" | "description");
        if is_written_below || is_the_datasets {
            continue;
        }
        canonical.insert(name.clone(), value.clone());
    }
    let missing = schema.get("missingValues").cloned().unwrap_or_else(|| json!([""]));
    canonical.insert("missingValues".to_owned(), missing);
    if !primary_key.is_empty() {
        canonical.insert("primaryKey".to_owned(), json!(primary_key));
    }
    canonical.insert("fieldsMatch".to_owned(), fields_match.as_str().into());
    Value::Object(canonical)
}

/// The fields of a file that stand for null, as the schema or a field says it. `None`: it does not say.
pub(super) fn missing_values(
    object: &Map<String, Value>,
    pointer: &str,
    faults: &mut Faults,
) -> Option<Arc<[Box<str>]>> {
    /// Each is compared with each field of a file.
    const MAX: usize = 100;
    let given = object.get("missingValues")?;
    let pointer = member(pointer, "missingValues");
    let items = list(given, "missingValues", &pointer, faults)?;
    if items.len() > MAX {
        faults.add(pointer, "too_many_values", format!("missingValues are at most {MAX}"));
        return None;
    }
    let mut missing: Vec<Box<str>> = Vec::new();
    for (index, value) in items.iter().enumerate() {
        // Version 2 of the standard lets each be an object with a label for people.
        let text = match value {
            Value::Object(labelled) => labelled.get("value").and_then(Value::as_str),
            other => other.as_str(),
        };
        match text {
            Some(text) if missing.iter().all(|other| **other != *text) => missing.push(text.into()),
            Some(_) => {}
            None => {
                let message = "a missing value must be a string, as it stands in files";
                faults.add(format!("{pointer}/{index}"), "wrong_type", message);
            }
        }
    }
    Some(missing.into())
}
