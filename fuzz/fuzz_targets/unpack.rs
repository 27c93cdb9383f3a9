//! Any upload is unpacked into files of the sizes that are said, or refused with a reason: nothing panics, nothing grows
//! beyond the limits.
#![no_main]

use std::sync::LazyLock;

use libfuzzer_sys::fuzz_target;
use tarmac::{
    archive::Archive,
    config::{self, Config},
    db::imports::{Dialect, Import, Mode, State},
    ingest::{
        IngestError,
        unpack::{self, Unpacked},
    },
};
use tokio::runtime::Runtime;

const MOST_BYTES: u64 = 1 << 20;

struct Place {
    runtime: Runtime,
    archive: Archive,
    limits: config::Ingest,
    _directory: tempfile::TempDir,
}

static PLACE: LazyLock<Place> = LazyLock::new(|| {
    let directory = tempfile::tempdir().expect("a temporary directory can be made");
    let url = directory.path().to_str().expect("the path is UTF-8").to_owned();
    // No database is asked.
    let database = "postgres://nobody@127.0.0.1:1/none".to_owned();
    let settings = [("archive.url".to_owned(), url), ("database.url".to_owned(), database)].into();
    let config = Config::from_parts(None, settings, &[]).expect("the defaults are valid");
    Place {
        runtime: Runtime::new().expect("threads can be started"),
        archive: Archive::open(&config.archive).expect("the directory is there"),
        limits: config::Ingest { unpacked_bytes: MOST_BYTES, zip_entries: 8, ..config.ingest },
        _directory: directory,
    }
});

fuzz_target!(|input: (bool, bool, &[u8])| {
    let (zip, gzipped, bytes) = input;
    let Place { runtime, archive, limits, .. } = &*PLACE;
    let now = chrono::DateTime::UNIX_EPOCH;
    let import = Import {
        dataset_id: None,
        dataset_version: None,
        load: None,
        blanks: None,
        max_deleted: None,
        corrects: None,
        removed: None,
        id: 1,
        dataset: "airports".to_owned(),
        state: State::Running,
        mode: Mode::Lenient,
        max_rejects: None,
        dry_run: false,
        dialect: Dialect::standard(""),
        filename: None,
        traceparent: None,
        media_type: if zip { "application/zip" } else { "text/csv" }.to_owned(),
        gzipped,
        source: "upload".to_owned(),
        bytes: bytes.len() as i64,
        sha256: Vec::new(),
        epoch: 1,
        chunk_rows: 1,
        chunk_bytes: 1,
        record_bytes: 1,
        chunks_total: None,
        rows_read: None,
        inserted: None,
        updated: None,
        unchanged: None,
        deleted: None,
        rejected: None,
        relations_dropped: None,
        error_code: None,
        error_message: None,
        notes: Vec::new(),
        created_at: now,
        started_at: None,
        finished_at: None,
        archived_at: None,
        restored_at: None,
        loaded_chunks: None,
        loaded_bytes: None,
    };
    runtime.block_on(async {
        let mut upload = archive.write("upload").await.expect("the disk has room");
        upload.write(bytes::Bytes::copy_from_slice(bytes)).await.expect("the disk has room");
        upload.finish().await.expect("the disk has room");
        match unpack::unpack(archive, limits, &import).await {
            Ok(Unpacked { files, .. }) => {
                let total: i64 = files.iter().map(|file| file.bytes).sum();
                assert!(!files.is_empty());
                assert!(total as u64 <= MOST_BYTES.max(bytes.len() as u64));
                for file in files {
                    let length = u64::try_from(file.bytes).expect("no file is shorter than nothing");
                    let read =
                        archive.read(&file.object, 0..length).await.expect("what was unpacked is there");
                    assert_eq!(read.len() as u64, length);
                }
            }
            Err(IngestError::Refused(error)) => assert!(!error.message.is_empty()),
            Err(error) => panic!("{error:?}"),
        }
        unpack::remove_unpacked(archive, 1).await;
    });
});
