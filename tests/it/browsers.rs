//! What browsers are told: whose pages may use the API, and how to treat its answers. TLS.

use reqwest::Method;
use serde_json::json;

use crate::support::App;

const SITE: &str = "https://map.example";

#[tokio::test]
async fn pages_of_other_sites_may_read_nothing_unless_configured() {
    let app = App::start().await;
    let answer = app.client.get("/airports").header("Origin", SITE).send().await.expect(200);
    assert!(answer.headers.keys().all(|name| !name.as_str().starts_with("access-control")));
    assert_eq!(answer.header("x-content-type-options"), Some("nosniff"));
    assert_eq!(answer.header("strict-transport-security"), None);
}

#[tokio::test]
async fn pages_of_configured_sites_may_use_the_api_and_those_of_others_not() {
    let app = App::with(&[("server.cors_origins", &format!("https://other.example, {SITE}/"))]).await;
    let answer = app.client.get("/airports/7").header("Origin", SITE).send().await.expect(404);
    assert_eq!(answer.header("access-control-allow-origin"), Some(SITE));
    assert_eq!(answer.header("vary"), Some("Origin"));
    let exposed = answer.header("access-control-expose-headers").unwrap_or_default();
    assert!(exposed.contains("ETag") && exposed.contains("X-Request-Id"), "{exposed}");

    let preflight = app.client.request(Method::OPTIONS, "/airports").header("Origin", SITE);
    let preflight = preflight.header("Access-Control-Request-Method", "POST");
    let preflight = preflight.header("Access-Control-Request-Headers", "authorization,content-type");
    let allowed = preflight.send().await.expect(200);
    assert_eq!(allowed.header("access-control-allow-origin"), Some(SITE));
    assert_eq!(allowed.header("access-control-allow-headers"), Some("authorization,content-type"));
    assert!(allowed.header("access-control-allow-methods").is_some_and(|methods| methods.contains("POST")));

    for origin in ["https://evil.example", "null", "https://map.example.evil.example"] {
        let answer = app.client.get("/airports").header("Origin", origin).send().await.expect(200);
        assert_eq!(answer.header("access-control-allow-origin"), None, "{origin}");
    }
}

#[tokio::test]
async fn with_a_certificate_tls_is_spoken_and_nothing_else() {
    let files = tempfile::tempdir().expect("a temporary directory can be made");
    let made = rcgen::generate_simple_self_signed(vec!["127.0.0.1".to_owned()]).expect("a certificate");
    let (certificate, key) = (files.path().join("certificate.pem"), files.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem()).expect("it can be written");
    std::fs::write(&key, made.signing_key.serialize_pem()).expect("it can be written");
    let setting = |path: &std::path::Path| path.display().to_string();
    let app =
        App::with(&[("server.certificate", &setting(&certificate)), ("server.private_key", &setting(&key))])
            .await;

    let trusted = reqwest::Certificate::from_pem(made.cert.pem().as_bytes()).expect("a certificate");
    let client = reqwest::Client::builder().tls_certs_only([trusted]).build().expect("a client can be built");
    let url = format!("https://{}", app.client.address());
    let fields = "name=A&country=B&latitude=1&longitude=2";
    let answer = client.get(format!("{url}/create?{fields}")).send().await.expect("it is answered");
    assert!(answer.headers().contains_key("strict-transport-security"));
    let prepared: serde_json::Value = answer.json().await.expect("JSON");
    assert!(prepared["confirm_url"].as_str().is_some_and(|link| link.starts_with(&url)), "{prepared}");
    assert_ne!(prepared, json!({}));

    let plain = reqwest::get(format!("http://{}/airports", app.client.address())).await;
    assert!(plain.is_err(), "{plain:?}");
}
