//! The body of an upload: a multipart form with a field `file`, or the file itself. Never in memory as a whole.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use bytes::Bytes;
use futures_util::{Stream, StreamExt, stream::BoxStream};
use poem::{
    Body, FromRequest, Request, RequestBody,
    web::{Field, Multipart},
};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef},
};
use tokio_util::io::ReaderStream;

use super::{
    body::is_utf8,
    field_lines,
    limits::Share,
    problem::{Invalid, Problem, UnsupportedMediaType, Violation},
};
use crate::{datasets::Encoding, ingest::receive::Packing, places::Place, text::cut};

const FORM: &str = "multipart/form-data";
const CSV: &str = "text/csv";
const ZIP: &str = "application/zip";
/// A ZIP, as browsers on Windows name it.
const WINDOWS_ZIP: &str = "application/x-zip-compressed";
/// A CSV, as browsers on Windows name it where Excel is installed. The bytes decide what it is.
const EXCEL: &str = "application/vnd.ms-excel";
/// A file of an unstated type. The bytes decide what it is.
const BYTES: &str = "application/octet-stream";

/// The media types an upload may have.
pub(super) const MEDIA_TYPES: [&str; 6] = [FORM, CSV, ZIP, WINDOWS_ZIP, EXCEL, BYTES];

/// The content codings an upload may have.
pub(super) const CODINGS: &str = "gzip, identity";

/// Most bytes of a form around its file.
const AROUND_BYTES: usize = 64 * 1024;

/// Bytes read from a multipart field at once.
const FIELD_BYTES: usize = 64 * 1024;

/// An upload that has begun.
pub(super) struct UploadBody {
    /// What its media type and coding say it is.
    pub(super) packing: Packing,
    /// Whether the media type says that the CSV has a header (RFC 4180).
    pub(super) header: Option<bool>,
    /// How the media type says that the text of a CSV is encoded.
    pub(super) charset: Option<Encoding>,
    /// The name that the form gives the file.
    pub(super) filename: Option<String>,
    /// The bytes.
    pub(super) bytes: BoxStream<'static, io::Result<Bytes>>,
    /// Its place among the uploads that are received.
    pub(super) place: Place,
    /// What its client may have besides.
    pub(super) share: Share,
}

impl<'a> ApiExtractor<'a> for UploadBody {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn request_meta() -> Option<MetaRequest> {
        let binary = || MetaSchemaRef::Inline(Box::new(MetaSchema::new_with_format("string", "binary")));
        let form = || {
            MetaSchemaRef::Inline(Box::new(MetaSchema {
                required: vec!["file"],
                properties: vec![("file", binary())],
                ..MetaSchema::new("object")
            }))
        };
        let content = MEDIA_TYPES.map(|content_type| {
            let schema = if content_type == FORM { form() } else { binary() };
            MetaMediaType { content_type, schema }
        });
        Some(MetaRequest {
            description: Some(
                "The file: as the field `file` of a form, or by itself. A CSV, or a ZIP with one or more; either also gzip.",
            ),
            content: content.into(),
            required: true,
        })
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let gzipped = is_gzipped(request)?;
        let Some(content_type) = request.content_type() else {
            return Err(UnsupportedMediaType::new("the body comes without a Content-Type").into());
        };
        let unread = || UnsupportedMediaType::media_type(content_type);
        let media_type: mime::Mime = content_type.parse().map_err(|_| unread())?;
        let share = || -> Result<(Place, Share), Problem> {
            let share = Share::of(request)?;
            Ok((share.upload()?, share))
        };
        match media_type.essence_str() {
            FORM if gzipped => Err(UnsupportedMediaType::coding("gzip", "identity").into()),
            FORM => Self::of_form(request, body, share()?).await,
            CSV | EXCEL => {
                let charset = charset(&media_type)?;
                let is_stated = media_type.essence_str() == CSV || gzipped;
                let packing = if is_stated { Packing::Csv { gzipped } } else { Packing::Unstated };
                let header = header_parameter(&media_type)?;
                Ok(Self { charset, ..Self::of_body(body, packing, header, share()?)? })
            }
            ZIP | WINDOWS_ZIP => Self::of_body(body, Packing::Zip { gzipped }, None, share()?),
            // The stated coding must be there; the file inside is read as CSV.
            BYTES if gzipped => Self::of_body(body, Packing::Csv { gzipped }, None, share()?),
            BYTES => Self::of_body(body, Packing::Unstated, None, share()?),
            _ => Err(unread().into()),
        }
    }
}

impl UploadBody {
    fn of_body(
        body: &mut RequestBody,
        packing: Packing,
        header: Option<bool>,
        (place, share): (Place, Share),
    ) -> poem::Result<Self> {
        let bytes = body.take()?.into_bytes_stream().boxed();
        Ok(Self { packing, header, charset: None, filename: None, bytes, place, share })
    }

