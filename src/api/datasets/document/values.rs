//! The values of one column in a document: their schema as OpenAPI 3.0 has it, and an example that keeps the rules.

use regex::Regex;
use serde_json::{Map, Value, json};

use super::{
    Described,
    pattern::{self, is_portable},
};
use crate::datasets::{
    Column, Place, Point, Rule,
    declared::{Declared, Kind},
};

/// Longest text without `maxLength`, in characters.
const TEXT_CHARS: u64 = 65_536;
/// Longest address, and longest value of a key or an index, in bytes.
const KEY_BYTES: u64 = 2_000;
/// Longest example.
const EXAMPLE_CHARS: usize = 100;

/// What can be asked of the values of a column: section 6 of the contract has a row of operators for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    /// Searched and ordered.
    Text,
    /// Numbers, days and times.
    Ordered,
    /// A few values, or identifiers: there is no order among them.
    Choice,
    /// Items.
    List,
    /// A place.
    Point,
    /// JSON.
    Json,
}

/// What the values of a column are.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Type<'a> {
    Text,
    Email,
    Uri,
    Url,
    Uuid,
    Integer,
    Number {
        float: bool,
    },
    Boolean,
    Date,
    Time,
    DateTime,
    Year,
    YearMonth,
    Point,
    List(&'a Declared),
    /// Of a built-in dataset.
    Integers,
    /// A day that is no ISO date: of a built-in dataset.
    WrittenDay,
    Object,
    Array,
}

/// One column with what its descriptor says.
#[derive(Debug, Clone, Copy)]
pub(super) struct Field<'a> {
    pub(super) column: &'a Column,
    pub(super) kind: Type<'a>,
    /// The field of the descriptor; null where there is none.
    described: &'a Value,
    /// Whether its values are of a key or an index, which bounds their length.
    is_key: bool,
    /// Least and greatest value that the dataset's point allows.
    degrees: Option<(f64, f64)>,
    /// West, south, east and north of a column of points.
    bounds: Option<[f64; 4]>,
}

/// The columns of a dataset, in its order.
pub(super) fn fields<'a>(described: &Described<'a>) -> Vec<Field<'a>> {
    let Described { dataset, descriptor } = described;
    let list = descriptor.pointer("/schema/fields").or_else(|| descriptor.get("fields"));
    let list = list.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
    let schema = &dataset.schema;
    let columns = schema.columns.iter().enumerate();
    let field = |(place, column): (usize, &'a Column)| {
        let is_of = |field: &&Value| match field.get("key") {
            Some(key) => key == column.key.as_str(),
            None => field["name"] == *column.name,
        };
        // In canonical JSON each field is at its column's place.
        let described = list.get(place).filter(is_of).or_else(|| list.iter().find(is_of));
        Field {
            column,
            kind: Type::of(&column.rule),
            described: described.unwrap_or(&Value::Null),
            is_key: column.unique || column.indexed || schema.primary_key.contains(&place),
            degrees: schema.point.as_ref().and_then(|point| degrees(point, place)),
            bounds: schema.point.as_ref().and_then(|point| point.bounds),
        }
    };
    columns.map(field).collect()
}

fn degrees(point: &Point, place: usize) -> Option<(f64, f64)> {
    let [west, south, east, north] = point.bounds.unwrap_or([-180.0, -90.0, 180.0, 90.0]);
    match point.place {
        // Bounds that cross the antimeridian are two ranges.
        Place::Columns { longitude, .. } if longitude == place && west <= east => Some((west, east)),
        Place::Columns { longitude, .. } if longitude == place => Some((-180.0, 180.0)),
        Place::Columns { latitude, .. } if latitude == place => Some((south, north)),
        _ => None,
    }
}

