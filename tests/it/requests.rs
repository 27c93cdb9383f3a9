//! What holds for every request, shown on airports.

use base64::{Engine, engine::general_purpose::STANDARD};
use reqwest::Body;
use serde_json::json;
use sha2::{Digest, Sha256, Sha512};

use crate::support::{
    App,
    app::airport,
    citizens::citizen,
    files::{form, gzip, row, zip},
    imports::outcome,
};

#[tokio::test]
async fn hostile_json_is_refused_and_never_fails_the_server() {
    let app = App::start().await;
    let deep = "[".repeat(100_000);
    let in_name = |name: &str| format!(r#"{{"name":{name},"country":"B","latitude":1,"longitude":2}}"#);
    for (body, code) in [
        (String::new(), "malformed_json"),
        ("{".to_owned(), "malformed_json"),
        (deep, "malformed_json"),
        ("[]".to_owned(), "not_an_object"),
        ("null".to_owned(), "not_an_object"),
        (in_name(r#""a","name":"b""#), "duplicate_field"),
        (in_name(r#""\ud800""#), "malformed_json"),
        (in_name(r#""a\u0000b""#), "nul_character"),
        (in_name(&format!("\"{}\"", "x".repeat(257))), "length"),
        (in_name("7"), "not_text"),
        (in_name("null"), "required"),
        (in_name(r#""a","id":1"#), "unknown_field"),
        (in_name(r#""a","altitude":1.5"#), "not_an_integer"),
        (in_name(r#""a","altitude":99999999999999999999"#), "out_of_range"),
        (in_name(r#""a","timezone":1e999"#), "malformed_json"),
        (in_name(r#""a","dst":"X""#), "not_allowed"),
    ] {
        let shown: String = body.chars().take(80).collect();
        let answer =
            app.client.post("/airports").header("Content-Type", "application/json").body(body).send().await;
        assert_eq!(answer.expect(400).codes(), [code], "{shown}");
    }
    let invalid_utf8 = app.client.post("/airports").header("Content-Type", "application/json");
    invalid_utf8.body(&b"{\"name\":\"\xff\"}"[..]).send().await.expect(400);
    assert_eq!(app.client.get("/airports").send().await.expect(200).json(), json!({ "data": [] }));
}

#[tokio::test]
async fn every_violation_of_a_body_is_reported_with_its_pointer() {
    let app = App::start().await;
    let body = airport(json!({ "latitude": 91, "iata": "TOOLONG", "colour/shade": "red" }));
    let problem = app.client.post("/airports").json(body).send().await.expect(400).json();
    let errors = problem["errors"].as_array().expect("violations");
    let mut pointers: Vec<_> =
        errors.iter().map(|error| error["pointer"].as_str().expect("a pointer")).collect();
    pointers.sort_unstable();
    assert_eq!(pointers, ["/colour~1shade", "/iata", "/latitude"]);
}

#[tokio::test]
async fn a_body_in_another_media_type_or_coding_is_415_and_says_what_is_read() {
    let app = App::start().await;
    let created = app.airport(json!({})).await;
    let item = format!("/airports/{}", created["id"]);
    for content_type in
        ["text/plain", "application/xml", "application/merge-patch+json", "application/json; charset=latin1"]
    {
        let answer =
            app.client.post("/airports").header("Content-Type", content_type).body("{}").send().await;
        assert_eq!(answer.expect(415).header("accept"), Some("application/json"), "{content_type}");
    }
    app.client.post("/airports").body("{}").send().await.expect(415);
    let patch =
        app.client.patch(&item).header("Content-Type", "text/plain").body("{}").send().await.expect(415);
    assert_eq!(patch.header("accept-patch"), Some("application/json, application/merge-patch+json"));
    let gzip = app
        .client
        .post("/airports")
        .header("Content-Encoding", "gzip")
        .json(json!({}))
        .send()
        .await
        .expect(415);
    assert_eq!(gzip.header("accept-encoding"), Some("identity"));
    let merge_patch =
        app.client.patch(&item).header("Content-Type", "application/merge-patch+json; charset=UTF-8");
    merge_patch.body(r#"{"city":"Keflavik"}"#).send().await.expect(200);
}

#[tokio::test]
async fn a_body_above_the_limit_is_413_whether_or_not_it_says_its_length() {
    let app = App::with(&[("server.json_bytes", "200")]).await;
    app.client.post("/airports").json(airport(json!({}))).send().await.expect(201);
    let long = airport(json!({ "city": "x".repeat(200) })).to_string();
    app.client
        .post("/airports")
        .header("Content-Type", "application/json")
        .body(long.clone())
        .send()
        .await
        .expect(413);
    let pieces: Vec<_> =
        long.into_bytes().chunks(50).map(|piece| Ok::<_, std::io::Error>(piece.to_vec())).collect();
    let unannounced = Body::wrap_stream(futures_util::stream::iter(pieces));
    app.client
        .post("/airports")
        .header("Content-Type", "application/json")
        .body(unannounced)
        .send()
        .await
        .expect(413);
}

#[tokio::test]
async fn an_unknown_or_repeated_query_parameter_is_refused_by_name() {
    let app = App::start().await;
    for (path, code) in [
        ("/airports?contry=Iceland", "unknown_parameter"),
        ("/airports?city=A&city=B", "repeated_parameter"),
        ("/airports?limit=many", "invalid_parameter"),
        ("/health/live?verbose=1", "unknown_parameter"),
        ("/delete?id=1&force=true", "unknown_parameter"),
    ] {
        assert_eq!(app.client.get(path).send().await.expect(400).codes(), [code], "{path}");
    }
    app.client.get("/airports/one").send().await.expect(400);
}

#[tokio::test]
async fn what_a_parameter_must_be_is_said_in_words() {
    let app = App::start().await;
    for (path, message) in [
        (
            "/imports?state=done",
            "state must be one of received, running, paused, complete, failed, cancelled, undone",
        ),
        ("/airports?limit=many", "limit must be a whole number that is not negative"),
        ("/airports?limit=-1", "limit must be a whole number that is not negative"),
        ("/airports?radius=far", "radius must be a number"),
        ("/airports?include_deleted=yes", "include_deleted must be true or false"),
        ("/delete", "id must be a whole number"),
        ("/delete?id=", "id must be a whole number"),
        ("/airports/one", "id in the path must be a whole number"),
        ("/imports/1/citizens/x", "cid in the path must be a whole number"),
        ("/logs?limit=10001", "limit must be a whole number that is not negative of at most 10000"),
        ("/logs?level=loud", "level must be one of error, warn, info, debug, trace"),
        ("/imports/1/citizens/birthdays?group_by=town", "group_by must be one of channel"),
    ] {
        let answer = app.client.get(path).send().await.expect(400);
        assert_eq!(answer.json()["detail"], message, "{path}");
    }
    let upload = |query: &str| {
        app.client.post(&format!("/upload?{query}")).header("Content-Type", "text/csv").body("a").send()
    };
    for (query, message) in [
        ("mode=loose", "mode must be one of lenient, strict".to_owned()),
        ("max_rejects=-1", "max_rejects must be a whole number of at least 0".to_owned()),
        (
            &format!("filename={}", "x".repeat(256)),
            "filename must be text of at most 255 characters".to_owned(),
        ),
    ] {
        assert_eq!(upload(query).await.expect(400).json()["detail"], message, "{query}");
    }
}

#[tokio::test]
async fn no_words_of_a_library_reach_a_client() {
    let app = App::start().await;
    let form = app.client.post("/upload").header("Content-Type", "multipart/form-data").body("x");
    assert_eq!(
        form.send().await.expect(400).json()["detail"],
        "the Content-Type of a form needs its boundary"
    );
    let form =
        app.client.post("/upload").header("Content-Type", "multipart/form-data; boundary=b").body("--b");
    assert_eq!(
        form.send().await.expect(400).json()["detail"],
        "the form cannot be read: it ends early, or is malformed"
    );
}

#[tokio::test]
async fn json_may_begin_with_a_byte_order_mark_and_call_its_charset_utf8() {
    let app = App::start().await;
    let marked = |json: String| [b"\xef\xbb\xbf".as_slice(), json.as_bytes()].concat();
    let request = app.client.post("/airports").header("Content-Type", "application/json; charset=utf8");
    request.body(marked(airport(json!({})).to_string())).send().await.expect(201);
    let set = json!({ "citizens": [citizen(1, json!({}))] });
    let request = app.client.post("/imports").header("Content-Type", "application/json; charset=UTF8");
    request.body(marked(set.to_string())).send().await.expect(201);
    let request = app.client.patch("/airports/1").header("Content-Type", "application/merge-patch+json");
    request.body(marked(json!({ "city": "A" }).to_string())).send().await.expect(200);
}

#[tokio::test]
async fn a_body_must_have_the_digest_that_it_comes_with() {
    let app = App::start().await;
    let of = |body: &str| format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(body)));
    let (good, other) = (airport(json!({})).to_string(), "another body");
    let post = |digest: String| {
        let request = app.client.post("/airports").header("Content-Type", "application/json");
        request.header("Content-Digest", &digest).body(good.clone()).send()
    };
    assert_eq!(post(of(other)).await.expect(400).codes(), ["wrong_digest"]);
    let sha512 = format!("sha-512=:{}:", STANDARD.encode(Sha512::digest(other)));
    assert_eq!(post(format!("{}, {sha512}", of(&good))).await.expect(400).codes(), ["wrong_digest"]);
    assert_eq!(post("sha-256=:AA==:".to_owned()).await.expect(400).codes(), ["malformed_digest"]);
    assert_eq!(app.one::<i64>("select count(*) from airports").await, 0);
    post(of(&good)).await.expect(201);

    let upload = |body: Vec<u8>, media_type: &str, digest: String| {
        let request =
            app.client.post("/upload").header("Content-Type", media_type).header("Prefer", "wait=60");
        request.header("Content-Digest", &digest).body(body).send()
    };
    let (media_type, body) = form("file", "a.csv", row(1));
    for (body, media_type) in [(row(2).into_bytes(), "text/csv"), (body, media_type.as_str())] {
        let kept = app.archived();
        let refused = upload(body.clone(), media_type, of(other)).await.expect(400);
        assert_eq!(refused.codes(), ["wrong_digest"], "{media_type}");
        assert_eq!(app.archived(), kept, "{media_type}");
        let text = String::from_utf8(body.clone()).expect("text");
        upload(body, media_type, of(&text)).await.expect(200);
    }
}

#[tokio::test]
async fn a_file_may_come_under_the_names_that_windows_and_browsers_have_for_it() {
    let app = App::start().await;
    let packed = zip(&[("a.csv", row(2))]);
    for (media_type, body) in [
        ("application/vnd.ms-excel", row(1).into_bytes()),
        ("application/x-zip-compressed", packed.clone()),
        ("application/octet-stream", row(3).into_bytes()),
        ("application/octet-stream", zip(&[("a.csv", row(4))])),
        ("application/octet-stream", gzip(row(5))),
        ("text/csv; charset=utf8", row(6).into_bytes()),
    ] {
        assert_eq!(outcome(&app.upload_as(media_type, body).await), [1, 0, 0, 0, 0], "{media_type}");
    }
    let contract = app.client.request(reqwest::Method::OPTIONS, "/upload").send().await.expect(200).json();
    let named = contract["media_types"].as_array().expect("a list").len();
    assert_eq!(named, 6, "{contract}");
    let citizens = app.client.request(reqwest::Method::OPTIONS, "/imports").send().await.expect(200).json();
    assert_eq!(citizens["media_types"][0], "application/json");
    assert_eq!(citizens["media_types"].as_array().expect("a list").len(), named + 1);
}

#[tokio::test]
async fn an_answer_comes_in_the_media_type_the_client_likes_best() {
    let app = App::start().await;
    for (accept, expected) in [
        ("*/*", "application/json"),
        ("text/csv", "text/csv"),
        ("application/geo+json, application/json;q=0.5", "application/geo+json"),
        ("text/html, text/*;q=0.2", "text/csv"),
    ] {
        let answer = app.client.get("/airports").header("Accept", accept).send().await.expect(200);
        assert_eq!(answer.header("content-type"), Some(expected), "{accept}");
    }
    app.client.get("/airports").header("Accept", "text/html").send().await.expect(406);
    app.client.get("/airports/1").header("Accept", "text/csv").send().await.expect(406);
}

#[tokio::test]
async fn a_request_that_is_not_acceptable_changes_nothing() {
    let app = App::start().await;
    app.client
        .post("/airports")
        .header("Accept", "text/csv")
        .json(airport(json!({})))
        .send()
        .await
        .expect(406);
    assert_eq!(app.client.get("/airports").send().await.expect(200).json(), json!({ "data": [] }));
}

#[tokio::test]
async fn a_request_id_is_taken_over_when_it_is_harmless() {
    let app = App::start().await;
    let answer = app.client.get("/nowhere").header("X-Request-Id", "ticket-4711").send().await.expect(404);
    assert_eq!(answer.header("x-request-id"), Some("ticket-4711"));
    for harmful in ["a b", "a\"b", &"x".repeat(129)] {
        let answer = app.client.get("/health/live").header("X-Request-Id", harmful).send().await.expect(200);
        assert_ne!(answer.header("x-request-id"), Some(harmful));
    }
}

#[tokio::test]
async fn a_request_that_takes_too_long_is_told_to_come_back() {
    let app = App::with(&[("server.request_seconds", "1")]).await;
    let mut holder = app.database.pool.begin().await.expect("a transaction begins");
    sqlx::query("lock table airports").execute(&mut *holder).await.expect("nobody else holds it");
    let answer = app.client.get("/airports").send().await.expect(503);
    assert!(answer.header("retry-after").is_some());
    app.client.get("/health/live").send().await.expect(200);
}
