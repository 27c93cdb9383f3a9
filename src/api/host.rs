//! Whom a request is for: it must say so, once (RFC 9112, section 3.2, and RFC 9113, section 8.3.1).

use poem::{
    Request,
    http::{HeaderValue, Version, header, uri::Authority},
};

use super::problem::Invalid;

/// Refuses a request that names no host, or more than one.
pub(super) fn check(request: &Request) -> Result<(), Invalid> {
    let hosts: Vec<_> = request.headers().get_all(header::HOST).iter().collect();
    let refused = |message: &str| Err(Invalid::parameter("Host", "invalid_host", message));
    match hosts.as_slice() {
        [] if request.version() < Version::HTTP_11 => Ok(()),
        [] if request.version() > Version::HTTP_11 && request.uri().host().is_some() => Ok(()),
        [] => refused("Host is missing: a request names the host that it is for"),
        [host] if is_authority(host) => Ok(()),
        [_] => refused("Host must be a host's name or address, with or without a port"),
        _ => refused("Host must be given once"),
    }
}

/// It may be empty, for a target that has no host.
fn is_authority(host: &HeaderValue) -> bool {
    host.is_empty()
        || Authority::try_from(host.as_bytes()).is_ok_and(|authority| !authority.as_str().contains('@'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_good(version: Version, uri: &'static str, hosts: &[&str]) -> bool {
        let request = Request::builder().version(version).uri(uri.parse().expect("a URI"));
        let request = hosts.iter().fold(request, |request, host| request.header(header::HOST, *host));
        check(&request.finish()).is_ok()
    }

    #[test]
    fn a_request_names_its_host_once() {
        for (hosts, good) in [
            (&["tarmac.example:8080"] as &[_], true),
            (&["[::1]:80"], true),
            (&[""], true),
            (&[], false),
            (&["a", "a"], false),
            (&["a b"], false),
            (&["user@a"], false),
        ] {
            assert_eq!(is_good(Version::HTTP_11, "/", hosts), good, "{hosts:?}");
        }
        assert!(!is_good(Version::HTTP_11, "http://a/", &[]), "the header is needed all the same");
        assert!(is_good(Version::HTTP_10, "/", &[]), "before HTTP/1.1 there was none");
        assert!(is_good(Version::HTTP_2, "http://a/", &[]), "it is the authority");
        assert!(!is_good(Version::HTTP_2, "/", &[]));
    }
}
