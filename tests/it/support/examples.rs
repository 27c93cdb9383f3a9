//! The `console` lines of a document, run as a reader would: in order, in one shell. What is printed there must come, `…` standing for
//! anything.

use std::process::{Command, Output, Stdio};

/// Ends what a command prints.
const MARK: char = '\x1e';

/// A command and what the document says it prints.
struct Example {
    command: String,
    expected: String,
}

/// Commands of a document, in their order.
pub(crate) struct Examples {
    /// Its path.
    document: &'static str,
    examples: Vec<Example>,
}

impl Examples {
    /// All of them.
    pub(crate) fn of_document(document: &'static str) -> Self {
        let text = read(document);
        Self { document, examples: examples(&text) }
    }

    /// Those of some sections, by their headings.
    pub(crate) fn of_sections(document: &'static str, sections: &[&str]) -> Self {
        let text = read(document);
        let of_section = |section: &&str| {
            let heading = format!("\n## {section}\n");
            let Some((_, section)) = text.split_once(&heading) else {
                panic!("{document} has no section {section}");
            };
            examples(section.split("\n## ").next().unwrap_or_default())
        };
        Self { document, examples: sections.iter().flat_map(of_section).collect() }
    }

    /// Runs the commands against a service and holds what they print against what the document says.
    pub(crate) async fn follow(self, service: &str) {
        let Self { document, examples } = self;
        assert!(!examples.is_empty(), "{document} has no examples");
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
                "{document} says of\n$ {command}\nthat it prints\n{expected}but it prints\n{printed}"
            );
        }
    }
}

fn read(document: &str) -> String {
    std::fs::read_to_string(document).unwrap_or_else(|error| panic!("{document}: {error}"))
}

/// The commands of a text.
fn examples(text: &str) -> Vec<Example> {
    let mut examples: Vec<Example> = Vec::new();
    for block in text.split("\n```console\n").skip(1) {
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
