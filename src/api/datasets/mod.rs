//! `/datasets`: what can be imported, built in and declared, and everything below it.

mod body;
mod check;
mod contract;
mod declare;
mod document;
mod imports;
mod infer;
mod item;
mod views;

use super::Context;

/// All of them.
pub(super) type Resources = (item::Datasets, imports::DatasetImports, check::DatasetCheck, infer::Infer);

pub(super) fn resources(context: &Context) -> Resources {
    let own = || context.clone();
    (
        item::Datasets { context: own() },
        imports::DatasetImports { context: own() },
        check::DatasetCheck { context: own() },
        infer::Infer { context: own() },
    )
}
