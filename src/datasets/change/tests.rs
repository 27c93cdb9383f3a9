use serde_json::{Value, json};

use super::{Class, Plan, What, plan};
use crate::datasets::{
    Ident, Place,
    descriptor::{Descriptor, Limits, read},
};

fn declared(body: &Value) -> Descriptor {
    let name = Ident::dataset("cats").expect("a name");
    read(&name, body.to_string().as_bytes(), &Limits::default()).expect("no faults")
}

fn key(key: &str) -> Ident {
    Ident::new(key).expect("a key")
}

fn cats() -> Value {
    json!({
        "title": "Cats",
        "schema": {
            "fields": [
                { "name": "Name", "type": "string" },
                { "name": "born", "type": "date" },
                { "name": "weight", "type": "number" },
                { "name": "lon", "type": "number" },
                { "name": "lat", "type": "number" },
            ],
        },
    })
}

fn changed(change: impl Fn(&mut Value), drop: bool) -> Plan {
    let (old, mut new) = (cats(), cats());
    change(&mut new);
    plan(&declared(&old), &declared(&new), drop)
}

/// The plan of a change, and that of the change back.
fn both(change: impl Fn(&mut Value)) -> (Plan, Plan) {
    let mut new = cats();
    change(&mut new);
    let (old, new) = (declared(&cats()), declared(&new));
    (plan(&old, &new, false), plan(&new, &old, false))
}

fn field(at: usize, name: &'static str, value: Value) -> impl Fn(&mut Value) {
    move |body| body["schema"]["fields"][at][name] = value.clone()
}

/// What there is to do, with classes and pointers.
fn told(plan: &Plan) -> Vec<(Class, &str, &What)> {
    plan.changes.iter().map(|change| (change.class, change.pointer.as_str(), &change.what)).collect()
}

#[test]
fn the_same_again_is_no_change() {
    let expected = Plan { class: Class::None, changes: Vec::new() };
    assert_eq!(changed(|_| {}, false), expected);
    let given = |body: &mut Value| {
        body["schema"]["fields"][0]["key"] = "name".into();
        body["schema"]["missingValues"] = json!([""]);
        body["version"] = 7.into();
        body["name"] = "cats".into();
    };
    assert_eq!(changed(given, false), expected, "what is filled in anyhow");
    let canonical = declared(&cats()).text();
    let again: Value = serde_json::from_str(&canonical).expect("JSON");
    assert_eq!(plan(&declared(&cats()), &declared(&again), false), expected);
}

#[test]
fn what_people_read_and_files_say_is_metadata() {
    type Edit = Box<dyn Fn(&mut Value)>;
    let changes: Vec<(Edit, &str)> = vec![
        (Box::new(|body| body["title"] = "Dogs".into()), "/title"),
        (Box::new(|body| body["description"] = "All".into()), "/description"),
        (Box::new(|body| body["private"] = true.into()), "/private"),
        (Box::new(|body| body["dialect"] = json!({ "delimiter": ";" })), "/dialect"),
        (Box::new(|body| body["sources"] = json!([])), ""),
        (Box::new(|body| body["schema"]["fieldsMatch"] = "exact".into()), "/schema/fieldsMatch"),
        (Box::new(|body| body["schema"]["missingValues"] = json!(["", "-"])), "/schema/missingValues"),
        (Box::new(field(0, "title", "The name".into())), "/schema/fields/0"),
        (Box::new(field(0, "aliases", json!(["cat"]))), "/schema/fields/0"),
        (Box::new(field(0, "missingValues", json!([]))), "/schema/fields/0"),
        (Box::new(field(0, "rdfType", "x".into())), "/schema/fields/0"),
        (Box::new(field(1, "format", "%d.%m.%Y".into())), "/schema/fields/1"),
        (Box::new(field(2, "decimalChar", ",".into())), "/schema/fields/2"),
    ];
    for (change, pointer) in changes {
        let (there, back) = both(change);
        assert_eq!(told(&there), [(Class::Metadata, pointer, &What::Nothing)]);
        assert_eq!((there.class, back.class), (Class::Metadata, Class::Metadata), "{pointer}");
    }
    let order = changed(|body| body["schema"]["fields"].as_array_mut().expect("a list").swap(0, 1), false);
    assert_eq!(told(&order), [(Class::Metadata, "/schema/fields", &What::Nothing)]);
}

#[test]
fn another_name_with_the_same_key_is_the_same_field() {
    let plan = changed(
        |body| {
            body["schema"]["fields"][0]["name"] = "Кличка".into();
            body["schema"]["fields"][0]["key"] = "name".into();
        },
        false,
    );
    assert_eq!(told(&plan), [(Class::Metadata, "/schema/fields/0/name", &What::Nothing)]);
}

