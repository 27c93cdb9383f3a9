//! `/datasets/{name}/imports`: files of a dataset, uploaded as those of airports are, and what became of them.

use std::sync::Arc;

use poem::http::Uri;
use poem_openapi::{
    ApiResponse, Enum, OpenApi,
    param::{Header, Path, Query},
};
use serde_json::json;

use super::{contract, views::SchemaView};
use crate::{
    api::{
        Context, Tag,
        access::{DescribesDataset, ReadsDataset, Target, WritesDataset},
        body::Json,
        contract::ImportContract,
        idempotency::{Idempotency, Replayable},
        imports::{
            ImportList,
            receive::{HeaderParameter, LoadParameters, UploadAnswer, UploadParameters, UploadRefusal},
            view::{ImportMode, ImportState},
        },
        page,
        problem::{Internal, Invalid, NotFound},
        upload_body::UploadBody,
    },
    datasets::{citizen, plan},
    db::imports::{self, Filter},
    refusal,
};

/// See the module.
pub(in crate::api) struct DatasetImports {
    /// What handlers work with.
    pub(in crate::api) context: Context,
}

/// How the rows of a file meet those that are stored
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
pub(in crate::api) enum LoadMode {
    /// New rows are inserted, known ones changed
    Upsert,
    /// A known row is rejected
    Insert,
    /// Rows are added
    Append,
    /// As upsert, and rows that are absent from the file are deleted
    Sync,
}

impl From<LoadMode> for plan::LoadMode {
    fn from(mode: LoadMode) -> Self {
        match mode {
            LoadMode::Upsert => Self::Upsert,
            LoadMode::Insert => Self::Insert,
            LoadMode::Append => Self::Append,
            LoadMode::Sync => Self::Sync,
        }
    }
}

/// What a null of a file does to a known row
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
pub(in crate::api) enum Blanks {
    /// It replaces the stored value
    Overwrite,
    /// The stored value stays
    Keep,
}

impl From<Blanks> for plan::Blanks {
    fn from(blanks: Blanks) -> Self {
        match blanks {
            Blanks::Overwrite => Self::Overwrite,
            Blanks::Keep => Self::Keep,
        }
    }
}

#[derive(ApiResponse)]
enum List {
    /// A page of imports
    #[oai(status = 200)]
    Imports(
        Json<ImportList>,
        /// Where the next page is; on the last page there is none
        #[oai(header = "Link")]
        Option<String>,
    ),
}

#[derive(ApiResponse)]
enum Contract {
    /// What a file must be like
    #[oai(status = 200)]
    Contract(Json<SchemaView>),
}

refusal!(
    /// Why imports are not listed.
    ListRefusal: NotFound, Invalid, Internal
);

refusal!(
    /// Why a file is not taken.
    DatasetUploadRefusal: NotFound, UploadRefusal
);

refusal!(
    /// Why there is no contract.
    ContractRefusal: NotFound
);

