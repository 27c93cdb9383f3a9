//! The symmetry checksum tells whether all relations of a file are listed from both sides, without bringing any two rows together.
//!
//! Every relation is hashed as an unordered pair, and all hashes are combined by exclusive or. A pair that is listed from both
//! sides cancels itself out; whatever is left over is listed from one side only. Numbers are unique where this is asked, and
//! no list names anybody twice. That a fault goes unnoticed has a chance of 2⁻⁶⁴, and nobody can arrange it: the hash is
//! keyed by the name that the archive gave the upload, which is random and was not made when the file was.

use std::hash::Hasher;

use sha2::{Digest, Sha256};
use siphasher::sip::SipHasher13;

use crate::datasets::{Dataset, Value};

/// Computes the checksum of the relations of an import's rows: 0 when they are symmetric.
#[derive(Debug, Clone)]
pub(super) struct SymmetryChecksum {
    /// Places among the dataset's columns.
    number: usize,
    list: usize,
    keyed: SipHasher13,
}

/// The relations of one row.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Row {
    number: i64,
    /// What its relations come to.
    pub(super) unpaired: u64,
}

impl SymmetryChecksum {
    /// For rows of this dataset, of the upload that the archive calls `source`. `None`: it knows no relations.
    pub(super) fn new(dataset: &Dataset, source: &str) -> Option<Self> {
        let relation = dataset.relation()?;
        let (number, _) = dataset.column(relation.number)?;
        let (list, _) = dataset.column(relation.list)?;
        let mut key = [0; 16];
        key.copy_from_slice(&Sha256::digest(source)[..16]);
        Some(Self { number, list, keyed: SipHasher13::new_with_key(&key) })
    }

    /// Takes note of a column's value; columns come in their order.
    pub(super) fn see(&self, row: &mut Row, column: usize, value: &Value<'_>) {
        match value {
            Value::Integer(number) if column == self.number => row.number = *number,
            Value::Integers(list) if column == self.list => {
                row.unpaired = list.iter().fold(0, |sum, other| sum ^ self.hash(row.number, *other));
            }
            _ => {}
        }
    }

    /// Of the pair, in whichever order. Who is related to itself needs nobody else.
    fn hash(&self, one: i64, other: i64) -> u64 {
        if one == other {
            return 0;
        }
        let mut hasher = self.keyed;
        hasher.write_i64(one.min(other));
        hasher.write_i64(one.max(other));
        hasher.finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::datasets::citizen::DATASET;

    proptest! {
        #[test]
        fn nothing_is_left_over_exactly_when_all_relations_are_mutual(
            relations in proptest::collection::btree_set((0_i64..6, 0_i64..6), 0..12),
            mutual in any::<bool>(),
        ) {
            let mut relations = relations;
            if mutual {
                relations.extend(relations.clone().into_iter().map(|(one, other)| (other, one)));
            }
            let expected = relations.iter().all(|(one, other)| relations.contains(&(*other, *one)));
            let symmetry = SymmetryChecksum::new(&DATASET, "uploads/1").expect("citizens have relations");
            let mut left = 0;
            for number in 0..6 {
                let list = relations.iter().filter(|(one, _)| *one == number).map(|(_, other)| *other).collect();
                let mut row = Row::default();
                symmetry.see(&mut row, symmetry.number, &Value::Integer(number));
                symmetry.see(&mut row, symmetry.list, &Value::Integers(list));
                left ^= row.unpaired;
            }
            prop_assert_eq!(left == 0, expected);
        }
    }

    #[test]
    fn the_number_comes_before_the_list() {
        let symmetry = SymmetryChecksum::new(&DATASET, "").expect("citizens have relations");
        assert!(symmetry.number < symmetry.list);
    }

    #[test]
    fn what_a_fault_hashes_to_depends_on_the_upload() {
        let hash = |source| SymmetryChecksum::new(&DATASET, source).map(|symmetry| symmetry.hash(1, 2));
        assert_ne!(hash("uploads/1"), hash("uploads/2"));
    }
}
