//! What goes when migrations are taken back.

use std::collections::{BTreeMap, BTreeSet};

use migration::{Migrator, MigratorTrait};
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, FromQueryResult, Statement, TransactionTrait};
use sqlx::AssertSqlSafe;
use tracing::{instrument::WithSubscriber, subscriber::NoSubscriber};

use super::{Db, DbError};

/// Tables and columns of the service by name, as SQL writes them.
type Tables = BTreeMap<String, BTreeSet<String>>;

/// What would go with its data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loss {
    /// The table, as SQL writes it.
    pub table: String,
    /// The columns that go; none: the whole table does.
    pub columns: Vec<String>,
    /// Rows of the table.
    pub rows: i64,
}

/// The tables and columns that taking back so many migrations would drop, without those of empty tables. The migrations are taken back in
/// a transaction, which is rolled back; nobody waits longer than some seconds for the tables meanwhile.
pub async fn losses(db: &Db, steps: u32) -> Result<Vec<Loss>, DbError> {
    // Nothing is told of what is not to last.
    let trial = try_down(db, steps).with_subscriber(NoSubscriber::new());
    let (before, after) = trial.await.map_err(DbError::orm("trying to take migrations back"))?;
    let mut losses = Vec::new();
    for (table, columns) in before {
        let left = after.get(&table);
        let columns: Vec<String> = match left {
            Some(left) => columns.difference(left).cloned().collect(),
            None => Vec::new(),
        };
        if left.is_some() && columns.is_empty() {
            continue;
        }
        let rows = count(db, &table).await?;
        if rows > 0 {
            losses.push(Loss { table, columns, rows });
        }
    }
    Ok(losses)
}

async fn try_down(db: &Db, steps: u32) -> Result<(Tables, Tables), DbErr> {
    let trial = db.orm().begin().await?;
    trial.execute_unprepared("set local lock_timeout = '5s'").await?;
    let before = tables(&trial).await?;
    Migrator::down(&trial, Some(steps)).await?;
    let after = tables(&trial).await?;
    trial.rollback().await?;
    Ok((before, after))
}

/// All tables but the list of migrations, and without those of extensions.
async fn tables(trial: &DatabaseTransaction) -> Result<Tables, DbErr> {
    #[derive(FromQueryResult)]
    struct Found {
        table: String,
        column: String,
    }
    let statement = r#"select c.oid::regclass::text as "table", quote_ident(a.attname) as "column"
        from pg_class c
        join pg_namespace n on n.oid = c.relnamespace
        join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped
        where c.relkind in ('r', 'p') and n.nspname !~ '^pg_' and n.nspname <> 'information_schema'
            and c.relname <> 'seaql_migrations'
            and not exists (select from pg_depend d where d.objid = c.oid and d.deptype = 'e')"#;
    let statement = Statement::from_string(trial.get_database_backend(), statement);
    let mut tables = Tables::new();
    for Found { table, column } in Found::find_by_statement(statement).all(trial).await? {
        tables.entry(table).or_default().insert(column);
    }
    Ok(tables)
}

async fn count(db: &Db, table: &str) -> Result<i64, DbError> {
    // The name is from the catalogue, with quotes where it needs them.
    sqlx::query_scalar(AssertSqlSafe(format!("select count(*) from {table}")))
        .fetch_one(db.pool())
        .await
        .map_err(DbError::during("counting the rows of a table"))
}
