//! What a schema says of several fields: the primary key, unique keys, references to other datasets. Inside the schema fields go by their
//! names.

use serde_json::{Map, Value};

use super::{
    fault::{DescriptorFault, Faults, item, member, shown},
    keys, list, object,
    rule::is_comparable,
};
use crate::datasets::{Column, Dataset, ForeignKey, Ident, Schema};

/// Most columns of one key: PostgreSQL's limit for an index.
const MAX_KEY_COLUMNS: usize = 32;
/// Most references of a dataset.
const MAX_REFERENCES: usize = 32;

/// Columns whose values must be those of a row of another dataset, as a descriptor says it: by names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reference {
    /// Where the declaration says it.
    pub pointer: String,
    /// The columns, by their places.
    pub columns: Vec<usize>,
    /// Name of the other dataset; `None`: this one.
    pub dataset: Option<String>,
    /// Names of the fields there, each for the column at its place.
    pub fields: Vec<Box<str>>,
}

impl Reference {
    /// Checks the reference against the dataset that it names; `None`: there is none that the caller may see.
    pub fn check(&self, columns: &[Column], target: Option<&Dataset>) -> Option<DescriptorFault> {
        let fault = |within: &str, code, message| {
            Some(DescriptorFault { pointer: format!("{}/reference/{within}", self.pointer), code, message })
        };
        let Some(target) = target else {
            let name = self.dataset.as_deref().unwrap_or_default();
            return fault("resource", "unknown_dataset", format!("there is no dataset {}", shown(name)));
        };
        self.fits(columns, &target.schema.columns, &target.schema.primary_key)
    }

    /// Checks the reference against the columns it points to.
    fn fits(&self, columns: &[Column], target: &[Column], primary_key: &[usize]) -> Option<DescriptorFault> {
        let pointer = format!("{}/reference/fields", self.pointer);
        let fault = |code, message| Some(DescriptorFault { pointer: pointer.clone(), code, message });
        let dataset = self.dataset.as_deref().unwrap_or("this dataset");
        let mut places = Vec::with_capacity(self.fields.len());
        for (place, name) in self.columns.iter().zip(&self.fields) {
            let Some(there) = target.iter().position(|column| column.name == *name) else {
                let message = format!("{dataset} has no field with the name {}", shown(name));
                return fault("unknown_column", message);
            };
            let here = columns.get(*place).map(|column| column.rule.sql_type());
            let there_type = target.get(there).map(|column| column.rule.sql_type());
            if here != there_type {
                let message =
                    format!("{} of {dataset} has another type than the field that refers to it", shown(name));
                return fault("not_allowed", message);
            }
            places.push(there);
        }
        if !is_key_of(target, primary_key, &places) {
            let message = format!(
                "a reference points to the primary key of a dataset or to a field that is unique there; {dataset} has no such key"
            );
            return fault("not_a_key", message);
        }
        None
    }

    pub(super) fn compile(
        &self,
        own: &[Column],
        key_of: &impl Fn(&str, &str) -> Option<Ident>,
    ) -> ForeignKey {
        let key = |name: &str| match &self.dataset {
            None => own.iter().find(|column| *column.name == *name).map(|column| column.key.clone()),
            Some(dataset) => key_of(dataset, name).or_else(|| Ident::new(&keys::derive(name, 1, |_| false))),
        };
        ForeignKey {
            columns: self.columns.clone(),
            dataset: self.dataset.clone(),
            target: self.fields.iter().filter_map(|name| key(name)).collect(),
            names: self.fields.clone(),
        }
    }
}

/// Whether these columns, in any order, are the primary key or one unique column.
pub fn is_key(schema: &Schema, keys: &[Ident]) -> bool {
    let places: Option<Vec<usize>> =
        keys.iter().map(|key| schema.keyed(key.as_str()).map(|(place, _)| place)).collect();
    places.is_some_and(|places| is_key_of(&schema.columns, &schema.primary_key, &places))
}

