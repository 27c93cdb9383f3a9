//! The declarations of the built-in datasets. They are Data Resources like users', with a property of ours: `rule` names the rule of a
//! field where the standard's type, format and constraints, which say it as closely as they can, do not say all of it.

use std::sync::Arc;

use chrono::NaiveDate;
use serde_json::{Map, Value};

use super::{fault::Faults, resource::missing_values, rule::fill_defaults};
use crate::datasets::{Column, FieldsMatch, Ident, Place, Point, Rule, Schema};

/// What a built-in dataset takes from its declaration.
#[derive(Debug)]
pub(in crate::datasets) struct Declaration {
    pub(in crate::datasets) title: Option<Box<str>>,
    pub(in crate::datasets) description: Option<Box<str>>,
    pub(in crate::datasets) schema: Schema,
    /// With defaults filled in.
    pub(in crate::datasets) descriptor: Arc<Value>,
}

/// Reads a declaration that is part of the program.
#[expect(clippy::expect_used, reason = "the text is part of the program, and the tests read it")]
pub(in crate::datasets) fn built_in(text: &'static str) -> Declaration {
    read(text).expect("a built-in declaration is as it must be")
}

fn read(text: &str) -> Option<Declaration> {
    let mut descriptor: Value = serde_json::from_str(text).ok()?;
    let text = |name: &str| descriptor.get(name).and_then(Value::as_str).map(Into::into);
    let (title, description) = (text("title"), text("description"));
    let schema = descriptor.get_mut("schema")?.as_object_mut()?;
    let missing = missing_values(schema, "", &mut Faults::default())?;
    let mut columns = Vec::new();
    for field in schema.get_mut("fields")?.as_array_mut()? {
        let field = field.as_object_mut()?;
        let name = field.get("name")?.as_str()?.to_owned();
        columns.push(column(&name, field, &missing)?);
        field.shift_insert(1, "key".to_owned(), name.into());
        fill_defaults(field);
    }
    let key = |name: &str| {
        let key = descriptor.get("point")?.get(name)?.as_str()?;
        columns.iter().position(|column| column.key.as_str() == key)
    };
    let point = key("longitude")
        .zip(key("latitude"))
        .map(|(longitude, latitude)| Point { place: Place::Columns { longitude, latitude }, bounds: None });
    let schema = Schema {
        columns,
        primary_key: Vec::new(),
        foreign_keys: Vec::new(),
        fields_match: FieldsMatch::Superset,
        point,
    };
    Some(Declaration { title, description, schema, descriptor: Arc::new(descriptor) })
}

fn column(name: &str, field: &Map<String, Value>, missing: &Arc<[Box<str>]>) -> Option<Column> {
    let constraint = |name: &str| field.get("constraints").and_then(|constraints| constraints.get(name));
    Some(Column {
        name: name.into(),
        key: Ident::new(name)?,
        title: None,
        description: field.get("description").and_then(Value::as_str).map(Into::into),
        aliases: Box::default(),
        required: constraint("required") == Some(&Value::Bool(true)),
        unique: false,
        indexed: false,
        missing: Arc::clone(missing),
        rule: rule(field, constraint)?,
    })
}

