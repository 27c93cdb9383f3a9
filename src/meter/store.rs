//! An object store whose operations are counted and timed.

use std::{fmt, ops::Range, sync::Arc, time::Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart, path::Path,
};

use super::Meter;

/// The store itself does the work. What is deleted or listed is a stream, and not counted.
#[derive(Debug)]
pub struct MeteredStore {
    store: Arc<dyn ObjectStore>,
    meter: Meter,
}

impl MeteredStore {
    /// Counts what the store does.
    pub fn new(store: Arc<dyn ObjectStore>, meter: Meter) -> Self {
        Self { store, meter }
    }
}

impl fmt::Display for MeteredStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

async fn counted<T>(
    meter: &Meter,
    operation: &'static str,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let started = Instant::now();
    let done = work.await;
    meter.archive(operation, done.is_ok(), started.elapsed());
    done
}

#[async_trait]
impl ObjectStore for MeteredStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let bytes = payload.content_length() as u64;
        let put = counted(&self.meter, "put", self.store.put_opts(location, payload, options)).await?;
        self.meter.archive_written(bytes);
        Ok(put)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let begun = self.store.put_multipart_opts(location, options);
        let upload = counted(&self.meter, "begin", begun).await?;
        Ok(Box::new(MeteredUpload { upload, meter: self.meter.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let head = options.head;
        let operation = if head { "head" } else { "get" };
        let got = counted(&self.meter, operation, self.store.get_opts(location, options)).await?;
        if !head {
            self.meter.archive_read(got.range.end - got.range.start);
        }
        Ok(got)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let got = counted(&self.meter, "get", self.store.get_ranges(location, ranges)).await?;
        self.meter.archive_read(got.iter().map(|bytes| bytes.len() as u64).sum());
        Ok(got)
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.store.delete_stream(locations)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.store.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.store.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.store.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        counted(&self.meter, "copy", self.store.copy_opts(from, to, options)).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        counted(&self.meter, "rename", self.store.rename_opts(from, to, options)).await
    }
}

/// An object that is written part by part.
#[derive(Debug)]
struct MeteredUpload {
    upload: Box<dyn MultipartUpload>,
    meter: Meter,
}

#[async_trait]
impl MultipartUpload for MeteredUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (bytes, meter) = (data.content_length() as u64, self.meter.clone());
        let put = self.upload.put_part(data);
        Box::pin(async move {
            counted(&meter, "part", put).await?;
            meter.archive_written(bytes);
            Ok(())
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        counted(&self.meter, "finish", self.upload.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        counted(&self.meter, "abort", self.upload.abort()).await
    }
}
