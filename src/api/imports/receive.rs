//! What every upload has in common, whatever it imports: parameters, the idempotency key, the wait.

use std::{sync::Arc, time::Duration};

use chrono::Utc;
use poem_openapi::{ApiResponse, Enum};
use sqlx::{Postgres, Transaction};

use super::view::{ImportMode, ImportView};
use crate::{
    api::{
        Context,
        body::Json,
        idempotency::{self, ClaimRefusal, Decision, Idempotency, Replayable, SaveRefusal},
        prefer::preference,
        problem::{Conflict, Internal, Invalid, KeyReused, Problem, TooLarge, Unavailable},
        upload_body::UploadBody,
    },
    datasets::{
        Dataset, Encoding,
        plan::{Blanks, InvalidMaxDeleted, LoadMode, MaxDeleted},
    },
    db::{
        self, DbError, Unconfirmed, chunks,
        imports::{self, Dialect, LoadOptions, State},
        notify::Topic,
        removals,
    },
    ingest::receive::{self, Options, ReceiveError, Received, Stored},
    refusal, trace,
};

/// How long to wait at most before looking at an import again.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// Whether the first record names the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
pub(crate) enum HeaderParameter {
    /// It does.
    Present,
    /// It is data.
    Absent,
}

/// How the rows of an upload meet those that are stored.
#[derive(Debug, Default)]
pub(crate) struct LoadParameters {
    pub(crate) load: Option<LoadMode>,
    pub(crate) blanks: Option<Blanks>,
    pub(crate) max_deleted: Option<String>,
    pub(crate) corrects: Option<i64>,
}

impl LoadParameters {
    /// What they say of a file of the dataset; nothing of a built-in one, which has its own ways.
    fn options(&self, dataset: &Dataset) -> Result<Option<LoadOptions>, Invalid> {
        let Self { load, blanks, max_deleted, corrects: _ } = self;
        if dataset.built_in().is_some() {
            let given = [
                ("load", load.is_some()),
                ("blanks", blanks.is_some()),
                ("max_deleted", max_deleted.is_some()),
            ];
            return match given.into_iter().find(|(_, is_given)| *is_given) {
                Some((name, _)) => {
                    let message = format!(
                        "{name} is for declared datasets; {} have their own way",
                        dataset.name.as_str()
                    );
                    Err(Invalid::parameter(name, "not_allowed", message))
                }
                None => Ok(None),
            };
        }
        let load = load.unwrap_or_else(|| LoadMode::default_of(dataset));
        if !load.fits(dataset) {
            let fitting = LoadMode::ALL.into_iter().filter(|load| load.fits(dataset)).map(LoadMode::as_str);
            let key = if dataset.schema.primary_key.is_empty() {
                "without a primary key"
            } else {
                "with a primary key"
            };
            let message = format!(
                "load={} is not for a dataset {key}; it may be {}",
                load.as_str(),
                fitting.collect::<Vec<_>>().join(" or ")
            );
            return Err(Invalid::parameter("load", "not_allowed", message));
        }
        let max_deleted = match max_deleted.as_deref() {
            Some(_) if load != LoadMode::Sync => {
                let message = "max_deleted is for load=sync, which alone deletes rows";
                return Err(Invalid::parameter("max_deleted", "not_allowed", message));
            }
            Some(text) => text.parse().map_err(|error: InvalidMaxDeleted| {
                Invalid::parameter("max_deleted", "not_allowed", format!("max_deleted {error}"))
            })?,
            None => MaxDeleted::default(),
        };
        Ok(Some(LoadOptions { load, blanks: blanks.unwrap_or_default(), max_deleted }))
    }
}

/// The parameters of an upload.
#[derive(Default)]
pub(crate) struct UploadParameters {
    pub(crate) loading: LoadParameters,
    pub(crate) mode: Option<ImportMode>,
    pub(crate) max_rejects: Option<i64>,
    pub(crate) dry_run: bool,
    pub(crate) force: bool,
    pub(crate) delimiter: Option<String>,
    pub(crate) quote: Option<String>,
    pub(crate) escape: Option<String>,
    pub(crate) encoding: Option<String>,
    pub(crate) skip: Option<u32>,
    pub(crate) comment: Option<String>,
    pub(crate) null: Option<String>,
    pub(crate) header: Option<HeaderParameter>,
    pub(crate) filename: Option<String>,
    pub(crate) prefer: Option<String>,
    pub(crate) traceparent: Option<String>,
}

