//! The type of a field.

use serde_json::{Map, Value};

use super::{
    Limits,
    fault::{DescriptorFault, Faults},
};
pub(super) use crate::datasets::declared::fill_defaults;
use crate::datasets::{
    Rule,
    declared::{Declared, Kind},
};

/// Reads the type of a field, its format and constraints.
pub(super) fn read(
    field: &Map<String, Value>,
    missing: &[Box<str>],
    pointer: &str,
    limits: &Limits,
    faults: &mut Faults,
) -> Option<Rule> {
    let constraints = field.get("constraints");
    let in_constraints =
        |name: &str| (format!("{pointer}/constraints/{name}"), constraints.and_then(|all| all.get(name)));
    let lists = [
        in_constraints("enum"),
        in_constraints("categories"),
        (format!("{pointer}/categories"), field.get("categories")),
    ];
    for (pointer, list) in lists {
        if list.and_then(Value::as_array).is_some_and(|values| values.len() > limits.enum_values) {
            let message = format!("there are at most {} values to choose from", limits.enum_values);
            faults.add(pointer, "too_many_values", message);
            return None;
        }
    }
    let mut found = Vec::new();
    let rule = Declared::declare(field, missing, &mut found);
    for fault in found {
        let pointer = format!("{pointer}{}", fault.pointer);
        faults.push(DescriptorFault { pointer, code: fault.code, message: fault.message });
    }
    rule
}

/// Whether values can be told apart and put in order by an index.
pub(super) fn is_comparable(rule: &Rule) -> bool {
    !matches!(rule.sql_type(), "jsonb" | "geometry(Point,4326)")
}

pub(super) fn is_geopoint(rule: &Rule) -> bool {
    matches!(rule, Rule::Declared(declared) if matches!(declared.kind, Kind::GeoPoint(_)))
}

pub(super) fn is_number(rule: &Rule) -> bool {
    matches!(rule, Rule::Declared(declared) if matches!(declared.kind, Kind::Number { .. }))
}
