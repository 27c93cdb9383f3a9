//! `tarmac retain`: once, what the workers do on their schedule.

use std::{path::Path, process::ExitCode};

use tokio_util::sync::CancellationToken;

use super::{CommandError, complain, explain, load_config, migrate, print};
use crate::{app, clock::Clock, db::retention::Lock, retention::offload::Offloaded};

const AFTER_HELP: &str = "\
Examples:
  tarmac retain --dry-run
  tarmac retain --older-than 30

Exit status:
  0    done
  1    an import could not be moved and stays, or the command failed
  2    the command line is wrong";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// Move what ended this many days ago or earlier; as in `retention.days`.
    #[arg(long, value_name = "DAYS")]
    older_than: Option<u32>,
    /// Say which imports would be moved, and do nothing.
    #[arg(long)]
    dry_run: bool,
}

pub(super) async fn run(arguments: Arguments, file: Option<&Path>) -> Result<ExitCode, CommandError> {
    let config = load_config(file, &[])?;
    let days = arguments.older_than.unwrap_or(config.retention.days);
    let stop = CancellationToken::new();
    let _stop = stop.clone().drop_guard();
    let retention = app::retention(&config, Clock::System, &stop).await?;
    migrate::require_schema(&retention.db).await?;
    let now = retention.clock.now();
    let before = now - chrono::TimeDelta::days(days.into());
    if arguments.dry_run {
        for id in retention.due(before).await? {
            print(&format!("import {id}: would be moved\n"))?;
        }
        return Ok(ExitCode::SUCCESS);
    }
    let mut lock = Lock::take(&retention.db).await?;
    let Offloaded { moved, kept } = if retention.long_term.is_some() {
        retention.offload(before, &mut lock).await?
    } else {
        complain("there is no long-term archive, so nothing is moved: set long_term.url");
        Offloaded::default()
    };
    for id in &moved {
        print(&format!("import {id}: moved\n"))?;
    }
    for (id, error) in &kept {
        complain(&format!("import {id}: stays: {}", explain(error)));
    }
    let swept = retention.sweep(now, &mut lock).await?;
    print(&format!(
        "moved {} imports; removed {} kept answers, {} links, {} objects\n",
        moved.len(),
        swept.answers,
        swept.links,
        swept.objects
    ))?;
    Ok(if kept.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
