//! Configuration: a commented default file, environment variables over it, flags over those.
//!
//! `TARMAC_INGEST_CHUNK_ROWS=5000` sets `chunk_rows` of section `[ingest]`: the first word after the prefix is the
//! section, the rest the key; `TARMAC_DATABASE_URL_FILE` names a file that holds the value. Names carry their unit. An unknown
//! key is refused with what is allowed.

mod archive;
mod environment;
mod masked;

use std::{
    collections::{BTreeMap, HashMap},
    net::SocketAddr,
    num::NonZeroU32,
    path::PathBuf,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _};

pub use self::archive::{Archive, Place, Secret};

/// The defaults, with what each means; `tarmac config --defaults` prints it.
pub const DEFAULTS: &str = include_str!("../tarmac.toml");

const HALF_A_KEY: &str = "comes with secret_access_key: set both, or neither";

/// All of it, one field a section. Serialized it has no secrets.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// `[server]`
    pub server: Server,
    /// `[auth]`
    pub auth: Auth,
    /// `[limits]`
    pub limits: Limits,
    /// `[database]`
    pub database: Database,
    /// `[archive]`
    pub archive: Archive,
    /// `[long_term]`
    pub long_term: Archive,
    /// `[retention]`
    pub retention: Retention,
    /// `[ingest]`
    pub ingest: Ingest,
    /// `[worker]`
    pub worker: Worker,
    /// `[transport]`
    pub transport: Transport,
    /// `[kafka]`
    pub kafka: Kafka,
    /// `[log]`
    pub log: Log,
    /// `[traces]`
    pub traces: Traces,
}

/// `[server]`: the HTTP side.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Where to listen.
    pub address: SocketAddr,
    /// What links in answers begin with; derived from the address when empty.
    pub public_url: String,
    /// Longest body of a JSON request, bytes.
    pub json_bytes: u64,
    /// The same of a request about anything but citizens, where that is less.
    pub item_bytes: u64,
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
    /// A PEM file: the certificate and those above it. Empty: no TLS.
    pub certificate: PathBuf,
    /// A PEM file: the certificate's key.
    pub private_key: PathBuf,
    /// Sites whose pages may use the API, with commas between.
    pub cors_origins: String,
    /// Names of the service with a dot, for requests without keys; separated by commas.
    pub hosts: String,
}

impl Server {
    /// Whether TLS is spoken.
    pub fn has_tls(&self) -> bool {
        !self.certificate.as_os_str().is_empty()
    }
}

/// `[auth]`: who may use the API.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Auth {
    /// Whether requests need a key; without, the service listens on loopback only.
    pub required: bool,
    /// Listen anywhere although no keys are required.
    pub open: bool,
    /// How long what the database says of a key is taken for true, milliseconds.
    pub memory_ms: u64,
}

/// `[limits]`: how much at once, and how slowly.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Limits {
    /// Most connections; further ones wait until one is closed.
    pub connections: usize,
    /// Most requests at the same time, until their answers are sent; uploads and event streams aside.
    pub requests: usize,
    /// Most requests of one key, else of one address.
    pub requests_per_minute: Rate,
    /// Most uploads received at the same time.
    pub uploads: usize,
    /// Most answers at the same time that hold a connection to the database until they are sent.
    pub exports: usize,
    /// Most event streams at the same time.
    pub streams: usize,
    /// Most imports that are received or running; above that no upload is taken.
    pub imports: i64,
    /// Most datasets that are declared.
    pub datasets: u32,
    /// Most bytes of a declaration.
    pub declaration_bytes: usize,
    /// Most fields of a declaration.
    pub dataset_fields: usize,
    /// Most values of an `enum`.
    pub enum_values: usize,
    /// Most fields with `index`.
    pub indexes: usize,
    /// Most filters of a list.
    pub filters: usize,
    /// Most columns that a list is sorted by.
    pub sort_keys: usize,
    /// Most bytes of JSON bodies in memory.
    pub json_bytes: usize,
    /// How much of each of these one key, else one address, may have, percent.
    pub share_percent: usize,
    /// How long the head of a request may take, and how long a connection may be idle, seconds.
    pub head_seconds: u64,
    /// How long a body may take for each `body_bytes` on the whole, and how long it may pause, seconds.
    pub body_seconds: u64,
    /// What a body must bring within `body_seconds`, bytes.
    pub body_bytes: usize,
    /// How long a client may take for each `write_bytes` of its answer on the whole, and how long it may pause, seconds.
    pub write_seconds: u64,
    /// What a client must take within `write_seconds`, bytes.
    pub write_bytes: usize,
}

