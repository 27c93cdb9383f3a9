//! Whatever is proposed, an import accepts what it was proposed by.

use std::sync::Arc;

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Inference, Proposal};
use crate::datasets::{
    Column, Ident,
    declared::Declared,
    descriptor::{self, Limits},
};

/// Fields as they come: of each type, nearly of it, for null, and anything.
fn field() -> impl Strategy<Value = String> {
    let near = prop_oneof![
        "[+-]?[0-9]{1,17}",
        "-?[0-9]{0,4}[.,][0-9]{0,4}([eE][+-]?[0-9]{1,3})?",
        "-?[1-9][0-9]{0,45}[.,]?[0-9]{0,45}",
        "(19|20|00|99)[0-9]{2}-[0-3]?[0-9]-[0-3][0-9]",
        "[0-3][0-9][./][0-3][0-9][./](0000|0001|9999|2024)",
        "[0-3][0-9][./][0-3][0-9][./]2024 [0-2][0-9]:[0-6][0-9](:[0-6][0-9])?",
        "(2024|0001|9999)-(01|12)-(01|31)[T ][0-2][0-9]:[0-6][0-9](:[0-6][0-9](\\.[0-9]{0,10})?(Z|[+-][01][0-9]:[0-5][0-9])?)?",
        "(true|True|TRUE|false|False|FALSE|1|0|yes|no)",
        "[0-9a-fA-F]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-fA-F]{12}",
    ];
    prop_oneof![
        6 => near,
        1 => "(NA|N/A|null|NULL|\\\\N|-|--|#N/A|nan|)",
        1 => "[ \t]{0,2}(7|1,5|true|2024-01-01|NA|)[ \t]{0,2}",
        1 => "\\PC{0,12}",
    ]
}

/// Columns of which most have one type: the fields are drawn from few.
fn fields() -> impl Strategy<Value = Vec<String>> {
    prop::collection::vec(field(), 1..4)
        .prop_flat_map(|pool| prop::collection::vec(prop::sample::select(pool), 1..12))
}

fn infer(name: &str, fields: &[String], delimiter: u8) -> Proposal {
    let mut inference = Inference::new(Some(vec!["n".to_owned(), name.to_owned()])).with_delimiter(delimiter);
    for (row, field) in (1..).zip(fields) {
        inference.add(row, row + 1, [b"x".as_slice(), field.as_bytes()].into_iter());
    }
    inference.finish()
}

/// The column that the field declares.
fn column(field: &Value) -> Column {
    let missing = field.get("missingValues").cloned().unwrap_or(json!([""]));
    let missing: Vec<Box<str>> = serde_json::from_value(missing).expect("a list of strings");
    let mut faults = Vec::new();
    let rule = Declared::declare(field.as_object().expect("an object"), &missing, &mut faults);
    let rule = rule.unwrap_or_else(|| panic!("{field}: {faults:?}"));
    Column::new("v", rule, false, "").with_missing(Arc::from(missing))
}

proptest! {
    #[test]
    fn every_field_is_accepted_by_what_it_proposes(fields in fields(), delimiter in prop::sample::select(b",;\t".to_vec())) {
        let proposal = infer("v", &fields, delimiter);
        let column = column(&proposal.descriptor["schema"]["fields"][1]);
        for field in &fields {
            let parsed = column.parse(field);
            prop_assert!(parsed.is_ok(), "{field:?}: {parsed:?} by {}", proposal.descriptor);
        }
    }

    #[test]
    fn every_proposal_can_be_declared(cells in prop::collection::vec("[ _]?(a|A|_id|_row|limit|é|column_[12]|a_[1-4]|\\PC{0,8}|)", 1..8)) {
        let mut inference = Inference::new(Some(cells.clone()));
        inference.add(1, 2, cells.iter().map(|_| b"1".as_slice()));
        let proposal = inference.finish();
        // Where all columns are the service's own there is nothing to declare.
        if proposal.evidence != json!([]) {
            let name = Ident::new("cats").expect("a name");
            let read = descriptor::read(&name, proposal.descriptor.to_string().as_bytes(), &Limits::default());
            prop_assert!(read.is_ok(), "{:?} of {}", read.err(), proposal.descriptor);
        }
    }

    #[test]
    fn the_evidence_names_a_field_of_the_file(fields in fields()) {
        let proposal = infer("v", &fields, b';');
        for entry in proposal.evidence[1]["ruled_out"].as_array().expect("an array") {
            let row = entry["row"].as_u64().expect("a number") as usize;
            prop_assert_eq!(entry["value"].as_str(), Some(&*fields[row - 1]));
            prop_assert_eq!(entry["line"].as_u64(), Some(row as u64 + 1));
        }
    }
}