impl UploadParameters {
    /// Whether anything is said that only a file can have.
    pub(crate) fn describe_a_file(&self) -> bool {
        let Self {
            loading: _,
            mode,
            max_rejects,
            dry_run: _,
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
            prefer: _,
            traceparent: _,
        } = self;
        let texts = [delimiter, quote, escape, encoding, comment, null, filename];
        *force
            || mode.is_some()
            || max_rejects.is_some()
            || header.is_some()
            || skip.is_some()
            || texts.iter().any(|text| text.is_some())
    }
}

/// What an upload is answered.
#[derive(ApiResponse)]
pub(crate) enum UploadAnswer {
    /// The import has ended: within the time of `Prefer: wait`, or because the same file was imported before and nothing has changed since
    #[oai(status = 200)]
    Finished(
        Json<ImportView>,
        /// The import
        #[oai(header = "Location")]
        String,
        /// What of `Prefer` was honoured
        #[oai(header = "Preference-Applied")]
        Option<String>,
    ),
    /// The bytes are safe; the import goes on by itself
    #[oai(status = 202)]
    Accepted(
        Json<ImportView>,
        /// The import
        #[oai(header = "Location")]
        String,
        /// What of `Prefer` was honoured
        #[oai(header = "Preference-Applied")]
        Option<String>,
    ),
}

refusal!(
    /// Why an upload is refused.
    pub(crate) UploadRefusal: Invalid, TooLarge, KeyReused, ClaimRefusal, SaveRefusal, Internal, Unavailable
);

impl From<ReceiveError> for UploadRefusal {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::Database(error) => error.into(),
            ReceiveError::Changed => {
                ClaimRefusal::from(Conflict::coded("dataset_changed", error.to_string())).into()
            }
            ReceiveError::TooLarge { .. } => TooLarge::new(error.to_string()).into(),
            ReceiveError::Archive(error) => {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    "the archive does not take an upload"
                );
                Unavailable::new("the upload cannot be kept now").into()
            }
            ReceiveError::Body { received, source } => match source.downcast::<Problem>() {
                Ok(problem) => Self(problem),
                Err(_) => Invalid::new(format!(
                    "the body cannot be read beyond {received} bytes: it ends early, or is malformed"
                ))
                .into(),
            },
            _ => Invalid::new(error.to_string()).into(),
        }
    }
}

