//! Changing rows, one at a time.

use std::sync::Arc;

use sqlx::{PgConnection, Postgres, QueryBuilder, Row as _};
use uuid::Uuid;

use super::{Db, DbError, Row, catalog, execute, read, visible};
use crate::db::catalog::PinError;
use crate::{
    datasets::{Dataset, ForeignKey},
    db::{Failure, commit},
};

/// Nobody waits for long for an import that is about to become visible: the client is told to come back.
const WAIT: &str = "set local lock_timeout = '3s'";

/// Columns, by their places, with what they are to have: the text that PostgreSQL reads, as `Value::sql_text` gives it.
pub type Values = Vec<(usize, Option<String>)>;

/// Why a row was not written.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// There is no such row, or it is deleted.
    #[error("there is no such row")]
    NotFound,
    /// Another row has the unique value.
    #[error("another row has the value of {column}")]
    KeyHeld {
        /// The column's key; of a key of several, the first one's.
        column: String,
        /// The row that has it; unknown when it got it this very moment.
        id: Option<String>,
    },
    /// Another row has the `_id`.
    #[error("another row has the _id")]
    IdTaken,
    /// What the column refers to is not there.
    #[error("what {column} refers to is not there")]
    UnknownReference {
        /// The column's key.
        column: String,
    },
    /// Rows of that dataset refer to the row.
    #[error("rows of {dataset} refer to the row")]
    Referenced {
        /// Its name.
        dataset: String,
    },
    /// The dataset has changed since the request was read: it is to be read again.
    #[error("the dataset has changed meanwhile")]
    Moved,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

impl From<PinError> for WriteError {
    fn from(error: PinError) -> Self {
        match error {
            PinError::Moved => Self::Moved,
            PinError::Database(error) => Self::Database(error),
        }
    }
}

/// A row that nobody else changes until the end of the transaction.
#[derive(Debug, Clone)]
pub struct Locked {
    /// The row.
    pub row: Row,
    id: String,
    values: Vec<Option<String>>,
}

/// A transaction that changes rows of a dataset. Nothing is changed until [`Write::commit`].
#[derive(Debug)]
pub struct Write<'d> {
    db: Db,
    dataset: &'d Dataset,
    others: &'d [Arc<Dataset>],
    transaction: sqlx::Transaction<'static, Postgres>,
}

impl<'d> Write<'d> {
    /// Begins, with the dataset as it is. `others`: those that it refers to, and those that refer to it.
    pub async fn begin(
        db: &Db,
        dataset: &'d Dataset,
        others: &'d [Arc<Dataset>],
    ) -> Result<Self, WriteError> {
        let mut transaction = db.begin().await?;
        execute(&mut transaction, WAIT.to_owned(), "beginning to change rows").await?;
        let id = dataset.id.ok_or(WriteError::NotFound)?;
        catalog::pin(&mut transaction, id, dataset.version).await?;
        // Every writing statement takes this lock. It comes first, because whoever had locked a row before waiting for an import's last
        // transaction would deadlock with it.
        let lock = format!("lock table {} in row exclusive mode", dataset.table());
        execute(&mut transaction, lock, "beginning to change rows").await?;
        Ok(Self { db: db.clone(), dataset, others, transaction })
    }

    /// For what is to be stored together with the change.
    pub fn transaction(&mut self) -> &mut PgConnection {
        &mut self.transaction
    }

    /// The row of that `_id`, a deleted one too.
    pub async fn lock(&mut self, id: &str) -> Result<Option<Locked>, WriteError> {
        let failed = || DbError::during("locking a row");
        let Some(row) = read(&mut self.transaction, self.dataset, id, " for update").await? else {
            return Ok(None);
        };
        let columns = &self.dataset.schema.columns;
        let texts: Vec<_> = columns.iter().map(|column| format!("{}::text", column.key)).collect();
        let mut query = QueryBuilder::<Postgres>::new("select ");
        query.push(texts.join(", ")).push(" from ").push(self.dataset.table()).push(" where _id = ");
        query.push_bind(id.to_owned()).push("::uuid");
        let texts =
            query.build().persistent(false).fetch_one(&mut *self.transaction).await.map_err(failed())?;
        let values = (0..columns.len()).map(|place| texts.try_get(place)).collect::<Result<_, _>>();
        Ok(Some(Locked { row, id: id.to_owned(), values: values.map_err(failed())? }))
    }

