//! `/datasets` and `/datasets/{name}`: the list, and one dataset with what is said of it.

use std::sync::Arc;

use poem_openapi::{
    ApiResponse, OpenApi,
    param::{Header, Path, Query},
};

use super::{
    body::DeclarationBody,
    declare::{CatalogRefusal, invalid, refused},
    document,
    infer::InferRefusal,
    views::{DatasetList, DatasetView, DescriptorView, PlanView, SchemaView},
};
use crate::{
    api::{
        Context, Tag,
        access::{Caller, DeclaresDataset, DescribesDataset, OptionalCaller, SignedIn, Target},
        body::Json,
        negotiate::Accepted,
        precondition::{IfMatch, etag, has_version},
        problem::{Internal, Invalid, NotFound, PreconditionFailed, PreconditionRequired, Unavailable},
    },
    auth::scopes::{self, Access, Action},
    catalog::Catalog,
    datasets::{
        BUILT_IN, Dataset, Ident, change,
        descriptor::{self, Descriptor, Reference},
    },
    db::catalog::{self, CatalogError, Declared},
    refusal,
};

const JSON_SCHEMA: &str = "application/schema+json";

/// See the module.
pub(in crate::api) struct Datasets {
    /// What handlers work with.
    pub(in crate::api) context: Context,
}

#[derive(ApiResponse)]
enum List {
    /// The datasets that the key may see
    #[oai(status = 200)]
    Datasets(Json<DatasetList>),
}

#[derive(ApiResponse)]
enum Described {
    /// The descriptor
    #[oai(status = 200)]
    Dataset(
        Json<DescriptorView>,
        /// Its version
        #[oai(header = "ETag")]
        String,
    ),
    /// The client has this version already
    #[oai(status = 304)]
    NotModified(
        /// Its version
        #[oai(header = "ETag")]
        String,
    ),
}

#[derive(ApiResponse)]
enum Put {
    /// It is changed, or was declared so already
    #[oai(status = 200)]
    Changed(
        Json<DescriptorView>,
        /// Its version
        #[oai(header = "ETag")]
        String,
    ),
    /// It is declared
    #[oai(status = 201)]
    Created(
        Json<DescriptorView>,
        /// Its version
        #[oai(header = "ETag")]
        String,
        /// The dataset
        #[oai(header = "Location")]
        String,
    ),
}

#[derive(ApiResponse)]
enum Gone {
    /// It is hidden or, with `purge`, gone
    #[oai(status = 204)]
    Gone,
}

#[derive(ApiResponse)]
enum Restored {
    /// It is there again
    #[oai(status = 200)]
    Dataset(
        Json<DescriptorView>,
        /// Its version
        #[oai(header = "ETag")]
        String,
    ),
}

#[derive(ApiResponse)]
enum Planned {
    /// What a PUT of this body would do
    #[oai(status = 200)]
    Plan(Json<PlanView>),
}

#[derive(ApiResponse)]
enum SchemaAnswer {
    /// The Table Schema
    #[oai(status = 200)]
    Table(Json<SchemaView>),
    /// A JSON Schema of a row
    #[oai(status = 200, content_type = "application/schema+json")]
    Row(Json<SchemaView>),
}

#[derive(ApiResponse)]
enum DocumentAnswer {
    /// The document
    #[oai(status = 200)]
    Document(
        Json<SchemaView>,
        /// The dataset's version
        #[oai(header = "ETag")]
        String,
    ),
    /// The client has this version already
    #[oai(status = 304)]
    NotModified(
        /// The dataset's version
        #[oai(header = "ETag")]
        String,
    ),
}

refusal!(
    /// Why a dataset is not shown.
    ReadRefusal: NotFound, Internal
);

refusal!(
    /// Why datasets are not listed.
    ListRefusal
);

refusal!(
    /// Why a declaration is refused.
    PutRefusal: CatalogRefusal, Invalid, PreconditionFailed, PreconditionRequired, InferRefusal
);

refusal!(
    /// Why a dataset is not deleted.
    DeleteRefusal: CatalogRefusal, PreconditionFailed, PreconditionRequired, Unavailable
);

impl From<CatalogError> for PutRefusal {
    fn from(error: CatalogError) -> Self {
        CatalogRefusal::from(error).into()
    }
}

impl From<CatalogError> for DeleteRefusal {
    fn from(error: CatalogError) -> Self {
        CatalogRefusal::from(error).into()
    }
}

impl Target {
    /// The dataset, where the operation needs one.
    pub(in crate::api) fn existing(self, name: &str) -> Result<Arc<Dataset>, NotFound> {
        self.0.ok_or_else(|| NotFound::new(format!("there is no dataset {:?}", crate::text::cut(name))))
    }
}

