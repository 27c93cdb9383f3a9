//! What changing a declaration does, decided before anything is done.
//!
//! Storage is chosen so that most changes concern the catalogue only: rules live in the schema and not in the table. What is left is sorted
//! by what it takes: nothing, the catalogue, a statement without rewrite, a scan of the rows, or another dataset.

#[cfg(test)]
mod tests;
mod tightened;

use std::collections::{BTreeSet, HashMap, HashSet};

use tightened::{Field, tightened};

use super::{Column, ForeignKey, Ident, Place, Point, descriptor::Descriptor};

/// How grave a change is; the greatest of several counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Class {
    /// Nothing changes.
    None,
    /// A new version in the catalogue.
    Metadata,
    /// A statement that reads and rewrites no rows.
    Instant,
    /// The rows are scanned first; those that offend forbid it.
    Checked,
    /// It takes another dataset, or the client's word that data may go.
    Refused,
}

impl Class {
    /// As the API has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::None => "none",
            Self::Metadata => "metadata",
            Self::Instant => "instant",
            Self::Checked => "checked",
            Self::Refused => "refused",
        }
    }
}

/// What a new declaration changes.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// That of the gravest change.
    pub class: Class,
    /// First the resource, then fields that go, then the others in the order of the new declaration, then what is said of several.
    pub changes: Vec<Change>,
}

/// One change.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// How grave it is.
    pub class: Class,
    /// JSON Pointer into the new declaration as it was sent: `/schema/fields/3`. Of a field that goes: into the old one.
    pub pointer: String,
    /// For people.
    pub message: String,
    /// For who carries it out.
    pub what: What,
}

/// What there is to do, in the order of [`What::phase`]. Keys are the new ones, but for what goes.
#[derive(Debug, Clone, PartialEq)]
pub enum What {
    /// Nothing beside the new version.
    Nothing,
    /// A column is added; the rows have null there.
    AddColumn(Ident),
    /// A column is added that must not be null: every row that there is offends.
    AddRequiredColumn(Ident),
    /// A column goes with its values.
    DropColumn(Ident),
    /// A field would go, which the client did not allow: the code is `would_drop`.
    WouldDrop(Ident),
    /// A column gets another key. Two can swap theirs.
    RenameKey {
        /// The old key.
        from: Ident,
        /// The new key.
        to: Ident,
    },
    /// The values of a column are held against its new rule.
    CheckColumn(Ident),
    /// No two rows may have the same value.
    AddUnique(Ident),
    /// The unique index goes. The key is the old one, as in all that goes.
    DropUnique(Ident),
    /// These columns say which row a row is, none of them null.
    SetPrimaryKey(Vec<Ident>),
    /// There is no primary key any more.
    DropPrimaryKey,
    /// An index is made.
    AddIndex(Ident),
    /// The index goes.
    DropIndex(Ident),
    /// Each row must have its row there.
    AddForeignKey(ForeignKey),
    /// No row there is asked for any more. Names the foreign key as it was.
    DropForeignKey(ForeignKey),
    /// Another place: the generated column and its index are made anew, and the rows held against the bounds.
    SetPoint(Point),
    /// There is no place any more.
    DropPoint,
    /// The column's values would be of another type.
    ChangeType(Ident),
}

impl What {
    /// The keys of the columns that are concerned.
    pub fn keys(&self) -> Vec<&Ident> {
        match self {
            Self::AddColumn(key)
            | Self::AddRequiredColumn(key)
            | Self::DropColumn(key)
            | Self::WouldDrop(key)
            | Self::RenameKey { to: key, .. }
            | Self::CheckColumn(key)
            | Self::AddUnique(key)
            | Self::DropUnique(key)
            | Self::AddIndex(key)
            | Self::DropIndex(key)
            | Self::ChangeType(key) => vec![key],
            Self::SetPrimaryKey(keys) => keys.iter().collect(),
            Self::Nothing
            | Self::DropPrimaryKey
            | Self::AddForeignKey(_)
            | Self::DropForeignKey(_)
            | Self::SetPoint(_)
            | Self::DropPoint => Vec::new(),
        }
    }

