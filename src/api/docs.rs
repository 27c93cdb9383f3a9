//! The document and its pages.

use poem_openapi::{
    ApiResponse, OpenApi,
    payload::{Html, PlainText},
};
use serde_json::Value;

use super::{
    Context, Tag,
    access::Anyone,
    body::Json,
    document::{self, Served},
    problem::Internal,
};
use crate::refusal;

/// Pages are one file each: their scripts and styles are inside, and nothing is loaded from elsewhere.
const POLICY: &str = "default-src 'none'; script-src 'unsafe-inline' blob:; style-src 'unsafe-inline'; img-src 'self' data:; \
                      font-src data:; connect-src 'self'; worker-src blob:; frame-ancestors 'none'";

/// See the module.
pub(super) struct Docs {
    /// Whose document it is.
    pub(super) context: Context,
}

impl Docs {
    fn served(&self) -> &'static Served {
        document::served(self.context.config.auth.required)
    }
}

#[derive(ApiResponse)]
enum Page {
    /// The page
    #[oai(status = 200)]
    Page(Html<&'static str>, #[oai(header = "Content-Security-Policy")] String),
}

#[derive(ApiResponse)]
enum JsonDocument {
    /// The document
    #[oai(status = 200)]
    Document(Json<Value>),
}

#[derive(ApiResponse)]
enum YamlDocument {
    /// The document
    #[oai(status = 200, content_type = "application/yaml")]
    Document(PlainText<String>),
}

refusal!(YamlRefusal: Internal);

#[OpenApi]
impl Docs {
    /// Swagger UI
    #[oai(path = "/", method = "get", operation_id = "show_start_page", tag = Tag::Documentation)]
    async fn show_start_page(&self, _caller: Anyone) -> Page {
        Page::Page(Html(&self.served().swagger_ui), POLICY.to_owned())
    }

    /// Swagger UI
    #[oai(path = "/docs", method = "get", operation_id = "show_swagger_ui", tag = Tag::Documentation)]
    async fn show_swagger_ui(&self, _caller: Anyone) -> Page {
        Page::Page(Html(&self.served().swagger_ui), POLICY.to_owned())
    }

    /// Redoc
    #[oai(path = "/redoc", method = "get", operation_id = "show_redoc", tag = Tag::Documentation)]
    async fn show_redoc(&self, _caller: Anyone) -> Page {
        Page::Page(Html(&self.served().redoc), POLICY.to_owned())
    }

    /// This document as JSON
    #[oai(path = "/openapi.json", method = "get", operation_id = "get_openapi_json", tag = Tag::Documentation)]
    async fn get_openapi_json(&self, _caller: Anyone) -> JsonDocument {
        JsonDocument::Document(Json(self.served().json.clone()))
    }

    /// This document as YAML
    #[oai(path = "/openapi.yaml", method = "get", operation_id = "get_openapi_yaml", tag = Tag::Documentation)]
    async fn get_openapi_yaml(&self, _caller: Anyone) -> Result<YamlDocument, YamlRefusal> {
        let yaml = serde_yaml::to_string(&self.served().json).map_err(Internal::because)?;
        Ok(YamlDocument::Document(PlainText(yaml)))
    }
}
