//! `/upload`: the ways a file comes in, what the request says about it, and the same file again.

use reqwest::Method;
use serde_json::json;
use tokio::{io::AsyncWriteExt, net::TcpStream};

use crate::support::{
    App,
    files::{HEADER, bad_row, form, gzip, row, rows, zip},
    imports::{count, failure, id, outcome, post_csv},
    wait::until,
};

#[tokio::test]
async fn a_csv_comes_as_a_form_or_bare_or_in_gzip() {
    let app = App::start().await;
    let (media_type, body) = form("file", "form.csv", row(1));
    let import = app.upload_as(&media_type, body).await;
    assert_eq!(outcome(&import), [1, 0, 0, 0, 0]);
    assert_eq!((&import["filename"], &import["media_type"]), (&json!("form.csv"), &json!("text/csv")));

    assert_eq!(outcome(&app.upload("", row(2)).await), [1, 0, 0, 0, 0]);

    let (media_type, body) = form("file", "form.csv.gz", gzip(row(3)));
    assert_eq!(outcome(&app.upload_as(&media_type, body).await), [1, 0, 0, 0, 0]);

    let request = post_csv(&app.client, "", gzip(row(4))).header("Content-Encoding", "gzip");
    let import = app.ended(request.send().await.expect(200)).await;
    assert_eq!(outcome(&import), [1, 0, 0, 0, 0]);
}

#[tokio::test]
async fn a_zip_comes_as_a_form_or_bare_or_in_gzip() {
    let app = App::start().await;
    let (media_type, body) = form("file", "form.zip", zip(&[("a.csv", row(1))]));
    let import = app.upload_as(&media_type, body).await;
    assert_eq!(outcome(&import), [1, 0, 0, 0, 0]);
    assert_eq!(import["media_type"], "application/zip");

    let import = app.upload_as("application/zip", zip(&[("a.csv", row(2))])).await;
    assert_eq!(outcome(&import), [1, 0, 0, 0, 0]);

    let request = app.client.post("/upload").header("Content-Type", "application/zip");
    let request = request.header("Content-Encoding", "gzip").header("Prefer", "wait=60");
    let import = app.ended(request.body(gzip(zip(&[("a.csv", row(3))]))).send().await.expect(200)).await;
    assert_eq!(outcome(&import), [1, 0, 0, 0, 0]);
    assert_eq!(app.archived().len(), 3, "what was unpacked is gone: {:?}", app.archived());
}

#[tokio::test]
async fn an_upload_is_answered_202_with_its_import_and_goes_on_by_itself() {
    let app = App::without_worker(&[]).await;
    let request = app.client.post("/upload?filename=a.csv").header("Content-Type", "text/csv");
    let answer = request.body(row(1)).send().await.expect(202);
    let import = answer.json();
    assert_eq!(answer.header("location"), Some(format!("/imports/{}", id(&import)).as_str()));
    assert_eq!(answer.header("preference-applied"), None);
    assert_eq!((&import["state"], &import["filename"]), (&json!("received"), &json!("a.csv")));
    assert_eq!(outcome(&import), [0; 5]);
    app.work();
    let import = app.end_of(id(&import)).await;
    assert_eq!((&import["state"], outcome(&import)), (&json!("complete"), [1, 0, 0, 0, 0]));
}

#[tokio::test]
async fn a_wait_ends_with_the_import_or_with_its_time() {
    let app = App::without_worker(&[("server.wait_seconds", "1")]).await;
    let answer = post_csv(&app.client, "", row(1)).send().await.expect(202);
    assert_eq!((&answer.json()["state"], answer.header("preference-applied")), (&json!("received"), None));
    app.work();
    let answer = post_csv(&app.client, "", row(2)).send().await.expect(200);
    assert_eq!(answer.header("preference-applied"), Some("wait=1"));
    let import = app.ended(answer).await;
    assert_eq!(import["state"], "complete");
}

#[tokio::test]
async fn a_bad_preference_is_no_preference() {
    let app = App::without_worker(&[]).await;
    for prefer in ["wait=soon", "wait=-1", "wait=0", "respond-async", "handling=kind", ","] {
        let request = app.client.post("/upload").header("Content-Type", "text/csv").header("Prefer", prefer);
        let answer = request.body(row(1)).send().await.expect(202);
        assert_eq!(answer.json()["mode"], "lenient", "{prefer}");
        assert_eq!(answer.header("preference-applied"), None, "{prefer}");
    }
}

