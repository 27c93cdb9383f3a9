//! Programs that load a file and end. Their peak memory is what the kernel says at their end, by GNU time.

use std::{
    fs::{self, File},
    process::Command,
    time::Instant,
};

use crate::{Contender, Setting, Taken, psql, python, support::server::Outcome};

const TABLE: &str = "contender";
const COLUMNS: &str = "import_id, citizen_id, row, apartment, birth_date, town, street, building, name, gender, channel, relatives";

/// Has the contender load so many rows.
pub(crate) fn load(setting: &Setting, contender: Contender, rows: u64) -> Outcome<Taken> {
    match contender {
        Contender::Copy => {
            let copied = setting.copied();
            let copy = format!(r"\copy {TABLE} ({COLUMNS}) from '{}' with (format csv)", copied.display());
            let mut psql = Command::new("psql");
            psql.args([
                "--no-psqlrc",
                "--quiet",
                "--set",
                "ON_ERROR_STOP=1",
                "--dbname",
                &setting.database.url,
            ]);
            psql.args(["--command", &copy]);
            Ok(timed(setting, &psql)?.0)
        }
        Contender::Pgloader => pgloader(setting),
        Contender::AsyncpgCopy => python(setting, "copy", rows),
        Contender::AsyncpgExecutemany => python(setting, "executemany", rows),
        Contender::JsonRecordset => python(setting, "json", rows),
        _ => Err("it is no program of this kind".into()),
    }
}

/// Of whoever is not Tarmac.
pub(crate) fn versions() -> Outcome<String> {
    let line = |program: &str, arguments: &[&str]| -> Outcome<String> {
        let output = String::from_utf8(Command::new(program).args(arguments).output()?.stdout)?;
        Ok(output.lines().next().unwrap_or_default().to_owned())
    };
    let jars = std::fs::read_dir(std::env::var("BENCH_CONNECT_JARS")?)?;
    let mut jars: Vec<_> = jars
        .filter_map(|jar| jar.ok()?.file_name().to_str()?.strip_suffix(".jar").map(str::to_owned))
        .filter(|jar| jar.starts_with("connect-runtime") || jar.starts_with("debezium-connector-jdbc"))
        .collect();
    jars.sort();
    Ok(format!(
        "{}; {}; {}; {}",
        line("psql", &["--version"])?,
        line("pgloader", &["--version"])?,
        python::versions(&["asyncpg"])?,
        jars.join(", ")
    ))
}

/// Writes the reference's rows as PostgreSQL writes CSV.
pub(crate) fn write_copied(setting: &Setting) -> Outcome<()> {
    let copied = setting.copied();
    let copy = format!(
        r"\copy (select {COLUMNS} from reference order by row) to '{}' with (format csv)",
        copied.display()
    );
    psql::run(&setting.database.url, &[&copy])?;
    Ok(())
}

/// Writes the rows as an array of JSON objects.
pub(crate) fn write_body(setting: &Setting) -> Outcome<()> {
    let mut script = script(setting, "body", setting.rows)?;
    let written = script.stdout(File::create(setting.body())?).status()?;
    if written.success() { Ok(()) } else { Err("the body was not written".into()) }
}

/// With its defaults. It takes the rows as PostgreSQL writes them, for it knows no lists with semicolons.
fn pgloader(setting: &Setting) -> Outcome<Taken> {
    let commands = setting.directory.path().join("citizens.load");
    let url = setting.database.url.replacen("postgres:", "postgresql:", 1);
    let from = COLUMNS.replace("channel", "channel [null if blanks]");
    fs::write(
        &commands,
        format!(
            "LOAD CSV FROM '{}' ({from}) INTO {url} TARGET TABLE {TABLE} ({COLUMNS})
             WITH fields terminated by ',', fields optionally enclosed by '\"', fields escaped by double-quote;\n",
            setting.copied().display()
        ),
    )?;
    let mut pgloader = Command::new("pgloader");
    pgloader.args(["--quiet", "--no-ssl-cert-verification", "--root-dir"]);
    pgloader.arg(setting.directory.path()).arg(&commands);
    Ok(timed(setting, &pgloader)?.0)
}

/// The seconds are the script's own, without those of the interpreter's start.
fn python(setting: &Setting, way: &str, rows: u64) -> Outcome<Taken> {
    let (taken, output) = timed(setting, &script(setting, way, rows)?)?;
    Ok(Taken { seconds: output.trim().parse()?, ..taken })
}

fn script(setting: &Setting, way: &str, rows: u64) -> Outcome<Command> {
    let mut script = python::interpreter()?;
    script.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/benches/contenders/load.py"));
    let file = if way == "json" { setting.body() } else { setting.csv() };
    script.args([way, &setting.database.url, TABLE]).arg(file).arg(rows.to_string());
    Ok(script)
}

/// What a command took, and what it printed.
fn timed(setting: &Setting, command: &Command) -> Outcome<(Taken, String)> {
    let figures = setting.directory.path().join("time");
    let mut time = Command::new("/usr/bin/time");
    time.args(["--quiet", "--format", "%M", "--output"]).arg(&figures);
    time.arg(command.get_program()).args(command.get_args());
    let started = Instant::now();
    let output = time.output()?;
    let seconds = started.elapsed().as_secs_f64();
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!("{} failed: {said}", command.get_program().display()).into());
    }
    let kib: f64 = fs::read_to_string(figures)?.trim().parse()?;
    Ok((Taken { seconds, megabytes: kib / 1_024.0 }, String::from_utf8(output.stdout)?))
}
