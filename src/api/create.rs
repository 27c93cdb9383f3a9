//! `/create`: creates an airport at once, or prepares one and gives a confirmation link.

use poem_openapi::{OpenApi, param::Header};

use super::{
    Context, Tag,
    access::MayWrite,
    airports::{ColumnParameters, Created, KeyedCreateRefusal, NewAirport, keyed_create},
    body::JsonBody,
    confirm::{self, Prepared, PreparedHead},
    idempotency::{Idempotency, Replayable},
    prefer::Return,
    problem::Invalid,
};
use crate::{db::pending_changes::Action, refusal};

/// See the module.
pub(super) struct Create {
    /// What handlers work with.
    pub(super) context: Context,
}

refusal!(
    /// Why no airport is prepared.
    PrepareRefusal: Invalid
);

#[OpenApi]
impl Create {
    /// Create an airport
    #[oai(path = "/create", method = "put", operation_id = "create", tag = Tag::Airports)]
    async fn create(
        &self,
        _caller: MayWrite,
        /// Makes it safe to send the request again: the same key and body get the first answer.
        #[oai(name = "Idempotency-Key")]
        key: Idempotency,
        /// `return=minimal` leaves the body out.
        #[oai(name = "Prefer")]
        prefer: Header<Option<String>>,
        body: JsonBody<NewAirport>,
    ) -> Result<Replayable<Created>, KeyedCreateRefusal> {
        keyed_create(&self.context, key, body, Return::of(prefer.as_deref())).await
    }

    /// Prepare an airport
    ///
    /// Nothing is created until the link in the answer is confirmed.
    #[oai(path = "/create", method = "get", operation_id = "prepare_create", tag = Tag::Airports)]
    async fn prepare_create(
        &self,
        _caller: MayWrite,
        parameters: ColumnParameters,
    ) -> Result<Prepared, PrepareRefusal> {
        let fields = parameters.all()?;
        Ok(confirm::prepare(&self.context, (Action::Create, None), fields).await?)
    }

    /// Whether the airport could be prepared
    ///
    /// Prepares nothing.
    #[oai(path = "/create", method = "head", operation_id = "check_create", tag = Tag::Airports)]
    async fn check_create(
        &self,
        _caller: MayWrite,
        parameters: ColumnParameters,
    ) -> Result<PreparedHead, PrepareRefusal> {
        parameters.all()?;
        Ok(confirm::nothing_prepared())
    }
}
