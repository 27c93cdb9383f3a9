//! Bad input: each file with the answer, the books and the archive it must leave, and a service that goes on.

use std::io::{Cursor, Write};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use crate::support::{
    App,
    database::Database,
    files::{HEADER, bad_row, fixture, form, gzip, row, rows, zip, zip_stored},
    imports::{count, failure, id, outcome, post_csv},
    process::Launch,
    wait::until,
};

/// After whatever came before, the service takes an upload.
async fn goes_on(app: &App) {
    let import = app.upload("?force=true", row(999)).await;
    assert_eq!((&import["state"], count(&import, "rejected")), (&json!("complete"), 0));
}

/// The upload is refused: no import, nothing in the archive, and the service goes on.
async fn refused(app: &App, media_type: &str, file: impl Into<reqwest::Body>, status: u16) -> Value {
    let (imports, objects) = (app.one::<i64>("select count(*) from imports").await, app.archived());
    let request = app.client.post("/upload").header("Content-Type", media_type);
    let answer = request.body(file).send().await.expect(status);
    assert_eq!(app.one::<i64>("select count(*) from imports").await, imports);
    until("nothing is left in the archive", || async { (app.archived() == objects).then_some(()) }).await;
    goes_on(app).await;
    answer.json()
}

/// The import fails whole with this code: no row, nothing unpacked is left, and the service goes on. Its message.
async fn fails(app: &App, media_type: &str, file: Vec<u8>, code: &str) -> String {
    let (airports, objects) = (app.one::<i64>("select count(*) from airports").await, app.archived().len());
    let import = app.upload_as(media_type, file).await;
    assert_eq!(failure(&import), code, "{import}");
    assert_eq!(app.one::<i64>("select count(*) from airports").await, airports);
    until("only the upload is kept", || async { (app.archived().len() == objects + 1).then_some(()) }).await;
    goes_on(app).await;
    import["error"]["message"].as_str().expect("text").to_owned()
}

#[tokio::test]
async fn an_empty_file_is_400() {
    let app = App::start().await;
    assert_eq!(refused(&app, "text/csv", "", 400).await["detail"], "the file is empty");
    let (media_type, body) = form("file", "empty.csv", "");
    assert_eq!(refused(&app, &media_type, body, 400).await["detail"], "the file is empty");
    refused(&app, "application/zip", "", 400).await;
}

#[tokio::test]
async fn an_empty_file_in_a_gzip_or_zip_fails_the_import() {
    let app = App::start().await;
    let (media_type, body) = form("file", "empty.gz", gzip(""));
    fails(&app, &media_type, body, "empty_file").await;
    fails(&app, "application/zip", zip(&[("empty.csv", "")]), "empty_file").await;
    fails(&app, "application/zip", zip::<&str>(&[]), "empty_archive").await;
    // Beside one with rows it does no harm.
    let import =
        app.upload_as("application/zip", zip(&[("empty.csv", String::new()), ("a.csv", row(1))])).await;
    assert_eq!(outcome(&import), [1, 0, 0, 0, 0]);
}

#[tokio::test]
async fn a_header_alone_is_complete_with_no_rows() {
    let app = App::start().await;
    for file in [HEADER.to_owned(), format!("{HEADER}\n"), format!("\u{feff}{HEADER}\r\n\r\n")] {
        let import = app.upload("", file.clone()).await;
        assert_eq!((&import["state"], outcome(&import)), (&json!("complete"), [0; 5]), "{file:?}");
    }
    // So is a file of nothing but line breaks or a byte order mark: it has bytes, and no record.
    for file in ["\n\n\r\n", "\u{feff}"] {
        let import = app.upload("", file).await;
        assert_eq!((&import["state"], outcome(&import)), (&json!("complete"), [0; 5]), "{file:?}");
    }
}

#[tokio::test]
async fn missing_and_extra_columns_are_rejects_of_their_rows() {
    let app = App::start().await;
    let import = app.upload("", fixture("airports/hostile/field_count.csv")).await;
    assert_eq!(outcome(&import), [2, 0, 0, 0, 3]);
    assert_eq!(app.faults(&import).await, ["2 - field_count", "3 - field_count", "4 - field_count"]);
    let message = &app.rejects(&import).await[0]["message"];
    assert_eq!(message, "the record has 13 fields, 14 are expected");
    goes_on(&app).await;
}

