//! An object store whose operations are counted and timed.

use std::{fmt, ops::Range, sync::Arc, time::Instant};

use async_trait::async_trait;
use bytes::Bytes;
use futures_util::stream::BoxStream;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, RenameOptions, Result, UploadPart, path::Path,
};

use super::Metrics;

/// The store itself does the work. What is deleted or listed is a stream, and not counted.
#[derive(Debug)]
pub struct MeteredStore {
    store: Arc<dyn ObjectStore>,
    metrics: Metrics,
}

impl MeteredStore {
    /// Counts what the store does.
    pub fn new(store: Arc<dyn ObjectStore>, metrics: Metrics) -> Self {
        Self { store, metrics }
    }
}

impl fmt::Display for MeteredStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.store.fmt(f)
    }
}

async fn counted<T>(
    metrics: &Metrics,
    operation: &'static str,
    work: impl Future<Output = Result<T>>,
) -> Result<T> {
    let started = Instant::now();
    let done = work.await;
    metrics.archive(operation, done.is_ok(), started.elapsed());
    done
}

#[async_trait]
impl ObjectStore for MeteredStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let bytes = payload.content_length() as u64;
        let put = counted(&self.metrics, "put", self.store.put_opts(location, payload, options)).await?;
        self.metrics.archive_written(bytes);
        Ok(put)
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let begun = self.store.put_multipart_opts(location, options);
        let upload = counted(&self.metrics, "begin", begun).await?;
        Ok(Box::new(MeteredUpload { upload, metrics: self.metrics.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        let head = options.head;
        let operation = if head { "head" } else { "get" };
        let got = counted(&self.metrics, operation, self.store.get_opts(location, options)).await?;
        if !head {
            self.metrics.archive_read(got.range.end - got.range.start);
        }
        Ok(got)
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        let got = counted(&self.metrics, "get", self.store.get_ranges(location, ranges)).await?;
        self.metrics.archive_read(got.iter().map(|bytes| bytes.len() as u64).sum());
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
        counted(&self.metrics, "copy", self.store.copy_opts(from, to, options)).await
    }

    async fn rename_opts(&self, from: &Path, to: &Path, options: RenameOptions) -> Result<()> {
        counted(&self.metrics, "rename", self.store.rename_opts(from, to, options)).await
    }
}

/// An object that is written part by part.
#[derive(Debug)]
struct MeteredUpload {
    upload: Box<dyn MultipartUpload>,
    metrics: Metrics,
}

#[async_trait]
impl MultipartUpload for MeteredUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (bytes, metrics) = (data.content_length() as u64, self.metrics.clone());
        let put = self.upload.put_part(data);
        Box::pin(async move {
            counted(&metrics, "part", put).await?;
            metrics.archive_written(bytes);
            Ok(())
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        counted(&self.metrics, "finish", self.upload.complete()).await
    }

    async fn abort(&mut self) -> Result<()> {
        counted(&self.metrics, "abort", self.upload.abort()).await
    }
}
