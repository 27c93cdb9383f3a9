//! The table of a declared dataset and its indexes, as SQL.
//!
//! Indexes are not noted anywhere: those that a schema asks for are compared with those that the table has. So what a change that was
//! killed has left is found and put right by the next one, and the renaming of a column renames nothing else.

use std::fmt::Write;

use sqlx::{AssertSqlSafe, FromRow, PgConnection};

use super::{CatalogError, during};
use crate::datasets::{Dataset, Ident, Place, Rule, Schema, declared::Kind};

/// The columns that every table has before those that users declare.
const OWN_COLUMNS: &str = "_import bigint, _row bigint, _version bigint not null default 1, \
     _created_at timestamptz not null default now(), _updated_at timestamptz not null default now(), _deleted_at timestamptz";

/// The table's name in SQL.
pub fn table(name: &Ident) -> String {
    format!("datasets.{name}")
}

/// The name in SQL of the sequence that every change of the table advances.
pub fn changes_sequence(name: &Ident) -> String {
    format!("datasets.{}", derived(name, "changes"))
}

/// A name made of a dataset's, quoted. Users' names have no `__`; with at most 40 bytes before it, it stays within PostgreSQL's 63.
fn derived(name: &Ident, suffix: &str) -> String {
    format!("\"{}__{suffix}\"", name.as_str())
}

/// How an index is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Method {
    /// No two rows that are not deleted have the same values.
    Unique,
    /// For filters and sorting.
    Plain,
    /// For the items of lists.
    Items,
    /// For places.
    Place,
}

/// An index that a schema asks for. Two are the same that have the same columns in the same order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Index {
    pub(super) method: Method,
    /// By their names in SQL, without quotes.
    pub(super) columns: Vec<String>,
}

impl Index {
    fn new(method: Method, columns: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { method, columns: columns.into_iter().map(Into::into).collect() }
    }

    /// Its statement. All names are those of an [`Ident`] or the service's own.
    fn create(&self, dataset: &Ident, name: &str) -> String {
        let mut columns = String::new();
        for (place, column) in self.columns.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            _ = write!(columns, "{comma}\"{column}\"");
        }
        let table = table(dataset);
        match self.method {
            Method::Unique => {
                format!("create unique index {name} on {table} ({columns}) where _deleted_at is null;")
            }
            // With `_id`, which ends every order, so that it gives pages in order.
            Method::Plain => format!("create index {name} on {table} ({columns}, _id);"),
            Method::Items => format!("create index {name} on {table} using gin ({columns});"),
            Method::Place => format!("create index {name} on {table} using gist ({columns});"),
        }
    }
}

/// The columns whose values are unique together: the primary key, and each unique column.
pub(super) fn uniques(schema: &Schema) -> Vec<Vec<usize>> {
    let mut uniques = Vec::new();
    if !schema.primary_key.is_empty() {
        uniques.push(schema.primary_key.clone());
    }
    for (place, column) in schema.columns.iter().enumerate() {
        if column.unique && schema.primary_key != [place] {
            uniques.push(vec![place]);
        }
    }
    uniques
}

/// The indexes that a schema asks for. Foreign keys have one too, so that a row's deletion finds those that refer to it.
pub(super) fn indexes(schema: &Schema) -> Vec<Index> {
    let keys = |places: &[usize]| -> Vec<String> {
        places.iter().map(|&place| schema.columns[place].key.as_str().to_owned()).collect()
    };
    let mut indexes: Vec<Index> =
        uniques(schema).iter().map(|places| Index::new(Method::Unique, keys(places))).collect();
    for (place, column) in schema.columns.iter().enumerate() {
        match kind(&column.rule) {
            Some(Kind::GeoPoint(_)) => indexes.push(Index::new(Method::Place, keys(&[place]))),
            Some(Kind::Object | Kind::Array) => {}
            Some(Kind::List(_)) if column.indexed => indexes.push(Index::new(Method::Items, keys(&[place]))),
            _ if column.indexed => indexes.push(Index::new(Method::Plain, keys(&[place]))),
            _ => {}
        }
    }
    for key in &schema.foreign_keys {
        let index = Index::new(Method::Plain, keys(&key.columns));
        if !indexes.contains(&index) {
            indexes.push(index);
        }
    }
    if two_columns(schema).is_some() {
        indexes.push(Index::new(Method::Place, ["_point"]));
    }
    indexes
}

/// The type that a user declared.
pub(super) fn kind(rule: &Rule) -> Option<&Kind> {
    match rule {
        Rule::Declared(declared) => Some(&declared.kind),
        _ => None,
    }
}

/// Longitude and latitude of a point in two columns.
pub(super) fn two_columns(schema: &Schema) -> Option<(&Ident, &Ident)> {
    match schema.point.as_ref()?.place {
        Place::Column(_) => None,
        Place::Columns { longitude, latitude } => {
            Some((&schema.columns[longitude].key, &schema.columns[latitude].key))
        }
    }
}

/// The definition of the generated column.
pub(super) fn point_column((longitude, latitude): (&Ident, &Ident)) -> String {
    format!(
        "_point geometry(Point,4326) generated always as \
         (st_setsrid(st_makepoint({longitude}::double precision, {latitude}::double precision), 4326)) stored"
    )
}

