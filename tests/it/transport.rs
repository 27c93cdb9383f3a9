//! What every transport owes, as [`tarmac::transport`] puts it: one suite, stamped on each of them.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex},
    time::Duration,
};

use bytes::Bytes;
use tarmac::{
    db::imports::Import,
    ingest::load::Loaded,
    transport::{Broken, Chunk, Delivery, Subscriber, Transport, TransportError, kafka::Kafka},
};
use tokio_util::sync::CancellationToken;

use crate::support::{
    App,
    engine::Engine,
    files::{row, rows},
    kafka::Topics,
    wait::{DEADLINE, until},
};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const LONG: Duration = Duration::from_secs(3_600);

/// An import that is running, and the rows it is cut into: a chunk each.
struct World {
    app: App,
    engine: Engine,
    topics: Topics,
    import: Import,
    file: Bytes,
}

impl World {
    async fn new() -> Self {
        let app = App::without_worker(&[("ingest.record_bytes", "50")]).await;
        let file = rows(100..200);
        app.begin("", file.clone()).await;
        let engine = Engine::beside(&app).await;
        let import = engine.claim().await;
        Self { app, engine, topics: Topics::new(), import, file: file.into() }
    }

    /// The chunk of that number, as it is published in `epoch`, with its bytes.
    fn chunk(&self, number: i64, epoch: i32) -> (Chunk, Bytes) {
        let length = row(100).len();
        let begin = usize::try_from(number).expect("not negative") * length;
        let bytes = self.file.slice(begin..begin + length);
        let chunk = Chunk {
            import_id: self.import.id,
            epoch,
            chunk_no: number,
            file_no: 0,
            object: self.import.source.clone(),
            byte_offset: begin as u64,
            byte_len: length as u64,
            first_row: number + 1,
            first_line: number + 1,
            broken: None,
            traceparent: Some(TRACE.to_owned()),
        };
        (chunk, bytes)
    }

    async fn publish(&self, transport: &dyn Transport, number: i64) {
        publish(transport, &[self.chunk(number, self.import.epoch)]).await;
    }
}

async fn publish(transport: &dyn Transport, chunks: &[(Chunk, Bytes)]) {
    let mut publisher = transport.publisher(chunks[0].0.import_id);
    publisher.publish(chunks).await.expect("the transport takes it");
}

async fn next(subscriber: &mut dyn Subscriber) -> Delivery {
    let received = tokio::time::timeout(DEADLINE, subscriber.receive()).await;
    received.expect("a chunk comes").expect("the transport answers")
}

/// A published chunk is delivered as it was published, with its bytes.
async fn delivers_what_was_published(world: &World, transport: &dyn Transport) {
    let mut subscriber = transport.subscriber("a".to_owned());
    for number in 0..3 {
        world.publish(transport, number).await;
        let delivery = next(subscriber.as_mut()).await;
        let (chunk, bytes) = world.chunk(number, world.import.epoch);
        let received = delivery.bytes.as_ref().expect("the archive has them");
        assert_eq!((&delivery.chunk, received, delivery.attempt), (&chunk, &bytes, 1));
        subscriber.acknowledge(&delivery).await.expect("the transport answers");
    }
}

/// A subscriber that waits already is woken.
async fn wakes_who_waits(world: &World, transport: &dyn Transport) {
    let mut subscriber = transport.subscriber("a".to_owned());
    let (delivery, ()) = tokio::join!(next(subscriber.as_mut()), world.publish(transport, 0));
    assert_eq!(delivery.chunk.chunk_no, 0);
}

/// Of a broken record the first bytes are delivered, enough to show it.
async fn delivers_a_sample_of_a_broken_record(world: &World, transport: &dyn Transport) {
    let (chunk, bytes) = world.chunk(0, world.import.epoch);
    let chunk = Chunk { broken: Some(Broken::TooLong), ..chunk };
    publish(transport, &[(chunk, bytes.slice(..50))]).await;
    let delivery = next(transport.subscriber("a".to_owned()).as_mut()).await;
    let received = delivery.bytes.expect("the archive has them");
    assert_eq!((delivery.chunk.broken, received), (Some(Broken::TooLong), bytes.slice(..50)));
}

