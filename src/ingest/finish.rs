//! Ends an import, well or badly, in one transaction: nobody sees a part of it.

use std::sync::Arc;

use sqlx::{PgConnection, Postgres, Transaction};

use super::{
    IngestError,
    load::unknown_dataset,
    records::{Lines, Records},
    removal, unpack,
};
use crate::{
    archive::Archive,
    catalog::Catalog,
    datasets::{
        Dataset, Load, Storage,
        plan::{LoadMode, Loading, Reference},
    },
    db::{
        Db, chunks, commit, files,
        imports::{self, Counts, Import, ImportError, Mode, State},
        journal, leases,
        merge::{self, Absent, Merge, Outcomes},
        rejects::{self, Reject},
        removals, rows, segments, staging,
    },
};

/// Rejects of the merge that are read at once: a few KB each at most.
const BATCH: i64 = 4_096;

/// Merges what is loaded and makes it visible, once the ledger holds every chunk. Its commit waits for the disk, and so for all of them.
pub async fn finish(
    db: &Db,
    archive: &Archive,
    rejects_kept: i64,
    import_id: i64,
    epoch: i32,
) -> Result<(), IngestError> {
    let files = files::list(db, import_id).await?;
    let columns = present_columns(&files);
    let (mut transaction, import, dataset) = begin(db, archive, import_id, epoch).await?;
    let progress = chunks::progress(&mut transaction, import_id).await?;
    if import.chunks_total != Some(progress.chunks) {
        return Err(IngestError::TakenBack);
    }
    merge::prepare(&mut transaction, import_id).await?;
    let merge = plan(db, &dataset, &import, columns).await?;
    let (merged, written) = decide(&mut transaction, &dataset, &import, &merge, &progress).await?;
    let absent = merge.absent(&mut transaction).await?;
    let counts = counts(&progress, &merged, absent);
    if merged.rejected + merged.noted > 0 {
        let late = LateRejects { archive, dataset: &dataset, files: &files, import: &import };
        late.store(&mut transaction, rejects_kept).await?;
    }
    if counts.rejected > rejects_kept {
        rejects::trim(&mut transaction, import_id, rejects_kept).await?;
    }
    imports::set_counts(&mut transaction, import_id, &counts).await?;
    match verdict(&import, &counts, merged.noted).or_else(|| too_many(&import, absent)) {
        Some(error) => {
            imports::set_error(&mut transaction, import_id, &error).await?;
            close(&mut transaction, &import, Some(&dataset), State::Failed).await?;
            tracing::info!(code = error.code, "import failed");
        }
        None => {
            if !import.dry_run && !written && (merged.change_anything() || counts.removed > Some(0)) {
                merge.write(&mut transaction).await?;
            }
            let load = import.loading().map(|loading| loading.load);
            if let Some(sequence) = dataset.changes_of(load).filter(|_| !import.dry_run) {
                imports::set_changes(&mut transaction, import_id, &sequence).await?;
            }
            close(&mut transaction, &import, Some(&dataset), State::Complete).await?;
            tracing::info!(rows = counts.rows_read, rejected = counts.rejected, "import complete");
        }
    }
    commit(transaction, "finishing an import").await?;
    unpack::remove_unpacked(archive, import_id).await;
    Ok(())
}

/// Opens the finishing transaction, for the import that runs in that epoch.
async fn begin(
    db: &Db,
    archive: &Archive,
    import_id: i64,
    epoch: i32,
) -> Result<(Transaction<'static, Postgres>, Import, Arc<Dataset>), IngestError> {
    loop {
        let mut transaction = db.begin().await?;
        let import = match imports::lock(&mut transaction, import_id).await? {
            Some(import) if import.state == State::Running && import.epoch == epoch => import,
            _ => return Err(IngestError::Fenced),
        };
        let dataset = Catalog::new(db.clone()).of_import(&import.pinned()).await?;
        let dataset = dataset.ok_or_else(|| unknown_dataset(&import.dataset))?;
        // A merge would find what is hidden. What is undone from now on was there when it began.
        // Rows of a declared dataset may name others by their `_id`.
        let meets_others = dataset.load() == Load::Staged || dataset.built_in().is_none();
        if meets_others && removals::with_rows(&mut transaction, &dataset).await?.is_some() {
            drop(transaction);
            removal::remove_hidden(db, archive, &dataset).await?;
            continue;
        }
        return Ok((transaction, import, dataset));
    }
}

/// How the import's rows become rows of the dataset's table.
async fn plan(
    db: &Db,
    dataset: &Dataset,
    import: &Import,
    columns: Vec<String>,
) -> Result<Merge, IngestError> {
    let built_in = match &dataset.storage {
        Storage::BuiltIn(built_in) => built_in,
        Storage::Declared => return plan_declared(db, dataset, import, &columns).await,
    };
    Ok(Merge::built_in(built_in.merge, import.id, columns))
}

