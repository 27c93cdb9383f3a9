//! Rows of declared datasets: lists, one row, changes, facets, statistics. All SQL is made of the schema: names by [`Ident`], values bound.
//!
//! [`Ident`]: crate::datasets::Ident

mod change;
mod csv;
mod facets;
mod filter;
mod list;
mod order;
mod statistics;

use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection as _, PgConnection, Postgres, QueryBuilder, Row as _, Transaction};

pub use change::{Locked, Values, Write, WriteError};
pub use facets::{Facet, facets};
pub use list::{Format, ListError, Page, count, list};
pub use statistics::{Grouped, StatisticsError, statistics};

use super::{Db, DbError, catalog};
use crate::datasets::{
    Dataset,
    query::{Family, Service, Subject},
};

/// One row, as answers have it.
#[derive(Debug, Clone)]
pub struct Row {
    /// A JSON object: `_id`, the columns of the dataset, the other columns of the service.
    pub json: String,
    /// What its ETag is made of.
    pub version: i64,
    /// Whether it is deleted.
    pub deleted: bool,
}

/// The rows of a dataset that readers see and nobody deleted: a query in parentheses.
pub fn readable(dataset: &Dataset) -> String {
    let visible = visible(dataset, "r");
    format!("(select r.* from {} r where r._deleted_at is null and {visible})", dataset.table())
}

/// Holds for the rows of a table that readers may see: not those that an import which is not complete has loaded directly, nor those
/// that are about to be removed because their import is undone. What was changed since stays.
pub fn visible(dataset: &Dataset, alias: &str) -> String {
    // No dataset without a number has a table of its own; there is no import of number 0 either.
    let id = dataset.id.unwrap_or(0);
    format!(
        "({alias}._import = any (array(
             select i.id from imports i where i.dataset_id = {id} and i.state in ('received', 'running', 'paused')
             union all select m.import_id from import_removals m where m.finished_at is null
         )) and {alias}._version = 1) is not true"
    )
}

/// The row of that `_id`, a deleted one too.
pub async fn find(db: &Db, dataset: &Dataset, id: &str) -> Result<Option<Row>, DbError> {
    let mut connection = db.acquire().await?;
    read(&mut connection, dataset, id, "").await
}

/// Reads one row; `lock` ends the inner statement.
async fn read(
    connection: &mut PgConnection,
    dataset: &Dataset,
    id: &str,
    lock: &str,
) -> Result<Option<Row>, DbError> {
    let failed = || DbError::during("reading a row");
    let mut query = QueryBuilder::<Postgres>::new(
        "select row_to_json(j)::text, r._version, r._deleted_at is not null from (",
    );
    query.push(format_args!("select r.* from {} r where r._id = ", dataset.table())).push_bind(id.to_owned());
    query.push(format_args!("::uuid and {}{lock}) r cross join lateral (select ", visible(dataset, "r")));
    query.push(columns(dataset, &all(dataset))).push(") j");
    let row = query.build().persistent(false).fetch_optional(connection).await.map_err(failed())?;
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Row {
        json: row.try_get(0).map_err(failed())?,
        version: row.try_get(1).map_err(failed())?,
        deleted: row.try_get(2).map_err(failed())?,
    }))
}

/// The columns of an answer that asks for none: `_id`, the dataset's, the service's.
fn all(dataset: &Dataset) -> Vec<Subject> {
    let own = (0..dataset.schema.columns.len()).map(Subject::Column);
    let [id, rest @ ..] = Service::ALL else { return own.collect() };
    let rest = rest.iter().copied().map(Subject::Service);
    std::iter::once(Subject::Service(*id)).chain(own).chain(rest).collect()
}

/// The columns of a list as JSON has them, each under its name.
fn columns(dataset: &Dataset, subjects: &[Subject]) -> String {
    let columns = subjects.iter().map(|subject| {
        let name = subject.name(dataset);
        format!("{} as \"{name}\"", json(dataset, subject, &value(dataset, subject)))
    });
    columns.collect::<Vec<_>>().join(", ")
}

/// A value of a row of the alias `r`. Distances are a column of a list's inner statement.
fn value(dataset: &Dataset, subject: &Subject) -> String {
    match subject {
        Subject::Service(_) | Subject::Distance => format!("r.\"{}\"", subject.name(dataset)),
        Subject::Column(place) => match dataset.schema.columns.get(*place) {
            Some(column) => format!("r.{}", column.key),
            None => "null".to_owned(),
        },
        Subject::Over(_) => match subject.column(dataset) {
            Some(column) => format!("o.{}", column.key),
            None => "null".to_owned(),
        },
    }
}

/// What answers have for such a value.
fn json(dataset: &Dataset, subject: &Subject, value: &str) -> String {
    match subject.column(dataset) {
        Some(column) => column.json_sql(value),
        None => plain_json(&subject.family(dataset), value),
    }
}

/// What answers have for a value that is none of a column's, but of the same kind.
fn plain_json(family: &Family, value: &str) -> String {
    match family {
        Family::DateTime => format!(
            "rtrim(rtrim(to_char({value} at time zone 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US'), '0'), '.') || 'Z'"
        ),
        _ => value.to_owned(),
    }
}

/// Begins to read: the database stops each statement after `time`.
async fn begin_reading(
    connection: &mut PgConnection,
    time: Duration,
) -> Result<Transaction<'_, Postgres>, DbError> {
    let during = "beginning to read rows";
    let mut transaction = connection.begin().await.map_err(DbError::during(during))?;
    let limit = format!("set local statement_timeout = {}", time.as_millis().clamp(1, 3_600_000));
    execute(&mut transaction, limit, during).await?;
    Ok(transaction)
}

/// Runs statements without values, of which the caller knows that they are safe.
async fn execute(
    connection: &mut PgConnection,
    statements: String,
    during: &'static str,
) -> Result<(), DbError> {
    sqlx::raw_sql(AssertSqlSafe(statements))
        .execute(connection)
        .await
        .map(drop)
        .map_err(DbError::during(during))
}
