//! The datasets that there are.

use std::sync::Arc;

use sqlx::FromRow;

use super::{Db, DbError};
use crate::datasets::{BUILT_IN, Dataset};

/// The dataset of an import, in the version that the import began with.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Pinned {
    /// Its name.
    pub dataset: String,
    /// The catalogue's number of it; none of a built-in one.
    pub dataset_id: Option<i32>,
    /// Its version; none of a built-in one.
    pub dataset_version: Option<i32>,
}

/// The dataset of that name, in its version of now.
pub async fn by_name(_db: &Db, name: &str) -> Result<Option<Arc<Dataset>>, DbError> {
    Ok(built_in(name))
}

/// The dataset of an import. `None`: it is gone, or this version of Tarmac does not know it.
pub async fn pinned(_db: &Db, pinned: &Pinned) -> Result<Option<Arc<Dataset>>, DbError> {
    Ok(built_in(&pinned.dataset))
}

/// The built-in dataset of that name.
pub fn built_in(name: &str) -> Option<Arc<Dataset>> {
    BUILT_IN.iter().find(|dataset| dataset.name.as_str() == name).cloned()
}
