//! How settings are shown that are secret, or have a secret within.

use reqwest::Url;
use serde::Serializer;

use super::Properties;

/// Stands for what is not shown.
pub(super) const MASK: &str = "***";

/// Parts of the names of librdkafka's properties that hold secrets: `sasl.password`, `ssl.key.pem`, `sasl.oauthbearer.client.secret` …
const SECRETS: [&str; 5] = ["password", "secret", "pem", "oauthbearer", "jaas"];

pub(super) fn url<S: Serializer>(url: &str, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&without_password(url))
}

pub(super) fn properties<S: Serializer>(properties: &Properties, serializer: S) -> Result<S::Ok, S::Error> {
    let is_secret = |name: &str| SECRETS.iter().any(|secret| name.contains(secret));
    let shown = |(name, value)| (name, if is_secret(name) { MASK } else { value });
    serializer.collect_map(properties.0.iter().map(|(name, value)| shown((name.as_str(), value.as_str()))))
}

/// The URL with a mask for its password, wherever that stands; of a text that is not a URL nothing is left.
fn without_password(text: &str) -> String {
    if text.is_empty() {
        return String::new();
    }
    let Some(mut url) = Url::parse(text).ok().filter(Url::has_authority) else { return MASK.to_owned() };
    let is_secret = |name: &str| name.to_lowercase().contains("password");
    if url.query_pairs().any(|(name, _)| is_secret(&name)) {
        let pairs = url.query_pairs().into_owned();
        let pairs: Vec<(String, String)> = pairs
            .map(|(name, value)| if is_secret(&name) { (name, MASK.to_owned()) } else { (name, value) })
            .collect();
        url.query_pairs_mut().clear().extend_pairs(pairs);
    } else if url.password().is_none() {
        return text.to_owned();
    }
    if url.password().is_some() && url.set_password(Some(MASK)).is_err() {
        return MASK.to_owned();
    }
    url.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_is_shown_without_its_password() {
        for (url, shown) in [
            ("", ""),
            (
                "postgres://user:pass@host:5432/name?sslmode=require",
                "postgres://user:***@host:5432/name?sslmode=require",
            ),
            ("postgres://user@host/name", "postgres://user@host/name"),
            ("postgres://host/name?user=a&password=p%40ss", "postgres://host/name?user=a&password=***"),
            ("postgres:///name?password=pass", "postgres:///name?password=***"),
            ("postgres://user:pa/ss@host/name", "***"),
            ("user:pass@host", "***"),
            ("http://collector:4318", "http://collector:4318"),
        ] {
            let masked = without_password(url);
            assert!(!masked.contains("pass@") && masked == shown, "{url}: {masked}");
        }
    }
}
