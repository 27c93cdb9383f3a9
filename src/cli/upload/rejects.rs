//! Files of rejects beside the files they are of.

use std::{
    io,
    path::{Path, PathBuf},
};

use tokio::{
    fs::File,
    io::{AsyncBufReadExt, AsyncReadExt, BufReader},
};

use super::suffixed;
use crate::ingest::REJECT_COLUMNS;

/// What the name of a file of rejects adds to that of the file.
pub(super) const SUFFIX: &str = ".rejects.csv";
/// A longer first line has other columns than ours.
const HEADER_BYTES: u64 = 1 << 16;

/// The file whose rejects are in `file`, if it is among `files` too: then a pattern of the shell named both.
pub(super) fn left_out_beside<'a>(file: &Path, files: &'a [PathBuf]) -> Option<&'a Path> {
    files.iter().find(|of| suffixed(of, SUFFIX) == file).map(PathBuf::as_path)
}

/// Removes a file of rejects that this program has saved; `false`: there is none.
pub(super) async fn remove(path: &Path) -> io::Result<bool> {
    let file = match File::open(path).await {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    let mut header = Vec::new();
    BufReader::new(file).take(HEADER_BYTES).read_until(b'\n', &mut header).await?;
    if !is_header(&header) {
        return Ok(false);
    }
    tokio::fs::remove_file(path).await?;
    Ok(true)
}

/// Whether the line ends with the service's columns, whatever stands between and around them.
fn is_header(line: &[u8]) -> bool {
    let is_word = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
    let words: Vec<_> = line.split(|byte| !is_word(byte)).filter(|word| !word.is_empty()).collect();
    words.ends_with(&REJECT_COLUMNS.map(str::as_bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_rejects_is_known_by_its_header() {
        for line in [
            "id,_row,_line,_file,_column,_code,_message\r\n",
            "'id';'_row';'_line';'_file';'_column';'_code';'_message'\n",
        ] {
            assert!(is_header(line.as_bytes()), "{line}");
        }
        for line in
            ["", "id,_row,_line,_column,_code,_message\n", "_row,_line,_file,_column,_code,_message,id\n"]
        {
            assert!(!is_header(line.as_bytes()), "{line}");
        }
    }

    #[test]
    fn rejects_are_left_out_only_beside_their_file() {
        let files: Vec<_> = ["a.csv", "a.csv.rejects.csv", "b.csv.rejects.csv"].map(PathBuf::from).into();
        let left_out: Vec<_> = files.iter().map(|file| left_out_beside(file, &files)).collect();
        assert_eq!(left_out, [None, Some(Path::new("a.csv")), None]);
    }
}
