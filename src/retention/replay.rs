//! Brings imports back: from the long-term archive as they went there, or, when the database has lost them, by importing their
//! uploads once more.

use std::{collections::BTreeMap, time::Duration};

use futures_util::StreamExt;

use super::{
    Retention, RetentionError,
    bundle::{self, Bundle, FOLDER, MANIFEST},
};
use crate::{
    archive::Listed,
    catalog::Catalog,
    datasets::citizen::body,
    db::{
        Failure, catalog, citizens, commit,
        imports::{self, Import, NewImport, State},
        notify::Topic,
        retention::{self, Lock, Table},
    },
    failpoint,
    ingest::{manifest::Manifest, receive, sealed},
};

/// Uploads looked up at once.
const BATCH: usize = 1_000;
/// How long to wait at most before looking at an import again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// How an import came back.
#[derive(Debug, Clone)]
pub enum Replayed {
    /// Upload, ledger and rejects are here again.
    Restored(i64),
    /// The upload was imported again, and has ended so.
    Loaded(Box<Import>),
    /// The same file with the same settings is here as that import.
    Same(i64),
}

/// What the database has lost.
#[derive(Debug, Default)]
pub struct Losses {
    /// The uploads, in the order in which they came.
    pub lost: Vec<Lost>,
    /// What lies beside uploads and cannot be read.
    pub broken: Vec<RetentionError>,
}

/// Something that the database, as it was restored, and the archives do not agree about.
#[derive(Debug, Clone)]
pub struct Lost {
    /// Which upload it is about.
    pub manifest: Manifest,
    /// What is the matter.
    pub loss: Loss,
}

/// What is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Loss {
    /// The import; its upload is in the archive.
    Import,
    /// The import; its upload is in the long-term archive.
    ImportAndUpload,
    /// The upload alone: the database is from before the import went to the long-term archive.
    Upload,
}

/// What became of the import of an upload.
enum Made {
    /// It is made again.
    Again(Box<Import>),
    /// There is this one.
    Same(i64),
}

impl Retention {
    /// Brings one import back.
    pub async fn replay(&self, id: i64, lock: &mut Lock) -> Result<Replayed, RetentionError> {
        match imports::get(&self.db, id).await? {
            Some(import) if import.archived_at.is_some() => {
                self.restore(&import, lock).await?;
                Ok(Replayed::Restored(id))
            }
            Some(import) if !self.archive.contains(&import.source).await? => {
                self.bring_upload(&import, lock).await?;
                Ok(Replayed::Restored(id))
            }
            Some(_) => Err(RetentionError::Here(id)),
            None => {
                let lost = self.lost().await?.lost.into_iter().rfind(|lost| lost.manifest.id == id);
                self.load(&lost.ok_or(RetentionError::Unknown(id))?, lock).await
            }
        }
    }

