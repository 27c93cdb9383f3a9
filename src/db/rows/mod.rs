//! Rows of declared datasets.

use crate::datasets::Dataset;

/// A query in parentheses: the rows of the dataset that readers see.
pub fn visible(dataset: &Dataset) -> String {
    format!("(select * from {} where _deleted_at is null)", dataset.table())
}
