//! What can be imported. A dataset is data, not code: its columns with their rules. The engine reads it; no dataset does I/O.

pub mod airport;
mod alphanumeric;
pub mod change;
pub mod citizen;
pub mod codes;
mod column;
pub mod date;
pub mod declared;
pub mod descriptor;
mod file_dialect;
mod ident;
pub mod infer;
pub mod json;
pub mod numeric;
pub mod plan;
pub mod query;
pub mod row;
pub mod row_ids;
mod rule;
mod schema;
mod value;

use std::sync::{Arc, LazyLock};

use declared::Kind;

pub use column::{Column, Fault};
pub use declared::Declared;
pub use file_dialect::{Encoding, FileDialect, Quote};
pub use ident::Ident;
pub use rule::Rule;
pub use schema::{FieldsMatch, ForeignKey, Place, Point, Schema};
pub use value::{Item, Value};

/// The datasets that every Tarmac has.
pub static BUILT_IN: LazyLock<[Arc<Dataset>; 2]> =
    LazyLock::new(|| [Arc::clone(&airport::DATASET), Arc::clone(&citizen::DATASET)]);

/// One kind of file that can be imported, in one version: nothing of it ever changes.
#[derive(Debug)]
pub struct Dataset {
    /// The catalogue's number of it. `None`: it is built in.
    pub id: Option<i32>,
    /// As users write it: `airports`.
    pub name: Ident,
    /// 1, and one more with each change.
    pub version: i32,
    /// For people.
    pub title: Option<Box<str>>,
    /// One sentence for people.
    pub description: Option<Box<str>>,
    /// Whether only keys that name it reach it.
    pub private: bool,
    /// How its files are written, unless an upload says otherwise.
    pub dialect: FileDialect,
    /// Its columns.
    pub schema: Schema,
    /// Its declaration, a Data Resource with defaults filled in.
    pub descriptor: Arc<serde_json::Value>,
    /// What the database does with its rows.
    pub storage: Storage,
}

/// The column in which files of declared datasets say which row a row is.
static ROW_ID: LazyLock<Column> = LazyLock::new(|| {
    let rule = Rule::Declared(Arc::new(Declared::new(Kind::Uuid)));
    Column::new(
        "_id",
        rule,
        false,
        "The service's identifier of the row, as in exports; it says which row of the dataset it is",
    )
});

impl Dataset {
    /// What a built-in dataset has of its own.
    pub fn built_in(&self) -> Option<&BuiltIn> {
        match &self.storage {
            Storage::BuiltIn(built_in) => Some(built_in),
            Storage::Declared => None,
        }
    }

    /// The table with its rows, as SQL writes it.
    pub fn table(&self) -> String {
        self.built_in()
            .map_or_else(|| format!("datasets.{}", self.name), |built_in| built_in.table.to_owned())
    }

    /// The column of that key, with its place in the dataset's order. The [`Dataset::row_id`] comes last.
    pub fn column(&self, key: &str) -> Option<(usize, &Column)> {
        self.schema
            .columns
            .iter()
            .chain(self.row_id())
            .enumerate()
            .find(|(_, column)| column.key.as_str() == key)
    }

    /// The column in which a file says which row of the dataset's table a row of it is. A file has it only where its header names it.
    pub fn row_id(&self) -> Option<&Column> {
        match &self.storage {
            Storage::BuiltIn(built_in) => built_in.row_id.as_ref(),
            Storage::Declared => Some(&ROW_ID),
        }
    }

    /// The field that stands for null unless the client names another; of declared datasets each column has its own.
    pub fn null(&self) -> &str {
        self.built_in().map_or("", |built_in| built_in.null)
    }

    /// The fields of a file that stand for null in that column, when the client names `null` too.
    pub fn missing(&self, column: &Column, null: &str) -> Arc<[Box<str>]> {
        let own: &[Box<str>] = match &self.storage {
            Storage::BuiltIn(_) => &[Box::from("")],
            Storage::Declared if null.is_empty() => return Arc::clone(&column.missing),
            Storage::Declared => &column.missing,
        };
        let named = (!null.is_empty()).then(|| null.into());
        own.iter().cloned().chain(named).collect()
    }

    /// Where the rows of a chunk go. Of a declared dataset, rows that compete with no others go straight into its table.
    pub fn load(&self) -> Load {
        let Schema { primary_key, foreign_keys, columns, .. } = &self.schema;
        match &self.storage {
            Storage::BuiltIn(built_in) => built_in.load,
            Storage::Declared
                if primary_key.is_empty()
                    && foreign_keys.is_empty()
                    && !columns.iter().any(|column| column.unique) =>
            {
                Load::Direct
            }
            Storage::Declared => Load::Staged,
        }
    }

    /// The column that lists other rows of a file.
    pub fn relation(&self) -> Option<Relation> {
        self.built_in().and_then(|built_in| built_in.relation)
    }

