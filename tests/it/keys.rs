//! API keys: every operation of the document with every kind of key, and `tarmac keys`.

use std::process::Command;

use chrono::{Duration, Utc};
use reqwest::Method;
use serde_json::{Value, json};
use tarmac::{
    api::document,
    app::{self, AppError},
    auth::keys::{self, Scope},
    clock::Clock,
    config::Config,
    db::{self, Db},
    log::Shown,
};
use tokio_util::sync::CancellationToken;

use crate::support::{
    App,
    app::airport,
    citizens::citizen,
    client::{Answer, Request},
    database::Database,
    files::{bad_row, row},
    process::Launch,
    wait::until,
};

/// Operations that need no key: the document, how the service is, and what carries its own secret.
const PUBLIC: [&str; 12] = [
    "GET /",
    "GET /docs",
    "GET /redoc",
    "GET /openapi.json",
    "GET /openapi.yaml",
    "GET /problems/{name}",
    "GET /health/live",
    "GET /health/ready",
    "GET /confirm/{token}",
    "POST /confirm/{token}",
    "OPTIONS /upload",
    "OPTIONS /imports",
];

const MEMORY_MS: &str = "100";

async fn guarded() -> (App, Db) {
    let app = App::with(&[("auth.required", "true"), ("auth.memory_ms", MEMORY_MS)]).await;
    let db = Db::connect(&app.config.database).await.expect("the database answers");
    (app, db)
}

async fn key(db: &Db, scopes: &[Scope]) -> String {
    keys::create(db, &mut rand::rng(), "test", scopes, None).await.expect("a key is made").0
}

fn with_key(request: Request, key: Option<&str>) -> Request {
    match key {
        Some(key) => request.header("Authorization", &format!("Bearer {key}")),
        None => request,
    }
}

/// Every operation: method, path, and the scope it needs, as the document has it.
fn operations() -> Vec<(Method, &'static str, Option<&'static str>)> {
    let paths = document::json()["paths"].as_object().expect("the document has paths");
    let mut all = Vec::new();
    for (path, operations) in paths {
        for (method, operation) in operations.as_object().expect("a path has operations") {
            let method = Method::from_bytes(method.to_uppercase().as_bytes()).expect("a method");
            let public = operation["security"] == json!([]);
            assert!(public || operation["security"] == json!([{ "key": [] }]), "{method} {path}");
            let scope = operation["x-scope"].as_str();
            assert_eq!(scope.is_none(), public, "{method} {path}");
            all.push((method, path.as_str(), scope));
        }
    }
    all
}

/// Every parameter of the path is 1, and the dataset one that there is.
fn concrete(path: &str) -> String {
    // It would go on for ever.
    if path == "/logs/stream" {
        return format!("{path}?seconds=0");
    }
    let path = path.replace("/datasets/{name}", "/datasets/airports");
    path.split('/').map(|part| if part.starts_with('{') { "1" } else { part }).collect::<Vec<_>>().join("/")
}

fn is_refused(answer: &Answer) -> Option<u16> {
    Some(answer.status.as_u16()).filter(|status| [401, 403].contains(status))
}

#[test]
fn nothing_is_public_but_what_was_meant_to_be() {
    for (method, path, scope) in operations() {
        let get = format!("GET {path}");
        let name = format!("{method} {path}");
        // HEAD is as public as its GET, and OPTIONS of a path says nothing but its methods.
        let public = PUBLIC.contains(&name.as_str())
            || (method == Method::HEAD && PUBLIC.contains(&get.as_str()))
            || (method == Method::OPTIONS && path != "/datasets/{name}/imports");
        assert_eq!(scope.is_none(), public, "{name}");
        if let Some(scope) = scope {
            assert!(Scope::named(scope).is_some() || scope == "any", "{name}: {scope}");
            let reads = ["GET", "HEAD", "OPTIONS"].contains(&method.as_str());
            // Looks at the body, and stores nothing.
            let only_looks = ["/schemas/infer", "/datasets/{name}/check"].contains(&path);
            let acts = ["/create", "/update", "/delete"].contains(&path);
            assert!(
                scope != "read" || only_looks || (reads && !acts),
                "{name} changes something and needs {scope} only"
            );
        }
    }
}