#[OpenApi(tag = "Tag::Datasets")]
impl Datasets {
    /// List datasets
    ///
    /// Those that the key may see, the built-in ones too.
    #[oai(path = "/datasets", method = "get", operation_id = "list_datasets")]
    async fn list_datasets(&self, _caller: SignedIn, caller: OptionalCaller) -> Result<List, ListRefusal> {
        let grants = caller.0.as_ref().map(Caller::grants);
        let may_see = |name: &str, is_private: bool| {
            grants.as_ref().is_none_or(|grants| {
                scopes::access(grants, Action::Describe, name, is_private) == Access::Yes
            })
        };
        let mut data = Vec::new();
        let mut connection = self.context.db.acquire().await?;
        for dataset in BUILT_IN.iter().filter(|dataset| may_see(dataset.name.as_str(), false)) {
            let rows = catalog::rows_estimate(&mut connection, dataset).await?;
            data.push(DatasetView::built_in(dataset, rows));
        }
        let declared = catalog::list(&mut connection).await?;
        let declared = declared.into_iter().filter(|listed| may_see(&listed.name, listed.private));
        data.extend(declared.map(DatasetView::declared));
        Ok(List::Datasets(Json(DatasetList { data })))
    }

    /// Read a dataset
    ///
    /// Its descriptor as it was declared, with defaults filled in, its version and links.
    #[oai(path = "/datasets/:name", method = "get", operation_id = "get_dataset")]
    async fn get_dataset(
        &self,
        _caller: DescribesDataset,
        /// The dataset.
        name: Path<String>,
        /// Versions the client has: answered 304 when one of them is the present one.
        #[oai(name = "If-None-Match")]
        if_none_match: Header<Option<String>>,
        target: Target,
    ) -> Result<Described, ReadRefusal> {
        let dataset = target.existing(&name)?;
        let version = i64::from(dataset.version);
        if has_version(if_none_match.as_deref(), version) {
            return Ok(Described::NotModified(etag(version)));
        }
        Ok(Described::Dataset(Json(DescriptorView::of(&dataset)), etag(version)))
    }

    /// Declare or change a dataset
    ///
    /// The body is a Data Resource with a Table Schema, a bare Table Schema, or a CSV file: then what
    /// [`POST /schemas/infer`](#operation/infer_schema) proposes of it is declared, and its rows are not imported. The same declaration
    /// again changes nothing. A change needs `If-Match`; [`POST …/plan`](#operation/plan_dataset) says before what it would do.
    #[oai(path = "/datasets/:name", method = "put", operation_id = "put_dataset")]
    #[expect(clippy::too_many_arguments, reason = "each is a part of the request")]
    async fn put_dataset(
        &self,
        _caller: DeclaresDataset,
        /// The dataset: `^[a-z][a-z0-9_]{0,39}$` without `__`.
        name: Path<String>,
        /// Fields that the declaration lacks go, with their values.
        #[oai(default)]
        Query(drop): Query<bool>,
        /// The version that the change starts from, else 412.
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
        caller: OptionalCaller,
        target: Target,
        body: DeclarationBody,
    ) -> Result<Put, PutRefusal> {
        let new = self.read(&name, body).await?;
        let catalog = Catalog::new(self.context.db.clone());
        let Some(old) = target.0 else {
            if if_match.0.is_some() {
                return Err(PreconditionFailed::new("there is no such dataset yet").into());
            }
            self.check_references(&caller, &new, &[]).await?;
            let declared = catalog.declare(&new, self.context.config.limits.datasets).await;
            return match declared {
                Ok(Declared::Created { .. }) => self.created(&name).await,
                Ok(Declared::Same { .. }) => self.changed(&name).await,
                Err(error) => Err(error.into()),
            };
        };
        if old.built_in().is_some() {
            return Err(CatalogError::NameTaken.into());
        }
        let before = descriptor::stored(&old.name, &old.descriptor.to_string()).map_err(invalid)?;
        if before == new {
            return self.changed(&name).await;
        }
        let Some(header) = if_match.0 else {
            let message =
                format!("to change a dataset, send its version as If-Match: {}", etag(old.version.into()));
            return Err(PreconditionRequired::new(message).into());
        };
        IfMatch::new(Some(header)).check(old.version.into())?;
        self.check_references(&caller, &new, before.references()).await?;
        let plan = change::plan(&before, &new, drop);
        if let Some(conflict) = refused(&plan) {
            return Err(CatalogRefusal::from(conflict).into());
        }
        catalog.change(&old, &plan, &new).await?;
        self.changed(&name).await
    }

