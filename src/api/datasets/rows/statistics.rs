//! `/datasets/{name}/statistics`: groups of rows, and what is told of each.

use std::sync::Arc;

use poem::http::HeaderMap;
use poem_openapi::{ApiResponse, OpenApi, param::Path, payload::Binary};

use super::{
    Asked, Attempt, CSV, GEO_JSON, ReadRefusal, attempt,
    body::{StatisticsBody, StatisticsFeatures},
    declared,
    query::RowParameters,
    readable, statement_time,
};
use crate::{
    api::{
        Context, Tag,
        access::{OptionalCaller, ReadsDataset, Target},
        body,
        negotiate::Accepted,
        problem::{Internal, Invalid},
        stream::JsonText,
    },
    datasets::{Dataset, query::Statistics},
    db::rows::{StatisticsError, statistics},
};

/// See the module.
pub(in crate::api) struct DatasetStatistics {
    /// What handlers work with.
    pub(in crate::api) context: Context,
}

#[derive(ApiResponse)]
enum StatisticsAnswer {
    /// The groups, each with its measures
    #[oai(status = 200)]
    Json(JsonText<StatisticsBody>),
    /// A record for each group, null as the empty field
    #[oai(status = 200, content_type = "text/csv")]
    Csv(Binary<Vec<u8>>),
    /// As GeoJSON (RFC 7946), where a point is grouped
    #[oai(status = 200, content_type = "application/geo+json")]
    GeoJson(JsonText<StatisticsFeatures>),
}

#[OpenApi(tag = "Tag::Datasets")]
impl DatasetStatistics {
    /// Statistics of rows
    ///
    /// The rows that the filters leave, put together by up to 4 things, with up to 16 measures of each group; at most 10,000 groups. Null is a
    /// group.
    #[expect(clippy::too_many_arguments, reason = "each is a part of the request")]
    #[oai(path = "/datasets/:name/statistics", method = "get", operation_id = "get_statistics")]
    async fn get_statistics(
        &self,
        _caller: ReadsDataset,
        /// The dataset.
        name: Path<String>,
        caller: OptionalCaller,
        target: Target,
        parameters: RowParameters,
        headers: &HeaderMap,
        accepted: Accepted,
    ) -> Result<StatisticsAnswer, ReadRefusal> {
        let dataset = declared(target, &name)?;
        let asked = Asked { parameters, caller: caller.0, headers, accepted: accepted.0 };
        attempt!(self.context, dataset, self.compute(&dataset, &asked))
    }

    async fn compute(
        &self,
        dataset: &Arc<Dataset>,
        asked: &Asked<'_>,
    ) -> Result<StatisticsAnswer, Attempt<ReadRefusal>> {
        let readable = readable(&self.context, asked.caller.as_ref(), dataset).await?;
        let query = asked.read(&self.context, dataset, &readable, Statistics::read)?;
        asked.check(dataset, &query.filter)?;
        let format = asked.format(query.place(dataset).is_some(), &[body::JSON, CSV])?;
        let (today, time) = (self.context.clock.now().date_naive(), statement_time(&self.context));
        let grouped = statistics(&self.context.db, dataset, &query, today, time).await.map_err(uncounted)?;
        Ok(match (format, grouped.geo_json()) {
            (CSV, _) => StatisticsAnswer::Csv(Binary(grouped.csv().map_err(Internal::because)?.into_bytes())),
            (GEO_JSON, Some(features)) => StatisticsAnswer::GeoJson(JsonText::new(features.into())),
            _ => StatisticsAnswer::Json(JsonText::new(grouped.json().into())),
        })
    }
}

fn uncounted(error: StatisticsError) -> Attempt<ReadRefusal> {
    match error {
        StatisticsError::Database(error) => error.into(),
        StatisticsError::TooManyGroups => {
            let message = format!("{error}; group by less, or by wider bands");
            Invalid::parameter("by", "too_many_groups", message).into()
        }
    }
}
