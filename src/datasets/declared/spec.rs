//! What a user declares of a field, in Table Schema's words, becomes a rule.

use std::sync::Arc;

use regex::RegexBuilder;
use serde_json::{Map, Value as Json};

use super::{
    Allowed, Constraints, Declared, GeoPoint, Kind, Limit, Pattern, Written, number, time,
    time::{Format, Scope},
};
use crate::datasets::{Rule, Value};

/// Most bytes that a compiled pattern takes.
const PATTERN_BYTES: usize = 256 << 10;
/// Most values of an `enum`.
const MAX_ALLOWED: usize = 1_000;
/// Longest of what a field is written with: words for true and false, delimiters, patterns of dates, characters.
const MAX_WORD: usize = 100;

/// What is wrong with a declared field.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpecFault {
    /// JSON Pointer within the field: `/constraints/pattern`.
    pub pointer: String,
    /// Stable and for machines.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

/// A field that is being read, with the faults found so far.
struct Field<'f> {
    json: &'f Map<String, Json>,
    faults: &'f mut Vec<SpecFault>,
}

impl Declared {
    /// The rule of a field of a Table Schema. `missing` are the fields of a file that stand for null. `None`: there are faults.
    pub fn declare(
        field: &Map<String, Json>,
        missing: &[Box<str>],
        faults: &mut Vec<SpecFault>,
    ) -> Option<Rule> {
        let before = faults.len();
        let mut field = Field { json: field, faults };
        let kind = field.kind()?;
        let written = field.written(&kind, missing);
        let mut declared = Self { written, ..Self::new(kind) };
        declared.nulls = missing.iter().filter(|word| declared.says_value(word)).cloned().collect();
        field.constraints(&mut declared);
        field.categories(&mut declared);
        if declared.constraints.allowed.as_ref().is_some_and(|allowed| allowed.values.is_empty()) {
            field.fault("/constraints/enum", "not_allowed", "no value is allowed".to_owned());
        }
        (faults.len() == before).then(|| Rule::Declared(Arc::new(declared)))
    }

    /// A type without constraints, written as the standard has it.
    pub(super) fn new(kind: Kind) -> Self {
        Self { kind, written: Written::default(), constraints: Constraints::default(), nulls: Box::default() }
    }
}

impl Rule {
    /// The rule of a column that an index has: its values are at most 2,000 bytes long. [`Declared::declare`] sees what is unique or has an
    /// index by itself; a primary key is said elsewhere.
    #[must_use]
    pub fn indexed(&self) -> Self {
        self.with(|declared| declared.constraints.is_indexed = true)
    }

    /// The rule of a geopoint within bounds: west, south, east and north.
    #[must_use]
    pub fn within(&self, bounds: [f64; 4]) -> Self {
        self.with(|declared| declared.constraints.bounds = Some(bounds))
    }

    fn with(&self, change: impl FnOnce(&mut Declared)) -> Self {
        let Self::Declared(declared) = self else { return self.clone() };
        let mut declared = Declared::clone(declared);
        change(&mut declared);
        Self::Declared(Arc::new(declared))
    }
}

