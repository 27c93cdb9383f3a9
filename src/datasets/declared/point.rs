//! Where something is, in degrees of WGS 84.

use serde::Deserialize;

use super::{Broken, GeoPoint};
use crate::datasets::{
    Fault, Schema, Value,
    numeric::Numeric,
    schema::{Place, Point},
    value::float,
};

/// Longitude and latitude as a file writes them.
pub(super) fn read(text: &str, format: GeoPoint) -> Option<(f64, f64)> {
    match format {
        GeoPoint::Default => {
            let (longitude, latitude) = text.split_once(',')?;
            Some((
                degrees(longitude.trim_matches([' ', '\t']))?,
                degrees(latitude.trim_matches([' ', '\t']))?,
            ))
        }
        GeoPoint::Array => read_array(text),
        GeoPoint::Object if !text.trim_start().starts_with('{') => None,
        GeoPoint::Object => {
            #[derive(Deserialize)]
            #[serde(deny_unknown_fields)]
            struct Degrees {
                lon: f64,
                lat: f64,
            }
            serde_json::from_str(text).ok().map(|Degrees { lon, lat }| (lon, lat))
        }
    }
}

/// `[lon,lat]`, as JSON has it.
pub(super) fn read_array(text: &str) -> Option<(f64, f64)> {
    serde_json::from_str::<(f64, f64)>(text).ok()
}

fn degrees(text: &str) -> Option<f64> {
    Numeric::parse(text, '.').ok().map(Numeric::to_f64)
}

/// As a file writes it.
pub(super) fn write(longitude: f64, latitude: f64, format: GeoPoint) -> String {
    let (longitude, latitude) = (float(longitude), float(latitude));
    match format {
        GeoPoint::Default => format!("{longitude}, {latitude}"),
        GeoPoint::Array => format!("[{longitude},{latitude}]"),
        GeoPoint::Object => format!("{{\"lon\":{longitude},\"lat\":{latitude}}}"),
    }
}

/// Whether the point is on Earth and within the bounds: west, south, east and north. West may be greater than east: the bounds then have
/// the antimeridian in them.
pub(super) fn check(longitude: f64, latitude: f64, bounds: Option<[f64; 4]>) -> Result<(), Broken> {
    let is_within = |longitude: f64, latitude: f64| {
        let is_on_earth = (-180.0..=180.0).contains(&longitude) && (-90.0..=90.0).contains(&latitude);
        is_on_earth
            && bounds.is_none_or(|[west, south, east, north]| {
                let is_between = if west <= east {
                    (west..=east).contains(&longitude)
                } else {
                    longitude >= west || longitude <= east
                };
                is_between && (south..=north).contains(&latitude)
            })
    };
    if is_within(longitude, latitude) {
        Ok(())
    } else if bounds.is_some() && is_within(latitude, longitude) {
        Err("swapped_point")
    } else {
        Err("out_of_range")
    }
}

/// The places of the two columns that make a point: longitude, latitude.
pub fn columns(schema: &Schema) -> Option<(usize, usize)> {
    match schema.point {
        Some(Point { place: Place::Columns { longitude, latitude }, .. }) => Some((longitude, latitude)),
        _ => None,
    }
}

/// Checks the point that two columns of a row make, see [`columns`], by their values. The error has the place of the column that is at
/// fault: of half a point, the one that is null.
pub fn check_columns(schema: &Schema, x: &Value<'_>, y: &Value<'_>) -> Result<(), (usize, Fault)> {
    let Some(Point { place: Place::Columns { longitude, latitude }, bounds }) = schema.point else {
        return Ok(());
    };
    let name = |place: usize| schema.columns.get(place).map_or("", |column| &*column.name);
    let half = |null: usize, other: usize| {
        let message =
            format!("{} is null and {} is not: a point needs both, or neither", name(null), name(other));
        Err((null, Fault::new("not_a_point", message)))
    };
    let (x, y) = match (x.as_f64(), y.as_f64()) {
        (None, None) => return Ok(()),
        (Some(_), None) => return half(latitude, longitude),
        (None, Some(_)) => return half(longitude, latitude),
        (Some(x), Some(y)) => (x, y),
    };
    let Err(code) = check(x, y, bounds) else { return Ok(()) };
    let at = if check(x, 0.0, None).is_ok() && check(0.0, y, None).is_err() { latitude } else { longitude };
    let (longitude, latitude) = (name(longitude), name(latitude));
    let message = match code {
        "swapped_point" => {
            format!(
                "{longitude} and {latitude} are swapped: only the other way round are they within {}",
                area(bounds)
            )
        }
        _ => format!("{longitude} and {latitude} must be within {}", area(bounds)),
    };
    Err((at, Fault::new(code, message)))
}

/// The bounds in words.
pub(super) fn area(bounds: Option<[f64; 4]>) -> String {
    let [west, south, east, north] = bounds.unwrap_or([-180.0, -90.0, 180.0, 90.0]);
    format!("longitude {west} to {east} and latitude {south} to {north}")
}
