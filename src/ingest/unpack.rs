//! Makes plain CSV files of an upload, in UTF-8. A plain upload in UTF-8 is its own file; one in another encoding is written anew. A gzip
//! or ZIP is unpacked whole before the first row is loaded: an archive that ends early, lies about itself or is a bomb fails the import
//! with nothing loaded.

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use bytes::Bytes;
use futures_util::TryStreamExt;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use zip::{read::ZipFile, result::ZipError};

use super::{
    IngestError, blocking, damage_of,
    entries::{self, Entry},
    sealed,
    transcode::{BadEncoding, Transcoder},
    zip_directory,
};
use crate::{
    archive::{Archive, ArchiveError, Listed},
    config,
    db::{
        files::{File, Layout},
        imports::{Dialect, Import, Note},
    },
    text::cut,
};

const BLOCK_BYTES: usize = 1 << 20;
const ZIP: &str = "application/zip";

/// What an upload is made of.
#[derive(Debug)]
pub struct Unpacked {
    /// The plain files.
    pub files: Vec<File>,
    /// What else there is to say.
    pub notes: Vec<Note>,
}

impl Unpacked {
    fn one(object: String, bytes: i64) -> Self {
        Self { files: vec![file(0, None, object, bytes)], notes: Vec::new() }
    }
}

fn file(file_no: i32, name: Option<String>, object: String, bytes: i64) -> File {
    File { file_no, name, object, bytes, columns: None, layout: Layout::default() }
}

/// The plain files of the import. What is unpacked is written to the archive beside the upload, in a folder of the import's epoch: an
/// attempt that is still under way elsewhere disturbs nobody. One that nobody waits for any more stops with its next block.
pub async fn unpack(
    archive: &Archive,
    limits: &config::Ingest,
    import: &Import,
) -> Result<Unpacked, IngestError> {
    if !import.gzipped && import.media_type != ZIP && import.dialect.encoding.is_none() {
        return Ok(Unpacked::one(import.source.clone(), import.bytes));
    }
    remove_earlier_attempts(archive, import).await?;
    archive.verify(sealed(import)).await.map_err(|error| damage_of(import, error))?;
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    let unpacker = Unpacker {
        archive: archive.clone(),
        limits: limits.clone(),
        import: import.clone(),
        runtime: Handle::current(),
        stop,
    };
    blocking(move || unpacker.run()).await?
}

/// Removes what was unpacked, by all attempts; the upload itself stays.
pub async fn remove_unpacked(archive: &Archive, import_id: i64) {
    remove(archive, &folder(import_id)).await;
}

/// Removes what was unpacked in the epoch in which the import was read.
pub(super) async fn remove_attempt(archive: &Archive, import: &Import) {
    remove(archive, &attempt_folder(import)).await;
}

/// Removes what attempts of earlier epochs have left: killed, they may take the room that this one needs. One that comes late
/// must not remove the files of its successor.
async fn remove_earlier_attempts(archive: &Archive, import: &Import) -> Result<(), ArchiveError> {
    let folder = folder(import.id);
    let listed: Vec<_> = archive.list(&folder).try_collect().await?;
    for Listed { object, .. } in listed {
        let epoch = object.strip_prefix(&folder).and_then(|rest| rest.split('/').nth(1)?.parse::<i32>().ok());
        // What has no epoch is from a version that knew none.
        if epoch.is_none_or(|epoch| epoch < import.epoch) {
            archive.remove(&object).await?;
        }
    }
    Ok(())
}

async fn remove(archive: &Archive, folder: &str) {
    if let Err(error) = archive.remove_folder(folder).await {
        tracing::warn!(%error, "could not remove what was unpacked");
    }
}

/// Where unpacked files are, in a folder for each import.
pub const FOLDER: &str = "unpacked";

/// Where what is unpacked from an upload is kept.
fn folder(import_id: i64) -> String {
    format!("{FOLDER}/{import_id}")
}

/// Where one attempt keeps it.
fn attempt_folder(import: &Import) -> String {
    format!("{}/{}", folder(import.id), import.epoch)
}

/// Runs where blocking is allowed, because gzip and zip readers block.
struct Unpacker {
    archive: Archive,
    limits: config::Ingest,
    import: Import,
    runtime: Handle,
    /// Nobody waits for the files any more.
    stop: CancellationToken,
}

impl Unpacker {
    fn run(&self) -> Result<Unpacked, IngestError> {
        let unpacked = self.unpack();
        if unpacked.is_err() || self.stop.is_cancelled() {
            self.runtime.block_on(remove_attempt(&self.archive, &self.import));
        }
        unpacked
    }

