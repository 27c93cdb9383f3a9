//! `Idempotency-Key`: a repeated request gets the first one's answer.
//!
//! 1. [`Idempotency`] takes the key from the request; [`Idempotency::claim`] holds it, or answers 409 while
//!    an earlier request does.
//! 2. When the body is known, [`Claim::decide`] says whether this is the first request, a repetition to be
//!    replayed, or another one under the same key (422).
//! 3. The first request saves its answer in the transaction that does the work ([`First::save`]), so there is never
//!    one without the other. Dropped without it, the key is free again; only success is kept.
//!
//! Keys are freed by a task when their guard is dropped; [`settled`] lets that end before the request is answered, so
//! that a client told of a failure can try again at once.

use std::{
    marker::PhantomData,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use poem::{
    IntoResponse, Request, RequestBody, Response,
    http::{HeaderName, HeaderValue, StatusCode},
};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ApiResponse, ExtractParamOptions,
    registry::{MetaHeader, MetaParamIn, MetaResponses, MetaSchema, MetaSchemaRef, Registry},
};
use sea_orm::ConnectionTrait;
use sha2::{Digest, Sha256};
use sqlx::PgConnection;
use tokio::task::JoinHandle;
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::Instrument;

use super::{
    access::Caller,
    problem::{Conflict, Internal, Invalid, KeyReused},
};
use crate::{
    db::{
        Db,
        idempotency::{self, Answer, Hold},
        owners::Owner,
    },
    refusal,
};

/// Whose keys those are that come without an API key.
const ANONYMOUS: &str = "anonymous";

/// The longest key, characters.
const KEY_CHARS: usize = 255;

/// How long a request that went silent holds its key.
const LEASE: Duration = Duration::from_secs(30);

const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

refusal!(
    /// A key that cannot be had.
    pub(crate) ClaimRefusal: Conflict
);

refusal!(
    /// An answer that cannot be kept: the work must be rolled back.
    pub(crate) SaveRefusal: Conflict, Internal
);

/// The request's `Idempotency-Key`, and what of the request is known before its body.
pub(crate) struct Idempotency {
    client: String,
    key: Option<String>,
    owner: Option<Owner>,
    request: Sha256,
}

impl<'a> ApiExtractor<'a> for Idempotency {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::Parameter];
    type ParamType = ();
    type ParamRawType = ();

    fn param_in() -> Option<MetaParamIn> {
        Some(MetaParamIn::Header)
    }

    fn param_schema_ref() -> Option<MetaSchemaRef> {
        Some(MetaSchemaRef::Inline(Box::new(MetaSchema {
            min_length: Some(1),
            max_length: Some(KEY_CHARS),
            ..MetaSchema::new("string")
        })))
    }

    async fn from_request(
        request: &'a Request,
        _body: &mut RequestBody,
        options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let key = match request.headers().get(options.name).map(HeaderValue::to_str) {
            None => None,
            Some(Ok(key)) if (1..=KEY_CHARS).contains(&key.len()) => Some(key.to_owned()),
            Some(_) => {
                let message = format!("{} must be 1 to {KEY_CHARS} printable characters", options.name);
                return Err(Invalid::parameter(options.name, "length", message).into());
            }
        };
        let owner = request.data::<Caller>().map(Caller::owner);
        let client = owner.map_or_else(|| ANONYMOUS.to_owned(), |owner| format!("key {}", owner.key_id));
        let target = request.original_uri().path_and_query().map_or("", |target| target.as_str());
        let request = Sha256::new().chain_update(format!("{} {target}\n", request.method()));
        Ok(Self { client, key, owner, request })
    }
}

impl Idempotency {
    /// The owner of what the request uploads.
    pub(crate) fn owner(&self) -> Option<Owner> {
        self.owner
    }

    /// Holds the key, when there is one.
    pub(crate) async fn claim(self, db: &Db) -> Result<Claim, ClaimRefusal> {
        let Some(key) = self.key else {
            return Ok(Claim { state: State::Unkeyed, request: self.request });
        };
        let hold = Hold { client: self.client, key, holder: uuid::Uuid::now_v7().to_string() };
        let state = match idempotency::claim(db, &hold, LEASE).await? {
            idempotency::Claim::Granted => State::Held(Held::new(db.clone(), hold)),
            idempotency::Claim::Answered { fingerprint, answer } => State::Answered { fingerprint, answer },
            idempotency::Claim::Running => {
                return Err(Conflict::new("a request with this Idempotency-Key is still running").into());
            }
        };
        Ok(Claim { state, request: self.request })
    }
}

