//! The components that a document refers to.

use std::collections::HashSet;

use serde_json::{Map, Value};

/// Components that come before the service's of the same names.
pub(super) struct Own {
    pub(super) schemas: Map<String, Value>,
    pub(super) parameters: Map<String, Value>,
}

impl Own {
    fn get(&self, group: &str, name: &str) -> Option<&Value> {
        match group {
            "schemas" => self.schemas.get(name),
            "parameters" => self.parameters.get(name),
            _ => None,
        }
    }
}

/// The components that can be reached from the document, in the order they are found.
pub(super) fn components(base: &Value, own: Own, document: &Map<String, Value>) -> Value {
    let mut found = Found::default();
    document.values().for_each(|part| found.visit(part));
    // Operations name their schemes of security without a reference.
    let operations = document.get("paths").and_then(Value::as_object).into_iter().flat_map(Map::values);
    let operations = operations.filter_map(Value::as_object).flat_map(Map::values);
    let requirements = operations.filter_map(|operation| operation.get("security"));
    for requirement in requirements.chain(document.get("security")).filter_map(Value::as_array).flatten() {
        for scheme in requirement.as_object().into_iter().flat_map(Map::keys) {
            found.note("securitySchemes", scheme);
        }
    }
    let mut components = Map::new();
    while let Some((group, name)) = found.waiting.pop() {
        let component = own.get(&group, &name).or_else(|| base.get(&group)?.get(&name));
        // What the service's document lacks is missing here too.
        let Some(component) = component else { continue };
        found.visit(component);
        let members = components.entry(group).or_insert_with(|| Value::Object(Map::new()));
        if let Some(members) = members.as_object_mut() {
            members.insert(name, component.clone());
        }
    }
    components.into()
}

#[derive(Default)]
struct Found {
    seen: HashSet<(String, String)>,
    waiting: Vec<(String, String)>,
}

impl Found {
    fn visit(&mut self, value: &Value) {
        match value {
            Value::Object(members) => {
                if let Some(reference) = members.get("$ref").and_then(Value::as_str)
                    && let Some(path) = reference.strip_prefix("#/components/")
                    && let Some((group, name)) = path.split_once('/')
                {
                    self.note(group, name);
                }
                members.values().for_each(|member| self.visit(member));
            }
            Value::Array(items) => items.iter().for_each(|item| self.visit(item)),
            _ => {}
        }
    }

    fn note(&mut self, group: &str, name: &str) {
        let component = (group.to_owned(), name.to_owned());
        if self.seen.insert(component.clone()) {
            self.waiting.push(component);
        }
    }
}
