//! A chunk as a message: its bytes are the payload, everything else is in headers, so that any tool can tell what it is.

use std::{fmt::Display, str::FromStr};

use bytes::Bytes;
use rdkafka::message::{BorrowedMessage, Header, Headers, Message, OwnedHeaders};

use crate::transport::{Broken, Chunk};

/// Raised when a reader of the version before would misunderstand what is written.
const SCHEMA_VERSION: &str = "1";

/// A message as it was found on the topic, whatever it is.
#[derive(Debug)]
pub(super) struct RawMessage {
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) key: Option<Bytes>,
    pub(super) payload: Bytes,
    pub(super) headers: Vec<(String, Option<Bytes>)>,
}

impl RawMessage {
    pub(super) fn copy_of(message: &BorrowedMessage<'_>) -> Self {
        let headers = message.headers().into_iter().flat_map(Headers::iter);
        Self {
            partition: message.partition(),
            offset: message.offset(),
            key: message.key().map(Bytes::copy_from_slice),
            payload: message.payload().map(Bytes::copy_from_slice).unwrap_or_default(),
            headers: headers
                .map(|header| (header.key.to_owned(), header.value.map(Bytes::copy_from_slice)))
                .collect(),
        }
    }

    /// The chunk it carries, or why it carries none.
    pub(super) fn read(&self) -> Result<Chunk, String> {
        let version = self.text("schema-version")?;
        if version != SCHEMA_VERSION {
            return Err(format!("schema version {version:?} is unknown, this is version {SCHEMA_VERSION}"));
        }
        let chunk = Chunk {
            import_id: self.number("import")?,
            epoch: self.number("epoch")?,
            chunk_no: self.number("chunk")?,
            file_no: self.number("file")?,
            object: self.text("object")?.to_owned(),
            byte_offset: self.number("byte-offset")?,
            byte_len: self.number("byte-length")?,
            first_row: self.number("first-row")?,
            first_line: self.number("first-line")?,
            broken: match self.text("broken")? {
                "" => None,
                "too-long" => Some(Broken::TooLong),
                "unclosed-quote" => Some(Broken::UnclosedQuote),
                other => return Err(format!("header broken: {other:?} is unknown")),
            },
            traceparent: self.text("traceparent").ok().map(ToOwned::to_owned),
        };
        if chunk.broken.is_none() && self.payload.len() as u64 != chunk.byte_len {
            return Err(format!("{} bytes came, {} were sent", self.payload.len(), chunk.byte_len));
        }
        Ok(chunk)
    }

    fn text(&self, name: &str) -> Result<&str, String> {
        let header = self.headers.iter().find(|(key, _)| key == name);
        let value = header.and_then(|(_, value)| value.as_deref());
        let value = value.ok_or_else(|| format!("header {name} is missing"))?;
        std::str::from_utf8(value).map_err(|_| format!("header {name} is not UTF-8"))
    }

    fn number<N: FromStr>(&self, name: &str) -> Result<N, String> {
        let text = self.text(name)?;
        text.parse().map_err(|_| format!("header {name}: {text:?} is not a number it could be"))
    }

    /// The headers of the dead letter: those it came with, and why it is one.
    pub(super) fn dead_letter_headers(&self, topic: &str, reason: &str) -> OwnedHeaders {
        let mut headers = OwnedHeaders::new_with_capacity(self.headers.len() + 4);
        for (key, value) in &self.headers {
            headers = headers.insert(Header { key, value: value.as_deref() });
        }
        let text =
            |headers: OwnedHeaders, key, value: &str| headers.insert(Header { key, value: Some(value) });
        headers = text(headers, "dead-letter-reason", reason);
        headers = text(headers, "dead-letter-topic", topic);
        headers = text(headers, "dead-letter-partition", &self.partition.to_string());
        text(headers, "dead-letter-offset", &self.offset.to_string())
    }
}

/// The key of a chunk's message.
pub(super) fn key(chunk: &Chunk) -> String {
    format!("{}/{}", chunk.import_id, chunk.chunk_no)
}

/// The headers of a chunk's message.
pub(super) fn headers(chunk: &Chunk) -> OwnedHeaders {
    let Chunk {
        import_id,
        epoch,
        chunk_no,
        file_no,
        object,
        byte_offset,
        byte_len,
        first_row,
        first_line,
        broken,
        traceparent,
    } = chunk;
    let broken = match broken {
        None => "",
        Some(Broken::TooLong) => "too-long",
        Some(Broken::UnclosedQuote) => "unclosed-quote",
    };
    let fields: [(&str, &dyn Display); 11] = [
        ("schema-version", &SCHEMA_VERSION),
        ("import", import_id),
        ("chunk", chunk_no),
        ("epoch", epoch),
        ("file", file_no),
        ("object", object),
        ("byte-offset", byte_offset),
        ("byte-length", byte_len),
        ("first-row", first_row),
        ("first-line", first_line),
        ("broken", &broken),
    ];
    let empty = OwnedHeaders::new_with_capacity(fields.len() + 1);
    let headers = fields
        .into_iter()
        .fold(empty, |headers, (key, value)| headers.insert(Header { key, value: Some(&value.to_string()) }));
    match traceparent {
        Some(traceparent) => headers.insert(Header { key: "traceparent", value: Some(traceparent) }),
        None => headers,
    }
}