/// Requests a minute.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum Rate {
    /// A limit where strangers may come: with keys, or beyond loopback.
    Auto,
    /// No limit.
    Off,
    /// This many.
    Limit(NonZeroU32),
}

impl Serialize for Rate {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Auto => serializer.serialize_str("auto"),
            Self::Off => serializer.serialize_str("off"),
            Self::Limit(number) => number.serialize(serializer),
        }
    }
}

impl TryFrom<String> for Rate {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        match text.as_str() {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            number => match number.replace('_', "").parse() {
                Ok(number) => Ok(Self::Limit(number)),
                Err(_) => Err("must be a number from 1, \"off\" or \"auto\""),
            },
        }
    }
}

/// `[database]`: PostgreSQL with PostGIS.
#[derive(Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Database {
    /// `postgres://user:password@host:port/name`. No default on purpose.
    #[serde(serialize_with = "masked::url")]
    pub url: String,
    /// Most connections of this process.
    pub connections: u32,
    /// How long to wait for a free connection, milliseconds.
    pub acquire_ms: u64,
    /// A transaction whose process is silent for this long is rolled back, milliseconds.
    pub silent_ms: u64,
}

impl std::fmt::Debug for Database {
    /// Without the URL, which may hold a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { url: _, connections, acquire_ms, silent_ms } = self;
        f.debug_struct("Database")
            .field("connections", connections)
            .field("acquire_ms", acquire_ms)
            .field("silent_ms", silent_ms)
            .finish_non_exhaustive()
    }
}

/// `[retention]`: what goes to the long-term archive, and when.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// How long the upload, the ledger and the rejects of an import stay after its end.
    pub days: u32,
    /// How long a worker waits between looking for what is old, seconds; 0: it does not.
    pub every_seconds: u64,
}

/// `[ingest]`: limits of what is read, and how it is cut.
#[derive(Debug, Clone, Deserialize, Serialize)]
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
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Worker {
    /// Where `tarmac worker` can be watched; `None`: nowhere. A service is watched where it serves.
    #[serde(deserialize_with = "unless_empty", serialize_with = "or_empty")]
    pub address: Option<SocketAddr>,
    /// Chunks stored at the same time by this process, each by a consumer of its own. Each may have two connections to the database.
    pub loaders: usize,
    /// Imports led at the same time by this process, and half as many small ones; 0 where the archive cannot be seen.
    pub imports: usize,
    /// How long an import or a chunk stays with a worker that no longer answers, milliseconds.
    pub lease_ms: u64,
    /// How often a chunk is tried before its import fails, when the fault is not a passing one; how many workers in a row may die of an
    /// import.
    pub attempts: i32,
    /// When no chunk of an import was loaded for this long, what is not loaded is published again, milliseconds.
    pub stalled_ms: u64,
}

fn unless_empty<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<SocketAddr>, D::Error> {
    let address = String::deserialize(deserializer)?;
    if address.is_empty() {
        return Ok(None);
    }
    let expected =
        |_| D::Error::custom(format!("{address:?} is no address; expected such as \"0.0.0.0:9100\""));
    address.parse().map(Some).map_err(expected)
}

fn or_empty<S: Serializer>(address: &Option<SocketAddr>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&address.map(|address| address.to_string()).unwrap_or_default())
}

/// `[transport]`: how chunks travel from who cuts them to who loads them.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Transport {
    /// By what.
    pub kind: TransportKind,
}

/// What chunks travel by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(try_from = "String")]
pub enum TransportKind {
    /// A table in the database.
    Journal,
    /// Apache Kafka.
    Kafka,
}

impl Serialize for TransportKind {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Journal => "journal",
            Self::Kafka => "kafka",
        })
    }
}

impl TryFrom<String> for TransportKind {
    type Error = String;

    fn try_from(kind: String) -> Result<Self, String> {
        match kind.as_str() {
            "journal" => Ok(Self::Journal),
            "kafka" => Ok(Self::Kafka),
            _ => Err(format!("{kind:?} is unknown, expected \"journal\" or \"kafka\"")),
        }
    }
}

