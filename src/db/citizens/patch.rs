//! Changes of one citizen. Relations are kept mutual whatever happens at the same time: who changes them holds everybody
//! concerned, locked in the order of their numbers, so that no two changes ever wait for each other.

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, FromRow, Postgres, Row, postgres::PgArguments, query::Query};

use super::{NoAccess, ReadError, access::access, rows::Found};
use crate::{
    datasets::citizen::{Citizen, CitizenPatch},
    db::{Db, DbError},
};

/// How often the relatives of a citizen may have changed before they were locked.
const ATTEMPTS: u32 = 16;

/// What becomes of the citizen's own row.
const CHANGE: &str = "
    update citizens set town = coalesce($3, town), street = coalesce($4, street), building = coalesce($5, building),
        apartment = coalesce($6, apartment), name = coalesce($7, name), birth_date = coalesce($8, birth_date),
        gender = coalesce($9, gender), relatives = coalesce($10, relatives), channel = nullif(coalesce($11, channel), '')
    where import_id = $1 and citizen_id = $2";

/// What is given of it afterwards.
const CHANGED: &str =
    "citizen_id, town, street, building, apartment, name, birth_date, gender, relatives, channel";

/// Locks the citizen, its relatives and the others of `$12` in the order of their numbers, after the import, which stays complete until
/// the statement ends; then, if everybody is held whom the change concerns, changes them: those who list the citizen do not any more,
/// and those who do not now do. An update finds a row as its lock has found it, however long that waited.
///
/// In the form of sub-selects the lengths of lists mean nothing to the planner, which would otherwise make a new plan every time.
const RELATE: &str = "
    with import as materialized (
        select id from imports where id = $1 and state = 'complete' for share
    ),
    locked as materialized (
        select citizen_id, case when citizen_id = $2 then relatives end as relatives
        from citizens
        where import_id = (select id from import) and citizen_id = any(
            $2 || $12 || (select relatives from citizens where import_id = $1 and citizen_id = $2)
        )
        order by citizen_id for update of citizens
    ),
    before as materialized (
        select unnest(relatives) as id from locked where citizen_id = $2
    ),
    concerned as materialized (
        select id, count(*) as lists from (select id from before union all select unnest($10)) lists group by id
    ),
    held as materialized (
        select exists (select from locked where citizen_id = $2)
            and not exists (select from concerned where id not in (select citizen_id from locked)) as everybody
    ),
    related as (
        update citizens set relatives = case
            when $2 = any(relatives) then array_remove(relatives, $2)
            else array(select id from unnest(relatives || $2) as relative (id) order by id)
        end
        where (select everybody from held) and import_id = $1
            and citizen_id = any(array(select id from concerned where lists = 1 and id <> $2))
    ),
    changed as (
        :change and (select everybody from held) returning :changed
    )
    select array(select citizen_id from locked) as present, array(select id from before) as before, changed.*
    from held left join changed on true";

/// Why a citizen is not changed. Nothing was.
#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    /// Its import is not there to be changed.
    #[error("the citizens of the import cannot be changed: {0:?}")]
    Import(NoAccess),
    /// There is no such citizen in the import.
    #[error("there is no such citizen")]
    UnknownCitizen,
    /// Relatives that are not in the import.
    #[error("{} relatives are unknown", .0.len())]
    UnknownRelatives(Vec<Unknown>),
    /// Others kept changing its relatives.
    #[error("the citizen's relatives kept changing")]
    Busy,
    /// The database.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl From<ReadError> for PatchError {
    fn from(error: ReadError) -> Self {
        match error {
            ReadError::Import(reason) => Self::Import(reason),
            ReadError::Database(error) => Self::Database(error),
        }
    }
}

/// A relative that is not in the import.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unknown {
    /// Its place in the list, from 0.
    pub index: usize,
    /// Its number.
    pub citizen_id: i64,
}

