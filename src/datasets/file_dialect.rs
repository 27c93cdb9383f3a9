//! How the files of a dataset are written.

use serde::{Deserialize, Serialize};

/// How the files of a dataset are written, as far as its declaration says so; an upload can say otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileDialect {
    /// Between fields; one ASCII byte.
    pub delimiter: Option<u8>,
    /// Around fields.
    pub quote: Option<Quote>,
    /// Before a byte that is to be taken as it is; one ASCII byte.
    pub escape: Option<u8>,
    /// At the beginning of lines that are no records; one ASCII byte.
    pub comment: Option<u8>,
    /// How text is encoded.
    pub encoding: Option<Encoding>,
    /// How many lines there are before the header.
    pub skip: Option<u32>,
    /// Whether the first record names the columns.
    pub header: Option<bool>,
    /// The field that stands for null, beside the missing values.
    pub null: Option<Box<str>>,
}

/// What is around fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Quote {
    /// Nothing: a quote is text.
    None,
    /// One ASCII byte.
    Byte(u8),
}

/// How text is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the names say it")]
pub enum Encoding {
    #[serde(rename = "utf-8")]
    Utf8,
    #[serde(rename = "windows-1252")]
    Windows1252,
    #[serde(rename = "iso-8859-1")]
    Iso8859_1,
    #[serde(rename = "utf-16")]
    Utf16,
}

impl Encoding {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Utf8, Self::Windows1252, Self::Iso8859_1, Self::Utf16];

    /// The encoding of that name, whatever its case.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|encoding| encoding.as_str().eq_ignore_ascii_case(name))
    }

    /// The name that the parameter `encoding` has for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Utf8 => "utf-8",
            Self::Windows1252 => "windows-1252",
            Self::Iso8859_1 => "iso-8859-1",
            Self::Utf16 => "utf-16",
        }
    }
}
