//! A database that goes away, in several ways, and comes back.

use std::process::Command;

use rand::RngExt;

use super::World;
use crate::support::{
    database::Database, kafka::Topics, process::Process, proxy::Proxy, servers::Postgres, wait::until,
};

on_every_transport!(connections_are_terminated, the_way_to_it_is_cut, the_way_to_it_is_silent);

/// `pg_terminate_backend`, at random.
async fn connections_are_terminated(mut world: World) {
    let service = world.launch.start();
    let import = world.upload(&service.client).await;
    for moment in world.moments::<5>() {
        world.reached(import, moment).await;
        let share: f64 = world.random.random_range(0.2..1.0);
        let terminate = format!(
            "select count(pg_terminate_backend(pid)) from pg_stat_activity
             where datname = current_database() and pid <> pg_backend_pid() and random() < {share}"
        );
        world.number(&terminate).await;
    }
    world.check(&service.client, import).await;
}

/// Every connection breaks, and no new one is to be had for a while.
async fn the_way_to_it_is_cut(mut world: World) {
    let (proxy, service) = behind_a_proxy(&mut world).await;
    let import = world.upload(&service.client).await;
    for moment in world.moments::<2>() {
        world.reached(import, moment).await;
        let complaints = complaints(&service);
        proxy.cut();
        until("the worker notices", || async { (self::complaints(&service) > complaints).then_some(()) })
            .await;
        proxy.restore();
    }
    world.check(&service.client, import).await;
}

/// Nothing comes through, and nobody is told: until the import's lease has run out, and later all at once.
async fn the_way_to_it_is_silent(mut world: World) {
    let (proxy, service) = behind_a_proxy(&mut world).await;
    let import = world.upload(&service.client).await;
    let [moment] = world.moments();
    world.reached(import, moment).await;
    proxy.silence();
    until("the lease has run out", || async {
        let held = "select count(*) from import_leases where expires_at > now()";
        (world.number(held).await == 0).then_some(())
    })
    .await;
    proxy.restore();
    world.check(&service.client, import).await;
}

/// Starts the service behind a proxy.
async fn behind_a_proxy(world: &mut World) -> (Proxy, Process) {
    let proxy = Proxy::to(&world.database.url).await;
    world.launch.database_url.clone_from(&proxy.url);
    let service = world.launch.start();
    (proxy, service)
}

fn complaints(service: &Process) -> usize {
    service.log().iter().filter(|line| line.contains("WARN")).count()
}

/// It is brought down in order and started again; then a backend crashes, and the server with it.
async fn it_restarts(topics: Option<Topics>, seed: u64) {
    let server = Postgres::start().await;
    let mut world = World::on(Database::alone_on(&server.url).await, topics, seed);
    let service = world.launch.start();
    let import = world.upload(&service.client).await;
    let [restart, crash] = world.moments();
    world.reached(import, restart).await;
    server.restart().await;
    world.reached(import, crash).await;
    let backend = "select max(pid)::bigint from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()";
    let backend = world.number(backend).await.to_string();
    let killed = Command::new("kill").args(["-KILL", &backend]).status();
    assert!(killed.expect("kill can be started").success());
    until("the database is back", || async {
        sqlx::query("select 1").execute(&world.database.pool).await.ok()
    })
    .await;
    world.check(&service.client, import).await;
}

mod restarts {
    use crate::{chaos::seeds, support::kafka::Topics};

    #[tokio::test]
    async fn journal() {
        for seed in seeds() {
            super::it_restarts(None, seed).await;
        }
    }

    #[tokio::test]
    async fn kafka() {
        for seed in seeds() {
            super::it_restarts(Some(Topics::new()), seed).await;
        }
    }
}
