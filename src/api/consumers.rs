//! `/consumers`: who loads chunks. What is wanted of one is kept in the database; the process that runs it follows.

use std::time::Duration;

use chrono::{DateTime, Utc};
use poem::http::Uri;
use poem_openapi::{
    ApiResponse, Enum, Object, OpenApi,
    param::{Path, Query},
    registry::MetaSchema,
    types::Example,
};
use serde_json::{Value, json};

use super::{
    Context, Tag,
    access::MayRead,
    body::{self, FromJson, Json, MergePatch},
    idempotency::{self, ClaimRefusal, Decision, Idempotency, Replayable, SaveRefusal},
    page,
    problem::{Internal, Invalid, KeyReused, NotFound, Violation},
    schema,
};
use crate::{
    config::TransportKind,
    db::{
        commit,
        consumers::{self, Consumer, Desired},
        journal,
    },
    refusal,
};

/// See the module.
pub(super) struct Consumers {
    /// What handlers work with.
    pub(super) context: Context,
}

/// How a consumer is
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
enum ConsumerState {
    /// It loads chunks.
    Running,
    /// On request it holds nothing and waits.
    Paused,
    /// Nobody runs it: no process with a worker has taken it yet.
    Waiting,
}

/// A part of what chunks travel by
#[derive(Debug, Object)]
#[oai(rename = "ConsumerPartition")]
struct PartitionView {
    /// The topic.
    topic: String,
    /// Its number in the topic, from 0.
    partition: i32,
    /// Chunks in it that are not dealt with.
    lag: i64,
}

/// A consumer: one task that loads chunks
#[derive(Debug, Object)]
#[oai(rename = "Consumer", example)]
struct ConsumerView {
    /// Its number; it stays the same wherever it runs.
    id: i64,
    /// How it is.
    state: ConsumerState,
    /// Whether it stays when the process that runs it ends, and is run by another. The others come and go with their process.
    permanent: bool,
    /// The process that runs it.
    worker: Option<String>,
    /// When it last gave a sign of life.
    heartbeat_at: Option<DateTime<Utc>>,
    /// What it takes chunks from at the moment: with Kafka partitions, which move when consumers come and go; with the journal
    /// nothing, for all take from the same.
    partitions: Vec<PartitionView>,
    /// Chunks that wait for it, in its partitions; with the journal those that wait for anybody.
    lag: i64,
    /// The import whose chunk it loads now.
    import_id: Option<i64>,
    /// Chunks it has dealt with since it was started.
    chunks: i64,
    /// Bytes in them.
    bytes: i64,
    /// Bytes a second, over the last ten seconds.
    bytes_per_second: i64,
    /// When it was added.
    created_at: DateTime<Utc>,
}

impl Example for ConsumerView {
    fn example() -> Self {
        Self {
            id: 1,
            state: ConsumerState::Running,
            permanent: false,
            worker: Some("01a1fb8e-62a4-7d31-9c5f-3f0b6a1c2d4e".to_owned()),
            heartbeat_at: Some(DateTime::UNIX_EPOCH),
            partitions: vec![PartitionView { topic: "tarmac.chunks".to_owned(), partition: 0, lag: 3 }],
            lag: 3,
            import_id: Some(7),
            chunks: 42,
            bytes: 38_535_168,
            bytes_per_second: 41_943_040,
            created_at: DateTime::UNIX_EPOCH,
        }
    }
}

impl ConsumerView {
    /// `waiting` are the chunks that wait for anybody.
    fn new(consumer: Consumer, waiting: i64) -> Self {
        let Consumer { id, permanent, desired, worker, heartbeat_at, report, created_at, alive } = consumer;
        let report = report.filter(|_| alive).map(|report| report.0).unwrap_or_default();
        let partitions: Vec<_> = report
            .partitions
            .into_iter()
            .map(|consumers::Partition { topic, partition, lag }| PartitionView { topic, partition, lag })
            .collect();
        Self {
            id,
            state: match desired {
                Desired::Paused => ConsumerState::Paused,
                Desired::Running if alive => ConsumerState::Running,
                Desired::Running | Desired::Stopped => ConsumerState::Waiting,
            },
            permanent,
            worker: worker.filter(|_| alive),
            heartbeat_at,
            lag: waiting + partitions.iter().map(|partition| partition.lag).sum::<i64>(),
            partitions,
            import_id: report.import_id,
            chunks: report.chunks,
            bytes: report.bytes,
            bytes_per_second: report.bytes_per_second,
            created_at,
        }
    }
}

