//! Where the database's schema is.

use migration::{Migrator, MigratorTrait};

use super::{Db, DbError};

/// The migrations of this program that are not applied, by name. Ones that it does not know do not matter: a newer program
/// has applied them, and migrations leave the schema fit for the version before.
pub async fn pending(db: &Db) -> Result<Vec<String>, DbError> {
    let failed = || DbError::during("reading which migrations are applied");
    let exists = sqlx::query_scalar("select to_regclass('seaql_migrations') is not null");
    let applied: Vec<String> = if exists.fetch_one(db.pool()).await.map_err(failed())? {
        sqlx::query_scalar("select version from seaql_migrations")
            .fetch_all(db.pool())
            .await
            .map_err(failed())?
    } else {
        Vec::new()
    };
    let known = Migrator::migrations().into_iter().map(|migration| migration.name().to_owned());
    Ok(known.filter(|name| !applied.contains(name)).collect())
}
