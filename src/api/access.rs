//! Who may use an operation: each declares it by a parameter of one of these types, so the document knows.
//!
//! An operation that declares nothing is for operators, so that nothing is opened by forgetting.

use std::sync::Arc;

use poem::{
    FromRequest, Request, RequestBody,
    http::{HeaderValue, Method, header},
};
use poem_openapi::{
    ApiExtractor, ApiExtractorType, ExtractParamOptions,
    registry::{MetaOperation, MetaSecurityScheme, Registry},
};
use serde_json::{Value, json};

use super::{
    problem::{Forbidden, NotFound, Problem, Unauthorized},
    site::Site,
};
use crate::{
    auth::{
        keys::{Key, Keyring, Scope, Verdict},
        scopes::{self, Access, Action, Grant},
    },
    catalog::Catalog,
    clock::Clock,
    datasets::Dataset,
    db::{
        Db,
        imports::Readable,
        owners::{self, Owner, Ownership},
    },
    text::cut,
};

/// What the document calls keys.
const SCHEME: &str = "key";
/// How operations are marked that need no key.
const ANYONE: &str = "anyone";
/// How operations are marked that read one import.
const OWN: &str = "own";

/// How operations are marked that any key is enough for.
const ANY_KEY: &str = "any";
/// How operations are marked that a key for one dataset is enough for.
const READ_SOME: &str = "some:read";
/// How operations are marked that are about the dataset in their path.
const DESCRIBE: &str = "dataset:describe";
const READ: &str = "dataset:read";
const WRITE: &str = "dataset:write";
const DECLARE: &str = "dataset:declare";