/// A page of consumers
#[derive(Debug, Object)]
#[oai(example)]
struct ConsumerList {
    /// The consumers, by number.
    data: Vec<ConsumerView>,
}

impl Example for ConsumerList {
    fn example() -> Self {
        Self { data: vec![ConsumerView::example()] }
    }
}

/// What is wanted of a consumer.
struct ConsumerPatch(Option<Desired>);

schema::object!(ConsumerPatch, "ConsumerPatch", patch_schema);

fn patch_schema() -> MetaSchema {
    let state =
        MetaSchema { enum_items: vec![json!("running"), json!("paused")], ..MetaSchema::new("string") };
    MetaSchema {
        description: Some("What is wanted of the consumer"),
        properties: vec![(
            "state",
            schema::property(state, "`paused` holds nothing and waits; `running` loads"),
        )],
        example: Some(json!({ "state": "paused" })),
        ..MetaSchema::new("object")
    }
}

impl FromJson for ConsumerPatch {
    fn from_json(json: &Value, faults: &mut Vec<Violation>) -> Option<Self> {
        let object = body::object(json, faults)?;
        body::refuse_unknown_fields(object, |name| name == "state", faults);
        let desired = match object.get("state").map(|state| state.as_str().unwrap_or_default()) {
            None => None,
            Some("running") => Some(Desired::Running),
            Some("paused") => Some(Desired::Paused),
            Some(_) => {
                faults.push(Violation::at("/state", "not_one_of", "state must be running or paused"));
                None
            }
        };
        Some(Self(desired))
    }
}

#[derive(ApiResponse)]
enum ListAnswer {
    /// A page of consumers
    #[oai(status = 200)]
    Page(
        Json<ConsumerList>,
        /// The next page, when there is one
        #[oai(header = "Link")]
        Option<String>,
    ),
}

#[derive(ApiResponse)]
enum ConsumerAnswer {
    /// The consumer
    #[oai(status = 200)]
    Consumer(Json<ConsumerView>),
}

#[derive(ApiResponse)]
enum AddedAnswer {
    /// It is added, and some process with a worker will run it
    #[oai(status = 201)]
    Added(
        Json<ConsumerView>,
        /// Where it is
        #[oai(header = "Location")]
        String,
    ),
}

#[derive(ApiResponse)]
enum RemovedAnswer {
    /// It is removed; what it is just doing comes to an end
    #[oai(status = 204)]
    Removed,
}

refusal!(
    /// Why consumers are not listed.
    ListRefusal: Invalid, Internal
);
refusal!(
    /// Why no consumer is added.
    AddRefusal: ClaimRefusal, SaveRefusal, KeyReused, Internal
);
refusal!(
    /// Why there is nothing to be done about a consumer.
    ItemRefusal: NotFound
);

fn unknown(id: i64) -> NotFound {
    NotFound::new(format!("there is no consumer {id}"))
}

#[OpenApi(tag = "Tag::Operations")]
impl Consumers {
    /// List consumers
    #[oai(path = "/consumers", method = "get", operation_id = "list_consumers")]
    async fn list_consumers(
        &self,
        _caller: MayRead,
        /// Most consumers of the page
        Query(limit): Query<Option<u64>>,
        /// Where the page before ended, from its `Link`
        Query(cursor): Query<Option<String>>,
        uri: &Uri,
    ) -> Result<ListAnswer, ListRefusal> {
        let limit = page::limit(limit, &self.context.config.server)?;
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let after = cursor.map(|cursor| page::decode_number(&cursor, 1)).transpose()?.unwrap_or(0);
        let mut found =
            consumers::list(&self.context.db, self.lease(), after, limit.saturating_add(1)).await?;
        let mut next = None;
        if found.len() as i64 > limit {
            found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
            let last = found.last().map_or(0, |consumer| consumer.id);
            next = Some(page::next_link(uri, &page::encode_cursor(&last).map_err(Internal::because)?));
        }
        let waiting = self.waiting().await?;
        let data = found.into_iter().map(|consumer| ConsumerView::new(consumer, waiting)).collect();
        Ok(ListAnswer::Page(Json(ConsumerList { data }), next))
    }

