//! Merging an import's staging table into its dataset's table.

use sqlx::{AssertSqlSafe, Connection, FromRow, PgConnection};

use super::{DbError, Failure, staging::table};
use crate::datasets::{
    Dataset, Step as BuiltInStep, Storage,
    plan::{self, Loading, MaxDeleted, Step},
};

/// See [`crate::datasets::BuiltIn::undo`].
pub(super) fn undo(dataset: &Dataset) -> String {
    match &dataset.storage {
        Storage::BuiltIn(built_in) => built_in.undo.to_owned(),
        Storage::Declared => plan::undo(dataset),
    }
}

/// See [`crate::datasets::BuiltIn::count_kept`].
pub(super) fn count_kept(dataset: &Dataset) -> Option<String> {
    match &dataset.storage {
        Storage::BuiltIn(built_in) => built_in.count_kept.map(ToOwned::to_owned),
        Storage::Declared => Some(plan::count_kept(dataset)),
    }
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

/// Whether rows of one file that have a key in common are resolved, or assumed to be absent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Duplicates {
    Resolved,
    AssumedAbsent,
}

/// The merge of one import.
#[derive(Debug)]
pub struct Merge {
    import_id: i64,
    steps: Vec<Step>,
    /// The columns that the file has, which the statements of a built-in dataset take as a parameter.
    columns: Option<Vec<String>>,
}

/// What a sync is about to delete.
#[derive(Debug, Clone, Copy, FromRow)]
pub struct Absent {
    /// Rows that the file does not name.
    pub removed: i64,
    /// Rows that there are.
    pub stored: i64,
}

impl Absent {
    /// Whether so many may go.
    pub fn is_allowed(self, max_deleted: MaxDeleted) -> bool {
        max_deleted.allows(self.removed, self.stored)
    }
}

impl Merge {
    /// Of a built-in dataset, whose merge is written by hand.
    pub fn built_in(steps: &[BuiltInStep], import_id: i64, columns: Vec<String>) -> Self {
        let statement = |text: &str| text.replace("{staging}", &table(import_id));
        let owned = |step: &BuiltInStep| match step {
            BuiltInStep::Decide(text) => Step::Decide(statement(text)),
            BuiltInStep::ResolveDuplicates(text) => Step::ResolveDuplicates(statement(text)),
            BuiltInStep::Write(text) => Step::Write(statement(text)),
        };
        Self { import_id, steps: steps.iter().map(owned).collect(), columns: Some(columns) }
    }

    /// Of a declared dataset.
    pub fn declared(loading: Loading<'_>) -> Self {
        Self { import_id: loading.import_id, steps: plan::plan(loading), columns: None }
    }

    /// Runs the deciding steps: afterwards every row has its outcome.
    pub async fn decide(&self, connection: &mut PgConnection) -> Result<(), DbError> {
        self.decide_as(connection, Duplicates::Resolved).await.map(drop)
    }

    /// What a sync is about to delete, once all is decided; `None`: the import is no sync.
    pub async fn absent(&self, connection: &mut PgConnection) -> Result<Option<Absent>, DbError> {
        let guard = self.steps.iter().find_map(|step| match step {
            Step::Guard(statement) => Some(statement.clone()),
            _ => None,
        });
        let Some(statement) = guard else { return Ok(None) };
        sqlx::query_as(AssertSqlSafe(statement))
            .persistent(false)
            .fetch_one(connection)
            .await
            .map(Some)
            .map_err(DbError::during("counting what a sync deletes"))
    }

    /// Runs the writing steps.
    pub async fn write(&self, connection: &mut PgConnection) -> Result<(), DbError> {
        for step in &self.steps {
            if let Step::Write(statement) = step {
                self.run(connection, statement).await?;
            }
        }
        Ok(())
    }

    /// Decides and writes at once, in the hope that no two of the `loaded` rows compete: that spares the most expensive decisions.
    /// `None`: they do, or some row is rejected, and nothing was done.
    pub async fn run_without_duplicates(
        &self,
        connection: &mut PgConnection,
        loaded: i64,
    ) -> Result<Option<Outcomes>, DbError> {
        let failed = || DbError::during("merging an import");
        let mut savepoint = connection.begin().await.map_err(failed())?;
        let decided = self.decide_as(&mut savepoint, Duplicates::AssumedAbsent).await?;
        let outcomes = match decided {
            0 => Outcomes { inserted: loaded, ..Outcomes::default() },
            _ => outcomes(&mut savepoint, self.import_id, loaded).await?,
        };
        let merged = if outcomes.rejected + outcomes.noted > 0 {
            None
        } else if !outcomes.change_anything() {
            Some(outcomes)
        } else {
            match self.write(&mut savepoint).await {
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

    /// Says how many decisions there were; without any, every row is to be inserted.
    async fn decide_as(&self, connection: &mut PgConnection, duplicates: Duplicates) -> Result<u64, DbError> {
        let mut decisions = 0;
        for step in &self.steps {
            match step {
                Step::ResolveDuplicates(_) if duplicates == Duplicates::AssumedAbsent => {}
                Step::Decide(statement) | Step::ResolveDuplicates(statement) => {
                    decisions += self.run(connection, statement).await?;
                }
                Step::Guard(_) | Step::Write(_) => {}
            }
        }
        Ok(decisions)
    }

    async fn run(&self, connection: &mut PgConnection, statement: &str) -> Result<u64, DbError> {
        let mut query = sqlx::query(AssertSqlSafe(statement.to_owned()));
        // PostgreSQL refuses parameters whose type it cannot tell: `$1` is only bound where a statement names a parameter.
        if let Some(columns) = &self.columns {
            let has_columns = statement.contains("$2");
            if has_columns || statement.contains("$1") {
                query = query.bind(self.import_id);
            }
            if has_columns {
                query = query.bind(columns);
            }
        }
        query
            .persistent(false)
            .execute(connection)
            .await
            .map(|done| done.rows_affected())
            .map_err(DbError::during("merging an import"))
    }
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
pub async fn collect_late_rejects(
    connection: &mut PgConnection,
    dataset: &Dataset,
    import_id: i64,
) -> Result<(), DbError> {
    // The columns of a declared dataset have other names there; its plan gives the values.
    let value = match dataset.storage {
        Storage::BuiltIn(_) => "coalesce(fault_value, to_jsonb(s) ->> fault_column)",
        Storage::Declared => "fault_value",
    };
    let statement = format!(
        "create temporary table late_rejects on commit drop as
             select row, fault_column as \"column\", fault_code as code,
                 left(fault_message, {MESSAGE_CHARS}) as message,
                 left({value}, {VALUE_CHARS}) as value,
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