/// A key that was claimed, before the body is known.
pub(crate) struct Claim {
    state: State,
    request: Sha256,
}

enum State {
    Unkeyed,
    Held(Held),
    Answered { fingerprint: Vec<u8>, answer: Answer },
}

/// What to do with the request.
pub(crate) enum Decision {
    /// Do it.
    First(First),
    /// Answer as before.
    Repeated(Answer),
}

impl Claim {
    /// Decides by the SHA-256 of the body.
    pub(crate) fn decide(self, body_sha256: &[u8]) -> Result<Decision, KeyReused> {
        let request = self.request.chain_update(body_sha256).finalize().to_vec();
        match self.state {
            State::Unkeyed => Ok(Decision::First(First { held: None, fingerprint: request })),
            State::Held(held) => Ok(Decision::First(First { held: Some(held), fingerprint: request })),
            State::Answered { fingerprint, answer } if fingerprint == request => {
                Ok(Decision::Repeated(answer))
            }
            State::Answered { .. } => Err(KeyReused::new(
                "this Idempotency-Key was used for a request with another path, query or body",
            )),
        }
    }

    /// [`Claim::decide`] for a body that is in memory.
    pub(crate) fn decide_by_body(self, body: &[u8]) -> Result<Decision, KeyReused> {
        self.decide(&Sha256::digest(body))
    }
}

/// The first request with its key, or one without.
pub(crate) struct First {
    held: Option<Held>,
    fingerprint: Vec<u8>,
}

impl First {
    /// Keeps the answer for `keep`, within the transaction that does the work. Drop `self` after the commit.
    pub(crate) async fn save(
        &self,
        transaction: &mut PgConnection,
        answer: &Answer,
        keep: Duration,
    ) -> Result<(), SaveRefusal> {
        let Some(held) = &self.held else { return Ok(()) };
        still_held(idempotency::save(transaction, &held.hold, &self.fingerprint, answer, keep).await?)
    }

    /// [`First::save`] in a transaction of sea-orm's.
    pub(crate) async fn save_orm(
        &self,
        transaction: &impl ConnectionTrait,
        answer: &Answer,
        keep: Duration,
    ) -> Result<(), SaveRefusal> {
        let Some(held) = &self.held else { return Ok(()) };
        still_held(idempotency::save_orm(transaction, &held.hold, &self.fingerprint, answer, keep).await?)
    }
}

fn still_held(held: bool) -> Result<(), SaveRefusal> {
    if held {
        Ok(())
    } else {
        Err(Conflict::new("another request has taken over this Idempotency-Key").into())
    }
}

/// Keeps the hold alive, and lets go of it when dropped.
struct Held {
    db: Db,
    hold: Hold,
    _alive: DropGuard,
}

impl Held {
    fn new(db: Db, hold: Hold) -> Self {
        let stop = CancellationToken::new();
        let alive = keep_alive(db.clone(), hold.clone()).in_current_span();
        tokio::spawn(stop.clone().run_until_cancelled_owned(alive));
        Self { db, hold, _alive: stop.drop_guard() }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let (db, hold) = (self.db.clone(), self.hold.clone());
        // Harmless when the answer was kept: only a key without one is freed. Should this fail, the lease runs out.
        let release = async move {
            if let Err(error) = idempotency::release(&db, &hold).await {
                tracing::warn!(error = %error, "an idempotency key stays held until its lease runs out");
            }
        };
        let release = tokio::spawn(release.in_current_span());
        // Outside of a handler nobody waits for it.
        let _ = RELEASES.try_with(|releases| releases.add(release));
    }
}

tokio::task_local! {
    static RELEASES: Releases;
}

/// The tasks that free the keys of one request.
#[derive(Debug, Clone, Default)]
struct Releases(Arc<Mutex<Vec<JoinHandle<()>>>>);

