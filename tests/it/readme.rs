//! README's `console` lines, run as a reader would: in order, in one shell. What is printed there must come, `…` standing for anything.

use std::process::{Command, Output, Stdio};

use crate::support::{App, files};

/// Ends what a command prints.
const MARK: char = '\x1e';

/// A command and what README says it prints.
struct Example {
    command: String,
    expected: String,
}

/// Those of a section, by its heading.
fn examples(section: &str) -> Vec<Example> {
    let readme = std::fs::read_to_string("README.md").expect("there is a README");
    let (_, section) = readme.split_once(&format!("\n## {section}\n")).expect("README has the section");
    let section = section.split("\n## ").next().unwrap_or_default();
    let mut examples: Vec<Example> = Vec::new();
    for block in section.split("\n```console\n").skip(1) {
        for line in block.split("\n```").next().unwrap_or_default().lines() {
            match (line.strip_prefix("$ "), examples.last_mut()) {
                (Some(command), _) => {
                    examples.push(Example { command: command.to_owned(), expected: String::new() });
                }
                (None, Some(example)) => {
                    example.expected.push_str(line);
                    example.expected.push('\n');
                }
                (None, None) => panic!("an answer before the first command: {line}"),
            }
        }
    }
    examples
}

/// Whether `text` is `pattern`, in which `…` stands for anything. Spaces at the ends do not count.
fn matches(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.trim().split('…');
    let Some(mut rest) = text.trim().strip_prefix(parts.next().unwrap_or_default()) else {
        return false;
    };
    let parts: Vec<_> = parts.collect();
    let Some((last, inner)) = parts.split_last() else {
        return rest.is_empty();
    };
    for part in inner {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    rest.ends_with(last)
}

/// Runs the commands against a service and holds what they print against what README says.
async fn follow(sections: &[&str], service: &str) {
    let examples: Vec<_> = sections.iter().flat_map(|section| examples(section)).collect();
    assert!(!examples.is_empty(), "{sections:?} have no examples");
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let temporary = format!("{}/", directory.path().display());
    let here = |text: &str| {
        text.replace("/tmp/", &temporary).replace("target/release/tarmac", env!("CARGO_BIN_EXE_tarmac"))
    };
    let mark = format!("printf '{MARK}'\n");
    let script: String =
        examples.iter().map(|example| format!("{}\n{mark}", here(&example.command))).collect();
    let mut shell = Command::new("bash");
    shell
        .args(["-c", &format!("exec 2>&1\n{script}")])
        .env("API", service)
        .env("TARMAC_UPLOAD_SERVER", service)
        .env("NO_PROXY", "127.0.0.1")
        .stdin(Stdio::null());
    // The service it talks to is in this process, on this thread.
    let output = tokio::task::spawn_blocking(move || shell.output()).await.expect("nothing panics");
    let Output { stdout, .. } = output.expect("there is a shell");
    // Of CSV, lines end with CR LF.
    let stdout = String::from_utf8(stdout).expect("answers are UTF-8").replace('\r', "");
    let printed: Vec<_> = stdout.split_terminator(MARK).collect();
    assert_eq!(printed.len(), examples.len(), "{stdout}");
    for (Example { command, expected }, printed) in examples.iter().zip(printed) {
        assert!(
            matches(expected, printed),
            "README says of\n$ {command}\nthat it prints\n{expected}but it prints\n{printed}"
        );
    }
}

#[tokio::test]
async fn five_minutes_with_curl_and_an_upload_from_a_script() {
    let app = App::start().await;
    // What `make run` imports before it says that it is ready.
    assert_eq!(app.upload("?filename=airports.dat", files::openflights()).await["id"], 1);
    follow(&["Five minutes with curl", "From scripts: tarmac upload"], app.client.base()).await;
}

#[test]
fn only_an_ellipsis_stands_for_something_else() {
    for (pattern, text, expected) in [
        ("a…c\n", "abc", true),
        ("a…", "a", true),
        ("a…b…c", "a-b-b-c", true),
        ("…", "", true),
        ("a", "ab", false),
        ("a…c", "abd", false),
        ("a…b…c", "a-c-b", false),
        ("", "a", false),
    ] {
        assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
    }
}
