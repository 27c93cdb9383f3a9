//! Rows as bodies of requests have them: one JSON object, a member for each column, by its key.

use serde::{
    Deserialize,
    de::{Deserializer, MapAccess, Visitor},
};
use serde_json::value::RawValue;
use std::{borrow::Cow, fmt};
use uuid::Uuid;

use super::{Column, Fault, Rule, Schema, Value, declared::point};

/// Bytes of the values of a primary key.
const MAX_KEY_BYTES: usize = 2_000;
/// Most faults that are named of one row.
pub const MAX_FAULTS: usize = 100;
/// The member that says which row it is.
const ID: &str = "_id";

/// What a row must have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Given {
    /// All: the columns that are not given are null.
    Whole,
    /// Only what is to change.
    Part,
}

/// A row of a body.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Row<'a> {
    /// The `_id` it brings.
    pub id: Option<Uuid>,
    /// Values with the places of their columns, in the order of the schema; of [`Given::Whole`] one for each column.
    pub values: Vec<(usize, Value<'a>)>,
}

/// A fault with where it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowFault {
    /// JSON Pointer within the body; the body itself is the empty one.
    pub pointer: String,
    /// What is wrong.
    pub fault: Fault,
}

impl RowFault {
    fn new(member: &str, fault: Fault) -> Self {
        Self { pointer: format!("/{}", member.replace('~', "~0").replace('/', "~1")), fault }
    }
}

/// Reads a row. Of the faults the first [`MAX_FAULTS`] are given, in the order of the body, then what is missing.
pub fn read<'a>(schema: &Schema, given: Given, body: &'a [u8]) -> Result<Row<'a>, Vec<RowFault>> {
    let body = super::json::without_bom(body);
    let members: Members<'a> = serde_json::from_slice(body).map_err(|error| {
        let message = format!("the body must be a JSON object: {error}");
        vec![RowFault { pointer: String::new(), fault: Fault::new("not_json", message) }]
    })?;
    let mut reader =
        Reader { schema, id: None, values: vec![None; schema.columns.len()], faults: Vec::new() };
    for (name, json) in &members.0 {
        if reader.faults.len() >= MAX_FAULTS {
            break;
        }
        reader.member(name, json);
    }
    let Reader { id, mut values, mut faults, .. } = reader;
    if given == Given::Whole {
        for (column, value) in schema.columns.iter().zip(&mut values) {
            if value.is_some() {
                continue;
            }
            *value = Some(Some(Value::Null));
            if let Err(fault) = column.check_null() {
                faults.push(RowFault::new(column.key.as_str(), fault));
            }
        }
    }
    if faults.is_empty() {
        check_point(schema, &values, &mut faults);
        check_key(schema, &values, &mut faults);
    }
    if faults.is_empty() {
        let values = values.into_iter().enumerate();
        let values = values.filter_map(|(place, value)| Some((place, value??)));
        return Ok(Row { id, values: values.collect() });
    }
    faults.truncate(MAX_FAULTS);
    Err(faults)
}

