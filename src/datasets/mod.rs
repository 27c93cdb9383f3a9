//! What can be imported. A dataset is data, not code: its columns with their rules, and the SQL that merges
//! a loaded file into its table. The engine reads it; no dataset does I/O.
//!
//! To add one: a file here and a line in [`ALL`], a migration that creates its table, an operation in `api/` that uploads files of it
//! and operations that read its rows, their SQL in `db/`, and its name in `cli/upload`.

pub mod airport;
mod alphanumeric;
pub mod citizen;
mod column;
pub mod date;
pub mod json;
mod kind;

pub use column::{Column, Fault, Value};
pub use kind::Kind;

/// Every dataset there is.
pub const ALL: &[&Dataset] = &[&airport::DATASET, &citizen::DATASET];

/// The dataset of that name.
pub fn by_name(name: &str) -> Option<&'static Dataset> {
    ALL.iter().copied().find(|dataset| dataset.name == name)
}

/// One kind of file that can be imported.
#[derive(Debug)]
pub struct Dataset {
    /// As users write it: `airports`.
    pub name: &'static str,
    /// In the order of a file without header.
    pub columns: &'static [Column],
    /// The column in which a file says which row of the dataset's table a row of it is. A file has it only where its header names it.
    pub row_id: Option<&'static Column>,
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
    Direct {
        /// The dataset's table.
        table: &'static str,
    },
}

/// A column that lists rows, and the column of the numbers it lists them by.
#[derive(Debug, Clone, Copy)]
pub struct Relation {
    /// A [`Kind::Integer`]; before `list` in the dataset's order.
    pub number: &'static str,
    /// A [`Kind::Integers`].
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
/// directly; after them, the [`Dataset::row_id`]), and the bookkeeping columns
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

impl Dataset {
    /// The column of that name, with its place in the dataset's order. The [`Dataset::row_id`] comes last.
    pub fn column(&self, name: &str) -> Option<(usize, &'static Column)> {
        self.columns.iter().chain(self.row_id).enumerate().find(|(_, column)| column.name == name)
    }
}
