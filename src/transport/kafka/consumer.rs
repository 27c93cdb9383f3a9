//! The task behind a subscriber: polls without ever waiting for a chunk to be loaded, keeps what is to be tried again,
//! commits offsets.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use rdkafka::{
    ClientContext, Offset, TopicPartitionList,
    config::RDKafkaLogLevel,
    consumer::{BaseConsumer, CommitMode, Consumer as _, ConsumerContext, Rebalance, StreamConsumer},
    error::{KafkaError, KafkaResult, RDKafkaErrorCode as Code},
    producer::{FutureProducer, FutureRecord},
    statistics::Statistics,
};
use tokio::{
    sync::mpsc::{self, Receiver, Sender, UnboundedReceiver, UnboundedSender},
    task::{JoinHandle, JoinSet},
    time::{Instant, sleep_until},
};
use tracing::{Instrument, Span};

use super::{
    Kafka, KafkaFailure,
    error::{ANSWER, ClientErrors, blocking},
    message::RawMessage,
    progress::{Place, Progress},
};
use crate::transport::{AssignedPartitions, Chunk, Delivery, Partition};

/// How long a received chunk waits for the worker before the partitions are paused. To pause costs what was fetched ahead.
const PATIENCE: Duration = Duration::from_secs(2);
/// Chunks kept to be tried again; with more, nothing new is taken.
const HELD_MOST: usize = 16;
/// Offsets are committed together, this long after the first of them could be.
const COMMIT_AFTER: Duration = Duration::from_millis(200);
/// What could not be committed is tried again after so long.
const COMMIT_AGAIN: Duration = Duration::from_secs(1);
/// How long to wait for the end of a consumer. librdkafka does not always find one (<https://github.com/confluentinc/librdkafka/issues/4884>);
/// the group then goes on without the member when its session ends.
const LEAVE: Duration = Duration::from_secs(30);
/// A dead letter that cannot be written is tried again.
const DEAD_LETTER_AGAIN: Duration = Duration::from_secs(1);

/// What a subscriber says of a delivery.
#[derive(Debug)]
pub(super) enum Command {
    Done(u64),
    Again(u64, Duration),
    DeadLetter(u64, String),
}

/// A running consumer. It ends when the commands do.
#[derive(Debug)]
pub(super) struct Member {
    pub(super) deliveries: Receiver<Result<Delivery, KafkaFailure>>,
    pub(super) commands: UnboundedSender<Command>,
    pub(super) task: JoinHandle<()>,
}

/// Joins the group. Returns as soon as the member runs; it may have no partitions yet.
pub(super) async fn join(
    kafka: &Kafka,
    by: &str,
    assigned: &AssignedPartitions,
) -> Result<Member, KafkaFailure> {
    kafka.topics.patiently().prepare().await?;
    let shared = Arc::new(Mutex::new(Shared::default()));
    let context = Context {
        client_errors: kafka.client_errors.clone(),
        topic: kafka.settings.chunks.clone(),
        shared: Arc::clone(&shared),
        assigned: assigned.clone(),
        by: by.to_owned(),
    };
    let consumer: StreamConsumer<Context> =
        kafka.settings.consumer().create_with_context(context).map_err(KafkaFailure::properties)?;
    consumer
        .subscribe(&[&kafka.settings.chunks])
        .map_err(kafka.client_errors.explain("joining the consumer group"))?;
    let (deliver, deliveries) = mpsc::channel(1);
    let (commands, commanded) = mpsc::unbounded_channel();
    let task = Task {
        topic: kafka.settings.chunks.clone(),
        dead_letters: kafka.settings.dead_letters.clone(),
        producer: kafka.dead_letters.clone(),
        client_errors: kafka.client_errors.clone(),
        shared,
        consumer: Arc::new(consumer),
        ready: VecDeque::new(),
        held: BTreeMap::new(),
        out: HashMap::new(),
        receipts: 0,
        writing_dead_letters: JoinSet::new(),
        committing: JoinSet::new(),
        behind_since: None,
        commit_at: None,
    };
    Ok(Member { deliveries, commands, task: tokio::spawn(task.run(deliver, commanded)) })
}

/// What the rebalance callbacks change; they are called while the task polls.
#[derive(Debug, Default)]
struct Shared {
    progress: Progress,
    paused: bool,
}