    /// The sequence that every change of the dataset's table advances, as SQL writes it. `None`: each import is a set of its own, and what
    /// others do does not matter to it.
    pub fn changes(&self) -> Option<String> {
        match &self.storage {
            Storage::BuiltIn(built_in) => built_in.changes.map(ToOwned::to_owned),
            Storage::Declared if self.schema.primary_key.is_empty() => None,
            Storage::Declared => Some(self.declared_changes()),
        }
    }

    fn declared_changes(&self) -> String {
        format!("datasets.\"{}__changes\"", self.name.as_str())
    }

    /// The same for an import that loads in that mode: a sync of a dataset without key brings back what others have changed.
    pub fn changes_of(&self, load: Option<plan::LoadMode>) -> Option<String> {
        let is_sync = load == Some(plan::LoadMode::Sync) && self.built_in().is_none();
        self.changes().or_else(|| is_sync.then(|| self.declared_changes()))
    }

    /// What statistics read of its rows.
    pub fn segments(&self) -> Option<&Segments> {
        self.built_in().and_then(|built_in| built_in.segments.as_ref())
    }
}

/// What the database does with the rows of a dataset.
#[derive(Debug)]
pub enum Storage {
    /// SQL written for the dataset.
    BuiltIn(Box<BuiltIn>),
    /// A table of its own in PostgreSQL's schema `datasets`, named as the dataset, and SQL made from the schema.
    Declared,
}

/// How a built-in dataset is stored.
#[derive(Debug)]
pub struct BuiltIn {
    /// Where its rows are.
    pub table: &'static str,
    /// The column in which a file says which row of the dataset's table a row of it is. A file has it only where its header names it.
    pub row_id: Option<Column>,
    /// The field that stands for null unless the client names another. The empty field always does.
    pub null: &'static str,
    /// Where the rows of a chunk go.
    pub load: Load,
    /// The column that lists other rows of the file, by their numbers; whoever is listed lists back.
    pub relation: Option<Relation>,
    /// What statistics read of its rows.
    pub segments: Option<Segments>,
    /// How a loaded file becomes rows of the dataset's table.
    pub merge: &'static [Step],
    /// Removes the next rows that import `$1` created and nobody changed since: by a key that is not negative, those after `$2`, at
    /// most `$3`. Gives how many it `found`, how many it `removed`, and the `last_key` it found.
    pub undo: &'static str,
    /// Counts the rows of import `$1` that an undo has left; `None`: it leaves none.
    pub count_kept: Option<&'static str>,
    /// The sequence that every change of the dataset's table advances. `None`: each import is a set of its own, and what others do does
    /// not matter to it.
    pub changes: Option<&'static str>,
}

/// Where the rows of a chunk go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Load {
    /// Into the import's staging table; the merge takes them from there.
    Staged,
    /// Into the dataset's own table, with their `import_id` and `row`: nobody reads there what is of an import that is not
    /// complete. A chunk that a unique index objects to goes into the staging table, and so do all chunks of a dry run; the merge,
    /// which runs only when there is something to settle, takes from the dataset's table what competes with them. When the
    /// import ends badly, its rows are removed as an undo removes them.
    Direct,
}

/// A column that lists rows, and the column of the numbers it lists them by.
#[derive(Debug, Clone, Copy)]
pub struct Relation {
    /// A [`Rule::Integer`]; before `list` in the dataset's order.
    pub number: &'static str,
    /// A [`Rule::Integers`].
    pub list: &'static str,
}

/// Columns that are kept a second time, packed, of rows that are loaded directly. As long as nothing had to be merged, an import's
/// segments together have all of its rows as they came.
#[derive(Debug, Clone, Copy)]
pub struct Segments {
    /// With `import_id`, `segment_no`, `rows`, and a `bytea` for each of the columns.
    pub table: &'static str,
    /// The rows that are no longer as they came, by `import_id`; the database keeps it.
    pub changed: &'static str,
    /// In the dataset's order. Only texts may be null.
    pub columns: &'static [&'static str],
}

/// One statement of a merge. They run in order, in the finishing transaction.
///
/// `{staging}` stands for the import's staging table: `row`, the dataset's columns (before them, `import_id` where rows are loaded
/// directly; after them, the [`BuiltIn::row_id`]), and the bookkeeping columns
/// `target` (id of the row it is about to change), `outcome` (`unchanged`, `deleted`, `rejected`; null means it is
/// inserted, or updated when it has a target) and, for rejects, `fault_column`, `fault_code`, `fault_message`,
/// `fault_value`. A fault without outcome is reported too, and the row is loaded without what is at fault; `relations_dropped` is how many
/// relations it lost by that.
/// `$1` is the import id (bigint), `$2` the names of the columns the file has (text[]).
#[derive(Debug, Clone, Copy)]
pub enum Step {
    /// Decides outcomes; runs once.
    Decide(&'static str),
    /// Decides outcomes of rows that compete with each other. Left out at first: where nothing else rejects a row and no unique
    /// index objects to the writing, there was nothing to decide. Otherwise all is taken back and done again with it.
    ResolveDuplicates(&'static str),
    /// Changes the dataset's table; left out of a dry run.
    Write(&'static str),
}
