//! What the benchmarks that compare with psql share.

pub(crate) mod server;

use std::{
    path::Path,
    time::{Duration, Instant},
};

use server::{Outcome, Tarmac};

/// For [`Tarmac::start`]: a client may wait for an import however long it takes.
pub(crate) const PATIENT: [(&str, &str); 1] = [("TARMAC_SERVER_WAIT_SECONDS", "3600")];

/// What the command line says; cargo adds `--bench`.
pub(crate) struct Options {
    pub(crate) rows: u64,
    pub(crate) rounds: usize,
}

impl Options {
    /// So many rows and rounds, unless it says otherwise.
    pub(crate) fn read(rows: u64, rounds: usize) -> Outcome<Self> {
        let mut options = Self { rows, rounds };
        let mut arguments = std::env::args().skip(1);
        while let Some(argument) = arguments.next() {
            let mut value = || arguments.next().ok_or(format!("{argument} needs a value"));
            match argument.as_str() {
                "--rows" => options.rows = value()?.parse()?,
                "--rounds" => options.rounds = value()?.parse::<usize>()?.max(1),
                "--bench" => {}
                _ => return Err(format!("unknown argument {argument}; there are --rows and --rounds").into()),
            }
        }
        Ok(options)
    }
}

/// Sends a CSV to an operation; the time from the first byte until the import is complete with so many new rows.
pub(crate) async fn upload(tarmac: &Tarmac, operation: &str, file: &Path, rows: u64) -> Outcome<Duration> {
    let file = tokio::fs::File::open(file).await?;
    let length = file.metadata().await?.len();
    let body = reqwest::Body::wrap_stream(tokio_util::io::ReaderStream::with_capacity(file, 1 << 18));
    let started = Instant::now();
    let response = tarmac
        .client
        .post(format!("http://{}{operation}?force=true", tarmac.address))
        .header("Content-Type", "text/csv")
        .header("Content-Length", length)
        .header("Prefer", "wait=3600")
        .body(body)
        .send()
        .await?;
    let import: serde_json::Value = response.json().await?;
    let elapsed = started.elapsed();
    if import["state"] != "complete" || import["counts"]["inserted"] != rows {
        return Err(format!("the import is not as expected: {import}").into());
    }
    Ok(elapsed)
}

/// Sorts; the middle one.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}