#[test]
fn another_key_with_the_same_name_is_the_same_field() {
    let called = changed(field(0, "key", "called".into()), false);
    let what = What::RenameKey { from: key("name"), to: key("called") };
    assert_eq!(told(&called), [(Class::Instant, "/schema/fields/0/key", &what)]);
    let keyed = |one: &str, other: &str| {
        declared(&json!({ "fields": [{ "name": "Один", "key": one }, { "name": "Два", "key": other }] }))
    };
    let swapped = plan(&keyed("a", "b"), &keyed("b", "a"), false);
    let rename = |from: &str, to: &str| What::RenameKey { from: key(from), to: key(to) };
    let whats: Vec<_> = swapped.changes.iter().map(|change| change.what.clone()).collect();
    assert_eq!(whats, [rename("a", "b"), rename("b", "a")], "two fields can swap their keys");
}

#[test]
fn a_field_goes_only_when_the_client_says_so() {
    let without = |body: &mut Value| drop(body["schema"]["fields"].as_array_mut().expect("a list").remove(1));
    let refused = changed(without, false);
    assert_eq!(told(&refused), [(Class::Refused, "/schema/fields/1", &What::WouldDrop(key("born")))]);
    let allowed = changed(without, true);
    assert_eq!(told(&allowed), [(Class::Instant, "/schema/fields/1", &What::DropColumn(key("born")))]);
    let replaced =
        changed(|body| body["schema"]["fields"][1] = json!({ "name": "died", "type": "date" }), true);
    let whats: Vec<_> = replaced.changes.iter().map(|change| change.what.clone()).collect();
    assert_eq!(whats, [What::DropColumn(key("born")), What::AddColumn(key("died"))]);
}

#[test]
fn a_new_field_is_instant_unless_it_asks_something_of_the_rows() {
    let added = |field: Value| {
        let mut new = cats();
        new["schema"]["fields"].as_array_mut().expect("a list").push(field);
        plan(&declared(&cats()), &declared(&new), false)
    };
    let plan = added(json!({ "name": "breed" }));
    assert_eq!(told(&plan), [(Class::Instant, "/schema/fields/5", &What::AddColumn(key("breed")))]);
    let plan = added(json!({ "name": "breed", "constraints": { "required": true } }));
    assert_eq!(told(&plan), [(Class::Checked, "/schema/fields/5", &What::AddRequiredColumn(key("breed")))]);
    let plan = added(json!({ "name": "breed", "index": true }));
    let whats: Vec<_> = plan.changes.iter().map(|change| change.what.clone()).collect();
    assert_eq!(whats, [What::AddColumn(key("breed")), What::AddIndex(key("breed"))]);
    let plan = added(json!({ "name": "home", "type": "geopoint" }));
    assert_eq!(plan.class, Class::Instant, "a new point is null everywhere: {plan:?}");
}

#[test]
fn a_tighter_rule_is_checked_and_a_looser_one_metadata() {
    for (at, constraints, pointer) in [
        (0, json!({ "required": true }), "required"),
        (0, json!({ "maxLength": 80 }), "maxLength"),
        (0, json!({ "minLength": 1 }), "minLength"),
        (0, json!({ "pattern": "a+" }), "pattern"),
        (0, json!({ "enum": ["a", "b"] }), "enum"),
        (2, json!({ "minimum": 0 }), "minimum"),
        (2, json!({ "exclusiveMaximum": 10.5 }), "exclusiveMaximum"),
        (1, json!({ "maximum": "2026-01-01" }), "maximum"),
    ] {
        let (there, back) = both(field(at, "constraints", constraints));
        let column = ["name", "born", "weight"][at];
        let pointer = format!("/schema/fields/{at}/constraints/{pointer}");
        assert_eq!(told(&there), [(Class::Checked, pointer.as_str(), &What::CheckColumn(key(column)))]);
        assert_eq!(back.class, Class::Metadata, "{pointer}: {back:?}");
    }
    let class = |kind: &str, before: Value, after: Value| {
        let of = |constraints: Value| {
            declared(&json!({ "fields": [{ "name": "a", "type": kind, "constraints": constraints }] }))
        };
        plan(&of(before), &of(after), false).class
    };
    for (kind, loose, tight) in [
        ("string", json!({ "maxLength": 80 }), json!({ "maxLength": 79 })),
        ("string", json!({ "minLength": 2 }), json!({ "minLength": 3 })),
        ("string", json!({ "enum": ["a", "b"] }), json!({ "enum": ["b"] })),
        (
            "integer",
            json!({ "minimum": 9_007_199_254_740_992_i64 }),
            json!({ "minimum": 9_007_199_254_740_993_i64 }),
        ),
        ("number", json!({ "maximum": 10 }), json!({ "maximum": 9.5 })),
        ("date", json!({ "minimum": "1999-12-31" }), json!({ "minimum": "2000-01-01" })),
        (
            "datetime",
            json!({ "minimum": "2000-01-01T00:00:00+02:00" }),
            json!({ "minimum": "2000-01-01T00:00:00Z" }),
        ),
    ] {
        assert_eq!(class(kind, loose.clone(), tight.clone()), Class::Checked, "{loose} to {tight}");
        assert_eq!(class(kind, tight.clone(), loose.clone()), Class::Metadata, "{tight} to {loose}");
    }
    assert_eq!(class("string", json!({}), json!({ "minLength": 0 })), Class::Metadata);
    assert_eq!(class("string", json!({}), json!({ "maxLength": 65_536 })), Class::Metadata);
    assert_eq!(class("string", json!({ "maxLength": 65_537 }), json!({})), Class::Checked);
    assert_eq!(class("string", json!({ "pattern": "a" }), json!({ "pattern": "b" })), Class::Checked);
}

