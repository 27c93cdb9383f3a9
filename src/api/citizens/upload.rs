//! The body of `POST /imports`: citizens as JSON, stored in the request, or a file of them, imported like any other.

use poem::{Request, RequestBody};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaRequest, Registry},
};

use super::NewCitizens;
use crate::{
    api::{body::JsonBytes, limits::Share, upload_body::UploadBody},
    places::Place,
};

/// What citizens come in.
pub(in crate::api) enum CitizensBody {
    /// The contract's JSON, and its place among the requests.
    Json(JsonBytes<NewCitizens>, Place),
    /// A CSV or ZIP.
    File(Box<UploadBody>),
}

impl<'a> ApiExtractor<'a> for CitizensBody {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        <JsonBytes<NewCitizens> as ApiExtractor>::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        let mut meta = <JsonBytes<NewCitizens> as ApiExtractor>::request_meta()?;
        meta.content.extend(UploadBody::request_meta()?.content);
        Some(meta)
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let media_type = request.content_type().and_then(|given| given.parse::<mime::Mime>().ok());
        let essence = media_type.as_ref().map(mime::Mime::essence_str);
        if essence.is_some_and(|essence| super::super::upload_body::MEDIA_TYPES.contains(&essence)) {
            return Ok(Self::File(Box::new(UploadBody::from_request(request, body, options).await?)));
        }
        let place = Share::of(request)?.request()?;
        // Whatever else it is, the JSON reader says what is wrong with it.
        let json = <JsonBytes<NewCitizens> as ApiExtractor>::from_request(request, body, options);
        Ok(Self::Json(json.await?, place))
    }
}
