//! `upload_airports`: which airport a row of a file is, and what becomes of both.

use serde_json::{Value, json};

use crate::support::{
    App,
    files::{HEADER, bad_row, openflights, openflights_without_ids, row, row_with_codes, rows},
    imports::{count, failure, id, outcome},
};

/// Every column of every airport but the ones that say when.
async fn table(app: &App) -> String {
    app.one(
        "select md5(string_agg((to_jsonb(a) - 'created_at' - 'updated_at')::text, ';' order by id)) from airports a",
    )
    .await
}

/// `openflights_id name iata icao` of every airport that is not deleted, by id.
async fn airports(app: &App) -> Vec<String> {
    sqlx::query_scalar(
        "select concat_ws(' ', coalesce(openflights_id::text, '-'), name, coalesce(iata, '-'), coalesce(icao, '-'))
         from airports where deleted_at is null order by id",
    )
    .fetch_all(&app.database.pool)
    .await
    .expect("airports can be read")
}

#[tokio::test]
async fn the_whole_of_openflights_loads_and_again_changes_nothing() {
    let app = App::start().await;
    let import = app.upload("", openflights()).await;
    assert_eq!((&import["state"], outcome(&import)), (&json!("complete"), [7_698, 0, 0, 0, 0]));
    let first: String = app
        .one("select concat_ws('|', name, city, country, iata, icao, latitude, longitude, altitude, timezone, dst, tz, type, source) from airports where openflights_id = 1")
        .await;
    assert_eq!(
        first,
        "Goroka Airport|Goroka|Papua New Guinea|GKA|AYGA|-6.081689834590001|145.391998291|5282|10|U|Pacific/Port_Moresby|airport|OurAirports"
    );
    let nulls: i64 = app
        .one("select count(*) filter (where iata is null) * 10000 + count(*) filter (where icao is null) from airports")
        .await;
    assert_eq!(nulls, 16_260_001);
    let position: bool = app
        .one("select bool_and(st_x(geo) = longitude and st_y(geo) = latitude and st_srid(geo) = 4326) from airports")
        .await;
    assert!(position);
    let apostrophes: i64 = app.one(r"select count(*) from airports where city like '%''%'").await;
    assert!(apostrophes >= 4);
    assert_eq!(app.one::<i64>(r"select count(*) from airports where city like '%\\%'").await, 0);

    let before = table(&app).await;
    let again = app.upload("?force=true", openflights()).await;
    assert_eq!(outcome(&again), [0, 0, 7_698, 0, 0]);
    let without_ids = app.upload("", openflights_without_ids()).await;
    assert_eq!(outcome(&without_ids), [0, 0, 7_698, 0, 0]);
    assert_eq!(table(&app).await, before);
}

#[tokio::test]
async fn the_form_without_ids_loads_alone_and_again_changes_nothing() {
    let app = App::start().await;
    let import = app.upload("", openflights_without_ids()).await;
    assert_eq!((&import["state"], outcome(&import)), (&json!("complete"), [7_698, 0, 0, 0, 0]));
    let before = table(&app).await;
    let again = app.upload("?force=true", openflights_without_ids()).await;
    assert_eq!(outcome(&again), [0, 0, 7_698, 0, 0]);
    assert_eq!(table(&app).await, before);
    // The form with ids finds them by their codes and adds the ids. One has no code, and only a row without id is
    // known by name and place.
    let with_ids = app.upload("", openflights()).await;
    assert_eq!(outcome(&with_ids), [1, 7_697, 0, 0, 0]);
    assert_eq!(app.one::<i64>("select count(distinct openflights_id) from airports").await, 7_698);
}

