//! How a file begins: a line that states its delimiter, a header, and the first records. From these it is decided what its fields
//! are, before a row of it is loaded.

use super::{
    IngestError,
    header::{self, Header, ROW_ID},
    shape,
    split::{Head, Sample, SplitError, Splitter},
};
use crate::{
    datasets::Dataset,
    db::{
        files::{File, Layout},
        imports::Dialect,
    },
};

/// What the fields of a file are.
#[derive(Debug)]
pub(super) struct Fields {
    /// As [`File::columns`] keeps them.
    pub(super) columns: Vec<String>,
    /// What else the file says of them.
    pub(super) layout: Layout,
    /// Whether there is a record to tell them from.
    pub(super) has_records: bool,
    /// The names of those that the dataset does not have.
    pub(super) left_out: Vec<String>,
}

/// Reads how a file begins, as its bytes come.
#[derive(Debug)]
pub(super) struct Beginning<'a> {
    dataset: &'a Dataset,
    dialect: Dialect,
    file: &'a File,
    /// Most fields of a record.
    limit: usize,
    /// The delimiter that the file states.
    stated: Option<u8>,
    /// What is around its fields, where that is known to be otherwise than the upload says.
    quote: Option<u8>,
    /// Once it is read, with whether there is a first record.
    header: Option<(Header, bool)>,
}

impl<'a> Beginning<'a> {
    pub(super) fn new(dataset: &'a Dataset, dialect: &Dialect, file: &'a File, limit: usize) -> Self {
        Self { dataset, dialect: dialect.clone(), file, limit, stated: None, quote: None, header: None }
    }

    /// What the fields are, once enough bytes are there to tell. What is no data is left out of the chunks from then on.
    pub(super) fn read(&mut self, splitter: &mut Splitter) -> Result<Option<Fields>, IngestError> {
        let file = self.file;
        let refused = |error| refused(file, &error);
        while self.header.is_none() {
            let head = splitter.head().map_err(refused)?;
            // One that cannot be read is a record all the same.
            let has_records = head != Head::None;
            let first = match head {
                Head::Incomplete => return Ok(None),
                Head::None | Head::Broken => None,
                Head::Record(record) => Some(record),
            };
            let place = self.place(splitter);
            if let (None, Some(delimiter)) = (self.stated, first.as_deref().and_then(stated_delimiter)) {
                self.take(delimiter, &place)?;
                splitter.skip_head();
                splitter.set_dialect(&self.dialect);
                continue;
            }
            let header = header::read(self.dataset, &self.dialect, &place, first.as_deref())?;
            if header.is_record {
                splitter.skip_head();
            }
            let is_export =
                self.dialect.except_own && header.columns.first().is_some_and(|key| key == ROW_ID);
            if self.dialect.quote.is_none() && (header.code.is_some() || is_export) {
                // The service writes quotes, whatever is said of other files.
                self.dialect.quote = Some(self.dialect.own_quote());
                self.quote = self.dialect.quote;
                splitter.set_dialect(&self.dialect);
            }
            self.header = Some((header, has_records));
        }
        let Some(sample) = splitter.sample(shape::RECORDS).map_err(refused)? else { return Ok(None) };
        let place = self.place(splitter);
        let Some((header, has_records)) = self.header.take() else { return Ok(None) };
        self.judge(header, has_records, &sample, &place).map(Some)
    }

    /// Takes the delimiter that the file states, unless that cannot be or the client stated another one.
    fn take(&mut self, delimiter: u8, place: &str) -> Result<(), IngestError> {
        check_stated(&self.dialect, delimiter, place)?;
        self.stated = Some(delimiter);
        self.dialect.delimiter = delimiter;
        Ok(())
    }

    fn judge(
        &self,
        header: Header,
        has_records: bool,
        sample: &Sample,
        place: &str,
    ) -> Result<Fields, IngestError> {
        let Self { dataset, dialect, file, limit, stated, quote, .. } = self;
        let Sample { records, is_broken } = sample;
        let spare = shape::spare(dialect, &header, records);
        let fields = header.columns.len() + spare;
        if fields > *limit {
            let message = format!("{place}: the records have {fields} fields, {limit} are allowed");
            return Err(IngestError::refused("too_many_fields", message));
        }
        // One that cannot be parsed has no number of fields at all, so not all have the same.
        if !is_broken
            && let Some(fault) = shape::fault(dataset, dialect, &header, spare, records, file.name.is_some())
        {
            return Err(IngestError::refused("wrong_shape", format!("{place}: {fault}")));
        }
        let layout = Layout { delimiter: *stated, quote: *quote, spare, code: header.code };
        Ok(Fields { columns: header.columns, layout, has_records, left_out: header.left_out })
    }

    fn place(&self, splitter: &Splitter) -> String {
        format!("{}line {}", place(self.file), splitter.next_line())
    }
}

