//! An airport in JSON, checked by the rules of the dataset's columns.

use std::borrow::Cow;

use chrono::{DateTime, SecondsFormat, Utc};
use poem_openapi::{
    registry::{MetaSchema, MetaSchemaRef},
    types::ToJSON,
};
use serde_json::{Map, Value as Json, json};

use crate::{
    api::{
        body::{self, FromJson},
        problem::Violation,
        schema,
    },
    datasets::{Column, Value, airport::DATASET},
    db::airports::{Airport, Fields, Listed},
};

/// The name of a column in JSON, where `id` is ours.
pub(super) fn json_name(column: &Column) -> &str {
    if &*column.name == "id" { "openflights_id" } else { &column.name }
}

/// The column of that name in JSON.
pub(super) fn column(json_name: &str) -> Option<&'static Column> {
    DATASET.schema.columns.iter().find(|column| self::json_name(column) == json_name)
}

/// The document's airport: Keflavík, as OpenFlights has it.
pub(in crate::api) fn example() -> Json {
    json!({
        "openflights_id": 16, "name": "Keflavik International Airport", "city": "Keflavik", "country": "Iceland",
        "iata": "KEF", "icao": "BIKF", "latitude": 63.985000610352, "longitude": -22.605600357056, "altitude": 171,
        "timezone": 0.0, "dst": "N", "tz": "Atlantic/Reykjavik", "type": "airport", "source": "OurAirports",
    })
}

fn column_properties() -> Vec<(&'static str, MetaSchemaRef)> {
    let example = example();
    let property = |column: &'static Column| {
        let name = json_name(column);
        (name, MetaSchemaRef::Inline(Box::new(schema::of_column(column, example.get(name)))))
    };
    DATASET.schema.columns.iter().map(property).collect()
}

fn required() -> Vec<&'static str> {
    DATASET.schema.columns.iter().filter(|column| column.required).map(json_name).collect()
}

/// The body of a request that creates or replaces an airport: what it does not name is null.
#[derive(Debug, Clone)]
pub(in crate::api) struct NewAirport(pub(in crate::api) Fields);

schema::object!(NewAirport, "NewAirport", new_airport_schema);

fn new_airport_schema() -> MetaSchema {
    MetaSchema {
        description: Some("An airport to be created, or to take the place of another's fields"),
        properties: column_properties(),
        required: required(),
        example: Some(example()),
        ..MetaSchema::new("object")
    }
}

impl FromJson for NewAirport {
    fn from_json(json: &Json, faults: &mut Vec<Violation>) -> Option<Self> {
        let object = body::object(json, faults)?;
        body::refuse_unknown_fields(object, |name| column(name).is_some(), faults);
        let mut fields = Fields::default();
        for column in &DATASET.schema.columns {
            let value = object.get(json_name(column)).unwrap_or(&Json::Null);
            read(column, value, faults, &mut fields);
        }
        Some(Self(fields))
    }
}

