//! What a file could be declared as. It is read as an import reads it, by the same code, so that rows and lines count alike; nothing of
//! it is kept.

use std::io::{self, Cursor, Read};

use serde_json::Value;

use super::{
    IngestError, beginning, blocking,
    entries::{self, NAMES},
    receive::{self, Packing, ReceiveError},
    records::{Lines, Records},
    split::{Cut, Head, Limits, SplitError, Splitter},
    transcode::{BadEncoding, Transcoder},
    unpack::{self, Judged},
    zip_directory,
};
use crate::{
    config,
    datasets::{
        Encoding,
        infer::{self, Inference, MAX_COLUMNS, Proposal, Sample},
    },
    db::imports::Dialect,
    text::cut,
};

/// The longest file that is looked at, packed and unpacked.
pub const MOST_BYTES: u64 = 64 << 20;

/// The code of a file that is longer.
pub const TOO_LARGE: &str = "unpacks_too_large";

/// What the delimiter is told by, where nothing states it.
const SNIFFED_BYTES: usize = 1 << 20;

/// Bytes of a text that are read at once.
const PIECE_BYTES: usize = 256 << 10;

/// A file in memory, as it came.
#[derive(Debug)]
pub struct Upload {
    bytes: Vec<u8>,
    is_zip: bool,
    gzipped: bool,
}

impl Upload {
    /// An upload of at most [`MOST_BYTES`], unless it is not what it is said to be.
    pub fn new(packing: Packing, encoding: Option<Encoding>, bytes: Vec<u8>) -> Result<Self, ReceiveError> {
        if bytes.is_empty() {
            return Err(ReceiveError::Empty);
        }
        let (media_type, gzipped) = receive::recognize(packing, encoding, &bytes[..bytes.len().min(4)])?;
        Ok(Self { bytes, is_zip: media_type == receive::ZIP, gzipped })
    }

    /// What it could be declared as. The dialect is what the client states; without a stated delimiter, the file shows it.
    pub async fn propose(self, dialect: Dialect, limits: &config::Ingest) -> Result<Proposal, IngestError> {
        let reader = Reader { dialect, limits: limits.clone() };
        blocking(move || reader.read(self)).await?
    }
}

/// Runs where blocking is allowed.
struct Reader {
    dialect: Dialect,
    limits: config::Ingest,
}

impl Reader {
    fn read(self, upload: Upload) -> Result<Proposal, IngestError> {
        let Upload { bytes, is_zip, gzipped } = upload;
        let packed = Cursor::new(bytes);
        if is_zip && gzipped {
            let mut archive = Vec::new();
            let mut text = Text::new(flate2::read::MultiGzDecoder::new(packed), unpack::gzip_error);
            while text.read_onto(&mut archive)? {}
            return self.read_zip(Cursor::new(archive));
        }
        if is_zip {
            return self.read_zip(packed);
        }
        if gzipped {
            return self.read_text(Text::new(flate2::read::MultiGzDecoder::new(packed), unpack::gzip_error));
        }
        self.read_text(Text::new(packed, |error: &io::Error| {
            IngestError::refused("unreadable", format!("the file cannot be read: {error}"))
        }))
    }

