//! What datasets there are, in which versions; and how they come, hide and go.

use sqlx::{AssertSqlSafe, FromRow, PgConnection};

use super::{
    CatalogError, DECLARING, again, begin, close_gates, ddl, during, is_under_way,
};
use crate::{
    datasets::{BUILT_IN, Dataset, Ident},
    db::{Db, DbError, commit},
};

/// A dataset as the catalogue has it.
#[derive(Debug, Clone, PartialEq, Eq, FromRow)]
pub struct Entry {
    /// The catalogue's number of it.
    pub id: i32,
    /// The current version.
    pub version: i32,
    /// Whether it is hidden, with its rows.
    pub hidden: bool,
}

/// A dataset in the list of all.
#[derive(Debug, Clone, PartialEq, FromRow)]
pub struct Listed {
    /// The catalogue's number of it.
    pub id: i32,
    /// Its name.
    pub name: String,
    /// The current version.
    pub version: i32,
    /// For people.
    pub title: Option<String>,
    /// Whether only keys that name it reach it.
    pub private: bool,
    /// About how many rows it has.
    pub rows_estimate: i64,
}

/// What became of a declaration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Declared {
    /// The dataset is new.
    Created {
        /// The catalogue's number of it.
        id: i32,
        /// 1.
        version: i32,
    },
    /// It was there already, in the same words.
    Same {
        /// The catalogue's number of it.
        id: i32,
        /// The current version.
        version: i32,
    },
}

/// What became of a purge.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removed {
    /// The catalogue's number of what is gone.
    pub id: i32,
}

/// About how many rows a table has, from what PostgreSQL counts anyway: the statistics follow within a second, and are empty after a
/// crash; the catalogue has what the last `analyze` found.
macro_rules! rows_estimate {
    ($table:literal) => {
        concat!(
            "coalesce(nullif(pg_stat_get_live_tuples(",
            $table,
            ".oid), 0), greatest(",
            $table,
            ".reltuples::bigint, 0), 0)"
        )
    };
}

/// The dataset of that name, hidden or not.
pub async fn find(connection: &mut PgConnection, name: &str) -> Result<Option<Entry>, DbError> {
    sqlx::query_as(
        "select id, version, hidden_at is not null as hidden from dataset_catalog where name = $1",
    )
    .bind(name)
    .fetch_optional(connection)
    .await
    .map_err(DbError::during("looking for a dataset"))
}

/// The name of the dataset with that number, and its descriptor in that version.
pub async fn descriptor(
    connection: &mut PgConnection,
    id: i32,
    version: i32,
) -> Result<Option<(String, String)>, DbError> {
    sqlx::query_as(
        "select c.name, v.descriptor from dataset_versions v join dataset_catalog c on c.id = v.dataset_id
         where v.dataset_id = $1 and v.version = $2",
    )
    .bind(id)
    .bind(version)
    .fetch_optional(connection)
    .await
    .map_err(DbError::during("reading a version of a dataset"))
}

/// The number and the latest version of the dataset of that name that has this descriptor.
pub async fn version_of(
    connection: &mut PgConnection,
    name: &str,
    descriptor: &str,
) -> Result<Option<(i32, i32)>, DbError> {
    sqlx::query_as(
        "select c.id, v.version from dataset_catalog c join dataset_versions v on v.dataset_id = c.id
         where c.name = $1 and v.descriptor = $2 order by v.version desc limit 1",
    )
    .bind(name)
    .bind(descriptor)
    .fetch_optional(connection)
    .await
    .map_err(DbError::during("looking for a version of a dataset"))
}

/// All that are declared and not hidden, by name.
pub async fn list(connection: &mut PgConnection) -> Result<Vec<Listed>, DbError> {
    sqlx::query_as(concat!(
        "select c.id, c.name, c.version, c.title, c.private, ",
        rows_estimate!("t"),
        " as rows_estimate
         from dataset_catalog c
         left join pg_class t on t.relname = c.name and t.relkind = 'r'
             and t.relnamespace = (select oid from pg_namespace where nspname = 'datasets')
         where c.hidden_at is null order by c.name collate \"C\""
    ))
    .fetch_all(connection)
    .await
    .map_err(DbError::during("listing the datasets"))
}

/// About how many rows the dataset has, built in or declared.
pub async fn rows_estimate(connection: &mut PgConnection, dataset: &Dataset) -> Result<i64, DbError> {
    let schema = if dataset.id.is_some() { "datasets" } else { "public" };
    let estimate: Option<i64> = sqlx::query_scalar(concat!(
        "select ",
        rows_estimate!("t"),
        " from pg_class t join pg_namespace n on n.oid = t.relnamespace
          where n.nspname = $1 and t.relname = $2 and t.relkind in ('r', 'p')"
    ))
    .bind(schema)
    .bind(dataset.name.as_str())
    .fetch_optional(connection)
    .await
    .map_err(DbError::during("estimating the rows of a dataset"))?;
    Ok(estimate.unwrap_or_default())
}

