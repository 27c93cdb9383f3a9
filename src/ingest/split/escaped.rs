//! Where a record of a dialect with an escape character ends, byte by byte.

use super::{Scan, Splitter};

impl Splitter {
    pub(super) fn scan_escaped(&self, start: usize, escape: u8) -> Scan {
        let incomplete = Scan::Incomplete { content: self.bytes.len() };
        let (mut at, mut begins, mut is_quoted) = (start, true, false);
        loop {
            let Some(&byte) = self.bytes.get(at) else {
                let is_over = self.ended && !is_quoted;
                return if is_over { Scan::Complete { content: at, next: at } } else { incomplete };
            };
            let next = self.bytes.get(at + 1).copied();
            // What the next byte is decides what this one means.
            if next.is_none() && !self.ended && (byte == escape || is_quoted && Some(byte) == self.quote) {
                return incomplete;
            }
            let is_quote = Some(byte) == self.quote;
            if byte == escape {
                at += usize::from(next.is_some());
            } else if is_quoted && is_quote {
                is_quoted = next == self.quote;
                at += usize::from(is_quoted);
            } else if begins && is_quote {
                is_quoted = true;
            } else if !is_quoted && matches!(byte, b'\n' | b'\r') {
                return self.complete(at);
            }
            begins = !is_quoted && byte == self.delimiter;
            at += 1;
        }
    }
}