    /// Reads the first file of records that is not empty.
    fn read_zip(self, archive: Cursor<Vec<u8>>) -> Result<Proposal, IngestError> {
        let mut zip = zip_directory::open(archive, self.limits.zip_entries)?;
        if zip.has_duplicate_names() {
            let directory = zip.central_directory_start();
            return Err(entries::repeated_name(zip.into_inner(), directory));
        }
        let (mut data, mut beside, mut first) = (Vec::new(), Vec::new(), None);
        for index in 0..zip.len() {
            let entry = zip.by_index(index).map_err(unpack::zip_error)?;
            match unpack::judge(&entry)? {
                Judged::Folder => {}
                Judged::Beside(name) => beside.push(name),
                Judged::Data(name) if first.is_none() && entry.size() > 0 => first = Some((index, name)),
                Judged::Data(name) => data.push(name),
            }
        }
        let Some((index, name)) = first else {
            return Err(if data.is_empty() { entries::empty_archive(&beside) } else { unpack::empty_file() });
        };
        let entry = zip.by_index(index).map_err(unpack::zip_error)?;
        let text = Text::new(entry, |error: &io::Error| unpack::entry_error(&name, error));
        let mut proposal = self.read_text(text).map_err(|error| match error {
            IngestError::Refused(mut error) if error.code != "bad_zip" => {
                error.message = format!("{}: {}", cut(&name), error.message);
                IngestError::Refused(error)
            }
            error => error,
        })?;
        if !data.is_empty() {
            let (names, read) = (listed(&data), cut(&name));
            proposal.hints.push(format!("files: only {read:?} was looked at; an import reads {names} too"));
        }
        if !beside.is_empty() {
            let names = listed(&beside);
            proposal
                .hints
                .push(format!("files: not named like data and left out, as an import does: {names}"));
        }
        Ok(proposal)
    }

    fn read_text<R: Read, E: Fn(&io::Error) -> IngestError>(
        self,
        text: Text<R, E>,
    ) -> Result<Proposal, IngestError> {
        let Some(encoding) = self.dialect.encoding else { return self.infer(text) };
        let Text { reader, explain, .. } = text;
        let transcoder = Transcoder::new(reader, encoding, &self.dialect);
        let explain =
            |error: &io::Error| match error.get_ref().and_then(|error| error.downcast_ref::<BadEncoding>()) {
                Some(error) => IngestError::refused("bad_encoding", error.to_string()),
                None => explain(error),
            };
        self.infer(Text::new(transcoder, explain))
    }

    fn infer<R: Read, E: Fn(&io::Error) -> IngestError>(
        mut self,
        mut text: Text<R, E>,
    ) -> Result<Proposal, IngestError> {
        let mut beginning = Vec::new();
        while beginning.len() < SNIFFED_BYTES && text.read_onto(&mut beginning)? {}
        self.dialect.delimiter = self.delimiter(&beginning, text.is_read)?;
        let splitter = Splitter::new(&self.dialect, self.cuts(), 1);
        let mut feed = Feed { splitter, beginning, text, is_over: false };

        let (first, place) = self.first(&mut feed)?;
        let header = self.header(first.as_deref(), &place)?;
        if header.is_some() {
            feed.splitter.skip_head();
        }
        let has_header = header.is_some();
        let is_like_a_number =
            |cells: &Vec<String>| cells.iter().any(|cell| cell.trim().parse::<f64>().is_ok());
        let is_unclear = header.as_ref().is_some_and(is_like_a_number);
        let mut records = Taken {
            inference: Inference::new(header).with_delimiter(self.dialect.delimiter),
            has_columns: has_header,
        };
        while let Some(cut) = feed.cut()? {
            records.take(&self.dialect, &cut)?;
        }
        let mut proposal = records.inference.finish();
        let has_fields =
            proposal.descriptor["schema"]["fields"].as_array().is_some_and(|fields| !fields.is_empty());
        if !has_fields || !has_header && proposal.records == 0 {
            let message = match proposal.malformed {
                0 => "the file has no columns that a dataset could have".to_owned(),
                malformed => {
                    format!(
                        "{place}: no record can be read; {malformed} cannot be told into fields, or are not UTF-8"
                    )
                }
            };
            return Err(IngestError::refused("no_records", message));
        }
        // An import that is not told takes a number among names for a value.
        let stated = self.dialect.header.or(is_unclear.then_some(true));
        self.describe(&mut proposal, if has_header { stated } else { Some(false) });
        Ok(proposal)
    }

    fn cuts(&self) -> Limits {
        let config::Ingest { chunk_rows, chunk_bytes, record_bytes, .. } = self.limits;
        Limits { chunk_rows, chunk_bytes, record_bytes }
    }

