//! Opens the directory of a ZIP in little memory. It is at the archive's end, and a reader of ZIPs makes room for as many entries
//! as the record behind it says before it has seen one of them: the record is held against the limit first. Should it say less than
//! is there, no more than what so many entries take is read.
//!
//! The records: APPNOTE.TXT (PKWARE), 4.3.14 to 4.3.16.

use std::{
    cell::Cell,
    io::{self, Read, Seek, SeekFrom},
    rc::Rc,
};

use memchr::memmem;
use zip::{ZipArchive, result::ZipError};

use super::{IngestError, unpack::zip_error};

/// What the directory may take for each entry: names and comments are rarely longer than a few hundred bytes. It is read twice at most.
const ENTRY_BYTES: u64 = 2 << 10;
/// What looking for the directory may take beside that.
const SEARCH_BYTES: u64 = 256 << 10;

const END: &[u8; 4] = b"PK\x05\x06";
const END_BYTES: usize = 22;
const LOCATOR: &[u8; 4] = b"PK\x06\x07";
const LOCATOR_BYTES: usize = 20;
const END64: &[u8; 4] = b"PK\x06\x06";
const END64_BYTES: usize = 56;
const COMMENT_BYTES: usize = u16::MAX as usize;

/// The directory of a ZIP, unless it is damaged, or has more than `most` entries.
pub(super) fn open<R: Read + Seek>(
    mut source: R,
    most: usize,
) -> Result<ZipArchive<Metered<R>>, IngestError> {
    let most = most as u64;
    let announced = announced(&mut source).map_err(zip_error)?;
    if announced > most {
        return Err(IngestError::refused(
            "too_many_files",
            format!("the archive has {announced} files, {most} are allowed"),
        ));
    }
    let left = Rc::new(Cell::new(SEARCH_BYTES + ENTRY_BYTES.saturating_mul(most)));
    let zip = ZipArchive::new(Metered { source, left: Rc::clone(&left) }).map_err(zip_error)?;
    // The files have limits of their own.
    left.set(u64::MAX);
    Ok(zip)
}

/// How many entries there are by the archive's own word: of all records that a reader may take for the last one, the most.
fn announced(source: &mut (impl Read + Seek)) -> Result<u64, ZipError> {
    let length = source.seek(SeekFrom::End(0))?;
    let tail_bytes = length.min((END64_BYTES + LOCATOR_BYTES + END_BYTES + COMMENT_BYTES) as u64);
    let tail_start = length - tail_bytes;
    source.seek(SeekFrom::Start(tail_start))?;
    let mut tail = Vec::new();
    source.take(tail_bytes).read_to_end(&mut tail)?;
    let begin = tail.len().saturating_sub(END_BYTES + COMMENT_BYTES);
    let mut most = 0;
    for at in memmem::find_iter(&tail[begin..], END) {
        most = most.max(entries(&tail, begin + at, tail_start)?);
    }
    Ok(most)
}

/// How many entries the record at `at` announces; 0 when no reader takes it for one.
fn entries(tail: &[u8], at: usize, tail_start: u64) -> Result<u64, ZipError> {
    let Some(end) = tail.get(at..at + END_BYTES) else { return Ok(0) };
    let (here, all) = (u16_at(end, 8), u16_at(end, 10));
    let comment_end = at + END_BYTES + usize::from(u16_at(end, 20));
    // Of several disks, or bytes that look like a record by chance.
    if here != all || comment_end > tail.len() {
        return Ok(0);
    }
    let is_large = all == u16::MAX || [12, 16].iter().any(|&place| u32_at(end, place) == u32::MAX);
    let locator_at =
        at.checked_sub(LOCATOR_BYTES).filter(|start| is_large && tail[*start..].starts_with(LOCATOR));
    let Some(locator_at) = locator_at else { return Ok(all.into()) };
    // A reader looks for the large record wherever it might be; whoever writes one puts it before its locator.
    let record = locator_at.checked_sub(END64_BYTES).map(|start| (start, &tail[start..locator_at]));
    match record {
        Some((start, record))
            if record.starts_with(END64)
                && u64_at(record, 4) == END64_BYTES as u64 - 12
                && u64_at(&tail[locator_at..], 8) == tail_start + start as u64 =>
        {
            Ok(u64_at(record, 32))
        }
        _ => Err(ZipError::InvalidArchive("its ZIP64 record is not where it belongs".into())),
    }
}

fn u16_at(bytes: &[u8], at: usize) -> u16 {
    number_at(bytes, at).map_or(0, u16::from_le_bytes)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    number_at(bytes, at).map_or(0, u32::from_le_bytes)
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    number_at(bytes, at).map_or(0, u64::from_le_bytes)
}

fn number_at<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..)?.first_chunk().copied()
}

/// Reads so many bytes and no more.
pub(super) struct Metered<R> {
    source: R,
    left: Rc<Cell<u64>>,
}

