//! What an import says of its files besides counts and rejects: an array of objects `code`, `file`, `column`, `message`.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &str = "alter table imports add column notes jsonb not null default '[]';";

const DOWN: &str = "alter table imports drop column notes;";

plain_sql!();