async fn plan_declared(
    db: &Db,
    dataset: &Dataset,
    import: &Import,
    columns: &[String],
) -> Result<Merge, IngestError> {
    let mut references = Vec::new();
    for key in &dataset.schema.foreign_keys {
        let target = match &key.dataset {
            Some(name) => {
                let target = Catalog::new(db.clone()).referred_to(name).await?;
                Some(target.ok_or_else(|| unknown_dataset(name))?)
            }
            None => None,
        };
        let target = target.as_deref().unwrap_or(dataset);
        references.push(Reference { key, rows: rows::readable(target) });
    }
    let present: Vec<_> =
        columns.iter().filter_map(|key| dataset.schema.keyed(key)).map(|(place, _)| place).collect();
    let row_id = dataset.row_id().map(|column| column.key.as_str());
    let loading = import.loading();
    Ok(Merge::declared(Loading {
        dataset,
        staging: &staging::table(import.id),
        import_id: import.id,
        present: &present,
        has_row_id: columns.iter().any(|key| Some(key.as_str()) == row_id),
        load: loading.map_or_else(|| LoadMode::default_of(dataset), |loading| loading.load),
        blanks: loading.map(|loading| loading.blanks).unwrap_or_default(),
        references: &references,
    }))
}

fn is_sync(import: &Import) -> bool {
    import.loading().is_some_and(|loading| loading.load == LoadMode::Sync)
}

/// Decides every row's outcome; the second answer is whether the dataset's table has them already.
async fn decide(
    connection: &mut PgConnection,
    dataset: &Dataset,
    import: &Import,
    merge: &Merge,
    progress: &chunks::Progress,
) -> Result<(Outcomes, bool), IngestError> {
    let loaded = progress.rows_read - progress.rejected;
    if dataset.load() == Load::Direct
        && !import.dry_run
        && !is_sync(import)
        && staging::is_empty(connection, import.id).await?
        && chunks::unpaired(connection, import.id).await? == 0
    {
        return Ok((Outcomes { inserted: loaded, ..Outcomes::default() }, true));
    }
    let before = Counts { rows_read: progress.rows_read, rejected: progress.rejected, ..Counts::default() };
    if dataset.load() == Load::Staged
        && !import.dry_run
        && !is_sync(import)
        && verdict(import, &before, 0).is_none()
        && let Some(outcomes) = merge.run_without_duplicates(connection, loaded).await?
    {
        return Ok((outcomes, true));
    }
    // What is decided now takes rows out again that segments have.
    segments::remove(connection, dataset, import.id).await?;
    merge.decide(connection).await?;
    Ok((merge::outcomes(connection, import.id, loaded).await?, false))
}

/// Ends an import that cannot go on; nothing of it becomes visible. Quiet when it has ended otherwise meanwhile.
pub async fn fail(
    db: &Db,
    archive: &Archive,
    import_id: i64,
    epoch: i32,
    error: &ImportError,
) -> Result<(), IngestError> {
    let mut transaction = db.begin().await?;
    let import = match imports::lock(&mut transaction, import_id).await? {
        Some(import) if import.state == State::Running && import.epoch == epoch => import,
        _ => return Ok(()),
    };
    imports::set_error(&mut transaction, import_id, error).await?;
    keep_progress(&mut transaction, import_id).await?;
    let dataset = Catalog::new(db.clone()).of_import(&import.pinned()).await?;
    close(&mut transaction, &import, dataset.as_deref(), State::Failed).await?;
    commit(transaction, "failing an import").await?;
    tracing::info!(code = error.code, "import failed");
    unpack::remove_unpacked(archive, import_id).await;
    Ok(())
}

/// Moves an import to its last state and removes what only a running one needs. Of one that is undone or ends badly, rows that are
/// loaded are hidden, and their removal begins.
pub(super) async fn close(
    connection: &mut PgConnection,
    import: &Import,
    dataset: Option<&Dataset>,
    state: State,
) -> Result<Import, IngestError> {
    if state != State::Complete {
        removal::begin(connection, import, dataset, state).await?;
    }
    staging::drop_table(connection, import.id).await?;
    journal::clear(connection, import.id).await?;
    leases::clear(connection, import.id).await?;
    Ok(imports::set_state(connection, import.id, state).await?)
}

/// Keeps, as the final counts, what the ledger says of an import that ends early.
pub(super) async fn keep_progress(connection: &mut PgConnection, import_id: i64) -> Result<(), IngestError> {
    let progress = chunks::progress(connection, import_id).await?;
    let counts = Counts {
        rows_read: progress.rows_read,
        inserted: progress.rows_read - progress.rejected,
        rejected: progress.rejected,
        ..Counts::default()
    };
    Ok(imports::set_counts(connection, import_id, &counts).await?)
}

