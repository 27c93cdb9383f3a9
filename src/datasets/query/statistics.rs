//! What statistics and facets are asked for.

use chrono_tz::Tz;

use super::{Around, Family, Filter, QueryFault, Reader, Subject, family::listed, values};
use crate::datasets::{Dataset, Place};

/// Most groups of a statistic's rows.
pub(super) const MAX_BY: usize = 4;
/// Most measures.
pub(super) const MAX_MEASURES: usize = 16;
/// Most columns of facets.
pub(super) const MAX_FACETS: usize = 4;

/// Which values of which rows are put together.
#[derive(Debug, Clone)]
pub struct Statistics {
    /// Which rows.
    pub filter: Filter,
    /// By what they are grouped; nothing: all are one group.
    pub by: Vec<Group>,
    /// What is told of each group.
    pub measures: Vec<Measure>,
    /// IANA's name of the time zone in which points in time are days.
    pub zone: &'static str,
}

/// By what rows are grouped.
#[derive(Debug, Clone)]
pub struct Group {
    /// As it was asked for, and as the answer names it.
    pub name: String,
    /// The column.
    pub subject: Subject,
    /// What of its value.
    pub bucket: Bucket,
}

/// What of a value makes a group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Bucket {
    /// The value itself.
    Value,
    /// `2024`
    Year,
    /// `2024-Q1`
    Quarter,
    /// `2024-03`
    Month,
    /// `2024-W09`, as ISO 8601 counts.
    Week,
    /// `2024-03-05`
    Day,
    /// A band of that width, by its lower bound.
    Step(u64),
    /// Full years until today, in bands of so many, by their lower bound.
    Age(u64),
}

/// What is told of a group.
#[derive(Debug, Clone)]
pub struct Measure {
    /// As it was asked for, and as the answer names it.
    pub name: String,
    /// How it is computed.
    pub function: Function,
}

/// How a measure is computed.
#[derive(Debug, Clone)]
pub enum Function {
    /// How many rows.
    Rows,
    /// How many values.
    Count(Subject),
    /// How many different values.
    Distinct(Subject),
    /// Their sum.
    Sum(Subject),
    /// Their mean.
    Avg(Subject),
    /// The least.
    Min(Subject),
    /// The greatest.
    Max(Subject),
    /// The value that so many per cent are not above, between two values linear.
    Percentile(Subject, u8),
}

/// Which columns' values are counted.
#[derive(Debug, Clone)]
pub struct Facets {
    /// Which rows.
    pub filter: Filter,
    /// The columns.
    pub columns: Vec<Subject>,
}

impl Facets {
    /// Reads the parameters of facets; otherwise everything that is wrong with them.
    pub fn read(
        dataset: &Dataset,
        parameters: &[(String, String)],
        around: Around<'_>,
    ) -> Result<Self, Vec<QueryFault>> {
        let mut reader = Reader::new(dataset, around);
        let parameters = reader.parameters(parameters);
        let filter = reader.filter(&parameters, &["columns"]);
        let names = values(&parameters, "columns");
        let is_facet = |family: &Family| !matches!(family, Family::Point | Family::Json);
        if names.is_empty() || names.len() > MAX_FACETS {
            let code = if names.is_empty() { "required" } else { "too_many" };
            let there_are = reader.names(is_facet);
            let message =
                format!("columns must name 1 to {MAX_FACETS} columns with commas between them: {there_are}");
            reader.fault("columns", code, message);
        }
        let mut columns: Vec<Subject> = Vec::new();
        for name in names.into_iter().take(MAX_FACETS) {
            let subject = Subject::named(dataset, name).filter(|subject| is_facet(&subject.family(dataset)));
            match subject {
                Some(subject) if columns.iter().any(|other| other.name(dataset) == subject.name(dataset)) => {
                }
                Some(subject) => columns.push(subject),
                None => {
                    let there_are = reader.names(is_facet);
                    reader.fault("columns", "not_allowed", format!("columns must be of {there_are}"));
                }
            }
        }
        if reader.faults.is_empty() { Ok(Self { filter, columns }) } else { Err(reader.faults) }
    }
}

impl Statistics {
    /// Reads the parameters of statistics; otherwise everything that is wrong with them.
    pub fn read(
        dataset: &Dataset,
        parameters: &[(String, String)],
        around: Around<'_>,
    ) -> Result<Self, Vec<QueryFault>> {
        let mut reader = Reader::new(dataset, around);
        let parameters = reader.parameters(parameters);
        let filter = reader.filter(&parameters, &["by", "measure", "tz"]);
        let by = distinct(values(&parameters, "by"));
        let mut measures = distinct(values(&parameters, "measure"));
        if measures.is_empty() {
            measures.push("count");
        }
        if by.len() > MAX_BY {
            reader.fault("by", "too_many", format!("by may be given at most {MAX_BY} times"));
        }
        if measures.len() > MAX_MEASURES {
            reader.fault("measure", "too_many", format!("measure may be given at most {MAX_MEASURES} times"));
        }
        let by = by.into_iter().take(MAX_BY).filter_map(|name| reader.group(name)).collect();
        let measures =
            measures.into_iter().take(MAX_MEASURES).filter_map(|name| reader.measure(name)).collect();
        let zone = match reader.one(&parameters, "tz").map(str::parse::<Tz>) {
            None => "UTC",
            Some(Ok(zone)) => zone.name(),
            Some(Err(_)) => {
                let message = "tz must be a time zone by IANA's name, such as Europe/Berlin".to_owned();
                reader.fault("tz", "not_a_time_zone", message);
                "UTC"
            }
        };
        if reader.faults.is_empty() { Ok(Self { filter, by, measures, zone }) } else { Err(reader.faults) }
    }

