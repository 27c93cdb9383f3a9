//! How a loaded file becomes rows of a declared dataset's table: SQL made from the schema.
//!
//! [`plan`] gives the statements in the order in which they run, in one transaction. They decide what becomes of each row of the staging
//! table, and then write. A row is the stored row that its `_id` names, else the one with its primary key. Rows that are not
//! deleted come before deleted ones.
//!
//! In the staging table the columns of the dataset are `c0`, `c1`, … by their places in the schema: a user may call a column `row` or
//! `target`. No statement has parameters: names are written by [`Ident`](super::Ident), a value never is.

use std::{fmt::Write as _, str::FromStr};

use super::{Column, Dataset, ForeignKey, Ident, Load};

/// How the rows of a file meet those that are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum LoadMode {
    /// New rows are inserted, known ones changed.
    Upsert,
    /// A known row is rejected.
    Insert,
    /// Rows are added; the dataset has no key.
    Append,
    /// As [`LoadMode::Upsert`]; stored rows that the file does not name are deleted softly.
    Sync,
}

impl LoadMode {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Upsert, Self::Insert, Self::Append, Self::Sync];

    /// As the parameter `load` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Upsert => "upsert",
            Self::Insert => "insert",
            Self::Append => "append",
            Self::Sync => "sync",
        }
    }

    /// What an import does unless it says otherwise.
    pub fn default_of(dataset: &Dataset) -> Self {
        if dataset.schema.primary_key.is_empty() { Self::Append } else { Self::Upsert }
    }

    /// Whether files of the dataset can be loaded so.
    pub fn fits(self, dataset: &Dataset) -> bool {
        match self {
            Self::Upsert | Self::Insert => !dataset.schema.primary_key.is_empty(),
            Self::Append => dataset.schema.primary_key.is_empty(),
            Self::Sync => true,
        }
    }
}

/// What a null of a file does to a known row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Blanks {
    /// It replaces the stored value.
    #[default]
    Overwrite,
    /// The stored value stays.
    Keep,
}

impl Blanks {
    /// As the parameter `blanks` has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Overwrite => "overwrite",
            Self::Keep => "keep",
        }
    }
}

/// How many rows a sync may delete.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum MaxDeleted {
    /// Of the rows that are stored and not deleted.
    Percent(u32),
    /// Rows.
    Rows(u64),
}

impl Default for MaxDeleted {
    fn default() -> Self {
        Self::Percent(10)
    }
}

impl MaxDeleted {
    /// Whether `removed` of the `stored` rows may be deleted.
    pub fn allows(self, removed: i64, stored: i64) -> bool {
        match self {
            Self::Percent(percent) => i128::from(removed) * 100 <= i128::from(stored) * i128::from(percent),
            Self::Rows(rows) => i128::from(removed) <= i128::from(rows),
        }
    }
}

/// The text is not a whole number of rows, nor one from 0 to 100 with `%` behind it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be a number of rows as 10, or a share of them as 10%, from 0% to 100%")]
pub struct InvalidMaxDeleted;

impl std::fmt::Display for MaxDeleted {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Percent(percent) => write!(formatter, "{percent}%"),
            Self::Rows(rows) => write!(formatter, "{rows}"),
        }
    }
}

impl FromStr for MaxDeleted {
    type Err = InvalidMaxDeleted;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (digits, is_percent) = match text.strip_suffix('%') {
            Some(digits) => (digits, true),
            None => (text, false),
        };
        // `parse` would take a plus sign.
        if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(InvalidMaxDeleted);
        }
        if is_percent {
            let percent = digits.parse().ok().filter(|percent| *percent <= 100);
            percent.map(Self::Percent).ok_or(InvalidMaxDeleted)
        } else {
            digits.parse().map(Self::Rows).map_err(|_| InvalidMaxDeleted)
        }
    }
}

/// A foreign key with the rows that it may name.
#[derive(Debug, Clone)]
pub struct Reference<'a> {
    /// What must exist.
    pub key: &'a ForeignKey,
    /// What stands behind `from`, without alias, and has the target's columns by key of all rows that readers see: a table, or a
    /// query in parentheses. Unused where the dataset refers to itself.
    pub rows: String,
}

/// What a plan is made of.
#[derive(Debug, Clone, Copy)]
pub struct Loading<'a> {
    /// In the version that the import began with.
    pub dataset: &'a Dataset,
    /// The staging table, as it is written in SQL.
    pub staging: &'a str,
    /// The import's number.
    pub import_id: i64,
    /// The columns that the file has, by their places in the schema.
    pub present: &'a [usize],
    /// Whether the file has `_id`.
    pub has_row_id: bool,
    /// How rows meet those that are stored.
    pub load: LoadMode,
    /// What nulls do to known rows.
    pub blanks: Blanks,
    /// The foreign keys of the dataset.
    pub references: &'a [Reference<'a>],
}

