//! How many instructions the parts of an import that only take CPU time come to, counted by valgrind: unlike time, nearly the same
//! on a busy machine. More than 3 % above what benches/instructions.txt says is an error.
//!
//! `make instructions`; `dev/instructions --accept` keeps the new counts

#[path = "support/work.rs"]
mod work;

use std::{
    collections::BTreeMap,
    error::Error,
    fmt::Write as _,
    hint::black_box,
    process::{Command, ExitCode},
};

use work::Work;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

const KEPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/benches/instructions.txt");
const PARTS: [&str; 4] = ["airports split", "airports check", "citizens split", "citizens check"];
const TOLERANCE: f64 = 0.03;
const HEAD: &str = "\
# Millions of instructions for the files of benches/support/work.rs. make instructions compares; dev/instructions --accept
# writes this file. Another compiler gives other counts and is not compared; another processor may give slightly others.
";

fn main() -> Outcome<ExitCode> {
    let arguments: Vec<_> = std::env::args().skip(1).filter(|argument| argument != "--bench").collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => compare(),
        ["--accept"] => accept(),
        ["--part", part] => run(part).map(|()| ExitCode::SUCCESS),
        _ => Err("there is --accept".into()),
    }
}

/// What valgrind counts within.
#[inline(never)]
fn measured(work: impl FnOnce() -> Outcome<()>) -> Outcome<()> {
    work()
}

/// One part, under valgrind.
fn run(part: &str) -> Outcome<()> {
    let (dataset, step) = part.split_once(' ').ok_or("no step")?;
    let works = [Work::airports()?, Work::citizens()?];
    let work = works.into_iter().find(|work| work.name == dataset).ok_or("no such dataset")?;
    if step == "split" {
        return measured(|| {
            black_box(work.split()?);
            Ok(())
        });
    }
    let cuts = work.split()?;
    measured(|| {
        for cut in &cuts {
            black_box(work.check(cut));
        }
        Ok(())
    })
}

/// Millions of instructions of each part.
fn count() -> Outcome<BTreeMap<String, f64>> {
    let mut counts = BTreeMap::new();
    for part in PARTS {
        let mut valgrind = Command::new("valgrind");
        valgrind.args([
            "--tool=callgrind",
            "--collect-atstart=no",
            "--toggle-collect=instructions::measured*",
        ]);
        valgrind.arg("--callgrind-out-file=/dev/null").arg(std::env::current_exe()?).args(["--part", part]);
        let output = valgrind.output()?;
        let said = String::from_utf8_lossy(&output.stderr);
        let collected = said.lines().find_map(|line| line.split_once("Collected : "));
        let count: u64 =
            collected.ok_or_else(|| format!("valgrind counted nothing: {said}"))?.1.trim().parse()?;
        if !output.status.success() || count == 0 {
            return Err(format!("valgrind failed at {part}: {said}").into());
        }
        counts.insert(part.to_owned(), count as f64 / 1e6);
    }
    Ok(counts)
}

/// What the counts depend on: the compiler, and a little the processor.
struct Circumstances {
    compiler: String,
    processor: String,
}

impl Circumstances {
    fn read() -> Outcome<Self> {
        let compiler = String::from_utf8(Command::new("rustc").arg("--version").output()?.stdout)?;
        let processor = std::fs::read_to_string("/proc/cpuinfo")?;
        let processor =
            processor.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
        Ok(Self {
            compiler: compiler.trim().to_owned(),
            processor: processor.trim_start_matches([' ', '\t', ':']).to_owned(),
        })
    }
}

fn accept() -> Outcome<ExitCode> {
    let Circumstances { compiler, processor } = Circumstances::read()?;
    let mut kept = format!("{HEAD}# {compiler}, {processor}\n");
    for (part, count) in count()? {
        writeln!(kept, "{part} {count:.1}")?;
    }
    std::fs::write(KEPT, kept)?;
    Ok(ExitCode::SUCCESS)
}

#[expect(clippy::print_stdout, reason = "a benchmark prints what it measured")]
fn compare() -> Outcome<ExitCode> {
    let kept = std::fs::read_to_string(KEPT)
        .map_err(|error| format!("no counts are kept ({error}); dev/instructions --accept keeps them"))?;
    let Circumstances { compiler, processor } = Circumstances::read()?;
    if !kept.contains(&compiler) {
        println!("the counts that are kept are of another compiler than {compiler}: not compared");
        return Ok(ExitCode::SUCCESS);
    }
    if !kept.contains(&processor) {
        println!("the counts that are kept are of another processor than {processor}");
    }
    let mut grown = false;
    for (part, count) in count()? {
        let before: f64 = kept
            .lines()
            .find_map(|line| line.strip_prefix(&part))
            .ok_or_else(|| format!("{KEPT} has no {part}"))?
            .trim()
            .parse()?;
        let change = count / before - 1.0;
        grown |= change > TOLERANCE;
        println!(
            "{part:<16}{count:>10.1} million instructions, {before:>10.1} kept: {:+.1} %",
            change * 100.0
        );
    }
    if grown {
        println!(
            "more than {:.0} % above what is kept; where that is meant: dev/instructions --accept",
            TOLERANCE * 100.0
        );
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}