impl Context {
    /// Receives an upload for a dataset.
    pub(in crate::api) async fn upload(
        &self,
        dataset: Arc<Dataset>,
        parameters: UploadParameters,
        key: Idempotency,
        body: UploadBody,
    ) -> Result<Replayable<UploadAnswer>, UploadRefusal> {
        let wait = wait(parameters.prefer.as_deref(), self.config.server.wait_seconds);
        let mode = mode(&parameters)?;
        let options = Options {
            mode: mode.value,
            max_rejects: parameters.max_rejects,
            loading: parameters.loading.options(&dataset)?,
            corrects: parameters.loading.corrects,
            dry_run: parameters.dry_run,
            dialect: dialect(&dataset, &parameters, body.header, body.charset)?,
            dataset,
            filename: parameters.filename.or(body.filename).map(|name| name.replace('\0', "\u{fffd}")),
            // Where spans are sent, what becomes of the import is a part of this request, which may be a part of something else.
            traceparent: trace::current()
                .or(parameters.traceparent.filter(|traceparent| is_traceparent(traceparent))),
            force: parameters.force,
            owner: key.owner(),
        };
        if let Some(id) = options.corrects {
            let corrected = imports::get(&self.db, id).await?;
            if corrected.is_none_or(|import| import.dataset != options.dataset.name.as_str()) {
                let message = format!("there is no import {id} of this dataset to be corrected");
                return Err(Invalid::parameter("corrects", "unknown_import", message).into());
            }
        }
        self.check_imports().await?;
        let claim = key.claim(&self.db).await?;
        let (encoding, limit) = (options.dialect.encoding, self.config.ingest.upload_bytes);
        let stored = receive::store(&self.archive, body.packing, encoding, limit, body.bytes).await?;
        drop(body.place);
        let first = match claim.decide(&stored.sha256()) {
            Ok(Decision::First(first)) => first,
            Ok(Decision::Repeated(answer)) => {
                stored.discard(&self.archive).await;
                return Ok(Replayable::again(answer));
            }
            Err(error) => {
                stored.discard(&self.archive).await;
                return Err(error.into());
            }
        };
        let keep = Duration::from_secs(self.config.server.idempotency_seconds);
        let (transaction, registered) = match self.register(&stored, options, &mode, &first, keep).await {
            Ok(registered) => registered,
            Err(error) => {
                stored.discard(&self.archive).await;
                return Err(error);
            }
        };
        if let Err(error) = db::commit_settled(&self.db, transaction, "receiving an upload").await {
            // Where nobody knows, the bytes stay: there may be an import that needs them.
            if let Unconfirmed::RolledBack(_) = error {
                stored.discard(&self.archive).await;
            }
            return Err(error.into_error().into());
        }
        let Registered { received, view, answer } = registered;
        if let Received::Same(_) = received {
            stored.discard(&self.archive).await;
        }
        let Some(wait) = wait.filter(|_| !view.is_final()) else { return Ok(Replayable::first(answer)) };
        let repeated = view.repeated;
        let mut view = self.wait_for(view.id(), wait).await?.unwrap_or(view);
        view.repeated = repeated;
        if !view.is_final() {
            return Ok(Replayable::first(answer));
        }
        let answer = idempotency::render(mode.answer(view, Some(wait))).await?;
        let mut connection = self.db.begin().await?;
        first.save(&mut connection, &answer, keep).await?;
        db::commit(connection, "keeping an answer").await?;
        Ok(Replayable::first(answer))
    }

    /// Whether the import of another upload can be led to an end in foreseeable time.
    async fn check_imports(&self) -> Result<(), UploadRefusal> {
        let waiting = imports::unfinished(&self.db).await?;
        if waiting >= self.config.limits.imports {
            return Err(Unavailable::new(format!("{waiting} imports are under way already")).into());
        }
        Ok(())
    }

    /// Makes the import and keeps the answer, in one transaction, which is still to be committed.
    async fn register(
        &self,
        stored: &Stored,
        options: Options,
        mode: &Mode,
        first: &idempotency::First,
        keep: Duration,
    ) -> Result<(Transaction<'static, Postgres>, Registered), UploadRefusal> {
        let mut transaction = self.db.begin().await?;
        let received = receive::register(&self.db, &mut transaction, &self.archive, stored, options).await?;
        let (Received::New(import) | Received::Same(import)) = received.clone();
        tracing::Span::current().record("import", import.id);
        let progress = chunks::progress(&mut transaction, import.id).await?;
        let mut view = ImportView::new(import, &progress, None, Utc::now());
        view.repeated = matches!(received, Received::Same(_));
        let answer = idempotency::render(mode.answer(view.clone(), None)).await?;
        first.save(&mut transaction, &answer, keep).await?;
        Ok((transaction, Registered { received, view, answer }))
    }

    /// The import of that id as it is now.
    pub(crate) async fn view(&self, id: i64) -> Result<Option<ImportView>, DbError> {
        let Some(import) = imports::get(&self.db, id).await? else { return Ok(None) };
        Ok(self.views(vec![import]).await?.pop())
    }

