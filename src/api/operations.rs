//! What every operation has in common, derived from what the document says about it: the statuses anyone can be
//! answered with, keys, limits, `HEAD` and `OPTIONS`, `Allow`, unknown parameters, negotiation, the time limit.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use poem::{
    Endpoint, EndpointExt, Request, Response,
    endpoint::{BoxEndpoint, make_sync},
    http::{HeaderValue, Method, StatusCode, header},
};
use poem_openapi::{
    OpenApi,
    registry::{MetaApi, MetaOperation, MetaParamIn, MetaPath, MetaResponse, MetaSchemaRef, Registry},
};

use super::{
    access::{self, Caller, Gate, Otherwise},
    digest,
    expected::Expected,
    framework_errors, idempotency,
    limits::{Identity, Limiter, Share},
    negotiate,
    problem::{self, Invalid, Kind, NotAcceptable, Problem, TooSlow, Unavailable, Violation},
    traffic::Held,
};
use crate::{
    auth::{keys::Scope, scopes::Action},
    text::cut,
};

/// Resources, with all that their operations have in common.
///
/// `HEAD` runs the path's `GET` and leaves the body out, so a `GET` that acts must bring a `HEAD` of its own that
/// does not. An `OPTIONS` of its own is kept too; it gets its `Allow` here.
pub(super) struct Completed<T> {
    /// The resources.
    pub(super) resources: T,
    /// Who gets through to them.
    pub(super) gate: Gate,
    /// How many requests, and how large.
    pub(super) limiter: Limiter,
    /// How long a request may take that neither uploads nor streams.
    pub(super) request_time: Duration,
}

impl<T: OpenApi> OpenApi for Completed<T> {
    fn meta() -> Vec<MetaApi> {
        let mut apis = T::meta();
        for operation in apis.iter_mut().flat_map(|api| &mut api.paths).flat_map(|path| &mut path.operations)
        {
            add_common_responses(operation);
            let responses = std::mem::take(&mut operation.responses.responses);
            operation.responses.responses = merge_by_status(responses);
        }
        apis
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
        problem::register(registry);
    }

    fn add_routes(self, table: &mut HashMap<String, HashMap<Method, BoxEndpoint<'static>>>) {
        let mut bare = HashMap::new();
        self.resources.add_routes(&mut bare);
        let mut registry = Registry::new();
        T::register(&mut registry);
        for path in Self::meta().iter().flat_map(|api| &api.paths) {
            let pattern = route_pattern(&path.path);
            if let Some(endpoints) = bare.remove(&pattern) {
                table.insert(
                    pattern,
                    complete_path(path, endpoints, (&self.gate, &self.limiter), &registry, self.request_time),
                );
            }
        }
    }
}

/// The methods of a path, as `Allow` lists them.
pub(super) fn allowed(path: &MetaPath) -> String {
    let mut methods: BTreeSet<&str> =
        path.operations.iter().map(|operation| operation.method.as_str()).collect();
    methods.insert(Method::OPTIONS.as_str());
    if methods.contains(Method::GET.as_str()) {
        methods.insert(Method::HEAD.as_str());
    }
    methods.into_iter().collect::<Vec<_>>().join(", ")
}

/// `/airports/{id}` as poem's router writes it: `/airports/:param0`.
pub(super) fn route_pattern(path: &str) -> String {
    let mut parameters = 0;
    let segments: Vec<_> = path
        .split('/')
        .map(|segment| {
            if segment.starts_with('{') {
                parameters += 1;
                format!(":param{}", parameters - 1)
            } else {
                segment.to_owned()
            }
        })
        .collect();
    segments.join("/")
}

/// Most parameters of a query. More are refused before any is looked at.
const PARAMETERS: usize = 256;

/// Whether answers come as they happen.
const EVENT_STREAM: &str = "text/event-stream";

