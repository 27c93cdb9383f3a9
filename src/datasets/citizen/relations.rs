//! What must hold between the citizens of an import: numbers are unique, and relations unique, known and mutual.

use std::collections::{HashMap, HashSet};

use super::faults::Faults;
use crate::datasets::Fault;

/// Whether everything holds. Sorts everybody's relatives.
///
/// One walk over all relations: citizens come by ascending number, so that whoever is listed must find its
/// citizens in just this order at the front of what is left of its own list.
pub(super) fn hold(ids: &[i64], relatives: &mut [Vec<i64>]) -> bool {
    let places: HashMap<i64, usize> = ids.iter().enumerate().map(|(place, id)| (*id, place)).collect();
    if places.len() < ids.len() {
        return false;
    }
    for list in relatives.iter_mut() {
        list.sort_unstable();
        if list.windows(2).any(|pair| pair[0] == pair[1]) {
            return false;
        }
    }
    let mut order: Vec<usize> = (0..ids.len()).collect();
    order.sort_unstable_by_key(|place| ids[*place]);
    let mut matched = vec![0; ids.len()];
    for citizen in order {
        for relative in &relatives[citizen] {
            let Some(&place) = places.get(relative) else { return false };
            if relatives[place].get(matched[place]) != Some(&ids[citizen]) {
                return false;
            }
            matched[place] += 1;
        }
    }
    relatives.iter().zip(matched).all(|(list, matched)| list.len() == matched)
}

/// Everything that does not hold. `relatives` are as the body has them, `sorted` the same in order.
pub(super) fn faults(ids: &[i64], relatives: &[Vec<i64>], sorted: &[Vec<i64>], faults: &mut Faults) {
    let mut places = HashMap::new();
    for (place, id) in ids.iter().enumerate() {
        let first = *places.entry(*id).or_insert(place);
        if first != place {
            let message = format!("citizen_id {id} is also that of the citizen at /citizens/{first}");
            faults.add(|| format!("/citizens/{place}/citizen_id"), Fault::new("not_unique", message));
        }
    }
    for (place, (id, list)) in ids.iter().zip(relatives).enumerate() {
        let mut seen = HashSet::new();
        for (index, relative) in list.iter().enumerate() {
            let fault = if !seen.insert(relative) {
                Fault::new("not_unique", format!("the relative {relative} is listed twice"))
            } else {
                match places.get(relative) {
                    None => Fault::new("unknown_relative", format!("there is no citizen {relative}")),
                    Some(&other) if sorted[other].binary_search(id).is_err() => {
                        Fault::new("not_mutual", format!("the citizen {relative} does not list {id}"))
                    }
                    Some(_) => continue,
                }
            };
            faults.add(|| format!("/citizens/{place}/relatives/{index}"), fault);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// By the rules' own words.
    fn expected(ids: &[i64], relatives: &[Vec<i64>]) -> bool {
        let unique = |list: &[i64]| list.iter().collect::<HashSet<_>>().len() == list.len();
        let lists =
            |a: i64, b: i64| ids.iter().zip(relatives).any(|(id, list)| *id == a && list.contains(&b));
        unique(ids)
            && relatives.iter().all(|list| unique(list))
            && ids.iter().zip(relatives).all(|(id, list)| list.iter().all(|relative| lists(*relative, *id)))
    }

    fn check(ids: &[i64], relatives: &[Vec<i64>]) -> Result<(), TestCaseError> {
        let mut sorted = relatives.to_vec();
        let held = hold(ids, &mut sorted);
        prop_assert_eq!(held, expected(ids, relatives));
        sorted.iter_mut().for_each(|list| list.sort_unstable());
        let mut found = Faults::default();
        faults(ids, relatives, &sorted, &mut found);
        prop_assert_eq!(held, found.total == 0);
        Ok(())
    }

    proptest! {
        #[test]
        fn what_holds_and_what_has_faults_agree_with_the_rules(
            citizens in proptest::collection::vec((0_i64..6, proptest::collection::vec(0_i64..6, 0..4)), 0..6),
        ) {
            let (ids, relatives): (Vec<_>, Vec<_>) = citizens.into_iter().unzip();
            check(&ids, &relatives)?;
        }

        #[test]
        fn mutual_relations_hold_in_any_order(
            pairs in proptest::collection::btree_set((0_usize..8, 0_usize..8), 0..20),
            ids in Just((0_i64..8).collect::<Vec<_>>()).prop_shuffle(),
            broken in proptest::option::of(0_usize..8),
        ) {
            let mut relatives = vec![Vec::new(); 8];
            for (a, b) in pairs.into_iter().filter(|(a, b)| a <= b) {
                relatives[a].push(ids[b]);
                if a != b {
                    relatives[b].push(ids[a]);
                }
            }
            if let Some(broken) = broken {
                relatives[broken].pop();
            }
            check(&ids, &relatives)?;
        }
    }
}
