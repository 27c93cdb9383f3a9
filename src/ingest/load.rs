//! Checks the records of a chunk and stores them: the ledger's entry, the rows and the rejects in one transaction.

use bytes::Bytes;
use chrono::NaiveDate;
use sqlx::{Connection, PgConnection};

pub use crate::db::chunks::Loaded;

use super::{
    IngestError, blocking,
    pairing::{self, Pairing},
    records::{Lines, Record, Records},
    unreadable::{self, FIELD_COUNT, INVALID_UTF8, MALFORMED_QUOTES, RECORD_TOO_LONG, UNCLOSED_QUOTE},
};
use crate::{
    datasets::{self, Column, Dataset, Fault, Load, Value},
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
    meter::{Meter, Phase},
    transport::{Broken, Chunk},
};

/// What of a wrong value a reject keeps, characters.
const VALUE_CHARS: usize = 256;

/// How the records of a file become rows of a dataset.
#[derive(Debug, Clone)]
pub struct Format {
    dataset: &'static Dataset,
    dialect: Dialect,
    /// The columns of a row, each with the field that holds it.
    columns: Vec<(&'static Column, Option<usize>)>,
    /// The one of them that says which row of the dataset's table it is, if the file has it.
    row_id: Option<&'static Column>,
    /// How many fields a record has.
    width: usize,
    layout: Layout,
    /// The day the file came: however often a chunk is checked, and whenever, the same rows are good.
    today: NaiveDate,
    pairing: Option<Pairing>,
}

/// A checked chunk.
#[derive(Debug)]
pub struct Checked {
    copy: CopyBuffer,
    row_id: Option<&'static Column>,
    segment: Option<SegmentBuffer>,
    rejected: Vec<Rejected>,
    rows_read: i64,
    /// What the relations of the good rows come to, see [`pairing`].
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
    /// upload the archive calls `source`.
    pub fn new(
        dataset: &'static Dataset,
        dialect: &Dialect,
        columns: &[String],
        layout: Layout,
        today: NaiveDate,
        source: &str,
    ) -> Self {
        let field = |column: &Column| columns.iter().position(|name| name == column.name);
        let row_id = dataset.row_id.filter(|column| field(column).is_some());
        let fields = dataset.columns.iter().chain(row_id).map(|column| (column, field(column))).collect();
        let pairing = Pairing::new(dataset, source);
        let dialect = layout.dialect(dialect);
        Self { dataset, dialect, columns: fields, row_id, width: columns.len(), layout, today, pairing }
    }

    /// Checks every record of the chunk. Takes CPU time and nothing else.
    pub fn check(&self, chunk: &Chunk, bytes: &[u8]) -> Checked {
        let own = match self.dataset.load {
            Load::Staged => 1,
            Load::Direct { .. } => 2,
        };
        let columns = i16::try_from(self.columns.len() + own).unwrap_or(i16::MAX);
        let mut checked = Checked {
            copy: CopyBuffer::new(columns, bytes.len() * 2),
            row_id: self.row_id,
            segment: SegmentBuffer::new(self.dataset),
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
            checked.copy.begin_row();
            if let Load::Direct { .. } = self.dataset.load {
                checked.copy.put_i64(chunk.import_id);
            }
            checked.copy.put_i64(row);
            if let Some(segment) = &mut checked.segment {
                segment.begin_row();
            }
            let relations =
                self.check_record(&record, &mut checked.copy, checked.segment.as_mut(), &mut faults);
            if faults.is_empty() {
                checked.copy.end_row();
                if let Some(segment) = &mut checked.segment {
                    segment.end_row();
                }
                checked.unpaired ^= relations.unpaired;
                continue;
            }
            faults.clear();
            let start = record.start;
            checked.rejected.push(Rejected { row, line: lines.at(bytes, start), start });
        }
        checked
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
            Some(reject(place, record.raw, first, found.collect()))
        })
    }

    /// Puts the record's values into the open row, unless there are faults.
    fn check_record(
        &self,
        record: &Record<'_>,
        copy: &mut CopyBuffer,
        mut segment: Option<&mut SegmentBuffer>,
        faults: &mut Vec<ColumnFault>,
    ) -> pairing::Row {
        let mut relations = pairing::Row::default();
        if let Some(fault) = self.fault_of_record(record) {
            faults.push(ColumnFault { column: None, fault, value: None });
            return relations;
        }
        // All fields at once, which is cheaper; where that fails, whichever is to blame fails by itself.
        let text = simdutf8::basic::from_utf8(record.raw).ok();
        for (place, (column, field)) in self.columns.iter().enumerate() {
            let Some((field, bytes)) = field.and_then(|field| Some((field, record.get(field)?))) else {
                copy.put_null();
                if let Some(segment) = &mut segment {
                    segment.put(place, &Value::Null);
                }
                continue;
            };
            let valid = text.and_then(|text| record.get_in(text, field));
            let valid = valid.map_or_else(|| std::str::from_utf8(bytes), Ok);
            let value = match valid {
                Ok(text) => column.parse(text, &self.dialect.null, self.today),
                Err(_) => Err(Fault::new(INVALID_UTF8, format!("{} is not UTF-8", column.name))),
            };
            match value {
                Ok(value) => {
                    if let Some(pairing) = &self.pairing {
                        pairing.see(&mut relations, place, &value);
                    }
                    if let Some(segment) = &mut segment {
                        segment.put(place, &value);
                    }
                    copy.put(&value);
                }
                Err(fault) => {
                    faults.push(ColumnFault { column: Some(column.name), fault, value: Some(shorten(bytes)) })
                }
            }
        }
        relations
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
            let message = format!("the record has {} fields, {} are expected", record.len(), self.width);
            return Some(Fault::new(FIELD_COUNT, message));
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
    column: Option<&'static str>,
    fault: Fault,
    value: Option<String>,
}

