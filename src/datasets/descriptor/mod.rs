//! Declarations of datasets: Data Resources with a Table Schema. [`read`] checks what a user sent and fills defaults in;
//! [`Descriptor::compile`] makes the [`Dataset`] of it. The catalogue keeps the canonical text, which reads as itself again.

mod built_in;
mod dialect;
mod fault;
mod fields;
mod keys;
mod point;
mod relations;
mod resource;
mod rule;
mod strict;
#[cfg(test)]
mod tests;
mod views;

use std::sync::Arc;

use serde_json::{Map, Value};

pub use self::{
    fault::{DescriptorFault, MAX_FAULTS},
    keys::{RESERVED_KEYS, RESERVED_NAMES, folded, is_folded, is_reserved, trimmed},
    relations::{Reference, is_key},
    views::{json_schema, table_schema, table_schema_of},
};
pub(in crate::datasets) use built_in::{Declaration, built_in};
use fault::Faults;

use super::{Column, Dataset, FieldsMatch, FileDialect, Ident, Point, Schema, Storage};

/// How much a declaration may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Most bytes of the body.
    pub bytes: usize,
    /// Most fields.
    pub fields: usize,
    /// Most values of an `enum`.
    pub enum_values: usize,
    /// Most fields with `index`.
    pub indexes: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { bytes: 256 * 1024, fields: 256, enum_values: 1_000, indexes: 10 }
    }
}

impl Limits {
    /// For what was declared already, under whatever limits there were.
    const NONE: Self =
        Self { bytes: usize::MAX, fields: usize::MAX, enum_values: usize::MAX, indexes: usize::MAX };
}

/// A declaration without faults.
#[derive(Debug, Clone)]
pub struct Descriptor {
    name: Ident,
    schema_pointer: &'static str,
    canonical: Arc<Value>,
    title: Option<Box<str>>,
    description: Option<Box<str>>,
    private: bool,
    dialect: FileDialect,
    columns: Vec<Column>,
    primary_key: Vec<usize>,
    references: Vec<Reference>,
    fields_match: FieldsMatch,
    point: Option<Point>,
}

/// Two descriptors are the same when they declare the same, whatever the order of members.
impl PartialEq for Descriptor {
    fn eq(&self, other: &Self) -> bool {
        self.canonical == other.canonical
    }
}

/// Reads what a user declares as dataset `name`: a Data Resource, or a bare Table Schema. All faults at once, but at most
/// [`MAX_FAULTS`].
pub fn read(name: &Ident, body: &[u8], limits: &Limits) -> Result<Descriptor, Vec<DescriptorFault>> {
    let mut faults = Faults::default();
    if body.len() > limits.bytes {
        let message = format!("a declaration has at most {} bytes", limits.bytes);
        faults.add("", "too_long", message);
        return Err(faults.into_vec());
    }
    let Some(json) = strict::read(body, &mut faults) else { return Err(faults.into_vec()) };
    let descriptor = resource::read(name, json, limits, &mut faults);
    match descriptor {
        Some(descriptor) if faults.is_empty() => Ok(descriptor),
        _ => Err(faults.into_vec()),
    }
}

/// Reads a descriptor as the catalogue keeps it, whatever the limits are by now.
pub fn stored(name: &Ident, text: &str) -> Result<Descriptor, Vec<DescriptorFault>> {
    read(name, text.as_bytes(), &Limits::NONE)
}

impl Descriptor {
    /// The dataset's name.
    pub fn name(&self) -> &Ident {
        &self.name
    }

    /// The declaration as a Data Resource, with defaults filled in.
    pub fn canonical(&self) -> &Value {
        &self.canonical
    }

    /// What the catalogue keeps: [`Descriptor::canonical`] as text.
    pub fn text(&self) -> String {
        self.canonical.to_string()
    }

    /// The columns, in the order of the fields.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// What must exist in other datasets, or in this one. Those of other datasets are to be checked by [`Reference::check`].
    pub fn references(&self) -> &[Reference] {
        &self.references
    }

    /// The dataset as the catalogue numbers it. Names in references to other datasets are taken for keys there as they would be derived.
    pub fn compile(&self, id: Option<i32>, version: i32) -> Dataset {
        self.compile_with(id, version, |_, _| None)
    }

    /// The dataset as the catalogue numbers it. `key_of` tells the key of another dataset's column by the dataset's name and the
    /// column's.
    pub fn compile_with(
        &self,
        id: Option<i32>,
        version: i32,
        key_of: impl Fn(&str, &str) -> Option<Ident>,
    ) -> Dataset {
        let foreign_keys =
            self.references.iter().map(|reference| reference.compile(&self.columns, &key_of)).collect();
        Dataset {
            id,
            name: self.name.clone(),
            version,
            title: self.title.clone(),
            description: self.description.clone(),
            private: self.private,
            dialect: self.dialect.clone(),
            schema: Schema {
                columns: self.columns.clone(),
                primary_key: self.primary_key.clone(),
                foreign_keys,
                fields_match: self.fields_match,
                point: self.point.clone(),
            },
            descriptor: Arc::clone(&self.canonical),
            storage: Storage::Declared,
        }
    }

    /// Where the schema is in the declaration as it was sent: a bare one is all of it.
    pub(super) fn schema_pointer(&self) -> &'static str {
        self.schema_pointer
    }

    /// The field of a column, with defaults filled in.
    pub(super) fn field(&self, place: usize) -> Option<&Map<String, Value>> {
        self.canonical.get("schema")?.get("fields")?.get(place)?.as_object()
    }
}

/// The member as an object; anything else is a fault.
fn object<'a>(
    value: &'a Value,
    what: &str,
    pointer: &str,
    faults: &mut Faults,
) -> Option<&'a Map<String, Value>> {
    let object = value.as_object();
    if object.is_none() {
        faults.add(pointer, "wrong_type", format!("{what} must be an object"));
    }
    object
}

/// The member as a list; anything else is a fault.
fn list<'a>(value: &'a Value, what: &str, pointer: &str, faults: &mut Faults) -> Option<&'a Vec<Value>> {
    let list = value.as_array();
    if list.is_none() {
        faults.add(pointer, "wrong_type", format!("{what} must be a list"));
    }
    list
}

/// The member as text of at most so many characters; `None`: it is not there, or a fault.
fn text<'a>(
    object: &'a Map<String, Value>,
    name: &str,
    max_chars: usize,
    pointer: &str,
    faults: &mut Faults,
) -> Option<&'a str> {
    let value = object.get(name)?;
    let Some(text) = value.as_str() else {
        faults.add(fault::member(pointer, name), "wrong_type", format!("{name} must be a string"));
        return None;
    };
    if text.len() > max_chars && text.chars().count() > max_chars {
        let message = format!("{name} must have at most {max_chars} characters");
        faults.add(fault::member(pointer, name), "length", message);
        return None;
    }
    Some(text)
}

/// The member as true or false; false where it is not there, or a fault.
fn flag(object: &Map<String, Value>, name: &str, pointer: &str, faults: &mut Faults) -> bool {
    match object.get(name) {
        None => false,
        Some(Value::Bool(flag)) => *flag,
        Some(_) => {
            faults.add(fault::member(pointer, name), "wrong_type", format!("{name} must be true or false"));
            false
        }
    }
}
