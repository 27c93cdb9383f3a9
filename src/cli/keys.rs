//! `tarmac keys create|list|revoke`.

use std::{path::Path, process::ExitCode};

use chrono::{DateTime, NaiveDate, NaiveTime, Utc};
use clap::Subcommand;

use super::{
    CommandError, complain, load_config, migrate, print,
    table::{table, timestamp},
};
use crate::{
    auth::{
        keys::{self, Key},
        scopes::{Grant, GrantError},
    },
    clock::Clock,
    db::{self, Db},
};

const AFTER_HELP: &str = "\
Examples:
  tarmac keys create --name partner --scopes read,write
  tarmac keys list
  tarmac keys revoke 7";

const CREATE_HELP: &str = "\
Examples:
  tarmac keys create --name partner --scopes read,write >partner.key
  tarmac keys create --name audit --scopes read --expires 2999-01-31
  tarmac keys create --name vet --scopes read:cats,write:cats";

const LIST_HELP: &str = "\
Examples:
  tarmac keys list";

const REVOKE_HELP: &str = "\
Examples:
  tarmac keys revoke 7";

#[derive(Debug, Subcommand)]
#[command(after_help = AFTER_HELP)]
pub(super) enum Command {
    /// Create a key. The key itself is printed on standard output, this once.
    #[command(after_help = CREATE_HELP)]
    Create {
        /// Who the key is for; people read it in the list of keys.
        #[arg(long, value_parser = key_name)]
        name: String,
        /// What it permits: read, write, schema, admin; read and write of one dataset as read:cats.
        #[arg(long, required = true, value_delimiter = ',', value_parser = scope)]
        scopes: Vec<Grant>,
        /// When it expires: a day (at its beginning in UTC), or a time like 2027-01-31T12:00:00Z.
        #[arg(long, value_name = "TIME", value_parser = expiry)]
        expires: Option<DateTime<Utc>>,
    },
    /// List all keys, without their secrets.
    #[command(after_help = LIST_HELP)]
    List,
    /// Revoke a key. Servers refuse it after auth.memory_ms at the latest.
    #[command(after_help = REVOKE_HELP)]
    Revoke {
        /// Its number, as listed.
        id: i64,
    },
}

pub(super) async fn run(command: Command, file: Option<&Path>) -> Result<ExitCode, CommandError> {
    let config = load_config(file, &[])?;
    let db = Db::connect(&config.database).await?;
    migrate::require_schema(&db).await?;
    match command {
        Command::Create { name, mut scopes, expires } => {
            scopes.sort_unstable();
            scopes.dedup();
            let (secret, key) = keys::create(&db, &mut rand::rng(), &name, &scopes, expires).await?;
            complain(&format!("key {} of {name}; it is not shown again:", key.id));
            print(&format!("{secret}\n"))
        }
        Command::List => {
            let now = Clock::System.now();
            let keys = db::keys::list(&db).await?;
            let header =
                ["ID", "NAME", "SCOPES", "CREATED", "EXPIRES", "LAST USED", "STATE"].map(str::to_owned);
            let rows = keys.iter().map(|key| row(key, now));
            print(&table(&std::iter::once(header).chain(rows).collect::<Vec<_>>()))
        }
        Command::Revoke { id } if db::keys::revoke(&db, id).await? => Ok(ExitCode::SUCCESS),
        Command::Revoke { id } => Err(format!("there is no key {id}").into()),
    }
}

fn row(key: &Key, now: DateTime<Utc>) -> [String; 7] {
    let time = |time: Option<DateTime<Utc>>| time.map_or("-".to_owned(), timestamp);
    let state = match key {
        Key { revoked_at: Some(_), .. } => "revoked",
        Key { expires_at: Some(end), .. } if *end <= now => "expired",
        _ => "good",
    };
    [
        key.id.to_string(),
        key.name.clone(),
        key.stored_scopes().join(","),
        time(Some(key.created_at)),
        time(key.expires_at),
        time(key.last_used_at),
        state.to_owned(),
    ]
}

fn scope(text: &str) -> Result<Grant, String> {
    text.parse().map_err(|error: GrantError| error.to_string())
}

fn key_name(text: &str) -> Result<String, String> {
    let name = text.trim();
    if name.is_empty() {
        return Err("must say whose key it is".to_owned());
    }
    Ok(name.to_owned())
}

fn expiry(text: &str) -> Result<DateTime<Utc>, String> {
    later_than(Clock::System.now(), moment(text)?)
}

fn later_than(now: DateTime<Utc>, moment: DateTime<Utc>) -> Result<DateTime<Utc>, String> {
    if moment > now { Ok(moment) } else { Err("must be in the future".to_owned()) }
}

fn moment(text: &str) -> Result<DateTime<Utc>, String> {
    let day = text.parse::<NaiveDate>().map(|day| day.and_time(NaiveTime::MIN).and_utc());
    day.or_else(|_| text.parse()).map_err(|_| "must be like 2027-01-31 or 2027-01-31T12:00:00Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_expires_at_a_moment_or_with_the_beginning_of_a_day() {
        let expected: DateTime<Utc> = "2027-01-31T00:00:00Z".parse().expect("a time");
        for text in ["2027-01-31", "2027-01-31T00:00:00Z", "2027-01-31T01:00:00+01:00"] {
            assert_eq!(moment(text), Ok(expected), "{text}");
        }
        assert!(moment("tomorrow").is_err());
    }

    #[test]
    fn a_key_cannot_have_expired_when_it_is_made() {
        let now: DateTime<Utc> = "2027-01-31T00:00:00Z".parse().expect("a time");
        let second = chrono::TimeDelta::seconds(1);
        assert!(later_than(now, now).is_err() && later_than(now, now - second).is_err());
        assert_eq!(later_than(now, now + second), Ok(now + second));
    }
}