struct Context {
    client_errors: ClientErrors,
    topic: String,
    shared: Arc<Mutex<Shared>>,
    assigned: AssignedPartitions,
    by: String,
}

fn locked(shared: &Mutex<Shared>) -> MutexGuard<'_, Shared> {
    // Nothing panics between two changes that belong together.
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

impl ClientContext for Context {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        self.client_errors.log(level, facility, message);
    }

    fn error(&self, error: KafkaError, reason: &str) {
        self.client_errors.error(error, reason);
    }

    fn stats(&self, statistics: Statistics) {
        let fetched = statistics.topics.get(&self.topic).map(|topic| &topic.partitions);
        let shared = locked(&self.shared);
        let partitions = shared.progress.assigned().into_iter().map(|partition| {
            let fetched = fetched.and_then(|partitions| partitions.get(&partition));
            // Offsets count markers of transactions too, but what is not fetched yet has an end that is past them.
            let waiting = fetched.map_or(0, |partition| {
                (partition.ls_offset - partition.next_offset).max(0) + partition.fetchq_cnt.max(0)
            });
            let lag = waiting + shared.progress.pending(partition);
            Partition { topic: self.topic.clone(), partition, lag }
        });
        self.assigned.set(partitions.collect());
    }
}

impl ConsumerContext for Context {
    fn pre_rebalance(&self, _: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Revoke(partitions) = rebalance {
            let mut shared = locked(&self.shared);
            for partition in partitions.elements() {
                shared.progress.revoke(partition.partition());
            }
            tracing::debug!(by = self.by, partitions = ?numbers(partitions), "partitions go");
        }
    }

    fn post_rebalance(&self, consumer: &BaseConsumer<Self>, rebalance: &Rebalance<'_>) {
        if let Rebalance::Assign(partitions) = rebalance {
            let mut shared = locked(&self.shared);
            for partition in partitions.elements() {
                shared.progress.assign(partition.partition());
            }
            // librdkafka pauses partitions, not consumers: one that went while it was paused comes back so.
            let paced = if shared.paused { consumer.pause(partitions) } else { consumer.resume(partitions) };
            if let Err(error) = paced {
                tracing::warn!(by = self.by, %error, "could not pause or resume new partitions");
            }
            tracing::debug!(by = self.by, partitions = ?numbers(partitions), "partitions come");
        }
    }
}

fn numbers(partitions: &TopicPartitionList) -> Vec<i32> {
    partitions
        .elements()
        .iter()
        .map(rdkafka::topic_partition_list::TopicPartitionListElem::partition)
        .collect()
}

/// A message that is not dealt with.
#[derive(Debug)]
struct Pending {
    message: Arc<RawMessage>,
    chunk: Chunk,
    place: Place,
    attempt: i32,
}

struct Task {
    topic: String,
    dead_letters: String,
    producer: FutureProducer<ClientErrors>,
    client_errors: ClientErrors,
    shared: Arc<Mutex<Shared>>,
    consumer: Arc<StreamConsumer<Context>>,
    /// To be handed over next.
    ready: VecDeque<Pending>,
    /// To be tried again, by when; the number tells two of one moment apart.
    held: BTreeMap<(Instant, u64), Pending>,
    /// Handed over, by receipt.
    out: HashMap<u64, Pending>,
    receipts: u64,
    writing_dead_letters: JoinSet<Place>,
    /// The commit that is under way, and the positions it is about. It waits for its end, on a thread of its own: how an asynchronous
    /// one ended, rust-rdkafka does not tell (<https://github.com/fede1024/rust-rdkafka/issues/856>).
    committing: JoinSet<(TopicPartitionList, KafkaResult<()>)>,
    /// Since when a chunk waits for the worker.
    behind_since: Option<Instant>,
    /// When to commit offsets, if there are some to commit.
    commit_at: Option<Instant>,
}

