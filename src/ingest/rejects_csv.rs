//! Rejects as CSV, in the dialect of the import: the original columns, then those of `REJECT_COLUMNS`. Posted back under its header, such a
//! file is read like any other, but for records that could not be told into fields: they come as they were, in the first column, and
//! are refused until their code is emptied.

use super::{
    REJECT_COLUMNS,
    export::{self, ExportError},
    records::Records,
    unreadable,
};
use crate::datasets::Dataset;
use crate::db::{
    files::File,
    imports::{Dialect, Import},
    rejects::Reject,
};

/// What the message of a reject begins with whose row was loaded.
const ACCEPTED: &str = "accepted: ";

/// Writes rejects of one import.
#[derive(Debug)]
pub struct RejectWriter {
    dialect: Dialect,
    /// The original columns, in the order of the first file.
    columns: Vec<String>,
    /// What a header calls them.
    names: Vec<String>,
    files: Vec<File>,
}

impl RejectWriter {
    /// A writer for the rejects of an import with these files. The dataset, in the version of the import, says what its columns are called.
    pub fn new(import: &Import, dataset: Option<&Dataset>, files: Vec<File>) -> Self {
        let columns =
            files.iter().filter_map(|file| file.columns.as_ref()).find(|columns| !columns.is_empty());
        let columns = columns.into_iter().flatten().filter(|name| !name.is_empty()).cloned().collect();
        let columns: Vec<String> = columns;
        let name = |key: &String| {
            let column = dataset.and_then(|dataset| dataset.column(key));
            column.map_or_else(|| key.clone(), |(_, column)| column.name.to_string())
        };
        let names = columns.iter().map(name).collect();
        Self { dialect: import.dialect.clone(), columns, names, files }
    }

    /// The first line.
    pub fn header(&self) -> Result<Vec<u8>, ExportError> {
        let names = self.names.iter().map(String::as_str).chain(REJECT_COLUMNS);
        self.write([names.map(|name| name.as_bytes().to_vec()).collect()])
    }

    /// A line for each reject.
    pub fn rows(&self, rejects: &[Reject]) -> Result<Vec<u8>, ExportError> {
        self.write(rejects.iter().map(|reject| {
            let file = self.files.iter().find(|file| Some(file.file_no) == reject.file_no);
            let messages = reject.more.iter().map(|fault| &fault.message);
            let messages: Vec<_> =
                [&reject.message].into_iter().chain(messages).map(String::as_str).collect();
            let message = messages.join("; ");
            let own = [
                reject.row.to_string(),
                reject.line.map(|line| line.to_string()).unwrap_or_default(),
                file.and_then(|file| file.name.clone()).unwrap_or_default(),
                reject.column.clone().unwrap_or_default(),
                reject.code.clone(),
                if reject.accepted { format!("{ACCEPTED}{message}") } else { message },
            ];
            let mut record = self.original(reject, file);
            record.extend(own.into_iter().map(String::into_bytes));
            record
        }))
    }

    /// The original fields in the order of [`Self::columns`], byte for byte; or the record as it was, in the first of them.
    fn original(&self, reject: &Reject, file: Option<&File>) -> Vec<Vec<u8>> {
        let mut fields = vec![Vec::new(); self.columns.len()];
        let (Some(raw), Some(file)) = (&reject.raw, file) else { return fields };
        let columns = file.columns.as_deref().unwrap_or_default();
        let dialect = file.layout.dialect(&self.dialect);
        let mut records = Records::new(&dialect, raw);
        let record = records.next();
        let is_told = |code| {
            // One that was in a file of rejects already has its fields, and the record in the first of them.
            record.is_some_and(|record| unreadable::code_of(&record, file.layout.code) == Some(code))
        };
        if unreadable::is_code(&reject.code) && !is_told(reject.code.as_str()) {
            if let Some(first) = fields.first_mut() {
                first.clone_from(raw);
            }
            return fields;
        }
        for (field, column) in fields.iter_mut().zip(&self.columns) {
            let place = columns.iter().position(|name| name == column);
            let value = place.and_then(|place| record?.get(place));
            *field = value.unwrap_or_default().to_vec();
        }
        fields
    }

    fn write(&self, records: impl IntoIterator<Item = Vec<Vec<u8>>>) -> Result<Vec<u8>, ExportError> {
        export::in_dialect(&self.dialect, records)
    }
}
