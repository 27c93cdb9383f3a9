//! `/datasets/{name}/rows/{id}`: one row.

use poem_openapi::{
    ApiResponse, OpenApi,
    param::{Header, Path},
};
use serde_json::value::RawValue;
use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap},
};

use super::{
    Attempt, ChangeRefusal, Changed, attempt,
    body::{RowBody, RowFields, RowPatch},
    declared, failed, no_row, read_body, related, row_id,
};
use crate::{
    api::{
        Context, Tag,
        access::{ReadsDataset, Target, WritesDataset},
        body::{JsonItem, PatchItem},
        precondition::{IfMatch, etag, has_version},
        problem::{Conflict, Internal, Invalid, NotFound, Unavailable, Violation},
        stream::JsonText,
    },
    datasets::{
        Dataset, Value,
        declared::point,
        row::{self, Given, RowFault},
    },
    db::rows::{self, Locked, Row, Values, Write, WriteError},
    refusal,
};

/// See the module.
pub(in crate::api) struct DatasetRow {
    /// What handlers work with.
    pub(in crate::api) context: Context,
}

#[derive(ApiResponse)]
enum Read {
    /// The row
    #[oai(status = 200)]
    Row(
        JsonText<RowBody>,
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
enum Deleted {
    /// It is deleted
    #[oai(status = 204)]
    Deleted,
}

#[derive(ApiResponse)]
enum Restored {
    /// The row as it is now
    #[oai(status = 200)]
    Row(
        JsonText<RowBody>,
        /// Its version
        #[oai(header = "ETag")]
        String,
    ),
}

refusal!(
    /// Why a row is not shown.
    RowRefusal: NotFound, Unavailable, Internal
);

/// What is to become of a row.
enum Change<'r> {
    /// These are its fields.
    Replace(&'r [u8]),
    /// These of its fields change.
    Patch(&'r [u8]),
    /// It is deleted.
    Delete,
    /// It is not deleted.
    Restore,
}

#[OpenApi(tag = "Tag::Datasets")]
impl DatasetRow {
    /// Read a row
    #[oai(path = "/datasets/:name/rows/:id", method = "get", operation_id = "get_row")]
    async fn get_row(
        &self,
        _caller: ReadsDataset,
        /// The dataset.
        name: Path<String>,
        /// The row's `_id`.
        id: Path<String>,
        /// Versions the client has: answered 304 when one of them is the present one.
        #[oai(name = "If-None-Match")]
        if_none_match: Header<Option<String>>,
        target: Target,
    ) -> Result<Read, RowRefusal> {
        let dataset = declared(target, &name)?;
        let id = row_id(&id)?;
        let row: Result<Row, RowRefusal> = attempt!(self.context, dataset, self.find(&dataset, &id));
        let row = row?;
        let etag = etag(row.version);
        if has_version(if_none_match.as_deref(), row.version) {
            return Ok(Read::NotModified(etag));
        }
        Ok(Read::Row(JsonText::new(row.json.into()), etag))
    }

    /// Replace a row's fields
    ///
    /// A field that is not there becomes null. When nothing differs, the version stays.
    #[expect(clippy::too_many_arguments, reason = "each is a part of the request")]
    #[oai(path = "/datasets/:name/rows/:id", method = "put", operation_id = "replace_row")]
    async fn replace_row(
        &self,
        _caller: WritesDataset,
        /// The dataset.
        name: Path<String>,
        /// The row's `_id`.
        id: Path<String>,
        /// The versions the change may start from, else 412.
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
        /// `return=minimal` leaves the body out.
        #[oai(name = "Prefer")]
        prefer: Header<Option<String>>,
        target: Target,
        body: JsonItem<RowFields>,
    ) -> Result<Changed, ChangeRefusal> {
        let row = self.change((target, &name), &id, if_match.0, Change::Replace(&body.bytes)).await?;
        Ok(Changed::new(row, prefer.as_deref()))
    }

    /// Change some of a row's fields
    ///
    /// A merge patch (RFC 7396): what is not there stays, null empties. When nothing differs, the version stays.
    #[expect(clippy::too_many_arguments, reason = "each is a part of the request")]
    #[oai(path = "/datasets/:name/rows/:id", method = "patch", operation_id = "patch_row")]
    async fn patch_row(
        &self,
        _caller: WritesDataset,
        /// The dataset.
        name: Path<String>,
        /// The row's `_id`.
        id: Path<String>,
        /// The versions the change may start from, else 412.
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
        /// `return=minimal` leaves the body out.
        #[oai(name = "Prefer")]
        prefer: Header<Option<String>>,
        target: Target,
        body: PatchItem<RowPatch>,
    ) -> Result<Changed, ChangeRefusal> {
        let row = self.change((target, &name), &id, if_match.0, Change::Patch(&body.bytes)).await?;
        Ok(Changed::new(row, prefer.as_deref()))
    }

    /// Delete a row
    ///
    /// It can be restored, and its unique values are free for others. Answers 409 while other rows refer to it.
    #[oai(path = "/datasets/:name/rows/:id", method = "delete", operation_id = "delete_row")]
    async fn delete_row(
        &self,
        _caller: WritesDataset,
        /// The dataset.
        name: Path<String>,
        /// The row's `_id`.
        id: Path<String>,
        /// The versions that may be deleted, else 412.
        #[oai(name = "If-Match")]
        if_match: Header<Option<String>>,
        target: Target,
    ) -> Result<Deleted, ChangeRefusal> {
        self.change((target, &name), &id, if_match.0, Change::Delete).await?;
        Ok(Deleted::Deleted)
    }

    /// Restore a deleted row
    ///
    /// One that is not deleted stays as it is. Answers 409 when its unique values belong to others by now, or what it refers to is gone.
    #[oai(path = "/datasets/:name/rows/:id/restore", method = "post", operation_id = "restore_row")]
    async fn restore_row(
        &self,
        _caller: WritesDataset,
        /// The dataset.
        name: Path<String>,
        /// The row's `_id`.
        id: Path<String>,
        target: Target,
    ) -> Result<Restored, ChangeRefusal> {
        let row = self.change((target, &name), &id, None, Change::Restore).await?;
        let etag = etag(row.version);
        Ok(Restored::Row(JsonText::new(row.json.into()), etag))
    }

    async fn find(&self, dataset: &Dataset, id: &str) -> Result<Row, Attempt<RowRefusal>> {
        let row = rows::find(&self.context.db, dataset, id).await?;
        Ok(row.filter(|row| !row.deleted).ok_or_else(|| no_row(id))?)
    }

    async fn change(
        &self,
        (target, name): (Target, &str),
        id: &str,
        if_match: Option<String>,
        change: Change<'_>,
    ) -> Result<Row, ChangeRefusal> {
        let dataset = declared(target, name)?;
        let id = row_id(id)?;
        let expected = IfMatch::new(if_match);
        attempt!(self.context, dataset, self.attempt(&dataset, &id, &expected, &change))
    }

    async fn attempt(
        &self,
        dataset: &Dataset,
        id: &str,
        expected: &IfMatch,
        change: &Change<'_>,
    ) -> Result<Row, Attempt<ChangeRefusal>> {
        let values = match change {
            Change::Replace(body) => own_values(dataset, Given::Whole, body, id)?,
            Change::Patch(body) => own_values(dataset, Given::Part, body, id)?,
            Change::Delete | Change::Restore => Values::new(),
        };
        let related = related(&self.context, dataset).await?;
        let failed = |error| failed(dataset, id, error);
        let mut write = Write::begin(&self.context.db, dataset, &related).await.map_err(failed)?;
        let locked = write.lock(id).await.map_err(failed)?.ok_or_else(|| no_row(id))?;
        if locked.row.deleted && !matches!(change, Change::Restore) {
            return Err(no_row(id).into());
        }
        expected.check(locked.row.version)?;
        let changed = match change {
            Change::Replace(_) => write.replace(&locked, &values).await.map_err(failed)?,
            Change::Patch(body) => {
                check_point(dataset, &locked, body)?;
                write.patch(&locked, &values).await.map_err(failed)?
            }
            Change::Delete => write.delete(&locked).await.map_err(failed)?,
            Change::Restore => {
                check_stored(dataset, &locked)?;
                write.restore(&locked).await.map_err(|error| match error {
                    // The request says nothing that could be wrong.
                    WriteError::UnknownReference { column } => {
                        let message = format!("what {column} refers to is not there any more");
                        let violation =
                            Violation::at(format!("/{column}"), "unknown_reference", message.clone());
                        Conflict::because(message, vec![violation]).into()
                    }
                    error => failed(error),
                })?
            }
        };
        write.commit().await?;
        Ok(changed)
    }
}

/// The rules may have become tighter since a row was deleted: nobody looks at deleted rows then.
fn check_stored(dataset: &Dataset, locked: &Locked) -> Result<(), Conflict> {
    let Ok(mut members) = serde_json::from_str::<BTreeMap<String, Box<RawValue>>>(&locked.row.json) else {
        return Ok(());
    };
    members.retain(|name, _| dataset.schema.keyed(name).is_some());
    let Ok(body) = serde_json::to_vec(&members) else { return Ok(()) };
    let Err(faults) = row::read(&dataset.schema, Given::Whole, &body) else { return Ok(()) };
    // What no file can say may be there all the same, if it was there before.
    let faults = faults.into_iter().filter(|fault| fault.fault.code != "not_writable");
    let violations: Vec<_> =
        faults.map(|RowFault { pointer, fault }| Violation::at(pointer, fault.code, fault.message)).collect();
    if violations.is_empty() {
        return Ok(());
    }
    let message = "the row breaks rules that the dataset has had since it was deleted";
    Err(Conflict::because(message, violations))
}

/// The values of a body, which may name no other row than the path's.
fn own_values(dataset: &Dataset, given: Given, body: &[u8], id: &str) -> Result<Values, Invalid> {
    let (own, values) = read_body(dataset, given, body)?;
    if own.is_some_and(|own| own != id) {
        let message = "the _id of a row cannot be changed; leave it out, or send that of the path";
        return Err(Invalid::because([Violation::at("/_id", "not_changeable", message)]));
    }
    Ok(values)
}

/// A patch may bring one of two columns that make a point; the other one is the row's.
fn check_point(dataset: &Dataset, locked: &Locked, body: &[u8]) -> Result<(), Invalid> {
    let schema = &dataset.schema;
    let Some((longitude, latitude)) = point::columns(schema) else { return Ok(()) };
    let new = members(crate::datasets::json::without_bom(body));
    let old = members(locked.row.json.as_bytes());
    let value = |place: usize| {
        let key = schema.columns.get(place).map_or("", |column| column.key.as_str());
        let json = new.get(key).or_else(|| old.get(key));
        let degrees = json.and_then(|json| serde_json::from_str::<f64>(json.get()).ok());
        degrees.map_or(Value::Null, Value::Number)
    };
    let is_new =
        |place: usize| schema.columns.get(place).is_some_and(|column| new.contains_key(column.key.as_str()));
    if !is_new(longitude) && !is_new(latitude) {
        return Ok(());
    }
    point::check_columns(schema, &value(longitude), &value(latitude)).map_err(|(place, fault)| {
        let key = schema.columns.get(place).map_or("", |column| column.key.as_str());
        Invalid::because([Violation::at(format!("/{key}"), fault.code, fault.message)])
    })
}

/// The members of an object. The caller has read it before.
fn members(json: &[u8]) -> HashMap<Cow<'_, str>, &RawValue> {
    serde_json::from_slice(json).unwrap_or_default()
}