/// Two columns that make a point, where both are there; where one of them is, the row that is there has the other.
fn check_point(schema: &Schema, values: &[Option<Option<Value<'_>>>], faults: &mut Vec<RowFault>) {
    let value = |place: usize| values.get(place).and_then(Option::as_ref).and_then(Option::as_ref);
    let Some((longitude, latitude)) = point::columns(schema) else { return };
    let (Some(x), Some(y)) = (value(longitude), value(latitude)) else { return };
    if let Err((place, fault)) = point::check_columns(schema, x, y)
        && let Some(column) = schema.columns.get(place)
    {
        faults.push(RowFault::new(column.key.as_str(), fault));
    }
}

/// The values of a key of several columns together must fit into its index; each alone has its own limit.
fn check_key(schema: &Schema, values: &[Option<Option<Value<'_>>>], faults: &mut Vec<RowFault>) {
    if schema.primary_key.len() < 2 {
        return;
    }
    let mut bytes = 0;
    for place in &schema.primary_key {
        let value = values.get(*place).and_then(Option::as_ref).and_then(Option::as_ref);
        bytes += value.and_then(Value::sql_text).map_or(0, |text| text.len());
        if let Some(column) = schema.columns.get(*place).filter(|_| bytes > MAX_KEY_BYTES) {
            let message =
                format!("the primary key, up to {}, must have at most {MAX_KEY_BYTES} bytes", column.name);
            faults.push(RowFault::new(column.key.as_str(), Fault::new("length", message)));
            return;
        }
    }
}

struct Reader<'s, 'a> {
    schema: &'s Schema,
    id: Option<Uuid>,
    /// For each column whether it was given, and its value where that is none of the faults.
    values: Vec<Option<Option<Value<'a>>>>,
    faults: Vec<RowFault>,
}

impl<'a> Reader<'_, 'a> {
    fn member(&mut self, name: &str, json: &'a RawValue) {
        let fault = match self.schema.keyed(name) {
            Some((place, column)) => {
                if self.values.get(place).is_some_and(Option::is_some) {
                    Err(twice(name))
                } else {
                    let parsed = parse(column, json);
                    let (value, fault) = match parsed {
                        Ok(value) => (Some(value), Ok(())),
                        Err(fault) => (None, Err(fault)),
                    };
                    if let Some(slot) = self.values.get_mut(place) {
                        *slot = Some(value);
                    }
                    fault
                }
            }
            None if name == ID => self.read_id(json),
            None => Err(self.unknown(name)),
        };
        if let Err(fault) = fault {
            self.faults.push(RowFault::new(name, fault));
        }
    }

    fn read_id(&mut self, json: &RawValue) -> Result<(), Fault> {
        if self.id.is_some() {
            return Err(twice(ID));
        }
        let id = serde_json::from_str::<Cow<'_, str>>(json.get()).ok();
        let id = id.filter(|id| id.len() == 36).and_then(|id| Uuid::try_parse(&id).ok());
        let fault =
            || Fault::new("not_a_uuid", "_id must be a UUID, 8-4-4-4-12 hexadecimal digits".to_owned());
        self.id = Some(id.ok_or_else(fault)?);
        Ok(())
    }

    fn unknown(&self, name: &str) -> Fault {
        let shown: String = name.chars().take(100).collect();
        let message = if name.starts_with('_') {
            format!("{shown} is the service's own; of those only _id may be sent")
        } else if let Some((_, column)) = self.schema.named(name) {
            format!("there is no field {shown}; the key of {} is {}", column.name, column.key.as_str())
        } else {
            let keys: Vec<_> =
                self.schema.columns.iter().map(|column| column.key.as_str()).take(50).collect();
            let more = if self.schema.columns.len() > keys.len() { ", …" } else { "" };
            format!("there is no field {shown}; there are {}{more}", keys.join(", "))
        };
        Fault::new("unknown_field", message)
    }
}

fn parse<'a>(column: &Column, json: &'a RawValue) -> Result<Value<'a>, Fault> {
    // Of the built-in datasets, lists are read elsewhere.
    if let (Rule::Integers { .. }, true) = (&column.rule, json.get().starts_with('[')) {
        let items: Vec<i64> = serde_json::from_str(json.get()).map_err(|_| {
            Fault::new("not_an_integer", format!("{} must be a list of whole numbers", column.name))
        })?;
        let text: Vec<_> = items.iter().map(ToString::to_string).collect();
        return column.parse(&text.join(";")).map(Value::into_owned);
    }
    column.parse_raw(json)
}

fn twice(name: &str) -> Fault {
    Fault::new("duplicate_field", format!("{name} is there twice"))
}

