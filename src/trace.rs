//! Traces (OpenTelemetry): which spans go to a collector, and how a trace goes on over requests, imports, chunks and transports:
//! by a `traceparent` (W3C Trace Context).

use std::{collections::HashMap, time::Duration};

use opentelemetry::{
    propagation::TextMapPropagator,
    trace::{TraceContextExt, TracerProvider},
};
use opentelemetry_otlp::{ExporterBuildError, Protocol, SpanExporter, WithExportConfig};
use opentelemetry_sdk::{
    Resource,
    propagation::TraceContextPropagator,
    trace::{Sampler, SdkTracerProvider},
};
use tracing::{Span, Subscriber};
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::{Layer, registry::LookupSpan};

use crate::config;

/// How long a collector may take for a batch, and so a process that ends for its last one.
const PATIENCE: Duration = Duration::from_secs(5);

const TRACEPARENT: &str = "traceparent";

/// Sends spans in the background. What is left is sent when it is dropped.
#[derive(Debug)]
pub struct Traces(SdkTracerProvider);

impl Traces {
    /// To the collector that is configured; nothing when there is none. Contacts nobody yet.
    pub fn start(config: &config::Traces) -> Result<Option<Self>, ExporterBuildError> {
        if config.endpoint.is_empty() {
            return Ok(None);
        }
        let exporter = SpanExporter::builder()
            .with_http()
            .with_protocol(Protocol::HttpBinary)
            .with_endpoint(format!("{}/v1/traces", config.endpoint.trim_end_matches('/')))
            .with_timeout(PATIENCE)
            .build()?;
        let provider = SdkTracerProvider::builder()
            .with_batch_exporter(exporter)
            // Whoever began a trace has decided about it.
            .with_sampler(Sampler::ParentBased(Box::new(Sampler::TraceIdRatioBased(config.share))))
            .with_resource(Resource::builder().with_service_name(env!("CARGO_PKG_NAME")).build())
            .build();
        Ok(Some(Self(provider)))
    }

    /// What feeds it: spans, and what is logged within.
    pub fn layer<S: Subscriber + for<'a> LookupSpan<'a>>(&self) -> impl Layer<S> + use<S> {
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer(env!("CARGO_PKG_NAME")))
            .with_location(false)
            .with_threads(false)
    }
}

impl Drop for Traces {
    fn drop(&mut self) {
        if let Err(error) = self.0.shutdown_with_timeout(PATIENCE) {
            tracing::warn!(%error, "the last spans were not sent");
        }
    }
}

/// Makes a span that has not begun a part of the trace of a `traceparent`. One that cannot be read is left out.
pub fn adopt(span: &Span, traceparent: Option<&str>) {
    let Some(traceparent) = traceparent else { return };
    let carrier = HashMap::from([(TRACEPARENT.to_owned(), traceparent.to_owned())]);
    let parent = TraceContextPropagator::new().extract(&carrier);
    if parent.span().span_context().is_valid() {
        // Without a collector there is no span that could have a parent.
        let _ = span.set_parent(parent);
    }
}

/// The `traceparent` of what is done now; nothing when there is no collector.
pub fn current() -> Option<String> {
    let context = Span::current().context();
    let mut carrier = HashMap::new();
    TraceContextPropagator::new().inject_context(&context, &mut carrier);
    carrier.remove(TRACEPARENT)
}

/// Tells the trace what of the request's span the log does not say with every line.
pub fn answered(route: Option<&str>, status: u16) {
    let span = Span::current();
    span.set_attribute("http.route", route.unwrap_or_default().to_owned());
    span.set_attribute("http.response.status_code", i64::from(status));
}
