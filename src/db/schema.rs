//! Where the database's schema is.

use migration::{Migrator, MigratorTrait};

use super::{Db, DbError};

/// The migrations that are not applied, by name.
pub async fn pending(db: &Db) -> Result<Vec<String>, DbError> {
    let pending = Migrator::get_pending_migrations_read_only(db.orm())
        .await
        .map_err(DbError::orm("reading which migrations are applied"))?;
    Ok(pending.iter().map(|migration| migration.name().to_owned()).collect())
}
