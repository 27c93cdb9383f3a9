//! Bodies of requests: a list of new citizens, and a change of one. Every violated rule is found, each with its place; a
//! body without any is read once, straight into citizens.

use chrono::NaiveDate;
use serde::de::DeserializeSeed;
use serde_json::de::{Read, SliceRead, StrRead};

use super::{
    Citizen, CitizenPatch, DATASET,
    faults::Faults,
    fields::{Fields, Purpose, ReadCitizens, ReadFields, ReadImport},
    relations,
};
use crate::datasets::{
    Column, Fault,
    json::{self, Any, Take},
};

/// A list of at least so many bytes is read in two halves at once: below, it takes less time than starting a thread is worth.
const HALVED_FROM: usize = 256 << 10;

/// Most relatives in a change: more than a set has citizens.
const RELATIVES: usize = 1_000_000;

/// Reads `{"citizens": […]}`.
pub fn read_import(body: &[u8], today: NaiveDate) -> Result<Vec<Citizen>, Faults> {
    let (mut fields, mut faults) = read_citizens(body, today)?;
    // Without every number and every list nobody can tell what is unknown or not mutual.
    let related = fields.iter_mut().map(|fields| Some((fields.citizen_id?, fields.rest.relatives.take()?)));
    if let Some(related) = related.collect::<Option<Vec<_>>>() {
        let (ids, mut relatives): (Vec<_>, Vec<_>) = related.into_iter().unzip();
        if !relations::hold(&ids, &mut relatives) {
            // The lists are in order now: only the body knows the places.
            let (again, _) = read_citizens(body, today)?;
            let unsorted: Vec<_> =
                again.into_iter().map(|fields| fields.rest.relatives.unwrap_or_default()).collect();
            relatives.iter_mut().for_each(|list| list.sort_unstable());
            relations::faults(&ids, &unsorted, &relatives, &mut faults);
        }
        for (fields, relatives) in fields.iter_mut().zip(relatives) {
            fields.rest.relatives = Some(relatives);
        }
    }
    if faults.total > 0 {
        return Err(faults);
    }
    // Without a fault every citizen is complete.
    Ok(fields.into_iter().filter_map(Fields::into_citizen).collect())
}

/// Reads the change of a citizen. Whether its relatives exist, the database knows.
pub fn read_patch(body: &[u8], today: NaiveDate) -> Result<CitizenPatch, Faults> {
    let mut faults = Faults { numbers_left: RELATIVES, ..Faults::default() };
    let read =
        ReadFields { purpose: Purpose::Patch, place: None, columns: &columns_on(today), faults: &mut faults };
    let patch = read_all(body, read)?.rest;
    let mut seen = std::collections::HashSet::new();
    for (index, relative) in patch.relatives.iter().flatten().enumerate() {
        if !seen.insert(*relative) {
            let message = format!("the relative {relative} is listed twice");
            faults.add(|| format!("/relatives/{index}"), Fault::new("not_unique", message));
        }
    }
    if faults.total == 0 { Ok(patch) } else { Err(faults) }
}

fn read_citizens(body: &[u8], today: NaiveDate) -> Result<(Vec<Fields>, Faults), Faults> {
    let halves = if body.len() < HALVED_FROM { None } else { read_halves(body, today) };
    halves.map_or_else(|| read_whole(body, today), |fields| Ok((fields, Faults::default())))
}

/// Reads both halves of the list at once. `None`: there is a fault, or no place to part it, and it must be read as a whole.
///
/// The list is parted at a comma between `}` and `{`, and each half completed to a body of its own. Whether that comma stands between
/// two citizens, and not inside a text or deeper, shows by itself: otherwise what is before it has no end.
fn read_halves(body: &[u8], today: NaiveDate) -> Option<Vec<Fields>> {
    let comma = middle(body)?;
    let (first, second) = (&body[..comma], &body[comma + 1..]);
    let read = |half: [&[u8]; 2]| match read_whole(&half.concat(), today) {
        Ok((fields, faults)) if faults.total == 0 => Some(fields),
        _ => None,
    };
    let (first, second) = std::thread::scope(|scope| {
        let first = scope.spawn(|| read([first, b"]}"]));
        let second = read([b"{\"citizens\":[", second]);
        (first.join(), second)
    });
    // Should the other thread have panicked, this one will too, where it is taken care of.
    let (mut fields, second) = (first.ok()??, second?);
    fields.extend(second);
    Some(fields)
}

/// The place of the first comma between `}` and `{` in the second half.
fn middle(body: &[u8]) -> Option<usize> {
    let half = body.len() / 2;
    let stands_between = |comma: &usize| {
        let before = body[..*comma].trim_ascii_end().last();
        let after = body[comma + 1..].trim_ascii_start().first();
        before == Some(&b'}') && after == Some(&b'{')
    };
    memchr::memchr_iter(b',', &body[half..]).map(|place| half + place).find(stands_between)
}