#[tokio::test]
async fn a_row_is_an_airport_by_id_else_icao_else_iata_else_name_and_place() {
    let app = App::start().await;
    let first = row_with_codes("1", "One", "AAA", "IIII")
        + &row_with_codes("", "Two", r"\N", "JJJJ")
        + &row_with_codes("", "Three", "CCC", r"\N")
        + &row_with_codes("", "Four", r"\N", r"\N");
    assert_eq!(outcome(&app.upload("", first).await), [4, 0, 0, 0, 0]);
    let ids: String = app.one("select string_agg(id::text, ' ' order by id) from airports").await;
    let second = row_with_codes("1", "One by id", "XXX", "YYYY")
        + &row_with_codes("2", "Two by ICAO", "BBB", "JJJJ")
        + &row_with_codes("3", "Three by IATA", "CCC", "KKKK")
        + &row_with_codes("", "Four", "DDD", "LLLL");
    assert_eq!(outcome(&app.upload("", second).await), [0, 4, 0, 0, 0]);
    assert_eq!(app.one::<String>("select string_agg(id::text, ' ' order by id) from airports").await, ids);
    let expected =
        ["1 One by id XXX YYYY", "2 Two by ICAO BBB JJJJ", "3 Three by IATA CCC KKKK", "- Four DDD LLLL"];
    assert_eq!(airports(&app).await, expected);
    assert_eq!(app.one::<i64>("select sum(version)::bigint from airports").await, 8);
}

#[tokio::test]
async fn a_row_with_an_id_is_not_known_by_its_name_and_place() {
    let app = App::start().await;
    app.upload("", row_with_codes("1", "Same", r"\N", r"\N")).await;
    assert_eq!(outcome(&app.upload("", row_with_codes("2", "Same", r"\N", r"\N")).await), [1, 0, 0, 0, 0]);
    // One without id is; which of the two does not matter, as long as it is no third.
    assert_eq!(outcome(&app.upload("", row_with_codes("", "Same", r"\N", r"\N")).await), [0, 0, 1, 0, 0]);
}

#[tokio::test]
async fn two_different_ids_are_never_one_airport() {
    let app = App::start().await;
    app.upload("", row_with_codes("1", "One", "AAA", "IIII")).await;
    let holder: i64 = app.one("select id from airports").await;
    let import = app
        .upload("", row_with_codes("2", "Two", "AAA", "IIII") + &row_with_codes("3", "Three", "AAA", r"\N"))
        .await;
    assert_eq!(app.faults(&import).await, ["1 icao code_held", "2 iata code_held"]);
    let rejects = app.rejects(&import).await;
    assert_eq!(rejects[0]["message"], format!("icao is held by the airport /airports/{holder}, One"));
    assert_eq!(rejects[0]["value"], "IIII");
    assert_eq!(airports(&app).await, ["1 One AAA IIII"]);
    // Within one file the lower row has the code.
    let import = app
        .upload("", row_with_codes("5", "Five", "EEE", r"\N") + &row_with_codes("6", "Six", "EEE", r"\N"))
        .await;
    assert_eq!(app.faults(&import).await, ["2 iata code_held"]);
    let message = app.rejects(&import).await[0]["message"].clone();
    assert_eq!(message, "iata is held by the airport with id 5 in row 1");
}

#[tokio::test]
async fn a_row_whose_codes_belong_to_two_airports_is_rejected() {
    let app = App::start().await;
    app.upload("", row_with_codes("1", "One", "AAA", "IIII") + &row_with_codes("2", "Two", "BBB", "JJJJ"))
        .await;
    let import = app.upload("", row_with_codes("", "Both", "BBB", "IIII")).await;
    assert_eq!(app.faults(&import).await, ["1 icao code_held"]);
    assert_eq!(airports(&app).await, ["1 One AAA IIII", "2 Two BBB JJJJ"]);
}

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

#[tokio::test]
async fn codes_can_change_hands_within_a_file() {
    let app = App::start().await;
    app.upload("", row_with_codes("1", "One", "AAA", "IIII") + &row_with_codes("2", "Two", "BBB", "JJJJ"))
        .await;
    let swapped = row_with_codes("1", "One", "BBB", "JJJJ") + &row_with_codes("2", "Two", "AAA", "IIII");
    let import = app.upload("", swapped).await;
    assert_eq!(outcome(&import), [0, 2, 0, 0, 0]);
    assert_eq!(airports(&app).await, ["1 One BBB JJJJ", "2 Two AAA IIII"]);
    // A new airport takes what an old one gives up, whichever row comes first.
    let import = app
        .upload("", row_with_codes("3", "Three", "AAA", r"\N") + &row_with_codes("2", "Two", r"\N", "IIII"))
        .await;
    assert_eq!(outcome(&import), [1, 1, 0, 0, 0]);
    assert_eq!(airports(&app).await, ["1 One BBB JJJJ", "2 Two - IIII", "3 Three AAA -"]);
}