impl Task {
    async fn run(
        mut self,
        deliver: Sender<Result<Delivery, KafkaFailure>>,
        mut commands: UnboundedReceiver<Command>,
    ) {
        let consumer = Arc::clone(&self.consumer);
        loop {
            self.ready.retain(|pending| locked(&self.shared).progress.holds(pending.place));
            let has_room = self.ready.is_empty() && self.held.len() < HELD_MOST;
            self.keep_pace(has_room);
            let paused = locked(&self.shared).paused;
            let due = self.held.first_key_value().map(|((due, _), _)| *due);
            let pause_at = self.behind_since.filter(|_| !paused).map(|since| since + PATIENCE);
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => break,
                },
                permit = deliver.reserve(), if !self.ready.is_empty() => {
                    let Ok(permit) = permit else { break };
                    if let Some(delivery) = self.hand_over() {
                        permit.send(Ok(delivery));
                    }
                }
                () = at(due), if self.ready.is_empty() => {
                    self.ready.extend(self.held.pop_first().map(|(_, pending)| pending));
                }
                received = consumer.recv(), if has_room || paused => match received {
                    Ok(message) => self.take(RawMessage::copy_of(&message)),
                    Err(error) if ends(&error) => {
                        // Nobody may be there to hear it.
                        drop(deliver.send(Err(self.client_errors.explain("receiving chunks")(error))).await);
                        break;
                    }
                    // librdkafka goes on by itself.
                    Err(error) => tracing::debug!(%error, "receiving chunks"),
                },
                () = at(pause_at) => {
                    self.pause(true);
                    self.behind_since = Some(Instant::now());
                }
                Some(written) = self.writing_dead_letters.join_next() => {
                    if let Ok(place) = written {
                        self.done(place);
                    }
                }
                () = at(self.commit_at), if self.committing.is_empty() => self.commit(),
                Some(ended) = self.committing.join_next() => {
                    if let Ok((positions, Err(error))) = ended {
                        self.offer_again(&positions, &error);
                    }
                }
            }
        }
        drop(consumer);
        if tokio::time::timeout(LEAVE, self.end()).await.is_err() {
            tracing::warn!("a consumer did not leave its group in time");
        }
    }

    /// Notes since when the worker is behind, and fetches again when it no longer is.
    fn keep_pace(&mut self, has_room: bool) {
        if has_room {
            self.behind_since = None;
            if locked(&self.shared).paused {
                self.pause(false);
            }
        } else {
            self.behind_since.get_or_insert_with(Instant::now);
        }
    }

    /// Stops or starts fetching from all partitions; polling goes on.
    fn pause(&self, pause: bool) {
        let mut shared = locked(&self.shared);
        let mut partitions = TopicPartitionList::new();
        for partition in shared.progress.assigned() {
            partitions.add_partition(&self.topic, partition);
        }
        let done = if pause { self.consumer.pause(&partitions) } else { self.consumer.resume(&partitions) };
        match done {
            Ok(()) => shared.paused = pause,
            Err(error) => tracing::warn!(%error, pause, "could not pause or resume partitions"),
        }
    }

    fn take(&mut self, message: RawMessage) {
        let Some(place) = locked(&self.shared).progress.delivered(message.partition, message.offset) else {
            return;
        };
        let message = Arc::new(message);
        match message.read() {
            Ok(chunk) => self.ready.push_back(Pending { message, chunk, place, attempt: 1 }),
            Err(reason) => self.dead_letter(message, place, reason, Span::none()),
        }
    }

    fn hand_over(&mut self) -> Option<Delivery> {
        let pending = self.ready.pop_front()?;
        self.receipts += 1;
        let Pending { message, chunk, attempt, .. } = &pending;
        let bytes = Ok(message.payload.clone());
        let delivery = Delivery { chunk: chunk.clone(), bytes, attempt: *attempt, receipt: self.receipts };
        self.out.insert(self.receipts, pending);
        Some(delivery)
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Done(receipt) => {
                if let Some(pending) = self.out.remove(&receipt) {
                    self.done(pending.place);
                }
            }
            Command::Again(receipt, delay) => {
                if let Some(mut pending) = self.out.remove(&receipt)
                    && locked(&self.shared).progress.holds(pending.place)
                {
                    pending.attempt += 1;
                    self.held.insert((Instant::now() + delay, receipt), pending);
                }
            }
            Command::DeadLetter(receipt, reason) => {
                if let Some(Pending { message, place, chunk, .. }) = self.out.remove(&receipt) {
                    self.dead_letter(message, place, reason, chunk.span());
                }
            }
        }
    }

    fn done(&mut self, place: Place) {
        locked(&self.shared).progress.done(place);
        let due = Instant::now() + COMMIT_AFTER;
        self.commit_at = Some(self.commit_at.map_or(due, |at| at.min(due)));
    }

    /// Copies the message to the dead letters; only then is it dealt with here. `span` is its chunk's, if it carries one.
    fn dead_letter(&mut self, message: Arc<RawMessage>, place: Place, reason: String, span: Span) {
        tracing::warn!(
            parent: &span,
            partition = message.partition,
            offset = message.offset,
            reason,
            "a message goes to the dead letters"
        );
        let (producer, from, to) = (self.producer.clone(), self.topic.clone(), self.dead_letters.clone());
        let writing = async move {
            loop {
                let mut record = FutureRecord::<[u8], [u8]>::to(&to)
                    .payload(&message.payload)
                    .headers(message.dead_letter_headers(&from, &reason));
                if let Some(key) = &message.key {
                    record = record.key(key);
                }
                match producer.send(record, ANSWER).await {
                    Ok(_) => return place,
                    Err((error, _)) => tracing::warn!(%error, "a dead letter was not written"),
                }
                tokio::time::sleep(DEAD_LETTER_AGAIN).await;
            }
        };
        self.writing_dead_letters.spawn(writing.instrument(span));
    }

    /// Positions of partitions that are still here, as librdkafka wants them.
    fn positions(&self) -> Option<TopicPartitionList> {
        let positions = locked(&self.shared).progress.take_positions();
        let mut list = TopicPartitionList::new();
        for (partition, position) in &positions {
            let added = list.add_partition_offset(&self.topic, *partition, Offset::Offset(*position));
            added.unwrap_or_else(|error| tracing::error!(%error, "an offset is no offset"));
        }
        (!positions.is_empty()).then_some(list)
    }

    fn commit(&mut self) {
        self.commit_at = None;
        if let Some(positions) = self.positions() {
            let consumer = Arc::clone(&self.consumer);
            self.committing.spawn_blocking(move || {
                let committed = consumer.commit(&positions, CommitMode::Sync);
                (positions, committed)
            });
        }
    }

    /// Of a commit that failed, what is still this consumer's is committed with the next one.
    fn offer_again(&mut self, positions: &TopicPartitionList, error: &KafkaError) {
        if is_rebalance(error) {
            tracing::debug!(%error, "offsets were not committed");
        } else {
            tracing::warn!(%error, "offsets were not committed");
        }
        let mut shared = locked(&self.shared);
        for position in positions.elements() {
            if let Offset::Offset(offset) = position.offset() {
                shared.progress.uncommitted(position.partition(), offset);
            }
        }
        if shared.progress.has_positions() {
            self.commit_at = Some(Instant::now() + COMMIT_AGAIN);
        }
    }

    /// Commits what is dealt with and leaves the group. What is not committed comes once more, elsewhere, and the ledger knows it:
    /// after a commit that failed no other is tried, since each may take as long as the broker is away.
    async fn end(mut self) {
        let mut positions = self.positions();
        while let Some(ended) = self.committing.join_next().await {
            if !matches!(ended, Ok((_, Ok(())))) {
                positions = None;
            }
        }
        let Self { consumer, .. } = self;
        let left = blocking(move || {
            if let Some(positions) = positions
                && let Err(error) = consumer.commit(&positions, CommitMode::Sync)
            {
                tracing::warn!(%error, "the last offsets were not committed");
            }
            drop(consumer);
            Ok(())
        });
        if let Err(error) = left.await {
            tracing::debug!(%error, "did not wait for a consumer to leave its group");
        }
    }
}

/// Whether the group was changing: its members' commits are refused until they have joined again.
fn is_rebalance(error: &KafkaError) -> bool {
    matches!(
        error.rdkafka_error_code(),
        Some(Code::RebalanceInProgress | Code::IllegalGeneration | Code::UnknownMemberId)
    )
}

/// Whether the consumer is of no use any more. What passes librdkafka retries by itself.
fn ends(error: &KafkaError) -> bool {
    matches!(error, KafkaError::MessageConsumptionFatal(_))
        || matches!(
            error.rdkafka_error_code(),
            Some(
                Code::Fatal
                    | Code::UnknownTopicOrPartition
                    | Code::UnknownTopic
                    | Code::UnknownPartition
                    | Code::TopicAuthorizationFailed
                    | Code::GroupAuthorizationFailed
            )
        )
}

/// At that time, or never.
async fn at(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}
