//! `/imports/{id}/towns`: statistics of an import's citizens by town.

mod demand;
mod features;
mod percentile;

use poem_openapi::{
    OpenApi,
    param::{Path, Query},
};

use self::{demand::DemandAnswer, percentile::PercentilesAnswer};
use super::{Context, Tag, access::MayRead, citizens::ListRefusal, limits::Share, negotiate::Accepted};

/// RFC 7946.
const GEO_JSON: &str = "application/geo+json";

/// See the module.
pub(super) struct Towns {
    /// What it works with.
    pub(super) context: Context,
}

#[OpenApi(tag = "Tag::Citizens")]
impl Towns {
    /// Percentiles of age by town
    ///
    /// Full years today in UTC; between two ages linear, as numpy's `percentile` has it.
    #[oai(
        path = "/imports/:id/towns/stat/percentile/age",
        method = "get",
        operation_id = "get_age_percentiles"
    )]
    async fn get_age_percentiles(
        &self,
        _caller: MayRead,
        /// Number of the import
        Path(id): Path<i64>,
        accepted: Accepted,
        share: Share,
    ) -> Result<PercentilesAnswer, ListRefusal> {
        let snapshot = self.context.snapshot(id, &share).await?;
        percentile::answer(&self.context, snapshot, accepted.0).await
    }

    /// Who will ask for courses: citizens, and presents they buy in a year, by town, age group and channel
    #[oai(path = "/imports/:id/towns/stat/demand", method = "get", operation_id = "get_demand")]
    async fn get_demand(
        &self,
        _caller: MayRead,
        /// Number of the import
        Path(id): Path<i64>,
        /// The ages at which groups begin, ascending, with commas between them; `18,25,35,45,60` unless given
        Query(age_groups): Query<Option<String>>,
        accepted: Accepted,
        share: Share,
    ) -> Result<DemandAnswer, ListRefusal> {
        let bounds = demand::bounds(age_groups.as_deref())?;
        let snapshot = self.context.snapshot(id, &share).await?;
        demand::answer(&self.context, snapshot, bounds, accepted.0).await
    }
}
