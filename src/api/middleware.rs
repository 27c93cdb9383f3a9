//! Around everything: the request's id, its span and its one log line, problems rendered, panics kept inside.

use std::{collections::HashMap, panic::AssertUnwindSafe, sync::Arc, time::Instant};

use futures_util::FutureExt;
use poem::{
    Endpoint, Middleware, PathPattern, Request, Response,
    http::{HeaderName, HeaderValue, Method, header},
};
use tracing::Instrument;

use super::{
    cors::Cors,
    expected::Expected,
    field_lines, framework_errors, host,
    metrics::Requests,
    problem::{Internal, Kind, Problem},
};
use crate::{config::Config, throttle::Throttle, trace};

/// A browser that has seen TLS here asks for nothing else for a year.
const HSTS: &str = "max-age=31536000";

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest request id that is taken over from a client.
const REQUEST_ID_CHARS: usize = 128;

/// Wraps the whole API.
pub(super) struct Envelope {
    /// What body limits are read from.
    pub(super) config: Arc<Config>,
    /// `Allow` by route pattern.
    pub(super) allow: HashMap<String, String>,
    /// Whose pages may read answers.
    pub(super) cors: Cors,
    /// Where requests are counted.
    pub(super) requests: Requests,
    /// Told of those that read.
    pub(super) throttle: Throttle,
}

impl<E: Endpoint<Output = Response>> Middleware<E> for Envelope {
    type Output = Enveloped<E>;

    fn transform(&self, inner: E) -> Self::Output {
        Enveloped {
            config: Arc::clone(&self.config),
            allow: self.allow.clone(),
            cors: self.cors.clone(),
            requests: self.requests.clone(),
            throttle: self.throttle.clone(),
            inner,
        }
    }
}

/// See [`Envelope`].
pub(super) struct Enveloped<E> {
    config: Arc<Config>,
    allow: HashMap<String, String>,
    cors: Cors,
    requests: Requests,
    throttle: Throttle,
    inner: E,
}

impl<E: Endpoint<Output = Response>> Endpoint for Enveloped<E> {
    type Output = Response;

    async fn call(&self, mut request: Request) -> poem::Result<Response> {
        let id = request_id(&request);
        let united = field_lines::unite(request.headers_mut());
        let span = tracing::info_span!(
            "request",
            request.id = %id,
            http.method = %request.method(),
            import = tracing::field::Empty,
            key.id = tracing::field::Empty
        );
        trace::adopt(&span, request.header("traceparent"));
        request.set_data(Arc::clone(&self.config));
        let method = request.method().clone();
        if matches!(method, Method::GET | Method::HEAD) {
            self.throttle.note_request();
        }
        let asked = self.cors.asked(request.method(), request.headers());
        let answer = async {
            let started = Instant::now();
            let (mut answer, route) = match united {
                Ok(()) => self.answer(request, &id).await,
                Err(refused) => (Problem::from(refused).render(Some(&id)), None),
            };
            if let Ok(value) = HeaderValue::from_str(&id) {
                answer.headers_mut().insert(REQUEST_ID, value);
            }
            self.protect(&mut answer);
            self.cors.allow(asked, &mut answer);
            let took = started.elapsed();
            self.requests.count(&method, route.as_deref(), answer.status(), took);
            trace::answered(route.as_deref(), answer.status().as_u16());
            // The route, never the path: a path may hold a confirmation link's token.
            tracing::info!(
                http.route = route.as_deref().unwrap_or("none"),
                http.status = answer.status().as_u16(),
                elapsed_ms = took.as_millis() as u64,
                "answered"
            );
            answer
        };
        Ok(answer.instrument(span).await)
    }
}

impl<E: Endpoint<Output = Response>> Enveloped<E> {
    /// What browsers may not make of an answer.
    fn protect(&self, answer: &mut Response) {
        let headers = answer.headers_mut();
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        headers.entry(header::REFERRER_POLICY).or_insert(HeaderValue::from_static("same-origin"));
        if self.config.server.has_tls() {
            headers.insert(header::STRICT_TRANSPORT_SECURITY, HeaderValue::from_static(HSTS));
        }
    }