#[tokio::test]
async fn one_reject_fails_a_strict_import_and_nothing_of_it_is_visible() {
    let app = App::start().await;
    let import = app.upload("?mode=strict", rows([1, 2]) + &bad_row(3)).await;
    assert_eq!(failure(&import), "rejects_in_strict_mode");
    assert_eq!(outcome(&import), [2, 0, 0, 0, 1]);
    assert_eq!(app.faults(&import).await, ["3 latitude out_of_range"]);
    assert_eq!(app.one::<i64>("select count(*) from airports").await, 0);

    let import = app.upload("?mode=strict", rows([1, 2])).await;
    assert_eq!((&import["state"], outcome(&import)), (&json!("complete"), [2, 0, 0, 0, 0]));
    // A reject that only the merge finds is one too.
    let import = app.upload("?mode=strict", row(4) + &row(4).replace("City", "Town")).await;
    assert_eq!(failure(&import), "rejects_in_strict_mode");
    assert_eq!(app.one::<i64>("select count(*) from airports").await, 2);
}

#[tokio::test]
async fn the_mode_may_be_a_preference_and_a_parameter_goes_over_it() {
    let app = App::start().await;
    let file = row(1) + &bad_row(2);
    let upload = |query: &str, prefer: &str| {
        let request = app.client.post(&format!("/upload{query}")).header("Content-Type", "text/csv");
        request.header("Prefer", prefer).body(file.clone()).send()
    };
    let answer = upload("", "handling=strict, wait=60").await.expect(200);
    assert_eq!(answer.header("preference-applied"), Some("handling=strict, wait=60"));
    assert_eq!(failure(&answer.json()), "rejects_in_strict_mode");
    let answer = upload("?mode=lenient", "handling=strict, wait=60").await.expect(200);
    assert_eq!(answer.header("preference-applied"), Some("wait=60"));
    assert_eq!((&answer.json()["state"], &answer.json()["mode"]), (&json!("complete"), &json!("lenient")));
}

#[tokio::test]
async fn more_rejects_than_allowed_fail_an_import() {
    let app = App::start().await;
    let file = row(1) + &bad_row(2) + &bad_row(3);
    let import = app.upload("?max_rejects=1", file.clone()).await;
    assert_eq!((failure(&import), &import["max_rejects"]), ("too_many_rejects", &json!(1)));
    assert_eq!(outcome(&import), [1, 0, 0, 0, 2]);
    assert_eq!(app.one::<i64>("select count(*) from airports").await, 0);
    let import = app.upload("?max_rejects=2", file.clone()).await;
    assert_eq!((&import["state"], outcome(&import)), (&json!("complete"), [1, 0, 0, 0, 2]));
    post_csv(&app.client, "?max_rejects=-1", file).send().await.expect(400);
}

#[tokio::test]
async fn a_dry_run_stores_nothing_and_says_what_the_real_run_will() {
    let app = App::start().await;
    app.upload("", rows([1, 2, 3])).await;
    app.run("update airports set deleted_at = now() where openflights_id = 3").await;
    let before: String = app.one("select string_agg(a::text, ';' order by id) from airports a").await;
    // Known, changed, deleted, new, wrong, twice.
    let file = row(1) + &row(2).replace("City", "Town") + &row(3) + &row(4) + &bad_row(5) + &bad_row(4);
    let file = file + &row(4).replace("City", "Town");
    let dry = app.upload("?dry_run=true", file.clone()).await;
    assert_eq!((&dry["state"], &dry["dry_run"]), (&json!("complete"), &json!(true)));
    assert_eq!(outcome(&dry), [1, 1, 1, 1, 3]);
    assert_eq!(
        app.one::<String>("select string_agg(a::text, ';' order by id) from airports a").await,
        before
    );

    let real = app.upload("", file.clone()).await;
    assert_ne!(id(&real), id(&dry), "a dry run never answers for a real one");
    assert_eq!(outcome(&real), outcome(&dry));
    assert_eq!(app.rejects(&real).await, app.rejects(&dry).await);

    let again = app.upload("?dry_run=true", file).await;
    assert_ne!(id(&again), id(&dry), "nor for another, which may find something else");
    assert_eq!((outcome(&again), &again["repeated"]), ([0, 0, 3, 1, 3], &json!(false)));
    app.client.delete(&format!("/imports/{}", id(&dry))).send().await.expect(200);
    assert_eq!(app.one::<i64>("select count(*) from airports").await, 4);
}

