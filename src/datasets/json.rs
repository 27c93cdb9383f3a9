//! JSON as it is read for the columns of a dataset: value by value, whatever its type, and never all of it in memory.

use std::{borrow::Cow, fmt};

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

/// The text without a byte order mark, which RFC 8259, section 8.1, lets parsers ignore.
pub fn without_bom(text: &[u8]) -> &[u8] {
    text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text)
}

/// A value as far as a column can take one: what is inside an array or an object is left out.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "JSON's own words")]
pub enum Json<'a> {
    Null,
    Bool(bool),
    Integer(i64),
    /// With a fraction or an exponent, or beyond 64 bits.
    Number(f64),
    Text(Cow<'a, str>),
    Array,
    Object,
}

impl<'a> From<&'a serde_json::Value> for Json<'a> {
    fn from(json: &'a serde_json::Value) -> Self {
        use serde_json::Value;
        match json {
            Value::Null => Self::Null,
            Value::Bool(value) => Self::Bool(*value),
            // Every number of serde_json's is one of the two.
            Value::Number(number) => number
                .as_i64()
                .map_or_else(|| Self::Number(number.as_f64().unwrap_or(f64::INFINITY)), Self::Integer),
            Value::String(text) => Self::Text(Cow::Borrowed(text)),
            Value::Array(_) => Self::Array,
            Value::Object(_) => Self::Object,
        }
    }
}

/// Takes one value of any type. An array or object that is not expected is skipped, however deep it is.
pub(super) trait Take<'de>: Sized {
    /// What becomes of it.
    type Taken;

    /// Takes a value, or notes that it is an array or object.
    fn value(self, json: Json<'de>) -> Self::Taken;

    /// Takes an array.
    fn array<A: SeqAccess<'de>>(self, mut items: A) -> Result<Self::Taken, A::Error> {
        while items.next_element::<IgnoredAny>()?.is_some() {}
        Ok(self.value(Json::Array))
    }

    /// Takes an object.
    fn object<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Taken, A::Error> {
        while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(self.value(Json::Object))
    }
}

/// Serde's face of a [`Take`].
pub(super) struct Any<T>(pub(super) T);

impl<'de, T: Take<'de>> DeserializeSeed<'de> for Any<T> {
    type Value = T::Taken;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T::Taken, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Take<'de>> Visitor<'de> for Any<T> {
    type Value = T::Taken;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<T::Taken, E> {
        Ok(self.0.value(Json::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<T::Taken, E> {
        Ok(self.0.value(Json::Bool(value)))
    }

    fn visit_i64<E>(self, number: i64) -> Result<T::Taken, E> {
        Ok(self.0.value(Json::Integer(number)))
    }

    fn visit_u64<E>(self, number: u64) -> Result<T::Taken, E> {
        let json = i64::try_from(number).map_or(Json::Number(number as f64), Json::Integer);
        Ok(self.0.value(json))
    }

    fn visit_f64<E>(self, number: f64) -> Result<T::Taken, E> {
        Ok(self.0.value(Json::Number(number)))
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<T::Taken, E> {
        Ok(self.0.value(Json::Text(Cow::Borrowed(text))))
    }

    fn visit_str<E>(self, text: &str) -> Result<T::Taken, E> {
        Ok(self.0.value(Json::Text(Cow::Owned(text.to_owned()))))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, items: A) -> Result<T::Taken, A::Error> {
        self.0.array(items)
    }

    fn visit_map<A: MapAccess<'de>>(self, members: A) -> Result<T::Taken, A::Error> {
        self.0.object(members)
    }
}

/// The value itself.
pub(super) struct Itself;

impl<'de> Take<'de> for Itself {
    type Taken = Json<'de>;

    fn value(self, json: Json<'de>) -> Json<'de> {
        json
    }
}