#[test]
fn unique_and_index_are_checked_and_go_as_metadata() {
    let (there, back) = both(field(0, "constraints", json!({ "unique": true })));
    let pointer = "/schema/fields/0/constraints/unique";
    assert_eq!(told(&there), [(Class::Checked, pointer, &What::AddUnique(key("name")))]);
    assert_eq!(told(&back), [(Class::Metadata, pointer, &What::DropUnique(key("name")))]);
    let (there, back) = both(field(0, "index", true.into()));
    assert_eq!(told(&there), [(Class::Checked, "/schema/fields/0/index", &What::AddIndex(key("name")))]);
    assert_eq!(told(&back), [(Class::Metadata, "/schema/fields/0/index", &What::DropIndex(key("name")))]);
}

#[test]
fn a_primary_key_is_checked_and_goes_as_metadata() {
    let (there, back) = both(|body| body["schema"]["primaryKey"] = json!(["Name", "born"]));
    let set = What::SetPrimaryKey(vec![key("name"), key("born")]);
    assert_eq!(there.class, Class::Checked);
    assert!(told(&there).contains(&(Class::Checked, "/schema/primaryKey", &set)));
    assert_eq!(back.class, Class::Metadata);
    assert!(told(&back).contains(&(Class::Metadata, "/schema/primaryKey", &What::DropPrimaryKey)));
}

#[test]
fn a_foreign_key_is_checked_and_goes_as_metadata() {
    let owned = |body: &mut Value| {
        body["schema"]["foreignKeys"] =
            json!([{ "fields": "Name", "reference": { "resource": "owners", "fields": "cat" } }]);
    };
    let (there, back) = both(owned);
    assert!(matches!(told(&there)[..], [(Class::Checked, "/schema/foreignKeys/0", What::AddForeignKey(_))]));
    assert!(matches!(told(&back)[..], [(Class::Metadata, "/schema/foreignKeys", What::DropForeignKey(_))]));
}

#[test]
fn a_point_is_checked() {
    let (there, back) = both(|body| body["point"] = json!({ "longitude": "lon", "latitude": "lat" }));
    let place = Place::Columns { longitude: 3, latitude: 4 };
    assert!(
        matches!(told(&there)[..], [(Class::Checked, "/point", What::SetPoint(point))] if point.place == place)
    );
    assert_eq!(told(&back), [(Class::Checked, "/point", &What::DropPoint)]);
    let point = |bounds: Value| {
        let mut body = cats();
        body["point"] = json!({ "longitude": "lon", "latitude": "lat" });
        if !bounds.is_null() {
            body["point"]["bounds"] = bounds;
        }
        declared(&body)
    };
    assert_eq!(plan(&point(Value::Null), &point(json!([0, 0, 1, 1])), false).class, Class::Checked);
    let mut moved = cats();
    moved["point"] = json!({ "longitude": "east", "latitude": "lat" });
    moved["schema"]["fields"][3]["key"] = "east".into();
    let renamed = plan(&point(Value::Null), &declared(&moved), false);
    assert_eq!(renamed.class, Class::Instant, "the point is where it was: {renamed:?}");
}

#[test]
fn a_change_of_type_is_refused() {
    for (at, change) in [
        (1, ("type", json!("string"))),
        (2, ("type", json!("integer"))),
        (2, ("floatNumber", json!(true))),
        (0, ("type", json!("any"))),
        (0, ("format", json!("uuid"))),
    ] {
        let (there, back) = both(field(at, change.0, change.1.clone()));
        assert_eq!((there.class, back.class), (Class::Refused, Class::Refused), "{change:?}");
        assert!(matches!(there.changes[..], [super::Change { what: What::ChangeType(_), .. }]));
    }
    let (there, back) = both(field(0, "format", "email".into()));
    assert_eq!((there.class, back.class), (Class::Checked, Class::Metadata), "a format of text is a rule");
}

#[test]
fn the_gravest_change_counts() {
    let plan = changed(
        |body| {
            body["title"] = "Dogs".into();
            body["schema"]["fields"][2]["constraints"] = json!({ "minimum": 0 });
            body["schema"]["fields"].as_array_mut().expect("a list").push(json!({ "name": "new" }));
        },
        false,
    );
    assert_eq!(plan.class, Class::Checked);
    assert_eq!(plan.changes.len(), 3);
    assert!(Class::None < Class::Metadata && Class::Checked < Class::Refused);
}

#[test]
fn pointers_are_into_the_declaration_as_it_was_sent() {
    let old = declared(&json!({ "fields": [{ "name": "a", "type": "string" }] }));
    let new = declared(&json!({ "fields": [{ "name": "a", "type": "integer" }] }));
    assert_eq!(plan(&old, &new, false).changes[0].pointer, "/fields/0/type");
}
