//! Names in SQL.

use std::fmt;

/// Longest name of a column, in bytes: PostgreSQL's limit is 63, and the service's own names are made of columns' names.
pub(super) const MAX_BYTES: usize = 48;

/// Longest name of a dataset, in bytes: the names of its indexes are longer.
const MAX_DATASET_BYTES: usize = 40;

/// A name as it is written into SQL: checked when it is made, quoted when it is written. Nothing else carries a name that a user chose
/// into a statement.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ident(Box<str>);

impl Ident {
    /// A name that users may choose: `^[a-z][a-z0-9_]{0,47}$` without `__`, which the service keeps for names that it makes of others.
    pub fn new(name: &str) -> Option<Self> {
        let mut bytes = name.bytes();
        let is_name = bytes.next().is_some_and(|byte| byte.is_ascii_lowercase())
            && bytes.all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
            && name.len() <= MAX_BYTES
            && !name.contains("__");
        is_name.then(|| Self(name.into()))
    }

    /// A dataset's name: as [`Ident::new`] has it, but at most [`MAX_DATASET_BYTES`].
    pub fn dataset(name: &str) -> Option<Self> {
        if name.len() > MAX_DATASET_BYTES { None } else { Self::new(name) }
    }

    /// A name that the service chose, which may begin with `_`.
    pub(crate) fn own(name: &'static str) -> Self {
        Self(name.into())
    }

    /// The name as users write it, without quotes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// Quoted.
impl fmt::Display for Ident {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "\"{}\"", self.0)
    }
}