/// What was rejected while loading and what the merge decided about the rest, together.
fn counts(progress: &chunks::Progress, merged: &Outcomes, absent: Option<Absent>) -> Counts {
    let Outcomes { inserted, updated, unchanged, deleted, rejected, noted: _, relations_dropped } = *merged;
    let rejected = rejected + progress.rejected;
    Counts {
        rows_read: progress.rows_read,
        inserted,
        updated,
        unchanged,
        deleted,
        rejected,
        relations_dropped,
        removed: absent.map(|absent| absent.removed),
    }
}

/// Whether a sync would delete more than it may.
fn too_many(import: &Import, absent: Option<Absent>) -> Option<ImportError> {
    let absent = absent?;
    let max_deleted = import.loading()?.max_deleted;
    if absent.is_allowed(max_deleted) {
        return None;
    }
    let Absent { removed, stored } = absent;
    let message = format!(
        "{removed} of {stored} stored rows are not in the file and would be deleted, {max_deleted} may be; if they are to go, state more by max_deleted"
    );
    Some(ImportError { code: "too_many_deleted", message })
}

fn verdict(import: &Import, counts: &Counts, noted: i64) -> Option<ImportError> {
    let Counts { rows_read, rejected, .. } = counts;
    if import.mode == Mode::Strict && rejected + noted > 0 {
        let faulty = rejected + noted;
        let message = format!("{faulty} of {rows_read} rows have faults, and a strict import allows none");
        return Some(ImportError { code: "rejects_in_strict_mode", message });
    }
    let allowed = import.max_rejects.filter(|allowed| rejected > allowed)?;
    let message = format!("{rejected} of {rows_read} rows are rejected, {allowed} are allowed");
    Some(ImportError { code: "too_many_rejects", message })
}

/// The columns that the files have; [`super::coordinator`] sees to it that all have the same.
fn present_columns(files: &[files::File]) -> Vec<String> {
    let columns = files.iter().find_map(|file| file.columns.clone()).unwrap_or_default();
    columns.into_iter().filter(|name| !name.is_empty()).collect()
}

/// The merge knows rows; line and record are still in the file.
struct LateRejects<'a> {
    archive: &'a Archive,
    dataset: &'a Dataset,
    files: &'a [files::File],
    import: &'a Import,
}

impl LateRejects<'_> {
    async fn store(&self, connection: &mut PgConnection, keep: i64) -> Result<(), IngestError> {
        merge::collect_late_rejects(connection, self.dataset, self.import.id).await?;
        let (mut after, mut stored) = (0, 0);
        while stored < keep {
            let batch = merge::late_rejects(connection, after, BATCH.min(keep - stored)).await?;
            let Some(last) = batch.last() else { break };
            after = last.row;
            stored += batch.len() as i64;
            self.store_batch(connection, batch).await?;
        }
        Ok(())
    }

    async fn store_batch(
        &self,
        connection: &mut PgConnection,
        batch: Vec<merge::LateReject>,
    ) -> Result<(), IngestError> {
        let mut writer = rejects::Writer::new(self.import.id);
        let mut rest = batch.into_iter().peekable();
        while let Some(first) = rest.peek().map(|late| late.row) {
            let chunk = chunks::holding_row(connection, self.import.id, first).await?;
            let chunk = chunk.ok_or_else(|| self.lost_row(first))?;
            let file = self.files.iter().find(|file| file.file_no == chunk.file_no);
            let file = file.ok_or_else(|| self.lost_row(first))?;
            let place = chunk.byte_offset as u64..(chunk.byte_offset + chunk.byte_len) as u64;
            let read = self.archive.read(&file.object, place).await?;
            let dialect = file.layout.dialect(&self.import.dialect);
            let mut records = Records::new(&dialect, &read);
            let mut lines = Lines::new(chunk.first_line);
            let mut row = chunk.first_row;
            while let Some(record) = records.next() {
                if let Some(late) = rest.next_if(|late| late.row == row) {
                    let line = lines.at(&read, record.start);
                    writer.put(connection, &with_place(late, line, chunk.file_no, record.raw)).await?;
                }
                row += 1;
            }
            if let Some(missing) = rest.peek().filter(|late| late.row < chunk.first_row + chunk.rows_read) {
                return Err(self.lost_row(missing.row));
            }
        }
        Ok(writer.finish(connection).await?)
    }

    /// What was read once must be there again, unless somebody has changed the file.
    fn lost_row(&self, row: i64) -> IngestError {
        let file = self.import.filename.as_deref().unwrap_or("the upload");
        let message = format!("{file} is not what was received: row {row} is not where it was read before");
        IngestError::refused("damaged_upload", message)
    }
}

fn with_place(late: merge::LateReject, line: i64, file_no: i32, raw: &[u8]) -> Reject {
    let merge::LateReject { row, column, code, message, value, accepted } = late;
    Reject {
        row,
        line: Some(line),
        file_no: Some(file_no),
        column,
        code,
        message,
        value,
        byte_offset: None,
        more: Vec::new(),
        raw: Some(raw.to_vec()),
        accepted,
    }
}