fn complete_path(
    path: &MetaPath,
    mut endpoints: HashMap<Method, BoxEndpoint<'static>>,
    (gate, limiter): (&Gate, &Limiter),
    registry: &Registry,
    request_time: Duration,
) -> HashMap<Method, BoxEndpoint<'static>> {
    let mut completed = HashMap::new();
    for operation in &path.operations {
        let Some(endpoint) = endpoints.remove(&operation.method) else { continue };
        let rules = Rules::of(&path.path, operation, registry, request_time);
        let guarded = Arc::new(Guarded { gate: gate.clone(), limiter: limiter.clone(), rules, endpoint });
        if operation.method == Method::GET {
            let get = Arc::clone(&guarded);
            // The server sends the headers of this answer and keeps its body.
            let head = poem::endpoint::make(move |mut request: Request| {
                let get = Arc::clone(&get);
                async move {
                    request.set_method(Method::GET);
                    get.call(request).await
                }
            });
            completed.entry(Method::HEAD).or_insert_with(|| head.boxed());
        }
        completed.insert(operation.method.clone(), guarded.map_to_response().boxed());
    }
    let allow = allowed(path);
    let options =
        completed.remove(&Method::OPTIONS).unwrap_or_else(|| make_sync(|_| Response::default()).boxed());
    let options = options.after(move |answer| {
        let allow = HeaderValue::from_str(&allow);
        async move {
            let mut answer = answer?;
            if let Ok(allow) = allow {
                answer.headers_mut().insert(header::ALLOW, allow);
            }
            Ok::<_, poem::Error>(answer)
        }
    });
    completed.insert(Method::OPTIONS, options.boxed());
    completed
}

/// What a request is held against before its handler sees it.
struct Rules {
    /// Whether the path names an import, which the log then says.
    of_import: bool,
    /// The scope that a key must have; nothing when none is needed.
    scope: Option<Scope>,
    /// What is enough for a key without the scope.
    otherwise: Otherwise,
    /// What is done with the dataset in the path.
    action: Option<Action>,
    /// Whether parameters are named by the columns of a dataset: its handler knows them.
    has_own_query: bool,
    /// Name, and whether it may come more than once.
    query: Vec<(String, bool)>,
    /// The media types of success (a redirection is one), the preferred one first.
    offers: Vec<&'static str>,
    /// What the parameters must be.
    expected: Expected,
    /// The media types a body may have, for `Accept` or `Accept-Patch`.
    takes: Option<(header::HeaderName, HeaderValue)>,
    time: Option<Duration>,
    /// What it takes a place of.
    counts: Counts,
}

/// What a request counts among, until its answer is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Counts {
    /// The requests.
    Request,
    /// The event streams.
    Stream,
    /// Nothing here: who reads an upload takes a place for it, and how the service is can always be asked.
    Nothing,
}

impl Rules {
    fn of(path: &str, operation: &MetaOperation, registry: &Registry, request_time: Duration) -> Self {
        let expected = Expected::of(path, operation, registry);
        let of_import = path.starts_with("/imports/{");
        let query = operation
            .params
            .iter()
            .filter(|parameter| parameter.in_type == MetaParamIn::Query)
            .map(|parameter| {
                let repeats = match &parameter.schema {
                    MetaSchemaRef::Inline(schema) => schema.ty == "array",
                    MetaSchemaRef::Reference(_) => false,
                };
                (parameter.name.clone(), repeats)
            })
            .collect();
        let offers = offers(&operation.responses.responses);
        let bodies: Vec<_> = operation
            .request
            .iter()
            .flat_map(|request| &request.content)
            .map(|content| content.content_type)
            .collect();
        let name = if operation.method == Method::PATCH { super::body::ACCEPT_PATCH } else { header::ACCEPT };
        let takes = HeaderValue::from_str(&bodies.join(", "))
            .ok()
            .filter(|_| !bodies.is_empty())
            .map(|types| (name, types));
        let uploads = bodies.iter().any(|body| !super::body::is_json(body));
        let streams = offers.contains(&EVENT_STREAM);
        let scope = access::scope_of(operation);
        let action = access::action_of(operation);
        let otherwise = match action {
            Some(_) => Otherwise::AnyKey,
            None if access::is_for_any_key(operation) => Otherwise::AnyKey,
            None if of_import => Otherwise::Import { may_be_own: access::is_of_own(operation) },
            None => built_in(path).map_or(Otherwise::Nothing, Otherwise::Dataset),
        };
        let is_object =
            |schema: &MetaSchemaRef| matches!(schema, MetaSchemaRef::Inline(schema) if schema.ty == "object");
        let has_own_query = operation.params.iter().any(|parameter| is_object(&parameter.schema));
        let counts = match scope {
            None => Counts::Nothing,
            Some(_) if uploads => Counts::Nothing,
            Some(_) if streams => Counts::Stream,
            Some(_) => Counts::Request,
        };
        let time = (!uploads && !streams).then_some(request_time);
        Self {
            of_import,
            scope,
            otherwise,
            action,
            has_own_query,
            query,
            offers,
            expected,
            takes,
            time,
            counts,
        }
    }