    /// A new row. The service makes its `_id` where it is not given.
    pub async fn create(&mut self, values: &Values, id: Option<&str>) -> Result<(String, Row), WriteError> {
        let id = id.map_or_else(|| Uuid::now_v7().to_string(), str::to_owned);
        let row = self.with(vec![None; self.dataset.schema.columns.len()], values);
        let mut taken = QueryBuilder::<Postgres>::new("select exists (select from ");
        taken.push(self.dataset.table()).push(" where _id = ").push_bind(id.clone()).push("::uuid)");
        let taken = taken.build_query_scalar().persistent(false).fetch_one(&mut *self.transaction).await;
        if taken.map_err(DbError::during("looking whether an _id is taken"))? {
            return Err(WriteError::IdTaken);
        }
        self.check_references(&row).await?;
        self.check_held(&id, &row).await?;
        let mut query = QueryBuilder::<Postgres>::new("insert into ");
        query.push(self.dataset.table()).push(" (_id");
        for column in &self.dataset.schema.columns {
            query.push(", ").push(&column.key);
        }
        query.push(") values (").push_bind(id.clone()).push("::uuid");
        for (column, value) in self.dataset.schema.columns.iter().zip(&row) {
            query.push(", ").push_bind(value.clone()).push("::text::").push(column.rule.sql_type());
        }
        query.push(")");
        let inserted = query.build().persistent(false).execute(&mut *self.transaction).await;
        if let Err(error) = inserted {
            return Err(self.held_or_failed(DbError::during("creating a row")(error), &id, &row).await);
        }
        let row = self.read(&id).await?;
        Ok((id, row))
    }

    /// Gives the row all of these values; columns that are not among them become null.
    pub async fn replace(&mut self, locked: &Locked, values: &Values) -> Result<Row, WriteError> {
        let row = self.with(vec![None; self.dataset.schema.columns.len()], values);
        self.update(locked, row).await
    }

    /// Gives the row these values, and leaves the others.
    pub async fn patch(&mut self, locked: &Locked, values: &Values) -> Result<Row, WriteError> {
        let row = self.with(locked.values.clone(), values);
        self.update(locked, row).await
    }

    /// Sets the deleted flag: what is unique of the row is free for others then.
    pub async fn delete(&mut self, locked: &Locked) -> Result<Row, WriteError> {
        if locked.row.deleted {
            return Err(WriteError::NotFound);
        }
        self.check_referenced(locked, None).await?;
        self.mark(locked, "now()").await
    }

    /// Takes the deleted flag back. A row without it stays as it is.
    pub async fn restore(&mut self, locked: &Locked) -> Result<Row, WriteError> {
        if !locked.row.deleted {
            return Ok(locked.row.clone());
        }
        self.check_references(&locked.values).await?;
        self.check_held(&locked.id, &locked.values).await?;
        self.mark(locked, "null").await
    }

    /// Makes it so.
    pub async fn commit(self) -> Result<(), DbError> {
        commit(self.transaction, "committing a change of rows").await
    }

    fn with(&self, mut row: Vec<Option<String>>, values: &Values) -> Vec<Option<String>> {
        for (place, value) in values {
            if let Some(old) = row.get_mut(*place) {
                old.clone_from(value);
            }
        }
        row
    }

    async fn read(&mut self, id: &str) -> Result<Row, WriteError> {
        read(&mut self.transaction, self.dataset, id, "").await?.ok_or(WriteError::NotFound)
    }

    /// Where the values are what the row has already, nothing changes, its version neither.
    async fn update(&mut self, locked: &Locked, row: Vec<Option<String>>) -> Result<Row, WriteError> {
        if locked.row.deleted {
            return Err(WriteError::NotFound);
        }
        self.check_references(&row).await?;
        self.check_referenced(locked, Some(&row)).await?;
        self.check_held(&locked.id, &row).await?;
        let columns = &self.dataset.schema.columns;
        let mut query = QueryBuilder::<Postgres>::new("update ");
        query.push(self.dataset.table()).push(" set _version = _version + 1, _updated_at = now()");
        for (column, value) in columns.iter().zip(&row) {
            query.push(", ").push(&column.key).push(" = ").push_bind(value.clone());
            query.push("::text::").push(column.rule.sql_type());
        }
        query.push(" where _id = ").push_bind(locked.id.clone()).push("::uuid and (false");
        for (column, value) in columns.iter().zip(&row) {
            query.push(" or ").push(&column.key).push(" is distinct from ").push_bind(value.clone());
            query.push("::text::").push(column.rule.sql_type());
        }
        query.push(")");
        let updated = query.build().persistent(false).execute(&mut *self.transaction).await;
        if let Err(error) = updated {
            return Err(self
                .held_or_failed(DbError::during("changing a row")(error), &locked.id, &row)
                .await);
        }
        self.read(&locked.id).await
    }

