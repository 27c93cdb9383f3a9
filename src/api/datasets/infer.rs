//! `/schemas/infer`: what a file could be declared as.

use std::io;

use bytes::Bytes;
use futures_util::{Stream, StreamExt};
use poem_openapi::{ApiResponse, Object, OpenApi, param::Query, types::Example};
use serde_json::{Value, json};

use crate::{
    api::{
        Context, Tag,
        access::SignedIn,
        body::Json,
        imports::receive::{HeaderParameter, UploadParameters, UploadRefusal, stated_dialect},
        limits::Share,
        problem::{Internal, Invalid, Problem, TooLarge, Unavailable, Violation},
        upload_body::UploadBody,
    },
    datasets::infer,
    db::imports::Dialect,
    ingest::{
        IngestError,
        propose::{MOST_BYTES, TOO_LARGE, Upload},
        receive::ReceiveError,
    },
    places::Place,
    refusal,
};

/// Room for a body is taken in pieces of so many bytes.
const ROOM_BYTES: usize = 1 << 20;

/// See the module.
pub(in crate::api) struct Infer {
    /// What it works with.
    pub(in crate::api) context: Context,
}

/// What a file could be declared as
#[derive(Debug, Object)]
#[oai(rename = "Proposal", example)]
struct Proposed {
    /// The body of a `PUT` that declares a dataset for the file. Keys, enums, points and what is required are hints, never in here.
    descriptor: Value,
    /// For each field: `name`; `ruled_out`, the first value, row and line against each type; `missing`, what stands for null, with
    /// counts; `hints`.
    evidence: Value,
    /// Records that were looked at.
    records: u64,
    /// Records that could not be told into fields or are not UTF-8. They are left out.
    malformed: u64,
    /// Records that have another number of fields. They are left out.
    other_width: u64,
    /// What concerns the whole file.
    hints: Vec<String>,
}

impl Example for Proposed {
    fn example() -> Self {
        Self {
            descriptor: json!({
                "schema": { "fields": [
                    { "name": "name", "type": "string" },
                    { "name": "born", "type": "date", "format": "%d.%m.%Y", "missingValues": ["", "-"] },
                ] },
                "dialect": { "delimiter": ";" },
            }),
            evidence: json!([
                {
                    "name": "name",
                    "ruled_out": [{ "type": "integer", "value": "Rex", "row": 1, "line": 2 }],
                    "missing": [],
                    "hints": ["required: no value is missing"],
                },
                {
                    "name": "born",
                    "ruled_out": [{ "type": "integer", "value": "31.12.2019", "row": 1, "line": 2 }],
                    "missing": [{ "value": "-", "count": 2 }],
                    "hints": [],
                },
            ]),
            records: 1_200,
            malformed: 0,
            other_width: 1,
            hints: vec!["records: 1 do not have 2 fields and were left out".to_owned()],
        }
    }
}

impl From<infer::Proposal> for Proposed {
    fn from(proposal: infer::Proposal) -> Self {
        let infer::Proposal { descriptor, evidence, records, malformed, other_width, hints } = proposal;
        Self { descriptor, evidence, records, malformed, other_width, hints }
    }
}

/// The answer to a file.
#[derive(ApiResponse)]
enum Inferred {
    /// A declaration, and what speaks for it
    #[oai(status = 200)]
    Proposal(Json<Proposed>),
}

refusal!(
    /// Why nothing is proposed.
    pub(in crate::api) InferRefusal: Invalid, TooLarge, Internal, Unavailable
);

impl From<ReceiveError> for InferRefusal {
    fn from(error: ReceiveError) -> Self {
        match error {
            ReceiveError::Empty => in_file("empty_file", error.to_string()).into(),
            error => Self(Problem::from(UploadRefusal::from(error))),
        }
    }
}

impl From<IngestError> for InferRefusal {
    fn from(error: IngestError) -> Self {
        match error {
            IngestError::Refused(error) if error.code == TOO_LARGE => TooLarge::new(error.message).into(),
            IngestError::Refused(error) if error.code.ends_with("_delimiter") => {
                Invalid::parameter("delimiter", error.code, error.message).into()
            }
            IngestError::Refused(error) => in_file(error.code, error.message).into(),
            IngestError::Fenced => Unavailable::new("the service is about to end").into(),
            error => Internal::because(error).into(),
        }
    }
}

