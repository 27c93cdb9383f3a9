//! Where bytes are kept: uploads unchanged, and what was unpacked from them while it is being loaded. A directory, or a bucket of
//! an S3-compatible store.

mod writer;

use std::{
    ops::Range,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures_util::{Stream, StreamExt, TryStreamExt};
use object_store::{
    BackoffConfig, ObjectStore, ObjectStoreExt, RetryConfig, aws::AmazonS3Builder, local::LocalFileSystem,
    path::Path, prefix::PrefixStore,
};
use rustix::fs::{Access, access};
use sha2::{Digest, Sha256};

pub use self::writer::Writer;
use crate::{
    config::{self, Place},
    metrics::{Metrics, store::MeteredStore},
};

/// What a store that does not answer is given before its caller is told: a client waits for it.
const RETRIES: usize = 3;
const RETRY_FOR: Duration = Duration::from_secs(10);

/// The object store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Archive {
    store: Arc<dyn ObjectStore>,
    /// When the store is one.
    directory: Option<Arc<std::path::Path>>,
    /// Whether a write has failed since the last successful check.
    failing: Arc<AtomicBool>,
}

/// An object in a list.
#[derive(Debug, Clone)]
pub struct Listed {
    /// Its name.
    pub object: String,
    /// When it was written.
    pub modified_at: DateTime<Utc>,
}

/// What an object must be, byte for byte.
#[derive(Debug, Clone)]
pub struct Sealed {
    /// Its name.
    pub object: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256 of its bytes.
    pub sha256: Vec<u8>,
}

/// A failed conversation with the archive.
#[derive(Debug, Clone, thiserror::Error)]
pub enum ArchiveError {
    /// The store refused, or did not answer.
    #[error("{operation} {object}")]
    Store {
        /// What was attempted.
        operation: &'static str,
        /// With which object.
        object: String,
        /// Why it failed.
        #[source]
        source: Arc<object_store::Error>,
    },
    /// The object is not what was written.
    #[error("{object} is damaged: it has {found}, and had {expected}")]
    Damaged {
        /// Which one.
        object: String,
        /// Its length or digest.
        found: String,
        /// What that was.
        expected: String,
    },
}

impl ArchiveError {
    pub(crate) fn during<'a, E: Into<object_store::Error>>(
        operation: &'static str,
        object: &'a str,
    ) -> impl FnOnce(E) -> Self + use<'a, E> {
        move |source| Self::Store { operation, object: object.to_owned(), source: Arc::new(source.into()) }
    }

    /// Whether the object is not there: trying again gives the same.
    pub fn is_missing(&self) -> bool {
        matches!(self, Self::Store { source, .. } if matches!(**source, object_store::Error::NotFound { .. }))
    }

    /// Whether the object is there and not what was written: trying again gives the same.
    pub fn is_damage(&self) -> bool {
        matches!(self, Self::Damaged { .. })
    }

    /// Whether trying again later may do: a store that is away or full.
    pub fn is_passing(&self) -> bool {
        !self.is_missing() && !self.is_damage()
    }
}

impl Archive {
    /// The store as it is configured. A directory is made when it is missing; a bucket has to be there, and is not asked yet.
    pub fn open(config: &config::Archive) -> Result<Self, ArchiveError> {
        let failed = || ArchiveError::during("opening the archive", &config.url);
        let mut directory = None;
        let store: Arc<dyn ObjectStore> = match config.place() {
            Ok(Place::Directory(path)) => {
                let store = local(&path).map_err(failed())?;
                directory = Some(path.into());
                Arc::new(store)
            }
            Ok(Place::Bucket { name, prefix }) => {
                let bucket = bucket(config, &name).map_err(failed())?;
                if prefix.is_empty() { Arc::new(bucket) } else { Arc::new(PrefixStore::new(bucket, prefix)) }
            }
            Err(allowed) => return Err(failed()(generic(allowed.into()))),
        };
        Ok(Self { store, directory, failing: Arc::default() })
    }

    /// The same with every operation counted.
    pub fn metered(self, metrics: &Metrics) -> Self {
        Self { store: Arc::new(MeteredStore::new(self.store, metrics.clone())), ..self }
    }

