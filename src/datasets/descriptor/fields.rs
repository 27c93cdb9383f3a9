//! The fields of a schema.

use std::sync::Arc;

use serde_json::{Map, Value};

use super::{
    Limits,
    fault::{Faults, item, member, shown},
    flag,
    keys::{Names, RESERVED_NAMES, folded, is_reserved, trimmed},
    list, object,
    resource::{MAX_DESCRIPTION, MAX_TITLE, missing_values},
    rule, text,
};
use crate::datasets::{Column, Ident, Rule};

/// Most characters of a name or an alias.
const MAX_NAME: usize = 1_000;
/// Most aliases of a field.
const MAX_ALIASES: usize = 32;
/// Most characters of a unit.
const MAX_UNIT: usize = 100;

/// What is read of the fields. Where there are faults, there is a column for each field all the same, so that what names fields can be
/// checked too.
#[derive(Debug)]
pub(super) struct Fields {
    pub(super) columns: Vec<Column>,
    /// With defaults filled in.
    pub(super) canonical: Vec<Value>,
    /// Whether each field has its names.
    pub(super) named: bool,
    /// Whether each field is what its column says.
    pub(super) sound: bool,
}

/// Reads the fields of a schema. `None`: there is a fault without which nothing that names fields can be checked.
pub(super) fn read(
    schema: &Map<String, Value>,
    pointer: &str,
    limits: &Limits,
    faults: &mut Faults,
) -> Option<Fields> {
    let missing = missing_values(schema, pointer, faults).unwrap_or_else(|| Arc::new(["".into()]));
    let pointer = member(pointer, "fields");
    let Some(given) = schema.get("fields") else {
        faults.add(pointer, "required", "a schema must have fields, a list of one at least");
        return None;
    };
    let items = list(given, "fields", &pointer, faults)?;
    if items.is_empty() {
        faults.add(pointer, "required", "a dataset has one field at least");
        return None;
    }
    if items.len() > limits.fields {
        let message = format!("a dataset has at most {} fields; here are {}", limits.fields, items.len());
        faults.add(pointer, "too_many_values", message);
        return None;
    }
    let objects: Vec<Option<&Map<String, Value>>> = items
        .iter()
        .enumerate()
        .map(|(index, field)| object(field, "a field", &item(&pointer, index), faults))
        .collect();
    let (names, named) = names(&objects, &pointer, faults);
    let mut fields = Fields { columns: Vec::new(), canonical: Vec::new(), named, sound: named };
    for (index, (field, names)) in objects.into_iter().zip(names).enumerate() {
        let Some(field) = field else { continue };
        match column(field, names, &missing, &item(&pointer, index), limits, faults) {
            (column, true) => {
                fields.canonical.push(canonical_field(field, &column));
                fields.columns.push(column);
            }
            (column, false) => {
                fields.sound = false;
                fields.columns.push(column);
            }
        }
    }
    let indexed = fields.columns.iter().filter(|column| column.indexed).count();
    if indexed > limits.indexes {
        let message =
            format!("a dataset has at most {} fields with index; here are {indexed}", limits.indexes);
        faults.add(pointer, "too_many_values", message);
    }
    Some(fields)
}

/// The names of a field.
#[derive(Debug, Default)]
struct Named<'a> {
    name: &'a str,
    aliases: Vec<&'a str>,
    /// `None`: there is none yet.
    key: Option<Ident>,
}

/// Reads the names of all fields, and says whether they are without fault: a key is derived only when the others' are known.
fn names<'a>(
    fields: &[Option<&'a Map<String, Value>>],
    pointer: &str,
    faults: &mut Faults,
) -> (Vec<Named<'a>>, bool) {
    let mut sound = true;
    let mut names = Names::default();
    let mut read = Vec::with_capacity(fields.len());
    for (index, field) in fields.iter().enumerate() {
        let pointer = item(pointer, index);
        let mut named = Named::default();
        if let Some(field) = field {
            let mut claim = |name: &str, pointer: &str, faults: &mut Faults| {
                if let Some(other) = names.claim(name, index) {
                    faults.add(pointer, "ambiguous_name", ambiguous(name, fields, other));
                }
            };
            match name(field, &pointer, faults) {
                Some(name) => {
                    claim(name, &member(&pointer, "name"), faults);
                    named.name = name;
                }
                None => sound = false,
            }
            match given_key(field, &pointer, faults) {
                Some(Some(key)) => {
                    claim(key.as_str(), &member(&pointer, "key"), faults);
                    named.key = Some(key);
                }
                Some(None) => {}
                None => sound = false,
            }
            named.aliases = aliases(field, &pointer, faults);
            for (number, alias) in named.aliases.iter().enumerate() {
                claim(alias, &item(&member(&pointer, "aliases"), number), faults);
            }
        } else {
            sound = false;
        }
        if let Some(key) = &named.key {
            names.take_key(key);
        }
        read.push(named);
    }
    for (index, named) in read.iter_mut().enumerate() {
        if named.key.is_none() {
            named.key = names.derive(named.name, index);
        }
    }
    (read, sound)
}

fn ambiguous(name: &str, fields: &[Option<&Map<String, Value>>], other: usize) -> String {
    let owner =
        fields.get(other).copied().flatten().and_then(|field| field.get("name")).and_then(Value::as_str);
    format!(
        "{} could be field {} too, {}; names, keys and aliases are compared without case and blanks at their edges",
        shown(name),
        other + 1,
        shown(owner.unwrap_or_default())
    )
}

