//! What a run is told by its environment:
//!
//! - `TARMAC_TEST_SEED`  of whatever is left to chance; a run prints its own
//! - `TARMAC_TEST_SEEDS`  how many seeds the failure suite is put to, each one more than the one before; 1 unless given
//! - `TARMAC_TEST_ROWS`  of the failure suite's files; 6,000 unless given
//! - `TARMAC_TEST_CITIZENS`  of the file whose import is killed; 100,000 unless given

use std::sync::OnceLock;

use rand::RngExt;

/// The number of that name.
pub(crate) fn variable(name: &str) -> Option<u64> {
    let value = std::env::var(name).ok()?;
    Some(value.parse().unwrap_or_else(|_| panic!("{name} is a number")))
}

/// The first seed of this run. Printed, so that a failing run can be repeated.
#[expect(clippy::print_stderr, reason = "a failing run is repeated with its seed")]
pub(crate) fn seed() -> u64 {
    static SEED: OnceLock<u64> = OnceLock::new();
    let seed = *SEED
        .get_or_init(|| variable("TARMAC_TEST_SEED").unwrap_or_else(|| rand::rng().random::<u32>().into()));
    eprintln!("TARMAC_TEST_SEED={seed}");
    seed
}