#[tokio::test]
async fn a_field_of_two_megabytes_costs_its_row_and_no_other() {
    let app = App::start().await;
    for quote in ["", "\""] {
        let long = row(2).replace("City", &format!("{quote}{}{quote}", "x".repeat(2_000_000)));
        let import = app.upload("?force=true", row(1) + &long + &row(3)).await;
        assert_eq!((count(&import, "rows_read"), count(&import, "rejected")), (3, 1), "{import}");
        assert_eq!(app.faults(&import).await, ["2 - record_too_long"]);
        let reject = &app.rejects(&import).await[0];
        assert_eq!(reject["line"], 2);
        assert!(reject["record"].as_str().expect("text").len() <= app.config.ingest.record_bytes);
    }
    // Longer than a name may be, but no longer than a record.
    let import = app.upload("", row(4).replace("City", &"x".repeat(300_000))).await;
    assert_eq!(app.faults(&import).await, ["1 city length"]);
    assert_eq!(app.rejects(&import).await[0]["value"].as_str().map(str::len), Some(256));
    goes_on(&app).await;
}

#[tokio::test]
async fn an_unclosed_quote_costs_its_line_and_no_other() {
    let app = App::start().await;
    let import = app.upload("", fixture("airports/hostile/unclosed_quote.csv")).await;
    assert_eq!(outcome(&import), [2, 0, 0, 0, 1]);
    assert_eq!(app.faults(&import).await, ["2 - unclosed_quote"]);
    assert_eq!(app.rejects(&import).await[0]["line"], 2);
    goes_on(&app).await;
}

#[tokio::test]
async fn a_nul_byte_is_a_reject() {
    let app = App::start().await;
    let import = app.upload("", fixture("airports/hostile/nul.csv")).await;
    assert_eq!(outcome(&import), [1, 0, 0, 0, 2]);
    assert_eq!(app.faults(&import).await, ["2 name nul_character", "3 icao pattern"]);
    goes_on(&app).await;
}

#[tokio::test]
async fn latin_1_is_a_reject_that_names_its_byte() {
    let app = App::start().await;
    let file = fixture("airports/hostile/latin1.csv");
    let import = app.upload("", file.clone()).await;
    assert_eq!(outcome(&import), [1, 0, 0, 0, 1]);
    let rejects = app.rejects(&import).await;
    let at = file.iter().position(|byte| *byte == 0xfc).expect("the file has an ü in Latin-1");
    assert_eq!(
        [&rejects[0]["row"], &rejects[0]["column"], &rejects[0]["code"], &rejects[0]["byte_offset"]],
        [&json!(2), &json!("name"), &json!("invalid_utf8"), &json!(at)]
    );
    assert_eq!(rejects[0]["value"], "Z\u{fffd}rich");
    // In the second file of a ZIP the offset is that of the unpacked file.
    let import = app
        .upload_as("application/zip", zip(&[("a.csv", rows(10..500).into_bytes()), ("b.csv", file)]))
        .await;
    let rejects = app.rejects(&import).await;
    assert_eq!((&rejects[0]["byte_offset"], &rejects[0]["file"]), (&json!(at), &json!("b.csv")));
    goes_on(&app).await;
}

#[tokio::test]
async fn utf_16_is_refused_where_nothing_says_that_it_is() {
    let app = App::start().await;
    let utf_16 = |little: bool| -> Vec<u8> {
        let units = "\u{feff}".to_owned() + &row(1);
        units
            .encode_utf16()
            .flat_map(|unit| if little { unit.to_le_bytes() } else { unit.to_be_bytes() })
            .collect()
    };
    for file in [utf_16(true), utf_16(false)] {
        let detail = refused(&app, "text/csv", file.clone(), 400).await["detail"].clone();
        assert_eq!(detail, "the file is UTF-16; say so with encoding=utf-16, or save it as UTF-8");
        let (media_type, body) = form("file", "a.csv", &file);
        refused(&app, &media_type, body, 400).await;
        fails(&app, "application/zip", zip(&[("a.csv", file)]), "not_utf8").await;
    }
    refused(&app, "text/csv; charset=utf-16be", utf_16(false), 415).await;
}