    fn check_query(&self, request: &Request) -> Result<(), Invalid> {
        let query = request.uri().query().unwrap_or_default();
        if query.split('&').nth(PARAMETERS).is_some() {
            return Err(Invalid::new(format!("a query may have {PARAMETERS} parameters")));
        }
        let given: Vec<(String, String)> = request.params().unwrap_or_default();
        let (mut seen, mut faulty) = (BTreeSet::new(), BTreeSet::new());
        let mut faults = Vec::new();
        for (name, value) in &given {
            let fault = match self.query.iter().find(|(known, _)| known == name) {
                // The handler says what is wrong with their values too.
                None if self.has_own_query => continue,
                None => ("unknown_parameter", "is not a parameter of this operation"),
                Some((_, repeats)) if !seen.insert(name) && !repeats => {
                    ("repeated_parameter", "may be given once only")
                }
                // No text in the database holds one, so it would fail far from here.
                Some(_) if value.contains('\0') => ("nul_character", "holds a NUL character"),
                Some(_) => continue,
            };
            if faulty.insert(name) {
                let ((code, rule), name) = (fault, cut(name));
                faults.push(Violation::parameter(&name, code, format!("{name} {rule}")));
            }
        }
        if faults.is_empty() { Ok(()) } else { Err(Invalid::because(faults)) }
    }

    fn negotiate(&self, request: &mut Request) -> Result<(), NotAcceptable> {
        if self.offers.is_empty() {
            return Ok(());
        }
        let accepted = negotiate::choose(request.headers(), &self.offers)
            .ok_or_else(|| NotAcceptable::new(format!("the answer exists as {}", self.offers.join(", "))))?;
        request.set_data(accepted);
        Ok(())
    }
}

/// The built-in dataset that the operations of a path are about.
fn built_in(path: &str) -> Option<&'static str> {
    let (first, _) =
        path.trim_start_matches('/').split_once('/').unwrap_or((path.trim_start_matches('/'), ""));
    match first {
        "airports" | "upload" | "create" | "update" | "delete" => Some("airports"),
        "imports" => Some("citizens"),
        _ => None,
    }
}

fn offers(responses: &[MetaResponse]) -> Vec<&'static str> {
    let mut offers = Vec::new();
    let successes = responses.iter().filter(|response| matches!(response.status, Some(200..=399)));
    for content in successes.flat_map(|response| &response.content) {
        if !offers.contains(&content.content_type) {
            offers.push(content.content_type);
        }
    }
    offers
}

struct Guarded {
    gate: Gate,
    limiter: Limiter,
    rules: Rules,
    endpoint: BoxEndpoint<'static>,
}

impl Guarded {
    async fn answer(&self, request: Request) -> Result<Response, Problem> {
        let address = Identity::of(&request, None);
        // A key that is not known here is asked for in the database, and nobody can say whose it is: its address pays, and before.
        let asks = self.rules.scope.is_some() && self.gate.has_to_ask(&request);
        let paid = asks.then(|| self.limiter.count(&address)).transpose()?;
        let admitted = match self.rules.scope {
            Some(scope) => self.gate.admit(&request, scope, self.rules.otherwise).await,
            None => Ok(None),
        };
        let caller = admitted.as_ref().ok().and_then(Option::as_ref);
        let identity = Identity::of(&request, caller);
        // Refused requests count too, for their address.
        let left = match paid {
            Some(left) if identity == address => left,
            _ => self.limiter.count(&identity)?,
        };
        let share = Share { identity, limiter: self.limiter.clone() };
        let answer = match admitted {
            Ok(caller) => self.handle(request, caller, share).await,
            Err(problem) => Err(problem),
        };
        match answer {
            Ok(mut answer) => {
                answer.headers_mut().extend(left);
                Ok(answer)
            }
            Err(mut problem) => {
                left.iter().for_each(|(name, value)| problem.set_header(name.clone(), value.clone()));
                Err(problem)
            }
        }
    }

