//! Checks the records of a chunk and stores them: the ledger's entry, the rows and the rejects in one transaction.

use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use sqlx::{Connection, PgConnection};

pub use crate::db::chunks::Loaded;

use super::{
    IngestError, blocking, header,
    records::{Lines, Record, Records},
    symmetry::{self, SymmetryChecksum},
    unreadable::{self, FIELD_COUNT, INVALID_UTF8, MALFORMED_QUOTES, RECORD_TOO_LONG, UNCLOSED_QUOTE},
};
use crate::{
    catalog::Catalog,
    datasets::{
        Column, Dataset, Fault, Load, Value,
        declared::point,
        plan::{self, LoadMode},
        row_ids::RowIds,
    },
    db::{
        Db, DbError, Failure, chunks, commit,
        copy::CopyBuffer,
        files::Layout,
        imports::Dialect,
        rejects::{self, MoreFault, Reject},
        segments::SegmentBuffer,
        staging,
    },
    failpoint,
    metrics::{Metrics, Phase},
    transport::{Broken, Chunk},
};

/// Bytes of the values of a primary key.
const MAX_KEY_BYTES: usize = 2_000;
/// What of a wrong value a reject keeps, characters.
const VALUE_CHARS: usize = 256;

/// How the records of a file become rows of a dataset.
#[derive(Debug, Clone)]
pub struct Format {
    dataset: Arc<Dataset>,
    dialect: Dialect,
    /// The columns of a row, with their rules as they are for this file, each with the field that holds it. The one that says which row of
    /// the dataset's table a row is comes last, if the file has it.
    columns: Vec<(Column, Option<usize>)>,
    has_row_id: bool,
    /// What the ids of new rows are made of; none where the database makes them.
    ids: Option<RowIds>,
    /// Whether rows name their import, as those of the dataset's own table do.
    names_import: bool,
    /// Whether the keys of rejected rows are kept beside the others: a sync must not take what they name for absent.
    keeps_refused: bool,
    /// How many fields a record has.
    width: usize,
    layout: Layout,
    symmetry: Option<SymmetryChecksum>,
    /// The columns of longitude and latitude, where two make a point.
    point: Option<(usize, usize)>,
}

/// Why rows cannot be checked.
#[derive(Debug)]
pub struct CheckError {
    /// Stable and for machines, as of an import that fails.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

/// What is wrong with a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowFault {
    /// The column's name; `None`: the row as a whole.
    pub column: Option<String>,
    /// As of a reject.
    pub code: &'static str,
    /// For people.
    pub message: String,
}

/// Checks rows as those of a file that came `now`, whose header has these names. For each row its faults, in the order of the names.
pub fn check_rows(
    dataset: Arc<Dataset>,
    names: &[String],
    rows: &[Vec<String>],
    now: DateTime<Utc>,
) -> Result<Vec<Vec<RowFault>>, CheckError> {
    let columns = header::columns(&dataset, names).map_err(|error| match error {
        IngestError::Refused(error) => CheckError { code: error.code, message: error.message },
        other => CheckError { code: "bad_header", message: other.to_string() },
    })?;
    let dialect = Dialect::standard(dataset.null());
    let format = Format::new(dataset, &dialect, &columns, Layout::default(), now, "");
    let mut values = CopyBuffer::new(0, 0);
    let check = |row: &Vec<String>| {
        values.begin_row();
        let mut faults = Vec::new();
        if row.len() == format.width {
            format.check_fields(
                |field| row.get(field).map(|text| Ok(text.as_str())),
                &mut values,
                None,
                &mut faults,
            );
        } else {
            faults.push(ColumnFault { column: None, fault: format.wrong_width(row.len()), value: None });
        }
        let name = |place: usize| format.columns.get(place).map(|(column, _)| column.name.to_string());
        let faults = faults.into_iter().map(|ColumnFault { column, fault, value: _ }| RowFault {
            column: column.and_then(name),
            code: fault.code,
            message: fault.message,
        });
        faults.collect()
    };
    Ok(rows.iter().map(check).collect())
}

/// A checked chunk.
#[derive(Debug)]
pub struct Checked {
    copy: CopyBuffer,
    /// What could be read of the keys of rejected rows, where the format keeps them.
    refused: Option<CopyBuffer>,
    segment: Option<SegmentBuffer>,
    rejected: Vec<Rejected>,
    rows_read: i64,
    /// What the relations of the good rows come to, see [`symmetry`].
    unpaired: u64,
}