    /// Imports with what the ledger says of them.
    pub(crate) async fn views(&self, imports: Vec<imports::Import>) -> Result<Vec<ImportView>, DbError> {
        let progress = chunks::progress_of(&self.db, &imports).await?;
        let taken_out = |import: &&imports::Import| {
            matches!(import.state, State::Failed | State::Cancelled | State::Undone)
        };
        let taken_out: Vec<_> = imports.iter().filter(taken_out).map(|import| import.id).collect();
        let removals =
            if taken_out.is_empty() { Vec::new() } else { removals::of(&self.db, &taken_out).await? };
        let ids: Vec<_> = imports.iter().map(|import| import.id).collect();
        let corrections = imports::corrections(&self.db, &ids).await?;
        let now = Utc::now();
        Ok(imports
            .into_iter()
            .zip(&progress)
            .map(|(import, progress)| {
                let removal = removals.iter().find(|removal| removal.import_id == import.id);
                let corrected_by = corrections.get(&import.id).copied();
                let mut view = ImportView::new(import, progress, removal, now);
                view.corrected_by = corrected_by;
                view
            })
            .collect())
    }

    /// The import once it has ended, or as it is after `wait`.
    async fn wait_for(&self, id: i64, wait: Duration) -> Result<Option<ImportView>, DbError> {
        let mut watch = self.changes.watch(Topic::Imports);
        let deadline = tokio::time::Instant::now() + wait;
        loop {
            let ended = imports::get(&self.db, id).await?.is_none_or(|import| import.state.is_final());
            let left = deadline.saturating_duration_since(tokio::time::Instant::now());
            if ended || left.is_zero() {
                return self.view(id).await;
            }
            watch.changed(left.min(LOOK_AGAIN)).await;
        }
    }
}

/// What an upload becomes once its transaction commits.
struct Registered {
    received: Received,
    view: ImportView,
    answer: db::idempotency::Answer,
}

/// The mode of an import, and whether `Prefer` chose it.
struct Mode {
    value: imports::Mode,
    preferred: Option<&'static str>,
}

impl Mode {
    fn answer(&self, view: ImportView, waited: Option<Duration>) -> UploadAnswer {
        let waited = waited.map(|wait| format!("wait={}", wait.as_secs()));
        let applied: Vec<_> = self.preferred.map(ToOwned::to_owned).into_iter().chain(waited).collect();
        let applied = (!applied.is_empty()).then(|| applied.join(", "));
        let location = view.location();
        if view.is_final() {
            UploadAnswer::Finished(Json(view), location, applied)
        } else {
            UploadAnswer::Accepted(Json(view), location, applied)
        }
    }
}

/// Whether it is one of version 00 of W3C Trace Context. Another is left out, as the standard has it: a trace that cannot be
/// followed is no reason to refuse a file.
fn is_traceparent(text: &str) -> bool {
    let parts: Vec<_> = text.split('-').collect();
    let lengths: Vec<_> = parts.iter().map(|part| part.len()).collect();
    let is_hex = |part: &&str| part.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
    let is_zero = |part: &str| part.bytes().all(|byte| byte == b'0');
    lengths == [2, 32, 16, 2]
        && parts.iter().all(is_hex)
        && parts[0] == "00"
        && !is_zero(parts[1])
        && !is_zero(parts[2])
}

/// The parameter, else the preference, else lenient.
fn mode(parameters: &UploadParameters) -> Result<Mode, Invalid> {
    if let Some(mode) = parameters.mode {
        return Ok(Mode { value: mode.into(), preferred: None });
    }
    Ok(match preference(parameters.prefer.as_deref(), "handling") {
        Some("strict") => Mode { value: imports::Mode::Strict, preferred: Some("handling=strict") },
        Some("lenient") => Mode { value: imports::Mode::Lenient, preferred: Some("handling=lenient") },
        _ => Mode { value: imports::Mode::Lenient, preferred: None },
    })
}

/// How long to wait for the end: as preferred, at most as configured; `respond-async` says not to.
fn wait(prefer: Option<&str>, at_most_seconds: u64) -> Option<Duration> {
    if preference(prefer, "respond-async").is_some() && preference(prefer, "wait").is_none() {
        return None;
    }
    let seconds: u64 = preference(prefer, "wait")?.parse().ok()?;
    Some(Duration::from_secs(seconds.min(at_most_seconds))).filter(|wait| !wait.is_zero())
}

