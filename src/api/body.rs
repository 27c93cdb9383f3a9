//! JSON bodies. In: one media type, a size limit while reading, no duplicate names, every violation reported with its
//! JSON Pointer. Out: `application/json`.

use std::{fmt, marker::PhantomData, sync::Arc};

use bytes::Bytes;
use futures_util::StreamExt;
use poem::{
    Body, IntoResponse, Request, RequestBody, Response,
    http::{HeaderName, header},
};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    payload::Payload,
    registry::{MetaMediaType, MetaRequest, MetaSchemaRef, Registry},
    types::{ToJSON, Type},
};
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{
    field_lines,
    limits::Memory,
    problem::{Invalid, Problem, TooLarge, UnsupportedMediaType, Violation},
};
use crate::{config::Config, datasets::json::without_bom, text::cut};

/// `Accept-Patch` (RFC 5789).
pub(super) const ACCEPT_PATCH: HeaderName = HeaderName::from_static("accept-patch");

/// The media type of JSON.
pub(super) const JSON: &str = "application/json";
const MERGE_PATCH: &str = "application/merge-patch+json";

/// Most values in a body about a single row: many more than any has fields.
const VALUES: usize = 10_000;

/// Whether a media type of the document is read by this module.
pub(super) fn is_json(media_type: &str) -> bool {
    [JSON, MERGE_PATCH].contains(&media_type)
}

/// An answer in JSON.
#[derive(Debug)]
pub(crate) struct Json<T>(pub(crate) T);

impl<T: Type> Payload for Json<T> {
    const CONTENT_TYPE: &'static str = JSON;

    fn schema_ref() -> MetaSchemaRef {
        T::schema_ref()
    }

    fn register(registry: &mut Registry) {
        T::register(registry);
    }
}

impl<T: ToJSON> IntoResponse for Json<T> {
    fn into_response(self) -> Response {
        Response::builder().content_type(JSON).body(self.0.to_json_string())
    }
}

/// A body's type: its schema by [`Type`], its rules here.
pub(crate) trait FromJson: Type + Sized {
    /// Reads the value; whatever is wrong is added to `faults`, and then the answer may be nothing.
    fn from_json(json: &Value, faults: &mut Vec<Violation>) -> Option<Self>;
}

/// A body in JSON.
pub(crate) struct JsonBody<T> {
    /// What it says.
    pub(crate) value: T,
    /// Its bytes as they came, for the fingerprint of an `Idempotency-Key`.
    pub(crate) bytes: Bytes,
}

/// A body in JSON that its reader takes as it is, without a tree of values. `T` is its schema, `K` what it may be.
pub(crate) struct RawBody<T, K> {
    /// The text.
    pub(crate) bytes: Bytes,
    marker: PhantomData<fn() -> (T, K)>,
}

/// Of any length.
pub(crate) type JsonBytes<T> = RawBody<T, Whole>;
/// A single thing: of no more bytes than one that becomes a tree of values.
pub(crate) type JsonItem<T> = RawBody<T, Item>;
/// The body of a PATCH of a single thing.
pub(crate) type PatchItem<T> = RawBody<T, Patch>;

/// What a [`RawBody`] may be.
pub(crate) trait RawKind {
    /// Its media types.
    const MEDIA_TYPES: &'static [&'static str];
    /// How long it may be.
    const LENGTH: Length;
}

/// See [`JsonBytes`].
pub(crate) enum Whole {}
/// See [`JsonItem`].
pub(crate) enum Item {}
/// See [`PatchItem`].
pub(crate) enum Patch {}

impl RawKind for Whole {
    const MEDIA_TYPES: &'static [&'static str] = &[JSON];
    const LENGTH: Length = Length::Any;
}

impl RawKind for Item {
    const MEDIA_TYPES: &'static [&'static str] = &[JSON];
    const LENGTH: Length = Length::Item;
}

impl RawKind for Patch {
    const MEDIA_TYPES: &'static [&'static str] = &[JSON, MERGE_PATCH];
    const LENGTH: Length = Length::Item;
}

/// The body of a PATCH: JSON that changes what it names and leaves the rest (RFC 7396).
pub(crate) struct MergePatch<T>(pub(crate) T);

impl<'a, T: FromJson> ApiExtractor<'a> for JsonBody<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(meta::<T>(&[JSON]))
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        let bytes = read(request, body, &[JSON], Length::Item).await?;
        let value = parse(&bytes)?;
        Ok(Self { value, bytes })
    }
}

impl<'a, T: FromJson> ApiExtractor<'a> for MergePatch<T> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(meta::<T>(&[JSON, MERGE_PATCH]))
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        Ok(Self(parse(&read(request, body, &[JSON, MERGE_PATCH], Length::Item).await?)?))
    }
}

