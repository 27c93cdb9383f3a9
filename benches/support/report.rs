//! What a benchmark found: printed, and put into docs/BENCHMARKS.md when that is asked for.

use std::{error::Error, fmt::Write as _, fs, path::PathBuf, process::Command};

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// One part of the document: what stands there between `<!-- begin NAME -->` and `<!-- end NAME -->`.
pub(crate) struct Report {
    name: &'static str,
    text: String,
}

impl Report {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, text: String::new() }
    }

    /// A paragraph.
    pub(crate) fn say(&mut self, paragraph: impl AsRef<str>) {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.text.push_str(paragraph.as_ref());
        self.text.push('\n');
    }

    /// A table in Markdown that can be read on a terminal too; the first column is of words, the others of numbers.
    pub(crate) fn table(&mut self, head: &[&str], rows: &[Vec<String>]) -> Outcome<()> {
        let head: Vec<String> = head.iter().map(|&word| word.to_owned()).collect();
        let widths: Vec<usize> = (0..head.len())
            .map(|column| {
                let cells = rows.iter().chain([&head]).map(|row| row[column].chars().count());
                cells.max().unwrap_or_default()
            })
            .collect();
        let line = |cells: &[String]| -> Result<String, std::fmt::Error> {
            let mut line = String::from("|");
            for (column, (cell, &width)) in cells.iter().zip(&widths).enumerate() {
                if column == 0 {
                    write!(line, " {cell:<width$} |")?;
                } else {
                    write!(line, " {cell:>width$} |")?;
                }
            }
            Ok(line)
        };
        let mut table = line(&head)?;
        table.push_str("\n|");
        for (column, width) in widths.iter().enumerate() {
            table.push_str(&"-".repeat(width + 1));
            table.push_str(if column == 0 { "-|" } else { ":|" });
        }
        for row in rows {
            table.push('\n');
            table.push_str(&line(row)?);
        }
        self.say(table);
        Ok(())
    }

    /// Prints it all, with when and where it was measured, and changes the document that `BENCH_DOCUMENT` names.
    pub(crate) fn finish(mut self, database: Option<&str>) -> Outcome<()> {
        let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
        let command = format!("dev/bench --bench {} -- {}", self.name, arguments.join(" "));
        let mut place = format!(
            "Measured {} by `{}`",
            chrono::Utc::now().format("%Y-%m-%d"),
            command.trim_end_matches(" -- ")
        );
        write!(place, ", Tarmac {}; {}", commit(), machine()?)?;
        if let Some(database) = database {
            write!(place, "; {database}")?;
        }
        self.say(place + ".");
        print(&self.text);
        let Some(document) = std::env::var_os("BENCH_DOCUMENT").map(PathBuf::from) else { return Ok(()) };
        let before = fs::read_to_string(&document)?;
        fs::write(&document, replaced(&before, self.name, &self.text)?)?;
        Ok(())
    }
}

#[expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]
fn print(text: &str) {
    println!("{text}");
}

/// The document with another text between the marks of this name.
fn replaced(document: &str, name: &str, text: &str) -> Outcome<String> {
    let (begin, end) = (format!("<!-- begin {name} -->\n"), format!("<!-- end {name} -->"));
    let missing = || format!("the document has no part {name}");
    let (before, rest) = document.split_once(&begin).ok_or_else(missing)?;
    let (_, after) = rest.split_once(&end).ok_or_else(missing)?;
    Ok(format!("{before}{begin}{text}{end}{after}"))
}

/// What was measured: `0.1.0 (1fc6969)`, with a + when there are changes beside the commit.
fn commit() -> String {
    let git = |arguments: &[&str]| Command::new("git").args(arguments).output();
    let commit = git(&["rev-parse", "--short", "HEAD"])
        .map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        .unwrap_or_default();
    // The document itself changes from part to part.
    let changed =
        git(&["diff", "--quiet", "HEAD", "--", ":!docs"]).is_ok_and(|output| !output.status.success());
    format!("{} ({commit}{})", env!("CARGO_PKG_VERSION"), if changed { "+" } else { "" })
}

/// Processor, memory, kernel.
fn machine() -> Outcome<String> {
    let field = |text: &str, name: &str| -> String {
        let line = text.lines().find(|line| line.starts_with(name)).unwrap_or_default();
        line.split_once(':').unwrap_or_default().1.trim().to_owned()
    };
    let processor = field(&fs::read_to_string("/proc/cpuinfo")?, "model name");
    let memory = field(&fs::read_to_string("/proc/meminfo")?, "MemTotal");
    let kib: f64 = memory.trim_end_matches(" kB").parse()?;
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let cores = std::thread::available_parallelism()?;
    Ok(format!("{cores} cores of {processor}, {:.0} GiB, Linux {}", kib / 1_048_576.0, kernel.trim()))
}