fn reject(
    (row, line, file_no, byte_offset): (i64, i64, i32, Option<i64>),
    raw: &[u8],
    first: ColumnFault,
    more: Vec<ColumnFault>,
) -> Reject {
    let more = more.into_iter().map(|ColumnFault { column, fault, value }| MoreFault {
        column: column.map(ToOwned::to_owned),
        code: fault.code.to_owned(),
        message: fault.message,
        value,
    });
    Reject {
        row,
        line: Some(line),
        file_no: Some(file_no),
        column: first.column.map(ToOwned::to_owned),
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
    reject(place, &bytes[..end], fault, Vec::new())
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
pub async fn prepare(db: &Db, chunk: &Chunk, bytes: Bytes, meter: &Meter) -> Result<Prepared, IngestError> {
    let assignment = chunks::assignment(db, chunk.import_id, chunk.file_no, chunk.chunk_no);
    let Some(assignment) = meter.phase(Phase::Prepare, assignment).await? else {
        return Ok(Prepared::Settled(Loaded::Fenced));
    };
    if assignment.is_loaded {
        return Ok(Prepared::Settled(Loaded::Before));
    }
    let chunks::Assignment { dataset, dialect, dry_run, source, created_at, columns, layout, .. } =
        assignment;
    let dataset = datasets::by_name(&dataset).ok_or_else(|| unknown_dataset(&dataset))?;
    let columns = columns.unwrap_or_default();
    let format = Format::new(dataset, &dialect, &columns, layout, created_at.date_naive(), &source);
    let work = chunk.clone();
    let checked = blocking(move || {
        let checked = format.check(&work, &bytes);
        // Let go of here, a chunk without rejects takes no memory while it waits for its turn.
        let bytes = if checked.rejected.is_empty() { Bytes::new() } else { bytes };
        Ready { format, dry_run, checked, bytes }
    });
    let ready = meter.phase(Phase::Check, checked).await?;
    Ok(Prepared::Ready(Box::new(ready)))
}

/// Stores what came of a chunk, unless the ledger has it by now.
pub async fn store(
    connection: &mut PgConnection,
    rejects_kept: i64,
    chunk: &Chunk,
    mut ready: Ready,
    meter: &Meter,
) -> Result<Loaded, IngestError> {
    let staging = staging::table(chunk.import_id);
    let table = match ready.format.dataset.load {
        Load::Direct { table } if !ready.dry_run => table,
        _ => &staging,
    };
    match store_in(connection, table, rejects_kept, chunk, &mut ready, meter).await {
        // Some row has the key of another: the merge will settle it.
        Err(IngestError::Database(error)) if error.failure() == Failure::UniqueViolation => {
            store_in(connection, &staging, rejects_kept, chunk, &mut ready, meter).await
        }
        stored => stored,
    }
}

/// The dataset of an import is from a version of Tarmac that knows it; this one does not.
pub(super) fn unknown_dataset(name: &str) -> IngestError {
    IngestError::UnknownDataset(name.to_owned())
}

/// Stores what came of a chunk, its rows in `table`.
async fn store_in(
    connection: &mut PgConnection,
    table: &str,
    rejects_kept: i64,
    chunk: &Chunk,
    ready: &mut Ready,
    meter: &Meter,
) -> Result<Loaded, IngestError> {
    let Ready { format, checked, bytes, .. } = ready;
    let dataset = format.dataset;
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
    let (mut transaction, entered) = meter.phase(Phase::Begin, begun).await?;
    if entered != Loaded::Now {
        transaction.rollback().await.map_err(DbError::during("leaving a chunk alone"))?;
        return Ok(entered);
    }
    let (accepted, rejected) = (checked.copy.rows(), checked.rejected.len() as u64);
    let copied = async {
        checked.copy.send(&mut transaction, &staging::copy_target(dataset, table, checked.row_id)).await?;
        if let (Load::Direct { table: own }, Some(segment)) = (dataset.load, &checked.segment)
            && table == own
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
    meter.phase(Phase::Copy, copied).await?;
    failpoint::reach(failpoint::BEFORE_COMMIT);
    meter.phase(Phase::Commit, commit(transaction, "storing a chunk")).await?;
    meter.stored(chunk.byte_len, accepted, rejected);
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
        Format::new(&DATASET, &Dialect::standard(r"\N"), &columns, layout, NaiveDate::default(), "")
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
