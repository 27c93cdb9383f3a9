//! Which rows: the filters of a list, of facets and of statistics.

use super::{
    Family, OF_PAGES, Operand, Operator, Over, Parameter, Reader, Subject,
    family::{NOT_A_POINT, listed, numbers},
};
use crate::datasets::{Dataset, Place, Schema};

/// Half the Earth's circumference, metres, rounded up: a circle of this radius is everything.
const MAX_RADIUS_M: f64 = 20_015_116.0;

/// The parameters that filter and are none of a column's.
const SPECIAL: &[&str] = &["q", "near", "radius", "bbox", "_deleted"];

/// Which rows: those that every part holds for.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of columns.
    pub terms: Vec<Term>,
    /// Within this circle.
    pub near: Option<Near>,
    /// Within this box: west, south, east, north. West greater than east crosses the antimeridian.
    pub bbox: Option<[f64; 4]>,
    /// One of these is a part of some text, in any case. Empty: no matter.
    pub search: Vec<String>,
    /// Deleted rows too.
    pub deleted: bool,
}

/// What must hold of a column.
#[derive(Debug, Clone)]
pub struct Term {
    /// The column.
    pub subject: Subject,
    /// How it is compared.
    pub operator: Operator,
    /// With any of these; of [`Operator::Not`] with all of them.
    pub operands: Vec<Operand>,
}

/// A circle on the sphere.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Near {
    /// Degrees.
    pub longitude: f64,
    /// Degrees.
    pub latitude: f64,
    /// Metres.
    pub radius_m: f64,
}

impl Schema {
    /// Where a row is: what the schema says, else the first column of points.
    pub fn place(&self) -> Option<Place> {
        let first = || self.columns.iter().position(|column| Family::of(column) == Family::Point);
        self.point.as_ref().map(|point| point.place).or_else(|| first().map(Place::Column))
    }
}