    /// Plan a change of a dataset
    ///
    /// What a PUT of this body would do, change by change, and which stored rows stand against it. Stores nothing.
    #[oai(path = "/datasets/:name/plan", method = "post", operation_id = "plan_dataset")]
    async fn plan_dataset(
        &self,
        _caller: DeclaresDataset,
        /// The dataset.
        name: Path<String>,
        /// Fields that the declaration lacks go, with their values.
        #[oai(default)]
        Query(drop): Query<bool>,
        caller: OptionalCaller,
        target: Target,
        body: DeclarationBody,
    ) -> Result<Planned, PutRefusal> {
        let old = target.existing(&name).map_err(CatalogRefusal::from)?;
        if old.built_in().is_some() {
            return Err(CatalogError::NameTaken.into());
        }
        let new = self.read(&name, body).await?;
        let before = descriptor::stored(&old.name, &old.descriptor.to_string()).map_err(invalid)?;
        self.check_references(&caller, &new, before.references()).await?;
        let plan = change::plan(&before, &new, drop);
        let offenders = if plan.class == change::Class::Checked {
            Catalog::new(self.context.db.clone()).offenders(&old, &plan, &new).await?
        } else {
            Vec::new()
        };
        Ok(Planned::Plan(Json(PlanView::new(plan, &new, &offenders))))
    }

    /// Delete a dataset
    ///
    /// It is hidden, with its rows, and can be restored. With `purge`, which needs the scope `admin` and `If-Match`, it is gone for good.
    #[oai(path = "/datasets/:name", method = "delete", operation_id = "delete_dataset")]
    async fn delete_dataset(
        &self,
        _caller: DeclaresDataset,
        /// The dataset.
        name: Path<String>,
        /// Remove table and catalogue entry, of a hidden dataset too.
        #[oai(default)]
        Query(purge): Query<bool>,
        /// The version that may be deleted, else 412.
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
        target: Target,
    ) -> Result<Gone, DeleteRefusal> {
        if target.0.as_ref().is_some_and(|dataset| dataset.built_in().is_some()) {
            return Err(CatalogError::NameTaken.into());
        }
        let mut connection = self.context.db.acquire().await?;
        let entry = catalog::find(&mut connection, &name).await?;
        drop(connection);
        let entry = entry.filter(|entry| purge || !entry.hidden).ok_or(CatalogError::Absent)?;
        let expected = IfMatch::new(if_match.0.clone());
        if !purge {
            expected.check(entry.version.into())?;
            let version = if_match.0.is_some().then_some(entry.version);
            catalog::hide(&self.context.db, &name, version).await?;
            return Ok(Gone::Gone);
        }
        if if_match.0.is_none() {
            let message =
                format!("to purge a dataset, send its version as If-Match: {}", etag(entry.version.into()));
            return Err(PreconditionRequired::new(message).into());
        }
        expected.check(entry.version.into())?;
        catalog::purge(&self.context.db, &name, entry.version).await?;
        Ok(Gone::Gone)
    }

    /// Restore a hidden dataset
    ///
    /// One that is not hidden stays as it is.
    #[oai(path = "/datasets/:name/restore", method = "post", operation_id = "restore_dataset")]
    async fn restore_dataset(
        &self,
        _caller: DeclaresDataset,
        /// The dataset.
        name: Path<String>,
    ) -> Result<Restored, DeleteRefusal> {
        catalog::restore(&self.context.db, &name).await?;
        let dataset = self.current(&name).await?;
        let version = etag(dataset.version.into());
        Ok(Restored::Dataset(Json(DescriptorView::of(&dataset)), version))
    }

    /// Read the columns of a dataset
    ///
    /// As a bare Table Schema; as `application/schema+json` a JSON Schema of a row.
    #[oai(path = "/datasets/:name/schema", method = "get", operation_id = "get_dataset_schema")]
    async fn get_dataset_schema(
        &self,
        _caller: DescribesDataset,
        /// The dataset.
        name: Path<String>,
        target: Target,
        accepted: Accepted,
    ) -> Result<SchemaAnswer, ReadRefusal> {
        let dataset = target.existing(&name)?;
        Ok(match accepted.0 {
            JSON_SCHEMA => SchemaAnswer::Row(Json(SchemaView(descriptor::json_schema(&dataset)))),
            _ => SchemaAnswer::Table(Json(SchemaView(descriptor::table_schema_of(&dataset)))),
        })
    }

