//! A column's rule, and the two ways a value reaches it: as a CSV field or as JSON. Both end in one check.

use std::{borrow::Cow, sync::Arc};

use chrono::NaiveDate;
use serde::{Deserialize, Deserializer, de::DeserializeSeed};
use serde_json::value::RawValue;

use super::{
    Ident, Value, alphanumeric, date,
    declared::{Declared, literal, without_blanks},
    json::{Any, Itself, Json},
    rule::{NULL, Rule},
};

/// One column of a dataset.
#[derive(Debug, Clone)]
pub struct Column {
    /// As in the header of a file, in rejects and in messages.
    pub name: Box<str>,
    /// In the API and in the table.
    pub key: Ident,
    /// For people, in place of the name.
    pub title: Option<Box<str>>,
    /// One sentence for people: meaning and unit.
    pub description: Option<Box<str>>,
    /// What a header may say in place of the name.
    pub aliases: Box<[Box<str>]>,
    /// Whether null is refused.
    pub required: bool,
    /// Whether no two rows that are not deleted have the same value. Nulls are all distinct.
    pub unique: bool,
    /// Whether the table has an index of it.
    pub indexed: bool,
    /// The fields of a file that stand for null.
    pub missing: Arc<[Box<str>]>,
    /// What a value may be.
    pub rule: Rule,
}

/// A value that is read of its own text.
struct RawJson<'a>(Json<'a>);

impl<'de> Deserialize<'de> for RawJson<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Any(Itself).deserialize(deserializer).map(Self)
    }
}

/// What is wrong with a value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Stable and for machines: `out_of_range`.
    pub code: &'static str,
    /// For people; names the column and the rule.
    pub message: String,
}

impl Fault {
    /// A fault with its message.
    pub fn new(code: &'static str, message: String) -> Self {
        Self { code, message }
    }
}

impl Column {
    /// A column whose name in files is its key.
    pub(crate) fn new(name: &'static str, rule: Rule, required: bool, description: &str) -> Self {
        Self {
            name: name.into(),
            key: Ident::own(name),
            title: None,
            description: Some(description.into()),
            aliases: Box::default(),
            required,
            unique: false,
            indexed: false,
            missing: Arc::new([Box::from("")]),
            rule,
        }
    }

    /// The column with its rule as it is on that day.
    pub fn on(&self, today: NaiveDate) -> Self {
        Self { rule: self.rule.on(today), ..self.clone() }
    }

    /// The column with other fields that stand for null.
    pub fn with_missing(&self, missing: Arc<[Box<str>]>) -> Self {
        Self { missing, ..self.clone() }
    }