    /// Writes a small object in one go.
    pub async fn put(&self, object: &str, bytes: Bytes) -> Result<(), ArchiveError> {
        let put = self.store.put(&Path::from(object), bytes.into()).await;
        self.noting(put.map(drop).map_err(ArchiveError::during("writing", object)))
    }

    /// All of an object that has at most `longest` bytes.
    pub async fn read_small(&self, object: &str, longest: u64) -> Result<Bytes, ArchiveError> {
        let failed = || ArchiveError::during("reading", object);
        let found = self.store.get(&Path::from(object)).await.map_err(failed())?;
        if found.meta.size > longest {
            return Err(ArchiveError::Damaged {
                object: object.to_owned(),
                found: format!("{} bytes", found.meta.size),
                expected: format!("at most {longest}"),
            });
        }
        found.bytes().await.map_err(failed())
    }

    /// Whether the object is there.
    pub async fn contains(&self, object: &str) -> Result<bool, ArchiveError> {
        match self.store.head(&Path::from(object)).await {
            Ok(_) => Ok(true),
            Err(object_store::Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(ArchiveError::during("looking for", object)(error)),
        }
    }

    /// The objects whose names begin with `folder` and a slash, in no particular order.
    pub fn list(&self, folder: &str) -> impl Stream<Item = Result<Listed, ArchiveError>> + Send + use<> {
        let folder = folder.to_owned();
        let listed = self.store.list(Some(&Path::from(folder.as_str())));
        listed.map(move |found| {
            let found = found.map_err(ArchiveError::during("listing", &folder))?;
            Ok(Listed { object: found.location.into(), modified_at: found.last_modified })
        })
    }

    /// The object's bytes in `range`, which must lie within it.
    pub async fn read(&self, object: &str, range: Range<u64>) -> Result<Bytes, ArchiveError> {
        if range.is_empty() {
            return Ok(Bytes::new());
        }
        self.store
            .get_range(&Path::from(object), range)
            .await
            .map_err(ArchiveError::during("reading", object))
    }

    /// All of an object in blocks of `block_bytes`. The last one comes only if all of them are what was written.
    pub fn read_sealed(
        &self,
        sealed: Sealed,
        block_bytes: u64,
    ) -> impl Stream<Item = Result<Bytes, ArchiveError>> + Send + 'static + use<> {
        let archive = self.clone();
        async_stream::try_stream! {
            let Sealed { object, bytes: total, sha256 } = sealed;
            let damaged = |found, expected| ArchiveError::Damaged { object: object.clone(), found, expected };
            let head = archive.store.head(&Path::from(object.as_str())).await;
            let found = head.map_err(ArchiveError::during("reading", &object))?.size;
            if found != total {
                Err(damaged(format!("{found} bytes"), format!("{total} bytes")))?;
            }
            let mut digest = Sha256::new();
            let mut position = 0;
            while position < total {
                let end = total.min(position + block_bytes);
                let block = archive.read(&object, position..end).await?;
                // Requests shall not wait for a whole block.
                for piece in block.chunks(DIGESTED_BYTES) {
                    digest.update(piece);
                    tokio::task::yield_now().await;
                }
                position = end;
                if position == total {
                    let found = digest.finalize_reset();
                    if found.as_slice() != sha256 {
                        let text = |digest: &[u8]| format!("the SHA-256 {}", hex::encode(digest));
                        Err(damaged(text(&found), text(&sha256)))?;
                    }
                }
                yield block;
            }
        }
    }

    /// Reads an object for nothing but to see whether it is what was written.
    pub async fn verify(&self, sealed: Sealed) -> Result<(), ArchiveError> {
        let mut blocks = std::pin::pin!(self.read_sealed(sealed, VERIFIED_BYTES));
        while let Some(block) = blocks.next().await {
            block?;
        }
        Ok(())
    }

    /// Removes the object; one that is not there is no error.
    pub async fn remove(&self, object: &str) -> Result<(), ArchiveError> {
        match self.store.delete(&Path::from(object)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(ArchiveError::during("removing", object)(error)),
        }
    }

