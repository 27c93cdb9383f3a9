//! `/confirm/{token}`: shows a prepared change and applies it, once.

use std::fmt::Write as _;

use chrono::{DateTime, Duration, Utc};
use poem_openapi::{ApiResponse, Enum, Object, OpenApi, param::Path, payload::Html, types::Example};
use serde_json::{Map, Value as Json};

use super::{
    Context, Tag,
    access::Anyone,
    airports::{
        AirportBody, AirportPatch, ChangeRefusal, NewAirport, example, existing, fields_to_json, timestamp,
    },
    body::{self, FromJson},
    negotiate::Accepted,
    precondition::etag,
    problem::{Conflict, Gone, Internal, NotFound},
};
use crate::{
    auth::token,
    db::{
        DbError,
        airports::{self, Airport, Fields, Write},
        pending_changes::{self, Action, PendingChange},
    },
    refusal,
};

/// `Cache-Control` of answers that hold a link, or that come from a GET that acts.
pub(super) const NO_STORE: &str = "no-store";

/// The page's button posts to where it came from, and nothing else happens on it.
const POLICY: &str =
    "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'";

/// See the module.
pub(super) struct Confirm {
    /// What handlers work with.
    pub(super) context: Context,
}

/// A change that waits for its confirmation
#[derive(Debug, Object)]
#[oai(example)]
pub(super) struct PreparedChange {
    /// Whoever opens this link can apply the change, once.
    confirm_url: String,
    /// When the link stops working.
    expires_at: String,
}

impl Example for PreparedChange {
    fn example() -> Self {
        Self {
            confirm_url: "http://127.0.0.1:8080/confirm/3q2-7wQxJ0Zr1mJYz0mBf1x8jVtJb3kq9lqT0p5n2sE"
                .to_owned(),
            expires_at: "2026-11-21T12:00:00Z".to_owned(),
        }
    }
}

/// The answer to a prepared change.
#[derive(ApiResponse)]
pub(super) enum Prepared {
    /// The link
    #[oai(status = 200)]
    Prepared(
        body::Json<PreparedChange>,
        /// `no-store`
        #[oai(header = "Cache-Control")]
        String,
    ),
}

/// The answer to the question whether a change could be prepared.
#[derive(ApiResponse)]
pub(super) enum PreparedHead {
    /// It could
    #[oai(status = 200)]
    Possible(
        /// `no-store`
        #[oai(header = "Cache-Control")]
        String,
    ),
}

/// Nothing happened.
pub(super) fn nothing_prepared() -> PreparedHead {
    PreparedHead::Possible(NO_STORE.to_owned())
}

