//! Rows of declared datasets: lists, single rows, facets, statistics. What each request asks of the database is in [`crate::db::rows`].

mod body;
mod facets;
mod item;
mod list;
mod query;
mod statistics;

use std::{sync::Arc, time::Duration};

use poem::http::HeaderMap;
use poem_openapi::ApiResponse;
use uuid::Uuid;

use self::{body::RowBody, query::RowParameters};
pub(super) use self::{
    facets::DatasetFacets, item::DatasetRow, list::DatasetRows, query::Filtered,
    statistics::DatasetStatistics,
};
use crate::{
    api::{
        Context,
        access::{Caller, Target},
        idempotency::SaveRefusal,
        negotiate,
        precondition::etag,
        prefer::Return,
        problem::{
            Conflict, Forbidden, Internal, Invalid, NotAcceptable, NotFound, PreconditionFailed, Unavailable,
            Violation,
        },
        stream::JsonText,
    },
    auth::scopes::{self, Access, Action},
    catalog::Catalog,
    datasets::{
        Dataset,
        query::{Around, Filter, QueryFault},
        row::{Given, RowFault},
    },
    db::{
        DbError,
        rows::{Row, Values, WriteError},
    },
    refusal,
};

const GEO_JSON: &str = "application/geo+json";
const CSV: &str = "text/csv";
const NDJSON: &str = "application/x-ndjson";

refusal!(
    /// Why rows are not shown.
    ReadRefusal: NotFound, Forbidden, Invalid, NotAcceptable, Unavailable, Internal
);

refusal!(
    /// Why a row is not changed.
    ChangeRefusal: NotFound, Invalid, Conflict, PreconditionFailed, Unavailable, Internal
);

/// Why an attempt came to nothing.
enum Attempt<E> {
    /// The dataset has changed since it was looked up: with the dataset as it is now it may succeed.
    Moved,
    /// It would not succeed the next time either.
    Refused(E),
}

impl<E: From<Unavailable>> Attempt<E> {
    /// What the client is told after the last attempt.
    fn last(self) -> E {
        match self {
            Self::Moved => Unavailable::new("the dataset is being changed; try again").into(),
            Self::Refused(refusal) => refusal,
        }
    }
}

impl<E: From<DbError>> From<DbError> for Attempt<E> {
    fn from(error: DbError) -> Self {
        // A column or a table that was there when the dataset was looked up.
        if error.is_of_unknown_name() { Self::Moved } else { Self::Refused(error.into()) }
    }
}

macro_rules! refused {
    ($($kind:ty),+) => {
        $(
            impl<E: From<$kind>> From<$kind> for Attempt<E> {
                fn from(kind: $kind) -> Self {
                    Self::Refused(kind.into())
                }
            }
        )+
    };
}

refused!(NotFound, Forbidden, Invalid, NotAcceptable, Conflict, PreconditionFailed, Internal, SaveRefusal);

/// Attempts something with a dataset. When the dataset has changed since it was looked up, attempts it once more with the dataset as it is
/// by then. A macro, because a future that borrows from a closure's arguments is not `Send`.
macro_rules! attempt {
    ($context:expr, $dataset:ident, $attempt:expr) => {
        match $attempt.await {
            Ok(done) => Ok(done),
            Err($crate::api::datasets::rows::Attempt::Refused(refusal)) => Err(refusal),
            Err($crate::api::datasets::rows::Attempt::Moved) => {
                let name = $dataset.name.as_str();
                let $dataset = $crate::api::datasets::rows::current(&$context, name).await?;
                let $dataset = $dataset.ok_or_else(|| $crate::api::datasets::rows::gone(name))?;
                $attempt.await.map_err($crate::api::datasets::rows::Attempt::last)
            }
        }
    };
}
use attempt;

async fn current(context: &Context, name: &str) -> Result<Option<Arc<Dataset>>, DbError> {
    Catalog::new(context.db.clone()).by_name(name).await
}

fn gone(name: &str) -> NotFound {
    NotFound::new(format!("there is no dataset {name:?}"))
}

/// The dataset, which must be one that has its rows here.
fn declared(target: Target, name: &str) -> Result<Arc<Dataset>, NotFound> {
    let dataset = target.existing(name)?;
    if dataset.built_in().is_none() {
        return Ok(dataset);
    }
    let place = match name {
        "airports" => "the rows of airports are at /airports",
        "citizens" => {
            "the rows of citizens are at /imports/{id}/citizens, those of each import by themselves"
        }
        _ => "the rows of built-in datasets are elsewhere",
    };
    Err(NotFound::new(place))
}

