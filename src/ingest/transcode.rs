//! Text in another encoding, read as UTF-8. The encoding is stated, never guessed; what is no text in it fails the import and is never
//! replaced by something else.

use std::io::{self, Read};

use encoding_rs::{Decoder, DecoderResult, UTF_16BE, UTF_16LE, WINDOWS_1252, mem::convert_latin1_to_utf8};
use memchr::memchr2;

use super::header;
use crate::{datasets::Encoding, db::imports::Dialect};

/// Bytes that are decoded at once; a header that the service has written is shorter.
const BLOCK_BYTES: usize = 64 * 1024;
/// The longest byte order mark.
const MARK_BYTES: usize = 3;

/// What is no text in the encoding that is stated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum BadEncoding {
    /// Bytes that mean nothing in it.
    #[error("byte {offset}: {what} is no {}", encoding.as_str())]
    Malformed {
        /// The stated one.
        encoding: Encoding,
        /// Where the first of them is, from 0.
        offset: u64,
        /// What they are.
        what: &'static str,
    },
    /// The file says itself that it is in another one.
    #[error(
        "byte 0: the file begins with the byte order mark of {0}; upload it with encoding={0}, not {1}",
        is.as_str(), stated.as_str()
    )]
    Mark {
        /// The stated one.
        stated: Encoding,
        /// The one that it is in.
        is: Encoding,
    },
}

/// Reads UTF-8 from text in another encoding, without its byte order mark.
pub(super) struct Transcoder<R> {
    inner: R,
    encoding: Encoding,
    /// The delimiter of what the service itself has written, if that is read as it was written: as UTF-8.
    own: Option<u8>,
    /// Once the beginning of the file is known; not of ISO 8859-1, whose bytes are characters as they are.
    decoder: Option<Decoder>,
    has_begun: bool,
    is_own: bool,
    has_ended: bool,
    /// Bytes decoded so far.
    offset: u64,
    input: Box<[u8]>,
    output: Vec<u8>,
    /// What of `output` is given away.
    given: usize,
}

impl<R: Read> Transcoder<R> {
    /// For a file of that dialect.
    pub(super) fn new(inner: R, encoding: Encoding, dialect: &Dialect) -> Self {
        Self {
            inner,
            encoding,
            own: dialect.except_own.then_some(dialect.delimiter),
            decoder: None,
            has_begun: false,
            is_own: false,
            has_ended: false,
            offset: 0,
            input: vec![0; BLOCK_BYTES].into(),
            output: Vec::new(),
            given: 0,
        }
    }