/// `[kafka]`: the cluster and the topics on it; of no meaning with the journal.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Kafka {
    /// `host:port`, several separated by commas.
    pub brokers: String,
    /// What topics, consumer group and clients are named after.
    pub application: String,
    /// Partitions of the topic of chunks: as many consumers can work at once.
    pub partitions: i32,
    /// Copies of each partition.
    pub replication: i32,
    /// Copies that must have a message before it counts as published.
    pub min_insync_replicas: i32,
    /// How long messages are kept, hours.
    pub retention_hours: u64,
    /// Properties of librdkafka for every client.
    #[serde(default, serialize_with = "masked::properties")]
    pub properties: Properties,
    /// Properties of librdkafka for producers.
    #[serde(default, serialize_with = "masked::properties")]
    pub producer: Properties,
    /// Properties of librdkafka for consumers.
    #[serde(default, serialize_with = "masked::properties")]
    pub consumer: Properties,
}

/// Properties of librdkafka by name. In TOML, `sasl.mechanism = "PLAIN"` is a table in a table; here it is one name again.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Properties(pub BTreeMap<String, String>);

impl std::fmt::Debug for Properties {
    /// The names alone: a value may be a password.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

impl<'de> Deserialize<'de> for Properties {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        fn flatten(prefix: &str, value: serde_json::Value, into: &mut BTreeMap<String, String>) -> bool {
            let value = match value {
                serde_json::Value::Object(members) => {
                    return members.into_iter().all(|(name, value)| {
                        let name = if prefix.is_empty() { name } else { format!("{prefix}.{name}") };
                        flatten(&name, value, into)
                    });
                }
                serde_json::Value::String(text) => text,
                serde_json::Value::Bool(_) | serde_json::Value::Number(_) => value.to_string(),
                serde_json::Value::Null | serde_json::Value::Array(_) => return false,
            };
            into.insert(prefix.to_owned(), value);
            true
        }
        let mut properties = BTreeMap::new();
        let value = serde_json::Value::deserialize(deserializer)?;
        if value.is_object() && flatten("", value, &mut properties) {
            Ok(Self(properties))
        } else {
            Err(D::Error::custom("properties of librdkafka are texts, numbers or booleans, by name"))
        }
    }
}

/// `[log]`: what is told, and where.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Log {
    /// As in `RUST_LOG`.
    pub filter: String,
    /// `text` or `json`.
    pub format: LogFormat,
    /// Where a service keeps log files; empty: nowhere.
    pub directory: PathBuf,
    /// A file that is longer gives way to a new one.
    pub file_bytes: u64,
    /// So does one of an earlier day, or whatever this says.
    pub file_age: FileAge,
    /// Most files.
    pub files: usize,
    /// Memory for the lines that the API shows, bytes.
    pub recent_bytes: usize,
}

impl Log {
    /// Whether log files are kept.
    pub fn has_files(&self) -> bool {
        !self.directory.as_os_str().is_empty()
    }
}

/// `[traces]`: what a collector of OpenTelemetry gets.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Traces {
    /// Where it takes OTLP over HTTP, `http://host:4318`; empty: nothing is sent.
    #[serde(serialize_with = "masked::url")]
    pub endpoint: String,
    /// How many of the traces that begin here are sent, from 0 to 1.
    pub share: f64,
}

/// What a log file is of: when the next one begins, so does a new file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum FileAge {
    /// One second.
    Second,
    /// One minute.
    Minute,
    /// One hour.
    Hour,
    /// One day.
    Day,
}

/// How a log line is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
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
    /// A setting that is given itself and by a file.
    #[error("{variable} and {variable}_FILE are both set: which one counts?")]
    Twice {
        /// The environment variable without its ending.
        variable: String,
    },
    /// A setting's file cannot be read.
    #[error("{variable}: reading {}", .path.display())]
    File {
        /// The environment variable.
        variable: String,
        /// What it names.
        path: PathBuf,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
}

impl Config {
    /// Defaults, then the file when there is one, then the environment, then `overrides` (`section.key`, value).
    pub fn load(file: Option<&std::path::Path>, overrides: &[(&str, String)]) -> Result<Self, ConfigError> {
        Self::from_parts(file, environment::settings(std::env::vars())?, overrides)
    }

    /// The same without flags, and whether or not a service could start with it: [`Config::check`] says that.
    pub fn load_unchecked(file: Option<&std::path::Path>) -> Result<Self, ConfigError> {
        Self::assemble(file, environment::settings(std::env::vars())?, &[])
    }

    /// What is in force where nothing is set.
    pub fn defaults() -> Result<Self, ConfigError> {
        Self::assemble(None, HashMap::new(), &[])
    }

    /// [`Config::load`] with the environment handed in, as `section.key`.
    pub fn from_parts(
        file: Option<&std::path::Path>,
        environment: HashMap<String, String>,
        overrides: &[(&str, String)],
    ) -> Result<Self, ConfigError> {
        let config = Self::assemble(file, environment, overrides)?;
        config.check()?;
        Ok(config)
    }