impl Checked {
    /// Records of the chunk.
    pub fn rows_read(&self) -> i64 {
        self.rows_read
    }

    /// Records that became rows.
    pub fn good_rows(&self) -> u64 {
        self.copy.rows()
    }

    /// The others.
    pub fn rejected_rows(&self) -> usize {
        self.rejected.len()
    }
}

/// Where a record with faults is. What its faults are takes much more memory than the record, and a whole chunk may consist of such records:
/// [`Format::rejects`] finds them once more when they are stored.
#[derive(Debug, Clone, Copy)]
struct Rejected {
    row: i64,
    line: i64,
    /// In the chunk.
    start: usize,
}

impl Format {
    /// The format of a file with these columns, as [`crate::db::files::File::columns`] keeps them, of an import of that dialect, whose
    /// upload the archive calls `source`. It came at `created_at`: however often a chunk is checked, and whenever, the same rows are good.
    pub fn new(
        dataset: Arc<Dataset>,
        dialect: &Dialect,
        columns: &[String],
        layout: Layout,
        created_at: DateTime<Utc>,
        source: &str,
    ) -> Self {
        let today = created_at.date_naive();
        let field = |column: &Column| columns.iter().position(|key| *key == *column.key.as_str());
        let row_id = dataset.row_id().filter(|column| field(column).is_some());
        let dialect = layout.dialect(dialect);
        let compiled =
            |column: &Column| column.on(today).with_missing(dataset.missing(column, &dialect.null));
        let fields = dataset.schema.columns.iter().chain(row_id);
        let fields = fields.map(|column| (compiled(column), field(column))).collect();
        let has_row_id = row_id.is_some();
        let symmetry = SymmetryChecksum::new(&dataset, source);
        let point = point::columns(&dataset.schema).filter(|_| dataset.built_in().is_none());
        let names_import = dataset.load() == Load::Direct;
        let ids = dataset.built_in().is_none().then(|| RowIds::new(created_at));
        Self {
            dataset,
            dialect,
            columns: fields,
            has_row_id,
            ids,
            names_import,
            keeps_refused: false,
            width: columns.len(),
            layout,
            symmetry,
            point,
        }
    }

    /// The same for an import that deletes what its file does not name.
    pub fn keeping_refused(self) -> Self {
        let keeps_refused = self.has_row_id || !self.dataset.schema.primary_key.is_empty();
        Self { keeps_refused, ..self }
    }

    /// Whether rows go into the dataset's own table, unless something competes with them there.
    fn is_direct(&self) -> bool {
        self.names_import && !self.has_row_id
    }

    /// Begins a row of the chunk: what comes before its columns.
    fn begin_row(&self, copy: &mut CopyBuffer, chunk: &Chunk, row: i64) {
        copy.begin_row();
        if self.names_import {
            copy.put_i64(chunk.import_id);
        }
        copy.put_i64(row);
        if let Some(ids) = &self.ids {
            copy.put_uuid(ids.of(chunk.import_id, row));
        }
    }

    /// Checks every record of the chunk. Takes CPU time and nothing else.
    pub fn check(&self, chunk: &Chunk, bytes: &[u8]) -> Checked {
        let own = [true, self.names_import, self.ids.is_some(), self.keeps_refused];
        let own = own.into_iter().filter(|is_there| *is_there).count();
        let columns = i16::try_from(self.columns.len() + own).unwrap_or(i16::MAX);
        let mut checked = Checked {
            copy: CopyBuffer::new(columns, bytes.len() * 2),
            refused: self.keeps_refused.then(|| CopyBuffer::new(columns, 0)),
            segment: SegmentBuffer::new(&self.dataset),
            rejected: Vec::new(),
            rows_read: 0,
            unpaired: 0,
        };
        if chunk.broken.is_some() {
            checked.rows_read = 1;
            checked.rejected.push(Rejected { row: chunk.first_row, line: chunk.first_line, start: 0 });
            return checked;
        }
        let mut lines = Lines::new(chunk.first_line);
        let mut records = Records::new(&self.dialect, bytes);
        let mut faults = Vec::new();
        while let Some(record) = records.next() {
            let row = chunk.first_row + checked.rows_read;
            checked.rows_read += 1;
            self.begin_row(&mut checked.copy, chunk, row);
            if let Some(segment) = &mut checked.segment {
                segment.begin_row();
            }
            let relations =
                self.check_record(&record, &mut checked.copy, checked.segment.as_mut(), &mut faults);
            if faults.is_empty() {
                if self.keeps_refused {
                    checked.copy.put_null();
                }
                checked.copy.end_row();
                if let Some(segment) = &mut checked.segment {
                    segment.end_row();
                }
                checked.unpaired ^= relations.unpaired;
                continue;
            }
            faults.clear();
            if let Some(refused) = &mut checked.refused {
                self.begin_row(refused, chunk, row);
                self.put_keys(&record, refused);
                refused.put_text(plan::REFUSED);
                refused.end_row();
            }
            let start = record.start;
            checked.rejected.push(Rejected { row, line: lines.at(bytes, start), start });
        }
        checked
    }

