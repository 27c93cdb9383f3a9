//! `/airports`: the list, and creating one.

use std::sync::Arc;

use geo::coord;
use poem::http::Uri;
use poem_openapi::{
    ApiResponse, OpenApi,
    param::{Header, Query},
    payload::Binary,
};
use serde::{Deserialize, Serialize};

use super::{
    change::{Created, KeyedCreateRefusal, keyed_create},
    fields::NewAirport,
    formats::{self, AirportFeatures, AirportPage},
};
use crate::{
    api::{
        Context, Tag,
        access::{MayRead, MayWrite},
        body::{Json, JsonBody},
        idempotency::{Idempotency, Replayable},
        negotiate::Accepted,
        page,
        prefer::Return,
        problem::{Internal, Invalid, Violation},
    },
    datasets::{Value, airport::DATASET},
    db::airports::{self, After, Bounds, Circle, Filter, Listed, SortKey},
    refusal,
};

/// See the module.
pub(in crate::api) struct AirportList {
    /// What handlers work with.
    pub(in crate::api) context: Context,
}

#[derive(ApiResponse)]
enum List {
    /// A page of airports
    #[oai(status = 200)]
    Json(
        Json<AirportPage>,
        /// Where the next page is; on the last page there is none
        #[oai(header = "Link")]
        Option<String>,
    ),
    /// As the OpenFlights file, with a header and the column `_id` before the others: posted back as it is, it changes nothing
    #[oai(status = 200, content_type = "text/csv")]
    Csv(Binary<Vec<u8>>, #[oai(header = "Link")] Option<String>),
    /// As GeoJSON (RFC 7946)
    #[oai(status = 200, content_type = "application/geo+json")]
    GeoJson(Json<AirportFeatures>, #[oai(header = "Link")] Option<String>),
}

refusal!(
    /// Why airports are not listed.
    ListRefusal: Invalid, Internal
);

#[OpenApi]
impl AirportList {
    /// List airports
    ///
    /// Filters are joined by "and". With `near` the nearest come first.
    #[expect(clippy::too_many_arguments, reason = "each is a parameter of the document")]
    #[oai(path = "/airports", method = "get", operation_id = "list_airports", tag = Tag::Airports)]
    async fn list_airports(
        &self,
        _caller: MayRead,
        /// Exactly this country.
        country: Query<Option<String>>,
        /// Exactly this city.
        city: Query<Option<String>>,
        /// Exactly this IATA code.
        iata: Query<Option<String>>,
        /// Exactly this ICAO code.
        icao: Query<Option<String>>,
        /// Exactly this type.
        #[oai(name = "type")]
        kind: Query<Option<String>>,
        /// Exactly this time zone, by its Olson name.
        tz: Query<Option<String>>,
        /// Exactly this source.
        source: Query<Option<String>>,
        /// A part of the name, in any case.
        name: Query<Option<String>>,
        /// `longitude,latitude` in degrees, together with `radius`.
        near: Query<Option<String>>,
        /// Metres from `near`, on the sphere.
        radius: Query<Option<f64>>,
        /// `west,south,east,north` in degrees; where west is greater than east it crosses the antimeridian.
        bbox: Query<Option<String>>,
        /// Deleted airports too.
        include_deleted: Query<Option<bool>>,
        /// A field, or `-field` for descending; null comes last, ties are ordered by id. Not with `near`.
        sort: Query<Option<String>>,
        /// Rows of a page.
        limit: Query<Option<u64>>,
        /// Where to go on, from the `Link` of the page before.
        cursor: Query<Option<String>>,
        uri: &Uri,
        accepted: Accepted,
    ) -> Result<List, ListRefusal> {
        let texts = [
            (SortKey::Country, country.0),
            (SortKey::City, city.0),
            (SortKey::Iata, iata.0),
            (SortKey::Icao, icao.0),
            (SortKey::Type, kind.0),
            (SortKey::Tz, tz.0),
            (SortKey::Source, source.0),
        ];
        let filter =
            filter(texts, name.0, circle(near.0, radius.0)?, bbox.0, include_deleted.unwrap_or(false))?;
        let order = order(sort.as_deref(), filter.near.is_some())?;
        let after = cursor.as_deref().map(|cursor| Cursor::read(cursor, order)).transpose()?;
        let limit = page::limit(limit.0, &self.context.config.server)?;

        // One row more tells whether there is a next page.
        let mut rows =
            airports::list(&self.context.db, &filter, order, after.as_ref(), limit.saturating_add(1)).await?;
        let more = rows.len() as u64 > limit;
        rows.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let next = rows.last().filter(|_| more).map(|last| Cursor::of(last, order));
        let link = next.map(|cursor| page::encode_cursor(&cursor)).transpose().map_err(Internal::because)?;
        let link = link.map(|cursor| page::next_link(uri, &cursor));

        Ok(match accepted.0 {
            formats::CSV => List::Csv(Binary(formats::csv(rows).map_err(Internal::because)?), link),
            formats::GEO_JSON => List::GeoJson(Json(AirportFeatures(rows)), link),
            _ => List::Json(Json(AirportPage(rows)), link),
        })
    }

    /// Create an airport
    #[oai(path = "/airports", method = "post", operation_id = "create_airport", tag = Tag::Airports)]
    async fn create_airport(
        &self,
        _caller: MayWrite,
        /// Makes it safe to send the request again: the same key and body get the first answer.
        #[oai(name = "Idempotency-Key")]
        key: Idempotency,
        /// `return=minimal` leaves the body out.
        #[oai(name = "Prefer")]
        prefer: Header<Option<String>>,
        body: JsonBody<NewAirport>,
    ) -> Result<Replayable<Created>, KeyedCreateRefusal> {
        keyed_create(&self.context, key, body, Return::of(prefer.as_deref())).await
    }
}

fn filter(
    texts: [(SortKey, Option<String>); 7],
    name: Option<String>,
    near: Option<Circle>,
    bbox: Option<String>,
    include_deleted: bool,
) -> Result<Filter, Invalid> {
    let mut faults = Vec::new();
    let mut equals = Vec::new();
    for (column, value) in texts {
        if let Some(value) = value {
            check_text(column.name(), &value, &mut faults);
            equals.push((column, value));
        }
    }
    if let Some(name) = &name {
        check_text("name", name, &mut faults);
    }
    if !faults.is_empty() {
        return Err(Invalid::because(faults));
    }
    let within = bbox.map(|bbox| bounds(&bbox)).transpose()?.map(|bounds| bounds.boxes());
    Ok(Filter { equals, name_part: name, near, within, include_deleted })
}

/// What a column cannot hold, no airport has.
fn check_text(column: &'static str, value: &str, faults: &mut Vec<Violation>) {
    let Some((_, rule)) = DATASET.column(column) else { return };
    // What stands for null in a file is a text here.
    match rule.with_missing(Arc::new([Box::from("")])).parse(value) {
        Ok(Value::Null) => {
            faults.push(Violation::parameter(column, "length", format!("{column} must not be empty")));
        }
        Ok(_) => {}
        // A part of a name may be what no name is, and codes of before there was a rule for them are still to be found.
        Err(fault) if ["not_writable", "pattern"].contains(&fault.code) => {}
        Err(fault) => faults.push(Violation::of_parameter(column, fault)),
    }
}

fn circle(near: Option<String>, radius_m: Option<f64>) -> Result<Option<Circle>, Invalid> {
    let (near, radius_m) = match (near, radius_m) {
        (None, None) => return Ok(None),
        (Some(near), Some(radius_m)) => (near, radius_m),
        (Some(_), None) => {
            return Err(Invalid::parameter("radius", "required", "near comes with a radius in metres"));
        }
        (None, Some(_)) => {
            return Err(Invalid::parameter(
                "near",
                "required",
                "radius comes with near, a longitude,latitude",
            ));
        }
    };
    if !(0.0..=Circle::MAX_RADIUS_M).contains(&radius_m) {
        let message = format!("radius must be a number of metres from 0 to {}", Circle::MAX_RADIUS_M);
        return Err(Invalid::parameter("radius", "out_of_range", message));
    }
    match numbers(&near) {
        Some([longitude, latitude]) if longitude.abs() <= 180.0 && latitude.abs() <= 90.0 => {
            Ok(Some(Circle { center: coord! { x: longitude, y: latitude }, radius_m }))
        }
        _ => Err(Invalid::parameter(
            "near",
            "not_a_point",
            "near must be longitude,latitude: from -180 to 180 and from -90 to 90",
        )),
    }
}

fn bounds(bbox: &str) -> Result<Bounds, Invalid> {
    match numbers(bbox) {
        Some([west, south, east, north])
            if west.abs() <= 180.0
                && east.abs() <= 180.0
                && -90.0 <= south
                && south <= north
                && north <= 90.0 =>
        {
            Ok(Bounds { west, south, east, north })
        }
        _ => Err(Invalid::parameter(
            "bbox",
            "not_a_box",
            "bbox must be west,south,east,north: longitudes from -180 to 180, latitudes from -90 to 90, south not above north",
        )),
    }
}

/// Exactly `N` finite numbers with commas between them.
fn numbers<const N: usize>(text: &str) -> Option<[f64; N]> {
    let numbers: Option<Vec<f64>> =
        text.split(',').map(|number| number.parse().ok().filter(|number: &f64| number.is_finite())).collect();
    numbers?.try_into().ok()
}

/// What is sorted by, and whether descending.
type Order = (SortKey, bool);

fn order(sort: Option<&str>, near: bool) -> Result<Order, Invalid> {
    let Some(sort) = sort else {
        return Ok((if near { SortKey::Distance } else { SortKey::Id }, false));
    };
    if near {
        return Err(Invalid::parameter(
            "sort",
            "not_with_near",
            "with near the nearest come first; sort cannot be given",
        ));
    }
    let (name, descending) = sort.strip_prefix('-').map_or((sort, false), |name| (name, true));
    match SortKey::COLUMNS.iter().find(|key| key.name() == name) {
        Some(key) => Ok((*key, descending)),
        None => {
            let names: Vec<_> = SortKey::COLUMNS.iter().map(|key| key.name()).collect();
            let message =
                format!("sort must be one of {}, with - before it for descending", names.join(", "));
            Err(Invalid::parameter("sort", "not_allowed", message))
        }
    }
}

/// The last row of a page, as the next one's request carries it.
#[derive(Debug, Serialize, Deserialize)]
struct Cursor {
    sort: String,
    value: Option<String>,
    id: i64,
}

impl Cursor {
    fn of(last: &Listed, order: Order) -> Self {
        Self { sort: Self::name(order), value: last.sort_value.clone(), id: last.airport.id }
    }

    fn name((key, descending): Order) -> String {
        format!("{}{}", if descending { "-" } else { "" }, key.name())
    }

    fn read(text: &str, order: Order) -> Result<After, Invalid> {
        let Self { sort, value, id } = page::decode_cursor(text)?;
        if sort != Self::name(order) {
            return Err(page::wrong_cursor(
                "cursor belongs to another sort order; leave it out to start from the beginning",
            ));
        }
        let not_ours = || page::wrong_cursor(page::NOT_OURS);
        if id < 1 {
            return Err(not_ours());
        }
        let value = match value {
            None => None,
            Some(value) => Some(order.0.read(&value).ok_or_else(not_ours)?),
        };
        Ok(After { value, id })
    }
}
