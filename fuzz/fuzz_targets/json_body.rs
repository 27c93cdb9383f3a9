//! Any body is read as citizens, or refused with at least one fault, each with a JSON Pointer.
#![no_main]

use chrono::NaiveDate;
use libfuzzer_sys::fuzz_target;
use tarmac::datasets::citizen::{
    body::{read_import, read_patch},
    faults::Faults,
};

fuzz_target!(|body: &[u8]| {
    let today = NaiveDate::from_ymd_opt(2026, 1, 1).expect("a day that exists");
    if let Err(faults) = read_import(body, today) {
        check(&faults);
    }
    if let Err(faults) = read_patch(body, today) {
        check(&faults);
    }
});

fn check(faults: &Faults) {
    assert!(!faults.listed.is_empty() && faults.listed.len() <= faults.total);
    for (pointer, fault) in &faults.listed {
        assert!(pointer.is_empty() || pointer.starts_with('/'), "{pointer:?} is no JSON Pointer");
        assert!(!fault.message.is_empty());
    }
}
