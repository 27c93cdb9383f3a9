//! Statistics of an import's citizens by town. "Today" is handed in, and ages are by the calendar: who is born on 29 February
//! is a year older on 1 March of a common year.
//!
//! They are counted from segments, where there are some and towns are not too many; else by the database.

mod demand;
mod percentile;

pub use demand::{Demand, demand};
pub use percentile::{TownAges, ages};

use std::collections::HashMap;

use chrono::NaiveDate;

use super::{DbError, airports::VISIBLE, citizens::Snapshot};

/// Where a town is: longitude and latitude, degrees.
pub type Position = (f64, f64);

/// Full years on a day, of a citizen.
fn age(today: NaiveDate) -> String {
    // Of timestamps without a time zone: those with one would be taken for moments in the server's.
    format!("date_part('year', age('{today}'::timestamp, birth_date::timestamp))::integer")
}

/// The towns that have a position, `middle`: a town is where the airports of the city of that name are, provided that they are all
/// in one country.
fn places() -> String {
    format!(
        "select city, ST_Centroid(ST_Collect(geo)::geography)::geometry as middle from airports
         where deleted_at is null and city is not null and {VISIBLE}
         group by city having count(distinct country) = 1"
    )
}

/// Adds the position of each town to a query that has a column `town`. Columns `longitude` and `latitude` come last.
fn located(query: &str, order: &str) -> String {
    format!(
        "select counted.*, ST_X(place.middle) as longitude, ST_Y(place.middle) as latitude
         from ({query}) counted left join ({}) place on place.city = counted.town
         order by {order}",
        places()
    )
}

/// Where these towns are, those that are anywhere.
async fn positions(snapshot: &mut Snapshot, towns: &[&str]) -> Result<HashMap<String, Position>, DbError> {
    let query =
        format!("select city, ST_X(middle), ST_Y(middle) from ({}) place where city = any($1)", places());
    let rows: Vec<(String, f64, f64)> = sqlx::query_as(sqlx::AssertSqlSafe(query))
        .bind(towns)
        .fetch_all(snapshot.export.connection()?)
        .await
        .map_err(DbError::during("looking for the positions of towns"))?;
    Ok(rows.into_iter().map(|(town, longitude, latitude)| (town, (longitude, latitude))).collect())
}

fn position(longitude: Option<f64>, latitude: Option<f64>) -> Option<Position> {
    longitude.zip(latitude)
}
