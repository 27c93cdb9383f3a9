//! What tests are made of: a database each ([`database`]), the service in this process ([`app`]), and a client that holds
//! every answer against the OpenAPI document ([`client`]).

pub(crate) mod app;
pub(crate) mod citizens;
pub(crate) mod client;
pub(crate) mod database;
pub(crate) mod proxy;

pub(crate) use app::App;
