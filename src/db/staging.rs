//! The staging table of an import: its rows until they are merged. An ordinary table, because an unlogged one is
//! emptied after a crash while the ledger would still say "loaded".

use sqlx::{AssertSqlSafe, PgConnection};

use super::DbError;
use crate::datasets::{Dataset, Load};

/// The staging table's name. An id is a number: nothing of a user's reaches the statement.
pub fn table(import_id: i64) -> String {
    format!("staging.import_{import_id}")
}

/// A table with the columns that rows of the dataset are copied into; the last one says which row of the dataset's table each is, where
/// the file says that.
pub fn copy_target(dataset: &Dataset, table: &str, has_row_id: bool) -> String {
    let row_id = dataset.row_id().filter(|_| has_row_id);
    let columns: Vec<_> =
        dataset.schema.columns.iter().chain(row_id).map(|column| column.key.to_string()).collect();
    let import_id = match dataset.load() {
        Load::Staged => "",
        Load::Direct => "import_id, ",
    };
    format!("{table} ({import_id}row, {})", columns.join(", "))
}

/// Makes the table unless it is there. Its index holds the rows that have a target: where there are none, the statements about
/// them are spared reading all rows to find that out.
pub async fn create(connection: &mut PgConnection, dataset: &Dataset, import_id: i64) -> Result<(), DbError> {
    let columns: String = dataset
        .schema
        .columns
        .iter()
        .map(|column| format!("{} {}, ", column.key, column.rule.sql_type()))
        .collect();
    let import_id_column = match dataset.load() {
        Load::Staged => "",
        Load::Direct => "import_id bigint not null, ",
    };
    let row_id = match dataset.row_id() {
        Some(column) => format!("add column if not exists {} {}, ", column.key, column.rule.sql_type()),
        None => String::new(),
    };
    // What later versions have added is added by itself: one of before may have made the table.
    let statement = format!(
        "create table if not exists {table} ({import_id_column}row bigint not null, {columns} target bigint, outcome text, \
         fault_column text, fault_code text, fault_message text, fault_value text) with (autovacuum_enabled = false);
         alter table {table} {row_id} add column if not exists relations_dropped bigint;
         create index if not exists import_{import_id}_target on {table} (target) where target is not null",
        table = table(import_id)
    );
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(connection)
        .await
        .map(drop)
        .map_err(DbError::during("making a staging table"))
}

/// Removes the table.
pub async fn drop_table(connection: &mut PgConnection, import_id: i64) -> Result<(), DbError> {
    let statement = format!("drop table if exists {}", table(import_id));
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(connection)
        .await
        .map(drop)
        .map_err(DbError::during("dropping a staging table"))
}

/// Whether there is no row in the table.
pub async fn is_empty(connection: &mut PgConnection, import_id: i64) -> Result<bool, DbError> {
    sqlx::query_scalar(AssertSqlSafe(format!("select not exists (select from {})", table(import_id))))
        .persistent(false)
        .fetch_one(connection)
        .await
        .map_err(DbError::during("looking into a staging table"))
}
