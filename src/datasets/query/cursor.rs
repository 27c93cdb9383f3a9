//! Where a page ended, as clients carry it: opaque to them.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde::{Deserialize, Serialize};

use super::{Operand, Query, QueryFault, Subject};
use crate::datasets::Dataset;

/// Changes when a cursor of before would mean something else.
const VERSION: u8 = 1;
const NOT_OURS: &str = "cursor must come unchanged from the Link header of the previous page of this list; leave it out to start from the beginning";
const OTHER_ORDER: &str =
    "cursor belongs to another dataset or sort order; leave it out to start from the beginning";

/// What the last row of a page was sorted by: a value for each of [`Query::sort`], null where it has none.
#[derive(Debug, Clone, PartialEq)]
pub struct After(pub Vec<Option<Operand>>);

/// Version, dataset, order, and the values as PostgreSQL writes them.
#[derive(Serialize, Deserialize)]
struct Cursor(u8, String, String, Vec<Option<String>>);

/// The text of a cursor behind a row with these values.
pub(super) fn write(dataset: &Dataset, query: &Query, last: &[Option<String>]) -> Option<String> {
    encode(&Cursor(VERSION, dataset.name.as_str().to_owned(), order(dataset, query), last.to_vec()))
}

/// Reads what [`write`] wrote for the same dataset and order.
pub(super) fn read(dataset: &Dataset, query: &Query, text: &str) -> Result<After, QueryFault> {
    let fault = |message: &str| QueryFault::new("cursor", "invalid_cursor", message.to_owned());
    let cursor = URL_SAFE_NO_PAD.decode(text).ok();
    let cursor = cursor.and_then(|bytes| serde_json::from_slice::<Cursor>(&bytes).ok());
    // One that would be written in another way is forged.
    let cursor = cursor.filter(|cursor| encode(cursor).as_deref() == Some(text));
    let Cursor(VERSION, name, sorted, values) = cursor.ok_or_else(|| fault(NOT_OURS))? else {
        return Err(fault(NOT_OURS));
    };
    if name != dataset.name.as_str() || sorted != order(dataset, query) {
        return Err(fault(OTHER_ORDER));
    }
    if values.len() != query.sort.len() {
        return Err(fault(NOT_OURS));
    }
    let mut after = Vec::with_capacity(values.len());
    for (value, key) in values.iter().zip(&query.sort) {
        let operand = match value {
            None if is_nullable(&key.subject) => None,
            None => return Err(fault(NOT_OURS)),
            Some(value) => {
                let operand = key.subject.family(dataset).read_written(value);
                Some(operand.ok_or_else(|| fault(NOT_OURS))?)
            }
        };
        after.push(operand);
    }
    Ok(After(after))
}

fn is_nullable(subject: &Subject) -> bool {
    match subject {
        Subject::Service(service) => service.is_nullable(),
        Subject::Distance => false,
        Subject::Column(_) | Subject::Over(_) => true,
    }
}

/// The order as a parameter would say it. Distances are from a point.
fn order(dataset: &Dataset, query: &Query) -> String {
    let mut order = String::new();
    for key in &query.sort {
        if !order.is_empty() {
            order.push(',');
        }
        if key.descending {
            order.push('-');
        }
        order.push_str(key.subject.name(dataset));
        if let (Subject::Distance, Some(near)) = (&key.subject, &query.filter.near) {
            order.push_str(&format!("@{},{}", near.longitude, near.latitude));
        }
    }
    order
}

fn encode(cursor: &Cursor) -> Option<String> {
    serde_json::to_vec(cursor).ok().map(|json| URL_SAFE_NO_PAD.encode(json))
}
