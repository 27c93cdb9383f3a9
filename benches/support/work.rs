//! The parts of an import that only take CPU time, over a file in memory.

use std::{collections::HashMap, error::Error, process::Command, sync::Arc};

use bytes::Bytes;
use tarmac::{
    config::{Config, Ingest},
    datasets::{self, Dataset},
    db::{files::Layout, imports::Dialect},
    ingest::{
        load::{Checked, Format},
        split::{Cut, Limits, Splitter},
    },
    transport::Chunk,
};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// As uploads are read from the archive.
const READ_BYTES: usize = 1 << 16;

/// A file of one dataset, without header.
pub(crate) struct Work {
    pub(crate) name: String,
    pub(crate) bytes: Bytes,
    limits: Limits,
    format: Format,
}

impl Work {
    /// The world's airports, several times: 10 MB.
    pub(crate) fn airports() -> Outcome<Self> {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures/airports/airports.dat");
        Self::new(Arc::clone(&datasets::airport::DATASET), std::fs::read(path)?.repeat(9))
    }

    /// 100,000 citizens: 10 MB.
    pub(crate) fn citizens() -> Outcome<Self> {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tarmac"));
        let output = command.args(["fixtures", "citizens", "--rows", "100000"]).output()?;
        let header = output.stdout.iter().position(|byte| *byte == b'\n').ok_or("no header")?;
        Self::new(Arc::clone(&datasets::citizen::DATASET), output.stdout[header + 1..].to_vec())
    }

    fn new(dataset: Arc<Dataset>, bytes: Vec<u8>) -> Outcome<Self> {
        let dialect = Dialect { header: Some(false), ..Dialect::standard(dataset.null()) };
        let columns: Vec<_> =
            dataset.schema.columns.iter().map(|column| column.key.as_str().to_owned()).collect();
        // Far enough ahead that all who are born are so before it, and always the same.
        let day = chrono::NaiveDate::from_ymd_opt(2100, 1, 1).ok_or("no day")?;
        let created_at = day.and_time(chrono::NaiveTime::MIN).and_utc();
        let name = dataset.name.as_str().to_owned();
        let format = Format::new(dataset, &dialect, &columns, Layout::default(), created_at, "bench");
        let database = HashMap::from([("database.url".to_owned(), "postgres://unused".to_owned())]);
        let Ingest { chunk_rows, chunk_bytes, record_bytes, .. } =
            Config::from_parts(None, database, &[])?.ingest;
        let limits = Limits { chunk_rows, chunk_bytes, record_bytes };
        Ok(Self { name, bytes: bytes.into(), limits, format })
    }

    /// Cuts the file into chunks.
    pub(crate) fn split(&self) -> Outcome<Vec<Cut>> {
        Ok(Splitter::new(&Dialect::standard(""), self.limits, 1).cut_all(self.bytes.chunks(READ_BYTES))?)
    }

    /// Parses and checks the records of a chunk, and encodes what is stored.
    pub(crate) fn check(&self, cut: &Cut) -> Checked {
        let chunk = Chunk {
            import_id: 1,
            epoch: 1,
            chunk_no: 0,
            file_no: 0,
            object: String::new(),
            byte_offset: cut.byte_offset,
            byte_len: cut.byte_len,
            first_row: cut.first_row,
            first_line: cut.first_line,
            broken: cut.broken,
            traceparent: None,
        };
        self.format.check(&chunk, &cut.bytes)
    }
}
