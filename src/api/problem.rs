//! What a request is refused with: RFC 9457 problems. The one place where status codes live.
//!
//! A kind of problem is a type ([`NotFound`], [`Conflict`] …). An operation names the kinds it may answer with by
//! [`refusal!`](super::refusal); the result is a response type that holds nothing else, so the document and the
//! code cannot disagree: `?` on a kind that is not listed does not compile. The kinds every operation shares
//! (bad parameters, timeouts …) are added to the document by [`super::operations`].

use std::error::Error;

use poem::{
    Response,
    error::ResponseError,
    http::{HeaderName, HeaderValue, StatusCode, header},
};
use poem_openapi::{
    Object,
    registry::{MetaHeader, MetaMediaType, MetaResponse, MetaSchema, MetaSchemaRef},
    types::Type,
};

use crate::{
    datasets::Fault,
    db::{DbError, Failure},
    text::cut,
};

/// The media type of every answer that is a problem.
pub(crate) const MEDIA_TYPE: &str = "application/problem+json";

/// Violations that are listed of one request; the others are only counted.
const LISTED: usize = 20;

/// When a client should come back after a 503, seconds.
pub(crate) const RETRY_AFTER_SECONDS: &str = "1";

macro_rules! kinds {
    ($($name:ident = $status:ident, $slug:literal, $title:literal, $explanation:literal;)+) => {
        /// Every kind of problem there is.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Kind {
            $(#[doc = $title] $name,)+
        }

        impl Kind {
            /// All of them, by status.
            pub(crate) const ALL: &[Self] = &[$(Self::$name,)+];

            /// The status it is answered with.
            pub(crate) fn status(self) -> StatusCode {
                match self { $(Self::$name => StatusCode::$status,)+ }
            }

            /// The last part of its `type`; stable.
            pub(crate) fn slug(self) -> &'static str {
                match self { $(Self::$name => $slug,)+ }
            }

            /// Its name for people; the same for every occurrence.
            pub(crate) fn title(self) -> &'static str {
                match self { $(Self::$name => $title,)+ }
            }

            /// What it means and what a client does about it.
            pub(crate) fn explanation(self) -> &'static str {
                match self { $(Self::$name => $explanation,)+ }
            }
        }

        $(
            #[doc = $title]
            #[derive(Debug)]
            pub(crate) struct $name(Problem);

            impl $name {
                /// `detail` says what happened this time, in a sentence for people.
                pub(crate) fn new(detail: impl Into<String>) -> Self {
                    Self(Problem::new(Kind::$name, detail.into()))
                }
            }

            impl Refuses for $name {
                fn kinds() -> Vec<Kind> {
                    vec![Kind::$name]
                }
            }

            impl From<$name> for Problem {
                fn from(kind: $name) -> Self {
                    kind.0
                }
            }

            impl From<$name> for poem::Error {
                fn from(kind: $name) -> Self {
                    kind.0.into()
                }
            }
        )+
    };
}

