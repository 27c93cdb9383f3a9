//! What is wrong with a declaration, and where.

use std::fmt::Write;

/// Most faults that one declaration is answered with.
pub const MAX_FAULTS: usize = 100;

/// A fault of a declaration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DescriptorFault {
    /// JSON Pointer (RFC 6901) into the body as it was sent: `/schema/fields/3/constraints/pattern`.
    pub pointer: String,
    /// Stable and for machines: `ambiguous_name`.
    pub code: &'static str,
    /// For people; says what is allowed.
    pub message: String,
}

/// Collects the first [`MAX_FAULTS`].
#[derive(Debug, Default)]
pub(super) struct Faults(Vec<DescriptorFault>);

impl Faults {
    pub(super) fn add(&mut self, pointer: impl Into<String>, code: &'static str, message: impl Into<String>) {
        self.push(DescriptorFault { pointer: pointer.into(), code, message: message.into() });
    }

    pub(super) fn push(&mut self, fault: DescriptorFault) {
        if !self.is_full() {
            self.0.push(fault);
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn is_full(&self) -> bool {
        self.0.len() >= MAX_FAULTS
    }

    pub(super) fn into_vec(self) -> Vec<DescriptorFault> {
        self.0
    }
}

/// The pointer with one more member name behind it.
pub(super) fn member(pointer: &str, name: &str) -> String {
    let mut longer = format!("{pointer}/");
    escape(&mut longer, name);
    longer
}

/// The pointer with the number of an item behind it.
pub(super) fn item(pointer: &str, index: usize) -> String {
    format!("{pointer}/{index}")
}

/// Writes a member name as JSON Pointer has it.
pub(super) fn escape(pointer: &mut String, name: &str) {
    for character in name.chars() {
        // Writing to a String never fails.
        let _ = match character {
            '~' => pointer.write_str("~0"),
            '/' => pointer.write_str("~1"),
            other => pointer.write_char(other),
        };
    }
}

/// A name in a message: quoted, and cut where it is long.
pub(super) fn shown(name: &str) -> String {
    const MAX_CHARS: usize = 60;
    match name.char_indices().nth(MAX_CHARS) {
        Some((end, _)) => format!("{:?}…", &name[..end]),
        None => format!("{name:?}"),
    }
}