#[tokio::test]
async fn every_operation_asks_for_its_scope_and_for_nothing_else() {
    let (app, db) = guarded().await;
    let mut bearers = vec![
        ("no key".to_owned(), None, None),
        ("a wrong key".to_owned(), Some(format!("tarmac_{}", "A".repeat(43))), None),
    ];
    for scope in Scope::ALL {
        bearers.push((format!("scope {}", scope.name()), Some(key(&db, &[scope]).await), Some(scope)));
    }
    let (revoked, row) =
        keys::create(&db, &mut rand::rng(), "revoked", &Scope::ALL, None).await.expect("a key is made");
    db::keys::revoke(&db, row.id).await.expect("it is revoked");
    bearers.push(("a revoked key".to_owned(), Some(revoked), None));
    let past = Some(Utc::now() - Duration::seconds(1));
    let (expired, _) =
        keys::create(&db, &mut rand::rng(), "expired", &Scope::ALL, past).await.expect("a key is made");
    bearers.push(("an expired key".to_owned(), Some(expired), None));

    for (method, path, needed) in operations() {
        for (bearer, secret, scope) in &bearers {
            let request = app.client.request(method.clone(), &concrete(path));
            let answer = with_key(request, secret.as_deref()).send().await;
            let expected = match (needed, scope) {
                (None, _) => None,
                (Some(_), None) => Some(401),
                (Some("any"), Some(_)) => None,
                (Some(needed), Some(scope)) if scope.name() == needed => None,
                (Some(_), Some(_)) => Some(403),
            };
            assert_eq!(is_refused(&answer), expected, "{method} {path} with {bearer}: {}", answer.text());
            let challenge = answer.header("www-authenticate").unwrap_or_default();
            assert_eq!(challenge.starts_with("Bearer realm="), expected.is_some(), "{challenge}");
            let error = match (expected, secret) {
                (Some(401), Some(_)) => "invalid_token",
                (Some(403), _) => "insufficient_scope",
                _ => continue,
            };
            assert!(challenge.contains(error), "{method} {path} with {bearer}: {challenge}");
        }
    }
}

#[tokio::test]
async fn a_refused_request_does_nothing() {
    let (app, db) = guarded().await;
    let reader = key(&db, &[Scope::Read]).await;
    for key in [None, Some(reader.as_str())] {
        let create = with_key(app.client.post("/airports").json(airport(json!({}))), key).send().await;
        assert!(is_refused(&create).is_some(), "{}", create.text());
        let upload = app.client.post("/upload").header("Content-Type", "text/csv").body("1,2,3\n");
        assert!(is_refused(&with_key(upload, key).send().await).is_some());
    }
    let airports = with_key(app.client.get("/airports"), Some(&reader)).send().await.expect(200);
    assert_eq!(airports.json(), json!({ "data": [] }));
    assert_eq!(app.archived(), Vec::<String>::new());
}

#[tokio::test]
async fn what_is_no_key_is_refused_however_it_is_sent() {
    let (app, db) = guarded().await;
    let good = key(&db, &[Scope::Read]).await;
    let basic = format!("Basic {good}");
    for value in ["", "Bearer", "Bearer ", &basic, &good, "Bearer tarmac_", "Bearer x y"] {
        app.client.get("/airports").header("Authorization", value).send().await.expect(401);
    }
    let twice = app.client.get("/airports").header("Authorization", "Bearer x");
    with_key(twice, Some(&good)).send().await.expect(401);
    let lower = app.client.get("/airports").header("Authorization", &format!("bearer {good}"));
    lower.send().await.expect(200);
}

