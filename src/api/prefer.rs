//! `Prefer` (RFC 7240).

/// The value of a preference: empty for one that has none, nothing when it was not expressed. The first one counts.
pub(crate) fn preference<'a>(header: Option<&'a str>, name: &str) -> Option<&'a str> {
    header?.split(',').find_map(|preference| {
        let preference = preference.split(';').next().unwrap_or(preference).trim();
        let (given, value) = preference.split_once('=').unwrap_or((preference, ""));
        given.trim().eq_ignore_ascii_case(name).then(|| value.trim().trim_matches('"'))
    })
}

/// What the answer to a change carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Return {
    /// The changed row; the default.
    Representation {
        /// Whether the client asked for it.
        asked: bool,
    },
    /// Nothing beyond the headers.
    Minimal,
}

impl Return {
    /// From the header; an unknown value is no preference, as RFC 7240 has it.
    pub(crate) fn of(header: Option<&str>) -> Self {
        match preference(header, "return") {
            Some("minimal") => Self::Minimal,
            value => Self::Representation { asked: value == Some("representation") },
        }
    }

    /// `Preference-Applied`.
    pub(crate) fn applied(self) -> Option<String> {
        match self {
            Self::Representation { asked: true } => Some("return=representation".to_owned()),
            Self::Representation { asked: false } => None,
            Self::Minimal => Some("return=minimal".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_preference_is_found_among_others() {
        let header = Some("respond-async, WAIT = 10; x=1, return=\"minimal\"");
        assert_eq!(preference(header, "respond-async"), Some(""));
        assert_eq!(preference(header, "wait"), Some("10"));
        assert_eq!(Return::of(header), Return::Minimal);
        assert_eq!(preference(header, "handling"), None);
        assert_eq!(preference(None, "wait"), None);
    }

    #[test]
    fn an_unknown_return_is_no_preference() {
        assert_eq!(Return::of(Some("return=all")).applied(), None);
        assert_eq!(
            Return::of(Some("return=representation")).applied().as_deref(),
            Some("return=representation")
        );
    }
}
