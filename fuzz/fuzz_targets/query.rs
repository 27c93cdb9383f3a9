//! Any query is answered, and never with a fault of the service's own.
#![no_main]

mod service;

use std::fmt::Write as _;

use libfuzzer_sys::fuzz_target;

use service::SERVICE;

/// What is read with parameters; the last two take what follows as an identifier.
const PATHS: &[&str] = &[
    "/airports?",
    "/imports?",
    "/imports/1/rejects?",
    "/imports/1/citizens?",
    "/imports/1/citizens/birthdays?",
    "/imports/1/towns/stat/percentile/age?",
    "/imports/1/towns/stat/demand?",
    "/create?",
    "/update?",
    "/delete?",
    "/consumers?",
    "/airports/",
    "/confirm/",
];

fuzz_target!(|input: (u8, &[u8])| {
    let (path, query) = input;
    let mut target = PATHS[usize::from(path) % PATHS.len()].to_owned();
    for &byte in query {
        match byte {
            b'a'..=b'z'
            | b'A'..=b'Z'
            | b'0'..=b'9'
            | b'-'
            | b'.'
            | b'_'
            | b'='
            | b'&'
            | b'%'
            | b'+'
            | b',' => {
                target.push(char::from(byte));
            }
            other => write!(target, "%{other:02X}").expect("a string takes anything"),
        }
    }
    SERVICE.get(&target);
});
