//! The staging table of an import: its rows until they are merged. An ordinary table, because an unlogged one is
//! emptied after a crash while the ledger would still say "loaded".

use sqlx::{AssertSqlSafe, Connection, FromRow, PgConnection};

use super::{DbError, Failure};
use crate::datasets::{Dataset, Kind, Step};

/// The staging table's name. An id is a number: nothing of a user's reaches the statement.
pub fn table(import_id: i64) -> String {
    format!("staging.import_{import_id}")
}

/// The table with the columns that chunks are copied into.
pub fn copy_target(dataset: &Dataset, import_id: i64) -> String {
    let columns: Vec<_> = dataset.columns.iter().map(|column| column.name).collect();
    format!("{} (row, {})", table(import_id), columns.join(", "))
}

/// Makes the table unless it is there.
pub async fn create(connection: &mut PgConnection, dataset: &Dataset, import_id: i64) -> Result<(), DbError> {
    let columns: String =
        dataset.columns.iter().map(|column| format!("{} {}, ", column.name, sql_type(column.kind))).collect();
    let statement = format!(
        "create table if not exists {} (row bigint not null, {columns} target bigint, outcome text, \
         fault_column text, fault_code text, fault_message text, fault_value text) with (autovacuum_enabled = false)",
        table(import_id)
    );
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(connection)
        .await
        .map(drop)
        .map_err(DbError::during("making a staging table"))
}

fn sql_type(kind: Kind) -> &'static str {
    match kind {
        Kind::Text { .. } | Kind::Code { .. } | Kind::OneOf(_) | Kind::Verbatim { .. } => "text",
        Kind::Integer { .. } => "bigint",
        Kind::Number { .. } => "double precision",
        Kind::PastDate => "date",
        Kind::Integers { .. } => "bigint[]",
    }
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

/// Readies the transaction for a merge, and tells the planner what is in the table.
///
/// The statements of a merge touch every row a few times: they want memory for their hashes and sorts, and compiling
/// them would take longer than running them.
pub async fn prepare_merge(connection: &mut PgConnection, import_id: i64) -> Result<(), DbError> {
    let statement =
        format!("set local work_mem = '256MB'; set local jit = off; analyze {}", table(import_id));
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(connection)
        .await
        .map(drop)
        .map_err(DbError::during("preparing a merge"))
}

/// Runs the deciding steps of the merge: afterwards every row has its outcome.
pub async fn decide(
    connection: &mut PgConnection,
    dataset: &Dataset,
    import_id: i64,
    columns: &[String],
) -> Result<(), DbError> {
    decide_as(connection, dataset, import_id, columns, Contest::Decided).await
}

/// Runs the writing steps of the merge.
pub async fn write(
    connection: &mut PgConnection,
    dataset: &Dataset,
    import_id: i64,
    columns: &[String],
) -> Result<(), DbError> {
    for step in dataset.merge {
        if let Step::Write(statement) = step {
            run(connection, statement, import_id, columns).await?;
        }
    }
    Ok(())
}

/// Decides and writes at once, in the hope that no two rows compete: that spares the most expensive decisions. `None`: they
/// do, or some row is rejected, and nothing was done.
pub async fn merge_uncontested(
    connection: &mut PgConnection,
    dataset: &Dataset,
    import_id: i64,
    columns: &[String],
) -> Result<Option<Outcomes>, DbError> {
    let failed = || DbError::during("merging an import");
    let mut savepoint = connection.begin().await.map_err(failed())?;
    decide_as(&mut savepoint, dataset, import_id, columns, Contest::Hoped).await?;
    let outcomes = outcomes(&mut savepoint, import_id).await?;
    let merged = if outcomes.rejected + outcomes.noted > 0 {
        None
    } else {
        match write(&mut savepoint, dataset, import_id, columns).await {
            Ok(()) => Some(outcomes),
            Err(error) if error.failure() == Failure::UniqueViolation => None,
            Err(error) => return Err(error),
        }
    };
    match merged {
        Some(_) => savepoint.commit().await,
        None => savepoint.rollback().await,
    }
    .map_err(failed())?;
    Ok(merged)
}

/// Whether rows that compete with each other are told apart, or hoped not to be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Contest {
    Decided,
    Hoped,
}

