//! The trace an import belongs to, as the request that brought it named it (W3C Trace Context).

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &str = "alter table imports add column traceparent text;";

const DOWN: &str = "alter table imports drop column traceparent;";

plain_sql!();
