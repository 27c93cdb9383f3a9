//! JSON as a declaration needs it: a member that is given twice and a NUL character are faults, with their place.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Number, Value};

use super::fault::{Faults, escape, shown};
use crate::datasets::json::without_bom;

/// Reads all of the text. `None`: it is not JSON, which is among the faults then. More than 127 levels are not JSON to this parser.
pub(super) fn read(body: &[u8], faults: &mut Faults) -> Option<Value> {
    let mut parser = serde_json::Deserializer::from_slice(without_bom(body));
    let mut reader = Reader { path: Vec::new(), faults };
    let read = Node(&mut reader).deserialize(&mut parser).and_then(|value| parser.end().map(|()| value));
    match read {
        Ok(value) => Some(value),
        Err(error) => {
            faults.add("", "malformed_json", format!("the body must be JSON in UTF-8: {error}"));
            None
        }
    }
}

enum Step {
    Member(String),
    Item(usize),
}

struct Reader<'f> {
    /// Where the parser is; written as a pointer only for a fault, since it can be long.
    path: Vec<Step>,
    faults: &'f mut Faults,
}

impl Reader<'_> {
    fn fault(&mut self, code: &'static str, message: String) {
        if self.faults.is_full() {
            return;
        }
        let mut pointer = String::new();
        for step in &self.path {
            pointer.push('/');
            match step {
                Step::Member(name) => escape(&mut pointer, name),
                Step::Item(index) => pointer.push_str(&index.to_string()),
            }
        }
        self.faults.add(pointer, code, message);
    }

    fn text(&mut self, text: &str) {
        if text.contains('\0') {
            let message = "must not hold the NUL character, which the database cannot store".to_owned();
            self.fault("nul_character", message);
        }
    }
}

struct Node<'r, 'f>(&'r mut Reader<'f>);

impl<'de> DeserializeSeed<'de> for Node<'_, '_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_, '_> {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, number: i64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_u64<E>(self, number: u64) -> Result<Value, E> {
        Ok(number.into())
    }

    fn visit_f64<E>(self, number: f64) -> Result<Value, E> {
        Ok(Number::from_f64(number).map_or(Value::Null, Value::Number))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        self.0.text(text);
        Ok(Value::String(text.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut values = Vec::new();
        loop {
            self.0.path.push(Step::Item(values.len()));
            let item = items.next_element_seed(Node(self.0))?;
            self.0.path.pop();
            match item {
                Some(value) => values.push(value),
                None => return Ok(Value::Array(values)),
            }
        }
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut map = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            self.0.path.push(Step::Member(name.clone()));
            self.0.text(&name);
            if map.contains_key(&name) {
                self.0.fault("duplicate_field", format!("{} is given twice in one object", shown(&name)));
            }
            let value = members.next_value_seed(Node(self.0))?;
            self.0.path.pop();
            map.insert(name, value);
        }
        Ok(Value::Object(map))
    }
}
