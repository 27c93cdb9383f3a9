//! What all ways to change an airport have in common.

use super::fields::{AirportBody, NewAirport};
use crate::{
    api::{
        Context,
        body::{Json, JsonBody},
        idempotency::{self, ClaimRefusal, Decision, Idempotency, Replayable, SaveRefusal},
        precondition::{IfMatch, etag},
        prefer::Return,
        problem::{Conflict, Internal, KeyReused, NotFound, PreconditionFailed, Violation},
    },
    db::airports::{Airport, Fields, HeldCode, Write, WriteError},
    refusal,
};
use poem_openapi::ApiResponse;

refusal!(
    /// Why an airport is not created.
    pub(in crate::api) CreateRefusal: Conflict
);

refusal!(
    /// Why an airport is not created by a request that may be repeated.
    pub(in crate::api) KeyedCreateRefusal: CreateRefusal, ClaimRefusal, KeyReused, SaveRefusal, Internal
);

refusal!(
    /// Why an airport is not changed.
    pub(in crate::api) ChangeRefusal: NotFound, Conflict, PreconditionFailed
);

impl From<WriteError> for CreateRefusal {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Held(codes) => conflict(&codes).into(),
            WriteError::Database(error) => error.into(),
        }
    }
}

impl From<WriteError> for KeyedCreateRefusal {
    fn from(error: WriteError) -> Self {
        CreateRefusal::from(error).into()
    }
}

impl From<WriteError> for ChangeRefusal {
    fn from(error: WriteError) -> Self {
        match error {
            WriteError::Held(codes) => conflict(&codes).into(),
            WriteError::Database(error) => error.into(),
        }
    }
}

fn conflict(codes: &[HeldCode]) -> Conflict {
    let held = |HeldCode { column, holder }: &HeldCode| {
        let holder = match holder {
            Some(id) => format!("the airport /airports/{id}"),
            None => "another airport".to_owned(),
        };
        Violation::at(format!("/{column}"), "code_held", format!("{column} is held by {holder}"))
    };
    let violations: Vec<_> = codes.iter().map(held).collect();
    let detail = violations.iter().map(|violation| violation.message.as_str()).collect::<Vec<_>>().join("; ");
    Conflict::because(detail, violations)
}

/// The refusal of an airport that is unknown or deleted.
pub(in crate::api) fn unknown(id: i64) -> NotFound {
    NotFound::new(format!("there is no airport {id}"))
}

/// The airport, unless it is deleted.
pub(in crate::api) fn existing(airport: Option<Airport>, id: i64) -> Result<Airport, NotFound> {
    airport.filter(|airport| airport.deleted_at.is_none()).ok_or_else(|| unknown(id))
}

/// The answer to the creation of an airport.
#[derive(ApiResponse)]
pub(in crate::api) enum Created {
    /// The airport as it was created; with `Prefer: return=minimal` the headers alone
    #[oai(status = 201)]
    Full(
        Json<AirportBody>,
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
    fn new(airport: Airport, returns: Return) -> Self {
        let location = format!("/airports/{}", airport.id);
        let etag = etag(airport.version);
        match returns {
            Return::Minimal => Self::Minimal(location, etag, returns.applied()),
            Return::Representation { .. } => {
                Self::Full(Json(AirportBody::new(airport)), location, etag, returns.applied())
            }
        }
    }
}

/// The answer to a change of an airport.
#[derive(ApiResponse)]
pub(in crate::api) enum Changed {
    /// The airport as it is now
    #[oai(status = 200)]
    Airport(
        Json<AirportBody>,
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
    pub(in crate::api) fn new(airport: Airport, prefer: Option<&str>) -> Self {
        let etag = etag(airport.version);
        let returns = Return::of(prefer);
        match returns {
            Return::Minimal => Self::Minimal(etag, returns.applied()),
            Return::Representation { .. } => {
                Self::Airport(Json(AirportBody::new(airport)), etag, returns.applied())
            }
        }
    }
}

/// Creates the airport of a request that may be repeated under its `Idempotency-Key`.
pub(in crate::api) async fn keyed_create(
    context: &Context,
    key: Idempotency,
    body: JsonBody<NewAirport>,
    returns: Return,
) -> Result<Replayable<Created>, KeyedCreateRefusal> {
    let claim = key.claim(&context.db).await?;
    let first = match claim.decide_by_body(&body.bytes)? {
        Decision::Repeated(answer) => return Ok(Replayable::again(answer)),
        Decision::First(first) => first,
    };
    let write = Write::begin(&context.db).await?;
    let NewAirport(fields) = body.value;
    let airport = write.create(fields).await?;
    let answer = idempotency::render(Created::new(airport, returns)).await?;
    let keep = std::time::Duration::from_secs(context.config.server.idempotency_seconds);
    first.save_orm(write.transaction(), &answer, keep).await?;
    write.commit().await?;
    Ok(Replayable::first(answer))
}

/// Changes the fields of an airport that is there and has one of the expected versions.
pub(in crate::api) async fn change(
    context: &Context,
    id: i64,
    expected: &IfMatch,
    change: impl FnOnce(&mut Fields),
) -> Result<Airport, ChangeRefusal> {
    let write = Write::begin(&context.db).await?;
    let airport = existing(write.lock(id).await?, id)?;
    expected.check(airport.version)?;
    let mut fields = Fields::from(&airport);
    change(&mut fields);
    let airport = write.update(airport, fields).await?;
    write.commit().await?;
    Ok(airport)
}

/// Sets the deleted flag.
pub(in crate::api) async fn delete_softly(
    context: &Context,
    id: i64,
    expected: &IfMatch,
) -> Result<Airport, ChangeRefusal> {
    let write = Write::begin(&context.db).await?;
    let airport = existing(write.lock(id).await?, id)?;
    expected.check(airport.version)?;
    let airport = write.delete(airport).await?;
    write.commit().await?;
    Ok(airport)
}

/// Removes the row, of a deleted airport too.
pub(in crate::api) async fn purge(
    context: &Context,
    id: i64,
    expected: &IfMatch,
) -> Result<(), ChangeRefusal> {
    let write = Write::begin(&context.db).await?;
    let airport = write.lock(id).await?.ok_or_else(|| unknown(id))?;
    expected.check(airport.version)?;
    write.purge(airport).await?;
    write.commit().await?;
    Ok(())
}

/// Takes the deleted flag back.
pub(in crate::api) async fn restore(context: &Context, id: i64) -> Result<Airport, ChangeRefusal> {
    let write = Write::begin(&context.db).await?;
    let airport = write.lock(id).await?.ok_or_else(|| unknown(id))?;
    let airport = write.restore(airport).await?;
    write.commit().await?;
    Ok(airport)
}
