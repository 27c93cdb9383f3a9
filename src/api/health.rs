//! Whether the service lives, and whether it can work.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use poem_openapi::{ApiResponse, Enum, Object, OpenApi};
use tokio::sync::Mutex;
use tracing::Instrument;

use super::{Context, Tag, access::Anyone, body::Json, problem::RETRY_AFTER_SECONDS};
use crate::db::schema;

/// How long a readiness report is used. Any client can ask for it, and the checks cost time of the database, the archive and the transport.
const MEMORY: Duration = Duration::from_secs(3);

/// See the module.
pub(super) struct Health {
    context: Context,
    /// The last report, and when it was made.
    last: Arc<Mutex<Option<(Instant, HealthReport)>>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
enum Status {
    Ok,
    Failed,
}

/// How the service is
#[derive(Debug, Clone, Object)]
#[oai(example)]
struct HealthReport {
    /// `failed` when one of the checks is.
    status: Status,
    /// What was checked.
    checks: Vec<Check>,
}

/// One thing that was checked
#[derive(Debug, Clone, Object)]
#[oai(skip_serializing_if_is_none)]
struct Check {
    /// What was checked.
    name: String,
    /// How it is.
    status: Status,
    /// What is wrong.
    detail: Option<String>,
}

impl poem_openapi::types::Example for HealthReport {
    fn example() -> Self {
        Self::of(vec![Check::of("database", Ok(()))])
    }
}

impl HealthReport {
    fn of(checks: Vec<Check>) -> Self {
        let failed = checks.iter().any(|check| check.status == Status::Failed);
        Self { status: if failed { Status::Failed } else { Status::Ok }, checks }
    }
}

impl Check {
    fn of(name: &str, result: Result<(), String>) -> Self {
        let status = if result.is_ok() { Status::Ok } else { Status::Failed };
        Self { name: name.to_owned(), status, detail: result.err() }
    }
}

#[derive(ApiResponse)]
enum Live {
    /// The process answers
    #[oai(status = 200)]
    Live(Json<HealthReport>),
}

#[derive(ApiResponse)]
enum Ready {
    /// Everything it needs is there
    #[oai(status = 200)]
    Ready(Json<HealthReport>),
    /// Something it needs is missing
    #[oai(status = 503)]
    NotReady(
        Json<HealthReport>,
        /// Seconds to wait before the next attempt
        #[oai(header = "Retry-After")]
        String,
    ),
}

#[OpenApi]
impl Health {
    /// Whether the process answers
    ///
    /// Says nothing about what it needs: a database that is away is no reason to restart the service.
    #[oai(path = "/health/live", method = "get", operation_id = "get_liveness", tag = Tag::Operations)]
    async fn get_liveness(&self, _caller: Anyone) -> Live {
        Live::Live(Json(HealthReport::of(Vec::new())))
    }

    /// Whether the service can work
    ///
    /// The answer comes from memory: it is at most some seconds old.
    #[oai(path = "/health/ready", method = "get", operation_id = "get_readiness", tag = Tag::Operations)]
    async fn get_readiness(&self, _caller: Anyone) -> Ready {
        let report = self.report().await;
        match report.status {
            Status::Ok => Ready::Ready(Json(report)),
            Status::Failed => Ready::NotReady(Json(report), RETRY_AFTER_SECONDS.to_owned()),
        }
    }
}

impl Health {
    /// Checks the parts in `context`.
    pub(super) fn new(context: Context) -> Self {
        Self { context, last: Arc::default() }
    }

    /// The last report, or a new one when that is old. Only one is made at a time: requests that come meanwhile wait for it. It is completed even
    /// if the client that caused it disconnects.
    async fn report(&self) -> HealthReport {
        let mut last = Arc::clone(&self.last).lock_owned().await;
        if let Some((made, report)) = &*last
            && made.elapsed() < MEMORY
        {
            return report.clone();
        }
        let context = self.context.clone();
        let checking = async move {
            let report = HealthReport::of(checks(&context).await);
            *last = Some((Instant::now(), report.clone()));
            report
        };
        let checked = tokio::spawn(checking.in_current_span()).await;
        checked.unwrap_or_else(|error| {
            let fault = Err(unwell("the checks did not come to an end", &error));
            HealthReport::of(vec![Check::of("checks", fault)])
        })
    }
}

/// Reports tell failures in general terms; the log has the details.
async fn checks(context: &Context) -> Vec<Check> {
    let (database, migrations, archive, transport) =
        tokio::join!(database(context), migrations(context), archive(context), transport(context));
    vec![
        Check::of("database", database),
        Check::of("migrations", migrations),
        Check::of("archive", archive),
        Check::of("transport", transport),
    ]
}

async fn database(context: &Context) -> Result<(), String> {
    context.db.ping().await.map_err(|error| unwell("the database does not answer", &error))
}

async fn migrations(context: &Context) -> Result<(), String> {
    // One that is ahead is a later version's, and good for this one too.
    let schema::Schema { pending, .. } =
        schema::compare(&context.db).await.map_err(|error| unwell("the schema cannot be read", &error))?;
    if pending.is_empty() { Ok(()) } else { Err(format!("pending: {}", pending.join(", "))) }
}

async fn archive(context: &Context) -> Result<(), String> {
    context.archive.check().await.map_err(|error| unwell("the archive cannot be written", &error))
}

async fn transport(context: &Context) -> Result<(), String> {
    let checked = context.transport.check().await;
    // Its reasons say what to put right and nothing of what is inside.
    checked.map_err(|error| format!("{}: {error}", unwell("chunks cannot travel", &error)))
}

fn unwell(what: &str, error: &dyn std::error::Error) -> String {
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    tracing::warn!(error = %format_args!("{error}: {cause}"), "{what}");
    what.to_owned()
}
