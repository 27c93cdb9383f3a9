//! A database of its own for each test, copied from one that was migrated once.

use std::{
    path::Path,
    sync::atomic::{AtomicU32, Ordering},
};

use migration::{Migrator, MigratorTrait};
use sqlx::{AssertSqlSafe, Connection, Executor, PgConnection, PgPool, Row, postgres::PgPoolOptions};
use tokio::sync::OnceCell;

/// Dropped with all its connections at the end of its test.
#[derive(Debug)]
pub(crate) struct Database {
    /// Where it is.
    pub(crate) url: String,
    name: Option<String>,
    /// For what a test looks at, or prepares, by SQL.
    pub(crate) pool: PgPool,
}

impl Database {
    /// An empty database with the whole schema.
    pub(crate) async fn create() -> Self {
        static TEMPLATE: OnceCell<String> = OnceCell::const_new();
        Self::copy_of(TEMPLATE.get_or_init(migrate_template).await).await
    }

    /// An empty database without any schema.
    pub(crate) async fn empty() -> Self {
        Self::copy_of("template0").await
    }

    /// The only one of a server that the test has for itself, with the whole schema. It goes with its server.
    pub(crate) async fn alone_on(server: &str) -> Self {
        let pool =
            PgPoolOptions::new().max_connections(4).connect_lazy(server).expect("the URL is well-formed");
        migrate(server).await;
        Self { url: server.to_owned(), name: None, pool }
    }

    /// The one value a query gives.
    pub(crate) async fn one<T>(&self, query: &str) -> T
    where
        T: Send + Unpin + for<'r> sqlx::Decode<'r, sqlx::Postgres> + sqlx::Type<sqlx::Postgres>,
    {
        let value = sqlx::query_scalar(AssertSqlSafe(query)).fetch_one(&self.pool).await;
        value.unwrap_or_else(|error| panic!("{query}: {error}"))
    }

    async fn copy_of(template: &str) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(1);
        let name = format!("{}_{}", prefix(std::process::id()), NUMBER.fetch_add(1, Ordering::Relaxed));
        execute(&format!("create database {name} template {template}")).await;
        let url = url_of(&name);
        let pool =
            PgPoolOptions::new().max_connections(4).connect_lazy(&url).expect("the URL is well-formed");
        Self { url, name: Some(name), pool }
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let Some(name) = &self.name else { return };
        let statement = format!("drop database if exists {name} with (force)");
        // The test's own runtime may be on its way out.
        let dropped = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime can be built").block_on(execute(&statement));
        });
        // Whatever went wrong, the test has its result already; the next run removes what is left.
        drop(dropped.join());
    }
}

fn server_url() -> String {
    std::env::var("TARMAC_TEST_DATABASE_URL").expect(
        "TARMAC_TEST_DATABASE_URL must name a superuser of a PostgreSQL with PostGIS, \
         such as postgres://postgres@127.0.0.1:5432/postgres; `make test` brings one up",
    )
}

/// The server's URL with another database.
fn url_of(database: &str) -> String {
    let server = server_url();
    let (server, parameters) = server.split_once('?').map_or((server.as_str(), None), |(s, p)| (s, Some(p)));
    let (server, _) = server.rsplit_once('/').expect("the URL names a database");
    let parameters = parameters.map(|parameters| format!("?{parameters}")).unwrap_or_default();
    format!("{server}/{database}{parameters}")
}

async fn execute(statement: &str) {
    let mut connection = PgConnection::connect(&server_url()).await.expect("the test server answers");
    connection.execute(AssertSqlSafe(statement)).await.unwrap_or_else(|error| panic!("{statement}: {error}"));
}

fn prefix(process: u32) -> String {
    format!("tarmac_test_{process}")
}

async fn migrate_template() -> String {
    remove_leftovers().await;
    let name = format!("{}_template", prefix(std::process::id()));
    execute(&format!("create database {name}")).await;
    migrate(&url_of(&name)).await;
    name
}

async fn migrate(url: &str) {
    let connection = sea_orm::Database::connect(url).await.expect("the new database answers");
    Migrator::up(&connection, None).await.expect("the migrations apply");
    connection.close().await.expect("the connection closes");
}

/// Databases of test runs that are no more: the template outlives its run, everything does when it is killed.
async fn remove_leftovers() {
    let mut connection = PgConnection::connect(&server_url()).await.expect("the test server answers");
    let databases = connection
        .fetch_all("select datname::text from pg_database where datname like 'tarmac\\_test\\_%'")
        .await
        .expect("the catalogue can be read");
    for database in databases {
        let name: String = database.get(0);
        let process = name.split('_').nth(2).and_then(|process| process.parse::<u32>().ok());
        if process.is_some_and(|process| !Path::new(&format!("/proc/{process}")).exists()) {
            execute(&format!("drop database if exists {name} with (force)")).await;
        }
    }
}
