//! From one version of a dataset to the next.
//!
//! Stored rows are checked before anything is locked. Then, in one transaction that nobody else writes rows of the dataset in: whether a
//! row was written since the check (if so, it is done once more, at last within the lock), the indexes, the table, the new version. A
//! process that is killed on the way leaves the old version as it was.
//!
//! Indexes are made in that transaction, too, not concurrently: a unique index that exists before its version does would refuse rows that
//! the old version allows, and one whose making was killed stays behind. Readers go on meanwhile; writers wait, for about a second for
//! each million rows.

use std::fmt::Write;

use super::{
    CatalogError, Db, again, begin, ddl, during, is_under_way, scan,
    versions::{self, Target},
};
use crate::{
    datasets::{Dataset, ForeignKey, Ident},
    db::commit,
};

/// How often stored rows are checked without a lock.
const SCANS: u32 = 2;

/// Another dataset whose foreign keys go to the one that changes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Referencing {
    /// The catalogue's number of it.
    pub id: i32,
    /// The version that was looked at.
    pub version: i32,
    /// Its name.
    pub name: String,
    /// The keys of the columns that its foreign keys go to.
    pub columns: Vec<Vec<Ident>>,
}

/// What is to be done.
#[derive(Debug)]
pub struct Change<'a> {
    /// The dataset in the version that the caller knows.
    pub old: &'a Dataset,
    /// The dataset as it will be, with the next version.
    pub new: &'a Dataset,
    /// The descriptor of the new version.
    pub descriptor: &'a str,
    /// For each column of the new schema the place in the old one of the column that it was. `None`: it is new. An old column without a
    /// new one is dropped.
    pub origins: Vec<Option<usize>>,
    /// The columns of the new schema whose stored values the old rule allowed and the new one may not.
    pub checked: Vec<usize>,
    /// The datasets that the new foreign keys go to.
    pub targets: Vec<Target>,
    /// The datasets whose foreign keys go to this one.
    pub referencing: Vec<Referencing>,
}

