//! Any chunk of any dataset is checked without panic, and every record is a row or a reject.
#![no_main]

use std::sync::Arc;

use arbitrary::Arbitrary;
use chrono::{DateTime, Utc};
use libfuzzer_sys::fuzz_target;
use tarmac::{
    datasets,
    db::{files::Layout, imports::Dialect},
    ingest::load::Format,
    transport::Chunk,
};

#[derive(Debug, Arbitrary)]
struct Input<'a> {
    dataset: bool,
    /// Which columns the file has, in which order.
    columns: Vec<u8>,
    delimiter: u8,
    quote: u8,
    escape: Option<u8>,
    null: u8,
    spare: u8,
    code: Option<u8>,
    bytes: &'a [u8],
}

fuzz_target!(|input: Input<'_>| {
    let dataset = Arc::clone(&datasets::BUILT_IN[usize::from(input.dataset)]);
    let columns: Vec<String> = if input.columns.is_empty() {
        dataset.schema.columns.iter().map(|column| column.key.as_str().to_owned()).collect()
    } else {
        let known = &dataset.schema.columns;
        let keys = input.columns.iter().map(|&at| known[usize::from(at) % known.len()].key.as_str());
        keys.map(ToOwned::to_owned).collect()
    };
    let dialect = Dialect {
        delimiter: input.delimiter & 0x7f,
        quote: Some(input.quote & 0x7f),
        escape: input.escape.map(|byte| byte & 0x7f),
        null: ["", r"\N", "NULL"][usize::from(input.null) % 3].to_owned(),
        ..Dialect::standard("")
    };
    let layout =
        Layout { spare: usize::from(input.spare), code: input.code.map(usize::from), ..Layout::default() };
    let created_at = DateTime::<Utc>::default();
    let format = Format::new(dataset, &dialect, &columns, layout, created_at, "upload");
    let chunk = Chunk {
        import_id: 1,
        epoch: 1,
        chunk_no: 0,
        file_no: 0,
        object: String::new(),
        byte_offset: 0,
        byte_len: input.bytes.len() as u64,
        first_row: 1,
        first_line: 1,
        broken: None,
        traceparent: None,
    };
    let checked = format.check(&chunk, input.bytes);
    let rejects: Vec<_> = format.rejects(&chunk, input.bytes, &checked).collect();
    assert_eq!(rejects.len(), checked.rejected_rows());
    assert_eq!(checked.rows_read(), checked.good_rows() as i64 + rejects.len() as i64);
    for reject in rejects {
        assert!((1..=checked.rows_read()).contains(&reject.row));
        assert!(!reject.message.contains('\0') && !reject.value.as_deref().unwrap_or("").contains('\0'));
    }
});
