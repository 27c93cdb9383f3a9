//! How much of everything, how fast and how slowly: requests, connections, bodies, imports.

use std::{io::ErrorKind, time::Duration};

use reqwest::Body;
use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    sync::mpsc,
};

use crate::support::{
    App,
    app::airport,
    client::Answer,
    wait::{DEADLINE, until},
};

const ROWS: &str = "1,A,B,C,\\N,\\N,1,2,0,0,U,\\N,airport,S\n";

/// A body that comes as the test sends it.
fn body() -> (mpsc::UnboundedSender<&'static str>, Body) {
    let (send, mut receive) = mpsc::unbounded_channel();
    let pieces = async_stream::stream! {
        while let Some(piece) = receive.recv().await {
            yield Ok::<_, std::io::Error>(piece);
        }
    };
    (send, Body::wrap_stream(pieces))
}

async fn connect(app: &App) -> TcpStream {
    TcpStream::connect(app.client.address()).await.expect("the service accepts")
}

/// What comes until the service closes the connection.
async fn rest(mut socket: TcpStream) -> String {
    let mut text = Vec::new();
    let read = tokio::time::timeout(DEADLINE, socket.read_to_end(&mut text)).await;
    match read.expect("the service closes the connection") {
        // Closed with something unread, which is a reset.
        Err(error) if error.kind() != ErrorKind::ConnectionReset => panic!("{error}"),
        _ => String::from_utf8_lossy(&text).into_owned(),
    }
}

fn refused(answer: &Answer) -> bool {
    answer.status == 503 && answer.header("retry-after").is_some()
}

#[tokio::test]
async fn more_requests_than_the_rate_are_429_and_every_answer_says_what_is_left() {
    let app = App::with(&[("limits.requests_per_minute", "3")]).await;
    for left in [2, 1, 0] {
        let answer = app.client.get(if left == 1 { "/airports/7" } else { "/airports" }).send().await;
        assert_eq!(answer.header("ratelimit"), Some(format!("\"default\";r={left}").as_str()));
        assert_eq!(answer.header("ratelimit-policy"), Some("\"default\";q=3;w=60"));
    }
    let refused = app.client.get("/airports").send().await.expect(429);
    let wait: u64 = refused.header("retry-after").expect("a time").parse().expect("seconds");
    assert!((1..=21).contains(&wait), "{wait}");
    assert_eq!(refused.header("ratelimit"), Some(format!("\"default\";r=0;t={wait}").as_str()));
}

#[tokio::test]
async fn on_loopback_without_keys_there_is_no_rate_unless_configured() {
    let app = App::start().await;
    assert_eq!(app.client.get("/airports").send().await.expect(200).header("ratelimit"), None);
    let app = App::with(&[("auth.required", "true")]).await;
    assert!(app.client.get("/airports").send().await.expect(401).header("ratelimit").is_some());
}

#[tokio::test]
async fn more_requests_at_once_than_allowed_are_503_and_health_is_still_told() {
    let app = App::with(&[("limits.requests", "1")]).await;
    let mut holder = app.database.pool.begin().await.expect("a transaction begins");
    sqlx::query("lock table airports").execute(&mut *holder).await.expect("nobody else holds it");
    let client = app.client.clone();
    let waiting = tokio::spawn(async move { client.get("/airports").send().await });
    until("the only place is taken", async || {
        refused(&app.client.get("/imports").send().await).then_some(())
    })
    .await;
    app.client.get("/health/ready").send().await.expect(200);
    holder.rollback().await.expect("the lock is given back");
    waiting.await.expect("it was answered").expect(200);
    app.client.get("/imports").send().await.expect(200);
}

#[tokio::test]
async fn above_the_limit_of_imports_no_upload_is_taken() {
    let app = App::without_worker(&[("limits.imports", "1")]).await;
    let upload = || app.client.post("/upload?force=true").header("Content-Type", "text/csv").body(ROWS);
    upload().send().await.expect(202);
    assert!(refused(&upload().send().await));
    app.work();
    until("there is room again", async || (upload().send().await.status == 202).then_some(())).await;
}

