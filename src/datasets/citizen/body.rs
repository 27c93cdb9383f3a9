//! Bodies of requests: a list of new citizens, and a change of one. Every violated rule is found, each with its place; a
//! body without any is read once, straight into citizens.

use chrono::NaiveDate;
use serde::de::DeserializeSeed;

use super::{
    Citizen, CitizenPatch,
    faults::Faults,
    fields::{Fields, Purpose, ReadCitizens, ReadFields, ReadImport},
    relations,
};
use crate::datasets::{
    Fault,
    json::{Any, Take},
};

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
    let mut faults = Faults::default();
    let read = ReadFields { purpose: Purpose::Patch, place: None, today, faults: &mut faults };
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
    let mut faults = Faults::default();
    let fields = read_all(body, ReadImport(ReadCitizens { today, faults: &mut faults }))?;
    Ok((fields, faults))
}

fn read_all<'de, T: Take<'de>>(body: &'de [u8], take: T) -> Result<T::Taken, Faults> {
    let mut json = serde_json::Deserializer::from_slice(body);
    let taken = Any(take).deserialize(&mut json).map_err(|error| Faults::malformed(&error))?;
    json.end().map_err(|error| Faults::malformed(&error))?;
    Ok(taken)
}