/// How the file is written: as the upload says, else as its dataset does.
fn dialect(
    dataset: &Dataset,
    parameters: &UploadParameters,
    header: Option<bool>,
    charset: Option<Encoding>,
) -> Result<Dialect, Invalid> {
    stated_dialect(Dialect::of(dataset), parameters, header, charset)
}

/// The dialect with what the upload says in place of what was there.
pub(in crate::api) fn stated_dialect(
    mut dialect: Dialect,
    parameters: &UploadParameters,
    header: Option<bool>,
    charset: Option<Encoding>,
) -> Result<Dialect, Invalid> {
    if let Some(delimiter) = one_byte("delimiter", parameters.delimiter.as_deref())? {
        (dialect.delimiter, dialect.delimiter_stated) = (delimiter, true);
    }
    match parameters.quote.as_deref() {
        None => {}
        Some("none") => dialect.quote = None,
        quote => dialect.quote = one_byte("quote", quote)?,
    }
    dialect.escape = one_byte("escape", parameters.escape.as_deref())?.or(dialect.escape);
    dialect.comment = one_byte("comment", parameters.comment.as_deref())?.or(dialect.comment);
    let Dialect { delimiter, quote, escape, comment, .. } = dialect;
    if Some(delimiter) == quote {
        return Err(Invalid::parameter("quote", "not_allowed", "quote and delimiter must differ"));
    }
    if escape.is_some() && [Some(delimiter), quote].contains(&escape) {
        let message = "escape must be another character than delimiter and quote";
        return Err(Invalid::parameter("escape", "not_allowed", message));
    }
    if comment.is_some() && [Some(delimiter), quote, escape].contains(&comment) {
        let message = "comment must be another character than delimiter, quote and escape";
        return Err(Invalid::parameter("comment", "not_allowed", message));
    }
    let stated = parameters.header.map(|header| header == HeaderParameter::Present);
    match (stated, header) {
        (Some(stated), Some(typed)) if stated != typed => {
            let message = "header contradicts the header of the media type";
            return Err(Invalid::parameter("header", "contradiction", message));
        }
        (stated, typed) => dialect.header = stated.or(typed).or(dialect.header),
    }
    let encoding = encoding(parameters, charset)?;
    if let Some(encoding) = encoding {
        dialect.encoding = (encoding != Encoding::Utf8).then_some(encoding);
    }
    dialect.except_own &= encoding.is_none() && parameters.quote.is_none();
    dialect.skip = parameters.skip.unwrap_or(dialect.skip);
    if let Some(null) = &parameters.null {
        dialect.null.clone_from(null);
    }
    Ok(dialect)
}

/// The encoding that the upload states.
fn encoding(parameters: &UploadParameters, charset: Option<Encoding>) -> Result<Option<Encoding>, Invalid> {
    let refused = |code, message| Err(Invalid::parameter("encoding", code, message));
    let Some(name) = parameters.encoding.as_deref() else { return Ok(charset) };
    match (Encoding::named(name), charset) {
        (None, _) => refused("not_allowed", "encoding must be utf-8, windows-1252, iso-8859-1 or utf-16"),
        (stated, Some(_)) if stated != charset => {
            refused("contradiction", "encoding contradicts the charset of the media type")
        }
        (stated, _) => Ok(stated),
    }
}

