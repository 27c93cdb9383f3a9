//! Configuration: a commented default file, environment variables over it, flags over those.
//!
//! `TARMAC_INGEST_CHUNK_ROWS=5000` sets `chunk_rows` of section `[ingest]`: the first word after the prefix is the
//! section, the rest the key. Names carry their unit. An unknown key is refused with what is allowed.

use std::{collections::HashMap, net::SocketAddr, path::PathBuf};

use serde::Deserialize;

/// The defaults, with what each means; `tarmac config` prints it.
pub const DEFAULTS: &str = include_str!("../tarmac.toml");

const ENVIRONMENT_PREFIX: &str = "TARMAC_";

/// All of it, one field a section.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[database]`
    pub database: Database,
    /// `[archive]`
    pub archive: Archive,
    /// `[ingest]`
    pub ingest: Ingest,
    /// `[worker]`
    pub worker: Worker,
    /// `[log]`
    pub log: Log,
}

/// `[server]`: the HTTP side.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Where to listen.
    pub address: SocketAddr,
    /// What links in answers begin with; derived from the address when empty.
    pub public_url: String,
    /// Longest body of a JSON request, bytes.
    pub json_bytes: u64,
    /// How long a request may take before it is answered 503, seconds. Uploads are bounded by their size instead.
    pub request_seconds: u64,
    /// The longest `Prefer: wait=N` that is honoured, seconds.
    pub wait_seconds: u64,
    /// How long a confirmation link is valid, seconds.
    pub confirmation_seconds: u64,
    /// How long the answer to an `Idempotency-Key` is kept, seconds.
    pub idempotency_seconds: u64,
    /// Rows of a page when the request does not say.
    pub page_rows: u64,
    /// Most rows of a page.
    pub page_rows_max: u64,
    /// How long a stopping server waits for what it is doing, seconds.
    pub shutdown_seconds: u64,
}

/// `[database]`: PostgreSQL with PostGIS.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// `postgres://user:password@host:port/name`. No default on purpose.
    pub url: String,
    /// Most connections of this process.
    pub connections: u32,
    /// How long to wait for a free connection, milliseconds.
    pub acquire_ms: u64,
}

/// `[archive]`: where uploads are kept, unchanged.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Archive {
    /// A local directory; made when it is missing.
    pub directory: PathBuf,
}

/// `[ingest]`: limits of what is read, and how it is cut.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ingest {
    /// Most rows of a chunk.
    pub chunk_rows: u64,
    /// Most bytes of a chunk; one longer record is a chunk of its own.
    pub chunk_bytes: usize,
    /// Chunks of one import that may be published and not yet loaded.
    pub chunks_in_flight: u64,
    /// Longest upload, bytes.
    pub upload_bytes: u64,
    /// Longest record, bytes; a longer one is a reject.
    pub record_bytes: usize,
    /// Most fields of a record.
    pub fields: usize,
    /// Most files of a ZIP.
    pub zip_entries: usize,
    /// Most bytes a ZIP or gzip may unpack to.
    pub unpacked_bytes: u64,
    /// Most bytes unpacked for each byte packed, once past the first MiB.
    pub unpacked_ratio: u64,
    /// Rejects kept of one import; the ones with higher rows are only counted.
    pub rejects_kept: i64,
}

/// `[worker]`: who loads.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Worker {
    /// Chunks loaded at the same time by this process.
    pub loaders: usize,
    /// Imports driven at the same time by this process.
    pub imports: usize,
    /// How long an import or a chunk stays with a worker that no longer answers, milliseconds.
    pub lease_ms: u64,
    /// How often a chunk is tried before its import fails, when the fault is not a passing one.
    pub attempts: i32,
}

/// `[log]`: what is told on standard error.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// As in `RUST_LOG`.
    pub filter: String,
    /// `text` or `json`.
    pub format: LogFormat,
}

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Why the service does not start with this configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// A file is missing, or a key or value is wrong; the source says which, and what is allowed.
    #[error("reading the configuration")]
    Read(#[from] config::ConfigError),
    /// A key without a usable value.
    #[error("{key}: {message}")]
    Value {
        /// Section and key.
        key: &'static str,
        /// What is wrong, and what is allowed.
        message: &'static str,
    },
}

impl Config {
    /// Defaults, then the file when there is one, then the environment, then `overrides` (`section.key`, value).
    pub fn load(file: Option<&std::path::Path>, overrides: &[(&str, String)]) -> Result<Self, ConfigError> {
        let environment = std::env::vars()
            .filter_map(|(name, value)| Some((section_key(&name)?, value)))
            .collect::<HashMap<_, _>>();
        Self::from_parts(file, environment, overrides)
    }

