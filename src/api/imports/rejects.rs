//! Rejects, as JSON page by page or as a CSV that can be corrected and posted back.

use std::io;

use bytes::Bytes;
use poem::Body;
use poem_openapi::{ApiResponse, Object, payload::Binary, types::Example};

use super::{
    super::{Context, body::Json, stream::streamed},
    PartRefusal,
};
use crate::{
    catalog::Catalog,
    db::{
        files,
        imports::{self, Import},
        rejects::{self, MoreFault, Reject},
    },
    ingest::rejects_csv::RejectWriter,
};

/// Rejects read at once for a CSV, at most.
const BATCH: i64 = 1_000;

/// A page of rejects
#[derive(Debug, Object)]
#[oai(example)]
pub(super) struct RejectList {
    /// The rejects, by row.
    data: Vec<RejectView>,
}

/// A rejected row, by its first fault in the order of the columns
#[derive(Debug, Object)]
#[oai(rename = "Reject")]
struct RejectView {
    /// Which data record, from 1, through all files of the upload.
    row: i64,
    /// Which physical line of its file it begins on, from 1.
    line: Option<i64>,
    /// Which file of the upload, when that was a ZIP.
    file: Option<String>,
    /// The column's name; null for a fault of the whole record.
    column: Option<String>,
    /// Stable and for machines.
    code: String,
    /// For people.
    message: String,
    /// What was in the column, shortened.
    value: Option<String>,
    /// Where in the unpacked file the first bad byte is, for text that is not UTF-8.
    byte_offset: Option<i64>,
    /// The faults beyond the first.
    more: Vec<FaultView>,
    /// The record as it stood in the file.
    record: Option<String>,
    /// Whether the row was loaded all the same, without what is at fault; it does not count as rejected.
    accepted: bool,
}

/// A further fault of a rejected row
#[derive(Debug, Object)]
#[oai(rename = "RejectFault")]
struct FaultView {
    /// The column's name.
    column: Option<String>,
    /// Stable and for machines.
    code: String,
    /// For people.
    message: String,
    /// What was in the column, shortened.
    value: Option<String>,
}

impl Example for RejectList {
    fn example() -> Self {
        Self {
            data: vec![RejectView {
                row: 3,
                line: Some(4),
                file: None,
                column: Some("latitude".to_owned()),
                code: "out_of_range".to_owned(),
                message: "latitude must be a number from -90 to 90".to_owned(),
                value: Some("91".to_owned()),
                byte_offset: None,
                more: Vec::new(),
                record: Some("3,\"Mount Hagen\",\"Mount Hagen\",\"Papua New Guinea\",…".to_owned()),
                accepted: false,
            }],
        }
    }
}

#[derive(ApiResponse)]
pub(super) enum RejectsAnswer {
    /// A page of rejects
    #[oai(status = 200)]
    Page(
        Json<RejectList>,
        /// The next page, when there is one
        #[oai(header = "Link")]
        Option<String>,
    ),
    /// The rejects as CSV
    #[oai(status = 200, content_type = "text/csv")]
    Csv(Binary<Body>),
}

#[derive(ApiResponse)]
pub(super) enum CsvAnswer {
    /// The rejects as CSV
    #[oai(status = 200, content_type = "text/csv")]
    Csv(
        Binary<Body>,
        /// The name of the file
        #[oai(header = "Content-Disposition")]
        String,
    ),
}

/// Rejects after the row `after`, fewer than `limit` when they are long, and the last one's row when there are more.
pub(super) async fn page(
    context: &Context,
    import: Import,
    after: i64,
    limit: u64,
) -> Result<(RejectList, Option<i64>), PartRefusal> {
    let files = files::list(&context.db, import.id).await?;
    let found = rejects::list(&context.db, import.id, after, super::to_i64(limit)).await?;
    let last = found.last().map(|last| last.row);
    let next = match last {
        Some(row) if rejects::has_more(&context.db, import.id, row).await? => Some(row),
        _ => None,
    };
    let data = found.into_iter().map(|reject| RejectView::new(reject, &files)).collect();
    Ok((RejectList { data }, next))
}

impl RejectView {
    fn new(reject: Reject, files: &[files::File]) -> Self {
        let Reject { row, line, file_no, column, code, message, value, byte_offset, more, raw, accepted } =
            reject;
        let file = file_no.and_then(|number| files.iter().find(|file| file.file_no == number));
        let more = more
            .into_iter()
            .map(|MoreFault { column, code, message, value }| FaultView { column, code, message, value })
            .collect();
        Self {
            row,
            line,
            file: file.and_then(|file| file.name.clone()),
            column,
            code,
            message,
            value,
            byte_offset,
            more,
            record: raw.map(|raw| String::from_utf8_lossy(&raw).into_owned()),
            accepted,
        }
    }
}

/// The rejects after the row `after` as CSV, at most `limit`, batch by batch.
pub(super) async fn csv(
    context: &Context,
    import: Import,
    after: i64,
    limit: Option<u64>,
) -> Result<Body, PartRefusal> {
    let files = files::list(&context.db, import.id).await?;
    let db = context.db.clone();
    let dataset = Catalog::new(db.clone()).of_import(&import.pinned()).await?;
    let writer = RejectWriter::new(&import, dataset.as_deref(), files);
    let mut left = limit.map_or(i64::MAX, super::to_i64);
    // The first batch is read here: what goes wrong with it can still be told.
    let mut batch = rejects::list(&db, import.id, after, BATCH.min(left)).await?;
    Ok(streamed(async_stream::try_stream! {
        yield Bytes::from(writer.header().map_err(io::Error::other)?);
        while let Some(last) = batch.last() {
            let after = last.row;
            left -= batch.len() as i64;
            yield Bytes::from(writer.rows(&batch).map_err(io::Error::other)?);
            batch = rejects::list(&db, import.id, after, BATCH.min(left)).await.map_err(io::Error::other)?;
        }
        // Moved away meanwhile, the list would only look as if it were complete.
        let now = imports::get(&db, import.id).await.map_err(io::Error::other)?;
        if now.is_none_or(|now| now.archived_at.is_some()) {
            Err(io::Error::other("the rejects went to the long-term archive while they were read"))?;
        }
    }))
}