#[tokio::test]
async fn a_reject_keeps_its_code_held_and_so_on_down_the_chain() {
    let app = App::start().await;
    let first: String = [("1", "AAA"), ("2", "BBB"), ("3", "CCC"), ("4", "DDD")]
        .map(|(id, iata)| row_with_codes(id, "Airport", iata, r"\N"))
        .concat();
    app.upload("", first).await;
    // 3 wants 4's, 2 wants 3's, 1 wants 2's: as 4 keeps its own, none of them can have it.
    let chain: String = [("1", "BBB"), ("2", "CCC"), ("3", "DDD")]
        .map(|(id, iata)| row_with_codes(id, "Airport", iata, r"\N"))
        .concat();
    let import = app.upload("", chain.clone()).await;
    assert_eq!(outcome(&import), [0, 0, 0, 0, 3]);
    assert_eq!(app.faults(&import).await, ["1 iata code_held", "2 iata code_held", "3 iata code_held"]);
    let unchanged = ["1 Airport AAA -", "2 Airport BBB -", "3 Airport CCC -", "4 Airport DDD -"];
    assert_eq!(airports(&app).await, unchanged);
    // Once 4 gives its own up, all of them can.
    let import = app.upload("", chain + &row_with_codes("4", "Airport", "AAA", r"\N")).await;
    assert_eq!(outcome(&import), [0, 4, 0, 0, 0]);
    let moved = ["1 Airport BBB -", "2 Airport CCC -", "3 Airport DDD -", "4 Airport AAA -"];
    assert_eq!(airports(&app).await, moved);
}

/// What used to take a round over the whole file for each of its links.
#[tokio::test]
async fn a_chain_of_ten_thousand_held_codes_is_decided_in_one_go() {
    const LINKS: usize = 10_000;
    let app = App::start().await;
    let code = |number: usize| {
        let digit =
            |place: u32| b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"[number / 36_usize.pow(place) % 36] as char;
        (0..4).rev().map(digit).collect::<String>()
    };
    let row = |number: usize, icao: usize| {
        row_with_codes(&(number + 1).to_string(), &format!("Airport {number}"), r"\N", &code(icao))
    };
    let first: String = (0..=LINKS).map(|number| row(number, number)).collect();
    assert_eq!(outcome(&app.upload("", first).await)[0], LINKS as i64 + 1);
    let before = table(&app).await;
    // Each wants the code of the next one, and the last one's is kept by an airport that is not in the file.
    let chain: String = (0..LINKS).map(|number| row(number, number + 1)).collect();
    let import = app.upload("", chain.clone()).await;
    assert_eq!(outcome(&import), [0, 0, 0, 0, LINKS as i64]);
    assert_eq!(table(&app).await, before);
    let rejects = app.rejects(&import).await;
    assert!(rejects.iter().all(|reject| reject["code"] == "code_held" && reject["column"] == "icao"));
    assert_eq!(rejects[0]["message"], "icao is held by the airport /airports/2, Airport 1");
    // Once the last one takes the first one's, all of them change hands.
    let import = app.upload("", chain + &row(LINKS, 0)).await;
    assert_eq!(outcome(&import), [0, LINKS as i64 + 1, 0, 0, 0]);
}