    /// The form's one field is the file. Another one after it is found when the file has been read.
    async fn of_form(
        request: &Request,
        body: &mut RequestBody,
        (place, share): (Place, Share),
    ) -> poem::Result<Self> {
        let mut rest = Rest(Arc::new(Mutex::new(body.take()?.into_bytes_stream().boxed())));
        let reading = Reading::default();
        let mut body = RequestBody::new(Body::from_bytes_stream(bounded(rest.clone(), reading.clone())));
        let form = <Multipart as FromRequest>::from_request(request, &mut body).await;
        let mut form = form.map_err(|_| Invalid::new("the Content-Type of a form needs its boundary"))?;
        let field = match form.next_field().await {
            Ok(Some(field)) if field.name() == Some("file") => field,
            Ok(Some(field)) => return Err(unknown_field(&field).into()),
            Ok(None) => {
                let violation = Violation::at("/file", "required", "the form has no field named file");
                return Err(Invalid::because(vec![violation]).into());
            }
            Err(_) => return Err(reading.fault().into()),
        };
        let filename = field.file_name().map(|name| cut(name).into_owned());
        reading.in_file.store(true, Ordering::Relaxed);
        let bytes = async_stream::stream! {
            let mut file = Box::pin(ReaderStream::with_capacity(field.into_async_read(), FIELD_BYTES));
            while let Some(bytes) = file.next().await {
                yield bytes;
            }
            drop(file);
            reading.in_file.store(false, Ordering::Relaxed);
            match form.next_field().await {
                // Bytes after the form belong to the body, and so to its digest.
                Ok(None) => {
                    let mut after = 0;
                    while let Some(bytes) = rest.next().await {
                        match bytes {
                            Ok(bytes) => after += bytes.len(),
                            Err(error) => {
                                yield Err(error);
                                return;
                            }
                        }
                        if after > AROUND_BYTES {
                            reading.is_endless.store(true, Ordering::Relaxed);
                            yield Err(io::Error::other(Problem::from(reading.fault())));
                            return;
                        }
                    }
                }
                Ok(Some(field)) => yield Err(io::Error::other(Problem::from(unknown_field(&field)))),
                Err(_) => yield Err(io::Error::other(Problem::from(reading.fault()))),
            }
        };
        let packing = Packing::Unstated;
        Ok(Self { packing, header: None, charset: None, filename, bytes: bytes.boxed(), place, share })
    }
}

/// How far the reading of a form has come.
#[derive(Debug, Clone, Default)]
struct Reading {
    /// What is read belongs to the file.
    in_file: Arc<AtomicBool>,
    /// Too much does not.
    is_endless: Arc<AtomicBool>,
}

impl Reading {
    /// Why the form cannot be read.
    fn fault(&self) -> Invalid {
        if self.is_endless.load(Ordering::Relaxed) {
            return Invalid::new(format!("more than {AROUND_BYTES} bytes of the form belong to no field"));
        }
        Invalid::new("the form cannot be read: it ends early, or is malformed")
    }
}

/// The body of a form. Its reader keeps in memory what does not belong to a field, and all that is there before it looks at any of it:
/// it gets one piece at a time, and not too much around the file.
fn bounded(
    body: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    reading: Reading,
) -> impl Stream<Item = io::Result<Bytes>> + Send + 'static {
    async_stream::stream! {
        let mut body = std::pin::pin!(body);
        let mut around = 0;
        while let Some(piece) = body.next().await {
            if reading.in_file.load(Ordering::Relaxed) {
                around = 0;
            } else if around > AROUND_BYTES {
                reading.is_endless.store(true, Ordering::Relaxed);
                yield Err(io::Error::other("too much belongs to no field"));
                return;
            }
            around += piece.as_ref().map_or(0, Bytes::len);
            yield piece;
            tokio::task::yield_now().await;
        }
    }
}

/// A body that a form reads first, and that is then read to its end.
#[derive(Clone)]
struct Rest(Arc<Mutex<BoxStream<'static, io::Result<Bytes>>>>);

impl Stream for Rest {
    type Item = io::Result<Bytes>;

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).poll_next_unpin(context)
    }
}

fn unknown_field(field: &Field) -> Invalid {
    let name = field.name().unwrap_or_default();
    Invalid::because([super::body::unknown_field(name, "is not a field of this form; it has one, file")])
}

fn is_gzipped(request: &Request) -> Result<bool, UnsupportedMediaType> {
    match field_lines::codings(request.headers()).as_slice() {
        [] => Ok(false),
        [coding] if ["gzip", "x-gzip"].iter().any(|gzip| coding.eq_ignore_ascii_case(gzip)) => Ok(true),
        codings => Err(UnsupportedMediaType::coding(&codings.join(", "), CODINGS)),
    }
}

/// What the charset of a CSV says of its encoding. ASCII is the same in most of them.
fn charset(media_type: &mime::Mime) -> Result<Option<Encoding>, UnsupportedMediaType> {
    let Some(charset) = media_type.get_param(mime::CHARSET) else { return Ok(None) };
    if is_utf8(media_type) {
        return Ok(Some(Encoding::Utf8));
    }
    match Encoding::named(charset.as_str()) {
        None if charset == "us-ascii" => Ok(None),
        None => {
            let known = Encoding::ALL.map(Encoding::as_str).join(", ");
            Err(UnsupportedMediaType::new(format!("of charsets there are {known}")))
        }
        encoding => Ok(encoding),
    }
}

/// RFC 4180, section 3.
fn header_parameter(media_type: &mime::Mime) -> Result<Option<bool>, Invalid> {
    match media_type.get_param("header").map(|value| value.as_str()) {
        None => Ok(None),
        Some("present") => Ok(Some(true)),
        Some("absent") => Ok(Some(false)),
        Some(_) => Err(Invalid::parameter(
            "Content-Type",
            "not_allowed",
            "the media type's header must be present or absent",
        )),
    }
}
