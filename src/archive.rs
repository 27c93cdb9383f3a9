//! Where bytes are kept: uploads unchanged, and what was unpacked from them while it is being loaded.

use std::{ops::Range, path::Path as FilePath, sync::Arc};

use bytes::Bytes;
use futures_util::TryStreamExt;
use object_store::{ObjectStore, ObjectStoreExt, WriteMultipart, local::LocalFileSystem, path::Path};

use crate::meter::{Meter, store::MeteredStore};

/// Bytes written at once; S3 accepts no smaller part.
const PART_BYTES: usize = 5 * 1024 * 1024;
/// Parts under way at once: bounds the memory of an upload.
const PARTS_IN_FLIGHT: usize = 2;

/// The object store. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Archive {
    store: Arc<dyn ObjectStore>,
}

/// A failed conversation with the archive.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{operation} {object}")]
pub struct ArchiveError {
    operation: &'static str,
    object: String,
    #[source]
    source: Arc<object_store::Error>,
}

impl ArchiveError {
    fn during<'a, E: Into<object_store::Error>>(
        operation: &'static str,
        object: &'a str,
    ) -> impl FnOnce(E) -> Self + use<'a, E> {
        move |source| Self { operation, object: object.to_owned(), source: Arc::new(source.into()) }
    }

    /// Whether the object is not there: trying again gives the same.
    pub fn is_missing(&self) -> bool {
        matches!(*self.source, object_store::Error::NotFound { .. })
    }
}

/// An object being written. Nothing is visible under its name before [`Writer::finish`].
#[derive(Debug)]
pub struct Writer {
    object: String,
    parts: WriteMultipart,
    bytes: u64,
}

impl Archive {
    /// A directory of this machine, made when it is missing. What is written survives a power cut.
    pub fn local(directory: &FilePath) -> Result<Self, ArchiveError> {
        let name = directory.display().to_string();
        std::fs::create_dir_all(directory).map_err(|error| ArchiveError {
            operation: "making the archive's directory",
            object: name.clone(),
            source: Arc::new(object_store::Error::Generic { store: "local", source: Box::new(error) }),
        })?;
        let store = LocalFileSystem::new_with_prefix(directory)
            .map_err(ArchiveError::during("opening the archive", &name))?
            .with_automatic_cleanup(true)
            .with_fsync(true);
        Ok(Self { store: Arc::new(store) })
    }

    /// The same with every operation counted.
    pub fn metered(self, meter: &Meter) -> Self {
        Self { store: Arc::new(MeteredStore::new(self.store, meter.clone())) }
    }

    /// Begins a new object.
    pub async fn write(&self, object: &str) -> Result<Writer, ArchiveError> {
        let upload = self
            .store
            .put_multipart(&Path::from(object))
            .await
            .map_err(ArchiveError::during("beginning", object))?;
        let parts = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        Ok(Writer { object: object.to_owned(), parts, bytes: 0 })
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

    /// Removes the object; one that is not there is no error.
    pub async fn remove(&self, object: &str) -> Result<(), ArchiveError> {
        match self.store.delete(&Path::from(object)).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(ArchiveError::during("removing", object)(error)),
        }
    }

    /// Removes every object whose name begins with `folder` and a slash.
    pub async fn remove_folder(&self, folder: &str) -> Result<(), ArchiveError> {
        let objects: Vec<_> = self
            .store
            .list(Some(&Path::from(folder)))
            .try_collect()
            .await
            .map_err(ArchiveError::during("listing", folder))?;
        for object in objects {
            self.remove(object.location.as_ref()).await?;
        }
        Ok(())
    }

    /// Whether the archive can be written: writes a small object and removes it.
    pub async fn check(&self) -> Result<(), ArchiveError> {
        let object = format!("health/{}", uuid::Uuid::now_v7());
        self.store
            .put(&Path::from(object.as_str()), Bytes::from_static(b"ok").into())
            .await
            .map_err(ArchiveError::during("writing", &object))?;
        self.remove(&object).await
    }
}

impl Writer {
    /// Appends; waits when the store is slower than the caller.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), ArchiveError> {
        self.parts
            .wait_for_capacity(PARTS_IN_FLIGHT)
            .await
            .map_err(ArchiveError::during("writing", &self.object))?;
        self.bytes += bytes.len() as u64;
        self.parts.put(bytes);
        Ok(())
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes the object durable and visible.
    pub async fn finish(self) -> Result<(), ArchiveError> {
        self.parts.finish().await.map(drop).map_err(ArchiveError::during("finishing", &self.object))
    }

    /// Throws away what was written.
    pub async fn abort(self) -> Result<(), ArchiveError> {
        self.parts.abort().await.map_err(ArchiveError::during("throwing away", &self.object))
    }
}
