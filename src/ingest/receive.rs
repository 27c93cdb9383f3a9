//! Takes an upload: the bytes go to the archive as they come, digested on the way, and once they are durable an import
//! row is committed. The request ends there; the work belongs to the import.

use std::{io, sync::Arc};

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use tokio::{sync::mpsc, task::JoinHandle};

use super::manifest::Manifest;
use crate::{
    archive::{Archive, ArchiveError, Writer},
    catalog::Catalog,
    datasets::{Dataset, Encoding},
    db::{
        Db, DbError, catalog,
        imports::{self, Dialect, Import, LoadOptions, Mode, NewImport},
        owners::{self, Owner},
    },
};

/// Pieces of a body that are received and not yet digested, at most.
const PIECES_AHEAD: usize = 4;

/// What the bytes are said to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Packing {
    /// Nothing: the first bytes decide.
    Unstated,
    /// One CSV file.
    Csv {
        /// Inside gzip.
        gzipped: bool,
    },
    /// A ZIP with CSV files.
    Zip {
        /// Inside gzip.
        gzipped: bool,
    },
}

/// How an upload is to be imported.
#[derive(Debug, Clone)]
pub struct Options {
    /// What it is a file of.
    pub dataset: Arc<Dataset>,
    /// What happens with rejects.
    pub mode: Mode,
    /// More rejects than this fail the import.
    pub max_rejects: Option<i64>,
    /// How its rows meet those that are stored; of a declared dataset.
    pub loading: Option<LoadOptions>,
    /// The import whose rejects it brings back.
    pub corrects: Option<i64>,
    /// Stores nothing.
    pub dry_run: bool,
    /// How the CSV is written.
    pub dialect: Dialect,
    /// As the client names the file.
    pub filename: Option<String>,
    /// The trace the upload belongs to, as W3C Trace Context writes it.
    pub traceparent: Option<String>,
    /// Imports a file that was imported before once more.
    pub force: bool,
    /// The key it was uploaded with, where keys are required.
    pub owner: Option<Owner>,
}

/// An upload whose bytes are safe.
#[derive(Debug)]
pub struct Stored {
    object: String,
    bytes: u64,
    sha256: [u8; 32],
    media_type: &'static str,
    gzipped: bool,
}

/// Why an upload is refused. Nothing of it is kept.
#[derive(Debug, thiserror::Error)]
pub enum ReceiveError {
    /// There is nothing in it.
    #[error("the file is empty")]
    Empty,
    /// It is longer than allowed.
    #[error("the upload is longer than {limit} bytes")]
    TooLarge {
        /// Bytes.
        limit: u64,
    },
    /// It ended before it was complete, or is not well-formed.
    #[error("the body cannot be read beyond {received} bytes")]
    Body {
        /// Bytes.
        received: u64,
        /// What stopped it.
        #[source]
        source: io::Error,
    },
    /// It is not what it is said to be.
    #[error("the body is not {expected}: it begins with the bytes {begin}")]
    Mislabelled {
        /// What it is said to be.
        expected: &'static str,
        /// Its first bytes, in hexadecimal.
        begin: String,
    },
    /// It is text in another encoding.
    #[error("the file is UTF-16; say so with encoding=utf-16, or save it as UTF-8")]
    Utf16,
    /// Its dataset is gone, or is loaded otherwise by now.
    #[error("the dataset has changed while the file came; look at it and send the file again")]
    Changed,
    /// It cannot be kept.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Its import cannot be made.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// What an upload became.
#[derive(Debug, Clone)]
pub enum Received {
    /// A new import.
    New(Import),
    /// The same file was imported before: this is that import.
    Same(Import),
}

/// Keeps the bytes of `body` in the archive, in constant memory. `encoding`: that of the text, if it is not UTF-8.
pub async fn store(
    archive: &Archive,
    packing: Packing,
    encoding: Option<Encoding>,
    limit: u64,
    body: impl Stream<Item = io::Result<Bytes>> + Unpin,
) -> Result<Stored, ReceiveError> {
    let object = format!("uploads/{}", uuid::Uuid::now_v7());
    let mut writer = archive.write(&object).await?;
    match copy(&mut writer, packing, encoding, limit, body).await {
        Ok((sha256, media_type, gzipped)) => {
            let bytes = writer.bytes();
            writer.finish().await?;
            Ok(Stored { object, bytes, sha256, media_type, gzipped })
        }
        Err(error) => {
            if let Err(error) = writer.abort().await {
                tracing::warn!(%error, "could not throw away a refused upload");
            }
            Err(error)
        }
    }
}

async fn copy(
    writer: &mut Writer,
    packing: Packing,
    encoding: Option<Encoding>,
    limit: u64,
    mut body: impl Stream<Item = io::Result<Bytes>> + Unpin,
) -> Result<([u8; 32], &'static str, bool), ReceiveError> {
    let (pieces, digest) = digesting();
    let mut head = Vec::with_capacity(4);
    while let Some(bytes) = body.next().await {
        let bytes = bytes.map_err(|source| ReceiveError::Body { received: writer.bytes(), source })?;
        if head.len() < 4 {
            head.extend(bytes.iter().take(4 - head.len()));
        }
        if writer.bytes() + bytes.len() as u64 > limit {
            return Err(ReceiveError::TooLarge { limit });
        }
        if pieces.send(bytes.clone()).await.is_err() {
            // Whoever digests has broken down, which shows in the end.
            break;
        }
        writer.write(bytes).await?;
        // A fast client has more at once; requests shall not wait for all of it.
        tokio::task::yield_now().await;
    }
    if head.is_empty() {
        return Err(ReceiveError::Empty);
    }
    let (media_type, gzipped) = recognize(packing, encoding, &head)?;
    drop(pieces);
    let sha256 = digest.await.map_err(ArchiveError::during("digesting", writer.object()))?;
    Ok((sha256, media_type, gzipped))
}

/// Digests what it is sent, in a task of its own: a processor receives while another digests.
fn digesting() -> (mpsc::Sender<Bytes>, JoinHandle<[u8; 32]>) {
    let (pieces, mut coming) = mpsc::channel::<Bytes>(PIECES_AHEAD);
    let digest = tokio::spawn(async move {
        let mut digest = Sha256::new();
        while let Some(bytes) = coming.recv().await {
            digest.update(&bytes);
        }
        digest.finalize().into()
    });
    (pieces, digest)
}

const CSV: &str = "text/csv";
pub(super) const ZIP: &str = "application/zip";

/// Holds what the bytes are said to be against how they begin.
pub(super) fn recognize(
    packing: Packing,
    encoding: Option<Encoding>,
    head: &[u8],
) -> Result<(&'static str, bool), ReceiveError> {
    let is_zip = head.starts_with(b"PK");
    let is_gzip = head.starts_with(&[0x1f, 0x8b]);
    let mislabelled = |expected| Err(ReceiveError::Mislabelled { expected, begin: hex::encode(head) });
    match packing {
        Packing::Csv { gzipped: true } if !is_gzip => mislabelled("gzip"),
        Packing::Zip { gzipped: true } if !is_gzip => mislabelled("gzip"),
        Packing::Csv { gzipped: true } => Ok((CSV, true)),
        Packing::Zip { gzipped: true } => Ok((ZIP, true)),
        Packing::Zip { gzipped: false } if !is_zip => mislabelled("a ZIP archive"),
        Packing::Zip { gzipped: false } => Ok((ZIP, false)),
        Packing::Csv { gzipped: false } if head.starts_with(b"PK\x03\x04") || is_gzip => mislabelled("CSV"),
        Packing::Csv { gzipped: false } | Packing::Unstated
            if encoding != Some(Encoding::Utf16)
                && (head.starts_with(b"\xff\xfe") || head.starts_with(b"\xfe\xff")) =>
        {
            Err(ReceiveError::Utf16)
        }
        Packing::Csv { gzipped: false } => Ok((CSV, false)),
        Packing::Unstated if head.starts_with(b"PK\x03\x04") || head.starts_with(b"PK\x05\x06") => {
            Ok((ZIP, false))
        }
        Packing::Unstated => Ok((CSV, is_gzip)),
    }
}

impl Stored {
    /// SHA-256 of the bytes.
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256
    }

