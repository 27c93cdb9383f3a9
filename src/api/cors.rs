//! Cross-origin requests: pages of the configured sites may use the API; pages of any other may not.

use poem::{
    Response,
    http::{HeaderMap, HeaderName, HeaderValue, Method, header},
};

/// What pages may read of an answer besides what every page may.
const EXPOSED: &str = "Allow, ETag, Idempotent-Replayed, Link, Location, Preference-Applied, RateLimit, RateLimit-Policy, \
                       Retry-After, WWW-Authenticate, X-Request-Id";
const MAX_AGE_SECONDS: &str = "600";

/// The sites.
#[derive(Debug, Clone)]
pub(super) struct Cors {
    origins: Vec<String>,
}

/// What of a request decides about it.
pub(super) struct Asked {
    origin: HeaderValue,
    /// The headers it is about to send, when the request only asks whether it may.
    preflight: Option<HeaderValue>,
}

impl Cors {
    /// With commas between.
    pub(super) fn new(origins: &str) -> Self {
        let origins = origins.split(',').map(|origin| origin.trim().trim_end_matches('/').to_owned());
        Self { origins: origins.filter(|origin| !origin.is_empty()).collect() }
    }

    /// Whether it is one of the sites.
    pub(super) fn knows(&self, origin: &str) -> bool {
        self.origins.iter().any(|known| known == origin)
    }

    /// Nothing when the request is none of a configured site's.
    pub(super) fn asked(&self, method: &Method, headers: &HeaderMap) -> Option<Asked> {
        let origin = headers.get(header::ORIGIN)?;
        if !origin.to_str().is_ok_and(|origin| self.knows(origin)) {
            return None;
        }
        let asks = method == Method::OPTIONS && headers.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
        let wanted = headers.get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
        let preflight = asks.then(|| wanted.unwrap_or(HeaderValue::from_static("")));
        Some(Asked { origin: origin.clone(), preflight })
    }

    /// Says in the answer that the page may have it.
    pub(super) fn allow(&self, asked: Option<Asked>, answer: &mut Response) {
        if self.origins.is_empty() {
            return;
        }
        let headers = answer.headers_mut();
        headers.append(header::VARY, HeaderValue::from_static("Origin"));
        let Some(Asked { origin, preflight }) = asked else { return };
        let mut set = |name: HeaderName, value| headers.insert(name, value);
        set(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        set(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
        if let Some(wanted) = preflight {
            let methods = "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS";
            set(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static(methods));
            set(header::ACCESS_CONTROL_ALLOW_HEADERS, wanted);
            set(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static(MAX_AGE_SECONDS));
        }
    }
}
