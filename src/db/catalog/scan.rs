//! Stored rows against new rules. Values are checked by the same columns that check files and JSON; what rows say together, by set-wise
//! statements.

use std::fmt::Write;

use futures_util::TryStreamExt;
use serde_json::value::RawValue;
use sqlx::{AssertSqlSafe, PgConnection, Row, postgres::PgRow};

use super::{CatalogError, Change, ddl, during};
use crate::datasets::{ForeignKey, Ident, Place, Schema, Value, declared::point};

/// How many rows that break a rule are listed.
pub const MAX_OFFENDERS: usize = 100;
/// Most bytes of a value that an index has.
const MAX_INDEXED_BYTES: usize = 2_000;

/// A stored row that the new version does not allow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offender {
    /// Its `_id`.
    pub id: String,
    /// The column's name.
    pub column: String,
    /// What is wrong, as a reject has it.
    pub code: &'static str,
}

/// The first [`MAX_OFFENDERS`] rows that break the new rules of columns, points and unique columns. Deleted rows are not looked at.
pub(super) async fn offenders(
    connection: &mut PgConnection,
    change: &Change<'_>,
) -> Result<Vec<Offender>, CatalogError> {
    let mut offenders = Vec::new();
    values(connection, change, &mut offenders).await?;
    if offenders.len() < MAX_OFFENDERS {
        lengths(connection, change, &mut offenders).await?;
    }
    for places in change.new_uniques() {
        if offenders.len() < MAX_OFFENDERS {
            repeated(connection, change, &places, &mut offenders).await?;
        }
    }
    Ok(offenders)
}

fn table(change: &Change<'_>) -> String {
    ddl::table(&change.old.name)
}

/// Each value by the rule of its column, and the points of two columns.
async fn values(
    connection: &mut PgConnection,
    change: &Change<'_>,
    offenders: &mut Vec<Offender>,
) -> Result<(), CatalogError> {
    let schema = &change.new.schema;
    let mut places = change.checked.clone();
    let mut has_point = false;
    match schema.point.as_ref().filter(|_| change.has_new_point()).map(|point| point.place) {
        // The column's own rule has the bounds.
        Some(Place::Column(place)) => places.push(place),
        Some(Place::Columns { longitude, latitude }) => {
            places.extend([longitude, latitude]);
            has_point = true;
        }
        None => {}
    }
    places.sort_unstable();
    places.dedup();
    if places.is_empty() {
        return Ok(());
    }
    let mut statement = "select t._id::text".to_owned();
    for &place in &places {
        match (schema.columns.get(place), change.stored_key(place)) {
            (Some(column), Some(key)) => {
                _ = write!(statement, ", to_json({})::text", column.json_sql(&format!("t.{key}")));
            }
            _ => statement.push_str(", null::text"),
        }
    }
    _ = write!(statement, " from {} t where t._deleted_at is null", table(change));
    let mut rows = sqlx::query(AssertSqlSafe(statement)).persistent(false).fetch(connection);
    while let Some(row) = rows.try_next().await.map_err(during("checking the rows of a dataset"))? {
        let fault = first_fault(&row, schema, &places, has_point);
        if let Some(offender) = fault.map_err(during("reading the rows of a dataset"))? {
            offenders.push(offender);
            if offenders.len() == MAX_OFFENDERS {
                break;
            }
        }
    }
    Ok(())
}

