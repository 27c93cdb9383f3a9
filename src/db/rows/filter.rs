//! Which rows: the conditions of a statement. They name the table's columns as they are, so that its indexes can be used.

use geo::{Rect, coord};
use sqlx::{Postgres, QueryBuilder};

use super::{value, visible};
use crate::{
    datasets::{
        Dataset, Place,
        query::{Family, Filter, Near, Operand, Operator, Over, Subject, Term},
    },
    db::airports::{Bounds, Circle},
};

/// Appends what must hold of a row of the alias `r`.
pub(super) fn push(query: &mut QueryBuilder<Postgres>, dataset: &Dataset, filter: &Filter) {
    let Filter { terms, near, bbox, search, deleted } = filter;
    query.push(visible(dataset, "r"));
    if !deleted {
        query.push(" and r._deleted_at is null");
    }
    for term in terms {
        query.push(" and ");
        push_term(query, dataset, term);
    }
    if !search.is_empty() {
        push_search(query, dataset, search);
    }
    if let (Some([west, south, east, north]), Some(point)) = (bbox, point(dataset)) {
        let boxes = Bounds { west: *west, south: *south, east: *east, north: *north }.boxes();
        push_boxes(query, &point, &boxes);
        // The index keeps single precision, so `&&` alone takes in a little too much.
        query.push(" and (false");
        for area in &boxes {
            query.push(format_args!(" or (ST_X({point}) between ")).push_bind(area.min().x);
            query.push(" and ").push_bind(area.max().x);
            query.push(format_args!(" and ST_Y({point}) between ")).push_bind(area.min().y);
            query.push(" and ").push_bind(area.max().y).push(")");
        }
        query.push(")");
    }
    if let (Some(near), Some(point)) = (near, point(dataset)) {
        let center = coord! { x: near.longitude, y: near.latitude };
        push_boxes(query, &point, &Circle { center, radius_m: near.radius_m }.boxes());
        query.push(" and ");
        push_distance(query, dataset, near);
        query.push(" <= ").push_bind(near.radius_m);
    }
}

/// Where a row of the alias `r` is.
pub(super) fn point(dataset: &Dataset) -> Option<String> {
    dataset.schema.place().map(|place| match place {
        Place::Column(column) => value(dataset, &Subject::Column(column)),
        Place::Columns { .. } => "r._point".to_owned(),
    })
}

/// Appends the metres from the centre.
pub(super) fn push_distance(query: &mut QueryBuilder<Postgres>, dataset: &Dataset, near: &Near) {
    let point = point(dataset).unwrap_or_else(|| "null::geometry".to_owned());
    query.push(format_args!("ST_DistanceSphere({point}, "));
    push_operand(query, &Operand::Point(near.longitude, near.latitude), &Family::Point);
    query.push(")");
}

fn push_boxes(query: &mut QueryBuilder<Postgres>, point: &str, boxes: &[Rect]) {
    query.push(" and (false");
    for area in boxes {
        query.push(format_args!(" or {point} && ST_MakeEnvelope("));
        query.push_bind(area.min().x).push(", ").push_bind(area.min().y).push(", ");
        query.push_bind(area.max().x).push(", ").push_bind(area.max().y).push(", 4326)");
    }
    query.push(")");
}

fn push_search(query: &mut QueryBuilder<Postgres>, dataset: &Dataset, search: &[String]) {
    query.push(" and (false");
    for (place, column) in dataset.schema.columns.iter().enumerate() {
        if !Family::of(column).is_text() {
            continue;
        }
        let value = value(dataset, &Subject::Column(place));
        for part in search {
            query.push(format_args!(" or {value} collate \"default\" ilike "));
            query.push_bind(format!("%{}%", escape_like(part)));
        }
    }
    query.push(")");
}

fn push_term(query: &mut QueryBuilder<Postgres>, dataset: &Dataset, term: &Term) {
    let Term { subject, operator, operands } = term;
    let family = subject.family(dataset);
    let value = value(dataset, subject);
    let Subject::Over(over) = subject else {
        push_comparison(query, &value, &family, *operator, operands);
        return;
    };
    // A row that refers to nothing is like one that refers to a row without the value.
    let (exists, operator, operands) = match operator {
        Operator::Not => (false, Operator::Equal, operands.clone()),
        Operator::Null => {
            let wanted = |null| operands.contains(&Operand::Boolean(null));
            if wanted(true) && wanted(false) {
                query.push("true");
                return;
            }
            (!wanted(true), Operator::Null, vec![Operand::Boolean(false)])
        }
        other => (true, *other, operands.clone()),
    };
    query.push(if exists { "exists (" } else { "not exists (" });
    query.push(format_args!("select from {} o where {} and ", over.dataset.table(), joined(dataset, over)));
    push_comparison(query, &value, &family, operator, &operands);
    query.push(")");
}