#[tokio::test]
async fn a_chain_may_go_on_from_one_kind_of_code_to_the_other_and_meet_itself() {
    let app = App::start().await;
    let first = row_with_codes("1", "One", "AAA", "IIII")
        + &row_with_codes("2", "Two", "BBB", "JJJJ")
        + &row_with_codes("3", "Three", "CCC", "KKKK")
        + &row_with_codes("4", "Four", "DDD", "LLLL")
        + &row_with_codes("5", "Five", "EEE", "MMMM");
    app.upload("", first).await;
    // 1 and 2 swap their ICAO codes; 2 wants 3's IATA code, 3 wants 4's ICAO code, and 4 is not in the file. 5 changes by itself.
    let file = row_with_codes("1", "One", "AAA", "JJJJ")
        + &row_with_codes("2", "Two", "CCC", "IIII")
        + &row_with_codes("3", "Three", "BBB", "LLLL")
        + &row_with_codes("5", "Five", "FFF", "NNNN");
    let import = app.upload("", file).await;
    assert_eq!(outcome(&import), [0, 1, 0, 0, 3]);
    assert_eq!(app.faults(&import).await, ["1 icao code_held", "2 icao code_held", "3 icao code_held"]);
}

/// A header with `_id`, and rows of id, OpenFlights id, name, IATA and ICAO code.
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

#[tokio::test]
async fn in_one_file_the_lower_row_wins() {
    let app = App::start().await;
    let file = row(1)
        + &row(1)
        + &row(1).replace("City", "Town")
        + &row_with_codes("", "Two", "BBB", "JJJJ")
        + &row_with_codes("", "Other", "CCC", "JJJJ")
        + &row_with_codes("", "Another", "BBB", r"\N")
        + &row_with_codes("", "Plain", r"\N", r"\N")
        + &row_with_codes("", "Plain", r"\N", r"\N")
        + &row_with_codes("", "Plain", r"\N", r"\N").replace(",0,0,", ",9,9,");
    let import = app.upload("", file).await;
    assert_eq!(outcome(&import), [3, 0, 2, 0, 4]);
    assert_eq!(
        app.faults(&import).await,
        ["3 id duplicate_in_file", "5 icao code_held", "6 iata duplicate_in_file", "9 - duplicate_in_file"]
    );
    let messages: Vec<_> =
        app.rejects(&import).await.iter().map(|reject| reject["message"].clone()).collect();
    assert_eq!(messages[0], "the same airport as row 1 by id");
    assert_eq!(messages[3], "the same airport as row 7 by name, city, country and position");
    assert_eq!(app.one::<String>("select city from airports where openflights_id = 1").await, "City");
}

#[tokio::test]
async fn two_rows_that_find_one_airport_by_different_keys_are_duplicates() {
    let app = App::start().await;
    app.upload("", row_with_codes("1", "One", "AAA", "IIII")).await;
    let file = row_with_codes("", "By ICAO", r"\N", "IIII") + &row_with_codes("", "By IATA", "AAA", r"\N");
    let import = app.upload("", file).await;
    assert_eq!(outcome(&import), [0, 1, 0, 0, 1]);
    assert_eq!(app.faults(&import).await, ["2 - duplicate_in_file"]);
    assert_eq!(airports(&app).await, ["1 By ICAO - IIII"]);
}

#[tokio::test]
async fn a_rejected_row_holds_no_key_against_a_later_one() {
    let app = App::start().await;
    let import = app.upload("", bad_row(1) + &row(1)).await;
    assert_eq!(outcome(&import), [1, 0, 0, 0, 1]);
}

#[tokio::test]
async fn a_deleted_airport_stays_deleted_and_its_codes_are_free() {
    let app = App::start().await;
    app.upload("", row_with_codes("1", "One", "AAA", "IIII")).await;
    let deleted: i64 = app.one("select id from airports").await;
    app.client.delete(&format!("/airports/{deleted}")).send().await.expect(204);
    let before = table(&app).await;
    let import = app.upload("", row_with_codes("1", "Renamed", "AAA", "IIII")).await;
    assert_eq!(outcome(&import), [0, 0, 0, 1, 0]);
    assert_eq!(table(&app).await, before);

    let import = app.upload("", row_with_codes("2", "Two", "AAA", "IIII")).await;
    assert_eq!(outcome(&import), [1, 0, 0, 0, 0]);
    assert_eq!(airports(&app).await, ["2 Two AAA IIII"]);
    app.client.post(&format!("/airports/{deleted}/restore")).send().await.expect(409);
    // Of two that have the code, the one that is there counts.
    let import = app.upload("", row_with_codes("", "Two again", "AAA", "IIII")).await;
    assert_eq!(outcome(&import), [0, 1, 0, 0, 0]);
}

