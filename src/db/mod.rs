//! All SQL: one file an aggregate. SQLSTATEs and constraint names become meaning here and nowhere else.

pub mod airports;
pub mod catalog;
pub mod chunks;
pub mod citizens;
pub mod consumers;
pub mod copy;
mod days;
pub mod downgrade;
pub mod entities;
pub mod export;
pub mod files;
pub mod idempotency;
pub mod imports;
pub mod journal;
pub mod keys;
pub mod leases;
pub mod merge;
pub mod notify;
pub mod owners;
pub mod pending_changes;
pub mod rejects;
pub mod removals;
pub mod retention;
pub mod rows;
pub mod schema;
pub mod segments;
mod settle;
pub mod staging;
pub mod stuck_sessions;
pub mod totals;
pub mod towns;

use std::{
    borrow::Cow,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use sea_orm::{DatabaseConnection, SqlxPostgresConnector};
use sqlx::{
    ConnectOptions, Connection, PgConnection, PgPool, Postgres,
    pool::PoolConnection,
    postgres::{PgConnectOptions, PgPoolOptions},
};

pub use settle::{Unconfirmed, commit_settled};

use crate::config;

/// Longer than this ago, a connection may have been lost without anybody noticing.
const TRUSTED_FOR: Duration = Duration::from_secs(1);

/// The database, by both of its faces: sea-orm for entities, sqlx for COPY and everything that is written by hand.
/// They share one pool. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Db {
    orm: DatabaseConnection,
    waiting: Arc<AtomicUsize>,
    versions: catalog::Versions,
}

/// A failed conversation with the database.
#[derive(Debug, thiserror::Error)]
#[error("{operation}")]
pub struct DbError {
    operation: Cow<'static, str>,
    #[source]
    source: sqlx::Error,
}

/// What is left to do about a [`DbError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The pool or the server has no connection to give now.
    Exhausted,
    /// Passes by itself: a lost connection, a deadlock, a server that is restarting.
    Passing,
    /// Two rows may not hold the same value.
    UniqueViolation,
    /// Ours or the data's: trying again gives the same.
    Lasting,
}

impl DbError {
    /// Names what was attempted; for `map_err`.
    pub fn during(operation: impl Into<Cow<'static, str>>) -> impl FnOnce(sqlx::Error) -> Self {
        move |source| Self { operation: operation.into(), source }
    }

    /// The same for what sea-orm reports.
    pub fn orm(operation: &'static str) -> impl FnOnce(sea_orm::DbErr) -> Self {
        move |error| Self { operation: operation.into(), source: into_sqlx(error) }
    }

    /// What to do about it.
    pub fn failure(&self) -> Failure {
        match &self.source {
            sqlx::Error::PoolTimedOut => Failure::Exhausted,
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::PoolClosed
            | sqlx::Error::Protocol(_)
            | sqlx::Error::WorkerCrashed => Failure::Passing,
            sqlx::Error::Database(error) => match error.code().as_deref() {
                Some("23505") => Failure::UniqueViolation,
                Some("53300") => Failure::Exhausted,
                // 08: connection; 25P03: silent in a transaction; 40: rollback (deadlock, serialization); 53: resources;
                // 55P03: lock timeout; 57: shutdown, crash, query cancelled.
                Some(code)
                    if ["08", "40", "53", "57"].iter().any(|class| code.starts_with(class))
                        || ["25P03", "55P03"].contains(&code) =>
                {
                    Failure::Passing
                }
                _ => Failure::Lasting,
            },
            _ => Failure::Lasting,
        }
    }

    /// Whether a statement names a table or a column that is not there (any more).
    pub fn is_of_unknown_name(&self) -> bool {
        let code = self.source.as_database_error().and_then(|error| error.code());
        // undefined_column, undefined_table.
        matches!(code.as_deref(), Some("42703" | "42P01"))
    }

    /// The constraint that was violated.
    pub fn constraint(&self) -> Option<&str> {
        self.source.as_database_error()?.constraint()
    }
}

/// Counts itself for as long as it is there, also when nobody waits any more.
struct Waiting<'a>(&'a AtomicUsize);