/// Makes the table with its indexes, sequence and trigger.
pub(super) async fn create(connection: &mut PgConnection, dataset: &Dataset) -> Result<(), CatalogError> {
    let name = &dataset.name;
    let table = table(name);
    let mut columns = String::new();
    for column in &dataset.schema.columns {
        _ = write!(columns, ", {} {}", column.key, column.rule.sql_type());
    }
    if let Some(two) = two_columns(&dataset.schema) {
        _ = write!(columns, ", {}", point_column(two));
    }
    let mut statement = format!(
        "create table {table} (_id uuid constraint {key} primary key, {OWN_COLUMNS}{columns});
         create index {import} on {table} (_import, _row) where _import is not null;
         create sequence {sequence};
         select nextval('{sequence}');
         create trigger note_changed after insert or update or delete or truncate on {table} for each statement
             execute function datasets.note_changed();
         alter table {table} enable always trigger note_changed;",
        key = derived(name, "pkey"),
        import = derived(name, "import"),
        sequence = changes_sequence(name),
    );
    for (number, index) in indexes(&dataset.schema).iter().enumerate() {
        statement.push_str(&index.create(name, &derived(name, &format!("i{}", number + 1))));
    }
    run(connection, statement, "making a dataset's table").await
}

/// Runs statements that were made here.
pub(super) async fn run(
    connection: &mut PgConnection,
    statement: String,
    operation: &'static str,
) -> Result<(), CatalogError> {
    if statement.is_empty() {
        return Ok(());
    }
    sqlx::raw_sql(AssertSqlSafe(statement)).execute(connection).await.map(drop).map_err(during(operation))
}

/// An index that a table has.
#[derive(Debug, FromRow)]
pub(super) struct Present {
    name: String,
    is_unique: bool,
    is_valid: bool,
    method: String,
    columns: Vec<String>,
}

impl Present {
    fn is(&self, index: &Index) -> bool {
        let columns = self.columns.iter().map(String::as_str);
        let wanted = index.columns.iter().map(String::as_str);
        match (index.method, &*self.method, self.is_unique) {
            (Method::Unique, "btree", true) | (Method::Items, "gin", _) | (Method::Place, "gist", _) => {
                columns.eq(wanted)
            }
            (Method::Plain, "btree", false) => columns.eq(wanted.chain(["_id"])),
            _ => false,
        }
    }
}

/// The indexes of the table, without those that every table has.
pub(super) async fn present(
    connection: &mut PgConnection,
    dataset: &Ident,
) -> Result<Vec<Present>, CatalogError> {
    sqlx::query_as(
        "select i.relname as name, x.indisunique as is_unique, x.indisvalid as is_valid, m.amname as method,
                array(select a.attname::text from unnest(x.indkey::int2[]) with ordinality k (number, place)
                      join pg_attribute a on a.attrelid = x.indrelid and a.attnum = k.number order by k.place) as columns
         from pg_index x
         join pg_class i on i.oid = x.indexrelid
         join pg_am m on m.oid = i.relam
         join pg_class t on t.oid = x.indrelid
         join pg_namespace n on n.oid = t.relnamespace
         where n.nspname = 'datasets' and t.relname = $1 and i.relname not in ($1 || '__pkey', $1 || '__import')
         order by i.relname",
    )
    .bind(dataset.as_str())
    .fetch_all(connection)
    .await
    .map_err(during("reading the indexes of a dataset's table"))
}

/// Makes those of the indexes that are missing.
pub(super) async fn create_missing(
    connection: &mut PgConnection,
    dataset: &Ident,
    wanted: &[Index],
) -> Result<(), CatalogError> {
    let present = present(connection, dataset).await?;
    let mut numbers = 1..;
    let mut statement = String::new();
    for index in wanted {
        if present.iter().any(|present| present.is_valid && present.is(index)) {
            continue;
        }
        let name = numbers
            .by_ref()
            .map(|number| format!("{}__i{number}", dataset.as_str()))
            .find(|name| present.iter().all(|present| present.name != *name));
        if let Some(name) = name {
            statement.push_str(&index.create(dataset, &format!("\"{name}\"")));
        }
    }
    run(connection, statement, "making indexes of a dataset's table").await
}

/// Drops the indexes that are not wanted or not valid.
pub(super) async fn drop_unwanted(
    connection: &mut PgConnection,
    dataset: &Ident,
    wanted: &[Index],
) -> Result<(), CatalogError> {
    let mut statement = String::new();
    for present in present(connection, dataset).await? {
        let is_wanted = present.is_valid && wanted.iter().any(|index| present.is(index));
        // An index of somebody else, a database administrator for example, is left alone.
        let is_ours = present
            .name
            .strip_prefix(dataset.as_str())
            .and_then(|rest| rest.strip_prefix("__i"))
            .is_some_and(|number| !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit()));
        if !is_wanted && is_ours {
            _ = write!(statement, "drop index datasets.\"{}\";", present.name);
        }
    }
    run(connection, statement, "dropping indexes of a dataset's table").await
}

/// The keys of the columns of a unique index, by its name as a violation gives it. `None`: there is no such index.
pub async fn unique_columns(
    connection: &mut PgConnection,
    dataset: &Ident,
    index: &str,
) -> Result<Option<Vec<String>>, CatalogError> {
    let present = present(connection, dataset).await?;
    let found = present.into_iter().find(|present| present.is_unique && present.name == index);
    Ok(found.map(|present| present.columns))
}