impl<'a> Type<'a> {
    fn of(rule: &'a Rule) -> Self {
        match rule {
            Rule::Text { .. } | Rule::Code { .. } | Rule::OneOf(_) | Rule::Verbatim { .. } => Self::Text,
            Rule::Integer { .. } => Self::Integer,
            Rule::Number { .. } => Self::Number { float: true },
            Rule::PastDate { .. } => Self::WrittenDay,
            Rule::Integers { .. } => Self::Integers,
            Rule::Declared(declared) => Self::of_kind(&declared.kind),
        }
    }

    fn of_kind(kind: &'a Kind) -> Self {
        match kind {
            Kind::String | Kind::Any => Self::Text,
            Kind::Uuid => Self::Uuid,
            Kind::Email => Self::Email,
            Kind::Uri => Self::Uri,
            Kind::Url => Self::Url,
            Kind::Integer => Self::Integer,
            Kind::Number { float } => Self::Number { float: *float },
            Kind::Boolean => Self::Boolean,
            Kind::Date => Self::Date,
            Kind::Time => Self::Time,
            Kind::DateTime => Self::DateTime,
            Kind::Year => Self::Year,
            Kind::YearMonth => Self::YearMonth,
            Kind::GeoPoint(_) => Self::Point,
            Kind::List(item) => Self::List(item),
            Kind::Object => Self::Object,
            Kind::Array => Self::Array,
        }
    }

    /// What JSON has, without any rule.
    pub(super) fn schema(self) -> Map<String, Value> {
        let schema = match self {
            Self::Text => json!({ "type": "string" }),
            Self::Email => json!({ "type": "string", "format": "email" }),
            Self::Uri | Self::Url => json!({ "type": "string", "format": "uri" }),
            Self::Uuid => json!({ "type": "string", "format": "uuid" }),
            Self::Integer => json!({ "type": "integer", "format": "int64" }),
            Self::Number { float: true } => json!({ "type": "number", "format": "double" }),
            Self::Number { float: false } => json!({ "type": "number" }),
            Self::Boolean => json!({ "type": "boolean" }),
            Self::Date => json!({ "type": "string", "format": "date" }),
            Self::Time => {
                let pattern = r"^([01]\d|2[0-3]):[0-5]\d:[0-5]\d(\.\d{1,6})?$";
                json!({ "type": "string", "pattern": pattern })
            }
            Self::DateTime => json!({ "type": "string", "format": "date-time" }),
            Self::Year => {
                json!({ "type": "integer", "format": "int32", "minimum": -9999, "maximum": 9999 })
            }
            Self::YearMonth => json!({ "type": "string", "pattern": r"^\d{4}-(0[1-9]|1[0-2])$" }),
            Self::WrittenDay => json!({ "type": "string", "pattern": r"^\d{2}\.\d{2}\.\d{4}$" }),
            Self::Point => json!({
                "type": "array",
                "description": "Longitude, then latitude, in degrees of WGS 84",
                "items": { "type": "number", "format": "double" },
                "minItems": 2,
                "maxItems": 2,
            }),
            Self::List(item) => json!({ "type": "array", "items": Self::of_kind(&item.kind).schema() }),
            Self::Integers => json!({
                "type": "array",
                "items": { "type": "integer", "format": "int64" },
                "uniqueItems": true,
            }),
            Self::Object => json!({ "type": "object", "additionalProperties": true }),
            Self::Array => json!({ "type": "array", "items": {} }),
        };
        into_map(schema)
    }

    fn is_text(self) -> bool {
        matches!(self, Self::Text | Self::Email | Self::Uri | Self::Url)
    }

    /// Whether it is a number that can be added up.
    pub(super) fn is_amount(self) -> bool {
        matches!(self, Self::Integer | Self::Number { .. })
    }

    /// What the items of a list are; of anything else, itself.
    pub(super) fn item(self) -> Self {
        match self {
            Self::List(item) => Self::of_kind(&item.kind),
            Self::Integers => Self::Integer,
            other => other,
        }
    }