kinds! {
    Invalid = BAD_REQUEST, "invalid-request", "The request is invalid",
        "Something in the parameters or the body breaks a rule. `errors` lists every violation that was found; correct \
         them and send the request again.";
    Unauthorized = UNAUTHORIZED, "unauthorized", "A key is needed",
        "The operation needs an API key, and the request has none that is good. Send one as `Authorization: Bearer …`; \
         whoever operates the service makes them.";
    Forbidden = FORBIDDEN, "forbidden", "The key does not allow it",
        "The key is good, but not for this: `detail` names the scope it would need.";
    ForeignPage = FORBIDDEN, "foreign-page", "The request comes from another site",
        "The service requires no keys. It therefore refuses changes by pages of other sites, and requests for a name that is not its own. \
         `detail` names the setting that allows them.";
    NotFound = NOT_FOUND, "not-found", "Not found",
        "There is no such path, or nothing (any more) with that identifier.";
    MethodNotAllowed = METHOD_NOT_ALLOWED, "method-not-allowed", "Method not allowed",
        "The path exists, the method does not. The header `Allow` lists those that do.";
    NotAcceptable = NOT_ACCEPTABLE, "not-acceptable", "Not acceptable",
        "The answer exists in none of the media types that the header `Accept` asks for; `detail` lists those it exists in.";
    TooSlow = REQUEST_TIMEOUT, "request-timeout", "The request came too slowly",
        "The body stopped coming, or came more slowly than the server waits for. Send the request again over a better line.";
    Conflict = CONFLICT, "conflict", "Conflict with the present state",
        "The request is well-formed, but what is stored stands against it: a code that another airport holds, a link \
         that was already used, a request with the same Idempotency-Key that is still running. `detail` says which.";
    Gone = GONE, "gone", "Gone",
        "What was here is no longer: a link that has expired, for which there is a new one to be had; the upload and the \
         rejects of an import that are in the long-term archive, from where `detail` says how to bring them back; or an \
         upload that the archive has lost.";
    PreconditionFailed = PRECONDITION_FAILED, "precondition-failed", "Precondition failed",
        "What the header `If-Match` names is not the present version: somebody changed it meanwhile. Read it again, then decide.";
    PreconditionRequired = PRECONDITION_REQUIRED, "precondition-required", "A precondition is required",
        "What is there already is changed only by somebody who knows it: read it, and send its `ETag` back as `If-Match`.";
    TooLarge = PAYLOAD_TOO_LARGE, "content-too-large", "Content too large",
        "The body is longer than the limit that `detail` names.";
    UnsupportedMediaType = UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "Unsupported media type",
        "The body is not in a media type or coding that the operation reads. The headers `Accept`, `Accept-Patch` or \
         `Accept-Encoding` list those it does.";
    KeyReused = UNPROCESSABLE_ENTITY, "idempotency-key-reused", "Idempotency-Key reused",
        "The Idempotency-Key was used for another request. A key belongs to one request and its repetitions.";
    TooManyRequests = TOO_MANY_REQUESTS, "too-many-requests", "Too many requests",
        "This key, or this address, has sent more requests than it may in a minute. Go on after the time in the header \
         `Retry-After`; the header `RateLimit` of every answer says how many are left.";
    Internal = INTERNAL_SERVER_ERROR, "internal", "Internal error",
        "A fault of the server, not of the request. `instance` finds it in the server's log.";
    Unavailable = SERVICE_UNAVAILABLE, "unavailable", "Temporarily unavailable",
        "The server cannot answer now. Send the request again after the time in the header `Retry-After`.";
}

/// One violated rule.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
#[oai(skip_serializing_if_is_none)]
pub(crate) struct Violation {
    /// JSON Pointer (RFC 6901) to the value in the body.
    pub(crate) pointer: Option<String>,
    /// Name of the query, path or header parameter.
    pub(crate) parameter: Option<String>,
    /// Data record of the file, from 1.
    pub(crate) row: Option<i64>,
    /// Physical line of the file, from 1.
    pub(crate) line: Option<i64>,
    /// Column of the file.
    pub(crate) column: Option<String>,
    /// Stable and for machines.
    pub(crate) code: String,
    /// For people.
    pub(crate) message: String,
}

impl Violation {
    /// At the place in the JSON body that `pointer` names; the empty pointer is the body as a whole.
    pub(crate) fn at(pointer: impl Into<String>, code: &str, message: impl Into<String>) -> Self {
        Self { pointer: Some(pointer.into()), ..Self::nowhere(code, message) }
    }

    /// In the parameter of that name.
    pub(crate) fn parameter(name: &str, code: &str, message: impl Into<String>) -> Self {
        Self { parameter: Some(name.to_owned()), ..Self::nowhere(code, message) }
    }

    /// A column's rule broken by a parameter.
    pub(crate) fn of_parameter(name: &str, fault: Fault) -> Self {
        Self::parameter(name, fault.code, fault.message)
    }

    fn nowhere(code: &str, message: impl Into<String>) -> Self {
        Self {
            pointer: None,
            parameter: None,
            row: None,
            line: None,
            column: None,
            code: code.to_owned(),
            message: message.into(),
        }
    }
}

