//! `tarmac replay`: brings imports back from the archives.

use std::{path::Path, process::ExitCode};

use tokio_util::sync::CancellationToken;

use super::{CommandError, complain, explain, load_config, migrate, print};
use crate::{
    app,
    clock::Clock,
    config::Config,
    db::{
        imports::{Import, State},
        retention::Lock,
    },
    retention::{
        Retention,
        replay::{Loss, Losses, Lost, Replayed},
    },
};

const AFTER_HELP: &str = "\
Examples:
  tarmac replay 7 8
  tarmac replay --missing --dry-run
  tarmac replay --missing

Exit status:
  0    every import is back
  1    an import could not be brought back, or the command failed
  2    the command line is wrong";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// Numbers of imports. One in the long-term archive comes back as it went; one that the database has lost is imported again.
    #[arg(required_unless_present = "missing", conflicts_with = "missing")]
    imports: Vec<i64>,
    /// Everything of which the archives know more than the database: after it was restored, what came later than the backup.
    #[arg(long)]
    missing: bool,
    /// With --missing: say which these are, and do nothing.
    #[arg(long, requires = "missing")]
    dry_run: bool,
}

pub(super) async fn run(arguments: Arguments, file: Option<&Path>) -> Result<ExitCode, CommandError> {
    let config = load_config(file, &[])?;
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    let retention = app::retention(&config, Clock::System, &stop).await?;
    migrate::require_schema(&retention.db).await?;
    if arguments.dry_run {
        let Losses { lost, broken } = retention.lost().await?;
        for Lost { manifest, loss } in &lost {
            let name = manifest.filename.as_deref().unwrap_or("no name");
            let (id, dataset, bytes) = (manifest.id, &manifest.dataset, manifest.bytes);
            let at = manifest.created_at.format("%Y-%m-%dT%H:%M:%SZ");
            let missing = if *loss == Loss::Upload { "its upload is missing" } else { "missing" };
            print(&format!("import {id}: {missing}: {dataset}, {name}, {bytes} bytes, of {at}\n"))?;
        }
        for error in &broken {
            complain(&explain(error));
        }
        return Ok(if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
    }
    // Whether or not a service runs, what is imported again is led by a worker of this process.
    let mut worker = config.clone();
    worker.worker.imports = worker.worker.imports.max(1);
    worker.retention.every_seconds = 0;
    let mut working = tokio::spawn(app::work(worker, stop.clone()));
    let replayed = tokio::select! {
        ended = &mut working => {
            ended??;
            return Err("the worker ended early".into());
        }
        replayed = replay(&retention, &config, &arguments) => replayed,
    };
    stop.cancel();
    working.await??;
    replayed
}

async fn replay(
    retention: &Retention,
    config: &Config,
    arguments: &Arguments,
) -> Result<ExitCode, CommandError> {
    let mut lock = Lock::take(&retention.db).await?;
    let mut failed = 0;
    if !arguments.missing {
        for &id in &arguments.imports {
            match retention.replay(id, &mut lock).await {
                Ok(replayed) => print(&format!("import {id}: {}\n", told(id, &replayed))).map(drop)?,
                Err(error) => {
                    failed += 1;
                    complain(&format!("import {id}: {}", explain(&error)));
                }
            }
        }
        if failed == 0 && config.retention.every_seconds > 0 {
            complain(&format!("what is back stays for {} days", config.retention.days));
        }
    } else {
        let Losses { lost, broken } = retention.lost().await?;
        for error in &broken {
            failed += 1;
            complain(&explain(error));
        }
        // One after the other, in the order in which they came: a later row replaces an earlier one.
        for lost in &lost {
            let id = lost.manifest.id;
            match retention.load(lost, &mut lock).await {
                Ok(replayed) => print(&format!("import {id}: {}\n", told(id, &replayed))).map(drop)?,
                Err(error) => {
                    failed += 1;
                    complain(&format!("import {id}: {}", explain(&error)));
                }
            }
        }
        print(&format!("{} were missing, {failed} could not be brought back\n", lost.len()))?;
    }
    Ok(if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn told(id: i64, replayed: &Replayed) -> String {
    match replayed {
        Replayed::Restored(_) => "brought back".to_owned(),
        Replayed::Same(same) => format!("is here as import {same}"),
        Replayed::Loaded(import) => {
            let Import { id: now, state, error_message, rows_read, rejected, .. } = import.as_ref();
            let number = if *now == id { String::new() } else { format!(" as import {now}") };
            let rows = format!("{} rows, {} rejected", rows_read.unwrap_or(0), rejected.unwrap_or(0));
            match state {
                State::Complete => format!("imported again{number}: {rows}"),
                _ => {
                    format!("imported again{number}, and failed: {}", error_message.as_deref().unwrap_or(""))
                }
            }
        }
    }
}