/// The members of an object in its order, those that are there twice too.
struct Members<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = Members<'de>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
                let mut members = Vec::new();
                while let Some((Name(name), json)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    members.push((name, json));
                }
                Ok(Members(members))
            }
        }
        #[derive(Deserialize)]
        struct Name<'a>(#[serde(borrow)] Cow<'a, str>);
        deserializer.deserialize_map(Collect)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::datasets::{Declared, Ident, Place, Point};

    fn schema() -> Schema {
        let fields = [
            ("name", json!({"type": "string", "constraints": {"required": true}})),
            ("born", json!({"type": "date", "format": "%d.%m.%Y"})),
            ("lon", json!({"type": "number"})),
            ("lat", json!({"type": "number"})),
        ];
        let columns = fields.map(|(name, field)| {
            let field = field.as_object().expect("an object");
            let rule = Declared::declare(field, &[Box::from("")], &mut Vec::new()).expect("a rule");
            Column { key: Ident::new(name).expect("a key"), ..Column::new(name, rule, name == "name", "") }
        });
        let place = Place::Columns { longitude: 2, latitude: 3 };
        let point = Some(Point { place, bounds: Some([0.0, 40.0, 10.0, 50.0]) });
        Schema { columns: columns.into(), point, ..Schema::default() }
    }

    fn read(given: Given, body: &str) -> Vec<(String, &'static str)> {
        match super::read(&schema(), given, body.as_bytes()) {
            Ok(row) => row
                .values
                .into_iter()
                .map(|(place, value)| (format!("{place}={}", value.json()), ""))
                .chain(row.id.map(|id| (id.to_string(), "id")))
                .collect(),
            Err(faults) => faults.into_iter().map(|fault| (fault.pointer, fault.fault.code)).collect(),
        }
    }

    fn faults(expected: &[(&str, &'static str)]) -> Vec<(String, &'static str)> {
        expected.iter().map(|(pointer, code)| ((*pointer).to_owned(), *code)).collect()
    }

    #[test]
    fn a_whole_row_has_all_columns() {
        let id = "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11";
        let row = read(Given::Whole, &format!(r#" {{"born":"2024-01-02","name":"a","_id":"{id}"}} "#));
        let expected =
            faults(&[("0=\"a\"", ""), ("1=\"2024-01-02\"", ""), ("2=null", ""), ("3=null", ""), (id, "id")]);
        assert_eq!(row, expected);
        let row = read(Given::Whole, r#"{"born":"02.01.2024","x/y":1,"born":null,"_version":2,"_id":"x"}"#);
        let expected = faults(&[
            ("/born", "not_a_date"),
            ("/x~1y", "unknown_field"),
            ("/born", "duplicate_field"),
            ("/_version", "unknown_field"),
            ("/_id", "not_a_uuid"),
            ("/name", "required"),
        ]);
        assert_eq!(row, expected);
    }

    #[test]
    fn a_part_of_a_row_has_what_changes() {
        assert_eq!(read(Given::Part, r#"{"lon":1.50}"#), faults(&[("2=1.50", "")]));
        assert_eq!(read(Given::Part, r#"{"name":null}"#), faults(&[("/name", "required")]));
        assert_eq!(read(Given::Part, "{}"), faults(&[]));
    }

    #[test]
    fn a_point_is_whole_and_within_its_bounds() {
        let point = |lon: &str, lat: &str| read(Given::Part, &format!(r#"{{"lon":{lon},"lat":{lat}}}"#));
        assert_eq!(point("5", "45"), faults(&[("2=5", ""), ("3=45", "")]));
        assert_eq!(point("45", "5"), faults(&[("/lon", "swapped_point")]));
        assert_eq!(point("5", "null"), faults(&[("/lat", "not_a_point")]));
        assert_eq!(point("null", "5"), faults(&[("/lon", "not_a_point")]));
        assert_eq!(point("5", "95"), faults(&[("/lat", "out_of_range")]));
        assert_eq!(read(Given::Whole, r#"{"name":"a","lon":5}"#), faults(&[("/lat", "not_a_point")]));
    }

    #[test]
    fn what_is_no_object_is_refused_whole() {
        let deep = format!("{{\"a\":{}", "[".repeat(300_000));
        for body in ["", "[]", "5", "{", "{\"name\":\"a\"} x", "{\"name\":}", &deep] {
            assert_eq!(read(Given::Whole, body), faults(&[("", "not_json")]), "{body:.20}");
        }
        let many: String = (0..1000).map(|number| format!("\"f{number}\":1,")).collect();
        let many = read(Given::Part, &format!("{{{}\"z\":1}}", many));
        assert_eq!(many.len(), MAX_FAULTS);
    }
}