    /// What the client states, else a line `sep=`, else what fits the records.
    fn delimiter(&self, beginning: &[u8], is_whole: bool) -> Result<u8, IngestError> {
        let Dialect { delimiter, delimiter_stated, quote, escape, comment, .. } = self.dialect;
        let mut splitter = Splitter::new(&self.dialect, self.cuts(), 1);
        splitter.push(beginning);
        if is_whole {
            splitter.end();
        }
        let head = splitter.head().map_err(|error| refused(&error))?;
        if head == Head::None {
            return Err(unpack::empty_file());
        }
        if let Head::Record(record) = &head
            && let Some(stated) = beginning::stated_delimiter(record)
        {
            beginning::check_stated(&self.dialect, stated, &format!("line {}", splitter.next_line()))?;
            return Ok(stated);
        }
        if delimiter_stated {
            return Ok(delimiter);
        }
        let sample = Sample { text: splitter.rest(), is_whole, quote, escape, comment };
        infer::sniff_delimiter(&sample).map_err(|error| IngestError::refused(error.code(), error.to_string()))
    }

    /// The first record behind a line `sep=`, unless it cannot be parsed or there is none; and where it is.
    fn first<R: Read, E: Fn(&io::Error) -> IngestError>(
        &self,
        feed: &mut Feed<R, E>,
    ) -> Result<(Option<Vec<u8>>, String), IngestError> {
        let mut is_stated = false;
        loop {
            let first = match feed.splitter.head().map_err(|error| refused(&error))? {
                Head::Incomplete => {
                    feed.push()?;
                    continue;
                }
                Head::None | Head::Broken => None,
                Head::Record(record) => Some(record.to_vec()),
            };
            if !is_stated && first.as_deref().and_then(beginning::stated_delimiter).is_some() {
                feed.splitter.skip_head();
                is_stated = true;
                continue;
            }
            return Ok((first, format!("line {}", feed.splitter.next_line())));
        }
    }

    /// The cells of the header, if there is one.
    fn header(&self, first: Option<&[u8]>, place: &str) -> Result<Option<Vec<String>>, IngestError> {
        if self.dialect.header == Some(false) {
            return Ok(None);
        }
        let is_stated = self.dialect.header == Some(true);
        let mut records = Records::new(&self.dialect, first.unwrap_or_default());
        let Some(record) = records.next().filter(|record| !record.is_malformed) else {
            if is_stated {
                let message =
                    "the first record is the header and cannot be parsed; text may follow a closing quote";
                return Err(IngestError::refused("bad_header", format!("{place}: {message}")));
            }
            return Ok(None);
        };
        if !is_stated && !infer::is_header(record.iter()) {
            return Ok(None);
        }
        check_width(record.len(), place)?;
        Ok(Some(record.iter().map(|cell| String::from_utf8_lossy(cell).into_owned()).collect()))
    }

    /// Adds to the proposal how the file is written, so that an import of it has to be told nothing more.
    fn describe(&self, proposal: &mut Proposal, header: Option<bool>) {
        let Dialect { quote, escape, comment, encoding, skip, ref null, .. } = self.dialect;
        let text = |byte: u8| Value::from(char::from(byte).to_string());
        let said = [
            ("quote", (quote != Some(b'"')).then(|| quote.map_or_else(|| "none".into(), text))),
            ("escape", escape.map(text)),
            ("comment", comment.map(text)),
            ("encoding", encoding.map(|encoding| encoding.as_str().into())),
            ("skip", (skip > 0).then(|| skip.into())),
            ("null", (!null.is_empty()).then(|| Value::from(null.as_str()))),
            ("header", header.map(Value::from)),
        ];
        let Some(dialect) = proposal.descriptor.get_mut("dialect").and_then(Value::as_object_mut) else {
            return;
        };
        for (name, value) in said {
            if let Some(value) = value {
                dialect.insert(name.to_owned(), value);
            }
        }
    }
}