/// A stored row that stands against a change.
#[derive(Debug, Clone, PartialEq, Eq, Object)]
pub(crate) struct OffendingRow {
    /// Which row.
    #[oai(rename = "_id")]
    pub(crate) id: String,
    /// The name of the column.
    pub(crate) column: String,
    /// Stable and for machines, as a reject has it.
    pub(crate) code: String,
}

/// What a type may be refused with.
pub(crate) trait Refuses {
    /// The kinds, in no particular order.
    fn kinds() -> Vec<Kind>;
}

/// A refusal of any kind. Inside handlers the kinds and their unions by [`refusal!`](super::refusal) are used
/// instead: they say in their type what they can be.
#[derive(Debug, thiserror::Error)]
#[error("{detail}")]
pub(crate) struct Problem {
    pub(crate) kind: Kind,
    detail: String,
    errors: Vec<Violation>,
    rows: Vec<OffendingRow>,
    headers: Vec<(HeaderName, HeaderValue)>,
    #[source]
    source: Option<Box<dyn Error + Send + Sync>>,
}

impl Problem {
    fn new(kind: Kind, detail: String) -> Self {
        let mut problem =
            Self { kind, detail, errors: Vec::new(), rows: Vec::new(), headers: Vec::new(), source: None };
        if kind == Kind::Unavailable {
            problem.set_header(header::RETRY_AFTER, HeaderValue::from_static(RETRY_AFTER_SECONDS));
        }
        problem
    }

    /// Adds a header to the answer.
    pub(crate) fn set_header(&mut self, name: HeaderName, value: HeaderValue) {
        self.headers.push((name, value));
    }

    /// Whether the answer has that header.
    pub(crate) fn has_header(&self, name: &HeaderName) -> bool {
        self.headers.iter().any(|(present, _)| present == name)
    }

    /// The answer. `instance` is the request's id.
    pub(crate) fn render(&self, instance: Option<&str>) -> Response {
        use poem_openapi::types::ToJSON;
        let status = self.kind.status();
        let body = Body {
            r#type: format!("/problems/{}", self.kind.slug()),
            title: self.kind.title().to_owned(),
            status: status.as_u16(),
            detail: self.detail.clone(),
            instance: instance.map(str::to_owned),
            errors: Some(self.errors.clone()).filter(|errors| !errors.is_empty()),
            rows: Some(self.rows.clone()).filter(|rows| !rows.is_empty()),
        };
        let mut response =
            Response::builder().status(status).content_type(MEDIA_TYPE).body(body.to_json_string());
        response.headers_mut().extend(self.headers.iter().cloned());
        response
    }
}

impl ResponseError for Problem {
    fn status(&self) -> StatusCode {
        self.kind.status()
    }

    fn as_response(&self) -> Response {
        self.render(None)
    }
}

/// A problem as it is sent (RFC 9457).
#[derive(Debug, Object)]
#[oai(rename = "Problem", skip_serializing_if_is_none, example)]
struct Body {
    /// Which kind of problem; stable, and a path of this API that explains it.
    r#type: String,
    /// The kind's name for people.
    title: String,
    /// The status of the answer.
    status: u16,
    /// What happened this time.
    detail: String,
    /// The request's id, as in the header `X-Request-Id`: it finds the log line.
    instance: Option<String>,
    /// Every violated rule that was found.
    errors: Option<Vec<Violation>>,
    /// Stored rows that stand against the change of a dataset, at most 100.
    rows: Option<Vec<OffendingRow>>,
}

impl poem_openapi::types::Example for Body {
    fn example() -> Self {
        Self {
            r#type: format!("/problems/{}", Kind::Invalid.slug()),
            title: Kind::Invalid.title().to_owned(),
            status: Kind::Invalid.status().as_u16(),
            detail: "1 rule is broken".to_owned(),
            instance: Some("01936f2c-5a52-7b1e-a7d4-0b1c2d3e4f50".to_owned()),
            errors: Some(vec![Violation::at(
                "/latitude",
                "out_of_range",
                "latitude must be a number from -90 to 90",
            )]),
            rows: None,
        }
    }
}

