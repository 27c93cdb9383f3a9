//! Citizens as text: one JSON document, or one JSON line each.

use super::fields::Text;
use crate::{
    api::stream::{StreamRefusal, Write},
    db::{citizens::Listed, export::Row},
};

/// RFC 4180, in UTF-8.
pub(super) const CSV: &str = "text/csv";

/// A JSON document a line.
pub(super) const NDJSON: &str = "application/x-ndjson";

/// `{"data": […]}`
#[derive(Debug, Default)]
pub(super) struct Document {
    rows: bool,
}

impl Write<Row> for Document {
    fn begin(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"data\":[");
    }

    fn row(&mut self, row: Row, out: &mut Vec<u8>) -> Result<(), StreamRefusal> {
        if std::mem::replace(&mut self.rows, true) {
            out.push(b',');
        }
        Ok(serde_json::to_writer(out, &Text(&Listed::read(&row)?))?)
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), StreamRefusal> {
        out.extend_from_slice(b"]}");
        Ok(())
    }
}

/// A citizen a line.
#[derive(Debug)]
pub(super) struct Ndjson;

impl Write<Row> for Ndjson {
    fn begin(&mut self, _: &mut Vec<u8>) {}

    fn row(&mut self, row: Row, out: &mut Vec<u8>) -> Result<(), StreamRefusal> {
        serde_json::to_writer(&mut *out, &Text(&Listed::read(&row)?))?;
        out.push(b'\n');
        Ok(())
    }

    fn end(&mut self, _: &mut Vec<u8>) -> Result<(), StreamRefusal> {
        Ok(())
    }
}