#[OpenApi(tag = "Tag::Datasets")]
impl DatasetImports {
    /// Upload a file of a dataset
    ///
    /// A CSV, or a ZIP with one or more. Good rows go in, the others are reported. The request ends when the bytes are safe: ask the import
    /// how it goes on, or wait a while for its end with `Prefer: wait=10`.
    #[oai(path = "/datasets/:name/imports", method = "post", operation_id = "upload_rows")]
    #[expect(clippy::too_many_arguments, reason = "each is a documented parameter of the operation")]
    async fn upload_rows(
        &self,
        _caller: WritesDataset,
        /// The dataset.
        name: Path<String>,
        /// How rows meet those that are stored; `upsert` where the dataset has a key, else `append`
        Query(load): Query<Option<LoadMode>>,
        /// What a null of the file does to a known row; `overwrite` unless given
        Query(blanks): Query<Option<Blanks>>,
        /// How many rows `load=sync` may delete: a number, or a share as `10%`, which it is unless given
        Query(max_deleted): Query<Option<String>>,
        /// The import whose rejects this file brings back
        Query(corrects): Query<Option<i64>>,
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
        /// A field that stands for null in every column, beside the missing values of each
        Query(null): Query<Option<String>>,
        /// Whether the first record names the columns; unless given, it does when two or more of its fields are names of columns
        Query(header): Query<Option<HeaderParameter>>,
        /// What the file is called, for people
        #[oai(validator(max_length = 255))]
        Query(filename): Query<Option<String>>,
        /// `wait=N` waits up to N seconds for the end; `handling=strict` or `handling=lenient`; `respond-async`
        #[oai(name = "Prefer")]
        Header(prefer): Header<Option<String>>,
        /// The trace the request belongs to (W3C Trace Context)
        #[oai(name = "traceparent")]
        Header(traceparent): Header<Option<String>>,
        /// The same key with the same request gets the first answer again
        #[oai(name = "Idempotency-Key")]
        key: Idempotency,
        target: Target,
        body: UploadBody,
    ) -> Result<Replayable<UploadAnswer>, DatasetUploadRefusal> {
        let dataset = target.existing(&name)?;
        let parameters = UploadParameters {
            loading: LoadParameters {
                load: load.map(Into::into),
                blanks: blanks.map(Into::into),
                max_deleted,
                corrects,
            },
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
        Ok(self.context.upload(dataset, parameters, key, body).await?)
    }

    /// List the imports of a dataset
    #[oai(path = "/datasets/:name/imports", method = "get", operation_id = "list_dataset_imports")]
    #[expect(clippy::too_many_arguments, reason = "each is a documented parameter of the operation")]
    async fn list_dataset_imports(
        &self,
        _caller: ReadsDataset,
        /// The dataset.
        name: Path<String>,
        /// Only those in this state.
        state: Query<Option<ImportState>>,
        /// Rows of a page.
        limit: Query<Option<u64>>,
        /// Where to go on, from the `Link` of the page before.
        cursor: Query<Option<String>>,
        target: Target,
        uri: &Uri,
    ) -> Result<List, ListRefusal> {
        let dataset = target.existing(&name)?;
        let limit = page::limit(limit.0, &self.context.config.server)?;
        let before = cursor.as_deref().map(|cursor| page::decode_number(cursor, 1)).transpose()?;
        let filter = Filter {
            dataset: Some(dataset.name.as_str().to_owned()),
            dataset_id: dataset.id,
            readable: None,
            state: state.0.map(Into::into),
            before,
        };
        let wanted = i64::try_from(limit.saturating_add(1)).unwrap_or(i64::MAX);
        let mut found = imports::list(&self.context.db, &filter, wanted).await?;
        let more = found.len() as u64 > limit;
        found.truncate(usize::try_from(limit).unwrap_or(usize::MAX));
        let next = found.last().filter(|_| more).map(|last| page::encode_cursor(&last.id));
        let link = next.transpose().map_err(Internal::because)?.map(|cursor| page::next_link(uri, &cursor));
        Ok(List::Imports(Json(ImportList { data: self.context.views(found).await? }), link))
    }

    /// The import contract of a dataset
    ///
    /// Its columns with their rules, how files may be written and loaded, and the limits.
    #[oai(path = "/datasets/:name/imports", method = "options", operation_id = "get_dataset_contract")]
    async fn get_dataset_contract(
        &self,
        _caller: DescribesDataset,
        /// The dataset.
        name: Path<String>,
        target: Target,
    ) -> Result<Contract, ContractRefusal> {
        use poem_openapi::types::ToJSON;
        let dataset = target.existing(&name)?;
        let others: &[&str] =
            if Arc::ptr_eq(&dataset, &citizen::DATASET) { &[crate::api::body::JSON] } else { &[] };
        let config = &self.context.config;
        let general = ImportContract::of(&dataset, others, &config.ingest).to_json().unwrap_or_default();
        if dataset.built_in().is_some() {
            return Ok(Contract::Contract(Json(SchemaView(general))));
        }
        let limits = &config.limits;
        let limits = json!({
            "datasets": limits.datasets,
            "declaration_bytes": limits.declaration_bytes,
            "dataset_fields": limits.dataset_fields,
            "enum_values": limits.enum_values,
            "indexes": limits.indexes,
            "filters": limits.filters,
            "sort_keys": limits.sort_keys,
            "page_rows": config.server.page_rows_max,
        });
        Ok(Contract::Contract(Json(SchemaView(contract::contract(&dataset, general, limits)))))
    }
}