    fn assemble(
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
        Ok(builder.build()?.try_deserialize()?)
    }

    /// Whether a service could start with it.
    pub fn check(&self) -> Result<(), ConfigError> {
        let positive = [
            ("database.connections", u64::from(self.database.connections)),
            ("database.silent_ms", self.database.silent_ms),
            ("ingest.chunk_rows", self.ingest.chunk_rows),
            ("ingest.chunk_bytes", self.ingest.chunk_bytes as u64),
            ("ingest.chunks_in_flight", self.ingest.chunks_in_flight),
            ("ingest.record_bytes", self.ingest.record_bytes as u64),
            ("retention.days", self.retention.days.into()),
            ("worker.lease_ms", self.worker.lease_ms),
            ("worker.stalled_ms", self.worker.stalled_ms),
            ("kafka.partitions", u64::try_from(self.kafka.partitions).unwrap_or(0)),
            ("kafka.replication", u64::try_from(self.kafka.replication).unwrap_or(0)),
            ("kafka.min_insync_replicas", u64::try_from(self.kafka.min_insync_replicas).unwrap_or(0)),
            ("kafka.retention_hours", self.kafka.retention_hours),
            ("server.page_rows", self.server.page_rows),
            ("limits.connections", self.limits.connections as u64),
            ("limits.requests", self.limits.requests as u64),
            ("limits.uploads", self.limits.uploads as u64),
            ("limits.exports", self.limits.exports as u64),
            ("limits.streams", self.limits.streams as u64),
            ("limits.share_percent", self.limits.share_percent as u64),
            ("limits.head_seconds", self.limits.head_seconds),
            ("limits.body_seconds", self.limits.body_seconds),
            ("limits.write_seconds", self.limits.write_seconds),
            ("log.file_bytes", self.log.file_bytes),
            ("log.files", self.log.files as u64),
        ];
        for (key, value) in positive {
            if value == 0 {
                return Err(ConfigError::Value { key, message: "must be at least 1" });
            }
        }
        if self.limits.share_percent > 100 {
            return Err(ConfigError::Value { key: "limits.share_percent", message: "must not be above 100" });
        }
        if self.server.page_rows > self.server.page_rows_max {
            return Err(ConfigError::Value {
                key: "server.page_rows",
                message: "must not be above server.page_rows_max",
            });
        }
        if self.server.has_tls() == self.server.private_key.as_os_str().is_empty() {
            return Err(ConfigError::Value {
                key: "server.certificate",
                message: "comes with server.private_key: set both, or neither",
            });
        }
        if self.kafka.min_insync_replicas > self.kafka.replication {
            return Err(ConfigError::Value {
                key: "kafka.min_insync_replicas",
                message: "must not be above kafka.replication: nothing could be published",
            });
        }
        if self.transport.kind == TransportKind::Kafka && self.kafka.brokers.is_empty() {
            return Err(ConfigError::Value {
                key: "kafka.brokers",
                message: "is required with transport.kind = \"kafka\": host:port, several separated by commas",
            });
        }
        let is_of_topics = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        if !(1..=200).contains(&self.kafka.application.len())
            || !self.kafka.application.chars().all(is_of_topics)
        {
            return Err(ConfigError::Value {
                key: "kafka.application",
                message: "must be 1 to 200 of the characters a-z A-Z 0-9 . _ -, for topics are named after it",
            });
        }
        if let Err(message) = self.archive.place() {
            return Err(ConfigError::Value { key: "archive.url", message });
        }
        if let Err(message) = self.long_term.place()
            && !self.long_term.url.is_empty()
        {
            return Err(ConfigError::Value { key: "long_term.url", message });
        }
        for (key, archive) in
            [("archive.access_key_id", &self.archive), ("long_term.access_key_id", &self.long_term)]
        {
            if archive.has_half_a_key() {
                return Err(ConfigError::Value { key, message: HALF_A_KEY });
            }
        }
        if !self.long_term.url.is_empty()
            && (&self.long_term.url, &self.long_term.endpoint) == (&self.archive.url, &self.archive.endpoint)
        {
            return Err(ConfigError::Value {
                key: "long_term.url",
                message: "must not be that of the archive",
            });
        }
        if !(0.0..=1.0).contains(&self.traces.share) {
            return Err(ConfigError::Value { key: "traces.share", message: "must be a number from 0 to 1" });
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

#[cfg(test)]
mod tests {
    use super::*;

    fn load(environment: &[(&str, &str)]) -> Result<Config, ConfigError> {
        let variables = environment.iter().map(|&(name, value)| (name.to_owned(), value.to_owned()));
        Config::from_parts(None, environment::settings(variables)?, &[])
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
    fn a_rate_is_a_number_or_a_word() {
        let rate = |value| {
            load(&[URL, ("TARMAC_LIMITS_REQUESTS_PER_MINUTE", value)])
                .expect("valid")
                .limits
                .requests_per_minute
        };
        assert_eq!(load(&[URL]).expect("valid").limits.requests_per_minute, Rate::Auto);
        assert_eq!((rate("off"), Some(rate("30"))), (Rate::Off, NonZeroU32::new(30).map(Rate::Limit)));
    }

    #[test]
    fn properties_of_librdkafka_go_by_their_own_names() {
        let file = tempfile::NamedTempFile::with_suffix(".toml").expect("a file can be made");
        let text = "[kafka.properties]\nsasl.mechanism = 'PLAIN'\n'security.protocol' = 'sasl_plaintext'\n[kafka.producer]\nretries = 7\n";
        std::fs::write(&file, text).expect("the file can be written");
        let variables = [URL, ("TARMAC_KAFKA_PROPERTIES_SASL_PASSWORD", "a_b")];
        let variables = variables.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let environment = environment::settings(variables).expect("valid");
        let kafka = Config::from_parts(Some(file.path()), environment, &[]).expect("valid").kafka;
        let properties = |of: &[(&str, &str)]| {
            Properties(of.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect())
        };
        let common =
            [("sasl.mechanism", "PLAIN"), ("sasl.password", "a_b"), ("security.protocol", "sasl_plaintext")];
        assert_eq!(kafka.properties, properties(&common));
        assert_eq!(kafka.producer, properties(&[("retries", "7")]));
        assert_eq!(kafka.consumer, Properties::default());
    }

    #[test]
    fn a_wrong_value_is_refused_with_its_key() {
        let error = message(load(&[URL, ("TARMAC_INGEST_CHUNK_ROWS", "many")]));
        assert!(error.contains("many") && error.contains("ingest.chunk_rows"), "{error}");
        let error = message(load(&[URL, ("TARMAC_WORKER_LEASE_MS", "0")]));
        assert!(error.contains("worker.lease_ms"), "{error}");
        let error = message(load(&[URL, ("TARMAC_LIMITS_REQUESTS_PER_MINUTE", "0")]));
        assert!(error.contains("requests_per_minute") && error.contains("from 1"), "{error}");
        let error = message(load(&[URL, ("TARMAC_LIMITS_SHARE_PERCENT", "101")]));
        assert!(error.contains("limits.share_percent"), "{error}");
        let error = message(load(&[URL, ("TARMAC_SERVER_CERTIFICATE", "cert.pem")]));
        assert!(error.contains("server.private_key"), "{error}");
        let error = message(load(&[URL, ("TARMAC_TRANSPORT_KIND", "pigeon")]));
        assert!(error.contains("pigeon") && error.contains("journal") && error.contains("kafka"), "{error}");
        let error = message(load(&[URL, ("TARMAC_TRANSPORT_KIND", "kafka")]));
        assert!(error.contains("kafka.brokers"), "{error}");
        let error = message(load(&[URL, ("TARMAC_KAFKA_MIN_INSYNC_REPLICAS", "2")]));
        assert!(error.contains("kafka.min_insync_replicas"), "{error}");
        let error = message(load(&[URL, ("TARMAC_KAFKA_APPLICATION", "a b")]));
        assert!(error.contains("kafka.application"), "{error}");
        for url in ["", "s3://", "ftp://host/directory", "file://host/directory"] {
            let error = message(load(&[URL, ("TARMAC_ARCHIVE_URL", url)]));
            assert!(error.contains("archive.url") && error.contains("s3://bucket"), "{error}");
        }
        let error = message(load(&[URL, ("TARMAC_ARCHIVE_ACCESS_KEY_ID", "id")]));
        assert!(error.contains("archive.access_key_id") && error.contains("secret_access_key"), "{error}");
        let error = message(load(&[URL, ("TARMAC_LONG_TERM_URL", "ftp://host")]));
        assert!(error.contains("long_term.url") && error.contains("s3://bucket"), "{error}");
        let error = message(load(&[URL, ("TARMAC_LONG_TERM_URL", "archive")]));
        assert!(error.contains("long_term.url") && error.contains("not be that of the archive"), "{error}");
        let error = message(load(&[]));
        assert!(error.contains("TARMAC_DATABASE_URL"), "{error}");
    }
}