/// Holds for the row of the alias `o` that a row of the alias `r` refers to.
pub(super) fn joined(dataset: &Dataset, over: &Over) -> String {
    let mut condition = format!("{} and o._deleted_at is null", visible(&over.dataset, "o"));
    if let Some(key) = dataset.schema.foreign_keys.get(over.key) {
        for (column, target) in key.columns.iter().zip(&key.target) {
            condition.push_str(&format!(" and o.{target} = {}", value(dataset, &Subject::Column(*column))));
        }
    }
    condition
}

fn push_comparison(
    query: &mut QueryBuilder<Postgres>,
    value: &str,
    family: &Family,
    operator: Operator,
    operands: &[Operand],
) {
    match operator {
        Operator::Equal => push_in(query, value, family, operands),
        Operator::Not => {
            query.push("(");
            push_in(query, value, family, operands);
            query.push(") is not true");
        }
        _ => {
            query.push("(");
            for (place, operand) in operands.iter().enumerate() {
                if place > 0 {
                    query.push(" or ");
                }
                push_one(query, value, family, operator, operand);
            }
            query.push(")");
        }
    }
}

fn push_in(query: &mut QueryBuilder<Postgres>, value: &str, family: &Family, operands: &[Operand]) {
    query.push(value);
    if let [one] = operands {
        query.push(" = ");
        push_operand(query, one, family);
        return;
    }
    query.push(" in (");
    for (place, operand) in operands.iter().enumerate() {
        if place > 0 {
            query.push(", ");
        }
        push_operand(query, operand, family);
    }
    query.push(")");
}

fn push_one(
    query: &mut QueryBuilder<Postgres>,
    value: &str,
    family: &Family,
    operator: Operator,
    operand: &Operand,
) {
    let sign = match (operator, operand) {
        (Operator::Null, Operand::Boolean(true)) => {
            query.push(format_args!("{value} is null"));
            return;
        }
        (Operator::Null, _) => {
            query.push(format_args!("{value} is not null"));
            return;
        }
        (Operator::Contains | Operator::Starts, Operand::Text(text)) => {
            let before = if operator == Operator::Contains { "%" } else { "" };
            // Letters of all scripts have cases; those of the collation C have not.
            query.push(format_args!("{value} collate \"default\" ilike "));
            query.push_bind(format!("{before}{}%", escape_like(text)));
            return;
        }
        (Operator::Has, operand) => {
            query.push(format_args!("{value} @> array["));
            if let Family::List(item) = family {
                push_operand(query, operand, item);
            }
            query.push(format_args!("]::{}", family.sql_type()));
            return;
        }
        (Operator::Gt, _) => ">",
        (Operator::Gte, _) => ">=",
        (Operator::Lt, _) => "<",
        (Operator::Lte, _) => "<=",
        _ => "=",
    };
    query.push(format_args!("{value}{} {sign} ", collation(family)));
    push_operand(query, operand, family);
}

/// Text is ordered by code point.
pub(super) fn collation(family: &Family) -> &'static str {
    if family.is_text() { " collate \"C\"" } else { "" }
}

/// Appends a value, bound with its own type where there is one, so that the database does not read it again for each row.
pub(super) fn push_operand(query: &mut QueryBuilder<Postgres>, operand: &Operand, family: &Family) {
    match operand {
        Operand::Text(text) => query.push_bind(text.clone()),
        Operand::Integer(number) => query.push_bind(*number),
        Operand::Year(year) => query.push_bind(*year),
        Operand::Numeric(number) => query.push_bind(number.clone()).push("::numeric"),
        Operand::Float(number) => query.push_bind(*number),
        Operand::Boolean(value) => query.push_bind(*value),
        Operand::Date(date) => query.push_bind(*date),
        Operand::Time(time) => query.push_bind(*time),
        Operand::Instant(time) => query.push_bind(*time),
        Operand::Uuid(uuid) => query.push_bind(uuid.clone()).push("::uuid"),
        Operand::Json(json) => query.push_bind(json.clone()).push("::jsonb"),
        Operand::Point(longitude, latitude) => {
            query.push("ST_SetSRID(ST_MakePoint(").push_bind(*longitude).push(", ").push_bind(*latitude);
            query.push("), 4326)")
        }
        Operand::List(items) => {
            query.push("array[");
            for (place, item) in items.iter().enumerate() {
                if place > 0 {
                    query.push(", ");
                }
                push_operand(query, item, family);
            }
            query.push(format_args!("]::{}", family.sql_type()))
        }
    };
}

fn escape_like(text: &str) -> String {
    text.replace('\\', r"\\").replace('%', r"\%").replace('_', r"\_")
}
