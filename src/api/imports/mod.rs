//! `/imports`: what was uploaded, how it goes, and what may be done to it.

mod events;
pub(super) mod receive;
mod rejects;
mod source;
pub(super) mod view;

use std::sync::Arc;

use poem::http::Uri;
use poem_openapi::{
    ApiResponse, Object, OpenApi,
    param::{Header, Path, Query},
    payload::Binary,
    types::Example,
};

use self::{
    events::EventsAnswer,
    receive::{HeaderParameter, LoadParameters, UploadAnswer, UploadParameters, UploadRefusal},
    rejects::{CsvAnswer, RejectsAnswer},
    source::SourceAnswer,
    view::{ImportMode, ImportState, ImportView, RemovalView},
};
use super::{
    Context, Tag,
    access::{Anyone, MayRead, MayReadOwn, MayWrite, OptionalCaller, ReadsSome},
    body::{JSON, Json},
    citizens::{
        store::{StoreRefusal, Stored},
        upload::CitizensBody,
    },
    contract::{Contract, ImportContract},
    idempotency::{Idempotency, OneOf, Replayable},
    negotiate::Accepted,
    page,
    problem::{Conflict, Forbidden, Gone, Internal, Invalid, NotFound, Unavailable},
};
use crate::{
    datasets::citizen,
    db::imports::{self, Filter, Import, State},
    ingest::{
        IngestError,
        control::{self, Changed},
    },
    refusal,
};

/// See the module.
pub(super) struct Imports {
    /// What it works with.
    pub(super) context: Context,
}

/// A page of imports
#[derive(Debug, Object)]
#[oai(example)]
pub(super) struct ImportList {
    /// The imports, newest first.
    pub(super) data: Vec<ImportView>,
}

impl Example for ImportList {
    fn example() -> Self {
        Self { data: vec![ImportView::example()] }
    }
}

/// What an undo did
#[derive(Debug, Object)]
#[oai(example)]
struct UndoneView {
    /// The import, `undone` now.
    import: ImportView,
    /// Rows the import had created, removed now.
    removed: i64,
    /// Rows the import had created that were changed since, and stay.
    kept: i64,
    /// Rows the import had changed, which stay as it left them.
    not_reverted: i64,
}

impl Example for UndoneView {
    fn example() -> Self {
        let mut import = ImportView::example();
        import.state = ImportState::Undone;
        import.removal = Some(RemovalView::example());
        Self { import, removed: 7_697, kept: 1, not_reverted: 0 }
    }
}

#[derive(ApiResponse)]
enum ListAnswer {
    /// A page of imports
    #[oai(status = 200)]
    Page(
        Json<ImportList>,
        /// The next page, when there is one
        #[oai(header = "Link")]
        Option<String>,
    ),
}

#[derive(ApiResponse)]
enum ImportAnswer {
    /// The import
    #[oai(status = 200)]
    Import(Json<ImportView>),
}

#[derive(ApiResponse)]
enum UndoAnswer {
    /// What was removed and what was left
    #[oai(status = 200)]
    Undone(Json<UndoneView>),
    /// The import is undone and its rows are hidden; to remove them takes longer than a moment. Its `removal` says how far that is
    #[oai(status = 202)]
    Accepted(
        Json<ImportView>,
        /// The import
        #[oai(header = "Location")]
        String,
    ),
}

#[derive(ApiResponse)]
enum CancelAnswer {
    /// The import, and nothing of it is left
    #[oai(status = 200)]
    Cancelled(Json<ImportView>),
    /// The import is cancelled; to remove what was loaded takes longer than a moment. Its `removal` says how far that is
    #[oai(status = 202)]
    Accepted(
        Json<ImportView>,
        /// The import
        #[oai(header = "Location")]
        String,
    ),
}

refusal!(
    /// Why citizens are not imported.
    ImportRefusal: StoreRefusal, UploadRefusal, Invalid
);
refusal!(
    /// Why imports are not listed.
    ListRefusal: Invalid, Internal, Forbidden
);
refusal!(
    /// Why an import is not read.
    pub(super) ReadRefusal: NotFound
);
refusal!(
    /// Why a part of an import is not read.
    pub(super) PartRefusal: NotFound, Gone, Invalid, Internal, Unavailable
);
refusal!(
    /// Why an import is not changed.
    ChangeRefusal: NotFound, Conflict, Internal, Unavailable
);

impl From<IngestError> for ChangeRefusal {
    fn from(error: IngestError) -> Self {
        match error {
            IngestError::Database(error) => error.into(),
            IngestError::Refused(error) => Conflict::new(error.message).into(),
            IngestError::Fenced => Conflict::new("the import is in other hands").into(),
            error if error.is_passing() => {
                tracing::error!(error = &error as &dyn std::error::Error, "an import cannot be changed now");
                Unavailable::new("the import cannot be changed now").into()
            }
            error => Internal::because(error).into(),
        }
    }
}