    async fn answer(&self, request: Request, id: &str) -> (Response, Option<Arc<str>>) {
        if let Err(refused) = host::check(&request) {
            return (Problem::from(refused).render(Some(id)), None);
        }
        match AssertUnwindSafe(self.inner.call(request)).catch_unwind().await {
            Ok(Ok(answer)) => {
                let route = answer.data::<PathPattern>().map(|pattern| Arc::clone(&pattern.0));
                (answer, route)
            }
            Ok(Err(error)) => {
                let route = error.data::<PathPattern>().map(|pattern| Arc::clone(&pattern.0));
                // What is wrong with the parameters of an operation has been said there.
                let mut problem = framework_errors::problem(error, &Expected::default());
                self.add_allow(&mut problem, route.as_deref());
                log_fault(&problem);
                (problem.render(Some(id)), route)
            }
            Err(panic) => {
                let problem: Problem = Internal::because(panic_message(panic.as_ref())).into();
                log_fault(&problem);
                (problem.render(Some(id)), None)
            }
        }
    }

    fn add_allow(&self, problem: &mut Problem, route: Option<&str>) {
        if problem.kind != Kind::MethodNotAllowed {
            return;
        }
        let allow = route.and_then(|route| self.allow.get(route));
        if let Some(Ok(allow)) = allow.map(|allow| HeaderValue::from_str(allow)) {
            problem.set_header(header::ALLOW, allow);
        }
    }
}

/// The client's, when it is short and harmless in a log, else a new one.
fn request_id(request: &Request) -> String {
    let harmless = |id: &&str| {
        !id.is_empty()
            && id.len() <= REQUEST_ID_CHARS
            && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte))
    };
    match request.header(REQUEST_ID.as_str()).filter(harmless) {
        Some(id) => id.to_owned(),
        None => uuid::Uuid::now_v7().to_string(),
    }
}

/// A fault of the server is logged here and nowhere else, with all its causes; the client only gets its request id.
fn log_fault(problem: &Problem) {
    if !problem.kind.status().is_server_error() {
        return;
    }
    let mut causes = String::new();
    let mut source = std::error::Error::source(problem);
    while let Some(cause) = source {
        causes.push_str(": ");
        causes.push_str(&cause.to_string());
        source = cause.source();
    }
    match problem.kind {
        Kind::Unavailable => tracing::warn!(error = %format_args!("{problem}{causes}"), "unavailable"),
        _ => tracing::error!(error = %format_args!("{problem}{causes}"), "failed"),
    }
}

fn panic_message(panic: &(dyn std::any::Any + Send)) -> String {
    let text =
        panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str));
    format!("panicked: {}", text.unwrap_or("without a message"))
}

#[cfg(test)]
mod tests {
    use poem::{EndpointExt, endpoint::make_sync, http::StatusCode};

    use super::*;

    #[tokio::test]
    async fn a_panic_is_an_internal_problem_that_tells_nothing() {
        let url = ("database.url".to_owned(), "postgres://localhost/tarmac".to_owned());
        let config = Config::from_parts(None, HashMap::from([url]), &[]).expect("valid");
        let envelope = Envelope {
            config: Arc::new(config),
            allow: HashMap::new(),
            cors: Cors::new(""),
            requests: Requests::new(),
            throttle: Throttle::default(),
        };
        let endpoint = make_sync(|_| -> Response { panic!("a secret") }).with(envelope);
        let request = Request::builder().header(header::HOST, "localhost").finish();
        let answer = endpoint.get_response(request).await;
        assert_eq!(answer.status(), StatusCode::INTERNAL_SERVER_ERROR);
        assert!(answer.headers().contains_key(REQUEST_ID));
        let body = answer.into_body().into_string().await.expect("text");
        assert!(body.contains("/problems/internal") && !body.contains("secret"), "{body}");
    }
}