    /// The groups that say where a group of rows is: one that is a point, or two that are the longitude and the latitude.
    pub fn place(&self, dataset: &Dataset) -> Option<GroupedPlace> {
        let find = |column: usize| {
            self.by.iter().position(|group| {
                group.bucket == Bucket::Value
                    && matches!(group.subject, Subject::Column(place) if place == column)
            })
        };
        let point = self.by.iter().position(|group| group.subject.family(dataset) == Family::Point);
        point.map(GroupedPlace::Point).or_else(|| match dataset.schema.place()? {
            Place::Column(_) => None,
            Place::Columns { longitude, latitude } => {
                Some(GroupedPlace::Degrees(find(longitude)?, find(latitude)?))
            }
        })
    }
}

/// Which groups of a statistic say where they are, by their places in [`Statistics::by`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupedPlace {
    /// A point.
    Point(usize),
    /// Longitude and latitude.
    Degrees(usize, usize),
}

fn distinct(names: Vec<&str>) -> Vec<&str> {
    let mut seen = std::collections::HashSet::new();
    names.into_iter().filter(|name| seen.insert(*name)).collect()
}

/// A whole number that is not 0, without zeros before it.
fn positive(digits: &str) -> Option<u64> {
    let is_plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && !digits.starts_with('0');
    // Bands are counted in PostgreSQL's bigint.
    digits.parse().ok().filter(|&number| is_plain && number <= i64::MAX.unsigned_abs())
}

/// The buckets that a kind of columns has beside the value itself.
fn buckets(family: &Family) -> &'static [&'static str] {
    match family {
        Family::Date => &["year", "quarter", "month", "week", "day", "age", "ageN"],
        Family::DateTime => &["year", "quarter", "month", "week", "day"],
        Family::YearMonth => &["year", "quarter", "month"],
        Family::Integer | Family::Number { .. } | Family::Year => &["stepN"],
        _ => &[],
    }
}

fn bucket(family: &Family, name: &str) -> Option<Bucket> {
    let bucket = match name {
        "year" => Bucket::Year,
        "quarter" => Bucket::Quarter,
        "month" => Bucket::Month,
        "week" => Bucket::Week,
        "day" => Bucket::Day,
        "age" => Bucket::Age(1),
        name => match (name.strip_prefix("step"), name.strip_prefix("age")) {
            (Some(width), _) => Bucket::Step(positive(width)?),
            (_, Some(width)) => Bucket::Age(positive(width)?),
            _ => return None,
        },
    };
    let kind = match bucket {
        Bucket::Step(_) => "stepN",
        Bucket::Age(1) => "age",
        Bucket::Age(_) => "ageN",
        _ => name,
    };
    buckets(family).contains(&kind).then_some(bucket)
}

fn functions(family: &Family) -> &'static [&'static str] {
    if family.is_number() {
        &["count", "distinct", "sum", "avg", "min", "max", "p1 to p99"]
    } else if family.is_ordered() && !matches!(family, Family::Boolean | Family::Uuid) {
        &["count", "distinct", "min", "max"]
    } else {
        &["count", "distinct"]
    }
}

impl Reader<'_> {
    fn group(&mut self, name: &str) -> Option<Group> {
        let (path, suffix) =
            name.split_once("__").map_or((name, None), |(path, suffix)| (path, Some(suffix)));
        let subject = self.subject("by", path)?;
        let family = subject.family(self.dataset);
        let bucket = match suffix {
            None => Some(Bucket::Value),
            Some(suffix) => bucket(&family, suffix),
        };
        if bucket.is_none() {
            let there_are = listed(buckets(&family).iter().copied());
            let message = if there_are.is_empty() {
                format!("{path} can only be grouped by its value, without __")
            } else {
                format!("{path} can be grouped by its value or, behind __, by {there_are}")
            };
            self.fault("by", "not_allowed", message);
        }
        Some(Group { name: name.to_owned(), subject, bucket: bucket? })
    }

    fn measure(&mut self, name: &str) -> Option<Measure> {
        if name == "count" {
            return Some(Measure { name: name.to_owned(), function: Function::Rows });
        }
        let Some((path, suffix)) = name.split_once("__") else {
            let message =
                "measure must be count, or a column and what to tell of it, such as weight__avg".to_owned();
            self.fault("measure", "not_allowed", message);
            return None;
        };
        if path.contains('.') {
            let message =
                "measure takes columns of the dataset itself; by can go over a reference".to_owned();
            self.fault("measure", "not_allowed", message);
            return None;
        }
        let subject = self.subject("measure", path)?;
        let family = subject.family(self.dataset);
        let known = functions(&family);
        let percent =
            suffix.strip_prefix('p').and_then(positive).filter(|percent| (1..=99).contains(percent));
        let function = match (suffix, percent) {
            (_, Some(percent)) if family.is_number() => {
                u8::try_from(percent).ok().map(|percent| Function::Percentile(subject, percent))
            }
            (suffix, _) if !known.contains(&suffix) => None,
            ("count", _) => Some(Function::Count(subject)),
            ("distinct", _) => Some(Function::Distinct(subject)),
            ("sum", _) => Some(Function::Sum(subject)),
            ("avg", _) => Some(Function::Avg(subject)),
            ("min", _) => Some(Function::Min(subject)),
            ("max", _) => Some(Function::Max(subject)),
            _ => None,
        };
        if function.is_none() {
            let known = listed(known.iter().copied());
            self.fault("measure", "not_allowed", format!("{path} has the measures {known}, behind __"));
        }
        Some(Measure { name: name.to_owned(), function: function? })
    }
}
