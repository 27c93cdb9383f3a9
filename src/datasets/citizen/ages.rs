//! The ages of many citizens: counted, so that percentiles are exact and nothing is sorted.

use chrono::NaiveDate;

/// How many citizens have which age.
#[derive(Debug, Default)]
pub struct Ages {
    /// By full years.
    counts: Vec<u64>,
    citizens: u64,
}

impl Ages {
    /// Counts somebody born on that day, which is before `today`.
    ///
    /// Full years by the calendar, as PostgreSQL's `age` and Python's `date` have them: who is born on 29 February is a year older on
    /// 1 March of a common year.
    pub fn add(&mut self, born: NaiveDate, today: NaiveDate) {
        let age = today.years_since(born).unwrap_or(0) as usize;
        if age >= self.counts.len() {
            self.counts.resize(age + 1, 0);
        }
        self.counts[age] += 1;
        self.citizens += 1;
    }

    /// Whether nobody was counted.
    pub fn is_empty(&self) -> bool {
        self.citizens == 0
    }

    /// The age that `percent` of 100 do not exceed, between two ages linear; 0 of nobody. Whole numbers all the way: the result has
    /// exactly two decimals, so there is nothing to round.
    ///
    /// <https://numpy.org/doc/stable/reference/generated/numpy.percentile.html>, method "linear".
    pub fn percentile(&self, percent: u64) -> f64 {
        let place = self.citizens.saturating_sub(1) * percent;
        let (low, hundredths) = (self.at(place / 100), place % 100);
        let high = self.at(place / 100 + 1);
        #[expect(clippy::cast_precision_loss, reason = "ages in hundredths are small")]
        let age_hundredths = (low * 100 + (high - low) * hundredths) as f64;
        age_hundredths / 100.0
    }

    /// The age at a place of all in their order, from 0; the greatest beyond the end.
    fn at(&self, place: u64) -> u64 {
        let mut before = 0;
        for (age, count) in (0..).zip(&self.counts) {
            before += count;
            if place < before {
                return age;
            }
        }
        self.counts.len().saturating_sub(1) as u64
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As numpy computes it: over all values, sorted, in floating point.
    fn as_numpy(ages: &[u32], percent: f64) -> f64 {
        let mut sorted: Vec<f64> = ages.iter().copied().map(f64::from).collect();
        sorted.sort_by(f64::total_cmp);
        let index = (sorted.len() - 1) as f64 * percent / 100.0;
        let (low, high) = (sorted[index.floor() as usize], sorted[index.ceil() as usize]);
        low + (high - low) * index.fract()
    }

    proptest! {
        #[test]
        fn percentiles_are_those_of_numpy(years in proptest::collection::vec(0..120_u32, 1..200)) {
            let today = NaiveDate::from_ymd_opt(2026, 11, 20).expect("a day");
            let mut ages = Ages::default();
            for years in &years {
                ages.add(today - chrono::Months::new(years * 12), today);
            }
            for percent in [50, 75, 99] {
                let expected = as_numpy(&years, percent as f64);
                let exact = ages.percentile(percent);
                prop_assert!((exact - expected).abs() < 1e-9, "{percent}: {exact} {expected}");
            }
        }
    }
}
