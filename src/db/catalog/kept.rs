//! The versions of datasets that a process keeps: what a version is made of never changes.

use std::sync::Arc;

use moka::sync::Cache;

use crate::datasets::{Dataset, Rule};

/// What the versions that are kept weigh together. A column weighs 1, and takes about 2.5 kB with its part of the descriptor.
const MAX_WEIGHT: u64 = 8_192;
/// What a pattern weighs beside its column: compiled it may take 256 KiB.
const PATTERN_WEIGHT: u32 = 100;

/// Versions by the catalogue's number of the dataset and that of the version.
pub(crate) type Versions = Cache<(i32, i32), Arc<Dataset>>;

/// None yet.
pub(crate) fn versions() -> Versions {
    Cache::builder().max_capacity(MAX_WEIGHT).weigher(|_, dataset: &Arc<Dataset>| weight(dataset)).build()
}

/// Of a descriptor, so many bytes weigh 1.
const DESCRIPTOR_BYTES: usize = 256;

fn weight(dataset: &Dataset) -> u32 {
    let of_rule = |rule: &Rule| match rule {
        Rule::Declared(declared) if declared.constraints.pattern.is_some() => 1 + PATTERN_WEIGHT,
        _ => 1,
    };
    let columns: u32 = dataset.schema.columns.iter().map(|column| of_rule(&column.rule)).sum();
    // Properties without effect are kept too.
    let descriptor = dataset.descriptor.to_string().len() / DESCRIPTOR_BYTES;
    columns.saturating_add(u32::try_from(descriptor).unwrap_or(u32::MAX))
}