impl Reader<'_> {
    /// Reads every parameter but `others`, which the caller knows.
    pub(super) fn filter(&mut self, parameters: &[Parameter<'_>], others: &[&str]) -> Filter {
        let mut filter = Filter::default();
        let of_filters: Vec<_> =
            parameters.iter().filter(|parameter| !others.contains(&parameter.name)).collect();
        let most = self.around.filters;
        if let Some(first) = of_filters.get(most) {
            self.fault(first.name, "too_many", format!("there may be at most {most} filters"));
            return filter;
        }
        for parameter in of_filters {
            match parameter.name {
                name if SPECIAL.contains(&name) => {}
                _ => filter.terms.extend(self.term(parameter)),
            }
        }
        let (near, radius) = (self.one(parameters, "near"), self.one(parameters, "radius"));
        filter.near = self.near(near, radius);
        let bbox = self.one(parameters, "bbox");
        filter.bbox = self.bbox(bbox);
        match self.one(parameters, "_deleted") {
            None | Some("false") => {}
            Some("true") => filter.deleted = true,
            Some(_) => self.fault("_deleted", "not_a_boolean", "_deleted must be true or false".to_owned()),
        }
        if let Some(search) = parameters.iter().find(|parameter| parameter.name == "q") {
            filter.search = self.search(search);
        }
        filter
    }

    fn search(&mut self, parameter: &Parameter<'_>) -> Vec<String> {
        if !self.dataset.schema.columns.iter().any(|column| Family::of(column).is_text()) {
            self.fault("q", "unknown_parameter", "q searches columns of text, and there are none".to_owned());
        }
        if parameter.values.iter().any(|value| value.contains('\0')) {
            self.fault("q", "nul_character", "q must be text without the NUL character".to_owned());
        }
        parameter.values.iter().map(|&value| value.to_owned()).collect()
    }

    fn has_point(&mut self, parameter: &str) -> bool {
        let has_point = self.dataset.schema.place().is_some();
        if !has_point {
            let message = format!(
                "{parameter} needs a dataset with a point, and {} has none",
                self.dataset.name.as_str()
            );
            self.fault(parameter, "unknown_parameter", message);
        }
        has_point
    }

    fn near(&mut self, near: Option<&str>, radius: Option<&str>) -> Option<Near> {
        let (near, radius) = match (near, radius) {
            (None, None) => return None,
            (Some(near), _) if !self.has_point("near") => return Some(near).and(None),
            (Some(near), Some(radius)) => (near, radius),
            (Some(_), None) => {
                self.fault("radius", "required", "near comes with a radius in metres".to_owned());
                return None;
            }
            (None, Some(_)) => {
                if self.has_point("radius") {
                    let message = "radius comes with near, a longitude,latitude".to_owned();
                    self.fault("near", "required", message);
                }
                return None;
            }
        };
        let radius_m = radius.parse().ok().filter(|radius| (0.0..=MAX_RADIUS_M).contains(radius));
        if radius_m.is_none() {
            let message = format!("radius must be a number of metres from 0 to {MAX_RADIUS_M}");
            self.fault("radius", "out_of_range", message);
        }
        let center = numbers(near)
            .filter(|[longitude, latitude]: &[f64; 2]| longitude.abs() <= 180.0 && latitude.abs() <= 90.0);
        if center.is_none() {
            self.fault("near", "not_a_point", format!("near must be {NOT_A_POINT}"));
        }
        let ([longitude, latitude], radius_m) = (center?, radius_m?);
        Some(Near { longitude, latitude, radius_m })
    }

    fn bbox(&mut self, bbox: Option<&str>) -> Option<[f64; 4]> {
        let bbox = bbox.filter(|_| self.has_point("bbox"))?;
        let is_box = |[west, south, east, north]: &[f64; 4]| {
            west.abs() <= 180.0 && east.abs() <= 180.0 && -90.0 <= *south && south <= north && *north <= 90.0
        };
        let numbers = numbers(bbox).filter(is_box);
        if numbers.is_none() {
            let message = "bbox must be west,south,east,north: longitudes from -180 to 180, latitudes from -90 to 90, south not above north";
            self.fault("bbox", "not_a_box", message.to_owned());
        }
        numbers
    }

    fn term(&mut self, parameter: &Parameter<'_>) -> Option<Term> {
        let name = parameter.name;
        let (path, operator) = name.split_once("__").map_or((name, None), |(path, name)| (path, Some(name)));
        let subject = self.subject(name, path)?;
        let family = subject.family(self.dataset);
        let operator = match operator {
            None => Operator::Equal,
            Some(operator) => {
                let known = family.operators();
                let Some(operator) = known.iter().find(|known| known.name() == operator) else {
                    let known = listed(known.iter().map(|operator| operator.name()));
                    let message =
                        format!("{path} has no operator __{operator}; there are equality and {known}");
                    self.fault(name, "unknown_operator", message);
                    return None;
                };
                *operator
            }
        };
        let operands = parameter.values.iter().map(|value| match (&family, operator) {
            (_, Operator::Null) => Family::Boolean.read(name, value),
            // A part of one of the words is none of them.
            (Family::Enum(_), Operator::Contains | Operator::Starts) => Family::Text.read(name, value),
            (Family::List(item), Operator::Has) => item.read(name, value),
            (family, _) => family.read(name, value),
        });
        match operands.collect::<Result<_, _>>() {
            Ok(operands) => Some(Term { subject, operator, operands }),
            Err(fault) => {
                self.fault(name, fault.code, fault.message);
                None
            }
        }
    }

    /// What a path names: a column, or one over a foreign key.
    pub(super) fn subject(&mut self, parameter: &str, path: &str) -> Option<Subject> {
        let dataset = self.dataset;
        let Some((step, rest)) = path.split_once('.') else {
            let subject = Subject::named(dataset, path);
            if subject.is_none() {
                let there_are = self.names(|_| true);
                let message = format!(
                    "{path} is not a column of {}, nor a parameter of this operation; there are {there_are}, and {}",
                    dataset.name.as_str(),
                    listed(OF_PAGES.iter().chain(SPECIAL).copied()),
                );
                self.fault(parameter, "unknown_parameter", message);
            }
            return subject;
        };
        let found = self.over(step, rest);
        if found.is_none() {
            let steps = steps(dataset);
            let message = if steps.is_empty() {
                format!("{path} is unknown: no column of {} refers to another dataset", dataset.name.as_str())
            } else {
                let steps = listed(steps.iter().map(|&step| dataset.schema.columns[step].key.as_str()));
                format!(
                    "{path} is unknown: before the point comes a column that refers to another dataset ({steps}), behind it a column there"
                )
            };
            self.fault(parameter, "unknown_parameter", message);
        }
        found
    }

    fn over(&self, step: &str, rest: &str) -> Option<Subject> {
        let schema = &self.dataset.schema;
        let (column, _) = schema.keyed(step)?;
        let key = schema.foreign_keys.iter().position(|key| key.columns.contains(&column))?;
        let name = schema.foreign_keys[key].dataset.as_deref().unwrap_or(self.dataset.name.as_str());
        let dataset = (self.around.lookup)(name)?;
        let (target, _) = dataset.schema.keyed(rest)?;
        Some(Subject::Over(Over { column, key, dataset, target }))
    }
}

/// The columns that refer to another dataset, by their places.
fn steps(dataset: &Dataset) -> Vec<usize> {
    dataset.schema.foreign_keys.iter().flat_map(|key| key.columns.iter().copied()).collect()
}
