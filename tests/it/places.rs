//! Who takes all there is of something: a client has its part, slow readers are given up, and the others are served.

use std::net::Ipv4Addr;

use serde_json::json;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpSocket, TcpStream},
};

use crate::support::{
    App,
    app::airport,
    citizens::citizen,
    client::{Answer, Client},
    files::row,
    http2::Http2,
    wait::{DEADLINE, until},
};

/// More than the buffers of sockets hold.
const MANY: i64 = 40_000;

fn refused(answer: &Answer) -> bool {
    answer.status == 503 && answer.header("retry-after").is_some()
}

/// A client at another address than the test's own.
fn other(app: &App, number: u8) -> Client {
    app.client.from(Ipv4Addr::new(127, 0, 0, number).into())
}

/// A socket that keeps nothing of what it is not asked for.
async fn small_socket(app: &App) -> TcpStream {
    let socket = TcpSocket::new_v4().expect("there are sockets");
    socket.set_recv_buffer_size(4096).expect("it can be small");
    let address = app.client.address().parse().expect("an address");
    socket.connect(address).await.expect("the service accepts")
}

async fn ask(app: &App, path: &str) -> TcpStream {
    let mut socket = small_socket(app).await;
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n");
    socket.write_all(request.as_bytes()).await.expect("the service reads");
    socket
}

/// The path of very many citizens.
async fn many_citizens(app: &App) -> String {
    let citizens: Vec<_> = (0..MANY).map(|number| citizen(number, json!({}))).collect();
    format!("/imports/{}/citizens", app.import_citizens(citizens).await)
}

/// Waits until so many sessions of the service send rows.
async fn sending(app: &App, sessions: i64) {
    until(format!("{sessions} answers are being sent"), async || {
        let query =
            "select count(*) from pg_stat_activity where datname = current_database() and query ilike 'copy%'
                     and state = 'active'";
        (app.one::<i64>(query).await == sessions).then_some(())
    })
    .await;
}

