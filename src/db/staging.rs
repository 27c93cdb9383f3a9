//! The staging table of an import: its rows until they are merged. An ordinary table, because an unlogged one is
//! emptied after a crash while the ledger would still say "loaded".

use sqlx::{AssertSqlSafe, PgConnection};

use super::DbError;
use crate::datasets::{Column, Dataset, Load, Storage, plan};

/// The staging table's name. An id is a number: nothing of a user's reaches the statement.
pub fn table(import_id: i64) -> String {
    format!("staging.import_{import_id}")
}

/// The staging table with the columns that rows of the dataset are copied into: what says which row of the dataset's table each is comes
/// after the others, where the file says that, and last the outcome, where that of some rows is known already.
pub fn copy_target(dataset: &Dataset, import_id: i64, has_row_id: bool, with_outcome: bool) -> String {
    let table = table(import_id);
    let is_direct = dataset.load() == Load::Direct;
    match dataset.storage {
        Storage::Declared => plan::copy_target(dataset, &table, is_direct, has_row_id, with_outcome),
        Storage::BuiltIn(_) => built_in_target(dataset, &table, dataset.row_id().filter(|_| has_row_id)),
    }
}

/// The dataset's own table with the columns that rows are copied into.
pub fn direct_copy_target(dataset: &Dataset) -> String {
    match dataset.storage {
        Storage::Declared => plan::direct_copy_target(dataset),
        Storage::BuiltIn(_) => built_in_target(dataset, &dataset.table(), None),
    }
}

fn built_in_target(dataset: &Dataset, table: &str, row_id: Option<&Column>) -> String {
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
    let table = table(import_id);
    let create = match dataset.storage {
        Storage::Declared => plan::staging_table(dataset, &table, dataset.load() == Load::Direct),
        Storage::BuiltIn(_) => built_in_table(dataset, &table),
    };
    let statement = format!(
        "{create};
         create index if not exists import_{import_id}_target on {table} (target) where target is not null"
    );
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(connection)
        .await
        .map(drop)
        .map_err(DbError::during("making a staging table"))
}

fn built_in_table(dataset: &Dataset, table: &str) -> String {
    let column = |column: &Column| format!("{} {}, ", column.key, column.rule.sql_type());
    let columns: String = dataset.schema.columns.iter().map(column).collect();
    let import_id_column = match dataset.load() {
        Load::Staged => "",
        Load::Direct => "import_id bigint not null, ",
    };
    let row_id = match dataset.row_id() {
        Some(column) => format!("add column if not exists {} {}, ", column.key, column.rule.sql_type()),
        None => String::new(),
    };
    // What later versions have added is added by itself: one of before may have made the table.
    format!(
        "create table if not exists {table} ({import_id_column}row bigint not null, {columns} target bigint, outcome text, \
         fault_column text, fault_code text, fault_message text, fault_value text) with (autovacuum_enabled = false);
         alter table {table} {row_id} add column if not exists relations_dropped bigint"
    )
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
