//! What a key may be used for, also where that is limited to a dataset: `read`, `write`, `admin`, `schema`, `read:cats`, `write:cats`.
//!
//! A key's grants are stored as these texts, so keys of before there were datasets mean what they meant.
//!
//! Unlimited `read` and `write` are for every dataset that is not private; a private one is reached only by a grant that names it, and by
//! `admin`. No grant includes another. But who purges datasets must see them, so `admin` sees all; and who declares must see what is
//! declared, so `schema` sees the descriptors of all datasets that are not private. Neither reads rows.

use std::{fmt, str::FromStr};

use crate::{datasets::Ident, db::keys::Scope};

/// What is written between a verb and a dataset.
const SEPARATOR: char = ':';

/// One thing that a key may do.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Grant {
    /// Reads rows and imports: of this dataset, or of all that are not private.
    Read(Option<Ident>),
    /// Imports, and changes rows: of this dataset, or of all that are not private.
    Write(Option<Ident>),
    /// Declares, changes and hides datasets.
    Schema,
    /// Operates the service.
    Admin,
}

/// What is done with a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Action {
    /// Sees its descriptor, its schema, its document and that it exists.
    Describe,
    /// Reads its rows and imports.
    Read,
    /// Imports into it, and changes its rows.
    Write,
    /// Declares, changes, hides or restores it.
    Declare,
    /// Removes it for ever.
    Purge,
}

/// Whether something may be done with a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// It may.
    Yes,
    /// It may not, and the key may know of the dataset: 403.
    Forbidden,
    /// The key has nothing for the dataset, so to it there is none: 404.
    Hidden,
}

/// Why a text is no grant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GrantError {
    /// It is no word of ours.
    #[error("must be read, write, schema or admin; read and write may name a dataset, as read:cats")]
    Unknown,
    /// Only reading and writing is limited to datasets.
    #[error("{0} cannot be limited to a dataset; read and write can")]
    NotLimited(&'static str),
    /// What is behind the colon is no name of a dataset.
    #[error(
        "{0:?} is no name of a dataset: it must begin with a lower-case letter, have at most 40 lower-case letters, digits and _, and no __"
    )]
    Name(String),
}

impl From<Scope> for Grant {
    fn from(scope: Scope) -> Self {
        match scope {
            Scope::Read => Self::Read(None),
            Scope::Write => Self::Write(None),
            Scope::Schema => Self::Schema,
            Scope::Admin => Self::Admin,
        }
    }
}

impl FromStr for Grant {
    type Err = GrantError;

    fn from_str(text: &str) -> Result<Self, GrantError> {
        let (verb, name) = match text.split_once(SEPARATOR) {
            None => (text, None),
            Some((verb, name)) => (verb, Some(name)),
        };
        let dataset = |name: Option<&str>| {
            name.map(|name| Ident::dataset(name).ok_or_else(|| GrantError::Name(name.to_owned()))).transpose()
        };
        match (verb, name) {
            ("read", name) => dataset(name).map(Self::Read),
            ("write", name) => dataset(name).map(Self::Write),
            ("schema", None) => Ok(Self::Schema),
            ("admin", None) => Ok(Self::Admin),
            ("schema", Some(_)) => Err(GrantError::NotLimited("schema")),
            ("admin", Some(_)) => Err(GrantError::NotLimited("admin")),
            _ => Err(GrantError::Unknown),
        }
    }
}

/// As it is stored and listed.
impl fmt::Display for Grant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (verb, dataset) = match self {
            Self::Read(dataset) => ("read", dataset.as_ref()),
            Self::Write(dataset) => ("write", dataset.as_ref()),
            Self::Schema => ("schema", None),
            Self::Admin => ("admin", None),
        };
        match dataset {
            None => f.write_str(verb),
            Some(dataset) => write!(f, "{verb}{SEPARATOR}{}", dataset.as_str()),
        }
    }
}

/// The grants of a key as they are stored. Those that this version does not know give nothing.
pub fn parse_all<T: AsRef<str>>(stored: &[T]) -> Vec<Grant> {
    stored.iter().filter_map(|text| text.as_ref().parse().ok()).collect()
}

