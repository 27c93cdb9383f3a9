//! Python with what `dev/contenders` installs for it.

use std::process::Command;

use super::support::server::Outcome;

/// The interpreter.
pub(crate) fn interpreter() -> Outcome<Command> {
    Ok(Command::new(std::env::var_os("BENCH_PYTHON").ok_or("BENCH_PYTHON is not set; make bench sets it")?))
}

/// The versions of packages, and its own.
pub(crate) fn versions(packages: &[&str]) -> Outcome<String> {
    let script = "import importlib.metadata, platform, sys; \
                  names = [f'{name} {importlib.metadata.version(name)}' for name in sys.argv[1:]]; \
                  print(', '.join(names), 'on Python', platform.python_version())";
    let output = interpreter()?.args(["-c", script]).args(packages).output()?;
    Ok(String::from_utf8(output.stdout)?.trim().to_owned())
}
