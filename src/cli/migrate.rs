//! `tarmac migrate up|down|status`.

use std::{path::Path, process::ExitCode};

use clap::Subcommand;
use migration::{Migrator, MigratorTrait};

use super::{CommandError, load_config, print};
use crate::db::{
    Db,
    schema::{self, Schema},
};

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
    /// List the migrations and whether each is applied, or of a later version; exit status 1 when one is pending.
    Status,
}

pub(super) async fn run(command: Command, file: Option<&Path>) -> Result<ExitCode, CommandError> {
    let config = load_config(file, &[])?;
    let db = Db::connect(&config.database).await?;
    // What is pending is looked up once nobody else changes it.
    let _lock = match command {
        Command::Status => None,
        Command::Up | Command::Down { .. } => Some(schema::Lock::take(&db).await?),
    };
    let Schema { pending, ahead } = schema::compare(&db).await?;
    match command {
        // A version that is put back finds a schema that is ahead of it, and works with that.
        Command::Up if pending.is_empty() => {}
        Command::Up | Command::Down { .. } if !ahead.is_empty() => {
            let ahead = ahead.join(", ");
            return Err(format!("the schema is ahead of this version, which does not know: {ahead}").into());
        }
        Command::Up => Migrator::up(db.orm(), None).await?,
        Command::Down { steps } => Migrator::down(db.orm(), Some(steps)).await?,
        Command::Status => {
            for migration in Migrator::migrations() {
                let name = migration.name();
                let status =
                    if pending.iter().any(|pending| pending == name) { "pending" } else { "applied" };
                print(&format!("{status:<8} {name}\n"))?;
            }
            for name in &ahead {
                print(&format!("{:<8} {name}\n", "later"))?;
            }
            if !pending.is_empty() {
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
