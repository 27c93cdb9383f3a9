//! The only user of poem: one file a resource. Handlers translate: request, one call, response.
//!
//! - `problem`: what a request is refused with; the one place with status codes
//! - [`server`]: connections, with `traffic`, what goes on over one, and `linger`, which hears them out; `pace`: how slowly
//! - `access`, `site`, `limits`, `cors`, `host`: who may use an operation, and how much
//! - `operations`: what all operations have in common; `middleware`: what goes around them, `field_lines` before them
//! - `body`, `digest`, `negotiate`, `page`, `precondition`, `prefer`, `idempotency`: parts that handlers are made of
//! - the rest: resources, named after their paths

mod access;
mod airports;
mod body;
mod citizens;
mod confirm;
mod consumers;
mod contract;
mod cors;
mod create;
mod datasets;
mod delete;
mod digest;
mod docs;
pub mod document;
mod expected;
mod features;
mod field_lines;
mod framework_errors;
mod health;
mod host;
mod idempotency;
mod imports;
mod limits;
mod linger;
mod logs;
mod metrics;
mod middleware;
mod negotiate;
mod operations;
mod pace;
mod page;
mod precondition;
mod prefer;
mod problem;
mod problems;
mod refusal;
mod schema;
pub mod server;
mod site;
mod stream;
mod towns;
mod traffic;
mod update;
mod upload;
mod upload_body;

use std::{net::SocketAddr, sync::Arc, time::Duration};

use poem::{Endpoint, EndpointExt, IntoEndpoint, Response};
use poem_openapi::{OpenApi, Tags};
use tokio_util::sync::CancellationToken;

pub use self::limits::Limiter;
use crate::{
    archive::Archive,
    auth::keys::Keyring,
    clock::Clock,
    config::Config,
    db::{Db, notify::Changes},
    log::recent::Recent,
    metrics::Metrics,
    throttle::Throttle,
    transport::Transport,
};

/// What handlers work with. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Context {
    /// The database.
    pub db: Db,
    /// The whole configuration.
    pub config: Arc<Config>,
    /// What day it is.
    pub clock: Clock,
    /// Where uploads go.
    pub archive: Archive,
    /// How chunks travel.
    pub transport: Arc<dyn Transport>,
    /// Wakes who waits for an import.
    pub changes: Changes,
    /// How much of everything.
    pub limiter: Limiter,
    /// The last lines of the log.
    pub recent: Recent,
    /// What this process counts.
    pub metrics: Metrics,
    /// Told of whoever reads.
    pub throttle: Throttle,
    /// Cancelled when the service is to end, and answers that would go on for ever with it.
    pub stopping: CancellationToken,
    /// Where the service listens.
    pub address: SocketAddr,
}

/// The chapters of the document.
#[derive(Tags)]
enum Tag {
    /// Files in, and what became of them
    Imports,
    /// What can be imported: declared by anybody with a Table Schema
    Datasets,
    /// Places with coordinates, from OpenFlights' files or one by one
    Airports,
    /// Citizens of an import, and statistics about them
    Citizens,
    /// The document itself, and what its problems mean
    Documentation,
    /// Running the service
    Operations,
}

/// Every resource there is.
type Resources = (
    upload::Upload,
    imports::Imports,
    datasets::Resources,
    citizens::Citizens,
    towns::Towns,
    airports::AirportList,
    airports::AirportItem,
    airports::ColumnsAsParameters<create::Create, true>,
    airports::ColumnsAsParameters<update::Update, false>,
    delete::Delete,
    confirm::Confirm,
    docs::Docs,
    problems::Problems,
    consumers::Consumers,
    Watching,
);

/// What a process can be watched by.
type Watching = (health::Health, metrics::Metrics, logs::Logs);

fn resources(context: Context, requests: metrics::Requests) -> Resources {
    let own = || context.clone();
    (
        upload::Upload { context: own() },
        imports::Imports { context: own() },
        datasets::resources(&context),
        citizens::Citizens { context: own() },
        towns::Towns { context: own() },
        airports::AirportList { context: own() },
        airports::AirportItem { context: own() },
        airports::ColumnsAsParameters(create::Create { context: own() }),
        airports::ColumnsAsParameters(update::Update { context: own() }),
        delete::Delete { context: own() },
        confirm::Confirm { context: own() },
        docs::Docs { context: own() },
        problems::Problems,
        consumers::Consumers { context: own() },
        watching(own(), requests),
    )
}

fn watching(context: Context, requests: metrics::Requests) -> Watching {
    (
        health::Health::new(context.clone()),
        metrics::Metrics { context: context.clone(), requests },
        logs::Logs { context },
    )
}

/// The whole API.
pub fn endpoint(context: Context) -> impl Endpoint<Output = Response> {
    let requests = metrics::Requests::new();
    endpoint_of(resources(context.clone(), requests.clone()), context, requests)
}

/// What a process can be watched by, and nothing else.
pub fn watching_endpoint(context: Context) -> impl Endpoint<Output = Response> {
    let requests = metrics::Requests::new();
    endpoint_of(watching(context.clone(), requests.clone()), context, requests)
}

fn endpoint_of<T: OpenApi>(
    resources: T,
    context: Context,
    requests: metrics::Requests,
) -> impl Endpoint<Output = Response> {
    let config = Arc::clone(&context.config);
    let request_time = Duration::from_secs(config.server.request_seconds);
    let memory = Duration::from_millis(config.auth.memory_ms);
    let keyring = config.auth.required.then(|| Keyring::new(context.db.clone(), memory));
    let limiter = context.limiter;
    let cors = cors::Cors::new(&config.server.cors_origins);
    let gate =
        access::Gate { keyring, site: site::Site::new(&config.server), clock: context.clock, db: context.db };
    let completed = operations::Completed { resources, gate, limiter, request_time };
    let allow = operations::Completed::<T>::meta()
        .iter()
        .flat_map(|api| &api.paths)
        .map(|path| (operations::route_pattern(&path.path), operations::allowed(path)))
        .collect();
    document::service_of(completed).into_endpoint().with(middleware::Envelope {
        config,
        allow,
        cors,
        requests,
        throttle: context.throttle,
    })
}
