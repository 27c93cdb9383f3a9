//! Files to upload, good and bad.

use std::io::{Cursor, Write};

use flate2::{Compression, write::GzEncoder};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

/// The columns of airports, as a header.
pub(crate) const HEADER: &str =
    "id,name,city,country,iata,icao,latitude,longitude,altitude,timezone,dst,tz,type,source";

/// OpenFlights' file.
pub(crate) fn openflights() -> Vec<u8> {
    fixture("airports/airports.dat")
}

/// A file in `fixtures/`.
pub(crate) fn fixture(name: &str) -> Vec<u8> {
    let path = format!("{}/fixtures/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{path}: {error}"))
}

/// OpenFlights' file in its other form: a header and no ids.
pub(crate) fn openflights_without_ids() -> Vec<u8> {
    let file = openflights();
    let mut reader = csv::ReaderBuilder::new().has_headers(false).from_reader(file.as_slice());
    let mut writer = csv::Writer::from_writer(Vec::new());
    writer.write_record(HEADER.split(',').skip(1)).expect("memory takes it");
    for record in reader.byte_records() {
        writer
            .write_record(record.expect("the file is well-formed").iter().skip(1))
            .expect("memory takes it");
    }
    writer.into_inner().expect("memory takes it")
}

/// A good row of an airport that is like no other.
pub(crate) fn row(id: u32) -> String {
    let latitude = f64::from(id % 160) - 80.0;
    let longitude = f64::from(id % 300) - 150.0;
    format!("{id},Airport {id},City,Country,\\N,\\N,{latitude},{longitude},0,0,U,\\N,airport,Test\n")
}

/// A good row with these codes.
pub(crate) fn row_with_codes(id: &str, name: &str, iata: &str, icao: &str) -> String {
    format!("{id},{name},City,Country,{iata},{icao},1,2,0,0,U,\\N,airport,Test\n")
}

/// A row with a latitude there is none of.
pub(crate) fn bad_row(id: u32) -> String {
    format!("{id},Airport {id},City,Country,\\N,\\N,91,0,0,0,U,\\N,airport,Test\n")
}

/// Good rows with these ids.
pub(crate) fn rows(ids: impl IntoIterator<Item = u32>) -> String {
    ids.into_iter().map(row).collect()
}

/// `bytes` in gzip.
pub(crate) fn gzip(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(bytes.as_ref()).expect("memory takes it");
    encoder.finish().expect("memory takes it")
}

/// A ZIP with these files, deflated.
pub(crate) fn zip<B: AsRef<[u8]>>(files: &[(&str, B)]) -> Vec<u8> {
    packed(files, CompressionMethod::Deflated)
}

/// A ZIP with these files as they are, so that a test can find their bytes and spoil them.
pub(crate) fn zip_stored<B: AsRef<[u8]>>(files: &[(&str, B)]) -> Vec<u8> {
    packed(files, CompressionMethod::Stored)
}

fn packed<B: AsRef<[u8]>>(files: &[(&str, B)], method: CompressionMethod) -> Vec<u8> {
    let mut zip = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, bytes) in files {
        let options = SimpleFileOptions::default().compression_method(method);
        zip.start_file(*name, options).expect("memory takes it");
        zip.write_all(bytes.as_ref()).expect("memory takes it");
    }
    zip.finish().expect("memory takes it").into_inner()
}

/// A form with the field `name`: its media type and its body.
pub(crate) fn form(name: &str, filename: &str, bytes: impl AsRef<[u8]>) -> (String, Vec<u8>) {
    let boundary = "----boundary-of-the-test";
    let mut body = format!(
        "--{boundary}\r\nContent-Disposition: form-data; name=\"{name}\"; filename=\"{filename}\"\r\n\
         Content-Type: application/octet-stream\r\n\r\n"
    )
    .into_bytes();
    body.extend_from_slice(bytes.as_ref());
    body.extend_from_slice(format!("\r\n--{boundary}--\r\n").as_bytes());
    (format!("multipart/form-data; boundary={boundary}"), body)
}
