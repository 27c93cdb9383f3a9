//! Formats of texts.

use std::borrow::Cow;

use url::Url;

/// WHATWG's pattern of an e-mail address
/// (<https://html.spec.whatwg.org/multipage/input.html#valid-e-mail-address>).
pub(super) fn is_email(text: &str) -> bool {
    let Some((local, domain)) = text.split_once('@') else { return false };
    let is_local = |byte: u8| byte.is_ascii_alphanumeric() || b".!#$%&'*+/=?^_`{|}~-".contains(&byte);
    let is_label = |label: &str| {
        (1..=63).contains(&label.len())
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    !local.is_empty() && local.bytes().all(is_local) && domain.split('.').all(is_label)
}

/// A scheme, and what RFC 3986 lets follow it.
pub(super) fn is_uri(text: &str) -> bool {
    let Some((scheme, rest)) = text.split_once(':') else { return false };
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    let (rest, fragment) = rest.split_once('#').unwrap_or((rest, ""));
    let (hierarchy, query) = rest.split_once('?').unwrap_or((rest, ""));
    let path = match hierarchy.strip_prefix("//") {
        Some(rest) => {
            let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
            if !is_authority(authority) {
                return false;
            }
            path
        }
        None => hierarchy,
    };
    is_scheme && is_made_of(path, b":@/") && is_made_of(query, b":@/?") && is_made_of(fragment, b":@/?")
}

fn is_authority(authority: &str) -> bool {
    let (user, host) = authority.rsplit_once('@').unwrap_or(("", authority));
    if !is_made_of(user, b":") {
        return false;
    }
    let (is_host, port) = match host.strip_prefix('[') {
        Some(literal) => match literal.split_once(']') {
            Some((address, port)) => (is_address(address), port),
            None => return false,
        },
        None => {
            let (name, port) = host.split_at(host.find(':').unwrap_or(host.len()));
            (is_made_of(name, b""), port)
        }
    };
    let digits = port.strip_prefix(':');
    is_host && (port.is_empty() || digits.is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit())))
}

/// What may be between brackets: IPv6, or an address of a version to come.
fn is_address(text: &str) -> bool {
    match text.strip_prefix(['v', 'V']) {
        Some(future) => future.split_once('.').is_some_and(|(version, address)| {
            !version.is_empty()
                && version.bytes().all(|byte| byte.is_ascii_hexdigit())
                && !address.is_empty()
                && !address.contains('%')
                && is_made_of(address, b":")
        }),
        None => text.parse::<std::net::Ipv6Addr>().is_ok(),
    }
}

/// Whether a part of a URI has nothing but unreserved characters, sub-delimiters, escaped bytes, and these.
fn is_made_of(text: &str, others: &[u8]) -> bool {
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        let is_plain = byte.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=".contains(&byte);
        if is_plain || others.contains(&byte) {
            continue;
        }
        let mut is_hex = || bytes.next().is_some_and(|byte| byte.is_ascii_hexdigit());
        if byte != b'%' || !is_hex() || !is_hex() {
            return false;
        }
    }
    true
}

/// The address of a web page as WHATWG's URL standard normalises it, without its fragment. `None`: it is none.
pub(super) fn url(text: &str) -> Option<Cow<'_, str>> {
    let mut url = Url::parse(text).ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
    url.set_fragment(None);
    Some(if url.as_str() == text { Cow::Borrowed(text) } else { Cow::Owned(url.into()) })
}

/// `8-4-4-4-12` hexadecimal digits.
pub(super) fn uuid(text: &str) -> Option<uuid::Uuid> {
    if text.len() != 36 {
        return None;
    }
    uuid::Uuid::try_parse(text).ok()
}
