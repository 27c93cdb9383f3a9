//! The import contract: what a file of a dataset must be like. The body of `OPTIONS` where files are uploaded.

use poem_openapi::{ApiResponse, Object, types::Example};

use super::{
    body::Json,
    upload_body::{CODINGS, MEDIA_TYPES},
};
use crate::{
    config,
    datasets::{Column, Dataset, Encoding, Rule, airport},
    db::imports::Dialect,
};

#[derive(ApiResponse)]
pub(super) enum Contract {
    /// What a file must be like
    #[oai(status = 200)]
    Contract(Json<ImportContract>),
}

/// What a file must be like
#[derive(Debug, Object)]
#[oai(example)]
pub(super) struct ImportContract {
    /// What it imports.
    dataset: String,
    /// The columns, in the order of a file without header. Under a header they may come in any order.
    columns: Vec<ColumnContract>,
    /// One more column, which only a header can name: which row of the dataset a row of the file is. Exports begin with it. Null where a
    /// dataset has none.
    row_id: Option<ColumnContract>,
    /// The media types of an upload.
    media_types: Vec<String>,
    /// The content codings of an upload.
    content_codings: Vec<String>,
    /// The CSV dialect unless parameters say otherwise.
    dialect: DialectContract,
    /// What is refused for its size.
    limits: LimitContract,
}

/// A column
#[derive(Debug, Object)]
struct ColumnContract {
    /// Its name in the header.
    name: String,
    /// `text`, `integer`, `number`, `date` or `list of integers`.
    r#type: String,
    /// Whether null is refused.
    required: bool,
    /// What a value must be.
    rule: String,
    /// What it means, and its unit.
    description: String,
}

/// How a CSV is written
#[derive(Debug, Object)]
struct DialectContract {
    /// Between fields.
    delimiter: String,
    /// Around fields; doubled inside them. `none`: it is text.
    quote: String,
    /// Takes the next character as it is; null: no character does.
    escape: Option<String>,
    /// The field that stands for null, beside the empty one.
    null: String,
    /// When the first record names the columns.
    header: String,
    /// How the text is encoded.
    encoding: String,
    /// The encodings that the parameter may name.
    encodings: Vec<String>,
    /// How many lines are before the header, or before the first record.
    skip: u32,
    /// What begins a line that is no record; null: no character does.
    comment: Option<String>,
}

/// Limits, all of them configurable
#[derive(Debug, Object)]
struct LimitContract {
    /// Longest upload.
    upload_bytes: u64,
    /// Longest record; a longer one is a reject.
    record_bytes: u64,
    /// Most fields of a record.
    fields: u64,
    /// Most files of a ZIP.
    zip_entries: u64,
    /// Most bytes a ZIP or gzip may unpack to.
    unpacked_bytes: u64,
    /// Most bytes unpacked for each byte packed.
    unpacked_ratio: u64,
    /// Rejects kept of one import; the rest are only counted.
    rejects_kept: i64,
}

const HEADER: &str = "the first record, when two or more of its fields are names of columns, whatever their case and the blanks \
    around them, and no number stands where the dataset has one; then every name must be known";

impl ImportContract {
    /// Beside the media types of a file, `others` are read.
    pub(super) fn of(dataset: &Dataset, others: &[&str], limits: &config::Ingest) -> Self {
        Self {
            dataset: dataset.name.as_str().to_owned(),
            columns: dataset.schema.columns.iter().map(ColumnContract::of).collect(),
            row_id: dataset.row_id().map(ColumnContract::of),
            media_types: others.iter().chain(&MEDIA_TYPES).map(|&media_type| media_type.to_owned()).collect(),
            content_codings: CODINGS.split(", ").map(ToOwned::to_owned).collect(),
            dialect: DialectContract::of(dataset),
            limits: LimitContract {
                upload_bytes: limits.upload_bytes,
                record_bytes: limits.record_bytes as u64,
                fields: limits.fields as u64,
                zip_entries: limits.zip_entries as u64,
                unpacked_bytes: limits.unpacked_bytes,
                unpacked_ratio: limits.unpacked_ratio,
                rejects_kept: limits.rejects_kept,
            },
        }
    }
}

impl DialectContract {
    fn of(dataset: &Dataset) -> Self {
        let dialect = Dialect::of(dataset);
        let character = |byte: u8| char::from(byte).to_string();
        Self {
            delimiter: character(dialect.delimiter),
            quote: dialect.quote.map_or_else(|| "none".to_owned(), character),
            escape: dialect.escape.map(character),
            null: dialect.null,
            header: match dialect.header {
                None => HEADER,
                Some(true) => "the first record",
                Some(false) => "none: the fields are the columns in their order",
            }
            .to_owned(),
            encoding: dialect.encoding.map_or("UTF-8", Encoding::as_str).to_owned(),
            encodings: Encoding::ALL.map(|encoding| encoding.as_str().to_owned()).into(),
            skip: dialect.skip,
            comment: dialect.comment.map(character),
        }
    }
}

impl ColumnContract {
    fn of(column: &Column) -> Self {
        let r#type = match &column.rule {
            Rule::Text { .. } | Rule::Verbatim { .. } | Rule::Code { .. } | Rule::OneOf(_) => "text",
            Rule::Integer { .. } => "integer",
            Rule::Number { .. } => "number",
            Rule::PastDate { .. } => "date",
            Rule::Integers { .. } => "list of integers",
            Rule::Declared(declared) => declared.type_name(),
        };
        Self {
            name: column.name.to_string(),
            r#type: r#type.to_owned(),
            required: column.required,
            rule: column.rule(),
            description: column.description.as_deref().unwrap_or_default().to_owned(),
        }
    }
}

impl Example for ImportContract {
    fn example() -> Self {
        let limits = config::Ingest {
            chunk_rows: 32_768,
            chunk_bytes: 3_145_728,
            chunks_in_flight: 16,
            upload_bytes: 10_737_418_240,
            record_bytes: 524_288,
            fields: 256,
            zip_entries: 1_000,
            unpacked_bytes: 53_687_091_200,
            unpacked_ratio: 200,
            rejects_kept: 1_000_000,
        };
        let mut contract = Self::of(&airport::DATASET, &[], &limits);
        contract.columns.truncate(2);
        contract
    }
}
