//! The bytes as they were uploaded.

use std::io;

use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::{StreamExt, TryStreamExt, stream};
use poem::Body;
use poem_openapi::{ApiResponse, payload::Binary};

use super::{
    super::{
        Context,
        problem::{Gone, Unavailable},
        stream::streamed,
    },
    PartRefusal,
};
use crate::{archive::ArchiveError, db::imports::Import, ingest::sealed};

/// Bytes read from the archive at once.
const BLOCK_BYTES: u64 = 1 << 20;

#[derive(ApiResponse)]
pub(super) enum SourceAnswer {
    /// The bytes
    #[oai(status = 200, content_type = "application/octet-stream")]
    Bytes(
        Binary<Body>,
        /// SHA-256 of the bytes (RFC 9530)
        #[oai(header = "Repr-Digest")]
        String,
        /// The name of the file
        #[oai(header = "Content-Disposition")]
        String,
        /// How many bytes
        #[oai(header = "Content-Length")]
        i64,
    ),
}

pub(super) async fn answer(context: &Context, import: Import) -> Result<SourceAnswer, PartRefusal> {
    let digest = format!("sha-256=:{}:", STANDARD.encode(&import.sha256));
    let name = import.filename.as_deref().unwrap_or("upload");
    let disposition = format!("attachment; filename*=UTF-8''{}", percent_encode(name));
    let mut blocks = Box::pin(context.archive.read_sealed(sealed(&import), BLOCK_BYTES));
    // Before the first byte is sent an absent object can still be told.
    let first = blocks.try_next().await.map_err(|error| unreadable(import.id, &error))?;
    // One that has changed breaks off before its last byte.
    let body = streamed(stream::iter(first.map(Ok)).chain(blocks).map_err(io::Error::other));
    Ok(SourceAnswer::Bytes(Binary(body), digest, disposition, import.bytes))
}

/// 503 asks the client to come back, so it is only for failures that pass: a lost or damaged upload does not return.
fn unreadable(id: i64, error: &ArchiveError) -> PartRefusal {
    let cause = error as &dyn std::error::Error;
    if error.is_missing() {
        tracing::error!(error = cause, import = id, "the upload of an import is missing in the archive");
        return Gone::new(format!("the upload of import {id} is missing in the archive")).into();
    }
    if error.is_damage() {
        tracing::error!(error = cause, import = id, "the upload of an import is damaged in the archive");
        return Gone::new(format!(
            "the upload of import {id} is damaged: its bytes are not those that were sent"
        ))
        .into();
    }
    tracing::error!(error = cause, import = id, "cannot read an upload");
    Unavailable::new("the upload cannot be read now").into()
}

/// As RFC 8187 has it: every byte but the unreserved ones.
fn percent_encode(name: &str) -> String {
    name.bytes()
        .map(|byte| match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}
