//! What a dataset is made of: its columns, and what they say together.

use super::{
    Column, Ident,
    descriptor::{folded, is_folded},
};

/// The columns of a dataset with what is said of several of them.
#[derive(Debug, Clone, Default)]
pub struct Schema {
    /// In the order of a file without header.
    pub columns: Vec<Column>,
    /// The columns that together say which row a row is; by their places.
    pub primary_key: Vec<usize>,
    /// What must exist in another dataset.
    pub foreign_keys: Vec<ForeignKey>,
    /// Which columns a file may have.
    pub fields_match: FieldsMatch,
    /// Where a row is.
    pub point: Option<Point>,
}

/// Columns whose values must be those of a row of another dataset.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignKey {
    /// The columns, by their places.
    pub columns: Vec<usize>,
    /// Name of the other dataset; `None`: this one.
    pub dataset: Option<String>,
    /// Keys of the columns there, each for the one at its place.
    pub target: Vec<Ident>,
    /// Their names there.
    pub names: Vec<Box<str>>,
}

/// Which columns a file may have, as Frictionless' `fieldsMatch` says it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum FieldsMatch {
    /// All, in the order of the schema.
    Exact,
    /// All, in any order.
    Equal,
    /// All, and others, which are left out.
    Subset,
    /// Those that are required at least, and no others.
    #[default]
    Superset,
    /// Any of them, and others, which are left out.
    Partial,
}

/// Where a row is, in degrees of WGS 84.
#[derive(Debug, Clone, PartialEq)]
pub struct Point {
    /// The columns that say it.
    pub place: Place,
    /// West, south, east and north of what is allowed.
    pub bounds: Option<[f64; 4]>,
}

/// The columns that say where a row is, by their places.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// One column has both.
    Column(usize),
    /// Two columns, both or neither null.
    Columns {
        /// East positive.
        longitude: usize,
        /// North positive.
        latitude: usize,
    },
}

impl FieldsMatch {
    /// As Frictionless names it.
    pub fn named(name: &str) -> Option<Self> {
        [Self::Exact, Self::Equal, Self::Subset, Self::Superset, Self::Partial]
            .into_iter()
            .find(|fields_match| fields_match.as_str() == name)
    }

    /// Frictionless' name of it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Equal => "equal",
            Self::Subset => "subset",
            Self::Superset => "superset",
            Self::Partial => "partial",
        }
    }
}

impl Schema {
    /// The column of that name, key or alias, whatever its case and the blanks at its edges, with its place.
    pub fn named(&self, name: &str) -> Option<(usize, &Column)> {
        let name = folded(name);
        let is = |other: &str| is_folded(other, &name);
        self.columns.iter().enumerate().find(|(_, column)| {
            is(&column.name) || is(column.key.as_str()) || column.aliases.iter().any(|alias| is(alias))
        })
    }

    /// The column of that key, with its place.
    pub fn keyed(&self, key: &str) -> Option<(usize, &Column)> {
        self.columns.iter().enumerate().find(|(_, column)| column.key.as_str() == key)
    }
}
