//! The values of columns with how often they are there.

use std::time::Duration;

use sqlx::{Postgres, QueryBuilder, Row as _};

use super::{Db, DbError, begin_reading, filter, json, value};
use crate::datasets::{Dataset, query::Facets};

/// Most values of a column.
const MAX_VALUES: i64 = 1_000;

/// The values of one column, the most frequent first.
#[derive(Debug, Clone)]
pub struct Facet {
    /// The column's key.
    pub column: String,
    /// Each value as JSON, with how many rows have it.
    pub values: Vec<(String, i64)>,
}

impl Facet {
    /// `{"data":{"breed":[{"value":…,"count":…}]}}`
    pub fn json(facets: &[Self]) -> String {
        let facets = facets.iter().map(|Self { column, values }| {
            let values =
                values.iter().map(|(value, count)| format!("{{\"value\":{value},\"count\":{count}}}"));
            format!("\"{column}\":[{}]", values.collect::<Vec<_>>().join(","))
        });
        format!("{{\"data\":{{{}}}}}", facets.collect::<Vec<_>>().join(","))
    }
}

/// Counts the values of the columns among the rows that the filter leaves. The database stops after `time` for each column.
pub async fn facets(
    db: &Db,
    dataset: &Dataset,
    facets: &Facets,
    time: Duration,
) -> Result<Vec<Facet>, DbError> {
    let failed = || DbError::during("counting values");
    let mut connection = db.acquire().await?;
    let mut transaction = begin_reading(&mut connection, time).await?;
    let mut counted = Vec::new();
    for subject in &facets.columns {
        let family = subject.family(dataset);
        let mut query = QueryBuilder::<Postgres>::new("select coalesce(to_json(");
        query.push(json(dataset, subject, "c.value")).push(")::text, 'null'), c.count from (select ");
        query.push(value(dataset, subject)).push(" as value, count(*) as count from ").push(dataset.table());
        query.push(" r where ");
        filter::push(&mut query, dataset, &facets.filter);
        query.push(" group by 1) c order by c.count desc, c.value").push(filter::collation(&family));
        query.push(" nulls last limit ").push_bind(MAX_VALUES);
        let rows = query.build().persistent(false).fetch_all(&mut *transaction).await.map_err(failed())?;
        let mut values = Vec::with_capacity(rows.len());
        for row in rows {
            values.push((row.try_get(0).map_err(failed())?, row.try_get(1).map_err(failed())?));
        }
        counted.push(Facet { column: subject.name(dataset).to_owned(), values });
    }
    super::super::commit(transaction, "ending the count of values").await?;
    Ok(counted)
}
