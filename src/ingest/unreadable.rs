//! Records that could not be told into fields. A file of rejects has them as they were, and they are refused for as long as it says
//! so: whatever was in them, nothing of it is read as something else.

use super::records::Record;

pub(super) const FIELD_COUNT: &str = "field_count";
pub(super) const INVALID_UTF8: &str = "invalid_utf8";
pub(super) const MALFORMED_QUOTES: &str = "malformed_quotes";
pub(super) const RECORD_TOO_LONG: &str = "record_too_long";
pub(super) const UNCLOSED_QUOTE: &str = "unclosed_quote";

const CODES: [&str; 5] = [FIELD_COUNT, INVALID_UTF8, MALFORMED_QUOTES, RECORD_TOO_LONG, UNCLOSED_QUOTE];

/// Whether a reject with that code could not be told into fields.
pub(super) fn is_code(code: &str) -> bool {
    CODES.contains(&code)
}

/// The code that a record of a file of rejects has in that field, if it is one of these.
pub(super) fn code_of(record: &Record<'_>, field: Option<usize>) -> Option<&'static str> {
    let code = record.get(field?)?.trim_ascii();
    CODES.into_iter().find(|known| known.as_bytes() == code)
}
