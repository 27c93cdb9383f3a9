//! `/datasets/{name}/check`: rows as a file has them, checked by what loads files. Stores nothing.

use std::sync::Arc;

use poem_openapi::{ApiResponse, OpenApi, param::Path, registry::MetaSchema, types::ToJSON};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::body::CheckSchema;
use crate::{
    api::{
        Context, Tag,
        access::{DescribesDataset, Target},
        body::{self, JsonItem},
        problem::{Internal, Invalid, NotFound, Violation},
        schema,
    },
    ingest::load::{CheckError, RowFault, check_rows},
    refusal,
};

/// Most rows of a request.
pub(super) const MAX_ROWS: usize = 1_000;

/// See the module.
pub(in crate::api) struct DatasetCheck {
    /// What handlers work with.
    pub(in crate::api) context: Context,
}

#[derive(ApiResponse)]
enum Checked {
    /// For each row whether it could be loaded, or what is wrong with it
    #[oai(status = 200)]
    Checked(body::Json<Verdicts>),
}

refusal!(
    /// Why rows are not checked.
    CheckRefusal: NotFound, Invalid, Internal
);

/// The body, which has no other members.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Rows {
    columns: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// For each row its faults.
struct Verdicts(Vec<Vec<RowFault>>);

schema::object!(Verdicts, "Verdicts", verdicts_schema);

fn verdicts_schema() -> MetaSchema {
    MetaSchema {
        description: Some(
            "For each row `ok`, and the faults of one that is not: `column`, `code` and `message`",
        ),
        example: Some(json!({
            "data": [
                { "ok": true, "faults": [] },
                { "ok": false, "faults": [{ "column": "born", "code": "not_a_date", "message": "born must be a date" }] },
            ],
        })),
        ..MetaSchema::new("object")
    }
}

impl ToJSON for Verdicts {
    fn to_json(&self) -> Option<Json> {
        let verdict = |faults: &Vec<RowFault>| {
            let listed: Vec<_> = faults
                .iter()
                .map(|fault| json!({ "column": fault.column, "code": fault.code, "message": fault.message }))
                .collect();
            json!({ "ok": faults.is_empty(), "faults": listed })
        };
        Some(json!({ "data": self.0.iter().map(verdict).collect::<Vec<_>>() }))
    }
}

#[OpenApi(tag = "Tag::Datasets")]
impl DatasetCheck {
    /// Check rows
    ///
    /// Up to 1,000 rows as arrays of texts, checked by what loads files of the dataset. Nothing is stored, and no import is made. What only the
    /// stored rows can say, as whether a key is known, is not looked at.
    #[oai(path = "/datasets/:name/check", method = "post", operation_id = "check_rows")]
    async fn check_rows(
        &self,
        _caller: DescribesDataset,
        /// The dataset.
        name: Path<String>,
        target: Target,
        body: JsonItem<CheckSchema>,
    ) -> Result<Checked, CheckRefusal> {
        let dataset = target.existing(&name)?;
        let rows = serde_json::from_slice::<Rows>(crate::datasets::json::without_bom(&body.bytes));
        let Rows { columns, rows } =
            rows.map_err(|error| Invalid::because([Violation::at("", "malformed_json", error.to_string())]))?;
        if rows.len() > MAX_ROWS {
            let message = format!("a request may have {MAX_ROWS} rows, this one has {}", rows.len());
            return Err(Invalid::because([Violation::at("/rows", "too_many_rows", message)]).into());
        }
        let now = self.context.clock.now();
        let work =
            tokio::task::spawn_blocking(move || check_rows(Arc::clone(&dataset), &columns, &rows, now));
        let checked = work.await.map_err(Internal::because)?;
        let checked = checked.map_err(|CheckError { code, message }| {
            Invalid::because([Violation::at("/columns", code, message)])
        })?;
        Ok(Checked::Checked(body::Json(Verdicts(checked))))
    }
}
