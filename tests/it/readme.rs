//! README's `console` lines, run as a reader would.

use crate::support::{App, examples::Examples, files};

#[tokio::test]
async fn five_minutes_with_curl_and_an_upload_from_a_script() {
    let app = App::start().await;
    // What `make run` imports before it says that it is ready.
    assert_eq!(app.upload("?filename=airports.dat", files::openflights()).await["id"], 1);
    let sections = ["Five minutes with curl", "From scripts: tarmac upload"];
    Examples::of_sections("README.md", &sections).follow(app.client.base()).await;
}
