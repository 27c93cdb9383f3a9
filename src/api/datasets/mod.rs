//! Datasets that users declare.

mod infer;

pub(super) use infer::Infer;
