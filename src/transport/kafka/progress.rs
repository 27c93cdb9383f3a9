//! Which messages of a partition are dealt with, and so how far its offset may be committed: to below the lowest that is not.

use std::collections::{BTreeMap, HashMap};

/// A delivered message, for as long as its partition stays with this consumer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Place {
    pub(super) partition: i32,
    pub(super) offset: i64,
    /// Which time the partition is here. One that went and came back begins anew at its committed offset.
    stay: u64,
}

/// The partitions of one consumer.
#[derive(Debug, Default)]
pub(super) struct Progress {
    stays: u64,
    partitions: HashMap<i32, Partition>,
}

#[derive(Debug)]
struct Partition {
    stay: u64,
    /// What was delivered from the lowest one on that is not dealt with; `true`: dealt with out of turn.
    delivered: BTreeMap<i64, bool>,
    /// To be committed.
    position: Option<i64>,
}

impl Progress {
    pub(super) fn assign(&mut self, partition: i32) {
        self.stays += 1;
        let new = Partition { stay: self.stays, delivered: BTreeMap::new(), position: None };
        self.partitions.insert(partition, new);
    }

    pub(super) fn revoke(&mut self, partition: i32) {
        self.partitions.remove(&partition);
    }

    /// The partitions that are here, in order.
    pub(super) fn assigned(&self) -> Vec<i32> {
        let mut assigned: Vec<_> = self.partitions.keys().copied().collect();
        assigned.sort_unstable();
        assigned
    }

    /// How many messages of a partition were delivered and are not dealt with.
    pub(super) fn pending(&self, partition: i32) -> i64 {
        let delivered = self.partitions.get(&partition).map(|partition| &partition.delivered);
        delivered.map_or(0, |delivered| delivered.values().filter(|done| !**done).count() as i64)
    }

    /// A message has come; `None` when its partition has gone meanwhile.
    pub(super) fn delivered(&mut self, partition: i32, offset: i64) -> Option<Place> {
        let entry = self.partitions.get_mut(&partition)?;
        entry.delivered.insert(offset, false);
        Some(Place { partition, offset, stay: entry.stay })
    }

    /// Whether the message is still this consumer's to deal with.
    pub(super) fn holds(&self, place: Place) -> bool {
        self.partitions.get(&place.partition).is_some_and(|partition| partition.stay == place.stay)
    }

    /// The message is dealt with. Says nothing for one whose partition has gone: it is another consumer's by now.
    pub(super) fn done(&mut self, place: Place) {
        let Some(partition) = self.partitions.get_mut(&place.partition) else { return };
        if partition.stay != place.stay {
            return;
        }
        if let Some(done) = partition.delivered.get_mut(&place.offset) {
            *done = true;
        }
        while let Some(first) = partition.delivered.first_entry()
            && *first.get()
        {
            partition.position = Some(first.remove_entry().0 + 1);
        }
    }

    /// What is to be committed: partition and offset. It is not offered again unless [`Progress::uncommitted`].
    pub(super) fn take_positions(&mut self) -> Vec<(i32, i64)> {
        let mut positions: Vec<_> = self
            .partitions
            .iter_mut()
            .filter_map(|(number, partition)| Some((*number, partition.position.take()?)))
            .collect();
        positions.sort_unstable();
        positions
    }

    /// Whether there is something to commit.
    pub(super) fn has_positions(&self) -> bool {
        self.partitions.values().any(|partition| partition.position.is_some())
    }

    /// A commit failed. A later position stays as it is, and one of a partition that has gone is nobody's business.
    pub(super) fn uncommitted(&mut self, partition: i32, position: i64) {
        if let Some(partition) = self.partitions.get_mut(&partition) {
            partition.position.get_or_insert(position);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn an_offset_is_committed_up_to_the_lowest_message_that_is_not_dealt_with() {
        let mut progress = Progress::default();
        progress.assign(3);
        // Markers of transactions take offsets too: here 11.
        let places = [10, 12, 13].map(|offset| progress.delivered(3, offset).expect("assigned"));
        progress.done(places[1]);
        assert_eq!(progress.take_positions(), []);
        progress.done(places[0]);
        assert_eq!(progress.take_positions(), [(3, 13)]);
        assert_eq!(progress.take_positions(), []);
        assert!(!progress.has_positions());
        progress.uncommitted(3, 13);
        assert!(progress.has_positions());
        assert_eq!(progress.take_positions(), [(3, 13)]);
        progress.done(places[2]);
        progress.uncommitted(3, 13);
        assert_eq!(progress.take_positions(), [(3, 14)]);
    }

    #[test]
    fn what_was_delivered_before_a_partition_went_counts_no_more_when_it_is_back() {
        let mut progress = Progress::default();
        progress.assign(0);
        let before = progress.delivered(0, 5).expect("assigned");
        progress.revoke(0);
        assert_eq!(progress.delivered(0, 6), None);
        progress.done(before);
        progress.uncommitted(0, 5);
        assert_eq!(progress.take_positions(), []);
        progress.assign(0);
        assert!(!progress.holds(before));
        let again = progress.delivered(0, 5).expect("assigned");
        progress.done(before);
        assert_eq!(progress.take_positions(), []);
        progress.done(again);
        assert_eq!(progress.take_positions(), [(0, 6)]);
    }

    proptest! {
        #[test]
        fn nothing_is_committed_beyond_what_is_dealt_with(order in Just((0..20_i64).collect::<Vec<_>>()).prop_shuffle(), until in 0..=20_usize) {
            let mut progress = Progress::default();
            progress.assign(0);
            let places: Vec<_> = (0..20).map(|offset| progress.delivered(0, offset).expect("assigned")).collect();
            let mut committed = 0;
            for &done in &order[..until] {
                progress.done(places[done as usize]);
                if let [(_, position)] = progress.take_positions()[..] {
                    prop_assert!(position > committed);
                    committed = position;
                }
            }
            let lowest = (0..20).find(|offset| !order[..until].contains(offset)).unwrap_or(20);
            prop_assert_eq!(committed, lowest);
        }
    }
}