impl Change<'_> {
    /// The key that the column has in the table before the change.
    pub(super) fn stored_key(&self, place: usize) -> Option<&Ident> {
        let origin = (*self.origins.get(place)?)?;
        self.old.schema.columns.get(origin).map(|column| &column.key)
    }

    /// The columns as they are in the table before the change; `None` where one is new.
    fn stored_keys(&self, places: &[usize]) -> Option<Vec<&Ident>> {
        places.iter().map(|&place| self.stored_key(place)).collect()
    }

    /// Unique columns, by their places, that were not unique together.
    pub(super) fn new_uniques(&self) -> Vec<Vec<usize>> {
        let old = ddl::uniques(&self.old.schema);
        let mut uniques = ddl::uniques(&self.new.schema);
        uniques.retain(|places| {
            let origins: Option<Vec<usize>> = places.iter().map(|&place| self.origins[place]).collect();
            !origins.is_some_and(|mut origins| {
                origins.sort_unstable();
                old.iter().any(|old| {
                    let mut old = old.clone();
                    old.sort_unstable();
                    old == origins
                })
            })
        });
        uniques
    }

    /// Foreign keys that there were not.
    pub(super) fn new_references(&self) -> Vec<&ForeignKey> {
        self.new
            .schema
            .foreign_keys
            .iter()
            .filter(|key| {
                let origins: Option<Vec<usize>> =
                    key.columns.iter().map(|&place| self.origins[place]).collect();
                !self.old.schema.foreign_keys.iter().any(|old| {
                    Some(&old.columns) == origins.as_ref()
                        && old.dataset == key.dataset
                        && old.target == key.target
                })
            })
            .collect()
    }

    /// Whether the rules of points have changed.
    pub(super) fn has_new_point(&self) -> bool {
        let Some(point) = &self.new.schema.point else { return false };
        let Some(old) = &self.old.schema.point else { return true };
        old.bounds != point.bounds || self.point_moves()
    }

    /// Whether other columns say where a row is.
    fn point_moves(&self) -> bool {
        use crate::datasets::Place::{Column, Columns};
        let place = |dataset: &Dataset| dataset.schema.point.as_ref().map(|point| point.place);
        let origin = |place: usize| self.origins.get(place).copied().flatten();
        match (place(self.old), place(self.new)) {
            (None, None) => false,
            (Some(Column(old)), Some(Column(new))) => origin(new) != Some(old),
            (
                Some(Columns { longitude, latitude }),
                Some(Columns { longitude: new_longitude, latitude: new_latitude }),
            ) => origin(new_longitude) != Some(longitude) || origin(new_latitude) != Some(latitude),
            _ => true,
        }
    }

    /// Columns of indexes that there were not, by their places; their values must not be too long.
    pub(super) fn newly_indexed(&self) -> Vec<usize> {
        let mut places = Vec::new();
        for (place, column) in self.new.schema.columns.iter().enumerate() {
            let was_indexed = self.origins[place]
                .and_then(|origin| self.old.schema.columns.get(origin))
                .is_some_and(|old| old.indexed);
            if column.indexed && !was_indexed {
                places.push(place);
            }
        }
        places.extend(self.new_uniques().into_iter().flatten());
        places.extend(self.new_references().into_iter().flat_map(|key| key.columns.iter().copied()));
        places.sort_unstable();
        places.dedup();
        places
    }

    /// Whether stored rows can offend.
    fn needs_scan(&self) -> bool {
        !self.checked.is_empty() || !self.newly_indexed().is_empty() || self.has_new_point()
    }

    /// The indexes of the new schema that can be made before the table changes, with the columns as they are until then.
    fn early_indexes(&self) -> Vec<ddl::Index> {
        let new = ddl::indexes(&self.new.schema);
        let place = |key: &String| self.new.schema.keyed(key).map(|(place, _)| place);
        new.into_iter()
            .filter_map(|index| {
                let places: Vec<usize> = index.columns.iter().map(place).collect::<Option<_>>()?;
                let columns = self.stored_keys(&places)?;
                let columns = columns.into_iter().map(|key| key.as_str().to_owned()).collect();
                Some(ddl::Index { method: index.method, columns })
            })
            .collect()
    }

    /// The statements that change the table.
    fn alter(&self) -> Result<String, CatalogError> {
        let table = ddl::table(&self.new.name);
        let mut statement = String::new();
        let old_point = ddl::two_columns(&self.old.schema);
        let new_point = ddl::two_columns(&self.new.schema);
        let point_moves = self.point_moves();
        if old_point.is_some() && point_moves {
            _ = write!(statement, "alter table {table} drop column _point;");
        }
        for (place, column) in self.old.schema.columns.iter().enumerate() {
            if !self.origins.contains(&Some(place)) {
                _ = write!(statement, "alter table {table} drop column {};", column.key);
            }
        }
        // By way of names that users cannot choose, so that two columns may change their names with each other.
        let mut second = String::new();
        for (place, column) in self.new.schema.columns.iter().enumerate() {
            let Some(origin) = self.origins[place].and_then(|origin| self.old.schema.columns.get(origin))
            else {
                continue;
            };
            if origin.rule.sql_type() != column.rule.sql_type() {
                return Err(CatalogError::TypeChanged(column.key.as_str().to_owned()));
            }
            if origin.key != column.key {
                _ = write!(statement, "alter table {table} rename column {} to _renamed_{place};", origin.key);
                _ = write!(second, "alter table {table} rename column _renamed_{place} to {};", column.key);
            }
        }
        statement.push_str(&second);
        let mut added: Vec<String> = Vec::new();
        for (place, column) in self.new.schema.columns.iter().enumerate() {
            if self.origins[place].is_none() {
                added.push(format!("add column {} {}", column.key, column.rule.sql_type()));
            }
        }
        if let Some(two) = new_point.filter(|_| point_moves) {
            added.push(format!("add column {}", ddl::point_column(two)));
        }
        if !added.is_empty() {
            _ = write!(statement, "alter table {table} {};", added.join(", "));
        }
        Ok(statement)
    }

    /// Names of the datasets that refer to columns which will be no key any more.
    fn broken_references(&self) -> Vec<String> {
        let uniques: Vec<Vec<&Ident>> = ddl::uniques(&self.new.schema)
            .into_iter()
            .map(|places| {
                let mut keys: Vec<_> =
                    places.into_iter().map(|place| &self.new.schema.columns[place].key).collect();
                keys.sort_unstable();
                keys
            })
            .collect();
        let holds = |columns: &Vec<Ident>| {
            let mut columns: Vec<&Ident> = columns.iter().collect();
            columns.sort_unstable();
            // A column that was dropped and comes again under the same name is another one.
            // So is one whose name changes: descriptors refer to columns by name.
            let is_same = columns.iter().all(|key| {
                let old = self.old.schema.keyed(key.as_str());
                let new = self.new.schema.keyed(key.as_str());
                matches!((old, new), (Some((origin, old)), Some((place, new)))
                    if self.origins[place] == Some(origin) && old.name == new.name)
            });
            is_same && uniques.contains(&columns)
        };
        self.referencing
            .iter()
            .filter(|referencing| !referencing.columns.iter().all(holds))
            .map(|referencing| referencing.name.clone())
            .collect()
    }
}

/// Makes the change, and gives the new version. Everything of it happens, or nothing.
pub async fn change(db: &Db, change: &Change<'_>) -> Result<i32, CatalogError> {
    let Some(id) = change.old.id else { return Err(CatalogError::NameTaken) };
    // What cannot succeed is refused before anything is read.
    change.alter()?;
    let broken = change.broken_references();
    if !broken.is_empty() {
        return Err(CatalogError::Referenced(broken));
    }
    let mut clean_at = None;
    if change.needs_scan() {
        for _ in 0..SCANS {
            let before = again!(changes_so_far(db, id, change))?;
            let mut connection = db.acquire().await?;
            let offenders = scan::offenders(&mut connection, change).await?;
            if !offenders.is_empty() {
                return Err(CatalogError::Offenders(offenders));
            }
            clean_at = Some(before);
            if versions::changes(&mut connection, &change.old.name).await? == before {
                break;
            }
        }
    }
    again!(apply(db, id, change, clean_at))
}

