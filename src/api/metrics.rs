//! `/metrics`: what the service does, for Prometheus.

use std::{
    sync::atomic::{AtomicI64, AtomicU64},
    time::Duration,
};

use poem::http::{Method, StatusCode};
use poem_openapi::{ApiResponse, OpenApi, payload::PlainText};
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::{Registry, Unit},
};

use super::{Context, Tag, access::MayOperate, problem::Internal};
use crate::{
    db::{
        DbError,
        consumers::{self, Desired, Partition},
        totals,
    },
    refusal,
};

/// Upper bounds, seconds: from what an index answers to what a statistic over millions takes.
const SECONDS: [f64; 9] = [0.001, 0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 30.0, 60.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Answered {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Route {
    method: &'static str,
    route: String,
}

/// The requests this process has answered. Cheap to clone.
#[derive(Debug, Clone)]
pub(super) struct Requests {
    answered: Family<Answered, Counter>,
    seconds: Family<Route, Histogram, fn() -> Histogram>,
}

impl Requests {
    pub(super) fn new() -> Self {
        let seconds = Family::new_with_constructor((|| Histogram::new(SECONDS)) as fn() -> Histogram);
        Self { answered: Family::default(), seconds }
    }

    /// Counts one. `route` is the pattern, so that there are not more of them than paths in the document.
    pub(super) fn count(&self, method: &Method, route: Option<&str>, status: StatusCode, took: Duration) {
        let (method, route) = (known(method), route.unwrap_or("none").to_owned());
        self.seconds.get_or_create(&Route { method, route: route.clone() }).observe(took.as_secs_f64());
        self.answered.get_or_create(&Answered { method, route, status: status.as_u16() }).inc();
    }
}

/// Clients may invent methods, and every label costs memory.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

/// See the module.
pub(super) struct Metrics {
    /// What is watched.
    pub(super) context: Context,
    /// What was counted.
    pub(super) requests: Requests,
}

#[derive(ApiResponse)]
enum MetricsAnswer {
    /// In OpenMetrics' text format
    #[oai(status = 200, content_type = "application/openmetrics-text; version=1.0.0; charset=utf-8")]
    Metrics(PlainText<String>),
}

refusal!(MetricsRefusal: Internal);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfImports {
    dataset: String,
    state: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfConnections {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfConsumers {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfPartition {
    topic: String,
    partition: i32,
}

type Whole<L> = Family<L, Gauge<i64, AtomicI64>>;

#[OpenApi]
impl Metrics {
    /// Metrics for Prometheus
    ///
    /// Requests, chunks, archive and log are of this process; imports, journal and consumers are of the database. Without the database the
    /// latter are left out, and `tarmac_database_up` is 0.
    #[oai(path = "/metrics", method = "get", operation_id = "get_metrics", tag = Tag::Operations)]
    async fn get_metrics(&self, _caller: MayOperate) -> Result<MetricsAnswer, MetricsRefusal> {
        // Made anew each time: what is read now is not mixed with what was read before.
        let mut registry = Registry::with_prefix("tarmac");
        let Requests { answered, seconds } = self.requests.clone();
        registry.register("requests", "Requests that were answered", answered);
        registry.register_with_unit(
            "request",
            "From a request's head until its answer begins",
            Unit::Seconds,
            seconds,
        );
        self.context.metrics.register(&mut registry);
        self.register_process(&mut registry);
        let up = Gauge::<i64, AtomicI64>::default();
        registry.register("database_up", "Whether the database answers", up.clone());
        match self.register_database(&mut registry).await {
            Ok(()) => drop(up.set(1)),
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "metrics without the database");
            }
        }
        let mut text = String::new();
        encode(&mut text, &registry).map_err(Internal::because)?;
        Ok(MetricsAnswer::Metrics(PlainText(text)))
    }
}

impl Metrics {
    fn register_process(&self, registry: &mut Registry) {
        let pool = self.context.db.pool();
        let idle = i64::try_from(pool.num_idle()).unwrap_or(i64::MAX);
        let connections = Whole::<OfConnections>::default();
        connections.get_or_create(&OfConnections { state: "idle" }).set(idle);
        connections.get_or_create(&OfConnections { state: "used" }).set(i64::from(pool.size()) - idle);
        registry.register("database_connections", "Connections of the pool", connections);
        let most = Gauge::<i64, AtomicI64>::default();
        most.set(i64::from(self.context.config.database.connections));
        registry.register("database_connections_most", "Connections that the pool may have", most);
        let waiting = Gauge::<i64, AtomicI64>::default();
        waiting.set(i64::try_from(self.context.db.waiting()).unwrap_or(i64::MAX));
        registry.register("database_waiting", "Transactions that wait for a connection", waiting);
        let receiving = Gauge::<i64, AtomicI64>::default();
        receiving.set(i64::try_from(self.context.limiter.uploads()).unwrap_or(i64::MAX));
        registry.register("uploads", "Uploads that are being received", receiving);
    }

    async fn register_database(&self, registry: &mut Registry) -> Result<(), DbError> {
        let db = &self.context.db;
        let totals = totals::imports(db).await?;
        let totals::Journal { chunks, oldest_seconds } = totals::journal(db).await?;
        let gauge = |value: fn(&totals::Imports) -> i64| {
            let gauges = Whole::<OfImports>::default();
            for total in &totals {
                let labels = OfImports { dataset: total.dataset.clone(), state: total.state.clone() };
                gauges.get_or_create(&labels).set(value(total));
            }
            gauges
        };
        registry.register("imports", "Imports", gauge(|total| total.imports));
        registry.register_with_unit("imports", "What was uploaded", Unit::Bytes, gauge(|total| total.bytes));
        registry.register(
            "imports_rows_read",
            "Rows of imports that have ended",
            gauge(|total| total.rows_read),
        );
        registry.register("imports_rows_rejected", "Rejected among them", gauge(|total| total.rejected));
        let waiting = Gauge::<i64, AtomicI64>::default();
        waiting.set(chunks);
        registry.register("journal_chunks", "Chunks in the journal that are not loaded", waiting);
        self.register_consumers(registry).await?;
        let oldest = Gauge::<f64, AtomicU64>::default();
        oldest.set(oldest_seconds);
        let help = "How long the oldest of them could have been claimed";
        registry.register_with_unit("journal_oldest", help, Unit::Seconds, oldest);
        Ok(())
    }

    /// As they last said of themselves.
    async fn register_consumers(&self, registry: &mut Registry) -> Result<(), DbError> {
        let lease = Duration::from_millis(self.context.config.worker.lease_ms);
        let consumers = consumers::list(&self.context.db, lease, 0, i64::MAX).await?;
        let (states, lags) = (Whole::<OfConsumers>::default(), Whole::<OfPartition>::default());
        for consumer in consumers {
            let state = match consumer.desired {
                Desired::Paused => "paused",
                Desired::Running if consumer.alive => "running",
                Desired::Running | Desired::Stopped => "waiting",
            };
            states.get_or_create(&OfConsumers { state }).inc();
            let report = consumer.report.filter(|_| consumer.alive);
            for Partition { topic, partition, lag } in
                report.into_iter().flat_map(|report| report.0.partitions)
            {
                lags.get_or_create(&OfPartition { topic, partition }).set(lag);
            }
        }
        registry.register("consumers", "Consumers of all processes", states);
        let help = "Chunks on a partition that are not dealt with, as its consumer last said";
        registry.register("consumer_lag_chunks", help, lags);
        Ok(())
    }
}
