//! Percentiles of age by town.

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
        citizens::Snapshot,
        towns::{self, TownAges},
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
    snapshot: Snapshot,
    media_type: &str,
) -> Result<PercentilesAnswer, ListRefusal> {
    let with_positions = media_type == GEO_JSON;
    let ages = towns::ages(snapshot, context.clock.today(), with_positions).await?;
    let text = stream::write(ages, Towns { with_positions, written: false }).await?;
    Ok(if with_positions {
        PercentilesAnswer::GeoJson(JsonText::new(text))
    } else {
        PercentilesAnswer::Json(JsonText::new(text))
    })
}

/// Towns in their order.
struct Towns {
    with_positions: bool,
    written: bool,
}

impl Write<TownAges> for Towns {
    fn begin(&mut self, out: &mut Vec<u8>) {
        out.extend_from_slice(if self.with_positions { features::BEGIN } else { b"{\"data\":[" });
    }

    fn row(&mut self, town: TownAges, out: &mut Vec<u8>) -> Result<(), StreamRefusal> {
        if std::mem::replace(&mut self.written, true) {
            out.push(b',');
        }
        let TownAges { town, ages, position } = town;
        let percentiles = AgePercentiles {
            town: town.into(),
            p50: ages.percentile(50),
            p75: ages.percentile(75),
            p99: ages.percentile(99),
        };
        if self.with_positions {
            features::write(&percentiles, position, out)
        } else {
            Ok(serde_json::to_writer(out, &percentiles)?)
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), StreamRefusal> {
        out.extend_from_slice(b"]}");
        Ok(())
    }
}
