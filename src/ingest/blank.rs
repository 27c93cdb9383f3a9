//! What lies between records and belongs to none: line breaks, comments, and records of nothing but empty fields, which spreadsheets
//! write below their data. Whoever counts rows passes over it here, so that all count the same.

use memchr::memchr2;

use crate::db::imports::Dialect;

/// How a file says that a record is blank.
#[derive(Debug, Clone)]
pub(super) struct Blanks {
    delimiter: u8,
    quote: Option<u8>,
    comment: Option<u8>,
    /// The longest record; a longer one is a reject, whatever is in it.
    record_bytes: usize,
    /// Whether what begins with that byte may be blank: to ask costs every record the same, whatever the dialect has.
    begins: [bool; 256],
}

/// What is before a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Leading {
    /// How many bytes it is.
    pub(super) length: usize,
    /// Whether it ends within a comment, which goes on in the bytes that follow.
    pub(super) in_comment: bool,
}

impl Blanks {
    /// In files of that dialect, whose records are no longer than `record_bytes`.
    pub(super) fn new(dialect: &Dialect, record_bytes: usize) -> Self {
        let Dialect { delimiter, quote, comment, .. } = *dialect;
        let mut begins = [false; 256];
        for byte in [Some(b'\n'), Some(b'\r'), Some(delimiter), quote, comment].into_iter().flatten() {
            begins[usize::from(byte)] = true;
        }
        Self { delimiter, quote, comment, record_bytes, begins }
    }

    /// What is before the first record. `ended`: there are no bytes after these, so the last record is whole.
    #[inline]
    pub(super) fn leading(&self, bytes: &[u8], ended: bool) -> Leading {
        match bytes.first() {
            Some(&byte) if self.begins[usize::from(byte)] => self.search(bytes, ended),
            // Most records begin with something else.
            _ => Leading { length: 0, in_comment: false },
        }
    }

    fn search(&self, bytes: &[u8], ended: bool) -> Leading {
        let mut at = 0;
        loop {
            at += bytes[at..].iter().take_while(|byte| matches!(byte, b'\n' | b'\r')).count();
            if self.comment.is_some() && bytes.get(at) == self.comment.as_ref() {
                match memchr2(b'\n', b'\r', &bytes[at..]) {
                    Some(length) => at += length,
                    None => return Leading { length: bytes.len(), in_comment: !ended },
                }
                continue;
            }
            match self.record(&bytes[at..], ended) {
                Some(length) if length > 0 => at += length,
                _ => return Leading { length: at, in_comment: false },
            }
        }
    }

    /// The length of the first record, without its line break, if it is blank.
    fn record(&self, bytes: &[u8], ended: bool) -> Option<usize> {
        let mut at = 0;
        loop {
            if self.quote.is_some() && bytes.get(at) == self.quote.as_ref() {
                if bytes.get(at + 1) != self.quote.as_ref() {
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
        Blanks::new(&Dialect::standard(""), 8).leading(bytes.as_bytes(), ended).length
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

    #[test]
    fn comments_are_passed_over_whatever_is_in_them_and_however_long_they_are() {
        let blanks = Blanks::new(&Dialect { comment: Some(b'#'), ..Dialect::standard("") }, 8);
        for (bytes, length) in [
            ("#a\nb", 3),
            ("#\"\r\nb", 4),
            ("#aaaaaaaaaaaaaaaaaa\n,\n#\n\nb", 25),
            (" #a\n", 0),
            ("\"#a\"\n", 0),
            (",\n#", 3),
        ] {
            let leading = blanks.leading(bytes.as_bytes(), true);
            assert_eq!(leading, Leading { length, in_comment: false }, "{bytes:?}");
        }
        for (bytes, length, in_comment) in
            [("#a", 2, true), ("\n#", 2, true), ("#a\r", 3, false), ("#\n,", 2, false)]
        {
            assert_eq!(blanks.leading(bytes.as_bytes(), false), Leading { length, in_comment }, "{bytes:?}");
        }
        assert_eq!(leading("#\n", true), 0);
    }

    #[test]
    fn a_quote_that_is_text_is_not_blank() {
        let blanks = Blanks::new(&Dialect { quote: None, ..Dialect::standard("") }, 8);
        for (bytes, length) in [("\"\"\na", 0), (",,\na", 3), (",\"\"\n", 0)] {
            assert_eq!(blanks.leading(bytes.as_bytes(), true).length, length, "{bytes:?}");
        }
    }
}
