//! Log files: the current one, and a bounded number of earlier ones.

use std::io::{self, Write};

use flexi_logger::{
    Age, Cleanup, Criterion, FileSpec, FlexiLoggerError, Naming,
    writers::{ArcFileLogWriter, FileLogWriter, FileLogWriterHandle},
};

use crate::config::{self, FileAge};

/// Writes to `tarmac_rCURRENT.log`, which becomes `tarmac_r<time>.log` when it is large or old enough. What goes wrong is said
/// once in the log, which has other places to go; every line is another attempt.
pub(super) struct Files {
    config: config::Log,
    open: Option<(ArcFileLogWriter, FileLogWriterHandle)>,
    failing: bool,
}

impl Files {
    pub(super) fn new(config: &config::Log) -> Self {
        Self { config: config.clone(), open: None, failing: false }
    }

    fn try_write(&mut self, line: &[u8]) -> Result<(), FlexiLoggerError> {
        let (writer, _) = match &mut self.open {
            Some(open) => open,
            None => self.open.insert(open(&self.config)?),
        };
        Ok(writer.write_all(line)?)
    }
}

fn open(config: &config::Log) -> Result<(ArcFileLogWriter, FileLogWriterHandle), FlexiLoggerError> {
    let age = match config.file_age {
        FileAge::Second => Age::Second,
        FileAge::Minute => Age::Minute,
        FileAge::Hour => Age::Hour,
        FileAge::Day => Age::Day,
    };
    FileLogWriter::builder(FileSpec::default().directory(&config.directory).basename("tarmac"))
        .append()
        .rotate(
            Criterion::AgeOrSize(age, config.file_bytes),
            Naming::Timestamps,
            // The current one is not counted by the crate.
            Cleanup::KeepLogFiles(config.files.saturating_sub(1)),
        )
        .cleanup_in_background_thread(false)
        .try_build_with_handle()
}

impl Write for Files {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        match self.try_write(line) {
            Ok(()) if self.failing => {
                self.failing = false;
                tracing::info!("log files are written again");
            }
            Ok(()) => {}
            Err(error) => {
                // What was open may be a file in a directory that is no more.
                self.open = None;
                if !self.failing {
                    self.failing = true;
                    tracing::error!(error = &error as &dyn std::error::Error, "log files cannot be written");
                }
            }
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        // Nothing is kept back: every line is written as it comes.
        Ok(())
    }
}
