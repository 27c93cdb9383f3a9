//! The datasets as a process knows them. Which version of a dataset is the current one is asked of the database each time, so that what
//! another replica declares or changes is there at once; what a version is made of never changes, and is kept.

use std::{collections::HashMap, sync::Arc};

use sqlx::PgConnection;

use crate::{
    datasets::{
        BUILT_IN, Dataset, Ident,
        change::{Class, Plan, What},
        descriptor::{self, Descriptor},
    },
    db::{
        Db, DbError,
        catalog::{self, CatalogError, Change, Declared, Listed, Offender, Pinned, Referencing, Target},
    },
};

/// The datasets, built in and declared. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Catalog {
    db: Db,
}

impl Catalog {
    /// The datasets of that database.
    pub fn new(db: Db) -> Self {
        Self { db }
    }

    /// The dataset of that name in its current version. Hidden ones are none.
    pub async fn by_name(&self, name: &str) -> Result<Option<Arc<Dataset>>, DbError> {
        if let Some(dataset) = built_in(name) {
            return Ok(Some(dataset));
        }
        if Ident::dataset(name).is_none() {
            return Ok(None);
        }
        let mut connection = self.db.acquire().await?;
        match catalog::find(&mut connection, name).await? {
            Some(entry) if !entry.hidden => self.version_by(&mut connection, entry.id, entry.version).await,
            _ => Ok(None),
        }
    }

    /// The declared dataset of that name in its current version, hidden or not: what foreign keys go to.
    pub async fn referred_to(&self, name: &str) -> Result<Option<Arc<Dataset>>, DbError> {
        let mut connection = self.db.acquire().await?;
        match catalog::find(&mut connection, name).await? {
            Some(entry) => self.version_by(&mut connection, entry.id, entry.version).await,
            None => Ok(None),
        }
    }

    /// A version of a declared dataset, hidden or not. `None`: there is none, or it was purged.
    pub async fn version(&self, id: i32, version: i32) -> Result<Option<Arc<Dataset>>, DbError> {
        if let Some(dataset) = self.db.versions().get(&(id, version)) {
            return Ok(Some(dataset));
        }
        let mut connection = self.db.acquire().await?;
        self.version_by(&mut connection, id, version).await
    }

    /// The dataset of an import, in the version that the import began with. `None`: it was purged, or this version of Tarmac does not know
    /// it.
    pub async fn of_import(&self, pinned: &Pinned) -> Result<Option<Arc<Dataset>>, DbError> {
        match (pinned.dataset_id, pinned.dataset_version) {
            (Some(id), Some(version)) => self.version(id, version).await,
            _ => Ok(built_in(&pinned.dataset)),
        }
    }

    /// The version of a dataset that is declared so, hidden or not.
    pub async fn declared_as(&self, descriptor: &Descriptor) -> Result<Option<Arc<Dataset>>, DbError> {
        let mut connection = self.db.acquire().await?;
        let found =
            catalog::version_of(&mut connection, descriptor.name().as_str(), &descriptor.text()).await?;
        let Some((id, version)) = found else { return Ok(None) };
        self.version_by(&mut connection, id, version).await
    }

    /// The declared datasets that are not hidden, by name. The built-in ones are [`BUILT_IN`].
    pub async fn list(&self) -> Result<Vec<Listed>, DbError> {
        let mut connection = self.db.acquire().await?;
        catalog::list(&mut connection).await
    }

    /// The datasets whose foreign keys go to this one, itself excluded.
    pub async fn referencing(&self, id: i32) -> Result<Vec<Arc<Dataset>>, DbError> {
        let mut connection = self.db.acquire().await?;
        let mut datasets = Vec::new();
        for (id, version, _) in catalog::referencing(&mut connection, id).await? {
            datasets.extend(self.version_by(&mut connection, id, version).await?);
        }
        Ok(datasets)
    }