impl Releases {
    fn add(&self, release: JoinHandle<()>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(release);
    }

    fn take(&self) -> Vec<JoinHandle<()>> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What the handler gives, when the keys it has let go of are free.
pub(super) async fn settled<T>(handler: impl Future<Output = T>) -> T {
    let releases = Releases::default();
    let output = RELEASES.scope(releases.clone(), handler).await;
    for release in releases.take() {
        // It panics only when the runtime is shutting down, and then nobody waits for the key.
        let _ = release.await;
    }
    output
}

async fn keep_alive(db: Db, hold: Hold) {
    loop {
        tokio::time::sleep(LEASE / 3).await;
        match idempotency::extend(&db, &hold, LEASE).await {
            Ok(true) => {}
            Ok(false) => return,
            Err(error) => tracing::warn!(error = %error, "cannot extend the hold of an idempotency key"),
        }
    }
}

/// Renders an answer so that it can be kept and sent again.
pub(crate) async fn render(answer: impl IntoResponse) -> Result<Answer, Internal> {
    let (parts, body) = answer.into_response().into_parts();
    let mut headers = serde_json::Map::new();
    for (name, value) in &parts.headers {
        headers.insert(name.to_string(), value.to_str().map_err(Internal::because)?.into());
    }
    let body = body.into_vec().await.map_err(Internal::because)?;
    Ok(Answer { status: parts.status.as_u16(), headers: headers.into(), body })
}

/// An answer of type `T` that may be a repeated one.
pub(crate) struct Replayable<T> {
    answer: Answer,
    replayed: bool,
    answers: PhantomData<fn() -> T>,
}

impl<T> Replayable<T> {
    /// The answer to the first request.
    pub(crate) fn first(answer: Answer) -> Self {
        Self { answer, replayed: false, answers: PhantomData }
    }

    /// The same answer again.
    pub(crate) fn again(answer: Answer) -> Self {
        Self { answer, replayed: true, answers: PhantomData }
    }
}

impl<A> Replayable<A> {
    /// As an answer of an operation that has others too.
    pub(crate) fn or<B>(self) -> Replayable<OneOf<A, B>> {
        Replayable { answer: self.answer, replayed: self.replayed, answers: PhantomData }
    }
}

impl<B> Replayable<B> {
    /// [`Replayable::or`] from the other side.
    pub(crate) fn other<A>(self) -> Replayable<OneOf<A, B>> {
        Replayable { answer: self.answer, replayed: self.replayed, answers: PhantomData }
    }
}

/// The answers of `A` and those of `B`, for the document.
pub(crate) struct OneOf<A, B>(PhantomData<fn() -> (A, B)>);

impl<A: ApiResponse, B: ApiResponse> ApiResponse for OneOf<A, B> {
    fn meta() -> MetaResponses {
        let mut meta = A::meta();
        meta.responses.extend(B::meta().responses);
        meta
    }

    fn register(registry: &mut Registry) {
        A::register(registry);
        B::register(registry);
    }
}

impl<T> IntoResponse for Replayable<T> {
    fn into_response(self) -> Response {
        let mut response = Response::builder()
            .status(StatusCode::from_u16(self.answer.status).unwrap_or(StatusCode::OK))
            .body(self.answer.body);
        for (name, value) in self.answer.headers.as_object().into_iter().flatten() {
            let name = HeaderName::from_bytes(name.as_bytes());
            let value = HeaderValue::from_str(value.as_str().unwrap_or_default());
            if let (Ok(name), Ok(value)) = (name, value) {
                response.headers_mut().insert(name, value);
            }
        }
        if self.replayed {
            response.headers_mut().insert(REPLAYED, HeaderValue::from_static("true"));
        }
        response
    }
}

impl<T: ApiResponse> ApiResponse for Replayable<T> {
    fn meta() -> MetaResponses {
        let mut meta = T::meta();
        for response in &mut meta.responses {
            response.headers.push(MetaHeader {
                name: "Idempotent-Replayed".to_owned(),
                description: Some("`true` on the answer to a repeated request".to_owned()),
                required: false,
                deprecated: false,
                schema: MetaSchemaRef::Inline(Box::new(MetaSchema::new("string"))),
            });
        }
        meta
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}