    /// What is missing: imports of uploads that the database does not know, unless they were cancelled or undone, and uploads
    /// of imports that it does.
    pub async fn lost(&self) -> Result<Losses, RetentionError> {
        let (mut lost, mut broken) = (BTreeMap::new(), Vec::new());
        let mut listed = std::pin::pin!(self.archive.list("uploads").chunks(BATCH));
        while let Some(batch) = listed.next().await {
            let batch: Vec<Listed> = batch.into_iter().collect::<Result<_, _>>()?;
            let sources = batch.iter().filter_map(|listed| Manifest::source_of(&listed.object));
            for source in self.unknown(sources.map(ToOwned::to_owned).collect()).await? {
                match Manifest::read(&self.archive, &source).await {
                    Ok(manifest) => {
                        let place = (manifest.created_at, manifest.id, source);
                        lost.insert(place, Lost { manifest, loss: Loss::Import });
                    }
                    Err(error) => broken.push(error.into()),
                }
            }
        }
        let Some(long_term) = &self.long_term else {
            return Ok(Losses { lost: lost.into_values().collect(), broken });
        };
        let mut listed = std::pin::pin!(long_term.list(FOLDER).chunks(BATCH));
        while let Some(batch) = listed.next().await {
            let batch: Vec<Listed> = batch.into_iter().collect::<Result<_, _>>()?;
            let folders: BTreeMap<String, String> = batch
                .iter()
                .filter_map(|listed| listed.object.strip_suffix(MANIFEST)?.strip_suffix('/'))
                .filter_map(|folder| {
                    Some((format!("uploads/{}", folder.rsplit('/').next()?), folder.to_owned()))
                })
                .collect();
            let sources: Vec<_> = folders.keys().cloned().collect();
            let known = retention::known(&self.db, &sources).await?;
            for (source, folder) in folders {
                let loss = match known.iter().find(|known| known.source == source) {
                    None => Loss::ImportAndUpload,
                    Some(known) if known.archived || self.archive.contains(&source).await? => continue,
                    Some(_) => Loss::Upload,
                };
                match Bundle::read(long_term, &folder).await {
                    Ok(bundle) if loss != Loss::Upload && is_withdrawn(bundle.state) => {}
                    Ok(Bundle { import: manifest, .. }) => {
                        let place = (manifest.created_at, manifest.id, source);
                        lost.entry(place).or_insert(Lost { manifest, loss });
                    }
                    Err(error) => broken.push(error.into()),
                }
            }
        }
        Ok(Losses { lost: lost.into_values().collect(), broken })
    }

    /// Brings back what is missing. An upload whose import is missing is imported once more, under its old number if that can be had;
    /// this waits for the end.
    pub async fn load(&self, lost: &Lost, lock: &mut Lock) -> Result<Replayed, RetentionError> {
        lock.check().await?;
        let new = lost.manifest.upload(&self.db).await?;
        if lost.loss != Loss::Import {
            self.copy_back(lost.manifest.id, &new.source).await?;
        }
        if lost.loss == Loss::Upload {
            lost.manifest.write(&self.archive).await?;
            return Ok(Replayed::Restored(lost.manifest.id));
        }
        let made = self.make_again(lost, &new).await;
        // A service may have been about to commit the very import: it had its number first.
        if let Err(RetentionError::Database(error)) = &made
            && error.failure() == Failure::UniqueViolation
            && let Some(id) = retention::import_of(&self.db, &new.source).await?
        {
            return Ok(Replayed::Same(id));
        }
        match made? {
            Made::Same(id) => Ok(Replayed::Same(id)),
            Made::Again(import) => Ok(Replayed::Loaded(Box::new(self.end_of(*import).await?))),
        }
    }

    /// Makes the import of an upload, unless there is one by now, or one of the same file.
    async fn make_again(&self, lost: &Lost, new: &NewImport) -> Result<Made, RetentionError> {
        let mut transaction = self.db.begin().await?;
        let same = match lost.manifest.force {
            true => None,
            // A service that is about to commit the very import is waited for.
            false => imports::find_same(&mut transaction, new, None).await?,
        };
        if let Some(id) = retention::import_of(&self.db, &new.source).await? {
            return Ok(Made::Same(id));
        }
        if let Some(same) = same {
            receive::discard(&self.archive, &new.source).await;
            return Ok(Made::Same(same.id));
        }
        let again = retention::reserve(&mut transaction, lost.manifest.id, lost.manifest.created_at).await?;
        // The number may be taken by the very import, which has come since the look above.
        if again.id != lost.manifest.id
            && let Some(id) = retention::import_of(&self.db, &new.source).await?
        {
            return Ok(Made::Same(id));
        }
        let import = if new.media_type == "application/json" {
            let import = self.load_citizens(&mut transaction, new, again).await?;
            Manifest::of(&import, Some(&new.dataset), true).write(&self.archive).await?;
            import
        } else {
            if let Some(id) = new.dataset.id {
                catalog::pin(&mut transaction, id, new.dataset.version).await?;
            }
            let import = imports::insert(&mut transaction, new, Some(again)).await?;
            Manifest::of(&import, Some(&new.dataset), lost.manifest.force).write(&self.archive).await?;
            import
        };
        commit(transaction, "making a lost import again").await?;
        Ok(Made::Again(Box::new(import)))
    }

