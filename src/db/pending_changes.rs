//! Changes that wait for their confirmation link to be used.

use chrono::{DateTime, Utc};
use sea_orm::{ActiveModelTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QuerySelect, Set};
use serde_json::Value as Json;

pub use super::entities::pending_change::{Action, Model as PendingChange};
use super::{
    Db, DbError,
    entities::pending_change::{ActiveModel, Entity},
};

/// Stores a change under the hash of its link's token.
pub async fn store(
    db: &Db,
    token_hash: &[u8],
    (action, airport_id): (Action, Option<i64>),
    fields: Json,
    expires_at: DateTime<Utc>,
) -> Result<(), DbError> {
    let row = ActiveModel {
        token_hash: Set(token_hash.to_vec()),
        action: Set(action),
        airport_id: Set(airport_id),
        fields: Set(fields),
        expires_at: Set(expires_at),
        ..Default::default()
    };
    Entity::insert(row)
        .exec_without_returning(db.orm())
        .await
        .map(drop)
        .map_err(DbError::orm("storing a pending change"))
}

/// The change of that token.
pub async fn find(db: &Db, token_hash: &[u8]) -> Result<Option<PendingChange>, DbError> {
    Entity::find_by_id(token_hash.to_vec())
        .one(db.orm())
        .await
        .map_err(DbError::orm("finding a pending change"))
}

/// [`find`] within a transaction that nobody else uses the link beside.
pub async fn lock(
    connection: &impl ConnectionTrait,
    token_hash: &[u8],
) -> Result<Option<PendingChange>, DbError> {
    Entity::find_by_id(token_hash.to_vec())
        .lock_exclusive()
        .one(connection)
        .await
        .map_err(DbError::orm("locking a pending change"))
}

/// Marks the link as used.
pub async fn confirm(
    connection: &impl ConnectionTrait,
    change: PendingChange,
    now: DateTime<Utc>,
) -> Result<(), DbError> {
    let mut row = change.into_active_model();
    row.confirmed_at = Set(Some(now));
    row.update(connection).await.map(drop).map_err(DbError::orm("confirming a pending change"))
}