    async fn mark(&mut self, locked: &Locked, deleted_at: &str) -> Result<Row, WriteError> {
        let mut query = QueryBuilder::<Postgres>::new("update ");
        query
            .push(self.dataset.table())
            .push(" set _version = _version + 1, _updated_at = now(), _deleted_at = ");
        query.push(deleted_at).push(" where _id = ").push_bind(locked.id.clone()).push("::uuid");
        let marked = query.build().persistent(false).execute(&mut *self.transaction).await;
        if let Err(error) = marked {
            let error = DbError::during("deleting or restoring a row")(error);
            return Err(self.held_or_failed(error, &locked.id, &locked.values).await);
        }
        self.read(&locked.id).await
    }

    /// The unique indexes have the last word; this says who holds what.
    async fn check_held(&mut self, id: &str, row: &[Option<String>]) -> Result<(), WriteError> {
        for unique in uniques(self.dataset) {
            let Some(mut holder) = held(&mut self.transaction, self.dataset, &unique, id, row).await? else {
                continue;
            };
            if self.remove_hidden(&holder).await? {
                match held(&mut self.transaction, self.dataset, &unique, id, row).await? {
                    Some(other) => holder = other,
                    None => continue,
                }
            }
            return Err(WriteError::KeyHeld { column: self.key(&unique), id: Some(holder) });
        }
        Ok(())
    }

    fn key(&self, places: &[usize]) -> String {
        let column = places.first().and_then(|&place| self.dataset.schema.columns.get(place));
        column.map_or_else(String::new, |column| column.key.as_str().to_owned())
    }

    /// Removes a row that is hidden because its import is undone and will remove it anyway.
    async fn remove_hidden(&mut self, id: &str) -> Result<bool, WriteError> {
        let failed = || DbError::during("removing a hidden row");
        // In the order in which a removal takes its locks.
        let dataset_id = self.dataset.id.unwrap_or(0);
        let lock = format!(
            "select from import_removals where finished_at is null
             and import_id in (select id from imports where dataset_id = {dataset_id}) order by import_id for update"
        );
        execute(&mut self.transaction, lock, "locking removals").await?;
        let mut query = QueryBuilder::<Postgres>::new("with gone as (delete from ");
        query.push(self.dataset.table()).push(" where _id = ").push_bind(id.to_owned());
        query.push(
            "::uuid and _version = 1 and _import = any (array(
                 select import_id from import_removals where finished_at is null
             )) returning _import)
             update import_removals r set removed = r.removed + 1 from gone where r.import_id = gone._import",
        );
        let removed =
            query.build().persistent(false).execute(&mut *self.transaction).await.map_err(failed())?;
        Ok(removed.rows_affected() > 0)
    }

    /// What a unique index objected to, somebody else has written this very moment.
    async fn held_or_failed(&mut self, error: DbError, id: &str, row: &[Option<String>]) -> WriteError {
        if error.failure() != Failure::UniqueViolation {
            return WriteError::Database(error);
        }
        if error.constraint().is_some_and(|constraint| constraint.ends_with("__pkey")) {
            return WriteError::IdTaken;
        }
        // The transaction has failed; another one sees what is there.
        let mut connection = match self.db.acquire().await {
            Ok(connection) => connection,
            Err(error) => return WriteError::Database(error),
        };
        for unique in uniques(self.dataset) {
            match held(&mut connection, self.dataset, &unique, id, row).await {
                Ok(None) => {}
                Ok(holder) => return WriteError::KeyHeld { column: self.key(&unique), id: holder },
                Err(error) => return error,
            }
        }
        let first = uniques(self.dataset).into_iter().next().unwrap_or_default();
        WriteError::KeyHeld { column: self.key(&first), id: None }
    }

    /// What the row refers to must be there, and stays until the end of the transaction.
    async fn check_references(&mut self, row: &[Option<String>]) -> Result<(), WriteError> {
        let dataset = self.dataset;
        for key in &dataset.schema.foreign_keys {
            let values: Option<Vec<_>> =
                key.columns.iter().map(|&place| row.get(place).cloned().flatten()).collect();
            // A reference of which a part is null is none.
            let Some(values) = values else { continue };
            let name = key.dataset.as_deref().unwrap_or(dataset.name.as_str());
            let target = self.others.iter().map(|other| &**other).find(|other| other.name.as_str() == name);
            let target = target.or_else(|| (name == dataset.name.as_str()).then_some(dataset));
            let Some(target) = target else {
                return Err(WriteError::UnknownReference { column: self.key(&key.columns) });
            };
            if name == dataset.name.as_str() && refers_to_itself(dataset, key, row) {
                continue;
            }
            let mut query = QueryBuilder::<Postgres>::new("select true from ");
            query.push(format_args!(
                "{} o where {} and o._deleted_at is null",
                target.table(),
                visible(target, "o")
            ));
            for (target_key, value) in key.target.iter().zip(values) {
                let kind = target
                    .schema
                    .keyed(target_key.as_str())
                    .map_or("text", |(_, column)| column.rule.sql_type());
                query
                    .push(format_args!(" and o.{target_key} = "))
                    .push_bind(value)
                    .push("::text::")
                    .push(kind);
            }
            query.push(" limit 1 for share of o");
            let found = query.build().persistent(false).fetch_optional(&mut *self.transaction).await;
            if found.map_err(DbError::during("looking for what a row refers to"))?.is_none() {
                return Err(WriteError::UnknownReference { column: self.key(&key.columns) });
            }
        }
        Ok(())
    }

    /// Nothing may refer to what goes: to the row, or to the values that `new` changes.
    async fn check_referenced(
        &mut self,
        locked: &Locked,
        new: Option<&[Option<String>]>,
    ) -> Result<(), WriteError> {
        let dataset = self.dataset;
        let name = dataset.name.as_str();
        let others = self.others.iter().map(|other| &**other).filter(|other| other.name.as_str() != name);
        for referrer in others.chain([dataset]) {
            let own = referrer.name.as_str() == name;
            for key in &referrer.schema.foreign_keys {
                if key.dataset.as_deref().map_or(!own, |target| target != name) {
                    continue;
                }
                let places = key
                    .target
                    .iter()
                    .map(|target| dataset.schema.keyed(target.as_str()).map(|(place, _)| place));
                let Some(places) = places.collect::<Option<Vec<_>>>() else { continue };
                let stays =
                    |place: &usize| new.is_some_and(|new| new.get(*place) == locked.values.get(*place));
                if places.iter().all(stays) {
                    continue;
                }
                let mut query = QueryBuilder::<Postgres>::new("select exists (select from ");
                query.push(format_args!(
                    "{} o where {} and o._deleted_at is null",
                    referrer.table(),
                    visible(referrer, "o")
                ));
                if own {
                    query.push(" and o._id <> ").push_bind(locked.id.clone()).push("::uuid");
                }
                for (&column, place) in key.columns.iter().zip(places) {
                    let (Some(column), Some(target)) =
                        (referrer.schema.columns.get(column), dataset.schema.columns.get(place))
                    else {
                        continue;
                    };
                    query.push(format_args!(" and o.{} = ", column.key));
                    query.push_bind(locked.values.get(place).cloned().flatten());
                    query.push("::text::").push(target.rule.sql_type());
                }
                query.push(")");
                let exists =
                    query.build_query_scalar().persistent(false).fetch_one(&mut *self.transaction).await;
                if exists.map_err(DbError::during("looking for what refers to a row"))? {
                    return Err(WriteError::Referenced { dataset: referrer.name.as_str().to_owned() });
                }
            }
        }
        Ok(())
    }
}

