//! An HTTP client that panics on any answer the OpenAPI document does not know.

use std::net::IpAddr;

use reqwest::{
    Method, StatusCode,
    header::{CONTENT_TYPE, HeaderMap},
    redirect::Policy,
};
use serde_json::{Map, Value};
use tarmac::api::document;

/// Follows no redirections.
#[derive(Debug, Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    base: String,
}

impl Client {
    pub(crate) fn new(base: String) -> Self {
        Self::built(reqwest::Client::builder(), base)
    }

    /// The same at another of this machine's addresses.
    pub(crate) fn from(&self, address: IpAddr) -> Self {
        Self::built(reqwest::Client::builder().local_address(address), self.base.clone())
    }

    fn built(builder: reqwest::ClientBuilder, base: String) -> Self {
        let http = builder.redirect(Policy::none()).build().expect("a client can be built");
        Self { http, base }
    }

    /// Where the service is, for a client that is not this one.
    pub(crate) fn base(&self) -> &str {
        &self.base
    }

    /// Where the service listens: `127.0.0.1:41234`.
    pub(crate) fn address(&self) -> String {
        self.base.trim_start_matches("http://").to_owned()
    }

    /// `path` with its query, already encoded; the URL of a confirmation link will do too.
    pub(crate) fn request(&self, method: Method, path: &str) -> Request {
        let path = path.strip_prefix(&self.base).unwrap_or(path).to_owned();
        let builder = self.http.request(method.clone(), format!("{}{path}", self.base));
        Request { builder, method, path }
    }

    pub(crate) fn get(&self, path: &str) -> Request {
        self.request(Method::GET, path)
    }

    pub(crate) fn post(&self, path: &str) -> Request {
        self.request(Method::POST, path)
    }

    pub(crate) fn put(&self, path: &str) -> Request {
        self.request(Method::PUT, path)
    }

    pub(crate) fn patch(&self, path: &str) -> Request {
        self.request(Method::PATCH, path)
    }

    pub(crate) fn delete(&self, path: &str) -> Request {
        self.request(Method::DELETE, path)
    }
}

#[derive(Debug)]
pub(crate) struct Request {
    builder: reqwest::RequestBuilder,
    method: Method,
    path: String,
}

impl Request {
    pub(crate) fn header(self, name: &str, value: &str) -> Self {
        Self { builder: self.builder.header(name, value), ..self }
    }

    pub(crate) fn json(self, body: impl Into<Value>) -> Self {
        let body = body.into().to_string();
        self.header("Content-Type", "application/json").body(body)
    }

    pub(crate) fn body(self, body: impl Into<reqwest::Body>) -> Self {
        Self { builder: self.builder.body(body), ..self }
    }

    /// Sends it and reads the whole answer.
    pub(crate) async fn send(self) -> Answer {
        let request = format!("{} {}", self.method, self.path);
        let response = self.builder.send().await.unwrap_or_else(|error| panic!("{request}: {error:?}"));
        let (status, headers) = (response.status(), response.headers().clone());
        let body = response.bytes().await.unwrap_or_else(|error| panic!("{request}: {error:?}")).to_vec();
        let answer = Answer { request, status, headers, body };
        answer.check(&self.method, self.path.split('?').next().unwrap_or_default());
        answer
    }
}

#[derive(Debug)]
pub(crate) struct Answer {
    request: String,
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// Panics on another status.
    #[track_caller]
    pub(crate) fn expect(self, status: u16) -> Self {
        assert_eq!(self.status.as_u16(), status, "{}: {}", self.request, self.text());
        self
    }

    pub(crate) fn json(&self) -> Value {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{}: {error}: {}", self.request, self.text()))
    }

    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    /// The header's value; nothing when it is not there.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().expect("headers are text"))
    }

    /// The codes of a problem's errors, sorted.
    pub(crate) fn codes(&self) -> Vec<String> {
        let problem = self.json();
        let errors = problem["errors"].as_array().cloned().unwrap_or_default();
        let mut codes: Vec<_> =
            errors.iter().map(|error| error["code"].as_str().unwrap_or_default().to_owned()).collect();
        codes.sort_unstable();
        codes
    }

    /// Status, media type and headers are among those the document lists for the operation.
    fn check(&self, method: &Method, path: &str) {
        let request = &self.request;
        assert!(self.headers.contains_key("x-request-id"), "{request}: no request id");
        if self.status.is_client_error() || self.status.is_server_error() {
            self.check_problem(method);
        }
        let Some(operations) = operations(path) else {
            assert_eq!(self.status, StatusCode::NOT_FOUND, "{request}: the path is not in the document");
            return;
        };
        let Some(operation) = operations.get(&method.as_str().to_lowercase()) else {
            assert_eq!(
                self.status,
                StatusCode::METHOD_NOT_ALLOWED,
                "{request}: the method is not in the document"
            );
            assert!(self.headers.contains_key("allow"), "{request}: no Allow");
            return;
        };
        let documented = &operation["responses"][self.status.as_str()];
        assert!(documented.is_object(), "{request}: {} is not in the document: {}", self.status, self.text());
        for (name, header) in documented["headers"].as_object().into_iter().flatten() {
            let present = self.headers.contains_key(name.to_lowercase());
            assert!(
                present || header["required"] != true,
                "{request}: the document promises the header {name}"
            );
        }
        if !self.body.is_empty() {
            let media_type = self.header(CONTENT_TYPE.as_str()).unwrap_or_default();
            let content = &documented["content"];
            assert!(
                content.get(media_type).is_some(),
                "{request}: {media_type:?} is not in the document: {content}"
            );
        }
    }

    fn check_problem(&self, method: &Method) {
        let media_type = self.header(CONTENT_TYPE.as_str()).unwrap_or_default();
        if *method == Method::HEAD || media_type != "application/problem+json" {
            return;
        }
        let problem = self.json();
        assert_eq!(problem["status"], self.status.as_u16(), "{}", self.request);
        assert_eq!(problem["instance"].as_str(), self.header("x-request-id"), "{}", self.request);
        for member in ["type", "title", "detail"] {
            assert!(problem[member].is_string(), "{}: {member} is missing: {problem}", self.request);
        }
    }
}

/// What the document says about a path: of the templates that fit, the one with the fewest parameters counts.
fn operations(path: &str) -> Option<&'static Map<String, Value>> {
    let paths = document::json()["paths"].as_object().expect("the document has paths");
    let fits = |template: &str| {
        let (given, template) =
            (path.split('/').collect::<Vec<_>>(), template.split('/').collect::<Vec<_>>());
        given.len() == template.len()
            && given.iter().zip(&template).all(|(given, part)| part.starts_with('{') || given == part)
    };
    paths
        .iter()
        .filter(|(template, _)| fits(template))
        .min_by_key(|(template, _)| template.matches('{').count())
        .and_then(|(_, operations)| operations.as_object())
}
