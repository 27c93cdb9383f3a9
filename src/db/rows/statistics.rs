//! Groups of rows, and what is told of each.

use std::time::Duration;

use chrono::NaiveDate;
use sqlx::{Postgres, QueryBuilder, Row as _};

use super::{Db, DbError, execute, filter, json, value};
use crate::datasets::{
    Dataset,
    query::{Bucket, Family, Function, Group, GroupedPlace, Statistics, Subject},
};

/// Most groups.
const MAX_GROUPS: usize = 10_000;

/// Why there are no statistics.
#[derive(Debug, thiserror::Error)]
pub enum StatisticsError {
    /// The rows are of more than [`MAX_GROUPS`] groups.
    #[error("there are more than {MAX_GROUPS} groups")]
    TooManyGroups,
    /// The database failed.
    #[error(transparent)]
    Database(#[from] DbError),
}

/// The groups of rows with what is told of each.
#[derive(Debug, Clone)]
pub struct Grouped {
    /// What was asked for: the groups, then the measures.
    pub names: Vec<String>,
    /// A value for each, as JSON.
    pub rows: Vec<Vec<String>>,
    place: Option<GroupedPlace>,
}

impl Grouped {
    /// `{"data":[{"town":…,"weight__avg":…}]}`
    pub fn json(&self) -> String {
        let rows = self.rows.iter().map(|row| self.object(row));
        format!("{{\"data\":[{}]}}", rows.collect::<Vec<_>>().join(","))
    }

    /// A CSV file with a header; null is the empty field.
    pub fn csv(&self) -> Result<String, csv::Error> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(&self.names)?;
        for row in &self.rows {
            writer.write_record(row.iter().map(|value| match serde_json::from_str(value) {
                Ok(serde_json::Value::String(text)) => text,
                Ok(serde_json::Value::Null) => String::new(),
                // As the database wrote it: a number has all its digits.
                _ => value.clone(),
            }))?;
        }
        let bytes = writer.into_inner().map_err(|error| error.into_error())?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// A GeoJSON collection of features. `None`: no point is grouped.
    pub fn geo_json(&self) -> Option<String> {
        let place = self.place?;
        let features = self.rows.iter().map(|row| {
            let value = |place: usize| row.get(place).map_or("null", String::as_str);
            let coordinates = match place {
                GroupedPlace::Point(point) => value(point).to_owned(),
                GroupedPlace::Degrees(longitude, latitude) => match (value(longitude), value(latitude)) {
                    ("null", _) | (_, "null") => "null".to_owned(),
                    (longitude, latitude) => format!("[{longitude},{latitude}]"),
                },
            };
            let geometry = match coordinates.as_str() {
                "null" => coordinates,
                _ => format!("{{\"type\":\"Point\",\"coordinates\":{coordinates}}}"),
            };
            format!("{{\"type\":\"Feature\",\"geometry\":{geometry},\"properties\":{}}}", self.object(row))
        });
        let features = features.collect::<Vec<_>>().join(",");
        Some(format!("{{\"type\":\"FeatureCollection\",\"features\":[{features}]}}"))
    }