#[tokio::test]
async fn a_byte_order_mark_is_dropped_and_counted_in_no_place() {
    let app = App::start().await;
    let import = app.upload("", format!("\u{feff}{}{}", row(1), bad_row(2))).await;
    assert_eq!(outcome(&import), [1, 0, 0, 0, 1]);
    let import = app.upload("", format!("\u{feff}{HEADER}\n{}", row(3))).await;
    assert_eq!(outcome(&import), [1, 0, 0, 0, 0]);
    let import = app.upload("", format!("\u{feff}\"4\"{}", &row(4)[1..])).await;
    assert_eq!(outcome(&import), [1, 0, 0, 0, 0], "a quote after it opens a field");
    goes_on(&app).await;
}

#[tokio::test]
async fn line_ends_may_be_cr_lf_or_crlf() {
    let app = App::start().await;
    for (number, line_end) in ["\r", "\n", "\r\n"].into_iter().enumerate() {
        let first = u32::try_from(number).expect("small") * 10;
        let file = format!("{HEADER}\n") + &row(first + 1) + &bad_row(first + 2) + &row(first + 3);
        let import = app.upload("", file.replace('\n', line_end)).await;
        assert_eq!(outcome(&import), [2, 0, 0, 0, 1], "{line_end:?}");
        let reject = &app.rejects(&import).await[0];
        assert_eq!((&reject["row"], &reject["line"]), (&json!(2), &json!(3)), "{line_end:?}");
    }
    goes_on(&app).await;
}

#[tokio::test]
async fn a_gzip_that_ends_early_fails_whole() {
    let app = App::start().await;
    let packed = gzip(rows(1..2_000));
    for length in [packed.len() / 2, packed.len() - 1, 12] {
        let (media_type, body) = form("file", "a.csv.gz", &packed[..length]);
        let message = fails(&app, &media_type, body, "truncated_gzip").await;
        assert_eq!(message, "the gzip stream ends before it is complete");
    }
}

#[tokio::test]
async fn a_gzip_with_a_wrong_check_sum_fails_whole() {
    let app = App::start().await;
    let mut packed = gzip(rows(1..2_000));
    let place = packed.len() - 6;
    packed[place] ^= 1;
    let (media_type, body) = form("file", "a.csv.gz", packed);
    fails(&app, &media_type, body, "bad_gzip").await;
    let (media_type, body) =
        form("file", "a.csv.gz", [gzip(row(1)), b"garbage of more than a header's length".to_vec()].concat());
    fails(&app, &media_type, body, "bad_gzip").await;
}

#[tokio::test]
async fn a_zip_that_ends_early_fails_whole() {
    let app = App::start().await;
    let packed = zip(&[("a.csv", rows(1..2_000)), ("b.csv", rows(2_000..3_000))]);
    for length in [packed.len() / 2, packed.len() - 1, 30] {
        fails(&app, "application/zip", packed[..length].to_vec(), "bad_zip").await;
    }
}

#[tokio::test]
async fn a_zip_with_a_wrong_check_sum_fails_whole() {
    let app = App::start().await;
    let mut packed = zip_stored(&[("a.csv", row(1)), ("b.csv", row(2))]);
    let place = packed.windows(9).position(|bytes| bytes == b"Airport 2").expect("it is stored as it is");
    packed[place] = b'a';
    let message = fails(&app, "application/zip", packed, "bad_zip").await;
    assert!(message.contains("b.csv"), "{message}");
}

#[tokio::test]
async fn an_archive_in_an_archive_fails_whole() {
    let app = App::start().await;
    let inner = zip(&[("a.csv", row(1))]);
    let files = [("first.csv", row(1).into_bytes()), ("inner.zip", inner), ("a.csv.gz", gzip(row(2)))];
    fails(&app, "application/zip", zip(&files), "nested_archive").await;
    fails(&app, "application/zip", zip(&files[2..]), "nested_archive").await;
}

#[tokio::test]
async fn an_encrypted_zip_fails_whole() {
    let app = App::start().await;
    let mut packed = zip_stored(&[("a.csv", row(1))]);
    // Bit 0 of the flags says so, in the file's own header and in the directory's.
    for (signature, flags) in [(b"PK\x03\x04", 6), (b"PK\x01\x02", 8)] {
        let place = packed.windows(4).position(|bytes| bytes == signature).expect("the header is there");
        packed[place + flags] |= 1;
    }
    let message = fails(&app, "application/zip", packed, "encrypted_zip").await;
    assert_eq!(message, "the archive is encrypted");
}

