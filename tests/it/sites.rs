//! Without keys, pages of other sites: what a browser sends for them is not obeyed.

use serde_json::{Value, json};

use crate::support::{App, files::row, raw::exchange};

const HOST: &str = "Host: 127.0.0.1:8080";

/// Status, and the problem when there is one, of the answer to a request with these lines in its head.
async fn ask(app: &App, request: &str, lines: &[&str]) -> (u16, Value) {
    let body = "name=A";
    let head = format!(
        "{request} HTTP/1.1\r\nConnection: close\r\nContent-Length: {}\r\n{}\r\n\r\n{body}",
        body.len(),
        lines.join("\r\n")
    );
    let answer = exchange(app, head.as_bytes()).await;
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok());
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body).unwrap_or_default();
    (
        status.unwrap_or_else(|| panic!("{request}: {answer:?}")),
        serde_json::from_str(body).unwrap_or_default(),
    )
}

/// What may be reached by a link, an image, a form or a script.
const ACTING: [&str; 9] = [
    "GET /delete?id=1",
    "GET /create?name=A&country=B&latitude=1&longitude=2",
    "GET /update?id=1&name=A",
    "DELETE /delete?id=1",
    "DELETE /airports/1",
    "POST /airports/1/restore",
    "POST /imports/1/cancel",
    "DELETE /imports/1",
    "POST /upload",
];

#[tokio::test]
async fn a_page_of_another_site_changes_nothing() {
    let app = App::without_worker(&[]).await;
    app.airport(json!({})).await;
    let import = app.begin("", row(1)).await;
    for request in ACTING {
        for lines in [
            &["Sec-Fetch-Site: cross-site", "Sec-Fetch-Dest: image"][..],
            &["Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"],
            &["Sec-Fetch-Site: same-site", "Origin: http://127.0.0.1:3000"],
            &["Origin: https://evil.example"],
            &["Origin: null"],
            &["Referer: https://evil.example/"],
        ] {
            let (status, problem) = ask(&app, request, &[lines, &[HOST]].concat()).await;
            assert_eq!(
                (status, &problem["type"]),
                (403, &json!("/problems/foreign-page")),
                "{request} {lines:?}"
            );
            let detail = problem["detail"].as_str().unwrap_or_default();
            assert!(detail.contains("server.cors_origins"), "{detail}");
        }
    }
    let airport = app.client.get("/airports/1").send().await.expect(200).json();
    assert_eq!((&airport["version"], &airport["deleted_at"]), (&json!(1), &Value::Null));
    assert_eq!(app.one::<i64>("select count(*) from pending_changes").await, 0);
    assert_eq!(app.import(import).await["state"], "received");
    app.client.get("/problems/foreign-page").send().await.expect(200);
}

#[tokio::test]
async fn a_page_of_a_configured_site_of_the_service_and_of_nobody_may_act() {
    let app = App::with(&[("server.cors_origins", "https://map.example")]).await;
    app.airport(json!({})).await;
    for lines in [
        &[][..],
        &["Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate"],
        &["Sec-Fetch-Site: same-origin", "Origin: http://127.0.0.1:8080"],
        &["Origin: http://127.0.0.1:8080"],
        &["Sec-Fetch-Site: cross-site", "Origin: https://map.example"],
    ] {
        let (status, problem) = ask(&app, "GET /update?id=1&name=A", &[lines, &[HOST]].concat()).await;
        assert_eq!(status, 200, "{lines:?}: {problem}");
    }
}

#[tokio::test]
async fn a_link_of_another_site_leads_to_what_it_shows() {
    let app = App::start().await;
    app.airport(json!({})).await;
    for path in ["/", "/airports/1", "/imports", "/openapi.json", "/health/ready"] {
        let lines = [HOST, "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: navigate"];
        assert_eq!(ask(&app, &format!("GET {path}"), &lines).await.0, 200, "{path}");
    }
}

#[tokio::test]
async fn a_name_that_was_made_to_lead_here_is_refused_with_the_setting_that_allows_it() {
    let app = App::with(&[("server.hosts", "tarmac.example")]).await;
    app.airport(json!({})).await;
    for request in ["GET /airports", "GET /delete?id=1", "DELETE /airports/1", "GET /logs", "GET /metrics"] {
        let (status, problem) = ask(&app, request, &["Host: rebound.evil.example:8080"]).await;
        assert_eq!((status, &problem["type"]), (403, &json!("/problems/foreign-page")), "{request}");
        let detail = problem["detail"].as_str().unwrap_or_default();
        assert!(detail.contains("rebound.evil.example") && detail.contains("server.hosts"), "{detail}");
    }
    for host in ["127.0.0.1", "[::1]:8080", "localhost:1", "tarmac", "tarmac.example"] {
        assert_eq!(ask(&app, "GET /airports", &[&format!("Host: {host}")]).await.0, 200, "{host}");
    }
    assert_eq!(ask(&app, "GET /health/ready", &["Host: balancer.example"]).await.0, 200, "anyone may ask");
}

#[tokio::test]
async fn with_keys_a_page_has_none_and_names_do_not_matter() {
    let app = App::with(&[("auth.required", "true")]).await;
    let lines = ["Host: tarmac.example", "Sec-Fetch-Site: cross-site", "Origin: https://evil.example"];
    assert_eq!(ask(&app, "GET /delete?id=1", &lines).await.0, 401);
}