impl<R: Read> Read for Metered<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let length = self.source.read(buffer)?;
        let left = self.left.get().checked_sub(length as u64);
        self.left
            .set(left.ok_or_else(|| io::Error::other("its directory is longer than so few files need"))?);
        Ok(length)
    }
}

impl<R: Seek> Seek for Metered<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.source.seek(to)
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Cursor, Write};

    use zip::{ZipWriter, write::SimpleFileOptions};

    use super::*;

    fn zip(entries: usize) -> Vec<u8> {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for entry in 0..entries {
            zip.start_file(format!("{entry}.csv"), SimpleFileOptions::default()).expect("memory takes it");
            zip.write_all(b"1").expect("memory takes it");
        }
        zip.finish().expect("memory takes it").into_inner()
    }

    fn code<R>(opened: Result<ZipArchive<Metered<R>>, IngestError>) -> &'static str {
        match opened {
            Ok(_) => "opened",
            Err(IngestError::Refused(error)) => error.code,
            Err(_) => "another failure",
        }
    }

    /// Writes over the number of entries in the record at the end.
    fn announce(zip: &mut [u8], entries: u16) {
        let end = zip.len() - END_BYTES;
        assert!(zip[end..].starts_with(END));
        for place in [8, 10] {
            zip[end + place..end + place + 2].copy_from_slice(&entries.to_le_bytes());
        }
    }

    /// A directory of so many entries that only the large record can say it.
    fn large(entries: u64) -> Vec<u8> {
        let mut header = [0; 47];
        header[..4].copy_from_slice(b"PK\x01\x02");
        header[28] = 1;
        let mut zip = header.repeat(usize::try_from(entries).expect("not so many"));
        let directory_bytes = zip.len() as u64;
        zip.extend_from_slice(END64);
        zip.extend_from_slice(&(END64_BYTES as u64 - 12).to_le_bytes());
        zip.extend_from_slice(&[45, 0, 45, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        for number in [entries, entries, directory_bytes, 0] {
            zip.extend_from_slice(&number.to_le_bytes());
        }
        zip.extend_from_slice(LOCATOR);
        zip.extend_from_slice(&[0; 4]);
        zip.extend_from_slice(&directory_bytes.to_le_bytes());
        zip.extend_from_slice(&[1, 0, 0, 0]);
        zip.extend_from_slice(END);
        zip.extend_from_slice(&[0; 4]);
        zip.extend_from_slice(&[0xff; 12]);
        zip.extend_from_slice(&[0; 2]);
        zip
    }

    /// Counts what is read.
    struct Watched<'a>(Cursor<&'a [u8]>, u64);

    impl Read for &mut Watched<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let length = self.0.read(buffer)?;
            self.1 += length as u64;
            Ok(length)
        }
    }

    impl Seek for &mut Watched<'_> {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }

    #[test]
    fn as_many_entries_as_allowed_are_opened_and_one_more_is_not() {
        let bytes = zip(5);
        assert_eq!(code(open(Cursor::new(&bytes), 5)), "opened");
        assert_eq!(code(open(Cursor::new(&bytes), 4)), "too_many_files");
        assert_eq!(code(open(Cursor::new(&zip(0)), 4)), "opened");
    }

    /// More than the small record can say: they are counted in the large one.
    #[test]
    fn a_directory_of_too_many_entries_is_refused_before_it_is_read() {
        let bytes = large(100_000);
        let mut watched = Watched(Cursor::new(&bytes), 0);
        assert_eq!(code(open(&mut watched, 1_000)), "too_many_files");
        assert!(watched.1 < 100_000, "{} bytes of {} were read", watched.1, bytes.len());
        assert_eq!(code(open(Cursor::new(&large(3)), 3)), "opened");
    }

    #[test]
    fn a_record_that_announces_more_than_there_is_costs_nothing() {
        let mut bytes = zip(3);
        announce(&mut bytes, u16::MAX - 1);
        assert_eq!(code(open(Cursor::new(&bytes), 1_000)), "too_many_files");
    }

    #[test]
    fn a_large_record_that_is_elsewhere_is_damage() {
        let mut bytes = large(100_000);
        let locator = bytes.len() - END_BYTES - LOCATOR_BYTES;
        assert!(bytes[locator..].starts_with(LOCATOR));
        bytes[locator + 8] ^= 1;
        assert_eq!(code(open(Cursor::new(&bytes), 1_000)), "bad_zip");
    }

    /// The names are so long that more bytes are read than the entries that are announced need.
    #[test]
    fn a_directory_longer_than_its_entries_need_is_damage() {
        let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
        for entry in 0..20 {
            let name = format!("{entry}{}.csv", "x".repeat(60_000));
            zip.start_file(name, SimpleFileOptions::default()).expect("memory takes it");
        }
        let bytes = zip.finish().expect("memory takes it").into_inner();
        assert_eq!(code(open(Cursor::new(&bytes), 20)), "bad_zip");
        assert_eq!(code(open(Cursor::new(&bytes), 1_000)), "opened");
    }
}
