//! Which airport a row of a file is: codes, keys that contradict each other, and `_id`.

use serde_json::json;

use crate::{
    support::{
        App,
        files::{HEADER, row, row_with_codes},
        imports::outcome,
    },
    upload_airports::{airports, table},
};

#[tokio::test]
async fn placeholders_are_no_codes_and_identify_no_airport() {
    let app = App::start().await;
    let header = "name,city,country,iata,icao,latitude,longitude\n";
    let first = format!(
        "{header}Alpha Field,Atown,Codeland,N/A,N/A,10,10\nBeta Field,Btown,Codeland,---,----,20,20\n\
         Gamma Field,Ctown,Codeland,nul,NULL,30,30\nDelta Field,Dtown,Codeland,%u0,%u04,40,40\n\
         Kilo Field,Ktown,Codeland,klo,,50,50\nNot A Number,Ntown,Codeland,NaN,,60,60\nGood,Gtown,Codeland,GOO,2A7,1,1\n"
    );
    let import = app.upload("", first).await;
    let faults = (1..=6).map(|row| format!("{row} iata pattern"));
    assert_eq!(app.faults(&import).await, faults.collect::<Vec<_>>());
    assert_eq!(app.rejects(&import).await[0]["message"], "iata must be 3 capital letters or digits, or null");
    let second = format!(
        "{header}Echo Field,Etown,Otherland,N/A,N/A,-10,-10\nFoxtrot Field,Ftown,Otherland,,----,-20,-20\n\
         Golf Field,Gtown,Otherland,nul,NULL,-30,-30\n"
    );
    let import = app.upload("", second).await;
    assert_eq!(app.faults(&import).await, ["1 iata pattern", "2 icao pattern", "3 iata pattern"]);
    assert_eq!(airports(&app).await, ["- Good GOO 2A7"]);
}

#[tokio::test]
async fn no_key_overrules_another_that_contradicts_it() {
    let app = App::start().await;
    let known = row_with_codes("1", "One", "AAA", "IIII")
        + &row_with_codes("", "Two", "BBB", "JJJJ")
        + &row_with_codes("", "Three", r"\N", "KKKK");
    app.upload("", known).await;
    let before = table(&app).await;
    let held = |row: &str, fault: &str, holder: &str| {
        (row.to_owned(), format!("1 {fault} code_held"), holder.to_owned())
    };
    for (row, fault, message) in [
        held(
            &row_with_codes("", "Other", "AAA", "XXXX"),
            "iata",
            "iata is held by the airport /airports/1, One",
        ),
        held(
            &row_with_codes("", "Other", "XXX", "IIII"),
            "icao",
            "icao is held by the airport /airports/1, One",
        ),
        held(
            &row_with_codes("", "Other", "BBB", "XXXX"),
            "iata",
            "iata is held by the airport /airports/2, Two",
        ),
        held(
            &row_with_codes("9", "Other", "BBB", "XXXX"),
            "iata",
            "iata is held by the airport /airports/2, Two",
        ),
        held(
            &row_with_codes("9", "Other", "XXX", "JJJJ"),
            "icao",
            "icao is held by the airport /airports/2, Two",
        ),
        held(
            &row_with_codes("9", "Other", "AAA", "IIII"),
            "icao",
            "icao is held by the airport /airports/1, One",
        ),
        held(
            &row_with_codes("", "Other", "AAA", "JJJJ"),
            "icao",
            "icao is held by the airport /airports/2, Two",
        ),
        // At the same place under the same name, one of its codes says otherwise.
        held(
            &row_with_codes("", "Two", "XXX", "JJJJ"),
            "icao",
            "icao is held by the airport /airports/2, Two",
        ),
        held(
            &row_with_codes("", "Two", r"\N", "XXXX"),
            "icao",
            "icao differs from that of the airport /airports/2, which has the same name, city, country and position; \
             to change it, give the _id of the airport",
        ),
        held(
            &row_with_codes("", "Two", "XXX", r"\N"),
            "iata",
            "iata differs from that of the airport /airports/2, which has the same name, city, country and position; \
             to change it, give the _id of the airport",
        ),
    ] {
        let import = app.upload("", row.clone()).await;
        assert_eq!(app.faults(&import).await, [fault], "{row}");
        assert_eq!(app.rejects(&import).await[0]["message"], message, "{row}");
        let dry = app.upload("?dry_run=true", row).await;
        assert_eq!(app.rejects(&dry).await, app.rejects(&import).await);
    }
    assert_eq!(table(&app).await, before);
    // The OpenFlights id says which airport it is, and so does what nothing contradicts.
    let agreed = row_with_codes("1", "One", "AAB", "IIIJ")
        + &row_with_codes("2", "Two", "BBB", "JJJJ")
        + &row_with_codes("", "Three", "CCC", "KKKK");
    assert_eq!(outcome(&app.upload("", agreed).await), [0, 3, 0, 0, 0]);
    assert_eq!(airports(&app).await, ["1 One AAB IIIJ", "2 Two BBB JJJJ", "- Three CCC KKKK"]);
    // A code that its holder gives up in the same file is nobody's.
    let moved = row_with_codes("1", "One", "AAA", "IIIJ") + &row_with_codes("", "Four", "AAB", "LLLL");
    assert_eq!(outcome(&app.upload("", moved).await), [1, 1, 0, 0, 0]);
    // A deleted airport holds nothing, and is not what another code denies.
    app.run("update airports set deleted_at = now() where name = 'Three'").await;
    assert_eq!(outcome(&app.upload("", row_with_codes("", "Five", "CCC", "MMMM")).await), [1, 0, 0, 0, 0]);
}