macro_rules! declarations {
    ($($(#[$doc:meta])+ $name:ident = $mark:expr;)+) => {
        $(
            $(#[$doc])+
            #[derive(Debug)]
            pub(crate) struct $name;

            impl<'a> ApiExtractor<'a> for $name {
                const TYPES: &'static [ApiExtractorType] = &[ApiExtractorType::SecurityScheme];
                type ParamType = ();
                type ParamRawType = ();

                fn register(registry: &mut Registry) {
                    registry.create_security_scheme(SCHEME, scheme());
                }

                fn security_schemes() -> Vec<&'static str> {
                    vec![$mark]
                }

                async fn from_request(
                    _request: &'a Request,
                    _body: &mut RequestBody,
                    _options: ExtractParamOptions<()>,
                ) -> poem::Result<Self> {
                    Ok(Self)
                }
            }
        )+
    };
}

declarations! {
    /// Declares that an operation needs a key with the scope `read`.
    MayRead = Scope::Read.name();
    /// Declares that an operation on an import needs a key with the scope `read`, or with `write` when the import was uploaded with that key.
    MayReadOwn = OWN;
    /// Declares that an operation needs a key with the scope `write`.
    MayWrite = Scope::Write.name();
    /// Declares that an operation needs any key.
    SignedIn = ANY_KEY;
    /// Declares that an operation needs a key that may read some dataset, and answers with what is of those.
    ReadsSome = READ_SOME;
    /// Declares that an operation on a dataset needs a key that may know of it.
    DescribesDataset = DESCRIBE;
    /// Declares that an operation on a dataset needs a key that may read its rows.
    ReadsDataset = READ;
    /// Declares that an operation on a dataset needs a key that may write its rows.
    WritesDataset = WRITE;
    /// Declares that an operation on a dataset needs a key that may declare it.
    DeclaresDataset = DECLARE;
    /// Declares that an operation needs a key with the scope `admin`.
    MayOperate = Scope::Admin.name();
    /// Declares that an operation needs no key.
    Anyone = ANYONE;
}

fn scheme() -> MetaSecurityScheme {
    MetaSecurityScheme {
        ty: "http",
        description: Some(
            "A key made by `tarmac keys create`. Each operation names the scope it needs in `x-scope`. \
             A service without `auth.required` asks for no key.",
        ),
        name: None,
        key_in: None,
        scheme: Some("bearer"),
        bearer_format: None,
        flows: None,
        openid_connect_url: None,
    }
}

/// The scope that an operation needs; nothing when it is for anyone.
pub(super) fn scope_of(operation: &MetaOperation) -> Option<Scope> {
    let marks: Vec<_> = operation.security.iter().flat_map(|requirement| requirement.keys()).collect();
    match marks.as_slice() {
        [mark] if **mark == ANYONE => None,
        [mark] if [ANY_KEY, READ_SOME, OWN, DESCRIBE, READ].contains(mark) => Some(Scope::Read),
        [mark] if **mark == WRITE => Some(Scope::Write),
        [mark] if **mark == DECLARE => Some(Scope::Schema),
        [mark] => Some(Scope::named(mark).unwrap_or(Scope::Admin)),
        _ => Some(Scope::Admin),
    }
}

/// What the operation does with the dataset in its path.
pub(super) fn action_of(operation: &MetaOperation) -> Option<Action> {
    let mut marks = operation.security.iter().flat_map(|requirement| requirement.keys());
    marks.find_map(|mark| match &**mark {
        DESCRIBE => Some(Action::Describe),
        READ => Some(Action::Read),
        WRITE => Some(Action::Write),
        DECLARE => Some(Action::Declare),
        _ => None,
    })
}

/// Whether any key is enough for the operation, or any that has something for the dataset.
pub(super) fn is_for_any_key(operation: &MetaOperation) -> bool {
    operation
        .security
        .iter()
        .any(|requirement| requirement.keys().any(|mark| [ANY_KEY, DESCRIBE].contains(mark)))
}

/// Whether the operation reads one import, for which the key that uploaded it is enough.
pub(super) fn is_of_own(operation: &MetaOperation) -> bool {
    operation.security.iter().any(|requirement| requirement.keys().any(|mark| *mark == OWN))
}

/// Whether the handler decides what a key is enough for.
pub(super) fn is_decided_later(operation: &MetaOperation) -> bool {
    operation
        .security
        .iter()
        .any(|requirement| requirement.keys().any(|mark| [ANY_KEY, READ_SOME].contains(mark)))
}

/// Says in the document what [`scope_of`] says. The array of a requirement is for OAuth's scopes and stays empty.
pub(super) fn describe(operation: &mut Value, scope: Option<Scope>, is_of_own: bool, is_for_any_key: bool) {
    let Some(scope) = scope else {
        operation["security"] = json!([]);
        return;
    };
    operation["security"] = json!([{ SCHEME: [] }]);
    if is_for_any_key {
        operation["x-scope"] = ANY_KEY.into();
        operation["responses"]["403"]["description"] = "The key has nothing for what is asked for".into();
        return;
    }
    operation["x-scope"] = scope.name().into();
    if is_of_own {
        operation["x-scope-own"] = Scope::Write.name().into();
    }
    operation["responses"]["403"]["description"] =
        format!("The key does not have the scope `{}`", scope.name()).into();
}

/// Lets requests through to operations, or not.
#[derive(Debug, Clone)]
pub(super) struct Gate {
    /// Nothing when no keys are required.
    pub(super) keyring: Option<Keyring>,
    /// The sites whose pages may act when no keys are required.
    pub(super) site: Site,
    /// When keys expire.
    pub(super) clock: Clock,
    /// Holds the key of each import.
    pub(super) db: Db,
}

/// The dataset in the path of a request, in its version of now; in the request's data. `None`: there is none that is not hidden.
#[derive(Debug, Clone)]
pub(super) struct Target(pub(super) Option<Arc<Dataset>>);

impl<'a> FromRequest<'a> for Target {
    async fn from_request(request: &'a Request, _body: &mut RequestBody) -> poem::Result<Self> {
        Ok(request.data().cloned().unwrap_or(Self(None)))
    }
}

/// The caller, where keys are required.
#[derive(Debug, Clone)]
pub(super) struct OptionalCaller(pub(super) Option<Caller>);

impl<'a> FromRequest<'a> for OptionalCaller {
    async fn from_request(request: &'a Request, _body: &mut RequestBody) -> poem::Result<Self> {
        Ok(Self(request.data().cloned()))
    }
}

/// The key that a request was let through with; in the request's data.
#[derive(Debug, Clone)]
pub(super) struct Caller(pub(super) Arc<Key>);

impl Caller {
    /// The datasets that it may read; refused where there is none.
    pub(super) fn readable(&self) -> Result<Readable, Problem> {
        let mut readable = Readable::default();
        for grant in self.grants() {
            match grant {
                Grant::Read(None) => readable.all_public = true,
                Grant::Read(Some(name)) => readable.named.push(name.as_str().to_owned()),
                Grant::Write(_) | Grant::Schema | Grant::Admin => {}
            }
        }
        let is_any = readable.all_public || !readable.named.is_empty();
        if is_any { Ok(readable) } else { Err(forbidden(Scope::Read.name())) }
    }

    /// What it may do.
    pub(super) fn grants(&self) -> Vec<Grant> {
        scopes::parse_all(self.0.stored_scopes())
    }

    /// The owner of what the caller uploads.
    pub(super) fn owner(&self) -> Owner {
        Owner { key_id: self.0.id, reads_all: has(&self.0, Scope::Read) }
    }
}

fn has(key: &Key, scope: Scope) -> bool {
    key.scopes().any(|own| own == scope)
}

/// What is enough for a request whose key does not have the scope.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Otherwise {
    Nothing,
    /// That the key reaches the dataset of the import, or that the import was uploaded with it.
    Import {
        /// Whether the latter is enough.
        may_be_own: bool,
    },
    /// That the key reaches this built-in dataset.
    Dataset(&'static str),
    /// That there is a key: [`Gate::target`] or the handler decides.
    AnyKey,
}

impl Gate {
    /// Whether the request has a key of which only the database can say whether it exists.
    pub(super) fn has_to_ask(&self, request: &Request) -> bool {
        let Some(keyring) = &self.keyring else { return false };
        matches!(bearer(request), Ok(Some(secret)) if keyring.is_strange(secret))
    }

    /// The key of a request, which needs the scope or what is enough otherwise; `None` when no key is required.
    pub(super) async fn admit(
        &self,
        request: &Request,
        scope: Scope,
        otherwise: Otherwise,
    ) -> Result<Option<Caller>, Problem> {
        let Some(keyring) = &self.keyring else {
            self.site.admit(request, scope == Scope::Write || !request.method().is_safe())?;
            return Ok(None);
        };
        let Some(secret) = bearer(request)? else {
            return Err(unauthorized("the request has no key", None));
        };
        let key = match keyring.verify(secret, self.clock.now()).await? {
            Verdict::Good(key) => key,
            Verdict::Unknown => return Err(unauthorized("there is no such key", INVALID_TOKEN)),
            Verdict::Revoked => return Err(unauthorized("the key was revoked", INVALID_TOKEN)),
            Verdict::Expired => return Err(unauthorized("the key has expired", INVALID_TOKEN)),
        };
        let is_enough = match otherwise {
            Otherwise::AnyKey => true,
            Otherwise::Import { may_be_own } => self.reaches_import(request, &key, scope, may_be_own).await?,
            Otherwise::Dataset(name) => {
                has(&key, scope) || reaches(&key, scope, name, false) == Some(Access::Yes)
            }
            Otherwise::Nothing => has(&key, scope),
        };
        if is_enough { Ok(Some(Caller(key))) } else { Err(forbidden(scope.name())) }
    }

    /// The dataset in the path of a request, if the caller may do that with it. To a key that has nothing for a dataset there is none.
    pub(super) async fn target(
        &self,
        request: &Request,
        caller: Option<&Caller>,
        action: Action,
    ) -> Result<Target, Problem> {
        let action = if action == Action::Declare && is_purge(request) { Action::Purge } else { action };
        let name = request.raw_path_param("param0").unwrap_or_default();
        let dataset = Catalog::new(self.db.clone()).by_name(name).await?;
        let absent = || NotFound::new(format!("there is no dataset {:?}", cut(name)));
        let Some(caller) = caller else {
            return match dataset {
                None if !matches!(action, Action::Declare | Action::Purge) => Err(absent().into()),
                dataset => Ok(Target(dataset)),
            };
        };
        let grants = caller.grants();
        if dataset.is_none() && action == Action::Declare {
            let may = scopes::may_declare(&grants);
            return if may { Ok(Target(None)) } else { Err(forbidden(Scope::Schema.name())) };
        }
        // Of a dataset that there is not, a key hears what it would hear of one that is not private.
        let is_private = dataset.as_ref().is_some_and(|dataset| dataset.private);
        match scopes::access(&grants, action, name, is_private) {
            // A hidden one can be purged.
            Access::Yes if dataset.is_none() && action != Action::Purge => Err(absent().into()),
            Access::Yes => Ok(Target(dataset)),
            Access::Hidden => Err(absent().into()),
            Access::Forbidden => Err(forbidden(&match action {
                Action::Write => format!("write:{name}"),
                Action::Declare => Scope::Schema.name().to_owned(),
                Action::Purge => Scope::Admin.name().to_owned(),
                Action::Describe | Action::Read => format!("read:{name}"),
            })),
        }
    }

    /// Whether the key may do that with the import in the path of the request. To a key that has nothing for its dataset there is none.
    async fn reaches_import(
        &self,
        request: &Request,
        key: &Key,
        scope: Scope,
        may_be_own: bool,
    ) -> Result<bool, Problem> {
        let id = request.raw_path_param("param0").and_then(|id| id.parse().ok());
        let ownership = match id {
            Some(id) => owners::ownership(&self.db, id).await?,
            None => None,
        };
        let Some(Ownership { key_id, dataset, private }) = ownership else { return Ok(has(key, scope)) };
        if may_be_own
            && key_id == Some(key.id)
            && reaches(key, Scope::Write, &dataset, private) == Some(Access::Yes)
        {
            return Ok(true);
        }
        match reaches(key, scope, &dataset, private) {
            None => Ok(has(key, scope)),
            Some(Access::Yes) => Ok(true),
            Some(Access::Forbidden) => Ok(false),
            Some(Access::Hidden) => Err(NotFound::new("there is no such import").into()),
        }
    }
}

/// Whether a key may do with a dataset what the scope is for; `None`: the scope is not about datasets.
fn reaches(key: &Key, scope: Scope, dataset: &str, is_private: bool) -> Option<Access> {
    let action = match scope {
        Scope::Read => Action::Read,
        Scope::Write => Action::Write,
        Scope::Schema | Scope::Admin => return None,
    };
    Some(scopes::access(&scopes::parse_all(key.stored_scopes()), action, dataset, is_private))
}

const INVALID_TOKEN: Option<&str> = Some("error=\"invalid_token\"");

/// Whether a dataset is to be gone for good, which operators alone may do.
fn is_purge(request: &Request) -> bool {
    let given: Vec<(String, String)> = request.params().unwrap_or_default();
    *request.method() == Method::DELETE
        && given.iter().any(|(name, value)| name == "purge" && value == "true")
}

/// The key in `Authorization: Bearer …`.
fn bearer(request: &Request) -> Result<Option<&str>, Problem> {
    let mut given = request.headers().get_all(header::AUTHORIZATION).iter();
    let Some(value) = given.next() else { return Ok(None) };
    let (scheme, secret) = value.to_str().unwrap_or_default().split_once(' ').unwrap_or_default();
    if given.next().is_some() || !scheme.eq_ignore_ascii_case("Bearer") {
        return Err(unauthorized("a key is sent as Authorization: Bearer, once", INVALID_TOKEN));
    }
    Ok(Some(secret.trim()))
}

fn unauthorized(detail: &str, error: Option<&str>) -> Problem {
    let mut problem: Problem = Unauthorized::new(detail).into();
    if let Some(challenge) = challenge(error) {
        problem.set_header(header::WWW_AUTHENTICATE, challenge);
    }
    problem
}

fn forbidden(scope: &str) -> Problem {
    insufficient(scope).into()
}

/// The refusal of a key that does not have the scope.
pub(super) fn insufficient(scope: &str) -> Forbidden {
    let error = format!("error=\"insufficient_scope\", scope=\"{scope}\"");
    let refusal = Forbidden::new(format!("the key does not have the scope {scope}"));
    match challenge(Some(&error)) {
        Some(challenge) => refusal.with_header(header::WWW_AUTHENTICATE, challenge),
        None => refusal,
    }
}

/// RFC 6750, section 3.
fn challenge(error: Option<&str>) -> Option<HeaderValue> {
    let challenge = ["realm=\"tarmac\""].into_iter().chain(error).collect::<Vec<_>>().join(", ");
    HeaderValue::from_str(&format!("Bearer {challenge}")).ok()
}
