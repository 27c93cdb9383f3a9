//! Removes what nobody needs: what has expired, and what killed processes left in the archive.

use chrono::{DateTime, TimeDelta, Utc};
use futures_util::StreamExt;

use super::{Retention, RetentionError};
use crate::{
    archive::Listed,
    db::{
        journal,
        retention::{self, Lock},
    },
    ingest::{manifest::Manifest, receive, unpack},
};

/// What is younger may still be at work.
const OLD: TimeDelta = TimeDelta::days(1);
/// Uploads looked up at once.
const BATCH: usize = 1_000;

/// What was removed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Swept {
    /// Answers kept for an `Idempotency-Key` that has expired.
    pub answers: u64,
    /// Confirmation links that expired a day ago or longer.
    pub links: u64,
    /// Chunks in the journal, of imports that have ended.
    pub chunks: u64,
    /// Uploads of no import and without a manifest, uploads that are in the long-term archive, unpacked files of imports that
    /// have ended, and what was begun and never finished.
    pub objects: usize,
}

impl Retention {
    /// Sweeps. An upload with a manifest that the database does not know stays: it may be what the database has lost.
    pub async fn sweep(&self, now: DateTime<Utc>, lock: &mut Lock) -> Result<Swept, RetentionError> {
        let (answers, links) = retention::expire(&self.db).await?;
        let chunks = journal::sweep(&self.db).await?;
        let old = now - OLD;
        let mut objects = self.archive.remove_begun(old).await?;
        objects += self.sweep_uploads(old, lock).await?;
        objects += self.sweep_unpacked(old).await?;
        let mut checks = std::pin::pin!(self.archive.list("health"));
        while let Some(Listed { object, modified_at }) = checks.next().await.transpose()? {
            if modified_at < old {
                self.archive.remove(&object).await?;
                objects += 1;
            }
        }
        let swept = Swept { answers, links, chunks, objects };
        if swept != Swept::default() {
            tracing::info!(answers, links, chunks, objects, "swept");
        }
        Ok(swept)
    }

    async fn sweep_uploads(&self, old: DateTime<Utc>, lock: &mut Lock) -> Result<usize, RetentionError> {
        let mut listed = std::pin::pin!(self.archive.list("uploads").chunks(BATCH));
        let mut removed = 0;
        while let Some(batch) = listed.next().await {
            let batch: Vec<Listed> = batch.into_iter().collect::<Result<_, _>>()?;
            let uploads: Vec<_> =
                batch.into_iter().filter(|listed| Manifest::source_of(&listed.object).is_none()).collect();
            let sources: Vec<_> = uploads.iter().map(|upload| upload.object.clone()).collect();
            let known = retention::known(&self.db, &sources).await?;
            for Listed { object, modified_at } in uploads {
                let useless = match known.iter().find(|known| known.source == object) {
                    Some(known) => known.archived,
                    None => modified_at < old && !self.archive.contains(&Manifest::object(&object)).await?,
                };
                if useless {
                    // Whoever brings an import back holds the lock: this one must still be ours.
                    lock.check().await?;
                    receive::discard(&self.archive, &object).await;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }

    async fn sweep_unpacked(&self, old: DateTime<Utc>) -> Result<usize, RetentionError> {
        let mut listed = std::pin::pin!(self.archive.list(unpack::FOLDER).chunks(BATCH));
        let mut removed = 0;
        while let Some(batch) = listed.next().await {
            let batch: Vec<Listed> = batch.into_iter().collect::<Result<_, _>>()?;
            let import_of = |listed: &Listed| listed.object.split('/').nth(1)?.parse::<i64>().ok();
            let ids: Vec<_> = batch.iter().filter_map(import_of).collect();
            let unfinished = retention::unfinished(&self.db, &ids).await?;
            for listed in batch {
                let needed = import_of(&listed).is_some_and(|id| unfinished.contains(&id));
                if !needed && listed.modified_at < old {
                    self.archive.remove(&listed.object).await?;
                    removed += 1;
                }
            }
        }
        Ok(removed)
    }
}
