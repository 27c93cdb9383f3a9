//! A row of `airports`. Its generated column `geo` is for queries written by hand.

use sea_orm::entity::prelude::*;

/// A row.
#[derive(Debug, Clone, PartialEq, DeriveEntityModel)]
#[sea_orm(table_name = "airports")]
pub struct Model {
    /// Ours.
    #[sea_orm(primary_key)]
    pub id: i64,
    /// OpenFlights' identifier.
    pub openflights_id: Option<i64>,
    /// Name.
    pub name: String,
    /// Main city served.
    pub city: Option<String>,
    /// Country or territory.
    pub country: String,
    /// IATA code.
    pub iata: Option<String>,
    /// ICAO code.
    pub icao: Option<String>,
    /// Degrees WGS 84, north positive.
    pub latitude: f64,
    /// Degrees WGS 84, east positive.
    pub longitude: f64,
    /// Feet above mean sea level.
    pub altitude: Option<i64>,
    /// Hours from UTC.
    pub timezone: Option<f64>,
    /// Daylight saving rule.
    pub dst: Option<String>,
    /// Time zone's Olson name.
    pub tz: Option<String>,
    /// Kind of place.
    pub r#type: Option<String>,
    /// Where the record comes from.
    pub source: Option<String>,
    /// 1 when created, one more with every change.
    pub version: i64,
    /// The import that created it.
    pub import_id: Option<i64>,
    /// When it was created.
    pub created_at: DateTimeUtc,
    /// When it was last changed.
    pub updated_at: DateTimeUtc,
    /// When it was deleted; a deleted airport can be restored.
    pub deleted_at: Option<DateTimeUtc>,
}

/// None that sea-orm needs to know of.
#[derive(Debug, Clone, Copy, EnumIter, DeriveRelation)]
pub enum Relation {}

impl ActiveModelBehavior for ActiveModel {}
