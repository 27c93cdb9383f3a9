//! Lists of airports: filters, orders, pages.

use chrono::{DateTime, Datelike, Utc};
use geo::{Coord, Rect};
use sea_orm::{FromQueryResult, QueryResult};
use sqlx::{Postgres, QueryBuilder};

use super::{Airport, Circle, VISIBLE};
use crate::db::{Db, DbError};

/// Which airports are listed: those that every part holds for.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Columns that have exactly this text.
    pub equals: Vec<(SortKey, String)>,
    /// A part of the name, in any case.
    pub name_part: Option<String>,
    /// Within this circle.
    pub near: Option<Circle>,
    /// Within one of these boxes, their edges included.
    pub within: Option<Vec<Rect>>,
    /// Deleted ones too.
    pub include_deleted: bool,
}

macro_rules! sort_keys {
    ($($name:ident = $column:literal of $kind:ident;)+) => {
        /// What a list can be sorted by.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum SortKey {
            /// Distance from the centre of [`Filter::near`].
            Distance,
            $(#[doc = concat!("The column ", $column)] $name,)+
        }

        impl SortKey {
            /// All columns.
            pub const COLUMNS: &[Self] = &[$(Self::$name,)+];

            /// As clients write it.
            pub fn name(self) -> &'static str {
                match self { Self::Distance => "distance", $(Self::$name => $column,)+ }
            }

            /// Reads a value as PostgreSQL writes it; nothing when it is none of this key's.
            pub fn read(self, text: &str) -> Option<SortValue> {
                match self { Self::Distance => SortValue::number(text), $(Self::$name => SortValue::$kind(text),)+ }
            }
        }
    };
}

sort_keys! {
    Id = "id" of integer;
    OpenflightsId = "openflights_id" of integer;
    Name = "name" of text;
    City = "city" of text;
    Country = "country" of text;
    Iata = "iata" of text;
    Icao = "icao" of text;
    Latitude = "latitude" of number;
    Longitude = "longitude" of number;
    Altitude = "altitude" of integer;
    Timezone = "timezone" of number;
    Dst = "dst" of text;
    Tz = "tz" of text;
    Type = "type" of text;
    Source = "source" of text;
    CreatedAt = "created_at" of time;
    UpdatedAt = "updated_at" of time;
}

/// What a row was sorted by.
#[derive(Debug, Clone, PartialEq)]
pub enum SortValue {
    /// Of a whole number.
    Integer(i64),
    /// Of a number.
    Number(f64),
    /// Of text.
    Text(String),
    /// Of a point in time.
    Time(DateTime<Utc>),
}

impl SortValue {
    fn integer(text: &str) -> Option<Self> {
        text.parse().ok().map(Self::Integer)
    }

    fn number(text: &str) -> Option<Self> {
        text.parse().ok().filter(|number: &f64| number.is_finite()).map(Self::Number)
    }

    fn text(text: &str) -> Option<Self> {
        (!text.contains('\0')).then(|| Self::Text(text.to_owned()))
    }

    fn time(text: &str) -> Option<Self> {
        let time = DateTime::parse_from_str(text, "%Y-%m-%d %H:%M:%S%.f%#z").ok()?.to_utc();
        // PostgreSQL refuses years that chrono has; no airport is of one.
        (0..=9999).contains(&time.year()).then_some(Self::Time(time))
    }

    fn push_to(&self, query: &mut QueryBuilder<Postgres>) {
        match self {
            Self::Integer(number) => query.push_bind(*number),
            Self::Number(number) => query.push_bind(*number),
            Self::Text(text) => query.push_bind(text.clone()),
            Self::Time(time) => query.push_bind(*time),
        };
    }
}

/// The last row of the page before.
#[derive(Debug, Clone, PartialEq)]
pub struct After {
    /// What it was sorted by.
    pub value: Option<SortValue>,
    /// Its id.
    pub id: i64,
}

/// An airport of a list.
#[derive(Debug, Clone)]
pub struct Listed {
    /// The airport.
    pub airport: Airport,
    /// Metres from the centre of [`Filter::near`].
    pub distance_m: Option<f64>,
    /// What it was sorted by, as PostgreSQL writes it: exact for every type. [`SortKey::read`] reads it.
    pub sort_value: Option<String>,
}

impl FromQueryResult for Listed {
    fn from_query_result(row: &QueryResult, prefix: &str) -> Result<Self, sea_orm::DbErr> {
        Ok(Self {
            airport: Airport::from_query_result(row, prefix)?,
            distance_m: row.try_get(prefix, "distance")?,
            sort_value: row.try_get(prefix, "sort_value")?,
        })
    }
}

/// At most `limit` airports in their order, nulls last and ties by id.
pub async fn list(
    db: &Db,
    filter: &Filter,
    (key, descending): (SortKey, bool),
    after: Option<&After>,
    limit: u64,
) -> Result<Vec<Listed>, DbError> {
    let mut query = QueryBuilder::new("");
    write_list(&mut query, filter, (key, descending), after, limit);
    let rows = query.build().fetch_all(db.pool()).await.map_err(DbError::during("listing airports"))?;
    rows.into_iter()
        .map(|row| Listed::from_query_result(&row.into(), ""))
        .collect::<Result<_, _>>()
        .map_err(DbError::orm("reading a list of airports"))
}