#[tokio::test]
async fn a_key_that_is_known_costs_no_question_and_is_noted_as_used() {
    let app = App::with(&[("auth.required", "true"), ("auth.memory_ms", "600000")]).await;
    let db = Db::connect(&app.config.database).await.expect("the database answers");
    let good = key(&db, &[Scope::Read]).await;
    with_key(app.client.get("/airports"), Some(&good)).send().await.expect(200);
    let listed = db::keys::list(&db).await.expect("keys can be listed");
    assert!(listed[0].last_used_at.is_some_and(|used| Utc::now() - used < Duration::minutes(1)));

    sqlx::query("drop table api_keys").execute(&app.database.pool).await.expect("it can be dropped");
    with_key(app.client.get("/airports"), Some(&good)).send().await.expect(200);
}

#[tokio::test]
async fn idempotency_keys_of_two_clients_have_nothing_to_do_with_each_other() {
    let (app, db) = guarded().await;
    let clients = [key(&db, &[Scope::Write]).await, key(&db, &[Scope::Write]).await];
    let mut created = Vec::new();
    for client in &clients {
        let request = app.client.post("/airports").header("Idempotency-Key", "same").json(airport(json!({})));
        created.push(with_key(request, Some(client)).send().await.expect(201).json()["id"].clone());
    }
    assert_ne!(created[0], created[1]);
}

fn tarmac(app: &App, arguments: &[&str]) -> (bool, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_tarmac"))
        .args(arguments)
        .env("TARMAC_DATABASE_URL", &app.config.database.url)
        .output()
        .expect("the program runs");
    let text = |bytes| String::from_utf8(bytes).expect("the output is UTF-8");
    (output.status.success(), text(output.stdout), text(output.stderr))
}

#[tokio::test]
async fn a_key_is_made_shown_once_used_listed_and_revoked() {
    let (app, _db) = guarded().await;
    let create = ["keys", "create", "--name", "partner", "--scopes", "write,read", "--expires", "2999-01-01"];
    let (made, secret, said) = tarmac(&app, &create);
    assert!(made, "{said}");
    let secret = secret.trim();
    assert!(secret.starts_with("tarmac_") && !said.contains(secret), "{said}");
    with_key(app.client.get("/airports"), Some(secret)).send().await.expect(200);

    let (listed, list, _) = tarmac(&app, &["keys", "list"]);
    assert!(listed && !list.contains(secret), "{list}");
    let row = list.lines().nth(1).expect("a key is listed");
    for part in ["1 ", "partner", "read,write", "2999-01-01T00:00:00Z", "good"] {
        assert!(row.contains(part), "{part}: {row}");
    }

    assert!(tarmac(&app, &["keys", "revoke", "1"]).0);
    until("the key is refused", async || {
        let answer = with_key(app.client.get("/airports"), Some(secret)).send().await;
        (answer.status == 401).then_some(())
    })
    .await;
    assert!(tarmac(&app, &["keys", "list"]).1.contains("revoked"));
    let (revoked, _, said) = tarmac(&app, &["keys", "revoke", "7"]);
    assert!(!revoked && said.contains("there is no key 7"), "{said}");
    let (made, _, said) = tarmac(&app, &["keys", "create", "--name", "x", "--scopes", "root"]);
    assert!(!made && said.contains("must be read, write, schema or admin"), "{said}");
}

