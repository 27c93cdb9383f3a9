//! Citizens in files, by `tarmac fixtures`: the same rows whenever the same number is asked for.

use std::{error::Error, fs::File, path::Path, process::Command};

pub(crate) fn citizens(rows: u64, file: &Path) -> Result<(), Box<dyn Error + Send + Sync>> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tarmac"));
    command.args(["fixtures", "citizens", "--rows", &rows.to_string()]);
    let written = command.stdout(File::create(file)?).status()?;
    if written.success() { Ok(()) } else { Err("tarmac fixtures failed".into()) }
}
