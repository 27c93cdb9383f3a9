//! A server and the requests to it: what `tarmac upload` and `tarmac imports` share.
//!
//! They are clients of the API like any other and need neither configuration nor database.

mod error;
mod import;

use std::time::Duration;

use reqwest::{
    RequestBuilder, Response, Url,
    header::{ACCEPT, AUTHORIZATION, HeaderValue},
};
use serde::de::DeserializeOwned;

pub(super) use self::{
    error::RequestError,
    import::{Counts, Import, Note, Outcome, State},
};
use super::explain;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// How long the network may leave what was sent unconfirmed.
const UNCONFIRMED_TIMEOUT: Duration = Duration::from_secs(60);

// A doc comment here would replace the description of every command that takes these.
#[derive(Debug, clap::Args)]
pub(super) struct ServerArguments {
    /// Where Tarmac serves: a URL, or host:port for http://host:port.
    #[arg(
        long,
        global = true,
        value_name = "URL",
        env = "TARMAC_UPLOAD_SERVER",
        default_value = "http://127.0.0.1:8080",
        value_parser = base_url
    )]
    server: Url,
    /// The API key, where the server requires one.
    ///
    /// Uploading, cancelling and undoing need the scope `write`, which is also enough to show and follow what was uploaded with the
    /// same key. Listing, and all other imports, need `read`. Other users of this machine may see the command line: the environment
    /// is safer.
    #[arg(
        long,
        global = true,
        value_name = "KEY",
        env = "TARMAC_UPLOAD_KEY",
        hide_env_values = true,
        value_parser = bearer
    )]
    key: Option<HeaderValue>,
    /// How often to try again when the server cannot be reached or is busy.
    ///
    /// The pause doubles from one second, or is as long as the server says. A repeated upload is never imported twice.
    // A killed server holds the upload's key for half a minute more: six pauses, a minute in all, outlast that.
    #[arg(long, global = true, value_name = "N", default_value_t = 6)]
    retries: u32,
}

/// One server.
pub(super) struct Server {
    /// Sends requests, each with the key.
    pub(super) http: reqwest::Client,
    base: Url,
    retries: u32,
}

impl Server {
    pub(super) fn new(arguments: &ServerArguments) -> reqwest::Result<Self> {
        let ServerArguments { server, key, retries } = arguments;
        let http = reqwest::Client::builder()
            .default_headers(key.iter().map(|key| (AUTHORIZATION, key.clone())).collect())
            .user_agent(concat!("tarmac/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .tcp_user_timeout(UNCONFIRMED_TIMEOUT)
            .build()?;
        Ok(Self { http, base: server.clone(), retries: *retries })
    }

    /// The server's address ends with a slash, and `path` begins without one.
    pub(super) fn url(&self, path: &str) -> Url {
        // A relative path of letters, digits and slashes joins any http URL.
        self.base.join(path).unwrap_or_else(|_| self.base.clone())
    }

    pub(super) fn import_url(&self, id: i64) -> Url {
        self.url(&format!("imports/{id}"))
    }

    pub(super) async fn get(&self, url: &Url, accept: &'static str) -> Result<Response, RequestError> {
        send(url, self.http.get(url.clone()).header(ACCEPT, accept)).await
    }

    /// Tries again, as often as allowed, while the failure is a passing one.
    pub(super) async fn repeat<T>(
        &self,
        attempt: impl AsyncFn() -> Result<T, RequestError>,
        say: impl Fn(String),
    ) -> Result<T, RequestError> {
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
                explain(&error),
                pause.as_secs(),
                self.retries
            ));
            tokio::time::sleep(pause).await;
        }
    }
}

/// Sends the request to `url`: the answer, unless it is a refusal.
pub(super) async fn send(url: &Url, request: RequestBuilder) -> Result<Response, RequestError> {
    let response = request.send().await.map_err(|error| RequestError::unreachable(url.clone(), error))?;
    if response.status().is_success() {
        Ok(response)
    } else {
        Err(RequestError::refused(url.clone(), response).await)
    }
}

/// What the answer says, or that it is not Tarmac's.
pub(super) async fn read<T: DeserializeOwned>(url: &Url, response: Response) -> Result<T, RequestError> {
    let status = response.status();
    let body = response.bytes().await.map_err(|error| RequestError::unreachable(url.clone(), error))?;
    serde_json::from_slice(&body).map_err(|_| RequestError::Foreign { url: url.clone(), status })
}

/// The value of `Authorization` for a key.
fn bearer(key: &str) -> Result<HeaderValue, String> {
    let value = HeaderValue::from_str(&format!("Bearer {}", key.trim()));
    // The key itself is not repeated: it would end up on a screen.
    let mut value = value.map_err(|_| "no key looks like this".to_owned())?;
    value.set_sensitive(true);
    Ok(value)
}

/// An address that paths can be joined to.
fn base_url(text: &str) -> Result<Url, String> {
    // To a parser of URLs, `localhost:8080` has the scheme `localhost`.
    let text = if text.contains("://") { text.to_owned() } else { format!("http://{text}") };
    let mut url: Url = text.parse().map_err(|error| format!("{error}"))?;
    if !matches!(url.scheme(), "http" | "https") || !url.has_host() {
        return Err("must begin with http:// or https://, or be host:port".to_owned());
    }
    if !url.path().ends_with('/') {
        url.set_path(&format!("{}/", url.path()));
    }
    url.set_query(None);
    url.set_fragment(None);
    Ok(url)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_without_scheme_is_spoken_to_by_http() {
        for (text, expected) in [
            ("localhost:8080", "http://localhost:8080/"),
            ("example.org", "http://example.org/"),
            ("127.0.0.1:80", "http://127.0.0.1/"),
            ("[::1]:8080/tarmac", "http://[::1]:8080/tarmac/"),
            ("https://example.org/tarmac?a#b", "https://example.org/tarmac/"),
        ] {
            assert_eq!(base_url(text).map(String::from), Ok(expected.to_owned()));
        }
        for text in ["", "ftp://example.org", "mailto://"] {
            assert!(base_url(text).is_err(), "{text}");
        }
    }
}