    /// Declares a dataset. `limit` is how many there may be.
    pub async fn declare(&self, descriptor: &Descriptor, limit: u32) -> Result<Declared, CatalogError> {
        if built_in(descriptor.name().as_str()).is_some() {
            return Err(CatalogError::NameTaken);
        }
        let mut connection = self.db.acquire().await?;
        let targets = targets(&mut connection, descriptor).await?;
        let dataset = compile(&mut connection, descriptor, None, 1).await?;
        drop(connection);
        catalog::declare(&self.db, &dataset, &descriptor.text(), &targets, limit).await
    }

    /// Makes the change of a plan, and gives the new version. `old` is the dataset that the plan was made for.
    pub async fn change(&self, old: &Dataset, plan: &Plan, new: &Descriptor) -> Result<i32, CatalogError> {
        let prepared = self.prepare(old, plan, new).await?;
        catalog::change(&self.db, &prepared.change(old)).await
    }

    /// The first rows that keep the change of a plan from being made. Reads only.
    pub async fn offenders(
        &self,
        old: &Dataset,
        plan: &Plan,
        new: &Descriptor,
    ) -> Result<Vec<Offender>, CatalogError> {
        let prepared = self.prepare(old, plan, new).await?;
        let mut connection = self.db.acquire().await?;
        catalog::preview(&mut connection, &prepared.change(old)).await
    }

    /// What a change needs beside the plan.
    async fn prepare(&self, old: &Dataset, plan: &Plan, new: &Descriptor) -> Result<Prepared, CatalogError> {
        let id = old.id.ok_or(CatalogError::NameTaken)?;
        if plan.class == Class::Refused {
            return Err(CatalogError::Refused);
        }
        let mut connection = self.db.acquire().await?;
        let targets = targets(&mut connection, new).await?;
        let dataset = compile(&mut connection, new, Some(id), old.version + 1).await?;
        let mut referencing = Vec::new();
        for (id, version, name) in catalog::referencing(&mut connection, id).await? {
            let other = self.version_by(&mut connection, id, version).await?;
            let other = other.ok_or(CatalogError::Moved)?;
            let keys = other.schema.foreign_keys.iter();
            let columns = keys
                .filter(|key| key.dataset.as_deref() == Some(old.name.as_str()))
                .map(|key| key.target.clone())
                .collect();
            referencing.push(Referencing { id, version, name, columns });
        }
        let (origins, checked) = places(old, plan, &dataset);
        Ok(Prepared { dataset, descriptor: new.text(), origins, checked, targets, referencing })
    }

    async fn version_by(
        &self,
        connection: &mut PgConnection,
        id: i32,
        version: i32,
    ) -> Result<Option<Arc<Dataset>>, DbError> {
        if let Some(dataset) = self.db.versions().get(&(id, version)) {
            return Ok(Some(dataset));
        }
        let Some((name, text)) = catalog::descriptor(&mut *connection, id, version).await? else {
            return Ok(None);
        };
        let descriptor = stored(&name, &text)?;
        let dataset = Arc::new(compile(connection, &descriptor, Some(id), version).await?);
        self.db.versions().insert((id, version), Arc::clone(&dataset));
        Ok(Some(dataset))
    }
}

/// A change that is ready to be made.
struct Prepared {
    dataset: Dataset,
    descriptor: String,
    origins: Vec<Option<usize>>,
    checked: Vec<usize>,
    targets: Vec<Target>,
    referencing: Vec<Referencing>,
}

impl Prepared {
    fn change<'a>(&'a self, old: &'a Dataset) -> Change<'a> {
        let Self { dataset, descriptor, origins, checked, targets, referencing } = self;
        Change {
            old,
            new: dataset,
            descriptor,
            origins: origins.clone(),
            checked: checked.clone(),
            targets: targets.clone(),
            referencing: referencing.clone(),
        }
    }
}

fn built_in(name: &str) -> Option<Arc<Dataset>> {
    BUILT_IN.iter().find(|dataset| dataset.name.as_str() == name).cloned()
}