/// A character that means something to a reader of CSV: one byte, so that it is never a part of another character.
fn one_byte(name: &str, value: Option<&str>) -> Result<Option<u8>, Invalid> {
    match value.map(str::as_bytes) {
        None => Ok(None),
        Some(br"\t") => Ok(Some(b'\t')),
        Some([byte]) if byte.is_ascii() && !matches!(byte, b'\n' | b'\r' | 0) => Ok(Some(*byte)),
        Some(_) => {
            let message = format!("{name} must be one ASCII character, no line break");
            Err(Invalid::parameter(name, "not_allowed", message))
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::datasets::{Ident, airport, descriptor};

    /// A dataset that is declared with that dialect.
    fn declared(dialect: &Value) -> Dataset {
        let name = Ident::dataset("dogs").expect("a name");
        let schema = json!({"fields": [{"name": "breed", "type": "string"}]});
        let body = json!({"schema": schema, "dialect": dialect}).to_string();
        descriptor::stored(&name, &body).expect("no faults").compile(Some(1), 1)
    }

    fn text(text: &str) -> Option<String> {
        Some(text.to_owned())
    }

    fn other_than_standard() -> Dataset {
        declared(&json!({
            "delimiter": ";", "quote": "none", "escape": "\\", "comment": "#", "encoding": "windows-1252", "skip": 2,
            "header": true, "null": "NA",
        }))
    }

    #[test]
    fn a_file_of_which_nothing_is_said_is_as_its_dataset_says() {
        let read = dialect(&other_than_standard(), &UploadParameters::default(), None, None);
        let expected = Dialect {
            delimiter: b';',
            delimiter_stated: false,
            quote: None,
            escape: Some(b'\\'),
            comment: Some(b'#'),
            encoding: Some(Encoding::Windows1252),
            skip: 2,
            except_own: true,
            null: "NA".to_owned(),
            header: Some(true),
        };
        assert_eq!(read.ok(), Some(expected));
        let nothing = UploadParameters::default();
        let read = dialect(&declared(&json!({"encoding": "UTF-8", "skip": 0})), &nothing, None, None);
        assert_eq!(read.ok(), Some(Dialect::standard("")));
        assert_eq!(dialect(&airport::DATASET, &nothing, None, None).ok(), Some(Dialect::standard(r"\N")));
    }

    #[test]
    fn what_the_upload_says_comes_first() {
        let parameters = UploadParameters {
            delimiter: text("\\t"),
            quote: text("'"),
            escape: text("!"),
            comment: text("%"),
            encoding: text("UTF-8"),
            skip: Some(0),
            null: text(""),
            header: Some(HeaderParameter::Absent),
            ..UploadParameters::default()
        };
        let expected = Dialect {
            delimiter: b'\t',
            delimiter_stated: true,
            quote: Some(b'\''),
            escape: Some(b'!'),
            comment: Some(b'%'),
            header: Some(false),
            ..Dialect::standard("")
        };
        assert_eq!(dialect(&other_than_standard(), &parameters, None, None).ok(), Some(expected));
    }

    #[test]
    fn a_charset_comes_before_the_dataset_and_must_not_contradict() {
        let dataset = other_than_standard();
        let stated = |encoding: Option<&str>, charset| {
            let parameters =
                UploadParameters { encoding: encoding.map(ToOwned::to_owned), ..UploadParameters::default() };
            dialect(&dataset, &parameters, None, charset).ok().map(|read| (read.encoding, read.except_own))
        };
        assert_eq!(stated(None, Some(Encoding::Utf8)), Some((None, false)));
        assert_eq!(stated(None, Some(Encoding::Utf16)), Some((Some(Encoding::Utf16), false)));
        assert_eq!(stated(Some("utf-16"), Some(Encoding::Utf16)), Some((Some(Encoding::Utf16), false)));
        assert_eq!(stated(Some("utf-16"), Some(Encoding::Utf8)), None);
        assert_eq!(stated(Some("utf16"), None), None);
    }

    #[test]
    fn a_character_that_contradicts_what_the_dataset_says_is_refused() {
        let dataset = other_than_standard();
        for (parameters, is_read) in [
            (UploadParameters { delimiter: text("#"), ..UploadParameters::default() }, false),
            (UploadParameters { quote: text(";"), ..UploadParameters::default() }, false),
            (UploadParameters { quote: text("\\"), ..UploadParameters::default() }, false),
            (UploadParameters { comment: text("\\"), ..UploadParameters::default() }, false),
            (UploadParameters { comment: text("\""), ..UploadParameters::default() }, true),
            (
                UploadParameters { comment: text("\""), quote: text("\""), ..UploadParameters::default() },
                false,
            ),
        ] {
            assert_eq!(dialect(&dataset, &parameters, None, None).is_ok(), is_read);
        }
    }
}
