//! SIGKILL, where it hurts most.

use std::os::unix::process::ExitStatusExt;

use rand::RngExt;

use super::{World, file_chunks};
use crate::support::process::Process;

const SIGABRT: i32 = 6;

on_every_transport!(before_the_commit, before_the_acknowledgement, of_the_publisher);

/// A consumer dies with everything of a chunk sent to the database, and nothing committed.
async fn before_the_commit(mut world: World) {
    let (service, import) = die_at(&mut world, "before-commit").await;
    world.check(&service.client, import).await;
}

/// A consumer dies after it has committed a chunk, and before the transport hears of it: the chunk comes again.
async fn before_the_acknowledgement(mut world: World) {
    let (service, import) = die_at(&mut world, "before-acknowledge").await;
    world.check(&service.client, import).await;
}

/// Starts the service, uploads the file, and starts the service again when it has died at that moment of some chunk.
async fn die_at(world: &mut World, moment: &str) -> (Process, i64) {
    let time = world.random.random_range(1..file_chunks() - 10);
    let doomed = world.launch.clone().with(&[("dev.failpoint", &format!("{moment}:{time}"))]).start();
    let import = world.upload(&doomed.client).await;
    let status = doomed.end().await;
    assert_eq!(status.signal(), Some(SIGABRT), "it died of the failpoint: {status}");
    let loaded =
        world.number(&format!("select count(*) from import_chunks where import_id = {import}")).await;
    // Others of its consumers may have been further, or on a chunk that came twice.
    let expected = if moment == "before-commit" { 0..time } else { 1..time + 3 };
    assert!(expected.contains(&loaded), "{loaded} chunks are loaded, seed {}", world.seed);
    if moment == "before-acknowledge" && world.topics.is_none() {
        let unacknowledged = "select count(*) from journal join import_chunks using (import_id, chunk_no)";
        assert!(world.number(unacknowledged).await > 0, "seed {}", world.seed);
    }
    (world.launch.start(), import)
}

/// Whoever cuts the file dies in the middle of it, several times; another begins again and publishes what is not loaded.
async fn of_the_publisher(mut world: World) {
    // Of several batches, so that some of a file is always still to be published.
    world.launch = world.launch.clone().with(&[("ingest.chunks_in_flight", "8")]);
    let mut service = world.launch.start();
    let import = world.upload(&service.client).await;
    for moment in world.moments::<2>() {
        world.reached(import, moment).await;
        service.kill();
        let cut = format!("select count(*) from imports where id = {import} and chunks_total is not null");
        assert_eq!(world.number(&cut).await, 0, "the file is not cut to its end, seed {}", world.seed);
        service = world.launch.start();
    }
    world.check(&service.client, import).await;
    let epoch = world.number(&format!("select epoch::bigint from imports where id = {import}")).await;
    assert!(epoch >= 2, "it changed hands twice, seed {}", world.seed);
}