async fn decide_as(
    connection: &mut PgConnection,
    dataset: &Dataset,
    import_id: i64,
    columns: &[String],
    contest: Contest,
) -> Result<(), DbError> {
    for step in dataset.merge {
        match step {
            Step::DecideContested(_) if contest == Contest::Hoped => {}
            Step::Decide(statement) | Step::DecideContested(statement) => {
                run(connection, statement, import_id, columns).await?;
            }
            Step::DecideUntilQuiet(statement) => {
                while run(connection, statement, import_id, columns).await? > 0 {}
            }
            Step::Write(_) => {}
        }
    }
    Ok(())
}

async fn run(
    connection: &mut PgConnection,
    statement: &str,
    import_id: i64,
    columns: &[String],
) -> Result<u64, DbError> {
    let statement = statement.replace("{staging}", &table(import_id));
    // PostgreSQL refuses parameters whose type it cannot tell: `$1` is only bound where a statement names a parameter.
    let parameters = [statement.contains("$1") || statement.contains("$2"), statement.contains("$2")];
    let mut query = sqlx::query(AssertSqlSafe(statement));
    if parameters[0] {
        query = query.bind(import_id);
    }
    if parameters[1] {
        query = query.bind(columns);
    }
    query
        .persistent(false)
        .execute(connection)
        .await
        .map(|done| done.rows_affected())
        .map_err(DbError::during("merging an import"))
}

/// What a merge decided.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, FromRow)]
#[expect(missing_docs, reason = "each counts the rows with that outcome")]
pub struct Outcomes {
    pub inserted: i64,
    pub updated: i64,
    pub unchanged: i64,
    pub deleted: i64,
    pub rejected: i64,
    /// Rows that are loaded without what is at fault; counted among the others too.
    pub noted: i64,
}

/// Counts the outcomes of the merge.
pub async fn outcomes(connection: &mut PgConnection, import_id: i64) -> Result<Outcomes, DbError> {
    sqlx::query_as(AssertSqlSafe(format!(
        "select count(*) filter (where outcome is null and target is null) as inserted,
             count(*) filter (where outcome is null and target is not null) as updated,
             count(*) filter (where outcome = 'unchanged') as unchanged,
             count(*) filter (where outcome = 'deleted') as deleted,
             count(*) filter (where outcome = 'rejected') as rejected,
             count(*) filter (where outcome is null and fault_code is not null) as noted
         from {}",
        table(import_id)
    )))
    .fetch_one(connection)
    .await
    .map_err(DbError::during("counting what a merge decided"))
}

/// A row that the merge rejected.
#[derive(Debug, Clone, FromRow)]
#[expect(missing_docs, reason = "as in Reject")]
pub struct LateReject {
    pub row: i64,
    pub column: Option<String>,
    pub code: String,
    pub message: String,
    pub value: Option<String>,
    pub accepted: bool,
}

/// Sets the rejected rows aside, for [`late_rejects`]; gone with the transaction.
pub async fn collect_late_rejects(connection: &mut PgConnection, import_id: i64) -> Result<(), DbError> {
    let statement = format!(
        "create temporary table late_rejects on commit drop as
             select row, fault_column as \"column\", fault_code as code, fault_message as message,
                 coalesce(fault_value, to_jsonb(s) ->> fault_column) as value, outcome is null as accepted
             from {} s where outcome = 'rejected' or outcome is null and fault_code is not null;
         create index on late_rejects (row)",
        table(import_id)
    );
    sqlx::raw_sql(AssertSqlSafe(statement))
        .execute(connection)
        .await
        .map(drop)
        .map_err(DbError::during("setting rejected rows aside"))
}

/// The rejected rows after `after`, by row.
pub async fn late_rejects(
    connection: &mut PgConnection,
    after: i64,
    limit: i64,
) -> Result<Vec<LateReject>, DbError> {
    sqlx::query_as(
        "select row, \"column\", code, message, value, accepted from late_rejects where row > $1 order by row limit $2",
    )
    .bind(after)
    .bind(limit)
    .persistent(false)
    .fetch_all(connection)
    .await
    .map_err(DbError::during("reading rejected rows"))
}

/// Removes the rows an import created and nobody changed since; how many, and how many are left.
pub async fn undo(
    connection: &mut PgConnection,
    dataset: &Dataset,
    import_id: i64,
) -> Result<(i64, i64), DbError> {
    let failed = || DbError::during("undoing an import");
    let removed = sqlx::query(dataset.undo)
        .bind(import_id)
        .execute(&mut *connection)
        .await
        .map_err(failed())?
        .rows_affected();
    let kept = sqlx::query_scalar(dataset.count_created)
        .bind(import_id)
        .fetch_one(connection)
        .await
        .map_err(failed())?;
    Ok((i64::try_from(removed).unwrap_or(i64::MAX), kept))
}