    /// Removes every object whose name begins with `folder` and a slash.
    pub async fn remove_folder(&self, folder: &str) -> Result<(), ArchiveError> {
        let objects: Vec<_> = self.list(folder).try_collect().await?;
        for Listed { object, .. } in objects {
            self.remove(&object).await?;
        }
        Ok(())
    }

    /// Removes what a killed process has begun to write in a directory before that moment; in a bucket its lifecycle does so. How
    /// many there were.
    pub async fn remove_begun(&self, before: DateTime<Utc>) -> Result<usize, ArchiveError> {
        let Some(directory) = self.directory.clone() else { return Ok(0) };
        let name = directory.display().to_string();
        let removed = tokio::task::spawn_blocking(move || remove_begun(&directory, before.into()));
        let removed = removed.await.map_err(ArchiveError::during("sweeping", &name))?;
        removed.map_err(|error| ArchiveError::during("sweeping", &name)(generic(error.into())))
    }

    /// Whether the archive can be written. Any client can cause this check, so it writes nothing while writes succeed: an answer of the archive
    /// is enough then. After a write has failed, the check writes a small object and removes it.
    pub async fn check(&self) -> Result<(), ArchiveError> {
        if self.failing.load(Ordering::Relaxed) {
            let object = format!("health/{}", uuid::Uuid::now_v7());
            self.put(&object, Bytes::from_static(b"ok")).await?;
            self.remove(&object).await?;
            self.failing.store(false, Ordering::Relaxed);
            return Ok(());
        }
        match &self.directory {
            Some(directory) => {
                let name = directory.display().to_string();
                let writable = access(&**directory, Access::WRITE_OK | Access::EXEC_OK);
                writable.map_err(|error| ArchiveError::during("writing", &name)(generic(error.into())))
            }
            None => self.list("health").next().await.transpose().map(drop),
        }
    }

    /// Notes a write that failed, for [`Archive::check`].
    fn noting<T>(&self, written: Result<T, ArchiveError>) -> Result<T, ArchiveError> {
        written.inspect_err(|_| self.failing.store(true, Ordering::Relaxed))
    }
}

/// Bytes digested in one go: what takes well below a millisecond.
const DIGESTED_BYTES: usize = 64 << 10;
/// Bytes read at once to verify an object.
const VERIFIED_BYTES: u64 = 4 << 20;

/// What is written there survives a power cut.
fn local(directory: &PathBuf) -> Result<LocalFileSystem, object_store::Error> {
    std::fs::create_dir_all(directory).map_err(|error| generic(error.into()))?;
    Ok(LocalFileSystem::new_with_prefix(directory)?.with_automatic_cleanup(true).with_fsync(true))
}

fn bucket(config: &config::Archive, name: &str) -> Result<object_store::aws::AmazonS3, object_store::Error> {
    let builder = if config.access_key_id.is_empty() {
        AmazonS3Builder::from_env()
    } else {
        AmazonS3Builder::new()
            .with_access_key_id(&config.access_key_id)
            .with_secret_access_key(&config.secret_access_key.0)
    };
    let builder = if config.endpoint.is_empty() { builder } else { builder.with_endpoint(&config.endpoint) };
    builder
        .with_bucket_name(name)
        .with_region(&config.region)
        .with_allow_http(config.endpoint.starts_with("http://"))
        .with_retry(RetryConfig {
            max_retries: RETRIES,
            retry_timeout: RETRY_FOR,
            backoff: BackoffConfig::default(),
        })
        .build()
}

/// The store writes an object beside its place, under a name with a # and a number.
fn remove_begun(directory: &std::path::Path, before: SystemTime) -> std::io::Result<usize> {
    let mut removed = 0;
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            removed += remove_begun(&entry.path(), before)?;
            continue;
        }
        let name = entry.file_name();
        let number = name.to_str().and_then(|name| name.rsplit_once('#')).map(|(_, number)| number);
        let is_begun = number.is_some_and(|number| number.parse::<u64>().is_ok());
        if is_begun && entry.metadata()?.modified()? < before {
            std::fs::remove_file(entry.path())?;
            removed += 1;
        }
    }
    Ok(removed)
}

fn generic(source: Box<dyn std::error::Error + Send + Sync>) -> object_store::Error {
    object_store::Error::Generic { store: "archive", source }
}
