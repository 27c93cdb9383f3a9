//! A bundle is what the long-term archive has of an import: `imports/<number>/<uuid of the upload>/` with the files `upload`, as it came,
//! `ledger.csv.gz` and `rejects.csv.gz`, PostgreSQL's CSV with a header, and `manifest.json`, which is written last and
//! describes the others.

use std::io::Write;

use bytes::Bytes;
use flate2::{
    Compression,
    write::{GzDecoder, GzEncoder},
};
use futures_util::{Stream, StreamExt};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::RetentionError;
use crate::{
    archive::{Archive, ArchiveError, Sealed},
    catalog::Catalog,
    db::{
        Db,
        imports::{Import, State},
        retention::{self, Table},
    },
    ingest::{
        manifest::{Manifest, ManifestError, json, parse},
        sealed,
    },
};

/// Where the bundles are.
pub(super) const FOLDER: &str = "imports";
/// Of a bundle.
pub(super) const MANIFEST: &str = "manifest.json";
/// Longer ones are none of ours.
const LONGEST_MANIFEST: u64 = 8 << 20;
/// Bytes copied or packed at once.
const BLOCK_BYTES: usize = 1 << 20;
/// Bytes unpacked at once: a thousand times as many may come of them.
const PACKED_BYTES: usize = 1 << 14;

/// What `manifest.json` says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Bundle {
    /// The import, as beside its upload.
    pub(super) import: Manifest,
    /// How it ended.
    pub(super) state: State,
    /// Rows read, and rejected.
    pub(super) rows_read: Option<i64>,
    pub(super) rejected: Option<i64>,
    /// `ledger.csv.gz`
    pub(super) ledger: Rows,
    /// `rejects.csv.gz`
    pub(super) rejects: Rows,
}

/// A file of rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Rows {
    /// How many there are.
    pub(super) rows: i64,
    /// Length of the file.
    bytes: u64,
    /// SHA-256 of the file, hexadecimal.
    sha256: String,
}

/// The folder of an import's bundle: an import whose number another one had in a database that was lost has its own.
pub(super) fn folder(id: i64, source: &str) -> String {
    let name = source.rsplit('/').next().unwrap_or(source);
    format!("{FOLDER}/{id}/{name}")
}

/// The file of a table.
fn file(table: Table) -> &'static str {
    match table {
        Table::Ledger => "ledger.csv.gz",
        Table::Rejects => "rejects.csv.gz",
    }
}

impl Bundle {
    /// Copies everything of an import into its folder, and the manifest after it.
    pub(super) async fn pack(
        db: &Db,
        from: &Archive,
        to: &Archive,
        import: &Import,
    ) -> Result<Self, RetentionError> {
        let folder = folder(import.id, &import.source);
        copy(from, sealed(import), to, &format!("{folder}/upload")).await?;
        // One that was cancelled or undone has none any more.
        let force = match Manifest::read(from, &import.source).await {
            Ok(manifest) => manifest.force,
            Err(ManifestError::Archive(error)) if error.is_missing() => false,
            Err(error) => return Err(error.into()),
        };
        let dataset = Catalog::new(db.clone()).of_import(&import.pinned()).await?;
        let bundle = Self {
            import: Manifest::of(import, dataset.as_deref(), force),
            state: import.state,
            rows_read: import.rows_read,
            rejected: import.rejected,
            ledger: pack_rows(db, Table::Ledger, import.id, to, &folder).await?,
            rejects: pack_rows(db, Table::Rejects, import.id, to, &folder).await?,
        };
        to.put(&format!("{folder}/{MANIFEST}"), json(&bundle)).await?;
        Ok(bundle)
    }

    /// The bundle in a folder.
    pub(super) async fn read(archive: &Archive, folder: &str) -> Result<Self, ManifestError> {
        let object = format!("{folder}/{MANIFEST}");
        parse(&object, &archive.read_small(&object, LONGEST_MANIFEST).await?)
    }

    /// Reads back all of it, and fails unless it is what was copied.
    pub(super) async fn verify(&self, archive: &Archive) -> Result<(), RetentionError> {
        if Self::read(archive, &self.folder()).await? != *self {
            return Err(RetentionError::Changed);
        }
        archive.verify(self.upload()?).await?;
        archive.verify(self.rows(Table::Ledger)?).await?;
        Ok(archive.verify(self.rows(Table::Rejects)?).await?)
    }

    /// Where it is.
    pub(super) fn folder(&self) -> String {
        folder(self.import.id, &self.import.source)
    }

