//! Changing airports, one at a time.

use chrono::Utc;
use sea_orm::{
    ActiveModelTrait, ConnectionTrait, DatabaseTransaction, EntityTrait, IntoActiveModel, QueryFilter,
    QuerySelect, Set, TransactionTrait, sea_query::Expr,
};

use super::{Airport, VISIBLE};
use crate::db::{
    Db, DbError, Failure,
    entities::airport::{ActiveModel, Entity},
};

/// The lock that every writing statement takes is taken first: an import's last transaction holds the table, and whoever
/// had locked a row before waiting for it would deadlock with it. Nobody waits for long: the client is told to come back.
const BEGIN: &str = "set local lock_timeout = '3s'; lock table airports in row exclusive mode";

/// What clients may set of an airport.
#[derive(Debug, Clone, Default, PartialEq)]
#[expect(missing_docs, reason = "as in the model")]
pub struct Fields {
    pub openflights_id: Option<i64>,
    pub name: String,
    pub city: Option<String>,
    pub country: String,
    pub iata: Option<String>,
    pub icao: Option<String>,
    pub latitude: f64,
    pub longitude: f64,
    pub altitude: Option<i64>,
    pub timezone: Option<f64>,
    pub dst: Option<String>,
    pub tz: Option<String>,
    pub r#type: Option<String>,
    pub source: Option<String>,
}

impl From<&Airport> for Fields {
    fn from(airport: &Airport) -> Self {
        let Airport {
            id: _,
            openflights_id,
            name,
            city,
            country,
            iata,
            icao,
            latitude,
            longitude,
            altitude,
            timezone,
            dst,
            tz,
            r#type,
            source,
            version: _,
            import_id: _,
            created_at: _,
            updated_at: _,
            deleted_at: _,
        } = airport.clone();
        Self {
            openflights_id,
            name,
            city,
            country,
            iata,
            icao,
            latitude,
            longitude,
            altitude,
            timezone,
            dst,
            tz,
            r#type,
            source,
        }
    }
}

impl Fields {
    fn into_active_model(self) -> ActiveModel {
        let Self {
            openflights_id,
            name,
            city,
            country,
            iata,
            icao,
            latitude,
            longitude,
            altitude,
            timezone,
            dst,
            tz,
            r#type,
            source,
        } = self;
        ActiveModel {
            openflights_id: Set(openflights_id),
            name: Set(name),
            city: Set(city),
            country: Set(country),
            iata: Set(iata),
            icao: Set(icao),
            latitude: Set(latitude),
            longitude: Set(longitude),
            altitude: Set(altitude),
            timezone: Set(timezone),
            dst: Set(dst),
            tz: Set(tz),
            r#type: Set(r#type),
            source: Set(source),
            ..Default::default()
        }
    }
}

/// A code that cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldCode {
    /// `openflights_id`, `icao` or `iata`.
    pub column: &'static str,
    /// The airport that holds it; unknown when it got it this very moment.
    pub holder: Option<i64>,
}

/// Why an airport was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// Other airports hold codes it would need.
    #[error("writing an airport: {} of its codes are held", .0.len())]
    Held(Vec<HeldCode>),
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// A transaction that changes airports. Nothing is changed until [`Write::commit`].
#[derive(Debug)]
pub struct Write {
    transaction: DatabaseTransaction,
}

impl Write {
    /// Waits a little for an import that is about to become visible.
    pub async fn begin(db: &Db) -> Result<Self, DbError> {
        let during = "beginning to change airports";
        let transaction = db.orm().begin().await.map_err(DbError::orm(during))?;
        transaction.execute_unprepared(BEGIN).await.map_err(DbError::orm(during))?;
        Ok(Self { transaction })
    }

    /// For what is to be stored together with the change.
    pub fn transaction(&self) -> &DatabaseTransaction {
        &self.transaction
    }

    /// The airport with that id, deleted ones too; nobody else changes it until the end of the transaction.
    pub async fn lock(&self, id: i64) -> Result<Option<Airport>, DbError> {
        Entity::find_by_id(id)
            .filter(Expr::cust(VISIBLE))
            .lock_exclusive()
            .one(&self.transaction)
            .await
            .map_err(DbError::orm("locking an airport"))
    }

    /// A new airport.
    pub async fn create(&self, fields: Fields) -> Result<Airport, WriteError> {
        self.check_codes(None, &fields).await?;
        let created = fields.into_active_model().insert(&self.transaction).await;
        created.map_err(|error| held_or_failed("creating an airport", error))
    }