    /// Puts what can be read of the record's keys, and null for all other columns.
    fn put_keys(&self, record: &Record<'_>, copy: &mut CopyBuffer) {
        let columns = self.dataset.schema.columns.len();
        for (place, (column, field)) in self.columns.iter().enumerate() {
            let is_key = place == columns || self.dataset.schema.primary_key.contains(&place);
            let bytes = field.filter(|_| is_key && self.fault_of_record(record).is_none());
            let text = bytes.and_then(|field| std::str::from_utf8(record.get(field)?).ok());
            match text.map(|text| column.parse(text)) {
                Some(Ok(value)) => copy.put(&value),
                _ => copy.put_null(),
            }
        }
    }

    /// The rejects of a chunk that this format has checked, in the order of the file.
    pub fn rejects<'a>(
        &'a self,
        chunk: &'a Chunk,
        bytes: &'a [u8],
        checked: &'a Checked,
    ) -> impl Iterator<Item = Reject> + Send + 'a {
        // Takes the values of the records, which nobody wants.
        let mut values = CopyBuffer::new(0, 0);
        checked.rejected.iter().filter_map(move |rejected| {
            if let Some(broken) = chunk.broken {
                return Some(broken_record(chunk, bytes, broken));
            }
            let mut records = Records::new(&self.dialect, &bytes[rejected.start..]);
            let record = records.next()?;
            let mut faults = Vec::new();
            values.begin_row();
            self.check_record(&record, &mut values, None, &mut faults);
            let mut found = faults.into_iter();
            let first = found.next()?;
            let byte_offset = std::str::from_utf8(record.raw)
                .err()
                .map(|error| chunk.byte_offset as i64 + (rejected.start + error.valid_up_to()) as i64);
            let place = (rejected.row, rejected.line, chunk.file_no, byte_offset);
            Some(reject(place, record.raw, first, found.collect(), &self.columns))
        })
    }

    /// Puts the record's values into the open row, unless there are faults. These come in the order of the file.
    fn check_record(
        &self,
        record: &Record<'_>,
        copy: &mut CopyBuffer,
        segment: Option<&mut SegmentBuffer>,
        faults: &mut Vec<ColumnFault>,
    ) -> symmetry::Row {
        if let Some(fault) = self.fault_of_record(record) {
            faults.push(ColumnFault { column: None, fault, value: None });
            return symmetry::Row::default();
        }
        // All fields at once, which is cheaper; where that fails, whichever is to blame fails by itself.
        let text = simdutf8::basic::from_utf8(record.raw).ok();
        let read = |field: usize| {
            let bytes = record.get(field)?;
            let valid = text.and_then(|text| record.get_in(text, field));
            Some(valid.map_or_else(|| std::str::from_utf8(bytes).map_err(|_| bytes), Ok))
        };
        self.check_fields(read, copy, segment, faults)
    }

    /// The same for fields that `read` gives by their places; one that is not UTF-8 as bytes.
    fn check_fields<'f>(
        &self,
        read: impl Fn(usize) -> Option<Result<&'f str, &'f [u8]>>,
        copy: &mut CopyBuffer,
        mut segment: Option<&mut SegmentBuffer>,
        faults: &mut Vec<ColumnFault>,
    ) -> symmetry::Row {
        let mut relations = symmetry::Row::default();
        let mut degrees = (None, None);
        for (place, (column, field)) in self.columns.iter().enumerate() {
            let Some(text) = field.and_then(&read) else {
                copy.put_null();
                if let Some(segment) = &mut segment {
                    segment.put(place, &Value::Null);
                }
                continue;
            };
            let value = match text {
                Ok(text) => column.parse(text),
                Err(_) => Err(Fault::new(INVALID_UTF8, format!("{} is not UTF-8", column.name))),
            };
            match value {
                Ok(value) => {
                    if let Some(symmetry) = &self.symmetry {
                        symmetry.see(&mut relations, place, &value);
                    }
                    if let Some(segment) = &mut segment {
                        segment.put(place, &value);
                    }
                    copy.put(&value);
                    match self.point {
                        Some((longitude, _)) if place == longitude => degrees.0 = Some(value),
                        Some((_, latitude)) if place == latitude => degrees.1 = Some(value),
                        _ => {}
                    }
                }
                Err(fault) => {
                    let value = Some(shorten(text.map_or_else(|bytes| bytes, str::as_bytes)));
                    faults.push(ColumnFault { column: Some(place), fault, value });
                }
            }
        }
        if let (Some(longitude), Some(latitude)) = degrees
            && let Err((place, fault)) = point::check_columns(&self.dataset.schema, &longitude, &latitude)
        {
            let text = self.columns.get(place).and_then(|(_, field)| read((*field)?));
            let value = text.map(|text| shorten(text.map_or_else(|bytes| bytes, str::as_bytes)));
            faults.push(ColumnFault { column: Some(place), fault, value });
        }
        if let Some(place) = self.too_long_key(&read) {
            let (column, _) = &self.columns[place];
            let message =
                format!("the primary key, up to {}, must have at most {MAX_KEY_BYTES} bytes", column.name);
            faults.push(ColumnFault {
                column: Some(place),
                fault: Fault::new("length", message),
                value: None,
            });
        }
        if faults.len() > 1 {
            faults.sort_by_key(|fault| fault.column.and_then(|place| self.columns.get(place)?.1));
        }
        relations
    }

    /// The column with which the fields of a key of several columns become too long for its index. Each alone has its own limit.
    fn too_long_key<'f>(&self, read: impl Fn(usize) -> Option<Result<&'f str, &'f [u8]>>) -> Option<usize> {
        let key = &self.dataset.schema.primary_key;
        if key.len() < 2 {
            return None;
        }
        let mut bytes = 0;
        key.iter().copied().find(|place| {
            let text = self.columns.get(*place).and_then(|(_, field)| read((*field)?));
            bytes += text.map_or(0, |text| text.map_or_else(<[u8]>::len, str::len));
            bytes > MAX_KEY_BYTES
        })
    }

    /// A record that has another number of fields than it must.
    fn wrong_width(&self, width: usize) -> Fault {
        Fault::new(FIELD_COUNT, format!("the record has {width} fields, {} are expected", self.width))
    }

    /// Why the record cannot be told into its columns.
    fn fault_of_record(&self, record: &Record<'_>) -> Option<Fault> {
        if record.is_malformed {
            return Some(Fault::new(
                MALFORMED_QUOTES,
                "text follows a closing quote; a quote within a quoted field must be doubled".to_owned(),
            ));
        }
        if !record.fits(self.width, self.layout.spare) {
            return Some(self.wrong_width(record.len()));
        }
        let code = unreadable::code_of(record, self.layout.code)?;
        let message = format!(
            "the row was rejected with {code}, and its _code cell still says so: write its values into their columns and empty the _code cell"
        );
        Some(Fault::new(code, message))
    }
}

