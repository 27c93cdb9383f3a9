//! `tarmac serve` and `tarmac worker`: until told to stop.

use std::{net::SocketAddr, path::Path, process::ExitCode};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::CommandError;
use crate::{app, clock::Clock, config::Config, log};

#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    /// Serve the API only; chunks are loaded by `tarmac worker` elsewhere.
    #[arg(long)]
    no_worker: bool,
    /// Where to listen, as in `server.address`.
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
    /// Listen anywhere although no keys are required, as `auth.open`: whoever reaches the port may do everything.
    #[arg(long)]
    open: bool,
}

pub(super) async fn run(arguments: Arguments, file: Option<&Path>) -> Result<ExitCode, CommandError> {
    let address = arguments.address.map(|address| ("server.address", address));
    let open = arguments.open.then(|| ("auth.open", true.to_string()));
    let overrides: Vec<_> = address.into_iter().chain(open).collect();
    let config = Config::load(file, &overrides)?;
    let log = log::start(&config.log, &config.traces)?;
    allow_many_files()?;
    let with_worker = !arguments.no_worker;
    app::serve(config, Clock::System, with_worker, log.shown.clone(), stop_signal()?, say).await?;
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, clap::Args)]
pub(super) struct WorkerArguments {
    /// How many chunks to load at once, each by a consumer of its own; as in `worker.loaders`.
    #[arg(long, value_name = "N")]
    consumers: Option<usize>,
    /// Where to answer /health, /metrics and /logs, as in `worker.address`.
    #[arg(long, value_name = "HOST:PORT")]
    address: Option<String>,
}

pub(super) async fn run_worker(
    arguments: WorkerArguments,
    file: Option<&Path>,
) -> Result<ExitCode, CommandError> {
    let consumers = arguments.consumers.map(|consumers| ("worker.loaders", consumers.to_string()));
    let address = arguments.address.map(|address| ("worker.address", address));
    let overrides: Vec<_> = consumers.into_iter().chain(address).collect();
    let config = Config::load(file, &overrides)?;
    let log = log::start(&config.log, &config.traces)?;
    let stop = stop_signal()?;
    match config.worker.address {
        Some(address) => app::work_at(address, config, Clock::System, log.shown.clone(), stop, say).await?,
        None => app::work(config, stop).await?,
    }
    Ok(ExitCode::SUCCESS)
}

fn say(address: SocketAddr) {
    tracing::info!(%address, "serving");
}

/// Each connection is a file, and the limit is low only for programs that use `select`.
fn allow_many_files() -> Result<(), CommandError> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit })?;
    Ok(())
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
