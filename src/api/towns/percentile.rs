//! Percentiles of age by town.

use chrono::NaiveDate;
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
    datasets::citizen::ages::Ages,
    db::{
        export::Row,
        towns::{self, Births, Position},
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
    let rows = towns::births(snapshot, with_positions);
    let towns = Towns { today: context.clock.today(), with_positions, open: None, written: false };
    let text = stream::write(&context.config, rows, towns).await?;
    Ok(if with_positions {
        PercentilesAnswer::GeoJson(JsonText::new(text))
    } else {
        PercentilesAnswer::Json(JsonText::new(text))
    })
}

/// A town whose rows are being read.
struct Town {
    name: String,
    ages: Ages,
    position: Option<Position>,
}

impl Town {
    fn percentiles(&self) -> AgePercentiles {
        AgePercentiles {
            town: self.name.clone(),
            p50: self.ages.percentile(50),
            p75: self.ages.percentile(75),
            p99: self.ages.percentile(99),
        }
    }
}

/// Towns in their order, each written when its last row is read.
struct Towns {
    today: NaiveDate,
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
        let Births { town, dates, position } = Births::read(&row, self.with_positions)?;
        if self.open.as_ref().is_none_or(|open| open.name != town) {
            self.close(out)?;
        }
        let open =
            self.open.get_or_insert_with(|| Town { name: town.to_owned(), ages: Ages::default(), position });
        for born in dates {
            open.ages.add(born, self.today);
        }
        Ok(())
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), StreamRefusal> {
        self.close(out)?;
        out.extend_from_slice(b"]}");
        Ok(())
    }
}
