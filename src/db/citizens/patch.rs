//! Changes of one citizen. Relations are kept mutual whatever happens at the same time: who changes them holds everybody
//! concerned, locked in the order of their numbers, so that no two changes ever wait for each other.

use std::collections::BTreeSet;

use sqlx::PgConnection;

use super::{
    Access,
    access::{access, share},
    rows::Found,
};
use crate::{
    datasets::citizen::{Citizen, CitizenPatch},
    db::{Db, DbError, commit},
};

/// How often the relatives of a citizen may have changed before they were locked.
const ATTEMPTS: u32 = 16;

/// Why a citizen is not changed. Nothing was.
#[derive(Debug, thiserror::Error)]
pub enum PatchError {
    /// Its import is not there to be changed.
    #[error("the citizens of the import cannot be changed: {0:?}")]
    Import(Access),
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
        match share(&mut transaction, import_id).await? {
            Access::Granted => {}
            refused => return Err(PatchError::Import(refused)),
        }
        concerned.extend(related(&mut transaction, import_id, citizen_id).await?);
        let present = lock(&mut transaction, import_id, &concerned).await?;
        if !present.contains(&citizen_id) {
            return Err(PatchError::UnknownCitizen);
        }
        let before = related(&mut transaction, import_id, citizen_id).await?;
        if !before.is_subset(&concerned) {
            // Somebody was faster. Whom it takes is known better now.
            concerned.extend(before);
            continue;
        }
        let unknown = unknown(relatives, &present);
        if !unknown.is_empty() {
            return Err(PatchError::UnknownRelatives(unknown));
        }
        let after: BTreeSet<i64> = relatives.iter().copied().collect();
        relate(&mut transaction, import_id, citizen_id, &before, &after).await?;
        let citizen = update(&mut transaction, import_id, citizen_id, patch).await?;
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
    if let Some(citizen) = update(&mut connection, import_id, citizen_id, patch).await? {
        return Ok(citizen);
    }
    match access(&mut connection, import_id).await? {
        Access::Granted => Err(PatchError::UnknownCitizen),
        refused => Err(PatchError::Import(refused)),
    }
}

/// Changes the citizen's own fields and gives it with its relatives; nothing when there is no such citizen.
async fn update(
    connection: &mut PgConnection,
    import_id: i64,
    citizen_id: i64,
    patch: &CitizenPatch,
) -> Result<Option<Citizen>, DbError> {
    let CitizenPatch { town, street, building, apartment, name, birth_date, gender, channel, relatives: _ } =
        patch;
    let changed: Option<Found> = sqlx::query_as(
        "with c as (
             update citizens set town = coalesce($3, town), street = coalesce($4, street),
                 building = coalesce($5, building), apartment = coalesce($6, apartment), name = coalesce($7, name),
                 birth_date = coalesce($8, birth_date), gender = coalesce($9, gender), channel = coalesce($10, channel)
             where import_id = $1 and citizen_id = $2 and exists (
                 select from imports where id = $1 and state = 'complete'
             )
             returning *
         )
         select citizen_id, town, street, building, apartment, name, birth_date, gender, channel,
             array(select relative_id from relatives r where r.import_id = c.import_id
                 and r.citizen_id = c.citizen_id order by relative_id) as relatives
         from c",
    )
    .bind(import_id)
    .bind(citizen_id)
    .bind(town)
    .bind(street)
    .bind(building)
    .bind(apartment)
    .bind(name)
    .bind(birth_date)
    .bind(gender)
    .bind(channel)
    .fetch_optional(connection)
    .await
    .map_err(DbError::during("changing a citizen"))?;
    Ok(changed.map(Citizen::from))
}

/// Whom the citizen lists.
async fn related(
    connection: &mut PgConnection,
    import_id: i64,
    citizen_id: i64,
) -> Result<BTreeSet<i64>, DbError> {
    let related: Vec<i64> =
        sqlx::query_scalar("select relative_id from relatives where import_id = $1 and citizen_id = $2")
            .bind(import_id)
            .bind(citizen_id)
            .fetch_all(connection)
            .await
            .map_err(DbError::during("reading the relatives of a citizen"))?;
    Ok(related.into_iter().collect())
}

/// Locks citizens in the order of their numbers; those that there are.
async fn lock(
    connection: &mut PgConnection,
    import_id: i64,
    citizens: &BTreeSet<i64>,
) -> Result<BTreeSet<i64>, DbError> {
    let citizens: Vec<i64> = citizens.iter().copied().collect();
    let present: Vec<i64> = sqlx::query_scalar(
        "select citizen_id from citizens where import_id = $1 and citizen_id = any($2)
         order by citizen_id for update",
    )
    .bind(import_id)
    .bind(citizens)
    .fetch_all(connection)
    .await
    .map_err(DbError::during("locking citizens"))?;
    Ok(present.into_iter().collect())
}

/// Replaces the relatives of a citizen, both ways. All of them are locked.
async fn relate(
    connection: &mut PgConnection,
    import_id: i64,
    citizen_id: i64,
    before: &BTreeSet<i64>,
    after: &BTreeSet<i64>,
) -> Result<(), DbError> {
    let failed = || DbError::during("changing the relatives of a citizen");
    let gone: Vec<i64> = before.difference(after).copied().collect();
    if !gone.is_empty() {
        sqlx::query(
            "delete from relatives where import_id = $1
                 and ((citizen_id = $2 and relative_id = any($3)) or (citizen_id = any($3) and relative_id = $2))",
        )
        .bind(import_id)
        .bind(citizen_id)
        .bind(gone)
        .execute(&mut *connection)
        .await
        .map_err(failed())?;
    }
    let new: Vec<i64> = after.difference(before).copied().collect();
    if !new.is_empty() {
        // A citizen that lists itself is one row, not two.
        sqlx::query(
            "insert into relatives (import_id, citizen_id, relative_id)
             select $1, $2, other from unnest($3::bigint[]) as other
             union select $1, other, $2 from unnest($3::bigint[]) as other",
        )
        .bind(import_id)
        .bind(citizen_id)
        .bind(new)
        .execute(connection)
        .await
        .map_err(failed())?;
    }
    Ok(())
}