    /// When it is done: what is of a lower phase comes first. A key that goes may be another column's new one, and two columns may swap
    /// their keys in phase 2, which therefore takes names in between.
    pub fn phase(&self) -> u8 {
        match self {
            Self::DropUnique(_)
            | Self::DropPrimaryKey
            | Self::DropIndex(_)
            | Self::DropForeignKey(_)
            | Self::DropPoint => 0,
            Self::DropColumn(_) => 1,
            Self::RenameKey { .. } => 2,
            Self::AddColumn(_) | Self::AddRequiredColumn(_) => 3,
            Self::Nothing | Self::CheckColumn(_) | Self::WouldDrop(_) | Self::ChangeType(_) => 4,
            Self::AddUnique(_)
            | Self::SetPrimaryKey(_)
            | Self::AddIndex(_)
            | Self::AddForeignKey(_)
            | Self::SetPoint(_) => 5,
        }
    }
}

/// Says what `new` changes of `old`. `drop`: fields that `new` lacks may go with their values.
pub fn plan(old: &Descriptor, new: &Descriptor, drop: bool) -> Plan {
    let mut changes = Vec::new();
    if old != new {
        let mut planner = Planner { old, new, changes: Vec::new() };
        planner.resource();
        planner.fields(drop);
        planner.keys();
        changes = planner.changes;
        // Whatever differs and is not told apart above has no effect.
        if changes.is_empty() {
            changes.push(Change {
                class: Class::Metadata,
                pointer: String::new(),
                message: "properties without effect change".to_owned(),
                what: What::Nothing,
            });
        }
    }
    Plan { class: changes.iter().map(|change| change.class).max().unwrap_or(Class::None), changes }
}

struct Planner<'a> {
    old: &'a Descriptor,
    new: &'a Descriptor,
    changes: Vec<Change>,
}

