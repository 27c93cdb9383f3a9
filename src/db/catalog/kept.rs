//! The versions of datasets that a process keeps: what a version is made of never changes.

use std::{collections::HashMap, sync::Arc};

use crate::datasets::Dataset;

/// How many columns the versions that are kept have together. A column takes about a kilobyte.
const MAX_COLUMNS: usize = 16_384;

/// Versions by the catalogue's number of the dataset and that of the version, each with when it was last asked for.
#[derive(Debug, Default)]
pub(crate) struct Versions {
    versions: HashMap<(i32, i32), (Arc<Dataset>, u64)>,
    columns: usize,
    uses: u64,
}

impl Versions {
    /// A version that is kept.
    pub(crate) fn get(&mut self, key: (i32, i32)) -> Option<Arc<Dataset>> {
        self.uses += 1;
        let (dataset, used) = self.versions.get_mut(&key)?;
        *used = self.uses;
        Some(Arc::clone(dataset))
    }

    /// Keeps a version, and lets go of those that nobody asked for the longest.
    pub(crate) fn keep(&mut self, key: (i32, i32), dataset: &Arc<Dataset>) {
        self.uses += 1;
        self.columns += dataset.schema.columns.len();
        if let Some((before, _)) = self.versions.insert(key, (Arc::clone(dataset), self.uses)) {
            self.columns -= before.schema.columns.len();
        }
        while self.columns > MAX_COLUMNS && self.versions.len() > 1 {
            let oldest = self.versions.iter().min_by_key(|(_, (_, used))| *used).map(|(key, _)| *key);
            let Some((dataset, _)) = oldest.and_then(|key| self.versions.remove(&key)) else { break };
            self.columns -= dataset.schema.columns.len();
        }
    }
}
