//! Who will ask for courses.

use poem::Body;
use poem_openapi::{ApiResponse, Object, payload::Binary, registry::MetaSchema, types::Example};
use serde::Serialize;

use super::{GEO_JSON, features};
use crate::{
    api::{
        Context,
        citizens::ListRefusal,
        problem::{Internal, Invalid},
        schema,
        stream::{self, JsonText, StreamRefusal, Write},
    },
    db::{
        citizens::Snapshot,
        towns::{self, Demand},
    },
    ingest::export,
};

const CSV: &str = "text/csv";
const COLUMNS: [&str; 6] = ["town", "age_from", "age_to", "channel", "citizens", "presents"];

/// Where groups begin, years.
const AGE_GROUPS: [i32; 5] = [18, 25, 35, 45, 60];
/// More groups say no more.
const MAX_GROUPS: usize = 32;
/// Nobody is older.
const MAX_AGE: i32 = 150;

/// Citizens of one age group in one town, brought by one channel
#[derive(Debug, Clone, PartialEq, Object, Serialize)]
#[oai(rename = "Demand")]
pub(super) struct DemandView {
    /// The town.
    town: String,
    /// The least age of the group, years.
    age_from: i32,
    /// The greatest age of the group, years; null for the last group.
    age_to: Option<i32>,
    /// The advertising channel; null for citizens without one.
    channel: Option<String>,
    /// How many citizens they are.
    citizens: i64,
    /// How many presents they buy in a year: one for each relative of each of them.
    presents: i64,
}

/// `{"data": […]}`
#[derive(Debug, Object)]
#[oai(example)]
pub(super) struct DemandList {
    /// By town, age and channel; groups without citizens are left out.
    data: Vec<DemandView>,
}

impl Example for DemandList {
    fn example() -> Self {
        let row = DemandView {
            town: "Москва".to_owned(),
            age_from: 25,
            age_to: Some(34),
            channel: Some("radio".to_owned()),
            citizens: 120,
            presents: 260,
        };
        Self { data: vec![row] }
    }
}

/// The same as GeoJSON.
pub(super) struct DemandFeatures;

schema::object!(DemandFeatures, "DemandFeatures", features_schema, DemandView);

fn features_schema() -> MetaSchema {
    features::schema::<DemandView>()
}

#[derive(ApiResponse)]
pub(super) enum DemandAnswer {
    /// The demand
    #[oai(status = 200)]
    Json(JsonText<DemandList>),
    /// As a file with a header
    #[oai(status = 200, content_type = "text/csv")]
    Csv(Binary<Body>),
    /// As GeoJSON: towns where the airports of the city of that name are
    #[oai(status = 200, content_type = "application/geo+json")]
    GeoJson(JsonText<DemandFeatures>),
}

pub(super) async fn answer(
    context: &Context,
    snapshot: Snapshot,
    bounds: Vec<i32>,
    media_type: &str,
) -> Result<DemandAnswer, ListRefusal> {
    let format = match media_type {
        CSV => Format::Csv,
        GEO_JSON => Format::GeoJson,
        _ => Format::Json,
    };
    let with_positions = format == Format::GeoJson;
    let rows = towns::demand(snapshot, context.clock.today(), &bounds, with_positions).await?;
    let text = stream::write(rows, Rows { bounds, format, written: false }).await?;
    Ok(match format {
        Format::Json => DemandAnswer::Json(JsonText::new(text)),
        Format::Csv => DemandAnswer::Csv(Binary(text)),
        Format::GeoJson => DemandAnswer::GeoJson(JsonText::new(text)),
    })
}

/// Where groups begin, as it is asked for.
pub(super) fn bounds(age_groups: Option<&str>) -> Result<Vec<i32>, Invalid> {
    let Some(text) = age_groups else { return Ok(AGE_GROUPS.to_vec()) };
    let bounds: Option<Vec<i32>> = text
        .split(',')
        .map(|bound| bound.parse().ok().filter(|bound| (1..=MAX_AGE).contains(bound)))
        .collect();
    match bounds {
        Some(bounds) if bounds.len() < MAX_GROUPS && bounds.is_sorted_by(|a, b| a < b) => Ok(bounds),
        _ => {
            let message = format!(
                "age_groups must be up to {} ages from 1 to {MAX_AGE}, ascending, with commas between them",
                MAX_GROUPS - 1
            );
            Err(Invalid::parameter("age_groups", "not_age_groups", message))
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Format {
    Json,
    Csv,
    GeoJson,
}

struct Rows {
    bounds: Vec<i32>,
    format: Format,
    written: bool,
}

impl Rows {
    fn view(&self, demand: Demand) -> DemandView {
        let Demand { town, age_group, channel, citizens, presents, position: _ } = demand;
        let below = age_group.checked_sub(1).and_then(|below| self.bounds.get(below));
        DemandView {
            town: town.as_ref().to_owned(),
            age_from: below.copied().unwrap_or(0),
            age_to: self.bounds.get(age_group).map(|bound| bound - 1),
            channel: channel.map(|channel| channel.as_ref().to_owned()),
            citizens,
            presents,
        }
    }
}

/// A line in the order of [`COLUMNS`].
fn line(view: DemandView) -> [String; 6] {
    let DemandView { town, age_from, age_to, channel, citizens, presents } = view;
    let age_to = age_to.map(|age| age.to_string()).unwrap_or_default();
    [
        town,
        age_from.to_string(),
        age_to,
        channel.unwrap_or_default(),
        citizens.to_string(),
        presents.to_string(),
    ]
}

fn csv<F: AsRef<[u8]>>(record: [F; 6]) -> Result<Vec<u8>, Internal> {
    export::csv(b',', b'"', [record]).map_err(Internal::because)
}

impl Write<Demand> for Rows {
    fn begin(&mut self, out: &mut Vec<u8>) {
        match self.format {
            Format::Json => out.extend_from_slice(b"{\"data\":["),
            Format::Csv => out.extend_from_slice((COLUMNS.join(",") + "\r\n").as_bytes()),
            Format::GeoJson => out.extend_from_slice(features::BEGIN),
        }
    }

    fn row(&mut self, demand: Demand, out: &mut Vec<u8>) -> Result<(), StreamRefusal> {
        let position = demand.position;
        let view = self.view(demand);
        if std::mem::replace(&mut self.written, true) && self.format != Format::Csv {
            out.push(b',');
        }
        match self.format {
            Format::Json => Ok(serde_json::to_writer(out, &view)?),
            Format::Csv => {
                out.extend_from_slice(&csv(line(view))?);
                Ok(())
            }
            Format::GeoJson => features::write(&view, position, out),
        }
    }

    fn end(&mut self, out: &mut Vec<u8>) -> Result<(), StreamRefusal> {
        if self.format != Format::Csv {
            out.extend_from_slice(b"]}");
        }
        Ok(())
    }
}
