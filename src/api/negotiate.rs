//! Content negotiation (RFC 9110, section 12.5.1): the first offer among those the client likes best.

use mime::Mime;
use poem::{
    FromRequest, Request, RequestBody,
    http::{HeaderMap, header},
};

/// The media type to answer with: one of those the document lists for the operation's success. Set before the handler
/// runs; a client that accepts none of them was already answered 406.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Accepted(pub(crate) &'static str);

impl<'a> FromRequest<'a> for Accepted {
    async fn from_request(request: &'a Request, _body: &mut RequestBody) -> poem::Result<Self> {
        Ok(request.data().copied().unwrap_or(Self("")))
    }
}

/// The best of `offers`, which come in the server's order of preference; nothing when none is acceptable.
pub(super) fn choose(headers: &HeaderMap, offers: &[&'static str]) -> Option<Accepted> {
    let ranges = ranges(headers);
    if ranges.is_empty() {
        return offers.first().copied().map(Accepted);
    }
    let mut best: Option<(&'static str, u16)> = None;
    for &offer in offers {
        let quality = quality(&ranges, offer);
        if quality > best.map_or(0, |(_, quality)| quality) {
            best = Some((offer, quality));
        }
    }
    best.map(|(offer, _)| Accepted(offer))
}

/// A media range and its quality in thousandths.
type Range = (Mime, u16);

/// What cannot be parsed is passed over, as if it were not there.
fn ranges(headers: &HeaderMap) -> Vec<Range> {
    headers
        .get_all(header::ACCEPT)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .filter_map(|range| {
            let range: Mime = range.trim().parse().ok()?;
            let quality = match range.get_param("q") {
                Some(quality) => quality.as_str().parse::<f32>().ok().filter(|q| (0.0..=1.0).contains(q))?,
                None => 1.0,
            };
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "between 0 and 1000, see above"
            )]
            Some((range, (quality * 1000.0).round() as u16))
        })
        .collect()
}

/// The quality of the most specific range that covers the offer.
fn quality(ranges: &[Range], offer: &str) -> u16 {
    let Some((offer_type, offer_subtype)) = offer.split(';').next().unwrap_or(offer).split_once('/') else {
        return 0;
    };
    ranges
        .iter()
        .filter_map(|(range, quality)| {
            let full_subtype = range.essence_str().split_once('/').map_or("", |(_, subtype)| subtype);
            let specificity = match (range.type_().as_str(), full_subtype) {
                ("*", "*") => 0,
                (kind, "*") if kind == offer_type => 1,
                (kind, subtype) if kind == offer_type && subtype == offer_subtype => 2,
                _ => return None,
            };
            Some((specificity, *quality))
        })
        .max()
        .map_or(0, |(_, quality)| quality)
}

#[cfg(test)]
mod tests {
    use poem::http::HeaderValue;

    use super::*;

    const OFFERS: &[&str] = &["application/json", "text/csv", "application/geo+json"];

    fn chosen(accept: &'static str) -> Option<&'static str> {
        let mut headers = HeaderMap::new();
        headers.insert(header::ACCEPT, HeaderValue::from_static(accept));
        choose(&headers, OFFERS).map(|Accepted(offer)| offer)
    }

    #[test]
    fn the_first_offer_answers_a_client_that_does_not_care() {
        assert_eq!(choose(&HeaderMap::new(), OFFERS), Some(Accepted("application/json")));
        assert_eq!(chosen("*/*"), Some("application/json"));
        assert_eq!(chosen("nonsense"), Some("application/json"));
    }

    #[test]
    fn the_highest_quality_wins() {
        assert_eq!(chosen("application/json;q=0.5, text/csv;q=0.8"), Some("text/csv"));
        assert_eq!(chosen("text/*, application/json;q=0.9"), Some("text/csv"));
        assert_eq!(chosen("application/geo+json"), Some("application/geo+json"));
        assert_eq!(chosen("text/html, */*;q=0.1"), Some("application/json"));
    }

    #[test]
    fn the_most_specific_range_decides_about_an_offer() {
        assert_eq!(chosen("application/json;q=0, */*"), Some("text/csv"));
        assert_eq!(chosen("*/*;q=0.1, application/*;q=0"), Some("text/csv"));
    }

    #[test]
    fn nothing_acceptable_is_nothing() {
        assert_eq!(chosen("text/html"), None);
        assert_eq!(chosen("*/*;q=0"), None);
    }
}
