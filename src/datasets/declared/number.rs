//! Whole and decimal numbers as files write them.

use std::{borrow::Cow, num::IntErrorKind};

use super::{Broken, Written};
use crate::datasets::numeric::{Numeric, NumericError};

/// A whole number of 64 bits.
pub(super) fn integer(text: &str, written: &Written) -> Result<i64, Broken> {
    match plain_integer(text) {
        Err("not_an_integer") if written.group.is_some() || !written.bare => {}
        result => return result,
    }
    let text = if written.bare { Cow::Borrowed(text) } else { bare(text) };
    let text = ungroup(text, written.group, None).ok_or("not_an_integer")?;
    plain_integer(&text)
}

pub(super) fn plain_integer(text: &str) -> Result<i64, Broken> {
    text.parse().map_err(|error: std::num::ParseIntError| match error.kind() {
        // It stops at the digit that is too much.
        IntErrorKind::PosOverflow | IntErrorKind::NegOverflow
            if text.bytes().skip(1).all(|byte| byte.is_ascii_digit()) =>
        {
            "out_of_range"
        }
        _ => "not_an_integer",
    })
}

/// A decimal number.
pub(super) fn numeric(text: &str, written: &Written) -> Result<Numeric, Broken> {
    match Numeric::parse(text, written.decimal) {
        Err(NumericError::Malformed) if written.group.is_some() || !written.bare => {}
        result => return result.map_err(code),
    }
    let text = if written.bare { Cow::Borrowed(text) } else { bare(text) };
    let text = ungroup(text, written.group, Some(written.decimal)).ok_or("not_a_number")?;
    Numeric::parse(&text, written.decimal).map_err(code)
}

/// A decimal number, to the precision of `double precision`.
pub(super) fn float(text: &str, written: &Written) -> Result<f64, Broken> {
    numeric(text, written).and_then(to_f64)
}

/// The nearest floating-point number. One that is too small for it is out of range too: it would become zero.
pub(super) fn to_f64(numeric: Numeric) -> Result<f64, Broken> {
    let number = numeric.to_f64();
    if number.is_finite() && (number != 0.0 || numeric.groups().is_empty()) {
        Ok(number)
    } else {
        Err("out_of_range")
    }
}

pub(super) fn code(error: NumericError) -> Broken {
    match error {
        NumericError::Malformed => "not_a_number",
        NumericError::OutOfRange => "out_of_range",
    }
}

/// From the first digit to the last, with the sign that is directly before the first or begins the text. Only what is no number as it
/// stands comes here, so that `.5` and `-.5` keep their point.
fn bare(text: &str) -> Cow<'_, str> {
    // Not even beside the digits.
    if text.contains('\0') {
        return Cow::Borrowed("");
    }
    let is_digit = |character: char| character.is_ascii_digit();
    let (Some(first), Some(last)) = (text.find(is_digit), text.rfind(is_digit)) else {
        return Cow::Borrowed("");
    };
    let (before, digits) = (&text[..first], &text[first..=last]);
    let Some((others, between)) = before.split_once('-') else { return Cow::Borrowed(digits) };
    // Two signs, a sign in the middle of words, or one that belongs to a fraction: `--5`, `a-b5`, `-.5`.
    let is_sign = between.is_empty() || (others.is_empty() && !between.contains(['-', '.', ',']));
    if is_sign { Cow::Owned(format!("-{digits}")) } else { Cow::Borrowed("") }
}

/// The number without the characters between groups of three digits. `None`: one is somewhere else.
fn ungroup(text: Cow<'_, str>, group: Option<char>, decimal: Option<char>) -> Option<Cow<'_, str>> {
    let Some(group) = group.filter(|group| text.contains(*group)) else { return Some(text) };
    let end = text.find(|character| Some(character) == decimal || matches!(character, 'e' | 'E'));
    let (whole, rest) = text.split_at(end.unwrap_or(text.len()));
    let (sign, whole) = match whole.strip_prefix(['+', '-']) {
        Some(digits) => whole.split_at(whole.len() - digits.len()),
        None => ("", whole),
    };
    let mut groups = whole.split(group);
    let first = groups.next()?;
    let mut number = String::with_capacity(text.len());
    number.push_str(sign);
    number.push_str(first);
    let mut is_grouped = false;
    for digits in groups {
        is_grouped = true;
        if digits.len() != 3 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return None;
        }
        number.push_str(digits);
    }
    if is_grouped && !(1..=3).contains(&first.len()) {
        return None;
    }
    number.push_str(rest);
    Some(Cow::Owned(number))
}