    /// Decodes the next block.
    fn fill(&mut self) -> io::Result<()> {
        let at_least = match (self.has_begun, self.own) {
            (true, _) => 1,
            (false, None) => MARK_BYTES,
            (false, Some(_)) => BLOCK_BYTES,
        };
        let mut length = 0;
        while length < at_least && !self.has_ended {
            match self.inner.read(&mut self.input[length..]) {
                Ok(0) => self.has_ended = true,
                Ok(more) => length += more,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        let input = std::mem::take(&mut self.input);
        let begin = if self.has_begun { Ok(0) } else { self.begin(&input[..length]) };
        let decoded = begin.and_then(|begin| self.decode(&input[begin..length]));
        self.input = input;
        decoded.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }

    /// Chooses the decoder by how the file begins. What is returned is left out: its byte order mark.
    fn begin(&mut self, input: &[u8]) -> Result<usize, BadEncoding> {
        self.has_begun = true;
        if self.own.is_some_and(|delimiter| is_own(input, delimiter)) {
            self.is_own = true;
            return Ok(0);
        }
        let (is, mark, decoder) = match input {
            [0xef, 0xbb, 0xbf, ..] => (Encoding::Utf8, 3, None),
            [0xff, 0xfe, ..] => (Encoding::Utf16, 2, Some(UTF_16LE)),
            [0xfe, 0xff, ..] => (Encoding::Utf16, 2, Some(UTF_16BE)),
            _ => match self.encoding {
                encoding @ (Encoding::Utf8 | Encoding::Iso8859_1) => (encoding, 0, None),
                encoding @ Encoding::Windows1252 => (encoding, 0, Some(WINDOWS_1252)),
                // Windows writes it like that.
                encoding @ Encoding::Utf16 => (encoding, 0, Some(UTF_16LE)),
            },
        };
        if is != self.encoding {
            return Err(BadEncoding::Mark { stated: self.encoding, is });
        }
        self.decoder = decoder.map(encoding_rs::Encoding::new_decoder_without_bom_handling);
        self.offset = mark as u64;
        Ok(mark)
    }

    /// The input as `output`. Nothing is left over: decoders keep parts of characters to themselves.
    fn decode(&mut self, input: &[u8]) -> Result<(), BadEncoding> {
        self.given = 0;
        if self.is_own {
            self.output.clear();
            self.output.extend_from_slice(input);
            return Ok(());
        }
        let Some(decoder) = &mut self.decoder else {
            self.output.resize(2 * input.len(), 0);
            let written = convert_latin1_to_utf8(input, &mut self.output);
            self.output.truncate(written);
            self.offset += input.len() as u64;
            return Ok(());
        };
        let most = decoder.max_utf8_buffer_length_without_replacement(input.len());
        self.output.resize(most.unwrap_or(4 * input.len() + 16), 0);
        let (result, read, written) =
            decoder.decode_to_utf8_without_replacement(input, &mut self.output, self.has_ended);
        self.output.truncate(written);
        self.offset += read as u64;
        match result {
            DecoderResult::InputEmpty | DecoderResult::OutputFull => Ok(()),
            DecoderResult::Malformed(length, after) => {
                let offset = self.offset.saturating_sub(u64::from(length) + u64::from(after));
                let what =
                    if length % 2 == 1 { "a byte without its other half" } else { "half a surrogate pair" };
                Err(BadEncoding::Malformed { encoding: self.encoding, offset, what })
            }
        }
    }
}

impl<R: Read> Read for Transcoder<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.given == self.output.len() && !self.has_ended {
            self.fill()?;
        }
        let rest = &self.output[self.given..];
        let length = rest.len().min(buffer.len());
        buffer[..length].copy_from_slice(&rest[..length]);
        self.given += length;
        Ok(length)
    }
}

