//! Which values a changed field may refuse that it allowed before.

use std::{cmp::Ordering, collections::HashSet};

use chrono::DateTime;
use serde_json::Value;

/// A field as a descriptor has it.
pub(super) type Field = serde_json::Map<String, Value>;

/// Most characters of a text without `maxLength`.
const MAX_TEXT: u64 = 65_536;

/// What may refuse values that the old field allowed, as pointers from the field. In doubt it does: a scan that finds nothing does no harm.
pub(super) fn tightened(old: &Field, new: &Field) -> Vec<String> {
    let mut tightened = Vec::new();
    let is_text = matches!(new.get("type").and_then(Value::as_str), Some("string" | "any") | None);
    // Formats of text are rules; those of other types are of files. The format default asks for nothing.
    let format = |field: &Field| field.get("format").and_then(Value::as_str).unwrap_or("default").to_owned();
    if is_text && format(new) != format(old) && format(new) != "default" {
        tightened.push("/format".to_owned());
    }
    let constraint =
        |field: &Field, name: &str| field.get("constraints").and_then(|all| all.get(name)).cloned();
    let constraints =
        ["minLength", "maxLength", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"];
    for name in constraints {
        let (mut before, mut after) = (constraint(old, name), constraint(new, name));
        if is_text && name == "maxLength" {
            before = before.or(Some(MAX_TEXT.into()));
            after = after.or(Some(MAX_TEXT.into()));
        }
        let is_tighter = match (&before, &after) {
            (_, None) => false,
            (None, Some(after)) => !(name == "minLength" && *after == 0),
            (Some(before), Some(after)) if before == after => false,
            (Some(before), Some(after)) => match compare(before, after) {
                Some(Ordering::Equal) => false,
                Some(order) => {
                    (order == Ordering::Less) == matches!(name, "minLength" | "minimum" | "exclusiveMinimum")
                }
                None => true,
            },
        };
        if is_tighter {
            tightened.push(format!("/constraints/{name}"));
        }
    }
    let (before, after) = (constraint(old, "pattern"), constraint(new, "pattern"));
    if after.is_some() && before != after {
        tightened.push("/constraints/pattern".to_owned());
    }
    let of_constraints =
        |name: &'static str| (format!("/constraints/{name}"), constraint(old, name), constraint(new, name));
    let of_field = ("/categories".to_owned(), old.get("categories").cloned(), new.get("categories").cloned());
    for (path, before, after) in [of_constraints("enum"), of_constraints("categories"), of_field] {
        let Some(after) = after else { continue };
        let allowed = values(&after);
        let is_loosened = before.is_some_and(|before| values(&before).is_subset(&allowed));
        if !is_loosened {
            tightened.push(path);
        }
    }
    tightened
}

/// The values of an enum or of categories, each as JSON writes it.
fn values(list: &Value) -> HashSet<String> {
    let items = list.as_array().map(Vec::as_slice).unwrap_or_default();
    items.iter().map(|item| item.get("value").unwrap_or(item).to_string()).collect()
}

/// Compares limits. `None`: this cannot tell, or they are nearly the same.
fn compare(before: &Value, after: &Value) -> Option<Ordering> {
    if let (Some(before), Some(after)) = (before.as_i64(), after.as_i64()) {
        return Some(before.cmp(&after));
    }
    let number = |value: &Value| value.as_f64().or_else(|| value.as_str()?.parse().ok());
    if let (Some(before), Some(after)) = (number(before), number(after)) {
        return before.partial_cmp(&after).filter(|order| order.is_ne());
    }
    let (before, after) = (before.as_str()?, after.as_str()?);
    let instant = |text| DateTime::parse_from_rfc3339(text).ok();
    if let (Some(before), Some(after)) = (instant(before), instant(after)) {
        return Some(before.cmp(&after));
    }
    // Dates, months and times of the same precision are ordered as texts are.
    let is_plain = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'-' | b':' | b'T'))
            && text.starts_with(|first: char| first.is_ascii_digit())
    };
    (before.len() == after.len() && is_plain(before) && is_plain(after)).then(|| before.cmp(after))
}
