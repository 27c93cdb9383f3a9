//! The two topics: made when they are missing, and held against what is needed of them.

use std::{sync::Arc, time::Duration};

use rdkafka::{
    admin::{AdminClient, AdminOptions, ConfigResource, NewTopic, ResourceSpecifier, TopicReplication},
    error::RDKafkaErrorCode as Code,
    producer::{FutureProducer, Producer},
};

use super::{
    KafkaFailure,
    error::{ANSWER, ClientErrors, blocking},
    settings::Settings,
};

/// How long work waits for a broker's answer: as long as Kafka's own clients do.
const WORK_ANSWER: Duration = Duration::from_secs(30);

/// A client for questions, one for changes.
#[derive(Clone)]
pub(super) struct Topics {
    settings: Arc<Settings>,
    client_errors: ClientErrors,
    asking: FutureProducer<ClientErrors>,
    administrator: Arc<AdminClient<ClientErrors>>,
    patience: Duration,
}

impl Topics {
    pub(super) fn new(
        settings: Arc<Settings>,
        client_errors: ClientErrors,
        asking: FutureProducer<ClientErrors>,
    ) -> Result<Self, KafkaFailure> {
        let administrator = settings.administrator().create_with_context(client_errors.clone());
        let administrator = Arc::new(administrator.map_err(KafkaFailure::properties)?);
        Ok(Self { settings, client_errors, asking, administrator, patience: ANSWER })
    }

    /// The same, for who can wait longer than a person who asks: a cluster that has just started may be slow.
    pub(super) fn patiently(&self) -> Self {
        Self { patience: WORK_ANSWER, ..self.clone() }
    }

    /// Makes the topics unless they are there, and checks that chunks fit; how many partitions those have. Fails when nobody
    /// answers, too.
    pub(super) async fn prepare(&self) -> Result<i32, KafkaFailure> {
        let Settings { chunks, dead_letters, .. } = &*self.settings;
        let partitions = self.settings.topics().partitions;
        // Asking for a topic's configuration is the question that does not make brokers create it, as they see fit.
        let mut configured = (self.configuration(chunks).await?, self.configuration(dead_letters).await?);
        let mut refusals = Vec::new();
        if configured.0.is_none() || configured.1.is_none() {
            refusals = self.make().await?;
            configured = (self.configuration(chunks).await?, self.configuration(dead_letters).await?);
        }
        let checked = match self.check(dead_letters, 1, configured.1).await {
            Ok(_) => self.check(chunks, partitions, configured.0).await,
            fault => fault,
        };
        match checked {
            Err(KafkaFailure::Topic(fault)) if !refusals.is_empty() => {
                Err(KafkaFailure::Topic(format!("{fault}; {}", refusals.join("; "))))
            }
            checked => checked,
        }
    }

    /// The checks of [`Topics::prepare`], which create nothing.
    pub(super) async fn inspect(&self) -> Result<(), KafkaFailure> {
        let Settings { chunks, dead_letters, .. } = &*self.settings;
        for (topic, partitions) in [(dead_letters, 1), (chunks, self.settings.topics().partitions)] {
            let config = self.configuration(topic).await?;
            // A question for the topic by its name could make a broker create it.
            if config.is_none() && !self.is_listed(topic.clone()).await? {
                return Err(KafkaFailure::Topic(format!(
                    "the topic {topic} is not there, or hidden: a process creates it when it starts, publishes or consumes"
                )));
            }
            self.check(topic, partitions, config).await?;
        }
        Ok(())
    }

    async fn is_listed(&self, topic: String) -> Result<bool, KafkaFailure> {
        let (asking, client_errors, patience) =
            (self.asking.clone(), self.client_errors.clone(), self.patience);
        blocking(move || {
            let metadata = asking
                .client()
                .fetch_metadata(None, patience)
                .map_err(client_errors.explain("reading the Kafka topics"))?;
            client_errors.forget();
            Ok(metadata.topics().iter().any(|found| found.name() == topic))
        })
        .await
    }

    /// Makes what is missing; says what could not be made. That may be there all the same, and its configuration hidden.
    async fn make(&self) -> Result<Vec<String>, KafkaFailure> {
        let kafka = self.settings.topics();
        let retention_ms = (kafka.retention_hours * 3_600_000).to_string();
        let message_bytes = self.settings.message_bytes.to_string();
        let in_sync = kafka.min_insync_replicas.to_string();
        let topic = |name, partitions| {
            NewTopic::new(name, partitions, TopicReplication::Fixed(kafka.replication))
                .set("cleanup.policy", "delete")
                .set("retention.ms", &retention_ms)
                .set("max.message.bytes", &message_bytes)
                .set("min.insync.replicas", &in_sync)
        };
        let topics = [topic(&self.settings.chunks, kafka.partitions), topic(&self.settings.dead_letters, 1)];
        let made = self
            .administrator
            .create_topics(&topics, &self.options())
            .await
            .map_err(self.client_errors.explain("making the Kafka topics"))?;
        let mut refusals = Vec::new();
        for topic in made {
            match topic {
                Ok(name) => tracing::info!(topic = name, "made a Kafka topic"),
                Err((_, Code::TopicAlreadyExists)) => {}
                Err((name, code)) => refusals.push(format!("the topic {name} cannot be made: {code}")),
            }
        }
        Ok(refusals)
    }