#[tokio::test]
async fn beyond_loopback_nothing_is_served_without_keys_unless_that_is_wanted() {
    let database = Database::create().await;
    let archive = tempfile::tempdir().expect("a temporary directory can be made");
    let settings = [
        ("database.url", database.url.clone()),
        ("archive.url", archive.path().display().to_string()),
        ("server.address", "0.0.0.0:0".to_owned()),
    ];
    let settings = settings.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
    let config = Config::from_parts(None, settings, &[]).expect("the configuration is valid");
    let stop = CancellationToken::new();
    let shown = Shown::nothing();
    let served = app::serve(config, Clock::System, false, shown, stop.clone(), |_| stop.cancel()).await;
    assert!(matches!(served, Err(AppError::Open { .. })), "{served:?}");
    let (status, _, said) =
        Launch::new(&database.url, archive.path()).run(&["worker", "--address", "0.0.0.0:0"]).await;
    assert!(!status.success() && said.contains("without keys"), "{said}");

    let launch = Launch::new(&database.url, archive.path()).with(&[("server.address", "0.0.0.0:0")]);
    let warned = |line: &String| {
        let event: Value = serde_json::from_str(line).unwrap_or_default();
        event["level"] == "WARN" && event["fields"]["message"].to_string().contains("no keys are required")
    };
    assert!(launch.clone().with(&[("auth.open", "true")]).start().log().iter().any(warned));
    assert!(!launch.with(&[("auth.required", "true")]).start().log().iter().any(warned));
}

/// Everything the service logs, and everything in its tables.
#[tokio::test]
async fn no_secret_is_logged_or_kept() {
    let database = Database::create().await;
    let archive = tempfile::tempdir().expect("a temporary directory can be made");
    let launch = Launch::new(&database.url, archive.path());
    let service = launch.with(&[("auth.required", "true"), ("log.filter", "debug")]).start();
    let config = tarmac::config::Database {
        url: database.url.clone(),
        connections: 1,
        acquire_ms: 5_000,
        silent_ms: 10_000,
    };
    let db = Db::connect(&config).await.expect("the database answers");
    let good = key(&db, &[Scope::Write]).await;
    let wrong = format!("tarmac_{}", "W".repeat(43));

    with_key(service.client.get("/airports"), Some(&wrong)).send().await.expect(401);
    with_key(service.client.get("/airports?name=personal"), Some(&good)).send().await.expect(403);
    let create = "/create?name=personal&country=B&latitude=1&longitude=2";
    let prepared = with_key(service.client.get(create), Some(&good)).send().await.expect(200).json();
    let link = prepared["confirm_url"].as_str().expect("a link").to_owned();
    let token = link.rsplit('/').next().expect("a token").to_owned();
    service.client.get(&format!("/confirm/{token}")).send().await.expect(200);
    service.client.post(&format!("/confirm/{token}")).send().await.expect(200);
    let unwell = service.client.post(&format!("/confirm/{token}")).send().await.expect(409).text();
    assert!(!unwell.contains(&token), "{unwell}");

    let answered = |log: &[String]| log.iter().filter(|line| line.contains("\"answered\"")).count();
    until("all requests are logged", async || (answered(&service.log()) == 6).then_some(())).await;
    let log = service.log().join("\n");
    let tables: Vec<String> = sqlx::query_scalar(
        "select k::text from api_keys k union all select p::text from pending_changes p
         union all select i::text from idempotency_keys i",
    )
    .fetch_all(&database.pool)
    .await
    .expect("the tables can be read");
    for secret in [&good, &wrong, &token] {
        // Neither as it is nor without what all keys begin with.
        let secret = secret.trim_start_matches("tarmac_");
        assert!(!log.contains(secret), "{log}");
        assert!(!tables.concat().contains(secret), "{tables:?}");
    }
    assert!(!log.contains("personal"), "{log}");
}