/// A fault with its place in the record.
struct ColumnFault {
    /// Its place among the columns of the format.
    column: Option<usize>,
    fault: Fault,
    value: Option<String>,
}

fn reject(
    (row, line, file_no, byte_offset): (i64, i64, i32, Option<i64>),
    raw: &[u8],
    first: ColumnFault,
    more: Vec<ColumnFault>,
    columns: &[(Column, Option<usize>)],
) -> Reject {
    let name = |place: usize| columns.get(place).map(|(column, _)| column.name.to_string());
    let more = more.into_iter().map(|ColumnFault { column, fault, value }| MoreFault {
        column: column.and_then(name),
        code: fault.code.to_owned(),
        message: fault.message,
        value,
    });
    Reject {
        row,
        line: Some(line),
        file_no: Some(file_no),
        column: first.column.and_then(name),
        code: first.fault.code.to_owned(),
        message: first.fault.message,
        value: first.value,
        byte_offset,
        more: more.collect(),
        raw: Some(raw.to_vec()),
        accepted: false,
    }
}

fn broken_record(chunk: &Chunk, bytes: &[u8], broken: Broken) -> Reject {
    let fault = match broken {
        Broken::TooLong => Fault::new(
            RECORD_TOO_LONG,
            format!("the record is longer than allowed ({} bytes up to its line break)", chunk.byte_len),
        ),
        Broken::UnclosedQuote => Fault::new(UNCLOSED_QUOTE, "a quote is opened and never closed".to_owned()),
    };
    let end = bytes.iter().rposition(|byte| !matches!(byte, b'\n' | b'\r')).map_or(0, |at| at + 1);
    let fault = ColumnFault { column: None, fault, value: None };
    let place = (chunk.first_row, chunk.first_line, chunk.file_no, None);
    reject(place, &bytes[..end], fault, Vec::new(), &[])
}

