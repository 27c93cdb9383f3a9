//! The coordinator of an import leads it from its bytes to its end: unpack, split and publish, wait until the ledger is full, finish.
//!
//! Every step may be done again from its beginning, by anyone: unpacking and splitting give the same again, what the
//! ledger holds is not published again, and finishing is one transaction.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use tracing::Instrument;

use super::{
    IngestError,
    beginning::{Beginning, Fields, place, refused},
    damage_of, finish,
    load::unknown_dataset,
    sealed,
    split::{Cut, Limits, Splitter},
    unpack::{self, Unpacked},
};
use crate::{
    archive::Archive,
    catalog::Catalog,
    config,
    datasets::Dataset,
    db::{
        Db,
        chunks::{self, Place},
        commit, files,
        files::File,
        imports::{self, Import, Note, State},
        notify::{Changes, Topic},
        staging,
    },
    text::cut,
    trace,
    transport::{Chunk, Publisher, Transport},
};

/// Bytes read from the archive at once.
const BLOCK_BYTES: u64 = 4 << 20;
/// How long to wait at most before looking at the ledger again: bounds what a lost notification costs.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Notes of one import, at most: a list of imports has them all.
const NOTES: i32 = 20;

/// Leads imports.
#[derive(Debug)]
pub struct Coordinator {
    /// The database.
    pub db: Db,
    /// Where the bytes are.
    pub archive: Archive,
    /// Where chunks go.
    pub transport: Arc<dyn Transport>,
    /// Wakes the coordinator when a chunk was loaded.
    pub changes: Changes,
    /// Limits and sizes.
    pub limits: config::Ingest,
}

impl Coordinator {
    /// Leads the import to its end, or says why that must wait, go elsewhere, or cannot be. Gives up, to be called again,
    /// when none of the published chunks was loaded for `patience`.
    pub async fn lead(&self, import: &Import, patience: Duration) -> Result<(), IngestError> {
        let dataset = Catalog::new(self.db.clone()).of_import(&import.pinned()).await?;
        let dataset = &*dataset.ok_or_else(|| unknown_dataset(&import.dataset))?;
        let files = self.files(import).await?;
        self.make_staging(dataset, import).await?;
        let mut publishing = Publishing {
            coordinator: self,
            import,
            patience,
            publisher: self.transport.publisher(import.id),
            loaded: chunks::loaded(&self.db, import.id).await?,
            next_chunk: 0,
            batch: Vec::new(),
        };
        let mut columns = None;
        let mut next_row = 1;
        for file in &files {
            next_row = self.split(dataset, file, next_row, &mut columns, &mut publishing).await?;
        }
        publishing.flush().await?;
        let chunks_total = publishing.next_chunk;
        drop(publishing);
        let mut transaction = self.fence(import).await?;
        imports::set_chunks_total(&mut transaction, import.id, chunks_total).await?;
        commit(transaction, "keeping the number of chunks").await?;
        self.wait_until_in_flight(import, patience, chunks_total, 1).await?;
        finish::finish(&self.db, &self.archive, self.limits.rejects_kept, import.id, import.epoch)
            .instrument(tracing::info_span!("finish"))
            .await
    }

    /// The plain files, unpacked unless that was done before.
    async fn files(&self, import: &Import) -> Result<Vec<File>, IngestError> {
        let known = files::list(&self.db, import.id).await?;
        if !known.is_empty() {
            return Ok(known);
        }
        let unpacking =
            unpack::unpack(&self.archive, &self.limits, import).instrument(tracing::info_span!("unpack"));
        let Unpacked { files, notes } = tokio::select! {
            unpacked = unpacking => unpacked?,
            () = self.until_fenced(import) => {
                // As it may have ended at the same moment.
                unpack::remove_attempt(&self.archive, import).await;
                return Err(IngestError::Fenced);
            }
        };
        let mut transaction = match self.fence(import).await {
            Err(IngestError::Fenced) => {
                // Whoever cancelled it meanwhile could not know of what came after.
                unpack::remove_attempt(&self.archive, import).await;
                return Err(IngestError::Fenced);
            }
            fenced => fenced?,
        };
        files::insert(&mut transaction, import.id, &files).await?;
        for note in &notes {
            imports::add_note(&mut transaction, import.id, note, NOTES).await?;
        }
        commit(transaction, "adding the files of an import").await?;
        Ok(files)
    }

    /// Returns when the import does not run any more, or is led by somebody else.
    async fn until_fenced(&self, import: &Import) {
        let mut watch = self.changes.watch(Topic::Imports);
        loop {
            watch.changed(LOOK_AGAIN).await;
            match imports::get(&self.db, import.id).await {
                Ok(Some(now)) if now.state == State::Running && now.epoch == import.epoch => {}
                // Without the database nobody knows.
                Err(_) => {}
                Ok(_) => return,
            }
        }
    }