fn refers_to_itself(dataset: &Dataset, key: &ForeignKey, row: &[Option<String>]) -> bool {
    key.columns.iter().zip(&key.target).all(|(&column, target)| {
        let target = dataset.schema.keyed(target.as_str()).and_then(|(place, _)| row.get(place));
        target.is_some_and(|target| target.is_some() && Some(target) == row.get(column))
    })
}

/// The columns that are unique, alone or together.
fn uniques(dataset: &Dataset) -> Vec<Vec<usize>> {
    let schema = &dataset.schema;
    let key = Some(schema.primary_key.clone()).filter(|key| !key.is_empty());
    let columns =
        schema.columns.iter().enumerate().filter(|(_, column)| column.unique).map(|(place, _)| vec![place]);
    key.into_iter().chain(columns).collect()
}

/// Another row that is not deleted and has the same values in these columns, none of them null.
async fn held(
    connection: &mut PgConnection,
    dataset: &Dataset,
    unique: &[usize],
    id: &str,
    row: &[Option<String>],
) -> Result<Option<String>, WriteError> {
    let mut query = QueryBuilder::<Postgres>::new("select _id::text from ");
    query
        .push(dataset.table())
        .push(" where _deleted_at is null and _id <> ")
        .push_bind(id.to_owned())
        .push("::uuid");
    for &place in unique {
        let (Some(column), Some(Some(value))) = (dataset.schema.columns.get(place), row.get(place)) else {
            return Ok(None);
        };
        query.push(format_args!(" and {} = ", column.key)).push_bind(value.clone());
        query.push("::text::").push(column.rule.sql_type());
    }
    query.push(" limit 1");
    let holder = query.build_query_scalar().persistent(false).fetch_optional(connection).await;
    Ok(holder.map_err(DbError::during("looking for held values"))?)
}