/// What PostgreSQL's text can hold of the bytes: no NUL, no broken UTF-8, and not too much.
fn shorten(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).replace('\0', "\u{fffd}").chars().take(VALUE_CHARS).collect()
}

/// A chunk whose storing can begin.
#[derive(Debug)]
pub enum Prepared {
    /// There is nothing to store.
    Settled(Loaded),
    /// Its records are checked.
    Ready(Box<Ready>),
}

/// What is to be stored of a chunk.
#[derive(Debug)]
pub struct Ready {
    format: Format,
    dry_run: bool,
    checked: Checked,
    /// The chunk, where it has rejects.
    bytes: Bytes,
}

/// Checks a chunk, unless the ledger has it or its import is gone. Changes nothing.
pub async fn prepare(
    db: &Db,
    chunk: &Chunk,
    bytes: Bytes,
    metrics: &Metrics,
) -> Result<Prepared, IngestError> {
    let assignment = chunks::assignment(db, chunk.import_id, chunk.file_no, chunk.chunk_no);
    let Some(assignment) = metrics.phase(Phase::Prepare, assignment).await? else {
        return Ok(Prepared::Settled(Loaded::Fenced));
    };
    if assignment.is_loaded {
        return Ok(Prepared::Settled(Loaded::Before));
    }
    let chunks::Assignment { dataset, load, dialect, dry_run, source, created_at, columns, layout, .. } =
        assignment;
    let dataset = Catalog::new(db.clone())
        .of_import(&dataset)
        .await?
        .ok_or_else(|| unknown_dataset(&dataset.dataset))?;
    let columns = columns.unwrap_or_default();
    let format = Format::new(dataset, &dialect, &columns, layout, created_at, &source);
    let format =
        if load.as_deref() == Some(LoadMode::Sync.as_str()) { format.keeping_refused() } else { format };
    let work = chunk.clone();
    let checked = blocking(move || {
        let checked = format.check(&work, &bytes);
        // Let go of here, a chunk without rejects takes no memory while it waits for its turn.
        let bytes = if checked.rejected.is_empty() { Bytes::new() } else { bytes };
        Ready { format, dry_run, checked, bytes }
    });
    let ready = metrics.phase(Phase::Check, checked).await?;
    Ok(Prepared::Ready(Box::new(ready)))
}

/// Stores what came of a chunk, unless the ledger has it by now.
pub async fn store(
    connection: &mut PgConnection,
    rejects_kept: i64,
    chunk: &Chunk,
    mut ready: Ready,
    metrics: &Metrics,
) -> Result<Loaded, IngestError> {
    let is_direct = ready.format.is_direct() && !ready.dry_run;
    match store_in(connection, is_direct, rejects_kept, chunk, &mut ready, metrics).await {
        // Some row has the key of another: the merge will settle it.
        Err(IngestError::Database(error)) if error.failure() == Failure::UniqueViolation => {
            store_in(connection, false, rejects_kept, chunk, &mut ready, metrics).await
        }
        stored => stored,
    }
}

/// The dataset of an import is from a version of Tarmac that knows it; this one does not.
pub(super) fn unknown_dataset(name: &str) -> IngestError {
    IngestError::UnknownDataset(name.to_owned())
}

