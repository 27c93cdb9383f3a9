//! Tarmac lands CSV files in PostGIS: validated, exactly once, with every reject explained, behind a documented REST API.
//!
//! The modules, from the top; dependencies point down this list and never up:
//!
//! - [`cli`], [`app`]: the commands, and the one place where the parts are put together
//! - [`api`], [`worker`]: HTTP in, chunks through
//! - [`retention`]: what becomes of an import after its end
//! - [`ingest`], [`auth`]: what happens to a file; who may open a link
//! - [`transport`], [`archive`]: how chunks travel, where bytes are kept
//! - [`db`]: all SQL
//! - [`datasets`]: what can be imported
//! - [`config`], [`clock`], [`log`], [`metrics`], [`throttle`], [`places`], [`text`], [`trace`], [`failpoint`]: what can be set; what time
//!   it is; what is told, counted and traced; when fewer chunks are stored at once; how much of it is one client's; what is
//!   repeated of a text; where a test may end the process
//!
//! `docs/ARCHITECTURE.md` walks one upload through them.

pub mod api;
pub mod app;
pub mod archive;
pub mod auth;
pub mod catalog;
pub mod cli;
pub mod clock;
pub mod config;
pub mod datasets;
pub mod db;
pub mod failpoint;
pub mod ingest;
pub mod log;
pub mod metrics;
pub mod places;
pub mod retention;
pub mod text;
pub mod throttle;
pub mod trace;
pub mod transport;
pub mod worker;
