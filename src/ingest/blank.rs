//! What lies between records and belongs to none: line breaks, and records of nothing but empty fields, which spreadsheets write below
//! their data. Whoever counts rows passes over it here, so that all count the same.

/// How a file says that a record is blank.
#[derive(Debug, Clone, Copy)]
pub(super) struct Blanks {
    /// Between fields.
    pub(super) delimiter: u8,
    /// Around fields.
    pub(super) quote: u8,
    /// The longest record; a longer one is a reject, whatever is in it.
    pub(super) record_bytes: usize,
}

impl Blanks {
    /// How many bytes are before the first record. `ended`: there are no bytes after these, so the last record is whole.
    #[inline]
    pub(super) fn leading(&self, bytes: &[u8], ended: bool) -> usize {
        match bytes.first() {
            Some(byte) if [b'\n', b'\r', self.delimiter, self.quote].contains(byte) => {
                self.search(bytes, ended)
            }
            // Most records begin with something else.
            _ => 0,
        }
    }

    fn search(&self, bytes: &[u8], ended: bool) -> usize {
        let mut at = 0;
        loop {
            at += bytes[at..].iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
            match self.record(&bytes[at..], ended) {
                Some(length) if length > 0 => at += length,
                _ => return at,
            }
        }
    }

    /// The length of the first record, without its line break, if it is blank.
    fn record(&self, bytes: &[u8], ended: bool) -> Option<usize> {
        let mut at = 0;
        loop {
            if bytes.get(at) == Some(&self.quote) {
                if bytes.get(at + 1) != Some(&self.quote) {
                    return None;
                }
                at += 2;
            }
            match bytes.get(at) {
                Some(byte) if *byte == self.delimiter => at += 1,
                Some(b'\n' | b'\r') => break,
                None if ended => break,
                _ => return None,
            }
        }
        (at <= self.record_bytes).then_some(at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn leading(bytes: &str, ended: bool) -> usize {
        Blanks { delimiter: b',', quote: b'"', record_bytes: 8 }.leading(bytes.as_bytes(), ended)
    }

    #[test]
    fn records_of_nothing_but_empty_fields_are_passed_over() {
        for (bytes, length) in [
            ("a", 0),
            ("\r\n\na", 3),
            (",,,\n,\r\na", 7),
            ("\"\",\"\"\n\"\"\na", 9),
            (",\"\",\na", 5),
            (",a\n", 0),
            (",\n,a\n", 2),
            ("\"\"\"\"\n", 0),
            ("\"\"a\n", 0),
            ("\"a\"\n", 0),
            (", ,\n", 0),
            (",,,,,,,,\na", 9),
            (",,,,,,,,,\na", 0),
        ] {
            assert_eq!(leading(bytes, true), length, "{bytes:?}");
            assert_eq!(leading(bytes, false), length, "{bytes:?}");
        }
    }

    #[test]
    fn a_record_that_may_go_on_is_not_blank_yet() {
        for bytes in [",,", "\"\"", ",\"", ",\"\"", "\n,"] {
            let breaks = usize::from(bytes.starts_with('\n'));
            assert_eq!(leading(bytes, false), breaks, "{bytes:?}");
        }
        assert_eq!((leading(",,", true), leading("\"\"", true), leading(",\"", true)), (2, 2, 0));
    }
}
