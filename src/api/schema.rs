//! Schemas of the document that are made from a dataset's columns: what is true of a file is true of JSON.

use poem_openapi::registry::{MetaSchema, MetaSchemaRef};
use serde_json::Value as Json;

use crate::datasets::{Column, Rule};

/// The schema of a column's values.
pub(crate) fn of_column(column: &'static Column, example: Option<&Json>) -> MetaSchema {
    let mut schema = match &column.rule {
        &Rule::Text { max_chars } => MetaSchema {
            min_length: Some(1),
            max_length: Some(max_chars as usize),
            ..MetaSchema::new("string")
        },
        &Rule::Code { min_chars, max_chars } => MetaSchema {
            min_length: Some(min_chars as usize),
            max_length: Some(max_chars as usize),
            // As released: a narrower one would break clients, and answers may have codes of before the rule was. Descriptions say it.
            pattern: Some("^[!-~]+$".to_owned()),
            ..MetaSchema::new("string")
        },
        #[expect(clippy::cast_precision_loss, reason = "a document's bounds are floating-point numbers")]
        &Rule::Integer { min, max } => MetaSchema {
            minimum: Some(min as f64),
            maximum: (max < i64::MAX).then_some(max as f64),
            ..MetaSchema::new_with_format("integer", "int64")
        },
        &Rule::Number { min, max } => MetaSchema {
            minimum: Some(min),
            maximum: Some(max),
            ..MetaSchema::new_with_format("number", "double")
        },
        &Rule::Verbatim { max_chars, alphanumeric } => MetaSchema {
            min_length: Some(1),
            max_length: Some(max_chars as usize),
            pattern: alphanumeric.then(|| r"[\p{L}\p{N}]".to_owned()),
            ..MetaSchema::new("string")
        },
        Rule::PastDate { .. } => {
            MetaSchema { pattern: Some(r"^\d{2}\.\d{2}\.\d{4}$".to_owned()), ..MetaSchema::new("string") }
        }
        #[expect(clippy::cast_precision_loss, reason = "a document's bounds are floating-point numbers")]
        &Rule::Integers { min, max } => {
            let item = MetaSchema {
                minimum: Some(min as f64),
                maximum: (max < i64::MAX).then_some(max as f64),
                ..MetaSchema::new_with_format("integer", "int64")
            };
            MetaSchema {
                items: Some(Box::new(MetaSchemaRef::Inline(Box::new(item)))),
                unique_items: Some(true),
                ..MetaSchema::new("array")
            }
        }
        // Those have a document of their own.
        Rule::Declared(_) => MetaSchema::ANY,
        Rule::OneOf(words) => {
            let null = (!column.required).then_some(Json::Null);
            let words = words.iter().map(|word| Json::from(&**word));
            MetaSchema { enum_items: words.chain(null).collect(), ..MetaSchema::new("string") }
        }
    };
    schema.nullable = !column.required;
    schema.description = column.description.as_deref();
    schema.example = example.cloned();
    schema
}

/// A schema of which no value is null, for answers and parameters.
pub(crate) fn not_null(mut schema: MetaSchema) -> MetaSchema {
    schema.nullable = false;
    schema.enum_items.retain(|item| !item.is_null());
    schema
}

/// A property that is read only, with its description.
pub(crate) fn property(schema: MetaSchema, description: &'static str) -> MetaSchemaRef {
    MetaSchemaRef::Inline(Box::new(MetaSchema { description: Some(description), ..schema }))
}

/// Makes `$type` an object of the document under its name; `$schema` is a function that returns its [`MetaSchema`],
/// which may refer to the schemas of the types after it.
macro_rules! object {
    ($type:ty, $name:literal, $schema:path $(, $part:ty)*) => {
        impl poem_openapi::types::Type for $type {
            const IS_REQUIRED: bool = true;
            type RawValueType = Self;
            type RawElementValueType = Self;

            fn name() -> std::borrow::Cow<'static, str> {
                $name.into()
            }

            fn schema_ref() -> poem_openapi::registry::MetaSchemaRef {
                poem_openapi::registry::MetaSchemaRef::Reference($name.to_owned())
            }

            fn register(registry: &mut poem_openapi::registry::Registry) {
                $(<$part as poem_openapi::types::Type>::register(registry);)*
                registry.create_schema::<Self, _>($name.to_owned(), |_| $schema());
            }

            fn as_raw_value(&self) -> Option<&Self> {
                Some(self)
            }

            fn raw_element_iter<'a>(&'a self) -> Box<dyn Iterator<Item = &'a Self> + 'a> {
                Box::new(std::iter::once(self))
            }
        }
    };
}
pub(crate) use object;
