//! A descriptor as others want it: as a bare Table Schema, and as a JSON Schema of a row.
use super::Descriptor;
use crate::datasets::Dataset;
use serde_json::Value;
pub fn table_schema(descriptor: &Descriptor) -> Value {
    descriptor.canonical().get("schema").cloned().unwrap_or_default()
}
pub fn json_schema(_: &Dataset) -> Value {
    Value::Null
}
