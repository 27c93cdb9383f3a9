//! Records of CSV in the dialect of a dataset, so that what is exported can be uploaded as it is.

use crate::datasets::{Encoding, FileDialect, Quote};

/// Writes records.
#[derive(Debug, Clone)]
pub(super) struct Writer {
    delimiter: char,
    /// Around fields; `None`: nothing is.
    quote: Option<char>,
    /// Before what is to be taken as it is.
    escape: Option<char>,
    /// At the beginning of lines that are no records.
    comment: Option<char>,
    /// Whether the first record names the columns.
    pub(super) has_header: bool,
    /// What is before the first record.
    pub(super) beginning: String,
}

impl Writer {
    /// Of that dialect. A header that begins with `_id` tells the reader that the service wrote the file: then it is UTF-8, has quotes even
    /// where the dataset's other files have none, and nothing before the header. Files that have no header are like the others.
    pub(super) fn of(dialect: &FileDialect) -> Self {
        let has_header = dialect.header != Some(false);
        let delimiter = dialect.delimiter.unwrap_or(b',');
        let taken = [Some(delimiter), dialect.escape, dialect.comment];
        let quote = match dialect.quote {
            None => Some(b'"'),
            Some(Quote::Byte(byte)) => Some(byte),
            Some(Quote::None) if has_header => {
                [b'"', b'\'', b'`', b'~'].into_iter().find(|byte| !taken.contains(&Some(*byte)))
            }
            Some(Quote::None) => None,
        };
        let mut beginning = String::new();
        if !has_header {
            // In UTF-8 all the same; the mark keeps it from being read as something else.
            if dialect.encoding.is_some_and(|encoding| encoding != Encoding::Utf8) {
                beginning.push('\u{feff}');
            }
            (0..dialect.skip.unwrap_or_default()).for_each(|_| beginning.push_str("\r\n"));
        }
        Self {
            delimiter: char::from(delimiter),
            quote: quote.map(char::from),
            escape: dialect.escape.map(char::from),
            comment: dialect.comment.map(char::from),
            has_header,
            beginning,
        }
    }

    /// Appends a record with its line end. Otherwise the place of a field that cannot be written.
    pub(super) fn write<'f>(
        &self,
        fields: impl IntoIterator<Item = &'f str>,
        record: &mut String,
    ) -> Result<(), usize> {
        let begin = record.len();
        for (place, field) in fields.into_iter().enumerate() {
            if place > 0 {
                record.push(self.delimiter);
            }
            self.field(field, place == 0).map(|field| record.push_str(&field)).ok_or(place)?;
        }
        // An empty line is no record.
        if record.len() == begin
            && let Some(quote) = self.quote
        {
            record.extend([quote, quote]);
        }
        record.push_str("\r\n");
        Ok(())
    }

    fn field(&self, text: &str, is_first: bool) -> Option<String> {
        let has_own = |character| {
            character == self.delimiter
                || [self.quote, self.escape].contains(&Some(character))
                || matches!(character, '\r' | '\n')
        };
        let is_comment = is_first && self.comment.is_some_and(|comment| text.starts_with(comment));
        if !is_comment && !text.contains(has_own) {
            return Some(text.to_owned());
        }
        let mut field = String::with_capacity(text.len() + 8);
        field.extend(self.quote);
        for (place, character) in text.chars().enumerate() {
            let is_own = has_own(character) || (is_comment && place == 0);
            match (self.quote, self.escape) {
                (_, Some(escape)) if character == escape => field.push(escape),
                (Some(quote), _) if character == quote => field.push(quote),
                (None, Some(escape)) if is_own => field.push(escape),
                (None, None) if is_own => return None,
                (Some(_) | None, _) => {}
            }
            field.push(character);
        }
        field.extend(self.quote);
        Some(field)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(dialect: FileDialect, fields: &[&str]) -> Result<String, usize> {
        let mut record = String::new();
        Writer::of(&dialect).write(fields.iter().copied(), &mut record).map(|()| record)
    }

    #[test]
    fn fields_are_quoted_where_they_must_be() {
        let plain = FileDialect::default();
        assert_eq!(written(plain.clone(), &["a", "", "b;c"]).as_deref(), Ok("a,,b;c\r\n"));
        let quoted = "\"a,b\",\"\"\"\",\"\r\n\"\r\n";
        assert_eq!(written(plain.clone(), &["a,b", "\"", "\r\n"]).as_deref(), Ok(quoted));
        assert_eq!(written(plain, &[""]).as_deref(), Ok("\"\"\r\n"));
    }

    #[test]
    fn the_dialect_says_how() {
        let other = FileDialect {
            delimiter: Some(b';'),
            quote: Some(Quote::Byte(b'\'')),
            comment: Some(b'#'),
            ..FileDialect::default()
        };
        assert_eq!(written(other, &["#a", "#b", "c;d'"]).as_deref(), Ok("'#a';#b;'c;d'''\r\n"));
        let escaped = FileDialect { escape: Some(b'\\'), ..FileDialect::default() };
        assert_eq!(written(escaped.clone(), &["a\\b", "c"]).as_deref(), Ok("\"a\\\\b\",c\r\n"));
        let own = FileDialect { quote: Some(Quote::None), ..FileDialect::default() };
        assert_eq!(written(own, &["a\"b", "c"]).as_deref(), Ok("\"a\"\"b\",c\r\n"));
        let bare = FileDialect { quote: Some(Quote::None), header: Some(false), ..FileDialect::default() };
        assert_eq!(written(bare.clone(), &["a\"b", "c"]).as_deref(), Ok("a\"b,c\r\n"));
        assert_eq!(written(bare, &["a", "b,c"]), Err(1));
        let bare = FileDialect { quote: Some(Quote::None), header: Some(false), ..escaped };
        assert_eq!(written(bare, &["a", "b,c"]).as_deref(), Ok("a,b\\,c\r\n"));
        let foreign =
            FileDialect { encoding: Some(Encoding::Utf16), skip: Some(2), ..FileDialect::default() };
        assert_eq!(Writer::of(&foreign).beginning, "");
        let foreign = FileDialect { header: Some(false), ..foreign };
        assert_eq!(Writer::of(&foreign).beginning, "\u{feff}\r\n\r\n");
    }
}
