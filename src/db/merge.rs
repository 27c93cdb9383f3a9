//! Merging an import's staging table into its dataset's table.

use sqlx::{AssertSqlSafe, Connection, FromRow, PgConnection};

use super::{DbError, Failure, staging::table};
use crate::datasets::{Dataset, Step};

/// The statements of a merge.
fn steps(dataset: &Dataset) -> &'static [Step] {
    dataset.built_in().map_or(&[], |built_in| built_in.merge)
}

/// See [`crate::datasets::BuiltIn::undo`].
pub(super) fn undo(dataset: &Dataset) -> String {
    dataset.built_in().map_or_else(String::new, |built_in| built_in.undo.to_owned())
}

/// See [`crate::datasets::BuiltIn::count_kept`].
pub(super) fn count_kept(dataset: &Dataset) -> Option<String> {
    dataset.built_in().and_then(|built_in| built_in.count_kept).map(ToOwned::to_owned)
}

/// Readies the transaction for a merge, and tells the planner what is in the table.
///
/// The statements of a merge touch every row a few times: they want memory for their hashes and sorts, and compiling
/// them would take longer than running them. A sample of 3,000 rows is enough to choose between their plans.
pub async fn prepare(connection: &mut PgConnection, import_id: i64) -> Result<(), DbError> {
    let statement = format!(
        "set local work_mem = '256MB'; set local jit = off; set local default_statistics_target = 10; analyze {}",
        table(import_id)
    );
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
    decide_as(connection, dataset, import_id, columns, Duplicates::Resolved).await.map(drop)
}

/// Runs the writing steps of the merge.
pub async fn write(
    connection: &mut PgConnection,
    dataset: &Dataset,
    import_id: i64,
    columns: &[String],
) -> Result<(), DbError> {
    for step in steps(dataset) {
        if let Step::Write(statement) = step {
            run(connection, statement, import_id, columns).await?;
        }
    }
    Ok(())
}

/// Decides and writes at once, on the assumption that no two of the `loaded` rows have a key in common: that spares the most expensive
/// decisions. `None`: some have, or some row is rejected, and nothing was done.
pub async fn merge_without_duplicates(
    connection: &mut PgConnection,
    dataset: &Dataset,
    import_id: i64,
    columns: &[String],
    loaded: i64,
) -> Result<Option<Outcomes>, DbError> {
    let failed = || DbError::during("merging an import");
    let mut savepoint = connection.begin().await.map_err(failed())?;
    let decided = decide_as(&mut savepoint, dataset, import_id, columns, Duplicates::AssumedAbsent).await?;
    let outcomes = match decided {
        0 => Outcomes { inserted: loaded, ..Outcomes::default() },
        _ => outcomes(&mut savepoint, import_id, loaded).await?,
    };
    let merged = if outcomes.rejected + outcomes.noted > 0 {
        None
    } else if !outcomes.change_anything() {
        Some(outcomes)
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

/// Whether rows of one file that have a key in common are resolved, or assumed to be absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Duplicates {
    Resolved,
    AssumedAbsent,
}

/// Says how many decisions there were; without any, every row is to be inserted.
async fn decide_as(
    connection: &mut PgConnection,
    dataset: &Dataset,
    import_id: i64,
    columns: &[String],
    duplicates: Duplicates,
) -> Result<u64, DbError> {
    let mut decisions = 0;
    for step in steps(dataset) {
        match step {
            Step::ResolveDuplicates(_) if duplicates == Duplicates::AssumedAbsent => {}
            Step::Decide(statement) | Step::ResolveDuplicates(statement) => {
                decisions += run(connection, statement, import_id, columns).await?;
            }
            Step::Write(_) => {}
        }
    }
    Ok(decisions)
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
    /// Relations that those rows lost by that.
    pub relations_dropped: i64,
}

impl Outcomes {
    /// Whether there is anything to write. Without it no writing statement runs: each says that the dataset's table has changed.
    pub fn change_anything(&self) -> bool {
        self.inserted + self.updated > 0
    }
}

/// Counts the outcomes of the merge. Of the `loaded` rows, whatever it decided nothing else about is inserted.
pub async fn outcomes(
    connection: &mut PgConnection,
    import_id: i64,
    loaded: i64,
) -> Result<Outcomes, DbError> {
    let decided: Outcomes = sqlx::query_as(AssertSqlSafe(format!(
        "select 0::bigint as inserted,
             count(*) filter (where outcome is null and target is not null) as updated,
             count(*) filter (where outcome = 'unchanged') as unchanged,
             count(*) filter (where outcome = 'deleted') as deleted,
             count(*) filter (where outcome = 'rejected') as rejected,
             count(*) filter (where outcome is null and fault_code is not null) as noted,
             coalesce(sum(relations_dropped), 0)::bigint as relations_dropped
         from {}",
        table(import_id)
    )))
    .fetch_one(connection)
    .await
    .map_err(DbError::during("counting what a merge decided"))?;
    let Outcomes { updated, unchanged, deleted, rejected, .. } = decided;
    Ok(Outcomes { inserted: loaded - updated - unchanged - deleted - rejected, ..decided })
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

/// What of a wrong value, and of what is said about it, a reject keeps, characters.
const VALUE_CHARS: usize = 256;
const MESSAGE_CHARS: usize = 1_100;

/// Sets the rejected rows aside, for [`late_rejects`]; gone with the transaction.
pub async fn collect_late_rejects(connection: &mut PgConnection, import_id: i64) -> Result<(), DbError> {
    let statement = format!(
        "create temporary table late_rejects on commit drop as
             select row, fault_column as \"column\", fault_code as code,
                 left(fault_message, {MESSAGE_CHARS}) as message,
                 left(coalesce(fault_value, to_jsonb(s) ->> fault_column), {VALUE_CHARS}) as value,
                 outcome is null as accepted
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