#[tokio::test]
async fn a_key_that_only_writes_sees_its_own_imports_and_nobody_elses() {
    let (app, db) = guarded().await;
    let (mine, other) = (key(&db, &[Scope::Write]).await, key(&db, &[Scope::Write]).await);
    let reader = key(&db, &[Scope::Read]).await;
    let upload = async |key: &str| {
        let request =
            app.client.post("/upload").header("Content-Type", "text/csv").header("Prefer", "wait=60");
        let answer = with_key(request.body(row(1) + &bad_row(2)), Some(key)).send().await;
        answer.expect(200).json()["id"].clone()
    };
    let id = upload(&mine).await;
    let get = async |path: String, key: &str| {
        with_key(app.client.get(&path), Some(key)).send().await.status.as_u16()
    };
    for part in ["", "/events", "/rejects", "/rejects.csv"] {
        let path = format!("/imports/{id}{part}");
        let seen =
            [get(path.clone(), &mine).await, get(path.clone(), &other).await, get(path, &reader).await];
        assert_eq!(seen, [200, 403, 200], "{part}");
    }
    for path in [
        format!("/imports/{id}/source"),
        "/imports".to_owned(),
        "/imports/77".to_owned(),
        "/imports/x".to_owned(),
    ] {
        assert_eq!(get(path.clone(), &mine).await, 403, "{path}");
    }
    assert_eq!(upload(&mine).await, id, "the same file again");
    let others = upload(&other).await;
    assert_ne!(others, id, "the same file of somebody else says nothing of the first");
    assert_eq!(get(format!("/imports/{others}"), &mine).await, 403);
    let all = key(&db, &[Scope::Read, Scope::Write]).await;
    assert_eq!(upload(&all).await, id, "who may read it may find it");

    let citizens = json!({ "citizens": [citizen(1, json!({}))] });
    let stored =
        with_key(app.client.post("/imports"), Some(&mine)).json(citizens).send().await.expect(201).json();
    let path = format!("/imports/{}", stored["data"]["import_id"]);
    assert_eq!([get(path.clone(), &mine).await, get(path, &other).await], [200, 403]);
}

/// Waits until so many questions about keys stand before the locked table.
async fn questions(database: &Database, count: i64) {
    let asked = "select count(*) from pg_stat_activity where datname = current_database()
                 and query like '%api_keys where key_hash%' and wait_event_type = 'Lock'";
    until(format!("{count} questions are asked"), async || {
        (database.one::<i64>(asked).await == count).then_some(())
    })
    .await;
}

#[tokio::test]
async fn made_up_keys_above_the_rate_are_refused_without_the_database() {
    let app = App::with(&[("auth.required", "true"), ("limits.requests_per_minute", "3")]).await;
    let mut holder = app.database.pool.begin().await.expect("a transaction begins");
    sqlx::query("lock table api_keys").execute(&mut *holder).await.expect("nobody else holds it");
    let made_up = |number: usize| {
        let key = format!("tarmac_{number:043}");
        with_key(app.client.get("/airports"), Some(&key)).send()
    };
    let asking: Vec<_> = (0..3).map(|number| tokio::spawn(made_up(number))).collect();
    questions(&app.database, 3).await;
    for number in 3..20 {
        made_up(number).await.expect(429);
    }
    holder.rollback().await.expect("the lock is given back");
    for asked in asking {
        asked.await.expect("it was answered").expect(401);
    }
}

#[tokio::test]
async fn a_known_key_does_not_wait_behind_made_up_ones() {
    let app = App::with(&[
        ("auth.required", "true"),
        ("auth.memory_ms", "0"),
        ("database.connections", "16"),
        ("limits.requests_per_minute", "off"),
    ])
    .await;
    let db = Db::connect(&app.config.database).await.expect("the database answers");
    let good = key(&db, &[Scope::Read]).await;
    with_key(app.client.get("/airports"), Some(&good)).send().await.expect(200);
    let mut holder = app.database.pool.begin().await.expect("a transaction begins");
    sqlx::query("lock table api_keys").execute(&mut *holder).await.expect("nobody else holds it");
    let made_up = |number: usize| {
        let key = format!("tarmac_{number:043}");
        with_key(app.client.get("/airports"), Some(&key)).send()
    };
    let asking: Vec<_> = (0..20).map(|number| tokio::spawn(made_up(number))).collect();
    questions(&app.database, 4).await;
    let known = tokio::spawn(with_key(app.client.get("/airports"), Some(&good)).send());
    questions(&app.database, 5).await;
    holder.rollback().await.expect("the lock is given back");
    known.await.expect("it was answered").expect(200);
    for asked in asking {
        asked.await.expect("it was answered").expect(401);
    }
}
