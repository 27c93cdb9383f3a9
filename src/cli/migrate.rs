//! `tarmac migrate up|down|status`.

use std::{path::Path, process::ExitCode};

use clap::Subcommand;
use migration::{Migrator, MigratorTrait};

use super::{CommandError, load_config, print};
use crate::db::Db;

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Apply what is pending.
    Up,
    /// Take back the newest migrations.
    Down {
        /// How many.
        #[arg(default_value_t = 1)]
        steps: u32,
    },
    /// List the migrations and whether each is applied; exit status 1 when one is pending.
    Status,
}

pub(super) async fn run(command: Command, file: Option<&Path>) -> Result<ExitCode, CommandError> {
    let config = load_config(file, &[])?;
    let db = Db::connect(&config.database).await?;
    match command {
        Command::Up => Migrator::up(db.orm(), None).await?,
        Command::Down { steps } => Migrator::down(db.orm(), Some(steps)).await?,
        Command::Status => {
            let mut pending = false;
            for migration in Migrator::get_migration_with_status(db.orm()).await? {
                pending |= migration.status() == migration::MigrationStatus::Pending;
                print(&format!(
                    "{:<8} {}\n",
                    migration.status().to_string().to_lowercase(),
                    migration.name()
                ))?;
            }
            if pending {
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
