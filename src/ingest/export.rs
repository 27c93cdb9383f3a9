//! Rows as a CSV file that can be posted back.

use crate::db::imports::Dialect;

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
    write(delimiter, quote, None, records)
}

/// Records for a reader of that dialect. Where a quote is text there, something is around fields all the same: a reader knows the
/// service's own files by their header.
pub fn in_dialect<R, F>(
    dialect: &Dialect,
    records: impl IntoIterator<Item = R>,
) -> Result<Vec<u8>, ExportError>
where
    R: IntoIterator<Item = F>,
    F: Into<Vec<u8>>,
{
    let records =
        records.into_iter().map(|record| record.into_iter().map(|field| escaped(dialect, field.into())));
    write(dialect.delimiter, dialect.own_quote(), dialect.comment, records)
}

/// The field as it must be written for its escape characters to be read as they are.
fn escaped(dialect: &Dialect, field: Vec<u8>) -> Vec<u8> {
    match dialect.escape {
        Some(escape) if field != dialect.null.as_bytes() && field.contains(&escape) => {
            let doubled = |byte| if byte == escape { vec![byte; 2] } else { vec![byte] };
            field.into_iter().flat_map(doubled).collect()
        }
        _ => field,
    }
}

fn write<R, F>(
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