/// The rule of a field: what `rule` names, else what its type says.
fn rule<'a>(field: &Map<String, Value>, constraint: impl Fn(&str) -> Option<&'a Value>) -> Option<Rule> {
    let chars =
        |name: &str| constraint(name).and_then(Value::as_u64).and_then(|chars| u32::try_from(chars).ok());
    let number = |name: &str| constraint(name).and_then(Value::as_f64);
    let whole = |name: &str| constraint(name).and_then(Value::as_i64);
    let kind = field.get("rule").or_else(|| field.get("type"))?.as_str()?;
    Some(match kind {
        "openflights_text" => Rule::Text { max_chars: chars("maxLength")? },
        "text" => Rule::Verbatim { max_chars: chars("maxLength")?, alphanumeric: false },
        "text_with_letter_or_digit" => Rule::Verbatim { max_chars: chars("maxLength")?, alphanumeric: true },
        "code" => Rule::Code { min_chars: chars("minLength")?, max_chars: chars("maxLength")? },
        "past_date" => Rule::PastDate { before: NaiveDate::MAX },
        // Numbers as they say which row is meant: none is negative.
        "different_numbers" => Rule::Integers { min: 0, max: i64::MAX },
        "integer" => Rule::Integer {
            min: whole("minimum").unwrap_or(i64::MIN),
            max: whole("maximum").unwrap_or(i64::MAX),
        },
        "number" => Rule::Number { min: number("minimum")?, max: number("maximum")? },
        "string" => {
            let words: Option<Vec<&str>> =
                constraint("enum")?.as_array()?.iter().map(Value::as_str).collect();
            Rule::one_of(&words?)
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use chrono::NaiveDate;
    use serde_json::Value;

    use crate::datasets::{BUILT_IN, Column, Ident, Rule, descriptor};

    const PLACE: Rule = Rule::Verbatim { max_chars: 256, alphanumeric: true };
    const VERBATIM: Rule = Rule::Verbatim { max_chars: 256, alphanumeric: false };
    const NUMBER: Rule = Rule::Integer { min: 0, max: i64::MAX };
    const TEXT: Rule = Rule::Text { max_chars: 256 };

    fn airports() -> Vec<Column> {
        let dst = "Daylight saving rule: Europe, US/Canada (A), South America, Australia (O), New Zealand (Z), None, Unknown";
        vec![
            Column::new(
                "id",
                Rule::Integer { min: 1, max: i64::MAX },
                false,
                "OpenFlights' identifier of the airport",
            ),
            Column::new("name", TEXT, true, "Name of the airport"),
            Column::new("city", TEXT, false, "Main city served"),
            Column::new("country", TEXT, true, "Country or territory"),
            Column::new(
                "iata",
                Rule::Code { min_chars: 3, max_chars: 3 },
                false,
                "IATA code, of capital letters and digits",
            ),
            Column::new(
                "icao",
                Rule::Code { min_chars: 3, max_chars: 4 },
                false,
                "ICAO code, of capital letters and digits",
            ),
            Column::new(
                "latitude",
                Rule::Number { min: -90.0, max: 90.0 },
                true,
                "Decimal degrees WGS 84, north positive",
            ),
            Column::new(
                "longitude",
                Rule::Number { min: -180.0, max: 180.0 },
                true,
                "Decimal degrees WGS 84, east positive",
            ),
            Column::new(
                "altitude",
                Rule::Integer { min: -2_000, max: 30_000 },
                false,
                "Feet above mean sea level",
            ),
            Column::new(
                "timezone",
                Rule::Number { min: -12.0, max: 14.0 },
                false,
                "Hours from UTC, fractions allowed",
            ),
            Column::new("dst", Rule::one_of(&["E", "A", "S", "O", "Z", "N", "U"]), false, dst),
            Column::new("tz", TEXT, false, "Time zone's Olson name"),
            Column::new("type", TEXT, false, "airport, station, port or unknown in OpenFlights' files"),
            Column::new("source", TEXT, false, "Where the record comes from"),
        ]
    }

    fn citizens() -> Vec<Column> {
        let birth_date = "Date of birth, `DD.MM.YYYY`, before today in UTC";
        let relatives = "Numbers of the relatives, citizens of the same import; whoever is listed lists back";
        vec![
            Column::new("citizen_id", NUMBER, true, "Number of the citizen, unique in its import"),
            Column::new("town", PLACE, true, "Town"),
            Column::new("street", PLACE, true, "Street"),
            Column::new("building", PLACE, true, "Building"),
            Column::new("apartment", NUMBER, true, "Number of the apartment"),
            Column::new("name", VERBATIM, true, "Name"),
            Column::new("birth_date", Rule::PastDate { before: NaiveDate::MAX }, true, birth_date),
            Column::new("gender", Rule::one_of(&["male", "female"]), true, "Gender"),
            Column::new("relatives", Rule::Integers { min: 0, max: i64::MAX }, true, relatives),
            Column::new("channel", VERBATIM, false, "The advertising channel that brought the citizen"),
        ]
    }

    #[test]
    fn the_rules_of_the_built_in_datasets_are_these() {
        for (dataset, expected) in BUILT_IN.iter().zip([airports(), citizens()]) {
            let told = |columns: &[Column]| {
                let told = columns.iter().map(|column| {
                    (
                        column.name.clone(),
                        column.key.clone(),
                        column.required,
                        column.rule.clone(),
                        column.description.clone(),
                    )
                });
                told.collect::<Vec<_>>()
            };
            assert_eq!(told(&dataset.schema.columns), told(&expected));
        }
    }

    #[test]
    fn a_built_in_declaration_has_nothing_but_its_rules_that_a_user_could_not_declare() {
        for dataset in &*BUILT_IN {
            let name = Ident::dataset(dataset.name.as_str()).expect("a name");
            // The statistics' parameter of that name came later than the column.
            let text = dataset.descriptor.to_string().replace("\"key\":\"tz\"", "\"key\":\"tz_field\"");
            let limits = descriptor::Limits::default();
            let read = descriptor::read(&name, text.as_bytes(), &limits).expect("no faults");
            let keys = |columns: &[Column]| {
                let keys = columns
                    .iter()
                    .map(|column| (column.name.clone(), column.required, column.missing.clone()));
                keys.collect::<Vec<_>>()
            };
            assert_eq!(keys(read.columns()), keys(&dataset.schema.columns));
            assert_eq!(read.compile(None, 1).schema.point, dataset.schema.point);
            let expected: Value = serde_json::from_str(&text).expect("JSON");
            assert_eq!(read.canonical(), &expected);
        }
    }
}