impl<'a, T: Type, K: RawKind> ApiExtractor<'a> for RawBody<T, K> {
    const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::RequestObject];
    type ParamType = ();
    type ParamRawType = ();

    fn register(registry: &mut Registry) {
        T::register(registry);
    }

    fn request_meta() -> Option<MetaRequest> {
        Some(meta::<T>(K::MEDIA_TYPES))
    }

    async fn from_request(
        request: &'a Request,
        body: &mut RequestBody,
        _options: ExtractParamOptions<()>,
    ) -> poem::Result<Self> {
        Ok(Self { bytes: read(request, body, K::MEDIA_TYPES, K::LENGTH).await?, marker: PhantomData })
    }
}

/// How long a JSON body may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Length {
    /// As long as one that becomes a tree of values.
    Item,
    /// As long as any.
    Any,
}

impl Length {
    fn limit(self, config: &Config) -> u64 {
        let any = config.server.json_bytes;
        match self {
            Self::Item => config.server.item_bytes.min(any),
            Self::Any => any,
        }
    }
}

fn meta<T: Type>(media_types: &'static [&'static str]) -> MetaRequest {
    let content = media_types
        .iter()
        .map(|&content_type| MetaMediaType { content_type, schema: T::schema_ref() })
        .collect();
    MetaRequest { description: None, content, required: true }
}

/// The bytes of a JSON body.
async fn read(
    request: &Request,
    body: &mut RequestBody,
    media_types: &[&str],
    length: Length,
) -> Result<Bytes, Problem> {
    check_media_type(request, media_types)?;
    let limit = request.data::<Arc<Config>>().map_or(0, |config| length.limit(config));
    let too_large = || TooLarge::new(format!("a JSON body may have {limit} bytes"));
    let announced =
        request.header(header::CONTENT_LENGTH.as_str()).and_then(|length| length.parse::<u64>().ok());
    if announced.is_some_and(|length| length > limit) {
        return Err(too_large().into());
    }
    // What is announced is taken at once, so that bodies that will not fit together are not all read halfway.
    let memory = request.data::<Memory>();
    let take = |bytes: usize| memory.map_or(Ok(()), |memory| memory.take(bytes));
    let expected = announced.and_then(|length| usize::try_from(length).ok()).unwrap_or(0);
    take(expected)?;
    let mut bytes = Vec::with_capacity(expected);
    let mut pieces = std::pin::pin!(body.take().map(Body::into_bytes_stream).map_err(|_| broken())?);
    while let Some(piece) = pieces.next().await {
        let piece = piece.map_err(|_| broken())?;
        if (bytes.len() + piece.len()) as u64 > limit {
            return Err(too_large().into());
        }
        if announced.is_none() {
            take(piece.len())?;
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes.into())
}

fn broken() -> Invalid {
    Invalid::new("the body ended early")
}

fn check_media_type(request: &Request, media_types: &[&str]) -> Result<(), UnsupportedMediaType> {
    let codings = field_lines::codings(request.headers());
    if !codings.is_empty() {
        return Err(UnsupportedMediaType::coding(&codings.join(", "), "identity"));
    }
    let Some(content_type) = request.content_type() else {
        return Err(UnsupportedMediaType::new("the body comes without a Content-Type"));
    };
    let read = content_type
        .parse::<mime::Mime>()
        .is_ok_and(|given| is_utf8(&given) && media_types.contains(&given.essence_str()));
    if read { Ok(()) } else { Err(UnsupportedMediaType::media_type(content_type)) }
}

/// Whether the charset of a media type, if it has one, is UTF-8, under either of its names.
pub(super) fn is_utf8(media_type: &mime::Mime) -> bool {
    media_type.get_param(mime::CHARSET).is_none_or(|charset| charset == mime::UTF_8 || charset == "utf8")
}

/// Reads JSON by the strict rules; every violation is in the refusal.
pub(super) fn parse<T: FromJson>(bytes: &[u8]) -> Result<T, Invalid> {
    let json = tree(without_bom(bytes))
        .map_err(|(code, error)| Invalid::because(vec![Violation::at("", code, error.to_string())]))?;
    let mut faults = Vec::new();
    match T::from_json(&json, &mut faults) {
        Some(value) if faults.is_empty() => Ok(value),
        _ => Err(Invalid::because(faults)),
    }
}

/// The object, or the fault that it is none.
pub(crate) fn object<'a>(json: &'a Value, faults: &mut Vec<Violation>) -> Option<&'a Map<String, Value>> {
    let object = json.as_object();
    if object.is_none() {
        faults.push(Violation::at("", "not_an_object", "the body must be a JSON object"));
    }
    object
}

