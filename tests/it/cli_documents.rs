//! What the program says of itself: its settings, completions for shells, man pages.

use std::{fs, process::Command};

use crate::support::command::{run, tarmac};

const URL: &str = "postgres://user:hush@host:5432/name";

#[tokio::test]
async fn the_settings_in_force_are_shown_without_secrets() {
    let file = tempfile::NamedTempFile::with_suffix(".toml").expect("a file can be made");
    fs::write(&file, "[ingest]\nchunk_rows = 7\n[server]\npage_rows = 5\n").expect("it can be written");
    let mut command = tarmac(&["config", "--config", file.path().to_str().expect("the path is UTF-8")]);
    command.env("TARMAC_DATABASE_URL", URL).env("TARMAC_SERVER_PAGE_ROWS", "6");
    let ended = run(command).await;
    assert_eq!((ended.status, ended.stderr.as_str()), (Some(0), ""));
    for line in [
        "[ingest]",
        "chunk_rows = 7  # default: 32768",
        "page_rows = 6  # default: 100",
        "url = \"postgres://user:***@host:5432/name\"  # default: \"\"",
    ] {
        assert!(ended.stdout.lines().any(|shown| shown == line), "{line}: {}", ended.stdout);
    }
    assert!(!ended.stdout.contains("hush"), "{}", ended.stdout);
}

#[tokio::test]
async fn settings_that_no_service_starts_with_are_shown_with_what_is_wrong() {
    let ended = run(tarmac(&["config"])).await;
    assert_eq!(ended.status, Some(1));
    assert!(ended.stdout.contains("[database]\nurl = \"\"\n"), "{}", ended.stdout);
    assert!(ended.stderr.contains("set TARMAC_DATABASE_URL="), "{}", ended.stderr);
}

#[tokio::test]
async fn the_defaults_are_shown_as_their_file_has_them() {
    let ended = run(tarmac(&["config", "--defaults"])).await;
    let file = fs::read_to_string("tarmac.toml").expect("the file is there");
    assert_eq!((ended.status, ended.stdout), (Some(0), file), "{}", ended.stderr);
}

#[tokio::test]
async fn shells_complete_every_command() {
    for shell in ["bash", "zsh", "fish"] {
        let ended = run(tarmac(&["completions", shell])).await;
        assert_eq!((ended.status, ended.stderr.as_str()), (Some(0), ""));
        for word in ["imports", "cancel", "migrate"] {
            assert!(ended.stdout.contains(word), "{shell}: {word}");
        }
    }
    // As bash asks for the words that may come after `tarmac imports c`.
    let ask = format!(
        "eval \"$('{}' completions bash)\"; COMP_WORDS=(tarmac imports c); COMP_CWORD=2; _tarmac tarmac c imports; echo \"${{COMPREPLY[*]}}\"",
        env!("CARGO_BIN_EXE_tarmac")
    );
    let answer = Command::new("bash").args(["-c", &ask]).output().expect("there is a shell");
    assert_eq!(String::from_utf8_lossy(&answer.stdout), "cancel\n", "{answer:?}");
}

#[tokio::test]
async fn every_command_gets_a_man_page() {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let pages = directory.path().join("man1");
    let ended = run(tarmac(&["man", pages.to_str().expect("the path is UTF-8")])).await;
    assert_eq!((ended.status, ended.stdout.as_str(), ended.stderr.as_str()), (Some(0), "", ""));
    for page in ["tarmac.1", "tarmac-upload.1", "tarmac-imports-undo.1", "tarmac-migrate-down.1"] {
        let page = fs::read_to_string(pages.join(page)).unwrap_or_else(|error| panic!("{page}: {error}"));
        assert!(page.contains(".SH NAME") && page.contains(".SH EXAMPLES\n.nf\nExamples:"), "{page}");
    }
    let page = fs::read_to_string(pages.join("tarmac-upload.1")).expect("the page is there");
    assert!(page.contains("TARMAC_UPLOAD_SERVER"), "{page}");
}