    /// Gives the bytes up: no import came of them.
    pub async fn discard(self, archive: &Archive) {
        discard(archive, &self.object).await;
    }
}

/// Removes an upload that became no import, and its manifest.
pub async fn discard(archive: &Archive, source: &str) {
    // The manifest first: without its upload it would promise what is not there.
    for object in [&Manifest::object(source), source] {
        if let Err(error) = archive.remove(object).await {
            tracing::warn!(%error, "could not throw away an upload that became no import");
            return;
        }
    }
}

/// The dataset in the version of now, which stays so until the transaction ends: a change waits for it and then sees the import.
async fn current(
    db: &Db,
    connection: &mut PgConnection,
    dataset: Arc<Dataset>,
) -> Result<Arc<Dataset>, ReceiveError> {
    let Some(id) = dataset.id else { return Ok(dataset) };
    let version = catalog::hold(connection, id).await?.ok_or(ReceiveError::Changed)?;
    if version == dataset.version {
        return Ok(dataset);
    }
    Catalog::new(db.clone()).version(id, version).await?.ok_or(ReceiveError::Changed)
}

/// Makes an import of the upload, or finds the one that the same file became. Counts once the transaction commits.
pub async fn register(
    db: &Db,
    connection: &mut PgConnection,
    archive: &Archive,
    stored: &Stored,
    options: Options,
) -> Result<Received, ReceiveError> {
    let Options {
        dataset,
        mode,
        max_rejects,
        loading,
        corrects,
        dry_run,
        dialect,
        filename,
        traceparent,
        force,
        owner,
    } = options;
    let dataset = current(db, connection, dataset).await?;
    if let Some(LoadOptions { load, .. }) = loading
        && !load.fits(&dataset)
    {
        return Err(ReceiveError::Changed);
    }
    let new = NewImport {
        dataset,
        mode,
        max_rejects,
        loading,
        corrects,
        dry_run,
        dialect,
        filename,
        traceparent,
        media_type: stored.media_type,
        gzipped: stored.gzipped,
        source: stored.object.clone(),
        // The limit on uploads is far below 2^63.
        bytes: i64::try_from(stored.bytes).unwrap_or(i64::MAX),
        sha256: stored.sha256,
    };
    let among = owner.filter(|owner| !owner.reads_all).map(|owner| owner.key_id);
    if !force && let Some(same) = imports::find_same(connection, &new, among).await? {
        return Ok(Received::Same(same));
    }
    let import = imports::insert(connection, &new, None).await?;
    if let Some(owner) = owner {
        owners::set(connection, import.id, owner.key_id).await?;
    }
    Manifest::of(&import, Some(&new.dataset), force).write(archive).await?;
    Ok(Received::New(import))
}
