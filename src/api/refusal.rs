//! What an operation may be refused with, as a response type of its own.

/// Declares what an operation may be refused with: a response type made of kinds of problems and of other such
/// unions, besides a failing database, which may always happen.
///
/// ```text
/// refusal!(ReadRefusal: NotFound, NotAcceptable);
/// ```
#[macro_export]
#[doc(hidden)]
macro_rules! refusal {
    ($(#[$doc:meta])* $visibility:vis $name:ident $(: $($part:ty),+)?) => {
        $(#[$doc])*
        #[derive(Debug)]
        $visibility struct $name($crate::api::problem::Problem);

        $($(
            impl From<$part> for $name {
                fn from(part: $part) -> Self {
                    Self(part.into())
                }
            }
        )+)?

        impl From<$crate::db::DbError> for $name {
            fn from(error: $crate::db::DbError) -> Self {
                Self(error.into())
            }
        }

        impl From<$name> for $crate::api::problem::Problem {
            fn from(refusal: $name) -> Self {
                refusal.0
            }
        }

        impl From<$name> for poem::Error {
            fn from(refusal: $name) -> Self {
                refusal.0.into()
            }
        }

        impl $crate::api::problem::Refuses for $name {
            fn kinds() -> Vec<$crate::api::problem::Kind> {
                let parts: &[fn() -> Vec<$crate::api::problem::Kind>] =
                    &[$($(<$part as $crate::api::problem::Refuses>::kinds),+)?];
                parts.iter().flat_map(|kinds| kinds()).collect()
            }
        }

        impl poem_openapi::ApiResponse for $name {
            fn meta() -> poem_openapi::registry::MetaResponses {
                let kinds = <Self as $crate::api::problem::Refuses>::kinds();
                poem_openapi::registry::MetaResponses {
                    responses: kinds.into_iter().map($crate::api::problem::meta_response).collect(),
                }
            }

            fn register(registry: &mut poem_openapi::registry::Registry) {
                $crate::api::problem::register(registry);
            }
        }
    };
}
