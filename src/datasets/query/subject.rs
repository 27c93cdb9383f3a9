//! What a parameter can be about.

use std::sync::Arc;

use super::Family;
use crate::datasets::{Column, Dataset};

/// What a filter, a sort, a group or a measure is about.
#[derive(Debug, Clone)]
pub enum Subject {
    /// A column of the service's own.
    Service(Service),
    /// A column of the dataset, by its place.
    Column(usize),
    /// The distance from `near`.
    Distance,
    /// A column of a row that a foreign key names.
    Over(Over),
}

/// One step over a foreign key.
#[derive(Debug, Clone)]
pub struct Over {
    /// The column of the dataset that the parameter names, by its place.
    pub column: usize,
    /// Which of the schema's foreign keys.
    pub key: usize,
    /// The dataset it leads to.
    pub dataset: Arc<Dataset>,
    /// The column there, by its place.
    pub target: usize,
}

/// The columns that every declared dataset has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Service {
    /// Which row it is.
    Id,
    /// The import that brought it.
    Import,
    /// Its number in the import's file.
    Row,
    /// 1, and one more with each change.
    Version,
    /// When it came.
    CreatedAt,
    /// When it was changed last.
    UpdatedAt,
    /// When it was deleted.
    DeletedAt,
}

impl Service {
    /// All of them.
    pub const ALL: &[Self] = &[
        Self::Id,
        Self::Import,
        Self::Row,
        Self::Version,
        Self::CreatedAt,
        Self::UpdatedAt,
        Self::DeletedAt,
    ];

    /// In the API and in the table.
    pub fn name(self) -> &'static str {
        match self {
            Self::Id => "_id",
            Self::Import => "_import",
            Self::Row => "_row",
            Self::Version => "_version",
            Self::CreatedAt => "_created_at",
            Self::UpdatedAt => "_updated_at",
            Self::DeletedAt => "_deleted_at",
        }
    }

    /// What its values are.
    pub fn family(self) -> Family {
        match self {
            Self::Id => Family::Uuid,
            Self::Import | Self::Row | Self::Version => Family::Integer,
            Self::CreatedAt | Self::UpdatedAt | Self::DeletedAt => Family::DateTime,
        }
    }

    /// Whether a row may be without it.
    pub fn is_nullable(self) -> bool {
        matches!(self, Self::Import | Self::Row | Self::DeletedAt)
    }
}

impl Subject {
    /// The column of that key, or the service's column of that name.
    pub fn named(dataset: &Dataset, name: &str) -> Option<Self> {
        if name.starts_with('_') {
            return Service::ALL.iter().find(|service| service.name() == name).copied().map(Self::Service);
        }
        dataset.schema.keyed(name).map(|(place, _)| Self::Column(place))
    }

    /// The dataset's column that it is.
    pub fn column<'d>(&'d self, dataset: &'d Dataset) -> Option<&'d Column> {
        match self {
            Self::Column(place) => dataset.schema.columns.get(*place),
            Self::Over(over) => over.dataset.schema.columns.get(over.target),
            Self::Service(_) | Self::Distance => None,
        }
    }

    /// What its values are.
    pub fn family(&self, dataset: &Dataset) -> Family {
        match self {
            Self::Service(service) => service.family(),
            Self::Distance => Family::Number { float: true },
            Self::Column(_) | Self::Over(_) => self.column(dataset).map_or(Family::Json, Family::of),
        }
    }

    /// As parameters write it.
    pub fn name<'d>(&'d self, dataset: &'d Dataset) -> &'d str {
        match self {
            Self::Service(service) => service.name(),
            Self::Distance => "_distance_m",
            Self::Column(_) | Self::Over(_) => self.column(dataset).map_or("", |column| column.key.as_str()),
        }
    }
}