/// What a subscriber hands back by closing, another gets.
async fn delivers_again_what_was_handed_back(world: &World, transport: &dyn Transport) {
    world.publish(transport, 0).await;
    let mut first = transport.subscriber("a".to_owned());
    assert_eq!(next(first.as_mut()).await.chunk.chunk_no, 0);
    first.close().await.expect("the transport answers");
    let again = next(transport.subscriber("b".to_owned()).as_mut()).await;
    assert_eq!(again.chunk.chunk_no, 0);
}

/// While one chunk is in hand the next can be had if it is there; each is dealt with by itself, and closing hands back the rest.
async fn gives_the_next_chunk_while_another_is_in_hand(world: &World, transport: &dyn Transport) {
    let mut subscriber = transport.subscriber("a".to_owned());
    assert!(subscriber.try_receive().await.expect("the transport answers").is_none());
    publish(transport, &[0, 1, 2].map(|number| world.chunk(number, world.import.epoch))).await;
    let first = next(subscriber.as_mut()).await;
    let second = until_there(subscriber.as_mut()).await;
    let third = until_there(subscriber.as_mut()).await;
    assert!(subscriber.try_receive().await.expect("the transport answers").is_none());
    let all: BTreeSet<_> =
        [&first, &second, &third].into_iter().map(|delivery| delivery.chunk.chunk_no).collect();
    assert_eq!(all, (0..3).collect());
    subscriber.acknowledge(&second).await.expect("the transport answers");
    subscriber.retry(&first, Duration::ZERO).await.expect("the transport answers");
    let again = next(subscriber.as_mut()).await;
    assert_eq!(again.chunk, first.chunk);
    subscriber.acknowledge(&again).await.expect("the transport answers");
    subscriber.close().await.expect("the transport answers");
    let handed_back = next(transport.subscriber("b".to_owned()).as_mut()).await;
    assert_eq!(handed_back.chunk, third.chunk);
}