    /// A body of citizens is stored at once, as it was when it came.
    async fn load_citizens(
        &self,
        connection: &mut sqlx::PgConnection,
        new: &NewImport,
        again: imports::Again,
    ) -> Result<Import, RetentionError> {
        let sealed = crate::archive::Sealed {
            object: new.source.clone(),
            bytes: new.bytes.unsigned_abs(),
            sha256: new.sha256.to_vec(),
        };
        // It was in memory as a whole when it came, too.
        let mut text = Vec::new();
        let mut blocks = std::pin::pin!(self.archive.read_sealed(sealed, u64::MAX));
        while let Some(block) = blocks.next().await {
            text.extend_from_slice(&block?);
        }
        let citizens = body::read_import(&text, self.clock.today())
            .map_err(|faults| RetentionError::Invalid(new.source.clone(), faults.total))?;
        let rows = i64::try_from(citizens.len()).unwrap_or(i64::MAX);
        let import = imports::insert_complete(connection, new, rows, Some(again)).await?;
        if !new.dry_run {
            citizens::insert(connection, import.id, &citizens).await?;
        }
        Ok(import)
    }

    /// Upload, ledger and rejects as they went.
    async fn restore(&self, import: &Import, lock: &mut Lock) -> Result<(), RetentionError> {
        let bundle = self.bring_upload(import, lock).await?;
        let long_term = self.long_term()?;
        let mut transaction = self.db.begin().await?;
        match imports::lock(&mut transaction, import.id).await? {
            Some(import) if import.archived_at.is_some() => {}
            _ => return Err(RetentionError::Changed),
        }
        for table in [Table::Ledger, Table::Rejects] {
            bundle.unpack_rows(long_term, &mut transaction, table).await?;
        }
        retention::restored(&mut transaction, import.id).await?;
        commit(transaction, "bringing back an import").await?;
        tracing::info!(import = import.id, "brought back from the long-term archive");
        Ok(())
    }

    /// The upload of an import that is here.
    async fn bring_upload(&self, import: &Import, lock: &mut Lock) -> Result<Bundle, RetentionError> {
        lock.check().await?;
        let bundle = self.copy_back(import.id, &import.source).await?;
        self.archive.verify(sealed(import)).await?;
        if !is_withdrawn(import.state) {
            let dataset = Catalog::new(self.db.clone()).of_import(&import.pinned()).await?;
            Manifest::of(import, dataset.as_deref(), bundle.import.force).write(&self.archive).await?;
        }
        Ok(bundle)
    }

    /// Copies an upload from the long-term archive.
    async fn copy_back(&self, id: i64, source: &str) -> Result<Bundle, RetentionError> {
        let long_term = self.long_term()?;
        let bundle = Bundle::read(long_term, &bundle::folder(id, source)).await?;
        bundle::copy(long_term, bundle.upload()?, &self.archive, source).await?;
        failpoint::reach(failpoint::UPLOAD_BACK);
        Ok(bundle)
    }

    /// Those of the uploads that no import has.
    async fn unknown(&self, mut sources: Vec<String>) -> Result<Vec<String>, RetentionError> {
        let known = retention::known(&self.db, &sources).await?;
        sources.retain(|source| !known.iter().any(|known| known.source == *source));
        Ok(sources)
    }

    /// The import once it has ended.
    async fn end_of(&self, mut import: Import) -> Result<Import, RetentionError> {
        let mut watch = self.changes.watch(Topic::Imports);
        while !import.state.is_final() {
            watch.changed(LOOK_AGAIN).await;
            import = imports::get(&self.db, import.id).await?.ok_or(RetentionError::Unknown(import.id))?;
        }
        Ok(import)
    }
}

/// Whether the import is not to come back.
fn is_withdrawn(state: State) -> bool {
    matches!(state, State::Cancelled | State::Undone)
}
