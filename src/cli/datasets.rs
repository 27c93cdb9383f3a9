//! `tarmac datasets list|show|infer|declare|drop`: what datasets a server has, and how they are declared.

use std::{
    ffi::OsStr,
    io::Read as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use clap::Subcommand;
use indicatif::HumanCount;
use reqwest::{
    Method, StatusCode, Url,
    header::{ACCEPT, CONTENT_ENCODING, CONTENT_TYPE, ETAG, HeaderValue, IF_MATCH},
};
use serde::Deserialize;
use serde_json::Value;

use super::{
    CommandError, complain,
    imports::dataset_name,
    print,
    server::{RequestError, Server, ServerArguments, read, send},
    table::table,
};

const JSON: HeaderValue = HeaderValue::from_static("application/json");
/// Stands for standard input.
const STDIN: &str = "-";
/// Most that is sent: inference reads no more.
const MOST_BYTES: u64 = 64 * 1024 * 1024;

const AFTER_HELP: &str = "\
Examples:
  tarmac datasets list
  tarmac datasets infer cats.csv >cats.json
  tarmac datasets declare cats cats.json
  tarmac datasets show cats

Exit status:
  0  done
  1  the server refused or could not be reached, or the file cannot be read
  2  the command line is wrong

With --json, standard output has what the API answers.";

const LIST_HELP: &str = "\
Examples:
  tarmac datasets list
  tarmac datasets list --json | jq -r .data[].name";

const SHOW_HELP: &str = "\
Examples:
  tarmac datasets show cats
  tarmac datasets show cats --server tarmac.example:8080";

const INFER_HELP: &str = "\
Examples:
  tarmac datasets infer cats.csv >cats.json
  tarmac datasets infer - --json | jq .evidence";

const DECLARE_HELP: &str = "\
Examples:
  tarmac datasets declare cats cats.json
  tarmac datasets declare cats cats.csv
  tarmac datasets declare cats cats.json --replace";

const DROP_HELP: &str = "\
Examples:
  tarmac datasets drop cats
  tarmac datasets drop cats --purge";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    #[command(flatten)]
    server: ServerArguments,
    /// Write what the API answers to standard output, instead of lines for people.
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// List the datasets that the key may see.
    #[command(after_help = LIST_HELP)]
    List,
    /// Show how a dataset is declared, as JSON.
    #[command(after_help = SHOW_HELP)]
    Show {
        /// Its name.
        #[arg(value_parser = dataset_name)]
        name: String,
    },
    /// Propose a declaration for files like this one. Nothing is stored.
    ///
    /// The declaration goes to standard output. What is not certain goes to standard error.
    #[command(after_help = INFER_HELP)]
    Infer {
        /// A CSV, or a .zip with one; either also as .gz; `-` for standard input.
        file: PathBuf,
    },
    /// Declare a dataset.
    #[command(after_help = DECLARE_HELP)]
    Declare {
        /// Its name.
        #[arg(value_parser = dataset_name)]
        name: String,
        /// The declaration: a Data Resource or a Table Schema as JSON. Of a CSV the declaration is inferred, and its rows are not
        /// imported. `-` for standard input.
        file: PathBuf,
        /// Change the dataset if there is one of that name.
        #[arg(long)]
        replace: bool,
        /// With --replace: columns that the declaration does not have are removed, with their values.
        #[arg(long, requires = "replace")]
        drop: bool,
    },
    /// Hide a dataset with its rows; the API can restore it.
    #[command(after_help = DROP_HELP)]
    Drop {
        /// Its name.
        #[arg(value_parser = dataset_name)]
        name: String,
        /// Remove it for ever, with its rows. It needs a key with the scope `admin`.
        #[arg(long)]
        purge: bool,
    },
}

/// What is listed of a dataset.
#[derive(Debug, Deserialize)]
struct Listed {
    name: String,
    title: Option<String>,
    kind: String,
    version: i64,
    rows_estimate: Option<i64>,
}