    async fn make_staging(&self, dataset: &Dataset, import: &Import) -> Result<(), IngestError> {
        let mut transaction = self.fence(import).await?;
        staging::create(&mut transaction, dataset, import.id).await?;
        Ok(commit(transaction, "making a staging table").await?)
    }

    /// A transaction during which the import stays as it is.
    async fn fence(
        &self,
        import: &Import,
    ) -> Result<sqlx::Transaction<'static, sqlx::Postgres>, IngestError> {
        let mut transaction = self.db.begin().await?;
        match imports::share(&mut transaction, import.id).await? {
            Some((State::Running, epoch)) if epoch == import.epoch => Ok(transaction),
            _ => Err(IngestError::Fenced),
        }
    }

    /// Cuts one file and publishes its chunks; returns the row after its last.
    async fn split(
        &self,
        dataset: &Dataset,
        file: &File,
        first_row: i64,
        known: &mut Option<Known>,
        publishing: &mut Publishing<'_>,
    ) -> Result<i64, IngestError> {
        let dialect = &publishing.import.dialect;
        // Those it was begun with: cut otherwise, the numbers in its ledger would mean other rows.
        let Import { chunk_rows, chunk_bytes, record_bytes, .. } = *publishing.import;
        let limits = Limits {
            chunk_rows: chunk_rows.cast_unsigned(),
            chunk_bytes: usize::try_from(chunk_bytes).unwrap_or(usize::MAX),
            record_bytes: usize::try_from(record_bytes).unwrap_or(usize::MAX),
        };
        let mut splitter = Splitter::new(dialect, limits, first_row);
        let mut beginning = Some(Beginning::new(dataset, dialect, file, self.limits.fields));
        let mut blocks = std::pin::pin!(self.blocks(publishing.import, file));
        let mut ended = false;
        loop {
            if let Some(reading) = &mut beginning
                && let Some(fields) = reading.read(&mut splitter)?
            {
                require_same_columns(file, known, &fields)?;
                // A file without records has no columns: the merge must not take those of the dataset for its own.
                if fields.has_records {
                    self.keep_fields(publishing.import, file, &fields).await?;
                }
                beginning = None;
            }
            if beginning.is_none() {
                while let Some(cut) = splitter.next_cut().map_err(|error| refused(file, &error))? {
                    publishing.add(file, cut).await?;
                }
                publishing.flush().await?;
            }
            // Once the file has ended, its beginning is known.
            if ended {
                return Ok(splitter.next_row());
            }
            match blocks.next().await {
                Some(block) => {
                    splitter.push(&block?);
                    // To copy a block and to search it are a millisecond each.
                    tokio::task::yield_now().await;
                }
                None => {
                    splitter.end();
                    ended = true;
                }
            }
        }
    }

    /// Keeps what the fields of a file are, for whoever loads its chunks.
    async fn keep_fields(&self, import: &Import, file: &File, fields: &Fields) -> Result<(), IngestError> {
        let Fields { columns, layout, left_out, .. } = fields;
        files::set_fields(&self.db, import.id, file.file_no, columns, layout).await?;
        let (first, last) = (columns.len() + 1, columns.len() + layout.spare);
        let spare = match layout.spare {
            0 => None,
            1 => Some(format!("column {first}, the last one, has no name and no values and is left out")),
            _ => Some(format!(
                "columns {first} to {last}, the last ones, have no names and no values and are left out"
            )),
        };
        let unknown = left_out.iter().map(|name| {
            let name = cut(name);
            let message = format!("{name:?} is not a column of {} and is left out", import.dataset);
            ("unknown_column", Some(name.into_owned()), message)
        });
        let notes = spare.map(|message| ("empty_column", None, message)).into_iter().chain(unknown);
        let notes: Vec<_> = notes.take(NOTES.unsigned_abs() as usize).collect();
        if notes.is_empty() {
            return Ok(());
        }
        let mut transaction = self.fence(import).await?;
        for (code, column, message) in notes {
            let note = Note { code: code.to_owned(), file: file.name.clone(), column, message };
            imports::add_note(&mut transaction, import.id, &note, NOTES).await?;
        }
        Ok(commit(transaction, "adding notes to an import").await?)
    }

    /// The bytes of a file: those of an upload held against its digest, so that no chunk of one that has changed is the last.
    fn blocks<'a>(
        &'a self,
        import: &'a Import,
        file: &'a File,
    ) -> impl Stream<Item = Result<Bytes, IngestError>> + Send + 'a {
        async_stream::try_stream! {
            if file.object == import.source {
                let mut blocks = std::pin::pin!(self.archive.read_sealed(sealed(import), BLOCK_BYTES));
                while let Some(block) = blocks.next().await {
                    yield block.map_err(|error| damage_of(import, error))?;
                }
            } else {
                let total = file.bytes as u64;
                let mut offset = 0;
                while offset < total {
                    let end = total.min(offset + BLOCK_BYTES);
                    yield self.archive.read(&file.object, offset..end).await?;
                    offset = end;
                }
            }
        }
    }

    /// Waits until fewer than `at_most` of the `published` chunks are not loaded yet.
    async fn wait_until_in_flight(
        &self,
        import: &Import,
        patience: Duration,
        published: i64,
        at_most: i64,
    ) -> Result<(), IngestError> {
        let mut watch = self.changes.watch(Topic::Ledger);
        let mut moved = (0, Instant::now());
        loop {
            let mut transaction = self.fence(import).await?;
            let loaded = chunks::progress(&mut transaction, import.id).await?.chunks;
            drop(transaction);
            if published - loaded < at_most {
                return Ok(());
            }
            if loaded > moved.0 {
                moved = (loaded, Instant::now());
            } else if moved.1.elapsed() >= patience {
                return Err(IngestError::Stalled(patience));
            }
            watch.changed(LOOK_AGAIN).await;
        }
    }
}

