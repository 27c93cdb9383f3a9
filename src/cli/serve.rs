//! `tarmac serve` and `tarmac worker`: until told to stop.

use std::{net::SocketAddr, path::Path, process::ExitCode};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{CommandError, migrate};
use crate::{app, clock::Clock, config::Config, db::Db, log};

const SERVE_HELP: &str = "\
Examples:
  tarmac serve
  tarmac serve --migrate --address 127.0.0.1:9000
  TARMAC_AUTH_REQUIRED=true tarmac serve --address 0.0.0.0:8080
  tarmac --config /etc/tarmac.toml serve --no-worker

Exit status:
  0    stopped by SIGINT or SIGTERM
  1    the service cannot start: the database cannot be reached or lacks (a part of) the schema, the address is taken, …
  2    the command line is wrong";

const WORKER_HELP: &str = "\
Examples:
  tarmac worker
  tarmac worker --consumers 8 --address 127.0.0.1:9100

Exit status:
  0    stopped by SIGINT or SIGTERM
  1    the worker cannot start: the database cannot be reached or lacks (a part of) the schema, the address is taken, …
  2    the command line is wrong";

#[derive(Debug, clap::Args)]
#[command(after_help = SERVE_HELP)]
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
    /// Bring the schema up first, as `tarmac migrate up` does.
    #[arg(long)]
    migrate: bool,
}

pub(super) async fn run(arguments: Arguments, file: Option<&Path>) -> Result<ExitCode, CommandError> {
    let address = arguments.address.map(|address| ("server.address", address));
    let open = arguments.open.then(|| ("auth.open", true.to_string()));
    let overrides: Vec<_> = address.into_iter().chain(open).collect();
    let config = Config::load(file, &overrides)?;
    let log = log::start(&config.log, &config.traces)?;
    prepare_schema(&config, arguments.migrate).await?;
    allow_many_files()?;
    let with_worker = !arguments.no_worker;
    app::serve(config, Clock::System, with_worker, log.shown.clone(), stop_signal()?, say).await?;
    Ok(ExitCode::SUCCESS)
}

#[derive(Debug, clap::Args)]
#[command(after_help = WORKER_HELP)]
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
    prepare_schema(&config, false).await?;
    let stop = stop_signal()?;
    match config.worker.address {
        Some(address) => app::work_at(address, config, Clock::System, log.shown.clone(), stop, say).await?,
        None => app::work(config, stop).await?,
    }
    Ok(ExitCode::SUCCESS)
}

/// Without the schema nothing works, and nobody notices who only looks whether the process is there.
async fn prepare_schema(config: &Config, migrate: bool) -> Result<(), CommandError> {
    let db = Db::connect(&config.database).await?;
    if migrate {
        migrate::up(&db).await?;
    }
    migrate::require_schema(&db).await?;
    db.close().await;
    Ok(())
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
