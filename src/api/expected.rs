//! Describes what a parameter must be, from its schema, for the message when it is something else.

use std::collections::HashMap;

use poem_openapi::registry::{MetaOperation, MetaParamIn, MetaSchema, MetaSchemaRef, Registry};

/// The messages by parameter. poem-openapi numbers the parameters of a path: `param0`.
#[derive(Debug, Default)]
pub(super) struct Expected(HashMap<String, String>);

impl Expected {
    /// For all parameters of the operation at `path`, whose schemas are in `registry`.
    pub(super) fn of(path: &str, operation: &MetaOperation, registry: &Registry) -> Self {
        let segments = path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}'));
        let in_path: Vec<_> = segments.collect();
        let words = operation.params.iter().map(|parameter| {
            let is = in_words(&parameter.schema, registry);
            let place = in_path.iter().position(|name| *name == parameter.name);
            match place.filter(|_| parameter.in_type == MetaParamIn::Path) {
                Some(place) => {
                    (format!("param{place}"), format!("{} in the path must be {is}", parameter.name))
                }
                None => (parameter.name.clone(), format!("{} must be {is}", parameter.name)),
            }
        });
        Self(words.collect())
    }

    /// The message for a parameter that is wrong or missing.
    pub(super) fn message(&self, name: &str) -> String {
        self.0.get(name).cloned().unwrap_or_else(|| format!("{name} cannot be read"))
    }
}

fn in_words(schema: &MetaSchemaRef, registry: &Registry) -> String {
    let schema = match schema {
        MetaSchemaRef::Inline(schema) => schema,
        MetaSchemaRef::Reference(name) => match registry.schemas.get(name) {
            Some(schema) => schema,
            None => return "of another kind".to_owned(),
        },
    };
    // A described reference is all of the reference and the description.
    if let Some(reference @ MetaSchemaRef::Reference(_)) = schema.all_of.first() {
        return in_words(reference, registry);
    }
    if !schema.enum_items.is_empty() {
        let words = schema.enum_items.iter().filter_map(|item| item.as_str());
        return format!("one of {}", words.collect::<Vec<_>>().join(", "));
    }
    let kind = match (schema.ty, schema.format) {
        ("integer", Some("uint64" | "uint32")) if schema.minimum.is_none() => {
            "a whole number that is not negative"
        }
        ("integer", _) => "a whole number",
        ("number", _) => "a number",
        ("boolean", _) => "true or false",
        ("array", _) => "a list",
        _ => "text",
    };
    format!("{kind}{}", bounds(schema))
}

fn bounds(schema: &MetaSchema) -> String {
    let (length, range) = (schema.max_length, (schema.minimum, schema.maximum));
    match (length, range) {
        (Some(most), _) => format!(" of at most {most} characters"),
        (None, (Some(least), Some(most))) => format!(" from {least} to {most}"),
        (None, (Some(least), None)) => format!(" of at least {least}"),
        (None, (None, Some(most))) => format!(" of at most {most}"),
        (None, (None, None)) => String::new(),
    }
}