#[tokio::test]
async fn a_dry_run_takes_strict_and_max_rejects_as_seriously() {
    let app = App::start().await;
    let import = app.upload("?dry_run=true&mode=strict", row(1) + &bad_row(2)).await;
    assert_eq!(failure(&import), "rejects_in_strict_mode");
    let import = app.upload("?dry_run=true&max_rejects=0", row(1) + &bad_row(2)).await;
    assert_eq!(failure(&import), "too_many_rejects");
}

#[tokio::test]
async fn the_dialect_is_what_the_parameters_say() {
    let app = App::start().await;
    let semicolons =
        "1;'One; or two';City;Country;none;none;1,5;2;0;0;U;none;airport;Test\n".replace("1,5", "1.5");
    let import = app.upload("?delimiter=%3B&quote=%27&null=none", semicolons).await;
    assert_eq!(outcome(&import), [1, 0, 0, 0, 0]);
    let stored: String = app.one("select concat_ws('|', name, coalesce(iata, '∅')) from airports").await;
    assert_eq!(stored, "One; or two|∅");

    for (delimiter, query) in [("\t", r"?delimiter=\t"), ("\t", "?delimiter=%09"), ("|", "?delimiter=|")] {
        let import = app.upload(query, row(2).replace(',', delimiter)).await;
        assert_eq!(outcome(&import)[4], 0, "{query}");
    }
    // The empty field is null whatever else is, and another null is text.
    let import = app.upload("?null=-", row(3).replace(r"\N,\N", ",-").replace(r"\N", "-")).await;
    assert_eq!(outcome(&import), [1, 0, 0, 0, 0]);
    let import = app.upload("?null=-", row(4)).await;
    assert_eq!(app.faults(&import).await, ["1 iata length"]);
    // Quoted or not, null is null.
    let import = app.upload("", row(5).replace(r"\N", "\"\\N\"")).await;
    assert_eq!(outcome(&import), [1, 0, 0, 0, 0]);
}

#[tokio::test]
async fn a_dialect_that_cannot_be_is_400() {
    let app = App::start().await;
    for query in [
        "?delimiter=ab",
        "?delimiter=",
        "?delimiter=%0A",
        "?delimiter=%00",
        "?delimiter=%C3%A4",
        "?quote=ab",
        "?quote=%0D",
        "?quote=%2C",
        "?delimiter=%22",
        "?escape=ab",
        "?escape=%2C",
        "?escape=%22",
        "?null=%00",
        "?header=maybe",
        "?mode=loose",
        "?max_rejects=many",
        "?dry_run=2",
    ] {
        let answer = post_csv(&app.client, query, row(1)).send().await.expect(400);
        assert_eq!(answer.codes().len(), 1, "{query}: {}", answer.text());
    }
    assert_eq!(app.one::<i64>("select count(*) from imports").await, 0);
    assert_eq!(app.archived(), [""; 0]);
}

#[tokio::test]
async fn a_header_is_known_by_its_names_or_stated() {
    let app = App::start().await;
    let with_header = format!("{HEADER}\n{}", row(1));
    assert_eq!(outcome(&app.upload("", with_header.clone()).await), [1, 0, 0, 0, 0]);
    assert_eq!(outcome(&app.upload("?header=present", with_header.clone()).await), [0, 0, 1, 0, 0]);
    // Stated to be absent, the names are a row like any other.
    let import = app.upload("?header=absent", with_header.clone()).await;
    assert_eq!(app.faults(&import).await, ["1 id not_an_integer"]);
    // With a name that is no column it is no less a header.
    let misspelt = with_header.replace("latitude", "lat");
    for query in ["", "?header=present"] {
        let import = app.upload(query, misspelt.clone()).await;
        assert_eq!(failure(&import), "unknown_column");
        assert!(import["error"]["message"].as_str().expect("text").contains("\"lat\""), "{import}");
    }
    // The rows below a header are all there is.
    let import = app.upload("?header=present", row(2) + &row(3)).await;
    assert_eq!(failure(&import), "unknown_column");
}

