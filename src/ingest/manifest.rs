//! Beside each upload lies what is needed to import it once more, should the database be lost: a manifest. It is written before the
//! import's row is committed, and removed when the import is cancelled or undone.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{
    archive::{Archive, ArchiveError},
    catalog::Catalog,
    datasets::{
        Dataset, Ident, change,
        descriptor::{self, Descriptor},
    },
    db::{
        Db, DbError,
        catalog::CatalogError,
        imports::{Dialect, Import, LoadOptions, Mode, NewImport},
    },
};

/// Of the manifests that are written; others are not read.
const VERSION: u32 = 1;
/// Longer ones are none of ours.
const LONGEST: u64 = 8 << 20;
const ENDING: &str = ".json";

/// What an upload is, and how it was imported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the columns of the import, explained in the migration")]
pub struct Manifest {
    /// The version of this format.
    pub version: u32,
    pub id: i64,
    pub dataset: String,
    pub mode: Mode,
    pub max_rejects: Option<i64>,
    pub dry_run: bool,
    pub dialect: Dialect,
    pub filename: Option<String>,
    pub traceparent: Option<String>,
    pub media_type: String,
    pub gzipped: bool,
    /// The upload's object.
    pub source: String,
    pub bytes: i64,
    /// SHA-256 of the upload, hexadecimal.
    pub sha256: String,
    /// How rows meet those that are stored, of a declared dataset.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub loading: Option<LoadOptions>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub corrects: Option<i64>,
    /// The version of a declared dataset that the import began with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dataset_version: Option<i32>,
    /// What the dataset is declared as, in the version that the import began with; none of a built-in one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub declaration: Option<Value>,
    /// It was imported although the same file had been before.
    pub force: bool,
    pub created_at: DateTime<Utc>,
}

