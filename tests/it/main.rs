//! Every integration test, in one binary: `make test`, or `cargo test --test it` with TARMAC_TEST_DATABASE_URL naming a
//! superuser of a PostgreSQL with PostGIS. A test has its own database, archive and port, and never waits by sleeping.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

mod airports;
mod birthdays;
mod citizens;
mod citizens_contract;
mod citizens_files;
mod cli_upload;
mod confirm;
mod create_update_delete;
mod demand;
mod document;
mod engine;
mod health;
mod hostile;
mod idempotency;
mod imports;
mod kill;
mod migrations;
mod near;
mod options;
mod patch_races;
mod percentile;
mod rejects;
mod requests;
mod transport;
mod upload;
mod upload_airports;