impl Field<'_> {
    fn fault(&mut self, pointer: &str, code: &'static str, message: String) {
        self.faults.push(SpecFault { pointer: pointer.to_owned(), code, message });
    }

    /// A property that must be a text, if it is there.
    fn text(&mut self, name: &str) -> Option<&str> {
        let json = self.json;
        match json.get(name) {
            None | Some(Json::Null) => None,
            Some(Json::String(text)) => Some(text),
            Some(_) => {
                self.fault(&format!("/{name}"), "wrong_type", format!("{name} must be a string"));
                None
            }
        }
    }

    /// A property that must be true or false, if it is there.
    fn flag(&mut self, name: &str, default: bool) -> bool {
        match self.json.get(name) {
            None | Some(Json::Null) => default,
            Some(Json::Bool(flag)) => *flag,
            Some(_) => {
                self.fault(&format!("/{name}"), "wrong_type", format!("{name} must be true or false"));
                default
            }
        }
    }

    fn kind(&mut self) -> Option<Kind> {
        let json = self.json;
        for name in ["type", "format"] {
            if json.get(name).is_some_and(|json| !json.is_string() && !json.is_null()) {
                self.fault(&format!("/{name}"), "wrong_type", format!("{name} must be a string"));
                return None;
            }
        }
        let word = |name: &str, default| json.get(name).and_then(Json::as_str).unwrap_or(default);
        let (kind, format) = (word("type", "any"), word("format", "default"));
        let kind = match (kind, format) {
            (_, "any") | ("string", "binary") => {
                self.fault("/format", "unsupported_type", format!("the format {format} is not supported"));
                return None;
            }
            ("duration" | "geojson", _) => {
                self.fault("/type", "unsupported_type", format!("the type {kind} is not supported"));
                return None;
            }
            ("string", "default") => Kind::String,
            ("string", "uuid") => Kind::Uuid,
            ("string", "email") => Kind::Email,
            ("string", "uri") => Kind::Uri,
            ("string", "url") => Kind::Url,
            ("any", "default") => Kind::Any,
            ("integer", "default") => Kind::Integer,
            ("number", "default") => Kind::Number { float: self.flag("floatNumber", false) },
            ("boolean", "default") => Kind::Boolean,
            ("date", _) => Kind::Date,
            ("time", _) => Kind::Time,
            ("datetime", _) => Kind::DateTime,
            ("year", "default") => Kind::Year,
            ("yearmonth", "default") => Kind::YearMonth,
            ("geopoint", "default") => Kind::GeoPoint(GeoPoint::Default),
            ("geopoint", "array") => Kind::GeoPoint(GeoPoint::Array),
            ("geopoint", "object") => Kind::GeoPoint(GeoPoint::Object),
            ("list", "default") => Kind::List(Box::new(self.items()?)),
            ("object", "default") => Kind::Object,
            ("array", "default") => Kind::Array,
            (
                "string" | "any" | "integer" | "number" | "boolean" | "year" | "yearmonth" | "geopoint"
                | "list" | "object" | "array",
                _,
            ) => {
                let message = format!("the type {kind} has no format {format}");
                self.fault("/format", "unknown_format", message);
                return None;
            }
            _ => {
                let message = format!(
                    "there is no type {kind}; there are string, integer, number, boolean, date, time, datetime, \
                     year, yearmonth, geopoint, list, object, array and any"
                );
                self.fault("/type", "unsupported_type", message);
                return None;
            }
        };
        Some(kind)
    }

    fn items(&mut self) -> Option<Declared> {
        let item = self.text("itemType").unwrap_or("string").to_owned();
        let kind = match item.as_str() {
            "string" => Kind::String,
            "integer" => Kind::Integer,
            "number" => Kind::Number { float: false },
            "boolean" => Kind::Boolean,
            "date" => Kind::Date,
            "time" => Kind::Time,
            "datetime" => Kind::DateTime,
            _ => {
                let message = format!(
                    "items cannot be {item}; they can be string, integer, number, boolean, date, time and datetime"
                );
                self.fault("/itemType", "unsupported_type", message);
                return None;
            }
        };
        Some(Declared::new(kind))
    }

    fn written(&mut self, kind: &Kind, missing: &[Box<str>]) -> Written {
        let mut written = Written::default();
        match kind {
            Kind::Integer | Kind::Number { .. } => {
                written.bare = self.flag("bareNumber", true);
                written.group = self.character("groupChar");
                if let Kind::Number { .. } = kind {
                    written.decimal = self.character("decimalChar").unwrap_or('.');
                    if written.group == Some(written.decimal) {
                        let message = "groupChar is decimalChar: no number could be told".to_owned();
                        self.fault("/groupChar", "overlapping_values", message);
                    }
                }
            }
            Kind::Boolean => {
                if let Some(words) = self.words("trueValues") {
                    written.true_values = words;
                }
                if let Some(words) = self.words("falseValues") {
                    written.false_values = words;
                }
                let mut words = written.true_values.iter();
                if let Some(word) = words.find(|word| written.false_values.contains(word)) {
                    let name =
                        if self.json.contains_key("falseValues") { "falseValues" } else { "trueValues" };
                    let message = format!("{word:?} is both a true and a false value");
                    self.fault(&format!("/{name}"), "overlapping_values", message);
                }
                // What exports write must come back.
                for (name, words) in
                    [("trueValues", &written.true_values), ("falseValues", &written.false_values)]
                {
                    if let Some(word) = words.first().filter(|word| missing.contains(word)) {
                        let message = format!("exports would write {word:?}, which stands for null");
                        self.fault(&format!("/{name}"), "overlapping_values", message);
                    }
                }
            }
            Kind::Date => written.pattern = self.pattern_of_time(Scope::Date),
            Kind::Time => written.pattern = self.pattern_of_time(Scope::Time),
            Kind::DateTime => {
                written.pattern = self.pattern_of_time(Scope::DateTime);
                if let Some(name) = self.text("timezone").map(ToOwned::to_owned) {
                    match time::zone(&name) {
                        Some(zone) => written.timezone = zone,
                        None => {
                            let message = format!(
                                "there is no time zone {name}; it must be one of IANA's, such as Europe/Paris"
                            );
                            self.fault("/timezone", "unknown_timezone", message);
                        }
                    }
                }
            }
            Kind::List(_) => {
                if let Some(delimiter) = self.text("delimiter").map(ToOwned::to_owned) {
                    let is_blank = delimiter.trim_matches([' ', '\t']).is_empty();
                    if is_blank || delimiter.len() > MAX_WORD || delimiter.contains('\0') {
                        let message = format!("delimiter must be 1 to {MAX_WORD} bytes, and not blank");
                        self.fault("/delimiter", "not_allowed", message);
                    }
                    written.delimiter = delimiter.into();
                }
            }
            _ => {}
        }
        written
    }

    /// One character that no number has otherwise.
    fn character(&mut self, name: &str) -> Option<char> {
        let text = self.text(name)?;
        let mut characters = text.chars();
        let only = characters.next().filter(|_| characters.next().is_none());
        let allowed =
            only.filter(|one| !one.is_alphanumeric() && !one.is_control() && !matches!(one, '+' | '-'));
        // Blanks around a field go, and one before the fraction would go with them.
        let allowed = allowed.filter(|one| name == "groupChar" || *one != ' ');
        if allowed.is_none() {
            let message = format!("{name} must be one character that is no letter, digit or sign");
            self.fault(&format!("/{name}"), "not_allowed", message);
        }
        allowed
    }

    /// A list of different words that a trimmed field can be.
    fn words(&mut self, name: &str) -> Option<Box<[Box<str>]>> {
        let json = self.json;
        let json = json.get(name).filter(|json| !json.is_null())?;
        let words: Option<Vec<&str>> =
            json.as_array().and_then(|words| words.iter().map(Json::as_str).collect());
        let words = words.filter(|words| !words.is_empty() && words.len() <= MAX_WORD);
        let Some(words) = words else {
            let message = format!("{name} must be a list of 1 to {MAX_WORD} strings");
            self.fault(&format!("/{name}"), "wrong_type", message);
            return None;
        };
        let unusable = words.iter().position(|word| {
            word.is_empty()
                || word.len() > MAX_WORD
                || word.contains('\0')
                || word.trim_matches([' ', '\t']) != *word
        });
        if let Some(place) = unusable {
            let message = format!("it must be 1 to {MAX_WORD} bytes, without blanks around it");
            self.fault(&format!("/{name}/{place}"), "not_allowed", message);
            return None;
        }
        Some(words.into_iter().map(Box::from).collect())
    }

    fn pattern_of_time(&mut self, scope: Scope) -> Option<Format> {
        let format = self.json.get("format").and_then(Json::as_str).filter(|format| *format != "default")?;
        // As the first edition of the standard has it.
        let pattern = format.strip_prefix("fmt:").unwrap_or(format);
        let read = if pattern.len() > MAX_WORD {
            Err("it is too long".to_owned())
        } else {
            Format::new(pattern, scope)
        };
        read.map_err(|why| {
            let directives = match scope {
                Scope::Date => "%d %m %Y %y %b %B %j",
                Scope::Time => "%H %I %M %S %f %p",
                Scope::DateTime => "%d %m %Y %y %b %B %j %H %I %M %S %f %p %z",
            };
            let message = format!("{pattern} cannot be used: {why}; a pattern is made of {directives}");
            self.fault("/format", "unknown_format", message);
        })
        .ok()
    }

    fn constraints(&mut self, declared: &mut Declared) {
        let json = self.json;
        declared.constraints.is_indexed = json.get("index").and_then(Json::as_bool) == Some(true);
        let given = match json.get("constraints") {
            None | Some(Json::Null) => return,
            Some(Json::Object(given)) => given,
            Some(_) => {
                return self.fault("/constraints", "wrong_type", "constraints must be an object".to_owned());
            }
        };
        let mut limits = Vec::new();
        for (name, json) in given {
            let pointer = format!("/constraints/{}", name.replace('~', "~0").replace('/', "~1"));
            if !fits(name, &declared.kind) {
                let known = [
                    "required",
                    "unique",
                    "minLength",
                    "maxLength",
                    "minimum",
                    "maximum",
                    "exclusiveMinimum",
                    "exclusiveMaximum",
                    "pattern",
                    "enum",
                    "categories",
                ];
                if known.contains(&name.as_str()) {
                    let message = format!("{name} does not fit the type of the field");
                    self.fault(&pointer, "constraint_does_not_fit", message);
                } else {
                    let message = format!("there is no constraint {name}; there are {}", known.join(", "));
                    self.fault(&pointer, "unknown_constraint", message);
                }
                continue;
            }
            let constraints = &mut declared.constraints;
            match name.as_str() {
                "required" | "unique" => {
                    if !json.is_boolean() {
                        self.fault(&pointer, "wrong_type", format!("{name} must be true or false"));
                    }
                    constraints.is_indexed |= name == "unique" && *json == Json::Bool(true);
                }
                "minLength" => constraints.min_length = self.length(&pointer, json),
                "maxLength" => constraints.max_length = self.length(&pointer, json),
                "pattern" => constraints.pattern = self.pattern(&pointer, json),
                "enum" => {
                    let values = self.enum_values(&pointer, json, declared);
                    self.allow(declared, values);
                }
                "categories" => {
                    let values = self.category_values(&pointer, json, declared);
                    self.allow(declared, values);
                }
                _ => {
                    let limit = match name.as_str() {
                        "minimum" => Limit::Minimum,
                        "exclusiveMinimum" => Limit::ExclusiveMinimum,
                        "maximum" => Limit::Maximum,
                        _ => Limit::ExclusiveMaximum,
                    };
                    if let Some(value) = self.value(&pointer, json, declared) {
                        limits.push((limit, value));
                    }
                }
            }
        }
        self.lengths(&declared.constraints);
        self.limits(&limits, declared);
        declared.constraints.limits = limits.into();
    }

    fn lengths(&mut self, constraints: &Constraints) {
        if let (Some(min), Some(max)) = (constraints.min_length, constraints.max_length)
            && min > max
        {
            let message = format!("minLength is {min} and maxLength {max}: nothing is both");
            self.fault("/constraints/minLength", "empty_range", message);
        }
    }

    /// No value may be above and below at once.
    fn limits(&mut self, limits: &[(Limit, Value<'static>)], declared: &Declared) {
        for (low, least) in limits {
            let (Limit::Minimum | Limit::ExclusiveMinimum) = low else { continue };
            for (high, most) in limits {
                let (Limit::Maximum | Limit::ExclusiveMaximum) = high else { continue };
                let order = least.compare(most);
                let is_open = (*low, *high) != (Limit::Minimum, Limit::Maximum);
                if order.is_some_and(|order| order.is_gt() || (is_open && order.is_eq())) {
                    let message = format!(
                        "nothing is between {} and {}",
                        declared.canonical(least),
                        declared.canonical(most)
                    );
                    let name = if *low == Limit::Minimum { "minimum" } else { "exclusiveMinimum" };
                    self.fault(&format!("/constraints/{name}"), "empty_range", message);
                    return;
                }
            }
        }
    }

    fn length(&mut self, pointer: &str, json: &Json) -> Option<u32> {
        let length = json.to_string();
        let length = number::plain_integer(length.strip_suffix(".0").unwrap_or(&length)).ok();
        let length = length.and_then(|length| u32::try_from(length).ok()).filter(|length| *length < u32::MAX);
        if length.is_none() {
            self.fault(pointer, "not_allowed", "a length is a whole number, at least 0".to_owned());
        }
        length
    }

    fn pattern(&mut self, pointer: &str, json: &Json) -> Option<Pattern> {
        let Some(text) = json.as_str() else {
            self.fault(pointer, "wrong_type", "a pattern must be a string".to_owned());
            return None;
        };
        let build = |pattern: &str| {
            RegexBuilder::new(pattern).size_limit(PATTERN_BYTES).dfa_size_limit(1 << 20).build()
        };
        // By itself first, so that no parenthesis of it closes ours. The line break ends a comment of one that allows comments.
        let whole = build(text).and_then(|_| {
            build(&format!(r"\A(?:{text})\z")).or_else(|error| match error {
                regex::Error::Syntax(_) => build(&format!("\\A(?:{text}\n)\\z")),
                error => Err(error),
            })
        });
        match whole {
            Ok(whole) => Some(Pattern { text: text.into(), whole }),
            Err(regex::Error::CompiledTooBig(_)) => {
                let message = format!("the pattern takes more than {} KiB compiled", PATTERN_BYTES >> 10);
                self.fault(pointer, "unsupported_pattern", message);
                None
            }
            Err(error) => {
                let why = error.to_string();
                let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ");
                let message = format!("the pattern cannot be used: {why}");
                self.fault(pointer, "unsupported_pattern", message);
                None
            }
        }
    }

    /// A value that a constraint names, as JSON has it.
    fn value(&mut self, pointer: &str, json: &Json, declared: &Declared) -> Option<Value<'static>> {
        let bare = Declared::new(declared.kind.clone());
        let value = bare.parse_json(&json.to_string()).map(Value::into_owned);
        value
            .map_err(|_| {
                let message = format!("{json} is not {}", bare.words());
                self.fault(pointer, "not_allowed", message);
            })
            .ok()
    }

    fn enum_values(&mut self, pointer: &str, json: &Json, declared: &Declared) -> Vec<Value<'static>> {
        let values = json.as_array().filter(|values| (1..=MAX_ALLOWED).contains(&values.len()));
        let Some(values) = values else {
            let message = format!("it must be a list of 1 to {MAX_ALLOWED} values");
            self.fault(pointer, "not_allowed", message);
            return Vec::new();
        };
        let mut allowed = Vec::with_capacity(values.len());
        for (place, json) in values.iter().enumerate() {
            allowed.extend(self.value(&format!("{pointer}/{place}"), json, declared));
        }
        allowed
    }

    /// Categories are values, or objects with the value and its label.
    fn category_values(&mut self, pointer: &str, json: &Json, declared: &Declared) -> Vec<Value<'static>> {
        let values = json.as_array().map(|categories| {
            let value = |category: &Json| match category {
                Json::Object(category) => category.get("value").cloned().unwrap_or(Json::Null),
                value => value.clone(),
            };
            Json::Array(categories.iter().map(value).collect())
        });
        self.enum_values(pointer, values.as_ref().unwrap_or(json), declared)
    }

    fn categories(&mut self, declared: &mut Declared) {
        let json = self.json;
        let Some(categories) = json.get("categories").filter(|json| !json.is_null()) else { return };
        if !matches!(declared.kind, Kind::String | Kind::Integer | Kind::Any) {
            let message = "categories fit fields of the types string and integer".to_owned();
            return self.fault("/categories", "constraint_does_not_fit", message);
        }
        let values = self.category_values("/categories", categories, declared);
        self.allow(declared, values);
    }

    /// Only these values, and of those that were allowed before.
    fn allow(&mut self, declared: &mut Declared, mut values: Vec<Value<'static>>) {
        if let Some(allowed) = &declared.constraints.allowed {
            values.retain(|value| allowed.contains(value));
        }
        declared.constraints.allowed = Some(Allowed::new(values));
    }
}