    /// Names are made of letters, digits, `_` and `.`.
    fn object(&self, row: &[String]) -> String {
        let members = self.names.iter().zip(row).map(|(name, value)| format!("\"{name}\":{value}"));
        format!("{{{}}}", members.collect::<Vec<_>>().join(","))
    }
}

/// Puts rows together. Ages are those of `today`. The database stops after `time`.
pub async fn statistics(
    db: &Db,
    dataset: &Dataset,
    statistics: &Statistics,
    today: NaiveDate,
    time: Duration,
) -> Result<Grouped, StatisticsError> {
    let failed = || DbError::during("computing statistics");
    let mut query = QueryBuilder::new("");
    write(&mut query, dataset, statistics, today);
    let mut transaction = db.begin().await?;
    let limit = format!(
        "set local statement_timeout = {}; set local jit = off",
        time.as_millis().clamp(1, 3_600_000)
    );
    execute(&mut transaction, limit, "beginning to compute statistics").await?;
    let rows = query.build().persistent(false).fetch_all(&mut *transaction).await.map_err(failed())?;
    super::super::commit(transaction, "ending the computation of statistics").await?;
    if rows.len() > MAX_GROUPS {
        return Err(StatisticsError::TooManyGroups);
    }
    let columns = statistics.by.len() + statistics.measures.len();
    let read = |row: &sqlx::postgres::PgRow| (0..columns).map(|place| row.try_get(place)).collect();
    let rows: Result<Vec<Vec<String>>, sqlx::Error> = rows.iter().map(read).collect();
    let groups = statistics.by.iter().map(|group| group.name.clone());
    let names = groups.chain(statistics.measures.iter().map(|measure| measure.name.clone())).collect();
    Ok(Grouped { names, rows: rows.map_err(failed())?, place: statistics.place(dataset) })
}

/// The inner statement puts rows together, the outer one writes what came of it.
fn write(query: &mut QueryBuilder<Postgres>, dataset: &Dataset, statistics: &Statistics, today: NaiveDate) {
    let Statistics { filter, by, measures, zone } = statistics;
    let groups = by.iter().enumerate().map(|(place, group)| {
        let value = format!("s.g{place}");
        let value = match &group.bucket {
            Bucket::Value => json(dataset, &group.subject, &value),
            Bucket::Step(_) | Bucket::Age(_) => value,
            Bucket::Year => format!("to_char({value}, 'YYYY')"),
            Bucket::Quarter => format!("to_char({value}, 'YYYY-\"Q\"Q')"),
            Bucket::Month => format!("to_char({value}, 'YYYY-MM')"),
            Bucket::Week => format!("to_char({value}, 'IYYY-\"W\"IW')"),
            Bucket::Day => format!("to_char({value}, 'YYYY-MM-DD')"),
        };
        format!("coalesce(to_json({value})::text, 'null')")
    });
    let told = measures.iter().enumerate().map(|(place, measure)| {
        let value = format!("s.m{place}");
        let value = match &measure.function {
            Function::Min(subject) | Function::Max(subject) => json(dataset, subject, &value),
            _ => value,
        };
        format!("coalesce(to_json({value})::text, 'null')")
    });
    query.push("select ").push(groups.chain(told).collect::<Vec<_>>().join(", ")).push(" from (select ");
    for (place, group) in by.iter().enumerate() {
        push_group(query, dataset, group, place, (zone, today));
        query.push(format_args!(" as g{place}, "));
    }
    for (place, measure) in measures.iter().enumerate() {
        let comma = if place > 0 { ", " } else { "" };
        query.push(format_args!("{comma}{} as m{place}", aggregate(dataset, &measure.function)));
    }
    query.push(format_args!(" from {} r", dataset.table()));
    for (place, group) in by.iter().enumerate() {
        if let Subject::Over(over) = &group.subject {
            let value = value(dataset, &group.subject);
            query.push(format_args!(
                " left join lateral (select {value} as value from {} o where {}) o{place} on true",
                over.dataset.table(),
                filter::joined(dataset, over)
            ));
        }
    }
    query.push(" where ");
    filter::push(query, dataset, filter);
    if !by.is_empty() {
        let places: Vec<_> = (1..=by.len()).map(|place| place.to_string()).collect();
        query.push(" group by ").push(places.join(", "));
    }
    // One more tells that there are too many.
    query.push(format_args!(" limit {}) s", MAX_GROUPS + 1));
    for (place, group) in by.iter().enumerate() {
        let before = if place > 0 { ", " } else { " order by " };
        let collation = match group.bucket {
            Bucket::Value => filter::collation(&group.subject.family(dataset)),
            _ => "",
        };
        query.push(format_args!("{before}s.g{place}{collation} nulls last"));
    }
}

fn push_group(
    query: &mut QueryBuilder<Postgres>,
    dataset: &Dataset,
    group: &Group,
    place: usize,
    (zone, today): (&'static str, NaiveDate),
) {
    let family = group.subject.family(dataset);
    let value = match &group.subject {
        Subject::Over(_) => format!("o{place}.value"),
        subject => value(dataset, subject),
    };
    let unit = match &group.bucket {
        Bucket::Value => {
            query.push(value);
            return;
        }
        Bucket::Step(width) if family == (Family::Number { float: true }) => {
            query.push(format_args!("floor({value} / {width}) * {width}"));
            return;
        }
        Bucket::Step(width) => {
            // Without a division, which would round.
            let value = format!("({value})::numeric");
            query.push(format_args!("trim_scale({value} - mod(mod({value}, {width}) + {width}, {width}))"));
            return;
        }
        Bucket::Age(width) => {
            query.push("floor(extract(year from age(").push_bind(today);
            query.push(format_args!("::timestamp, ({value})::timestamp))::numeric / {width}) * {width}"));
            return;
        }
        Bucket::Year => "year",
        Bucket::Quarter => "quarter",
        Bucket::Month => "month",
        Bucket::Week => "week",
        Bucket::Day => "day",
    };
    query.push(format_args!("date_trunc('{unit}', "));
    if family == Family::DateTime {
        query.push(format_args!("{value} at time zone ")).push_bind(zone);
    } else {
        query.push(format_args!("({value})::timestamp"));
    }
    query.push(")");
}

fn aggregate(dataset: &Dataset, function: &Function) -> String {
    let ordered = |subject: &Subject| {
        format!("{}{}", value(dataset, subject), filter::collation(&subject.family(dataset)))
    };
    match function {
        Function::Rows => "count(*)".to_owned(),
        Function::Count(subject) => format!("count({})", value(dataset, subject)),
        Function::Distinct(subject) => format!("count(distinct {})", value(dataset, subject)),
        Function::Sum(subject) => format!("sum({})", value(dataset, subject)),
        Function::Avg(subject) => match subject.family(dataset) {
            Family::Number { float: true } => format!("avg({})", value(dataset, subject)),
            _ => format!("trim_scale(avg({}))", value(dataset, subject)),
        },
        Function::Min(subject) => format!("min({})", ordered(subject)),
        Function::Max(subject) => format!("max({})", ordered(subject)),
        Function::Percentile(subject, percent) => format!(
            "percentile_cont(0.{percent:02}) within group (order by ({})::double precision)",
            value(dataset, subject)
        ),
    }
}