    async fn handle(
        &self,
        request: Request,
        caller: Option<Caller>,
        share: Share,
    ) -> Result<Response, Problem> {
        let place = match self.rules.counts {
            Counts::Request => Some(share.request()?),
            Counts::Stream => Some(share.stream()?),
            Counts::Nothing => None,
        };
        let mut answer = self.handle_in_place(request, caller, share).await?;
        if let Some(place) = place {
            answer.set_data(Held::new(place));
        }
        Ok(answer)
    }

    async fn handle_in_place(
        &self,
        mut request: Request,
        caller: Option<Caller>,
        share: Share,
    ) -> Result<Response, Problem> {
        if let Some(action) = self.rules.action {
            let target = self.gate.target(&request, caller.as_ref(), action).await?;
            request.set_data(target);
        }
        if let Some(caller) = caller {
            tracing::Span::current().record("key.id", caller.0.id);
            request.set_data(caller);
        }
        if self.rules.of_import
            && let Ok(id) = request.raw_path_param("param0").unwrap_or_default().parse::<i64>()
        {
            tracing::Span::current().record("import", id);
        }
        self.rules.check_query(&request)?;
        self.rules.negotiate(&mut request)?;
        let takes = self.rules.takes.is_some();
        let too_slow = takes.then(|| self.limiter.watch(&mut request, &share.identity));
        request.set_data(share);
        let digest = digest::verify(&mut request)?;
        let answer = idempotency::settled(self.in_time(request)).await;
        answer.map_err(|error| {
            if too_slow.is_some_and(|too_slow| too_slow.load(Ordering::Relaxed)) {
                return TooSlow::new("the body stopped coming, or came too slowly").into();
            }
            if let Some(refusal) = digest.refusal() {
                return refusal.into();
            }
            let mut problem = framework_errors::problem(error, &self.rules.expected);
            if problem.kind == Kind::UnsupportedMediaType
                && !problem.has_header(&header::ACCEPT_ENCODING)
                && let Some((name, types)) = &self.rules.takes
            {
                problem.set_header(name.clone(), types.clone());
            }
            problem
        })
    }

    async fn in_time(&self, request: Request) -> poem::Result<Response> {
        let handled = self.endpoint.call(request);
        match self.rules.time {
            None => handled.await,
            Some(time) => tokio::time::timeout(time, handled).await.unwrap_or_else(|_| {
                Err(Unavailable::new(format!("the request took longer than {} s", time.as_secs())).into())
            }),
        }
    }
}

impl Endpoint for Guarded {
    type Output = Response;

    async fn call(&self, request: Request) -> poem::Result<Response> {
        self.answer(request).await.map_err(Into::into)
    }
}

/// Whatever an operation does: its caller may have no key for it, its parameters can be wrong, too many requests may come, the server
/// can fail or be busy.
fn add_common_responses(operation: &mut MetaOperation) {
    let mut kinds = vec![Kind::Invalid, Kind::TooManyRequests, Kind::Internal, Kind::Unavailable];
    if !offers(&operation.responses.responses).is_empty() {
        kinds.push(Kind::NotAcceptable);
    }
    if operation.request.is_some() {
        kinds.extend([Kind::TooSlow, Kind::TooLarge, Kind::UnsupportedMediaType]);
    }
    if access::scope_of(operation).is_some() {
        kinds.extend([Kind::Unauthorized, Kind::Forbidden]);
    }
    operation.responses.responses.extend(kinds.into_iter().map(problem::meta_response));
}

/// One entry a status, in their order: representations of the same answer are separate variants in the code.
fn merge_by_status(responses: Vec<MetaResponse>) -> Vec<MetaResponse> {
    let mut merged: Vec<MetaResponse> = Vec::new();
    for response in responses {
        match merged.iter_mut().find(|present| present.status == response.status) {
            None => merged.push(response),
            Some(present) => {
                for content in response.content {
                    if !present.content.iter().any(|known| known.content_type == content.content_type) {
                        present.content.push(content);
                    }
                }
                for header in response.headers {
                    if !present.headers.iter().any(|known| known.name == header.name) {
                        present.headers.push(header);
                    }
                }
            }
        }
    }
    merged.sort_by_key(|response| response.status.unwrap_or(StatusCode::OK.as_u16()));
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_of_the_document_is_a_route() {
        assert_eq!(route_pattern("/"), "/");
        assert_eq!(route_pattern("/airports"), "/airports");
        assert_eq!(route_pattern("/imports/{id}/citizens/{cid}"), "/imports/:param0/citizens/:param1");
    }
}
