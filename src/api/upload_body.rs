//! The body of an upload: a multipart form with a field `file`, or the file itself. Never in memory as a whole.

use std::io;

use bytes::Bytes;
use futures_util::{StreamExt, stream::BoxStream};
use poem::{
    FromRequest, Request, RequestBody,
    http::header,
    web::{Field, Multipart},
};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef},
};
use tokio_util::io::ReaderStream;

use super::problem::{Invalid, Problem, UnsupportedMediaType, Violation};
use crate::ingest::receive::Packing;

/// The media types an upload may have.
pub(super) const MEDIA_TYPES: [&str; 3] = ["multipart/form-data", "text/csv", "application/zip"];

/// The content codings an upload may have.
pub(super) const CODINGS: &str = "gzip, identity";

/// Bytes read from a multipart field at once.
const FIELD_BYTES: usize = 64 * 1024;

/// An upload that has begun.
pub(super) struct UploadBody {
    /// What its media type and coding say it is.
    pub(super) packing: Packing,
    /// Whether the media type says that the CSV has a header (RFC 4180).
    pub(super) header: Option<bool>,
    /// The name that the form gives the file.
    pub(super) filename: Option<String>,
    /// The bytes.
    pub(super) bytes: BoxStream<'static, io::Result<Bytes>>,
}

impl<'a> ApiExtractor<'a> for UploadBody {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn request_meta() -> Option<MetaRequest> {
        let binary = || MetaSchemaRef::Inline(Box::new(MetaSchema::new_with_format("string", "binary")));
        let form = MetaSchema {
            required: vec!["file"],
            properties: vec![("file", binary())],
            ..MetaSchema::new("object")
        };
        let [multipart, csv, zip] = MEDIA_TYPES;
        Some(MetaRequest {
            description: Some(
                "The file: as the field `file` of a form, or by itself. A CSV, or a ZIP with one or more; either also gzip.",
            ),
            content: vec![
                MetaMediaType { content_type: multipart, schema: MetaSchemaRef::Inline(Box::new(form)) },
                MetaMediaType { content_type: csv, schema: binary() },
                MetaMediaType { content_type: zip, schema: binary() },
            ],
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
        let unread =
            || UnsupportedMediaType::new(format!("a body of type {content_type:?} is not read here"));
        let media_type: mime::Mime = content_type.parse().map_err(|_| unread())?;
        match media_type.essence_str() {
            "multipart/form-data" if gzipped => Err(UnsupportedMediaType::coding("gzip", "identity").into()),
            "multipart/form-data" => {
                let form = <Multipart as FromRequest>::from_request(request, body).await?;
                Self::of_form(form).await
            }
            "text/csv" => {
                let utf8 = media_type
                    .get_param(mime::CHARSET)
                    .is_none_or(|charset| charset == mime::UTF_8 || charset == "us-ascii");
                if !utf8 {
                    return Err(UnsupportedMediaType::new("only UTF-8 is read").into());
                }
                Self::of_body(body, Packing::Csv { gzipped }, header_parameter(&media_type)?)
            }
            "application/zip" => Self::of_body(body, Packing::Zip { gzipped }, None),
            _ => Err(unread().into()),
        }
    }
}

impl UploadBody {
    fn of_body(body: &mut RequestBody, packing: Packing, header: Option<bool>) -> poem::Result<Self> {
        let bytes = body.take()?.into_bytes_stream().boxed();
        Ok(Self { packing, header, filename: None, bytes })
    }

    /// The form's one field is the file. Another one after it is found when the file has been read.
    async fn of_form(mut form: Multipart) -> poem::Result<Self> {
        let field = match form.next_field().await {
            Ok(Some(field)) if field.name() == Some("file") => field,
            Ok(Some(field)) => return Err(unknown_field(&field).into()),
            Ok(None) => {
                let violation = Violation::at("/file", "required", "the form has no field named file");
                return Err(Invalid::because(vec![violation]).into());
            }
            Err(error) => return Err(Invalid::new(format!("the form cannot be read: {error}")).into()),
        };
        let filename = field.file_name().map(ToOwned::to_owned);
        let bytes = async_stream::stream! {
            let mut file = Box::pin(ReaderStream::with_capacity(field.into_async_read(), FIELD_BYTES));
            while let Some(bytes) = file.next().await {
                yield bytes;
            }
            drop(file);
            match form.next_field().await {
                Ok(None) => {}
                Ok(Some(field)) => yield Err(io::Error::other(Problem::from(unknown_field(&field)))),
                Err(error) => yield Err(io::Error::other(error)),
            }
        };
        Ok(Self { packing: Packing::Unstated, header: None, filename, bytes: bytes.boxed() })
    }
}

fn unknown_field(field: &Field) -> Invalid {
    let name = field.name().unwrap_or_default();
    let message = format!("{name:?} is no field of this form; it has one, file");
    Invalid::because(vec![Violation::at(super::body::pointer("", name), "unknown_field", message)])
}

fn is_gzipped(request: &Request) -> Result<bool, UnsupportedMediaType> {
    match request.header(header::CONTENT_ENCODING.as_str()).map(str::trim) {
        None => Ok(false),
        Some(coding) if coding.is_empty() || coding.eq_ignore_ascii_case("identity") => Ok(false),
        Some(coding) if coding.eq_ignore_ascii_case("gzip") || coding.eq_ignore_ascii_case("x-gzip") => {
            Ok(true)
        }
        Some(coding) => Err(UnsupportedMediaType::coding(coding, CODINGS)),
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
