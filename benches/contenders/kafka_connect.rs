//! Kafka Connect with Debezium's JDBC sink, in a process of its own that lives through all rounds: JSON with its schema in every message, two
//! tasks on two partitions, upserts by the primary key.

use std::{
    fs::{self, File},
    process::{Command, Stdio},
    sync::Arc,
    time::{Duration, Instant},
};

use rdkafka::{
    ClientConfig,
    admin::{AdminClient, AdminOptions, NewTopic, TopicReplication},
    client::DefaultClientContext,
    error::{KafkaError, RDKafkaErrorCode},
    producer::{BaseProducer, BaseRecord, Producer},
};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, PgConnection};

use crate::{
    Setting, Taken,
    support::server::{Outcome, Running},
};

const PARTITIONS: i32 = 2;
const PATIENCE: Duration = Duration::from_secs(300);

/// The running sink, and what it is to be sent.
pub(crate) struct KafkaConnect {
    process: Running,
    producer: BaseProducer,
    administrator: Arc<AdminClient<DefaultClientContext>>,
    topic: String,
    messages: Vec<String>,
}

impl KafkaConnect {
    /// The messages are made before anything is measured.
    pub(crate) async fn start(setting: &Setting, sql: &mut PgConnection, rows: u64) -> Outcome<Self> {
        let jars = std::env::var("BENCH_CONNECT_JARS")
            .map_err(|_| "BENCH_CONNECT_JARS is not set; make bench sets it")?;
        let mut client = ClientConfig::new();
        client.set("bootstrap.servers", &setting.brokers).set("compression.type", "lz4");
        let topic = format!("tarmac_bench_{}_citizens", std::process::id());
        let administrator: AdminClient<DefaultClientContext> = client.create()?;
        let new = NewTopic::new(&topic, PARTITIONS, TopicReplication::Fixed(1));
        for made in administrator.create_topics([&new], &AdminOptions::new()).await? {
            made.map_err(|(name, code)| format!("{name}: {code}"))?;
        }

        let directory = setting.directory.path();
        let (worker, sink) = (directory.join("worker.properties"), directory.join("sink.properties"));
        fs::write(&worker, worker_properties(setting))?;
        fs::write(&sink, sink_properties(setting, &topic)?)?;
        // The memory that Kafka's own script gives it.
        let mut connect = Command::new("java");
        connect
            .args(["-Xms256M", "-Xmx2G", "-Dlog4j2.level=WARN", "-cp", &format!("{jars}/*")])
            .arg("org.apache.kafka.connect.cli.ConnectStandalone")
            .args([worker, sink])
            .stdout(Stdio::null())
            .stderr(File::create(directory.join("connect.log"))?);
        let process = Running(connect.spawn()?);
        let messages = messages(sql, rows).await?;
        Ok(Self {
            process,
            producer: client.create()?,
            administrator: Arc::new(administrator),
            topic,
            messages,
        })
    }

    /// Ends the process, and deletes the topic.
    pub(crate) async fn stop(self) -> Outcome<()> {
        let topic = self.topic.clone();
        let administrator = self.administrator.clone();
        drop(self);
        administrator.delete_topics(&[&topic], &AdminOptions::new()).await?;
        Ok(())
    }

    /// From the first message until the last row is in the table.
    pub(crate) async fn load(&self, sql: &mut PgConnection) -> Outcome<Taken> {
        let started = Instant::now();
        for message in &self.messages {
            self.send(message)?;
        }
        self.producer.flush(PATIENCE)?;
        loop {
            let rows: i64 = sqlx::query_scalar("select count(*) from contender").fetch_one(&mut *sql).await?;
            if rows.cast_unsigned() == self.messages.len() as u64 {
                break;
            }
            if started.elapsed() > PATIENCE {
                return Err(format!("Kafka Connect stored {rows} rows of {}", self.messages.len()).into());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        let seconds = started.elapsed().as_secs_f64();
        Ok(Taken { seconds, megabytes: self.process.memory_mb("VmHWM")? })
    }

    fn send(&self, message: &str) -> Outcome<()> {
        let mut record = BaseRecord::<(), str>::to(&self.topic).payload(message);
        loop {
            match self.producer.send(record) {
                Err((KafkaError::MessageProduction(RDKafkaErrorCode::QueueFull), back)) => {
                    record = back;
                    self.producer.poll(Duration::from_millis(10));
                }
                sent => return Ok(sent.map_err(|(error, _)| error)?),
            }
        }
    }
}

fn worker_properties(setting: &Setting) -> String {
    format!(
        "bootstrap.servers={}
key.converter=org.apache.kafka.connect.json.JsonConverter
value.converter=org.apache.kafka.connect.json.JsonConverter
key.converter.schemas.enable=false
value.converter.schemas.enable=true
offset.storage.file.filename={}
connector.client.config.override.policy=All
plugin.discovery=service_load
listeners=http://127.0.0.1:0
",
        setting.brokers,
        setting.directory.path().join("connect.offsets").display()
    )
}

/// Batches larger than the default of 500, and in one statement each by the driver: as one would for a bulk load.
fn sink_properties(setting: &Setting, topic: &str) -> Outcome<String> {
    let (_, address) = setting.database.url.rsplit_once('@').ok_or("the URL names no user")?;
    let (credentials, _) = setting.database.url.rsplit_once('@').ok_or("the URL names no user")?;
    let credentials = credentials.trim_start_matches("postgresql://").trim_start_matches("postgres://");
    let (user, password) = credentials.split_once(':').unwrap_or((credentials, ""));
    Ok(format!(
        "name=sink
connector.class=io.debezium.connector.jdbc.JdbcSinkConnector
tasks.max={PARTITIONS}
topics={topic}
connection.url=jdbc:postgresql://{address}?reWriteBatchedInserts=true
connection.username={user}
connection.password={password}
collection.name.format=contender
insert.mode=upsert
primary.key.mode=record_value
primary.key.fields=import_id,citizen_id
schema.evolution=none
batch.size=5000
consumer.override.max.poll.records=5000
consumer.override.auto.offset.reset=earliest
"
    ))
}

/// The first rows of the reference, each with the schema that the converter wants.
async fn messages(sql: &mut PgConnection, rows: u64) -> Outcome<Vec<String>> {
    let field = |name: &str, kind: &str| json!({ "field": name, "type": kind, "optional": false });
    let schema: Value = json!({
        "type": "struct", "optional": false,
        "fields": [
            field("import_id", "int64"), field("citizen_id", "int64"), field("row", "int64"), field("apartment", "int64"),
            json!({ "field": "birth_date", "type": "int32", "optional": false, "name": "org.apache.kafka.connect.data.Date", "version": 1 }),
            field("town", "string"), field("street", "string"), field("building", "string"), field("name", "string"),
            field("gender", "string"),
            json!({ "field": "channel", "type": "string", "optional": true }),
            json!({ "field": "relatives", "type": "array", "optional": false, "items": { "type": "int64", "optional": false } }),
        ],
    });
    let query = format!(
        "select json_build_object('import_id', import_id, 'citizen_id', citizen_id, 'row', row, 'apartment', apartment,
            'birth_date', birth_date - date '1970-01-01', 'town', town, 'street', street, 'building', building, 'name', name,
            'gender', gender, 'channel', channel, 'relatives', relatives)::text
         from reference where row <= {rows} order by row"
    );
    let payloads: Vec<String> = sqlx::query_scalar(AssertSqlSafe(query)).fetch_all(sql).await?;
    Ok(payloads.iter().map(|payload| format!(r#"{{"schema":{schema},"payload":{payload}}}"#)).collect())
}
