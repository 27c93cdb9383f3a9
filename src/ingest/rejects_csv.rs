//! Rejects as CSV, in the dialect of the import: the original columns as they were, then the five of
//! `REJECT_COLUMNS`. Posted back under its header, such a file is read like any other.

use super::{
    export::{self, ExportError},
    header::REJECT_COLUMNS,
    records::Records,
};
use crate::db::{
    files::File,
    imports::{Dialect, Import},
    rejects::Reject,
};

/// Writes rejects of one import.
#[derive(Debug)]
pub struct RejectWriter {
    dialect: Dialect,
    /// The original columns, in the order of the first file.
    columns: Vec<String>,
    /// The columns of each file.
    files: Vec<(i32, Vec<String>)>,
}

impl RejectWriter {
    /// A writer for the rejects of an import with these files.
    pub fn new(import: &Import, files: &[File]) -> Self {
        let files: Vec<_> =
            files.iter().map(|file| (file.file_no, file.columns.clone().unwrap_or_default())).collect();
        let columns = files.iter().map(|(_, columns)| columns).find(|columns| !columns.is_empty());
        let columns = columns.into_iter().flatten().filter(|name| !name.is_empty()).cloned().collect();
        Self { dialect: import.dialect.clone(), columns, files }
    }

    /// The first line.
    pub fn header(&self) -> Result<Vec<u8>, ExportError> {
        self.write([self.columns.iter().map(String::as_str).chain(REJECT_COLUMNS)])
    }

    /// A line for each reject.
    pub fn rows(&self, rejects: &[Reject]) -> Result<Vec<u8>, ExportError> {
        self.write(rejects.iter().map(|reject| {
            let messages = reject.more.iter().map(|fault| &fault.message);
            let messages: Vec<_> =
                [&reject.message].into_iter().chain(messages).map(String::as_str).collect();
            let mut record = self.original(reject);
            let line = reject.line.map(|line| line.to_string()).unwrap_or_default();
            let column = reject.column.clone().unwrap_or_default();
            let place = [reject.row.to_string(), line, column, reject.code.clone(), messages.join("; ")];
            record.extend(place.into_iter().map(String::into_bytes));
            record
        }))
    }

    /// The original fields in the order of [`Self::columns`], byte for byte. Fields beyond the columns stay where they are:
    /// posted back as it is, such a record is refused again, never read as something else.
    fn original(&self, reject: &Reject) -> Vec<Vec<u8>> {
        let names = self.files.iter().find(|(number, _)| Some(*number) == reject.file_no);
        let names = names.map_or(&[][..], |(_, names)| names);
        let mut records = Records::new(&self.dialect, reject.raw.as_deref().unwrap_or_default());
        let Some(record) = records.next() else { return vec![Vec::new(); self.columns.len()] };
        let of_column = |column: &String| {
            let place = names.iter().position(|name| name == column);
            place.and_then(|place| record.get(place)).unwrap_or_default().to_vec()
        };
        let beyond = record.iter().skip(names.len()).map(<[u8]>::to_vec);
        self.columns.iter().map(of_column).chain(beyond).collect()
    }

    fn write<R, F>(&self, records: impl IntoIterator<Item = R>) -> Result<Vec<u8>, ExportError>
    where
        R: IntoIterator<Item = F>,
        F: AsRef<[u8]>,
    {
        export::csv(self.dialect.delimiter, self.dialect.quote, records)
    }
}
