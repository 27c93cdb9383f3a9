//! Where a row is, as a declaration says it: beside the schema, and by keys.

use serde_json::{Value, json};

use super::{
    fault::{Faults, member, shown},
    object,
    rule::{is_geopoint, is_number},
};
use crate::datasets::{Column, Place, Point};

/// Holds the values of a geopoint to the bounds of the point.
pub(super) fn bound(point: Option<&Point>, columns: &mut [Column]) {
    if let Some(Point { place: Place::Column(place), bounds: Some(bounds) }) = point
        && let Some(column) = columns.get_mut(*place)
    {
        column.rule = column.rule.within(*bounds);
    }
}

/// Where a row is. Without `point`, the first geopoint says it.
pub(super) fn read(given: Option<&Value>, columns: &[Column], faults: &mut Faults) -> Option<Point> {
    let Some(given) = given else {
        let place = columns.iter().position(|column| is_geopoint(&column.rule))?;
        return Some(Point { place: Place::Column(place), bounds: None });
    };
    let given = object(given, "point", "/point", faults)?;
    for name in given.keys().filter(|name| !matches!(&***name, "longitude" | "latitude" | "field" | "bounds"))
    {
        let message = format!(
            "{} is not a member of point; there are longitude, latitude, field and bounds",
            shown(name)
        );
        faults.add(member("/point", name), "unknown_property", message);
    }
    let bounds = match given.get("bounds") {
        None => None,
        Some(bounds) => Some(read_bounds(bounds, faults)?),
    };
    let mut column = |name: &str, fits: &dyn Fn(&Column) -> bool, kind: &str| {
        column(given.get(name)?, name, columns, fits, kind, faults)
    };
    let number = |column: &Column| is_number(&column.rule);
    let geopoint = |column: &Column| is_geopoint(&column.rule);
    let members =
        (given.contains_key("longitude"), given.contains_key("latitude"), given.contains_key("field"));
    let place = match members {
        (true, true, false) => {
            let longitude = column("longitude", &number, "number");
            let latitude = column("latitude", &number, "number");
            let (longitude, latitude) = (longitude?, latitude?);
            if longitude == latitude {
                faults.add("/point/latitude", "not_unique", "longitude and latitude must be two fields");
                return None;
            }
            Place::Columns { longitude, latitude }
        }
        (false, false, true) => Place::Column(column("field", &geopoint, "geopoint")?),
        _ => {
            let message = "point must have longitude and latitude, the keys of two numbers, or field, the key of a geopoint";
            faults.add("/point", "required", message);
            return None;
        }
    };
    Some(Point { place, bounds })
}

fn column(
    given: &Value,
    name: &str,
    columns: &[Column],
    fits: &dyn Fn(&Column) -> bool,
    kind: &str,
    faults: &mut Faults,
) -> Option<usize> {
    let pointer = member("/point", name);
    let Some(key) = given.as_str() else {
        faults.add(pointer, "wrong_type", format!("{name} must be the key of a field"));
        return None;
    };
    let Some(place) = columns.iter().position(|column| column.key.as_str() == key) else {
        let message = match columns.iter().find(|column| *column.name == *key) {
            Some(column) => {
                format!("{} is a name; here a field goes by its key, {}", shown(key), column.key.as_str())
            }
            None => format!("there is no field with the key {}", shown(key)),
        };
        faults.add(pointer, "unknown_column", message);
        return None;
    };
    if !columns.get(place).is_some_and(fits) {
        faults.add(pointer, "not_allowed", format!("{name} must be a field of type {kind}"));
        return None;
    }
    Some(place)
}

fn read_bounds(given: &Value, faults: &mut Faults) -> Option<[f64; 4]> {
    let numbers: Option<Vec<f64>> =
        given.as_array().and_then(|numbers| numbers.iter().map(Value::as_f64).collect());
    let bounds = numbers.and_then(|numbers| <[f64; 4]>::try_from(numbers).ok());
    let fits = |[west, south, east, north]: &[f64; 4]| {
        -180.0 <= *west && west < east && *east <= 180.0 && -90.0 <= *south && south < north && *north <= 90.0
    };
    if bounds.is_none_or(|bounds| !fits(&bounds)) {
        let message =
            "bounds must be [west,south,east,north] in degrees, west below east and south below north";
        faults.add("/point/bounds", "out_of_range", message);
        return None;
    }
    bounds
}

/// The point as a descriptor says it.
pub(super) fn canonical(point: &Point, columns: &[Column]) -> Value {
    let key = |place: usize| columns.get(place).map_or("", |column| column.key.as_str());
    let mut canonical = match point.place {
        Place::Column(place) => json!({ "field": key(place) }),
        Place::Columns { longitude, latitude } => {
            json!({ "longitude": key(longitude), "latitude": key(latitude) })
        }
    };
    if let (Some(bounds), Some(canonical)) = (point.bounds, canonical.as_object_mut()) {
        canonical.insert("bounds".to_owned(), json!(bounds));
    }
    canonical
}