/// The datasets that refer to this one, other than itself: number, version and name.
pub async fn referencing(
    connection: &mut PgConnection,
    id: i32,
) -> Result<Vec<(i32, i32, String)>, DbError> {
    sqlx::query_as(
        "select c.id, c.version, c.name from dataset_references r join dataset_catalog c on c.id = r.dataset_id
         where r.target_id = $1 order by c.name collate \"C\"",
    )
    .bind(id)
    .fetch_all(connection)
    .await
    .map_err(DbError::during("looking for the datasets that refer to one"))
}

/// Another dataset that foreign keys go to, as the caller has looked at it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// The catalogue's number of it.
    pub id: i32,
    /// The version that has the columns which the foreign keys go to.
    pub version: i32,
    /// Its name.
    pub name: String,
}

/// Keeps a dataset that another one refers to from being changed until the transaction ends. In the order of ids.
async fn lock_target(connection: &mut PgConnection, target: &Target) -> Result<(), CatalogError> {
    let there: Option<(i32, bool)> =
        sqlx::query_as("select version, hidden_at is not null from dataset_catalog where id = $1 for share")
            .bind(target.id)
            .fetch_optional(connection)
            .await
            .map_err(during("locking the target of a foreign key"))?;
    match there {
        Some((version, false)) if version == target.version => Ok(()),
        Some((_, false)) => Err(CatalogError::Moved),
        _ => Err(CatalogError::UnknownTarget(target.name.clone())),
    }
}

/// Notes what the dataset refers to.
pub(super) async fn note_references(
    connection: &mut PgConnection,
    id: i32,
    targets: &[i32],
) -> Result<(), CatalogError> {
    sqlx::query(
        "with gone as (delete from dataset_references where dataset_id = $1 and target_id <> all ($2))
         insert into dataset_references (dataset_id, target_id) select $1, unnest($2::int[]) on conflict do nothing",
    )
    .bind(id)
    .bind(targets)
    .execute(connection)
    .await
    .map(drop)
    .map_err(during("noting what a dataset refers to"))
}

/// Declares a dataset, with its table. `dataset` is what its descriptor was compiled to; `targets` are the other datasets
/// that its foreign keys go to; `limit` is how many datasets there may be.
/// Of two declarations of one name at once, one comes first; the other finds it.
pub async fn declare(
    db: &Db,
    dataset: &Dataset,
    descriptor: &str,
    targets: &[Target],
    limit: u32,
) -> Result<Declared, CatalogError> {
    if BUILT_IN.iter().any(|built_in| built_in.name == dataset.name) {
        return Err(CatalogError::NameTaken);
    }
    again!(declare_once(db, dataset, descriptor, targets, limit))
}

async fn declare_once(
    db: &Db,
    dataset: &Dataset,
    descriptor: &str,
    targets: &[Target],
    limit: u32,
) -> Result<Declared, CatalogError> {
    let mut transaction = begin(db).await?;
    sqlx::query("select pg_advisory_xact_lock($1)")
        .bind(DECLARING)
        .execute(&mut *transaction)
        .await
        .map_err(during("waiting for another declaration"))?;
    let there: Option<(i32, i32, bool, bool)> = sqlx::query_as(
        "select c.id, c.version, c.hidden_at is not null, v.descriptor = $2
         from dataset_catalog c join dataset_versions v on v.dataset_id = c.id and v.version = c.version
         where c.name = $1",
    )
    .bind(dataset.name.as_str())
    .bind(descriptor)
    .fetch_optional(&mut *transaction)
    .await
    .map_err(during("looking for a dataset"))?;
    match there {
        Some((_, _, true, _)) => return Err(CatalogError::Hidden),
        Some((id, version, false, true)) => return Ok(Declared::Same { id, version }),
        Some(_) => return Err(CatalogError::Exists),
        None => {}
    }
    let datasets: i64 = sqlx::query_scalar("select count(*) from dataset_catalog")
        .fetch_one(&mut *transaction)
        .await
        .map_err(during("counting the datasets"))?;
    if datasets >= i64::from(limit) {
        return Err(CatalogError::TooMany { limit });
    }
    let mut targets: Vec<&Target> = targets.iter().collect();
    targets.sort_unstable_by_key(|target| target.id);
    for target in &targets {
        lock_target(&mut transaction, target).await?;
    }
    let targets: Vec<i32> = targets.iter().map(|target| target.id).collect();
    let id: i32 = sqlx::query_scalar(
        "with entry as (insert into dataset_catalog (name, title, private) values ($1, $2, $3) returning id),
              version as (insert into dataset_versions (dataset_id, version, descriptor) select id, 1, $4 from entry)
         select id from entry",
    )
    .bind(dataset.name.as_str())
    .bind(dataset.title.as_deref())
    .bind(dataset.private)
    .bind(descriptor)
    .fetch_one(&mut *transaction)
    .await
    .map_err(during("entering a dataset into the catalogue"))?;
    note_references(&mut transaction, id, &targets).await?;
    ddl::create(&mut transaction, dataset).await?;
    commit(transaction, "declaring a dataset").await?;
    Ok(Declared::Created { id, version: 1 })
}

