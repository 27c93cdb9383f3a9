//! The type of a field.

use serde_json::{Map, Value};

use super::{
    Limits,
    fault::{Faults, member, shown},
};
use crate::datasets::{
    Rule,
    declared::{Constraints, Declared, GeoPoint, Kind, Written},
};

pub(super) fn read(
    field: &Map<String, Value>,
    _missing: &[Box<str>],
    pointer: &str,
    _limits: &Limits,
    faults: &mut Faults,
) -> Option<Rule> {
    let kind = match field.get("type").map_or(Some("any"), Value::as_str) {
        Some("string") => Kind::String,
        Some("any") => Kind::Any,
        Some("integer") => Kind::Integer,
        Some("number") => Kind::Number { float: field.get("floatNumber") == Some(&Value::Bool(true)) },
        Some("boolean") => Kind::Boolean,
        Some("date") => Kind::Date,
        Some("time") => Kind::Time,
        Some("datetime") => Kind::DateTime,
        Some("year") => Kind::Year,
        Some("yearmonth") => Kind::YearMonth,
        Some("geopoint") => Kind::GeoPoint(GeoPoint::Default),
        Some("object") => Kind::Object,
        Some("array") => Kind::Array,
        other => {
            let message = format!("unknown type {}", shown(other.unwrap_or_default()));
            faults.add(member(pointer, "type"), "unsupported_type", message);
            return None;
        }
    };
    let written = Written {
        pattern: None,
        decimal: '.',
        group: None,
        bare: true,
        true_values: Box::default(),
        false_values: Box::default(),
        timezone: None,
        delimiter: ",".into(),
    };
    Some(Rule::Declared(std::sync::Arc::new(Declared { kind, written, constraints: Constraints::default() })))
}

pub(super) fn fill_defaults(field: &mut Map<String, Value>) {
    field.entry("type").or_insert_with(|| "any".into());
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
