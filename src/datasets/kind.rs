//! Kinds of values, and their rules in words.

/// The field of OpenFlights' files that stands for null.
pub(super) const NULL: &str = r"\N";

/// What the values of a column may be.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Kind {
    /// Free text of 1 to `max_chars` characters as OpenFlights writes it: `\'` is read as `'`, and `\N` stands for null, so that no text
    /// is `\N`.
    Text {
        /// Characters, not bytes.
        max_chars: usize,
    },
    /// Capital letters and digits, `min_chars` to `max_chars` of them.
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
    /// Free text of 1 to `max_chars` characters, kept as it is.
    Verbatim {
        /// Characters, not bytes.
        max_chars: usize,
        /// Whether one of them must be a letter or a digit, of any script.
        alphanumeric: bool,
    },
    /// A day before today, as `DD.MM.YYYY`.
    PastDate,
    /// Whole numbers; in a file with `;` between them, and the empty field is the empty list.
    Integers {
        /// Least value.
        min: i64,
        /// Greatest value.
        max: i64,
    },
}

impl Kind {
    /// Whether its values are texts.
    pub(crate) fn is_text(self) -> bool {
        matches!(self, Kind::Text { .. } | Kind::Code { .. } | Kind::OneOf(_) | Kind::Verbatim { .. })
    }

    /// The rule in words.
    pub(super) fn rule(self) -> String {
        match self {
            Kind::Text { max_chars } => format!("text of 1 to {max_chars} characters"),
            Kind::Code { min_chars, max_chars } if min_chars == max_chars => {
                format!("{min_chars} capital letters or digits")
            }
            Kind::Code { min_chars, max_chars } => {
                format!("{min_chars} to {max_chars} capital letters or digits")
            }
            Kind::Integer { min, max: i64::MAX } => format!("a whole number, at least {min}"),
            Kind::Integer { min, max } => format!("a whole number from {min} to {max}"),
            Kind::Number { min, max } => format!("a number from {min} to {max}"),
            Kind::OneOf(words) => format!("one of {}", words.join(", ")),
            Kind::Verbatim { max_chars, alphanumeric: false } => {
                format!("text of 1 to {max_chars} characters")
            }
            Kind::Verbatim { max_chars, alphanumeric: true } => {
                format!("text of 1 to {max_chars} characters, at least one of them a letter or digit")
            }
            Kind::PastDate => "a date that exists, as DD.MM.YYYY, before today (UTC)".to_owned(),
            Kind::Integers { min, max: i64::MAX } => {
                format!("a list of different whole numbers, each at least {min}")
            }
            Kind::Integers { min, max } => {
                format!("a list of different whole numbers, each from {min} to {max}")
            }
        }
    }
}
