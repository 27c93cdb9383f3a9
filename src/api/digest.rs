//! `Content-Digest` (RFC 9530): a body with another digest is refused.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::StreamExt;
use poem::{Body, Request, http::HeaderMap};
use sha2::{Digest, Sha256, Sha512};

use super::problem::Invalid;

const CONTENT_DIGEST: &str = "Content-Digest";

/// The digests that the body must have, by the algorithms that are known here. RFC 9530 lets a recipient ignore others.
#[derive(Debug, Default, PartialEq, Eq)]
struct Expected {
    sha256: Option<Vec<u8>>,
    sha512: Option<Vec<u8>>,
}

/// Whether a body that was read to its end has another digest.
#[derive(Debug, Clone, Default)]
pub(super) struct Verdict(Arc<AtomicBool>);

impl Verdict {
    /// The refusal, when the digests differ.
    pub(super) fn refusal(&self) -> Option<Invalid> {
        self.0.load(Ordering::Relaxed).then(|| {
            let message = "the body does not have the digest in Content-Digest: send it again";
            Invalid::parameter(CONTENT_DIGEST, "wrong_digest", message)
        })
    }
}

/// Checks the body against its digests while it is read; reading ends with an error when they differ.
pub(super) fn verify(request: &mut Request) -> Result<Verdict, Invalid> {
    let verdict = Verdict::default();
    let expected = expected(request.headers())?;
    if expected == Expected::default() {
        return Ok(verdict);
    }
    let mut body = request.take_body().into_bytes_stream();
    let differs = Arc::clone(&verdict.0);
    request.set_body(Body::from_bytes_stream(async_stream::stream! {
        let (mut sha256, mut sha512) = (Sha256::new(), Sha512::new());
        while let Some(piece) = body.next().await {
            if let Ok(bytes) = &piece {
                if expected.sha256.is_some() {
                    sha256.update(bytes);
                }
                if expected.sha512.is_some() {
                    sha512.update(bytes);
                }
            }
            yield piece;
        }
        let is_right = expected.sha256.is_none_or(|digest| digest == sha256.finalize().as_slice())
            && expected.sha512.is_none_or(|digest| digest == sha512.finalize().as_slice());
        if !is_right {
            differs.store(true, Ordering::Relaxed);
            yield Err(io::Error::new(io::ErrorKind::InvalidData, "the body has another digest"));
        }
    }));
    Ok(verdict)
}

/// A dictionary of byte sequences (RFC 9651): `sha-256=:…:, sha-512=:…:`.
fn expected(headers: &HeaderMap) -> Result<Expected, Invalid> {
    let mut expected = Expected::default();
    let listed = headers.get(CONTENT_DIGEST).and_then(|value| value.to_str().ok()).unwrap_or_default();
    for member in listed.split(',') {
        let (algorithm, value) = member.trim().split_once('=').unwrap_or_default();
        let (digest, length) = match algorithm {
            "sha-256" => (&mut expected.sha256, 32),
            "sha-512" => (&mut expected.sha512, 64),
            _ => continue,
        };
        let value = value.split(';').next().unwrap_or_default().trim();
        let base64 = value.strip_prefix(':').and_then(|value| value.strip_suffix(':'));
        let bytes =
            base64.and_then(|base64| STANDARD.decode(base64).ok()).filter(|bytes| bytes.len() == length);
        let Some(bytes) = bytes else {
            let message =
                format!("{algorithm} in {CONTENT_DIGEST} must be {length} bytes in base64 between colons");
            return Err(Invalid::parameter(CONTENT_DIGEST, "malformed_digest", message));
        };
        *digest = Some(bytes);
    }
    Ok(expected)
}

#[cfg(test)]
mod tests {
    use poem::http::HeaderValue;

    use super::*;

    fn of(value: &'static str) -> Result<Expected, Invalid> {
        let mut headers = HeaderMap::new();
        headers.insert("content-digest", HeaderValue::from_static(value));
        expected(&headers)
    }

    #[test]
    fn digests_that_are_known_are_read_and_others_passed_over() {
        let digest = of("md5=:AAAA:, sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:;x=1")
            .expect("well-formed");
        assert_eq!(digest.sha256.as_deref(), Some(Sha256::digest(b"").as_slice()));
        assert_eq!(digest.sha512, None);
        assert_eq!(of("unixsum=:AAAA:").expect("well-formed"), Expected::default());
    }

    #[test]
    fn a_malformed_digest_is_refused() {
        for value in ["sha-256=AAAA", "sha-256=:AAAA:", "sha-256=::", "sha-512=:%:", "sha-256="] {
            assert!(of(value).is_err(), "{value}");
        }
    }
}
