//! `/datasets/{name}/rows`: the list, and creating a row.

use std::{sync::Arc, time::Duration};

use poem::http::{HeaderMap, Uri};
use poem_openapi::{
    ApiResponse, OpenApi,
    param::{Header, Path},
    payload::Binary,
};

use super::{
    Asked, Attempt, CSV, Created, GEO_JSON, NDJSON, ReadRefusal, attempt,
    body::{NewRow, RowFeatures, RowPage},
    declared, failed, has_point,
    query::RowParameters,
    read_body, readable, related, statement_time,
};
use crate::{
    api::{
        Context, Tag,
        access::{OptionalCaller, ReadsDataset, Target, WritesDataset},
        body::{self, JsonItem},
        idempotency::{self, ClaimRefusal, Decision, First, Idempotency, Replayable, SaveRefusal},
        negotiate::Accepted,
        page,
        prefer::{Return, preference},
        problem::{Conflict, Internal, Invalid, KeyReused, NotAcceptable, NotFound, Unavailable},
        stream::JsonText,
    },
    datasets::{Dataset, query::Query, row::Given},
    db::{
        idempotency::Answer,
        rows::{self, Format, ListError, Write},
    },
    refusal,
};

/// See the module.
pub(in crate::api) struct DatasetRows {
    /// What handlers work with.
    pub(in crate::api) context: Context,
}

