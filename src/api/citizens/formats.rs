//! Citizens as text: one JSON document, or one JSON line each.

use poem::Body;
use serde::Serialize;

use super::fields::CitizenBody;
use crate::{
    api::stream::{JsonText, StreamRefusal, Write},
    datasets::{citizen::Citizen, date},
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
        Ok(write(&Listed::read(&row)?, out)?)
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
        write(&Listed::read(&row)?, out)?;
        out.push(b'\n');
        Ok(())
    }

    fn end(&mut self, _: &mut Vec<u8>) -> Result<(), StreamRefusal> {
        Ok(())
    }
}

/// `{"data": {…}}`
pub(super) fn single(citizen: &Citizen) -> serde_json::Result<JsonText<CitizenBody>> {
    let mut out = b"{\"data\":".to_vec();
    write(&Listed::from(citizen), &mut out)?;
    out.push(b'}');
    Ok(JsonText::new(Body::from(out)))
}

/// A citizen as the contract writes it; the channel is left out where it was not given. The names, which are more text than most
/// values, are only copied.
fn write(citizen: &Listed<'_>, out: &mut Vec<u8>) -> serde_json::Result<()> {
    let Listed {
        citizen_id,
        town,
        street,
        building,
        apartment,
        name,
        birth_date,
        gender,
        channel,
        relatives,
    } = citizen;
    member("{\"citizen_id\":", citizen_id, out)?;
    member(",\"town\":", town, out)?;
    member(",\"street\":", street, out)?;
    member(",\"building\":", building, out)?;
    member(",\"apartment\":", apartment, out)?;
    member(",\"name\":", name, out)?;
    out.extend_from_slice(b",\"birth_date\":\"");
    out.extend_from_slice(&date::format(*birth_date));
    out.push(b'"');
    member(",\"gender\":", gender, out)?;
    member(",\"relatives\":", relatives, out)?;
    if let Some(channel) = channel {
        member(",\"channel\":", channel, out)?;
    }
    out.push(b'}');
    Ok(())
}

fn member(begin: &str, value: &impl Serialize, out: &mut Vec<u8>) -> serde_json::Result<()> {
    out.extend_from_slice(begin.as_bytes());
    serde_json::to_writer(out, value)
}
