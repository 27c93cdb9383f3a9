//! Changes of related citizens at the same time.

use std::collections::BTreeSet;

use futures_util::future::join_all;
use proptest::{
    prelude::Strategy,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};

use crate::support::{App, citizens::citizen};

const FAMILY: i64 = 10;

fn pairs(citizens: &[Value]) -> BTreeSet<(i64, i64)> {
    let number = |value: &Value| value.as_i64().expect("a number");
    let listed = |citizen: &Value| citizen["relatives"].as_array().expect("a list").clone();
    citizens
        .iter()
        .flat_map(|citizen| {
            let id = number(&citizen["citizen_id"]);
            listed(citizen).iter().map(move |relative| (id, number(relative))).collect::<Vec<_>>()
        })
        .collect()
}

fn assert_mutual(citizens: &[Value]) {
    for citizen in citizens {
        let relatives = citizen["relatives"].as_array().expect("a list");
        assert!(relatives.iter().map(Value::as_i64).is_sorted(), "{citizen}");
    }
    let pairs = pairs(citizens);
    for (a, b) in &pairs {
        assert!(pairs.contains(&(*b, *a)), "{a} lists {b}, {b} does not list {a}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn fifty_changes_of_one_family_at_once_leave_every_relation_mutual() {
    let app = App::start().await;
    let import = app.import_citizens((0..FAMILY).map(|id| citizen(id, json!({}))).collect::<Vec<_>>()).await;
    let mut runner = TestRunner::new(Config::default());
    let relatives = proptest::collection::btree_set(0..FAMILY, 0..6);
    for _ in 0..5 {
        let changes = (0..50).map(|change| {
            let drawn = relatives.new_tree(&mut runner).expect("relatives can be drawn").current();
            (change % FAMILY, drawn.into_iter().collect::<Vec<_>>())
        });
        let changes = changes.collect::<Vec<_>>();
        let patches =
            changes.iter().map(|(id, relatives)| app.patch(import, *id, json!({ "relatives": relatives })));
        let lists = (0..5).map(|_| app.citizens(import));
        let (answers, seen) = tokio::join!(join_all(patches), join_all(lists));
        for (answer, (_, relatives)) in answers.iter().zip(&changes) {
            assert!([200, 409].contains(&answer.status.as_u16()), "{}: {}", answer.status, answer.text());
            if answer.status == 200 {
                assert_eq!(answer.json()["data"]["relatives"], json!(relatives));
            }
        }
        assert!(answers.iter().any(|answer| answer.status == 200));
        for citizens in seen {
            assert_mutual(&citizens);
        }
        assert_mutual(&app.citizens(import).await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_marries_at_once_from_both_sides_is_married() {
    let app = App::start().await;
    let import = app.import_citizens((0..FAMILY).map(|id| citizen(id, json!({}))).collect::<Vec<_>>()).await;
    let everybody: Vec<_> = (0..FAMILY).collect();
    let patches = (0..FAMILY).map(|id| app.patch(import, id, json!({ "relatives": everybody })));
    for answer in join_all(patches).await {
        answer.expect(200);
    }
    assert_eq!(pairs(&app.citizens(import).await).len(), (FAMILY * FAMILY) as usize);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_and_an_undo_at_once_leave_nothing_behind() {
    let app = App::start().await;
    for _ in 0..5 {
        let import =
            app.import_citizens((0..FAMILY).map(|id| citizen(id, json!({}))).collect::<Vec<_>>()).await;
        let patches =
            (0..FAMILY).map(|id| app.patch(import, id, json!({ "relatives": [(id + 1) % FAMILY] })));
        let path = format!("/imports/{import}");
        let undo = app.client.delete(&path).send();
        let (answers, undone) = tokio::join!(join_all(patches), undo);
        undone.expect(200);
        for answer in answers {
            assert!([200, 409].contains(&answer.status.as_u16()), "{}: {}", answer.status, answer.text());
        }
        let left: i64 = sqlx::query_scalar("select count(*) from citizens")
            .fetch_one(&app.database.pool)
            .await
            .expect("the tables can be read");
        assert_eq!(left, 0);
    }
}