    async fn shape(&self, topic: String) -> Result<Shape, KafkaFailure> {
        let (asking, client_errors, patience) =
            (self.asking.clone(), self.client_errors.clone(), self.patience);
        blocking(move || {
            let metadata = asking
                .client()
                .fetch_metadata(Some(&topic), patience)
                .map_err(client_errors.explain("reading the Kafka topics"))?;
            client_errors.forget();
            let found =
                metadata.topics().iter().find(|found| found.name() == topic && found.error().is_none());
            let partitions = found.map(rdkafka::metadata::MetadataTopic::partitions).unwrap_or_default();
            if partitions.is_empty() {
                return Err(KafkaFailure::Topic(format!(
                    "the topic {topic} is not there, or not to be seen"
                )));
            }
            Ok(Shape {
                partitions: i32::try_from(partitions.len()).unwrap_or(i32::MAX),
                replicas: partitions.iter().map(|partition| partition.replicas().len()).min().unwrap_or(0),
            })
        })
        .await
    }

    /// Fails with everything that is wrong with the topic, and what to do about it.
    async fn check(
        &self,
        topic: &str,
        partitions: i32,
        config: Option<ConfigResource>,
    ) -> Result<i32, KafkaFailure> {
        let kafka = self.settings.topics();
        let mut faults = Vec::new();
        let shape = self.settle(topic).await?;
        if shape.partitions < partitions {
            faults.push(format!(
                "{} partitions, kafka.partitions asks for {partitions}: add some, or lower it",
                shape.partitions
            ));
        }
        if config.is_none() {
            tracing::warn!(topic, "the topic's configuration cannot be read and is not checked");
        }
        let text = |name: &str| config.as_ref()?.get(name)?.value.as_deref();
        let number = |name: &str| text(name)?.parse::<i64>().ok();
        let needed = self.settings.message_bytes as i64;
        if let Some(bytes) = number("max.message.bytes").filter(|bytes| *bytes < needed) {
            faults.push(format!(
                "max.message.bytes={bytes}, messages take up to {needed}: raise it, or lower ingest.chunk_bytes and ingest.record_bytes"
            ));
        }
        let kept = kafka.retention_hours as i64 * 3_600_000;
        if let Some(ms) = number("retention.ms").filter(|ms| (0..kept).contains(ms)) {
            faults.push(format!("retention.ms={ms}, kafka.retention_hours asks for {kept}"));
        }
        if let Some(in_sync) = number("min.insync.replicas") {
            if in_sync < i64::from(kafka.min_insync_replicas) {
                let asked = kafka.min_insync_replicas;
                faults.push(format!(
                    "min.insync.replicas={in_sync}, kafka.min_insync_replicas asks for {asked}"
                ));
            }
            if in_sync > shape.replicas as i64 {
                let replicas = shape.replicas;
                faults.push(format!(
                    "min.insync.replicas={in_sync} of {replicas} replicas: nothing can be published"
                ));
            }
        }
        if let Some(policy) = text("cleanup.policy").filter(|policy| policy.contains("compact")) {
            faults.push(format!("cleanup.policy={policy} would throw chunks away: set it to delete"));
        }
        if faults.is_empty() {
            return Ok(shape.partitions);
        }
        Err(KafkaFailure::Topic(format!("the topic {topic} has {}", faults.join("; it has "))))
    }

    /// What the brokers say of a topic, which may be so new that not all of them know it.
    async fn settle(&self, topic: &str) -> Result<Shape, KafkaFailure> {
        let mut looks = 0;
        loop {
            match self.shape(topic.to_owned()).await {
                Err(KafkaFailure::Topic(_)) if looks < 20 => looks += 1,
                shape => return shape,
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// Nothing when the topic is not there, or its configuration may not be read.
    async fn configuration(&self, topic: &str) -> Result<Option<ConfigResource>, KafkaFailure> {
        let described = self
            .administrator
            .describe_configs([&ResourceSpecifier::Topic(topic)], &self.options())
            .await
            .map_err(self.client_errors.explain("reading the Kafka topics"))?;
        Ok(described.into_iter().flatten().find(|config| !config.entries.is_empty()))
    }

    fn options(&self) -> AdminOptions {
        AdminOptions::new().request_timeout(Some(self.patience)).operation_timeout(Some(self.patience))
    }
}

struct Shape {
    partitions: i32,
    /// Of the partition that has the fewest.
    replicas: usize,
}