#[tokio::test]
async fn a_name_that_leads_out_of_the_archive_fails_whole() {
    let app = App::start().await;
    for name in ["../evil.csv", "a/../../evil.csv", "/etc/evil.csv", "..\\evil.csv", "nul\0.csv"] {
        // The writer may not write such a name, but it writes one as long.
        let harmless = "x".repeat(name.len() - 4) + ".csv";
        let mut packed = zip_stored(&[("ok.csv", row(1)), (&harmless, row(2))]);
        let places: Vec<_> = packed
            .windows(harmless.len())
            .enumerate()
            .filter_map(|(place, bytes)| (bytes == harmless.as_bytes()).then_some(place))
            .collect();
        assert_eq!(places.len(), 2, "one in each header");
        for place in places {
            packed[place..place + name.len()].copy_from_slice(name.as_bytes());
        }
        fails(&app, "application/zip", packed, "unsafe_name").await;
    }
}

#[tokio::test]
async fn a_bomb_fails_whole_and_early() {
    let app = App::with(&[("ingest.unpacked_ratio", "20")]).await;
    let bomb = vec![b'0'; 40 << 20];
    let (media_type, body) = form("file", "bomb.gz", gzip(&bomb));
    let message = fails(&app, &media_type, body, "unpacks_too_large").await;
    assert!(message.contains("allowed"), "{message}");
    fails(&app, "application/zip", zip(&[("bomb.csv", &bomb)]), "unpacks_too_large").await;
    // Many small ones are one large one.
    let part = &bomb[..1 << 20];
    let names: Vec<_> = (0..20).map(|number| format!("{number}.csv")).collect();
    let parts: Vec<_> = names.iter().map(|name| (name.as_str(), part)).collect();
    fails(&app, "application/zip", zip(&parts), "unpacks_too_large").await;
    let request = app.client.post("/upload").header("Content-Type", "application/zip");
    let request = request.header("Content-Encoding", "gzip").header("Prefer", "wait=60");
    let answer = request.body(gzip(zip(&[("bomb.csv", &bomb)]))).send().await.expect(200);
    assert_eq!(failure(&app.ended(answer).await), "unpacks_too_large");
}

#[tokio::test]
async fn what_unpacks_beyond_the_total_fails_whole() {
    let app = App::with(&[("ingest.unpacked_bytes", "10000")]).await;
    let (media_type, body) = form("file", "a.gz", gzip(rows(1..200)));
    fails(&app, &media_type, body, "unpacks_too_large").await;
    let (media_type, body) = form("file", "a.gz", gzip(rows(1..20)));
    assert_eq!(app.upload_as(&media_type, body).await["state"], "complete");
}

#[tokio::test]
async fn more_files_than_allowed_fail_the_import() {
    let app = App::with(&[("ingest.zip_entries", "2")]).await;
    let files = [("a.csv", row(1)), ("b.csv", row(2)), ("c.csv", row(3))];
    fails(&app, "application/zip", zip(&files), "too_many_files").await;
    assert_eq!(app.upload_as("application/zip", zip(&files[..2])).await["state"], "complete");
}

#[tokio::test]
async fn more_fields_than_allowed_fail_the_import_or_reject_the_row() {
    let app = App::start().await;
    let import = app.upload("", "x,".repeat(100_000) + "\n" + &row(1)).await;
    assert_eq!(outcome(&import), [1, 0, 0, 0, 1]);
    assert_eq!(app.faults(&import).await, ["1 - field_count"]);
    let import = app.upload("?header=present", "name,".repeat(1_000) + "\n" + &row(1)).await;
    assert_eq!(failure(&import), "repeated_column");
    goes_on(&app).await;
}