    fn example(self) -> Option<Value> {
        Some(match self {
            Self::Text => "text".into(),
            Self::Email => "user@example.org".into(),
            Self::Uri => "urn:example:1".into(),
            Self::Url => "https://example.org/".into(),
            Self::Uuid => "0193a2c4-5a52-7b1e-a7d4-0b1c2d3e4f50".into(),
            Self::Integer => 1.into(),
            Self::Number { .. } => json!(1.5),
            Self::Boolean => true.into(),
            Self::Date => "2024-03-05".into(),
            Self::Time => "12:30:00".into(),
            Self::DateTime => "2024-03-05T12:30:00Z".into(),
            Self::Year => 2024.into(),
            Self::YearMonth => "2024-03".into(),
            Self::WrittenDay => "05.03.2024".into(),
            Self::Point => json!([30.5, 50.4]),
            Self::List(_) | Self::Integers => json!([self.item().example()?]),
            Self::Object => json!({ "key": "value" }),
            Self::Array => json!([1]),
        })
    }
}

impl<'a> Field<'a> {
    /// What can be asked of its values.
    pub(super) fn class(&self) -> Class {
        match self.kind {
            _ if matches!(self.column.rule, Rule::OneOf(_)) => Class::Choice,
            kind if kind.is_text() && !self.allowed().is_empty() => Class::Choice,
            Type::Text | Type::Email | Type::Uri | Type::Url => Class::Text,
            Type::Uuid | Type::Boolean => Class::Choice,
            Type::List(_) | Type::Integers => Class::List,
            Type::Point => Class::Point,
            Type::Object | Type::Array => Class::Json,
            Type::Integer
            | Type::Number { .. }
            | Type::Date
            | Type::Time
            | Type::DateTime
            | Type::Year
            | Type::YearMonth
            | Type::WrittenDay => Class::Ordered,
        }
    }