fn is_key_of(columns: &[Column], primary_key: &[usize], places: &[usize]) -> bool {
    let sorted = |places: &[usize]| {
        let mut places = places.to_vec();
        places.sort_unstable();
        places
    };
    if !primary_key.is_empty() && sorted(primary_key) == sorted(places) {
        return true;
    }
    matches!(places, [place] if columns.get(*place).is_some_and(|column| column.unique))
}

/// Fields by their names: a string, or a list of strings.
fn places(
    value: &Value,
    columns: &[Column],
    what: &str,
    pointer: &str,
    faults: &mut Faults,
) -> Option<Vec<usize>> {
    let names: Vec<(String, &Value)> = match value {
        Value::String(_) => vec![(pointer.to_owned(), value)],
        Value::Array(items) => {
            items.iter().enumerate().map(|(index, name)| (item(pointer, index), name)).collect()
        }
        _ => {
            faults.add(
                pointer,
                "wrong_type",
                format!("{what} must be the name of a field or a list of names"),
            );
            return None;
        }
    };
    if names.len() > MAX_KEY_COLUMNS {
        faults.add(pointer, "too_many_values", format!("{what} has at most {MAX_KEY_COLUMNS} fields"));
        return None;
    }
    let mut places = Vec::with_capacity(names.len());
    let mut complete = true;
    for (pointer, name) in names {
        let place = match name.as_str() {
            Some(name) => place(name, columns, &pointer, faults),
            None => {
                faults.add(pointer.as_str(), "wrong_type", format!("{what} has the names of fields"));
                None
            }
        };
        match place {
            Some(place) if places.contains(&place) => {
                faults.add(pointer, "not_unique", format!("{what} names a field twice"));
                complete = false;
            }
            Some(place) => places.push(place),
            None => complete = false,
        }
    }
    complete.then_some(places)
}

fn place(name: &str, columns: &[Column], pointer: &str, faults: &mut Faults) -> Option<usize> {
    let place = columns.iter().position(|column| *column.name == *name);
    if place.is_none() {
        let message = match columns.iter().find(|column| column.key.as_str() == name) {
            Some(column) => {
                format!(
                    "{} is a key; inside the schema a field goes by its name, {}",
                    shown(name),
                    shown(&column.name)
                )
            }
            None => format!("there is no field with the name {}", shown(name)),
        };
        faults.add(pointer, "unknown_column", message);
    }
    place
}

/// The primary key, whose columns are required by that.
pub(super) fn primary_key(
    schema: &Map<String, Value>,
    columns: &mut [Column],
    pointer: &str,
    faults: &mut Faults,
) -> Vec<usize> {
    let Some(given) = schema.get("primaryKey") else { return Vec::new() };
    let places =
        places(given, columns, "primaryKey", &member(pointer, "primaryKey"), faults).unwrap_or_default();
    for place in &places {
        if let Some(column) = columns.get_mut(*place) {
            column.required = true;
            column.rule = column.rule.indexed();
        }
    }
    places
}

/// Unique keys of version 2 of the standard. One of a single field says what the constraint `unique` says; others are refused rather than
/// not held.
pub(super) fn unique_keys(
    schema: &Map<String, Value>,
    columns: &mut [Column],
    pointer: &str,
    faults: &mut Faults,
) {
    let pointer = member(pointer, "uniqueKeys");
    let Some(items) = schema.get("uniqueKeys").and_then(|given| list(given, "uniqueKeys", &pointer, faults))
    else {
        return;
    };
    for (index, key) in items.iter().enumerate() {
        let pointer = item(&pointer, index);
        match places(key, columns, "a unique key", &pointer, faults).as_deref() {
            None => {}
            Some([place]) => {
                if let Some(column) = columns.get_mut(*place) {
                    column.unique = true;
                    column.rule = column.rule.indexed();
                }
            }
            Some(_) => {
                let message = "a unique key has one field; for several, make them the primaryKey";
                faults.add(pointer, "unsupported_unique_key", message);
            }
        }
    }
}