/// Stores what came of a chunk, its rows in the dataset's table or in the staging table.
async fn store_in(
    connection: &mut PgConnection,
    is_direct: bool,
    rejects_kept: i64,
    chunk: &Chunk,
    ready: &mut Ready,
    metrics: &Metrics,
) -> Result<Loaded, IngestError> {
    let Ready { format, checked, bytes, .. } = ready;
    let dataset = &format.dataset;
    let import_id = chunk.import_id;
    let entry = chunks::Entry {
        import_id,
        chunk_no: chunk.chunk_no,
        file_no: chunk.file_no,
        first_row: chunk.first_row,
        first_line: chunk.first_line,
        byte_offset: chunk.byte_offset as i64,
        byte_len: chunk.byte_len as i64,
        rows_read: checked.rows_read,
        rejected: checked.rejected.len() as i64,
        unpaired: checked.unpaired.cast_signed(),
    };
    let begun = async {
        let begun = connection.begin().await;
        let mut transaction = begun.map_err(DbError::during("opening a transaction"))?;
        let entered = chunks::enter(&mut transaction, &entry, chunk.epoch).await?;
        Ok::<_, IngestError>((transaction, entered))
    };
    let (mut transaction, entered) = metrics.phase(Phase::Begin, begun).await?;
    if entered != Loaded::Now {
        transaction.rollback().await.map_err(DbError::during("leaving a chunk alone"))?;
        return Ok(entered);
    }
    let (accepted, rejected) = (checked.copy.rows(), checked.rejected.len() as u64);
    let copied = async {
        let target = if is_direct {
            staging::direct_copy_target(dataset)
        } else {
            staging::copy_target(dataset, import_id, format.has_row_id, format.keeps_refused)
        };
        checked.copy.send(&mut transaction, &target).await?;
        if let Some(refused) = &mut checked.refused {
            refused.send(&mut transaction, &target).await?;
        }
        if let Some(segment) = &checked.segment
            && is_direct
        {
            segment.insert(&mut transaction, import_id, chunk.chunk_no).await?;
        }
        // With as many rejects before it, none of this chunk's would be kept in the end.
        if !checked.rejected.is_empty()
            && chunks::rejected_before(&mut transaction, import_id, chunk.chunk_no).await? < rejects_kept
        {
            let mut writer = rejects::Writer::new(import_id);
            for reject in format.rejects(chunk, bytes, checked) {
                writer.put(&mut transaction, &reject).await?;
            }
            writer.finish(&mut transaction).await?;
        }
        Ok::<_, IngestError>(())
    };
    metrics.phase(Phase::Copy, copied).await?;
    failpoint::reach(failpoint::BEFORE_COMMIT);
    metrics.phase(Phase::Commit, commit(transaction, "storing a chunk")).await?;
    metrics.stored(chunk.byte_len, accepted, rejected);
    Ok(Loaded::Now)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::datasets::airport::DATASET;

    fn chunk() -> Chunk {
        Chunk {
            import_id: 1,
            epoch: 1,
            chunk_no: 0,
            file_no: 0,
            object: String::new(),
            byte_offset: 100,
            byte_len: 0,
            first_row: 11,
            first_line: 21,
            broken: None,
            traceparent: None,
        }
    }

    fn format(columns: &[&str]) -> Format {
        format_of(columns, Layout::default())
    }

    fn format_of(columns: &[&str], layout: Layout) -> Format {
        let columns: Vec<_> = columns.iter().map(|&name| name.to_owned()).collect();
        Format::new(
            Arc::clone(&DATASET),
            &Dialect::standard(r"\N"),
            &columns,
            layout,
            DateTime::<Utc>::default(),
            "",
        )
    }

    fn rejects(format: &Format, file: &[u8]) -> Vec<Reject> {
        let chunk = chunk();
        let checked = format.check(&chunk, file);
        let rejects: Vec<_> = format.rejects(&chunk, file, &checked).collect();
        assert_eq!(rejects.len(), checked.rejected_rows());
        rejects
    }

    fn codes(format: &Format, file: &str) -> Vec<(i64, String)> {
        let rejects = rejects(format, file.as_bytes());
        rejects.into_iter().map(|reject| (reject.row - chunk().first_row, reject.code)).collect()
    }

    #[test]
    fn text_after_a_closing_quote_is_a_reject() {
        let format = format(&["name", "country", "latitude", "longitude"]);
        let file =
            "\"Villa \\\"Roma\\\" Field\",X,1,2\n\"Little\" Strip,X,1,2\nA \"B\" C,X,1,2\n\"A\" B,X,1\n";
        let malformed = |row| (row, MALFORMED_QUOTES.to_owned());
        assert_eq!(codes(&format, file), [malformed(0), malformed(1), malformed(3)]);
    }

    #[test]
    fn records_of_empty_fields_are_neither_rows_nor_rejects() {
        let format = format(&["name", "country", "latitude", "longitude"]);
        let file = ",,,\nA,X,1,2\n,\n\"\",\"\"\nB,X,91,2\n,,,";
        assert_eq!(format.check(&chunk(), file.as_bytes()).rows_read, 2);
        assert_eq!(codes(&format, file), [(1, "out_of_range".to_owned())]);
    }

    #[test]
    fn fields_beyond_the_columns_may_be_there_when_they_are_empty() {
        let layout = Layout { spare: 2, ..Layout::default() };
        let format = format_of(&["name", "country", "latitude", "longitude"], layout);
        let file = "A,X,1,2,,\nB,X,1,2\nC,X,1,2,\nD,X,1,2,,x\nE,X,1,2,,,\nF,X,1\n";
        let wrong = |row| (row, FIELD_COUNT.to_owned());
        assert_eq!(codes(&format, file), [wrong(3), wrong(4), wrong(5)]);
    }

    #[test]
    fn a_row_that_could_not_be_read_is_refused_until_its_code_is_emptied() {
        let layout = Layout { code: Some(4), ..Layout::default() };
        let format = format_of(&["name", "country", "latitude", "longitude", ""], layout);
        let file = "A,X,1,2,field_count\nB,X,1,2,\nC,X,1,2,out_of_range\nD,X,1,2, unclosed_quote \n";
        let refused = [(0, FIELD_COUNT.to_owned()), (3, UNCLOSED_QUOTE.to_owned())];
        assert_eq!(codes(&format, file), refused);
    }

    #[test]
    fn a_file_may_have_a_delimiter_of_its_own() {
        let layout = Layout { delimiter: Some(b';'), ..Layout::default() };
        let format = format_of(&["name", "country", "latitude", "longitude"], layout);
        assert_eq!(codes(&format, "A,B;X;1;2\nC,X,1,2\n"), [(1, FIELD_COUNT.to_owned())]);
    }

    #[test]
    fn a_reject_names_row_line_column_code_and_value() {
        let format = format(&["name", "country", "latitude", "longitude"]);
        let file = b"A,X,1,2\n\n\"B\nb\",X,91,abc\nC,X,1\nD\xff,X,1,2\n";
        let checked = format.check(&chunk(), file);
        assert_eq!((checked.rows_read, checked.copy.rows()), (4, 1));
        let rejects = rejects(&format, file);
        let seen: Vec<_> = rejects
            .iter()
            .map(|reject| (reject.row, reject.line, reject.column.as_deref(), reject.code.as_str()))
            .collect();
        assert_eq!(
            seen,
            [
                (12, Some(23), Some("latitude"), "out_of_range"),
                (13, Some(25), None, "field_count"),
                (14, Some(26), Some("name"), "invalid_utf8"),
            ]
        );
        let both = &rejects[0];
        assert_eq!(both.value.as_deref(), Some("91"));
        assert_eq!(both.more[0].column.as_deref(), Some("longitude"));
        assert_eq!(both.raw.as_deref(), Some(b"\"B\nb\",X,91,abc".as_ref()));
        assert_eq!(rejects[2].byte_offset, Some(100 + 31));
    }

    proptest! {
        #[test]
        fn accepted_and_rejected_are_all_rows_read(file in "([ab1,\"\n\r .-]|\\\\N){0,300}") {
            let format = format(&["name", "country", "latitude", "longitude"]);
            let checked = format.check(&chunk(), file.as_bytes());
            let rows = csv::ReaderBuilder::new().has_headers(false).flexible(true)
                .from_reader(file.as_bytes()).into_byte_records()
                .filter(|record| record.as_ref().is_ok_and(|record| !record.iter().all(<[u8]>::is_empty)))
                .count() as i64;
            // A quote that is opened at the very end is no empty field here.
            let opened = i64::from(file.ends_with('"'));
            prop_assert!((rows..=rows + opened).contains(&checked.rows_read));
            let rejects = rejects(&format, file.as_bytes());
            prop_assert_eq!(checked.copy.rows() as i64 + rejects.len() as i64, checked.rows_read);
        }
    }
}
