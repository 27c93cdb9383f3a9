//! Any bytes are cut without panic: every byte lands in one chunk or is a line break or an empty field between two, and however the
//! bytes arrive the chunks are the same.
#![no_main]

use arbitrary::Arbitrary;
use libfuzzer_sys::fuzz_target;
use tarmac::{
    db::imports::Dialect,
    ingest::split::{Cut, Limits, SplitError, Splitter, line_breaks},
};

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    delimiter: u8,
    quote: u8,
    escape: Option<u8>,
    chunk_rows: u8,
    chunk_bytes: u8,
    record_bytes: u8,
    step: u8,
    file: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let whole = cuts(&input, input.file.len().max(1));
    assert_eq!(whole, cuts(&input, usize::from(input.step) + 1));
    let Ok(whole) = whole else { return };
    let marks = input.file.chunks(3).take_while(|bytes| *bytes == b"\xef\xbb\xbf").count();
    let (mut place, mut row) = (3 * marks, 1);
    for cut in whole {
        let begins = usize::try_from(cut.byte_offset).expect("it is in memory");
        let length = usize::try_from(cut.byte_len).expect("it is in memory");
        assert_blank(&input, &input.file[place..begins]);
        assert_eq!(cut.first_row, row);
        assert_eq!(cut.first_line, 1 + line_breaks(&input.file[..begins]));
        assert!(input.file[begins..begins + length].starts_with(&cut.bytes));
        assert!(cut.broken.is_some() || cut.bytes.len() == length);
        row += cut.rows;
        place = begins + length;
    }
    assert_blank(&input, &input.file[place..]);
});

fn dialect(input: &Input<'_>) -> Dialect {
    let ascii = |byte: u8, other: u8| if matches!(byte, b'\n' | b'\r') { other } else { byte & 0x7f };
    let delimiter = ascii(input.delimiter, b',');
    let quote = ascii(input.quote, b'"');
    let quote = if quote == delimiter || matches!(quote, b'\n' | b'\r') { b'"' } else { quote };
    let delimiter = if matches!(delimiter, b'\n' | b'\r' | b'"') { b',' } else { delimiter };
    let escape = input.escape.map(|byte| ascii(byte, b'\\'));
    let escape = escape.filter(|byte| ![delimiter, quote].contains(byte));
    Dialect { delimiter, quote: Some(quote), escape, ..Dialect::standard("") }
}

fn cuts(input: &Input<'_>, step: usize) -> Result<Vec<Cut>, SplitError> {
    let limits = Limits {
        chunk_rows: u64::from(input.chunk_rows) + 1,
        chunk_bytes: usize::from(input.chunk_bytes) + 1,
        record_bytes: usize::from(input.record_bytes) + 1,
    };
    Splitter::new(&dialect(input), limits, 1).cut_all(input.file.chunks(step))
}

fn assert_blank(input: &Input<'_>, bytes: &[u8]) {
    let Dialect { delimiter, quote, .. } = dialect(input);
    let is_blank = |byte: &u8| [Some(b'\n'), Some(b'\r'), Some(delimiter), quote].contains(&Some(*byte));
    assert!(bytes.iter().all(is_blank), "{bytes:?} is in no chunk");
}
