//! `tarmac keys create|list|revoke`.

use std::{path::Path, process::ExitCode};

use chrono::{DateTime, NaiveDate, NaiveTime, SecondsFormat, Utc};
use clap::Subcommand;

use super::{CommandError, complain, load_config, print};
use crate::{
    auth::keys::{self, Key, Scope},
    db::{self, Db},
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Make a key. The key itself is printed on standard output, this once.
    Create {
        /// Whose key it is, for people.
        #[arg(long)]
        name: String,
        /// What it may be used for: read, write, admin; none includes another.
        #[arg(long, required = true, value_delimiter = ',', value_parser = scope)]
        scopes: Vec<Scope>,
        /// From when it is no longer good: a day (from its beginning in UTC), or a moment like 2027-01-31T12:00:00Z.
        #[arg(long, value_name = "TIME", value_parser = moment)]
        expires: Option<DateTime<Utc>>,
    },
    /// List all keys, but not what opens them.
    List,
    /// Make a key useless. Servers notice within auth.memory_ms.
    Revoke {
        /// Its number, as listed.
        id: i64,
    },
}

pub(super) async fn run(command: Command, file: Option<&Path>) -> Result<ExitCode, CommandError> {
    let config = load_config(file, &[])?;
    let db = Db::connect(&config.database).await?;
    match command {
        Command::Create { name, mut scopes, expires } => {
            scopes.sort_unstable();
            scopes.dedup();
            let (secret, key) = keys::create(&db, &mut rand::rng(), &name, &scopes, expires).await?;
            complain(&format!("key {} of {name}; it is not shown again:", key.id));
            print(&format!("{secret}\n"))
        }
        Command::List => {
            let now = Utc::now();
            let keys = db::keys::list(&db).await?;
            let header =
                ["ID", "NAME", "SCOPES", "CREATED", "EXPIRES", "LAST USED", "STATE"].map(str::to_owned);
            let rows = keys.iter().map(|key| row(key, now));
            print(&table(std::iter::once(header).chain(rows).collect()))
        }
        Command::Revoke { id } if db::keys::revoke(&db, id).await? => Ok(ExitCode::SUCCESS),
        Command::Revoke { id } => Err(format!("there is no key {id}").into()),
    }
}

fn row(key: &Key, now: DateTime<Utc>) -> [String; 7] {
    let time = |time: Option<DateTime<Utc>>| {
        time.map_or("-".to_owned(), |time| time.to_rfc3339_opts(SecondsFormat::Secs, true))
    };
    let state = match key {
        Key { revoked_at: Some(_), .. } => "revoked",
        Key { expires_at: Some(end), .. } if *end <= now => "expired",
        _ => "good",
    };
    [
        key.id.to_string(),
        key.name.clone(),
        key.scopes().map(Scope::name).collect::<Vec<_>>().join(","),
        time(Some(key.created_at)),
        time(key.expires_at),
        time(key.last_used_at),
        state.to_owned(),
    ]
}

/// Columns as wide as their widest cell.
fn table<const N: usize>(rows: Vec<[String; N]>) -> String {
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let widths: [usize; N] = std::array::from_fn(width);
    let mut text = String::new();
    for row in &rows {
        let cells = row.iter().zip(widths).map(|(cell, width)| format!("{cell:width$}"));
        text.push_str(cells.collect::<Vec<_>>().join("  ").trim_end());
        text.push('\n');
    }
    text
}

fn scope(name: &str) -> Result<Scope, String> {
    Scope::named(name).ok_or_else(|| "must be read, write or admin".to_owned())
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
}
