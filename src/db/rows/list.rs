//! Pages of rows.

use std::time::Duration;

use futures_util::TryStreamExt;
use sqlx::{Postgres, QueryBuilder, Row as _, postgres::PgRow};

use super::{
    Db, DbError, all, begin_reading, columns,
    csv::Writer,
    filter, json,
    order::{Order, Part},
    value,
};
use crate::datasets::{
    Dataset,
    query::{Filter, Query, Service, Subject},
};

/// A page ends before its limit when its rows have so many bytes: rows may be large, and an answer is in memory.
const MAX_BYTES: usize = 64 << 20;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// JSON objects.
    Json,
    /// GeoJSON features.
    GeoJson,
    /// Records of a CSV file, as the dataset's files have them.
    Csv,
}

/// A page of rows.
#[derive(Debug, Clone)]
pub struct Page {
    /// Each in the format that was asked for; a record of CSV with its line end.
    pub rows: Vec<String>,
    /// The header of a CSV file, with its line end; otherwise empty.
    pub header: String,
    /// Where the next page begins. `None`: there is none.
    pub next: Option<String>,
}

impl Page {
    /// `{"data":[…]}`, with `count` where it was asked for.
    pub fn json(&self, count: Option<i64>) -> String {
        let count = count.map_or_else(String::new, |count| format!(",\"count\":{count}"));
        self.wrapped("{\"data\":[", ",", &format!("]{count}}}"))
    }

    /// A GeoJSON collection of features.
    pub fn geo_json(&self) -> String {
        self.wrapped("{\"type\":\"FeatureCollection\",\"features\":[", ",", "]}")
    }

    /// One row a line.
    pub fn ndjson(&self) -> String {
        let end = if self.rows.is_empty() { "" } else { "\n" };
        self.wrapped("", "\n", end)
    }

    /// A CSV file with its header.
    pub fn csv(&self) -> String {
        self.wrapped(&self.header, "", "")
    }

    fn wrapped(&self, before: &str, between: &str, after: &str) -> String {
        let bytes: usize = self.rows.iter().map(|row| row.len() + between.len()).sum();
        let mut text = String::with_capacity(before.len() + bytes + after.len());
        text.push_str(before);
        for (place, row) in self.rows.iter().enumerate() {
            if place > 0 {
                text.push_str(between);
            }
            text.push_str(row);
        }
        text.push_str(after);
        text
    }
}

/// Why there is no list.
#[derive(Debug, thiserror::Error)]
pub enum ListError {
    /// Files of the dataset have nothing around fields, and the value has in it what ends a field.
    #[error(
        "the files of this dataset have no quotes, so that none can say the {column} of row {id}: ask for another format, or leave the column out by fields="
    )]
    NotWritable {
        /// The column's name.
        column: String,
        /// The row.
        id: String,
    },
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// How many rows the filter leaves. The database stops after `time`.
pub async fn count(db: &Db, dataset: &Dataset, filter: &Filter, time: Duration) -> Result<i64, DbError> {
    let failed = || DbError::during("counting rows");
    let mut query = QueryBuilder::<Postgres>::new("select count(*) from ");
    query.push(dataset.table()).push(" r where ");
    filter::push(&mut query, dataset, filter);
    let mut connection = db.acquire().await?;
    let mut transaction = begin_reading(&mut connection, time).await?;
    let count = query.build_query_scalar().persistent(false).fetch_one(&mut *transaction).await;
    let count = count.map_err(failed())?;
    super::super::commit(transaction, "ending the count of rows").await?;
    Ok(count)
}

/// A page of the rows that a query asks for. The database stops after `time`.
pub async fn list(
    db: &Db,
    dataset: &Dataset,
    query: &Query,
    format: Format,
    time: Duration,
) -> Result<Page, ListError> {
    let failed = || DbError::during("listing rows");
    let subjects = subjects(dataset, query, format);
    let order = Order::of(dataset, query);
    let mut page = Page { rows: Vec::new(), header: String::new(), next: None };
    let writer = Writer::of(&dataset.dialect);
    let header = |subject: &Subject| match subject.column(dataset) {
        Some(column) => column.name.to_string(),
        None => subject.name(dataset).to_owned(),
    };
    let unwritable = |place: usize, id: &str| ListError::NotWritable {
        column: subjects.get(place).map_or_else(String::new, header),
        id: id.to_owned(),
    };
    if format == Format::Csv {
        page.header.clone_from(&writer.beginning);
    }
    if format == Format::Csv && writer.has_header {
        let names: Vec<_> = subjects.iter().map(header).collect();
        writer
            .write(names.iter().map(String::as_str), &mut page.header)
            .map_err(|place| unwritable(place, "0"))?;
    }
    let limit = usize::try_from(query.limit).unwrap_or(usize::MAX);
    let mut bytes = 0;
    let mut last: Vec<Option<String>> = Vec::new();
    let mut connection = db.acquire().await?;
    let mut transaction = begin_reading(&mut connection, time).await?;
    let mut full = false;
    for &part in order.parts() {
        // One row more tells whether there is a next page.
        let wanted = query.limit.saturating_sub(page.rows.len() as u64).saturating_add(1);
        let mut statement = QueryBuilder::new("");
        write(&mut statement, dataset, query, &order, part, (&subjects, format), wanted);
        let statement = statement.build().persistent(false);
        let mut rows = statement.fetch(&mut *transaction);
        while let Some(row) = rows.try_next().await.map_err(failed())? {
            if page.rows.len() == limit || bytes >= MAX_BYTES {
                full = true;
                break;
            }
            last = keys(&row, query)?;
            let text = match format {
                Format::Json | Format::GeoJson => row.try_get(0).map_err(failed())?,
                Format::Csv => {
                    let mut text = String::new();
                    let id = last.last().and_then(Option::as_deref).unwrap_or_default();
                    writer
                        .write(fields(&row, subjects.len())?, &mut text)
                        .map_err(|place| unwritable(place, id))?;
                    text
                }
            };
            bytes += text.len();
            page.rows.push(text);
        }
        drop(rows);
        if full {
            page.next = query.cursor(dataset, &last);
            break;
        }
    }
    if full && bytes >= MAX_BYTES {
        // The server would go on sending what nobody wants.
        drop(transaction);
        connection.close_on_drop();
    } else {
        super::super::commit(transaction, "ending a list of rows").await?;
    }
    Ok(page)
}

