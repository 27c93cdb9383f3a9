//! Headers that come in several lines (RFC 9110, sections 5.2 and 5.3). The lines of a list are joined. A header that must be single and has
//! different values is refused, because reading one of them would be a guess. After that, every reader finds one line.

use poem::http::{HeaderMap, HeaderName, HeaderValue, header};

use super::problem::Invalid;

/// The lists that the API reads.
const LISTS: [HeaderName; 7] = [
    header::ACCEPT,
    header::ACCESS_CONTROL_REQUEST_HEADERS,
    header::CONTENT_ENCODING,
    header::IF_MATCH,
    header::IF_NONE_MATCH,
    HeaderName::from_static("content-digest"),
    HeaderName::from_static("prefer"),
];

/// The headers that the API reads and that must be single. `Authorization` is checked with the key: two of them are a 401.
const SINGLE: [HeaderName; 9] = [
    header::ACCESS_CONTROL_REQUEST_METHOD,
    header::CONTENT_LENGTH,
    header::CONTENT_TYPE,
    header::HOST,
    header::ORIGIN,
    header::REFERER,
    HeaderName::from_static("idempotency-key"),
    HeaderName::from_static("last-event-id"),
    HeaderName::from_static("sec-fetch-site"),
];

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Leaves one line of each header that the API reads, or refuses the request.
pub(super) fn unite(headers: &mut HeaderMap) -> Result<(), Invalid> {
    for name in LISTS {
        join(headers, name);
    }
    // W3C Trace Context ignores several values, and a wrong trace must not make a request fail.
    if differs(headers, &TRACEPARENT) {
        headers.remove(TRACEPARENT);
    }
    match SINGLE.into_iter().find(|name| differs(headers, name)) {
        Some(name) => {
            let message = format!("{name} comes more than once, with different values: send it once");
            Err(Invalid::parameter(name.as_str(), "repeated_header", message))
        }
        None => Ok(()),
    }
}

/// The content codings of a body without `identity`, which changes nothing. Expects the lines to be joined.
pub(super) fn codings(headers: &HeaderMap) -> Vec<&str> {
    let listed =
        headers.get(header::CONTENT_ENCODING).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let codings = listed.split(',').map(str::trim);
    codings.filter(|coding| !coding.is_empty() && !coding.eq_ignore_ascii_case("identity")).collect()
}

fn join(headers: &mut HeaderMap, name: HeaderName) {
    let lines: Vec<_> = headers.get_all(&name).iter().map(HeaderValue::as_bytes).collect();
    let is_text = |byte: &u8| matches!(byte, b' '..=b'~' | b'\t');
    if lines.is_empty() || (lines.len() == 1 && lines.iter().copied().flatten().all(is_text)) {
        return;
    }
    let mut list = lines.join(&b", "[..]);
    // An entity tag may hold other bytes. They would hide the whole list from code that reads headers as text.
    list.iter_mut().filter(|byte| !is_text(byte)).for_each(|byte| *byte = b'?');
    if let Ok(list) = HeaderValue::from_bytes(&list) {
        headers.insert(name, list);
    }
}

fn differs(headers: &HeaderMap, name: &HeaderName) -> bool {
    let mut values = headers.get_all(name).iter();
    let first = values.next();
    values.any(|value| Some(value) != first)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn united(lines: &[(&'static str, &'static [u8])]) -> Result<HeaderMap, Invalid> {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, HeaderValue::from_bytes(value).expect("a value"));
        }
        unite(&mut headers).map(|()| headers)
    }

    #[test]
    fn lines_of_a_list_are_one_list() {
        let headers = united(&[("prefer", b"respond-async"), ("prefer", b"wait=5"), ("if-match", b"\"1\"")]);
        let headers = headers.expect("good");
        assert_eq!(headers["prefer"], "respond-async, wait=5");
        assert_eq!(headers["if-match"], "\"1\"");
        assert_eq!(headers.len(), 2);
    }

    #[test]
    fn a_list_with_bytes_beyond_ascii_is_still_there() {
        let headers = united(&[("if-match", b"\"\xe9\"")]).expect("good");
        assert_eq!(headers["if-match"], "\"?\"");
    }

    #[test]
    fn what_must_be_single_may_be_repeated_and_not_contradicted() {
        assert!(united(&[("content-type", b"text/csv"), ("content-type", b"text/csv")]).is_ok());
        assert!(united(&[("content-type", b"text/csv"), ("content-type", b"application/zip")]).is_err());
    }

    #[test]
    fn two_traces_are_none() {
        let headers = united(&[("traceparent", b"00-1"), ("traceparent", b"00-2")]).expect("good");
        assert!(headers.is_empty());
    }

    #[test]
    fn identity_is_no_coding() {
        let headers =
            united(&[("content-encoding", b"identity"), ("content-encoding", b"gzip")]).expect("good");
        assert_eq!(codings(&headers), ["gzip"]);
    }
}