fn name<'a>(field: &'a Map<String, Value>, pointer: &str, faults: &mut Faults) -> Option<&'a str> {
    if !field.contains_key("name") {
        faults.add(pointer, "required", "a field must have a name");
        return None;
    }
    let name = text(field, "name", MAX_NAME, pointer, faults)?;
    check_name(name, "name", &member(pointer, "name"), faults).then_some(name)
}

/// Whether a header may have that name.
fn check_name(name: &str, what: &str, pointer: &str, faults: &mut Faults) -> bool {
    if trimmed(name).is_empty() {
        faults.add(pointer, "required", format!("{what} must not be blank"));
        return false;
    }
    // Headers of real files have line breaks and tabs in quoted fields.
    if name.chars().any(|character| character.is_control() && !matches!(character, '\t' | '\n' | '\r')) {
        faults.add(pointer, "not_allowed", format!("{what} must not have control characters"));
        return false;
    }
    if RESERVED_NAMES.contains(&&*folded(name)) {
        let message = format!(
            "{what} {} is the service's own; exports and rejects have it beside the fields",
            shown(name)
        );
        faults.add(pointer, "reserved_name", message);
        return false;
    }
    true
}

/// `Some(None)`: none is given. `None`: it is at fault.
fn given_key(field: &Map<String, Value>, pointer: &str, faults: &mut Faults) -> Option<Option<Ident>> {
    let Some(value) = field.get("key") else { return Some(None) };
    let pointer = member(pointer, "key");
    let Some(text) = value.as_str() else {
        faults.add(pointer, "wrong_type", "key must be a string");
        return None;
    };
    let Some(key) = Ident::new(text) else {
        let message = "key must begin with a letter a-z and have at most 48 of a-z, 0-9 and single _; leave it out to have it derived";
        faults.add(pointer, "pattern", message);
        return None;
    };
    if is_reserved(text) {
        let message = format!("key {text} is reserved; {text}_field is free");
        faults.add(pointer, "reserved_key", message);
        return None;
    }
    Some(Some(key))
}

fn aliases<'a>(field: &'a Map<String, Value>, pointer: &str, faults: &mut Faults) -> Vec<&'a str> {
    let pointer = member(pointer, "aliases");
    let Some(items) = field.get("aliases").and_then(|given| list(given, "aliases", &pointer, faults)) else {
        return Vec::new();
    };
    if items.len() > MAX_ALIASES {
        faults.add(pointer, "too_many_values", format!("a field has at most {MAX_ALIASES} aliases"));
        return Vec::new();
    }
    let mut aliases = Vec::with_capacity(items.len());
    for (index, alias) in items.iter().enumerate() {
        let pointer = item(&pointer, index);
        match alias.as_str() {
            Some(alias) if alias.len() > MAX_NAME && alias.chars().count() > MAX_NAME => {
                faults.add(pointer, "length", format!("an alias must have at most {MAX_NAME} characters"));
            }
            Some(alias) if check_name(alias, "an alias", &pointer, faults) => aliases.push(alias),
            Some(_) => {}
            None => faults.add(pointer, "wrong_type", "an alias must be a string"),
        }
    }
    aliases
}

/// The column of a field, and whether it is what the field says.
fn column(
    field: &Map<String, Value>,
    named: Named<'_>,
    missing: &Arc<[Box<str>]>,
    pointer: &str,
    limits: &Limits,
    faults: &mut Faults,
) -> (Column, bool) {
    let title = text(field, "title", MAX_TITLE, pointer, faults);
    let description = text(field, "description", MAX_DESCRIPTION, pointer, faults);
    text(field, "unit", MAX_UNIT, pointer, faults);
    let indexed = flag(field, "index", pointer, faults);
    // Whether they are true or false, and what else is asked, is checked with the type.
    let asked = |name: &str| {
        field.get("constraints").and_then(|constraints| constraints.get(name)) == Some(&Value::Bool(true))
    };
    let (required, unique) = (asked("required"), asked("unique"));
    let missing = missing_values(field, pointer, faults).unwrap_or_else(|| Arc::clone(missing));
    let rule = rule::read(field, &missing, pointer, limits, faults);
    let is_sound = rule.is_some();
    let column = Column {
        name: named.name.into(),
        key: named.key.unwrap_or_else(|| Ident::own("column")),
        title: title.map(Into::into),
        description: description.map(Into::into),
        aliases: named.aliases.iter().map(|&alias| alias.into()).collect(),
        required,
        unique,
        indexed,
        missing,
        rule: rule.unwrap_or(Rule::Verbatim { max_chars: 0, alphanumeric: false }),
    };
    (column, is_sound)
}

/// The field as it came, its names first, with defaults.
fn canonical_field(field: &Map<String, Value>, column: &Column) -> Value {
    let mut canonical = Map::new();
    canonical.insert("name".to_owned(), (*column.name).into());
    canonical.insert("key".to_owned(), column.key.as_str().into());
    for (name, value) in field {
        canonical.entry(name).or_insert_with(|| value.clone());
    }
    rule::fill_defaults(&mut canonical);
    Value::Object(canonical)
}
