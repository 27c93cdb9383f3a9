//! `/imports/{id}/citizens`: the citizens of an import, all or one, and their relatives' birthdays.

mod birthdays;
mod fields;
mod formats;
mod list;
pub(super) mod store;
pub(super) mod upload;

use poem::http::Uri;
use poem_openapi::{
    ApiResponse, OpenApi,
    param::{Path, Query},
};

pub(super) use self::fields::NewCitizens;
use self::{
    birthdays::{BirthdaysAnswer, Grouping},
    fields::{CitizenBody, PatchBody},
    list::ListAnswer,
};
use super::{
    Context, Tag,
    access::{MayRead, MayWrite},
    body::JsonBytes,
    limits::Share,
    negotiate::Accepted,
    page,
    problem::{Conflict, Internal, Invalid, NotFound, Unavailable, Violation},
    stream::{JsonText, StreamRefusal},
};
use crate::{
    datasets::citizen::{Citizen, body, faults::Faults},
    db::citizens::{self, NoAccess, PatchError, Range, ReadError, Snapshot, Unknown},
    refusal,
};

/// See the module.
pub(super) struct Citizens {
    /// What it works with.
    pub(super) context: Context,
}

#[derive(ApiResponse)]
enum CitizenAnswer {
    /// The citizen
    #[oai(status = 200)]
    Citizen(JsonText<CitizenBody>),
}

refusal!(
    /// Why the citizens of an import cannot be seen.
    pub(in crate::api) AccessRefusal: NotFound, Conflict, Internal, Unavailable
);
refusal!(
    /// Why citizens are not listed.
    pub(in crate::api) ListRefusal: AccessRefusal, StreamRefusal, Invalid, Internal
);
refusal!(
    /// Why a citizen is not changed.
    PatchRefusal: AccessRefusal, NotFound, Conflict, Invalid
);

impl From<Faults> for Invalid {
    fn from(Faults { listed, total, .. }: Faults) -> Self {
        let violations = listed
            .into_iter()
            .map(|(pointer, fault)| Violation::at(pointer, fault.code, fault.message))
            .collect();
        Self::first_of(violations, total)
    }
}

/// Why the citizens of the import are not read.
fn refused(error: ReadError, import_id: i64) -> AccessRefusal {
    match error {
        ReadError::Import(reason) => inaccessible(reason, import_id),
        ReadError::Database(error) => error.into(),
    }
}

fn inaccessible(reason: NoAccess, import_id: i64) -> AccessRefusal {
    match reason {
        NoAccess::Unknown => NotFound::new(format!("there is no import {import_id} of citizens")).into(),
        NoAccess::NotComplete(state) => {
            let state = format!("{state:?}").to_lowercase();
            Conflict::new(format!("the import {import_id} is {state}: it has no citizens to show")).into()
        }
        NoAccess::DryRun => {
            Conflict::new(format!("the import {import_id} was a dry run: it stored no citizens")).into()
        }
    }
}

impl Context {
    /// Opens a snapshot in which the citizens of the import are there. It holds a place among the exports.
    pub(in crate::api) async fn snapshot(
        &self,
        import_id: i64,
        share: &Share,
    ) -> Result<Snapshot, AccessRefusal> {
        let place = share.export().await?;
        citizens::snapshot(&self.db, import_id, place).await.map_err(|error| refused(error, import_id))
    }
}

#[OpenApi(tag = "Tag::Citizens")]
impl Citizens {
    /// Citizens of an import, by number
    ///
    /// All of them unless `limit` is given. As CSV or NDJSON they can be imported again.
    #[expect(clippy::too_many_arguments, reason = "each is a parameter of the document, or of the request")]
    #[oai(path = "/imports/:id/citizens", method = "get", operation_id = "list_citizens")]
    async fn list_citizens(
        &self,
        _caller: MayRead,
        /// Number of the import
        Path(id): Path<i64>,
        /// Citizens of a page; all of them unless given
        Query(limit): Query<Option<u64>>,
        /// Where to go on: from the link to the next page
        Query(cursor): Query<Option<String>>,
        accepted: Accepted,
        uri: &Uri,
        share: Share,
    ) -> Result<ListAnswer, ListRefusal> {
        let after = cursor.map(|cursor| page::decode_number(&cursor, 0)).transpose()?;
        let limit = limit.map(|limit| page::limit(Some(limit), &self.context.config.server)).transpose()?;
        let snapshot = self.context.snapshot(id, &share).await?;
        list::answer(snapshot, Range { after, limit }, accepted.0, uri).await
    }

    /// One citizen
    #[oai(path = "/imports/:id/citizens/:cid", method = "get", operation_id = "get_citizen")]
    async fn get_citizen(
        &self,
        _caller: MayRead,
        /// Number of the import
        Path(id): Path<i64>,
        /// Number of the citizen
        Path(cid): Path<i64>,
    ) -> Result<CitizenAnswer, AccessRefusal> {
        let found = citizens::find(&self.context.db, id, cid).await.map_err(|error| refused(error, id))?;
        let citizen = found.ok_or_else(|| unknown(id, cid))?;
        single(&citizen)
    }

    /// Change a citizen
    ///
    /// What is not there stays. `relatives` replaces the whole list, and whoever comes or goes is changed too, so that relations
    /// stay mutual. After a 400 nothing is changed.
    #[oai(path = "/imports/:id/citizens/:cid", method = "patch", operation_id = "patch_citizen")]
    async fn patch_citizen(
        &self,
        _caller: MayWrite,
        /// Number of the import
        Path(id): Path<i64>,
        /// Number of the citizen
        Path(cid): Path<i64>,
        body: JsonBytes<PatchBody>,
    ) -> Result<CitizenAnswer, PatchRefusal> {
        let patch = body::read_patch(&body.bytes, self.context.clock.today()).map_err(Invalid::from)?;
        match citizens::patch(&self.context.db, id, cid, &patch).await {
            Ok(citizen) => Ok(single(&citizen)?),
            Err(PatchError::Import(reason)) => Err(inaccessible(reason, id).into()),
            Err(PatchError::UnknownCitizen) => Err(unknown(id, cid).into()),
            Err(PatchError::UnknownRelatives(unknown)) => {
                Err(Invalid::because(unknown.into_iter().map(no_relative)).into())
            }
            Err(error @ PatchError::Busy) => Err(Conflict::new(error.to_string()).into()),
            Err(PatchError::Database(error)) => Err(error.into()),
        }
    }

    /// Presents by month: who buys how many, one for every relative born in that month
    #[oai(path = "/imports/:id/citizens/birthdays", method = "get", operation_id = "get_birthdays")]
    async fn get_birthdays(
        &self,
        _caller: MayRead,
        /// Number of the import
        Path(id): Path<i64>,
        /// Counts by the advertising channel that brought the buyers, instead of by buyer
        Query(group_by): Query<Option<Grouping>>,
        share: Share,
    ) -> Result<BirthdaysAnswer, ListRefusal> {
        birthdays::answer(self.context.snapshot(id, &share).await?, group_by).await
    }
}

fn single(citizen: &Citizen) -> Result<CitizenAnswer, AccessRefusal> {
    Ok(CitizenAnswer::Citizen(formats::single(citizen).map_err(Internal::because)?))
}

fn unknown(import_id: i64, citizen_id: i64) -> NotFound {
    NotFound::new(format!("there is no citizen {citizen_id} in the import {import_id}"))
}

fn no_relative(Unknown { index, citizen_id }: Unknown) -> Violation {
    let message = format!("there is no citizen {citizen_id} in the import");
    Violation::at(format!("/relatives/{index}"), "unknown_relative", message)
}
