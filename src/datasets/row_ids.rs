//! The ids of rows that files bring: UUIDs of version 7 (RFC 9562, section 5.7) that the place of a row decides, so that a chunk that is
//! checked again has the same ones.

use chrono::{DateTime, Utc};
use uuid::Uuid;

/// Bits of a row's number. An import's has what is left of the 74 that are free.
const ROW_BITS: u32 = 40;
/// Bits of the 74 that stand between the version and the variant.
const UPPER_BITS: u32 = 12;
const LOWER_BITS: u32 = 62;

/// Makes the ids of the rows of one import.
#[derive(Debug, Clone, Copy)]
pub struct RowIds {
    milliseconds: u64,
}

impl RowIds {
    /// Of an import that came then.
    pub fn new(created_at: DateTime<Utc>) -> Self {
        Self { milliseconds: created_at.timestamp_millis().max(0).cast_unsigned() }
    }

    /// The id of a row. Two rows have the same only beyond 2^34 imports of one millisecond, or 2^40 rows of one import.
    pub fn of(&self, import_id: i64, row: i64) -> Uuid {
        let place = (u128::from(import_id.cast_unsigned()) << ROW_BITS)
            | (u128::from(row.cast_unsigned()) & ((1 << ROW_BITS) - 1));
        let upper = (place >> LOWER_BITS) & ((1 << UPPER_BITS) - 1);
        let lower = place & ((1 << LOWER_BITS) - 1);
        let time = u128::from(self.milliseconds) & ((1 << 48) - 1);
        Uuid::from_u128((time << 80) | (7 << 76) | (upper << 64) | (0b10 << 62) | lower)
    }

    /// The greatest id that a row of the import can have.
    pub fn last(&self, import_id: i64) -> Uuid {
        self.of(import_id, (1 << ROW_BITS) - 1)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_row_has_an_id_of_its_own_in_the_order_of_the_rows() {
        let ids = RowIds::new(DateTime::from_timestamp_millis(1_796_062_515_123).expect("a time"));
        let places = [(1, 1), (1, 2), (1, (1 << 40) - 1), (2, 1), (1 << 20, 7), (1 << 33, 7)];
        let made: Vec<_> = places.iter().map(|(import, row)| ids.of(*import, *row)).collect();
        assert!(made.is_sorted());
        assert_eq!(made.iter().collect::<BTreeSet<_>>().len(), places.len());
        for id in made {
            assert_eq!((id.get_version_num(), id.get_variant()), (7, uuid::Variant::RFC4122));
            assert_eq!(id.get_timestamp().expect("version 7 has one").to_unix().0, 1_796_062_515);
        }
    }
}