/// The first column of the row that breaks its rule. The row has its `_id` and the columns at `places`, as JSON.
fn first_fault(
    row: &PgRow,
    schema: &Schema,
    places: &[usize],
    has_point: bool,
) -> Result<Option<Offender>, sqlx::Error> {
    let mut values: Vec<(usize, Value<'_>)> = Vec::with_capacity(places.len());
    let offender = |place: usize, code| {
        let column = schema.columns.get(place).map_or_else(String::new, |column| (*column.name).to_owned());
        row.try_get(0).map(|id| Some(Offender { id, column, code }))
    };
    for (number, &place) in places.iter().enumerate() {
        let Some(column) = schema.columns.get(place) else { continue };
        let text: Option<&str> = row.try_get(number + 1)?;
        let Some(text) = text else {
            if column.required {
                return offender(place, "required");
            }
            continue;
        };
        let json: &RawValue =
            serde_json::from_str(text).map_err(|error| sqlx::Error::Decode(Box::new(error)))?;
        match column.parse_raw(json) {
            Ok(value) => values.push((place, value)),
            Err(fault) => return offender(place, fault.code),
        }
    }
    if has_point {
        let value = |place: usize| {
            values.iter().find(|(other, _)| *other == place).map_or(&Value::Null, |(_, value)| value)
        };
        if let Some((longitude, latitude)) = point::columns(schema)
            && let Err((place, fault)) = point::check_columns(schema, value(longitude), value(latitude))
        {
            return offender(place, fault.code);
        }
    }
    Ok(None)
}

/// Rows that a statement finds, at most as many as are still to be listed.
async fn found(
    connection: &mut PgConnection,
    statement: String,
    column: &str,
    code: &'static str,
    offenders: &mut Vec<Offender>,
) -> Result<(), CatalogError> {
    let left = MAX_OFFENDERS.saturating_sub(offenders.len());
    let ids: Vec<String> = sqlx::query_scalar(AssertSqlSafe(format!("{statement} limit {left}")))
        .persistent(false)
        .fetch_all(connection)
        .await
        .map_err(during("checking the rows of a dataset"))?;
    offenders.extend(ids.into_iter().map(|id| Offender { id, column: column.to_owned(), code }));
    Ok(())
}

/// Values that an index cannot have, those of deleted rows too: indexes have these as well.
async fn lengths(
    connection: &mut PgConnection,
    change: &Change<'_>,
    offenders: &mut Vec<Offender>,
) -> Result<(), CatalogError> {
    for place in change.newly_indexed() {
        let column = &change.new.schema.columns[place];
        let Some(key) = change.stored_key(place) else { continue };
        let bytes = match column.rule.sql_type() {
            "text" => format!("octet_length({key})"),
            other if other.ends_with("[]") || other == "jsonb" => format!("octet_length({key}::text)"),
            _ => continue,
        };
        let statement =
            format!("select _id::text from {} where {bytes} > {MAX_INDEXED_BYTES}", table(change));
        found(connection, statement, &column.name, "length", offenders).await?;
    }
    Ok(())
}

/// Rows that have the values of others where they must not.
async fn repeated(
    connection: &mut PgConnection,
    change: &Change<'_>,
    places: &[usize],
    offenders: &mut Vec<Offender>,
) -> Result<(), CatalogError> {
    // A column that is new holds nulls, which are all distinct.
    let Some(keys) = stored(change, places) else { return Ok(()) };
    let name = &change.new.schema.columns[places[0]].name;
    let statement = format!(
        "select _id::text from (select _id, count(*) over (partition by {columns}) as held from {table}
            where _deleted_at is null and {filled}) t where held > 1",
        columns = keys.join(", "),
        filled = filled("", &keys),
        table = table(change),
    );
    found(connection, statement, name, "key_held", offenders).await
}

fn stored(change: &Change<'_>, places: &[usize]) -> Option<Vec<String>> {
    places.iter().map(|&place| change.stored_key(place).map(ToString::to_string)).collect()
}

fn filled(alias: &str, keys: &[String]) -> String {
    keys.iter().map(|key| format!("{alias}{key} is not null")).collect::<Vec<_>>().join(" and ")
}

/// What [`super::change`] would be refused for now, without locks.
pub async fn preview(
    connection: &mut PgConnection,
    change: &Change<'_>,
) -> Result<Vec<Offender>, CatalogError> {
    let mut found = offenders(connection, change).await?;
    found.extend(references(connection, change, &change.new_references()).await?);
    found.truncate(MAX_OFFENDERS);
    Ok(found)
}

/// The first rows that refer to what is not there.
pub(super) async fn references(
    connection: &mut PgConnection,
    change: &Change<'_>,
    new: &[&ForeignKey],
) -> Result<Vec<Offender>, CatalogError> {
    let mut offenders = Vec::new();
    for reference in new {
        let Some(keys) = stored(change, &reference.columns) else { continue };
        let Some(&first) = reference.columns.first() else { continue };
        let (target, target_keys) = match &reference.dataset {
            Some(name) if *name != *change.old.name.as_str() => {
                let Some(name) = Ident::new(name) else {
                    return Err(CatalogError::UnknownTarget(name.clone()));
                };
                (ddl::table(&name), reference.target.iter().map(ToString::to_string).collect())
            }
            // The same table, whose columns have their old names yet.
            _ => {
                let place = |key: &Ident| change.new.schema.keyed(key.as_str()).map(|(place, _)| place);
                let places: Option<Vec<usize>> = reference.target.iter().map(place).collect();
                let Some(keys) = places.and_then(|places| stored(change, &places)) else {
                    // It refers to a column that is new: nothing can be there.
                    let statement = format!(
                        "select _id::text from {} where _deleted_at is null and {}",
                        table(change),
                        filled("", &keys)
                    );
                    let name = &change.new.schema.columns[first].name;
                    found(connection, statement, name, "unknown_reference", &mut offenders).await?;
                    continue;
                };
                (table(change), keys)
            }
        };
        let pairs: Vec<String> =
            target_keys.iter().zip(&keys).map(|(target, key)| format!("target.{target} = t.{key}")).collect();
        let statement = format!(
            "select t._id::text from {table} t where t._deleted_at is null and {filled}
                and not exists (select from {target} target where target._deleted_at is null and {pairs})",
            table = table(change),
            filled = filled("t.", &keys),
            pairs = pairs.join(" and "),
        );
        let name = &change.new.schema.columns[first].name;
        found(connection, statement, name, "unknown_reference", &mut offenders).await?;
        if offenders.len() >= MAX_OFFENDERS {
            break;
        }
    }
    Ok(offenders)
}