impl<'a> Waiting<'a> {
    fn begin(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Commits, naming what was done.
pub async fn commit(
    transaction: sqlx::Transaction<'_, Postgres>,
    operation: &'static str,
) -> Result<(), DbError> {
    transaction.commit().await.map_err(DbError::during(operation))
}

fn into_sqlx(error: sea_orm::DbErr) -> sqlx::Error {
    use sea_orm::{DbErr, RuntimeErr};
    match error {
        DbErr::Conn(RuntimeErr::SqlxError(error))
        | DbErr::Exec(RuntimeErr::SqlxError(error))
        | DbErr::Query(RuntimeErr::SqlxError(error)) => match Arc::try_unwrap(error) {
            Ok(error) => error,
            Err(shared) => sqlx::Error::Protocol(shared.to_string()),
        },
        DbErr::ConnectionAcquire(_) => sqlx::Error::PoolTimedOut,
        other => sqlx::Error::Decode(Box::new(other)),
    }
}

/// Where the server listens. Never says more of the URL, which may hold a password.
fn place(options: &PgConnectOptions) -> String {
    let (host, port) = (options.get_host(), options.get_port());
    match options.get_socket() {
        Some(directory) => format!("{}/.s.PGSQL.{port}", directory.display()),
        None if host.starts_with('/') => format!("{host}/.s.PGSQL.{port}"),
        None => format!("{host}:{port}"),
    }
}

/// Why there is no connection. The pool tries again until its time is over and forgets why; so ask once more.
async fn cause(error: sqlx::Error, options: &PgConnectOptions, waits: Duration) -> sqlx::Error {
    if !matches!(error, sqlx::Error::PoolTimedOut) {
        return error;
    }
    match tokio::time::timeout(waits, PgConnection::connect_with(options)).await {
        Ok(Err(cause)) => cause,
        _ => error,
    }
}

impl Db {
    /// Opens the pool. Fails when the server does not answer.
    ///
    /// A connection that answered a moment ago is not asked again whether it is alive: a question costs as much as a small request.
    pub async fn connect(config: &config::Database) -> Result<Self, DbError> {
        let options: PgConnectOptions =
            config.url.parse().map_err(DbError::during("reading database.url"))?;
        let options = options.disable_statement_logging();
        let waits = Duration::from_millis(config.acquire_ms);
        // A process that is frozen in a transaction would hold up an import for as long as it stays so.
        let silent = format!("{}ms", config.silent_ms);
        let application = options.get_application_name().unwrap_or(stuck_sessions::APPLICATION).to_owned();
        let options =
            options.application_name(&application).options([("idle_in_transaction_session_timeout", silent)]);
        let pool = PgPoolOptions::new()
            .max_connections(config.connections)
            .acquire_timeout(waits)
            .test_before_acquire(false)
            .before_acquire(|connection, idle| {
                Box::pin(async move {
                    if idle.idle_for > TRUSTED_FOR {
                        connection.ping().await?;
                    }
                    Ok(true)
                })
            })
            .connect_with(options.clone())
            .await;
        let pool = match pool {
            Ok(pool) => pool,
            Err(error) => {
                let error = cause(error, &options, waits).await;
                return Err(DbError::during(format!("connecting to the database at {}", place(&options)))(
                    error,
                ));
            }
        };
        Ok(Self {
            orm: SqlxPostgresConnector::from_sqlx_postgres_pool(pool),
            waiting: Arc::default(),
            versions: catalog::versions(),
        })
    }

    /// The versions of datasets that this process keeps.
    pub(crate) fn versions(&self) -> &catalog::Versions {
        &self.versions
    }

    /// For entities.
    pub fn orm(&self) -> &DatabaseConnection {
        &self.orm
    }

    /// For statements written by hand.
    pub fn pool(&self) -> &PgPool {
        self.orm.get_postgres_connection_pool()
    }

    /// Whether the server answers.
    pub async fn ping(&self) -> Result<(), DbError> {
        sqlx::query("select 1")
            .execute(self.pool())
            .await
            .map(drop)
            .map_err(DbError::during("asking the database for a sign of life"))
    }

    /// How many wait for a connection.
    pub fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Whether there is another connection for whoever wants one now.
    pub fn has_spare(&self) -> bool {
        let pool = self.pool();
        pool.num_idle() > 0 || pool.size() < pool.options().get_max_connections()
    }

    /// A connection for longer than a transaction; dropped, it goes back to the pool.
    pub async fn acquire(&self) -> Result<PoolConnection<Postgres>, DbError> {
        let _waiting = Waiting::begin(&self.waiting);
        self.pool().acquire().await.map_err(DbError::during("taking a connection"))
    }

    /// Opens a transaction; dropped without a commit it is rolled back.
    pub async fn begin(&self) -> Result<sqlx::Transaction<'static, Postgres>, DbError> {
        let _waiting = Waiting::begin(&self.waiting);
        self.pool().begin().await.map_err(DbError::during("opening a transaction"))
    }

    /// Lets go of every connection.
    pub async fn close(&self) {
        self.pool().close().await;
    }
}
