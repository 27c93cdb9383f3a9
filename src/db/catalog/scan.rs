//! Stored rows against new rules. Values are checked by the same columns that check files and JSON; what rows say together, by set-wise
//! statements.

use std::fmt::Write;

use futures_util::TryStreamExt;
use sqlx::{AssertSqlSafe, PgConnection, Row, postgres::PgRow};

use super::{CatalogError, Change, ddl, during};
use crate::datasets::{Column, ForeignKey, Ident, Place, Rule, declared::Kind, json::Json};

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
pub async fn offenders(
    connection: &mut PgConnection,
    change: &Change<'_>,
) -> Result<Vec<Offender>, CatalogError> {
    let mut offenders = Vec::new();
    values(connection, change, &mut offenders).await?;
    if offenders.len() < MAX_OFFENDERS && change.has_new_point() {
        points(connection, change, &mut offenders).await?;
    }
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

/// A stored value as JSON, as requests have it, for the type that it was declared with.
fn as_json(key: &Ident, rule: &Rule) -> String {
    let key = format!("t.{key}");
    match ddl::kind(rule) {
        Some(Kind::YearMonth) => format!("to_jsonb(to_char({key}, 'YYYY-MM'))"),
        Some(Kind::GeoPoint(_)) => {
            format!("case when {key} is not null then jsonb_build_array(st_x({key}), st_y({key})) end")
        }
        Some(Kind::List(item)) if item.kind == Kind::YearMonth => {
            format!(
                "case when {key} is not null then to_jsonb(array(select to_char(i, 'YYYY-MM') from unnest({key}) i)) end"
            )
        }
        Some(Kind::Object | Kind::Array) => key,
        _ => format!("to_jsonb({key})"),
    }
}

/// Each value by the rule of its column.
async fn values(
    connection: &mut PgConnection,
    change: &Change<'_>,
    offenders: &mut Vec<Offender>,
) -> Result<(), CatalogError> {
    if change.checked.is_empty() {
        return Ok(());
    }
    let columns: Vec<&Column> =
        change.checked.iter().filter_map(|&place| change.new.schema.columns.get(place)).collect();
    let mut statement = "select t._id::text".to_owned();
    for &place in &change.checked {
        let Some(column) = change.new.schema.columns.get(place) else { continue };
        match change.stored_key(place) {
            Some(key) => _ = write!(statement, ", ({})::text", as_json(key, &column.rule)),
            None => statement.push_str(", null::text"),
        }
    }
    _ = write!(statement, " from {} t where t._deleted_at is null", table(change));
    let mut rows = sqlx::query(AssertSqlSafe(statement)).persistent(false).fetch(connection);
    while let Some(row) = rows.try_next().await.map_err(during("checking the rows of a dataset"))? {
        if let Some(offender) = first_fault(&row, &columns).map_err(during("reading the rows of a dataset"))? {
            offenders.push(offender);
            if offenders.len() == MAX_OFFENDERS {
                break;
            }
        }
    }
    Ok(())
}

/// The first column of the row that breaks its rule.
fn first_fault(row: &PgRow, columns: &[&Column]) -> Result<Option<Offender>, sqlx::Error> {
    for (place, column) in columns.iter().enumerate() {
        let text: Option<&str> = row.try_get(place + 1)?;
        let value = match text {
            Some(text) => {
                serde_json::from_str(text).map_err(|error| sqlx::Error::Decode(Box::new(error)))?
            }
            None => serde_json::Value::Null,
        };
        if let Err(fault) = column.parse_json(Json::from(&value)) {
            let id = row.try_get(0)?;
            return Ok(Some(Offender { id, column: (*column.name).to_owned(), code: fault.code }));
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

/// Values that an index cannot have.
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
        let statement = format!(
            "select _id::text from {} where _deleted_at is null and {bytes} > {MAX_INDEXED_BYTES}",
            table(change)
        );
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

/// Points of which one half is missing, or that are out of bounds.
async fn points(
    connection: &mut PgConnection,
    change: &Change<'_>,
    offenders: &mut Vec<Offender>,
) -> Result<(), CatalogError> {
    let Some(point) = &change.new.schema.point else { return Ok(()) };
    let columns = &change.new.schema.columns;
    let table = table(change);
    let live = format!("select _id::text from {table} where _deleted_at is null");
    let (longitude, latitude, longitude_name, latitude_name) = match point.place {
        Place::Column(place) => {
            let Some(key) = change.stored_key(place) else { return Ok(()) };
            let name = &columns[place].name;
            (format!("st_x({key})"), format!("st_y({key})"), name, name)
        }
        Place::Columns { longitude, latitude } => {
            let sql = |place: usize| change.stored_key(place).map_or("null".to_owned(), ToString::to_string);
            let (lon, lat) = (sql(longitude), sql(latitude));
            let (lon_name, lat_name) = (&columns[longitude].name, &columns[latitude].name);
            for (missing, there, name) in [(&lon, &lat, lon_name), (&lat, &lon, lat_name)] {
                let statement = format!("{live} and {missing} is null and {there} is not null");
                found(connection, statement, name, "not_a_point", offenders).await?;
            }
            let cast = |key: String| format!("{key}::double precision");
            (cast(lon), cast(lat), lon_name, lat_name)
        }
    };
    let [west, south, east, north] = point.bounds.unwrap_or([-180.0, -90.0, 180.0, 90.0]);
    let within = |lon: &str, lat: &str| {
        format!("({lon} between {west:?} and {east:?} and {lat} between {south:?} and {north:?})")
    };
    // Without bounds, the whole world is: nothing is within it only when it is swapped.
    let swapped =
        if point.bounds.is_some() { within(&latitude, &longitude) } else { "false".to_owned() };
    let inside = within(&longitude, &latitude);
    let off_longitude = format!("{longitude} not between {west:?} and {east:?}");
    for (condition, name, code) in [
        (swapped.clone(), longitude_name, "swapped_point"),
        (format!("not {swapped} and {off_longitude}"), longitude_name, "out_of_range"),
        (format!("not {swapped} and not ({off_longitude})"), latitude_name, "out_of_range"),
    ] {
        let statement = format!("{live} and not {inside} and {condition}");
        found(connection, statement, name, code, offenders).await?;
    }
    Ok(())
}
