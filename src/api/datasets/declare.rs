//! What declaring and changing a dataset is refused with.

use crate::{
    api::problem::{
        Conflict, Internal, Invalid, NotFound, OffendingRow, PreconditionFailed, Unavailable, Violation,
    },
    datasets::{
        change::{Class, Plan, What},
        descriptor::DescriptorFault,
    },
    db::catalog::CatalogError,
    refusal,
};

refusal!(
    /// Why a dataset is not declared or changed.
    pub(crate) CatalogRefusal: Invalid, NotFound, Conflict, PreconditionFailed, Internal, Unavailable
);

impl From<CatalogError> for CatalogRefusal {
    fn from(error: CatalogError) -> Self {
        let message = error.to_string();
        match error {
            CatalogError::Database(error) => error.into(),
            CatalogError::Absent => NotFound::new(message).into(),
            CatalogError::Moved => PreconditionFailed::new(message).into(),
            CatalogError::Busy => Unavailable::new(message).into(),
            CatalogError::Offenders(offenders) => {
                let rows = offenders.into_iter().map(|offender| OffendingRow {
                    id: offender.id,
                    column: offender.column,
                    code: offender.code.to_owned(),
                });
                Conflict::of_rows(message, rows.collect()).into()
            }
            CatalogError::NameTaken => Conflict::coded("name_taken", message).into(),
            CatalogError::Exists => Conflict::coded("exists", message).into(),
            CatalogError::Hidden => Conflict::coded("hidden", message).into(),
            CatalogError::UnderWay => Conflict::coded("import_under_way", message).into(),
            CatalogError::TooMany { .. } => Conflict::coded("too_many_datasets", message).into(),
            CatalogError::Referenced(_) => Conflict::coded("referenced", message).into(),
            CatalogError::UnknownTarget(_) => {
                Invalid::because([Violation::at("/schema/foreignKeys", "unknown_dataset", message)]).into()
            }
            CatalogError::TypeChanged(_) => Conflict::coded("type_changed", message).into(),
            CatalogError::Refused => Conflict::coded("refused", message).into(),
        }
    }
}

/// Faults of a declaration, each with its place.
pub(super) fn invalid(faults: Vec<DescriptorFault>) -> Invalid {
    let violations = faults.into_iter().map(|fault| Violation::at(fault.pointer, fault.code, fault.message));
    Invalid::because(violations)
}

/// Why a plan cannot be carried out whatever the rows are. `None`: it can.
pub(super) fn refused(plan: &Plan) -> Option<Conflict> {
    let refused = plan.changes.iter().filter(|change| change.class == Class::Refused);
    let violations: Vec<_> = refused
        .map(|change| {
            let code = match change.what {
                What::WouldDrop(_) => "would_drop",
                What::ChangeType(_) => "type_changed",
                _ => "refused",
            };
            Violation::at(change.pointer.clone(), code, change.message.clone())
        })
        .collect();
    let first = violations.first()?.message.clone();
    Some(Conflict::because(first, violations))
}