/// Whether the file may state that delimiter, beside what the client stated.
pub(super) fn check_stated(dialect: &Dialect, delimiter: u8, place: &str) -> Result<(), IngestError> {
    let shown = char::from(delimiter);
    let contradiction = |what: &str| {
        let message = format!("{place}: the line states the delimiter {shown:?}, but {what}");
        Err(IngestError::refused("contradiction", message))
    };
    let Dialect { quote, escape, comment, .. } = *dialect;
    if [quote, escape, comment].contains(&Some(delimiter)) {
        return contradiction("that is the quote, the escape or the comment character");
    }
    if dialect.delimiter_stated && delimiter != dialect.delimiter {
        let other = char::from(dialect.delimiter);
        return contradiction(&format!("the upload states {other:?}; leave the parameter delimiter out"));
    }
    Ok(())
}

/// Why a file cannot be cut.
pub(super) fn refused(file: &File, error: &SplitError) -> IngestError {
    IngestError::refused(code(error), format!("{}{error}", place(file)))
}

/// The code of a file that cannot be cut.
pub(super) fn code(error: &SplitError) -> &'static str {
    match error {
        SplitError::Utf16 => "not_utf8",
        SplitError::TooFewLines { .. } => "empty_file",
        SplitError::UnclosedQuotes { .. } => "unclosed_quotes",
    }
}

/// What a message about a file begins with.
pub(super) fn place(file: &File) -> String {
    file.name.as_ref().map(|name| format!("{name}: ")).unwrap_or_default()
}

