//! What the `type` of a problem means.

use poem_openapi::{ApiResponse, Object, OpenApi, param::Path};

use super::{
    Tag,
    access::Anyone,
    body::Json,
    problem::{Kind, NotFound},
};
use crate::refusal;

/// See the module.
pub(super) struct Problems;

/// A type of problem
#[derive(Debug, Object)]
#[oai(example)]
struct ProblemType {
    /// As problems carry it.
    r#type: String,
    /// Its name.
    title: String,
    /// The status it is answered with.
    status: u16,
    /// What it means and what to do about it.
    explanation: String,
}

impl From<Kind> for ProblemType {
    fn from(kind: Kind) -> Self {
        Self {
            r#type: format!("/problems/{}", kind.slug()),
            title: kind.title().to_owned(),
            status: kind.status().as_u16(),
            explanation: kind.explanation().to_owned(),
        }
    }
}

impl poem_openapi::types::Example for ProblemType {
    fn example() -> Self {
        Kind::NotFound.into()
    }
}

#[derive(ApiResponse)]
enum Explained {
    /// The explanation
    #[oai(status = 200)]
    Explained(Json<ProblemType>),
}

refusal!(ExplainRefusal: NotFound);

#[OpenApi]
impl Problems {
    /// What a type of problem means
    #[oai(path = "/problems/:name", method = "get", operation_id = "get_problem_type", tag = Tag::Documentation)]
    async fn get_problem_type(
        &self,
        _caller: Anyone,
        /// The last part of a problem's `type`.
        name: Path<String>,
    ) -> Result<Explained, ExplainRefusal> {
        let kind = Kind::ALL.iter().copied().find(|kind| kind.slug() == name.0);
        let kind = kind.ok_or_else(|| NotFound::new("there is no such type of problem"))?;
        Ok(Explained::Explained(Json(kind.into())))
    }
}
