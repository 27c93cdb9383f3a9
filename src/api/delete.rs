//! `/delete`: removes an airport for good, or sets its deleted flag.

use poem_openapi::{ApiResponse, OpenApi, param::Query};

use super::{
    Context, Tag,
    access::MayWrite,
    airports::{AirportBody, ChangeRefusal, delete_softly, existing, purge},
    body::Json,
    confirm::NO_STORE,
    precondition::IfMatch,
    problem::NotFound,
};
use crate::{db::airports, refusal};

/// See the module.
pub(super) struct Delete {
    /// What handlers work with.
    pub(super) context: Context,
}

#[derive(ApiResponse)]
enum Removed {
    /// It is gone
    #[oai(status = 204)]
    Removed,
}

#[derive(ApiResponse)]
enum Flagged {
    /// The airport, with the time of its deletion
    #[oai(status = 200)]
    Flagged(
        Json<AirportBody>,
        /// `no-store`
        #[oai(header = "Cache-Control")]
        String,
    ),
}

#[derive(ApiResponse)]
enum FlaggedHead {
    /// It could be deleted
    #[oai(status = 200)]
    Possible(
        /// `no-store`
        #[oai(header = "Cache-Control")]
        String,
    ),
}

refusal!(
    /// Why an airport could not be deleted.
    CheckRefusal: NotFound
);

#[OpenApi]
impl Delete {
    /// Remove an airport for good
    #[oai(path = "/delete", method = "delete", operation_id = "delete", tag = Tag::Airports)]
    async fn delete(
        &self,
        _caller: MayWrite,
        /// The airport; a deleted one too.
        id: Query<i64>,
    ) -> Result<Removed, ChangeRefusal> {
        purge(&self.context, id.0, &IfMatch::new(None)).await?;
        Ok(Removed::Removed)
    }

    /// Delete an airport so that it can be restored
    ///
    /// Sets the deleted flag at once, although it is a GET. `POST /airports/{id}/restore` takes it back.
    #[oai(path = "/delete", method = "get", operation_id = "delete_by_get", tag = Tag::Airports)]
    async fn delete_by_get(
        &self,
        _caller: MayWrite,
        /// The airport.
        id: Query<i64>,
    ) -> Result<Flagged, ChangeRefusal> {
        let airport = delete_softly(&self.context, id.0, &IfMatch::new(None)).await?;
        Ok(Flagged::Flagged(Json(AirportBody::new(airport)), NO_STORE.to_owned()))
    }

    /// Whether an airport could be deleted
    ///
    /// Deletes nothing.
    #[oai(path = "/delete", method = "head", operation_id = "check_delete", tag = Tag::Airports)]
    async fn check_delete(
        &self,
        _caller: MayWrite,
        /// The airport.
        id: Query<i64>,
    ) -> Result<FlaggedHead, CheckRefusal> {
        existing(airports::find(&self.context.db, id.0).await?, id.0)?;
        Ok(FlaggedHead::Possible(NO_STORE.to_owned()))
    }
}
