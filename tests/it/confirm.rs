//! Confirmation links.

use serde_json::json;

use crate::support::App;

const FIELDS: &str = "name=Reykjavik+Airport&country=Iceland&latitude=64.13&longitude=-21.94&iata=RKV";

async fn prepare(app: &App, path: &str) -> String {
    let prepared = app.client.get(path).send().await.expect(200);
    assert_eq!(prepared.header("cache-control"), Some("no-store"));
    assert!(prepared.json()["expires_at"].as_str().is_some_and(|time| time.ends_with('Z')));
    prepared.json()["confirm_url"].as_str().expect("a link").to_owned()
}

#[tokio::test]
async fn a_prepared_airport_is_not_visible_until_it_is_confirmed() {
    let app = App::start().await;
    let link = prepare(&app, &format!("/create?{FIELDS}")).await;
    assert_eq!(app.client.get("/airports").send().await.expect(200).json(), json!({ "data": [] }));

    let shown = app.client.get(&link).send().await.expect(200).json();
    assert_eq!((&shown["action"], &shown["after"]["iata"]), (&json!("create"), &json!("RKV")));
    app.client.get(&link).send().await.expect(200);
    assert_eq!(app.client.get("/airports").send().await.expect(200).json(), json!({ "data": [] }));

    let created = app.client.post(&link).send().await.expect(200);
    assert_eq!(created.header("etag"), Some("\"1\""));
    let place = format!("/airports/{}", created.json()["id"]);
    assert_eq!(app.client.get(&place).send().await.expect(200).json(), created.json());
}

#[tokio::test]
async fn a_prepared_change_shows_before_and_after_and_is_applied_once() {
    let app = App::start().await;
    let airport = app.airport(json!({ "city": "Keflavik", "iata": "KEF" })).await;
    let link = prepare(&app, &format!("/update?id={}&city=&altitude=171", airport["id"])).await;
    let shown = app.client.get(&link).send().await.expect(200).json();
    assert_eq!(shown["before"], json!({ "city": "Keflavik", "altitude": null }));
    assert_eq!(shown["after"], json!({ "city": null, "altitude": 171 }));

    let changed = app.client.post(&link).send().await.expect(200).json();
    assert_eq!(
        (&changed["city"], &changed["altitude"], &changed["iata"]),
        (&json!(null), &json!(171), &json!("KEF"))
    );
    app.client.post(&link).send().await.expect(409);
    app.client.get(&link).send().await.expect(409);
    assert_eq!(app.client.get("/airports/1").send().await.expect(200).json(), changed);
}

#[tokio::test]
async fn two_uses_of_a_link_at_once_apply_it_once() {
    let app = App::start().await;
    let link = prepare(&app, &format!("/create?{FIELDS}")).await;
    let (first, second) = tokio::join!(app.client.post(&link).send(), app.client.post(&link).send());
    let mut statuses = [first.status.as_u16(), second.status.as_u16()];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409]);
}

#[tokio::test]
async fn a_browser_gets_a_page_with_one_button_and_goes_on_to_the_airport() {
    let app = App::start().await;
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let fields = FIELDS.replace("Reykjavik+Airport", "%3Cscript%3E");
    let link = prepare(&app, &format!("/create?{fields}")).await;
    let page = app.client.get(&link).header("Accept", browser).send().await.expect(200);
    assert_eq!(page.header("cache-control"), Some("no-store"));
    assert_eq!(page.header("referrer-policy"), Some("no-referrer"));
    assert_eq!(page.text().matches("<button>").count(), 1);
    assert!(page.text().contains("&lt;script&gt;") && !page.text().contains("<script"));

    let form = app.client.post(&link).header("Content-Type", "application/x-www-form-urlencoded");
    let applied = form.header("Accept", browser).body("").send().await.expect(303);
    let place = applied.header("location").expect("where to go on");
    app.client.get(place).header("Accept", browser).send().await.expect(200);
}

#[tokio::test]
async fn an_unknown_link_is_404_and_an_expired_one_410() {
    let app = App::with(&[("server.confirmation_seconds", "0")]).await;
    app.client.get("/confirm/nothing").send().await.expect(404);
    app.client.post("/confirm/nothing").send().await.expect(404);
    let link = prepare(&app, &format!("/create?{FIELDS}")).await;
    app.client.get(&link).send().await.expect(410);
    app.client.post(&link).send().await.expect(410);
    assert_eq!(app.client.get("/airports").send().await.expect(200).json(), json!({ "data": [] }));
}

#[tokio::test]
async fn a_link_whose_codes_were_taken_meanwhile_is_a_conflict_and_stays_usable() {
    let app = App::start().await;
    let link = prepare(&app, &format!("/create?{FIELDS}")).await;
    let holder = app.airport(json!({ "iata": "RKV" })).await;
    let refused = app.client.post(&link).send().await.expect(409);
    assert_eq!(refused.codes(), ["code_held"]);
    app.client.delete(&format!("/airports/{}", holder["id"])).send().await.expect(204);
    app.client.post(&link).send().await.expect(200);
}

#[tokio::test]
async fn the_database_alone_opens_no_link() {
    let app = App::start().await;
    let link = prepare(&app, &format!("/create?{FIELDS}")).await;
    let token = link.rsplit('/').next().expect("a token").to_owned();
    assert_eq!(token.len(), 43, "256 bits in base64url");
    let rows: String =
        sqlx::query_scalar("select string_agg(pending_changes::text, '') from pending_changes")
            .fetch_one(&app.database.pool)
            .await
            .expect("the table can be read");
    assert!(!rows.contains(&token));
}

#[tokio::test]
async fn a_link_begins_with_the_public_url() {
    let app = App::with(&[("server.public_url", "https://tarmac.example/api/")]).await;
    let link = prepare(&app, &format!("/create?{FIELDS}")).await;
    assert!(link.starts_with("https://tarmac.example/api/confirm/"), "{link}");
}

#[tokio::test]
async fn parameters_are_held_to_the_rules_of_a_file() {
    let app = App::start().await;
    let refused =
        app.client.get("/create?name=A&latitude=91&longitude=x&iata=TOOLONG").send().await.expect(400);
    assert_eq!(refused.codes(), ["length", "not_a_number", "out_of_range", "required"]);
    app.airport(json!({})).await;
    assert_eq!(app.client.get("/update?id=1&name=").send().await.expect(400).codes(), ["required"]);
    app.client.get("/update?id=2&name=A").send().await.expect(404);
    app.client.get("/update?name=A").send().await.expect(400);
}
