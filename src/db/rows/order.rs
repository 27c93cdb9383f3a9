//! The order of a list, and where a page of it begins: both from the same keys, so that they cannot differ.

use sqlx::{Postgres, QueryBuilder};

use super::{
    filter::{collation, push_distance, push_operand},
    value,
};
use crate::datasets::{
    Dataset,
    query::{Family, Filter, Operand, Query, Sort, Subject},
};

/// Which rows of a list a statement reads. An index gives its values in order with the nulls at one end, and `nulls last` of a descending
/// order is the other one. So where an index has the first key, the rows with a value are read first, and then those without.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// All.
    Whole,
    /// Those that have a value of the first key.
    Valued,
    /// Those that have none.
    Null,
}

/// A key with what statements say of it.
struct Key<'q> {
    sort: &'q Sort,
    family: Family,
    nullable: bool,
}

/// The statement of a part of a list.
pub(super) struct Order<'q> {
    dataset: &'q Dataset,
    filter: &'q Filter,
    keys: Vec<Key<'q>>,
    after: Option<&'q [Option<Operand>]>,
}

impl<'q> Order<'q> {
    pub(super) fn of(dataset: &'q Dataset, query: &'q Query) -> Self {
        let keys = query.sort.iter().map(|sort| Key {
            sort,
            family: sort.subject.family(dataset),
            nullable: match &sort.subject {
                Subject::Service(service) => service.is_nullable(),
                Subject::Distance => false,
                Subject::Column(_) | Subject::Over(_) => true,
            },
        });
        let after = query.after.as_ref().map(|after| after.0.as_slice());
        Self { dataset, filter: &query.filter, keys: keys.collect(), after }
    }

    /// What is to be read, in this order. A page that begins among the rows without a value has no others.
    pub(super) fn parts(&self) -> &'static [Part] {
        if !self.keys.first().is_some_and(|key| key.nullable && self.is_indexed(key)) {
            return &[Part::Whole];
        }
        match self.after.and_then(|after| after.first()) {
            Some(None) => &[Part::Null],
            _ => &[Part::Valued, Part::Null],
        }
    }

    /// Whether an index has the key first.
    fn is_indexed(&self, key: &Key<'_>) -> bool {
        let Subject::Column(place) = &key.sort.subject else { return false };
        let schema = &self.dataset.schema;
        let is_first = |places: &[usize]| places.first() == Some(place);
        schema.columns.get(*place).is_some_and(|column| column.indexed || column.unique)
            || is_first(&schema.primary_key)
            || schema.foreign_keys.iter().any(|key| is_first(&key.columns))
    }

    /// Appends which rows of the part come after the page before.
    pub(super) fn push_condition(&self, query: &mut QueryBuilder<Postgres>, part: Part) {
        if let Some(first) = self.keys.first() {
            let value = value(self.dataset, &first.sort.subject);
            match part {
                Part::Whole => {}
                Part::Valued => _ = query.push(format_args!(" and {value} is not null")),
                Part::Null => _ = query.push(format_args!(" and {value} is null")),
            }
        }
        let Some(after) = self.after else { return };
        // Behind a row with a value, those without one come from their beginning.
        if part == Part::Null && !matches!(after.first(), Some(None)) {
            return;
        }
        query.push(" and ");
        let begin = usize::from(part == Part::Null);
        // What an index can begin with; the rest decides between rows that are alike in the first key.
        if let (Some(key), Some(Some(operand)), true) =
            (self.keys.get(begin), after.get(begin), self.keys.len() > begin + 1)
            && (!key.nullable || part == Part::Valued)
        {
            self.push_value(query, key);
            query.push(if key.sort.descending { " <= " } else { " >= " });
            push_operand(query, operand, &key.family);
            query.push(" and ");
        }
        self.push_beyond(query, begin, after, part);
    }

    /// Appends what holds for rows behind the values from that key on.
    fn push_beyond(
        &self,
        query: &mut QueryBuilder<Postgres>,
        place: usize,
        after: &[Option<Operand>],
        part: Part,
    ) {
        let (Some(key), Some(operand)) = (self.keys.get(place), after.get(place)) else {
            query.push("false");
            return;
        };
        query.push("(");
        let Some(operand) = operand else {
            self.push_value(query, key);
            query.push(" is null and ");
            self.push_beyond(query, place + 1, after, part);
            query.push(")");
            return;
        };
        self.push_value(query, key);
        query.push(if key.sort.descending { " < " } else { " > " });
        push_operand(query, operand, &key.family);
        if key.nullable && !(part == Part::Valued && place == 0) {
            query.push(" or ");
            self.push_value(query, key);
            query.push(" is null");
        }
        if place + 1 < self.keys.len() {
            query.push(" or (");
            self.push_value(query, key);
            query.push(" = ");
            push_operand(query, operand, &key.family);
            query.push(" and ");
            self.push_beyond(query, place + 1, after, part);
            query.push(")");
        }
        query.push(")");
    }

    /// Appends a key of the inner statement, where the distance has no name yet.
    fn push_value(&self, query: &mut QueryBuilder<Postgres>, key: &Key<'_>) {
        match (&key.sort.subject, &self.filter.near) {
            (Subject::Distance, Some(near)) => push_distance(query, self.dataset, near),
            (subject, _) => {
                query.push(value(self.dataset, subject)).push(collation(&key.family));
            }
        }
    }

    /// The `order by` of the part. `outer`: of the statement around it.
    pub(super) fn clause(&self, part: Part, outer: bool) -> String {
        let mut clause = String::new();
        for (place, key) in self.keys.iter().enumerate().skip(usize::from(part == Part::Null)) {
            clause.push_str(if clause.is_empty() { " order by " } else { ", " });
            match key.sort.subject {
                Subject::Distance if !outer => clause.push_str("\"_distance_m\""),
                _ => clause.push_str(&value(self.dataset, &key.sort.subject)),
            }
            clause.push_str(collation(&key.family));
            if key.sort.descending {
                clause.push_str(" desc");
            }
            let nulls_last = key.nullable && !(part == Part::Valued && place == 0);
            if nulls_last {
                clause.push_str(" nulls last");
            }
        }
        clause
    }

    /// The keys as PostgreSQL writes them, for cursors.
    pub(super) fn texts(&self) -> String {
        let texts = self.keys.iter().map(|key| format!("{}::text", value(self.dataset, &key.sort.subject)));
        texts.collect::<Vec<_>>().join(", ")
    }
}