/// A descriptor that the catalogue has. Every version reads what versions before it have stored.
fn stored(name: &str, text: &str) -> Result<Descriptor, DbError> {
    let corrupt = |message: String| {
        DbError::during(format!("reading the descriptor of dataset {name}"))(sqlx::Error::Decode(
            message.into(),
        ))
    };
    let ident = Ident::dataset(name).ok_or_else(|| corrupt("the name is not one of a dataset".to_owned()))?;
    descriptor::stored(&ident, text).map_err(|faults| {
        let first = faults.first();
        corrupt(first.map_or_else(String::new, |fault| format!("{}: {}", fault.pointer, fault.message)))
    })
}

/// Names of the other datasets that foreign keys go to.
fn target_names(descriptor: &Descriptor) -> Vec<&str> {
    let own = descriptor.name().as_str();
    let mut names: Vec<&str> = descriptor
        .references()
        .iter()
        .filter_map(|reference| reference.dataset.as_deref())
        .filter(|name| *name != own)
        .collect();
    names.sort_unstable();
    names.dedup();
    names
}

/// The datasets that foreign keys go to, as they are now.
async fn targets(
    connection: &mut PgConnection,
    descriptor: &Descriptor,
) -> Result<Vec<Target>, CatalogError> {
    let mut targets = Vec::new();
    for name in target_names(descriptor) {
        match catalog::find(&mut *connection, name).await? {
            Some(entry) if !entry.hidden => {
                targets.push(Target { id: entry.id, version: entry.version, name: name.to_owned() });
            }
            _ => return Err(CatalogError::UnknownTarget(name.to_owned())),
        }
    }
    Ok(targets)
}

/// The dataset of a descriptor. The columns that foreign keys go to are looked up by their names there.
async fn compile(
    connection: &mut PgConnection,
    descriptor: &Descriptor,
    id: Option<i32>,
    version: i32,
) -> Result<Dataset, DbError> {
    let mut keys: HashMap<(String, Box<str>), Ident> = HashMap::new();
    for target in target_names(descriptor) {
        let Some(entry) = catalog::find(&mut *connection, target).await? else { continue };
        let Some((name, text)) = catalog::descriptor(&mut *connection, entry.id, entry.version).await? else {
            continue;
        };
        for column in stored(&name, &text)?.columns() {
            keys.insert((name.clone(), column.name.clone()), column.key.clone());
        }
    }
    Ok(descriptor
        .compile_with(id, version, |dataset, column| keys.get(&(dataset.to_owned(), column.into())).cloned()))
}

/// For each column of the new version the place it had, and the columns to be checked.
fn places(old: &Dataset, plan: &Plan, new: &Dataset) -> (Vec<Option<usize>>, Vec<usize>) {
    let mut origins: Vec<Option<usize>> = new
        .schema
        .columns
        .iter()
        .map(|column| old.schema.keyed(column.key.as_str()).map(|(place, _)| place))
        .collect();
    let place = |key: &Ident| new.schema.keyed(key.as_str()).map(|(place, _)| place);
    let mut checked = Vec::new();
    for change in &plan.changes {
        match &change.what {
            What::AddColumn(key) => {
                if let Some(place) = place(key) {
                    origins[place] = None;
                }
            }
            What::AddRequiredColumn(key) => {
                if let Some(place) = place(key) {
                    origins[place] = None;
                    checked.push(place);
                }
            }
            What::RenameKey { from, to } => {
                if let Some(place) = place(to) {
                    origins[place] = old.schema.keyed(from.as_str()).map(|(place, _)| place);
                }
            }
            What::CheckColumn(key) => checked.extend(place(key)),
            What::SetPrimaryKey(keys) => checked.extend(keys.iter().filter_map(place)),
            // The rest follows from the two schemas.
            What::Nothing
            | What::DropColumn(_)
            | What::WouldDrop(_)
            | What::AddUnique(_)
            | What::DropUnique(_)
            | What::DropPrimaryKey
            | What::AddIndex(_)
            | What::DropIndex(_)
            | What::AddForeignKey(_)
            | What::DropForeignKey(_)
            | What::SetPoint(_)
            | What::DropPoint
            | What::ChangeType(_) => {}
        }
    }
    checked.sort_unstable();
    checked.dedup();
    (origins, checked)
}
