//! An OpenTelemetry collector: takes spans by OTLP over HTTP and keeps them.

use std::sync::{Arc, Mutex};

use opentelemetry_proto::tonic::{
    collector::trace::v1::ExportTraceServiceRequest,
    trace::v1::{ResourceSpans, ScopeSpans, Span},
};
use poem::{
    EndpointExt, Request, Response, Route, Server, endpoint, http::StatusCode, listener::TcpAcceptor,
};
use prost::Message;
use tokio_util::sync::{CancellationToken, DropGuard};

/// Ends when dropped.
pub(crate) struct Collector {
    /// Where spans are sent.
    pub(crate) endpoint: String,
    spans: Arc<Mutex<Vec<Span>>>,
    _stop: DropGuard,
}

impl Collector {
    /// On a port of its own.
    pub(crate) async fn start() -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let endpoint = format!("http://{}", listener.local_addr().expect("it is bound"));
        let acceptor = TcpAcceptor::from_tokio(listener).expect("it listens");
        let spans = Arc::new(Mutex::new(Vec::new()));
        let kept = Arc::clone(&spans);
        let take = endpoint::make(move |request: Request| take(request, Arc::clone(&kept)));
        let stop = CancellationToken::new();
        let server = Server::new_with_acceptor(acceptor).run(Route::new().at("/v1/traces", take.boxed()));
        tokio::spawn(stop.clone().run_until_cancelled_owned(server));
        Self { endpoint, spans, _stop: stop.drop_guard() }
    }

    /// What has come of a trace so far.
    pub(crate) fn trace(&self, id: &str) -> Vec<Span> {
        let spans = self.spans.lock().expect("nobody panics with it");
        spans.iter().filter(|span| hex::encode(&span.trace_id) == id).cloned().collect()
    }
}

async fn take(mut request: Request, spans: Arc<Mutex<Vec<Span>>>) -> Response {
    assert_eq!(request.content_type(), Some("application/x-protobuf"));
    let body = request.take_body().into_bytes().await.expect("a body comes");
    let sent = ExportTraceServiceRequest::decode(body).expect("it is protobuf");
    let scopes = sent.resource_spans.into_iter().flat_map(|ResourceSpans { scope_spans, .. }| scope_spans);
    let sent = scopes.flat_map(|ScopeSpans { spans, .. }| spans);
    spans.lock().expect("nobody panics with it").extend(sent);
    Response::builder().status(StatusCode::OK).content_type("application/x-protobuf").body(())
}
