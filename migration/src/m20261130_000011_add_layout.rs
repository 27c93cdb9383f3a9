//! What a file says of its own fields: an object with `delimiter`, where the file states it, `spare`, how many empty fields may
//! follow the columns, and `code`, the field that has the code of an earlier reject.

use sea_orm_migration::prelude::*;

#[derive(DeriveMigrationName)]
pub(crate) struct Migration;

const UP: &str = "alter table import_files add column layout jsonb not null default '{}';";

const DOWN: &str = "alter table import_files drop column layout;";

plain_sql!();