fn read_whole(body: &[u8], today: NaiveDate) -> Result<(Vec<Fields>, Faults), Faults> {
    let mut faults = Faults::of_set(body.len());
    let fields =
        read_all(body, ReadImport(ReadCitizens { columns: &columns_on(today), faults: &mut faults }))?;
    Ok((fields, faults))
}

/// The columns, whose rules depend on the day.
fn columns_on(today: NaiveDate) -> Vec<Column> {
    DATASET.schema.columns.iter().map(|column| column.on(today)).collect()
}

fn read_all<'de, T: Take<'de>>(body: &'de [u8], take: T) -> Result<T::Taken, Faults> {
    let body = json::without_bom(body);
    match simdutf8::basic::from_utf8(body) {
        // Then no text has to be looked at once more.
        Ok(text) => read_from(StrRead::new(text), take),
        Err(_) => read_from(SliceRead::new(body), take),
    }
}

fn read_from<'de, T: Take<'de>>(input: impl Read<'de>, take: T) -> Result<T::Taken, Faults> {
    let mut json = serde_json::Deserializer::new(input);
    let taken = Any(take).deserialize(&mut json).map_err(|error| Faults::malformed(&error))?;
    json.end().map_err(|error| Faults::malformed(&error))?;
    Ok(taken)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    const TODAY: NaiveDate = NaiveDate::from_ymd_opt(2026, 11, 20).expect("a day");

    fn citizen(number: usize, name: &str) -> Value {
        json!({
            "citizen_id": number, "town": "Москва", "street": "s", "building": "1", "apartment": 1, "name": name,
            "birth_date": "29.02.2000", "gender": "male", "relatives": [],
        })
    }

    /// Texts that look like the end of one citizen and the beginning of the next, too.
    fn bodies() -> impl Strategy<Value = String> {
        let name = prop_oneof![Just("Ивана"), Just("a},{b"), Just("a\"},{\"b"), Just("]}"), Just("")];
        let citizen = (name, 0..12_usize, any::<bool>()).prop_map(|(name, number, is_good)| {
            let mut citizen = citizen(number, name);
            if !is_good {
                citizen["relatives"] = json!([{ "a": [{}, {}] }, {}]);
            }
            citizen
        });
        let good = proptest::collection::vec(citizen, 0..8).prop_map(|list| json!({ "citizens": list }));
        let text = (good, any::<bool>()).prop_map(|(body, spaced)| {
            if spaced { serde_json::to_string_pretty(&body).expect("it is JSON") } else { body.to_string() }
        });
        (text, proptest::option::weighted(0.3, (any::<prop::sample::Index>(), "[]},{\"a ]"))).prop_map(
            |(text, broken)| match broken {
                Some((place, by)) => {
                    let place = (0..=text.len())
                        .rev()
                        .find(|at| text.is_char_boundary(*at) && *at <= place.index(text.len() + 1));
                    let (before, after) = text.split_at(place.unwrap_or(0));
                    format!("{before}{by}{after}")
                }
                None => text,
            },
        )
    }

    proptest! {
        #[test]
        fn halves_are_read_as_the_whole_is(body in bodies()) {
            if let Some(halves) = read_halves(body.as_bytes(), TODAY) {
                let (whole, faults) = read_whole(body.as_bytes(), TODAY).expect("it is well-formed");
                prop_assert_eq!(halves, whole);
                prop_assert_eq!(faults.total, 0);
            }
        }
    }

    #[test]
    fn a_list_without_faults_is_read_in_halves() {
        for separator in [",", " ,\n"] {
            let list = (0..9).map(|number| citizen(number, "Иван").to_string()).collect::<Vec<_>>();
            let body = format!(r#"{{"citizens": [{}]}}"#, list.join(separator));
            let halves = read_halves(body.as_bytes(), TODAY).expect("it can be parted");
            assert_eq!(halves.len(), 9);
            assert_eq!(halves, read_whole(body.as_bytes(), TODAY).expect("well-formed").0);
        }
    }

    #[test]
    fn the_shortest_set_of_citizens_who_are_all_related_is_read() {
        let ids = (0..1_000).map(|id| id.to_string()).collect::<Vec<_>>();
        let relatives = ids.join(",");
        let citizen = |id: &String| {
            format!(
                r#"{{"citizen_id":{id},"town":"a","street":"a","building":"1","apartment":1,"name":"a","birth_date":"01.01.2000","gender":"male","relatives":[{relatives}]}}"#
            )
        };
        let citizens = ids.iter().map(citizen).collect::<Vec<_>>().join(",");
        let read = read_import(format!(r#"{{"citizens":[{citizens}]}}"#).as_bytes(), TODAY);
        assert_eq!(read.expect("it is good").len(), 1_000);
    }

    #[test]
    fn more_numbers_than_there_can_be_are_not_kept() {
        let mut one = citizen(1, "Иван");
        one["relatives"] = vec![1; 10_000].into();
        let faults =
            read_import(json!({ "citizens": [one] }).to_string().as_bytes(), TODAY).expect_err("twice");
        assert_eq!(faults.total, 1);
        assert_eq!((&*faults.listed[0].0, faults.listed[0].1.code), ("/citizens/0/relatives", "not_unique"));
    }
}
