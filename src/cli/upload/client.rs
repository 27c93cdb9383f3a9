//! The requests. All of them may be repeated: the upload carries an `Idempotency-Key`, the others only read.

use std::{io, path::Path, time::Duration};

use futures_util::{StreamExt, TryStreamExt};
use reqwest::{
    Body, Response, Url,
    header::{ACCEPT, AUTHORIZATION, CONTENT_ENCODING, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue},
};
use tokio::{
    fs::File,
    io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt},
};
use tokio_util::io::{ReaderStream, StreamReader};

use super::{Arguments, Header, Progress, error::UploadError, import::Import, suffixed};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the network may leave what was sent unconfirmed.
const UNCONFIRMED_TIMEOUT: Duration = Duration::from_secs(60);
/// The server says every 15 seconds that it lives; after three times that, it no longer does.
const SILENCE_TIMEOUT: Duration = Duration::from_secs(45);
/// Between two looks at an import where its events do not get through.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Bytes read from the file at once.
const BLOCK_BYTES: usize = 256 * 1024;

/// One server, and how files are uploaded to it.
pub(super) struct Client {
    http: reqwest::Client,
    server: Url,
    path: &'static str,
    query: Vec<(&'static str, String)>,
    retries: u32,
}

impl Client {
    pub(super) fn new(arguments: &Arguments) -> reqwest::Result<Self> {
        let http = reqwest::Client::builder()
            .default_headers(arguments.key.iter().map(|key| (AUTHORIZATION, key.clone())).collect())
            .user_agent(concat!("tarmac/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_user_timeout(UNCONFIRMED_TIMEOUT)
            .build()?;
        Ok(Self {
            http,
            server: arguments.server.clone(),
            path: arguments.dataset.path(),
            query: query(arguments),
            retries: arguments.retries,
        })
    }

    pub(super) fn import_url(&self, id: i64) -> Url {
        self.url(&format!("imports/{id}"))
    }

    /// The server's address ends with a slash, and `path` begins with none.
    fn url(&self, path: &str) -> Url {
        // A relative path of letters, digits and slashes joins any http URL.
        self.server.join(path).unwrap_or_else(|_| self.server.clone())
    }

    /// Sends the file; returns once the server has its bytes safe.
    pub(super) async fn upload(&self, file: &Path, progress: &Progress) -> Result<Import, UploadError> {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        let mut url = self.url(self.path);
        url.query_pairs_mut().extend_pairs(&self.query).append_pair("filename", &name);
        // One for this file in this run: whatever happens on the way, the server imports it once.
        let key = uuid::Uuid::now_v7().to_string();
        let headers = headers(&name);
        let attempt = async || {
            let (body, bytes) = open(file, progress).await?;
            let request = self.http.post(url.clone()).headers(headers.clone());
            let request = request.header("Idempotency-Key", &key).header(CONTENT_LENGTH, bytes).body(body);
            let response =
                request.send().await.map_err(|error| UploadError::unreachable(url.clone(), error))?;
            read(url.clone(), response).await
        };
        self.repeat(attempt, |text| progress.say(&format!("{}: {text}", file.display()))).await
    }

    /// Follows the import to its end: by its events or, where they do not get through, by looking again.
    pub(super) async fn follow(&self, import: Import, progress: &Progress) -> Result<Import, UploadError> {
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
            let attempt = async || read(url.clone(), self.get(&url, "application/json").await?).await;
            import = self.repeat(attempt, |text| progress.say(&text)).await?;
        }
    }

    /// The import once it has ended; nothing when its events break off before.
    async fn events(&self, id: i64, progress: &Progress) -> Option<Import> {
        let url = self.url(&format!("imports/{id}/events"));
        let response = self.get(&url, "text/event-stream").await.ok()?;
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
    ) -> Result<(), UploadError> {
        let url = self.url(&format!("imports/{id}/rejects.csv"));
        let unfinished = suffixed(path, ".part");
        let saved = self.repeat(
            async || {
                let failed = |source| UploadError::Save { path: path.to_owned(), source };
                let response = self.get(&url, "text/csv").await?;
                let mut rejects = response.bytes_stream();
                let mut file = File::create(&unfinished).await.map_err(failed)?;
                while let Some(bytes) = rejects.next().await {
                    let bytes = bytes.map_err(|error| UploadError::unreachable(url.clone(), error))?;
                    file.write_all(&bytes).await.map_err(failed)?;
                }
                file.sync_all().await.map_err(failed)?;
                tokio::fs::rename(&unfinished, path).await.map_err(failed)
            },
            |text| progress.say(&text),
        );
        saved.await
    }

    async fn get(&self, url: &Url, accept: &'static str) -> Result<Response, UploadError> {
        let response = self.http.get(url.clone()).header(ACCEPT, accept).send().await;
        let response = response.map_err(|error| UploadError::unreachable(url.clone(), error))?;
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(UploadError::refused(url.clone(), response).await)
        }
    }

    /// Tries again, as often as allowed, while the failure is a passing one.
    async fn repeat<T>(
        &self,
        attempt: impl AsyncFn() -> Result<T, UploadError>,
        say: impl Fn(String),
    ) -> Result<T, UploadError> {
        let mut tries = 0;
        loop {
            let error = match attempt().await {
                Ok(answer) => return Ok(answer),
                Err(error) if tries == self.retries || !error.is_passing(tries > 0) => return Err(error),
                Err(error) => error,
            };
            let pause = error.pause(tries);
            tries += 1;
            say(format!(
                "{}; trying again in {} s ({tries} of {})",
                crate::cli::explain(&error),
                pause.as_secs(),
                self.retries
            ));
            tokio::time::sleep(pause).await;
        }
    }
}

/// The import in the answer, or why there is none.
async fn read(url: Url, response: Response) -> Result<Import, UploadError> {
    let status = response.status();
    if !status.is_success() {
        return Err(UploadError::refused(url, response).await);
    }
    let body = response.bytes().await.map_err(|error| UploadError::unreachable(url.clone(), error))?;
    serde_json::from_slice(&body).map_err(|_| UploadError::Foreign { url, status })
}

/// The file as a body of exactly the length it has now.
async fn open(file: &Path, progress: &Progress) -> Result<(Body, u64), UploadError> {
    let metadata = tokio::fs::metadata(file).await.map_err(UploadError::Read)?;
    if !metadata.is_file() {
        return Err(UploadError::NotAFile);
    }
    let bytes = metadata.len();
    let content = File::open(file).await.map_err(UploadError::Read)?.take(bytes);
    progress.begin_sending(file.to_string_lossy(), bytes);
    let sent = progress.sent();
    let stream = ReaderStream::with_capacity(content, BLOCK_BYTES).inspect_ok(move |block| sent(block.len()));
    Ok((Body::wrap_stream(stream), bytes))
}

fn query(arguments: &Arguments) -> Vec<(&'static str, String)> {
    let Arguments { strict, max_rejects, dry_run, force, delimiter, quote, escape, null, header, .. } =
        arguments;
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
