//! How PostgreSQL writes the values of a declared column into files and answers. Nothing that a user chose is in these expressions but
//! escaped characters, the parts of a date's pattern, which [`super::Format`] checks, and the name of a time zone, which is IANA's.

use std::fmt::Write;

use super::{Declared, GeoPoint, Kind};

impl Declared {
    /// The field that a file has for the value of the expression, which is not null.
    pub(in crate::datasets) fn file_sql(&self, value: &str) -> String {
        let written = &self.written;
        match &self.kind {
            Kind::String | Kind::Any | Kind::Email | Kind::Uri | Kind::Url => value.to_owned(),
            Kind::Uuid | Kind::Integer | Kind::Object | Kind::Array => format!("({value})::text"),
            Kind::Number { .. } if written.decimal == '.' => format!("({value})::text"),
            Kind::Number { .. } => {
                format!("replace(({value})::text, '.', chr({}))", u32::from(written.decimal))
            }
            Kind::Boolean => {
                let word = |words: &[Box<str>]| literal(words.first().map_or("", |word| word));
                format!(
                    "case when {value} then {} else {} end",
                    word(&written.true_values),
                    word(&written.false_values)
                )
            }
            Kind::Date => {
                let pattern =
                    written.pattern.as_ref().map_or("'YYYY-MM-DD'".to_owned(), |format| format.sql());
                format!("to_char({value}, {pattern})")
            }
            Kind::YearMonth => format!("to_char({value}, 'YYYY-MM')"),
            Kind::Time => match &written.pattern {
                Some(pattern) => format!("to_char(date '2000-01-01' + ({value}), {})", pattern.sql()),
                None => clock(&format!("date '2000-01-01' + ({value})"), "'HH24:MI:SS'"),
            },
            Kind::DateTime => match &written.pattern {
                Some(pattern) if pattern.has_offset() => {
                    format!("to_char(({value}) at time zone 'UTC', {})", pattern.sql())
                }
                Some(pattern) => {
                    let zone = written.timezone.name();
                    format!("to_char(({value}) at time zone '{zone}', {})", pattern.sql())
                }
                None => moment(value),
            },
            Kind::Year => {
                format!("case when ({value}) < 0 then '-' else '' end || lpad(abs({value})::text, 4, '0')")
            }
            Kind::GeoPoint(format) => {
                let (before, between, after) = match format {
                    GeoPoint::Default => ("", ", ", ""),
                    GeoPoint::Array => ("[", ",", "]"),
                    GeoPoint::Object => ("{\"lon\":", ",\"lat\":", "}"),
                };
                format!(
                    "'{before}' || st_x({value})::text || '{between}' || st_y({value})::text || '{after}'"
                )
            }
            Kind::List(item) => {
                let delimiter = literal(&written.delimiter);
                match &item.kind {
                    Kind::String => format!("array_to_string({value}, {delimiter})"),
                    Kind::Integer | Kind::Number { .. } => {
                        format!("array_to_string(({value})::text[], {delimiter})")
                    }
                    _ => {
                        let item = item.file_sql("_item");
                        format!(
                            "coalesce((select string_agg({item}, {delimiter} order by _place) from unnest({value}) \
                             with ordinality as _items (_item, _place)), '')"
                        )
                    }
                }
            }
        }
    }

    /// What answers have for the value of the expression: something that `json_build_object` writes as it should be, null where it is null.
    pub(in crate::datasets) fn json_sql(&self, value: &str) -> String {
        match &self.kind {
            Kind::String
            | Kind::Any
            | Kind::Email
            | Kind::Uri
            | Kind::Url
            | Kind::Uuid
            | Kind::Integer
            | Kind::Number { .. }
            | Kind::Boolean
            | Kind::Year
            | Kind::Object
            | Kind::Array => value.to_owned(),
            Kind::Date => format!("to_char({value}, 'YYYY-MM-DD')"),
            Kind::YearMonth => format!("to_char({value}, 'YYYY-MM')"),
            Kind::Time => clock(&format!("date '2000-01-01' + ({value})"), "'HH24:MI:SS'"),
            Kind::DateTime => moment(value),
            Kind::GeoPoint(_) => {
                format!(
                    "case when ({value}) is not null then json_build_array(st_x({value}), st_y({value})) end"
                )
            }
            Kind::List(item) => match &item.kind {
                Kind::Date | Kind::Time | Kind::DateTime => {
                    let item = item.json_sql("_item");
                    format!(
                        "case when ({value}) is not null then coalesce((select json_agg({item} order by _place) \
                         from unnest({value}) with ordinality as _items (_item, _place)), '[]'::json) end"
                    )
                }
                _ => value.to_owned(),
            },
        }
    }
}

/// A timestamp's time, with a fraction where it is not zero.
fn clock(timestamp: &str, pattern: &str) -> String {
    format!(
        "to_char({timestamp}, {pattern}) || \
         case when extract(microseconds from {timestamp})::int % 1000000 <> 0 then to_char({timestamp}, '.US') else '' end"
    )
}

/// RFC 3339 in UTC.
fn moment(value: &str) -> String {
    let clock = clock(&format!("({value}) at time zone 'UTC'"), "'YYYY-MM-DD\"T\"HH24:MI:SS'");
    format!("{clock} || 'Z'")
}

/// A text as a constant of a statement. All but letters and digits of ASCII is written as code points, so that nothing can end it.
pub(in crate::datasets) fn literal(text: &str) -> String {
    let mut literal = String::from("U&'");
    for character in text.chars() {
        if character.is_ascii_alphanumeric() {
            literal.push(character);
        } else {
            let _ = write!(literal, "\\+{:06X}", u32::from(character));
        }
    }
    literal.push('\'');
    literal
}