    /// The key, which is the name of the property and of the parameter.
    pub(super) fn key(&self) -> &'a str {
        self.column.key.as_str()
    }

    fn constraint(&self, name: &str) -> Option<&'a Value> {
        self.described.get("constraints")?.get(name)
    }

    fn size(&self, name: &str) -> Option<u64> {
        self.constraint(name).and_then(Value::as_u64)
    }

    /// The values of `enum` or `categories`, as JSON has them; none: all are allowed.
    fn allowed(&self) -> Vec<Value> {
        if let Rule::OneOf(words) = &self.column.rule {
            return words.iter().map(|word| (**word).into()).collect();
        }
        let named = self.constraint("enum").or_else(|| self.constraint("categories"));
        let named = named.or_else(|| self.described.get("categories"));
        let list = named.and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        list.iter().map(|value| self.typed(value.get("value").unwrap_or(value))).collect()
    }

    /// A value of a constraint, where Table Schema allows a string for a number.
    fn typed(&self, value: &Value) -> Value {
        let Some(text) = value.as_str() else { return value.clone() };
        let number = match self.kind {
            Type::Integer | Type::Year => text.parse::<i64>().ok().map(Value::from),
            Type::Number { .. } => serde_json::from_str(text).ok().filter(Value::is_number),
            Type::Boolean => text.parse::<bool>().ok().map(Value::from),
            _ => None,
        };
        number.unwrap_or_else(|| value.clone())
    }

    /// The bound of that name, whether it is excluded, and never as null.
    fn bound(&self, inclusive: &str, exclusive: &str) -> Option<(Value, bool)> {
        let given = |name, is_excluded| Some((self.typed(self.constraint(name)?), is_excluded));
        given(exclusive, true).or_else(|| given(inclusive, false))
    }

    /// The schema of a value that is not null.
    pub(super) fn schema(&self) -> Map<String, Value> {
        let mut schema = self.kind.schema();
        self.add_sizes(&mut schema);
        let mut notes: Vec<String> = self.column.description.iter().map(ToString::to_string).collect();
        self.add_bounds(&mut schema, &mut notes);
        if let Some(pattern) = self.constraint("pattern").and_then(Value::as_str) {
            if is_portable(pattern) {
                schema.insert("pattern".to_owned(), pattern::whole(pattern).into());
            } else {
                notes.push(format!("Matches `{pattern}` as a whole"));
            }
        }
        let allowed = self.allowed();
        if self.kind.is_text() || self.kind == Type::Integer {
            // Clients take an enum for a type of its own, and know no such type of fractions or days.
            if !allowed.is_empty() {
                schema.insert("enum".to_owned(), allowed.into());
                schema.remove("pattern");
            }
        } else if !allowed.is_empty() {
            let values = allowed.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>();
            notes.push(format!("One of {}", values.join(", ")));
        }
        if let Some(unit) = self.described.get("unit").and_then(Value::as_str) {
            notes.push(format!("Unit: {unit}"));
        }
        if let Some(title) = &self.column.title {
            schema.insert("title".to_owned(), (**title).into());
        }
        if !notes.is_empty() {
            schema.insert("description".to_owned(), notes.join(". ").into());
        }
        if let Some(example) = self.example() {
            schema.insert("example".to_owned(), example);
        }
        schema
    }

    fn add_sizes(&self, schema: &mut Map<String, Value>) {
        let mut add = |name: &str, value: Option<u64>| {
            value.map(|value| schema.insert(name.to_owned(), value.into()));
        };
        let [least, most] = [self.size("minLength"), self.size("maxLength")];
        match self.kind {
            Type::Text | Type::Email | Type::Uri | Type::Url => {
                let longest = if self.is_key || self.kind != Type::Text { KEY_BYTES } else { TEXT_CHARS };
                let (built_in_least, built_in_most) = match self.column.rule {
                    Rule::Text { max_chars } | Rule::Verbatim { max_chars, .. } => (1, Some(max_chars)),
                    Rule::Code { min_chars, max_chars } => (min_chars, Some(max_chars)),
                    _ => (0, None),
                };
                // What stands for null in files cannot be a value; most often that is the empty field.
                let empty_is_null = self.column.missing.iter().any(|missing| missing.is_empty());
                let least = least.unwrap_or(0).max(u64::from(empty_is_null)).max(built_in_least.into());
                add("minLength", Some(least).filter(|least| *least > 0));
                let most = built_in_most.map(u64::from).or(most).unwrap_or(longest);
                add("maxLength", Some(most.min(longest)));
            }
            Type::List(_) | Type::Integers | Type::Array => {
                add("minItems", least);
                add("maxItems", most);
            }
            Type::Object => {
                add("minProperties", least);
                add("maxProperties", most);
            }
            _ => {}
        }
    }

    fn add_bounds(&self, schema: &mut Map<String, Value>, notes: &mut Vec<String>) {
        let (mut least, mut greatest) = match self.column.rule {
            Rule::Integer { min, max } => (Some(json!(min)), (max < i64::MAX).then(|| json!(max))),
            Rule::Number { min, max } => (Some(json!(min)), Some(json!(max))),
            _ => (None, None),
        };
        if let Some((from, to)) = self.degrees {
            (least, greatest) = (Some(json!(from)), Some(json!(to)));
        }
        let least = self.bound("minimum", "exclusiveMinimum").or(least.map(|least| (least, false)));
        let greatest = self.bound("maximum", "exclusiveMaximum").or(greatest.map(|most| (most, false)));
        let bounds = [
            ("minimum", "exclusiveMinimum", ["At least", "After"], least),
            ("maximum", "exclusiveMaximum", ["At most", "Before"], greatest),
        ];
        for (name, exclusive, words, bound) in bounds {
            let Some((value, is_excluded)) = bound else { continue };
            if value.is_number() {
                schema.insert(name.to_owned(), value);
                if is_excluded {
                    schema.insert(exclusive.to_owned(), true.into());
                }
            } else if let Some(text) = value.as_str() {
                notes.push(format!("{} {text}", words[usize::from(is_excluded)]));
            }
        }
    }

    /// A value that keeps all rules; `None`: none is known.
    pub(super) fn example(&self) -> Option<Value> {
        if let Some(first) = self.allowed().into_iter().next() {
            return Some(first);
        }
        let given = self.described.get("example").map(|example| self.typed(example));
        if let Some(given) = given.filter(|given| self.keeps(given)) {
            return Some(given);
        }
        let made = match (self.kind, self.degrees) {
            (_, Some((from, to))) => json!(f64::midpoint(from, to)),
            (Type::Point, _) => self.bounds.map_or_else(|| self.kind.example(), |bounds| middle(&bounds))?,
            (kind, _) if kind.is_text() => self.text_example()?,
            (kind, _) => self.within(kind.example()?),
        };
        Some(made).filter(|made| self.keeps(made))
    }

    fn text_example(&self) -> Option<Value> {
        if let Some(pattern) = self.constraint("pattern").and_then(Value::as_str) {
            return pattern::example(pattern).map(Value::from);
        }
        if let Rule::Code { min_chars, .. } = self.column.rule {
            return Some("A".repeat(min_chars as usize).into());
        }
        let text = self.kind.example()?;
        let text = text.as_str()?;
        if self.kind != Type::Text {
            return Some(text.into());
        }
        let least = usize::try_from(self.size("minLength").unwrap_or(0)).ok()?;
        let most = usize::try_from(self.size("maxLength").unwrap_or(TEXT_CHARS)).ok()?;
        let chars = text.len().max(least).min(most);
        (chars <= EXAMPLE_CHARS).then(|| text.chars().cycle().take(chars).collect::<String>().into())
    }

    /// The value, or the nearest one within the bounds.
    fn within(&self, value: Value) -> Value {
        if self.keeps(&value) {
            return value;
        }
        let mut schema = Map::new();
        self.add_bounds(&mut schema, &mut Vec::new());
        let [least, greatest] = ["minimum", "maximum"].map(|name| schema.get(name));
        if self.kind.is_amount() || self.kind == Type::Year {
            let step = |bound: &Value, by: i64| match bound.as_i64() {
                Some(whole) => Some(json!(whole.checked_add(by)?)),
                None => bound.as_f64().map(|number| json!(number + by as f64)),
            };
            let near = [(least, [0, 1]), (greatest, [0, -1])];
            let mut near = near.iter().flat_map(|(bound, steps)| {
                steps.iter().filter_map(move |by| bound.and_then(|bound| step(bound, *by)))
            });
            if let Some(found) = near.find(|value| self.keeps(value)) {
                return found;
            }
            if let (Some(least), Some(greatest)) = (least, greatest)
                && let (Some(least), Some(greatest)) = (least.as_f64(), greatest.as_f64())
                && !matches!(self.kind, Type::Integer | Type::Year)
            {
                return json!(f64::midpoint(least, greatest));
            }
            return value;
        }
        let mut dates = ["minimum", "maximum"].into_iter().filter_map(|name| self.constraint(name));
        dates.find(|bound| self.keeps(bound)).cloned().unwrap_or(value)
    }

    /// Whether an example keeps the rules; what cannot be told counts as no.
    fn keeps(&self, value: &Value) -> bool {
        match (self.kind, value) {
            (Type::Integer | Type::Year, Value::Number(number)) => number.is_i64() && self.is_between(value),
            (Type::Number { .. }, Value::Number(_)) => self.is_between(value),
            (Type::Boolean, Value::Bool(_)) => true,
            (Type::Text, Value::String(text)) => self.keeps_text(text),
            // Examples of users may be in the format of their files, so only what is known to be right is taken.
            (Type::Email | Type::Uri | Type::Url | Type::Uuid, Value::String(_)) => {
                Some(value) == self.kind.example().as_ref()
                    && value.as_str().is_some_and(|text| self.keeps_text(text))
            }
            (Type::Date | Type::Time | Type::DateTime | Type::YearMonth, Value::String(text)) => {
                let shape = self.kind.example();
                let shape = shape.as_ref().and_then(Value::as_str).unwrap_or_default();
                let is_alike = |(one, other): (u8, u8)| {
                    if other.is_ascii_digit() { one.is_ascii_digit() } else { one == other }
                };
                text.len() == shape.len()
                    && text.bytes().zip(shape.bytes()).all(is_alike)
                    && self.is_between(value)
            }
            (Type::Point, Value::Array(parts)) => parts.len() == 2,
            (Type::List(_) | Type::Integers | Type::Array, Value::Array(items)) => self.has_size(items.len()),
            (Type::Object, Value::Object(members)) => self.has_size(members.len()),
            (Type::WrittenDay, Value::String(_)) => true,
            _ => false,
        }
    }

    fn keeps_text(&self, text: &str) -> bool {
        let is_missing = self.column.missing.iter().any(|missing| **missing == *text);
        let matches = self.constraint("pattern").and_then(Value::as_str).is_none_or(|pattern| {
            Regex::new(&format!("^(?:{pattern})$")).is_ok_and(|pattern| pattern.is_match(text))
        });
        !is_missing && self.has_size(text.chars().count()) && matches
    }

    fn has_size(&self, size: usize) -> bool {
        let size = size as u64;
        self.size("minLength").is_none_or(|least| least <= size)
            && self.size("maxLength").is_none_or(|most| size <= most)
    }

    fn is_between(&self, value: &Value) -> bool {
        let mut schema = Map::new();
        self.add_bounds(&mut schema, &mut Vec::new());
        let number = |name: &str| schema.get(name).and_then(Value::as_f64);
        if let Some(value) = value.as_f64() {
            let is_excluded = |name: &str| schema.contains_key(name);
            let least = number("minimum").is_none_or(|least| {
                if is_excluded("exclusiveMinimum") { value > least } else { value >= least }
            });
            let greatest = number("maximum").is_none_or(|greatest| {
                if is_excluded("exclusiveMaximum") { value < greatest } else { value <= greatest }
            });
            return least && greatest;
        }
        // ISO texts of one shape have the order of what they say.
        let text = value.as_str().unwrap_or_default();
        let bound = |name: &str| self.constraint(name).and_then(Value::as_str);
        bound("minimum").is_none_or(|least| text >= least)
            && bound("exclusiveMinimum").is_none_or(|least| text > least)
            && bound("maximum").is_none_or(|greatest| text <= greatest)
            && bound("exclusiveMaximum").is_none_or(|greatest| text < greatest)
    }

    /// The schema of a value in a query: of the type, and one of the allowed ones where there are few.
    pub(super) fn asked(&self) -> Map<String, Value> {
        // Any text can be asked for.
        let kind = self.kind.item();
        let is_text = matches!(kind, Type::Email | Type::Uri | Type::Url);
        let mut schema = if is_text { Type::Text.schema() } else { kind.schema() };
        let allowed = self.allowed();
        if self.class() == Class::Choice && self.kind.is_text() && !allowed.is_empty() {
            schema.insert("enum".to_owned(), allowed.into());
        }
        schema
    }
}

fn middle(bounds: &[f64; 4]) -> Option<Value> {
    let [west, south, east, north] = *bounds;
    (west <= east).then(|| json!([f64::midpoint(west, east), f64::midpoint(south, north)]))
}

/// The schema of what may be null too.
pub(super) fn or_null(mut schema: Map<String, Value>) -> Map<String, Value> {
    schema.insert("nullable".to_owned(), true.into());
    if let Some(Value::Array(allowed)) = schema.get_mut("enum") {
        allowed.push(Value::Null);
    }
    schema
}

pub(super) fn into_map(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}
