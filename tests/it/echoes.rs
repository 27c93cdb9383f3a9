//! What is repeated to a client, and how much of it.

use serde_json::{Value, json};

use crate::support::{
    App,
    files::{form, row, zip},
    imports::failure,
};

/// Longer than anything is repeated.
const LONG: usize = 5_000;
/// The longest answer about one long name, bytes.
const ANSWER: usize = 2_500;

#[tokio::test]
async fn a_query_of_very_many_parameters_is_refused_and_violations_are_counted() {
    let app = App::start().await;
    let query = |count: usize| (0..count).map(|number| format!("x{number}")).collect::<Vec<_>>().join("&");
    let many = app.client.get(&format!("/health/live?{}", query(10_000))).send().await.expect(400);
    assert!(many.body.len() < 1_000, "{}", many.body.len());
    let some = app.client.get(&format!("/health/live?{}", query(256))).send().await.expect(400);
    assert_eq!(some.codes(), ["unknown_parameter"; 20]);
    let detail = &some.json()["detail"];
    assert_eq!(*detail, "256 rules are broken; these are the first 20");
}

#[tokio::test]
async fn of_very_many_fields_the_first_are_listed_and_more_values_than_any_row_has_are_refused() {
    let app = App::start().await;
    let created = app.airport(json!({})).await;
    let path = format!("/airports/{}", created["id"]);
    let fields = |count: usize| -> Value {
        (0..count).map(|number| (format!("x{number}"), json!(1))).collect::<serde_json::Map<_, _>>().into()
    };
    for request in [app.client.post("/airports"), app.client.patch(&path)] {
        let answer = request.json(fields(9_000)).send().await.expect(400);
        assert_eq!(answer.codes(), ["unknown_field"; 20]);
    }
    for request in [app.client.post("/airports"), app.client.patch(&path), app.client.patch("/update")] {
        assert_eq!(request.json(fields(20_000)).send().await.expect(400).codes(), ["too_many_values"]);
    }
}

#[tokio::test]
async fn a_body_that_becomes_a_tree_has_a_limit_of_its_own() {
    let app = App::with(&[("server.item_bytes", "300")]).await;
    let long = json!({ "name": "x".repeat(300) });
    for request in
        [app.client.post("/airports"), app.client.patch("/update"), app.client.patch("/consumers/1")]
    {
        let answer = request.json(long.clone()).send().await.expect(413);
        assert_eq!(answer.json()["detail"], "a JSON body may have 300 bytes");
    }
}

#[tokio::test]
async fn a_long_name_is_cut_wherever_it_is_repeated() {
    let app = App::start().await;
    let long = "x".repeat(LONG);
    let named = json!({ (long.clone()): 1 });
    let citizen = json!([{ (long.clone()): 1 }]);
    let (media_type, body) = form(&long, "a.csv", row(1));
    let requests = [
        app.client.get(&format!("/airports?{long}=1")),
        app.client.get(&format!("/airports?include_deleted={long}")),
        app.client.get(&format!("/airports?limit={long}")),
        app.client.get(&format!("/imports?state={long}")),
        app.client.get(&format!("/airports/{long}")),
        app.client.post("/airports").json(named.clone()),
        app.client.patch("/airports/1").json(named.clone()),
        app.client.patch("/consumers/1").json(named),
        app.client.post("/imports").json(json!({ "citizens": citizen })),
        app.client.post("/airports").header("Content-Type", &long).body("{}"),
        app.client.post("/airports").header("Content-Encoding", &long).json(json!({})),
        app.client.post("/upload").header("Content-Type", &format!("text/{long}")).body("x"),
        app.client
            .post("/upload")
            .header("Content-Type", "text/csv")
            .header("Content-Encoding", &long)
            .body("x"),
        app.client.post("/upload").header("Content-Type", &media_type).body(body),
    ];
    for request in requests {
        let answer = request.send().await;
        assert!(answer.status.is_client_error(), "{}", answer.text());
        assert!(answer.body.len() < ANSWER, "{}", answer.text());
    }
}

#[tokio::test]
async fn a_long_name_in_a_file_is_cut_in_its_import() {
    let app = App::start().await;
    let long = "x".repeat(LONG);
    let import = app.upload("?header=present", format!("id,name,{long}\n1,A,B\n")).await;
    assert_eq!(failure(&import), "unknown_column");
    assert!(import.to_string().len() < ANSWER, "{import}");
    for name in [format!("{long}.pdf"), format!("../{long}.csv"), format!("{long}.zip")] {
        let import = app.upload_as("application/zip", zip(&[(name.as_str(), row(1))])).await;
        assert!(import["error"]["message"].is_string() && import.to_string().len() < ANSWER, "{import}");
    }
    let bad = "1,A,City,Country,\\N,\\N,91,0,0,0,U,\\N,airport,Test\n";
    let import = app.upload_as("application/zip", zip(&[(format!("{long}.csv").as_str(), bad)])).await;
    let rejects = app.rejects(&import).await;
    assert!(rejects[0]["file"].as_str().is_some_and(|name| name.len() < 400), "{}", rejects[0]);
    let (media_type, body) = form("file", &long, row(2));
    let import = app.upload_as(&media_type, body).await;
    assert!(import["filename"].as_str().is_some_and(|name| name.len() < 400), "{import}");
}

/// Its reader would keep all of it in memory, looking for the end.
#[tokio::test]
async fn a_form_without_an_end_of_its_head_is_refused_early() {
    let app = App::start().await;
    let head = "--b\r\nContent-Disposition: form-data; name=\"file\"; x=\"";
    let endless = head.to_owned() + &"x".repeat(4 << 20);
    let after = format!("{}\"\r\n\r\n{}\r\n--b\r\nX: {}", head, row(1), "x".repeat(4 << 20));
    let behind = format!("{}\"\r\n\r\n{}\r\n--b--\r\n{}", head, row(1), "x".repeat(4 << 20));
    for body in [endless, after, behind] {
        let request = app.client.post("/upload").header("Content-Type", "multipart/form-data; boundary=b");
        let answer = request.body(body).send().await.expect(400);
        assert!(
            answer.text().contains("more than 65536 bytes of the form belong to no field"),
            "{}",
            answer.text()
        );
    }
    let large = (1..100_000).map(row).collect::<String>();
    let (media_type, body) = form("file", "a.csv", large);
    assert_eq!(app.upload_as(&media_type, body).await["state"], "complete");
}
