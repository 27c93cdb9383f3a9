//! Where the database's schema is.

use std::collections::HashSet;

use migration::{Migrator, MigratorTrait};
use sqlx::PgConnection;

use super::{Db, DbError};

/// Any number that no other lock uses.
const LOCK: i64 = 0x6d69_6772_6174;

/// Held by the one process that changes the schema. Freed with its connection, so also when the process dies.
#[derive(Debug)]
pub struct Lock(#[expect(dead_code, reason = "the lock lasts as long as its connection")] PgConnection);

impl Lock {
    /// Waits for whoever holds it.
    pub async fn take(db: &Db) -> Result<Self, DbError> {
        let failed = || DbError::during("locking the schema");
        // Not given back: another user of the connection would hold the lock too.
        let mut connection = db.pool().acquire().await.map_err(failed())?.detach();
        let taken: bool = sqlx::query_scalar("select pg_try_advisory_lock($1)")
            .bind(LOCK)
            .fetch_one(&mut connection)
            .await
            .map_err(failed())?;
        if !taken {
            tracing::info!("another process changes the schema: waiting for it");
            sqlx::query("select pg_advisory_lock($1)")
                .bind(LOCK)
                .execute(&mut connection)
                .await
                .map_err(failed())?;
        }
        Ok(Self(connection))
    }
}

/// The migrations that are not applied, and those that are and belong to a later version, by name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Schema {
    /// Not applied: the service cannot work.
    pub pending: Vec<String>,
    /// Of a later version. Its migrations leave what this one uses, so the service works.
    pub ahead: Vec<String>,
}

/// How the schema stands to this version. Changes nothing, and needs no right to.
pub async fn compare(db: &Db) -> Result<Schema, DbError> {
    let failed = || DbError::during("reading which migrations are applied");
    let is_there: bool = sqlx::query_scalar("select to_regclass('seaql_migrations') is not null")
        .fetch_one(db.pool())
        .await
        .map_err(failed())?;
    let applied: Vec<String> = if is_there {
        sqlx::query_scalar("select version from seaql_migrations order by version")
            .fetch_all(db.pool())
            .await
            .map_err(failed())?
    } else {
        Vec::new()
    };
    let ours: Vec<String> = Migrator::migrations().iter().map(|ours| ours.name().to_owned()).collect();
    let known: HashSet<&String> = ours.iter().collect();
    let ahead: Vec<String> = applied.iter().filter(|name| !known.contains(name)).cloned().collect();
    let pending = ours.into_iter().filter(|name| !applied.contains(name)).collect();
    Ok(Schema { pending, ahead })
}