    /// [`Config::load`] with the environment handed in, as `section.key`.
    pub fn from_parts(
        file: Option<&std::path::Path>,
        environment: HashMap<String, String>,
        overrides: &[(&str, String)],
    ) -> Result<Self, ConfigError> {
        let mut builder =
            config::Config::builder().add_source(config::File::from_str(DEFAULTS, config::FileFormat::Toml));
        if let Some(file) = file {
            builder = builder.add_source(config::File::from(file).format(config::FileFormat::Toml));
        }
        for (key, value) in environment {
            builder = builder.set_override(key, value)?;
        }
        for (key, value) in overrides {
            builder = builder.set_override(*key, value.as_str())?;
        }
        let config: Self = builder.build()?.try_deserialize()?;
        config.check()?;
        Ok(config)
    }

    fn check(&self) -> Result<(), ConfigError> {
        let positive = [
            ("database.connections", u64::from(self.database.connections)),
            ("ingest.chunk_rows", self.ingest.chunk_rows),
            ("ingest.chunk_bytes", self.ingest.chunk_bytes as u64),
            ("ingest.chunks_in_flight", self.ingest.chunks_in_flight),
            ("ingest.record_bytes", self.ingest.record_bytes as u64),
            ("worker.loaders", self.worker.loaders as u64),
            ("worker.imports", self.worker.imports as u64),
            ("worker.lease_ms", self.worker.lease_ms),
            ("server.page_rows", self.server.page_rows),
        ];
        for (key, value) in positive {
            if value == 0 {
                return Err(ConfigError::Value { key, message: "must be at least 1" });
            }
        }
        if self.server.page_rows > self.server.page_rows_max {
            return Err(ConfigError::Value {
                key: "server.page_rows",
                message: "must not be above server.page_rows_max",
            });
        }
        if self.database.url.is_empty() {
            return Err(ConfigError::Value {
                key: "database.url",
                message: "is required: set TARMAC_DATABASE_URL=postgres://user:password@host:port/name",
            });
        }
        Ok(())
    }
}

/// `TARMAC_INGEST_CHUNK_ROWS` is `ingest.chunk_rows`; a variable of another program is nothing. Variables that stand for
/// a command's flags, and those for tests, are not configuration.
fn section_key(variable: &str) -> Option<String> {
    let name = variable.strip_prefix(ENVIRONMENT_PREFIX)?.to_lowercase();
    let (section, key) = name.split_once('_')?;
    if matches!(name.as_str(), "config_file" | "upload_server") || matches!(section, "test" | "dev") {
        return None;
    }
    Some(format!("{section}.{key}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn load(environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let environment = environment
            .iter()
            .filter_map(|(name, value)| Some((section_key(name)?, (*value).to_owned())))
            .collect();
        Config::from_parts(None, environment, &[])
    }

    fn message(result: Result<Config, ConfigError>) -> String {
        let error = result.expect_err("the configuration is wrong");
        let source = std::error::Error::source(&error).map(ToString::to_string);
        format!("{error}: {}", source.unwrap_or_default())
    }

    const URL: (&str, &str) = ("TARMAC_DATABASE_URL", "postgres://localhost/tarmac");

    #[test]
    fn the_environment_goes_over_the_defaults() {
        let config = load(&[URL, ("TARMAC_INGEST_CHUNK_ROWS", "7")]).expect("valid");
        assert_eq!(config.ingest.chunk_rows, 7);
        assert_eq!(config.database.url, URL.1);
    }

    #[test]
    fn an_unknown_key_is_refused_with_what_is_allowed() {
        let message = message(load(&[URL, ("TARMAC_INGEST_CHUNK_ROW", "7")]));
        assert!(message.contains("chunk_row`") && message.contains("chunk_rows"), "{message}");
    }

    #[test]
    fn a_variable_of_a_flag_or_of_the_tests_is_no_key() {
        for name in
            ["TARMAC_UPLOAD_SERVER", "TARMAC_CONFIG_FILE", "TARMAC_TEST_DATABASE_URL", "TARMAC_DEV_PORT"]
        {
            assert_eq!(section_key(name), None, "{name}");
        }
    }

    #[test]
    fn a_wrong_value_is_refused_with_its_key() {
        let error = message(load(&[URL, ("TARMAC_INGEST_CHUNK_ROWS", "many")]));
        assert!(error.contains("many") && error.contains("ingest.chunk_rows"), "{error}");
        let error = message(load(&[URL, ("TARMAC_WORKER_LOADERS", "0")]));
        assert!(error.contains("worker.loaders"), "{error}");
        let error = message(load(&[]));
        assert!(error.contains("TARMAC_DATABASE_URL"), "{error}");
    }
}
