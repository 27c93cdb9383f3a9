//! `tarmac config`: the settings in force, or the defaults.

use std::{path::Path, process::ExitCode};

use serde_json::Value;

use super::{CommandError, print};
use crate::config::{Config, DEFAULTS};

const AFTER_HELP: &str = "\
Examples:
  tarmac config
  tarmac config --config /etc/tarmac.toml
  tarmac config --defaults >tarmac.toml

Exit status:
  0    the settings are printed, and a service can start with them
  1    a setting is unknown, wrong or missing
  2    the command line is wrong";

const HEADER: &str = "\
# The settings in force: the defaults, then the configuration file, then TARMAC_<SECTION>_<KEY> of the environment.
# Flags of a command go over them. Secrets are shown as ***. `tarmac config --defaults` says what each setting means.
";

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub(super) struct Arguments {
    /// Print the defaults, with what each setting means. A configuration file may begin as a copy of them.
    #[arg(long)]
    defaults: bool,
}

pub(super) fn run(arguments: &Arguments, file: Option<&Path>) -> Result<ExitCode, CommandError> {
    if arguments.defaults {
        return print(DEFAULTS);
    }
    let config = Config::load_unchecked(file)?;
    print(&toml(&config)?)?;
    config.check()?;
    Ok(ExitCode::SUCCESS)
}

/// As a configuration file, with the default beside what differs from it.
fn toml(config: &Config) -> Result<String, CommandError> {
    let defaults = serde_json::to_value(Config::defaults()?)?;
    let mut text = HEADER.to_owned();
    for (section, settings) in members(&serde_json::to_value(config)?) {
        text += &format!("\n[{section}]\n");
        let (tables, settings): (Vec<_>, Vec<_>) =
            members(settings).into_iter().partition(|(_, value)| value.is_object());
        for (key, value) in settings {
            let default = &defaults[section][key];
            // JSON writes texts, numbers and booleans as TOML does.
            text += &format!("{key} = {value}");
            text += &if value == default { "\n".to_owned() } else { format!("  # default: {default}\n") };
        }
        for (table, properties) in tables {
            text += &format!("\n[{section}.{table}]\n");
            for (name, value) in members(properties) {
                text += &format!("\"{name}\" = {value}\n");
            }
        }
    }
    Ok(text)
}

fn members(value: &Value) -> Vec<(&String, &Value)> {
    value.as_object().into_iter().flatten().collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn read(file: &str) -> Config {
        let path = tempfile::NamedTempFile::with_suffix(".toml").expect("a file can be made");
        std::fs::write(&path, file).expect("the file can be written");
        Config::from_parts(Some(path.path()), HashMap::new(), &[]).expect("the configuration is valid")
    }

    const FILE: &str = "\
        [database]\nurl = 'postgres://user@host/name'\n[ingest]\nchunk_rows = 7\n[limits]\nrequests_per_minute = '30'\n\
        [worker]\naddress = '127.0.0.1:9100'\n[kafka.properties]\nsecurity.protocol = 'sasl_ssl'\nsasl.password = 'hush'\n\
        [archive]\naccess_key_id = 'id'\nsecret_access_key = 'hush'\n";

    #[test]
    fn what_is_shown_is_a_configuration_file_that_sets_the_same() {
        let shown = toml(&read(FILE)).expect("it can be shown");
        assert_eq!(toml(&read(&shown)).expect("it can be shown"), shown);
        for line in [
            "url = \"postgres://user@host/name\"  # default: \"\"",
            "chunk_rows = 7  # default: 32768",
            "requests_per_minute = 30  # default: \"auto\"",
            "address = \"127.0.0.1:9100\"  # default: \"\"",
            "secret_access_key = \"***\"  # default: \"\"",
            "\"security.protocol\" = \"sasl_ssl\"",
            "\"sasl.password\" = \"***\"",
            "kind = \"journal\"",
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line}:\n{shown}");
        }
        assert!(!shown.contains("hush"), "{shown}");
    }

    #[test]
    fn every_setting_with_a_default_is_shown() {
        let keys = |text: &str| -> Vec<String> {
            let lines = text.lines().filter(|line| !line.starts_with('#'));
            lines.filter_map(|line| line.split_once(" = ")).map(|(key, _)| key.to_owned()).collect()
        };
        let shown = toml(&Config::defaults().expect("they are valid")).expect("it can be shown");
        assert_eq!(keys(&shown).len(), keys(DEFAULTS).len());
        assert!(!shown.contains("default: "), "{shown}");
    }
}
