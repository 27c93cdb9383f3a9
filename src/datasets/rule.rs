//! What values may be, and the rules in words.

use std::sync::Arc;

use chrono::NaiveDate;

use super::declared::Declared;

/// The field of OpenFlights' files that stands for null.
pub(super) const NULL: &str = r"\N";

/// What the values of a column may be.
#[derive(Debug, Clone, PartialEq)]
pub enum Rule {
    /// Free text of 1 to `max_chars` characters as OpenFlights writes it: `\'` is read as `'`, and `\N` stands for null, so that no text
    /// is `\N`.
    Text {
        /// Characters, not bytes.
        max_chars: u32,
    },
    /// Capital letters and digits, `min_chars` to `max_chars` of them.
    Code {
        /// Fewest characters.
        min_chars: u32,
        /// Most characters.
        max_chars: u32,
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
    OneOf(Arc<[Box<str>]>),
    /// Free text of 1 to `max_chars` characters, kept as it is.
    Verbatim {
        /// Characters, not bytes.
        max_chars: u32,
        /// Whether one of them must be a letter or a digit, of any script.
        alphanumeric: bool,
    },
    /// A day before another one, as `DD.MM.YYYY`.
    PastDate {
        /// The day that is too late: [`Rule::on`] sets today.
        before: NaiveDate,
    },
    /// Whole numbers; in a file with `;` between them, and the empty field is the empty list.
    Integers {
        /// Least value.
        min: i64,
        /// Greatest value.
        max: i64,
    },
    /// What a user declared.
    Declared(Arc<Declared>),
}

impl Rule {
    /// One of these words.
    pub(super) fn one_of(words: &[&str]) -> Self {
        Self::OneOf(words.iter().map(|&word| word.into()).collect())
    }

    /// The rule as it is on that day.
    pub fn on(&self, today: NaiveDate) -> Self {
        match self {
            Self::PastDate { .. } => Self::PastDate { before: today },
            other => other.clone(),
        }
    }

    /// PostgreSQL's type of the values.
    pub fn sql_type(&self) -> &'static str {
        match self {
            Self::Text { .. } | Self::Code { .. } | Self::OneOf(_) | Self::Verbatim { .. } => "text",
            Self::Integer { .. } => "bigint",
            Self::Number { .. } => "double precision",
            Self::PastDate { .. } => "date",
            Self::Integers { .. } => "bigint[]",
            Self::Declared(declared) => declared.sql_type(),
        }
    }

    /// Whether its values are texts.
    pub(crate) fn is_text(&self) -> bool {
        self.sql_type() == "text"
    }

    /// The rule in words.
    pub(super) fn words(&self) -> String {
        match self {
            Rule::Text { max_chars } => format!("text of 1 to {max_chars} characters"),
            Rule::Code { min_chars, max_chars } if min_chars == max_chars => {
                format!("{min_chars} capital letters or digits")
            }
            Rule::Code { min_chars, max_chars } => {
                format!("{min_chars} to {max_chars} capital letters or digits")
            }
            Rule::Integer { min, max: i64::MAX } => format!("a whole number, at least {min}"),
            Rule::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Rule::Number { min, max } => format!("a number from {min} to {max}"),
            Rule::OneOf(words) => format!("one of {}", words.join(", ")),
            Rule::Verbatim { max_chars, alphanumeric: false } => {
                format!("text of 1 to {max_chars} characters")
            }
            Rule::Verbatim { max_chars, alphanumeric: true } => {
                format!("text of 1 to {max_chars} characters, at least one of them a letter or digit")
            }
            Rule::PastDate { .. } => "a date that exists, as DD.MM.YYYY, before today (UTC)".to_owned(),
            Rule::Integers { min, max: i64::MAX } => {
                format!("a list of different whole numbers, each at least {min}")
            }
            Rule::Integers { min, max } => {
                format!("a list of different whole numbers, each from {min} to {max}")
            }
            Rule::Declared(declared) => declared.words(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rule_is_small() {
        assert!(size_of::<Rule>() <= 32);
    }
}
