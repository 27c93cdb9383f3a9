//! What is in a ZIP: files to load, what lies beside them, and what no archive of ours has.

use std::{
    collections::HashSet,
    io::{self, Read, Seek, SeekFrom},
};

use super::IngestError;
use crate::{db::imports::Note, text::cut};

/// Most names that are listed: an archive may have a thousand.
pub(super) const NAMES: usize = 10;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Entry {
    /// A file of records, as far as its name tells.
    Data,
    /// Something else, which is left out.
    Beside,
    /// An archive, which would hide what is in it.
    Archive,
}

impl Entry {
    /// What its name says that it is.
    pub(super) fn of(name: &str) -> Self {
        let base = name.rsplit('/').next().unwrap_or(name);
        if name.split('/').any(|part| part == "__MACOSX") || base.starts_with('.') || base.starts_with("~$") {
            return Self::Beside;
        }
        let (stem, extension) = base.rsplit_once('.').unwrap_or((base, ""));
        match extension.to_ascii_lowercase().as_str() {
            "zip" | "gz" | "tgz" | "7z" | "rar" | "bz2" | "xz" | "zst" | "tar" => Self::Archive,
            extension @ ("csv" | "tsv" | "txt" | "dat") if !is_about_the_others(stem, extension == "txt") => {
                Self::Data
            }
            _ => Self::Beside,
        }
    }
}

/// Whether it is a README or a licence: `README`, `00-README`, and of a text also `LICENSE-ODbL`, but not `license_plates.csv`.
fn is_about_the_others(stem: &str, is_text: bool) -> bool {
    let words: Vec<_> =
        stem.split(|char: char| !char.is_alphabetic()).filter(|word| !word.is_empty()).collect();
    let [first, rest @ ..] = &words[..] else { return false };
    let names = ["readme", "license", "licence", "licenses", "licences"];
    names.iter().any(|name| first.eq_ignore_ascii_case(name)) && (rest.is_empty() || is_text)
}

/// Says what was left out of the files that are loaded.
pub(super) fn notes(beside: &[String]) -> Vec<Note> {
    let note = |file: Option<String>, message: String| Note {
        code: "passed_over".to_owned(),
        file,
        column: None,
        message,
    };
    let listed = beside.iter().take(NAMES).map(|name| {
        note(Some(cut(name).into_owned()), "the file is not named like data and is left out".to_owned())
    });
    let more = beside.len().saturating_sub(NAMES);
    let unlisted = (more > 0).then(|| note(None, format!("{more} more files are left out")));
    listed.chain(unlisted).collect()
}

/// The archive has nothing to load.
pub(super) fn empty_archive(beside: &[String]) -> IngestError {
    let mut message = "the archive holds no file named .csv, .tsv, .txt or .dat".to_owned();
    if !beside.is_empty() {
        let names: Vec<_> = beside.iter().take(NAMES).map(|name| format!("{:?}", cut(name))).collect();
        let more = if beside.len() > NAMES { " and others" } else { "" };
        message.push_str(&format!("; left out: {}{more}", names.join(", ")));
    }
    IngestError::refused("empty_archive", message)
}

/// Two entries have one name, and only one of them could be read.
pub(super) fn repeated_name(archive: impl Read + Seek, directory: u64) -> IngestError {
    // Should the directory not be read a second time, the fault has no name.
    let name = find_repeated(archive, directory).unwrap_or_default();
    let which = name.map(|name| format!(" {:?}", cut(&name))).unwrap_or_default();
    IngestError::refused(
        "repeated_name",
        format!("the archive has two files of one name{which}; give each a name of its own"),
    )
}

/// The first name that is a second time in the directory: APPNOTE.TXT, 4.3.12.
fn find_repeated(mut archive: impl Read + Seek, directory: u64) -> io::Result<Option<String>> {
    let mut seen = HashSet::new();
    let mut at = directory;
    loop {
        let mut fixed = [0; 46];
        archive.seek(SeekFrom::Start(at))?;
        archive.read_exact(&mut fixed)?;
        if !fixed.starts_with(b"PK\x01\x02") {
            return Ok(None);
        }
        let length = |place: usize| u16::from_le_bytes([fixed[place], fixed[place + 1]]);
        let [name_length, extra_length, comment_length] = [28, 30, 32].map(length);
        let mut name = vec![0; usize::from(name_length)];
        archive.read_exact(&mut name)?;
        if let Some(name) = seen.replace(name) {
            return Ok(Some(String::from_utf8_lossy(&name).into_owned()));
        }
        at += 46 + u64::from(name_length) + u64::from(extra_length) + u64::from(comment_length);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_what_is_data() {
        for name in ["a.csv", "d/A.DAT", "b.Tsv", "c.txt", "license_plates.csv", "readme first.csv", "1.csv"]
        {
            assert_eq!(Entry::of(name), Entry::Data, "{name}");
        }
        for name in [
            "README",
            "d/readme.md",
            "README.txt",
            "00-README.txt",
            "README_de.txt",
            "LICENSE",
            "Licence.csv",
            "LICENSE-ODbL.txt",
            "desktop.ini",
            "Thumbs.db",
            ".DS_Store",
            "d/._a.csv",
            ".hidden.csv",
            "~$a.csv",
            "__MACOSX/d/a.csv",
            "a.pdf",
            "a",
            "a.csv.bak",
        ] {
            assert_eq!(Entry::of(name), Entry::Beside, "{name}");
        }
        for name in ["a.zip", "a.csv.GZ", "README.tar"] {
            assert_eq!(Entry::of(name), Entry::Archive, "{name}");
        }
    }

    #[test]
    fn what_is_left_out_is_listed_as_far_as_it_is_worth() {
        let names: Vec<_> = (0..1_000).map(|number| format!("{number}{}", "é".repeat(1_000))).collect();
        let notes = notes(&names);
        assert_eq!((notes.len(), notes[10].message.as_str()), (11, "990 more files are left out"));
        assert_eq!(notes[0].file.as_ref().map(|name| name.chars().count()), Some(301));
    }
}