fn in_file(code: &str, message: String) -> Invalid {
    Invalid::because([Violation::at("", code, message)])
}

#[OpenApi(tag = "Tag::Datasets")]
impl Infer {
    /// Propose a declaration for a file
    ///
    /// Every record is looked at, and a type is proposed only where every value has it; the evidence names the first value against each
    /// other type. A file may have 64 MiB, unpacked too. Of a ZIP, it is the first file with records. Nothing is stored.
    #[oai(path = "/schemas/infer", method = "post", operation_id = "infer_schema")]
    #[expect(clippy::too_many_arguments, reason = "each is a documented parameter of the operation")]
    async fn infer_schema(
        &self,
        _caller: SignedIn,
        /// What stands between fields: one ASCII character, or `\t`; unless given, what a line `sep=` states, else the one of `,`, `;`,
        /// tab and `|` that gives every record the same number of fields
        Query(delimiter): Query<Option<String>>,
        /// What stands around fields: one ASCII character, or `none`: then a quote is text
        Query(quote): Query<Option<String>>,
        /// What takes the next character as it is, within quotes and outside: one ASCII character; none unless given
        Query(escape): Query<Option<String>>,
        /// How the text is encoded: `utf-8`, `windows-1252`, `iso-8859-1` or `utf-16`; UTF-8 unless given. A `charset` of the media type
        /// says the same
        Query(encoding): Query<Option<String>>,
        /// How many lines are before the header, or before the first record
        #[oai(validator(maximum(value = "1000")))]
        Query(skip): Query<Option<u32>>,
        /// What begins a line that is no record: one ASCII character; none unless given
        Query(comment): Query<Option<String>>,
        /// The field that stands for null, beside the empty one
        Query(null): Query<Option<String>>,
        /// Whether the first record names the columns; unless given, it does when none of its fields is a number, a date, or another
        /// value
        Query(header): Query<Option<HeaderParameter>>,
        body: UploadBody,
    ) -> Result<Inferred, InferRefusal> {
        let parameters = UploadParameters {
            delimiter,
            quote,
            escape,
            encoding,
            skip,
            comment,
            null,
            header,
            ..UploadParameters::default()
        };
        let proposal = propose(&self.context, &parameters, body).await?;
        Ok(Inferred::Proposal(Json(proposal.into())))
    }
}

/// What the file could be declared as. Keeps nothing of it.
pub(in crate::api) async fn propose(
    context: &Context,
    parameters: &UploadParameters,
    body: UploadBody,
) -> Result<infer::Proposal, InferRefusal> {
    // Until one is stated or found, no character is the delimiter: a NUL cannot be stated.
    let unknown = Dialect { delimiter: 0, ..Dialect::standard("") };
    let dialect = stated_dialect(unknown, parameters, body.header, body.charset)?;
    let UploadBody { packing, bytes, place, share, .. } = body;
    let (bytes, room) = collect(&share, bytes).await?;
    let proposal =
        Upload::new(packing, dialect.encoding, bytes)?.propose(dialect, &context.config.ingest).await?;
    drop((place, room));
    Ok(proposal)
}

/// The body of a `PUT` that declares a dataset for the file, of which nothing is said but what its media type says.
pub(super) async fn declaration(context: &Context, file: UploadBody) -> Result<Bytes, InferRefusal> {
    let proposal = propose(context, &UploadParameters::default(), file).await?;
    Ok(proposal.descriptor.to_string().into())
}

/// The whole body, and its room among bodies in memory.
async fn collect(
    share: &Share,
    mut body: impl Stream<Item = io::Result<Bytes>> + Unpin,
) -> Result<(Vec<u8>, Vec<Place>), InferRefusal> {
    let (mut bytes, mut room) = (Vec::new(), Vec::new());
    while let Some(piece) = body.next().await {
        let piece = piece.map_err(|source| ReceiveError::Body { received: bytes.len() as u64, source })?;
        let length = bytes.len() + piece.len();
        if length as u64 > MOST_BYTES {
            return Err(TooLarge::new(format!(
                "the file is longer than {MOST_BYTES} bytes; send its beginning"
            ))
            .into());
        }
        while room.len() * ROOM_BYTES < length {
            room.push(share.memory(ROOM_BYTES)?);
        }
        bytes.extend_from_slice(&piece);
        // A fast client has more at once; requests shall not wait for all of it.
        tokio::task::yield_now().await;
    }
    Ok((bytes, room))
}
