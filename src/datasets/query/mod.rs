//! What a URL asks of a dataset's rows: filters, an order, a page, facets, statistics. Nothing here asks the database.
//!
//! `key=value` is equality, `key__operator=value` the rest. A repeated parameter means any of its values, different parameters all hold.

mod cursor;
mod family;
mod filter;
mod statistics;
mod subject;

use std::sync::Arc;

pub use cursor::After;
pub use family::{Family, Operand, Operator};
pub use filter::{Filter, Near, Term};
pub use statistics::{Bucket, Facets, Function, Group, GroupedPlace, Measure, Statistics};
pub use subject::{Over, Service, Subject};

use self::family::listed;
use crate::datasets::Dataset;

/// The parameters that are none of a dataset's columns.
const OF_PAGES: &[&str] = &["sort", "fields", "limit", "cursor"];

/// What is wrong with a parameter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryFault {
    /// Its name.
    pub parameter: String,
    /// Stable and for machines: `unknown_parameter`.
    pub code: &'static str,
    /// For people: what is wrong, and what there is.
    pub message: String,
}

impl QueryFault {
    fn new(parameter: &str, code: &'static str, message: String) -> Self {
        Self { parameter: parameter.to_owned(), code, message }
    }
}

/// What a query must know beside its dataset.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    /// The dataset of that name, as far as the caller may read it.
    pub lookup: &'a dyn Fn(&str) -> Option<Arc<Dataset>>,
    /// Rows of a page when the request does not say.
    pub page_rows: u64,
    /// Most rows of a page.
    pub page_rows_max: u64,
    /// Most filters.
    pub filters: usize,
    /// Most columns that rows are sorted by.
    pub sort_keys: usize,
}

/// What a list is asked for.
#[derive(Debug, Clone)]
pub struct Query {
    /// Which rows.
    pub filter: Filter,
    /// In which order; the last one is always `_id`, which decides between rows that are otherwise alike.
    pub sort: Vec<Sort>,
    /// Which columns. `None`: all.
    pub fields: Option<Vec<Subject>>,
    /// Most rows of the page.
    pub limit: u64,
    /// Where the page before ended.
    pub after: Option<After>,
}

/// One of the things that a list is sorted by.
#[derive(Debug, Clone)]
pub struct Sort {
    /// What.
    pub subject: Subject,
    /// Greatest first; null is last either way.
    pub descending: bool,
}

impl Query {
    /// Reads the parameters of a list; otherwise everything that is wrong with them.
    pub fn read(
        dataset: &Dataset,
        parameters: &[(String, String)],
        around: Around<'_>,
    ) -> Result<Self, Vec<QueryFault>> {
        let mut reader = Reader::new(dataset, around);
        let parameters = reader.parameters(parameters);
        let filter = reader.filter(&parameters, OF_PAGES);
        let sort = reader.sort(&values(&parameters, "sort"), filter.near.as_ref());
        let fields = values(&parameters, "fields");
        let fields = (!fields.is_empty()).then(|| reader.fields(&fields));
        let limit = reader.one(&parameters, "limit");
        let limit = limit.map_or(around.page_rows, |limit| reader.limit(limit));
        let cursor = reader.one(&parameters, "cursor");
        if !reader.faults.is_empty() {
            return Err(reader.faults);
        }
        let mut query = Self { filter, sort, fields, limit, after: None };
        if let Some(cursor) = cursor {
            query.after = Some(cursor::read(dataset, &query, cursor).map_err(|fault| vec![fault])?);
        }
        Ok(query)
    }

    /// Where a page ends, for the link to the next one: what its last row was sorted by, as PostgreSQL writes it, the `_id` last.
    pub fn cursor(&self, dataset: &Dataset, last: &[Option<String>]) -> Option<String> {
        cursor::write(dataset, self, last)
    }
}

/// A parameter with everything it was given.
struct Parameter<'p> {
    name: &'p str,
    values: Vec<&'p str>,
}

/// What a parameter was given, be it several times or with commas.
fn values<'p>(parameters: &[Parameter<'p>], name: &str) -> Vec<&'p str> {
    let parameter = parameters.iter().find(|parameter| parameter.name == name);
    parameter.map_or_else(Vec::new, |parameter| {
        parameter.values.iter().flat_map(|value| value.split(',')).collect()
    })
}

