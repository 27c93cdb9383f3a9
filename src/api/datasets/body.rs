//! The body of a declaration: JSON, or a CSV file whose proposal is declared.

use bytes::Bytes;
use poem::{Request, RequestBody};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaMediaType, MetaRequest, MetaSchema, MetaSchemaRef, Registry},
};
use serde_json::json;

use super::views;
use crate::{
    api::{body::JsonItem, limits::Share, schema, upload_body::UploadBody},
    places::Place,
};

const CSV: &str = "text/csv";

/// What a dataset is declared by.
pub(in crate::api) enum DeclarationBody {
    /// A Data Resource or a Table Schema, and its place among the requests.
    Json(Bytes, Place),
    /// A file to be declared as it is proposed.
    Csv(Box<UploadBody>),
}

/// The schema of [`DeclarationBody::Json`]: descriptors have members of many kinds, and keep those that Tarmac does not know.
pub(in crate::api) struct DeclarationSchema;

schema::object!(DeclarationSchema, "Declaration", declaration_schema);

fn declaration_schema() -> MetaSchema {
    MetaSchema {
        description: Some(
            "A Data Resource with a Table Schema as `schema`, or a bare Table Schema: an object with `fields` (Frictionless Data)",
        ),
        additional_properties: Some(Box::new(MetaSchemaRef::Inline(Box::new(MetaSchema::ANY)))),
        example: Some(views::example()),
        ..MetaSchema::new("object")
    }
}

/// The body of `POST …/check`.
pub(in crate::api) struct CheckSchema;

schema::object!(CheckSchema, "CheckRows", check_schema);

fn check_schema() -> MetaSchema {
    let texts = || MetaSchema {
        items: Some(Box::new(MetaSchemaRef::Inline(Box::new(MetaSchema::new("string"))))),
        ..MetaSchema::new("array")
    };
    let rows = MetaSchema {
        items: Some(Box::new(MetaSchemaRef::Inline(Box::new(texts())))),
        max_items: Some(super::check::MAX_ROWS),
        ..MetaSchema::new("array")
    };
    MetaSchema {
        description: Some("Rows as a file has them: each an array of texts, in the order of `columns`"),
        properties: vec![
            ("columns", schema::property(texts(), "The columns by name, key or alias, as a header has them")),
            ("rows", schema::property(rows, "The rows")),
        ],
        required: vec!["columns", "rows"],
        example: Some(json!({ "columns": ["name", "born"], "rows": [["Tom", "01.02.2020"]] })),
        ..MetaSchema::new("object")
    }
}

impl<'a> ApiExtractor<'a> for DeclarationBody {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        <JsonItem<DeclarationSchema> as ApiExtractor>::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let mut meta = <JsonItem<DeclarationSchema> as ApiExtractor>::request_meta()?;
        let schema = MetaSchemaRef::Inline(Box::new(MetaSchema::new_with_format("string", "binary")));
        meta.content.push(MetaMediaType { content_type: CSV, schema });
        Some(meta)
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let media_type = request.content_type().and_then(|given| given.parse::<mime::Mime>().ok());
        if media_type.is_some_and(|media_type| media_type.essence_str() == CSV) {
            return Ok(Self::Csv(Box::new(UploadBody::from_request(request, body, options).await?)));
        }
        let place = Share::of(request)?.request()?;
        let json = <JsonItem<DeclarationSchema> as ApiExtractor>::from_request(request, body, options);
        Ok(Self::Json(json.await?.bytes, place))
    }
}
