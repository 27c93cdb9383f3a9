//! `/airports/{id}`: one airport.

use poem_openapi::{
    ApiResponse, OpenApi,
    param::{Header, Path, Query},
};

use super::{
    change::{ChangeRefusal, Changed, change, delete_softly, existing, purge, restore},
    fields::{AirportBody, AirportPatch, NewAirport},
};
use crate::{
    api::{
        Context, Tag,
        access::{MayRead, MayWrite},
        body::{Json, JsonBody, MergePatch},
        precondition::{IfMatch, etag, has_version},
        problem::NotFound,
    },
    db::airports,
    refusal,
};

/// See the module.
pub(in crate::api) struct AirportItem {
    /// What handlers work with.
    pub(in crate::api) context: Context,
}

#[derive(ApiResponse)]
enum Read {
    /// The airport
    #[oai(status = 200)]
    Airport(
        Json<AirportBody>,
        /// Its version
        #[oai(header = "ETag")]
        String,
    ),
    /// The client has this version already
    #[oai(status = 304)]
    NotModified(
        /// Its version
        #[oai(header = "ETag")]
        String,
    ),
}

#[derive(ApiResponse)]
enum Deleted {
    /// It is deleted
    #[oai(status = 204)]
    Deleted,
}

#[derive(ApiResponse)]
enum Restored {
    /// The airport as it is now
    #[oai(status = 200)]
    Airport(
        Json<AirportBody>,
        /// Its version
        #[oai(header = "ETag")]
        String,
    ),
}

refusal!(
    /// Why an airport is not shown.
    ReadRefusal: NotFound
);

#[OpenApi]
impl AirportItem {
    /// One airport
    #[oai(path = "/airports/:id", method = "get", operation_id = "get_airport", tag = Tag::Airports)]
    async fn get_airport(
        &self,
        _caller: MayRead,
        /// The airport.
        id: Path<i64>,
        /// Versions the client has: answered 304 when one of them is the present one.
        #[oai(name = "If-None-Match")]
        if_none_match: Header<Option<String>>,
    ) -> Result<Read, ReadRefusal> {
        let airport = existing(airports::find(&self.context.db, id.0).await?, id.0)?;
        let etag = etag(airport.version);
        if has_version(if_none_match.as_deref(), airport.version) {
            return Ok(Read::NotModified(etag));
        }
        Ok(Read::Airport(Json(AirportBody::new(airport)), etag))
    }

    /// Replace an airport's fields
    ///
    /// A field that is not there becomes null. When nothing differs, the version stays.
    #[oai(path = "/airports/:id", method = "put", operation_id = "replace_airport", tag = Tag::Airports)]
    async fn replace_airport(
        &self,
        _caller: MayWrite,
        /// The airport.
        id: Path<i64>,
        /// The versions the change may start from, else 412.
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
        /// `return=minimal` leaves the body out.
        #[oai(name = "Prefer")]
        prefer: Header<Option<String>>,
        body: JsonBody<NewAirport>,
    ) -> Result<Changed, ChangeRefusal> {
        let NewAirport(fields) = body.value;
        let expected = IfMatch::new(if_match.0);
        let airport = change(&self.context, id.0, &expected, |present| *present = fields).await?;
        Ok(Changed::new(airport, prefer.as_deref()))
    }

    /// Change some of an airport's fields
    ///
    /// A merge patch (RFC 7396): what is not there stays, null empties. When nothing differs, the version stays.
    #[oai(path = "/airports/:id", method = "patch", operation_id = "patch_airport", tag = Tag::Airports)]
    async fn patch_airport(
        &self,
        _caller: MayWrite,
        /// The airport.
        id: Path<i64>,
        /// The versions the change may start from, else 412.
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
        /// `return=minimal` leaves the body out.
        #[oai(name = "Prefer")]
        prefer: Header<Option<String>>,
        body: MergePatch<AirportPatch>,
    ) -> Result<Changed, ChangeRefusal> {
        let expected = IfMatch::new(if_match.0);
        let airport = change(&self.context, id.0, &expected, |present| body.0.apply(present)).await?;
        Ok(Changed::new(airport, prefer.as_deref()))
    }

    /// Delete an airport
    ///
    /// It can be restored, and its codes are free for others; with `purge` the row is gone for good.
    #[oai(path = "/airports/:id", method = "delete", operation_id = "delete_airport", tag = Tag::Airports)]
    async fn delete_airport(
        &self,
        _caller: MayWrite,
        /// The airport.
        id: Path<i64>,
        /// Remove the row, of a deleted airport too.
        #[oai(name = "purge")]
        for_good: Query<Option<bool>>,
        /// The versions that may be deleted, else 412.
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
    ) -> Result<Deleted, ChangeRefusal> {
        let expected = IfMatch::new(if_match.0);
        if for_good.unwrap_or(false) {
            purge(&self.context, id.0, &expected).await?;
        } else {
            delete_softly(&self.context, id.0, &expected).await?;
        }
        Ok(Deleted::Deleted)
    }

    /// Restore a deleted airport
    ///
    /// One that is not deleted stays as it is. Answers 409 when its codes belong to others by now.
    #[oai(path = "/airports/:id/restore", method = "post", operation_id = "restore_airport", tag = Tag::Airports)]
    async fn restore_airport(
        &self,
        _caller: MayWrite,
        /// The airport.
        id: Path<i64>,
    ) -> Result<Restored, ChangeRefusal> {
        let airport = restore(&self.context, id.0).await?;
        let etag = etag(airport.version);
        Ok(Restored::Airport(Json(AirportBody::new(airport)), etag))
    }
}
