//! The requests. All of them may be repeated: the upload carries an `Idempotency-Key`, the others only read.

use std::{io, path::Path, time::Duration};

use futures_util::{StreamExt, TryStreamExt};
use reqwest::{
    Body, Url,
    header::{ACCEPT, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue},
};
use tokio::{
    fs::File,
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt},
};
use tokio_util::io::{ReaderStream, StreamReader};

use super::{Arguments, Header, Progress, path, source::Source, suffixed};
use crate::cli::server::{Import, RequestError, Server, read, send};

/// The server says every 15 seconds that it lives; after three times that, it no longer does.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(45);
/// Between two looks at an import where its events do not get through.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Bytes read from the file at once.
const BLOCK_BYTES: usize = 256 * 1024;

/// One server, and how files are uploaded to it.
pub(super) struct Client {
    server: Server,
    path: String,
    query: Vec<(&'static str, String)>,
}

impl Client {
    pub(super) fn new(arguments: &Arguments) -> reqwest::Result<Self> {
        let server = Server::new(&arguments.server)?;
        Ok(Self { server, path: path(&arguments.dataset), query: query(arguments) })
    }

    pub(super) fn import_url(&self, id: i64) -> Url {
        self.server.import_url(id)
    }

    /// Sends the file, which is called `shown` on a terminal; returns once the server has its bytes safe.
    pub(super) async fn upload(
        &self,
        source: &Source,
        shown: &str,
        progress: &Progress,
    ) -> Result<Import, RequestError> {
        let mut url = self.server.url(&self.path);
        url.query_pairs_mut().extend_pairs(&self.query).append_pair("filename", &source.name);
        // One for this file in this run: whatever happens on the way, the server imports it once.
        let key = uuid::Uuid::now_v7().to_string();
        let headers = headers(&source.name);
        let attempt = async || {
            let (body, bytes) = open(&source.path, shown, progress).await?;
            let request = self.server.http.post(url.clone()).headers(headers.clone());
            let request = request.header("Idempotency-Key", &key).header(CONTENT_LENGTH, bytes).body(body);
            read(&url, send(&url, request).await?).await
        };
        self.server.repeat(attempt, |text| progress.note(&format!("{shown}: {text}"))).await
    }

    /// Follows the import to its end: by its events or, where they do not get through, by looking again.
    pub(super) async fn follow(&self, import: Import, progress: &Progress) -> Result<Import, RequestError> {
        let mut import = import;
        loop {
            progress.show(&import);
            if import.state.is_final() {
                return Ok(import);
            }
            if let Some(ended) = self.events(import.id, progress).await {
                return Ok(ended);
            }
            tokio::time::sleep(LOOK_AGAIN).await;
            let url = self.import_url(import.id);
            let attempt = async || read(&url, self.server.get(&url, "application/json").await?).await;
            import = self.server.repeat(attempt, |text| progress.note(&text)).await?;
        }
    }

    /// The import once it has ended; nothing when its events break off before.
    async fn events(&self, id: i64, progress: &Progress) -> Option<Import> {
        let url = self.server.url(&format!("imports/{id}/events"));
        let response = self.server.get(&url, "text/event-stream").await.ok()?;
        let bytes = response.bytes_stream().map_err(io::Error::other);
        let mut lines = StreamReader::new(bytes).lines();
        while let Ok(Ok(Some(line))) = tokio::time::timeout(SILENCE_TIMEOUT, lines.next_line()).await {
            let Some(data) = line.strip_prefix("data:") else { continue };
            let import: Import = serde_json::from_str(data).ok()?;
            progress.show(&import);
            if import.state.is_final() {
                return Some(import);
            }
        }
        None
    }

    /// Writes the rejects to `path`: all of them or, should something fail, none.
    pub(super) async fn save_rejects(
        &self,
        id: i64,
        path: &Path,
        progress: &Progress,
    ) -> Result<(), RequestError> {
        let url = self.server.url(&format!("imports/{id}/rejects.csv"));
        let unfinished = suffixed(path, ".part");
        let saved = self.server.repeat(
            async || {
                let failed = |source| RequestError::Save { path: path.to_owned(), source };
                let response = self.server.get(&url, "text/csv").await?;
                let mut rejects = response.bytes_stream();
                let mut file = File::create(&unfinished).await.map_err(failed)?;
                while let Some(bytes) = rejects.next().await {
                    let bytes = bytes.map_err(|error| RequestError::unreachable(url.clone(), error))?;
                    file.write_all(&bytes).await.map_err(failed)?;
                }
                file.sync_all().await.map_err(failed)?;
                tokio::fs::rename(&unfinished, path).await.map_err(failed)
            },
            |text| progress.note(&text),
        );
        saved.await
    }
}

/// The file as a body of exactly the length it has now.
async fn open(file: &Path, shown: &str, progress: &Progress) -> Result<(Body, u64), RequestError> {
    let metadata = tokio::fs::metadata(file).await.map_err(RequestError::Read)?;
    if !metadata.is_file() {
        return Err(RequestError::NotAFile);
    }
    let bytes = metadata.len();
    let content = File::open(file).await.map_err(RequestError::Read)?.take(bytes);
    progress.begin_sending(shown, bytes);
    let sent = progress.sent();
    let stream = ReaderStream::with_capacity(content, BLOCK_BYTES).inspect_ok(move |block| sent(block.len()));
    Ok((Body::wrap_stream(stream), bytes))
}

fn query(arguments: &Arguments) -> Vec<(&'static str, String)> {
    let Arguments { strict, max_rejects, dry_run, force, delimiter, quote, escape, .. } = arguments;
    let Arguments { encoding, skip, comment, null, header, .. } = arguments;
    let header = header.map(|header| match header {
        Header::Present => "present".to_owned(),
        Header::Absent => "absent".to_owned(),
    });
    let flag = |set: bool, value: &str| set.then(|| value.to_owned());
    [
        ("mode", flag(*strict, "strict")),
        ("max_rejects", max_rejects.map(|number| number.to_string())),
        ("dry_run", flag(*dry_run, "true")),
        ("force", flag(*force, "true")),
        ("delimiter", delimiter.clone()),
        ("quote", quote.clone()),
        ("escape", escape.clone()),
        ("encoding", encoding.clone()),
        ("skip", skip.map(|lines| lines.to_string())),
        ("comment", comment.clone()),
        ("null", null.clone()),
        ("header", header),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect()
}

/// What the file's name says of its bytes.
fn headers(name: &str) -> HeaderMap {
    let name = name.to_lowercase();
    let mut headers = HeaderMap::new();
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let inner = name.strip_suffix(".gz").inspect(|_| {
        headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    });
    let media_type = if inner.unwrap_or(&name).ends_with(".zip") { "application/zip" } else { "text/csv" };
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(media_type));
    headers
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_the_bytes_are() {
        for (name, media_type, gzipped) in [
            ("airports.dat", "text/csv", false),
            ("A.ZIP", "application/zip", false),
            ("a.csv.GZ", "text/csv", true),
            ("a.zip.gz", "application/zip", true),
        ] {
            let headers = headers(name);
            assert_eq!(headers[CONTENT_TYPE], media_type, "{name}");
            assert_eq!(headers.contains_key(CONTENT_ENCODING), gzipped, "{name}");
        }
    }
}
