//! Consumers that freeze, come and go, and topics that hold more than they should.

use std::time::{Duration, Instant};

use rand::RngExt;

use super::{SILENT_MOST, World};
use crate::support::{files::rows, imports::id, process::Running, wait::until};

on_every_transport!(one_is_frozen_until_others_have_done_its_work, they_come_and_go_in_the_middle_of_a_chunk);
on!(kafka_alone, Kafka: the_whole_topic_is_read_again, a_foreign_transaction_is_left_hanging, poison_is_thrown_in);

/// A worker stops in whatever it is doing, is taken for dead, and goes on when all is over.
async fn one_is_frozen_until_others_have_done_its_work(mut world: World) {
    let service = world.launch.start();
    let other = world.launch.start_worker();
    let import = world.upload(&service.client).await;
    let [moment] = world.moments();
    world.reached(import, moment).await;
    other.freeze();
    let frozen = Instant::now();
    world.check(&service.client, import).await;
    until("it is out of its group", || async { (frozen.elapsed() > SILENT_MOST).then_some(()) }).await;
    other.thaw();
    // It works again: when it has let go of what it held, it ends like any other.
    let next = service.client.post("/upload").header("Content-Type", "text/csv").body(rows(900_001..900_999));
    let next = id(&next.send().await.expect(202).json());
    assert_eq!(world.end_of(&service.client, next).await["state"], "complete");
    other.stop().await;
    world.check(&service.client, import).await;
}

/// Workers join and leave, in order or by SIGKILL, while chunks are on their way.
async fn they_come_and_go_in_the_middle_of_a_chunk(mut world: World) {
    let service = world.launch.start();
    let import = world.upload(&service.client).await;
    let mut workers = Vec::new();
    for (turn, moment) in world.moments::<5>().into_iter().enumerate() {
        world.reached(import, moment).await;
        match turn % 3 {
            2 => {
                let killed: Running = workers.swap_remove(world.random.random_range(0..workers.len()));
                killed.kill();
            }
            _ => workers.push(world.launch.start_worker()),
        }
    }
    world.check(&service.client, import).await;
    for worker in workers {
        worker.stop().await;
    }
}

/// The group starts again from the first message: of imports that are complete, cancelled and failed.
async fn the_whole_topic_is_read_again(mut world: World) {
    let topics = world.topics.take().expect("on Kafka");
    let service = world.launch.start();
    let import = world.upload(&service.client).await;
    world.check(&service.client, import).await;
    let post = async |query: &str, file: String| {
        let request = service.client.post(&format!("/upload{query}")).header("Content-Type", "text/csv");
        id(&request.body(file).send().await.expect(202).json())
    };
    let failed = post("?mode=strict", rows(100_001..101_000) + "rubbish\n").await;
    assert_eq!(world.end_of(&service.client, failed).await["state"], "failed");
    let cancelled = post("", rows(200_001..206_000)).await;
    world.reached(cancelled, 10).await;
    service.client.post(&format!("/imports/{cancelled}/cancel")).send().await.expect(200);
    service.stop().await;
    let before = topics.committed().await;
    assert!(before.iter().all(|position| *position > 0), "{before:?}");
    topics.replay().await;
    assert!(topics.committed().await.iter().all(|position| *position == 0));
    let service = world.launch.start();
    until(format!("every partition was read up to {before:?} again"), || async {
        let again = topics.committed().await;
        again.iter().zip(&before).all(|(again, before)| again >= before).then_some(())
    })
    .await;
    world.check(&service.client, import).await;
    assert_eq!(world.number("select count(*) from airports where openflights_id > 100000").await, 0);
}

/// Somebody begins a transaction on the topic and is never heard of again: readers wait until the broker ends it.
async fn a_foreign_transaction_is_left_hanging(mut world: World) {
    let service = world.launch.start();
    let import = world.upload(&service.client).await;
    let [moment] = world.moments();
    world.reached(import, moment).await;
    let topics = world.topics.as_ref().expect("on Kafka");
    let hanging = topics.leave_a_transaction_open(Duration::from_secs(2)).await;
    world.check(&service.client, import).await;
    drop(hanging);
}

/// Messages that are none of ours, in the middle of those that are.
async fn poison_is_thrown_in(mut world: World) {
    let service = world.launch.start();
    let import = world.upload(&service.client).await;
    for moment in world.moments::<3>() {
        world.reached(import, moment).await;
        let topics = world.topics.as_ref().expect("on Kafka");
        let headers = [("schema-version", "1"), ("import", "1"), ("epoch", "0"), ("chunk", "-1")];
        let known = world.random.random_range(0..=headers.len());
        topics.send(&topics.chunks(), &headers[..known], "poison").await;
    }
    world.check(&service.client, import).await;
    let letters = world.topics.as_ref().expect("on Kafka").dead_lettered(3).await;
    assert!(letters.iter().all(|(payload, _)| payload == b"poison"));
}
