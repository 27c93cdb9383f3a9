//! Percentiles of age by town, from how many citizens of which age a town has: exact, without sorting citizens.

use poem_openapi::{ApiResponse, Object, registry::MetaSchema, types::Example};
use serde::Serialize;

use super::{GEO_JSON, features};
use crate::{
    api::{
        Context,
        citizens::ListRefusal,
        schema,
        stream::{self, JsonText, StreamRefusal, Write},
    },
    db::{
        export::Row,
        towns::{self, AgeCount, Position},
    },
};

/// Percentiles of the ages in a town
#[derive(Debug, Clone, PartialEq, Object, Serialize)]
pub(super) struct AgePercentiles {
    /// The town.
    town: String,
    /// The median age, years.
    p50: f64,
    /// The age that three quarters of the citizens do not exceed, years.
    p75: f64,
    /// The age that 99 of 100 citizens do not exceed, years.
    p99: f64,
}

/// `{"data": […]}`
#[derive(Debug, Object)]
#[oai(example)]
pub(super) struct AgePercentilesList {
    /// The towns by name.
    data: Vec<AgePercentiles>,
}

impl Example for AgePercentilesList {
    fn example() -> Self {
        Self {
            data: vec![AgePercentiles { town: "Москва".to_owned(), p50: 35.0, p75: 47.5, p99: 59.5 }]
        }
    }
}

/// The same as GeoJSON.
pub(super) struct AgePercentilesFeatures;

schema::object!(AgePercentilesFeatures, "AgePercentilesFeatures", features_schema, AgePercentiles);

fn features_schema() -> MetaSchema {
    features::schema::<AgePercentiles>()
}

#[derive(ApiResponse)]
pub(super) enum PercentilesAnswer {
    /// The percentiles of each town
    #[oai(status = 200)]
    Json(JsonText<AgePercentilesList>),
    /// As GeoJSON: towns where the airports of the city of that name are
    #[oai(status = 200, content_type = "application/geo+json")]
    GeoJson(JsonText<AgePercentilesFeatures>),
}

pub(super) async fn answer(
    context: &Context,
    import_id: i64,
    media_type: &str,
) -> Result<PercentilesAnswer, ListRefusal> {
    let with_positions = media_type == GEO_JSON;
    let snapshot = context.snapshot(import_id).await?;
    let rows = towns::ages(snapshot, import_id, context.clock.today(), with_positions);
    let towns = Towns { with_positions, open: None, written: false };
    let text = stream::write(&context.config, rows, towns).await?;
    Ok(if with_positions {
        PercentilesAnswer::GeoJson(JsonText::new(text))
    } else {
        PercentilesAnswer::Json(JsonText::new(text))
    })
}

/// The ages of one town, ascending.
struct Town {
    name: String,
    ages: Vec<(i32, i64)>,
    position: Option<Position>,
}

impl Town {
    fn percentiles(&self) -> AgePercentiles {
        AgePercentiles {
            town: self.name.clone(),
            p50: percentile(&self.ages, 50),
            p75: percentile(&self.ages, 75),
            p99: percentile(&self.ages, 99),
        }
    }
}

/// The percentile of counted ages, ascending, between two of them linear. Whole numbers all the way: the result has exactly two
/// decimals, so there is nothing to round.
///
/// <https://numpy.org/doc/stable/reference/generated/numpy.percentile.html>, method "linear".
fn percentile(ages: &[(i32, i64)], percent: i64) -> f64 {
    let citizens: i64 = ages.iter().map(|(_, count)| count).sum();
    let place = (citizens - 1) * percent;
    let (low, hundredths) = (place / 100, place % 100);
    let (low, high) = (age_at(ages, low), age_at(ages, low + 1));
    let age_hundredths = low * 100 + (high - low) * hundredths;
    #[expect(clippy::cast_precision_loss, reason = "ages in hundredths are small")]
    let age_hundredths = age_hundredths as f64;
    age_hundredths / 100.0
}

/// The age at a place, from 0; the last one beyond the end.
fn age_at(ages: &[(i32, i64)], place: i64) -> i64 {
    let mut before = 0;
    for (age, count) in ages {
        before += count;
        if place < before {
            return i64::from(*age);
        }
    }
    ages.last().map_or(0, |(age, _)| i64::from(*age))
}

/// Towns in their order, each written when its last age is read.
struct Towns {
    with_positions: bool,
    open: Option<Town>,
    written: bool,
}

impl Towns {
    fn close(&mut self, out: &mut Vec<u8>) -> Result<(), StreamRefusal> {
        let Some(town) = self.open.take() else { return Ok(()) };
        if std::mem::replace(&mut self.written, true) {
            out.push(b',');
        }
        if self.with_positions {
            features::write(&town.percentiles(), town.position, out)
        } else {
            Ok(serde_json::to_writer(out, &town.percentiles())?)
        }
    }
}

impl Write<Row> for Towns {
    fn begin(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.with_positions { features::BEGIN } else { b"{\"data\":[" });
    }

    fn row(&mut self, row: Row, out: &mut Vec<u8>) -> Result<(), StreamRefusal> {
        let AgeCount { town, age, citizens, position } = AgeCount::read(&row, self.with_positions)?;
        match &mut self.open {
            Some(open) if open.name == town => open.ages.push((age, citizens)),
            _ => {
                self.close(out)?;
                self.open = Some(Town { name: town.to_owned(), ages: vec![(age, citizens)], position });
            }
        }
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), StreamRefusal> {
        self.close(out)?;
        out.extend_from_slice(b"]}");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// As numpy computes it: over all values, sorted, in floating point.
    fn as_numpy(ages: &[i32], percent: f64) -> f64 {
        let mut sorted: Vec<f64> = ages.iter().copied().map(f64::from).collect();
        sorted.sort_by(f64::total_cmp);
        let index = (sorted.len() - 1) as f64 * percent / 100.0;
        let (low, high) = (sorted[index.floor() as usize], sorted[index.ceil() as usize]);
        low + (high - low) * index.fract()
    }

    fn counted(ages: &[i32]) -> Vec<(i32, i64)> {
        let mut counts = std::collections::BTreeMap::new();
        for age in ages {
            *counts.entry(*age).or_insert(0) += 1;
        }
        counts.into_iter().collect()
    }

    proptest! {
        #[test]
        fn percentiles_are_those_of_numpy(ages in proptest::collection::vec(0..120, 1..200)) {
            for percent in [50, 75, 99] {
                let exact = percentile(&counted(&ages), percent);
                let expected = as_numpy(&ages, percent as f64);
                prop_assert!((exact - expected).abs() < 1e-9, "{percent}: {exact} {expected}");
            }
        }
    }
}
