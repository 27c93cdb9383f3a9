//! `tarmac openapi`: the document, as `openapi/openapi.yaml` keeps it.

use std::process::ExitCode;

use super::{CommandError, print};

pub(super) fn run() -> Result<ExitCode, CommandError> {
    print(&crate::api::document::yaml()?)
}
