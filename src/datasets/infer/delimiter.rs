//! Which delimiter a text has.

use thiserror::Error;

const CANDIDATES: [u8; 4] = [b',', b';', b'\t', b'|'];

/// A text, or the beginning of one, from its first record on: without the lines that are passed over before the header, and without a
/// line `sep=;`.
#[derive(Debug, Clone, Copy)]
pub struct Sample<'a> {
    /// UTF-8, or what is near it.
    pub text: &'a [u8],
    /// Whether it is the whole text: otherwise its last record may be cut.
    pub is_whole: bool,
    /// The quote, if there is quoting at all.
    pub quote: Option<u8>,
    /// What takes the meaning of a quote inside a quoted field; `None`: another quote does.
    pub escape: Option<u8>,
    /// What a line begins with that is no record.
    pub comment: Option<u8>,
}

/// Why no delimiter was found.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum DelimiterError {
    /// Code `no_delimiter`.
    #[error(
        "none of , ; tab | gives every record the same number of fields, more than one{}; state the delimiter, and for a file of one \
         column state any that its values do not have",
        .0.as_ref().map(ToString::to_string).unwrap_or_default()
    )]
    None(Option<Nearest>),
    /// Code `ambiguous_delimiter`.
    #[error("{} each give every record the same number of fields; state the delimiter", names(.0))]
    Ambiguous(Vec<u8>),
}

/// The delimiter that fits the most records, and the first record it does not fit.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("; with {} it is {width} until line {line}, where it is {other}", name(*.delimiter))]
pub struct Nearest {
    delimiter: u8,
    width: usize,
    line: u64,
    other: usize,
}

impl DelimiterError {
    /// Stable and for machines.
    pub fn code(&self) -> &'static str {
        match self {
            Self::None(_) => "no_delimiter",
            Self::Ambiguous(_) => "ambiguous_delimiter",
        }
    }
}

impl<'a> Sample<'a> {
    /// The whole of a text that is quoted as RFC 4180 has it.
    pub fn whole(text: &'a [u8]) -> Self {
        Self { text, is_whole: true, quote: Some(b'"'), escape: None, comment: None }
    }
}

/// The one delimiter of `, ; tab |` that gives every record the same width above 1. Records of nothing but empty fields do not count,
/// nor do empty fields behind the width of the first record.
pub fn sniff_delimiter(sample: &Sample<'_>) -> Result<u8, DelimiterError> {
    let is_other = |byte: u8| [sample.quote, sample.escape, sample.comment].contains(&Some(byte));
    let mut fitting = Vec::new();
    let mut nearest: Option<(u64, Nearest)> = None;
    for delimiter in CANDIDATES.into_iter().filter(|byte| !is_other(*byte)) {
        match width(sample, delimiter) {
            Width::Same => fitting.push(delimiter),
            Width::One => {}
            Width::Differs { records, nearest: found } => {
                if nearest.as_ref().is_none_or(|(most, _)| records > *most) {
                    nearest = Some((records, found));
                }
            }
        }
    }
    match fitting[..] {
        [delimiter] => Ok(delimiter),
        [] => Err(DelimiterError::None(nearest.map(|(_, nearest)| nearest))),
        _ => Err(DelimiterError::Ambiguous(fitting)),
    }
}

enum Width {
    /// Every record has it, and it is above 1.
    Same,
    /// The first record has one field, or there is none.
    One,
    /// So many records have it.
    Differs { records: u64, nearest: Nearest },
}

fn width(sample: &Sample<'_>, delimiter: u8) -> Width {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .delimiter(delimiter)
        .quote(sample.quote.unwrap_or(b'"'))
        .quoting(sample.quote.is_some())
        .double_quote(sample.escape.is_none())
        .escape(sample.escape)
        .comment(sample.comment)
        .from_reader(sample.text);
    let (mut record, mut width, mut records) = (csv::ByteRecord::new(), None, 0);
    while let Ok(true) = reader.read_byte_record(&mut record) {
        let is_cut = !sample.is_whole && reader.position().byte() >= sample.text.len() as u64;
        if is_cut && records > 0 {
            break;
        }
        if record.iter().all(<[u8]>::is_empty) {
            continue;
        }
        let width = *width.get_or_insert(record.len());
        if width == 1 {
            return Width::One;
        }
        let fits = record.len() >= width && record.iter().skip(width).all(<[u8]>::is_empty);
        if !fits {
            let line = record.position().map_or(0, csv::Position::line);
            return Width::Differs {
                records,
                nearest: Nearest { delimiter, width, line, other: record.len() },
            };
        }
        records += 1;
    }
    if width.is_some() { Width::Same } else { Width::One }
}

fn names(delimiters: &[u8]) -> String {
    delimiters.iter().map(|delimiter| name(*delimiter)).collect::<Vec<_>>().join(" and ")
}

fn name(delimiter: u8) -> String {
    if delimiter == b'\t' { "tab".to_owned() } else { char::from(delimiter).to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sniff(text: &str) -> Result<u8, DelimiterError> {
        sniff_delimiter(&Sample::whole(text.as_bytes()))
    }

    #[test]
    fn the_delimiter_gives_every_record_the_same_width() {
        assert_eq!(sniff("a,b\n1,2\n"), Ok(b','));
        assert_eq!(sniff("a;b\n1,5;2,5\n"), Ok(b';'));
        assert_eq!(sniff("a\tb\r\n1\t2"), Ok(b'\t'));
        assert_eq!(sniff("a|b\n\n1|2\n||\n"), Ok(b'|'));
        assert_eq!(sniff("a;b\n\"1;\n,\";2\n"), Ok(b';'), "quoted");
        assert_eq!(sniff("a,b,c\n,,\n1,2,3,,\n"), Ok(b','), "a blank record, and empty fields behind");
        assert_eq!(sniff("zero\u{feff},b\n1,2\n"), Ok(b','));
    }

    #[test]
    fn two_that_fit_are_both_named() {
        let error = sniff("a;b,c\n1;2,3\n").expect_err("two");
        assert_eq!(error, DelimiterError::Ambiguous(vec![b',', b';']));
        assert_eq!(error.code(), "ambiguous_delimiter");
        assert_eq!(
            error.to_string(),
            ", and ; each give every record the same number of fields; state the delimiter"
        );
    }

    #[test]
    fn none_that_fits_says_what_came_near() {
        for text in ["", "\n\n", "a\n1\n2\n", "prose without any\n"] {
            assert_eq!(sniff(text), Err(DelimiterError::None(None)), "{text:?}");
        }
        let error = sniff("a,b\n1,2\n3,4,5\n").expect_err("none");
        assert_eq!(error.code(), "no_delimiter");
        assert!(
            error.to_string().contains("more than one; with , it is 2 until line 3, where it is 3; state"),
            "{error}"
        );
    }

    #[test]
    fn the_last_record_of_a_beginning_does_not_count() {
        let sample = |text, is_whole| Sample { is_whole, ..Sample::whole(text) };
        assert_eq!(sniff_delimiter(&sample(b"a,b,c\n1,2,3\n1,", false)), Ok(b','));
        assert!(sniff_delimiter(&sample(b"a,b,c\n1,2,3\n1,", true)).is_err());
        assert_eq!(sniff_delimiter(&sample(b"a,b,c", false)), Ok(b','));
        let unquoted = Sample { quote: None, ..Sample::whole(b"a\tb\n\"X\t1\nY\t2\n") };
        assert_eq!(sniff_delimiter(&unquoted), Ok(b'\t'));
    }
}
