//! How the files of a dataset are written, unless an upload says otherwise.

use serde_json::{Map, Value};

use super::fault::{Faults, member, shown};
use crate::datasets::{Encoding, FileDialect, Quote};

/// Most lines that may be skipped before a header.
const MAX_SKIP: u64 = 1_000;

/// Members that Table Dialect and CSV Dialect have and that say what Tarmac does anyhow, each with what it may be.
fn is_harmless(name: &str, value: &Value) -> Option<bool> {
    Some(match name {
        "$schema" | "csvddfVersion" => value.is_string() || value.is_number(),
        "type" => value == "delimited" || value == "csv",
        "doubleQuote" => *value == Value::Bool(true),
        "skipInitialSpace" | "caseSensitiveHeader" => *value == Value::Bool(false),
        "lineTerminator" => value == "\r\n" || value == "\n" || value == "\r",
        _ => return None,
    })
}

/// Reads a dialect. What is at fault in it is left out.
pub(super) fn read(dialect: &Map<String, Value>, pointer: &str, faults: &mut Faults) -> FileDialect {
    let mut read = FileDialect::default();
    // Two spellings of one member: the later one is a contradiction.
    let mut given: Vec<&str> = Vec::new();
    for (name, value) in dialect {
        let pointer = member(pointer, name);
        let meaning = match &**name {
            "quoteChar" => "quote",
            "escapeChar" => "escape",
            "commentChar" => "comment",
            "nullSequence" => "null",
            other => other,
        };
        if given.contains(&meaning) {
            faults.add(
                pointer,
                "contradiction",
                format!("{name} says what {meaning} says already; give one of them"),
            );
            continue;
        }
        given.push(meaning);
        match meaning {
            "delimiter" => read.delimiter = one_byte(name, value, &pointer, faults),
            "escape" => read.escape = one_byte(name, value, &pointer, faults),
            "comment" => read.comment = one_byte(name, value, &pointer, faults),
            "quote" if value == "none" => read.quote = Some(Quote::None),
            "quote" => read.quote = one_byte(name, value, &pointer, faults).map(Quote::Byte),
            "encoding" => match value.as_str().and_then(Encoding::named) {
                Some(encoding) => read.encoding = Some(encoding),
                None => {
                    let message = "encoding must be utf-8, windows-1252, iso-8859-1 or utf-16";
                    faults.add(pointer, "not_allowed", message);
                }
            },
            "skip" => match value.as_u64().filter(|skip| *skip <= MAX_SKIP) {
                Some(skip) => read.skip = Some(skip as u32),
                None => {
                    let message = format!("skip must be a whole number of lines from 0 to {MAX_SKIP}");
                    faults.add(pointer, "not_allowed", message);
                }
            },
            "header" => match value {
                Value::Bool(header) => read.header = Some(*header),
                Value::String(header) if header == "present" => read.header = Some(true),
                Value::String(header) if header == "absent" => read.header = Some(false),
                _ => faults.add(
                    pointer,
                    "not_allowed",
                    "header must be true, false, \"present\" or \"absent\"",
                ),
            },
            "null" => match value {
                Value::String(null) => read.null = Some(null.as_str().into()),
                _ => faults.add(pointer, "wrong_type", format!("{name} must be a string")),
            },
            _ => match is_harmless(name, value) {
                Some(true) => {}
                Some(false) => {
                    let message = format!("Tarmac does not read files with this {name}; leave it out");
                    faults.add(pointer, "not_allowed", message);
                }
                None => {
                    let message = format!(
                        "{} is not a member of a dialect; there are delimiter, quote, escape, comment, encoding, skip, header and null",
                        shown(name)
                    );
                    faults.add(pointer, "unknown_property", message);
                }
            },
        }
    }
    check_distinct(&read, pointer, faults);
    read
}

/// Characters that mean something must differ, with what holds where the dialect leaves one out.
fn check_distinct(dialect: &FileDialect, pointer: &str, faults: &mut Faults) {
    let quote = match dialect.quote {
        None => Some(b'"'),
        Some(Quote::None) => None,
        Some(Quote::Byte(quote)) => Some(quote),
    };
    let bytes = [
        ("delimiter", Some(dialect.delimiter.unwrap_or(b','))),
        ("quote", quote),
        ("escape", dialect.escape),
        ("comment", dialect.comment),
    ];
    for (at, (name, byte)) in bytes.iter().enumerate() {
        let same = bytes[..at].iter().find(|(_, other)| byte.is_some() && other == byte);
        if let Some((other, _)) = same {
            faults.add(pointer, "contradiction", format!("{other} and {name} must differ"));
        }
    }
}

/// A character that means something to a reader of CSV: one byte, so that it is never a part of another character.
fn one_byte(name: &str, value: &Value, pointer: &str, faults: &mut Faults) -> Option<u8> {
    match value.as_str().map(str::as_bytes) {
        Some(br"\t") => Some(b'\t'),
        Some([byte]) if byte.is_ascii() && !matches!(byte, b'\n' | b'\r' | 0) => Some(*byte),
        _ => {
            let message = format!("{name} must be one ASCII character, no line break");
            faults.add(pointer, "not_allowed", message);
            None
        }
    }
}
