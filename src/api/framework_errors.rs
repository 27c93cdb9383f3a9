//! Turns the errors of poem and poem-openapi into problems.

use poem::{
    error::{MethodNotAllowedError, NotFoundError, ReadBodyError, SizedLimitError},
    http::StatusCode,
};
use poem_openapi::error::{ContentTypeError, ParseParamError, ParsePathError};

use super::{
    expected::Expected,
    problem::{
        Internal, Invalid, MethodNotAllowed, NotFound, Problem, TooLarge, UnsupportedMediaType, Violation,
    },
};

/// The problem inside the error when a handler put it there, else the one that says the same, in words of ours: parameters must be as
/// `expected`.
pub(super) fn problem(error: poem::Error, expected: &Expected) -> Problem {
    let error = match error.downcast::<Problem>() {
        Ok(problem) => return problem,
        Err(error) => error,
    };
    if error.is::<NotFoundError>() {
        NotFound::new("there is no such path").into()
    } else if error.is::<MethodNotAllowedError>() {
        MethodNotAllowed::new("the path does not have this method").into()
    } else if let Some(ParseParamError { name, .. }) = error.downcast_ref() {
        Invalid::because(vec![Violation::parameter(name, "invalid_parameter", expected.message(name))]).into()
    } else if let Some(ParsePathError { name, .. }) = error.downcast_ref() {
        // poem-openapi numbers path parameters, so the name it knows says nothing to anyone.
        Invalid::new(expected.message(name)).into()
    } else if let Some(error) = error.downcast_ref::<ContentTypeError>() {
        UnsupportedMediaType::new(match error {
            ContentTypeError::NotSupported { content_type } => {
                return UnsupportedMediaType::media_type(content_type).into();
            }
            ContentTypeError::ExpectContentType => "the body comes without a Content-Type",
        })
        .into()
    } else if is_too_large(&error) {
        TooLarge::new("the body is too long").into()
    } else if error.status() == StatusCode::BAD_REQUEST {
        Invalid::new("the request cannot be read").into()
    } else {
        Internal::because(error).into()
    }
}

fn is_too_large(error: &poem::Error) -> bool {
    matches!(error.downcast_ref(), Some(ReadBodyError::PayloadTooLarge))
        || matches!(error.downcast_ref(), Some(SizedLimitError::PayloadTooLarge))
}
