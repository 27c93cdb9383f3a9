//! `/datasets/{name}/facets`: the values of columns with how often they are there.

use std::sync::Arc;

use poem::http::HeaderMap;
use poem_openapi::{ApiResponse, OpenApi, param::Path};

use super::{
    Asked, Attempt, ReadRefusal, attempt, body::FacetsBody, declared, query::RowParameters, readable,
    statement_time,
};
use crate::{
    api::{
        Context, Tag,
        access::{OptionalCaller, ReadsDataset, Target},
        body,
        stream::JsonText,
    },
    datasets::{Dataset, query::Facets},
    db::rows::{Facet, facets},
};

/// See the module.
pub(in crate::api) struct DatasetFacets {
    /// What handlers work with.
    pub(in crate::api) context: Context,
}

#[derive(ApiResponse)]
enum FacetsAnswer {
    /// The values of each column with their counts
    #[oai(status = 200)]
    Facets(JsonText<FacetsBody>),
}

#[OpenApi(tag = "Tag::Datasets")]
impl DatasetFacets {
    /// Count the values of columns
    ///
    /// Of up to 4 columns each value with the number of rows that have it, the most frequent first, at most 1,000. Null is a value.
    #[oai(path = "/datasets/:name/facets", method = "get", operation_id = "get_facets")]
    async fn get_facets(
        &self,
        _caller: ReadsDataset,
        /// The dataset.
        name: Path<String>,
        caller: OptionalCaller,
        target: Target,
        parameters: RowParameters,
        headers: &HeaderMap,
    ) -> Result<FacetsAnswer, ReadRefusal> {
        let dataset = declared(target, &name)?;
        let asked = Asked { parameters, caller: caller.0, headers, accepted: body::JSON };
        attempt!(self.context, dataset, self.count(&dataset, &asked))
    }

    async fn count(
        &self,
        dataset: &Arc<Dataset>,
        asked: &Asked<'_>,
    ) -> Result<FacetsAnswer, Attempt<ReadRefusal>> {
        let readable = readable(&self.context, asked.caller.as_ref(), dataset).await?;
        let query = asked.read(&self.context, dataset, &readable, Facets::read)?;
        asked.check(dataset, &query.filter)?;
        let counted = facets(&self.context.db, dataset, &query, statement_time(&self.context)).await?;
        Ok(FacetsAnswer::Facets(JsonText::new(Facet::json(&counted).into())))
    }
}
