//! Settings from the environment: `TARMAC_INGEST_CHUNK_ROWS`, or `TARMAC_DATABASE_URL_FILE` for what is in a file.

use std::{collections::HashMap, path::PathBuf};

use super::ConfigError;

const PREFIX: &str = "TARMAC_";
/// At the end of a variable's name: its value names a file that holds the setting.
const FILE_SUFFIX: &str = "_FILE";
/// Sections whose name has more than one word.
const LONG_NAMES: [&str; 1] = ["long_term"];

/// The variables that are settings, as `section.key` with their values.
pub(super) fn settings(
    variables: impl IntoIterator<Item = (String, String)>,
) -> Result<HashMap<String, String>, ConfigError> {
    let mut settings = HashMap::new();
    let mut from_files = Vec::new();
    for (variable, value) in variables {
        let of_file = variable.strip_suffix(FILE_SUFFIX).and_then(|named| Some((named, section_key(named)?)));
        match of_file {
            Some((named, key)) => from_files.push((named.to_owned(), key, value)),
            None => settings.extend(section_key(&variable).map(|key| (key, value))),
        }
    }
    for (variable, key, path) in from_files {
        if settings.contains_key(&key) {
            return Err(ConfigError::Twice { variable });
        }
        settings.insert(key, read(&variable, path.into())?);
    }
    Ok(settings)
}

/// The file's content without the line end that editors leave.
fn read(variable: &str, path: PathBuf) -> Result<String, ConfigError> {
    let mut text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(source) => {
            let variable = format!("{variable}{FILE_SUFFIX}");
            return Err(ConfigError::File { variable, path, source });
        }
    };
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    Ok(text)
}

/// `TARMAC_INGEST_CHUNK_ROWS` is `ingest.chunk_rows`; a variable of another program is nothing. Variables that stand for
/// a command's flags, and those for tests, are not configuration.
fn section_key(variable: &str) -> Option<String> {
    let name = variable.strip_prefix(PREFIX)?.to_lowercase();
    let long = LONG_NAMES
        .into_iter()
        .find_map(|section| Some((section, name.strip_prefix(section)?.strip_prefix('_')?)));
    let (section, key) = long.or_else(|| name.split_once('_'))?;
    if name == "config_file" || matches!(section, "upload" | "test" | "dev") {
        return None;
    }
    // librdkafka's names have dots and no underscores: TARMAC_KAFKA_PROPERTIES_SASL_PASSWORD.
    let is_property = |table: &str| key.strip_prefix(table).is_some_and(|name| name.starts_with('_'));
    if section == "kafka" && ["properties", "producer", "consumer"].into_iter().any(is_property) {
        return Some(format!("{section}.{}", key.replace('_', ".")));
    }
    Some(format!("{section}.{key}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<HashMap<String, String>, ConfigError> {
        settings(variables.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())))
    }

    /// A file with that content, and its path.
    fn file(content: &[u8]) -> (tempfile::NamedTempFile, String) {
        let file = tempfile::NamedTempFile::new().expect("a file can be made");
        std::fs::write(&file, content).expect("the file can be written");
        let path = file.path().to_str().expect("the path is UTF-8").to_owned();
        (file, path)
    }

    #[test]
    fn a_variable_is_a_section_and_a_key() {
        for (variable, key) in [
            ("TARMAC_INGEST_CHUNK_ROWS", "ingest.chunk_rows"),
            ("TARMAC_LONG_TERM_ACCESS_KEY_ID", "long_term.access_key_id"),
            ("TARMAC_KAFKA_PROPERTIES_SASL_PASSWORD", "kafka.properties.sasl.password"),
        ] {
            assert_eq!(of(&[(variable, "value")]).expect("valid")[key], "value");
        }
    }

    #[test]
    fn a_variable_of_a_flag_of_the_tests_or_of_others_is_no_key() {
        for name in [
            "TARMAC_UPLOAD_KEY",
            "TARMAC_CONFIG_FILE",
            "TARMAC_TEST_DATABASE_URL",
            "TARMAC_DEV_PORT",
            "PGPASSFILE",
            "POSTGRES_PASSWORD_FILE",
        ] {
            assert_eq!(of(&[(name, "value")]).expect("valid"), HashMap::new(), "{name}");
        }
    }

    #[test]
    fn a_setting_may_be_in_a_file_whose_line_end_is_not_part_of_it() {
        for (content, expected) in [
            ("secret", "secret"),
            ("secret\n", "secret"),
            ("secret\r\n", "secret"),
            (" a\nb \n\n", " a\nb \n"),
        ] {
            let (_file, path) = file(content.as_bytes());
            let settings = of(&[("TARMAC_DATABASE_URL_FILE", &path)]).expect("the file is there");
            assert_eq!(settings, HashMap::from([("database.url".to_owned(), expected.to_owned())]));
            let settings = of(&[("TARMAC_KAFKA_PROPERTIES_SASL_PASSWORD_FILE", &path)]);
            assert_eq!(settings.expect("the file is there")["kafka.properties.sasl.password"], expected);
        }
    }

    #[test]
    fn a_setting_and_a_file_for_it_are_refused_by_their_names() {
        let (_file, path) = file(b"in the file");
        for both in [
            [("TARMAC_DATABASE_URL", "itself"), ("TARMAC_DATABASE_URL_FILE", path.as_str())],
            [("TARMAC_DATABASE_URL_FILE", path.as_str()), ("TARMAC_DATABASE_URL", "itself")],
        ] {
            let error = of(&both).expect_err("one is too many").to_string();
            assert!(error.contains("TARMAC_DATABASE_URL and TARMAC_DATABASE_URL_FILE"), "{error}");
        }
    }

    #[test]
    fn a_file_that_is_missing_or_no_text_is_refused_by_its_name() {
        let (_file, path) = file(&[0xff, 0xfe]);
        for path in [path.as_str(), "/run/secrets/there-is-none"] {
            let error = of(&[("TARMAC_DATABASE_URL_FILE", path)]).expect_err("the file is of no use");
            let error = error.to_string();
            assert!(error.contains("TARMAC_DATABASE_URL_FILE") && error.contains(path), "{error}");
        }
    }
}