    /// Checks a field of a file.
    pub fn parse<'a>(&self, field: &'a str) -> Result<Value<'a>, Fault> {
        if let Rule::Declared(declared) = &self.rule {
            return self.parse_declared(declared, field);
        }
        if let (Rule::Integers { .. }, "") = (&self.rule, field) {
            return Ok(Value::Integers(Vec::new()));
        }
        if self.missing.iter().any(|missing| **missing == *field) {
            return self.null();
        }
        let value = match &self.rule {
            // Backslashes are rare, and one byte is found faster than two.
            Rule::Text { .. } if memchr::memchr(b'\\', field.as_bytes()).is_some() => {
                Value::Text(Cow::Owned(field.replace(r"\'", "'")))
            }
            Rule::Text { .. } | Rule::Code { .. } | Rule::OneOf(_) | Rule::Verbatim { .. } => {
                Value::Text(Cow::Borrowed(field))
            }
            Rule::Integer { .. } => Value::Integer(self.integer(field)?),
            Rule::Number { .. } => Value::Number(field.parse().map_err(|_| self.not_a_number())?),
            Rule::PastDate { .. } => Value::Date(self.date(field)?),
            // Handled above.
            Rule::Declared(_) => Value::Null,
            Rule::Integers { .. } => {
                let mut numbers = Vec::new();
                for item in field.split(';') {
                    numbers.push(self.integer(item)?);
                }
                numbers.sort_unstable();
                Value::Integers(numbers)
            }
        };
        self.check(&value)?;
        Ok(value)
    }

    /// Checks a field of a file by a rule that a user declared.
    fn parse_declared<'a>(&self, declared: &Declared, field: &'a str) -> Result<Value<'a>, Fault> {
        let is_missing = |field: &str| self.missing.iter().any(|missing| **missing == *field);
        if is_missing(field) {
            return self.null();
        }
        // Most columns are texts, and these are all that is asked of one.
        if declared.is_plain_text() {
            declared.check_text(field).map_err(|code| self.fault(declared, code))?;
            let value = Value::Text(Cow::Borrowed(field));
            return self.check_null_marker(declared, &value).map(|()| value);
        }
        let mut text = field;
        if !declared.keeps_blanks() {
            text = without_blanks(field);
            if text.len() < field.len() && is_missing(text) {
                return self.null();
            }
        }
        let value = declared.parse(text).map_err(|code| self.fault(declared, code))?;
        // Such as `-01` where `-1` stands for null, or what an upload with null markers of its own has.
        self.check_null_marker(declared, &value)?;
        Ok(value)
    }

    /// Whether the field of the value stands for null: exports could not come back.
    fn check_null_marker(&self, declared: &Declared, value: &Value<'_>) -> Result<(), Fault> {
        if declared.nulls.is_empty() {
            return Ok(());
        }
        let Some(null) = declared.null_of(value) else { return Ok(()) };
        let null = if null.is_empty() { "empty" } else { null };
        let message = format!("{} must not be {null}, which stands for null in files", self.name);
        Err(Fault::new("not_writable", message))
    }

    /// Whether a file can say the value, so that exports come back.
    fn check_writable(&self, declared: &Declared, value: &Value<'_>) -> Result<(), Fault> {
        self.check_null_marker(declared, value)?;
        if declared.comes_back(value) {
            return Ok(());
        }
        let field = declared.field(value);
        let message =
            format!("{} must be what a file can say: {field:?} is read as something else", self.name);
        Err(Fault::new("not_writable", message))
    }

    /// Whether null can be the value: it must not be required, and files must have a field that says it.
    pub fn check_null(&self) -> Result<(), Fault> {
        self.null()?;
        if self.missing.is_empty() && matches!(self.rule, Rule::Declared(_)) {
            let message = format!(
                "{} must not be null: its missingValues are empty, so that no file can say it",
                self.name
            );
            return Err(Fault::new("not_writable", message));
        }
        Ok(())
    }

    /// Checks a JSON value as it was written, which keeps all digits of numbers: valid JSON without blanks around it.
    pub fn parse_raw<'a>(&self, json: &'a RawValue) -> Result<Value<'a>, Fault> {
        let json = json.get();
        if json == "null" {
            return self.check_null().map(|()| Value::Null);
        }
        let Rule::Declared(declared) = &self.rule else {
            let json: RawJson<'a> = serde_json::from_str(json)
                .map_err(|_| Fault::new("invalid_utf8", format!("{} is not Unicode", self.name)))?;
            return self.parse_json(json.0);
        };
        let value = declared.parse_json(json).map_err(|code| self.fault(declared, code))?;
        self.check_writable(declared, &value)?;
        Ok(value)
    }

    /// Reads a value of a URL: written as JSON writes it, but without quotes. The constraints are not asked. Of a list, it is one item.
    pub fn parse_plain<'a>(&self, text: &'a str) -> Result<Value<'a>, Fault> {
        match &self.rule {
            Rule::Declared(declared) => declared.parse_plain(text).map_err(|code| {
                let what = match code {
                    "nul_character" => "text without NUL characters".to_owned(),
                    _ => declared.plain_words(),
                };
                Fault::new(code, format!("{} must be {what}", self.name))
            }),
            _ if text.contains('\0') => {
                Err(Fault::new("nul_character", format!("{} holds a NUL character", self.name)))
            }
            Rule::Text { .. } | Rule::Code { .. } | Rule::OneOf(_) | Rule::Verbatim { .. } => {
                Ok(Value::Text(Cow::Borrowed(text)))
            }
            Rule::Integer { .. } | Rule::Integers { .. } => self.integer(text).map(Value::Integer),
            Rule::Number { .. } => {
                let number = text.parse().ok().filter(|number: &f64| number.is_finite());
                number.map(Value::Number).ok_or_else(|| self.not_a_number())
            }
            Rule::PastDate { .. } => {
                let day = text.parse().ok().filter(|_| text.len() == 10);
                let message = || format!("{} must be a day that exists, as YYYY-MM-DD", self.name);
                day.map(Value::Date).ok_or_else(|| Fault::new("not_a_date", message()))
            }
        }
    }

    /// The expression that gives the field of an export for a value of that expression; never null.
    pub fn file_sql(&self, value: &str) -> String {
        let null = match self.missing.first() {
            Some(first) if !self.missing.iter().any(|missing| missing.is_empty()) => literal(first),
            _ => "''".to_owned(),
        };
        let field = match &self.rule {
            Rule::Declared(declared) => declared.file_sql(value),
            Rule::PastDate { .. } => format!("to_char({value}, 'DD.MM.YYYY')"),
            Rule::Integers { .. } => format!("array_to_string({value}, ';')"),
            rule if rule.is_text() => value.to_owned(),
            _ => format!("({value})::text"),
        };
        format!("case when ({value}) is not null then {field} else {null} end")
    }

    /// The expression that gives what answers have for a value of that expression: `json_build_object` writes it as it should be.
    pub fn json_sql(&self, value: &str) -> String {
        match &self.rule {
            Rule::Declared(declared) => declared.json_sql(value),
            Rule::PastDate { .. } => format!("to_char({value}, 'YYYY-MM-DD')"),
            _ => value.to_owned(),
        }
    }

    /// The field that [`Column::parse`] reads as this value.
    pub fn field_of<'v>(&self, value: &'v Value<'_>) -> Cow<'v, str> {
        match (&self.rule, value) {
            (_, Value::Null) if self.missing.iter().any(|missing| missing.is_empty()) => Cow::Borrowed(""),
            (_, Value::Null) => {
                Cow::Owned(self.missing.first().map_or_else(String::new, ToString::to_string))
            }
            (Rule::Declared(declared), value) => declared.field(value),
            (_, Value::Text(text)) => self.field(text),
            (_, value) => value.sql_text().unwrap_or_default(),
        }
    }

    #[cold]
    fn fault(&self, declared: &Declared, code: &'static str) -> Fault {
        let name = &self.name;
        let message = match code {
            "nul_character" => format!("{name} holds a NUL character"),
            "invalid_utf8" => format!("{name} is not Unicode: half a surrogate pair stands alone"),
            "not_text" => format!("{name} must be a string"),
            "swapped_point" => {
                format!("{name} has longitude and latitude swapped: it must be {}", declared.words())
            }
            _ => format!("{name} must be {}", self.rule()),
        };
        Fault::new(code, message)
    }

    /// The field that [`Column::parse`] reads as this text.
    pub fn field<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match &self.rule {
            Rule::Text { .. } if text.contains(r"\'") => Cow::Owned(text.replace(r"\'", r"\\'")),
            _ => Cow::Borrowed(text),
        }
    }

    /// Checks a JSON value. A number is never taken from a string, nor a string from a number. Of a list each item is checked,
    /// by [`Column::parse_json_item`].
    pub fn parse_json<'a>(&self, json: Json<'a>) -> Result<Value<'a>, Fault> {
        let value = match (&self.rule, json) {
            (Rule::Declared(declared), json) => return self.parse_declared_json(declared, json),
            (_, Json::Null) => return self.null(),
            (Rule::PastDate { .. }, Json::Text(text)) => Value::Date(self.date(&text)?),
            (
                Rule::Text { .. } | Rule::Code { .. } | Rule::OneOf(_) | Rule::Verbatim { .. },
                Json::Text(text),
            ) => Value::Text(text),
            (Rule::Integer { .. }, json) => Value::Integer(self.json_integer(&json)?),
            (Rule::Number { .. }, Json::Integer(number)) => Value::Number(number as f64),
            (Rule::Number { .. }, Json::Number(number)) => Value::Number(number),
            (Rule::Number { .. }, _) => return Err(self.not_a_number()),
            (Rule::Integers { .. }, _) => return Err(self.broken("not_a_list")),
            _ => return Err(Fault::new("not_text", format!("{} must be a string", self.name))),
        };
        self.check(&value)?;
        Ok(value)
    }

    /// Of arrays and objects nothing is left here: [`Column::parse_raw`] takes them.
    fn parse_declared_json<'a>(&self, declared: &Declared, json: Json<'a>) -> Result<Value<'a>, Fault> {
        let raw = match json {
            Json::Null => return self.check_null().map(|()| Value::Null),
            Json::Bool(value) => value.to_string(),
            Json::Integer(number) => number.to_string(),
            Json::Number(number) => serde_json::Value::from(number).to_string(),
            Json::Text(text) => serde_json::Value::from(text).to_string(),
            Json::Array | Json::Object => return Err(self.fault(declared, declared.code())),
        };
        let value =
            declared.parse_json(&raw).map(Value::into_owned).map_err(|code| self.fault(declared, code))?;
        self.check_writable(declared, &value)?;
        Ok(value)
    }

    /// Checks an item of a list of whole numbers.
    pub fn parse_json_item(&self, json: &Json<'_>) -> Result<i64, Fault> {
        let number = self.json_integer(json)?;
        self.check_integer(number)?;
        Ok(number)
    }

    /// The rule in words, as the import contract states it.
    pub fn rule(&self) -> String {
        let rule = self.rule.words();
        if self.required { rule } else { rule + ", or null" }
    }

    fn null<'a>(&self) -> Result<Value<'a>, Fault> {
        if self.required {
            Err(Fault::new("required", format!("{} is required", self.name)))
        } else {
            Ok(Value::Null)
        }
    }

    fn check(&self, value: &Value<'_>) -> Result<(), Fault> {
        match (&self.rule, value) {
            (Rule::Text { .. }, Value::Text(text)) if text == NULL => {
                let message = format!("{} must not be {NULL}, which stands for null in files", self.name);
                Err(Fault::new("not_writable", message))
            }
            (Rule::Text { max_chars }, Value::Text(text)) => self.check_text(text, *max_chars as usize),
            (Rule::Verbatim { max_chars, alphanumeric }, Value::Text(text)) => {
                self.check_text(text, *max_chars as usize)?;
                if *alphanumeric && !text.chars().any(alphanumeric::is) {
                    return Err(self.broken("no_letter_or_digit"));
                }
                Ok(())
            }
            (Rule::Code { min_chars, max_chars }, Value::Text(text)) => {
                if !(*min_chars as usize..=*max_chars as usize).contains(&text.chars().count()) {
                    Err(self.broken("length"))
                } else if !text.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit()) {
                    Err(self.broken("pattern"))
                } else {
                    Ok(())
                }
            }
            (Rule::OneOf(words), Value::Text(text)) => {
                if words.iter().any(|word| **word == **text) {
                    Ok(())
                } else {
                    Err(self.broken("not_allowed"))
                }
            }
            (Rule::Integer { .. }, Value::Integer(number)) => self.check_integer(*number),
            (Rule::Integers { .. }, Value::Integers(numbers)) => {
                numbers.iter().try_for_each(|number| self.check_integer(*number))?;
                if numbers.windows(2).any(|pair| pair[0] == pair[1]) {
                    return Err(self.broken("not_unique"));
                }
                Ok(())
            }
            (Rule::Number { min, max }, Value::Number(number)) => {
                if !number.is_finite() {
                    Err(self.not_a_number())
                } else if (min..=max).contains(&number) {
                    Ok(())
                } else {
                    Err(self.broken("out_of_range"))
                }
            }
            (Rule::PastDate { before }, Value::Date(date)) if date >= before => {
                Err(self.broken("not_in_the_past"))
            }
            _ => Ok(()),
        }
    }

    fn check_text(&self, text: &str, max_chars: usize) -> Result<(), Fault> {
        // PostgreSQL's text cannot hold it.
        if text.as_bytes().contains(&0) {
            return Err(Fault::new("nul_character", format!("{} holds a NUL character", self.name)));
        }
        // Bytes bound characters from above: counting is only needed for what might be too long.
        if text.is_empty() || (text.len() > max_chars && text.chars().count() > max_chars) {
            return Err(self.broken("length"));
        }
        Ok(())
    }

    fn check_integer(&self, number: i64) -> Result<(), Fault> {
        match self.rule {
            Rule::Integer { min, max } | Rule::Integers { min, max } if !(min..=max).contains(&number) => {
                Err(self.broken("out_of_range"))
            }
            _ => Ok(()),
        }
    }

    fn json_integer(&self, json: &Json<'_>) -> Result<i64, Fault> {
        match json {
            Json::Integer(number) => Ok(*number),
            // JSON's parser gives what is beyond 64 bits as a floating-point number.
            Json::Number(number) if number.abs() >= i64::MAX as f64 => Err(self.broken("out_of_range")),
            _ => Err(self.not_an_integer()),
        }
    }

    fn date(&self, text: &str) -> Result<NaiveDate, Fault> {
        date::parse(text).ok_or_else(|| self.broken("not_a_date"))
    }

    fn integer(&self, field: &str) -> Result<i64, Fault> {
        field.parse().map_err(|error: std::num::ParseIntError| {
            use std::num::IntErrorKind::{NegOverflow, PosOverflow};
            match error.kind() {
                PosOverflow | NegOverflow => self.broken("out_of_range"),
                _ => self.not_an_integer(),
            }
        })
    }

    fn broken(&self, code: &'static str) -> Fault {
        Fault::new(code, format!("{} must be {}", self.name, self.rule()))
    }

    fn not_an_integer(&self) -> Fault {
        self.broken("not_an_integer")
    }

    fn not_a_number(&self) -> Fault {
        self.broken("not_a_number")
    }
}

