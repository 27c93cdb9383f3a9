//! Moves old imports to the long-term archive. The row of an import stays, and so does what it loaded.

use chrono::{DateTime, Utc};

use super::{Retention, RetentionError, bundle::Bundle};
use crate::{
    db::{
        commit,
        imports::{self, Import},
        retention::{self, Lock},
    },
    failpoint,
    ingest::receive,
};

/// Imports looked up at once.
const BATCH: i64 = 100;

/// What became of the imports that are old.
#[derive(Debug, Default)]
pub struct Offloaded {
    /// Those that are in the long-term archive now.
    pub moved: Vec<i64>,
    /// Those that stay, with the reason.
    pub kept: Vec<(i64, RetentionError)>,
}

impl Retention {
    /// The imports that ended before that moment and are not in the long-term archive.
    pub async fn due(&self, before: DateTime<Utc>) -> Result<Vec<i64>, RetentionError> {
        let mut due = Vec::new();
        loop {
            let after = due.last().copied().unwrap_or(0);
            let batch = retention::due(&self.db, before, after, BATCH).await?;
            if batch.is_empty() {
                return Ok(due);
            }
            due.extend(batch.iter().map(|import| import.id));
        }
    }

    /// Moves them. One that cannot be moved stays, and the others go on, unless the reason is that a store is away.
    pub async fn offload(&self, before: DateTime<Utc>, lock: &mut Lock) -> Result<Offloaded, RetentionError> {
        self.long_term()?;
        let mut offloaded = Offloaded::default();
        for id in self.due(before).await? {
            lock.check().await?;
            let Some(import) = imports::get(&self.db, id).await? else { continue };
            match self.offload_one(&import).await {
                Ok(()) => {
                    tracing::info!(import = id, "moved to the long-term archive");
                    offloaded.moved.push(id);
                }
                // A store or a database that is away is so for the others too.
                Err(RetentionError::Archive(error)) if error.is_passing() => return Err(error.into()),
                Err(RetentionError::Database(error)) => return Err(error.into()),
                Err(error) => {
                    let cause = &error as &dyn std::error::Error;
                    tracing::error!(
                        import = id,
                        error = cause,
                        "an import cannot be moved to the long-term archive"
                    );
                    offloaded.kept.push((id, error));
                }
            }
        }
        Ok(offloaded)
    }

    async fn offload_one(&self, import: &Import) -> Result<(), RetentionError> {
        let long_term = self.long_term()?;
        let bundle = Bundle::pack(&self.db, &self.archive, long_term, import).await?;
        failpoint::reach(failpoint::IMPORT_COPIED);
        bundle.verify(long_term).await?;
        failpoint::reach(failpoint::COPY_VERIFIED);
        let mut transaction = self.db.begin().await?;
        let rows = (bundle.ledger.rows, bundle.rejects.rows);
        if !retention::forget(&mut transaction, import, rows).await? {
            return Err(RetentionError::Changed);
        }
        commit(transaction, "moving an import away").await?;
        failpoint::reach(failpoint::IMPORT_FORGOTTEN);
        // What stays when this fails is swept away.
        receive::discard(&self.archive, &import.source).await;
        Ok(())
    }
}
