//! Searching by place: `near` with `radius`, and `bbox`.

use geo::coord;
use proptest::{prelude::*, strategy::ValueTree, test_runner::TestRunner};
use serde_json::{Value, json};
use sqlx::{Postgres, QueryBuilder, Row};
use tarmac::db::airports::{Circle, Filter, SortKey, write_list};

use crate::support::App;

/// Points all over the sphere, more of them where searching by place goes wrong: the poles, the antimeridian, Greenwich.
fn point() -> impl Strategy<Value = (f64, f64)> {
    let longitude = prop_oneof![
        3 => -180.0..=180.0,
        1 => prop_oneof![Just(-180.0), Just(180.0), Just(0.0)],
        1 => 179.0..=180.0,
        1 => -180.0..=-179.0,
    ];
    let latitude = prop_oneof![
        3 => -90.0..=90.0,
        1 => prop_oneof![Just(-90.0), Just(90.0), Just(0.0)],
        1 => 89.0..=90.0,
        1 => -90.0..=-89.0,
    ];
    (longitude, latitude)
}

fn radius() -> impl Strategy<Value = f64> {
    prop_oneof![Just(0.0), 1.0..1e5, 1e5..3e6, 3e6..2e7]
}

async fn store(app: &App, points: &[(f64, f64)]) {
    let (longitudes, latitudes): (Vec<_>, Vec<_>) = points.iter().copied().unzip();
    sqlx::query(
        "insert into airports (name, country, longitude, latitude)
         select 'A', 'B', * from unnest($1::double precision[], $2::double precision[])",
    )
    .bind(longitudes)
    .bind(latitudes)
    .execute(&app.database.pool)
    .await
    .expect("the points are stored");
}

/// Every page of the list.
async fn all(app: &App, path: &str) -> Vec<Value> {
    let mut rows = Vec::new();
    let mut next = Some(path.to_owned());
    while let Some(path) = next {
        let answer = app.client.get(&path).send().await.expect(200);
        rows.extend(answer.json()["data"].as_array().expect("rows").clone());
        next = answer.header("link").map(|link| {
            let (link, _) = link.split_once('>').expect("a link ends");
            link.trim_start_matches('<').to_owned()
        });
    }
    rows
}

#[tokio::test]
async fn near_finds_exactly_what_st_distancesphere_says_nearest_first() {
    let app = App::start().await;
    let mut runner = TestRunner::deterministic();
    let points = proptest::collection::vec(point(), 2_000).new_tree(&mut runner).expect("points").current();
    store(&app, &points).await;
    for _ in 0..60 {
        let ((longitude, latitude), radius) =
            (point(), radius()).new_tree(&mut runner).expect("a circle").current();
        let expected: Vec<(i64, f64)> = sqlx::query_as(
            "select id, d from (select id, ST_DistanceSphere(geo, ST_SetSRID(ST_MakePoint($1, $2), 4326)) as d from airports) a
             where d <= $3 order by d, id",
        )
        .bind(longitude)
        .bind(latitude)
        .bind(radius)
        .fetch_all(&app.database.pool)
        .await
        .expect("brute force");
        let path = format!("/airports?near={longitude},{latitude}&radius={radius}&limit=700");
        let found: Vec<_> = all(&app, &path)
            .await
            .iter()
            .map(|row| (row["id"].as_i64().expect("an id"), row["distance_m"].as_f64().expect("a distance")))
            .collect();
        assert_eq!(found, expected, "{path}");
    }
}

#[tokio::test]
async fn near_uses_the_spatial_index() {
    let app = App::start().await;
    let mut runner = TestRunner::deterministic();
    let points = proptest::collection::vec(point(), 5_000).new_tree(&mut runner).expect("points").current();
    store(&app, &points).await;
    sqlx::query("analyze airports").execute(&app.database.pool).await.expect("statistics");
    for center in [coord! { x: 8.5, y: 47.4 }, coord! { x: 179.99, y: -17.0 }, coord! { x: 0.0, y: 89.9 }] {
        let filter = Filter { near: Some(Circle { center, radius_m: 50_000.0 }), ..Filter::default() };
        let mut query = QueryBuilder::<Postgres>::new("explain ");
        write_list(&mut query, &filter, (SortKey::Distance, false), None, 100);
        let plan = query.build().fetch_all(&app.database.pool).await.expect("a plan");
        let plan: String = plan.iter().map(|line| line.get::<String, _>(0) + "\n").collect();
        assert!(plan.contains("airports_geo"), "{plan}");
    }
}

#[tokio::test]
async fn a_bounding_box_may_cross_the_antimeridian_and_has_its_edges() {
    let app = App::start().await;
    store(&app, &[(170.0, 0.0), (180.0, 0.0), (-180.0, 0.0), (-170.0, 0.0), (0.0, 0.0), (170.0, 11.0)]).await;
    for (bbox, ids) in [
        ("170,-10,-170,10", json!([1, 2, 3, 4])),
        ("-10,-10,10,10", json!([5])),
        ("-180,-90,180,90", json!([1, 2, 3, 4, 5, 6])),
        ("170.000001,-10,179,10", json!([])),
        ("170,11,170,11", json!([6])),
    ] {
        let found: Vec<_> =
            all(&app, &format!("/airports?bbox={bbox}")).await.iter().map(|row| row["id"].clone()).collect();
        assert_eq!(Value::from(found), ids, "{bbox}");
    }
}

#[tokio::test]
async fn a_place_that_is_none_is_refused() {
    let app = App::start().await;
    for (query, code) in [
        ("near=1,2", "required"),
        ("radius=5", "required"),
        ("near=1,2&radius=-1", "out_of_range"),
        ("near=1,2&radius=NaN", "out_of_range"),
        ("near=1,2&radius=30000000", "out_of_range"),
        ("near=181,2&radius=1", "not_a_point"),
        ("near=1,91&radius=1", "not_a_point"),
        ("near=1&radius=1", "not_a_point"),
        ("near=inf,1&radius=1", "not_a_point"),
        ("near=1,2&radius=1&sort=name", "not_with_near"),
        ("bbox=1,2,3", "not_a_box"),
        ("bbox=0,10,10,0", "not_a_box"),
        ("bbox=0,0,200,10", "not_a_box"),
    ] {
        assert_eq!(
            app.client.get(&format!("/airports?{query}")).send().await.expect(400).codes(),
            [code],
            "{query}"
        );
    }
}

#[tokio::test]
async fn text_that_looks_like_sql_is_text() {
    let app = App::start().await;
    store(&app, &[(0.0, 0.0)]).await;
    let hostile = "'%3B drop table airports%3B --";
    assert_eq!(all(&app, &format!("/airports?city={hostile}")).await.len(), 0);
    assert_eq!(all(&app, "/airports").await.len(), 1);
}
