//! Brokers that die and come back, and ways to them that are cut.

use rand::RngExt;

use super::{World, seeds};
use crate::support::{
    client::Client, database::Database, kafka::Topics, proxy::Proxy, servers::Cluster, wait::until,
};

/// Three brokers, of which one may be missing, and a world on them.
async fn three(seed: u64) -> (Cluster, World) {
    let cluster = Cluster::start(3).await;
    let topics = Topics::on(cluster.brokers.clone());
    let mut world = World::on(Database::create().await, Some(topics), seed);
    world.launch = world.launch.clone().with(&[
        ("kafka.replication", "3"),
        ("kafka.min_insync_replicas", "2"),
        // Three brokers that start at once on one machine are slow.
        ("kafka.consumer.max.poll.interval.ms", "10000"),
        ("kafka.consumer.session.timeout.ms", "6000"),
        ("kafka.producer.transaction.timeout.ms", "20000"),
        ("kafka.producer.delivery.timeout.ms", "20000"),
    ]);
    (cluster, world)
}

/// One of three dies: the others go on. Then all of them do, and come back.
#[tokio::test]
async fn they_die_one_of_three_and_all_of_them() {
    for seed in seeds() {
        let (cluster, mut world) = three(seed).await;
        let service = world.launch.start();
        let import = world.upload(&service.client).await;
        let [one, all] = world.moments();
        world.reached(import, one).await;
        cluster.kill(world.random.random_range(1..=3)).await;
        world.reached(import, all).await;
        for broker in 1..=3 {
            cluster.kill(broker).await;
        }
        cluster.revive().await;
        world.check(&service.client, import).await;
    }
}

/// A machine loses its power: one of two services is gone, and one of three brokers does not answer any more on connections that
/// stay. What the other service then publishes and loads must suffice: nothing waits until an import has stalled.
#[tokio::test]
async fn one_falls_silent_together_with_a_service() {
    for seed in seeds() {
        let (cluster, mut world) = three(seed).await;
        world.launch = world.launch.clone().with(&[("worker.stalled_ms", "3600000")]);
        let (doomed, service) = (world.launch.start(), world.launch.start());
        let import = world.upload(&service.client).await;
        let [moment] = world.moments();
        world.reached(import, moment).await;
        let broker = world.random.random_range(1..=3);
        doomed.kill();
        cluster.freeze(broker).await;
        world.check(&service.client, import).await;
        cluster.kill(broker).await;
    }
}

/// The way to the only broker is cut, and silent, for as long as the broker takes a consumer for alive and longer.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_way_to_them_is_cut_and_silent() {
    for seed in seeds() {
        let (cluster, port) = Cluster::behind_a_proxy().await;
        let way = Proxy::between(port, &cluster.brokers).await;
        let topics = Topics::on(cluster.brokers.clone());
        let mut world = World::on(Database::create().await, Some(topics), seed);
        let service = world.launch.start();
        let import = world.upload(&service.client).await;
        let [cut, silent] = world.moments();
        world.reached(import, cut).await;
        way.cut();
        not_ready(&service.client).await;
        way.restore();
        world.reached(import, silent).await;
        way.silence();
        not_ready(&service.client).await;
        way.restore();
        world.check(&service.client, import).await;
    }
}

/// Returns when the service says that chunks cannot travel.
async fn not_ready(client: &Client) {
    until("the service is not ready", || async {
        (client.get("/health/ready").send().await.status == 503).then_some(())
    })
    .await;
}