#[tokio::test]
async fn the_media_type_may_state_the_header() {
    let app = App::start().await;
    let file = format!("{HEADER}\n{}", row(1));
    let upload = |query: &str, media_type: &str| {
        let request = app.client.post(&format!("/upload{query}")).header("Content-Type", media_type);
        request.header("Prefer", "wait=60").body(file.clone()).send()
    };
    let import = app.ended(upload("", "text/csv; header=absent").await.expect(200)).await;
    assert_eq!(outcome(&import), [1, 0, 0, 0, 1]);
    let import = app.ended(upload("", "text/csv; charset=utf-8; header=present").await.expect(200)).await;
    assert_eq!(outcome(&import), [0, 0, 1, 0, 0]);
    upload("?header=present", "text/csv; header=present").await.expect(200);
    let answer = upload("?header=present", "text/csv; header=absent").await.expect(400);
    assert_eq!(answer.codes(), ["contradiction"]);
    upload("", "text/csv; header=perhaps").await.expect(400);
}

#[tokio::test]
async fn a_header_may_reorder_the_columns_and_leave_out_optional_ones() {
    let app = App::start().await;
    app.upload("", row(1)).await;
    let import = app.upload("", "longitude,country,name,latitude,id\n7,Land,Renamed,8,1\n").await;
    assert_eq!(outcome(&import), [0, 1, 0, 0, 0]);
    let stored: String =
        app.one("select concat_ws('|', longitude, latitude, name, country, city, type) from airports").await;
    assert_eq!(stored, "7|8|Renamed|Land|City|airport", "what the file does not have stays");
    let import = app.upload("?header=present", "name,country,latitude\nA,B,1\n").await;
    assert_eq!(failure(&import), "missing_column");
    let import = app.upload("", "name,country,latitude,longitude,name\nA,B,1,2,C\n").await;
    assert_eq!(failure(&import), "repeated_column");
}

#[tokio::test]
async fn the_columns_of_rejects_are_left_out_under_a_header() {
    let app = App::start().await;
    let file = "_row,name,country,latitude,longitude,_line,_file,_column,_code,_message\n9,A,B,1,2,3,,name,x,\"y, z\"\n";
    assert_eq!(outcome(&app.upload("", file).await), [1, 0, 0, 0, 0]);
    let without_one = file.replace("_file,", "").replace(",,name", ",name");
    assert_eq!(failure(&app.upload("", without_one).await), "unknown_column");
}

#[tokio::test]
async fn the_same_file_is_answered_with_its_first_import() {
    let app = App::without_worker(&[]).await;
    let first = app.begin("", row(1)).await;
    assert_eq!(app.begin("", row(1)).await, first, "also while that is under way");
    app.client.post(&format!("/imports/{first}/pause")).send().await.expect(200);
    assert_eq!(app.begin("", row(1)).await, first, "or paused");
    app.client.post(&format!("/imports/{first}/resume")).send().await.expect(200);
    app.work();
    app.end_of(first).await;

    let request = app.client.post("/upload").header("Content-Type", "text/csv");
    let answer = request.body(row(1)).send().await.expect(200);
    assert_eq!(answer.header("location"), Some(format!("/imports/{first}").as_str()));
    assert_eq!((id(&answer.json()), &answer.json()["state"]), (first, &json!("complete")));
    assert_eq!(answer.json()["repeated"], true);
    assert_eq!(app.import(first).await["repeated"], false, "what is read is no answer to an upload");
    // The bytes count, not how they came.
    let (media_type, body) = form("file", "other-name.csv", row(1));
    assert_eq!(id(&app.upload_as(&media_type, body).await), first);
    assert_eq!(app.archived().len(), 1, "only the first one's bytes are kept");
    assert_eq!(app.one::<i64>("select count(*) from imports").await, 1);
}

