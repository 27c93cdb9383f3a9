//! How much CPU time processes took, by what `/proc` says of them.

use std::{error::Error, fs};

use rustix::param::clock_ticks_per_second;

type Outcome<T> = Result<T, Box<dyn Error + Send + Sync>>;

/// The fields of `/proc/PID/stat` behind the name, which may have spaces: the first is the state.
fn fields(pid: u32) -> Outcome<Vec<String>> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat"))?;
    let (_, fields) = stat.rsplit_once(')').ok_or("no name")?;
    Ok(fields.split_whitespace().map(str::to_owned).collect())
}

/// Ticks of the process itself, in its own code and in the kernel, and of its ended children.
fn ticks(fields: &[String]) -> Outcome<(u64, u64)> {
    let sum = |from: usize| -> Outcome<u64> {
        let [user, system] = [from, from + 1].map(|place| fields.get(place).ok_or("no such field"));
        Ok(user?.parse::<u64>()? + system?.parse::<u64>()?)
    };
    Ok((sum(11)?, sum(13)?))
}

fn seconds(ticks: u64) -> f64 {
    ticks as f64 / clock_ticks_per_second() as f64
}

/// CPU seconds of a process so far.
pub(crate) fn cpu_seconds(pid: u32) -> Outcome<f64> {
    Ok(seconds(ticks(&fields(pid)?)?.0))
}

/// CPU seconds so far of all processes that a process, itself included, has started.
pub(crate) fn family_cpu_seconds(parent: u32) -> Outcome<f64> {
    let (own, ended) = ticks(&fields(parent)?)?;
    let mut sum = own + ended;
    for entry in fs::read_dir("/proc")? {
        let Some(Ok(pid)) = entry?.file_name().to_str().map(str::parse::<u32>) else { continue };
        // Gone since the directory was read: its parent has counted it among the ended ones, or will the next time.
        let Ok(fields) = fields(pid) else { continue };
        if fields.get(1).is_some_and(|field| *field == parent.to_string()) {
            sum += ticks(&fields)?.0;
        }
    }
    Ok(seconds(sum))
}

/// The process whose children serve the sessions of a PostgreSQL on this machine, by the process of any session.
pub(crate) fn parent(pid: u32) -> Outcome<u32> {
    Ok(fields(pid)?.get(1).ok_or("no parent")?.parse()?)
}