/// What is on its way comes in a moment.
async fn until_there(subscriber: &mut dyn Subscriber) -> Delivery {
    let looking = async {
        loop {
            if let Some(delivery) = subscriber.try_receive().await.expect("the transport answers") {
                return delivery;
            }
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(DEADLINE, looking).await.expect("a chunk comes")
}

/// A chunk to be tried again comes again, and one to be tried later lets others pass.
async fn delivers_again_what_is_to_be_tried_again(world: &World, transport: &dyn Transport) {
    let mut subscriber = transport.subscriber("a".to_owned());
    world.publish(transport, 0).await;
    let delivery = next(subscriber.as_mut()).await;
    subscriber.retry(&delivery, Duration::ZERO).await.expect("the transport answers");
    let delivery = next(subscriber.as_mut()).await;
    assert_eq!(delivery.chunk.chunk_no, 0);
    subscriber.retry(&delivery, LONG).await.expect("the transport answers");
    world.publish(transport, 1).await;
    assert_eq!(next(subscriber.as_mut()).await.chunk.chunk_no, 1);
}

/// What is acknowledged is gone, for everybody.
async fn does_not_deliver_again_what_was_acknowledged(world: &World, transport: &dyn Transport) {
    world.publish(transport, 0).await;
    let mut first = transport.subscriber("a".to_owned());
    let delivery = next(first.as_mut()).await;
    first.acknowledge(&delivery).await.expect("the transport answers");
    first.close().await.expect("the transport answers");
    world.publish(transport, 1).await;
    assert_eq!(next(transport.subscriber("b".to_owned()).as_mut()).await.chunk.chunk_no, 1);
}

/// However many subscribe, and whoever joins or leaves meanwhile, every chunk comes to one of them.
async fn shares_the_chunks_among_subscribers(world: &World, transport: &dyn Transport) {
    let loaded = Mutex::new(BTreeSet::new());
    let done = CancellationToken::new();
    let take = async |by: &str| {
        let mut subscriber = transport.subscriber(by.to_owned());
        while let Some(delivery) = done.run_until_cancelled(next(subscriber.as_mut())).await {
            loaded.lock().expect("nobody panics with it").insert(delivery.chunk.chunk_no);
            subscriber.acknowledge(&delivery).await.expect("the transport answers");
        }
        subscriber.close().await.expect("the transport answers");
    };
    let leave_early = async {
        let mut subscriber = transport.subscriber("early".to_owned());
        done.run_until_cancelled(next(subscriber.as_mut())).await;
        subscriber.close().await.expect("the transport answers");
    };
    let publishing = async {
        for numbers in [0..10, 10..20, 20..30, 30..40] {
            let chunks: Vec<_> = numbers.map(|number| world.chunk(number, world.import.epoch)).collect();
            publish(transport, &chunks).await;
        }
        until("every chunk came", || async {
            (loaded.lock().expect("nobody panics with it").len() == 40).then_some(())
        })
        .await;
        done.cancel();
    };
    tokio::join!(publishing, take("a"), take("b"), take("c"), leave_early);
    assert_eq!(*loaded.lock().expect("nobody panics with it"), (0..40).collect());
}

/// A chunk that can never be loaded does not come again, and others do.
async fn keeps_what_can_never_be_loaded_as_a_dead_letter(world: &World, transport: &dyn Transport) {
    publish(transport, &[0, 1].map(|number| world.chunk(number, world.import.epoch))).await;
    let mut first = transport.subscriber("a".to_owned());
    loop {
        let delivery = next(first.as_mut()).await;
        if delivery.chunk.chunk_no == 0 {
            first.dead_letter(&delivery, "it is rotten").await.expect("the transport answers");
            break;
        }
        first.retry(&delivery, Duration::ZERO).await.expect("the transport answers");
    }
    assert_eq!(next(first.as_mut()).await.chunk.chunk_no, 1);
}

/// Publishing the same chunk again is harmless: dealt with once, it does not come a second time.
async fn takes_a_chunk_twice_without_harm(world: &World, transport: &dyn Transport) {
    world.publish(transport, 0).await;
    world.publish(transport, 0).await;
    world.publish(transport, 1).await;
    let mut subscriber = transport.subscriber("a".to_owned());
    let mut loaded = Vec::new();
    while loaded.iter().filter(|loaded| **loaded == Loaded::Now).count() < 2 {
        let delivery = next(subscriber.as_mut()).await;
        loaded.push(load(world, &delivery).await);
        subscriber.acknowledge(&delivery).await.expect("the transport answers");
    }
    assert!(loaded.iter().all(|loaded| [Loaded::Now, Loaded::Before].contains(loaded)), "{loaded:?}");
}

/// After a change of hands the chunk comes as it was published last.
async fn delivers_what_a_later_epoch_published(world: &World, transport: &dyn Transport) {
    world.publish(transport, 0).await;
    let mut zombie = transport.subscriber("zombie".to_owned());
    let stale = next(zombie.as_mut()).await;
    let later = take_over(world).await;
    publish(transport, &[world.chunk(0, later)]).await;
    assert_eq!(load(world, &stale).await, Loaded::Fenced);
    let mut subscriber = transport.subscriber("a".to_owned());
    loop {
        let delivery = next(subscriber.as_mut()).await;
        let loaded = load(world, &delivery).await;
        subscriber.acknowledge(&delivery).await.expect("the transport answers");
        if delivery.chunk.epoch == later {
            assert_eq!(loaded, Loaded::Now);
            break;
        }
        assert_eq!(loaded, Loaded::Fenced);
    }
    // What the zombie still says about it harms nobody.
    zombie.acknowledge(&stale).await.expect("the transport answers");
}

/// The import's owner falls silent and another takes the import; its epoch.
async fn take_over(world: &World) -> i32 {
    world.app.run("update import_leases set expires_at = now()").await;
    let import = world.engine.claim().await;
    assert_eq!((import.id, import.epoch), (world.import.id, world.import.epoch + 1));
    import.epoch
}

/// Loads a chunk into the staging table that its import then has.
async fn load(world: &World, delivery: &Delivery) -> Loaded {
    let import = world.import.id;
    let columns: Vec<_> =
        tarmac::datasets::airport::DATASET.schema.columns.iter().map(|column| &*column.name).collect();
    let mut connection = world.engine.db.begin().await.expect("the database answers");
    tarmac::db::staging::create(&mut connection, &tarmac::datasets::airport::DATASET, import)
        .await
        .expect("the database answers");
    connection.commit().await.expect("the database answers");
    sqlx::query("insert into import_files values ($1, 0, null, '', 0, $2) on conflict do nothing")
        .bind(import)
        .bind(columns)
        .execute(&world.app.database.pool)
        .await
        .expect("the database answers");
    world.engine.load(delivery).await
}

/// Stamps the suite on a transport.
macro_rules! contract {
    ($transport:ident: $($rule:ident),+ $(,)?) => {
        mod $transport {
            $(
                #[tokio::test]
                async fn $rule() {
                    let world = super::World::new().await;
                    let transport = super::$transport(&world);
                    super::$rule(&world, transport.as_ref()).await;
                }
            )+
        }
    };
}

macro_rules! every_transport {
    ($($transport:ident),+) => {
        $(contract!($transport:
            delivers_what_was_published,
            wakes_who_waits,
            delivers_a_sample_of_a_broken_record,
            delivers_again_what_was_handed_back,
            gives_the_next_chunk_while_another_is_in_hand,
            delivers_again_what_is_to_be_tried_again,
            does_not_deliver_again_what_was_acknowledged,
            shares_the_chunks_among_subscribers,
            keeps_what_can_never_be_loaded_as_a_dead_letter,
            takes_a_chunk_twice_without_harm,
            delivers_what_a_later_epoch_published,
        );)+
    };
}

every_transport!(journal, kafka);

fn journal(world: &World) -> Arc<dyn Transport> {
    Arc::new(world.engine.journal.clone())
}

fn kafka(world: &World) -> Arc<dyn Transport> {
    let config = world.app.config_with(&world.topics.settings());
    Arc::new(Kafka::new(&config.kafka, &config.ingest).expect("librdkafka takes the properties"))
}

#[tokio::test]
async fn the_journal_gives_a_chunk_to_one_subscriber_at_a_time() {
    let world = World::new().await;
    let transport = journal(&world);
    let chunks: Vec<_> = (0..40).map(|number| world.chunk(number, world.import.epoch)).collect();
    publish(transport.as_ref(), &chunks).await;
    let take_ten = async |by: &str| {
        let mut subscriber = transport.subscriber(by.to_owned());
        let mut taken = Vec::new();
        for _ in 0..10 {
            taken.push(next(subscriber.as_mut()).await.chunk.chunk_no);
        }
        taken
    };
    let (a, b, c, d) = tokio::join!(take_ten("a"), take_ten("b"), take_ten("c"), take_ten("d"));
    let taken: Vec<_> = [a, b, c, d].concat();
    assert_eq!(taken.iter().copied().collect::<BTreeSet<_>>(), (0..40).collect(), "{taken:?}");
}

#[tokio::test]
async fn the_journal_keeps_the_chunks_of_a_paused_import_until_it_is_resumed() {
    let world = World::new().await;
    let transport = journal(&world);
    world.publish(transport.as_ref(), 0).await;
    let path = format!("/imports/{}", world.import.id);
    world.app.client.post(&format!("{path}/pause")).send().await.expect(200);
    // Another import's chunk passes it by.
    world.app.begin("", row(1)).await;
    let other = world.engine.claim().await;
    let (chunk, bytes) = world.chunk(0, other.epoch);
    let chunk = Chunk { import_id: other.id, ..chunk };
    publish(transport.as_ref(), &[(chunk, bytes)]).await;
    let mut subscriber = transport.subscriber("a".to_owned());
    assert_eq!(next(subscriber.as_mut()).await.chunk.import_id, other.id);
    world.app.client.post(&format!("{path}/resume")).send().await.expect(200);
    // A new leader publishes it again; what is left of the old one's stays where it is.
    world.app.run("delete from import_leases").await;
    let resumed = world.engine.claim().await;
    assert_eq!(resumed.id, world.import.id);
    publish(transport.as_ref(), &[world.chunk(0, resumed.epoch)]).await;
    let delivery = next(subscriber.as_mut()).await;
    assert_eq!((delivery.chunk.import_id, delivery.chunk.epoch), (world.import.id, resumed.epoch));
}

#[tokio::test]
async fn the_journal_counts_attempts_and_starts_again_with_a_new_epoch_or_not_at_all() {
    let world = World::new().await;
    let transport = journal(&world);
    let mut subscriber = transport.subscriber("a".to_owned());
    world.publish(transport.as_ref(), 0).await;
    for attempt in 1..=3 {
        let delivery = next(subscriber.as_mut()).await;
        assert_eq!(delivery.attempt, attempt);
        subscriber.retry(&delivery, Duration::ZERO).await.expect("the journal answers");
    }
    let delivery = next(subscriber.as_mut()).await;
    assert_eq!(load(&world, &delivery).await, Loaded::Now);
    subscriber.acknowledge(&delivery).await.expect("the journal answers");
    // What the ledger holds is not published again.
    let later = take_over(&world).await;
    publish(transport.as_ref(), &[0, 1].map(|number| world.chunk(number, later))).await;
    assert_eq!(next(subscriber.as_mut()).await.chunk.chunk_no, 1);
    assert_eq!(world.app.one::<i64>("select count(*) from journal").await, 1);
}

/// Two imports, and the chunk of that number of either.
async fn beside_another(world: &World) -> (Import, impl Fn(i64) -> (Chunk, Bytes)) {
    world.app.begin("?force=true", rows(100..200)).await;
    let other = world.engine.claim().await;
    let (id, epoch) = (other.id, other.epoch);
    let chunk = move |number| {
        let (chunk, bytes) = world.chunk(number, epoch);
        (Chunk { import_id: id, ..chunk }, bytes)
    };
    (other, chunk)
}

#[tokio::test]
async fn the_journal_gives_first_chunks_before_later_ones_whatever_was_published_before() {
    let world = World::new().await;
    let transport = journal(&world);
    let own: Vec<_> = (0..40).map(|number| world.chunk(number, world.import.epoch)).collect();
    publish(transport.as_ref(), &own).await;
    let mut subscriber = transport.subscriber("a".to_owned());
    assert_eq!(next(subscriber.as_mut()).await.chunk.chunk_no, 0);
    assert_eq!(next(subscriber.as_mut()).await.chunk.chunk_no, 1);
    let (other, chunk_of_other) = beside_another(&world).await;
    publish(transport.as_ref(), &[0, 1, 2].map(&chunk_of_other)).await;
    let place = |delivery: Delivery| (delivery.chunk.import_id, delivery.chunk.chunk_no);
    assert_eq!(place(next(subscriber.as_mut()).await), (other.id, 0));
    // They take turns.
    assert_eq!(place(next(subscriber.as_mut()).await), (other.id, 1));
    assert_eq!(place(next(subscriber.as_mut()).await), (world.import.id, 2));
    // What has waited for long goes before what is new.
    world.app.run("update journal set turn_at = turn_at - interval '1 hour' where chunk_no >= 39").await;
    publish(transport.as_ref(), &[chunk_of_other(3)]).await;
    assert_eq!(place(next(subscriber.as_mut()).await), (world.import.id, 39));
}

#[tokio::test]
async fn nothing_is_published_for_an_import_that_has_ended_or_changed_hands() {
    let world = World::new().await;
    let transport = journal(&world);
    let left = async || world.app.one::<i64>("select count(*) from journal").await;
    let later = take_over(&world).await;
    let late = [world.chunk(0, world.import.epoch)];
    let refused = transport.publisher(world.import.id).publish(&late).await;
    assert!(matches!(refused, Err(TransportError::Fenced)), "{refused:?}");
    assert_eq!(left().await, 0);
    let own = [world.chunk(0, later)];
    publish(transport.as_ref(), &own).await;
    let cancel = format!("/imports/{}/cancel", world.import.id);
    world.app.client.post(&cancel).send().await.expect(200);
    let refused = transport.publisher(world.import.id).publish(&own).await;
    assert!(matches!(refused, Err(TransportError::Fenced)), "{refused:?}");
    assert_eq!(left().await, 0);
}

#[tokio::test]
async fn a_claim_in_the_journal_runs_out() {
    let world = World::new().await;
    let transport = journal(&world);
    world.publish(transport.as_ref(), 0).await;
    let mut silent = transport.subscriber("silent".to_owned());
    let held = next(silent.as_mut()).await;
    world.app.run("update journal set visible_at = now()").await;
    let mut subscriber = transport.subscriber("a".to_owned());
    assert_eq!(next(subscriber.as_mut()).await.chunk.chunk_no, 0);
    // Whoever lost it can neither close it nor hand it back.
    silent.acknowledge(&held).await.expect("the journal answers");
    silent.retry(&held, Duration::ZERO).await.expect("the journal answers");
    silent.close().await.expect("the journal answers");
    let claimed: String = world.app.one("select claimed_by from journal").await;
    assert_eq!(claimed, "a");
}