/// The columns of an answer, `_id` first and the others in the schema's order.
fn subjects(dataset: &Dataset, query: &Query, format: Format) -> Vec<Subject> {
    let chosen = |subject: &Subject| match &query.fields {
        None if format == Format::Csv => matches!(subject, Subject::Column(_)),
        None => true,
        Some(fields) => fields.iter().any(|field| field.name(dataset) == subject.name(dataset)),
    };
    // Files without a header have the dataset's columns by their places, and no others.
    let has_id = query.fields.is_some() || format != Format::Csv || dataset.dialect.header != Some(false);
    let is_id = |subject: &Subject| has_id && matches!(subject, Subject::Service(Service::Id));
    let mut subjects: Vec<_> =
        all(dataset).into_iter().filter(|subject| is_id(subject) || chosen(subject)).collect();
    if query.filter.near.is_some() && format != Format::Csv {
        subjects.push(Subject::Distance);
    }
    subjects
}

/// The statement of a part of a list. The inner one finds the rows and puts them in order; only those are written as text.
fn write(
    statement: &mut QueryBuilder<Postgres>,
    dataset: &Dataset,
    query: &Query,
    order: &Order<'_>,
    part: Part,
    (subjects, format): (&[Subject], Format),
    limit: u64,
) {
    statement.push("select ");
    match format {
        Format::Json => _ = statement.push("row_to_json(j)::text"),
        Format::GeoJson => {
            let point = filter::point(dataset).unwrap_or_else(|| "null::geometry".to_owned());
            statement.push(format_args!(
                "json_build_object('type', 'Feature', 'id', r._id, 'geometry', case when {point} is not null then \
                 json_build_object('type', 'Point', 'coordinates', json_build_array(ST_X({point}), ST_Y({point}))) end, \
                 'properties', row_to_json(j))::text"
            ));
        }
        Format::Csv => {
            let fields = subjects.iter().map(|subject| {
                let value = value(dataset, subject);
                match subject.column(dataset) {
                    Some(column) => column.file_sql(&value),
                    None => format!("({})::text", json(dataset, subject, &value)),
                }
            });
            statement.push(fields.collect::<Vec<_>>().join(", "));
        }
    }
    statement.push(", ").push(order.texts()).push(" from (select r.*");
    if let Some(near) = &query.filter.near {
        statement.push(", ");
        filter::push_distance(statement, dataset, near);
        statement.push(" as \"_distance_m\"");
    }
    statement.push(format_args!(" from {} r where ", dataset.table()));
    filter::push(statement, dataset, &query.filter);
    order.push_condition(statement, part);
    statement.push(order.clause(part, false)).push(" limit ");
    statement.push_bind(i64::try_from(limit).unwrap_or(i64::MAX)).push(") r");
    if format != Format::Csv {
        statement.push(format_args!(" cross join lateral (select {}) j", columns(dataset, subjects)));
    }
    statement.push(order.clause(part, true));
}

/// What a row was sorted by: the last columns of a statement.
fn keys(row: &PgRow, query: &Query) -> Result<Vec<Option<String>>, DbError> {
    let first = row.len().saturating_sub(query.sort.len());
    let keys = (first..row.len()).map(|place| row.try_get(place));
    keys.collect::<Result<_, _>>().map_err(DbError::during("reading what a row was sorted by"))
}

/// The first so many columns, which are the fields of a record.
fn fields(row: &PgRow, columns: usize) -> Result<Vec<&str>, DbError> {
    let fields =
        (0..columns).map(|place| row.try_get::<Option<&str>, _>(place).map(Option::unwrap_or_default));
    fields.collect::<Result<_, _>>().map_err(DbError::during("reading a row"))
}