/// Where the sequence of changes is at a moment at which nobody writes. Whoever writes later advances it; a writer that has advanced it
/// and not committed yet would be missed by a scan.
async fn changes_so_far(db: &Db, id: i32, change: &Change<'_>) -> Result<i64, CatalogError> {
    let mut transaction = begin(db).await?;
    super::close_gates(&mut transaction, &[id]).await?;
    check(&mut transaction, id, change).await?;
    let changes = versions::changes(&mut transaction, &change.old.name).await?;
    commit(transaction, "looking how often a dataset has changed").await?;
    Ok(changes)
}

/// Whether the dataset is still the one that the caller knows, and nothing keeps it from being changed.
async fn check(
    connection: &mut sqlx::PgConnection,
    id: i32,
    change: &Change<'_>,
) -> Result<(), CatalogError> {
    let entry =
        versions::find(&mut *connection, change.old.name.as_str()).await?.ok_or(CatalogError::Absent)?;
    if entry.hidden {
        return Err(CatalogError::Hidden);
    }
    if entry.id != id || entry.version != change.old.version {
        return Err(CatalogError::Moved);
    }
    if is_under_way(connection, id).await? {
        return Err(CatalogError::UnderWay);
    }
    Ok(())
}

async fn apply(db: &Db, id: i32, change: &Change<'_>, clean_at: Option<i64>) -> Result<i32, CatalogError> {
    let new_references = change.new_references();
    let mut transaction = begin(db).await?;
    // Nobody deletes what new foreign keys go to while stored rows are compared with it.
    let mut gates = vec![id];
    gates.extend(
        change
            .targets
            .iter()
            .filter(|target| new_references.iter().any(|key| key.dataset.as_ref() == Some(&target.name)))
            .map(|target| target.id),
    );
    versions::lock_for_change(&mut transaction, id, &change.targets, &gates).await?;
    check(&mut transaction, id, change).await?;
    let referencing: Vec<(i32, i32)> = versions::referencing(&mut transaction, id)
        .await?
        .into_iter()
        .map(|(id, version, _)| (id, version))
        .collect();
    let mut known: Vec<(i32, i32)> =
        change.referencing.iter().map(|referencing| (referencing.id, referencing.version)).collect();
    known.sort_unstable();
    if !(referencing.len() == known.len()
        && referencing.iter().all(|entry| known.binary_search(entry).is_ok()))
    {
        return Err(CatalogError::Moved);
    }

    let mut offenders = Vec::new();
    if change.needs_scan() && clean_at != Some(versions::changes(&mut transaction, &change.old.name).await?) {
        offenders = scan::offenders(&mut transaction, change).await?;
    }
    if offenders.is_empty() {
        offenders = scan::references(&mut transaction, change, &new_references).await?;
    }
    if !offenders.is_empty() {
        return Err(CatalogError::Offenders(offenders));
    }

    let name = &change.new.name;
    if change.has_new_layout() {
        // What takes long goes first, and readers with it; the table is locked for readers for as short as it can be.
        ddl::create_missing(&mut transaction, name, &change.early_indexes()).await?;
        ddl::run(&mut transaction, change.alter()?, "changing a dataset's table").await?;
        let wanted = ddl::indexes(&change.new.schema);
        ddl::create_missing(&mut transaction, name, &wanted).await?;
        ddl::drop_unwanted(&mut transaction, name, &wanted).await?;
    }
    let targets: Vec<i32> = change.targets.iter().map(|target| target.id).collect();
    versions::note_references(&mut transaction, id, &targets).await?;
    let version = change.old.version + 1;
    sqlx::query(
        "with version as (insert into dataset_versions (dataset_id, version, descriptor) values ($1, $2, $3))
         update dataset_catalog set version = $2, title = $4, private = $5, updated_at = now() where id = $1",
    )
    .bind(id)
    .bind(version)
    .bind(change.descriptor)
    .bind(change.new.title.as_deref())
    .bind(change.new.private)
    .execute(&mut *transaction)
    .await
    .map_err(during("entering a version of a dataset"))?;
    commit(transaction, "changing a dataset").await?;
    Ok(version)
}

impl Change<'_> {
    /// Whether the table or its indexes change at all.
    fn has_new_layout(&self) -> bool {
        let keys = |dataset: &Dataset| -> Vec<Ident> {
            dataset.schema.columns.iter().map(|column| column.key.clone()).collect()
        };
        let is_in_place = self.origins.iter().enumerate().all(|(place, origin)| *origin == Some(place));
        !is_in_place
            || keys(self.old) != keys(self.new)
            || self.point_moves()
            || ddl::indexes(&self.old.schema) != ddl::indexes(&self.new.schema)
    }
}