/// Stores the change and makes its link.
pub(super) async fn prepare(
    context: &Context,
    change: (Action, Option<i64>),
    fields: Map<String, Json>,
) -> Result<Prepared, DbError> {
    let server = &context.config.server;
    let token = token::new(&mut rand::rng());
    let valid = i64::try_from(server.confirmation_seconds).ok().and_then(Duration::try_seconds);
    let expires_at =
        valid.and_then(|valid| Utc::now().checked_add_signed(valid)).unwrap_or(DateTime::<Utc>::MAX_UTC);
    pending_changes::store(&context.db, &token::hash(&token), change, fields.into(), expires_at).await?;
    let base = match server.public_url.trim_end_matches('/') {
        "" if server.has_tls() => format!("https://{}", context.address),
        "" => format!("http://{}", context.address),
        url => url.to_owned(),
    };
    let prepared =
        PreparedChange { confirm_url: format!("{base}/confirm/{token}"), expires_at: timestamp(expires_at) };
    Ok(Prepared::Prepared(body::Json(prepared), NO_STORE.to_owned()))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[oai(rename_all = "lowercase")]
enum PendingAction {
    /// An airport is created.
    Create,
    /// An airport is changed.
    Update,
}

/// What a link would do
#[derive(Debug, Object)]
#[oai(rename = "PendingChange", skip_serializing_if_is_none, example)]
struct PendingBody {
    /// What is done.
    action: PendingAction,
    /// The airport that is changed.
    airport_id: Option<i64>,
    /// Its fields as they are now.
    before: Option<Json>,
    /// The fields as they will be.
    after: Json,
    /// When the link stops working.
    expires_at: String,
}

impl Example for PendingBody {
    fn example() -> Self {
        Self {
            action: PendingAction::Create,
            airport_id: None,
            before: None,
            after: example(),
            expires_at: "2026-11-21T12:00:00Z".to_owned(),
        }
    }
}

#[derive(ApiResponse)]
enum Shown {
    /// What would change
    #[oai(status = 200)]
    Json(
        body::Json<PendingBody>,
        /// `no-store`
        #[oai(header = "Cache-Control")]
        String,
    ),
    /// The same as a page with one button
    #[oai(status = 200)]
    Page(
        Html<String>,
        /// `no-store`
        #[oai(header = "Cache-Control")]
        String,
        /// What the page may do
        #[oai(header = "Content-Security-Policy")]
        Option<String>,
        /// `no-referrer`: the address of the page is the link
        #[oai(header = "Referrer-Policy")]
        Option<String>,
    ),
}

#[derive(ApiResponse)]
enum Applied {
    /// The airport as it is now
    #[oai(status = 200)]
    Airport(
        body::Json<AirportBody>,
        /// Its version
        #[oai(header = "ETag")]
        String,
    ),
    /// To a browser: on to the airport
    #[oai(status = 303)]
    SeeOther(
        Html<String>,
        /// The airport
        #[oai(header = "Location")]
        String,
    ),
}

refusal!(
    /// Why a link is not shown.
    ShowRefusal: NotFound, Conflict, Gone
);

refusal!(
    /// Why a link is not applied.
    ApplyRefusal: ShowRefusal, ChangeRefusal, Internal
);

impl From<airports::WriteError> for ApplyRefusal {
    fn from(error: airports::WriteError) -> Self {
        ChangeRefusal::from(error).into()
    }
}

#[OpenApi]
impl Confirm {
    /// What a confirmation link would do
    ///
    /// Changes nothing: mail scanners follow links.
    #[oai(path = "/confirm/:token", method = "get", operation_id = "show_pending_change", tag = Tag::Airports)]
    async fn show_pending_change(
        &self,
        _caller: Anyone,
        /// From the link.
        token: Path<String>,
        accepted: Accepted,
    ) -> Result<Shown, ShowRefusal> {
        let change = pending_changes::find(&self.context.db, &token::hash(&token.0)).await?;
        let change = usable(change, Utc::now())?;
        let present = match change.airport_id {
            Some(id) => Some(existing(airports::find(&self.context.db, id).await?, id)?),
            None => None,
        };
        let pending = describe(&change, present.as_ref());
        Ok(if accepted.0.starts_with(HTML) {
            let (policy, referrer) = (POLICY.to_owned(), "no-referrer".to_owned());
            Shown::Page(Html(page(&pending)), NO_STORE.to_owned(), Some(policy), Some(referrer))
        } else {
            Shown::Json(body::Json(pending), NO_STORE.to_owned())
        })
    }

    /// Apply what a confirmation link stands for
    ///
    /// Once: the second time is answered 409.
    #[oai(path = "/confirm/:token", method = "post", operation_id = "apply_pending_change", tag = Tag::Airports)]
    async fn apply_pending_change(
        &self,
        _caller: Anyone,
        /// From the link.
        token: Path<String>,
        accepted: Accepted,
    ) -> Result<Applied, ApplyRefusal> {
        let now = Utc::now();
        let write = Write::begin(&self.context.db).await?;
        let change = pending_changes::lock(write.transaction(), &token::hash(&token.0)).await?;
        let change = usable(change, now)?;
        let airport = apply(&write, &change).await?;
        pending_changes::confirm(write.transaction(), change, now).await?;
        write.commit().await?;

        let etag = etag(airport.version);
        Ok(if accepted.0.starts_with(HTML) {
            let path = format!("/airports/{}", airport.id);
            Applied::SeeOther(
                Html(format!("<!doctype html><title>Done</title><a href=\"{path}\">{path}</a>")),
                path,
            )
        } else {
            Applied::Airport(body::Json(AirportBody::new(airport)), etag)
        })
    }
}

const HTML: &str = "text/html";

/// The change, if its link still works.
fn usable(change: Option<PendingChange>, now: DateTime<Utc>) -> Result<PendingChange, ShowRefusal> {
    let change = change.ok_or_else(|| NotFound::new("there is no such link"))?;
    if change.confirmed_at.is_some() {
        return Err(Conflict::new("the link was used already").into());
    }
    if change.expires_at <= now {
        return Err(Gone::new("the link has expired").into());
    }
    Ok(change)
}

async fn apply(write: &Write, change: &PendingChange) -> Result<Airport, ApplyRefusal> {
    match change.airport_id {
        None => {
            let NewAirport(fields) = read(&change.fields)?;
            Ok(write.create(fields).await?)
        }
        Some(id) => {
            let patch: AirportPatch = read(&change.fields)?;
            let airport = existing(write.lock(id).await?, id).map_err(ShowRefusal::from)?;
            let mut fields = Fields::from(&airport);
            patch.apply(&mut fields);
            Ok(write.update(airport, fields).await?)
        }
    }
}

/// The fields were checked when they were stored; the rules may have become stricter since.
fn read<T: FromJson>(fields: &Json) -> Result<T, ShowRefusal> {
    let mut faults = Vec::new();
    match T::from_json(fields, &mut faults) {
        Some(value) if faults.is_empty() => Ok(value),
        _ => Err(Conflict::because("the change is against the rules by now", faults).into()),
    }
}

fn describe(change: &PendingChange, present: Option<&Airport>) -> PendingBody {
    let before = present.map(|airport| {
        let mut fields = fields_to_json(&Fields::from(airport));
        fields.retain(|name, _| change.fields.get(name).is_some());
        fields.into()
    });
    PendingBody {
        action: match change.action {
            Action::Create => PendingAction::Create,
            Action::Update => PendingAction::Update,
        },
        airport_id: change.airport_id,
        before,
        after: change.fields.clone(),
        expires_at: timestamp(change.expires_at),
    }
}

fn page(pending: &PendingBody) -> String {
    let title = match pending.airport_id {
        None => "Create an airport?".to_owned(),
        Some(id) => format!("Change airport {id}?"),
    };
    let mut rows = String::new();
    for (name, after) in pending.after.as_object().into_iter().flatten() {
        let before = pending.before.as_ref().map_or(String::new(), |before| shown(&before[name]));
        // Writing to a String cannot fail.
        let _ = write!(rows, "<tr><th>{}<td>{}<td>{}", escape(name), escape(&before), escape(&shown(after)));
    }
    format!(
        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><meta name=\"viewport\" content=\"width=device-width\">\
         <title>{title}</title><style>body{{font:1rem system-ui;margin:2rem}}th{{text-align:left}}td,th{{padding:.2rem .8rem}}\
         </style><h1>{title}</h1><table><tr><th>Field<th>Now<th>Then{rows}</table>\
         <p>The link works once, until {}.</p><form method=\"post\"><button>Confirm</button></form></html>",
        escape(&pending.expires_at),
    )
}

fn shown(value: &Json) -> String {
    match value {
        Json::Null => "–".to_owned(),
        Json::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// For text and quoted attributes.
fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
        .replace('\'', "&#39;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_page_shows_hostile_text_as_text() {
        let mut pending = PendingBody::example();
        pending.after = serde_json::json!({ "name": "<script>alert('1')</script>" });
        let page = page(&pending);
        assert!(!page.contains("<script>"));
        assert!(page.contains("&lt;script&gt;alert(&#39;1&#39;)&lt;/script&gt;"));
    }
}