#[tokio::test]
async fn within_a_file_a_code_that_another_key_contradicts_is_held_by_the_first_row() {
    let app = App::start().await;
    let file = row_with_codes("", "One", "AAA", "IIII")
        + &row_with_codes("", "Two", "AAA", "JJJJ")
        + &row_with_codes("", "Three", "BBB", "IIII")
        + &row_with_codes("", "Four", "AAA", r"\N")
        + &row_with_codes("", "Five", r"\N", "IIII")
        + &row_with_codes("5", "Six", "AAA", "KKKK")
        + &row_with_codes("5", "Seven", "CCC", "LLLL");
    let import = app.upload("", file).await;
    assert_eq!(
        app.faults(&import).await,
        [
            "2 iata code_held",
            "3 icao code_held",
            "4 iata duplicate_in_file",
            "5 icao duplicate_in_file",
            "6 iata code_held",
            "7 id duplicate_in_file",
        ]
    );
    assert_eq!(app.rejects(&import).await[0]["message"], "iata is held by the airport in row 1");
    assert_eq!(airports(&app).await, ["- One AAA IIII"]);
}

/// A header with `_id`, and rows of `_id`, OpenFlights id, name, IATA and ICAO code.
fn with_row_ids(rows: &[(&str, &str, &str, &str, &str)]) -> String {
    let row = |(row_id, id, name, iata, icao): &(&str, &str, &str, &str, &str)| {
        format!("{row_id},{id},{name},City,Country,{iata},{icao},1,2,0,0,U,\\N,airport,Test\n")
    };
    format!("_id,{HEADER}\n") + &rows.iter().map(row).collect::<String>()
}

#[tokio::test]
async fn a_row_that_names_its_airport_by_row_id_is_that_one_whatever_its_keys() {
    let app = App::start().await;
    let known = row_with_codes("1", "One", "AAA", "IIII")
        + &row_with_codes("2", "Two", "BBB", "JJJJ")
        + &row_with_codes("", "Same", r"\N", r"\N");
    app.upload("", known).await;
    app.airport(
        json!({ "name": "Same", "city": "City", "country": "Country", "latitude": 1, "longitude": 2 }),
    )
    .await;
    // All keys change hands, OpenFlights ids too; of two that are alike each stays itself; one is new.
    let import = app
        .upload(
            "",
            with_row_ids(&[
                ("1", "2", "Two", "BBB", "JJJJ"),
                ("2", "1", "One", "AAA", "IIII"),
                ("3", "", "Same", "", ""),
                ("4", "", "Renamed", "CCC", ""),
                ("", "5", "New", "DDD", ""),
            ]),
        )
        .await;
    assert_eq!(app.faults(&import).await, [""; 0]);
    assert_eq!(outcome(&import), [1, 3, 1, 0, 0]);
    let expected = ["2 Two BBB JJJJ", "1 One AAA IIII", "- Same - -", "- Renamed CCC -", "5 New DDD -"];
    assert_eq!(airports(&app).await, expected);
    // What others hold, it cannot have.
    let held = with_row_ids(&[("3", "1", "Same", "", ""), ("4", "", "Renamed", "AAA", "")]);
    let import = app.upload("", held).await;
    assert_eq!(app.faults(&import).await, ["1 id code_held", "2 iata code_held"]);
    assert_eq!(app.rejects(&import).await[0]["message"], "id is held by the airport /airports/2, One");
    assert_eq!(airports(&app).await, expected);
}

#[tokio::test]
async fn a_row_id_is_an_integer_of_an_airport_and_stands_once_in_a_file() {
    let app = App::start().await;
    app.upload("", row_with_codes("1", "One", "AAA", "IIII") + &row_with_codes("2", "Two", "BBB", "JJJJ"))
        .await;
    app.client.delete("/airports/2").send().await.expect(204);
    app.airport(json!({ "iata": "BBB", "icao": "JJJJ" })).await;
    let before = table(&app).await;
    let import = app
        .upload(
            "",
            with_row_ids(&[
                ("1", "1", "One", "AAA", "IIII"),
                ("1", "1", "One", "AAA", "IIII"),
                ("1", "1", "Other", "AAA", "IIII"),
                ("2", "2", "Two", "BBB", "JJJJ"),
                ("99", "", "Nobody", "", ""),
                ("x", "", "Nobody", "", ""),
                ("1.0", "", "Nobody", "", ""),
                ("2", "2", "Two once more", "BBB", "JJJJ"),
            ]),
        )
        .await;
    assert_eq!(
        app.faults(&import).await,
        ["3 _id duplicate_in_file", "5 _id unknown_id", "6 _id not_an_integer", "7 _id not_an_integer"]
    );
    assert_eq!(outcome(&import), [0, 0, 2, 2, 4]);
    let rejects = app.rejects(&import).await;
    assert_eq!(rejects[0]["message"], "the same airport as row 1 by _id");
    assert_eq!(
        rejects[1]["message"],
        "there is no airport with the _id 99; for a new airport, leave the field empty"
    );
    assert_eq!(rejects[1]["value"], "99");
    assert_eq!(table(&app).await, before);
    // Without a header there is no such column, and citizens have none.
    let import = app.upload("?header=absent", "1,".to_owned() + &row(1)).await;
    assert_eq!(app.faults(&import).await, ["1 - field_count"]);
}