#[tokio::test]
async fn other_settings_or_a_first_import_that_is_no_more_make_a_new_one() {
    let app = App::start().await;
    let mut seen = Vec::new();
    for query in [
        "",
        "?mode=strict",
        "?delimiter=%3B",
        "?quote=%27",
        "?escape=%5C",
        "?null=x",
        "?header=absent",
        "?max_rejects=7",
        "?dry_run=true",
        "?force=true",
    ] {
        let import = id(&app.upload(query, row(1)).await);
        assert!(!seen.contains(&import), "{query}");
        seen.push(import);
    }
    // Of several the first answers.
    assert_eq!(id(&app.upload("", row(1)).await), seen[0]);
    let app = App::start().await;
    let first = id(&app.upload("", row(1)).await);
    app.client.delete(&format!("/imports/{first}")).send().await.expect(200);
    let second = app.upload("", row(1)).await;
    assert_ne!(id(&second), first, "undone");
    assert_eq!(outcome(&second), [1, 0, 0, 0, 0]);
    let failed = id(&app.upload("?mode=strict", bad_row(2)).await);
    assert_ne!(id(&app.upload("?mode=strict", bad_row(2)).await), failed, "failed");
}

#[tokio::test]
async fn two_uploads_of_one_file_at_once_are_one_import() {
    let app = App::start().await;
    let file = rows(1..500);
    let upload = || async { id(&app.upload("", file.clone()).await) };
    let (a, b, c, d) = tokio::join!(upload(), upload(), upload(), upload());
    assert_eq!([b, c, d], [a; 3]);
    assert_eq!(app.one::<i64>("select count(*) from imports").await, 1);
    assert_eq!(app.one::<i64>("select count(*) from airports").await, 499);
    assert_eq!(app.archived().len(), 1, "{:?}", app.archived());
}

#[tokio::test]
async fn a_repeated_upload_gets_the_first_answer_marked_and_force_is_part_of_it() {
    let app = App::start().await;
    let upload =
        |query: &str, file: String| post_csv(&app.client, query, file).header("Idempotency-Key", "k").send();
    let first = upload("?force=true", row(1)).await.expect(200);
    let again = upload("?force=true", row(1)).await.expect(200);
    assert_eq!(
        (first.header("idempotent-replayed"), again.header("idempotent-replayed")),
        (None, Some("true"))
    );
    assert_eq!((again.json(), again.header("location")), (first.json(), first.header("location")));
    assert_eq!(app.one::<i64>("select count(*) from imports").await, 1, "the key decides before force");
    upload("?force=true", row(2)).await.expect(422);
    upload("", row(1)).await.expect(422);
    assert_eq!(app.archived().len(), 1, "{:?}", app.archived());
    assert_eq!(app.one::<i64>("select count(*) from imports").await, 1);
}

#[tokio::test]
async fn a_refused_upload_leaves_its_key_free() {
    let app = App::start().await;
    let upload = |file: String| post_csv(&app.client, "", file).header("Idempotency-Key", "k").send();
    upload(String::new()).await.expect(400);
    until("the key is let go of", || async {
        (app.one::<i64>("select count(*) from idempotency_keys").await == 0).then_some(())
    })
    .await;
    upload(row(1)).await.expect(200);
}

#[tokio::test]
async fn an_upload_with_the_key_of_one_that_still_runs_is_409() {
    let app = App::start().await;
    let address = app.client.address();
    let mut slow = TcpStream::connect(&address).await.expect("the service listens");
    let head = format!(
        "POST /upload HTTP/1.1\r\nHost: {address}\r\nContent-Type: text/csv\r\nIdempotency-Key: k\r\n\
         Connection: close\r\nContent-Length: {}\r\n\r\n",
        row(1).len()
    );
    slow.write_all(head.as_bytes()).await.expect("the service reads");
    until("the key is held", || async {
        (app.one::<i64>("select count(*) from idempotency_keys").await == 1).then_some(())
    })
    .await;
    post_csv(&app.client, "", row(1)).header("Idempotency-Key", "k").send().await.expect(409);
    slow.write_all(row(1).as_bytes()).await.expect("the service reads");
    let mut answer = String::new();
    tokio::io::AsyncReadExt::read_to_string(&mut slow, &mut answer).await.expect("the service answers");
    assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    let again = post_csv(&app.client, "", row(1)).header("Idempotency-Key", "k").send().await;
    assert_eq!(again.header("idempotent-replayed"), Some("true"));
    assert_eq!(app.one::<i64>("select count(*) from imports").await, 1);
}

