//! Until the branch with inference comes.
use crate::api::{Context, imports::receive::UploadRefusal, problem::Invalid, upload_body::UploadBody};
use bytes::Bytes;
pub(super) async fn declaration(_context: &Context, _file: UploadBody) -> Result<Bytes, UploadRefusal> {
    Err(Invalid::new("not yet").into())
}