pub(super) fn unknown(id: i64) -> NotFound {
    NotFound::new(format!("there is no import {id}"))
}

fn refused(id: i64, state: State, wish: &str) -> Conflict {
    let state = format!("{state:?}").to_lowercase();
    Conflict::new(format!("the import {id} is {state} and cannot be {wish}"))
}

#[OpenApi(tag = "Tag::Imports")]
impl Imports {
    /// List imports
    #[oai(path = "/imports", method = "get", operation_id = "list_imports")]
    #[expect(clippy::too_many_arguments, reason = "each is a documented parameter of the operation")]
    async fn list_imports(
        &self,
        _caller: ReadsSome,
        /// Only of this dataset
        Query(dataset): Query<Option<String>>,
        /// Only in this state
        Query(state): Query<Option<ImportState>>,
        /// Most imports of the page
        Query(limit): Query<Option<u64>>,
        /// Where to go on: from the link to the next page
        Query(cursor): Query<Option<String>>,
        caller: OptionalCaller,
        uri: &Uri,
    ) -> Result<ListAnswer, ListRefusal> {
        let readable = match caller.0 {
            None => None,
            Some(caller) => Some(caller.readable().map_err(ListRefusal)?),
        };
        let limit = page::limit(limit, &self.context.config.server)?;
        let before = cursor.map(|cursor| page::decode_number(&cursor, 1)).transpose()?;
        let filter = Filter { dataset, dataset_id: None, readable, state: state.map(Into::into), before };
        let mut found = imports::list(&self.context.db, &filter, to_i64(limit) + 1).await?;
        let more = found.len() as u64 > limit;
        found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let next = match found.last().filter(|_| more) {
            Some(last) => {
                Some(page::next_link(uri, &page::encode_cursor(&last.id).map_err(Internal::because)?))
            }
            None => None,
        };
        Ok(ListAnswer::Page(Json(ImportList { data: self.context.views(found).await? }), next))
    }

    /// Import citizens
    ///
    /// As JSON they are checked and stored in the request: all of them, or none; a 400 lists every violated rule. As a CSV, or a
    /// ZIP with one or more, they are imported like any file: good rows go in, the others are reported, and a relation to
    /// nobody, or to somebody who does not list back, is left out and reported.
    #[oai(path = "/imports", method = "post", operation_id = "import_citizens")]
    #[expect(clippy::too_many_arguments, reason = "each is a documented parameter of the operation")]
    async fn import_citizens(
        &self,
        _caller: MayWrite,
        /// Of a file: what happens with rejects; `lenient` unless `Prefer: handling=strict` says otherwise
        Query(mode): Query<Option<ImportMode>>,
        /// Of a file: more rejects than this fail the import
        #[oai(validator(minimum(value = "0")))]
        Query(max_rejects): Query<Option<i64>>,
        /// Validate and decide, and store no citizens
        #[oai(default)]
        Query(dry_run): Query<bool>,
        /// Of a file: import it even if it was imported before
        #[oai(default)]
        Query(force): Query<bool>,
        /// Of a file: what stands between fields, one ASCII character or `\t`
        Query(delimiter): Query<Option<String>>,
        /// Of a file: what stands around fields, one ASCII character, or `none`: then a quote is text
        Query(quote): Query<Option<String>>,
        /// Of a file: what takes the next character as it is, within quotes and outside: one ASCII character; none unless given
        Query(escape): Query<Option<String>>,
        /// Of a file: how its text is encoded: `utf-8`, `windows-1252`, `iso-8859-1` or `utf-16`; UTF-8 unless given. A `charset` of the media type
        /// says the same
        Query(encoding): Query<Option<String>>,
        /// Of a file: how many lines are before the header, or before the first record
        #[oai(validator(maximum(value = "1000")))]
        Query(skip): Query<Option<u32>>,
        /// Of a file: what begins a line that is no record: one ASCII character; none unless given
        Query(comment): Query<Option<String>>,
        /// Of a file: the field that stands for null, beside the empty one
        Query(null): Query<Option<String>>,
        /// Of a file: whether the first record names the columns; unless given, it does when two or more of its fields are names of
        /// columns
        Query(header): Query<Option<HeaderParameter>>,
        /// Of a file: what it is called, for people
        #[oai(validator(max_length = 255))]
        Query(filename): Query<Option<String>>,
        /// Of a file: `wait=N` waits up to N seconds for the end; `handling=strict` or `handling=lenient`; `respond-async`
        #[oai(name = "Prefer")]
        Header(prefer): Header<Option<String>>,
        /// The trace the request belongs to (W3C Trace Context): chunks carry it on, so that loading them can be told to belong
        /// to it
        #[oai(name = "traceparent")]
        Header(traceparent): Header<Option<String>>,
        /// The same key with the same request gets the first answer again
        #[oai(name = "Idempotency-Key")]
        key: Idempotency,
        body: CitizensBody,
    ) -> Result<Replayable<OneOf<Stored, UploadAnswer>>, ImportRefusal> {
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
        match body {
            CitizensBody::File(file) => {
                Ok(self.context.upload(Arc::clone(&citizen::DATASET), parameters, key, *file).await?.other())
            }
            CitizensBody::Json(..) if parameters.describe_a_file() => {
                let message = "of the query parameters only dry_run is for JSON; the others are for files";
                Err(Invalid::new(message).into())
            }
            CitizensBody::Json(json, _place) => {
                Ok(self.context.store_citizens(key, json.bytes, dry_run).await?.or())
            }
        }
    }

