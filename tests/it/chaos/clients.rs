//! Clients that ask for contradictory things at once.

use futures_util::future::{join, join_all};
use rand::RngExt;

use super::{World, file, file_chunks};
use crate::support::{
    client::{Answer, Client},
    files::rows,
    imports::id,
    wait::until,
};

on_every_transport!(one_key_twice_at_once, one_key_for_two_files_at_once, a_cancel_races_the_last_chunk);

async fn upload(client: &Client, key: &str, file: impl Into<reqwest::Body>) -> Answer {
    let request = client.post("/upload").header("Content-Type", "text/csv").header("Idempotency-Key", key);
    request.body(file).send().await
}

/// Two uploads of one file with one key are one import.
async fn one_key_twice_at_once(world: World) {
    let service = world.launch.start();
    let answers = join_all((0..2).map(|_| upload(&service.client, "k", file()))).await;
    let accepted: Vec<_> = answers.iter().filter(|answer| answer.status == 202).collect();
    assert!(
        !accepted.is_empty() && answers.iter().all(|answer| [202, 409].contains(&answer.status.as_u16()))
    );
    let imports: Vec<_> = accepted.iter().map(|answer| id(&answer.json())).collect();
    assert!(imports.iter().all(|import| *import == imports[0]), "{imports:?}");
    assert_eq!(world.number("select count(*) from imports").await, 1);
    world.check(&service.client, imports[0]).await;
}

/// Two files with one key: one is imported, the other refused, and nothing of it is stored.
async fn one_key_for_two_files_at_once(world: World) {
    let service = world.launch.start();
    let other = rows(1..100).replace("City", "Town");
    let (first, second) =
        join(upload(&service.client, "k", file()), upload(&service.client, "k", other)).await;
    let statuses = [first.status.as_u16(), second.status.as_u16()];
    assert!(matches!(statuses, [202, 409 | 422] | [409 | 422, 202]), "seed {}: {statuses:?}", world.seed);
    assert_eq!(world.number("select count(*) from imports").await, 1);
    if first.status == 202 {
        world.check(&service.client, id(&first.json())).await;
    } else {
        let ended = world.end_of(&service.client, id(&second.json())).await;
        assert_eq!((&ended["state"], &ended["counts"]["inserted"]), (&"complete".into(), &99.into()));
    }
}

/// Whether a cancel comes before the end or after it: all of the import is visible, or nothing.
async fn a_cancel_races_the_last_chunk(mut world: World) {
    let service = world.launch.start();
    let import = world.upload(&service.client).await;
    let moment = world.random.random_range(file_chunks() - 10..=file_chunks());
    let loaded = format!("select count(*) from import_chunks where import_id = {import}");
    until("the last chunks are loaded", || async { (world.number(&loaded).await >= moment).then_some(()) })
        .await;
    let answer = service.client.post(&format!("/imports/{import}/cancel")).send().await;
    let import = match answer.status.as_u16() {
        200 => {
            assert_eq!(answer.json()["state"], "cancelled");
            assert_eq!(world.number("select count(*) from airports").await, 0, "seed {}", world.seed);
            // What of it is still on its way must not disturb the next.
            world.upload(&service.client).await
        }
        // It was late.
        409 => import,
        other => panic!("seed {}: {other}: {}", world.seed, answer.text()),
    };
    world.check(&service.client, import).await;
}
