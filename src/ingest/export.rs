//! Rows as a CSV file that can be posted back.

/// Why rows do not become a file.
#[derive(Debug, thiserror::Error)]
pub enum ExportError {
    /// The CSV writer failed.
    #[error("writing CSV")]
    Write(#[from] csv::Error),
    /// The writer could not be finished.
    #[error("finishing CSV")]
    Finish(#[source] std::io::Error),
    /// Text is UTF-8, so this would be a fault of the writer.
    #[error("writing CSV in UTF-8")]
    Utf8(#[from] std::string::FromUtf8Error),
}

/// A header and its records, by RFC 4180.
pub fn csv<'a>(
    header: impl Iterator<Item = &'a str>,
    records: impl Iterator<Item = Vec<String>>,
) -> Result<String, ExportError> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(Vec::new());
    writer.write_record(header)?;
    for record in records {
        writer.write_record(record)?;
    }
    let bytes = writer.into_inner().map_err(|error| ExportError::Finish(error.into_error()))?;
    Ok(String::from_utf8(bytes)?)
}
