//! The tutorial, run as a reader would.

use crate::support::{App, examples::Examples};

const TUTORIAL: &str = "docs/TUTORIAL.md";

#[tokio::test]
async fn a_csv_of_ones_own_is_declared_loaded_corrected_read_changed_and_dropped() {
    let app = App::start().await;
    Examples::of_document(TUTORIAL).follow(app.client.base()).await;
}

/// Only `console` blocks are run. The one of another kind says where the service is, which the test knows better.
#[test]
fn every_command_of_the_tutorial_is_run() {
    let text = std::fs::read_to_string(TUTORIAL).expect("there is a tutorial");
    let blocks: Vec<_> = text.split("\n```").skip(1).step_by(2).collect();
    let others: Vec<_> = blocks.iter().filter(|block| !block.starts_with("console\n")).collect();
    assert_eq!(others, [&"sh\nAPI=http://127.0.0.1:8080"]);
}