/// The references to this dataset and others.
pub(super) fn references(
    own: &Ident,
    schema: &Map<String, Value>,
    columns: &[Column],
    pointer: &str,
    faults: &mut Faults,
) -> Vec<Reference> {
    let pointer = member(pointer, "foreignKeys");
    let Some(items) =
        schema.get("foreignKeys").and_then(|given| list(given, "foreignKeys", &pointer, faults))
    else {
        return Vec::new();
    };
    if items.len() > MAX_REFERENCES {
        faults.add(
            pointer,
            "too_many_values",
            format!("a dataset has at most {MAX_REFERENCES} foreign keys"),
        );
        return Vec::new();
    }
    let mut references = Vec::with_capacity(items.len());
    for (index, given) in items.iter().enumerate() {
        references.extend(reference(own, given, columns, item(&pointer, index), faults));
    }
    references
}

fn reference(
    own: &Ident,
    given: &Value,
    columns: &[Column],
    pointer: String,
    faults: &mut Faults,
) -> Option<Reference> {
    let given = object(given, "a foreign key", &pointer, faults)?;
    let here = match given.get("fields") {
        Some(fields) => places(fields, columns, "fields", &member(&pointer, "fields"), faults),
        None => {
            faults.add(pointer.as_str(), "required", "a foreign key must have fields");
            None
        }
    };
    let reference_pointer = member(&pointer, "reference");
    let Some(there) = given.get("reference") else {
        faults.add(pointer, "required", "a foreign key must have a reference, {\"resource\":…,\"fields\":…}");
        return None;
    };
    let there = object(there, "reference", &reference_pointer, faults)?;
    let dataset = match there.get("resource") {
        None => None,
        Some(Value::String(name)) if name.is_empty() || name == own.as_str() => None,
        Some(Value::String(name)) => Some(name.clone()),
        Some(_) => {
            let message = "resource must be the name of a dataset, or \"\" for this one";
            faults.add(member(&reference_pointer, "resource"), "wrong_type", message);
            return None;
        }
    };
    let fields_pointer = member(&reference_pointer, "fields");
    let names: Option<Vec<Box<str>>> = match there.get("fields") {
        Some(Value::String(name)) => Some(vec![name.as_str().into()]),
        Some(Value::Array(items)) => items.iter().map(|name| name.as_str().map(Into::into)).collect(),
        _ => None,
    };
    let Some(fields) = names else {
        let message = "fields of a reference must be the name of a field there or a list of names";
        faults.add(fields_pointer, "wrong_type", message);
        return None;
    };
    let here = here?;
    if here.is_empty() || here.len() != fields.len() {
        let message = "a foreign key must have as many fields as its reference, one at least";
        faults.add(fields_pointer, "field_count", message);
        return None;
    }
    Some(Reference { pointer, columns: here, dataset, fields })
}

/// Checks the references to this dataset itself.
pub(super) fn check_own(
    references: &[Reference],
    columns: &[Column],
    primary_key: &[usize],
    faults: &mut Faults,
) {
    for reference in references.iter().filter(|reference| reference.dataset.is_none()) {
        if let Some(fault) = reference.fits(columns, columns, primary_key) {
            faults.push(fault);
        }
    }
}

/// Keys, unique and indexed columns are of types whose values can be compared.
pub(super) fn check_comparable(
    schema: &Map<String, Value>,
    columns: &[Column],
    primary_key: &[usize],
    pointer: &str,
    faults: &mut Faults,
) {
    let fields = member(pointer, "fields");
    for (place, column) in columns.iter().enumerate().filter(|(_, column)| !is_comparable(&column.rule)) {
        let mut refuse = |pointer: String, what: &str| {
            let message =
                format!("{} cannot be {what}: its type is geopoint, object or array", shown(&column.name));
            faults.add(pointer, "not_allowed", message);
        };
        if column.unique {
            let is_stated =
                schema.get("fields").and_then(|fields| fields.get(place)?.get("constraints")?.get("unique"));
            match is_stated {
                Some(_) => refuse(format!("{fields}/{place}/constraints/unique"), "unique"),
                None => refuse(member(pointer, "uniqueKeys"), "unique"),
            }
        }
        if column.indexed {
            refuse(format!("{fields}/{place}/index"), "indexed; a geopoint always is");
        }
        if primary_key.contains(&place) {
            refuse(member(pointer, "primaryKey"), "of the primary key");
        }
    }
}
