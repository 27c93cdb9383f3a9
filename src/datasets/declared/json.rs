//! Objects and arrays: JSON that PostgreSQL's `jsonb` can keep and give back.

use serde_json::value::RawValue;

use crate::datasets::numeric::MAX_WHOLE;

/// Deepest JSON.
const MAX_DEPTH: usize = 64;
/// Longest JSON, in bytes, without the blanks between its tokens and with its numbers written out.
const MAX_BYTES: usize = 64 << 10;

/// How many members or items the object or array has that the text says. `None`: it is not JSON, too long or too deep, not of that kind, or
/// has what `jsonb` refuses: `\u0000`, half a surrogate pair, a number beyond `numeric`.
pub(super) fn count(text: &str, is_object: bool) -> Option<usize> {
    let first = if is_object { b'{' } else { b'[' };
    // Blanks are not counted by the limit, and yet nobody needs that many.
    if text.len() > 16 * MAX_BYTES || !text.trim_start().as_bytes().starts_with(&[first]) {
        return None;
    }
    // Checks the grammar, and is not recursive.
    serde_json::from_str::<&RawValue>(text).ok()?;
    let mut count = Count::default();
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(byte) = bytes.get(at) {
        at += match byte {
            b' ' | b'\t' | b'\n' | b'\r' => 1,
            b'"' => {
                let len = string(&bytes[at..])?;
                count.value();
                count.bytes += len;
                len
            }
            b'-' | b'0'..=b'9' => {
                let rest = &text[at..];
                let len = rest
                    .find(|next: char| !matches!(next, '0'..='9' | '-' | '+' | '.' | 'e' | 'E'))
                    .unwrap_or(rest.len());
                count.value();
                count.bytes += number(&rest[..len])?;
                len
            }
            b'{' | b'[' => {
                count.value();
                count.bytes += 1;
                count.depth += 1;
                if count.depth > MAX_DEPTH {
                    return None;
                }
                1
            }
            b'}' | b']' => {
                count.bytes += 1;
                count.depth -= 1;
                1
            }
            b',' => {
                count.bytes += 1;
                count.commas += usize::from(count.depth == 1);
                1
            }
            // A colon, or the letters of true, false and null.
            _ => {
                count.value();
                count.bytes += 1;
                1
            }
        };
        if count.bytes > MAX_BYTES {
            return None;
        }
    }
    Some(if count.has_any { count.commas + 1 } else { 0 })
}

#[derive(Debug, Default)]
struct Count {
    bytes: usize,
    depth: usize,
    commas: usize,
    has_any: bool,
}

impl Count {
    fn value(&mut self) {
        self.has_any |= self.depth > 0;
    }
}

/// The length of the string at the beginning, which is valid JSON.
fn string(bytes: &[u8]) -> Option<usize> {
    let mut at = 1;
    loop {
        match bytes.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' if bytes.get(at + 1) == Some(&b'u') => {
                let code = unit(bytes, at)?;
                match code {
                    0 | 0xdc00..=0xdfff => return None,
                    0xd800..=0xdbff => {
                        if !(bytes.get(at + 6) == Some(&b'\\') && bytes.get(at + 7) == Some(&b'u')) {
                            return None;
                        }
                        if !(0xdc00..=0xdfff).contains(&unit(bytes, at + 6)?) {
                            return None;
                        }
                        at += 12;
                    }
                    _ => at += 6,
                }
            }
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// The code unit of a `\u` escape.
fn unit(bytes: &[u8], at: usize) -> Option<u32> {
    let digits = std::str::from_utf8(bytes.get(at + 2..at + 6)?).ok()?;
    u32::from_str_radix(digits, 16).ok()
}

/// How long the number is that PostgreSQL makes of it. `None`: it is beyond what `numeric` can keep, or readers of JSON can read.
fn number(text: &str) -> Option<usize> {
    if text.parse().is_ok_and(f64::is_infinite) {
        return None;
    }
    let (digits, exponent) = text.split_once(['e', 'E']).unwrap_or((text, "0"));
    let exponent: i64 = exponent.parse().ok()?;
    // Zeros of a fraction are kept.
    let fraction = digits.split_once('.').map_or(0, |(_, digits)| digits.len());
    let scale = (i64::try_from(fraction).ok()? - exponent).max(0);
    let places = usize::try_from(exponent.unsigned_abs()).ok()?;
    (scale <= MAX_FRACTION && exponent <= MAX_WHOLE).then(|| digits.len() + places)
}

/// Most digits after the point of a `numeric`.
const MAX_FRACTION: i64 = 16_383;
