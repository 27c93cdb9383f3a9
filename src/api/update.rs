//! `/update`: changes an airport at once, or prepares the change and gives a confirmation link.

use poem_openapi::{
    OpenApi,
    param::{Header, Query},
    registry::MetaSchema,
};
use serde_json::{Value as Json, json};

use super::{
    Context, Tag,
    access::MayWrite,
    airports::{AirportPatch, ChangeRefusal, Changed, ColumnParameters, change, existing},
    body::{self, FromJson, MergePatch},
    confirm::{self, Prepared, PreparedHead},
    precondition::IfMatch,
    problem::{Invalid, NotFound, Violation},
    schema,
};
use crate::{
    db::{airports, pending_changes::Action},
    refusal,
};

/// See the module.
pub(super) struct Update {
    /// What handlers work with.
    pub(super) context: Context,
}

/// Which airport, and what changes.
#[derive(Debug, Default)]
struct IdentifiedPatch {
    id: i64,
    patch: AirportPatch,
}

schema::object!(IdentifiedPatch, "IdentifiedAirportPatch", identified_patch_schema);

fn identified_patch_schema() -> MetaSchema {
    let mut schema = AirportPatch::schema();
    let id = schema::property(MetaSchema::new_with_format("integer", "int64"), "The airport");
    schema.properties.insert(0, ("id", id));
    schema.required = vec!["id"];
    schema.example = Some(json!({ "id": 1, "name": "Keflavík International Airport" }));
    schema
}

impl FromJson for IdentifiedPatch {
    fn from_json(json: &Json, faults: &mut Vec<Violation>) -> Option<Self> {
        let object = body::object(json, faults)?;
        body::refuse_unknown_fields(object, |name| name == "id" || AirportPatch::knows(name), faults);
        let id = object.get("id").and_then(Json::as_i64);
        if id.is_none() {
            faults.push(Violation::at("/id", "not_an_integer", "id must be the airport's, a whole number"));
        }
        Some(Self { id: id.unwrap_or_default(), patch: AirportPatch::of_known_fields(object, faults) })
    }
}

refusal!(
    /// Why no change is prepared.
    PrepareRefusal: Invalid, NotFound
);

#[OpenApi]
impl Update {
    /// Change an airport
    ///
    /// The body names the airport and the fields to change; null empties a field.
    #[oai(path = "/update", method = "patch", operation_id = "update", tag = Tag::Airports)]
    async fn update(
        &self,
        _caller: MayWrite,
        /// The versions the change may start from, else 412.
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
        /// `return=minimal` leaves the body out.
        #[oai(name = "Prefer")]
        prefer: Header<Option<String>>,
        body: MergePatch<IdentifiedPatch>,
    ) -> Result<Changed, ChangeRefusal> {
        let IdentifiedPatch { id, patch } = body.0;
        let airport =
            change(&self.context, id, &IfMatch::new(if_match.0), |fields| patch.apply(fields)).await?;
        Ok(Changed::new(airport, prefer.as_deref()))
    }

    /// Prepare a change
    ///
    /// Nothing is changed until the link in the answer is confirmed. An empty parameter empties its field.
    #[oai(path = "/update", method = "get", operation_id = "prepare_update", tag = Tag::Airports)]
    async fn prepare_update(
        &self,
        _caller: MayWrite,
        /// The airport.
        id: Query<i64>,
        parameters: ColumnParameters,
    ) -> Result<Prepared, PrepareRefusal> {
        let fields = parameters.given()?;
        existing(airports::find(&self.context.db, id.0).await?, id.0)?;
        Ok(confirm::prepare(&self.context, (Action::Update, Some(id.0)), fields).await?)
    }

    /// Whether the change could be prepared
    ///
    /// Prepares nothing.
    #[oai(path = "/update", method = "head", operation_id = "check_update", tag = Tag::Airports)]
    async fn check_update(
        &self,
        _caller: MayWrite,
        /// The airport.
        id: Query<i64>,
        parameters: ColumnParameters,
    ) -> Result<PreparedHead, PrepareRefusal> {
        parameters.given()?;
        existing(airports::find(&self.context.db, id.0).await?, id.0)?;
        Ok(confirm::nothing_prepared())
    }
}
