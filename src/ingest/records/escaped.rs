//! Fields of a dialect with an escape character, byte by byte: outside of quotes and within, it takes the next byte as it is.

use super::{Field, Records};

impl Records<'_> {
    /// Reads the fields of the record that begins at `start`.
    pub(super) fn read_escaped(&mut self, start: usize, escape: u8, quote: Option<u8>) {
        loop {
            let field = self.escaped(start, escape, quote);
            self.fields.push(field);
            if self.bytes.get(self.at) != Some(&self.delimiter) {
                return;
            }
            self.at += 1;
        }
    }

    /// Reads the field at `at`, of the record that begins at `record`.
    fn escaped(&mut self, record: usize, escape: u8, quote: Option<u8>) -> Field {
        let text = self.unescaped.len();
        let mut is_quoted = quote.is_some() && self.bytes.get(self.at).copied() == quote;
        self.at += usize::from(is_quoted);
        let begin = self.at;
        let mut closed = None;
        while let Some(&byte) = self.bytes.get(self.at) {
            let next = self.bytes.get(self.at + 1).copied();
            if byte == escape {
                // The last byte has none to take and is text itself.
                self.unescaped.push(next.unwrap_or(escape));
                self.at += 1 + usize::from(next.is_some());
            } else if is_quoted && Some(byte) == quote {
                if next == quote {
                    self.unescaped.push(byte);
                    self.at += 2;
                    continue;
                }
                is_quoted = false;
                closed = Some(self.at);
                self.at += 1;
                self.is_malformed |= next.is_some_and(|byte| !self.ends_field(byte));
            } else if !is_quoted && self.ends_field(byte) {
                break;
            } else {
                self.unescaped.push(byte);
                self.at += 1;
            }
        }
        let end = closed.unwrap_or(self.at);
        // `\N` is null also where the backslash is the escape character.
        if self.bytes[begin..end] == *self.null {
            self.unescaped.truncate(text);
            return Field { start: begin - record, end: end - record, is_unescaped: false };
        }
        Field { start: text, end: self.unescaped.len(), is_unescaped: true }
    }

    fn ends_field(&self, byte: u8) -> bool {
        byte == self.delimiter || matches!(byte, b'\n' | b'\r')
    }
}
