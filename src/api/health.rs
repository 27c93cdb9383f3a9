//! Whether the service lives, and whether it can work.

use poem_openapi::{ApiResponse, Enum, Object, OpenApi};

use super::{Context, Tag, access::Anyone, body::Json, problem::RETRY_AFTER_SECONDS};
use crate::db::schema;

/// See the module.
pub(super) struct Health {
    /// What is checked.
    pub(super) context: Context,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
enum Status {
    Ok,
    Failed,
}

/// How the service is
#[derive(Debug, Object)]
#[oai(example)]
struct HealthReport {
    /// `failed` when one of the checks is.
    status: Status,
    /// What was checked.
    checks: Vec<Check>,
}

/// One thing that was checked
#[derive(Debug, Object)]
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
    #[oai(path = "/health/ready", method = "get", operation_id = "get_readiness", tag = Tag::Operations)]
    async fn get_readiness(&self, _caller: Anyone) -> Ready {
        let checks = vec![
            Check::of("database", self.database().await),
            Check::of("migrations", self.migrations().await),
            Check::of("archive", self.archive().await),
            Check::of("transport", self.transport().await),
        ];
        let report = HealthReport::of(checks);
        match report.status {
            Status::Ok => Ready::Ready(Json(report)),
            Status::Failed => Ready::NotReady(Json(report), RETRY_AFTER_SECONDS.to_owned()),
        }
    }
}

/// The checks. What failed is told in general: details are the log's.
impl Health {
    async fn database(&self) -> Result<(), String> {
        self.context.db.ping().await.map_err(|error| unwell("the database does not answer", &error))
    }

    async fn migrations(&self) -> Result<(), String> {
        // One that is ahead is a later version's, and good for this one too.
        let schema::Schema { pending, .. } = schema::compare(&self.context.db)
            .await
            .map_err(|error| unwell("the schema cannot be read", &error))?;
        if pending.is_empty() { Ok(()) } else { Err(format!("pending: {}", pending.join(", "))) }
    }

    async fn archive(&self) -> Result<(), String> {
        let checked = self.context.archive.check().await;
        checked.map_err(|error| unwell("the archive cannot be written", &error))
    }

    async fn transport(&self) -> Result<(), String> {
        let checked = self.context.transport.check().await;
        // Its reasons say what to put right and nothing of what is inside.
        checked.map_err(|error| format!("{}: {error}", unwell("chunks cannot travel", &error)))
    }
}

fn unwell(what: &str, error: &dyn std::error::Error) -> String {
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    tracing::warn!(error = %format_args!("{error}: {cause}"), "{what}");
    what.to_owned()
}
