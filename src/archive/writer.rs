//! An object being written.

use bytes::Bytes;
use object_store::{ObjectStoreExt, WriteMultipart, path::Path};
use tokio::runtime::Handle;

use super::{Archive, ArchiveError};

/// Bytes written at once. S3 takes 10,000 parts of at least 5 MiB: an object may have 58 GiB, which is more than is unpacked.
const PART_BYTES: usize = 6 * 1024 * 1024;
/// Parts under way at once: bounds the memory of an upload.
const PARTS_IN_FLIGHT: usize = 2;

/// An object being written. Nothing is visible under its name before [`Writer::finish`]; dropped earlier, it is thrown away.
#[derive(Debug)]
pub struct Writer {
    archive: Archive,
    object: String,
    /// `None` once it is finished or thrown away.
    parts: Option<WriteMultipart>,
    bytes: u64,
}

impl Archive {
    /// Begins a new object.
    pub async fn write(&self, object: &str) -> Result<Writer, ArchiveError> {
        let begun = self.store.put_multipart(&Path::from(object)).await;
        let upload = self.noting(begun.map_err(ArchiveError::during("beginning", object)))?;
        let parts = WriteMultipart::new_with_chunk_size(upload, PART_BYTES);
        Ok(Writer { archive: self.clone(), object: object.to_owned(), parts: Some(parts), bytes: 0 })
    }
}

impl Writer {
    /// Appends; waits when the store is slower than the caller.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), ArchiveError> {
        // There are parts until `finish` or `abort` takes the writer.
        let Some(parts) = &mut self.parts else { return Ok(()) };
        let room = parts.wait_for_capacity(PARTS_IN_FLIGHT).await;
        self.archive.noting(room.map_err(ArchiveError::during("writing", &self.object)))?;
        self.bytes += bytes.len() as u64;
        parts.put(bytes);
        Ok(())
    }

    /// Its name.
    pub fn object(&self) -> &str {
        &self.object
    }

    /// Bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Makes the object durable and visible, also when the caller does not wait for it.
    pub async fn finish(mut self) -> Result<(), ArchiveError> {
        let Some(parts) = self.parts.take() else { return Ok(()) };
        let finished = tokio::spawn(parts.finish()).await.unwrap_or_else(|error| Err(error.into()));
        self.archive.noting(finished.map(drop).map_err(ArchiveError::during("finishing", &self.object)))
    }

    /// Throws away what was written.
    pub async fn abort(mut self) -> Result<(), ArchiveError> {
        let Some(parts) = self.parts.take() else { return Ok(()) };
        parts.abort().await.map_err(ArchiveError::during("throwing away", &self.object))
    }
}

impl Drop for Writer {
    /// Parts that nobody puts together would be kept, and paid for, for ever.
    fn drop(&mut self) {
        if let (Some(parts), Ok(runtime)) = (self.parts.take(), Handle::try_current()) {
            let object = std::mem::take(&mut self.object);
            runtime.spawn(async move {
                if let Err(error) = parts.abort().await {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(object, error, "could not throw away what was begun");
                }
            });
        }
    }
}
