//! `tarmac serve` and `tarmac worker`: until told to stop.

use std::{path::Path, process::ExitCode};

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{CommandError, load_config};
use crate::{app, clock::Clock};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Serve the API only; chunks are loaded by `tarmac worker` elsewhere.
    #[arg(long)]
    no_worker: bool,
    /// Where to listen, as in `server.address`.
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
}

pub(super) async fn run(arguments: Arguments, file: Option<&Path>) -> Result<ExitCode, CommandError> {
    let overrides: Vec<_> =
        arguments.address.map(|address| ("server.address", address)).into_iter().collect();
    let config = load_config(file, &overrides)?;
    let bound = |address| tracing::info!(%address, "serving");
    app::serve(config, Clock::System, !arguments.no_worker, stop_signal()?, bound).await?;
    Ok(ExitCode::SUCCESS)
}

pub(super) async fn run_worker(file: Option<&Path>) -> Result<ExitCode, CommandError> {
    let config = load_config(file, &[])?;
    app::work(config, stop_signal()?).await?;
    Ok(ExitCode::SUCCESS)
}

/// Cancelled by the first SIGINT or SIGTERM. A second one ends the process at once, as it does by default.
fn stop_signal() -> Result<CancellationToken, CommandError> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let stop = CancellationToken::new();
    let token = stop.clone();
    tokio::spawn(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        tracing::info!("stopping");
        token.cancel();
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
        std::process::exit(130);
    });
    Ok(stop)
}