    /// Gives the airport these fields. Where they are what it has already, nothing changes, its version neither.
    pub async fn update(&self, airport: Airport, fields: Fields) -> Result<Airport, WriteError> {
        if Fields::from(&airport) == fields {
            return Ok(airport);
        }
        self.check_codes(Some(airport.id), &fields).await?;
        self.save(airport, fields.into_active_model()).await
    }

    /// Sets the deleted flag: the airport's codes are free for others then.
    pub async fn delete(&self, airport: Airport) -> Result<Airport, WriteError> {
        self.save(airport, ActiveModel { deleted_at: Set(Some(Utc::now())), ..Default::default() }).await
    }

    /// Takes the deleted flag back. An airport without it stays as it is.
    pub async fn restore(&self, airport: Airport) -> Result<Airport, WriteError> {
        if airport.deleted_at.is_none() {
            return Ok(airport);
        }
        self.check_codes(Some(airport.id), &Fields::from(&airport)).await?;
        self.save(airport, ActiveModel { deleted_at: Set(None), ..Default::default() }).await
    }

    /// Removes the row for good.
    pub async fn purge(&self, airport: Airport) -> Result<(), DbError> {
        Entity::delete_by_id(airport.id)
            .exec(&self.transaction)
            .await
            .map(drop)
            .map_err(DbError::orm("removing an airport"))
    }

    /// Makes it so.
    pub async fn commit(self) -> Result<(), DbError> {
        self.transaction.commit().await.map_err(DbError::orm("committing a change of airports"))
    }

    async fn save(&self, airport: Airport, mut change: ActiveModel) -> Result<Airport, WriteError> {
        change.version = Set(airport.version + 1);
        change.updated_at = Set(Utc::now());
        change.id = airport.into_active_model().id;
        let saved = change.update(&self.transaction).await;
        saved.map_err(|error| held_or_failed("changing an airport", error))
    }

    /// The unique indexes have the last word; this says who holds what.
    async fn check_codes(&self, id: Option<i64>, fields: &Fields) -> Result<(), WriteError> {
        let failed = || DbError::orm("looking for held codes");
        let mut held = self.held_codes(id, fields).await.map_err(failed())?;
        if !held.is_empty() {
            self.remove_hidden(&held).await.map_err(failed())?;
            held = self.held_codes(id, fields).await.map_err(failed())?;
        }
        if held.is_empty() { Ok(()) } else { Err(WriteError::Held(held)) }
    }

    /// Removes those of the holders that are hidden, because their import is undone and will remove them anyway.
    async fn remove_hidden(&self, held: &[HeldCode]) -> Result<(), sea_orm::DbErr> {
        let holders: Vec<_> = held.iter().filter_map(|code| code.holder).map(|id| id.to_string()).collect();
        let holders = holders.join(", ");
        // In the order in which a removal takes its locks.
        let lock = "select from import_removals where finished_at is null order by import_id for update";
        self.transaction.execute_unprepared(lock).await?;
        let statement = format!(
            "with gone as (
                 delete from airports where id in ({holders}) and not ({VISIBLE}) returning import_id
             )
             update import_removals r set removed = r.removed + gone.rows
             from (select import_id, count(*) as rows from gone group by import_id) gone
             where r.import_id = gone.import_id"
        );
        self.transaction.execute_unprepared(&statement).await.map(drop)
    }

    async fn held_codes(&self, id: Option<i64>, fields: &Fields) -> Result<Vec<HeldCode>, sea_orm::DbErr> {
        use sea_orm::ColumnTrait;

        use crate::db::entities::airport::Column;
        let candidates = [
            ("openflights_id", fields.openflights_id.map(|value| Column::OpenflightsId.eq(value))),
            ("icao", fields.icao.as_ref().map(|value| Column::Icao.eq(value))),
            ("iata", fields.iata.as_ref().map(|value| Column::Iata.eq(value))),
        ];
        let mut held = Vec::new();
        for (column, condition) in candidates {
            let Some(condition) = condition else { continue };
            let mut holder = Entity::find().filter(condition).filter(Column::DeletedAt.is_null());
            if let Some(id) = id {
                holder = holder.filter(Column::Id.ne(id));
            }
            if let Some(holder) = holder.one(&self.transaction).await? {
                held.push(HeldCode { column, holder: Some(holder.id) });
            }
        }
        Ok(held)
    }
}

fn held_or_failed(during: &'static str, error: sea_orm::DbErr) -> WriteError {
    let error = DbError::orm(during)(error);
    if error.failure() != Failure::UniqueViolation {
        return error.into();
    }
    let column = match error.constraint() {
        Some("airports_openflights_id") => "openflights_id",
        Some("airports_icao") => "icao",
        Some("airports_iata") => "iata",
        _ => return error.into(),
    };
    WriteError::Held(vec![HeldCode { column, holder: None }])
}
