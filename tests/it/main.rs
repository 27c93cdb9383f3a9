//! Every integration test, in one binary: `make test`, or `cargo test --test it` with TARMAC_TEST_DATABASE_URL naming a
//! superuser of a PostgreSQL with PostGIS and TARMAC_TEST_KAFKA_BROKERS a Kafka. A test has its own database, topics, archive
//! and port, and never waits by sleeping.

#![expect(clippy::expect_used, clippy::panic, reason = "a test fails by panicking")]

mod support;

mod airport_keys;
mod airports;
mod archive;
mod birthdays;
mod browsers;
mod chaos;
mod citizens;
mod citizens_contract;
mod citizens_engine;
mod citizens_files;
mod cli_documents;
mod cli_imports;
mod cli_keys;
mod cli_schema;
mod cli_sources;
mod cli_upload;
mod compatibility;
mod confirm;
mod consumers;
mod create_update_delete;
mod cursors;
mod datasets;
mod demand;
mod dialects;
mod document;
mod echoes;
mod engine;
mod field_lines;
mod fixtures;
mod health;
mod hostile;
mod idempotency;
mod imports;
mod infer;
mod kafka;
mod keys;
mod kill;
mod kill_citizens;
mod leading;
mod limits;
mod logs;
mod long_records;
mod lost_answers;
mod memory;
mod metrics;
mod migrations;
mod near;
mod options;
mod patch_races;
mod percentile;
mod places;
mod reading;
mod readme;
mod rejects;
mod removal;
mod requests;
mod restore;
mod retention;
mod rows;
mod rows_lists;
mod same_file;
mod segments;
mod sites;
mod stuck_sessions;
mod traces;
mod transport;
mod upgrade;
mod upload;
mod upload_airports;
