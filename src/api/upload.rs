//! `/upload`: airports from a file.

use std::sync::Arc;

use poem_openapi::{
    OpenApi,
    param::{Header, Query},
};

use super::{
    Context, Tag,
    access::{Anyone, MayWrite},
    body::Json,
    contract::{Contract, ImportContract},
    idempotency::{Idempotency, Replayable},
    imports::receive::{HeaderParameter, LoadParameters, UploadAnswer, UploadParameters, UploadRefusal},
    imports::view::ImportMode,
    upload_body::UploadBody,
};
use crate::datasets::airport::DATASET;

/// See the module.
pub(super) struct Upload {
    /// What it works with.
    pub(super) context: Context,
}

#[OpenApi(tag = "Tag::Imports")]
impl Upload {
    /// Upload airports
    ///
    /// A CSV as OpenFlights publishes it, or a ZIP with one or more. Good rows go in, the others are reported; rows that
    /// are there already are updated. The request ends when the bytes are safe: ask the import how it goes on, or wait a
    /// while for its end with `Prefer: wait=10`.
    #[oai(path = "/upload", method = "post", operation_id = "upload_airports")]
    #[expect(clippy::too_many_arguments, reason = "each is a documented parameter of the operation")]
    async fn upload_airports(
        &self,
        _caller: MayWrite,
        /// What happens with rejects; `lenient` unless `Prefer: handling=strict` says otherwise
        Query(mode): Query<Option<ImportMode>>,
        /// More rejects than this fail the import
        #[oai(validator(minimum(value = "0")))]
        Query(max_rejects): Query<Option<i64>>,
        /// Validate and decide, and store nothing
        #[oai(default)]
        Query(dry_run): Query<bool>,
        /// Import the file even if it was imported before
        #[oai(default)]
        Query(force): Query<bool>,
        /// What stands between fields: one ASCII character, or `\t`
        Query(delimiter): Query<Option<String>>,
        /// What stands around fields: one ASCII character, or `none`: then a quote is text
        Query(quote): Query<Option<String>>,
        /// What takes the next character as it is, within quotes and outside: one ASCII character; none unless given
        Query(escape): Query<Option<String>>,
        /// How the text is encoded: `utf-8`, `windows-1252`, `iso-8859-1` or `utf-16`; UTF-8 unless given. A `charset` of the media type
        /// says the same
        Query(encoding): Query<Option<String>>,
        /// How many lines are before the header, or before the first record
        #[oai(validator(maximum(value = "1000")))]
        Query(skip): Query<Option<u32>>,
        /// What begins a line that is no record: one ASCII character; none unless given
        Query(comment): Query<Option<String>>,
        /// The field that stands for null, beside the empty one; `\N` unless given
        Query(null): Query<Option<String>>,
        /// Whether the first record names the columns; unless given, it does when two or more of its fields are names of columns
        Query(header): Query<Option<HeaderParameter>>,
        /// What the file is called, for people
        #[oai(validator(max_length = 255))]
        Query(filename): Query<Option<String>>,
        /// `wait=N` waits up to N seconds for the end; `handling=strict` or `handling=lenient`; `respond-async`
        #[oai(name = "Prefer")]
        Header(prefer): Header<Option<String>>,
        /// The trace the request belongs to (W3C Trace Context): chunks carry it on, so that loading them can be told to belong
        /// to it
        #[oai(name = "traceparent")]
        Header(traceparent): Header<Option<String>>,
        /// The same key with the same request gets the first answer again
        #[oai(name = "Idempotency-Key")]
        key: Idempotency,
        body: UploadBody,
    ) -> Result<Replayable<UploadAnswer>, UploadRefusal> {
        let parameters = UploadParameters {
            loading: LoadParameters::default(),
            mode,
            max_rejects,
            dry_run,
            force,
            delimiter,
            quote,
            escape,
            encoding,
            skip,
            comment,
            null,
            header,
            filename,
            prefer,
            traceparent,
        };
        self.context.upload(Arc::clone(&DATASET), parameters, key, body).await
    }

    /// The import contract for airports
    #[oai(path = "/upload", method = "options", operation_id = "get_upload_contract")]
    async fn get_upload_contract(&self, _caller: Anyone) -> Contract {
        Contract::Contract(Json(ImportContract::of(&DATASET, &[], &self.context.config.ingest)))
    }
}
