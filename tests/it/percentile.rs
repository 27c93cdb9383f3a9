//! Percentiles of age by town.

use chrono::{Datelike, NaiveDate};
use proptest::{
    prelude::Strategy,
    strategy::ValueTree,
    test_runner::{Config, TestRunner},
};
use serde_json::{Value, json};

use crate::support::{App, citizens::citizen};

async fn percentiles(app: &App, import: i64) -> Vec<Value> {
    let path = format!("/imports/{import}/towns/stat/percentile/age");
    app.client.get(&path).send().await.expect(200).json()["data"].as_array().expect("a list").clone()
}

fn born(birth_dates: &[&str], town: &str) -> Vec<Value> {
    let citizen =
        |(id, birth_date): (i64, &&str)| citizen(id, json!({ "birth_date": birth_date, "town": town }));
    (1..).zip(birth_dates).map(citizen).collect()
}

#[tokio::test]
async fn percentiles_lie_linearly_between_two_ages() {
    let app = App::on_day("2026-11-20").await;
    let import =
        app.import_citizens(born(&["01.01.1996", "01.01.1986", "01.01.1966", "01.01.1956"], "Рим")).await;
    let town = json!({ "town": "Рим", "p50": 50.0, "p75": 62.5, "p99": 69.7 });
    assert_eq!(percentiles(&app, import).await, [town]);
    let import = app.import_citizens(born(&["01.01.1996"], "Рим")).await;
    assert_eq!(
        percentiles(&app, import).await,
        [json!({ "town": "Рим", "p50": 30.0, "p75": 30.0, "p99": 30.0 })]
    );
    let import = app.import_citizens(json!([])).await;
    assert_eq!(percentiles(&app, import).await, Vec::<Value>::new());
}

async fn age_on(day: &str, birth_date: &str) -> f64 {
    let app = App::on_day(day).await;
    let import = app.import_citizens(born(&[birth_date], "Рим")).await;
    percentiles(&app, import).await[0]["p50"].as_f64().expect("a number")
}

#[tokio::test]
async fn an_age_is_full_years_by_the_calendar() {
    for (day, birth_date, age) in [
        ("2026-11-20", "20.11.2000", 26.0),
        ("2026-11-20", "21.11.2000", 25.0),
        ("2026-11-20", "19.11.2026", 0.0),
        ("2027-02-28", "29.02.2000", 26.0),
        ("2027-03-01", "29.02.2000", 27.0),
        ("2028-02-28", "29.02.2000", 27.0),
        ("2028-02-29", "29.02.2000", 28.0),
        ("2028-02-29", "28.02.2000", 28.0),
        ("2028-02-29", "01.03.2000", 27.0),
    ] {
        assert_eq!(age_on(day, birth_date).await, age, "{birth_date} on {day}");
    }
}

/// As the contract words it, one citizen at a time.
fn age(today: NaiveDate, born: NaiveDate) -> i32 {
    let had_birthday = (today.month(), today.day()) >= (born.month(), born.day());
    today.year() - born.year() - i32::from(!had_birthday)
}

/// numpy's "linear", in floating point over all values.
fn percentile(ages: &mut [i32], percent: f64) -> f64 {
    ages.sort_unstable();
    let place = (ages.len() - 1) as f64 * percent / 100.0;
    let (low, high) = (f64::from(ages[place.floor() as usize]), f64::from(ages[place.ceil() as usize]));
    ((low + (high - low) * place.fract()) * 100.0).round() / 100.0
}

#[tokio::test]
async fn percentiles_are_those_of_an_independent_computation() {
    let day = NaiveDate::from_ymd_opt(2027, 2, 28).expect("a day");
    let app = App::on_day(&day.to_string()).await;
    let mut runner = TestRunner::new(Config::default());
    let citizens = proptest::collection::vec((0..4_usize, 1_u64..40_000), 1..60);
    for _ in 0..40 {
        let drawn = citizens.new_tree(&mut runner).expect("citizens can be drawn").current();
        let towns = ["Berlin", "Αθήνα", "Москва", "東京"];
        let born = |days: u64| day - chrono::Days::new(days);
        let sent = (1..).zip(&drawn).map(|(id, (town, days))| {
            let birth_date = born(*days).format("%d.%m.%Y").to_string();
            citizen(id, json!({ "birth_date": birth_date, "town": towns[*town] }))
        });
        let import = app.import_citizens(sent.collect::<Vec<_>>()).await;
        let mut expected = Vec::new();
        for (index, town) in towns.iter().enumerate() {
            let mut ages: Vec<_> =
                drawn.iter().filter(|(of, _)| *of == index).map(|(_, days)| age(day, born(*days))).collect();
            if !ages.is_empty() {
                let [p50, p75, p99] = [50.0, 75.0, 99.0].map(|percent| percentile(&mut ages, percent));
                expected.push(json!({ "town": town, "p50": p50, "p75": p75, "p99": p99 }));
            }
        }
        assert_eq!(percentiles(&app, import).await, expected);
    }
}

#[tokio::test]
async fn a_town_is_where_the_airports_of_its_city_are_if_they_are_in_one_country() {
    let app = App::on_day("2026-11-20").await;
    app.airport(json!({ "city": "Suva", "country": "Fiji", "longitude": 179.0, "latitude": -18.0 })).await;
    app.airport(json!({ "city": "Suva", "country": "Fiji", "longitude": -179.0, "latitude": -18.0 })).await;
    app.airport(
        json!({ "city": "London", "country": "United Kingdom", "longitude": -0.45, "latitude": 51.47 }),
    )
    .await;
    app.airport(json!({ "city": "London", "country": "Canada", "longitude": -81.15, "latitude": 43.03 }))
        .await;
    let citizens = ["Suva", "London", "Атлантида"].into_iter().zip(1..);
    let citizens =
        citizens.map(|(town, id)| citizen(id, json!({ "town": town, "birth_date": "01.01.1996" })));
    let import = app.import_citizens(citizens.collect::<Vec<_>>()).await;
    let path = format!("/imports/{import}/towns/stat/percentile/age");
    let answer =
        app.client.get(&path).header("Accept", "application/geo+json").send().await.expect(200).json();
    assert_eq!(answer["type"], "FeatureCollection");
    let features = answer["features"].as_array().expect("a list");
    let towns: Vec<_> = features.iter().map(|feature| feature["properties"]["town"].as_str()).collect();
    assert_eq!(towns, [Some("London"), Some("Suva"), Some("Атлантида")]);
    assert_eq!(features[0]["geometry"], json!(null));
    assert_eq!(features[2]["geometry"], json!(null));
    assert_eq!(features[1]["properties"], json!({ "town": "Suva", "p50": 30.0, "p75": 30.0, "p99": 30.0 }));
    // In the middle of the two, across the antimeridian.
    let longitude = features[1]["geometry"]["coordinates"][0].as_f64().expect("a number");
    assert!((longitude.abs() - 180.0).abs() < 1e-6, "{longitude}");
}
