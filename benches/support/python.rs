//! The service in Python that citizens are compared with: `benches/contenders/service.py`, in a process of its own.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
};

use super::support::server::Outcome;

/// Gone when dropped.
pub(crate) struct Python {
    process: Child,
    /// Where it listens: `127.0.0.1:41234`.
    pub(crate) address: String,
}

impl Python {
    /// With tables of its own in the database.
    pub(crate) fn start(database_url: &str) -> Outcome<Self> {
        let mut process = Command::new(interpreter()?)
            .args([concat!(env!("CARGO_MANIFEST_DIR"), "/benches/contenders/service.py"), database_url])
            .stdout(Stdio::piped())
            .spawn()?;
        let mut port = String::new();
        BufReader::new(process.stdout.take().ok_or("no output")?).read_line(&mut port)?;
        let port: u16 = port.trim().parse().map_err(|_| "the service in Python ended at its start")?;
        Ok(Self { process, address: format!("127.0.0.1:{port}") })
    }
}

impl Drop for Python {
    fn drop(&mut self) {
        // Gone already is as good.
        drop(self.process.kill());
        drop(self.process.wait());
    }
}

fn interpreter() -> Outcome<std::ffi::OsString> {
    Ok(std::env::var_os("BENCH_PYTHON").ok_or("BENCH_PYTHON is not set; make bench sets it")?)
}

/// What it is made of.
pub(crate) fn versions() -> Outcome<String> {
    let script = "import importlib.metadata as m, platform; \
                  print(*(f'{p} {m.version(p)},' for p in ('aiohttp', 'asyncpg', 'marshmallow')), 'Python', platform.python_version())";
    let output = Command::new(interpreter()?).args(["-c", script]).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