#[tokio::test]
async fn readers_of_large_answers_leave_connections_to_others_and_places_to_other_clients() {
    // Of eight connections four are for exports, of which a client has two.
    let app = App::with(&[("database.acquire_ms", "500")]).await;
    let path = many_citizens(&app).await;
    let mut readers = Vec::new();
    for _ in 0..16 {
        readers.push(ask(&app, &path).await);
    }
    sending(&app, 2).await;
    assert!(refused(&app.client.get(&path).send().await));
    app.client.get("/airports").send().await.expect(200);
    app.client.get("/health/ready").send().await.expect(200);
    other(&app, 2).get(&path).send().await.expect(200);
    drop(readers);
    until("the places are free again", async || {
        (app.client.get(&path).send().await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn who_takes_too_little_of_an_answer_loses_it_and_its_place() {
    let app = App::with(&[("limits.write_seconds", "1"), ("limits.exports", "1")]).await;
    let path = many_citizens(&app).await;
    let mut socket = ask(&app, &path).await;
    sending(&app, 1).await;
    app.client.get(&path).send().await.expect(200);
    let mut text = Vec::new();
    // Closed with something unsent, which may be a reset.
    let _ = tokio::time::timeout(DEADLINE, socket.read_to_end(&mut text)).await.expect("it is closed");
    assert!(!text.ends_with(b"]}\r\n0\r\n\r\n"), "the answer was not completed");
}

/// The socket can always be written to: only the stream is slow.
#[tokio::test]
async fn over_http2_too_slow_a_stream_ends_its_connection() {
    let limits = [("limits.write_seconds", "1"), ("limits.write_bytes", "100000"), ("limits.exports", "1")];
    let app = App::with(&limits).await;
    let path = many_citizens(&app).await;
    for window in [0, 1] {
        let mut connection = Http2::connect(&app.client.address(), window).await;
        connection.get(1, &path).await;
        let brought = connection.until_closed(|_| 1).await;
        assert_eq!(brought.answers, 1, "{brought:?}");
        app.client.get(&path).send().await.expect(200);
    }
    // The same client, taking all of it.
    let mut connection = Http2::connect(&app.client.address(), 65_535).await;
    connection.get(1, &path).await;
    let brought = connection.until_closed(|length| length).await;
    let whole = app.client.get(&path).send().await.expect(200);
    assert_eq!(brought.bytes, whole.body.len());
}

#[tokio::test]
async fn a_connection_of_http2_without_requests_is_closed_although_it_answers_pings() {
    let app = App::with(&[("limits.head_seconds", "1")]).await;
    let brought = Http2::connect(&app.client.address(), 65_535).await.until_closed(|length| length).await;
    assert_eq!((brought.answers, brought.goodbye), (0, true));
    let mut connection = Http2::connect(&app.client.address(), 65_535).await;
    connection.get(1, "/health/live").await;
    let brought = connection.until_closed(|length| length).await;
    assert_eq!((brought.answers, brought.goodbye), (1, true));
}

#[tokio::test]
async fn one_client_takes_its_part_of_the_requests_and_leaves_the_others_theirs() {
    let app = App::with(&[("limits.requests", "4")]).await;
    let mut dripping = Vec::new();
    for _ in 0..2 {
        let mut socket = small_socket(&app).await;
        let head = "POST /airports HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{";
        socket.write_all(head.as_bytes()).await.expect("the service reads");
        dripping.push(socket);
    }
    until("its part is taken", async || {
        refused(&app.client.post("/airports").json(airport(json!({}))).send().await).then_some(())
    })
    .await;
    // The set of citizens counts as well.
    assert!(refused(&app.post_citizens(vec![citizen(1, json!({}))]).await));
    other(&app, 2).post("/airports").json(airport(json!({}))).send().await.expect(201);
    drop(dripping);
    until("its part is free again", async || {
        (app.client.get("/airports").send().await.status == 200).then_some(())
    })
    .await;
}

#[tokio::test]
async fn one_client_takes_its_part_of_the_uploads_and_leaves_the_others_theirs() {
    let app = App::with(&[("limits.uploads", "4")]).await;
    let form = "--b\r\nContent-Disposition: form-data; na";
    let mut dripping = Vec::new();
    for (content_type, begin) in [("text/csv", "1,"), ("multipart/form-data; boundary=b", form)] {
        let mut socket = small_socket(&app).await;
        let head = format!(
            "POST /upload HTTP/1.1\r\nHost: x\r\nContent-Type: {content_type}\r\nContent-Length: 1000\r\n\r\n{begin}"
        );
        socket.write_all(head.as_bytes()).await.expect("the service reads");
        dripping.push(socket);
    }
    let upload = |client: &Client, number: u32| {
        client.post("/upload").header("Content-Type", "text/csv").body(row(number)).send()
    };
    until("its part is taken", async || refused(&upload(&app.client, 1).await).then_some(())).await;
    upload(&other(&app, 2), 2).await.expect(202);
    drop(dripping);
    until("its part is free again", async || (upload(&app.client, 3).await.status == 202).then_some(()))
        .await;
}

#[tokio::test]
async fn one_client_takes_its_part_of_the_memory_for_json_and_leaves_the_others_theirs() {
    let app = App::with(&[("limits.json_bytes", "8192")]).await;
    let mut socket = small_socket(&app).await;
    let head = "POST /imports HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 4000\r\n\r\n{";
    socket.write_all(head.as_bytes()).await.expect("the service reads");
    let create = |client: &Client| client.post("/airports").json(airport(json!({}))).send();
    until("its part is taken", async || refused(&create(&app.client).await).then_some(())).await;
    create(&other(&app, 2)).await.expect(201);
    drop(socket);
}

#[tokio::test]
async fn more_event_streams_than_allowed_are_503() {
    let app = App::without_worker(&[("limits.streams", "4")]).await;
    let import = app.begin("", row(1)).await;
    let path = format!("/imports/{import}/events");
    let followers = [ask(&app, &path).await, ask(&app, "/logs/stream").await];
    until("its part is taken", async || refused(&app.client.get(&path).send().await).then_some(())).await;
    let of_others = [other(&app, 2), other(&app, 2)].map(|client| {
        let path = path.clone();
        tokio::spawn(async move { client.get(&path).send().await })
    });
    until("all are taken", async || {
        let answer = other(&app, 3).get("/logs/stream?seconds=0").send().await;
        (refused(&answer) && answer.text().contains("the service has")).then_some(())
    })
    .await;
    drop(followers);
    until("there is room again", async || {
        (app.client.get("/logs/stream?seconds=0").send().await.status == 200).then_some(())
    })
    .await;
    of_others.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test]
async fn a_request_names_its_host_once() {
    let app = App::start().await;
    for (hosts, status) in
        [("", 400), ("Host: x\r\n", 200), ("Host: x\r\nHost: x\r\n", 400), ("Host: x y\r\n", 400)]
    {
        let mut socket = small_socket(&app).await;
        let request = format!("GET /health/live HTTP/1.1\r\n{hosts}Connection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).await.expect("the service reads");
        let mut text = String::new();
        socket.read_to_string(&mut text).await.expect("it is answered");
        assert!(text.starts_with(&format!("HTTP/1.1 {status} ")), "{hosts:?}: {text}");
    }
}