    /// The upload.
    pub(super) fn upload(&self) -> Result<Sealed, ManifestError> {
        let object = format!("{}/upload", self.folder());
        let sha256 = self.import.digest()?.into();
        Ok(Sealed { object, bytes: self.import.bytes.unsigned_abs(), sha256 })
    }

    /// Puts the rows of a table back.
    pub(super) async fn unpack_rows(
        &self,
        archive: &Archive,
        connection: &mut sqlx::PgConnection,
        table: Table,
    ) -> Result<(), RetentionError> {
        let sealed = self.rows(table)?;
        let object = sealed.object.clone();
        let packed = archive.read_sealed(sealed, BLOCK_BYTES as u64);
        let csv = std::pin::pin!(unpacked(object.clone(), packed));
        let found = retention::import_rows(connection, table, csv).await?;
        let expected = self.rows_of(table).rows;
        if found == expected { Ok(()) } else { Err(RetentionError::Rows { object, found, expected }) }
    }

    fn rows_of(&self, table: Table) -> &Rows {
        match table {
            Table::Ledger => &self.ledger,
            Table::Rejects => &self.rejects,
        }
    }

    fn rows(&self, table: Table) -> Result<Sealed, ManifestError> {
        let object = format!("{}/{}", self.folder(), file(table));
        let Rows { bytes, sha256, .. } = self.rows_of(table);
        let foreign = |error: hex::FromHexError| ManifestError::Foreign {
            object: object.clone(),
            reason: error.to_string(),
        };
        let sha256 = hex::decode(sha256).map_err(foreign)?;
        Ok(Sealed { object, bytes: *bytes, sha256 })
    }
}

/// Copies an object, which arrives whole and as it was written, or not at all.
pub(super) async fn copy(
    from: &Archive,
    sealed: Sealed,
    to: &Archive,
    object: &str,
) -> Result<(), RetentionError> {
    let mut blocks = std::pin::pin!(from.read_sealed(sealed, BLOCK_BYTES as u64));
    let mut writer = to.write(object).await?;
    while let Some(block) = blocks.next().await {
        let written = match block {
            Ok(block) => writer.write(block).await,
            Err(error) => Err(error),
        };
        if let Err(error) = written {
            // Waited for: the process may end next.
            if let Err(error) = writer.abort().await {
                tracing::warn!(%error, "could not throw away half a copy");
            }
            return Err(error.into());
        }
    }
    Ok(writer.finish().await?)
}

async fn pack_rows(
    db: &Db,
    table: Table,
    import_id: i64,
    to: &Archive,
    folder: &str,
) -> Result<Rows, RetentionError> {
    let object = format!("{folder}/{}", file(table));
    let failed = |source| RetentionError::Gzip { object: object.clone(), source };
    let (rows, lines) = retention::export(db, table, import_id).await?;
    let mut lines = std::pin::pin!(lines);
    let mut writer = to.write(&object).await?;
    let mut digest = Sha256::new();
    let mut packer = GzEncoder::new(Vec::new(), Compression::default());
    let mut ended = false;
    while !ended {
        match lines.next().await {
            Some(line) => packer.write_all(&line?).map_err(failed)?,
            None => {
                ended = true;
                packer.try_finish().map_err(failed)?;
            }
        }
        if ended || packer.get_ref().len() >= BLOCK_BYTES {
            let bytes = Bytes::from(std::mem::take(packer.get_mut()));
            digest.update(&bytes);
            writer.write(bytes).await?;
        }
    }
    let bytes = writer.bytes();
    writer.finish().await?;
    Ok(Rows { rows, bytes, sha256: hex::encode(digest.finalize()) })
}

/// What is in a gzip.
fn unpacked(
    object: String,
    packed: impl Stream<Item = Result<Bytes, ArchiveError>>,
) -> impl Stream<Item = Result<Bytes, RetentionError>> {
    async_stream::try_stream! {
        let failed = |source| RetentionError::Gzip { object: object.clone(), source };
        let mut packed = std::pin::pin!(packed);
        let mut unpacker = GzDecoder::new(Vec::new());
        while let Some(block) = packed.next().await {
            for piece in block?.chunks(PACKED_BYTES) {
                unpacker.write_all(piece).map_err(failed)?;
                yield Bytes::from(std::mem::take(unpacker.get_mut()));
            }
        }
        unpacker.try_finish().map_err(failed)?;
        yield Bytes::from(std::mem::take(unpacker.get_mut()));
    }
}
