//! `/datasets`: what can be imported, built in and declared, and everything below it.

mod body;
mod check;
mod contract;
mod declare;
mod document;
mod imports;
mod infer;
mod item;
mod rows;
mod views;

use super::Context;

/// All of them.
pub(super) type Resources = (
    item::Datasets,
    imports::DatasetImports,
    check::DatasetCheck,
    rows::Filtered<rows::DatasetRows>,
    rows::DatasetRow,
    rows::Filtered<rows::DatasetFacets>,
    rows::Filtered<rows::DatasetStatistics>,
    infer::Infer,
);

pub(super) fn resources(context: &Context) -> Resources {
    let own = || context.clone();
    (
        item::Datasets { context: own() },
        imports::DatasetImports { context: own() },
        check::DatasetCheck { context: own() },
        rows::Filtered(rows::DatasetRows { context: own() }),
        rows::DatasetRow { context: own() },
        rows::Filtered(rows::DatasetFacets { context: own() }),
        rows::Filtered(rows::DatasetStatistics { context: own() }),
        infer::Infer { context: own() },
    )
}