    /// The import contract for citizens
    #[oai(path = "/imports", method = "options", operation_id = "get_import_contract")]
    async fn get_import_contract(&self, _caller: Anyone) -> Contract {
        Contract::Contract(Json(ImportContract::of(&citizen::DATASET, &[JSON], &self.context.config.ingest)))
    }

    /// Read an import: where it stands, and its counts
    #[oai(path = "/imports/:id", method = "get", operation_id = "get_import")]
    async fn get_import(
        &self,
        _caller: MayReadOwn,
        /// Number of the import
        Path(id): Path<i64>,
    ) -> Result<ImportAnswer, ReadRefusal> {
        let view = self.context.view(id).await?.ok_or_else(|| unknown(id))?;
        Ok(ImportAnswer::Import(Json(view)))
    }

    /// Undo an import
    ///
    /// Hides the rows it created, but for those that were changed since, and removes them. What it updated stays. Very many rows are
    /// removed after the answer, which is 202 then: the import's events end when that is done.
    #[oai(path = "/imports/:id", method = "delete", operation_id = "undo_import")]
    async fn undo_import(
        &self,
        _caller: MayWrite,
        /// Number of the import
        Path(id): Path<i64>,
    ) -> Result<UndoAnswer, ChangeRefusal> {
        match control::undo(&self.context.db, &self.context.archive, id).await? {
            Changed::Done(()) => {}
            Changed::Refused(state) if !state.is_final() => {
                let conflict = format!("the import {id} is still running: cancel it first");
                return Err(Conflict::new(conflict).into());
            }
            Changed::Refused(state) => return Err(refused(id, state, "undone").into()),
            Changed::Unknown => return Err(unknown(id).into()),
        }
        let import = self.context.view(id).await?.ok_or_else(|| unknown(id))?;
        let removal = import.removal.as_ref().filter(|_| import.is_settled());
        let Some(&RemovalView { removed, kept: Some(kept), not_reverted, .. }) = removal else {
            let location = import.location();
            return Ok(UndoAnswer::Accepted(Json(import), location));
        };
        Ok(UndoAnswer::Undone(Json(UndoneView { import, removed, kept, not_reverted })))
    }

    /// Cancel an import: nothing of it becomes visible
    #[oai(path = "/imports/:id/cancel", method = "post", operation_id = "cancel_import")]
    async fn cancel_import(
        &self,
        _caller: MayWrite,
        /// Number of the import
        Path(id): Path<i64>,
    ) -> Result<CancelAnswer, ChangeRefusal> {
        let changed = control::cancel(&self.context.db, &self.context.archive, id).await?;
        let import = self.changed(id, changed, "cancelled").await?;
        let location = import.location();
        let is_settled = import.is_settled();
        let import = Json(import);
        Ok(if is_settled {
            CancelAnswer::Cancelled(import)
        } else {
            CancelAnswer::Accepted(import, location)
        })
    }

    /// Pause an import
    #[oai(path = "/imports/:id/pause", method = "post", operation_id = "pause_import")]
    async fn pause_import(
        &self,
        _caller: MayWrite,
        /// Number of the import
        Path(id): Path<i64>,
    ) -> Result<ImportAnswer, ChangeRefusal> {
        let changed = control::pause(&self.context.db, id).await?;
        Ok(ImportAnswer::Import(Json(self.changed(id, changed, "paused").await?)))
    }

    /// Go on with a paused import
    #[oai(path = "/imports/:id/resume", method = "post", operation_id = "resume_import")]
    async fn resume_import(
        &self,
        _caller: MayWrite,
        /// Number of the import
        Path(id): Path<i64>,
    ) -> Result<ImportAnswer, ChangeRefusal> {
        let changed = control::resume(&self.context.db, id).await?;
        Ok(ImportAnswer::Import(Json(self.changed(id, changed, "resumed").await?)))
    }

