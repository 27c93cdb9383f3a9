//! Requests that a browser sends on behalf of another site's page, where no keys are required. Such a page can reach the service from the browser's
//! machine, by an image, a form or a script. Browsers name the page in headers that pages cannot set, so these headers decide. Other clients
//! send none of them except `Host`.

use std::net::IpAddr;

use poem::{
    Request,
    http::{
        HeaderName, Uri, header,
        uri::{Authority, Scheme},
    },
};

use super::{cors::Cors, problem::ForeignPage};
use crate::{config, text::cut};

/// How the page that a request is sent for stands to the service (W3C Fetch Metadata).
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// The names of the service, and the sites whose pages may act.
#[derive(Debug, Clone)]
pub(super) struct Site {
    hosts: Vec<String>,
    /// Where clients reach the service, when it is configured.
    public: Option<Authority>,
    cors: Cors,
}

impl Site {
    pub(super) fn new(config: &config::Server) -> Self {
        let public = config.public_url.parse::<Uri>().ok().and_then(|url| url.authority().cloned());
        let hosts = config.hosts.split(',').map(|host| host.trim().to_ascii_lowercase());
        Self {
            hosts: hosts.filter(|host| !host.is_empty()).collect(),
            public,
            cors: Cors::new(&config.cors_origins),
        }
    }

    /// Refuses a request for a wrong name of the service and, when the operation `acts`, a request from another site's page.
    pub(super) fn admit(&self, request: &Request, acts: bool) -> Result<(), ForeignPage> {
        let asked = self.asked(request)?;
        if acts { self.admit_acting(request, asked.as_ref()) } else { Ok(()) }
    }

    /// The name that the request has for the service; `None` without `Host`, which every browser sends. After DNS rebinding a page of another site has
    /// the same origin as the service, and only this name shows it.
    fn asked(&self, request: &Request) -> Result<Option<Authority>, ForeignPage> {
        let asked = match request.original_uri().authority() {
            Some(authority) => authority.as_str(),
            None => match request.headers().get(header::HOST) {
                Some(host) => host.to_str().unwrap_or_default(),
                None => return Ok(None),
            },
        };
        match asked.parse::<Authority>() {
            Ok(authority) if self.is_own(authority.host()) => Ok(Some(authority)),
            _ => Err(ForeignPage::new(format!(
                "{:?} is not a name of this service. Allowed are IP addresses, localhost, names without a dot, and the names in \
                 server.hosts and server.public_url: add it to server.hosts",
                cut(asked)
            ))),
        }
    }

    /// The public DNS has no names without a dot, so no page on the Internet has one.
    fn is_own(&self, host: &str) -> bool {
        let host = host.trim_end_matches('.').to_ascii_lowercase();
        let literal = host.trim_start_matches('[').trim_end_matches(']');
        let is_public = self.public.as_ref().is_some_and(|public| public.host().eq_ignore_ascii_case(&host));
        literal.parse::<IpAddr>().is_ok()
            || !host.contains('.')
            || host.ends_with(".localhost")
            || is_public
            || self.hosts.contains(&host)
    }

    fn admit_acting(&self, request: &Request, asked: Option<&Authority>) -> Result<(), ForeignPage> {
        let text =
            |name: HeaderName| request.headers().get(name).map(|value| value.to_str().unwrap_or_default());
        let origin = text(header::ORIGIN);
        if origin.is_some_and(|origin| self.cors.knows(origin)) {
            return Ok(());
        }
        // Old browsers do not send Sec-Fetch-Site, and no browser sends it over plain HTTP beyond loopback.
        let (page, is_own) = match (text(SEC_FETCH_SITE), origin.or(text(header::REFERER))) {
            (Some(site), page) => (page.unwrap_or(site), ["same-origin", "none"].contains(&site)),
            (None, Some(page)) => (page, self.is_page_of(page, asked)),
            (None, None) => return Ok(()),
        };
        if is_own {
            return Ok(());
        }
        let page = cut(page);
        Err(ForeignPage::new(format!(
            "the request comes from a page of another site ({page}), which must not change anything here; to allow it, add the \
             site to server.cors_origins or require keys"
        )))
    }

    fn is_page_of(&self, page: &str, asked: Option<&Authority>) -> bool {
        let Ok(page) = page.parse::<Uri>() else { return false };
        let is_http = page.scheme().is_some_and(|scheme| [&Scheme::HTTP, &Scheme::HTTPS].contains(&scheme));
        is_http && page.authority().is_some_and(|own| Some(own) == asked || Some(own) == self.public.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use poem::http::Method;

    use super::*;
    use crate::config::Config;

    fn site(settings: &[(&str, &str)]) -> Site {
        let url = ("database.url", "postgres://localhost/tarmac");
        let settings: HashMap<_, _> =
            settings.iter().chain([&url]).map(|&(key, value)| (key.to_owned(), value.to_owned())).collect();
        Site::new(&Config::from_parts(None, settings, &[]).expect("valid").server)
    }

    fn admits(site: &Site, acts: bool, headers: &[(&str, &str)]) -> bool {
        let builder = Request::builder().method(Method::GET).uri(Uri::from_static("/delete?id=16"));
        let builder = headers.iter().fold(builder, |builder, &(name, value)| builder.header(name, value));
        site.admit(&builder.finish(), acts).is_ok()
    }

    #[test]
    fn only_names_that_cannot_be_a_strangers_are_answered() {
        let site =
            site(&[("server.hosts", "a.example, B.example"), ("server.public_url", "https://c.example:1")]);
        for (host, good) in [
            ("127.0.0.1:8080", true),
            ("[::1]:8080", true),
            ("192.168.1.5", true),
            ("localhost:8080", true),
            ("LOCALHOST.", true),
            ("tarmac.localhost", true),
            ("tarmac:8080", true),
            ("a.example", true),
            ("b.example:8080", true),
            ("c.example", true),
            ("evil.example:8080", false),
            ("127.0.0.1.evil.example", false),
            ("a.example.evil.example", false),
            ("", false),
            ("evil.example/127.0.0.1", false),
        ] {
            assert_eq!(admits(&site, false, &[("host", host)]), good, "{host:?}");
        }
        assert!(admits(&site, true, &[]), "HTTP/1.0 has no Host, and browsers do not speak it");
    }

    #[test]
    fn a_page_of_another_site_may_read_and_not_act() {
        let site = site(&[
            ("server.cors_origins", "https://map.example"),
            ("server.public_url", "https://own.example"),
        ]);
        let host = ("host", "127.0.0.1:8080");
        for (headers, good) in [
            (&[][..], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "news")], false),
            (&[("sec-fetch-site", "cross-site"), ("origin", "https://map.example")], true),
            (&[("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")], false),
            (&[("origin", "http://127.0.0.1:8080")], true),
            (&[("origin", "https://own.example")], true),
            (&[("origin", "https://map.example")], true),
            (&[("origin", "http://127.0.0.1:3000")], false),
            (&[("origin", "null")], false),
            (&[("origin", "https://evil.example")], false),
            (&[("referer", "https://evil.example/page")], false),
            (&[("referer", "http://127.0.0.1:8080/docs")], true),
        ] {
            assert_eq!(admits(&site, true, &[headers, &[host]].concat()), good, "{headers:?}");
            assert!(admits(&site, false, &[headers, &[host]].concat()), "{headers:?}");
        }
    }
}