/// One statement of a merge. It has no parameters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Decides outcomes.
    Decide(String),
    /// Decides outcomes of rows that compete with each other. Left out at first: where nothing else rejects a row and no unique
    /// index objects to the writing, there was nothing to decide. Otherwise all is taken back and done again with it.
    ResolveDuplicates(String),
    /// Gives `removed`, how many rows a sync is about to delete, and `stored`, how many there are: [`MaxDeleted::allows`] says whether
    /// the import may go on. Runs after all decisions, in a dry run too.
    Guard(String),
    /// Changes the dataset's table; left out of a dry run.
    Write(String),
}

/// The outcome that the engine gives to a row that it rejected while loading: the row's `_id` and key are in the staging table as far as
/// they could be read, so that a sync does not take the stored row for absent. Nothing else looks at it.
pub const REFUSED: &str = "refused";

/// Name of the temporary table of the rows that a sync deletes.
const ABSENT: &str = "pg_temp.absent_rows";
/// Name of the temporary table of what rows need of other rows.
const NEEDS: &str = "pg_temp.needs";

/// The dataset's table, as it is written in SQL.
pub fn table(dataset: &Dataset) -> String {
    format!("datasets.{}", dataset.name)
}

/// The statement that makes an import's staging table unless it is there. `direct`: rows go into the dataset's table, and here only those of
/// chunks that a unique index objected to.
pub fn staging_table(dataset: &Dataset, staging: &str, direct: bool) -> String {
    let mut columns = String::new();
    for (place, column) in dataset.schema.columns.iter().enumerate() {
        push(&mut columns, format_args!("{} {}, ", staged(place), column.rule.sql_type()));
    }
    let import_id = if direct { "_import bigint not null, " } else { "" };
    format!(
        "create table if not exists {staging} ({import_id}row bigint not null, _new_id uuid, {columns}_id uuid, target uuid, \
         outcome text, fault_column text, fault_code text, fault_message text, fault_value text, relations_dropped bigint, same_as bigint) \
         with (autovacuum_enabled = false)"
    )
}

/// What stands between `copy` and `from` for rows that go into the staging table: their number, the `_id` of a new row, the columns of the
/// dataset, and then what the file says `_id` is, if it has it, and the outcome, if `with_outcome`: null or [`REFUSED`].
pub fn copy_target(
    dataset: &Dataset,
    staging: &str,
    direct: bool,
    has_row_id: bool,
    with_outcome: bool,
) -> String {
    let mut columns = String::from(if direct { "_import, row, _new_id" } else { "row, _new_id" });
    for place in 0..dataset.schema.columns.len() {
        push(&mut columns, format_args!(", {}", staged(place)));
    }
    columns.push_str(if has_row_id { ", _id" } else { "" });
    columns.push_str(if with_outcome { ", outcome" } else { "" });
    format!("{staging} ({columns})")
}

/// As [`copy_target`], for rows that are loaded directly: their fields come in the same order.
pub fn direct_copy_target(dataset: &Dataset) -> String {
    let mut columns = String::from("_import, _row, _id");
    for column in &dataset.schema.columns {
        push(&mut columns, format_args!(", {}", column.key));
    }
    format!("{} ({columns})", table(dataset))
}

/// The statement that takes the rows that an import loaded directly into its staging table, where a plan decides about them.
pub fn take_back(dataset: &Dataset, staging: &str, import_id: i64) -> String {
    let (mut from, mut to) = (String::new(), String::new());
    for (place, column) in dataset.schema.columns.iter().enumerate() {
        push(&mut from, format_args!(", {}", column.key));
        push(&mut to, format_args!(", {}", staged(place)));
    }
    format!(
        "with gone as (delete from {table} where _import = {import_id} returning _import, _row, _id{from})
insert into {staging} (_import, row, _new_id{to}) select _import, _row, _id{from} from gone",
        table = table(dataset)
    )
}

/// Removes the next rows that import `$1` created and nobody changed since: by row number, those after `$2`, at most `$3`. Gives how many
/// it `found`, how many it `removed`, and the `last_key` it found. `$4` and `$5` are the `_id` of the import's row `$2` + 1 and the greatest
/// that a row of the import can have: the `_id` of an import's rows are in the order of the rows, so that the primary key finds them and no
/// other index is needed.
pub fn undo(dataset: &Dataset) -> String {
    format!(
        "with next as materialized (
    select _id, _row from {table}
    where _id between $4 and $5 and _import = $1 and _version = 1 and _row > $2 order by _id limit $3
),
gone as (
    delete from {table}
    where _id between $4 and (select _id from next order by _id desc limit 1) and _import = $1 and _version = 1 and _row > $2
    returning 1
)
select count(*) as found, (select count(*) from gone) as removed, max(_row) as last_key from next",
        table = table(dataset)
    )
}