#[tokio::test]
async fn what_operating_systems_add_to_a_zip_is_passed_over() {
    let app = App::start().await;
    let litter = b"\0\x05\x16\x07 no CSV".to_vec();
    let mut packed = ZipWriter::new(Cursor::new(Vec::new()));
    let options = SimpleFileOptions::default().compression_method(CompressionMethod::Stored);
    packed.add_directory("data/", options).expect("memory takes it");
    for (name, bytes) in [
        ("data/a.csv", row(1).into_bytes()),
        ("__MACOSX/data/._a.csv", litter.clone()),
        ("data/._a.csv", litter.clone()),
        (".DS_Store", litter.clone()),
        ("data/Thumbs.db", litter),
    ] {
        packed.start_file(name, options).expect("memory takes it");
        packed.write_all(&bytes).expect("memory takes it");
    }
    let packed = packed.finish().expect("memory takes it").into_inner();
    let import = app.upload_as("application/zip", packed).await;
    assert_eq!(outcome(&import), [1, 0, 0, 0, 0]);
    assert_eq!(import["notes"].as_array().map(Vec::len), Some(4), "they are listed");
    fails(&app, "application/zip", zip(&[("__MACOSX/._a.csv", "x")]), "empty_archive").await;
}

#[tokio::test]
async fn files_of_a_zip_with_different_columns_fail_the_import() {
    let app = App::start().await;
    let reordered = "longitude,latitude,country,name\n1,2,C,A\n".to_owned();
    let files = [("a.csv", row(1)), ("b.csv", reordered.clone())];
    let message = fails(&app, "application/zip", zip(&files), "columns_differ").await;
    assert!(message.starts_with("b.csv: "), "{message}");
    let files = [("a.csv", reordered), ("b.csv", "name,country,latitude,longitude\nB,C,1,2\n".to_owned())];
    assert_eq!(outcome(&app.upload_as("application/zip", zip(&files)).await), [2, 0, 0, 0, 0]);
}

#[tokio::test]
async fn a_wrong_media_type_is_415_with_accept() {
    let app = App::start().await;
    for media_type in
        ["application/json", "text/plain", "application/gzip", "nonsense", "text/csv; charset=latin1"]
    {
        let request = app.client.post("/upload").header("Content-Type", media_type).body(row(1));
        let answer = request.send().await.expect(415);
        assert_eq!(
            answer.header("accept"),
            Some(
                "multipart/form-data, text/csv, application/zip, application/x-zip-compressed, application/vnd.ms-excel, \
                 application/octet-stream"
            ),
            "{media_type}"
        );
    }
    app.client.post("/upload").body(row(1)).send().await.expect(415);
    goes_on(&app).await;
}

#[tokio::test]
async fn an_unknown_content_coding_is_415_with_accept_encoding() {
    let app = App::start().await;
    for coding in ["br", "zstd", "deflate", "gzip, gzip"] {
        let request = post_csv(&app.client, "", row(1)).header("Content-Encoding", coding);
        let answer = request.send().await.expect(415);
        assert_eq!(answer.header("accept-encoding"), Some("gzip, identity"), "{coding}");
    }
    let (media_type, body) = form("file", "a.csv", row(1));
    let request = app.client.post("/upload").header("Content-Type", &media_type);
    let answer = request.header("Content-Encoding", "gzip").body(gzip(body)).send().await.expect(415);
    assert_eq!(answer.header("accept-encoding"), Some("identity"));
    assert_eq!(app.one::<i64>("select count(*) from imports").await, 0);
    goes_on(&app).await;
}

#[tokio::test]
async fn what_is_not_what_it_is_said_to_be_is_400() {
    let app = App::start().await;
    refused(&app, "text/csv", zip(&[("a.csv", row(1))]), 400).await;
    refused(&app, "text/csv", gzip(row(1)), 400).await;
    refused(&app, "application/zip", row(1), 400).await;
    let request = post_csv(&app.client, "", row(1)).header("Content-Encoding", "gzip");
    let answer = request.send().await.expect(400);
    assert_eq!(answer.json()["detail"], "the body is not gzip: it begins with the bytes 312c4169");
}

#[tokio::test]
async fn an_upload_above_the_limit_is_413() {
    let app = App::with(&[("ingest.upload_bytes", "500")]).await;
    let file = rows(1..20);
    let detail = refused(&app, "text/csv", file.clone(), 413).await["detail"].clone();
    assert_eq!(detail, "the upload is longer than 500 bytes");
    let (media_type, body) = form("file", "a.csv", &file);
    refused(&app, &media_type, body, 413).await;
    // Without a length, too.
    let pieces: Vec<Result<Vec<u8>, std::io::Error>> =
        file.as_bytes().chunks(100).map(|piece| Ok(piece.to_vec())).collect();
    let stream = reqwest::Body::wrap_stream(futures_util::stream::iter(pieces));
    refused(&app, "text/csv", stream, 413).await;
    let exactly = "\n".repeat(500 - row(1).len()) + &row(1);
    assert_eq!(app.upload("", exactly).await["state"], "complete");
}

