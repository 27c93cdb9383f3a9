//! What tests are made of: a database each ([`database`]), the service in this process ([`app`]) or in one of its own
//! ([`process`]), the program's other commands ([`command`]), a client that holds every answer against the OpenAPI document ([`client`]), requests as bytes ([`raw`]), files ([`files`]) and what
//! becomes of them ([`imports`]), the engine without its worker ([`engine`]), topics on a real broker
//! ([`kafka`]), a client of HTTP/2 with manners of its own ([`http2`]), a store that speaks S3 ([`s3`]), a collector of traces ([`collector`]), servers that a test may break ([`servers`])
//! and ways to them that it may cut ([`proxy`]), documents whose commands are run ([`examples`]). [`variables`] is what a run can be told.

pub(crate) mod app;
pub(crate) mod citizens;
pub(crate) mod client;
pub(crate) mod collector;
pub(crate) mod command;
pub(crate) mod database;
pub(crate) mod datasets;
pub(crate) mod engine;
pub(crate) mod examples;
pub(crate) mod files;
pub(crate) mod http2;
pub(crate) mod imports;
pub(crate) mod kafka;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod raw;
pub(crate) mod s3;
pub(crate) mod servers;
pub(crate) mod variables;
pub(crate) mod wait;

pub(crate) use app::App;