pub(super) async fn run(arguments: Arguments) -> Result<ExitCode, CommandError> {
    let datasets = Datasets { server: Server::new(&arguments.server)?, json: arguments.json };
    match arguments.command {
        Command::List => datasets.list().await,
        Command::Show { name } => datasets.show(&name).await,
        Command::Infer { file } => datasets.infer(&file).await,
        Command::Declare { name, file, replace, drop } => datasets.declare(&name, &file, replace, drop).await,
        Command::Drop { name, purge } => datasets.drop(&name, purge).await,
    }
}

struct Datasets {
    server: Server,
    json: bool,
}

/// What a request sends.
struct Body {
    bytes: Vec<u8>,
    media_type: &'static str,
    is_gzip: bool,
}

/// What the server answers.
struct Answer {
    status: StatusCode,
    etag: Option<HeaderValue>,
    body: Value,
}

impl Datasets {
    async fn list(&self) -> Result<ExitCode, CommandError> {
        let url = self.server.url("datasets");
        let mut answer = self.ask(Method::GET, &url, None, None).await?.body;
        if self.json {
            return print(&format!("{answer}\n"));
        }
        let listed = answer.get_mut("data").map(Value::take).unwrap_or_default();
        let listed: Vec<Listed> = serde_json::from_value(listed).map_err(|_| foreign(&url))?;
        let mut rows = vec![["NAME", "KIND", "VERSION", "ROWS", "TITLE"].map(str::to_owned)];
        rows.extend(listed.into_iter().map(row));
        print(&table(&rows))
    }

    async fn show(&self, name: &str) -> Result<ExitCode, CommandError> {
        let answer = self.ask(Method::GET, &self.url(name), None, None).await?;
        self.print(&answer.body)
    }

    async fn infer(&self, file: &Path) -> Result<ExitCode, CommandError> {
        let url = self.server.url("schemas/infer");
        let body = Body::read(file, false)?;
        let answer = self.ask(Method::POST, &url, Some(&body), None).await?.body;
        if self.json {
            return print(&format!("{answer}\n"));
        }
        for column in answer["evidence"].as_array().into_iter().flatten() {
            for hint in column["hints"].as_array().into_iter().flatten() {
                let name = column["name"].as_str().unwrap_or_default();
                let hint = hint.as_str().map_or_else(|| hint.to_string(), str::to_owned);
                complain(&format!("{name}: {hint}"));
            }
        }
        let descriptor = answer.get("descriptor").ok_or_else(|| foreign(&url))?;
        self.print(descriptor)
    }

    async fn declare(
        &self,
        name: &str,
        file: &Path,
        replace: bool,
        drop: bool,
    ) -> Result<ExitCode, CommandError> {
        let body = Body::read(file, true)?;
        let mut url = self.url(name);
        // The version that is there now, so that nobody's change in between is lost.
        let etag = if replace { self.etag(&url).await? } else { None };
        if drop {
            url.query_pairs_mut().append_pair("drop", "true");
        }
        let answer = self.ask(Method::PUT, &url, Some(&body), etag).await?;
        if self.json {
            return print(&format!("{}\n", answer.body));
        }
        let version = answer.body["version"].as_i64().map(|version| format!(", version {version}"));
        let done = if answer.status == StatusCode::CREATED { "declared" } else { "is as declared" };
        print(&format!("dataset {name} {done}{}\n", version.unwrap_or_default()))
    }

    async fn drop(&self, name: &str, purge: bool) -> Result<ExitCode, CommandError> {
        let mut url = self.url(name);
        let etag = if purge { self.etag(&url).await? } else { None };
        if purge {
            url.query_pairs_mut().append_pair("purge", "true");
        }
        let answer = self.ask(Method::DELETE, &url, None, etag).await?;
        if self.json {
            return print(&format!("{}\n", answer.body));
        }
        let done = if purge { "is removed, with its rows" } else { "is hidden, with its rows" };
        print(&format!("dataset {name} {done}\n"))
    }