/// The statement of [`list`], which can so be explained.
pub fn write_list(
    query: &mut QueryBuilder<Postgres>,
    filter: &Filter,
    (key, descending): (SortKey, bool),
    after: Option<&After>,
    limit: u64,
) {
    query.push(
        "select id, openflights_id, name, city, country, iata, icao, latitude, longitude, altitude, timezone, dst, tz, \
         type, source, version, import_id, created_at, updated_at, deleted_at, distance, ",
    );
    query.push(key.name()).push("::text as sort_value from airports, lateral (select ");
    match &filter.near {
        Some(circle) => push_distance(query, circle.center),
        None => drop(query.push("null::double precision")),
    }
    query.push(" as distance) d where ").push(VISIBLE);
    push_filter(query, filter);
    if let Some(after) = after {
        push_after(query, key, descending, after);
    }
    let direction = if descending { " desc" } else { "" };
    query.push(format_args!(" order by {}{direction} nulls last, id limit ", key.name()));
    query.push_bind(i64::try_from(limit).unwrap_or(i64::MAX));
}

fn push_distance(query: &mut QueryBuilder<Postgres>, center: Coord) {
    query.push("ST_DistanceSphere(geo, ");
    push_point(query, center);
    query.push(")");
}

fn push_point(query: &mut QueryBuilder<Postgres>, point: Coord) {
    query.push("ST_SetSRID(ST_MakePoint(").push_bind(point.x).push(", ").push_bind(point.y).push("), 4326)");
}

fn push_filter(query: &mut QueryBuilder<Postgres>, filter: &Filter) {
    let Filter { equals, name_part, near, within, include_deleted } = filter;
    if !include_deleted {
        query.push(" and deleted_at is null");
    }
    for (column, value) in equals {
        query.push(format_args!(" and {} = ", column.name())).push_bind(value.clone());
    }
    if let Some(part) = name_part {
        query.push(" and name ilike ").push_bind(format!("%{}%", escape_like(part)));
    }
    if let Some(boxes) = within {
        push_boxes(query, boxes);
        // The index keeps single precision, so `&&` alone takes in a little too much.
        query.push(" and (false");
        for area in boxes {
            query
                .push(" or (longitude between ")
                .push_bind(area.min().x)
                .push(" and ")
                .push_bind(area.max().x);
            query
                .push(" and latitude between ")
                .push_bind(area.min().y)
                .push(" and ")
                .push_bind(area.max().y);
            query.push(")");
        }
        query.push(")");
    }
    if let Some(circle) = near {
        push_boxes(query, &circle.boxes());
        query.push(" and distance <= ").push_bind(circle.radius_m);
    }
}

fn push_boxes(query: &mut QueryBuilder<Postgres>, boxes: &[Rect]) {
    query.push(" and (false");
    for area in boxes {
        query.push(" or geo && ST_MakeEnvelope(");
        query.push_bind(area.min().x).push(", ").push_bind(area.min().y).push(", ");
        query.push_bind(area.max().x).push(", ").push_bind(area.max().y).push(", 4326)");
    }
    query.push(")");
}

fn push_after(query: &mut QueryBuilder<Postgres>, key: SortKey, descending: bool, after: &After) {
    let After { value, id } = after;
    let column = key.name();
    let Some(value) = value else {
        query.push(format_args!(" and {column} is null and id > ")).push_bind(*id);
        return;
    };
    let beyond = if descending { "<" } else { ">" };
    query.push(format_args!(" and ({column} {beyond} "));
    value.push_to(query);
    query.push(format_args!(" or ({column} = "));
    value.push_to(query);
    query.push(" and id > ").push_bind(*id);
    query.push(format_args!(") or {column} is null)"));
}

fn escape_like(text: &str) -> String {
    text.replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_that_postgresql_would_refuse_is_none_of_a_keys() {
        for (key, text) in [
            (SortKey::Latitude, "NaN"),
            (SortKey::Latitude, "inf"),
            (SortKey::Distance, "-Infinity"),
            (SortKey::Altitude, "1.5"),
            (SortKey::Id, "9223372036854775808"),
            (SortKey::Name, "a\0b"),
            (SortKey::CreatedAt, "-262143-01-01 00:00:00+00"),
            (SortKey::CreatedAt, "+262142-12-31 00:00:00+00"),
            (SortKey::CreatedAt, "yesterday"),
        ] {
            assert_eq!(key.read(text), None, "{key:?} {text:?}");
        }
        assert!(SortKey::CreatedAt.read("2026-11-20 12:00:00.25+00").is_some());
        assert_eq!(SortKey::Latitude.read("1e-05"), Some(SortValue::Number(1e-5)));
    }
}