    /// Follow an import: an event whenever it changed, the last one when it has ended
    ///
    /// Only the event of an ended import has an `id`: its state. A stream that ends without an `id` was cut off, for example because the
    /// service stops: connect again. A browser always reconnects; with that `id` as `Last-Event-ID` the answer is 204, and the browser stops.
    #[oai(path = "/imports/:id/events", method = "get", operation_id = "follow_import")]
    async fn follow_import(
        &self,
        _caller: MayReadOwn,
        /// Number of the import
        Path(id): Path<i64>,
        /// The `id` of the last event that was received, when it had one
        #[oai(name = "Last-Event-ID")]
        Header(last): Header<Option<String>>,
    ) -> Result<EventsAnswer, ReadRefusal> {
        let first = self.context.view(id).await?.ok_or_else(|| unknown(id))?;
        Ok(events::answer(self.context.clone(), first, last.as_deref()))
    }

    /// The rejects of an import: rows that break a rule, each with its place and what is wrong
    ///
    /// As CSV: the original columns first, then `_row`, `_line`, `_file`, `_column`, `_code` and `_message`. Correct the original columns
    /// and post the file back as it is. A row that could not be told into fields is in the first column as it was; write its values into
    /// their columns and empty its `_code`.
    #[oai(path = "/imports/:id/rejects", method = "get", operation_id = "list_rejects")]
    async fn list_rejects(
        &self,
        _caller: MayReadOwn,
        /// Number of the import
        Path(id): Path<i64>,
        /// Most rejects of the page, which ends early when they are long; a CSV has all of them unless given
        Query(limit): Query<Option<u64>>,
        /// Where to go on: from the link to the next page
        Query(cursor): Query<Option<String>>,
        accepted: Accepted,
        uri: &Uri,
    ) -> Result<RejectsAnswer, PartRefusal> {
        let after = cursor.map(|cursor| page::decode_number(&cursor, 1)).transpose()?.unwrap_or(0);
        if accepted.0 == "text/csv" {
            let rows =
                limit.map(|limit| page::limit(Some(limit), &self.context.config.server)).transpose()?;
            let csv = rejects::csv(&self.context, self.import(id).await?, after, rows).await?;
            return Ok(RejectsAnswer::Csv(Binary(csv)));
        }
        let limit = page::limit(limit, &self.context.config.server)?;
        let (list, next) = rejects::page(&self.context, self.import(id).await?, after, limit).await?;
        let next = match next {
            Some(row) => Some(page::next_link(uri, &page::encode_cursor(&row).map_err(Internal::because)?)),
            None => None,
        };
        Ok(RejectsAnswer::Page(Json(list), next))
    }

    /// The rejects of an import as a CSV file
    #[oai(path = "/imports/:id/rejects.csv", method = "get", operation_id = "download_rejects")]
    async fn download_rejects(
        &self,
        _caller: MayReadOwn,
        /// Number of the import
        Path(id): Path<i64>,
    ) -> Result<CsvAnswer, PartRefusal> {
        let csv = rejects::csv(&self.context, self.import(id).await?, 0, None).await?;
        let disposition = format!("attachment; filename=\"import-{id}-rejects.csv\"");
        Ok(CsvAnswer::Csv(Binary(csv), disposition))
    }

    /// The bytes as they were uploaded
    #[oai(path = "/imports/:id/source", method = "get", operation_id = "download_source")]
    async fn download_source(
        &self,
        _caller: MayRead,
        /// Number of the import
        Path(id): Path<i64>,
    ) -> Result<SourceAnswer, PartRefusal> {
        source::answer(&self.context, self.import(id).await?).await
    }
}

impl Imports {
    /// The import, whose upload, ledger and rejects are here.
    async fn import(&self, id: i64) -> Result<Import, PartRefusal> {
        let import = imports::get(&self.context.db, id).await?.ok_or_else(|| unknown(id))?;
        let Some(archived_at) = import.archived_at else { return Ok(import) };
        let since = archived_at.format("%Y-%m-%d");
        let detail = format!(
            "the upload and the rejects of import {id} are in the long-term archive since {since}; who operates the service \
             brings them back: tarmac replay {id}"
        );
        Err(Gone::new(detail).into())
    }

    async fn changed<T>(
        &self,
        id: i64,
        changed: Changed<T>,
        wish: &str,
    ) -> Result<ImportView, ChangeRefusal> {
        match changed {
            Changed::Done(_) => Ok(self.context.view(id).await?.ok_or_else(|| unknown(id))?),
            Changed::Refused(state) => Err(refused(id, state, wish).into()),
            Changed::Unknown => Err(unknown(id).into()),
        }
    }
}

fn to_i64(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
