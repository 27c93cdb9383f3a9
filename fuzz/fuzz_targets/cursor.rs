//! Any cursor is answered, whatever it is the base64 of, and never with a fault of the service's own.
#![no_main]

mod service;

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use libfuzzer_sys::fuzz_target;

use service::SERVICE;

/// Every list that has cursors, of airports in orders of every type.
const LISTS: &[&str] = &[
    "/airports?sort=id",
    "/airports?sort=name",
    "/airports?sort=-latitude",
    "/airports?sort=altitude",
    "/airports?sort=timezone",
    "/airports?sort=created_at",
    "/airports?near=13,52&radius=1e7",
    "/imports?limit=1",
    "/imports/1/rejects?limit=1",
    "/imports/1/citizens?limit=1",
    "/consumers?limit=1",
];

fuzz_target!(|input: (u8, &[u8])| {
    let (list, place) = input;
    let list = LISTS[usize::from(list) % LISTS.len()];
    SERVICE.get(&format!("{list}&cursor={}", URL_SAFE_NO_PAD.encode(place)));
});
