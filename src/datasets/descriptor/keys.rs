//! The names of columns: keys as they are derived, and which names a header could mean two columns by.

use std::collections::{HashMap, HashSet};

use unicode_normalization::{UnicodeNormalization, char::is_combining_mark};

use crate::datasets::{Ident, ident};

/// What a key must not be: the parameters of lists and statistics, and PostgreSQL's own columns.
pub const RESERVED_KEYS: [&str; 19] = [
    "limit", "cursor", "sort", "fields", "q", "near", "radius", "bbox", "columns", "by", "measure", "count",
    "tz", "tableoid", "xmin", "cmin", "xmax", "cmax", "ctid",
];

/// Names that exports and rejects have beside the dataset's columns.
pub const RESERVED_NAMES: [&str; 14] = [
    "_id",
    "_import",
    "_row",
    "_version",
    "_created_at",
    "_updated_at",
    "_deleted_at",
    "_line",
    "_file",
    "_column",
    "_code",
    "_message",
    "_point",
    "_distance_m",
];

/// Whether no column may have that key.
pub fn is_reserved(key: &str) -> bool {
    RESERVED_KEYS.contains(&key)
}

/// A name as it is compared with others: without blanks at its edges, and in lower case.
pub fn folded(name: &str) -> String {
    trimmed(name).to_lowercase()
}

/// Whether a name is this folded one; makes no copy of it.
pub fn is_folded(name: &str, folded: &str) -> bool {
    // Only a final sigma is lower-cased by its place in a word; a copy is made where there is one.
    if name.contains('Σ') {
        return self::folded(name) == folded;
    }
    trimmed(name).chars().flat_map(char::to_lowercase).eq(folded.chars())
}

/// A name without the blanks at its edges: Unicode's White_Space, the byte order mark and the zero width space.
pub fn trimmed(name: &str) -> &str {
    name.trim_matches(|character: char| {
        character.is_whitespace() || matches!(character, '\u{feff}' | '\u{200b}')
    })
}

/// The key that is made of a column's name. `taken` says what it must not be; `number` is the column's, from 1.
pub(super) fn derive(name: &str, number: usize, mut taken: impl FnMut(&str) -> bool) -> String {
    let mut key = plain(name);
    if key.is_empty() {
        key = format!("column_{number}");
    }
    if key.starts_with(|first: char| first.is_ascii_digit()) {
        key.insert_str(0, "n_");
    }
    if is_reserved(&key) {
        key.push_str("_field");
    }
    let key = cut(&key, ident::MAX_BYTES);
    let mut unique = key.to_owned();
    let mut next = 2_usize;
    while taken(&unique) {
        let suffix = format!("_{next}");
        unique = format!("{}{suffix}", cut(key, ident::MAX_BYTES - suffix.len()));
        next += 1;
    }
    unique
}

/// ASCII letters in lower case and digits; whatever else there is between them is one `_`.
fn plain(name: &str) -> String {
    let mut plain = String::new();
    for character in name.nfkd().filter(|character| !is_combining_mark(*character)) {
        if character.is_ascii_alphanumeric() {
            plain.push(character.to_ascii_lowercase());
        } else if !plain.is_empty() && !plain.ends_with('_') {
            plain.push('_');
        }
    }
    plain.truncate(plain.trim_end_matches('_').len());
    plain
}

/// At most so many bytes of an ASCII text, up to a `_` where there is one.
fn cut(key: &str, bytes: usize) -> &str {
    if key.len() <= bytes {
        return key;
    }
    // A `_` right behind the limit ends a whole word too.
    match key[..=bytes].rfind('_') {
        Some(end) if end > 0 => &key[..end],
        _ => &key[..bytes],
    }
}

/// Which column each name belongs to.
#[derive(Debug, Default)]
pub(super) struct Names {
    /// By the folded name: the first column that has it.
    owners: HashMap<String, usize>,
    /// Keys that are spoken for.
    keys: HashSet<String>,
}

impl Names {
    /// Notes a name, key or alias of a column. Gives the other column that has it already.
    pub(super) fn claim(&mut self, name: &str, column: usize) -> Option<usize> {
        let owner = *self.owners.entry(folded(name)).or_insert(column);
        (owner != column).then_some(owner)
    }

    /// Notes a given key.
    pub(super) fn take_key(&mut self, key: &Ident) {
        self.keys.insert(key.as_str().to_owned());
    }

    /// Derives a key that neither is another column's nor could be mistaken for another column's name or alias.
    pub(super) fn derive(&mut self, name: &str, column: usize) -> Option<Ident> {
        let Self { owners, keys } = self;
        let key = derive(name, column + 1, |key| {
            keys.contains(key) || owners.get(key).is_some_and(|owner| *owner != column)
        });
        self.keys.insert(key.clone());
        self.owners.entry(key.clone()).or_insert(column);
        Ident::new(&key)
    }
}
