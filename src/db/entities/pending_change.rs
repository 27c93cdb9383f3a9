//! A row of `pending_changes`: a change that waits for its confirmation link to be used.

use sea_orm::entity::prelude::*;

/// A row.
#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "pending_changes")]
pub struct Model {
    /// SHA-256 of the token in the link.
    #[sea_orm(primary_key, auto_increment = false)]
    pub token_hash: Vec<u8>,
    /// What is done.
    pub action: Action,
    /// The airport that is changed; none when one is created.
    pub airport_id: Option<i64>,
    /// The fields with their values, as in a JSON body.
    pub fields: Json,
    /// When the link stops working.
    pub expires_at: DateTimeUtc,
    /// When it was used.
    pub confirmed_at: Option<DateTimeUtc>,
    /// When it was given out.
    pub created_at: DateTimeUtc,
}

/// What a confirmation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumIter, DeriveActiveEnum)]
#[sea_orm(rs_type = "String", db_type = "Text", rename_all = "lowercase")]
pub enum Action {
    /// Creates an airport.
    Create,
    /// Changes one.
    Update,
}

/// None that sea-orm needs to know of.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
