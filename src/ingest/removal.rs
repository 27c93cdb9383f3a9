//! Takes an import out again: one that was undone, and what was loaded of one that ended badly. The transaction that changes its state
//! hides all of its rows. They go batch by batch, each in a transaction of its own, by the request that asked for it as long as that takes
//! a moment, then by a worker. Killed anywhere, it goes on: the entry of the removal says from where.

use std::time::{Duration, Instant};

use sqlx::PgConnection;

use super::{IngestError, load::unknown_dataset, manifest, unpack};
use crate::{
    archive::Archive,
    catalog::Catalog,
    datasets::{Dataset, Load},
    db::{
        Db, commit,
        imports::{Import, State},
        removals::{self, Claim, Claimed},
    },
    failpoint,
};

/// Rows removed in one transaction: some tens of milliseconds.
const BATCH: i64 = 10_000;
/// For how long a request goes on with a removal.
const PATIENCE: Duration = Duration::from_secs(2);
/// Between two looks at a removal that somebody else is at.
const PACE: Duration = Duration::from_millis(20);

/// How a removal goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// There is more to do.
    More,
    /// Somebody else is at it.
    Elsewhere,
    /// Nothing is left to do.
    Finished,
}

/// Begins in the transaction that moves the import to `state`, its last.
pub(super) async fn begin(
    connection: &mut PgConnection,
    import: &Import,
    dataset: Option<&Dataset>,
    state: State,
) -> Result<(), IngestError> {
    let Some(dataset) = dataset else {
        // A version that knows the dataset removes what there is. Of one that was purged, nothing is left.
        removals::add(connection, import.id).await?;
        if import.dataset_id.is_some() {
            removals::skip_rows(connection, import.id).await?;
        }
        return Ok(());
    };
    let has_rows = match dataset.load() {
        Load::Staged => state == State::Undone && !import.dry_run,
        Load::Direct => !import.dry_run,
    };
    if state == State::Failed && !has_rows {
        return Ok(());
    }
    let removal = removals::add(connection, import.id).await?;
    if !has_rows {
        removals::skip_rows(connection, import.id).await?;
    } else if state != State::Undone {
        // Nobody can hold these rows, and where they are few, none is left.
        let removal = removals::remove_batch(connection, dataset, import.created_at, &removal, BATCH).await?;
        // Of an import that was cancelled the archive has something to remove too, once this is committed.
        if state == State::Failed && removal.kept.is_some() {
            removals::finish(connection, import.id).await?;
        }
    }
    Ok(())
}

/// Goes on with a removal by one batch, or ends it.
pub async fn step(db: &Db, archive: &Archive, import_id: i64) -> Result<Step, IngestError> {
    let mut transaction = db.begin().await?;
    let claimed = match removals::claim(&mut transaction, import_id).await? {
        Claim::Granted(claimed) => claimed,
        Claim::Elsewhere => return Ok(Step::Elsewhere),
        Claim::Finished => return Ok(Step::Finished),
    };
    let Claimed { removal, dataset, state, source, created_at } = *claimed;
    if removal.kept.is_none() {
        let pinned = Catalog::new(db.clone()).of_import(&dataset).await?;
        let Some(dataset) = pinned else {
            if dataset.dataset_id.is_none() {
                return Err(unknown_dataset(&dataset.dataset));
            }
            // It was purged, with its rows.
            removals::skip_rows(&mut transaction, import_id).await?;
            commit(transaction, "skipping the rows of an import").await?;
            return Ok(Step::More);
        };
        removals::remove_batch(&mut transaction, &dataset, created_at, &removal, BATCH).await?;
        commit(transaction, "removing the rows of an import").await?;
        failpoint::reach(failpoint::ROWS_REMOVED);
        return Ok(Step::More);
    }
    // Others may do the same at once, which does no harm.
    drop(transaction);
    unpack::remove_unpacked(archive, import_id).await;
    if matches!(state, State::Cancelled | State::Undone) {
        manifest::withdraw(archive, &source).await?;
    }
    let mut transaction = db.begin().await?;
    removals::finish(&mut transaction, import_id).await?;
    commit(transaction, "finishing the removal of an import").await?;
    tracing::info!(import = import_id, rows = removal.removed, "removed the rows of an import");
    Ok(Step::Finished)
}

/// Goes on for a moment. What is left then is left to a worker.
pub(super) async fn pursue(db: &Db, archive: &Archive, import_id: i64) {
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE {
        match step(db, archive, import_id).await {
            Ok(Step::Finished) => return,
            Ok(Step::More) => {}
            Ok(Step::Elsewhere) => tokio::time::sleep(PACE).await,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "removing an import must wait");
                tokio::time::sleep(PACE).await;
            }
        }
    }
}

/// Removes what is hidden of the dataset, for a merge would find it.
pub(super) async fn remove_hidden(db: &Db, archive: &Archive, dataset: &Dataset) -> Result<(), IngestError> {
    loop {
        let mut connection = db.acquire().await?;
        let Some(import_id) = removals::with_rows(&mut connection, dataset).await? else { return Ok(()) };
        drop(connection);
        if step(db, archive, import_id).await? == Step::Elsewhere {
            tokio::time::sleep(PACE).await;
        }
    }
}