/// Counts the rows of import `$1` that an undo has left.
pub fn count_kept(dataset: &Dataset) -> String {
    format!("select count(*) from {} where _import = $1", table(dataset))
}

/// The statements that merge a staging table, in their order.
pub fn plan(loading: Loading<'_>) -> Vec<Step> {
    let schema = &loading.dataset.schema;
    let has = |columns: &[usize]| columns.iter().all(|place| loading.present.contains(place));
    let key = Some(&schema.primary_key).filter(|key| !key.is_empty() && has(key));
    let planner = Planner {
        table: table(loading.dataset),
        name: loading.dataset.name.as_str(),
        key: key.map(Vec::as_slice),
        unique: unique(&loading),
        loading,
    };
    planner.steps()
}

/// The sets of columns whose values no other row may have and that a file can change. Rows are found by the primary key: only where `_id`
/// says which row a row is can its key be that of another.
fn unique(loading: &Loading<'_>) -> Vec<Vec<usize>> {
    let schema = &loading.dataset.schema;
    let key = &schema.primary_key;
    let mut unique = Vec::new();
    if loading.has_row_id && key.iter().any(|place| loading.present.contains(place)) {
        unique.push(key.clone());
    }
    let columns = schema.columns.iter().enumerate();
    unique.extend(
        columns
            .filter(|(place, column)| {
                column.unique && key.as_slice() != [*place] && loading.present.contains(place)
            })
            .map(|(place, _)| vec![place]),
    );
    unique
}

/// The name of a column in the staging table.
fn staged(place: usize) -> String {
    format!("c{place}")
}

/// A text as it is written in SQL. PostgreSQL's `standard_conforming_strings` is on: a quote is all there is to escape.
fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// Writing to a string cannot fail.
fn push(text: &mut String, arguments: std::fmt::Arguments<'_>) {
    let _ = text.write_fmt(arguments);
}

fn list<'a>(places: impl IntoIterator<Item = &'a usize>, each: impl Fn(usize) -> String) -> String {
    places.into_iter().map(|place| each(*place)).collect::<Vec<_>>().join(", ")
}

fn all<'a>(places: impl IntoIterator<Item = &'a usize>, each: impl Fn(usize) -> String) -> String {
    let conditions: Vec<_> = places.into_iter().map(|place| each(*place)).collect();
    if conditions.is_empty() { "true".to_owned() } else { conditions.join(" and ") }
}

/// Rows that something can still be decided about, and those that are what is stored already.
const IN_PLAY: &str = "(s.outcome is null or s.outcome = 'unchanged')";

/// A statement in the making.
struct Planner<'a> {
    loading: Loading<'a>,
    table: String,
    name: &'a str,
    /// The primary key, where the file has all of it.
    key: Option<&'a [usize]>,
    unique: Vec<Vec<usize>>,
}

