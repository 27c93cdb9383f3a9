//! Changes of one citizen. Relations are kept mutual whatever happens at the same time: who changes them holds everybody
//! concerned, locked in the order of their numbers, so that no two changes ever wait for each other.

use std::collections::BTreeSet;

use sqlx::{AssertSqlSafe, PgConnection};

use super::{NoAccess, ReadError, access::access, rows::Found};
use crate::{
    datasets::citizen::{Citizen, CitizenPatch},
    db::{Db, DbError, commit},
};

/// How often the relatives of a citizen may have changed before they were locked.
const ATTEMPTS: u32 = 16;

/// Changes a citizen.
const CHANGE: &str = "
    update citizens set town = coalesce($3, town), street = coalesce($4, street), building = coalesce($5, building),
        apartment = coalesce($6, apartment), name = coalesce($7, name), birth_date = coalesce($8, birth_date),
        gender = coalesce($9, gender), relatives = coalesce($10, relatives), channel = coalesce($11, channel)
    where import_id = $1 and citizen_id = $2 and exists (select from imports where id = $1 and state = 'complete')
    returning citizen_id, town, street, building, apartment, name, birth_date, gender, relatives, channel";

/// Of the others, those who list the citizen do not any more, and those who do not now do. In the form of a sub-select their number
/// means nothing to the planner, which would otherwise make a new plan for each of these statements.
const RELATE: &str = "
    with related as (
        update citizens set relatives = case
            when $2 = any(relatives) then array_remove(relatives, $2)
            else array(select id from unnest(relatives || $2) as relative (id) order by id)
        end
        where import_id = $1 and citizen_id = any(array(select unnest($12::bigint[])))
    )";

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
    let mut concerned: BTreeSet<i64> = relatives.iter().copied().chain([citizen_id]).collect();
    for _ in 0..ATTEMPTS {
        let mut transaction = db.begin().await?;
        let Locked { present, before } = lock(&mut transaction, import_id, citizen_id, &concerned).await?;
        if !present.contains(&citizen_id) {
            access(&mut transaction, import_id).await?;
            return Err(PatchError::UnknownCitizen);
        }
        if !before.is_subset(&present) {
            // Somebody was faster. Whom it takes is known better now.
            concerned.extend(before);
            continue;
        }
        let unknown = unknown(relatives, &present);
        if !unknown.is_empty() {
            return Err(PatchError::UnknownRelatives(unknown));
        }
        let after: BTreeSet<i64> = relatives.iter().copied().collect();
        let others: Vec<i64> =
            before.symmetric_difference(&after).copied().filter(|other| *other != citizen_id).collect();
        let citizen = update(&mut transaction, import_id, citizen_id, patch, others).await?;
        commit(transaction, "changing a citizen").await?;
        return citizen.ok_or(PatchError::UnknownCitizen);
    }
    Err(PatchError::Busy)
}

fn unknown(relatives: &[i64], present: &BTreeSet<i64>) -> Vec<Unknown> {
    let places = relatives.iter().copied().enumerate();
    places
        .filter(|(_, relative)| !present.contains(relative))
        .map(|(index, citizen_id)| Unknown { index, citizen_id })
        .collect()
}

/// Without relatives it is one statement: the citizen's row is all there is to lock.
async fn patch_alone(
    db: &Db,
    import_id: i64,
    citizen_id: i64,
    patch: &CitizenPatch,
) -> Result<Citizen, PatchError> {
    let mut connection = db.pool().acquire().await.map_err(DbError::during("changing a citizen"))?;
    if let Some(citizen) = update(&mut connection, import_id, citizen_id, patch, Vec::new()).await? {
        return Ok(citizen);
    }
    access(&mut connection, import_id).await?;
    Err(PatchError::UnknownCitizen)
}

/// Changes a citizen and gives it; nothing when there is no such citizen. Of the others, who are locked, those who list it do not
/// any more, and those who do not now do.
async fn update(
    connection: &mut PgConnection,
    import_id: i64,
    citizen_id: i64,
    patch: &CitizenPatch,
    others: Vec<i64>,
) -> Result<Option<Citizen>, DbError> {
    let CitizenPatch { town, street, building, apartment, name, birth_date, gender, relatives, channel } =
        patch;
    let mut ordered = relatives.clone();
    ordered.iter_mut().for_each(|list| list.sort_unstable());
    let alone = others.is_empty();
    let statement = if alone { CHANGE.to_owned() } else { format!("{RELATE} {CHANGE}") };
    let query = sqlx::query_as(AssertSqlSafe(statement))
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
        .bind(channel);
    let query = if alone { query } else { query.bind(others) };
    let changed: Option<Found> =
        query.fetch_optional(connection).await.map_err(DbError::during("changing a citizen"))?;
    Ok(changed.map(Citizen::from))
}

/// Whom a change of relatives holds until it ends.
struct Locked {
    /// Those that there are.
    present: BTreeSet<i64>,
    /// Whom the citizen lists, now that nobody else can change it. Some of them may not be locked.
    before: BTreeSet<i64>,
}

/// Locks a citizen, its relatives and the others in the order of their numbers, after the import, which stays complete until the
/// transaction ends. Nobody is there of an import that is not.
async fn lock(
    connection: &mut PgConnection,
    import_id: i64,
    citizen_id: i64,
    others: &BTreeSet<i64>,
) -> Result<Locked, DbError> {
    let others: Vec<i64> = others.iter().copied().collect();
    let rows: Vec<(i64, Option<Vec<i64>>)> = sqlx::query_as(
        "with import as materialized (select id from imports where id = $1 and state = 'complete' for share)
         select citizen_id, case when citizen_id = $2 then relatives end
         from citizens
         where import_id = (select id from import) and citizen_id = any(
             $2 || $3 || (select relatives from citizens where import_id = $1 and citizen_id = $2)
         )
         order by citizen_id for update of citizens",
    )
    .bind(import_id)
    .bind(citizen_id)
    .bind(others)
    .fetch_all(connection)
    .await
    .map_err(DbError::during("locking citizens"))?;
    let mut locked = Locked { present: BTreeSet::new(), before: BTreeSet::new() };
    for (id, relatives) in rows {
        locked.present.insert(id);
        locked.before.extend(relatives.into_iter().flatten());
    }
    Ok(locked)
}