/// Changes a citizen, and gives it as it is then.
pub async fn patch(
    db: &Db,
    import_id: i64,
    citizen_id: i64,
    patch: &CitizenPatch,
) -> Result<Citizen, PatchError> {
    let Some(relatives) = &patch.relatives else {
        return patch_alone(db, import_id, citizen_id, patch).await;
    };
    let mut concerned: BTreeSet<i64> = relatives.iter().copied().collect();
    for _ in 0..ATTEMPTS {
        let Related { present, before, changed } =
            relate(db, import_id, citizen_id, patch, &concerned).await?;
        if let Some(citizen) = changed {
            return Ok(citizen);
        }
        if !present.contains(&citizen_id) {
            return Err(nobody(db, import_id).await);
        }
        let unknown = unknown(relatives, &present);
        if !unknown.is_empty() {
            return Err(PatchError::UnknownRelatives(unknown));
        }
        // Somebody was faster. Whom it takes is known better now.
        concerned.extend(before);
    }
    Err(PatchError::Busy)
}

/// Why there is no such citizen.
async fn nobody(db: &Db, import_id: i64) -> PatchError {
    let looked = async {
        let connection = db.pool().acquire().await;
        let mut connection = connection.map_err(DbError::during("looking for an import of citizens"))?;
        access(&mut connection, import_id).await
    };
    match looked.await {
        Ok(()) => PatchError::UnknownCitizen,
        Err(refused) => refused.into(),
    }
}

fn unknown(relatives: &[i64], present: &BTreeSet<i64>) -> Vec<Unknown> {
    let places = relatives.iter().copied().enumerate();
    places
        .filter(|(_, relative)| !present.contains(relative))
        .map(|(index, citizen_id)| Unknown { index, citizen_id })
        .collect()
}

/// Without relatives the citizen's row is all there is to lock.
async fn patch_alone(
    db: &Db,
    import_id: i64,
    citizen_id: i64,
    patch: &CitizenPatch,
) -> Result<Citizen, PatchError> {
    let failed = || DbError::during("changing a citizen");
    let statement = format!(
        "{CHANGE} and exists (select from imports where id = $1 and state = 'complete') returning {CHANGED}"
    );
    let query = change(statement, import_id, citizen_id, patch);
    match query.fetch_optional(db.pool()).await.map_err(failed())? {
        Some(row) => Ok(Found::from_row(&row).map_err(failed())?.into()),
        None => Err(nobody(db, import_id).await),
    }
}

/// What became of a change of relatives.
struct Related {
    /// Those of the citizen, its relatives and the others that there are.
    present: BTreeSet<i64>,
    /// Whom the citizen listed. Some of them may not be locked, and then nothing is changed.
    before: Vec<i64>,
    /// The citizen, when it is changed.
    changed: Option<Citizen>,
}

async fn relate(
    db: &Db,
    import_id: i64,
    citizen_id: i64,
    patch: &CitizenPatch,
    others: &BTreeSet<i64>,
) -> Result<Related, DbError> {
    let failed = || DbError::during("changing a citizen and its relatives");
    let statement = RELATE.replace(":changed", CHANGED).replace(":change", CHANGE);
    let others: Vec<i64> = others.iter().copied().collect();
    let query = change(statement, import_id, citizen_id, patch).bind(others);
    let row = query.fetch_one(db.pool()).await.map_err(failed())?;
    let read = || {
        let present: Vec<i64> = row.try_get("present")?;
        let is_changed = row.try_get::<Option<i64>, _>("citizen_id")?.is_some();
        let changed = if is_changed { Some(Found::from_row(&row)?.into()) } else { None };
        Ok(Related { present: present.into_iter().collect(), before: row.try_get("before")?, changed })
    };
    read().map_err(failed())
}

/// The statement with its first eleven parameters.
fn change(
    statement: String,
    import_id: i64,
    citizen_id: i64,
    patch: &CitizenPatch,
) -> Query<'_, Postgres, PgArguments> {
    let CitizenPatch { town, street, building, apartment, name, birth_date, gender, relatives, channel } =
        patch;
    // No channel is empty, so the empty one stands for none.
    let channel = channel.as_ref().map(|channel| channel.as_deref().unwrap_or_default());
    let mut ordered = relatives.clone();
    ordered.iter_mut().for_each(|list| list.sort_unstable());
    sqlx::query(AssertSqlSafe(statement))
        .bind(import_id)
        .bind(citizen_id)
        .bind(town)
        .bind(street)
        .bind(building)
        .bind(apartment)
        .bind(name)
        .bind(birth_date)
        .bind(gender)
        .bind(ordered)
        .bind(channel)
}