/// Why a manifest is of no use.
#[derive(Debug, thiserror::Error)]
pub enum ManifestError {
    /// It cannot be read.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Its dataset cannot be had.
    #[error(transparent)]
    Catalog(CatalogError),
    /// It is not what is written here.
    #[error("{object} is no manifest of this version: {reason}")]
    Foreign {
        /// Its name.
        object: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl Manifest {
    /// Of an import; of one whose dataset was purged meanwhile, nothing says what that was.
    pub fn of(import: &Import, dataset: Option<&Dataset>, force: bool) -> Self {
        let import = import.clone();
        let loading = import.loading();
        let declared = dataset.filter(|dataset| dataset.built_in().is_none());
        let declaration = declared.map(|dataset| (*dataset.descriptor).clone());
        Self {
            version: VERSION,
            id: import.id,
            dataset: import.dataset,
            mode: import.mode,
            max_rejects: import.max_rejects,
            dry_run: import.dry_run,
            dialect: import.dialect,
            filename: import.filename,
            traceparent: import.traceparent,
            media_type: import.media_type,
            gzipped: import.gzipped,
            source: import.source,
            bytes: import.bytes,
            sha256: hex::encode(import.sha256),
            loading,
            corrects: import.corrects,
            dataset_version: import.dataset_version,
            declaration,
            force,
            created_at: import.created_at,
        }
    }

    /// The name of the manifest of an upload.
    pub fn object(source: &str) -> String {
        format!("{source}{ENDING}")
    }

    /// The upload whose manifest has that name.
    pub fn source_of(object: &str) -> Option<&str> {
        object.strip_suffix(ENDING)
    }

    /// Puts it beside its upload.
    pub async fn write(&self, archive: &Archive) -> Result<(), ArchiveError> {
        archive.put(&Self::object(&self.source), json(self)).await
    }

    /// The manifest of an upload.
    pub async fn read(archive: &Archive, source: &str) -> Result<Self, ManifestError> {
        let object = Self::object(source);
        let manifest: Self = parse(&object, &archive.read_small(&object, LONGEST).await?)?;
        if manifest.version == VERSION {
            Ok(manifest)
        } else {
            let reason = format!("its version is {}", manifest.version);
            Err(ManifestError::Foreign { object, reason })
        }
    }

    /// The digest of the upload.
    pub fn digest(&self) -> Result<[u8; 32], ManifestError> {
        let mut sha256 = [0; 32];
        hex::decode_to_slice(&self.sha256, &mut sha256).map_err(|error| self.foreign(error.to_string()))?;
        Ok(sha256)
    }

    fn foreign(&self, reason: String) -> ManifestError {
        ManifestError::Foreign { object: Self::object(&self.source), reason }
    }

    /// The dataset as the import began with it. One that the database has lost is declared again.
    async fn declared(&self, db: &Db) -> Result<Arc<Dataset>, ManifestError> {
        let catalog = Catalog::new(db.clone());
        let unknown = || self.foreign(format!("there is no dataset {:?}", self.dataset));
        let failed = |error: DbError| ManifestError::Catalog(error.into());
        let Some(declaration) = &self.declaration else {
            return catalog.by_name(&self.dataset).await.map_err(failed)?.ok_or_else(unknown);
        };
        let name = Ident::dataset(&self.dataset).ok_or_else(unknown)?;
        let descriptor = descriptor::stored(&name, &declaration.to_string()).map_err(|faults| {
            self.foreign(faults.first().map_or_else(String::new, |fault| fault.message.clone()))
        })?;
        if let Some(dataset) = catalog.declared_as(&descriptor).await.map_err(failed)? {
            return Ok(dataset);
        }
        match catalog.declare(&descriptor, u32::MAX).await {
            Err(CatalogError::Exists) => self.change(&catalog, &descriptor).await?,
            declared => drop(declared.map_err(ManifestError::Catalog)?),
        }
        catalog.by_name(&self.dataset).await.map_err(failed)?.ok_or_else(unknown)
    }

    /// Goes on with a dataset that an earlier import has brought back, in the version that it had then.
    async fn change(&self, catalog: &Catalog, new: &Descriptor) -> Result<(), ManifestError> {
        let failed = |error: DbError| ManifestError::Catalog(error.into());
        let old = catalog.by_name(&self.dataset).await.map_err(failed)?;
        let old = old.ok_or(ManifestError::Catalog(CatalogError::Exists))?;
        if self.dataset_version.is_none_or(|version| version <= old.version) {
            return Err(ManifestError::Catalog(CatalogError::Exists));
        }
        let before = descriptor::stored(&old.name, &old.descriptor.to_string()).map_err(|faults| {
            self.foreign(faults.first().map_or_else(String::new, |fault| fault.message.clone()))
        })?;
        let plan = change::plan(&before, new, true);
        catalog.change(&old, &plan, new).await.map(drop).map_err(ManifestError::Catalog)
    }

    /// What to import.
    pub async fn upload(&self, db: &Db) -> Result<NewImport, ManifestError> {
        let dataset = self.declared(db).await?;
        let media_type = ["text/csv", "application/zip", "application/json"]
            .into_iter()
            .find(|known| *known == self.media_type)
            .ok_or_else(|| self.foreign(format!("the media type {:?} is unknown", self.media_type)))?;
        Ok(NewImport {
            dataset,
            mode: self.mode,
            max_rejects: self.max_rejects,
            loading: self.loading,
            corrects: self.corrects,
            dry_run: self.dry_run,
            dialect: self.dialect.clone(),
            filename: self.filename.clone(),
            traceparent: self.traceparent.clone(),
            media_type,
            gzipped: self.gzipped,
            source: self.source.clone(),
            bytes: self.bytes,
            sha256: self.digest()?,
        })
    }
}

/// After an import was cancelled or undone: it is not to come back.
pub(super) async fn withdraw(archive: &Archive, source: &str) -> Result<(), ArchiveError> {
    archive.remove(&Manifest::object(source)).await
}

/// As text for people too.
pub fn json(value: &impl Serialize) -> Bytes {
    // Maps with keys that are texts, numbers, texts: nothing that JSON could not say.
    serde_json::to_vec_pretty(value).unwrap_or_default().into()
}

/// What [`json`] wrote.
pub fn parse<T: for<'de> Deserialize<'de>>(object: &str, bytes: &[u8]) -> Result<T, ManifestError> {
    serde_json::from_slice(bytes)
        .map_err(|error| ManifestError::Foreign { object: object.to_owned(), reason: error.to_string() })
}