#[cfg(test)]
mod tests {
    use std::sync::LazyLock;

    use super::*;

    static LATITUDE: LazyLock<Column> =
        LazyLock::new(|| Column::new("latitude", Rule::Number { min: -90.0, max: 90.0 }, true, ""));
    static ALTITUDE: LazyLock<Column> =
        LazyLock::new(|| Column::new("altitude", Rule::Integer { min: -2_000, max: 30_000 }, false, ""));
    static CITY: LazyLock<Column> =
        LazyLock::new(|| Column::new("city", Rule::Text { max_chars: 3 }, false, ""));
    static IATA: LazyLock<Column> =
        LazyLock::new(|| Column::new("iata", Rule::Code { min_chars: 3, max_chars: 3 }, false, ""));
    static TOWN: LazyLock<Column> =
        LazyLock::new(|| Column::new("town", Rule::Verbatim { max_chars: 3, alphanumeric: true }, true, ""));
    static BIRTH_DATE: LazyLock<Column> =
        LazyLock::new(|| Column::new("birth_date", Rule::PastDate { before: TODAY }, true, ""));
    static RELATIVES: LazyLock<Column> =
        LazyLock::new(|| Column::new("relatives", Rule::Integers { min: 0, max: i64::MAX }, true, ""));
    const TODAY: NaiveDate = NaiveDate::from_ymd_opt(2026, 11, 20).expect("a day");