/// The JSON Pointer (RFC 6901) to a member of the object that `parent` points to.
pub(crate) fn pointer(parent: &str, name: &str) -> String {
    format!("{parent}/{}", name.replace('~', "~0").replace('/', "~1"))
}

/// A fault for each member that `known` does not list.
pub(crate) fn refuse_unknown_fields(
    object: &Map<String, Value>,
    known: impl Fn(&str) -> bool,
    faults: &mut Vec<Violation>,
) {
    for name in object.keys().filter(|name| !known(name)) {
        faults.push(unknown_field(name, "is not a field of this body"));
    }
}

/// A member that is not known. One whose name is too long to be repeated has no pointer of its own.
pub(crate) fn unknown_field(name: &str, rule: &str) -> Violation {
    let shown = cut(name);
    let place = if shown == name { pointer("", name) } else { String::new() };
    Violation::at(place, "unknown_field", format!("{shown:?} {rule}"))
}

/// JSON as a tree of values, or the code of what is wrong with it.
fn tree(bytes: &[u8]) -> Result<Value, (&'static str, serde_json::Error)> {
    let mut strict = Strict { left: VALUES, code: "malformed_json" };
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let read = strict.deserialize(&mut json).and_then(|value| json.end().map(|()| value));
    read.map_err(|error| (strict.code, error))
}

/// Reads JSON in which no object names a member twice, since nobody could say which of the two is meant, and which has no more values
/// than a body can need: each takes much more memory than text.
struct Strict {
    /// Values that may still come.
    left: usize,
    /// What is wrong, if anything is.
    code: &'static str,
}

impl<'de> DeserializeSeed<'de> for &mut Strict {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        let Some(left) = self.left.checked_sub(1) else {
            self.code = "too_many_values";
            return Err(de::Error::custom(format_args!("the body has more than {VALUES} values")));
        };
        self.left = left;
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for &mut Strict {
    type Value = Value;

    fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("JSON")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_string<E>(self, value: String) -> Result<Value, E> {
        Ok(Value::String(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(&mut *self)? {
            array.push(item);
        }
        Ok(Value::Array(array))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some(name) = members.next_key::<String>()? {
            if object.contains_key(&name) {
                self.code = "duplicate_field";
                return Err(de::Error::custom(format_args!("{:?} is there twice", cut(&name))));
            }
            let value = members.next_value_seed(&mut *self)?;
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &[u8]) -> Result<Value, &'static str> {
        tree(text).map_err(|(code, _)| code)
    }

    #[test]
    fn json_keeps_its_values() {
        let text = r#"{"a":[1,-2,3.5,true,null,"\u0041"],"b":{"c":18446744073709551615}}"#;
        assert_eq!(
            parsed(text.as_bytes()).expect("valid"),
            serde_json::from_str::<Value>(text).expect("valid")
        );
    }

    #[test]
    fn hostile_json_is_an_error_and_no_panic() {
        let deep = "[".repeat(100_000);
        let many = format!("[{}0]", "0,".repeat(VALUES));
        for (text, code) in [
            (r#"{"a":1,"a":1}"#.as_bytes(), "duplicate_field"),
            (r#"[{"a":{"b":1,"b":2}}]"#.as_bytes(), "duplicate_field"),
            (br#""\ud800""#, "malformed_json"),
            (b"\"\xff\"", "malformed_json"),
            (b"1e999", "malformed_json"),
            (b"{\"a\":1} x", "malformed_json"),
            (b"", "malformed_json"),
            (deep.as_bytes(), "malformed_json"),
            (many.as_bytes(), "too_many_values"),
        ] {
            assert_eq!(parsed(text), Err(code), "{:?}", String::from_utf8_lossy(text).get(..20));
        }
    }

    #[test]
    fn a_long_name_is_not_repeated_whole() {
        let long = "x".repeat(100_000);
        let violation = unknown_field(&long, "is not a field");
        assert_eq!(violation.pointer.as_deref(), Some(""));
        assert!(violation.message.len() < 400, "{}", violation.message);
        let twice = format!("{{\"{long}\":1,\"{long}\":2}}");
        let (_, error) = tree(twice.as_bytes()).expect_err("it is there twice");
        assert!(error.to_string().len() < 400, "{error}");
        assert_eq!(unknown_field("a/b", "is not a field").pointer.as_deref(), Some("/a~1b"));
    }

    #[test]
    fn a_pointer_escapes_its_names() {
        assert_eq!(pointer("/rows/3", "a/b~c"), "/rows/3/a~1b~0c");
    }
}
