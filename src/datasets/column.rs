//! A column's rule, and the two ways a value reaches it: as a CSV field or as JSON. Both end in one check.

use std::borrow::Cow;

use serde_json::Value as Json;

/// One column of a dataset.
#[derive(Debug)]
pub struct Column {
    /// As in the file's header, in JSON and in the table.
    pub name: &'static str,
    /// What a value of it may be.
    pub kind: Kind,
    /// Whether null is refused.
    pub required: bool,
    /// One sentence for people: meaning and unit.
    pub description: &'static str,
}

/// What the values of a column may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Free text of 1 to `max_chars` characters, kept as it is but for `\'`, which is read as `'`.
    Text {
        /// Characters, not bytes.
        max_chars: usize,
    },
    /// Printable ASCII without spaces, `min_chars` to `max_chars` characters.
    Code {
        /// Fewest characters.
        min_chars: usize,
        /// Most characters.
        max_chars: usize,
    },
    /// A whole number.
    Integer {
        /// Least value.
        min: i64,
        /// Greatest value.
        max: i64,
    },
    /// A finite number.
    Number {
        /// Least value.
        min: f64,
        /// Greatest value.
        max: f64,
    },
    /// One of a few words.
    OneOf(&'static [&'static str]),
}

/// A checked value.
#[derive(Debug, Clone, PartialEq)]
pub enum Value<'a> {
    /// Nothing.
    Null,
    /// Text.
    Text(Cow<'a, str>),
    /// A whole number.
    Integer(i64),
    /// A finite number.
    Number(f64),
}

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Stable and for machines: `out_of_range`.
    pub code: &'static str,
    /// For people; names the column and the rule.
    pub message: String,
}

impl Fault {
    /// A fault with its message.
    pub fn new(code: &'static str, message: String) -> Self {
        Self { code, message }
    }
}