fn refused(error: &SplitError) -> IngestError {
    IngestError::refused(beginning::code(error), error.to_string())
}

fn check_width(fields: usize, place: &str) -> Result<(), IngestError> {
    if fields <= MAX_COLUMNS {
        return Ok(());
    }
    let message = format!("{place}: the record has {fields} fields, {MAX_COLUMNS} are looked at");
    Err(IngestError::refused("too_many_fields", message))
}

/// Names as far as it is worth.
fn listed(names: &[String]) -> String {
    let mut listed: Vec<_> = names.iter().take(NAMES).map(|name| format!("{:?}", cut(name))).collect();
    if names.len() > NAMES {
        listed.push(format!("{} more", names.len() - NAMES));
    }
    listed.join(", ")
}

/// The records so far.
struct Taken {
    inference: Inference,
    /// Whether it is known how many there are.
    has_columns: bool,
}

impl Taken {
    fn take(&mut self, dialect: &Dialect, cut: &Cut) -> Result<(), IngestError> {
        if cut.broken.is_some() {
            self.inference.add_malformed();
            return Ok(());
        }
        let (mut records, mut lines) = (Records::new(dialect, &cut.bytes), Lines::new(cut.first_line));
        let mut row = cut.first_row;
        while let Some(record) = records.next() {
            if record.is_malformed {
                self.inference.add_malformed();
            } else {
                let line = lines.at(&cut.bytes, record.start);
                if !self.has_columns {
                    check_width(record.len(), &format!("line {line}"))?;
                    self.has_columns = true;
                }
                // What the client says stands for null is as good as empty.
                let null = dialect.null.as_bytes();
                let fields = record.iter().map(|field| if field == null { &b""[..] } else { field });
                self.inference.add(row, line, fields);
            }
            row += 1;
        }
        Ok(())
    }
}

/// Gives a splitter the text, piece by piece.
struct Feed<R, E> {
    splitter: Splitter,
    /// What was read already.
    beginning: Vec<u8>,
    text: Text<R, E>,
    is_over: bool,
}

impl<R: Read, E: Fn(&io::Error) -> IngestError> Feed<R, E> {
    fn push(&mut self) -> Result<(), IngestError> {
        let mut piece = std::mem::take(&mut self.beginning);
        if piece.is_empty() {
            self.text.read_onto(&mut piece)?;
        }
        if piece.is_empty() {
            self.splitter.end();
            self.is_over = true;
        }
        self.splitter.push(&piece);
        Ok(())
    }

    fn cut(&mut self) -> Result<Option<Cut>, IngestError> {
        loop {
            let cut = self.splitter.next_cut().map_err(|error| refused(&error))?;
            if cut.is_some() || self.is_over {
                return Ok(cut);
            }
            self.push()?;
        }
    }
}

/// A plain text that is read piece by piece, as far as it may be long.
struct Text<R, E> {
    reader: R,
    left: u64,
    /// Whether there is no more.
    is_read: bool,
    /// What an error of the reader means.
    explain: E,
}

impl<R: Read, E: Fn(&io::Error) -> IngestError> Text<R, E> {
    fn new(reader: R, explain: E) -> Self {
        Self { reader, left: MOST_BYTES, is_read: false, explain }
    }

    /// Appends the next piece; `false`: there is none.
    fn read_onto(&mut self, bytes: &mut Vec<u8>) -> Result<bool, IngestError> {
        if self.is_read {
            return Ok(false);
        }
        let piece = (&mut self.reader).take(PIECE_BYTES as u64).read_to_end(bytes);
        let length = piece.map_err(|error| (self.explain)(&error))?;
        self.is_read = length < PIECE_BYTES;
        let left = self.left.checked_sub(length as u64);
        self.left = left.ok_or_else(|| {
            let message = format!(
                "the text is longer than the {MOST_BYTES} bytes that are looked at; send its beginning"
            );
            IngestError::refused(TOO_LARGE, message)
        })?;
        Ok(length > 0)
    }
}
