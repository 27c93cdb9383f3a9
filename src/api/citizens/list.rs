//! The list of an import's citizens, whole or page by page.

use poem::{Body, http::Uri};
use poem_openapi::{ApiResponse, payload::Binary};

use super::{
    ListRefusal,
    fields::CitizenList,
    formats::{CSV, Document, NDJSON, Ndjson},
};
use crate::{
    api::{
        page,
        problem::Internal,
        stream::{self, JsonText, Lines},
    },
    db::citizens::{self, Range, Snapshot},
};

#[derive(ApiResponse)]
pub(super) enum ListAnswer {
    /// The citizens
    #[oai(status = 200)]
    Json(
        JsonText<CitizenList>,
        /// Where the next page is; there is none on the last page, nor without `limit`
        #[oai(header = "Link")]
        Option<String>,
    ),
    /// As a file with a header, relatives separated by `;`
    #[oai(status = 200, content_type = "text/csv")]
    Csv(Binary<Body>, #[oai(header = "Link")] Option<String>),
    /// A citizen a line
    #[oai(status = 200, content_type = "application/x-ndjson")]
    Ndjson(Binary<Body>, #[oai(header = "Link")] Option<String>),
}

pub(super) async fn answer(
    mut snapshot: Snapshot,
    range: Range,
    media_type: &str,
    uri: &Uri,
) -> Result<ListAnswer, ListRefusal> {
    let next = citizens::page_end(&mut snapshot, range).await?;
    let link = next.map(|last| page::encode_cursor(&last)).transpose().map_err(Internal::because)?;
    let link = link.map(|cursor| page::next_link(uri, &cursor));
    Ok(match media_type {
        CSV => {
            let lines = citizens::csv(snapshot, range);
            ListAnswer::Csv(Binary(stream::write(lines, Lines).await?), link)
        }
        NDJSON => {
            let rows = citizens::list(snapshot, range);
            ListAnswer::Ndjson(Binary(stream::write(rows, Ndjson).await?), link)
        }
        _ => {
            let rows = citizens::list(snapshot, range);
            let text = stream::write(rows, Document::default()).await?;
            ListAnswer::Json(JsonText::new(text), link)
        }
    })
}
