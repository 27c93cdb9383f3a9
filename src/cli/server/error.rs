//! What goes wrong with a request, and whether trying again may help.

use std::{error::Error, io, path::PathBuf, time::Duration};

use reqwest::{Response, StatusCode, Url, header::RETRY_AFTER};

use super::import::Problem;

/// The longest pause before a repetition, whatever the server says.
const PAUSE_MAX: Duration = Duration::from_secs(60);

/// Why a request failed, a file was not imported, or its rejects were not saved.
#[derive(Debug, thiserror::Error)]
pub(in crate::cli) enum RequestError {
    /// The file is not there, or not for us.
    #[error("cannot be read")]
    Read(#[source] io::Error),
    /// Its length must be known before it is sent.
    #[error("is not a file; give - to upload standard input")]
    NotAFile,
    /// A directory without anything to upload.
    #[error("has no *.csv, *.zip or *.gz files")]
    EmptyDirectory,
    /// The request or its answer did not get through.
    #[error("cannot reach {url}")]
    Unreachable {
        url: Url,
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// The server answered no.
    #[error("refused with {status}: {problem}{}", way_out(*status))]
    Refused { status: StatusCode, problem: Problem, retry_after: Option<Duration> },
    /// Whoever answered does not speak this API.
    #[error("{url} answered {status}, and not as Tarmac does")]
    Foreign { url: Url, status: StatusCode },
    /// The rejects of an earlier run cannot be removed.
    #[error("cannot remove the rejects of an earlier run, {}", path.display())]
    Remove {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
    /// The rejects cannot be written.
    #[error("cannot save the rejects as {}", path.display())]
    Save {
        path: PathBuf,
        #[source]
        source: io::Error,
    },
}

impl RequestError {
    /// The network's last word; what lies above it repeats that a request failed.
    pub(in crate::cli) fn unreachable(mut url: Url, error: reqwest::Error) -> Self {
        url.set_query(None);
        let mut source: Box<dyn Error + Send + Sync> = error.to_string().into();
        let mut cause = error.source();
        while let Some(error) = cause {
            source = error.to_string().into();
            cause = error.source();
        }
        Self::Unreachable { url, source }
    }

    pub(in crate::cli) async fn refused(url: Url, response: Response) -> Self {
        let status = response.status();
        let retry_after =
            response.headers().get(RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
        match response.json().await {
            Ok(problem) => {
                Self::Refused { status, problem, retry_after: retry_after.map(Duration::from_secs) }
            }
            Err(_) => Self::Foreign { url, status },
        }
    }

    /// Whether the same request may do better later. 409 is one that broke off and still holds its key at the server,
    /// so only a repetition meets it; the others come from a server or proxy that is starting, stopping or busy.
    pub(in crate::cli) fn is_passing(&self, repeated: bool) -> bool {
        match self {
            Self::Unreachable { .. } => true,
            Self::Refused { status, .. } | Self::Foreign { status, .. } => match *status {
                StatusCode::CONFLICT => repeated,
                StatusCode::TOO_MANY_REQUESTS
                | StatusCode::BAD_GATEWAY
                | StatusCode::SERVICE_UNAVAILABLE
                | StatusCode::GATEWAY_TIMEOUT => true,
                _ => false,
            },
            Self::Read(_)
            | Self::NotAFile
            | Self::EmptyDirectory
            | Self::Save { .. }
            | Self::Remove { .. } => false,
        }
    }

    /// The pause before the next try: as the server says, else one second, doubled each time.
    pub(in crate::cli) fn pause(&self, tries: u32) -> Duration {
        let said = match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        };
        said.unwrap_or_else(|| Duration::from_secs(1 << tries.min(6))).min(PAUSE_MAX)
    }
}

/// What to do about a refusal, where its reason does not say that.
fn way_out(status: StatusCode) -> &'static str {
    match status {
        StatusCode::UNAUTHORIZED => "; give a valid API key in TARMAC_UPLOAD_KEY or with --key",
        _ => "",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_repetition_waits_for_the_key() {
        let conflict = RequestError::Foreign {
            url: Url::parse("http://h/").expect("a URL"),
            status: StatusCode::CONFLICT,
        };
        assert!(!conflict.is_passing(false) && conflict.is_passing(true));
    }

    #[test]
    fn a_pause_is_the_servers_else_it_doubles_and_never_without_end() {
        let url = Url::parse("http://h/").expect("a URL");
        let foreign = RequestError::Foreign { url, status: StatusCode::BAD_GATEWAY };
        let seconds: Vec<_> = [0, 1, 2, 40].map(|tries| foreign.pause(tries).as_secs()).into();
        assert_eq!(seconds, [1, 2, 4, 60]);
        let problem: Problem = serde_json::from_str(r#"{"title": "busy"}"#).expect("a problem");
        let status = StatusCode::SERVICE_UNAVAILABLE;
        let refused = RequestError::Refused { status, problem, retry_after: Some(Duration::from_secs(7)) };
        assert_eq!(refused.pause(3).as_secs(), 7);
    }
}