#[derive(ApiResponse)]
enum List {
    /// A page of rows
    #[oai(status = 200)]
    Json(
        JsonText<RowPage>,
        /// Where the next page is; on the last page there is none
        #[oai(header = "Link")]
        Option<String>,
        /// Which preference was heeded
        #[oai(header = "Preference-Applied")]
        Option<String>,
    ),
    /// As the dataset's files are written, with the column `_id` before the others: posted back as it is, it changes nothing
    #[oai(status = 200, content_type = "text/csv")]
    Csv(Binary<Vec<u8>>, #[oai(header = "Link")] Option<String>),
    /// A row a line, as JSON
    #[oai(status = 200, content_type = "application/x-ndjson")]
    Ndjson(Binary<Vec<u8>>, #[oai(header = "Link")] Option<String>),
    /// As GeoJSON (RFC 7946), where the dataset has a point
    #[oai(status = 200, content_type = "application/geo+json")]
    GeoJson(JsonText<RowFeatures>, #[oai(header = "Link")] Option<String>),
}

refusal!(
    /// Why a row is not created.
    CreateRefusal: NotFound, Invalid, Conflict, ClaimRefusal, KeyReused, SaveRefusal, Unavailable, Internal
);

/// A page of a list as it was asked for.
struct Asking<'r> {
    asked: Asked<'r>,
    prefer: Option<String>,
    uri: &'r Uri,
}

#[OpenApi(tag = "Tag::Datasets")]
impl DatasetRows {
    /// List rows
    ///
    /// Filters are joined by "and". With `near` the nearest come first.
    #[expect(clippy::too_many_arguments, reason = "each is a part of the request")]
    #[oai(path = "/datasets/:name/rows", method = "get", operation_id = "list_rows")]
    async fn list_rows(
        &self,
        _caller: ReadsDataset,
        /// The dataset.
        name: Path<String>,
        /// `count=exact`: the number of all rows that the filters leave, in JSON as `count` beside `data`.
        #[oai(name = "Prefer")]
        prefer: Header<Option<String>>,
        caller: OptionalCaller,
        target: Target,
        parameters: RowParameters,
        uri: &Uri,
        headers: &HeaderMap,
        accepted: Accepted,
    ) -> Result<List, ReadRefusal> {
        let dataset = declared(target, &name)?;
        let asked = Asked { parameters, caller: caller.0, headers, accepted: accepted.0 };
        let asking = Asking { asked, prefer: prefer.0, uri };
        attempt!(self.context, dataset, self.page(&dataset, &asking))
    }

    /// Create a row
    ///
    /// Its columns go by their keys. Columns that are not there are null. The `_id` may be given, else the service makes one.
    #[oai(path = "/datasets/:name/rows", method = "post", operation_id = "create_row")]
    async fn create_row(
        &self,
        _caller: WritesDataset,
        /// The dataset.
        name: Path<String>,
        /// Makes it safe to send the request again: the same key and body get the first answer.
        #[oai(name = "Idempotency-Key")]
        key: Idempotency,
        /// `return=minimal` leaves the body out.
        #[oai(name = "Prefer")]
        prefer: Header<Option<String>>,
        target: Target,
        body: JsonItem<NewRow>,
    ) -> Result<Replayable<Created>, CreateRefusal> {
        let dataset = declared(target, &name)?;
        let claim = key.claim(&self.context.db).await?;
        let first = match claim.decide_by_body(&body.bytes)? {
            Decision::Repeated(answer) => return Ok(Replayable::again(answer)),
            Decision::First(first) => first,
        };
        let returns = Return::of(prefer.as_deref());
        let answer: Result<Answer, CreateRefusal> =
            attempt!(self.context, dataset, self.create(&dataset, &body.bytes, returns, &first));
        Ok(Replayable::first(answer?))
    }

    async fn page(&self, dataset: &Arc<Dataset>, asking: &Asking<'_>) -> Result<List, Attempt<ReadRefusal>> {
        let Asking { asked, prefer, uri } = asking;
        let (db, time) = (&self.context.db, statement_time(&self.context));
        let format = asked.format(has_point(dataset), &[body::JSON, CSV, NDJSON])?;
        let readable = readable(&self.context, asked.caller.as_ref(), dataset).await?;
        let query = asked.read(&self.context, dataset, &readable, Query::read)?;
        asked.check(dataset, &query.filter)?;
        let written = match format {
            CSV => Format::Csv,
            GEO_JSON => Format::GeoJson,
            _ => Format::Json,
        };
        let page = rows::list(db, dataset, &query, written, time).await.map_err(unlisted)?;
        let link = page.next.as_deref().map(|cursor| page::next_link(uri, cursor));
        Ok(match format {
            CSV => List::Csv(Binary(page.csv().into_bytes()), link),
            NDJSON => List::Ndjson(Binary(page.ndjson().into_bytes()), link),
            GEO_JSON => List::GeoJson(JsonText::new(page.geo_json().into()), link),
            _ => {
                let counts = preference(prefer.as_deref(), "count") == Some("exact");
                let count =
                    if counts { Some(rows::count(db, dataset, &query.filter, time).await?) } else { None };
                let applied = counts.then(|| "count=exact".to_owned());
                List::Json(JsonText::new(page.json(count).into()), link, applied)
            }
        })
    }

    async fn create(
        &self,
        dataset: &Dataset,
        body: &[u8],
        returns: Return,
        first: &First,
    ) -> Result<Answer, Attempt<CreateRefusal>> {
        let (id, values) = read_body(dataset, Given::Whole, body)?;
        let related = related(&self.context, dataset).await?;
        let failed = |error| failed(dataset, "", error);
        let mut write = Write::begin(&self.context.db, dataset, &related).await.map_err(failed)?;
        let (id, row) = write.create(&values, id.as_deref()).await.map_err(failed)?;
        let location = format!("/datasets/{}/rows/{id}", dataset.name.as_str());
        let answer = idempotency::render(Created::new(row, location, returns)).await?;
        let keep = Duration::from_secs(self.context.config.server.idempotency_seconds);
        first.save(write.transaction(), &answer, keep).await?;
        write.commit().await?;
        Ok(answer)
    }
}

fn unlisted(error: ListError) -> Attempt<ReadRefusal> {
    match error {
        ListError::Database(error) => error.into(),
        error @ ListError::NotWritable { .. } => NotAcceptable::new(error.to_string()).into(),
    }
}