impl Planner<'_> {
    fn steps(&self) -> Vec<Step> {
        let Loading { has_row_id, load, .. } = self.loading;
        let mut steps: Vec<_> = self.locks().into_iter().map(Step::Decide).collect();
        if has_row_id {
            steps.push(Step::Decide(self.find_by_row_id()));
            steps.push(Step::Decide(self.reject_unknown_row_ids()));
        }
        if let Some(key) = self.key {
            steps.push(Step::Decide(self.find_by_key(key)));
            steps.push(Step::Decide(self.find_deleted_by_key(key)));
        }
        if load != LoadMode::Insert && (has_row_id || self.key.is_some()) {
            steps.push(Step::Decide(self.resolve_repeated_targets()));
        }
        if let Some(key) = self.key {
            steps.push(Step::ResolveDuplicates(self.resolve_repeated_keys(key)));
        }
        if load == LoadMode::Sync {
            steps.push(Step::Decide(self.collect_absent()));
            steps.push(Step::Decide(format!("analyze {ABSENT}")));
        }
        steps.extend(self.reject_incomplete().map(Step::Decide));
        let unique = self.unique.iter();
        steps.extend(unique.map(|columns| Step::ResolveDuplicates(self.reject_repeated_values(columns))));
        let (own, others): (Vec<_>, Vec<_>) = self
            .loading
            .references
            .iter()
            .filter(|reference| self.concerns(reference))
            .partition(|reference| self.is_own(reference));
        steps.extend(
            others.into_iter().map(|reference| Step::Decide(self.reject_unknown_references(reference))),
        );
        let needs: Vec<_> = self
            .unique
            .iter()
            .map(|columns| Need::Value(columns))
            .chain(own.into_iter().map(|reference| Need::Reference(reference.key)))
            .collect();
        if !needs.is_empty() {
            // The planner takes `target` for null everywhere: so it was when the rows were loaded.
            steps.push(Step::Decide(format!("analyze {}", self.loading.staging)));
            steps.push(Step::Decide(self.collect_needs(&needs)));
            steps.push(Step::Decide(format!("create index on {NEEDS} (giver)")));
            steps.push(Step::Decide(format!("analyze {NEEDS}")));
            steps.push(Step::Decide(self.reject_unmet_needs(&needs)));
        }
        if load != LoadMode::Insert && (has_row_id || self.key.is_some()) {
            steps.push(Step::Decide(self.reject_repeated_rejects()));
        }
        if load == LoadMode::Sync {
            steps.push(Step::Guard(format!(
                "select (select count(*) from {ABSENT}) as removed, count(*) as stored from {} where {}",
                self.table,
                self.earlier("")
            )));
            steps.push(Step::Write(self.delete_absent()));
        }
        if !self.unique.is_empty() && load != LoadMode::Insert {
            steps.push(Step::Write(self.release()));
        }
        if load != LoadMode::Insert && (has_row_id || self.key.is_some()) {
            steps.push(Step::Write(self.update()));
        }
        steps.push(Step::Write(self.insert()));
        steps
    }

    /// Nobody may create or change a row between the decisions and the writing: a unique value could change hands unseen. Nor may a row
    /// go that one of these refers to. Readers go on. All who lock several tables do it in the order of their names.
    fn locks(&self) -> Vec<String> {
        let own = (self.table.clone(), "share row exclusive");
        let targets = self.loading.references.iter().filter(|reference| !self.is_own(reference));
        let targets = targets.filter_map(|reference| Ident::dataset(reference.key.dataset.as_deref()?));
        let mut tables: Vec<_> = targets.map(|name| (format!("datasets.{name}"), "share")).collect();
        tables.push(own);
        tables.sort_unstable();
        tables.dedup();
        tables.iter().map(|(table, mode)| format!("lock table {table} in {mode} mode")).collect()
    }

    fn column(&self, place: usize) -> &Column {
        &self.loading.dataset.schema.columns[place]
    }

    /// Names of columns, for people.
    fn names(&self, places: &[usize]) -> String {
        let names: Vec<_> = places.iter().map(|place| &*self.column(*place).name).collect();
        names.join(", ")
    }

    /// The first column's name, which stands for all of them in a reject; as it is written in SQL.
    fn fault_column(&self, places: &[usize]) -> String {
        places.first().map_or_else(|| "null".to_owned(), |place| literal(&self.column(*place).name))
    }

    /// What a row of the file says there, as text.
    fn fault_value(&self, places: &[usize]) -> String {
        let present: Vec<_> = places.iter().filter(|place| self.is_present(**place)).collect();
        match present.as_slice() {
            [] => "null".to_owned(),
            [place] => format!("s.{}::text", staged(**place)),
            places => format!(
                "concat_ws(', ', {})",
                list(places.iter().copied(), |place| format!("s.{}", staged(place)))
            ),
        }
    }

    fn is_present(&self, place: usize) -> bool {
        self.loading.present.contains(&place)
    }

    /// What a column of the row will be when it is written. `t` is the stored row; all null for a new one.
    fn effective(&self, place: usize, s: &str, t: &str) -> String {
        let key = &self.column(place).key;
        if !self.is_present(place) {
            format!("{t}.{key}")
        } else if self.loading.blanks == Blanks::Overwrite {
            format!("{s}.{}", staged(place))
        } else {
            format!("coalesce({s}.{}, {t}.{key})", staged(place))
        }
    }

    /// What columns of rows will be, as `v0`, `v1`, …, with `row`, `target` and `outcome`. Rows without one of the values are left out:
    /// null is distinct from everything. So are those that the file leaves as they are.
    fn values(&self, places: &[usize], condition: &str) -> String {
        let needs_stored =
            self.loading.blanks == Blanks::Keep || places.iter().any(|place| !self.is_present(*place));
        let Loading { staging, .. } = self.loading;
        let join = if needs_stored {
            format!(" left join {} t on t._id = s.target", self.table)
        } else {
            String::new()
        };
        let mut values = String::new();
        let mut known = String::new();
        for (index, place) in places.iter().enumerate() {
            let value = self.effective(*place, "s", "t");
            push(&mut values, format_args!(", {value} as v{index}"));
            push(&mut known, format_args!(" and {value} is not null"));
        }
        if self.loading.blanks == Blanks::Keep {
            let said = list(places.iter().filter(|place| self.is_present(**place)), |place| {
                format!("s.{}", staged(place))
            });
            let is_said =
                if said.is_empty() { "false".to_owned() } else { format!("num_nonnulls({said}) > 0") };
            push(&mut known, format_args!(" and {is_said}"));
        }
        format!("(select s.row, s.target, s.outcome{values} from {staging} s{join} where {condition}{known})")
    }

    /// Whether a stored row `t` is what the row `s` would make of it.
    fn is_unchanged(&self, but: &[usize]) -> String {
        all(self.loading.present.iter().filter(|place| !but.contains(place)), |place| {
            let (staged, key) = (staged(place), &self.column(place).key);
            match self.loading.blanks {
                Blanks::Overwrite => format!("t.{key} is not distinct from s.{staged}"),
                Blanks::Keep => format!("(s.{staged} is null or t.{key} is not distinct from s.{staged})"),
            }
        })
    }

    /// Whether the row `s` says the same as the row `e` of the file.
    fn is_repeated(&self) -> String {
        all(self.loading.present, |place| format!("s.{0} is not distinct from e.{0}", staged(place)))
    }

    /// Rows that others loaded and nobody deleted.
    fn earlier(&self, alias: &str) -> String {
        let Loading { dataset, import_id, .. } = self.loading;
        // What others are loading at this moment is not there yet.
        let under_way = match (dataset.load(), dataset.id) {
            (Load::Direct, Some(id)) => format!(
                " and ({alias}_import in (select id from imports where dataset_id = {id} and state in ('received', 'running', 'paused')))
    is not true"
            ),
            _ => String::new(),
        };
        format!("{alias}_deleted_at is null and {alias}_import is distinct from {import_id}{under_way}")
    }

    fn find_by_row_id(&self) -> String {
        let found = self.found("'_id'", "_id", "s._id::text", &[]);
        let Loading { staging, .. } = self.loading;
        format!(
            "update {staging} s set {found} from {} t where t._id = s._id and s.outcome is null",
            self.table
        )
    }

    /// What is known of a row `s` whose stored row `t` is found.
    fn found(&self, column: &str, names: &str, value: &str, matched: &[usize]) -> String {
        if self.loading.load != LoadMode::Insert {
            return format!(
                "target = t._id,
    outcome = case when t._deleted_at is not null then 'deleted' when {} then 'unchanged' end",
                self.is_unchanged(matched)
            );
        }
        let message = literal(&format!("{names} is that of the row "));
        format!(
            "target = t._id,
    outcome = case when t._deleted_at is not null then 'deleted' else 'rejected' end,
    fault_column = {column}, fault_code = 'key_exists', fault_value = {value},
    fault_message = {message} || t._id || ', which is stored already; to change it, load the file with load=upsert'"
        )
    }

    fn reject_unknown_row_ids(&self) -> String {
        let there_is_no = literal(&format!("there is no row of {} with the _id ", self.name));
        format!(
            "update {} s set
    outcome = 'rejected', fault_column = '_id', fault_code = 'unknown_id', fault_value = s._id::text,
    fault_message = {there_is_no} || s._id || '; for a new row, leave the field empty'
where s._id is not null and s.target is null and s.outcome is null",
            self.loading.staging
        )
    }

    fn find_by_key(&self, key: &[usize]) -> String {
        let found = self.found(&self.fault_column(key), &self.names(key), &self.fault_value(key), key);
        let same = all(key, |place| format!("t.{} = s.{}", self.column(place).key, staged(place)));
        format!(
            "update {} s set {found}
from {} t
where {same} and t._deleted_at is null and s.target is null and s.outcome is null",
            self.loading.staging, self.table
        )
    }

    /// Of several deleted rows with the key, any will do: the row is counted and nothing else.
    fn find_deleted_by_key(&self, key: &[usize]) -> String {
        let same = all(key, |place| format!("t.{} = s.{}", self.column(place).key, staged(place)));
        let columns = list(key, |place| self.column(place).key.to_string());
        let (staging, wanted) = (self.loading.staging, list(key, |place| format!("w.{}", staged(place))));
        format!(
            "update {} s set target = t._id, outcome = 'deleted'
from (
    select distinct on ({columns}) {columns}, _id from {} where _deleted_at is not null
        and ({columns}) in (select {wanted} from {staging} w where w.target is null and w.outcome is null)
    order by {columns}, _id desc
) t
where {same} and s.target is null and s.outcome is null",
            staging, self.table
        )
    }

    /// What becomes of the row `s`, which is the same as row `e`.
    fn repeated(&self, column: &str, by: &str) -> String {
        let the_same = literal(&format!("the same {} as row ", self.name));
        format!(
            "same_as = e.row, outcome = case when {} then 'unchanged' else 'rejected' end,
    fault_column = {column}, fault_code = 'duplicate_in_file', fault_message = {the_same} || e.row || ' by ' || {by}",
            self.is_repeated()
        )
    }

    /// What only repeats a row is nothing by itself where that row is rejected.
    fn reject_repeated_rejects(&self) -> String {
        format!(
            "update {staging} s set outcome = 'rejected', fault_column = e.fault_column, fault_code = e.fault_code,
    fault_message = e.fault_message, fault_value = e.fault_value
from {staging} e where s.same_as = e.row and s.outcome = 'unchanged' and e.outcome = 'rejected'",
            staging = self.loading.staging
        )
    }

    /// The first row of the file that changes a stored row wins.
    fn resolve_repeated_targets(&self) -> String {
        let Loading { staging, has_row_id, .. } = self.loading;
        let (column, by, value) = match self.key {
            Some(key) if has_row_id => (
                format!("case when s._id is null then {} else '_id' end", self.fault_column(key)),
                format!("case when s._id is null then {} else '_id' end", literal(&self.names(key))),
                format!("case when s._id is null then {} else s._id::text end", self.fault_value(key)),
            ),
            Some(key) => (self.fault_column(key), literal(&self.names(key)), self.fault_value(key)),
            None => ("'_id'".to_owned(), "'_id'".to_owned(), "s._id::text".to_owned()),
        };
        format!(
            "update {staging} s set {repeated}, fault_value = {value}
from (
    select s.target, min(s.row) as row from {staging} s where s.target is not null and {IN_PLAY}
    group by s.target having count(*) > 1
) k join {staging} e on e.row = k.row
where s.target = k.target and s.row > k.row and {IN_PLAY}",
            repeated = self.repeated(&column, &by)
        )
    }

    /// The first row of the file with a new key wins.
    fn resolve_repeated_keys(&self, key: &[usize]) -> String {
        let staging = self.loading.staging;
        let columns = list(key, staged);
        let same = all(key, |place| format!("s.{0} = k.{0}", staged(place)));
        format!(
            "update {staging} s set {repeated}, fault_value = {value}
from (
    select {columns}, min(row) as row from {staging} where target is null and outcome is null
    group by {columns} having count(*) > 1
) k join {staging} e on e.row = k.row
where {same} and s.row > k.row and s.target is null and s.outcome is null",
            repeated = self.repeated(&self.fault_column(key), &literal(&self.names(key))),
            value = self.fault_value(key),
        )
    }

    /// The rows that no row of the file names, neither by `_id` nor by key, whatever becomes of that row.
    fn collect_absent(&self) -> String {
        let staging = self.loading.staging;
        let mut unnamed = String::new();
        if self.loading.has_row_id {
            push(
                &mut unnamed,
                format_args!("\n    and not exists (select from {staging} s where s._id = t._id)"),
            );
        }
        if let Some(key) = self.key {
            let same = all(key, |place| format!("s.{} = t.{}", staged(place), self.column(place).key));
            push(&mut unnamed, format_args!("\n    and not exists (select from {staging} s where {same})"));
        }
        format!(
            "create temporary table {} on commit drop as select t._id from {} t where {}{unnamed}",
            unqualified(ABSENT),
            self.table,
            self.earlier("t.")
        )
    }

    /// A file that lacks required columns can change rows and make none.
    fn reject_incomplete(&self) -> Option<String> {
        let schema = &self.loading.dataset.schema;
        let (_, column) = schema.columns.iter().enumerate().find(|(place, column)| {
            (column.required || schema.primary_key.contains(place)) && !self.is_present(*place)
        })?;
        let message = format!("{} is required for a new row, and the file does not have it", column.name);
        Some(format!(
            "update {} s set outcome = 'rejected', fault_column = {}, fault_code = 'required', fault_message = {}
where s.outcome is null and s.target is null",
            self.loading.staging,
            literal(&column.name),
            literal(&message)
        ))
    }

    /// Within the file a value belongs to the first row that has it.
    fn reject_repeated_values(&self, columns: &[usize]) -> String {
        let values = self.values(columns, IN_PLAY);
        let value = (0..columns.len()).map(|index| format!("v{index}")).collect::<Vec<_>>().join(", ");
        format!(
            "update {} s set
    outcome = 'rejected', fault_column = {}, fault_code = 'key_held', fault_value = {},
    fault_message = {} || k.first_row || ' of the file'
from (select v.row, min(v.row) over (partition by {value}) as first_row from {values} v) k
where s.row = k.row and k.row > k.first_row and s.outcome is null",
            self.loading.staging,
            self.fault_column(columns),
            self.fault_value(columns),
            literal(&format!("{} is held by row ", self.names(columns))),
        )
    }

    /// Whether the file can change what refers to other rows.
    fn concerns(&self, reference: &Reference<'_>) -> bool {
        reference.key.columns.iter().any(|place| self.is_present(*place))
    }

    fn is_own(&self, reference: &Reference<'_>) -> bool {
        reference.key.dataset.as_deref().is_none_or(|dataset| dataset == self.name)
    }

    fn reject_unknown_references(&self, reference: &Reference<'_>) -> String {
        let key = reference.key;
        let values = self.values(&key.columns, "s.outcome is null");
        let same: Vec<_> =
            key.target.iter().enumerate().map(|(index, target)| format!("r.{target} = v.v{index}")).collect();
        format!(
            "update {} s set outcome = 'rejected', {}
from {values} v
where s.row = v.row and not exists (select from {} r where {})",
            self.loading.staging,
            self.unknown_reference(key),
            reference.rows,
            same.join(" and ")
        )
    }

    fn unknown_reference(&self, key: &ForeignKey) -> String {
        format!(
            "fault_column = {}, fault_code = 'unknown_reference', fault_value = {}, fault_message = {}",
            self.fault_column(&key.columns),
            self.fault_value(&key.columns),
            literal(&self.no_such_row(key))
        )
    }

    fn no_such_row(&self, key: &ForeignKey) -> String {
        let target: Vec<&str> = key.names.iter().map(AsRef::as_ref).collect();
        format!(
            "{} must be the {} of a row of {}, and no row has this value",
            self.names(&key.columns),
            target.join(", "),
            key.dataset.as_deref().unwrap_or(self.name)
        )
    }

    /// What rows need of other rows. `giver` is the row of this file by which they have it; there is none where they cannot have it. A
    /// need that stored rows meet for certain is not listed.
    fn collect_needs(&self, needs: &[Need<'_>]) -> String {
        let needs: Vec<_> = needs
            .iter()
            .enumerate()
            .map(|(number, need)| match need {
                Need::Value(columns) => self.needed_values(number, columns),
                Need::Reference(key) => self.needed_references(number, key),
            })
            .collect();
        format!(
            "create temporary table {} on commit drop as\n{}",
            unqualified(NEEDS),
            needs.join("\nunion all\n")
        )
    }

    /// Stored rows that stay: not deleted, nor about to be.
    fn staying(&self, alias: &str) -> String {
        match self.loading.load {
            LoadMode::Sync => format!(
                "{alias}._deleted_at is null and not exists (select from {ABSENT} absent where absent._id = {alias}._id)"
            ),
            _ => format!("{alias}._deleted_at is null"),
        }
    }

    /// The condition that the row `h` of the file gives stored row `a` other values than it has.
    fn gives_up(&self, places: &[usize]) -> String {
        let new = list(places, |place| self.effective(place, "h", "a"));
        let old = list(places, |place| format!("a.{}", self.column(place).key));
        format!("h.target = a._id and h.outcome is null and ({new}) is distinct from ({old})")
    }

    /// Values that other stored rows have: only a row of this file can take them from those.
    fn needed_values(&self, number: usize, columns: &[usize]) -> String {
        let values = self.values(columns, "s.outcome is null");
        let mut held = String::new();
        for (index, place) in columns.iter().enumerate() {
            push(&mut held, format_args!("a.{} = v.v{index} and ", self.column(*place).key));
        }
        format!(
            "select v.row, {number} as need, a._id as holder, h.row as giver
from {values} v
join {} a on {held}{}
left join {} h on {}
where v.target is distinct from a._id",
            self.table,
            self.staying("a"),
            self.loading.staging,
            self.gives_up(columns)
        )
    }

    /// References to rows of the dataset itself that none of those that stay as they are meets. A stored row whose own row of this file
    /// gives the value up does not count, even if that row is rejected in the end.
    fn needed_references(&self, number: usize, key: &ForeignKey) -> String {
        let target: Vec<usize> = key
            .target
            .iter()
            .filter_map(|ident| self.loading.dataset.schema.keyed(ident.as_str()).map(|(place, _)| place))
            .collect();
        let values = self.values(&key.columns, "s.outcome is null");
        let offered = self.values(&target, "s.outcome is null");
        let (mut stored, mut given) = (String::new(), Vec::new());
        for (index, place) in target.iter().enumerate() {
            push(&mut stored, format_args!("a.{} = v.v{index} and ", self.column(*place).key));
            given.push(format!("f.v{index} = v.v{index}"));
        }
        format!(
            "select v.row, {number} as need, null::uuid as holder, f.row as giver
from {values} v
left join {offered} f on {}
where not exists (
    select from {} a where {stored}{}
        and not exists (select from {} h where {})
)",
            given.join(" and "),
            self.table,
            self.staying("a"),
            self.loading.staging,
            self.gives_up(&target)
        )
    }

    /// A row that cannot have what it needs is rejected, and by that gives up nothing and makes nothing: so is who needs that, and so on.
    /// Each link of such a chain is looked up in the index, whatever the planner expects of it (`offset 0`), so that a chain takes as long
    /// as it has links.
    fn reject_unmet_needs(&self, needs: &[Need<'_>]) -> String {
        let (mut columns, mut codes, mut messages, mut values) =
            (String::new(), String::new(), String::new(), String::new());
        for (number, need) in needs.iter().enumerate() {
            let (places, code, message) = match need {
                Need::Value(places) => {
                    let held = literal(&format!("{} is held by the row ", self.names(places)));
                    (*places, "key_held", format!("{held} || f.holder"))
                }
                Need::Reference(key) => {
                    (key.columns.as_slice(), "unknown_reference", literal(&self.no_such_row(key)))
                }
            };
            push(&mut columns, format_args!(" when {number} then {}", self.fault_column(places)));
            push(&mut codes, format_args!(" when {number} then '{code}'"));
            push(&mut messages, format_args!(" when {number} then {message}"));
            push(&mut values, format_args!(" when {number} then {}", self.fault_value(places)));
        }
        format!(
            "with recursive refused (row) as (
    select row from {NEEDS} where giver is null
    union
    select n.row from refused r cross join lateral (select row from {NEEDS} where giver = r.row offset 0) n
),
first_fault as (
    select distinct on (n.row) n.row, n.holder, n.need
    from {NEEDS} n
    where n.giver is null or n.giver in (select row from refused)
    order by n.row, n.need
)
update {} s set
    outcome = 'rejected',
    fault_column = case f.need{columns} end,
    fault_code = case f.need{codes} end,
    fault_message = case f.need{messages} end,
    fault_value = case f.need{values} end
from first_fault f where s.row = f.row",
            self.loading.staging
        )
    }

    fn delete_absent(&self) -> String {
        format!(
            "update {} t set _deleted_at = now(), _updated_at = now(), _version = t._version + 1
from {ABSENT} absent where t._id = absent._id",
            self.table
        )
    }

    /// Unique indexes are checked row by row: where values change hands within a file, they must be free first.
    fn release(&self) -> String {
        let mut places: Vec<usize> = self.unique.concat();
        places.sort_unstable();
        places.dedup();
        let released = list(places.iter().filter(|place| self.is_present(**place)), |place| {
            let (key, new) = (&self.column(place).key, self.effective(place, "s", "t"));
            format!("{key} = case when {new} is not distinct from t.{key} then t.{key} end")
        });
        format!(
            "update {} t set {released}
from {} s
where t._id = s.target and s.outcome is null and s.row in (select giver from {NEEDS} where holder is not null)",
            self.table, self.loading.staging
        )
    }

    /// A column that the file does not have is left as it is, and so is a key by which the row was found. In the order of the `_id`, which
    /// is that in which most rows were inserted, the new versions of rows that lie together lie together too, in the table and in its
    /// indexes: that spares a tenth of the time.
    fn update(&self) -> String {
        let Loading { staging, has_row_id, .. } = self.loading;
        let is_fixed = |place: &usize| !has_row_id && self.key.is_some_and(|key| key.contains(place));
        let mut set = String::new();
        for place in self.loading.present.iter().filter(|place| !is_fixed(place)) {
            push(
                &mut set,
                format_args!("{} = {}, ", self.column(*place).key, self.effective(*place, "s", "t")),
            );
        }
        format!(
            "update {} t set {set}_version = t._version + 1, _updated_at = now()
from (select * from {staging} where target is not null and outcome is null order by target) s
where t._id = s.target",
            self.table
        )
    }

    fn insert(&self) -> String {
        let Loading { staging, import_id, present, .. } = self.loading;
        let (mut to, mut from) = (String::new(), String::new());
        for place in present {
            push(&mut to, format_args!(", {}", self.column(*place).key));
            push(&mut from, format_args!(", {}", staged(*place)));
        }
        format!(
            "insert into {} (_id, _import, _row{to})
select _new_id, {import_id}, row{from} from {staging} where outcome is null and target is null order by row",
            self.table
        )
    }
}

/// What a row needs that another row has, or makes.
enum Need<'a> {
    /// Values that no other row may have, of these columns.
    Value(&'a [usize]),
    /// A row of the dataset itself that it refers to.
    Reference(&'a ForeignKey),
}

/// `create temporary table` wants the name alone.
fn unqualified(name: &str) -> &str {
    name.strip_prefix("pg_temp.").unwrap_or(name)
}