#[tokio::test]
async fn one_with_a_deleted_ones_code_and_no_id_is_that_one() {
    let app = App::start().await;
    app.upload("", row_with_codes("1", "One", "AAA", "IIII")).await;
    app.run("update airports set deleted_at = now()").await;
    let import = app.upload("", row_with_codes("", "One", "AAA", "IIII")).await;
    assert_eq!((outcome(&import), count(&import, "accepted")), ([0, 0, 0, 1, 0], 1));
    assert_eq!(airports(&app).await, [""; 0]);
}

#[tokio::test]
async fn a_known_id_is_never_taken_away_and_null_overwrites() {
    let app = App::start().await;
    app.upload("", row_with_codes("1", "One", "AAA", "IIII")).await;
    let import = app.upload("", row_with_codes("", "One", r"\N", "IIII")).await;
    assert_eq!(outcome(&import), [0, 1, 0, 0, 0]);
    assert_eq!(airports(&app).await, ["1 One - IIII"]);
}

#[tokio::test]
async fn an_airport_made_by_hand_is_updated_by_a_file_and_survives_its_undo() {
    let app = App::start().await;
    app.airport(json!({ "name": "By hand", "iata": "AAA" })).await;
    let import = app.upload("", row_with_codes("1", "By file", "AAA", r"\N")).await;
    assert_eq!(outcome(&import), [0, 1, 0, 0, 0]);
    let undone: Value =
        app.client.delete(&format!("/imports/{}", id(&import))).send().await.expect(200).json();
    assert_eq!(
        [&undone["removed"], &undone["kept"], &undone["not_reverted"]],
        [&json!(0), &json!(0), &json!(1)]
    );
    assert_eq!(airports(&app).await, ["1 By file AAA -"]);
}

#[tokio::test]
async fn nonsense_is_rejected_and_what_the_real_data_has_is_not() {
    let app = App::start().await;
    let with = |id: u32, from: &str, to: &str| row(id).replacen(from, to, 1);
    let good = with(1, r"\N,\N,-79", "AAA,2U04,90")
        + &with(2, ",0,0,U", ",-1266,5.75,N")
        + &with(3, ",airport,Test", r",\N,\N");
    assert_eq!(outcome(&app.upload("", good).await), [3, 0, 0, 0, 0]);
    let bad = with(1, "Airport 1", "")
        + &with(2, ",-78,", ",NaN,")
        + &with(3, ",-147,", ",-180.5,")
        + &with(4, ",0,0,U", ",abc,0,U")
        + &with(5, ",0,0,U", ",0,14.5,U")
        + &with(6, ",0,0,U", ",0,0,X")
        + &with(7, r"\N,\N", r"AB,\N")
        + &with(8, r"\N,\N", r"\N,TOOLONG")
        + &with(9, "9,", "0,")
        + &with(10, "10,", "1.5,")
        + &with(11, "City", &"x".repeat(257));
    let import = app.upload("", bad).await;
    assert_eq!(
        app.faults(&import).await,
        [
            "1 name required",
            "2 latitude not_a_number",
            "3 longitude out_of_range",
            "4 altitude not_an_integer",
            "5 timezone out_of_range",
            "6 dst not_allowed",
            "7 iata length",
            "8 icao length",
            "9 id out_of_range",
            "10 id not_an_integer",
            "11 city length",
        ]
    );
}

#[tokio::test]
async fn a_strict_file_that_holds_a_held_code_changes_nothing() {
    let app = App::start().await;
    app.upload("", row_with_codes("1", "One", "AAA", "IIII")).await;
    let before = table(&app).await;
    let file = row_with_codes("1", "Changed", "AAA", "IIII")
        + &rows([7, 8])
        + &row_with_codes("9", "Nine", "AAA", r"\N");
    let import = app.upload("?mode=strict", file).await;
    assert_eq!(failure(&import), "rejects_in_strict_mode");
    assert_eq!(outcome(&import), [2, 1, 0, 0, 1]);
    assert_eq!(table(&app).await, before);
}