/// The delimiter that a line states as spreadsheets do: `sep=;`.
pub(super) fn stated_delimiter(line: &[u8]) -> Option<u8> {
    let line = line.strip_prefix(b"\"").and_then(|line| line.strip_suffix(b"\"")).unwrap_or(line);
    let (name, value) = line.split_at_checked(4)?;
    match value {
        [delimiter]
            if name.eq_ignore_ascii_case(b"sep=")
                && delimiter.is_ascii()
                && !matches!(delimiter, b'\n' | b'\r' | 0) =>
        {
            Some(*delimiter)
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{datasets::airport::DATASET, ingest::split::Limits};

    const LIMITS: Limits = Limits { chunk_rows: 100, chunk_bytes: 4_096, record_bytes: 1_024 };

    fn file() -> File {
        File {
            file_no: 0,
            name: None,
            object: String::new(),
            bytes: 0,
            columns: None,
            layout: Layout::default(),
        }
    }

    /// The fields, and the rows and lines of what is data; the same however the bytes come.
    fn begin(dialect: &Dialect, text: &str) -> Result<(Fields, Vec<(i64, i64)>), IngestError> {
        let mut seen = Vec::new();
        for step in [1, 3, 10_000] {
            let file = file();
            let mut splitter = Splitter::new(dialect, LIMITS, 1);
            let mut beginning = Beginning::new(&DATASET, dialect, &file, 20);
            let mut pieces = text.as_bytes().chunks(step);
            let fields = loop {
                if let Some(fields) = beginning.read(&mut splitter)? {
                    break fields;
                }
                match pieces.next() {
                    Some(piece) => splitter.push(piece),
                    None => splitter.end(),
                }
            };
            let cuts = splitter.cut_all(pieces).expect("cuts");
            let cuts = cuts.iter().map(|cut| (cut.rows, cut.first_line)).collect();
            seen.push((fields, cuts));
        }
        assert!(seen.iter().all(|other| format!("{other:?}") == format!("{:?}", seen[0])), "{seen:?}");
        Ok(seen.remove(0))
    }

    fn refusal(dialect: &Dialect, text: &str) -> (&'static str, String) {
        match begin(dialect, text) {
            Err(IngestError::Refused(error)) => (error.code, error.message),
            other => panic!("not refused: {other:?}"),
        }
    }

    #[test]
    fn a_line_may_state_the_delimiter() {
        let standard = Dialect::standard("");
        for (line, delimiter) in [("sep=;", ';'), ("SEP=\t", '\t'), ("\"sep=|\"", '|'), ("sep=,", ',')] {
            let text = format!("{line}\r\nname,country,latitude,longitude\r\n\"A\",B,1,2\r\n");
            let text = text.replace(',', &delimiter.to_string());
            let (fields, cuts) = begin(&standard, &text).expect("it is read");
            assert_eq!(fields.columns, ["name", "country", "latitude", "longitude"], "{line}");
            assert_eq!(fields.layout.delimiter.map(char::from), Some(delimiter));
            assert_eq!(cuts, [(1, 3)]);
        }
        let data = "sep=;\n1;A;B;C;D;E;1;2;3;4;U;F;G;H\n2;A;B;C;D;E;1;2;3;4;U;F;G;H\n";
        assert_eq!(begin(&standard, data).expect("it is read").1, [(2, 2)]);
        for line in ["sep=", "sep=;;", "sep= ;", "name,country,latitude,longitude\nsep=;"] {
            let fields = begin(&standard, line).expect("it is read").0;
            assert_eq!(fields.layout.delimiter, None, "{line}");
        }
    }

    #[test]
    fn a_line_that_states_no_delimiter_is_a_record() {
        for line in ["sep=", "sep=ab", "sep=é", "\"sep=\n\"", "sep=\0", "separator=;"] {
            assert_eq!(stated_delimiter(line.as_bytes()), None, "{line:?}");
        }
        assert_eq!(stated_delimiter(b"\"SEP=\t\""), Some(b'\t'));
    }

    #[test]
    fn a_delimiter_that_contradicts_the_stated_one_is_refused() {
        let stated = |delimiter| Dialect { delimiter, delimiter_stated: true, ..Dialect::standard("") };
        let file = "sep=;\nname;country;latitude;longitude\nA;B;1;2\n";
        assert!(begin(&stated(b';'), file).is_ok());
        let (code, message) = refusal(&stated(b','), file);
        assert_eq!(code, "contradiction");
        assert!(
            message.starts_with("line 1: the line states the delimiter ';', but the upload states ','"),
            "{message}"
        );
        assert_eq!(refusal(&Dialect::standard(""), "sep=\"\n1,2\n").0, "contradiction");
    }

    #[test]
    fn a_delimiter_that_means_something_else_is_refused() {
        let commented = Dialect { comment: Some(b';'), ..Dialect::standard("") };
        assert_eq!(refusal(&commented, "sep=;\n1;2\n").0, "contradiction");
        let unquoted = Dialect { quote: None, ..Dialect::standard("") };
        let fields = begin(&unquoted, "sep=\"\nname\"country\"latitude\"longitude\n").expect("it is read").0;
        assert_eq!(fields.columns, ["name", "country", "latitude", "longitude"]);
    }

    #[test]
    fn lines_and_comments_may_be_before_the_header() {
        let dialect = Dialect { skip: 1, comment: Some(b'#'), ..Dialect::standard("") };
        let text = "airports \"2024\n#\n# more\n\nname,country,latitude,longitude\n#\nA,B,1,2\n";
        let (fields, cuts) = begin(&dialect, text).expect("it is read");
        assert_eq!((fields.columns.len(), cuts), (4, vec![(1, 7)]));
        let (code, message) = refusal(&dialect, "x\n#\nname,country,lat,longitude\n");
        assert_eq!((code, message.split(':').next()), ("unknown_column", Some("line 3")));
        let (code, message) = refusal(&Dialect { skip: 9, ..dialect }, "a\nb\n");
        assert_eq!((code, message.as_str()), ("empty_file", "skip leaves out 9 lines, and the file has 2"));
    }

    #[test]
    fn what_the_service_has_written_has_quotes_also_where_they_are_text() {
        let rejects = "name,country,latitude,longitude,_row,_line,_file,_column,_code,_message\n";
        let record = "\"A\nB\",C,1,2,1,1,,,,\"x, y\"\n";
        let dialect = Dialect { quote: None, ..Dialect::standard("") };
        let (fields, cuts) = begin(&dialect, &format!("{rejects}{record}")).expect("it is read");
        assert_eq!((fields.layout.quote, cuts), (Some(b'"'), vec![(1, 2)]));
        assert_eq!(fields.layout.dialect(&dialect).quote, Some(b'"'));
        let export = "_id,name,country,latitude,longitude\n,\"A\nB\",C,1,2\n";
        assert_eq!(begin(&dialect, export).expect("it is read").1, [(2, 2)], "who states it means it");
        let dialect = Dialect { except_own: true, ..dialect };
        assert_eq!(begin(&dialect, export).expect("it is read").0.layout.quote, Some(b'"'));
        let other = "name,country,latitude,longitude\n\"A,C,1,2\n";
        assert_eq!(begin(&dialect, other).expect("it is read").0.layout.quote, None);
    }

    #[test]
    fn a_fault_has_the_line_that_it_is_in() {
        let standard = Dialect::standard("");
        let (code, message) = refusal(&standard, "\nsep=;\n\nname;country;lat;longitude\n");
        assert_eq!((code, message.split(':').next()), ("unknown_column", Some("line 4")));
        let (code, message) = refusal(&standard, "name,country,latitude,longitude\n,,\nA,B\nC,D\n");
        assert_eq!((code, message.split(':').next()), ("wrong_shape", Some("line 3")));
    }

    #[test]
    fn more_fields_than_allowed_are_refused() {
        let spare = ",".repeat(30);
        let named = refusal(&Dialect::standard(""), &format!("name,country,latitude,longitude{spare}\n"));
        let written = format!("name,country,latitude,longitude\nA,B,1,2{spare}\n");
        assert_eq!(
            (named.0, refusal(&Dialect::standard(""), &written).0),
            ("too_many_fields", "too_many_fields")
        );
    }
}
