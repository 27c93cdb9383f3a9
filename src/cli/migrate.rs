//! `tarmac migrate up|down|status`.

use std::{path::Path, process::ExitCode};

use clap::Subcommand;
use indicatif::HumanCount;
use migration::{Migrator, MigratorTrait};

use super::{CommandError, complain, load_config, print};
use crate::db::{
    Db,
    downgrade::{self, Loss},
    schema::{self, Schema},
};

const AFTER_HELP: &str = "\
Examples:
  tarmac migrate up
  tarmac migrate status
  tarmac migrate down 1
  tarmac migrate down --to m20261121_000010_add_retention --yes";

const UP_HELP: &str = "\
Examples:
  tarmac migrate up
  TARMAC_DATABASE_URL=postgres://user@host/name tarmac migrate up";

const DOWN_HELP: &str = "\
Examples:
  tarmac migrate down 1                          # refused when that drops data; says which
  tarmac migrate down 1 --yes
  tarmac migrate down --to m20261121_000010_add_retention";

const STATUS_HELP: &str = "\
Examples:
  tarmac migrate status";

#[derive(Debug, Subcommand)]
#[command(after_help = AFTER_HELP)]
pub(super) enum Command {
    /// Apply the pending migrations.
    #[command(after_help = UP_HELP)]
    Up,
    /// Take back the newest migrations; --yes is needed where that drops data.
    #[command(after_help = DOWN_HELP)]
    Down {
        /// How many migrations to take back.
        #[arg(
            required_unless_present = "to",
            conflicts_with = "to",
            value_parser = clap::value_parser!(u32).range(1..)
        )]
        steps: Option<u32>,
        /// Take back all migrations after this one, which is named as `tarmac migrate status` lists it.
        #[arg(long, value_name = "MIGRATION")]
        to: Option<String>,
        /// Take them back although that drops tables or columns with data.
        #[arg(long)]
        yes: bool,
    },
    /// List the migrations and whether each is applied, or of a later version; exit status 1 when one is pending.
    #[command(after_help = STATUS_HELP)]
    Status,
}

pub(super) async fn run(command: Command, file: Option<&Path>) -> Result<ExitCode, CommandError> {
    let config = load_config(file, &[])?;
    let db = Db::connect(&config.database).await?;
    match command {
        Command::Up => up(&db).await?,
        Command::Down { steps, to, yes } => return down(&db, steps, to.as_deref(), yes).await,
        Command::Status => return status(&db).await,
    }
    Ok(ExitCode::SUCCESS)
}

/// Applies what is pending.
pub(super) async fn up(db: &Db) -> Result<(), CommandError> {
    // What is pending is looked up once nobody else changes it.
    let _lock = schema::Lock::take(db).await?;
    let Schema { pending, ahead } = schema::compare(db).await?;
    // A version that is put back finds a schema that is ahead of it, and works with that.
    if pending.is_empty() {
        return Ok(());
    }
    refuse_unknown(&ahead)?;
    Ok(Migrator::up(db.orm(), None).await?)
}

/// Fails, with the way out, where the schema lacks something that this version needs. One that is ahead is fine.
pub(super) async fn require_schema(db: &Db) -> Result<(), CommandError> {
    let Schema { pending, .. } = schema::compare(db).await?;
    match pending.len() {
        0 => Ok(()),
        all if all == Migrator::migrations().len() => {
            Err("the database has no schema; run: tarmac migrate up".into())
        }
        _ => {
            let pending = pending.join(", ");
            Err(format!("the schema is behind this version; run: tarmac migrate up (pending: {pending})")
                .into())
        }
    }
}

async fn down(db: &Db, steps: Option<u32>, to: Option<&str>, yes: bool) -> Result<ExitCode, CommandError> {
    let _lock = schema::Lock::take(db).await?;
    let Schema { pending, ahead } = schema::compare(db).await?;
    refuse_unknown(&ahead)?;
    let names = Migrator::migrations().into_iter().map(|migration| migration.name().to_owned());
    let applied: Vec<String> = names.filter(|name| !pending.contains(name)).collect();
    let kept = match (steps, to) {
        (_, Some(to)) => match applied.iter().position(|name| name == to) {
            Some(place) => place + 1,
            None => return Err(format!("{to} is not applied; tarmac migrate status lists what is").into()),
        },
        (steps, None) => {
            let steps = steps.unwrap_or_default() as usize;
            let too_many =
                || format!("{steps} migrations cannot be taken back: {} are applied", applied.len());
            applied.len().checked_sub(steps).ok_or_else(too_many)?
        }
    };
    let going = &applied[kept..];
    let steps = u32::try_from(going.len())?;
    if steps == 0 {
        return Ok(ExitCode::SUCCESS);
    }
    let losses = if yes { Vec::new() } else { downgrade::losses(db, steps).await? };
    if !losses.is_empty() {
        complain(&format!("taking back {} drops data; with --yes it is done", going.join(", ")));
        for loss in &losses {
            complain(&describe(loss));
        }
        return Ok(ExitCode::FAILURE);
    }
    Migrator::down(db.orm(), Some(steps)).await?;
    Ok(ExitCode::SUCCESS)
}

fn describe(Loss { table, columns, rows }: &Loss) -> String {
    let rows = HumanCount((*rows).unsigned_abs());
    match columns.as_slice() {
        [] => format!("  table {table}: {rows} rows"),
        columns => format!("  of table {table} with {rows} rows: {}", columns.join(", ")),
    }
}

fn refuse_unknown(ahead: &[String]) -> Result<(), CommandError> {
    if ahead.is_empty() {
        return Ok(());
    }
    Err(format!("the schema is ahead of this version, which does not know: {}", ahead.join(", ")).into())
}

async fn status(db: &Db) -> Result<ExitCode, CommandError> {
    let Schema { pending, ahead } = schema::compare(db).await?;
    for migration in Migrator::migrations() {
        let name = migration.name();
        let status = if pending.iter().any(|pending| pending == name) { "pending" } else { "applied" };
        print(&format!("{status:<8} {name}\n"))?;
    }
    for name in &ahead {
        print(&format!("{:<8} {name}\n", "later"))?;
    }
    Ok(if pending.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