#[tokio::test]
async fn more_uploads_at_once_than_allowed_are_503() {
    let app = App::with(&[("limits.uploads", "1")]).await;
    let (send, body) = body();
    let first = app.client.post("/upload").header("Content-Type", "text/csv").body(body);
    let first = tokio::spawn(first.send());
    send.send(ROWS).expect("it is read");
    until("the only place is taken", async || {
        let other = app.client.post("/upload").header("Content-Type", "text/csv").body("");
        refused(&other.send().await).then_some(())
    })
    .await;
    drop(send);
    first.await.expect("it was answered").expect(202);
}

#[tokio::test]
async fn json_beyond_the_memory_for_it_is_503_until_others_are_answered() {
    let app = App::with(&[("limits.json_bytes", "4096"), ("limits.share_percent", "100")]).await;
    let (send, body) = body();
    let first = app.client.post("/airports").header("Content-Type", "application/json").body(body);
    let first = tokio::spawn(first.send());
    let long = Box::leak(format!("{{\"name\":\"{}\",", "x".repeat(3000)).into_boxed_str());
    send.send(long).expect("it is read");
    let other = || app.client.post("/airports").json(airport(json!({ "city": "x".repeat(2000) }))).send();
    until("the memory is taken", async || refused(&other().await).then_some(())).await;
    drop(send);
    first.await.expect("it was answered").expect(400);
    let long = airport(json!({ "city": "x".repeat(200), "tz": "y".repeat(200) }));
    app.client.post("/airports").json(long).send().await.expect(201);
}

#[tokio::test]
async fn a_body_that_stops_coming_is_408_and_nothing_of_it_is_kept() {
    let app = App::with(&[("limits.body_seconds", "1")]).await;
    let form = "--b\r\nContent-Disposition: form-data; name=\"file\"\r\n\r\n1,2,3\n";
    for (path, content_type, begin) in [
        ("/airports", "application/json", "{\"name\":"),
        ("/imports", "application/json", "{\"citizens\":["),
        ("/upload", "text/csv", ROWS),
        ("/upload", "multipart/form-data; boundary=b", form),
    ] {
        let (send, body) = body();
        let request = app.client.post(path).header("Content-Type", content_type).body(body);
        send.send(begin).expect("it will be read");
        request.send().await.expect(408);
        assert!(app.archived().is_empty(), "{path} {content_type}");
    }
}