/// Reads parameters and collects what is wrong with them.
struct Reader<'a> {
    dataset: &'a Dataset,
    around: Around<'a>,
    faults: Vec<QueryFault>,
}

impl<'a> Reader<'a> {
    fn new(dataset: &'a Dataset, around: Around<'a>) -> Self {
        Self { dataset, around, faults: Vec::new() }
    }

    fn fault(&mut self, parameter: &str, code: &'static str, message: String) {
        self.faults.push(QueryFault::new(parameter, code, message));
    }

    /// The value of a parameter that has one at most.
    fn one<'p>(&mut self, parameters: &[Parameter<'p>], name: &str) -> Option<&'p str> {
        let parameter = parameters.iter().find(|parameter| parameter.name == name)?;
        if parameter.values.len() > 1 {
            self.fault(name, "repeated_parameter", format!("{name} may be given only once"));
        }
        parameter.values.first().copied()
    }

    /// The parameters by name, in the order of their first appearance.
    fn parameters<'p>(&self, parameters: &'p [(String, String)]) -> Vec<Parameter<'p>> {
        let mut places = std::collections::HashMap::new();
        let mut grouped: Vec<Parameter<'p>> = Vec::new();
        for (name, value) in parameters {
            let place = *places.entry(name.as_str()).or_insert(grouped.len());
            match grouped.get_mut(place) {
                Some(parameter) => parameter.values.push(value),
                None => grouped.push(Parameter { name, values: vec![value] }),
            }
        }
        grouped
    }

    fn sort(&mut self, names: &[&str], near: Option<&Near>) -> Vec<Sort> {
        let by_id = Sort { subject: Subject::Service(Service::Id), descending: false };
        if names.is_empty() {
            let nearest = near.map(|_| Sort { subject: Subject::Distance, descending: false });
            return nearest.into_iter().chain([by_id]).collect();
        }
        let most = self.around.sort_keys;
        if names.len() > most {
            self.fault("sort", "too_many", format!("sort takes at most {most} columns"));
            return Vec::new();
        }
        let mut keys: Vec<Sort> = Vec::new();
        for &name in names {
            let (name, descending) = name.strip_prefix('-').map_or((name, false), |name| (name, true));
            let subject = match name {
                "_distance_m" if near.is_some() => Some(Subject::Distance),
                name => Subject::named(self.dataset, name),
            };
            let subject = subject.filter(|subject| subject.family(self.dataset).is_ordered());
            let Some(subject) = subject else {
                let there_are = self.names(Family::is_ordered);
                let message = format!(
                    "sort must name columns with commas between them, with - before one for descending: {there_are}"
                );
                self.fault("sort", "not_allowed", message);
                return Vec::new();
            };
            if !keys.iter().any(|key| key.subject.name(self.dataset) == subject.name(self.dataset)) {
                keys.push(Sort { subject, descending });
            }
        }
        // `_id` is different in every row, so nothing behind it decides anything.
        match keys.iter().position(|key| matches!(key.subject, Subject::Service(Service::Id))) {
            Some(place) => keys.truncate(place + 1),
            None => keys.push(by_id),
        }
        keys
    }

    fn fields(&mut self, names: &[&str]) -> Vec<Subject> {
        let mut chosen = Vec::new();
        for name in names {
            match Subject::named(self.dataset, name) {
                Some(subject) => chosen.push(subject),
                None => {
                    let there_are = self.names(|_| true);
                    let message = format!("fields must name columns with commas between them: {there_are}");
                    self.fault("fields", "not_allowed", message);
                    return chosen;
                }
            }
        }
        chosen
    }

    fn limit(&mut self, text: &str) -> u64 {
        let max = self.around.page_rows_max;
        let limit = text.parse().ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit()));
        match limit.filter(|limit| (1..=max).contains(limit)) {
            Some(limit) => limit,
            None => {
                self.fault("limit", "out_of_range", format!("limit must be a whole number from 1 to {max}"));
                self.around.page_rows
            }
        }
    }

    /// The keys of the columns that are of such a family, for messages.
    fn names(&self, is: impl Fn(&Family) -> bool) -> String {
        let columns = &self.dataset.schema.columns;
        let own = columns.iter().filter(|column| is(&Family::of(column))).map(|column| column.key.as_str());
        let service =
            Service::ALL.iter().filter(|service| is(&service.family())).map(|service| service.name());
        listed(own.chain(service))
    }
}
