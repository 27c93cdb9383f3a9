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
}

/// Records, of whatever width, with these characters between and around fields, otherwise by RFC 4180.
pub fn csv<R, F>(
    delimiter: u8,
    quote: u8,
    records: impl IntoIterator<Item = R>,
) -> Result<Vec<u8>, ExportError>
where
    R: IntoIterator<Item = F>,
    F: AsRef<[u8]>,
{
    csv_beside_comments(delimiter, quote, None, records)
}

/// The same, for a reader that takes lines beginning with `comment` for no records.
pub fn csv_beside_comments<R, F>(
    delimiter: u8,
    quote: u8,
    comment: Option<u8>,
    records: impl IntoIterator<Item = R>,
) -> Result<Vec<u8>, ExportError>
where
    R: IntoIterator<Item = F>,
    F: AsRef<[u8]>,
{
    let mut writer = csv::WriterBuilder::new()
        .flexible(true)
        .delimiter(delimiter)
        .quote(quote)
        .comment(comment)
        .terminator(csv::Terminator::CRLF)
        .from_writer(Vec::new());
    for record in records {
        writer.write_record(record)?;
    }
    writer.into_inner().map_err(|error| ExportError::Finish(error.into_error()))
}
