//! Who will ask for courses.

use serde_json::{Value, json};

use crate::support::{App, citizens::citizen};

/// On 2026-11-20 they are 17, 18, 24, and three times 60.
async fn citizens(app: &App) -> i64 {
    let of = |id, birth_date, relatives: Value, fields: Value| {
        let mut citizen =
            citizen(id, json!({ "birth_date": birth_date, "relatives": relatives, "town": "Рим" }));
        citizen.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        citizen
    };
    app.import_citizens(vec![
        of(1, "21.11.2008", json!([1, 2]), json!({ "channel": "tv" })),
        of(2, "20.11.2008", json!([1, 3]), json!({ "channel": "tv" })),
        of(3, "01.01.2002", json!([2]), json!({ "channel": "tv" })),
        of(4, "01.01.1966", json!([]), json!({})),
        of(6, "01.01.1966", json!([]), json!({ "channel": "tv" })),
        of(5, "01.01.1966", json!([]), json!({ "town": "Athens, \"GA\"", "channel": "radio" })),
    ])
    .await
}

fn row(town: &str, ages: (i32, Option<i32>), channel: Option<&str>, citizens: i64, presents: i64) -> Value {
    json!({
        "town": town, "age_from": ages.0, "age_to": ages.1, "channel": channel, "citizens": citizens,
        "presents": presents,
    })
}

#[tokio::test]
async fn citizens_and_presents_are_counted_by_town_age_and_channel() {
    let app = App::on_day("2026-11-20").await;
    citizens(&app).await;
    let import = citizens(&app).await;
    let path = format!("/imports/{import}/towns/stat/demand");
    let answer = app.client.get(&path).send().await.expect(200).json();
    let expected = [
        row("Athens, \"GA\"", (60, None), Some("radio"), 1, 0),
        row("Рим", (0, Some(17)), Some("tv"), 1, 2),
        row("Рим", (18, Some(24)), Some("tv"), 2, 3),
        row("Рим", (60, None), Some("tv"), 1, 0),
        row("Рим", (60, None), None, 1, 0),
    ];
    assert_eq!(answer, json!({ "data": expected }));

    let answer = app.client.get(&format!("{path}?age_groups=60")).send().await.expect(200).json();
    let expected = [
        row("Athens, \"GA\"", (60, None), Some("radio"), 1, 0),
        row("Рим", (0, Some(59)), Some("tv"), 3, 5),
        row("Рим", (60, None), Some("tv"), 1, 0),
        row("Рим", (60, None), None, 1, 0),
    ];
    assert_eq!(answer, json!({ "data": expected }));
}

#[tokio::test]
async fn demand_is_a_file_too() {
    let app = App::on_day("2026-11-20").await;
    let import = citizens(&app).await;
    let path = format!("/imports/{import}/towns/stat/demand?age_groups=18,60");
    let answer = app.client.get(&path).header("Accept", "text/csv").send().await.expect(200);
    assert_eq!(
        answer.text(),
        "town,age_from,age_to,channel,citizens,presents\r\n\"Athens, \"\"GA\"\"\",60,,radio,1,0\r\n\
         Рим,0,17,tv,1,2\r\nРим,18,59,tv,2,3\r\nРим,60,,tv,1,0\r\nРим,60,,,1,0\r\n"
    );
}

#[tokio::test]
async fn demand_is_on_the_map_too() {
    let app = App::on_day("2026-11-20").await;
    app.airport(json!({ "city": "Рим", "country": "Italy", "longitude": 12.5, "latitude": 41.75 })).await;
    let import = citizens(&app).await;
    let path = format!("/imports/{import}/towns/stat/demand");
    let answer =
        app.client.get(&path).header("Accept", "application/geo+json").send().await.expect(200).json();
    let features = answer["features"].as_array().expect("a list");
    assert_eq!(features.len(), 5);
    assert_eq!(features[0]["geometry"], json!(null));
    assert_eq!(features[1]["geometry"], json!({ "type": "Point", "coordinates": [12.5, 41.75] }));
    assert_eq!(features[1]["properties"], row("Рим", (0, Some(17)), Some("tv"), 1, 2));
}

#[tokio::test]
async fn age_groups_are_ascending_ages() {
    let app = App::start().await;
    let import = app.import_citizens(json!([])).await;
    let many = (1..=40).map(|age| age.to_string()).collect::<Vec<_>>().join(",");
    for wrong in ["", "0", "18,18", "25,18", "18,", "x", "18.5", "-1", "151", many.as_str()] {
        let path = format!("/imports/{import}/towns/stat/demand?age_groups={wrong}");
        assert_eq!(app.client.get(&path).send().await.expect(400).codes(), ["not_age_groups"], "{wrong}");
    }
}