    fn unpack(&self) -> Result<Unpacked, IngestError> {
        let packed = self.import.bytes as u64;
        let mut source = self.open(&self.import.source, packed);
        let is_zip = self.import.media_type == ZIP;
        if is_zip && !self.import.gzipped {
            return self.unzip(source, packed);
        }
        let object = self.object(if is_zip { "zip" } else { "0" });
        // Of a ZIP the files within are text.
        let dialect = Some(&self.import.dialect).filter(|_| !is_zip);
        let unpacked = if self.import.gzipped {
            let mut source = flate2::read::MultiGzDecoder::new(source);
            self.copy(&mut source, dialect, &object, packed, 0)
        } else {
            self.copy(&mut source, dialect, &object, packed, 0)
        };
        let unpacked = unpacked.map_err(|error| error.explain(None, gzip_error))?;
        if unpacked == 0 {
            return Err(empty_file());
        }
        if is_zip {
            let files = self.unzip(self.open(&object, unpacked), packed);
            self.runtime.block_on(self.archive.remove(&object))?;
            return files;
        }
        Ok(Unpacked::one(object, to_i64(unpacked)))
    }

    /// Where something unpacked from the upload is kept.
    fn object(&self, name: &str) -> String {
        format!("{}/{name}", attempt_folder(&self.import))
    }

    fn open(&self, object: &str, bytes: u64) -> BufReader<ObjectReader<'_>> {
        let reader = ObjectReader { unpacker: self, object: object.to_owned(), bytes, position: 0 };
        BufReader::with_capacity(BLOCK_BYTES, reader)
    }

    fn unzip(&self, source: impl Read + Seek, packed: u64) -> Result<Unpacked, IngestError> {
        let mut zip = zip_directory::open(source, self.limits.zip_entries)?;
        if zip.has_duplicate_names() {
            let directory = zip.central_directory_start();
            return Err(entries::repeated_name(zip.into_inner(), directory));
        }
        let mut files: Vec<File> = Vec::new();
        let mut beside = Vec::new();
        let mut unpacked = 0_u64;
        for index in 0..zip.len() {
            let mut entry = zip.by_index(index).map_err(zip_error)?;
            let name = match judge(&entry)? {
                Judged::Folder => continue,
                Judged::Beside(name) => {
                    beside.push(name);
                    continue;
                }
                Judged::Data(name) => name,
            };
            let file_no = i32::try_from(files.len()).unwrap_or(i32::MAX);
            let object = self.object(&file_no.to_string());
            let bytes = self
                .copy(&mut entry, Some(&self.import.dialect), &object, packed, unpacked)
                .map_err(|error| error.explain(Some(&name), |error| entry_error(&name, error)))?;
            unpacked += bytes;
            files.push(file(file_no, Some(cut(&name).into_owned()), object, to_i64(bytes)));
        }
        if files.is_empty() {
            return Err(entries::empty_archive(&beside));
        }
        if unpacked == 0 {
            return Err(empty_file());
        }
        Ok(Unpacked { files, notes: entries::notes(&beside) })
    }

    /// Copies what `reader` gives into the archive, as UTF-8 if it is a file of that dialect, within the limits on what `packed` bytes
    /// may become together.
    fn copy(
        &self,
        reader: &mut impl Read,
        dialect: Option<&Dialect>,
        object: &str,
        packed: u64,
        unpacked_before: u64,
    ) -> Result<u64, Copying> {
        let mut transcoder;
        let reader: &mut dyn Read = match dialect.and_then(|dialect| Some((dialect, dialect.encoding?))) {
            Some((dialect, encoding)) => {
                transcoder = Transcoder::new(reader, encoding, dialect);
                &mut transcoder
            }
            None => reader,
        };
        let mut writer = self.runtime.block_on(self.archive.write(object))?;
        let copied = (|| -> Result<(), Copying> {
            let mut block = vec![0; BLOCK_BYTES];
            loop {
                let length = match reader.read(&mut block) {
                    Ok(0) => return Ok(()),
                    Ok(length) => length,
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                    Err(error) => return Err(Copying::Read(error)),
                };
                if self.stop.is_cancelled() {
                    return Err(IngestError::Fenced.into());
                }
                self.check_size(packed, unpacked_before + writer.bytes() + length as u64)?;
                self.runtime.block_on(writer.write(Bytes::copy_from_slice(&block[..length])))?;
            }
        })();
        match copied {
            Ok(()) => {
                let bytes = writer.bytes();
                self.runtime.block_on(writer.finish())?;
                Ok(bytes)
            }
            Err(error) => {
                self.runtime.block_on(writer.abort())?;
                Err(error)
            }
        }
    }

    fn check_size(&self, packed: u64, unpacked: u64) -> Result<(), IngestError> {
        let by_ratio = packed.saturating_mul(self.limits.unpacked_ratio).max(BLOCK_BYTES as u64);
        let limit = by_ratio.min(self.limits.unpacked_bytes);
        if unpacked <= limit {
            return Ok(());
        }
        Err(IngestError::refused(
            "unpacks_too_large",
            format!("{packed} bytes unpack to more than the {limit} allowed for them"),
        ))
    }
}