#[tokio::test]
async fn a_client_that_sends_all_of_a_refused_body_first_gets_the_answer_and_keeps_the_connection() {
    let app = App::start().await;
    let mut socket = connect(&app).await;
    let length = 64 << 20;
    let head = format!(
        "POST /upload HTTP/1.1\r\nHost: x\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\r\n"
    );
    socket.write_all(head.as_bytes()).await.expect("the service reads");
    socket.write_all(&vec![b'x'; length]).await.expect("the service reads what it refuses");
    socket
        .write_all(b"GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .expect("the connection is whole");
    let text = rest(socket).await;
    assert!(text.starts_with("HTTP/1.1 415 ") && text.contains("}HTTP/1.1 200 OK"), "{text}");
}

#[tokio::test]
async fn a_connection_that_brings_no_whole_request_is_closed() {
    let app = App::with(&[("limits.head_seconds", "1")]).await;
    let idle = "GET /health/live HTTP/1.1\r\nHost: x\r\n\r\n";
    for (begin, answers) in [
        ("", 0),
        ("P", 0),
        ("PRI * HTTP/2.0\r\n", 0),
        ("GET / HTTP/1.1\r\nHost: x\r\nX-Slow: ", 0),
        (idle, 1),
        (&format!("{idle}GET / HT"), 1),
    ] {
        let mut socket = connect(&app).await;
        socket.write_all(begin.as_bytes()).await.expect("the service reads");
        let text = rest(socket).await;
        assert_eq!(text.matches("HTTP/1.1 200 OK").count(), answers, "{begin:?}: {text}");
    }
}

#[tokio::test]
async fn a_head_that_trickles_is_given_up() {
    let app = App::with(&[("limits.head_seconds", "1")]).await;
    let (mut read, mut write) = connect(&app).await.into_split();
    write.write_all(b"GET / HTTP/1.1\r\n").await.expect("the service reads");
    let trickle = tokio::spawn(async move {
        while write.write_all(b"X-Slow: 1\r\n").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let mut text = Vec::new();
    // Closed by the service, with or without a reset.
    let _ = tokio::time::timeout(DEADLINE, read.read_to_end(&mut text)).await.expect("it is closed");
    trickle.await.expect("writing fails in the end");
}

#[tokio::test]
async fn connections_above_the_limit_wait_for_one_to_be_closed() {
    let app = App::with(&[("limits.connections", "2"), ("limits.head_seconds", "1")]).await;
    let idle = [connect(&app).await, connect(&app).await];
    let mut third = connect(&app).await;
    let request = "GET /health/live HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    third.write_all(request.as_bytes()).await.expect("the kernel takes it");
    assert!(rest(third).await.starts_with("HTTP/1.1 200 OK"));
    drop(idle);
}

#[tokio::test]
async fn a_client_that_takes_nothing_of_its_answer_is_given_up() {
    let app = App::with(&[("limits.write_seconds", "1"), ("limits.head_seconds", "600")]).await;
    let file = ROWS.repeat(400_000);
    let upload = app.client.post("/upload").header("Content-Type", "text/csv").body(file.clone());
    let id = upload.send().await.expect(202).json()["id"].clone();
    let mut socket = connect(&app).await;
    let request = format!("GET /imports/{id}/source HTTP/1.1\r\nHost: x\r\n\r\n");
    socket.write_all(request.as_bytes()).await.expect("the service reads");
    // The server gives up while nothing is read; that it has shows in its connections.
    let (local, remote) = (socket.local_addr().expect("bound"), socket.peer_addr().expect("connected"));
    until("the service has closed the connection", async || {
        let sockets = std::fs::read_to_string("/proc/net/tcp").expect("it can be read");
        let ours = format!("{:04X} 0100007F:{:04X} 01 ", remote.port(), local.port());
        (!sockets.contains(&ours)).then_some(())
    })
    .await;
    assert!(rest(socket).await.len() < file.len());
}

#[tokio::test]
async fn hundreds_of_idle_connections_disturb_nobody() {
    let app = App::start().await;
    let mut idle = Vec::new();
    for number in 0..500 {
        let mut socket = connect(&app).await;
        if number % 2 == 0 {
            socket.write_all(b"GET / HTTP/1.1\r\nX-Slow: ").await.expect("the service reads");
        }
        idle.push(socket);
    }
    app.airport(json!({})).await;
    app.client.get("/airports").send().await.expect(200);
}

/// Many more clients than there are places; what was accepted is imported, whatever the others are told.
#[tokio::test]
async fn under_overload_everybody_is_answered_and_no_import_is_lost() {
    let app = App::with(&[("limits.requests", "2"), ("limits.uploads", "2"), ("limits.imports", "20")]).await;
    let mut clients = tokio::task::JoinSet::new();
    for number in 0..32 {
        let client = app.client.clone();
        clients.spawn(async move {
            let mut accepted = Vec::new();
            for turn in 0..10 {
                client.get("/airports?limit=10").send().await;
                let row = ROWS.replace("1,A", &format!("{},A{number}-{turn}", number * 100 + turn + 1));
                let upload = client.post("/upload").header("Content-Type", "text/csv").body(row);
                let answer = upload.send().await;
                match answer.status.as_u16() {
                    202 => accepted.push(answer.json()["id"].clone()),
                    _ => assert!(refused(&answer), "{}", answer.text()),
                }
            }
            accepted
        });
    }
    let accepted: Vec<Value> = clients.join_all().await.into_iter().flatten().collect();
    assert!(!accepted.is_empty());
    for id in &accepted {
        until(format!("import {id} is complete"), async || {
            let import = app.client.get(&format!("/imports/{id}")).send().await.expect(200).json();
            (import["state"] == "complete").then_some(())
        })
        .await;
    }
    let airports: i64 = sqlx::query_scalar("select count(*) from airports")
        .fetch_one(&app.database.pool)
        .await
        .expect("airports can be counted");
    assert_eq!(usize::try_from(airports), Ok(accepted.len()));
}