    /// Add a consumer
    ///
    /// It stays until it is removed; a process with a worker takes it, and when that ends, another.
    #[oai(path = "/consumers", method = "post", operation_id = "add_consumer")]
    async fn add_consumer(
        &self,
        /// The same key with the same request gets the first answer again
        #[oai(name = "Idempotency-Key")]
        key: Idempotency,
    ) -> Result<Replayable<AddedAnswer>, AddRefusal> {
        let first = match key.claim(&self.context.db).await?.decide_by_body(&[])? {
            Decision::Repeated(answer) => return Ok(Replayable::again(answer)),
            Decision::First(first) => first,
        };
        let mut transaction = self.context.db.begin().await?;
        let consumer = consumers::add(&mut transaction, self.lease()).await?;
        let place = format!("/consumers/{}", consumer.id);
        let view = ConsumerView::new(consumer, self.waiting().await?);
        let answer = idempotency::render(AddedAnswer::Added(Json(view), place)).await?;
        let keep = Duration::from_secs(self.context.config.server.idempotency_seconds);
        first.save(&mut transaction, &answer, keep).await?;
        commit(transaction, "adding a consumer").await?;
        Ok(Replayable::first(answer))
    }

    /// Read a consumer: how it is, and what it does
    #[oai(path = "/consumers/:id", method = "get", operation_id = "get_consumer")]
    async fn get_consumer(
        &self,
        _caller: MayRead,
        /// Number of the consumer
        Path(id): Path<i64>,
    ) -> Result<ConsumerAnswer, ItemRefusal> {
        self.answer(id).await
    }

    /// Pause or resume a consumer
    ///
    /// Takes effect at the next chunk. Paused, it holds nothing: others have what it could take.
    #[oai(path = "/consumers/:id", method = "patch", operation_id = "patch_consumer")]
    async fn patch_consumer(
        &self,
        /// Number of the consumer
        Path(id): Path<i64>,
        body: MergePatch<ConsumerPatch>,
    ) -> Result<ConsumerAnswer, ItemRefusal> {
        if let ConsumerPatch(Some(desired)) = body.0
            && !consumers::want(&self.context.db, id, desired).await?
        {
            return Err(unknown(id).into());
        }
        self.answer(id).await
    }

    /// Remove a consumer
    ///
    /// It deals with the chunk it has and ends. One that came with its process comes back when that is started again.
    #[oai(path = "/consumers/:id", method = "delete", operation_id = "remove_consumer")]
    async fn remove_consumer(
        &self,
        /// Number of the consumer
        Path(id): Path<i64>,
    ) -> Result<RemovedAnswer, ItemRefusal> {
        if consumers::want(&self.context.db, id, Desired::Stopped).await? {
            Ok(RemovedAnswer::Removed)
        } else {
            Err(unknown(id).into())
        }
    }
}

impl Consumers {
    fn lease(&self) -> Duration {
        Duration::from_millis(self.context.config.worker.lease_ms)
    }

    async fn answer(&self, id: i64) -> Result<ConsumerAnswer, ItemRefusal> {
        let consumer = consumers::get(&self.context.db, self.lease(), id).await?;
        let consumer = consumer.ok_or_else(|| unknown(id))?;
        Ok(ConsumerAnswer::Consumer(Json(ConsumerView::new(consumer, self.waiting().await?))))
    }

    /// The chunks that wait for anybody.
    async fn waiting(&self) -> Result<i64, crate::db::DbError> {
        match self.context.config.transport.kind {
            TransportKind::Journal => journal::depth(&self.context.db).await,
            TransportKind::Kafka => Ok(0),
        }
    }
}
