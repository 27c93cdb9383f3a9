//! Pages of a list: how many rows, where to go on (keyset, never an offset), and the link to the next page.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use poem::http::Uri;
use serde::{Serialize, de::DeserializeOwned};

use super::problem::Invalid;
use crate::config;

/// Rows of a page: what the request says, else the default.
pub(crate) fn limit(requested: Option<u64>, config: &config::Server) -> Result<u64, Invalid> {
    let limit = requested.unwrap_or(config.page_rows);
    if (1..=config.page_rows_max).contains(&limit) {
        Ok(limit)
    } else {
        let message = format!("limit must be a whole number from 1 to {}", config.page_rows_max);
        Err(Invalid::parameter("limit", "out_of_range", message))
    }
}

/// The place of a row in a list, as clients carry it: opaque to them.
pub(crate) fn encode_cursor(place: &impl Serialize) -> Result<String, serde_json::Error> {
    Ok(URL_SAFE_NO_PAD.encode(serde_json::to_vec(place)?))
}

/// The place that [`encode_cursor`] wrote. A cursor that it would write in another way is forged.
pub(crate) fn decode_cursor<T: DeserializeOwned + Serialize>(cursor: &str) -> Result<T, Invalid> {
    let place =
        URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| serde_json::from_slice::<T>(&bytes).ok());
    place
        .filter(|place| encode_cursor(place).is_ok_and(|own| own == cursor))
        .ok_or_else(|| wrong_cursor(NOT_OURS))
}

/// The place in a list that is ordered by numbers, of which `lowest` is the lowest there can be.
pub(crate) fn decode_number(cursor: &str, lowest: i64) -> Result<i64, Invalid> {
    let number = decode_cursor(cursor)?;
    if number < lowest { Err(wrong_cursor(NOT_OURS)) } else { Ok(number) }
}

/// The message for a cursor that no list has given.
pub(crate) const NOT_OURS: &str = "cursor must come unchanged from the Link header of the previous page of this list; leave it out to start from the beginning";

/// A cursor that belongs to another list, or to none.
pub(crate) fn wrong_cursor(message: &str) -> Invalid {
    Invalid::parameter("cursor", "invalid_cursor", message)
}

/// `Link` (RFC 8288) to the page after the one that was asked for at `uri`.
pub(crate) fn next_link(uri: &Uri, cursor: &str) -> String {
    let kept =
        uri.query().unwrap_or("").split('&').filter(|part| !part.is_empty() && !part.starts_with("cursor="));
    let query: Vec<_> = kept.map(str::to_owned).chain([format!("cursor={cursor}")]).collect();
    format!("<{}?{}>; rel=\"next\"", uri.path(), query.join("&"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_link_keeps_the_other_parameters() {
        let uri = Uri::from_static("/airports?country=Iceland&cursor=old&limit=2");
        assert_eq!(next_link(&uri, "new"), "</airports?country=Iceland&limit=2&cursor=new>; rel=\"next\"");
        assert_eq!(next_link(&Uri::from_static("/airports"), "c"), "</airports?cursor=c>; rel=\"next\"");
    }

    #[test]
    fn a_cursor_comes_back_as_it_was() {
        let cursor = encode_cursor(&("name", 7)).expect("plain data");
        assert_eq!(decode_cursor::<(String, i64)>(&cursor).expect("ours"), ("name".to_owned(), 7));
        assert!(decode_cursor::<(String, i64)>("%%").is_err());
        assert!(decode_cursor::<(String, i64)>("").is_err());
    }

    #[test]
    fn a_cursor_that_is_written_otherwise_is_not_ours() {
        for forged in ["[ \"name\",7]", "[\"n\\u0061me\",7]", "[\"name\",7]\n"] {
            let cursor = URL_SAFE_NO_PAD.encode(forged);
            assert!(decode_cursor::<(String, i64)>(&cursor).is_err(), "{forged}");
        }
    }

    #[test]
    fn a_number_below_the_lowest_is_not_ours() {
        let cursor = |number: i64| encode_cursor(&number).expect("plain data");
        assert_eq!(decode_number(&cursor(1), 1).expect("ours"), 1);
        assert!(decode_number(&cursor(0), 1).is_err());
        assert!(decode_number(&cursor(i64::MIN), 0).is_err());
    }
}