/// The publishing side of one import.
struct Publishing<'a> {
    coordinator: &'a Coordinator,
    import: &'a Import,
    patience: Duration,
    publisher: Box<dyn Publisher>,
    /// What an earlier attempt got loaded, by the number of a chunk.
    loaded: HashMap<i64, Place>,
    next_chunk: i64,
    /// What is cut and not yet published: up to a quarter of what may be in flight, so that loading never waits for
    /// a batch to fill.
    batch: Vec<(Chunk, Bytes)>,
}

impl Publishing<'_> {
    async fn add(&mut self, file: &File, cut: Cut) -> Result<(), IngestError> {
        let chunk_no = self.next_chunk;
        self.next_chunk += 1;
        if let Some(&place) = self.loaded.get(&chunk_no) {
            let cut = Place {
                byte_offset: cut.byte_offset.cast_signed(),
                byte_len: cut.byte_len.cast_signed(),
                first_row: cut.first_row,
                rows_read: cut.rows,
            };
            if place != cut {
                let message = "it was begun by a version that cuts files otherwise; upload it once more";
                return Err(IngestError::refused("cut_otherwise", message));
            }
            return Ok(());
        }
        let chunk = Chunk {
            import_id: self.import.id,
            epoch: self.import.epoch,
            chunk_no,
            file_no: file.file_no,
            object: file.object.clone(),
            byte_offset: cut.byte_offset,
            byte_len: cut.byte_len,
            first_row: cut.first_row,
            first_line: cut.first_line,
            broken: cut.broken,
            traceparent: trace::current().or_else(|| self.import.traceparent.clone()),
        };
        self.batch.push((chunk, cut.bytes));
        if self.batch.len() as i64 >= (self.limit() / 4).max(1) {
            self.flush().await?;
        }
        Ok(())
    }

    fn limit(&self) -> i64 {
        i64::try_from(self.coordinator.limits.chunks_in_flight).unwrap_or(i64::MAX)
    }

    /// Publishes what is cut, once so many chunks before it are loaded that it may be in flight.
    async fn flush(&mut self) -> Result<(), IngestError> {
        if self.batch.is_empty() {
            return Ok(());
        }
        if self.next_chunk > self.limit() {
            let Self { import, patience, next_chunk, .. } = *self;
            self.coordinator.wait_until_in_flight(import, patience, next_chunk, self.limit() + 1).await?;
        }
        self.publisher.publish(&self.batch).instrument(tracing::info_span!("publish")).await?;
        self.batch.clear();
        Ok(())
    }
}

/// The columns of the files before, and which of these had them first.
struct Known {
    names: Vec<String>,
    of: String,
}

/// One merge works on one set of columns; their order may differ from file to file. A file without records has none.
fn require_same_columns(file: &File, known: &mut Option<Known>, fields: &Fields) -> Result<(), IngestError> {
    if !fields.has_records {
        return Ok(());
    }
    let mut names: Vec<_> = fields.columns.iter().filter(|name| !name.is_empty()).cloned().collect();
    names.sort_unstable();
    match known {
        Some(known) if known.names != names => {
            let message = format!(
                "{}the columns are not those of {}; upload one of them by itself",
                place(file),
                known.of
            );
            Err(IngestError::refused("columns_differ", message))
        }
        Some(_) => Ok(()),
        None => {
            *known = Some(Known { names, of: file.name.clone().unwrap_or_default() });
            Ok(())
        }
    }
}