/// Whether a key with these grants may do this with a dataset.
pub fn access(grants: &[Grant], action: Action, name: &str, is_private: bool) -> Access {
    let is_for = |limit: &Option<Ident>| limit.as_ref().map_or(!is_private, |limit| limit.as_str() == name);
    let has = |wanted: fn(&Grant) -> bool| grants.iter().any(wanted);
    let reads = grants.iter().any(|grant| matches!(grant, Grant::Read(limit) if is_for(limit)));
    let writes = grants.iter().any(|grant| matches!(grant, Grant::Write(limit) if is_for(limit)));
    let is_admin = has(|grant| *grant == Grant::Admin);
    let declares = has(|grant| *grant == Grant::Schema) && !is_private;
    // Who declares a private dataset needs a grant that names it besides: else there would be no telling that it exists.
    let sees = reads || writes || declares || is_admin;
    let may = match action {
        Action::Describe => sees,
        Action::Read => reads,
        Action::Write => writes,
        Action::Declare => sees && has(|grant| *grant == Grant::Schema),
        Action::Purge => is_admin,
    };
    if may {
        Access::Yes
    } else if sees {
        Access::Forbidden
    } else {
        Access::Hidden
    }
}

/// Whether a key with these grants may declare a dataset of a name that is free.
pub fn may_declare(grants: &[Grant]) -> bool {
    grants.contains(&Grant::Schema)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(texts: &str) -> Vec<Grant> {
        texts.split_whitespace().map(|text| text.parse().expect("a grant")).collect()
    }

    #[test]
    fn a_grant_is_stored_as_it_is_written() {
        for text in ["read", "write", "schema", "admin", "read:cats", "write:a_1", "read:airports"] {
            assert_eq!(text.parse::<Grant>().expect("a grant").to_string(), text);
        }
    }

    #[test]
    fn what_is_no_grant_is_refused() {
        for text in ["", "Read", "reads", ":", ":cats", " read", "undo", "undo:cats"] {
            assert_eq!(text.parse::<Grant>(), Err(GrantError::Unknown), "{text:?}");
        }
        for text in ["schema:cats", "admin:"] {
            assert!(matches!(text.parse::<Grant>(), Err(GrantError::NotLimited(_))), "{text:?}");
        }
        let long = format!("read:{}", "a".repeat(41));
        for text in ["read:", "read:Cats", "read:a__b", "write:1a", "read:cats:dogs", "read:*", long.as_str()]
        {
            assert!(matches!(text.parse::<Grant>(), Err(GrantError::Name(_))), "{text:?}");
        }
    }

    #[test]
    fn grants_that_are_not_known_give_nothing() {
        assert_eq!(parse_all(&["read", "fly", "write:Cats"]), [Grant::Read(None)]);
    }

    /// For each action, in the order describe, read, write, declare, purge: Y, F or H.
    fn row(texts: &str, is_private: bool) -> String {
        let actions = [Action::Describe, Action::Read, Action::Write, Action::Declare, Action::Purge];
        let letter = |action| match access(&grants(texts), action, "cats", is_private) {
            Access::Yes => 'Y',
            Access::Forbidden => 'F',
            Access::Hidden => 'H',
        };
        actions.map(letter).into_iter().collect()
    }

    #[test]
    fn every_grant_against_every_action() {
        for (texts, public, private) in [
            ("", "HHHHH", "HHHHH"),
            ("read", "YYFFF", "HHHHH"),
            ("write", "YFYFF", "HHHHH"),
            ("schema", "YFFYF", "HHHHH"),
            ("admin", "YFFFY", "YFFFY"),
            ("read:cats", "YYFFF", "YYFFF"),
            ("write:cats", "YFYFF", "YFYFF"),
            ("read:dogs write:dogs", "HHHHH", "HHHHH"),
            ("read write:cats", "YYYFF", "YFYFF"),
            ("read write", "YYYFF", "HHHHH"),
            ("read:cats write:cats", "YYYFF", "YYYFF"),
            ("schema read:cats", "YYFYF", "YYFYF"),
            ("schema write:dogs", "YFFYF", "HHHHH"),
            ("read:dogs write", "YFYFF", "HHHHH"),
        ] {
            assert_eq!(
                (row(texts, false).as_str(), row(texts, true).as_str()),
                (public, private),
                "{texts:?}"
            );
        }
    }

    #[test]
    fn a_new_name_takes_schema() {
        assert!(may_declare(&grants("schema")));
        assert!(!may_declare(&grants("read write admin write:cats")));
    }
}
