//! What the command line names: files, directories with files, standard input.

use std::{
    io,
    path::{Path, PathBuf},
};

use tempfile::TempPath;

use super::{rejects, suffixed};
use crate::cli::server::RequestError;

/// Stands for standard input.
const STDIN: &str = "-";
/// What standard input is called unless it is given a name.
const STDIN_NAME: &str = "stdin";
/// Ends the names of what is uploaded from a directory.
const SUFFIXES: [&str; 3] = [".csv", ".zip", ".gz"];

pub(super) fn is_stdin(argument: &Path) -> bool {
    argument.as_os_str() == STDIN
}

/// The files that arguments stand for, in order, each with why it cannot be uploaded if that is known: a directory stands for its files.
pub(super) fn expand(arguments: &[PathBuf]) -> Vec<(PathBuf, Option<RequestError>)> {
    let mut files = Vec::new();
    for argument in arguments {
        if is_stdin(argument) || !argument.is_dir() {
            files.push((argument.clone(), None));
            continue;
        }
        match files_of(argument) {
            Ok(found) if found.is_empty() => {
                files.push((argument.clone(), Some(RequestError::EmptyDirectory)));
            }
            Ok(found) => files.extend(found.into_iter().map(|file| (file, None))),
            Err(error) => files.push((argument.clone(), Some(RequestError::Read(error)))),
        }
    }
    files
}

/// The directory's own files that can be uploaded, sorted; not those of directories within.
fn files_of(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in std::fs::read_dir(directory)? {
        let entry = entry?;
        let is_wanted = is_data(&entry.file_name().to_string_lossy());
        // A link counts as what it leads to.
        if is_wanted && entry.path().is_file() {
            files.push(entry.path());
        }
    }
    files.sort_unstable();
    Ok(files)
}

/// Hidden files belong to programs that have a file open, or to file systems; rejects are to be corrected first.
fn is_data(name: &str) -> bool {
    let name = name.to_lowercase();
    let has = |suffix: &&str| name.ends_with(*suffix);
    SUFFIXES.iter().any(has) && !name.ends_with(rejects::SUFFIX) && !name.starts_with(['.', '~'])
}

/// A file that can be read more than once.
pub(super) struct Source {
    pub(super) path: PathBuf,
    /// What the server is told that it is called.
    pub(super) name: String,
    /// Where its rejects are saved.
    pub(super) rejects: PathBuf,
    /// Standard input has no beginning to go back to: it is kept here until its upload has ended.
    _kept: Option<TempPath>,
}

impl Source {
    /// `name` is for standard input, which is read to its end.
    pub(super) async fn open(file: &Path, name: Option<&str>) -> Result<Self, RequestError> {
        if !is_stdin(file) {
            let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let rejects = suffixed(file, rejects::SUFFIX);
            return Ok(Self { path: file.to_owned(), name, rejects, _kept: None });
        }
        let name = name.unwrap_or(STDIN_NAME).to_owned();
        let rejects = suffixed(Path::new(&name), rejects::SUFFIX);
        let kept = keep_stdin().await.map_err(RequestError::Read)?;
        Ok(Self { path: kept.to_path_buf(), name, rejects, _kept: Some(kept) })
    }
}

async fn keep_stdin() -> io::Result<TempPath> {
    let kept = tokio::task::spawn_blocking(|| {
        let (mut file, path) = tempfile::NamedTempFile::new()?.into_parts();
        io::copy(&mut io::stdin().lock(), &mut file)?;
        Ok(path)
    });
    kept.await.map_err(io::Error::other)?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_a_directory_only_data_is_uploaded() {
        for name in ["a.csv", "A.CSV", "a.csv.gz", "a.zip", "rejects.csv"] {
            assert!(is_data(name), "{name}");
        }
        for name in ["a.dat", "a.csv.rejects.csv", ".a.csv", "~$a.csv", "a.csv.part", "csv", "README"] {
            assert!(!is_data(name), "{name}");
        }
    }
}
