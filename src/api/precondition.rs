//! Versions of single rows: `ETag`, `If-Match`, `If-None-Match` (RFC 9110, sections 8.8.3 and 13.1).

use super::problem::PreconditionFailed;

/// The strong entity tag of a version.
pub(crate) fn etag(version: i64) -> String {
    format!("\"{version}\"")
}

/// The versions a change is allowed to start from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct IfMatch(Option<String>);

impl IfMatch {
    /// The header's value; without one every version will do.
    pub(crate) fn new(header: Option<String>) -> Self {
        Self(header)
    }

    /// Fails when `version` is not among them.
    pub(crate) fn check(&self, version: i64) -> Result<(), PreconditionFailed> {
        let Some(header) = &self.0 else { return Ok(()) };
        let etag = etag(version);
        // A weak tag never matches here: RFC 9110 asks for the strong comparison.
        if tags(header).any(|tag| tag == "*" || tag == etag) {
            Ok(())
        } else {
            Err(PreconditionFailed::new(format!("the present version is {etag}")))
        }
    }
}

/// Whether the client already has `version`, by its `If-None-Match`.
pub(crate) fn has_version(if_none_match: Option<&str>, version: i64) -> bool {
    let etag = etag(version);
    if_none_match.is_some_and(|header| {
        tags(header).any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
    })
}

/// Our tags hold no comma.
fn tags(header: &str) -> impl Iterator<Item = &str> {
    header.split(',').map(str::trim)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn if_match_compares_strongly() {
        for (header, matches) in [
            ("\"3\"", true),
            ("\"2\", \"3\"", true),
            ("*", true),
            ("W/\"3\"", false),
            ("\"33\"", false),
            ("3", false),
        ] {
            assert_eq!(IfMatch::new(Some(header.to_owned())).check(3).is_ok(), matches, "{header}");
        }
        assert!(IfMatch::new(None).check(3).is_ok());
    }

    #[test]
    fn if_none_match_compares_weakly() {
        assert!(has_version(Some("W/\"3\""), 3));
        assert!(has_version(Some("\"1\",\"3\""), 3));
        assert!(!has_version(Some("\"1\""), 3));
        assert!(!has_version(None, 3));
    }
}
