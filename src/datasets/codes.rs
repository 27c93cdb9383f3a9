//! The codes of rejects that the values of a column can have, for the import contract.

use super::{
    Column, Rule,
    declared::{Declared, Kind},
};

/// Codes of rows rather than of columns.
pub const OF_ROWS: [&str; 8] = [
    "field_count",
    "malformed_quotes",
    "unclosed_quote",
    "record_too_long",
    "invalid_utf8",
    "duplicate_in_file",
    "key_held",
    "key_exists",
];

impl Column {
    /// The codes of rejects that a value of the column can have, each once.
    pub fn codes(&self) -> Vec<&'static str> {
        let mut codes = Vec::new();
        if self.required {
            codes.push("required");
        }
        match &self.rule {
            Rule::Text { .. } => codes.extend(["length", "nul_character", "not_writable"]),
            Rule::Code { .. } => codes.extend(["length", "pattern", "nul_character"]),
            Rule::Verbatim { alphanumeric, .. } => {
                codes.extend(["length", "nul_character"]);
                codes.extend(alphanumeric.then_some("no_letter_or_digit"));
            }
            Rule::OneOf(_) => codes.push("not_allowed"),
            Rule::Integer { .. } => codes.extend(["not_an_integer", "out_of_range"]),
            Rule::Number { .. } => codes.extend(["not_a_number", "out_of_range"]),
            Rule::PastDate { .. } => codes.extend(["not_a_date", "not_in_the_past"]),
            Rule::Integers { .. } => codes.extend(["not_an_integer", "out_of_range", "not_unique"]),
            Rule::Declared(declared) => declared.add_codes(&mut codes),
        }
        if self.unique {
            codes.push("key_held");
        }
        let mut seen = Vec::new();
        codes.retain(|code| {
            !seen.contains(code) && {
                seen.push(*code);
                true
            }
        });
        codes
    }
}

impl Declared {
    /// The codes of the type and of its constraints.
    fn add_codes(&self, codes: &mut Vec<&'static str>) {
        let constraints = &self.constraints;
        codes.extend_from_slice(match &self.kind {
            Kind::String | Kind::Any => &["length", "nul_character", "invalid_utf8"],
            Kind::Uuid => &["not_a_uuid"],
            Kind::Email => &["not_an_email", "length"],
            Kind::Uri => &["not_a_uri", "length"],
            Kind::Url => &["not_a_url", "length"],
            Kind::Integer => &["not_an_integer", "out_of_range"],
            Kind::Number { .. } => &["not_a_number", "out_of_range"],
            Kind::Boolean => &["not_a_boolean"],
            Kind::Date => &["not_a_date", "out_of_range"],
            Kind::Time => &["not_a_time"],
            Kind::DateTime => &["not_a_datetime"],
            Kind::Year => &["not_a_year", "out_of_range"],
            Kind::YearMonth => &["not_a_yearmonth"],
            Kind::GeoPoint(_) => &["not_a_point", "out_of_range"],
            Kind::List(_) => &["not_a_list"],
            Kind::Object | Kind::Array => &["not_json"],
        });
        if matches!(self.kind, Kind::GeoPoint(_)) && constraints.bounds.is_some() {
            codes.push("swapped_point");
        }
        if let Kind::List(item) = &self.kind {
            item.add_codes(codes);
        }
        if constraints.min_length.is_some() || constraints.max_length.is_some() || constraints.is_indexed {
            codes.push("length");
        }
        if constraints.pattern.is_some() {
            codes.push("pattern");
        }
        if !constraints.limits.is_empty() {
            codes.push("out_of_range");
        }
        if constraints.allowed.is_some() {
            codes.push("not_allowed");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;

    #[test]
    fn each_code_of_a_column_is_there_once() {
        let mut list = Declared::new(Kind::List(Box::new(Declared::new(Kind::Integer))));
        list.constraints.max_length = Some(3);
        let column = Column::new("n", Rule::Declared(Arc::new(list)), true, "");
        assert_eq!(column.codes(), ["required", "not_a_list", "not_an_integer", "out_of_range", "length"]);
        let mut email = Declared::new(Kind::Email);
        email.constraints.max_length = Some(9);
        let column = Column::new("e", Rule::Declared(Arc::new(email)), false, "");
        assert_eq!(column.codes(), ["not_an_email", "length"]);
    }
}