    fn code(result: Result<Value<'_>, Fault>) -> &'static str {
        result.expect_err("the value breaks a rule").code
    }

    fn parse<'a>(column: &Column, field: &'a str) -> Result<Value<'a>, Fault> {
        column.with_missing(Arc::new(["".into(), r"\N".into()])).parse(field)
    }

    fn parse_json(column: &Column, json: &serde_json::Value) -> &'static str {
        code(column.parse_json(json.into()))
    }

    #[test]
    fn a_number_is_finite_and_in_range() {
        assert_eq!(parse(&LATITUDE, "-6.5"), Ok(Value::Number(-6.5)));
        for (field, expected) in [
            ("91", "out_of_range"),
            ("NaN", "not_a_number"),
            ("inf", "not_a_number"),
            (" 1", "not_a_number"),
            (r"\N", "required"),
            ("", "required"),
        ] {
            assert_eq!(code(parse(&LATITUDE, field)), expected, "{field:?}");
        }
    }

    #[test]
    fn an_integer_is_whole() {
        assert_eq!(parse(&ALTITUDE, "-1266"), Ok(Value::Integer(-1266)));
        assert_eq!(parse(&ALTITUDE, r"\N"), Ok(Value::Null));
        assert_eq!(code(parse(&ALTITUDE, "abc")), "not_an_integer");
        assert_eq!(code(parse(&ALTITUDE, "1.0")), "not_an_integer");
        assert_eq!(code(parse(&ALTITUDE, "99999999999999999999")), "out_of_range");
        assert_eq!(parse_json(&ALTITUDE, &serde_json::json!("5")), "not_an_integer");
        assert_eq!(parse_json(&ALTITUDE, &serde_json::json!(5.0)), "not_an_integer");
    }

    #[test]
    fn text_is_measured_in_characters_and_unescaped() {
        assert_eq!(parse(&CITY, "äöü"), Ok(Value::Text(Cow::Borrowed("äöü"))));
        assert_eq!(parse(&CITY, r"a\'b"), Ok(Value::Text(Cow::Borrowed("a'b"))));
        assert_eq!(code(parse(&CITY, "abcd")), "length");
        assert_eq!(code(parse(&CITY, "a\0")), "nul_character");
        assert_eq!(parse_json(&CITY, &serde_json::json!("")), "length");
        assert_eq!(parse_json(&CITY, &serde_json::json!(7)), "not_text");
    }

    #[test]
    fn a_code_is_made_of_capital_letters_and_digits() {
        for field in ["KEF", "2A7", "000"] {
            assert_eq!(parse(&IATA, field), Ok(Value::Text(Cow::Borrowed(field))));
        }
        for field in ["N/A", "---", "NaN", "nul", "klo", "%u0", "AB ", "ÄBC", "АВС", "A\0B"] {
            let fault = parse(&IATA, field).expect_err("no code");
            assert_eq!(
                fault,
                Fault::new("pattern", "iata must be 3 capital letters or digits, or null".to_owned())
            );
            assert_eq!(parse_json(&IATA, &field.into()), "pattern");
        }
        for field in ["AB", "KEFL", r"\N.."] {
            assert_eq!(code(parse(&IATA, field)), "length", "{field:?}");
        }
    }

    #[test]
    fn a_text_comes_back_from_its_field() {
        let column = Column { rule: Rule::Text { max_chars: 256 }, ..CITY.clone() };
        for text in [r"'", r"\'", r"\\'", r"a\'b\\'c'", r"\", r"\\N", r" \N", r"\n", "NULL"] {
            let field = column.field(text);
            assert_eq!(parse(&column, &field), Ok(Value::Text(Cow::Borrowed(text))), "{field:?}");
        }
    }

    #[test]
    fn a_text_that_no_file_can_say_is_refused() {
        let fault = CITY.parse_json(Json::Text(Cow::Borrowed(r"\N"))).expect_err("no file can say it");
        let message = r"city must not be \N, which stands for null in files".to_owned();
        assert_eq!(fault, Fault::new("not_writable", message));
        assert_eq!(CITY.parse(r"\N"), Err(fault));
    }

    #[test]
    fn a_name_has_a_letter_or_digit_of_some_script() {
        for field in ["Рим", "東京", "٣", "-a-", "\u{1d7d9}"] {
            assert_eq!(parse(&TOWN, field), Ok(Value::Text(Cow::Borrowed(field))));
        }
        for field in [" ", "\t", "-_-", "\u{1f600}", "\u{301}"] {
            assert_eq!(code(parse(&TOWN, field)), "no_letter_or_digit", "{field:?}");
        }
        assert_eq!(parse(&TOWN, r"a\'"), Ok(Value::Text(Cow::Borrowed(r"a\'"))));
        assert_eq!(code(parse(&TOWN, "a---")), "length");
    }

    #[test]
    fn a_date_exists_and_is_before_today() {
        let date = |year, month, day| NaiveDate::from_ymd_opt(year, month, day).map(Value::Date);
        assert_eq!(parse(&BIRTH_DATE, "29.02.2000").ok(), date(2000, 2, 29));
        assert_eq!(parse(&BIRTH_DATE, "19.11.2026").ok(), date(2026, 11, 19));
        for (field, expected) in [
            ("20.11.2026", "not_in_the_past"),
            ("01.01.9999", "not_in_the_past"),
            ("31.02.1990", "not_a_date"),
            ("1.1.1990", "not_a_date"),
            ("1990-01-01", "not_a_date"),
            ("+1.01.1990", "not_a_date"),
            ("01.01.0000", "not_a_date"),
            ("٠١.٠١.١٩٩٠", "not_a_date"),
        ] {
            assert_eq!(code(parse(&BIRTH_DATE, field)), expected, "{field:?}");
        }
        assert_eq!(parse_json(&BIRTH_DATE, &serde_json::json!(7)), "not_text");
    }

    #[test]
    fn a_list_of_integers_is_put_in_order_and_may_be_empty() {
        assert_eq!(parse(&RELATIVES, ""), Ok(Value::Integers(Vec::new())));
        assert_eq!(parse(&RELATIVES, "3;1"), Ok(Value::Integers(vec![1, 3])));
        for (field, expected) in [
            ("1;", "not_an_integer"),
            ("1,2", "not_an_integer"),
            ("-1", "out_of_range"),
            ("2;1;2", "not_unique"),
            (r"\N", "required"),
        ] {
            assert_eq!(code(parse(&RELATIVES, field)), expected, "{field:?}");
        }
        assert_eq!(parse_json(&RELATIVES, &serde_json::json!(7)), "not_a_list");
    }
}