impl Column {
    /// Checks a CSV field. `null` is the field that stands for null beside the empty one.
    pub fn parse<'a>(&self, field: &'a str, null: &str) -> Result<Value<'a>, Fault> {
        if field.is_empty() || field == null {
            return self.null();
        }
        let value = match self.kind {
            Kind::Text { .. } if field.contains(r"\'") => Value::Text(Cow::Owned(field.replace(r"\'", "'"))),
            Kind::Text { .. } | Kind::Code { .. } | Kind::OneOf(_) => Value::Text(Cow::Borrowed(field)),
            Kind::Integer { .. } => Value::Integer(self.integer(field)?),
            Kind::Number { .. } => Value::Number(field.parse().map_err(|_| self.not_a_number())?),
        };
        self.check(&value)?;
        Ok(value)
    }

    /// Checks a JSON value. A number is never taken from a string, nor a string from a number.
    pub fn parse_json<'a>(&self, json: &'a Json) -> Result<Value<'a>, Fault> {
        let value = match (self.kind, json) {
            (_, Json::Null) => return self.null(),
            (Kind::Text { .. } | Kind::Code { .. } | Kind::OneOf(_), Json::String(text)) => {
                Value::Text(Cow::Borrowed(text))
            }
            (Kind::Integer { .. }, Json::Number(number)) => {
                Value::Integer(number.as_i64().ok_or_else(|| self.not_an_integer())?)
            }
            (Kind::Number { .. }, Json::Number(number)) => {
                Value::Number(number.as_f64().ok_or_else(|| self.not_a_number())?)
            }
            (Kind::Text { .. } | Kind::Code { .. } | Kind::OneOf(_), _) => {
                return Err(Fault::new("not_text", format!("{} must be a string", self.name)));
            }
            (Kind::Integer { .. }, _) => return Err(self.not_an_integer()),
            (Kind::Number { .. }, _) => return Err(self.not_a_number()),
        };
        self.check(&value)?;
        Ok(value)
    }

    /// The rule in words, as the import contract states it.
    pub fn rule(&self) -> String {
        let rule = match self.kind {
            Kind::Text { max_chars } => format!("text of 1 to {max_chars} characters"),
            Kind::Code { min_chars, max_chars } if min_chars == max_chars => {
                format!("exactly {min_chars} printable ASCII characters")
            }
            Kind::Code { min_chars, max_chars } => {
                format!("{min_chars} to {max_chars} printable ASCII characters")
            }
            Kind::Integer { min, max: i64::MAX } => format!("a whole number, at least {min}"),
            Kind::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Kind::Number { min, max } => format!("a number from {min} to {max}"),
            Kind::OneOf(words) => format!("one of {}", words.join(", ")),
        };
        if self.required { rule } else { rule + ", or null" }
    }

    fn null<'a>(&self) -> Result<Value<'a>, Fault> {
        if self.required {
            Err(Fault::new("required", format!("{} is required", self.name)))
        } else {
            Ok(Value::Null)
        }
    }

    fn check(&self, value: &Value<'_>) -> Result<(), Fault> {
        match (self.kind, value) {
            (Kind::Text { max_chars }, Value::Text(text)) => {
                // PostgreSQL's text cannot hold it.
                if text.contains('\0') {
                    return Err(Fault::new("nul_character", format!("{} holds a NUL character", self.name)));
                }
                // Bytes bound characters from above: counting is only needed for what might be too long.
                if text.is_empty() || (text.len() > max_chars && text.chars().count() > max_chars) {
                    return Err(self.broken("length"));
                }
                Ok(())
            }
            (Kind::Code { min_chars, max_chars }, Value::Text(text)) => {
                if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
                    Err(self.broken("not_printable"))
                } else if text.len() < min_chars || text.len() > max_chars {
                    Err(self.broken("length"))
                } else {
                    Ok(())
                }
            }
            (Kind::OneOf(words), Value::Text(text)) => {
                if words.contains(&text.as_ref()) {
                    Ok(())
                } else {
                    Err(self.broken("not_allowed"))
                }
            }
            (Kind::Integer { min, max }, Value::Integer(number)) => {
                if (min..=max).contains(number) {
                    Ok(())
                } else {
                    Err(self.broken("out_of_range"))
                }
            }
            (Kind::Number { min, max }, Value::Number(number)) => {
                if !number.is_finite() {
                    Err(self.not_a_number())
                } else if (min..=max).contains(number) {
                    Ok(())
                } else {
                    Err(self.broken("out_of_range"))
                }
            }
            _ => Ok(()),
        }
    }

    fn integer(&self, field: &str) -> Result<i64, Fault> {
        field.parse().map_err(|error: std::num::ParseIntError| {
            use std::num::IntErrorKind::{NegOverflow, PosOverflow};
            match error.kind() {
                PosOverflow | NegOverflow => self.broken("out_of_range"),
                _ => self.not_an_integer(),
            }
        })
    }

    fn broken(&self, code: &'static str) -> Fault {
        Fault::new(code, format!("{} must be {}", self.name, self.rule()))
    }

    fn not_an_integer(&self) -> Fault {
        self.broken("not_an_integer")
    }

    fn not_a_number(&self) -> Fault {
        self.broken("not_a_number")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LATITUDE: Column = Column {
        name: "latitude",
        kind: Kind::Number { min: -90.0, max: 90.0 },
        required: true,
        description: "",
    };
    const ALTITUDE: Column = Column {
        name: "altitude",
        kind: Kind::Integer { min: -2_000, max: 30_000 },
        required: false,
        description: "",
    };
    const CITY: Column =
        Column { name: "city", kind: Kind::Text { max_chars: 3 }, required: false, description: "" };

    fn code(result: Result<Value<'_>, Fault>) -> &'static str {
        result.expect_err("the value breaks a rule").code
    }

    #[test]
    fn a_number_is_finite_and_in_range() {
        assert_eq!(LATITUDE.parse("-6.5", r"\N"), Ok(Value::Number(-6.5)));
        for (field, expected) in [
            ("91", "out_of_range"),
            ("NaN", "not_a_number"),
            ("inf", "not_a_number"),
            (" 1", "not_a_number"),
            (r"\N", "required"),
            ("", "required"),
        ] {
            assert_eq!(code(LATITUDE.parse(field, r"\N")), expected, "{field:?}");
        }
    }

    #[test]
    fn an_integer_is_whole() {
        assert_eq!(ALTITUDE.parse("-1266", r"\N"), Ok(Value::Integer(-1266)));
        assert_eq!(ALTITUDE.parse(r"\N", r"\N"), Ok(Value::Null));
        assert_eq!(code(ALTITUDE.parse("abc", r"\N")), "not_an_integer");
        assert_eq!(code(ALTITUDE.parse("1.0", r"\N")), "not_an_integer");
        assert_eq!(code(ALTITUDE.parse("99999999999999999999", r"\N")), "out_of_range");
        assert_eq!(code(ALTITUDE.parse_json(&serde_json::json!("5"))), "not_an_integer");
        assert_eq!(code(ALTITUDE.parse_json(&serde_json::json!(5.0))), "not_an_integer");
    }

    #[test]
    fn text_is_measured_in_characters_and_unescaped() {
        assert_eq!(CITY.parse("äöü", r"\N"), Ok(Value::Text(Cow::Borrowed("äöü"))));
        assert_eq!(CITY.parse(r"a\'b", r"\N"), Ok(Value::Text(Cow::Borrowed("a'b"))));
        assert_eq!(code(CITY.parse("abcd", r"\N")), "length");
        assert_eq!(code(CITY.parse("a\0", r"\N")), "nul_character");
        assert_eq!(code(CITY.parse_json(&serde_json::json!(""))), "length");
        assert_eq!(code(CITY.parse_json(&serde_json::json!(7))), "not_text");
    }
}