/// Locks the dataset's row in the catalogue, alone, and compares its version where the caller knows one.
async fn lock(
    connection: &mut PgConnection,
    name: &str,
    version: Option<i32>,
) -> Result<Entry, CatalogError> {
    let entry = find(&mut *connection, name).await?.ok_or(CatalogError::Absent)?;
    close_gates(&mut *connection, &[entry.id]).await?;
    let entry: Entry = sqlx::query_as(
        "select id, version, hidden_at is not null as hidden from dataset_catalog where id = $1 for update",
    )
    .bind(entry.id)
    .fetch_optional(connection)
    .await
    .map_err(during("locking a dataset"))?
    .ok_or(CatalogError::Absent)?;
    match version {
        Some(version) if version != entry.version => Err(CatalogError::Moved),
        _ => Ok(entry),
    }
}

/// Hides a dataset, with its rows. [`CatalogError::Absent`] where there is none, or it is hidden already; [`CatalogError::Moved`] where
/// it has another version than the caller names.
pub async fn hide(db: &Db, name: &str, version: Option<i32>) -> Result<(), CatalogError> {
    again!(hide_once(db, name, version))
}

async fn hide_once(db: &Db, name: &str, version: Option<i32>) -> Result<(), CatalogError> {
    let mut transaction = begin(db).await?;
    let entry = lock(&mut transaction, name, version).await?;
    if entry.hidden {
        return Err(CatalogError::Absent);
    }
    set_hidden(&mut transaction, entry.id, true).await?;
    Ok(commit(transaction, "hiding a dataset").await?)
}

/// Brings a hidden dataset back. One that is not hidden stays as it is.
pub async fn restore(db: &Db, name: &str) -> Result<Entry, CatalogError> {
    again!(restore_once(db, name))
}

async fn restore_once(db: &Db, name: &str) -> Result<Entry, CatalogError> {
    let mut transaction = begin(db).await?;
    let entry = lock(&mut transaction, name, None).await?;
    set_hidden(&mut transaction, entry.id, false).await?;
    commit(transaction, "restoring a dataset").await?;
    Ok(Entry { hidden: false, ..entry })
}

async fn set_hidden(connection: &mut PgConnection, id: i32, hidden: bool) -> Result<(), CatalogError> {
    sqlx::query("update dataset_catalog set hidden_at = case when $2 then now() end, updated_at = now() where id = $1")
        .bind(id)
        .bind(hidden)
        .execute(connection)
        .await
        .map(drop)
        .map_err(during("hiding or restoring a dataset"))
}

/// Removes a dataset, hidden or not: its table, its versions, its entry. Refused while imports are under way or others refer to it.
pub async fn purge(db: &Db, name: &str, version: i32) -> Result<Removed, CatalogError> {
    again!(purge_once(db, name, version))
}

async fn purge_once(db: &Db, name: &str, version: i32) -> Result<Removed, CatalogError> {
    let mut transaction = begin(db).await?;
    let Entry { id, .. } = lock(&mut transaction, name, Some(version)).await?;
    if is_under_way(&mut transaction, id).await? {
        return Err(CatalogError::UnderWay);
    }
    let referencing = referencing(&mut transaction, id).await?;
    if !referencing.is_empty() {
        return Err(CatalogError::Referenced(referencing.into_iter().map(|(_, _, name)| name).collect()));
    }
    let Some(ident) = Ident::new(name) else { return Err(CatalogError::Absent) };
    let statement =
        format!("drop table {}; drop sequence {};", ddl::table(&ident), ddl::changes_sequence(&ident));
    ddl::run(&mut transaction, statement, "dropping a dataset's table").await?;
    sqlx::query("delete from dataset_catalog where id = $1")
        .bind(id)
        .execute(&mut *transaction)
        .await
        .map_err(during("removing a dataset from the catalogue"))?;
    commit(transaction, "purging a dataset").await?;
    Ok(Removed { id })
}

/// Where the sequence of the dataset's changes is.
pub(super) async fn changes(
    connection: &mut PgConnection,
    name: &Ident,
) -> Result<i64, CatalogError> {
    let statement = format!("select last_value from {}", ddl::changes_sequence(name));
    sqlx::query_scalar(AssertSqlSafe(statement))
        .persistent(false)
        .fetch_one(connection)
        .await
        .map_err(during("reading how often a dataset has changed"))
}

/// Takes the gates of these datasets and the rows of the catalogue, in the order of [`super`]: `id` alone, the targets shared.
pub(super) async fn lock_for_change(
    connection: &mut PgConnection,
    id: i32,
    targets: &[Target],
    gates: &[i32],
) -> Result<(), CatalogError> {
    close_gates(&mut *connection, gates).await?;
    let mut rows: Vec<(i32, Option<&Target>)> =
        targets.iter().map(|target| (target.id, Some(target))).chain([(id, None)]).collect();
    rows.sort_unstable_by_key(|(id, _)| *id);
    for (id, target) in rows {
        match target {
            Some(target) => lock_target(&mut *connection, target).await?,
            None => {
                sqlx::query("select from dataset_catalog where id = $1 for update")
                    .bind(id)
                    .execute(&mut *connection)
                    .await
                    .map_err(during("locking a dataset"))?;
            }
        }
    }
    Ok(())
}