/// The `_id` in a path.
fn row_id(text: &str) -> Result<String, NotFound> {
    let id = Some(text).filter(|text| text.len() == 36).and_then(|text| Uuid::try_parse(text).ok());
    id.map(|id| id.to_string()).ok_or_else(|| no_row(text))
}

fn no_row(id: &str) -> NotFound {
    NotFound::new(format!("there is no row {:?}", crate::text::cut(id)))
}

/// The dataset itself and those that it refers to, as far as the caller may read them: what parameters can name.
async fn readable(
    context: &Context,
    caller: Option<&Caller>,
    dataset: &Arc<Dataset>,
) -> Result<Vec<Arc<Dataset>>, DbError> {
    let mut readable = vec![Arc::clone(dataset)];
    let mut names: Vec<_> =
        dataset.schema.foreign_keys.iter().filter_map(|key| key.dataset.as_deref()).collect();
    names.sort_unstable();
    names.dedup();
    let grants = caller.map(Caller::grants);
    for name in names.into_iter().filter(|name| *name != dataset.name.as_str()) {
        let Some(other) = current(context, name).await? else { continue };
        let may_read = grants
            .as_ref()
            .is_none_or(|grants| scopes::access(grants, Action::Read, name, other.private) == Access::Yes);
        if may_read {
            readable.push(other);
        }
    }
    Ok(readable)
}

/// What one asks of the rows of a dataset.
struct Asked<'r> {
    parameters: RowParameters,
    caller: Option<Caller>,
    headers: &'r HeaderMap,
    accepted: &'static str,
}