/// The body of a request that changes some of an airport's fields.
#[derive(Debug, Clone, Default)]
pub(in crate::api) struct AirportPatch(Vec<(&'static Column, Json)>);

schema::object!(AirportPatch, "AirportPatch", patch_schema);

fn patch_schema() -> MetaSchema {
    MetaSchema {
        description: Some("The fields to change; null empties one"),
        properties: column_properties(),
        example: Some(json!({ "name": "Keflavík International Airport", "timezone": null })),
        ..MetaSchema::new("object")
    }
}

impl FromJson for AirportPatch {
    fn from_json(json: &Json, faults: &mut Vec<Violation>) -> Option<Self> {
        let object = body::object(json, faults)?;
        body::refuse_unknown_fields(object, Self::knows, faults);
        Some(Self::of_known_fields(object, faults))
    }
}

impl AirportPatch {
    /// Whether a patch may have a member of that name.
    pub(in crate::api) fn knows(name: &str) -> bool {
        column(name).is_some()
    }

    /// Its schema in the document.
    pub(in crate::api) fn schema() -> MetaSchema {
        patch_schema()
    }

    /// What the object says about airports; other members are the caller's.
    pub(in crate::api) fn of_known_fields(object: &Map<String, Json>, faults: &mut Vec<Violation>) -> Self {
        let mut changes = Vec::new();
        for (name, value) in object {
            if let Some(column) = column(name) {
                read(column, value, faults, &mut Fields::default());
                changes.push((column, value.clone()));
            }
        }
        Self(changes)
    }

    /// Changes `fields`.
    pub(in crate::api) fn apply(&self, fields: &mut Fields) {
        for (column, value) in &self.0 {
            // Every value was read once before, so there is nothing to report.
            read(column, value, &mut Vec::new(), fields);
        }
    }
}

fn read(column: &Column, json: &Json, faults: &mut Vec<Violation>, fields: &mut Fields) {
    match column.parse_json(json.into()) {
        Ok(value) => set(fields, &column.name, value),
        Err(fault) => {
            faults.push(Violation::at(body::pointer("", json_name(column)), fault.code, fault.message))
        }
    }
}

/// Sets the field of a column. The column's rule has checked the value: it has the field's type, and is null only where
/// the field may be.
fn set(fields: &mut Fields, column: &str, value: Value<'_>) {
    match column {
        "id" => fields.openflights_id = integer(value),
        "name" => fields.name = text(value).unwrap_or_default(),
        "city" => fields.city = text(value),
        "country" => fields.country = text(value).unwrap_or_default(),
        "iata" => fields.iata = text(value),
        "icao" => fields.icao = text(value),
        "latitude" => fields.latitude = number(value).unwrap_or_default(),
        "longitude" => fields.longitude = number(value).unwrap_or_default(),
        "altitude" => fields.altitude = integer(value),
        "timezone" => fields.timezone = number(value),
        "dst" => fields.dst = text(value),
        "tz" => fields.tz = text(value),
        "type" => fields.r#type = text(value),
        "source" => fields.source = text(value),
        // A test holds this list against the dataset's.
        _ => {}
    }
}

fn text(value: Value<'_>) -> Option<String> {
    if let Value::Text(text) = value { Some(Cow::into_owned(text)) } else { None }
}

fn integer(value: Value<'_>) -> Option<i64> {
    if let Value::Integer(number) = value { Some(number) } else { None }
}

fn number(value: Value<'_>) -> Option<f64> {
    if let Value::Number(number) = value { Some(number) } else { None }
}

/// An airport in an answer.
#[derive(Debug, Clone)]
pub(in crate::api) struct AirportBody {
    /// The row.
    airport: Box<Airport>,
    /// Metres from where the request looked for airports.
    distance_m: Option<f64>,
}

impl AirportBody {
    /// By itself.
    pub(in crate::api) fn new(airport: Airport) -> Self {
        Self { airport: Box::new(airport), distance_m: None }
    }

    /// The document's.
    pub(super) fn example() -> Json {
        let mut example = example();
        for (name, value) in [
            ("id", json!(1)),
            ("version", json!(1)),
            ("created_at", json!("2026-11-20T12:00:00Z")),
            ("updated_at", json!("2026-11-20T12:00:00Z")),
            ("deleted_at", Json::Null),
        ] {
            example[name] = value;
        }
        example
    }
}

impl From<Listed> for AirportBody {
    fn from(listed: Listed) -> Self {
        let Listed { airport, distance_m, sort_value: _ } = listed;
        Self { airport: Box::new(airport), distance_m }
    }
}

schema::object!(AirportBody, "Airport", airport_schema);

fn airport_schema() -> MetaSchema {
    let integer = || MetaSchema::new_with_format("integer", "int64");
    let time = || MetaSchema::new_with_format("string", "date-time");
    let mut properties = vec![("id", schema::property(integer(), "Ours: what the paths name"))];
    properties.extend(column_properties());
    properties.extend([
        ("version", schema::property(integer(), "One more with every change; the ETag")),
        ("created_at", schema::property(time(), "When it was created")),
        ("updated_at", schema::property(time(), "When it was last changed")),
        (
            "deleted_at",
            schema::property(
                MetaSchema { nullable: true, ..time() },
                "When it was deleted; null while it is not",
            ),
        ),
        (
            "distance_m",
            schema::property(
                MetaSchema::new_with_format("number", "double"),
                "Metres from the point given as `near`, on the sphere; only with `near`",
            ),
        ),
    ]);
    let required = properties.iter().map(|(name, _)| *name).filter(|name| *name != "distance_m").collect();
    MetaSchema { properties, required, example: Some(AirportBody::example()), ..MetaSchema::new("object") }
}

/// RFC 3339 in UTC.
pub(in crate::api) fn timestamp(time: DateTime<Utc>) -> String {
    time.to_rfc3339_opts(SecondsFormat::Micros, true)
}

impl ToJSON for AirportBody {
    fn to_json(&self) -> Option<Json> {
        let Airport { id, version, import_id: _, created_at, updated_at, deleted_at, .. } = &*self.airport;
        let mut json = Map::new();
        json.insert("id".to_owned(), (*id).into());
        json.extend(fields_to_json(&Fields::from(&*self.airport)));
        json.insert("version".to_owned(), (*version).into());
        json.insert("created_at".to_owned(), timestamp(*created_at).into());
        json.insert("updated_at".to_owned(), timestamp(*updated_at).into());
        json.insert("deleted_at".to_owned(), deleted_at.map(timestamp).into());
        if let Some(distance) = self.distance_m {
            json.insert("distance_m".to_owned(), distance.into());
        }
        Some(json.into())
    }
}

/// The fields by their names in JSON, in the order of the columns.
pub(in crate::api) fn fields_to_json(fields: &Fields) -> Map<String, Json> {
    let Fields {
        openflights_id,
        name,
        city,
        country,
        iata,
        icao,
        latitude,
        longitude,
        altitude,
        timezone,
        dst,
        tz,
        r#type,
        source,
    } = fields.clone();
    let members: [(&str, Json); 14] = [
        ("openflights_id", openflights_id.into()),
        ("name", name.into()),
        ("city", city.into()),
        ("country", country.into()),
        ("iata", iata.into()),
        ("icao", icao.into()),
        ("latitude", latitude.into()),
        ("longitude", longitude.into()),
        ("altitude", altitude.into()),
        ("timezone", timezone.into()),
        ("dst", dst.into()),
        ("tz", tz.into()),
        ("type", r#type.into()),
        ("source", source.into()),
    ];
    members.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_column_reaches_its_field_and_comes_back() {
        let mut faults = Vec::new();
        let NewAirport(fields) = NewAirport::from_json(&example(), &mut faults).expect("an airport");
        assert_eq!(faults, []);
        assert_eq!(Json::from(fields_to_json(&fields)), example());
        let names: Vec<_> = fields_to_json(&fields).keys().cloned().collect();
        assert_eq!(names, DATASET.schema.columns.iter().map(json_name).collect::<Vec<_>>());
    }

    #[test]
    fn every_violation_is_reported_with_its_pointer() {
        let mut faults = Vec::new();
        let body = json!({ "name": "", "country": 7, "latitude": 91, "longitude": 0, "colour": "red" });
        NewAirport::from_json(&body, &mut faults);
        let mut found: Vec<_> = faults
            .iter()
            .map(|fault| (fault.pointer.as_deref().unwrap_or_default(), fault.code.as_str()))
            .collect();
        found.sort_unstable();
        let expected = [
            ("/colour", "unknown_field"),
            ("/country", "not_text"),
            ("/latitude", "out_of_range"),
            ("/name", "length"),
        ];
        assert_eq!(found, expected);
    }

    #[test]
    fn a_patch_tells_absent_from_null() {
        let mut faults = Vec::new();
        let patch =
            AirportPatch::from_json(&json!({ "city": null, "altitude": 5 }), &mut faults).expect("a patch");
        let mut fields =
            Fields { city: Some("A".to_owned()), iata: Some("AAA".to_owned()), ..Fields::default() };
        patch.apply(&mut fields);
        assert_eq!((fields.city, fields.iata.as_deref(), fields.altitude), (None, Some("AAA"), Some(5)));
    }
}
