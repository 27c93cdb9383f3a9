//! The parts of an import that only take CPU time, on one core, beside what bounds them: the csv crate reading the same bytes into
//! records, and copying them.
//!
//! `dev/bench --bench micro`

#[path = "support/report.rs"]
mod report;
#[path = "support/work.rs"]
mod work;

use std::{error::Error, hint::black_box, path::Path, time::Duration};

use criterion::{Criterion, Throughput};

use report::Report;
use work::Work;

const PARTS: [(&str, &str); 4] = [
    ("memcpy", "copying the bytes"),
    ("csv", "csv crate, into `ByteRecord`s"),
    ("split", "**Tarmac**, split into chunks"),
    ("check", "**Tarmac**, check: parse, validate, encode for COPY"),
];

fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let works = [Work::airports()?, Work::citizens()?];
    let target = Path::new(env!("CARGO_TARGET_TMPDIR")).join("criterion");
    let mut criterion = Criterion::default()
        .output_directory(&target)
        .without_plots()
        .sample_size(20)
        .measurement_time(Duration::from_secs(4));
    for work in &works {
        measure(&mut criterion, work)?;
    }
    criterion.final_summary();

    let mut lines = Vec::new();
    for (part, words) in PARTS {
        let mut line = vec![words.to_owned()];
        for work in &works {
            let speed = work.bytes.len() as f64 / 1e6 / seconds(&target, &work.name, part)?;
            line.push(format!("{speed:.0}"));
        }
        lines.push(line);
    }
    let mut report = Report::new("micro");
    let mut head = vec!["MB/s on one core".to_owned()];
    head.extend(works.iter().map(|work| format!("{}, {:.1} MB", work.name, work.bytes.len() as f64 / 1e6)));
    report.table(&head.iter().map(String::as_str).collect::<Vec<_>>(), &lines)?;
    report.finish(None)
}

fn measure(criterion: &mut Criterion, work: &Work) -> Result<(), Box<dyn Error + Send + Sync>> {
    let cuts = work.split()?;
    let mut group = criterion.benchmark_group(work.name.clone());
    group.throughput(Throughput::Bytes(work.bytes.len() as u64));
    let mut copy = vec![0; work.bytes.len()];
    group.bench_function("memcpy", |bencher| {
        bencher.iter(|| black_box(copy.as_mut_slice()).copy_from_slice(black_box(&work.bytes)));
    });
    group.bench_function("csv", |bencher| {
        bencher.iter(|| {
            let mut reader =
                csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(&*work.bytes);
            let mut record = csv::ByteRecord::new();
            let mut fields = 0;
            // Only reading fails, and memory does not.
            while reader.read_byte_record(&mut record).unwrap_or_default() {
                fields += record.len();
            }
            fields
        });
    });
    group.bench_function("split", |bencher| {
        bencher.iter(|| work.split());
    });
    group.bench_function("check", |bencher| {
        bencher.iter(|| {
            for cut in &cuts {
                black_box(work.check(cut));
            }
        });
    });
    group.finish();
    Ok(())
}

/// The median that criterion found.
fn seconds(target: &Path, group: &str, part: &str) -> Result<f64, Box<dyn Error + Send + Sync>> {
    let estimates = target.join(group).join(part).join("new/estimates.json");
    let estimates: serde_json::Value = serde_json::from_slice(&std::fs::read(estimates)?)?;
    let nanos = estimates["median"]["point_estimate"].as_f64().ok_or("no median")?;
    Ok(nanos / 1e9)
}