impl Asked<'_> {
    /// Reads the parameters.
    fn read<T>(
        &self,
        context: &Context,
        dataset: &Dataset,
        readable: &[Arc<Dataset>],
        read: impl Fn(&Dataset, &[(String, String)], Around<'_>) -> Result<T, Vec<QueryFault>>,
    ) -> Result<T, Invalid> {
        let lookup = |name: &str| readable.iter().find(|other| other.name.as_str() == name).cloned();
        let (server, limits) = (&context.config.server, &context.config.limits);
        let around = Around {
            lookup: &lookup,
            page_rows: server.page_rows,
            page_rows_max: server.page_rows_max,
            filters: limits.filters,
            sort_keys: limits.sort_keys,
        };
        read(dataset, &self.parameters.0, around).map_err(|faults| {
            let violations = faults.into_iter().map(|QueryFault { parameter, code, message }| {
                Violation::parameter(&crate::text::cut(&parameter), code, message)
            });
            Invalid::because(violations)
        })
    }

    /// Only who may write rows sees deleted ones.
    fn check(&self, dataset: &Dataset, filter: &Filter) -> Result<(), Forbidden> {
        let Some(caller) = self.caller.as_ref().filter(|_| filter.deleted) else { return Ok(()) };
        let name = dataset.name.as_str();
        match scopes::access(&caller.grants(), Action::Write, name, dataset.private) {
            Access::Yes => Ok(()),
            Access::Forbidden | Access::Hidden => {
                Err(crate::api::access::insufficient(&format!("write:{name}")))
            }
        }
    }

    /// The media type of the answer. The document offers GeoJSON for all datasets; where there is no point, it is chosen among the others.
    fn format(&self, has_point: bool, others: &[&'static str]) -> Result<&'static str, NotAcceptable> {
        if has_point || self.accepted != GEO_JSON {
            return Ok(self.accepted);
        }
        let chosen = negotiate::choose(self.headers, others).map(|accepted| accepted.0);
        chosen.ok_or_else(|| {
            NotAcceptable::new(format!("there is no point; the answer exists as {}", others.join(", ")))
        })
    }
}

/// How long the database may take: the time of a request.
fn statement_time(context: &Context) -> Duration {
    Duration::from_secs(context.config.server.request_seconds)
}

/// Reads the row of a body: the `_id` it brings, and its values as the database takes them.
fn read_body(dataset: &Dataset, given: Given, body: &[u8]) -> Result<(Option<String>, Values), Invalid> {
    let row = crate::datasets::row::read(&dataset.schema, given, body).map_err(|faults| {
        let violations = faults
            .into_iter()
            .map(|RowFault { pointer, fault }| Violation::at(pointer, fault.code, fault.message));
        Invalid::because(violations)
    })?;
    let values = row.values.iter().map(|(place, value)| (*place, value.sql_text().map(Into::into)));
    Ok((row.id.map(|id| id.to_string()), values.collect()))
}

/// The datasets that a change of rows looks at: those that the dataset refers to, and those that refer to it.
async fn related(context: &Context, dataset: &Dataset) -> Result<Vec<Arc<Dataset>>, DbError> {
    let catalog = Catalog::new(context.db.clone());
    let mut related = match dataset.id {
        Some(id) => catalog.referencing(id).await?,
        None => Vec::new(),
    };
    for name in dataset.schema.foreign_keys.iter().filter_map(|key| key.dataset.as_deref()) {
        let is_known =
            name == dataset.name.as_str() || related.iter().any(|other| other.name.as_str() == name);
        if !is_known {
            related.extend(catalog.by_name(name).await?);
        }
    }
    Ok(related)
}

/// What a write failed for. `id`: the row, where the path names one.
fn failed<E>(dataset: &Dataset, id: &str, error: WriteError) -> Attempt<E>
where
    E: From<NotFound> + From<Invalid> + From<Conflict> + From<DbError>,
{
    let at = |column: &str| format!("/{column}");
    let refusal: E = match error {
        WriteError::Moved => return Attempt::Moved,
        WriteError::Database(error) => return error.into(),
        WriteError::NotFound => no_row(id).into(),
        WriteError::KeyHeld { column, id } => {
            let holder = match id {
                Some(id) => format!("the row /datasets/{}/rows/{id}", dataset.name.as_str()),
                None => "another row".to_owned(),
            };
            let message = format!("the value of {column} is held by {holder}");
            Conflict::because(message.clone(), vec![Violation::at(at(&column), "key_held", message)]).into()
        }
        WriteError::IdTaken => {
            let message = "another row has this _id, maybe a deleted one";
            Conflict::because(message, vec![Violation::at("/_id", "id_taken", message)]).into()
        }
        WriteError::UnknownReference { column } => {
            let message = format!("what {column} refers to is not there");
            Invalid::because([Violation::at(at(&column), "unknown_reference", message)]).into()
        }
        error @ WriteError::Referenced { .. } => Conflict::coded("referenced", error.to_string()).into(),
    };
    Attempt::Refused(refusal)
}

/// Whether the dataset's rows are somewhere.
fn has_point(dataset: &Dataset) -> bool {
    dataset.schema.place().is_some()
}

/// The answer to the creation of a row.
#[derive(ApiResponse)]
enum Created {
    /// The row as it was created; with `Prefer: return=minimal` the headers alone
    #[oai(status = 201)]
    Full(
        JsonText<RowBody>,
        /// Where it is
        #[oai(header = "Location")]
        String,
        /// Its version
        #[oai(header = "ETag")]
        String,
        /// Which preference was heeded
        #[oai(header = "Preference-Applied")]
        Option<String>,
    ),
    /// Where it is
    #[oai(status = 201)]
    Minimal(
        #[oai(header = "Location")] String,
        #[oai(header = "ETag")] String,
        #[oai(header = "Preference-Applied")] Option<String>,
    ),
}

impl Created {
    fn new(row: Row, location: String, returns: Return) -> Self {
        let etag = etag(row.version);
        match returns {
            Return::Minimal => Self::Minimal(location, etag, returns.applied()),
            Return::Representation { .. } => {
                Self::Full(JsonText::new(row.json.into()), location, etag, returns.applied())
            }
        }
    }
}

/// The answer to a change of a row.
#[derive(ApiResponse)]
enum Changed {
    /// The row as it is now
    #[oai(status = 200)]
    Row(
        JsonText<RowBody>,
        /// Its version
        #[oai(header = "ETag")]
        String,
        /// Which preference was heeded
        #[oai(header = "Preference-Applied")]
        Option<String>,
    ),
    /// With `Prefer: return=minimal`: it is changed
    #[oai(status = 204)]
    Minimal(
        /// Its version
        #[oai(header = "ETag")]
        String,
        /// Which preference was heeded
        #[oai(header = "Preference-Applied")]
        Option<String>,
    ),
}

impl Changed {
    /// The answer the client prefers.
    fn new(row: Row, prefer: Option<&str>) -> Self {
        let etag = etag(row.version);
        let returns = Return::of(prefer);
        match returns {
            Return::Minimal => Self::Minimal(etag, returns.applied()),
            Return::Representation { .. } => {
                Self::Row(JsonText::new(row.json.into()), etag, returns.applied())
            }
        }
    }
}