impl Invalid {
    /// `errors` holds at least one violation. The first are listed, all are counted.
    pub(crate) fn because(errors: impl IntoIterator<Item = Violation>) -> Self {
        let mut errors = errors.into_iter();
        let listed: Vec<_> = errors.by_ref().take(LISTED).collect();
        let total = listed.len() + errors.count();
        Self::first_of(listed, total)
    }

    /// The first of `total` violations.
    pub(crate) fn first_of(errors: Vec<Violation>, total: usize) -> Self {
        let detail = match errors.as_slice() {
            [only] if total == 1 => only.message.clone(),
            listed if listed.len() == total => format!("{total} rules are broken"),
            listed => format!("{total} rules are broken; these are the first {}", listed.len()),
        };
        Self(Problem { errors, ..Problem::new(Kind::Invalid, detail) })
    }

    /// One violation, in the parameter of that name.
    pub(crate) fn parameter(name: &str, code: &str, message: impl Into<String>) -> Self {
        Self::because(vec![Violation::parameter(name, code, message)])
    }
}

impl Forbidden {
    /// The same with another header.
    pub(crate) fn with_header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.0.set_header(name, value);
        self
    }
}

impl Conflict {
    /// With the stored rows that stand against the request.
    pub(crate) fn of_rows(detail: impl Into<String>, rows: Vec<OffendingRow>) -> Self {
        Self(Problem { rows, ..Problem::new(Kind::Conflict, detail.into()) })
    }

    /// With a code for machines.
    pub(crate) fn coded(code: &str, detail: impl Into<String>) -> Self {
        let detail = detail.into();
        Self::because(detail.clone(), vec![Violation::nowhere(code, detail)])
    }

    /// With what stands against the request, one entry each.
    pub(crate) fn because(detail: impl Into<String>, errors: Vec<Violation>) -> Self {
        Self(Problem { errors, ..Problem::new(Kind::Conflict, detail.into()) })
    }
}

impl UnsupportedMediaType {
    /// A media type the operation does not read.
    pub(crate) fn media_type(media_type: &str) -> Self {
        Self::new(format!("a body of type {:?} is not read here", cut(media_type)))
    }

    /// A content coding the operation does not undo.
    pub(crate) fn coding(coding: &str, accepted: &'static str) -> Self {
        let mut problem = Self::new(format!("the content coding {:?} is not read here", cut(coding)));
        problem.0.set_header(header::ACCEPT_ENCODING, HeaderValue::from_static(accepted));
        problem
    }
}

impl Internal {
    /// The cause goes to the log, never into the answer.
    pub(crate) fn because(source: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        let mut problem = Self::new("the request failed through no fault of yours");
        problem.0.source = Some(source.into());
        problem
    }
}

impl From<DbError> for Problem {
    fn from(error: DbError) -> Self {
        match error.failure() {
            Failure::Exhausted | Failure::Passing => Self {
                source: Some(Box::new(error)),
                ..Unavailable::new("the database cannot be reached or is busy").0
            },
            Failure::UniqueViolation | Failure::Lasting => Internal::because(error).0,
        }
    }
}

/// The document's entry of one kind of problem.
pub(crate) fn meta_response(kind: Kind) -> MetaResponse {
    let header = |name: &str, description: &str| MetaHeader {
        name: name.to_owned(),
        description: Some(description.to_owned()),
        required: true,
        deprecated: false,
        schema: MetaSchemaRef::Inline(Box::new(MetaSchema::new("string"))),
    };
    let headers = match kind {
        Kind::Unauthorized | Kind::Forbidden => {
            vec![header("WWW-Authenticate", "How to authenticate (RFC 6750)")]
        }
        Kind::MethodNotAllowed => vec![header("Allow", "The methods of this path")],
        Kind::TooManyRequests | Kind::Unavailable => {
            vec![header("Retry-After", "Seconds to wait before the next attempt")]
        }
        _ => Vec::new(),
    };
    MetaResponse {
        description: kind.title(),
        status: Some(kind.status().as_u16()),
        status_range: None,
        content: vec![MetaMediaType { content_type: MEDIA_TYPE, schema: Body::schema_ref() }],
        headers,
    }
}

/// Makes the schema of problems known to the document.
pub(crate) fn register(registry: &mut poem_openapi::registry::Registry) {
    Body::register(registry);
}
