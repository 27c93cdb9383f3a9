//! Patterns of columns in a document. Rust's `regex` checks values; clients have ECMAScript's or Python's.

use regex::Regex;

/// Longest example.
const EXAMPLE_CHARS: usize = 100;

/// The pattern as one that only the whole value matches.
pub(super) fn whole(pattern: &str) -> String {
    format!("^(?:{pattern})$")
}

/// Whether Rust, ECMAScript and Python read the pattern alike. What is in doubt is not.
pub(super) fn is_portable(pattern: &str) -> bool {
    let mut chars = pattern.chars().peekable();
    let mut in_class = false;
    while let Some(char) = chars.next() {
        let next = chars.peek().copied();
        match (char, next) {
            ('\\', Some(escaped)) => {
                let is_known = "dswDSWtnr".contains(escaped) || escaped.is_ascii_punctuation();
                if !is_known {
                    return false;
                }
                chars.next();
            }
            // A class within a class, or a class of POSIX; operators on sets.
            ('[', _) if in_class => return false,
            ('&', Some('&')) | ('-', Some('-')) | ('~', Some('~')) if in_class => return false,
            ('[', next) => {
                // `[]a]` and `[]` mean different things here and there.
                if next == Some(']') {
                    return false;
                }
                in_class = true;
            }
            (']', _) if in_class => in_class = false,
            // `(?:` alone; flags and names are written in different ways.
            ('(', Some('?')) if !in_class => {
                chars.next();
                if chars.peek() != Some(&':') {
                    return false;
                }
            }
            _ => {}
        }
    }
    true
}

/// A text that matches: of a sequence of characters, classes and repetitions; of anything else there is none.
pub(super) fn example(pattern: &str) -> Option<String> {
    let regex = Regex::new(&whole(pattern)).ok()?;
    let mut text = String::new();
    let mut rest = pattern.strip_prefix('^').unwrap_or(pattern);
    rest = rest.strip_suffix('$').unwrap_or(rest);
    while !rest.is_empty() {
        let (atom, after) = atom(rest)?;
        let (times, after) = times(after)?;
        if text.len() + times > EXAMPLE_CHARS {
            return None;
        }
        text.extend(std::iter::repeat_n(atom, times));
        rest = after;
    }
    regex.is_match(&text).then_some(text)
}

/// The first character that the first atom matches, and what follows the atom.
fn atom(pattern: &str) -> Option<(char, &str)> {
    let mut chars = pattern.chars();
    match chars.next()? {
        '\\' => {
            let escaped = chars.next()?;
            Some((class(escaped)?, chars.as_str()))
        }
        '[' => {
            let inner = chars.as_str();
            let (first, end) = (inner.chars().next()?, inner.find(']')?);
            let first = match first {
                '^' | '[' | ']' => return None,
                '\\' => class(inner.chars().nth(1)?)?,
                other => other,
            };
            Some((first, inner.get(end + 1..)?))
        }
        '.' => Some(('a', chars.as_str())),
        '(' | ')' | '|' | '*' | '+' | '?' | '{' | '^' | '$' => None,
        literal => Some((literal, chars.as_str())),
    }
}

/// What stands behind a backslash.
fn class(escaped: char) -> Option<char> {
    match escaped {
        'd' => Some('1'),
        'w' => Some('a'),
        's' => Some(' '),
        punctuation if punctuation.is_ascii_punctuation() => Some(punctuation),
        _ => None,
    }
}

/// How often the atom before is repeated at least, and what follows.
fn times(pattern: &str) -> Option<(usize, &str)> {
    let after = |chars: usize| pattern.get(chars..);
    match pattern.chars().next() {
        Some('*' | '?') => Some((0, after(1)?)),
        Some('+') => Some((1, after(1)?)),
        Some('{') => {
            let (inner, after) = pattern.get(1..)?.split_once('}')?;
            let least = inner.split_once(',').map_or(inner, |(least, _)| least);
            Some((least.parse().ok()?, after))
        }
        _ => Some((1, pattern)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_published_where_all_read_it_alike() {
        for pattern in ["[A-Z]{2}", r"\d{4}-\d{2}", "(?:a|b)+", r"[^/\]]+", "a-b", "a&&b"] {
            assert!(is_portable(pattern), "{pattern}");
        }
        for pattern in [r"\p{L}+", "(?i)a", r"\x{41}", "[[:alpha:]]", "[a&&b]", r"\z", "(?P<n>a)", "[]a]"] {
            assert!(!is_portable(pattern), "{pattern}");
        }
    }

    #[test]
    fn an_example_matches() {
        for (pattern, expected) in [
            ("[A-Z]{2}", Some("AA")),
            (r"^\d{4}-[a-f]+$", Some("1111-a")),
            (r"x\.?y*", Some("x")),
            ("(a|b)", None),
            ("a{1000}", None),
            ("[^a]", None),
            ("(", None),
            ("[", None),
            ("é{3}", Some("ééé")),
        ] {
            assert_eq!(example(pattern).as_deref(), expected, "{pattern}");
        }
    }
}