    /// What stands for the present version; `None`: there is no dataset.
    async fn etag(&self, url: &Url) -> Result<Option<HeaderValue>, RequestError> {
        match self.ask(Method::GET, url, None, None).await {
            Ok(answer) => Ok(answer.etag),
            Err(RequestError::Refused { status: StatusCode::NOT_FOUND, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn url(&self, name: &str) -> Url {
        self.server.url(&format!("datasets/{name}"))
    }

    /// JSON for people, and for `declare`.
    fn print(&self, body: &Value) -> Result<ExitCode, CommandError> {
        let text = if self.json { body.to_string() } else { serde_json::to_string_pretty(body)? };
        print(&format!("{text}\n"))
    }

    async fn ask(
        &self,
        method: Method,
        url: &Url,
        body: Option<&Body>,
        etag: Option<HeaderValue>,
    ) -> Result<Answer, RequestError> {
        let attempt = async || {
            let mut request = self.server.http.request(method.clone(), url.clone()).header(ACCEPT, JSON);
            if let Some(Body { bytes, media_type, is_gzip }) = body {
                request = request.header(CONTENT_TYPE, *media_type).body(bytes.clone());
                if *is_gzip {
                    request = request.header(CONTENT_ENCODING, "gzip");
                }
            }
            if let Some(etag) = &etag {
                request = request.header(IF_MATCH, etag.clone());
            }
            let response = send(url, request).await?;
            let (status, etag) = (response.status(), response.headers().get(ETAG).cloned());
            let body = match status {
                StatusCode::NO_CONTENT => Value::Null,
                _ => read(url, response).await?,
            };
            Ok(Answer { status, etag, body })
        };
        self.server.repeat(attempt, |text| complain(&text)).await
    }
}

impl Body {
    /// The file, or standard input. A declaration is JSON unless it is a CSV; what else is sent is data.
    fn read(file: &Path, is_declaration: bool) -> Result<Self, CommandError> {
        let is_stdin = file.as_os_str() == STDIN;
        let mut bytes = Vec::new();
        let read = if is_stdin {
            std::io::stdin().lock().take(MOST_BYTES + 1).read_to_end(&mut bytes)
        } else {
            std::fs::File::open(file).and_then(|file| file.take(MOST_BYTES + 1).read_to_end(&mut bytes))
        };
        read.map_err(|source| format!("{} cannot be read: {source}", file.display()))?;
        if bytes.len() as u64 > MOST_BYTES {
            return Err(format!("{} is longer than 64 MiB; send its beginning", file.display()).into());
        }
        let name = file.file_name().and_then(OsStr::to_str).unwrap_or_default().to_lowercase();
        let (media_type, is_gzip) = kind(&name, &bytes, is_declaration);
        Ok(Self { bytes, media_type, is_gzip })
    }
}

/// The media type that the name says, else the bytes, and whether they are compressed.
fn kind(name: &str, bytes: &[u8], is_declaration: bool) -> (&'static str, bool) {
    let inner = name.strip_suffix(".gz");
    let is_gzip = inner.is_some();
    let name = inner.unwrap_or(name);
    let first = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes).trim_ascii_start().first();
    let is_json = name.ends_with(".json") || (!name.ends_with(".csv") && first == Some(&b'{'));
    let media_type = if name.ends_with(".zip") {
        "application/zip"
    } else if is_declaration && is_json {
        "application/json"
    } else {
        "text/csv"
    };
    (media_type, is_gzip)
}

fn foreign(url: &Url) -> RequestError {
    RequestError::Foreign { url: url.clone(), status: StatusCode::OK }
}

fn row(listed: Listed) -> [String; 5] {
    let Listed { name, title, kind, version, rows_estimate } = listed;
    let rows = rows_estimate.and_then(|rows| u64::try_from(rows).ok());
    [
        name,
        kind,
        version.to_string(),
        rows.map_or_else(|| "-".to_owned(), |rows| HumanCount(rows).to_string()),
        title.unwrap_or_else(|| "-".to_owned()),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_declaration_is_json_by_its_name_or_its_first_character() {
        for (name, bytes, media_type, is_gzip) in [
            ("cats.json", "", "application/json", false),
            ("-", " {\"fields\": []}", "application/json", false),
            ("-", "name,breed\n", "text/csv", false),
            ("cats.csv", "{", "text/csv", false),
            ("cats.csv.gz", "\u{1f}", "text/csv", true),
            ("cats.zip", "PK", "application/zip", false),
        ] {
            assert_eq!(kind(name, bytes.as_bytes(), true), (media_type, is_gzip), "{name}");
        }
        assert_eq!(kind("-", b"{", false), ("text/csv", false));
    }
}