/// Whether values of that kind can have the constraint.
fn fits(constraint: &str, kind: &Kind) -> bool {
    let is_text = matches!(kind, Kind::String | Kind::Any | Kind::Uuid | Kind::Email | Kind::Uri | Kind::Url);
    match constraint {
        "required" | "unique" | "enum" => true,
        "minLength" | "maxLength" => {
            (is_text && *kind != Kind::Uuid) || matches!(kind, Kind::List(_) | Kind::Object | Kind::Array)
        }
        "pattern" => is_text,
        "minimum" | "maximum" | "exclusiveMinimum" | "exclusiveMaximum" => matches!(
            kind,
            Kind::Integer
                | Kind::Number { .. }
                | Kind::Date
                | Kind::Time
                | Kind::DateTime
                | Kind::Year
                | Kind::YearMonth
        ),
        "categories" => matches!(kind, Kind::String | Kind::Any | Kind::Integer),
        _ => false,
    }
}

/// Fills in what the standard says of a field that does not say it.
pub fn fill_defaults(field: &mut Map<String, Json>) {
    let mut fill = |name: &str, value: Json| {
        field.entry(name).or_insert(value);
    };
    fill("type", "any".into());
    fill("format", "default".into());
    let written = Written::default();
    let words = |words: &[Box<str>]| Json::from(words.iter().map(|word| &**word).collect::<Vec<_>>());
    match field.get("type").and_then(Json::as_str).unwrap_or_default() {
        "integer" => drop(field.entry("bareNumber").or_insert(true.into())),
        "number" => {
            field.entry("decimalChar").or_insert(".".into());
            field.entry("bareNumber").or_insert(true.into());
            field.entry("floatNumber").or_insert(false.into());
        }
        "boolean" => {
            field.entry("trueValues").or_insert_with(|| words(&written.true_values));
            field.entry("falseValues").or_insert_with(|| words(&written.false_values));
        }
        "datetime" => drop(field.entry("timezone").or_insert("UTC".into())),
        "list" => {
            field.entry("delimiter").or_insert(",".into());
            field.entry("itemType").or_insert("string".into());
        }
        _ => {}
    }
}