/// What is done with an entry of a ZIP.
pub(super) enum Judged {
    /// Nothing: it is a folder.
    Folder,
    /// It is left out.
    Beside(String),
    /// It is read.
    Data(String),
}

/// Tells what an entry is, and refuses those that no archive of ours has.
pub(super) fn judge<R: Read>(entry: &ZipFile<'_, R>) -> Result<Judged, IngestError> {
    let name = entry.name().map_err(zip_error)?.into_owned();
    if entry.is_dir() {
        return Ok(Judged::Folder);
    }
    let absolute = name.starts_with(['/', '\\']);
    if absolute || entry.enclosed_name().is_none() {
        let message = format!("{:?} in the archive leads out of it", cut(&name));
        return Err(IngestError::refused("unsafe_name", message));
    }
    match Entry::of(&name) {
        Entry::Data => Ok(Judged::Data(name)),
        Entry::Beside => Ok(Judged::Beside(name)),
        Entry::Archive => {
            let message = format!(
                "{:?} in the archive is an archive itself; put the CSV files in directly",
                cut(&name)
            );
            Err(IngestError::refused("nested_archive", message))
        }
    }
}

pub(super) fn empty_file() -> IngestError {
    IngestError::refused("empty_file", "the file is empty")
}

pub(super) fn gzip_error(error: &io::Error) -> IngestError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            IngestError::refused("truncated_gzip", "the gzip stream ends before it is complete")
        }
        _ => IngestError::refused("bad_gzip", format!("the gzip stream cannot be read: {error}")),
    }
}

pub(super) fn entry_error(name: &str, error: &io::Error) -> IngestError {
    IngestError::refused("bad_zip", format!("{:?} in the archive cannot be read: {error}", cut(name)))
}

pub(super) fn zip_error(error: ZipError) -> IngestError {
    match error {
        ZipError::Io(error) => Copying::Read(error).explain(None, |error| {
            IngestError::refused("bad_zip", format!("the archive cannot be read: {error}"))
        }),
        ZipError::UnsupportedArchive(ZipError::PASSWORD_REQUIRED) => {
            IngestError::refused("encrypted_zip", "the archive is encrypted")
        }
        error => IngestError::refused("bad_zip", format!("the archive cannot be read: {error}")),
    }
}

/// The limits keep every length far below 2^63.
fn to_i64(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// What went wrong while copying: the reader's own fault is told apart, because only the caller knows what it means.
enum Copying {
    Read(io::Error),
    Other(IngestError),
}

impl Copying {
    /// A reader reads from the archive: what went wrong there is no fault of the file. `name`: that of the file, in a ZIP.
    fn explain(self, name: Option<&str>, refuse: impl FnOnce(&io::Error) -> IngestError) -> IngestError {
        match self {
            Self::Read(error) => match error.downcast::<ArchiveError>() {
                Ok(error) => error.into(),
                Err(error) => match error.downcast::<BadEncoding>() {
                    Ok(error) => {
                        let place = name.map(|name| format!("{}: ", cut(name))).unwrap_or_default();
                        IngestError::refused("bad_encoding", format!("{place}{error}"))
                    }
                    Err(error) => refuse(&error),
                },
            },
            Self::Other(error) => error,
        }
    }
}

impl<E: Into<IngestError>> From<E> for Copying {
    fn from(error: E) -> Self {
        Self::Other(error.into())
    }
}

/// An object of the archive as a file.
struct ObjectReader<'a> {
    unpacker: &'a Unpacker,
    object: String,
    bytes: u64,
    position: u64,
}

impl Read for ObjectReader<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let end = self.bytes.min(self.position + buffer.len() as u64);
        let range = self.position.min(end)..end;
        let bytes = self
            .unpacker
            .runtime
            .block_on(self.unpacker.archive.read(&self.object, range))
            .map_err(io::Error::other)?;
        buffer[..bytes.len()].copy_from_slice(&bytes);
        self.position += bytes.len() as u64;
        Ok(bytes.len())
    }
}

impl Seek for ObjectReader<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let position = match to {
            SeekFrom::Start(position) => Some(position),
            SeekFrom::End(distance) => self.bytes.checked_add_signed(distance),
            SeekFrom::Current(distance) => self.position.checked_add_signed(distance),
        };
        self.position = position.ok_or_else(|| io::Error::from(io::ErrorKind::InvalidInput))?;
        Ok(self.position)
    }
}