/// Whether a file begins as the service itself writes one.
fn is_own(begin: &[u8], delimiter: u8) -> bool {
    let begin = begin.strip_prefix(b"\xef\xbb\xbf").unwrap_or(begin);
    let end = memchr2(b'\n', b'\r', begin).unwrap_or(begin.len());
    header::is_own(&begin[..end], delimiter)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Gives at most so many bytes at once.
    struct Steps<'a>(&'a [u8], usize);

    impl Read for Steps<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = self.1.min(buffer.len());
            self.0.read(&mut buffer[..most])
        }
    }

    fn read(encoding: Encoding, bytes: &[u8]) -> Result<String, BadEncoding> {
        read_as(&Dialect::standard(""), encoding, bytes)
    }

    fn read_as(dialect: &Dialect, encoding: Encoding, bytes: &[u8]) -> Result<String, BadEncoding> {
        let read = [1, 2, 3, 1 << 20].map(|step| {
            let mut text = Vec::new();
            match Transcoder::new(Steps(bytes, step), encoding, dialect).read_to_end(&mut text) {
                Ok(_) => Ok(String::from_utf8(text).expect("it is UTF-8")),
                Err(error) => Err(error.downcast::<BadEncoding>().expect("the encoding is at fault")),
            }
        });
        assert!(read.iter().all(|other| *other == read[0]), "{read:?}");
        let [_, _, _, read] = read;
        read
    }

    fn utf16(text: &str, to_bytes: fn(u16) -> [u8; 2]) -> Vec<u8> {
        text.encode_utf16().flat_map(to_bytes).collect()
    }

    fn malformed(bytes: &[u8]) -> (u64, &'static str) {
        match read(Encoding::Utf16, bytes) {
            Err(BadEncoding::Malformed { offset, what, .. }) => (offset, what),
            other => panic!("not malformed: {other:?}"),
        }
    }

    #[test]
    fn the_two_of_western_europe_differ_between_0x80_and_0x9f() {
        let bytes = b"\x80 \x93\xe9\x94 \xff\r\n";
        assert_eq!(read(Encoding::Windows1252, bytes).as_deref(), Ok("€ “é” ÿ\r\n"));
        assert_eq!(read(Encoding::Iso8859_1, bytes).as_deref(), Ok("\u{80} \u{93}é\u{94} ÿ\r\n"));
        assert_eq!(read(Encoding::Windows1252, b"").as_deref(), Ok(""));
        let all: Vec<u8> = (0..=255).collect();
        let text: String = all.iter().map(|&byte| char::from(byte)).collect();
        assert_eq!(read(Encoding::Iso8859_1, &all), Ok(text));
    }

    #[test]
    fn the_mark_of_utf_16_decides_which_half_comes_first() {
        let text = "Zürich,😀\r\n\0";
        for bytes in [
            utf16(text, u16::to_le_bytes),
            utf16(&format!("\u{feff}{text}"), u16::to_le_bytes),
            utf16(&format!("\u{feff}{text}"), u16::to_be_bytes),
        ] {
            assert_eq!(read(Encoding::Utf16, &bytes).as_deref(), Ok(text));
        }
        assert_eq!(read(Encoding::Utf16, b"\xff\xfe").as_deref(), Ok(""));
    }

    #[test]
    fn what_is_no_utf_16_has_its_place() {
        let half = "a byte without its other half";
        let pair = "half a surrogate pair";
        assert_eq!(malformed(b"a"), (0, half));
        assert_eq!(malformed(b"a\0b\0c"), (4, half));
        assert_eq!(malformed(b"\xfe\xff\0a\0"), (4, half));
        assert_eq!(malformed(b"a\0\x00\xd8b\0"), (2, pair));
        assert_eq!(malformed(b"a\0\x00\xdcb\0"), (2, pair));
        assert_eq!(malformed(b"a\0\x00\xd8"), (2, pair));
        assert_eq!(malformed(b"\xff\xfea\0\x00\xd8\x00\xd8\x00\xdc"), (4, pair));
    }

    #[test]
    fn what_the_service_has_written_is_utf_8_unless_the_upload_says_otherwise() {
        let rejects = "name;_row;_line;_file;_column;_code;_message\r\nZürich;1;1;;;x;y\r\n";
        for (own, except_own, text) in [
            ("\"_id\";name\n;é", true, "\"_id\";name\n;é"),
            ("\u{feff}_id;name\n;é", true, "\u{feff}_id;name\n;é"),
            (rejects, true, rejects),
            ("_id;é", false, "_id;Ã©"),
            ("name;_id\né", true, "name;_id\nÃ©"),
        ] {
            let dialect = Dialect { delimiter: b';', except_own, ..Dialect::standard("") };
            assert_eq!(read_as(&dialect, Encoding::Windows1252, own.as_bytes()).as_deref(), Ok(text));
        }
    }

    #[test]
    fn a_mark_of_another_encoding_is_a_contradiction() {
        for (stated, bytes, is) in [
            (Encoding::Windows1252, b"\xef\xbb\xbfa".as_slice(), Encoding::Utf8),
            (Encoding::Iso8859_1, b"\xff\xfea\0", Encoding::Utf16),
            (Encoding::Windows1252, b"\xfe\xff", Encoding::Utf16),
            (Encoding::Utf16, b"\xef\xbb\xbf", Encoding::Utf8),
        ] {
            let error = read(stated, bytes).expect_err("a contradiction");
            assert_eq!(error, BadEncoding::Mark { stated, is });
            assert!(error.to_string().contains(&format!("encoding={}", is.as_str())), "{error}");
        }
    }

    proptest! {
        #[test]
        fn every_text_comes_through(text in "\\PC{0,200}") {
            prop_assert_eq!(read(Encoding::Utf16, &utf16(&format!("\u{feff}{text}"), u16::to_be_bytes)), Ok(text));
        }

        #[test]
        fn no_bytes_panic(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            for encoding in [Encoding::Windows1252, Encoding::Iso8859_1, Encoding::Utf16] {
                let _ = read(encoding, &bytes);
            }
        }
    }
}