    /// The OpenAPI document of a dataset
    ///
    /// With its columns as they are: what clients can be generated from.
    #[oai(path = "/datasets/:name/openapi.json", method = "get", operation_id = "get_dataset_document")]
    async fn get_dataset_document(
        &self,
        _caller: DescribesDataset,
        /// The dataset.
        name: Path<String>,
        /// Versions the client has: answered 304 when one of them is the present one.
        #[oai(name = "If-None-Match")]
        if_none_match: Header<Option<String>>,
        caller: OptionalCaller,
        target: Target,
    ) -> Result<DocumentAnswer, ReadRefusal> {
        let dataset = target.existing(&name)?;
        let version = i64::from(dataset.version);
        if has_version(if_none_match.as_deref(), version) {
            return Ok(DocumentAnswer::NotModified(etag(version)));
        }
        let grants = caller.0.as_ref().map(Caller::grants);
        let catalog = Catalog::new(self.context.db.clone());
        let mut referenced = Vec::new();
        for key in &dataset.schema.foreign_keys {
            let Some(target) = &key.dataset else { continue };
            let Some(target) = catalog.by_name(target).await? else { continue };
            let may_see = grants.as_ref().is_none_or(|grants| {
                scopes::access(grants, Action::Read, target.name.as_str(), target.private) == Access::Yes
            });
            if may_see {
                referenced.push(target);
            }
        }
        let base = crate::api::document::served(self.context.config.auth.required);
        let work = tokio::task::spawn_blocking(move || document::document(&base.json, &dataset, &referenced));
        let document = work.await.map_err(Internal::because)?;
        Ok(DocumentAnswer::Document(Json(SchemaView(document)), etag(version)))
    }

    /// Checks the references to other datasets that are not among those `before`. To a key that may not see a dataset there is none.
    async fn check_references(
        &self,
        caller: &OptionalCaller,
        new: &Descriptor,
        before: &[Reference],
    ) -> Result<(), PutRefusal> {
        let grants = caller.0.as_ref().map(Caller::grants);
        let catalog = Catalog::new(self.context.db.clone());
        let is_old = |reference: &Reference| {
            let same =
                |other: &&Reference| other.dataset == reference.dataset && other.fields == reference.fields;
            before.iter().any(|other| same(&other) && other.columns == reference.columns)
        };
        let mut faults = Vec::new();
        for reference in new.references().iter().filter(|reference| !is_old(reference)) {
            let Some(name) = reference.dataset.as_deref() else { continue };
            let target = catalog.by_name(name).await?.filter(|target| {
                let may_see = grants.as_ref().is_none_or(|grants| {
                    scopes::access(grants, Action::Describe, name, target.private) == Access::Yes
                });
                target.built_in().is_none() && may_see
            });
            faults.extend(reference.check(new.columns(), target.as_deref()));
        }
        if faults.is_empty() { Ok(()) } else { Err(invalid(faults).into()) }
    }

    async fn read(&self, name: &str, body: DeclarationBody) -> Result<Descriptor, PutRefusal> {
        let Some(ident) = Ident::dataset(name) else {
            let message = "name must begin with a small letter and have at most 40 small letters, digits and _, but no __";
            return Err(Invalid::parameter("name", "pattern", message).into());
        };
        let (declaration, _place) = match body {
            DeclarationBody::Json(bytes, place) => (bytes, Some(place)),
            DeclarationBody::Csv(file) => (super::infer::declaration(&self.context, *file).await?, None),
        };
        let limits = &self.context.config.limits;
        let limits = descriptor::Limits {
            bytes: limits.declaration_bytes,
            fields: limits.dataset_fields,
            enum_values: limits.enum_values,
            indexes: limits.indexes,
        };
        let read = tokio::task::spawn_blocking(move || descriptor::read(&ident, &declaration, &limits));
        let descriptor = read.await.map_err(Internal::because).map_err(CatalogRefusal::from)?;
        Ok(descriptor.map_err(invalid)?)
    }

    /// The dataset as it is now.
    async fn current(&self, name: &str) -> Result<Arc<Dataset>, CatalogError> {
        Catalog::new(self.context.db.clone()).by_name(name).await?.ok_or(CatalogError::Absent)
    }

    async fn changed(&self, name: &str) -> Result<Put, PutRefusal> {
        let dataset = self.current(name).await?;
        Ok(Put::Changed(Json(DescriptorView::of(&dataset)), etag(dataset.version.into())))
    }

    async fn created(&self, name: &str) -> Result<Put, PutRefusal> {
        let dataset = self.current(name).await?;
        let location = format!("/datasets/{name}");
        Ok(Put::Created(Json(DescriptorView::of(&dataset)), etag(dataset.version.into()), location))
    }
}
