//! `/datasets`: what can be imported, built in and declared, and everything below it.

mod body;
mod check;
mod contract;
mod declare;
mod document;
mod imports;
mod item;
mod views;

pub(super) use self::{check::DatasetCheck, imports::DatasetImports, item::Datasets};