/// Sends the head and a part of the body, then goes away.
async fn cut_off(address: &str, head: &str, part: &[u8]) {
    let mut connection = TcpStream::connect(address).await.expect("the service listens");
    let head = format!("POST /upload HTTP/1.1\r\nHost: {address}\r\n{head}\r\n\r\n");
    connection.write_all(head.as_bytes()).await.expect("the service reads");
    connection.write_all(part).await.expect("the service reads");
    connection.shutdown().await.expect("the connection closes");
    let mut answer = Vec::new();
    // Whether there still is an answer to read is the service's business.
    drop(connection.read_to_end(&mut answer).await);
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.is_empty() || answer.starts_with("HTTP/1.1 400"), "{answer}");
}

#[tokio::test]
async fn a_body_cut_off_halfway_leaves_nothing_behind() {
    let app = App::start().await;
    let address = app.client.address();
    // More than one part of what the archive writes at once, and less.
    for length in [100_000, 16_000_000] {
        let file = rows(1..1_000).into_bytes().repeat(300)[..length].to_vec();
        let head = format!("Content-Type: text/csv\r\nIdempotency-Key: {length}\r\nContent-Length: {length}");
        cut_off(&address, &head, &file[..length / 2]).await;
        let chunked = "Content-Type: text/csv\r\nTransfer-Encoding: chunked".to_owned();
        let piece = [format!("{:x}\r\n", length / 2).as_bytes(), &file[..length / 2], b"\r\n"].concat();
        cut_off(&address, &chunked, &piece).await;
        let (media_type, body) = form("file", "a.csv", &file);
        let head = format!("Content-Type: {media_type}\r\nContent-Length: {}", body.len());
        cut_off(&address, &head, &body[..length / 2]).await;
        // A form that ends in time, but without its end.
        let head = format!("Content-Type: {media_type}\r\nContent-Length: {}", length / 2);
        cut_off(&address, &head, &body[..length / 2]).await;
    }
    until("nothing is left in the archive", || async { app.archived().is_empty().then_some(()) }).await;
    assert_eq!(app.one::<i64>("select count(*) from imports").await, 0);
    until("the keys are free", || async {
        (app.one::<i64>("select count(*) from idempotency_keys").await == 0).then_some(())
    })
    .await;
    goes_on(&app).await;
}

#[tokio::test]
async fn a_full_disk_is_503_and_leaves_nothing_behind() {
    let database = Database::create().await;
    let archive = tempfile::tempdir().expect("a temporary directory can be made");
    let service = Launch::new(&database.url, archive.path()).with_files_up_to(10).start();
    let upload = |file: String| {
        let request = service.client.post("/upload").header("Content-Type", "text/csv");
        request.header("Idempotency-Key", "k").header("Prefer", "wait=60").body(file).send()
    };
    let files = || crate::support::app::files_below(archive.path());
    for length in [20_000, 12_000_000] {
        let file = rows(1..1_000).repeat(200)[..length].to_owned();
        let answer = upload(file).await.expect(503);
        assert!(answer.header("retry-after").is_some());
        assert_eq!(answer.json()["detail"], "the upload cannot be kept now");
        until("nothing is left in the archive", || async { files().is_empty().then_some(()) }).await;
        until("the key is free", || async {
            let keys: i64 = sqlx::query_scalar("select count(*) from idempotency_keys")
                .fetch_one(&database.pool)
                .await
                .expect("the database answers");
            (keys == 0).then_some(())
        })
        .await;
    }
    let import = upload(rows(1..50)).await.expect(200).json();
    assert_eq!((id(&import), outcome(&import)), (1, [49, 0, 0, 0, 0]), "what fits is taken");
    assert_eq!(files().len(), 2, "the upload and its manifest");
    let panics: Vec<_> = service.log().into_iter().filter(|line| line.contains("panicked")).collect();
    assert_eq!(panics, [""; 0]);
}