#[tokio::test]
async fn two_uploads_with_one_key_at_once_are_one_import() {
    let app = App::start().await;
    let upload = || post_csv(&app.client, "?force=true", row(1)).header("Idempotency-Key", "k").send();
    let answers: [_; 4] = tokio::join!(upload(), upload(), upload(), upload()).into();
    let statuses: Vec<_> = answers.iter().map(|answer| answer.status.as_u16()).collect();
    assert!(statuses.contains(&200), "{statuses:?}");
    assert!(statuses.iter().all(|status| [200, 409].contains(status)), "{statuses:?}");
    assert_eq!(app.one::<i64>("select count(*) from imports").await, 1);
    assert_eq!(app.archived().len(), 1, "{:?}", app.archived());
}

#[tokio::test]
async fn options_states_the_contract() {
    let app = App::with(&[("ingest.upload_bytes", "1000")]).await;
    let answer = app.client.request(Method::OPTIONS, "/upload").send().await.expect(200);
    let contract = answer.json();
    assert_eq!(contract["dataset"], "airports");
    let columns = contract["columns"].as_array().expect("a list");
    let names: Vec<_> = columns.iter().map(|column| column["name"].as_str().expect("a name")).collect();
    assert_eq!(names.join(","), HEADER);
    let required: Vec<_> =
        columns.iter().filter(|column| column["required"] == true).map(|column| &column["name"]).collect();
    assert_eq!(required, ["name", "country", "latitude", "longitude"]);
    assert!(columns.iter().all(|column| column["rule"].is_string() && column["description"].is_string()));
    assert_eq!(columns[4]["rule"], "3 capital letters or digits, or null");
    assert_eq!(columns[5]["rule"], "3 to 4 capital letters or digits, or null");
    let row_id = &contract["row_id"];
    assert_eq!(
        [&row_id["name"], &row_id["type"], &row_id["required"]],
        [&json!("_id"), &json!("integer"), &json!(false)]
    );
    assert_eq!(contract["limits"]["upload_bytes"], 1000);
    let file_types = json!([
        "multipart/form-data",
        "text/csv",
        "application/zip",
        "application/x-zip-compressed",
        "application/vnd.ms-excel",
        "application/octet-stream"
    ]);
    assert_eq!(contract["media_types"], file_types);
}

#[tokio::test]
async fn a_form_has_one_field_file() {
    let app = App::start().await;
    let send = |media_type: String, body: Vec<u8>| {
        app.client.post("/upload").header("Content-Type", &media_type).body(body).send()
    };
    let (media_type, body) = form("data", "a.csv", row(1));
    let answer = send(media_type.clone(), body).await.expect(400);
    assert_eq!(answer.codes(), ["unknown_field"]);
    let (_, mut two) = form("file", "a.csv", row(1));
    let (_, second) = form("note", "b.csv", row(2));
    let end = two.windows(4).rposition(|bytes| bytes == b"\r\n--").expect("the form has an end");
    two.splice(end + 2.., second);
    let answer = send(media_type.clone(), two).await.expect(400);
    assert_eq!(answer.codes(), ["unknown_field"], "{}", answer.text());
    send(media_type.clone(), b"no form at all".to_vec()).await.expect(400);
    send("multipart/form-data".to_owned(), row(1).into_bytes()).await.expect(400);
    assert_eq!(app.one::<i64>("select count(*) from imports").await, 0);
    until("nothing is left of them", || async { app.archived().is_empty().then_some(()) }).await;
}

#[tokio::test]
async fn an_unknown_parameter_is_400() {
    let app = App::start().await;
    post_csv(&app.client, "?delimeter=%3B", row(1)).send().await.expect(400);
    assert_eq!(app.one::<i64>("select count(*) from imports").await, 0);
}

#[tokio::test]
async fn spaces_around_text_are_kept_and_none_are_allowed_in_codes_and_numbers() {
    let app = App::start().await;
    let import = app.upload("", row(1).replace("City", " City ")).await;
    assert_eq!(count(&import, "inserted"), 1);
    assert_eq!(app.one::<String>("select city from airports").await, " City ");
    let file = row(2).replace(r"\N,\N,", r"AB ,\N,") + &row(3).replace(",0,0,U", ", 0,0,U");
    let import = app.upload("", file).await;
    assert_eq!(app.faults(&import).await, ["1 iata pattern", "2 altitude not_an_integer"]);
}
