//! Long records that are rejected: whoever finishes an import, or reads its rejects, holds few of them at a time.

use crate::support::{
    database::Database,
    files::gzip,
    imports::{completed, count, id},
    process::Launch,
};

const RECORDS: usize = 300;
const RECORD_BYTES: usize = 500_000;
/// All records together are longer.
const MOST_KIB: u64 = 100 << 10;

/// One citizen again and again, whose number is written with zeros before it.
fn file() -> Vec<u8> {
    let mut file =
        "citizen_id,town,street,building,apartment,name,birth_date,gender,relatives,channel\n".to_owned();
    let zeros = "0".repeat(RECORD_BYTES);
    for record in 0..RECORDS {
        // What keeps the file from being taken for a bomb: text that does not pack well.
        let mut digits = record as u64 + 1;
        let noise: String = (0..1_000)
            .map(|_| {
                digits =
                    digits.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                char::from_u32(0x4e00 + (digits >> 40) as u32 % 0x5000).unwrap_or('a')
            })
            .collect();
        let mut texts = noise.as_bytes().chunks(750).map(|text| String::from_utf8_lossy(text));
        let mut text = || texts.next().unwrap_or_default();
        file += &format!("{zeros}1,{},{},{},1,{},01.01.2000,male,,\n", text(), text(), text(), text());
    }
    gzip(file)
}

#[tokio::test]
async fn long_rejects_take_little_memory_when_they_are_stored_and_when_they_are_read() {
    let database = Database::create().await;
    let archive = tempfile::tempdir().expect("a temporary directory can be made");
    let launch = Launch::new(&database.url, archive.path()).with(&[("worker.loaders", "1")]);
    let service = launch.start();
    let idle = service.peak_kib();
    let request = service.client.post("/imports").header("Content-Type", "text/csv");
    let request = request.header("Content-Encoding", "gzip").body(file());
    let import = id(&request.send().await.expect(202).json());
    let ended = completed(&service.client, import).await;
    let rejected = RECORDS as i64 - 1;
    assert_eq!((count(&ended, "inserted"), count(&ended, "rejected")), (1, rejected), "{ended}");
    let most = idle + MOST_KIB;
    assert!(service.peak_kib() < most, "finished with {} KiB, idle {idle} KiB", service.peak_kib());

    let mut next = Some(format!("/imports/{import}/rejects?limit=10000"));
    let (mut pages, mut rows) = (0, Vec::new());
    while let Some(path) = next {
        let page = service.client.get(&path).send().await.expect(200);
        assert!(page.body.len() < 8 << 20, "{} bytes in a page", page.body.len());
        let rejects = page.json();
        let rejects = rejects["data"].as_array().expect("a list");
        assert!(!rejects.is_empty());
        rows.extend(rejects.iter().map(|reject| reject["row"].as_i64().expect("a number")));
        pages += 1;
        next = page
            .header("link")
            .map(|link| link.split_once(">; rel=\"next\"").expect("the next page").0[1..].to_owned());
    }
    assert!(pages > 8, "{pages} pages");
    assert_eq!(rows, (2..=RECORDS as i64).collect::<Vec<_>>());
    assert!(service.peak_kib() < most, "read pages with {} KiB, idle {idle} KiB", service.peak_kib());

    let csv = service.client.get(&format!("/imports/{import}/rejects.csv")).send().await.expect(200).text();
    assert_eq!(csv.lines().count(), RECORDS, "a header and a line for each");
    assert!(service.peak_kib() < most, "read all with {} KiB, idle {idle} KiB", service.peak_kib());
}