impl Planner<'_> {
    fn add(&mut self, class: Class, pointer: impl Into<String>, message: impl Into<String>, what: What) {
        self.changes.push(Change { class, pointer: pointer.into(), message: message.into(), what });
    }

    fn metadata(&mut self, pointer: impl Into<String>, message: impl Into<String>) {
        self.add(Class::Metadata, pointer, message, What::Nothing);
    }

    /// What is outside the fields and has no part in storage.
    fn resource(&mut self) {
        let (old, new) = (self.old.canonical(), self.new.canonical());
        let members = ["title", "description", "private", "dialect"];
        for name in members.into_iter().filter(|name| old.get(name) != new.get(name)) {
            self.metadata(format!("/{name}"), format!("{name} changes"));
        }
        let schema = self.new.schema_pointer();
        for name in ["fieldsMatch", "missingValues"] {
            if old.pointer(&format!("/schema/{name}")) != new.pointer(&format!("/schema/{name}")) {
                self.metadata(format!("{schema}/{name}"), format!("{name} changes"));
            }
        }
    }

    /// The place of the old field that a new one continues: that of the same name, else of the same key where no new field has the name
    /// of that one.
    fn predecessors(&self) -> Vec<Option<usize>> {
        let (old, new) = (self.old.columns(), self.new.columns());
        let by_name: HashMap<&str, usize> =
            old.iter().enumerate().map(|(place, column)| (&*column.name, place)).collect();
        let by_key: HashMap<&Ident, usize> =
            old.iter().enumerate().map(|(place, column)| (&column.key, place)).collect();
        let mut found: Vec<Option<usize>> =
            new.iter().map(|column| by_name.get(&*column.name).copied()).collect();
        let continued: HashSet<usize> = found.iter().flatten().copied().collect();
        for (found, column) in found.iter_mut().zip(new).filter(|(found, _)| found.is_none()) {
            *found = by_key.get(&column.key).copied().filter(|place| !continued.contains(place));
        }
        found
    }

    fn fields(&mut self, drop: bool) {
        let predecessors = self.predecessors();
        let kept: HashSet<usize> = predecessors.iter().flatten().copied().collect();
        let (old, new) = (self.old, self.new);
        for (place, column) in old.columns().iter().enumerate().filter(|(place, _)| !kept.contains(place)) {
            let (key, name) = (column.key.clone(), &column.name);
            let pointer = format!("/schema/fields/{place}");
            if drop {
                let message = format!("the field {name} goes with its values");
                self.add(Class::Instant, pointer, message, What::DropColumn(key));
            } else {
                let message = format!(
                    "the field {name} is not there: its values would go; say so with drop=true, or keep the field"
                );
                self.add(Class::Refused, pointer, message, What::WouldDrop(key));
            }
        }
        for (place, (column, predecessor)) in new.columns().iter().zip(&predecessors).enumerate() {
            let pointer = format!("{}/fields/{place}", new.schema_pointer());
            let before =
                predecessor.and_then(|before| Some((old.columns().get(before)?, old.field(before)?)));
            match (before, new.field(place)) {
                (Some((before, old_field)), Some(field)) => {
                    self.field(before, column, old_field, field, &pointer);
                }
                _ => self.new_field(column, &pointer),
            }
        }
        let order: Vec<usize> = predecessors.iter().flatten().copied().collect();
        if order.windows(2).any(|pair| pair[0] > pair[1]) {
            self.metadata(format!("{}/fields", new.schema_pointer()), "the order of the fields changes");
        }
    }

    fn new_field(&mut self, column: &Column, pointer: &str) {
        let (key, name) = (column.key.clone(), &column.name);
        if column.required {
            let message = format!("the field {name} is new and required: no row has a value of it");
            self.add(Class::Checked, pointer, message, What::AddRequiredColumn(key));
        } else {
            let message = format!("the field {name} is new; it is null in the rows that are there");
            self.add(Class::Instant, pointer, message, What::AddColumn(key));
        }
        self.unique_and_index(None, column, pointer);
    }

    /// A field that was there: everything of it that differs.
    fn field(&mut self, before: &Column, now: &Column, old: &Field, new: &Field, pointer: &str) {
        let before_changes = self.changes.len();
        let name = &now.name;
        if before.key != now.key {
            let message = format!("the key {} becomes {}", before.key.as_str(), now.key.as_str());
            let what = What::RenameKey { from: before.key.clone(), to: now.key.clone() };
            self.add(Class::Instant, format!("{pointer}/key"), message, what);
        }
        if before.name != now.name {
            self.metadata(
                format!("{pointer}/name"),
                format!("the field {} becomes {name} in files", before.name),
            );
        }
        if old.get("type") != new.get("type") || before.rule.sql_type() != now.rule.sql_type() {
            let message = format!(
                "the type of {name} changes, and with it what its values are; declare another dataset, or a field with another name"
            );
            self.add(Class::Refused, format!("{pointer}/type"), message, What::ChangeType(now.key.clone()));
            return;
        }
        let tightened = tightened(old, new);
        for path in &tightened {
            let message =
                format!("{name} is held to a tighter rule: {}", path.rsplit('/').next().unwrap_or(path));
            self.add(Class::Checked, format!("{pointer}{path}"), message, What::CheckColumn(now.key.clone()));
        }
        match (before.required, now.required) {
            (false, true) => {
                let message = format!("{name} becomes required");
                let pointer = format!("{pointer}/constraints/required");
                self.add(Class::Checked, pointer, message, What::CheckColumn(now.key.clone()));
            }
            (true, false) => {
                self.metadata(
                    format!("{pointer}/constraints/required"),
                    format!("{name} is no longer required"),
                );
            }
            _ => {}
        }
        self.unique_and_index(Some(before), now, pointer);
        if self.changes.len() == before_changes && old != new {
            self.metadata(
                pointer,
                format!("{name} is described, written or limited otherwise, and no value is refused by that"),
            );
        }
    }

    fn unique_and_index(&mut self, before: Option<&Column>, now: &Column, pointer: &str) {
        let (key, name) = (now.key.clone(), &now.name);
        let old_key = before.map_or_else(|| key.clone(), |before| before.key.clone());
        let unique = format!("{pointer}/constraints/unique");
        match (before.is_some_and(|before| before.unique), now.unique) {
            (false, true) => {
                self.add(
                    Class::Checked,
                    unique,
                    format!("{name} becomes unique"),
                    What::AddUnique(key.clone()),
                );
            }
            (true, false) => {
                let message = format!("{name} is no longer unique");
                self.add(Class::Metadata, unique, message, What::DropUnique(old_key.clone()));
            }
            _ => {}
        }
        let index = format!("{pointer}/index");
        match (before.is_some_and(|before| before.indexed), now.indexed) {
            (false, true) => {
                self.add(Class::Checked, index, format!("{name} gets an index"), What::AddIndex(key))
            }
            (true, false) => {
                self.add(Class::Metadata, index, format!("{name} loses its index"), What::DropIndex(old_key));
            }
            _ => {}
        }
    }

    /// What is said of several fields: the primary key, references, the point.
    fn keys(&mut self) {
        let predecessors = self.predecessors();
        // Where an old column is now.
        let now: HashMap<usize, usize> =
            predecessors.iter().enumerate().filter_map(|(now, before)| Some(((*before)?, now))).collect();
        let (old, new) = (self.old.compile(None, 0).schema, self.new.compile(None, 0).schema);
        let schema = self.new.schema_pointer();
        let key = |place: &usize| new.columns.get(*place).map(|column| column.key.clone());

        let moved: Option<BTreeSet<usize>> =
            old.primary_key.iter().map(|place| now.get(place).copied()).collect();
        if moved != Some(new.primary_key.iter().copied().collect()) {
            let pointer = format!("{schema}/primaryKey");
            if new.primary_key.is_empty() {
                self.add(Class::Metadata, pointer, "there is no primary key any more", What::DropPrimaryKey);
            } else {
                let what = What::SetPrimaryKey(new.primary_key.iter().filter_map(key).collect());
                self.add(Class::Checked, pointer, "other fields say which row a row is", what);
            }
        }

        let same = |before: &ForeignKey, after: &ForeignKey| {
            before.dataset == after.dataset
                && before.names == after.names
                && before.columns.len() == after.columns.len()
                && before
                    .columns
                    .iter()
                    .zip(&after.columns)
                    .all(|(before, after)| now.get(before) == Some(after))
        };
        for (index, after) in new.foreign_keys.iter().enumerate() {
            if !old.foreign_keys.iter().any(|before| same(before, after)) {
                let message = format!(
                    "rows must have their rows in {}",
                    after.dataset.as_deref().unwrap_or("this dataset")
                );
                let pointer = format!("{schema}/foreignKeys/{index}");
                self.add(Class::Checked, pointer, message, What::AddForeignKey(after.clone()));
            }
        }
        for before in &old.foreign_keys {
            if !new.foreign_keys.iter().any(|after| same(before, after)) {
                let message =
                    format!("rows need no row in {}", before.dataset.as_deref().unwrap_or("this dataset"));
                let what = What::DropForeignKey(before.clone());
                self.add(Class::Metadata, format!("{schema}/foreignKeys"), message, what);
            }
        }

        let moved = old.point.as_ref().and_then(|point| {
            let place = match point.place {
                Place::Column(place) => Place::Column(*now.get(&place)?),
                Place::Columns { longitude, latitude } => {
                    Place::Columns { longitude: *now.get(&longitude)?, latitude: *now.get(&latitude)? }
                }
            };
            Some(Point { place, bounds: point.bounds })
        });
        match (&old.point, &new.point) {
            (_, Some(point)) if moved.as_ref() != Some(point) => {
                // A new column has no values to check, and its index comes with it.
                let is_new =
                    matches!(point.place, Place::Column(place) if predecessors.get(place) == Some(&None));
                let class = if is_new { Class::Instant } else { Class::Checked };
                self.add(
                    class,
                    "/point",
                    "other fields or bounds say where a row is",
                    What::SetPoint(point.clone()),
                );
            }
            (Some(_), None) => {
                self.add(Class::Checked, "/point", "rows have no place any more", What::DropPoint);
            }
            _ => {}
        }
    }
}
